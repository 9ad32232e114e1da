"""What every SM must answer: the known-answer chains of `sm_answers.cu`, defined in NumPy.

One block of `THREADS` threads runs on each SM; thread t ends with a signature of 64 bits. The kernels are those of
`sm_answers.cu`, `sm_answers_moves.cu` and `sm_answers_tensor.cu`. Every step of a chain folds
its intermediate values into the signature by a step that is invertible, because a single wrong value must never cancel
out. Integers, IEEE products, sums and fused multiply-adds are reproduced here bit for bit; matrix products use operands
whose sums are exact in FP32 in every order. Only the special functions (SFU) are approximate on the card: their
reference is what most SMs of the card agree on, and the values here stand in for them on a host medium.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from gpucert.stress.backend import ArithmeticUnit

THREADS = 256
"""Threads of the block that runs on each SM: 8 warps, two for each of its four partitions."""
STEPS = 1024
"""Length of the chains."""
WARP = 32
TILE = 16
"""Rows and columns of one tensor-core product."""
PRODUCTS_PER_ROUND = 4
"""Tensor-core products that are summed before the sums are folded: 4 · 16 · 3.5² < 2²² sixteenths, so all are exact."""
STEPS_PER_ROUND = 8
"""A tensor round counts as this many steps."""
HELD = 192
"""Registers that a thread fills: 256 threads fill most of a register file of 65,536."""
STEPS_PER_PASS = 64
"""A pass through them counts as this many steps."""
CELLS = 16
"""Words in shared memory of each kind of atomic."""

GOLDEN = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio: the stride of every counter."""
_MASK = (1 << 64) - 1
_FOLD = np.uint64(0x9FB21C651E98DF25)
_ODD = np.uint32(0x9E3779B1)

Words = NDArray[np.uint64]
Halves = NDArray[np.uint32]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Codes = NDArray[np.uint8]


def signatures(unit: ArithmeticUnit, seed: int, steps: int = STEPS) -> Words:
    """The signature of each of the `THREADS` threads of a block, as its kernel must compute it; read only."""
    return _kept(_CHAINS[unit], seed, steps)


@lru_cache(maxsize=256)  # because several tensor types come to the same sums, and benches ask for the same again
def _kept(chain: "Chain", seed: int, steps: int) -> Words:
    signed = chain(starts(seed), steps)
    signed.flags.writeable = False
    return signed


def starts(seed: int) -> Words:
    """The first 64 random bits of every thread: mix64((t + 1) · GOLDEN + seed)."""
    threads = np.arange(1, THREADS + 1, dtype=np.uint64)
    return mix(threads * np.uint64(GOLDEN) + np.uint64(seed & _MASK))


