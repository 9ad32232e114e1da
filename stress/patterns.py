"""Test data as a pure function of the word's number, defined in NumPy; the twin of patterns.cuh."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpucert.stress.answers import GOLDEN, mix
from gpucert.stress.backend import Pattern, PatternKind

Words = NDArray[np.uint64]

BACKGROUNDS = 8
"""Backgrounds 0 to 7: neighbouring 1, 2, 4, 16, 32, 64, 128 and 256 bits alternate. Background 8 is solid zero."""
SOLID = 8
SHIFTS = 32
"""Places at which a walking bit can begin."""
KEPT_WORDS = 8192
"""The longest stretch that is kept once it was made: a tile of 64 KiB."""
SECTOR_WORDS = 4
"""Words of a sector of 32 bytes, the least that DRAM is asked for."""
MODULI = {PatternKind.MODULO_SECTOR: 5, PatternKind.MODULO_HALF: 20}
"""Every so many-th piece is a target; 20 is what memory testers of PCs found to be the most sensitive."""

_PERIODS = {
    PatternKind.BACKGROUND: 8,
    PatternKind.WALKING: SHIFTS // 2,
    PatternKind.MODULO_SECTOR: SECTOR_WORDS * MODULI[PatternKind.MODULO_SECTOR],
    PatternKind.MODULO_HALF: MODULI[PatternKind.MODULO_HALF] // 2,
}
"""Words after which the data repeat."""
_MASK = (1 << 64) - 1
_HALF = (1 << 32) - 1
_OFFSET_BITS = 8
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_WITHIN_A_WORD = (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF)


def modulo(kind: PatternKind, offset: int, data_seed: int, *, inverted: bool = False) -> Pattern:
    """A modulo pattern: pieces whose number is `offset` modulo MODULI[kind] are its targets; data_seed < 2⁵⁶."""
    return Pattern(kind, data_seed << _OFFSET_BITS | offset, inverted)


def words(pattern: Pattern, first: int, count: int) -> Words:
    """The data of words `first` … `first + count`; not to be written to."""
    plain = (_kept if count <= KEPT_WORDS else _plain)(pattern.kind, pattern.seed, first - pattern.shift, count)
    return ~plain if pattern.inverted else plain


def _plain(kind: PatternKind, seed: int, first: int, count: int) -> Words:
    data = _data(Pattern(kind, seed), np.arange(first, first + count, dtype=np.uint64))
    data.flags.writeable = False
    return data


_kept = lru_cache(maxsize=512)(_plain)
"""Tiles are kept for a while, because what is written is compared soon after."""


def _data(pattern: Pattern, index: Words) -> Words:
    match pattern.kind:
        case PatternKind.OWN:
            return mix(index ^ np.uint64(pattern.seed & _MASK))
        case PatternKind.RANDOM:
            salt = mix(np.array([pattern.seed & _MASK], np.uint64))
            return mix((index + np.uint64(1)) * np.uint64(GOLDEN) + salt)
        case PatternKind.BACKGROUND:
            return _background(index, pattern.seed)
        case PatternKind.WALKING:
            return _walking(2 * index, pattern.seed) | _walking(2 * index + np.uint64(1), pattern.seed) << np.uint64(32)
        case PatternKind.MODULO_SECTOR | PatternKind.MODULO_HALF:
            return ~_modulo_data(pattern) ^ _targets(pattern, index)


def word(pattern: Pattern, index: int) -> int:
    """The data of one word."""
    return int(words(pattern, index, 1)[0])


def targets(pattern: Pattern, first: int, count: int) -> Words:
    """The bits of words `first` … `first + count` that belong to targets of a modulo pattern."""
    return _targets(pattern, np.arange(first - pattern.shift, first - pattern.shift + count, dtype=np.uint64))


def owner(pattern: Pattern, value: int) -> int:
    """The number of the word that an OWN pattern would have written `value` to; any 64-bit value has exactly one."""
    assert pattern.kind is PatternKind.OWN
    return _unmix((value ^ _MASK) if pattern.inverted else value) ^ (pattern.seed & _MASK)


def known_total(pattern: Pattern, first: int, count: int) -> int | None:
    """The sum, modulo 2⁶⁴, of words `first` … `first + count`, from one period of the data; None where it has none."""
    period = _PERIODS.get(pattern.kind)
    if period is None:
        return None
    turn: list[int] = words(pattern, first, period).tolist()
    turns, rest = divmod(count, period)
    return (turns * sum(turn) + sum(turn[:rest])) & _MASK


def pair_total(count: int) -> int:
    """The sum, modulo 2⁶⁴, of `count` words and of their inverses: word + inverse = 2⁶⁴ − 1, whatever the data."""
    return -count & _MASK


def _background(index: Words, number: int) -> Words:
    if number < len(_WITHIN_A_WORD):
        return np.full(len(index), _WITHIN_A_WORD[number], np.uint64)
    if number < BACKGROUNDS:
        shift = np.uint64(number - len(_WITHIN_A_WORD))
        return np.uint64(0) - ((index >> shift) & np.uint64(1))
    return np.zeros(len(index), np.uint64)


def _walking(half: Words, first: int) -> Words:
    """A half whose only set bit is one place further than in the half before it."""
    return np.uint64(1) << ((half + np.uint64(first)) & np.uint64(SHIFTS - 1))


def _modulo_data(pattern: Pattern) -> Words:
    return mix(np.array([pattern.seed >> _OFFSET_BITS], np.uint64))


def _targets(pattern: Pattern, index: Words) -> Words:
    modulus, offset = np.uint64(MODULI[pattern.kind]), np.uint64(pattern.seed & _OFFSET_MASK)
    if pattern.kind is PatternKind.MODULO_SECTOR:
        return _mask(index // np.uint64(SECTOR_WORDS) % modulus == offset, _MASK)
    low, high = ((2 * index + np.uint64(place)) % modulus == offset for place in (0, 1))
    return _mask(low, _HALF) | _mask(high, _HALF << 32)


def _mask(chosen: NDArray[np.bool_], bits: int) -> Words:
    return chosen.astype(np.uint64) * np.uint64(bits)


def _unmix(z: int) -> int:
    """The inverse of `mix`, step by step backwards; the factors are the inverses of its own modulo 2⁶⁴."""
    z = _unshift(z, 31) * pow(0x94D049BB133111EB, -1, 1 << 64) & _MASK
    z = _unshift(z, 27) * pow(0xBF58476D1CE4E5B9, -1, 1 << 64) & _MASK
    return _unshift(z, 30)


def _unshift(z: int, bits: int) -> int:
    """Undo z ^= z >> bits."""
    whole = z
    for _ in range(64 // bits):
        whole = z ^ (whole >> bits)
    return whole
