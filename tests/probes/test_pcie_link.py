"""PCIe: judged under load, with replays as growth and data compared."""

import pytest

from tests.fakes import faulty, run_probe


def test_a_full_link_is_measured_under_load() -> None:
    bench = run_probe("pcie_link")
    assert (bench.number("generation"), bench.number("width")) == (4, 16)
    assert 20 < bench.number("to_card") < 32
    assert bench.number("wrong_words") == bench.number("replays") == 0
    assert not bench.unset


@pytest.mark.parametrize(
    ("fault", "measure", "value"),
    [
        ('kind = "pcie_width"\nwidth = 8', "width", 8),
        ('kind = "pcie_gen"\ngen = 3', "generation", 3),
    ],
)
def test_a_narrow_or_old_link_shows(fault: str, measure: str, value: int) -> None:
    healthy = run_probe("pcie_link").number("to_card")
    bench = run_probe("pcie_link", faulty(fault))
    assert bench.number(measure) == value
    assert bench.number("to_card") < 0.7 * healthy


def test_replays_are_growth_during_the_load() -> None:
    assert run_probe("pcie_link", faulty('kind = "pcie_replays"\nper_minute = 100000')).number("replays") > 100
