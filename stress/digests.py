"""The digest of a product in NumPy: one number that tells a wrong output as surely as 64 bits can; twin of gemm.cu."""

import numpy as np
from numpy.typing import NDArray

from gpucert.stress.answers import GOLDEN

Words = NDArray[np.uint64]

_LEA = np.uint64(0xDABA0B6EB09322E3)
_HALF = np.uint64(32)
_BLOCK = 1 << 17
"""Words that are mixed at a time, because they are to stay in the host's cache."""


def digest(words: Words) -> int:
    """The sum modulo 2⁶⁴ of every word mixed with its place, whatever the order of summation.

    A single word that differs always shows, because the mixer (lea64: G. Steele and S. Vigna, "LXM: better splittable
    pseudorandom number generators", 2021) gives no two of them the same; several hide each other with chance 2⁻⁶⁴.
    """
    total = 0
    for first in range(0, len(words), _BLOCK):
        block = words[first : first + _BLOCK]
        places = np.arange(first + 1, first + 1 + len(block), dtype=np.uint64)
        total += int(_mixed(block ^ (places * np.uint64(GOLDEN))).sum(dtype=np.uint64))
    return total & ((1 << 64) - 1)


def _mixed(words: Words) -> Words:
    for _ in range(2):
        words ^= words >> _HALF
        words *= _LEA
    words ^= words >> _HALF
    return words
