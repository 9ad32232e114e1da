"""The proof that an integer matrix product is right without computing it: Freivalds' test, exact, on the host."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int8]
Doubles = NDArray[np.float64]
Product = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int32]

VECTORS = 20
"""A row with one wrong element never passes; one with several passes each ±1 vector with chance ½ at most, so 2⁻²⁰."""
_COLUMNS = 512
"""Columns that are widened to doubles at a time, because whole matrices would not fit beside each other."""


def wrong_rows(left: Integers, right: Integers, product: Product, seed: int) -> NDArray[np.intp]:
    """Rows of `product` (m × n) that differ from `left` (m × k) times `right` (k × n).

    Compares product·w with left·(right·w) for random w of ±1 (R. Freivalds, 1977). With whole numbers as
    `fills.exact_bound` draws them no sum reaches 2⁵³, so doubles are exact in any order of summation. NaN is wrong.
    """
    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), (product.shape[1], VECTORS))
    residual = _times(left, _times(right, signs)) - _times(product, signs)
    return np.flatnonzero(~(residual == 0).all(axis=1))


def rows(left: Integers, right: Integers, wanted: NDArray[np.intp]) -> Doubles:
    """The true rows `wanted` of left · right, for whole numbers as above: shape (len(wanted), n)."""
    true = np.empty((len(wanted), right.shape[1]))
    chosen = left[wanted].astype(np.float64)
    for first in range(0, right.shape[1], _COLUMNS):
        part = slice(first, first + _COLUMNS)
        true[:, part] = chosen @ right[:, part].astype(np.float64)
    return true


def _times(matrix: Integers | Product, vectors: Doubles) -> Doubles:
    total = np.zeros((matrix.shape[0], vectors.shape[1]))
    for first in range(0, matrix.shape[1], _COLUMNS):
        part = slice(first, first + _COLUMNS)
        with np.errstate(invalid="ignore", over="ignore"):  # because a broken card may have made NaN or infinity
            total += matrix[:, part].astype(np.float64) @ vectors[part]
    return total
