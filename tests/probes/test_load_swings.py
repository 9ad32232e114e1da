"""Swings of the load: what fails only when the load begins is found, at every frequency, in every type."""

import pytest

from gpucert.probes import load_swings
from gpucert.stress.backend import DType
from tests.fakes import InProcessCard, faulty, run_probe

FEWEST = load_swings.SWINGS * len(load_swings.FREQUENCIES_HZ)


@pytest.mark.parametrize("model", ["NVIDIA A100-SXM4-80GB", "Tesla P4", "NVIDIA GeForce RTX 3090", "Tesla T4"])
def test_a_healthy_card_swings_and_stays_right(model: str) -> None:
    bench = run_probe("load_swings", f'model = "{model}"\nvram_mib = 4\n')
    assert bench.number("wrong") == 0
    assert bench.number("elements") >= FEWEST * 256 * 256
    assert bench.number("swings") > FEWEST // 2
    assert bench.number("fastest") == 100
    assert not bench.unset


def test_load_and_rest_take_turns_as_told() -> None:
    card = InProcessCard('model = "NVIDIA A100-SXM4-80GB"\nvram_mib = 4\n')
    bench = run_probe("load_swings", card=card)
    periods = sum(load_swings.SWINGS / frequency for frequency in load_swings.FREQUENCIES_HZ)
    assert card.now_s() == pytest.approx(periods, rel=0.1)
    power = [sample.power_w for sample in card.samples(0.0) if isinstance(sample.power_w, float)]
    assert max(power) > 2 * min(power)
    assert bench.number("swings") == FEWEST


@pytest.mark.parametrize("unit", ["fp32", "tensor"])
def test_a_wrong_product_is_counted_and_located(unit: str) -> None:
    bench = run_probe("load_swings", faulty(f'kind = "sm_arithmetic"\nsm = 17\nunit = "{unit}"\nevery = 100'))
    assert bench.number("wrong") > 0
    assert {one.reader_sm for one in bench.mismatches} == {17}
    assert {one.phase.partition(" ")[0] for one in bench.mismatches} <= {dtype.value for dtype in DType}