def mix(z: Words) -> Words:
    """The splitmix64 finaliser (Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def fold(signature: Words, value: Words) -> Words:
    """Take 64 bits into a signature; for a fixed one of the two it is a bijection of the other."""
    turned = (signature << np.uint64(13)) | (signature >> np.uint64(51))
    return (turned ^ value) * _FOLD


def fma32(a: Singles, b: Singles, c: Singles) -> Singles:
    """a·b + c rounded once, for values far from overflow and underflow.

    The product of two singles is exact in double; the sum is rounded to odd, and so rounds correctly to single
    (Boldo and Melquiond, IEEE Trans. Computers 57(4), 2008).
    """
    return _add_to_odd(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)).astype(np.float32)


def fma64(a: Doubles, b: Doubles, c: Doubles) -> Doubles:
    """a·b + c rounded once, for values far from overflow and underflow (same paper, figure 4)."""
    product, product_error = _two_product(a, b)
    low, low_error = _two_sum(c, product_error)
    high, high_error = _two_sum(product, low)
    return high + _add_to_odd(high_error, low_error)


def _two_sum(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return product, error


def _split(a: Doubles) -> tuple[Doubles, Doubles]:
    scaled = a * 134217729.0
    high = scaled - (scaled - a)
    return high, a - high


def _add_to_odd(a: Doubles, b: Doubles) -> Doubles:
    """a + b; where that is not exact, the one of its two neighbours whose last bit is odd."""
    total, error = _two_sum(a, b)
    inexact_and_even = (error != 0) & ((total.view(np.uint64) & np.uint64(1)) == 0)
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(inexact_and_even, np.nextafter(total, toward), total)


def _int32(start: Words, steps: int) -> Words:
    x, y = _low(start), _high(start)
    signature = start
    for _ in range(steps):
        high = _high(x.astype(np.uint64) * (y | np.uint32(1)).astype(np.uint64))
        x = x * _ODD + y
        y = _turned(y, 7) ^ high
        x = x ^ ((y & ~high) | (x >> np.uint32(11)))
        y = y + _ones(x)
        signature = fold(signature, _pair(x, y))
    return signature


def _fp32(start: Words, steps: int) -> Words:
    x, y, rate = _singles_in_motion(start)
    signature = start
    for _ in range(steps):
        x = rate * fma32(-x, x, x)
        y = rate * (y - y * y)
        signature = fold(signature, _pair(x.view(np.uint32), y.view(np.uint32)))
    return signature


def _fp64(start: Words, steps: int) -> Words:
    mantissa = np.uint64((1 << 52) - 1)
    x = (np.uint64(0x3FD0000000000000) | (start & mantissa)).view(np.float64)
    y = (np.uint64(0x3FD0000000000000) | (mix(start) & mantissa)).view(np.float64)
    rate = (np.uint64(0x400F800000000000) | (start >> np.uint64(18))).view(np.float64)
    signature = start
    for _ in range(steps):
        x = rate * fma64(-x, x, x)
        y = rate * (y - y * y)
        signature = fold(fold(signature, x.view(np.uint64)), y.view(np.uint64))
    return signature


def _sfu(start: Words, steps: int) -> Words:
    x, _, rate = _singles_in_motion(start)
    signature = start
    for _ in range(steps):
        x = rate * fma32(-x, x, x)
        root, power, logarithm, sine = (function(x).view(np.uint32) for function in SPECIAL_FUNCTIONS)
        signature = fold(fold(signature, _pair(root, power)), _pair(logarithm, sine))
    return signature


def _shared(start: Words, steps: int) -> Words:
    threads = np.arange(THREADS)
    others = start[(threads + WARP + 1) % THREADS]
    signature = start
    for step in range(steps):
        signature = fold(signature, mix(others + np.uint64(step * GOLDEN & _MASK)))
    return signature


def _registers(start: Words, steps: int) -> Words:
    carry, value, signature = _high(start), _low(start), start
    held = np.empty((HELD, THREADS), np.uint32)
    for row in held:
        value = value * _ODD + np.uint32(0x85EBCA6B)
        row[:] = value
    for _ in range(steps // STEPS_PER_PASS):
        for row in held:
            carry = _turned(carry, 5) * _ODD ^ row
            row[:] = carry
        signature = fold(signature, _pair(carry, held[0]))
    for first in range(0, HELD, 2):
        signature = fold(signature, _pair(held[first], held[first + 1]))
    return signature


def _shuffle(start: Words, steps: int) -> Words:
    x, y, signature = _low(start), _high(start), start
    lanes = np.arange(THREADS)
    warps = lanes // WARP * WARP
    bits = np.uint32(1) << (lanes % WARP).astype(np.uint32)
    for step in range(steps):
        x = x * _ODD + y[lanes ^ 1 << step % 5]
        y = _turned(y, 9) ^ x[warps + y % WARP]
        yes = (x >> np.uint32(step % 32) & np.uint32(1)) * bits
        votes = np.repeat(yes.reshape(-1, WARP).sum(axis=1, dtype=np.uint32), WARP)
        signature = fold(signature, _pair(x, y ^ votes))
    return signature


def _atomics(start: Words, steps: int) -> Words:
    x, y, signature = _low(start), _high(start), start
    threads = np.arange(THREADS)
    sums, parities, swapped = (np.zeros(CELLS, np.uint32) for _ in range(3))
    for step in range(steps // 4):
        np.add.at(sums, x % CELLS, y)
        np.bitwise_xor.at(parities, (x >> np.uint32(8)) % CELLS, y)
        np.add.at(swapped, (x >> np.uint32(16)) % CELLS, y)
        cell = (threads + step) % CELLS
        x = x * _ODD + sums[cell]
        y = _turned(y, 7) ^ parities[cell] ^ swapped[cell]
        signature = fold(fold(signature, _pair(sums[cell], parities[cell])), _pair(swapped[cell], x))
    return signature


def _branches(start: Words, steps: int) -> Words:
    x, y, signature = _low(start), _high(start), start
    for _ in range(steps // 4):
        way = (x ^ y) & np.uint32(3)
        turns = np.where(way == 2, (y >> np.uint32(8) & np.uint32(3)) + np.uint32(1), np.uint32(0))
        turned = x
        for turn in range(4):
            turned = np.where(turns > turn, _turned(turned, 7) + y, turned)
        product = _high(x.astype(np.uint64) * (y | np.uint32(1)).astype(np.uint64)) ^ y
        x, y = (
            np.select([way == 0, way == 2, way == 3], [product, turned, ~x], x),
            np.select([way == 1, way == 3], [y * _ODD + x, y ^ (x >> np.uint32(5))], y),
        )
        x = x * np.uint32(0x85EBCA6B) + _ODD
        y = y + _turned(x, 3)
        signature = fold(signature, _pair(x, y))
    return signature


def _tensor(start: Words, steps: int, number: Callable[[Codes], Doubles], result: type[np.generic]) -> Words:
    """Products of numbers made of one byte each, whose sums are exact in every order, as `result`."""
    signature = start
    for step in range(steps // STEPS_PER_ROUND):
        total = np.zeros((THREADS // WARP, TILE, TILE))
        for product in range(PRODUCTS_PER_ROUND):
            counter = 2 * (PRODUCTS_PER_ROUND * step + product)
            left = _operand(start, counter, number)
            right = _operand(start, counter + 1, number).transpose(0, 2, 1)
            total += left @ right
        for told in _in_words(total.astype(result).reshape(THREADS, TILE * TILE // WARP)):
            signature = fold(signature, told)
    return signature


def _in_words(sums: NDArray[np.generic]) -> Iterator[Words]:
    """The sums of each thread as words: doubles one by one, what is shorter in pairs."""
    if sums.dtype == np.float64:
        yield from sums.view(np.uint64).T
        return
    bits = sums.view(np.uint32).T
    for first in range(0, len(bits), 2):
        yield _pair(bits[first], bits[first + 1])


def _operand(start: Words, counter: int, number: Callable[[Codes], Doubles]) -> Doubles:
    """One 16 × 16 operand of each warp: every thread makes eight numbers from one hash.

    Left operands lie by rows, right ones by columns.
    """
    codes = mix(start + np.uint64(counter * GOLDEN & _MASK)).astype("<u8").view(np.uint8)
    return number(codes).reshape(THREADS // WARP, TILE, TILE)


def _small_float(codes: Codes) -> Doubles:
    """±2^e · (1 + m/4), which every type holds: bit 7 is the sign, bit 0 is e, bits 1 and 2 are m."""
    code = codes.astype(np.int64)
    value: Doubles = (1 - 2 * (code >> 7)) * (1 << (code & 1)) * (4 + ((code >> 1) & 3)) / 4
    return value


def _whole(codes: Codes) -> Doubles:
    """The byte as a whole number with a sign."""
    return codes.view(np.int8).astype(np.float64)


def _singles_in_motion(start: Words) -> tuple[Singles, Singles, Singles]:
    """Two starts in [0.25, 0.5) and a rate in [3.9375, 3.96875) of the logistic map.

    The map is chaotic there, because a chain that settles would stop to exercise the multiplier, and stays in
    [0.03, 0.993], because subnormal numbers would be flushed: CuPy compiles with -ftz=true.
    """
    mantissa = np.uint32((1 << 23) - 1)
    other = mix(start)
    x = (np.uint32(0x3E800000) | (_low(start) & mantissa)).view(np.float32)
    y = (np.uint32(0x3E800000) | (_low(other) & mantissa)).view(np.float32)
    rate = (np.uint32(0x407C0000) | (_high(start) & np.uint32(0x1FFFF))).view(np.float32)
    return x, y, rate


def _stand_in(function: Callable[[Doubles], Doubles]) -> Callable[[Singles], Singles]:
    return lambda x: function(x.astype(np.float64)).astype(np.float32)


SPECIAL_FUNCTIONS: tuple[Callable[[Singles], Singles], ...] = (
    _stand_in(lambda x: 1.0 / np.sqrt(x)),
    _stand_in(np.exp2),
    _stand_in(np.log2),
    _stand_in(np.sin),
)
"""Stand-ins for rsqrt, ex2, lg2 and sin of the SFU: the true values, rounded to single."""


def _ones(words: Halves) -> Halves:
    """Number of set bits of each."""
    words = words - ((words >> np.uint32(1)) & np.uint32(0x55555555))
    words = (words & np.uint32(0x33333333)) + ((words >> np.uint32(2)) & np.uint32(0x33333333))
    words = (words + (words >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    return (words * np.uint32(0x01010101)) >> np.uint32(24)


def _turned(words: Halves, bits: int) -> Halves:
    """Rotated to the left."""
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))


def _low(words: Words) -> Halves:
    return words.astype(np.uint32)


def _high(words: Words) -> Halves:
    return (words >> np.uint64(32)).astype(np.uint32)


def _pair(high: Halves, low: Halves) -> Words:
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


Chain = Callable[[Words, int], Words]
_IN_SINGLES = partial(_tensor, number=_small_float, result=np.float32)
_CHAINS: dict[ArithmeticUnit, Chain] = {
    ArithmeticUnit.INT32: _int32,
    ArithmeticUnit.FP32: _fp32,
    ArithmeticUnit.FP64: _fp64,
    ArithmeticUnit.SFU: _sfu,
    ArithmeticUnit.SHARED: _shared,
    ArithmeticUnit.REGISTERS: _registers,
    ArithmeticUnit.SHUFFLE: _shuffle,
    ArithmeticUnit.ATOMICS: _atomics,
    ArithmeticUnit.BRANCHES: _branches,
    ArithmeticUnit.TENSOR: _IN_SINGLES,
    ArithmeticUnit.TENSOR_BF16: _IN_SINGLES,
    ArithmeticUnit.TENSOR_TF32: _IN_SINGLES,
    ArithmeticUnit.TENSOR_INT8: partial(_tensor, number=_whole, result=np.int32),
    ArithmeticUnit.TENSOR_FP64: partial(_tensor, number=_small_float, result=np.float64),
}
