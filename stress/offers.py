"""Which products and answers a card and the libraries at hand offer; what is not offered is said, never passed."""

from collections.abc import Iterable

from gpucert.stress.backend import (
    ArithmeticUnit,
    Backend,
    DType,
    Matrices,
    UnitNotOfferedError,
    UnitOutOfReachError,
)

FIRST_WITH = {DType.TF32: 80, DType.BF16: 80, DType.INT8: 72, DType.FP8: 89}
"""The first compute capability, times ten, whose tensor cores multiply the type. From 6.1 to 7.0 cuBLAS multiplies
INT8, too, by dp4a on other units at a rate that the catalogue does not hold: that is not offered. TF32 products of
older cards would be FP32 products without a word."""
OUT_OF_REACH = {DType.FP8}
"""cublasGemmEx, which CuPy calls, does not multiply them; cublasLt does, which CuPy does not reach."""
HEATERS = (DType.FP16, DType.BF16, DType.FP32)
"""Types whose products draw the most power, the first that a card offers."""
HEATER_SIZE = 8192
_SMALL = 256


def offered(dtype: DType, compute_capability: int) -> None:
    """Whether products of a type can be asked for; `compute_capability` is times ten. Raises UnitNotOfferedError."""
    first, name = FIRST_WITH.get(dtype, 0), dtype.value.upper()
    if compute_capability < first:
        raise UnitNotOfferedError(f"{name} on tensor cores starts with compute capability {first // 10}.{first % 10}")
    if dtype in OUT_OF_REACH:
        raise UnitOutOfReachError(f"the libraries at hand give no {name} product")


def answered(unit: ArithmeticUnit, compute_capability: int) -> None:
    """Whether SMs can be asked for known answers of a unit; as `offered`. Raises UnitNotOfferedError."""
    first = unit.first_capability
    if compute_capability < first:
        raise UnitNotOfferedError(f"{unit.value} answers start with compute capability {first // 10}.{first % 10}")


def first_offered(backend: Backend, dtypes: Iterable[DType], size: int, seed: int, *, exact: bool) -> Matrices:
    """The product of the first of these types that the card offers. Raises UnitNotOfferedError."""
    for dtype in dtypes:
        try:
            return backend.matrices(dtype, size, seed, exact=exact)
        except UnitNotOfferedError:
            continue
    raise UnitNotOfferedError("no matrix product is offered to load the card with")


def heater(backend: Backend, seed: int) -> Matrices:
    """The product that heats most: full-mantissa data, because zeros run cooler. Raises UnitNotOfferedError."""
    return first_offered(backend, HEATERS, HEATER_SIZE, seed, exact=False)


def refused(backend: Backend, seed: int) -> dict[DType, UnitNotOfferedError]:
    """The types that a backend does not multiply on its card, each with the reason, found by asking for each."""
    reasons: dict[DType, UnitNotOfferedError] = {}
    for dtype in DType:
        try:
            backend.matrices(dtype, _SMALL, seed, exact=False).free()
        except UnitNotOfferedError as error:
            reasons[dtype] = error
    return reasons
