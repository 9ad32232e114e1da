"""What every SM must answer: the known-answer chains of `sm_answers.cu`, defined in NumPy.

One block of `THREADS` threads runs on each SM; thread t ends with a signature of 64 bits. Every step of a chain folds
its intermediate values into the signature by a step that is invertible, because a single wrong value must never cancel
out. Integers, IEEE products, sums and fused multiply-adds are reproduced here bit for bit; matrix products use operands
whose sums are exact in FP32 in every order. Only the special functions (SFU) are approximate on the card: their
reference is what most SMs of the card agree on, and the values here stand in for them on a host medium.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gpucert.stress.backend import ArithmeticUnit

THREADS = 256
"""Threads of the block that runs on each SM: 8 warps, two for each of its four partitions."""
STEPS = 2048
"""Length of the chains."""
WARP = 32
TILE = 16
"""Rows and columns of one tensor-core product."""
PRODUCTS_PER_ROUND = 4
"""Tensor-core products that are summed before the sums are folded: 4 · 16 · 3.5² < 2²² sixteenths, so all are exact."""
STEPS_PER_ROUND = 8
"""A tensor round counts as this many steps."""

GOLDEN = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio: the stride of every counter."""
_MASK = (1 << 64) - 1
_FOLD = np.uint64(0x9FB21C651E98DF25)

Words = NDArray[np.uint64]
Halves = NDArray[np.uint32]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]


def signatures(unit: ArithmeticUnit, seed: int, steps: int = STEPS) -> Words:
    """The signature of each of the `THREADS` threads of a block, as `sm_answers.cu` must compute it."""
    return _CHAINS[unit](starts(seed), steps)


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
        x = x * np.uint32(0x9E3779B1) + y
        y = ((y << np.uint32(7)) | (y >> np.uint32(25))) ^ high
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


def _tensor(start: Words, steps: int) -> Words:
    signature = start
    rounds = steps // STEPS_PER_ROUND
    for step in range(rounds):
        total = np.zeros((THREADS // WARP, TILE, TILE))
        for product in range(PRODUCTS_PER_ROUND):
            counter = 2 * (PRODUCTS_PER_ROUND * step + product)
            left = _operand(start, counter)
            right = _operand(start, counter + 1).transpose(0, 2, 1)
            total += left @ right
        bits = total.astype(np.float32).view(np.uint32).reshape(THREADS, TILE * TILE // WARP)
        for first in range(0, bits.shape[1], 2):
            signature = fold(signature, _pair(bits[:, first], bits[:, first + 1]))
    return signature


def _operand(start: Words, counter: int) -> Doubles:
    """One 16 × 16 operand of each warp: every thread makes eight numbers ±2^e · (1 + m/4) from one hash.

    Bit 7 of a byte is the sign, bit 0 is e, bits 1 and 2 are m. Left operands lie by rows, right ones by columns.
    """
    code = mix(start + np.uint64(counter * GOLDEN & _MASK)).astype("<u8").view(np.uint8).astype(np.int64)
    sign = 1 - 2 * (code >> 7)
    value = sign * (1 << (code & 1)) * (4 + ((code >> 1) & 3)) / 4
    operand: Doubles = value.reshape(THREADS // WARP, TILE, TILE)
    return operand


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


def _low(words: Words) -> Halves:
    return words.astype(np.uint32)


def _high(words: Words) -> Halves:
    return (words >> np.uint64(32)).astype(np.uint32)


def _pair(high: Halves, low: Halves) -> Words:
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


_CHAINS: dict[ArithmeticUnit, Callable[[Words, int], Words]] = {
    ArithmeticUnit.INT32: _int32,
    ArithmeticUnit.FP32: _fp32,
    ArithmeticUnit.FP64: _fp64,
    ArithmeticUnit.TENSOR: _tensor,
    ArithmeticUnit.SFU: _sfu,
}
