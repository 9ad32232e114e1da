"""cuBLAS through CuPy: what it is told for each type of product.

Matrices lie by columns, as cuBLAS wants them: element (i, j) of an m × n matrix is number i + j·m. Only the left
operand of INT8 lies by rows.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gpucert.stress.backend import DType
from gpucert.stress.cuda_card import CudaCard, NoCudaError


@dataclass(frozen=True)
class Recipe:
    """What cublasGemmEx is told for one type: numbers of cudaDataType and cublasComputeType_t.

    Literals, because CuPy has no names for all of them.
    """

    inputs: int
    output: int
    compute: int
    scalar: type[np.float32] | type[np.float64] | type[np.int32]
    """Type of the two factors, and of the output."""
    left_by_rows: bool = False
    multiple: int = 4
    """Of which every size must be a multiple; of 4, so that a column of outputs is whole pairs of words."""

    @property
    def output_bytes(self) -> int:
        """Bytes of an element of the output."""
        return np.dtype(self.scalar).itemsize

    @property
    def left_operation(self) -> int:
        """How cuBLAS is to take the left operand: as it lies (0), or turned (1)."""
        return int(self.left_by_rows)


RECIPES: dict[DType, Recipe] = {
    DType.FP64: Recipe(inputs=1, output=1, compute=70, scalar=np.float64),
    DType.FP32: Recipe(inputs=0, output=0, compute=69, scalar=np.float32),
    DType.TF32: Recipe(inputs=0, output=0, compute=77, scalar=np.float32),
    DType.FP16: Recipe(inputs=2, output=0, compute=68, scalar=np.float32),
    DType.BF16: Recipe(inputs=14, output=0, compute=68, scalar=np.float32),
    DType.INT8: Recipe(inputs=3, output=10, compute=72, scalar=np.int32, left_by_rows=True, multiple=16),
}
"""FP32 is pedantic (69): the plain compute type may be lowered to TF32 by a math mode. INT8 is multiplied on tensor
cores where sizes and leading dimensions are multiples of 4, better of 16, and where both operands lie along the inner
dimension, which takes the left one turned ("TN")."""

_NO_TRANSPOSE = 0
_DEFAULT_ALGORITHM = -1


class Cublas(Protocol):
    """What is used of cupy_backends.cuda.libs.cublas; names as there."""

    def create(self) -> int:
        """A handle."""

    def getVersion(self, handle: int) -> int:  # noqa: N802
        """Version as one number."""

    def gemmEx(self, handle: int, *arguments: int) -> None:  # noqa: N802
        """Queue a product; 18 arguments as cublasGemmEx has them."""


class Multiplier:
    """The cuBLAS handle of a card."""

    def __init__(self, card: CudaCard) -> None:
        self._card = card
        with card.errors():
            self._cublas = _import_cublas()
            self._handle = self._cublas.create()

    def version(self) -> str:
        """Version of cuBLAS, as `major.minor.patch`."""
        with self._card.errors():
            number = int(self._cublas.getVersion(self._handle))
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def multiply(self, recipe: Recipe, left: int, right: int, result: int, rows: int, columns: int, inner: int) -> None:
        """Queue result = left · right; addresses of matrices without padding, by columns or as the recipe has it."""
        one, zero = np.ones(1, recipe.scalar), np.zeros(1, recipe.scalar)
        with self._card.errors():
            self._cublas.gemmEx(
                self._handle, recipe.left_operation, _NO_TRANSPOSE, rows, columns, inner, one.ctypes.data,
                left, recipe.inputs, inner if recipe.left_by_rows else rows, right, recipe.inputs, inner,
                zero.ctypes.data,
                result, recipe.output, rows, recipe.compute, _DEFAULT_ALGORITHM,
            )  # fmt: skip


def _import_cublas() -> Cublas:
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise NoCudaError(f"cuBLAS cannot be loaded ({error}): install nvidia-cublas of the CUDA release") from error
    library: Cublas = cublas
    return library
