"""What stands in the matrices, as bit patterns, in NumPy: small whole numbers, random bits, or stripes of bits.

All are pure functions of (element, seed), made from integers alone, because then `gemm.cu` makes the same bits on
every card and no card is asked what its own inputs were.
"""

from dataclasses import dataclass
from enum import IntEnum
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from gpucert.stress.answers import GOLDEN, mix
from gpucert.stress.backend import DType

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint64]

_MASK = (1 << 64) - 1
_BLOCK = 1 << 20
_STRIPES = 0x5555_5555_5555_5555
LARGEST_INTEGER = 64


class Data(IntEnum):
    """The families of numbers; theirs are shared with the kernels."""

    FULL = 0
    """Every bit of the fraction is random."""
    WHOLE = 1
    """Small whole numbers, whose products are exact."""
    SMALL = 2
    """Fractions 0101… and 1010… next to the subnormals; integers are all stripes."""
    LARGE = 3
    """The same next to the largest numbers: a product of the two is about 1."""


TOGGLING = (Data.SMALL, Data.LARGE)
"""The left and the right operand: from one number to the next all bits of the fraction flip, or none."""


@dataclass(frozen=True)
class Format:
    """A binary format as it is stored: width of the whole, of its fraction, and the bias of its exponent, in bits.

    IEEE-like, or two's complement where it has no exponent (bias 0).
    """

    width: int
    fraction: int
    bias: int
    spare: int = 0
    """Bits at the low end that are stored as zero, because the unit takes no notice of them."""

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return self.width // 8


FORMATS: dict[DType, Format] = {
    DType.FP64: Format(64, 52, 1023),
    DType.FP32: Format(32, 23, 127),
    DType.TF32: Format(32, 10, 127, spare=13),
    DType.FP16: Format(16, 10, 15),
    DType.BF16: Format(16, 7, 127),
    DType.INT8: Format(8, 0, 0),
}
"""TF32 is stored as FP32 that needs no rounding, so that a product has the same inputs whoever rounds them, and how."""
_UNSIGNED = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}


