"""Exact products: a fault that repeats is found as surely as one that does not."""

import pytest

from gpucert.reading import Absence, Absent
from gpucert.stress.backend import DType
from tests.fakes import faulty, run_probe


def test_healthy_products_are_exact_in_every_type() -> None:
    bench = run_probe("gemm_exact")
    for dtype in DType:
        assert bench.number(f"{dtype.value}_wrong") == 0
        assert bench.number(f"{dtype.value}_elements") > 500_000
    assert not bench.unset


@pytest.mark.parametrize(("unit", "types"), [("fp32", {"fp32"}), ("fp64", {"fp64"}), ("tensor", {"fp16", "bf16"})])
@pytest.mark.parametrize("fault", ['kind = "sm_arithmetic"\nsm = 5\nevery = 500', 'kind = "wrong_every_time"'])
def test_wrong_products_are_counted_in_the_types_of_the_unit(unit: str, types: set[str], fault: str) -> None:
    bench = run_probe("gemm_exact", faulty(f'{fault}\nunit = "{unit}"'))
    assert {dtype.value for dtype in DType if bench.number(f"{dtype.value}_wrong")} == types
    assert {mismatch.kind for mismatch in bench.mismatches} == {"compute"}


@pytest.mark.parametrize(
    ("model", "missing"), [("Tesla T4", {"bf16"}), ("Tesla P100-PCIE-16GB", {"fp16", "bf16"}), ("NVIDIA A10", set())]
)
def test_types_that_a_model_lacks_are_said_to_be_missing(model: str, missing: set[str]) -> None:
    bench = run_probe("gemm_exact", f'model = "{model}"\nvram_mib = 4\n')
    absent = {dtype.value for dtype in DType if isinstance(bench.values[f"{dtype.value}_wrong"], Absent)}
    assert absent == missing
    assert {v.absent for v in bench.values.values() if isinstance(v, Absent)} <= {Absence.NOT_SUPPORTED}
