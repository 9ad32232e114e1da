"""The plain side of a comparison: what anybody would write with CuPy's runtime and cuBLAS alone.

It shares nothing with gpucert but the memory it works on, because another memory, or other numbers in it, would be
other work. Everything runs on the default stream and is timed by events.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from gpucert.stress.backend import WORD_BYTES, Matrices, Region


class Plain(Protocol):
    """What anybody would write with the libraries alone; seconds are those on the card."""

    def copy(self, regions: Sequence[Region], passes: int) -> float:
        """Copy the first half of each region to its second half: seconds."""

    def multiply(self, matrices: Matrices, runs: int) -> float:
        """The same product by the same call of cuBLAS, `runs` times: seconds."""


class PlainCuda:
    """CuPy's runtime and cuBLAS, on the default stream as everything else here."""

    def __init__(self) -> None:
        from cupy.cuda import Event
        from cupy_backends.cuda.libs import cublas

        self._cublas = cublas
        self._handle = cublas.create()
        self._start, self._end = Event(), Event()

    def copy(self, regions: Sequence[Region], passes: int) -> float:
        """cudaMemcpyAsync within the card; a region's handle is its address."""
        from cupy.cuda import runtime

        def once() -> None:
            for region in regions:
                half = region.words // 4 * 2 * WORD_BYTES
                runtime.memcpyAsync(region.handle + half, region.handle, half, runtime.memcpyDefault, 0)

        return self._timed(once, passes)

    def multiply(self, matrices: Matrices, runs: int) -> float:
        """cublasGemmEx on the operands that gpucert multiplies, since the power of a product hangs on its numbers."""
        import numpy as np

        from gpucert.stress.cublas import RECIPES
        from gpucert.stress.cuda_matrices import CudaMatrices

        assert isinstance(matrices, CudaMatrices)
        recipe, (m, n, k) = RECIPES[matrices.dtype], matrices.shape
        one, zero = np.ones(1, recipe.scalar), np.zeros(1, recipe.scalar)

        def once() -> None:
            self._cublas.gemmEx(
                self._handle, recipe.left_operation, 0, m, n, k, one.ctypes.data, matrices.left, recipe.inputs,
                k if recipe.left_by_rows else m, matrices.right, recipe.inputs, k, zero.ctypes.data, matrices.result,
                recipe.output, m, recipe.compute, -1,
            )  # fmt: skip

        return self._timed(once, runs)

    def _timed(self, once: Callable[[], None], times: int) -> float:
        from cupy.cuda import runtime

        runtime.eventRecord(self._start.ptr, 0)
        for _ in range(times):
            once()
        runtime.eventRecord(self._end.ptr, 0)
        runtime.eventSynchronize(self._end.ptr)
        return float(runtime.eventElapsedTime(self._start.ptr, self._end.ptr)) / 1000
