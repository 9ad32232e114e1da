"""Sustained products: per clock a slow chip shows and a hot or capped one does not; wrong answers are counted."""

import pytest

from gpucert.reading import Absent
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
