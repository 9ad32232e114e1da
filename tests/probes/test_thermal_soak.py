"""Thermal soak: a clean step of power, and what held the clocks down during it."""

import itertools

import pytest
from msgspec import structs

from gpucert.reading import Absent
from gpucert.record import EventReason, Sample
from tests.fakes import HEALTHY, InProcessCard, faulty, run_probe

TIMES = {"idle_s": 10, "pulses": 0, "heat_s": 40, "cool_s": 10}


def test_heat_begins_after_the_rest_and_ends_before_the_cooling() -> None:
    bench = run_probe("thermal_soak", seconds=100, **TIMES)
    assert not bench.unset
    assert bench.number("heat_began") == pytest.approx(10, abs=1.5)
    assert bench.number("heat_ended") - bench.number("heat_began") == pytest.approx(40, abs=2.5)
    assert bench.number("end_temperature") > bench.number("idle_temperature") + 10
    assert bench.number("plateau_power") == pytest.approx(400, rel=0.1)
    assert bench.number("thermal_throttle") == bench.number("power_brake") == 0


def test_pulses_come_before_the_long_load_with_rests_between() -> None:
    bench = run_probe("thermal_soak", seconds=100, **{**TIMES, "pulses": 2, "gap_s": 10})
    assert bench.number("pulses") == 2
    assert bench.number("pulses_began") == pytest.approx(10, abs=1.5)
    assert bench.number("heat_began") - bench.number("pulses_began") == pytest.approx(2 * (2 + 10), abs=2.5)
    loaded = [one.at_s for one in bench.card.samples(0) if one.power_w > 200]  # type: ignore[operator]
    assert sum(later - earlier > 5 for earlier, later in itertools.pairwise(loaded)) == 2, (
        "two pulses and the long load"
    )


def test_the_hosts_power_brake_is_told_apart_from_heat() -> None:
    bench = run_probe("thermal_soak", faulty('kind = "power_brake"\nat_s = 0'), seconds=100, **TIMES)
    assert bench.number("power_brake") > 90
    assert bench.number("thermal_throttle") == 0


def test_a_card_that_slows_down_from_heat_shows_it() -> None:
    bench = run_probe("thermal_soak", faulty('kind = "interface"\nscale = 3'), seconds=100, **TIMES)
    assert bench.number("thermal_throttle") > 10


class OldCard(InProcessCard):
    """A card that says only that its hardware slows it down, not why."""

    reasons = int(EventReason.HW_SLOWDOWN)

    def samples(self, since_s: float) -> tuple[Sample, ...]:
        return tuple(structs.replace(one, event_reasons=self.reasons) for one in super().samples(since_s))


class BrakedCard(OldCard):
    reasons = int(EventReason.HW_SLOWDOWN | EventReason.HW_POWER_BRAKE)


def test_a_slowdown_without_a_cause_is_heat_unless_the_host_brakes() -> None:
    old = run_probe("thermal_soak", card=OldCard(HEALTHY), seconds=100, **TIMES)
    braked = run_probe("thermal_soak", card=BrakedCard(HEALTHY), seconds=100, **TIMES)
    assert (old.number("thermal_throttle"), old.number("power_brake")) == (100, 0)
    assert (braked.number("thermal_throttle"), braked.number("power_brake")) == (0, 100)


def test_an_absurd_sensor_is_not_averaged() -> None:
    bench = run_probe(
        "thermal_soak", faulty('kind = "absurd"\nreading = "temperature_c"\nvalue = 255'), seconds=100, **TIMES
    )
    assert isinstance(bench.values["end_temperature"], Absent)