def exact_bound(k: int) -> int:
    """Largest magnitude a with k·a² < 2²², so that FP32 sums are exact in any order, with two bits to spare.

    At most 64, which BF16 still holds. INT32 sums could be of larger numbers, but every type is to multiply the same.
    Raises ValueError where not even 1 fits.
    """
    bound = min(LARGEST_INTEGER, isqrt(((1 << 22) - 1) // k))
    if bound < 1:
        raise ValueError(f"inner size {k} is too large for exact products; at most {(1 << 22) - 1}")
    return bound


def operand_seed(seed: int, operand: int) -> int:
    """The seed of the left (0) or right (1) operand of the product that was asked for with `seed`."""
    return (seed * 2 + operand) & _MASK


def integers(count: int, seed: int, bound: int, first: int = 0) -> NDArray[np.int8]:
    """Elements `first` … `first + count` of an exact fill: whole numbers, uniform in [-bound, bound]."""
    numbers = np.empty(count, np.int8)
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        high = _hashes(end - begin, seed, first + begin) >> np.uint64(32)
        numbers[begin:end] = ((high * np.uint64(2 * bound + 1)) >> np.uint64(32)).astype(np.int16) - bound
    return numbers


def bits(dtype: DType, data: Data, count: int, seed: int, bound: int = 0) -> Bits:
    """The first elements of a fill of any family; only whole numbers have a bound."""
    match data:
        case Data.FULL:
            return full_bits(dtype, count, seed)
        case Data.WHOLE:
            return integer_bits(dtype, integers(count, seed, bound))
        case _:
            return toggling_bits(dtype, data, count, seed)


def integer_bits(dtype: DType, numbers: NDArray[np.int8]) -> Bits:
    """Whole numbers as bit patterns of `dtype`; exact in every one of them."""
    shape = FORMATS[dtype]
    if not shape.bias:
        return _narrow(shape, numbers.astype(np.int64).view(np.uint64))
    size = np.abs(numbers.astype(np.int64)).astype(np.uint64)
    exponent = np.frexp(size.astype(np.float64))[1].astype(np.int64) - 1
    fraction = (size << (shape.fraction - np.maximum(exponent, 0)).astype(np.uint64)) & _ones(shape.fraction)
    body = ((exponent + shape.bias).astype(np.uint64) << np.uint64(shape.fraction)) | fraction
    sign = (numbers < 0).astype(np.uint64) << np.uint64(shape.width - 1 - shape.spare)
    return _narrow(shape, np.where(size == 0, np.uint64(0), sign | body))


def full_bits(dtype: DType, count: int, seed: int, first: int = 0) -> Bits:
    """Elements of a full-mantissa fill: ±1.f · 2^-g, every bit of f random, g = 0 … 7 with chance 2^-(g+1).

    That is the uniform distribution over (−2, 2), less its numbers below 2⁻⁷: mean 0, deviation 1.15, no subnormals.
    Integers are uniform over all that the type holds.
    """
    shape = FORMATS[dtype]
    narrow = np.empty(count, _UNSIGNED[shape.width])
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        narrow[begin:end] = _full_block(shape, _hashes(end - begin, seed, first + begin))
    return narrow


def toggling_bits(dtype: DType, data: Data, count: int, seed: int, first: int = 0) -> Bits:
    """Elements of a toggling fill, `data` one of TOGGLING: ±1.f · 2^e, f either 0101… or 1010…, e one of two.

    They are the two smallest or the two largest exponents of finite numbers, so that no subnormal is met and no product
    leaves what FP32 holds.
    """
    shape = FORMATS[dtype]
    hashes = _hashes(count, seed, first)
    stripes = np.where(hashes & np.uint64(1), np.uint64(_STRIPES), np.uint64(_MASK ^ _STRIPES))
    if not shape.bias:
        return _narrow(shape, stripes)
    step = (hashes >> np.uint64(1)) & np.uint64(1)
    exponent = np.uint64(2 * shape.bias) - step if data is Data.LARGE else np.uint64(1) + step
    return _narrow(
        shape, _signed(shape, hashes) | exponent << np.uint64(shape.fraction) | stripes & _ones(shape.fraction)
    )


def _full_block(shape: Format, hashes: Words) -> Bits:
    if not shape.bias:
        return _narrow(shape, hashes >> np.uint64(64 - shape.width))
    fraction = hashes & _ones(shape.fraction)
    down = _TRAILING_ZEROS[((hashes >> np.uint64(52)) & np.uint64(0x7F)).astype(np.intp)]
    exponent = (np.uint64(shape.bias) - down) << np.uint64(shape.fraction)
    return _narrow(shape, _signed(shape, hashes) | exponent | fraction)


def _signed(shape: Format, hashes: Words) -> Words:
    """The sign by the highest bit of each."""
    return (hashes >> np.uint64(63)) << np.uint64(shape.width - 1 - shape.spare)


def _hashes(count: int, seed: int, first: int) -> Words:
    salt = mix(np.array([seed & _MASK], np.uint64))
    return mix(np.arange(first + 1, first + 1 + count, dtype=np.uint64) * np.uint64(GOLDEN) + salt)


def _narrow(shape: Format, words: Words) -> Bits:
    """As many low bits as the format has, above its spare ones."""
    narrow: Bits = (words << np.uint64(shape.spare)).astype(_UNSIGNED[shape.width])
    return narrow


def _ones(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


_TRAILING_ZEROS = np.array([(low & -low).bit_length() - 1 if low else 7 for low in range(128)], np.uint64)


def values(dtype: DType, patterns: Bits) -> NDArray[np.float64]:
    """The numbers that bit patterns of `dtype` stand for."""
    if dtype is DType.BF16:
        return (patterns.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    shape = FORMATS[dtype]
    return patterns.view(f"{'f' if shape.bias else 'i'}{shape.bytes}").astype(np.float64)
