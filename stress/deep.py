"""The products that load a card for long: so deep that looking at every output of them costs next to nothing.

A digest reads each output once, whatever the inner size, so its share of the time falls as the inner size grows: about
1.5 % for 32,768 on tensor cores where 8,192 would cost 6 % (outputs of 4 bytes, 740 TFLOP/s, 3 TB/s). Other units are
so much slower that 8,192 is deep enough.
"""

from gpucert.stress.backend import UNIT_OF, ArithmeticUnit, Backend, DType, Matrices, OutOfMemoryError

SIZE = 8192
"""Rows and columns of the output, and the least inner size."""
_ON_TENSOR_CORES = 32_768
_OF_INT8 = 65_536
"""Its products take half as long, and its operands half the memory."""


def inner_sizes(dtype: DType, compute_capability: int) -> tuple[int, ...]:
    """The inner sizes to be tried, the deepest first; `compute_capability` is times ten."""
    tensor = UNIT_OF[dtype] is ArithmeticUnit.TENSOR and compute_capability >= ArithmeticUnit.TENSOR.first_capability
    deepest = SIZE if not tensor else _OF_INT8 if dtype is DType.INT8 else _ON_TENSOR_CORES
    return tuple(size for size in (_OF_INT8, _ON_TENSOR_CORES, 2 * SIZE, SIZE) if size <= deepest)


def deepest(backend: Backend, dtype: DType, seed: int) -> Matrices:
    """A full-mantissa product of the deepest shape that the card's memory has room for.

    Raises UnitNotOfferedError, and OutOfMemoryError where there is no room for any.
    """
    capability = int(backend.properties().compute_capability.replace(".", ""))
    *deeper, least = inner_sizes(dtype, capability)
    for inner in deeper:
        try:
            return backend.matrices(dtype, SIZE, seed, exact=False, inner=inner)
        except OutOfMemoryError:
            continue
    return backend.matrices(dtype, SIZE, seed, exact=False, inner=least)
