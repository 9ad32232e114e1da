"""Sustained products: per clock a slow chip shows and a hot or capped one does not; wrong answers are counted."""

from dataclasses import replace

import pytest

from gpucert.probes import gemm_sustained, load
from gpucert.reading import Absence, Absent
from gpucert.stress.backend import DType, OutOfMemoryError, Product
from gpucert.stress.host import HostBackend, HostMatrices
from gpucert.stress.medium import Work
from gpucert.units import Unit
from tests.fakes import HEALTHY, faulty, run_probe


def per_clock(scenario: str, dtype: str = "fp16") -> float:
    return run_probe("gemm_sustained", scenario, seconds=120).number(f"{dtype}_per_clock")


def test_every_promise_is_kept_and_the_figures_fit_together() -> None:
    bench = run_probe("gemm_sustained", seconds=120)
    assert not bench.unset
    assert bench.number("wrong") == 0
    assert bench.number("fp16_rate") / bench.number("fp32_rate") == pytest.approx(16, rel=0.15)
    assert bench.number("fp16_per_joule") == pytest.approx(bench.number("fp16_rate") * 1000 / 400, rel=0.1)
    assert bench.u["fp16_rate"] is not None


def test_a_slow_chip_is_slow_per_clock() -> None:
    assert per_clock(faulty('kind = "slow_compute"\nunit = "tensor"\nfactor = 0.85')) == pytest.approx(
        0.85 * per_clock(HEALTHY), rel=0.01
    )


@pytest.mark.parametrize("fault", ['kind = "power_limit"\nwatts = 250', 'kind = "hot_inlet"\ninlet_c = 40'])
def test_a_capped_or_hot_card_is_as_good_per_clock(fault: str) -> None:
    assert per_clock(faulty(fault)) == pytest.approx(per_clock(HEALTHY), rel=0.02)


def test_wrong_outputs_are_counted_and_located_with_their_type_and_numbers() -> None:
    bench = run_probe(
        "gemm_sustained", faulty('kind = "sm_arithmetic"\nsm = 3\nunit = "fp32"\nevery = 999'), seconds=60
    )
    assert 0 < len(bench.mismatches) <= min(bench.number("wrong"), gemm_sustained.MOST_RECORDED)
    assert {(one.kind, one.reader_sm) for one in bench.mismatches} == {("compute", None)}
    assert {one.phase for one in bench.mismatches} <= {
        f"sustained fp32 {kind} data {number}" for number, kind in enumerate(("full", "toggling", "full"))
    }


def test_a_fault_in_any_numbers_is_on_record_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but toggling numbers goes wrong, as in a core that cannot follow them."""
    renew = HostMatrices.renew

    def spoil(self: HostMatrices, seed: int, *, toggling: bool = False) -> None:
        renew(self, seed, toggling=toggling)
        if toggling:
            self.reference.ravel()[7] += 1

    monkeypatch.setattr(HostMatrices, "renew", spoil)
    bench = run_probe("gemm_sustained", seconds=60)
    assert {one.phase for one in bench.mismatches} == {
        f"sustained {dtype.value} toggling data 1" for dtype in DType if dtype is not DType.FP8
    }


@pytest.fixture
def renewals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Seed and kind of all numbers that took the place of others."""
    noted: list[tuple[int, bool]] = []
    renew = HostMatrices.renew

    def note(self: HostMatrices, seed: int, *, toggling: bool = False) -> None:
        noted.append((seed, toggling))
        renew(self, seed, toggling=toggling)

    monkeypatch.setattr(HostMatrices, "renew", note)
    return noted


def test_numbers_are_renewed_twice_on_a_virtual_card(renewals: list[tuple[int, bool]]) -> None:
    bench = run_probe("gemm_sustained", seconds=60)
    assert renewals == [(bench.seed + 1, True), (bench.seed + 2, False)] * 6
    trace = bench.traces["bf16_data"]
    assert trace.column("number") == (0.0, 1.0, 2.0)
    assert trace.column("toggling") == (0.0, 1.0, 0.0)
    assert trace.column("inner_size") == (32768.0,) * 3


def test_numbers_are_renewed_every_five_seconds_on_a_card(
    renewals: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostBackend, "fills_time", True)
    bench = run_probe("gemm_sustained", seconds=120)
    trace = bench.traces["fp16_data"]
    numbers = range(len(trace.at_s))
    assert trace.column("toggling") == tuple(float(number % 3 == 1) for number in numbers)
    assert {toggling for seed, toggling in renewals if seed % 3 == (bench.seed + 1) % 3} == {True}
    stays = [after - before for before, after in zip(trace.at_s, trace.at_s[1:], strict=False)]
    full = [stay for number, stay in zip(numbers, stays, strict=False) if number % 3 != 1]
    assert all(4.5 < stay < 6.5 for stay in full)
    assert len(full) >= 2
    assert all(stay < 1.5 for stay in stays if stay not in full)


