"""Sustained products: per clock a slow chip shows and a hot or capped one does not; wrong answers are counted."""

import pytest

from gpucert.probes import load
from gpucert.reading import Absence, Absent
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


def test_wrong_outputs_are_counted() -> None:
    bench = run_probe(
        "gemm_sustained", faulty('kind = "sm_arithmetic"\nsm = 3\nunit = "fp32"\nevery = 999'), seconds=60
    )
    assert bench.number("wrong") > 0


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
