"""PCIe: judged under load, with replays as growth and data compared."""

import pytest

from gpucert import probes
from gpucert.device.simulated.medium import VirtualMedium
from gpucert.stress.backend import Copy
from gpucert.stress.host import HostBackend
from tests.fakes import FakeBench, InProcessCard, faulty, run_probe


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


class _Pausing(HostBackend):
    """Copies for long, and makes and compares data in between, as a station does with a real card."""

    def copy(self, size_bytes: int, direction: str, seed: int) -> Copy:
        copied = super().copy(128 * size_bytes, direction, seed)
        self.idle(1.0)
        return copied


def test_what_an_idle_link_says_between_two_copies_does_not_count() -> None:
    card = InProcessCard('model = "NVIDIA GeForce RTX 4090"\nvram_mib = 4\nseed = 3\n')
    medium = VirtualMedium(card.scenario, bytearray(card.virtual.memory_bytes), card.advance, "pcie_link", 0.0)
    bench = FakeBench(card, _Pausing(medium), "pcie_link")
    probes.load("pcie_link").run(bench)
    said = {sample.pcie_gen for sample in card.samples(0.0)}
    assert said == {1, 4}, "the idle link of a GeForce drops to its lowest generation"
    assert bench.number("generation") == 4