def test_toggling_numbers_are_in_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take ten times as long here, at the power of rest."""
    healthy = run_probe("gemm_sustained", seconds=60)
    renew, run, toggles = HostMatrices.renew, HostMatrices.run, set[HostMatrices]()

    def note(self: HostMatrices, seed: int, *, toggling: bool = False) -> None:
        renew(self, seed, toggling=toggling)
        (toggles.add if toggling else toggles.discard)(self)

    def late(self: HostMatrices, runs: int, *, check: bool, first_column: int = 0) -> Product:
        product = run(self, runs, check=check, first_column=first_column)
        if self not in toggles:
            return product
        rested = self._medium.spend(Work(kind="idle", seconds=9 * product.seconds))
        return replace(product, seconds=product.seconds + rested)

    monkeypatch.setattr(HostMatrices, "renew", note)
    monkeypatch.setattr(HostMatrices, "run", late)
    bench = run_probe("gemm_sustained", seconds=240)
    for dtype in ("fp64", "fp16", "int8"):
        for suffix in ("rate", "per_clock", "per_joule"):
            name = f"{dtype}_{suffix}"
            assert bench.number(name) == pytest.approx(healthy.number(name), rel=0.02)


def test_inputs_are_looked_at_before_others_take_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    run, once = HostMatrices.run, set[DType]()

    def spoil(self: HostMatrices, runs: int, *, check: bool, first_column: int = 0) -> Product:
        if self.dtype not in once and check:
            once.add(self.dtype)
            self._left.ravel()[7] += 1
        return run(self, runs, check=check, first_column=first_column)

    monkeypatch.setattr(HostMatrices, "run", spoil)
    assert run_probe("gemm_sustained", seconds=60).number("inputs_wrong") == 6


def test_the_depth_that_memory_leaves_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = HostBackend.matrices

    def small(
        self: HostBackend, dtype: DType, size: int, seed: int, *, exact: bool, inner: int | None = None
    ) -> HostMatrices:
        if inner is not None and inner > 16384:
            raise OutOfMemoryError("no room")
        return prepare(self, dtype, size, seed, exact=exact, inner=inner)

    monkeypatch.setattr(HostBackend, "matrices", small)
    bench = run_probe("gemm_sustained", seconds=60)
    depths = {dtype: bench.traces[f"{dtype}_data"].column("inner_size")[0] for dtype in ("fp64", "fp16", "int8")}
    assert depths == {"fp64": 8192.0, "fp16": 16384.0, "int8": 16384.0}


def test_types_that_the_model_lacks_are_absent() -> None:
    bench = run_probe("gemm_sustained", 'model = "Tesla T4"\nvram_mib = 4\n', seconds=60)
    assert isinstance(bench.values["bf16_rate"], Absent)
    assert bench.number("fp16_rate") > 0


def test_int8_is_counted_in_operations_and_is_twice_as_fast() -> None:
    bench = run_probe("gemm_sustained", seconds=120)
    units = {one.name: one.unit for one in load("gemm_sustained").measures if one.name.startswith("int8")}
    assert units == {
        "int8_rate": Unit.TOP_PER_SECOND,
        "int8_per_clock": Unit.OP_PER_CLOCK_SM,
        "int8_per_joule": Unit.GOP_PER_JOULE,
    }
    assert bench.number("int8_per_clock") / bench.number("fp16_per_clock") == pytest.approx(2 * 0.75 / 0.88, rel=0.02)
    assert bench.number("tf32_per_clock") / bench.number("fp16_per_clock") == pytest.approx(0.5 * 0.82 / 0.88, rel=0.02)
    assert bench.number("int8_per_joule") > bench.number("fp16_per_joule") > bench.number("tf32_per_joule")


@pytest.mark.parametrize("model", ["NVIDIA H100 80GB HBM3", "Tesla T4", "Tesla P100-PCIE-16GB"])
def test_more_types_take_no_longer(model: str) -> None:
    bench = run_probe("gemm_sustained", f'model = "{model}"\nvram_mib = 4\n', seconds=120)
    assert 90 < 120 - bench.time_left() < 124


def test_fp8_is_not_measured_and_says_why() -> None:
    hopper = run_probe("gemm_sustained", 'model = "NVIDIA H100 80GB HBM3"\nvram_mib = 4\n', seconds=30)
    older = run_probe("gemm_sustained", 'model = "NVIDIA A10"\nvram_mib = 4\n', seconds=30)
    for suffix in ("rate", "per_clock", "per_joule"):
        assert hopper.values[f"fp8_{suffix}"] == Absent(Absence.UNKNOWN, "the libraries at hand give no FP8 product")
        told = older.values[f"fp8_{suffix}"]
        assert isinstance(told, Absent)
        assert told.absent is Absence.NOT_SUPPORTED
        assert "starts with compute capability 8.9" in told.detail
