"""Exact products: a fault that repeats is found as surely as one that does not."""

import pytest

from gpucert.probes import gemm_exact
from gpucert.reading import Absence, Absent
from gpucert.stress.backend import DType, Product
from gpucert.stress.host import HostMatrices
from tests.fakes import faulty, run_probe

OFFERED = set(DType) - {DType.FP8}
TENSOR = {"tf32", "fp16", "bf16", "int8"}


def test_healthy_products_are_exact_in_every_type() -> None:
    bench = run_probe("gemm_exact")
    for dtype in OFFERED:
        assert bench.number(f"{dtype.value}_wrong") == 0
        assert bench.number(f"{dtype.value}_elements") > 500_000
    assert bench.number("inputs") > 500_000
    assert bench.number("inputs_wrong") == 0
    assert not bench.unset


def test_inputs_that_changed_in_memory_are_counted_after_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    run = HostMatrices.run

    def spoil(self: HostMatrices, runs: int, *, check: bool, first_column: int = 0) -> Product:
        self._left.ravel()[7] += 1
        return run(self, runs, check=check, first_column=first_column)

    monkeypatch.setattr(HostMatrices, "run", spoil)
    bench = run_probe("gemm_exact")
    offered = [dtype for dtype in DType if not isinstance(bench.values[f"{dtype.value}_wrong"], Absent)]
    assert bench.number("inputs_wrong") == len(offered)


def test_products_begin_at_another_column_each_time_and_in_the_end_at_all_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    run = HostMatrices.run

    def note(self: HostMatrices, runs: int, *, check: bool, first_column: int = 0) -> Product:
        begun.append(first_column)
        return run(self, runs, check=check, first_column=first_column)

    monkeypatch.setattr(HostMatrices, "run", note)
    run_probe("gemm_exact")
    assert len(set(begun)) == gemm_exact.RUNS
    turns = {number * gemm_exact.TURN % gemm_exact.SIZE for number in range(gemm_exact.SIZE)}
    assert turns == set(range(0, gemm_exact.SIZE, 256))


@pytest.mark.parametrize(("unit", "types"), [("fp32", {"fp32"}), ("fp64", {"fp64"}), ("tensor", TENSOR)])
@pytest.mark.parametrize("fault", ['kind = "sm_arithmetic"\nsm = 5\nevery = 500', 'kind = "wrong_every_time"'])
def test_wrong_products_are_counted_in_the_types_of_the_unit(unit: str, types: set[str], fault: str) -> None:
    bench = run_probe("gemm_exact", faulty(f'{fault}\nunit = "{unit}"'))
    assert {dtype.value for dtype in OFFERED if bench.number(f"{dtype.value}_wrong")} == types
    assert {mismatch.kind for mismatch in bench.mismatches} == {"compute"}


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("Tesla T4", {"tf32", "bf16", "fp8"}),
        ("Tesla V100-SXM2-32GB", {"tf32", "bf16", "int8", "fp8"}),
        ("Tesla P100-PCIE-16GB", {*TENSOR, "fp8"}),
        ("NVIDIA A10", {"fp8"}),
    ],
)
def test_types_that_a_model_lacks_are_said_to_be_missing(model: str, missing: set[str]) -> None:
    bench = run_probe("gemm_exact", f'model = "{model}"\nvram_mib = 4\n')
    absent = {dtype.value for dtype in DType if isinstance(bench.values[f"{dtype.value}_wrong"], Absent)}
    assert absent == missing
    assert {v.absent for v in bench.values.values() if isinstance(v, Absent)} <= {Absence.NOT_SUPPORTED}


@pytest.mark.parametrize("model", ["NVIDIA H100 80GB HBM3", "NVIDIA L4", "NVIDIA GeForce RTX 5090", "NVIDIA B200"])
def test_fp8_that_no_library_reaches_is_unknown_and_no_lack_of_the_card(model: str) -> None:
    bench = run_probe("gemm_exact", f'model = "{model}"\nvram_mib = 4\n')
    said = {name: value for name, value in bench.values.items() if isinstance(value, Absent)}
    reason = Absent(Absence.UNKNOWN, "the libraries at hand give no FP8 product")
    assert said == {"fp8_elements": reason, "fp8_wrong": reason}
