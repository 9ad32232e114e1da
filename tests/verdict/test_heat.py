"""The fit of a thermal soak, against step responses whose truth is known and that the virtual card did not make."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gpucert.outcome import StepStatus
from gpucert.reading import Absence, Absent
from gpucert.record import Measurement, StepRecord, Trace
from gpucert.units import Unit
from gpucert.verdict import heat
from gpucert.verdict.heat import Resistance

TAUS_S = (0.08, 0.4, 4.0, 55.0)
"""One group more than the fit has, because real cards have more as well."""
REST_S, HEAT_S, COOL_S = 60.0, 180.0, 90.0


def soak(
    groups: tuple[float, ...],
    *,
    watts: float = 300.0,
    idle_w: float = 40.0,
    heat_s: float = HEAT_S,
    drift_c_per_min: float = 0.0,
    noise_c: float = 0.3,
    seed: int = 1,
    every_s: float = 0.1,
    fan: tuple[float, float] = (heat.FAN_AT_PERCENT, heat.FAN_AT_PERCENT),
) -> StepRecord:
    """A soak's record: true heat at 100 Hz, read in whole degrees and noisy watts; `fan` is at rest and under load."""
    fine = 0.01
    times = np.arange(0, REST_S + heat_s + COOL_S, fine)
    power = np.where((times >= REST_S) & (times < REST_S + heat_s), watts, idle_w)
    rise = sum(_response(power, r, tau, fine) for r, tau in zip(groups, TAUS_S, strict=True))
    chance = np.random.default_rng(seed)
    keep = slice(None, None, round(every_s / fine))
    at_s = times[keep]
    truth = 25.0 + rise[keep] + drift_c_per_min / 60 * at_s
    degrees = np.round(truth + chance.normal(0, noise_c, len(at_s)))
    meter = power[keep] * (1 + chance.normal(0, 0.01, len(at_s)))
    loaded = (at_s >= REST_S) & (at_s < REST_S + heat_s)
    channels: dict[str, tuple[float | Absence, ...]] = {
        "temperature_c": tuple(degrees.tolist()),
        "power_w": tuple(meter.tolist()),
        "fan_percent": tuple(np.where(loaded, fan[1], fan[0]).tolist()),
    }
    return StepRecord(
        index=3, probe="thermal_soak", blocker=False, seconds=420, status=StepStatus.RAN, began_s=0.0,
        ended_s=float(times[-1]), traces={"telemetry": Trace(tuple(at_s.tolist()), channels)},
        measurements=(
            Measurement(name="heat_began", unit=Unit.SECOND, value=REST_S),
            Measurement(name="heat_ended", unit=Unit.SECOND, value=REST_S + heat_s),
        ),
    )  # fmt: skip


def _response(power: np.ndarray, r: float, tau: float, step: float) -> np.ndarray:
    """Starting at rest: the response to what is above the first value, plus that of the first value for ever."""
    kept = np.exp(-step / tau)
    out, state = np.empty_like(power), power[0]
    for place, watts in enumerate(power):
        state = kept * state + (1 - kept) * watts
        out[place] = r * state
    return out


def z(groups: tuple[float, ...], seconds: float) -> float:
    return sum(r * (1 - np.exp(-seconds / tau)) for r, tau in zip(groups, TAUS_S, strict=True))


def value(found: Resistance | Absent) -> float:
    assert isinstance(found, Resistance), found
    return found.value


A_300_W_CARD = (0.018, 0.027, 0.03, 0.07)


@settings(max_examples=12, deadline=None)
@given(
    fast=st.floats(0.7, 3.0),
    slow=st.floats(0.7, 3.0),
    drift=st.floats(-0.5, 0.5),
    seed=st.integers(0, 1000),
)
def test_the_curve_is_found_within_a_tenth(fast: float, slow: float, drift: float, seed: int) -> None:
    a, b, plate, air = A_300_W_CARD
    groups = (a * fast, b * fast, plate, air * slow)
    found = heat.of_step(soak(groups, drift_c_per_min=drift, seed=seed))
    assert value(found.fast) == pytest.approx(z(groups, 1.0), rel=0.10)
    assert value(found.total) == pytest.approx(sum(groups), rel=0.10)
    assert value(found.slow) == pytest.approx(sum(groups) - z(groups, 10.0), rel=0.15)


def test_a_small_card_with_a_small_heat_is_found_as_well() -> None:
    groups = (0.06, 0.09, 0.08, 0.35)
    found = heat.of_step(soak(groups, watts=110, idle_w=12))
    assert value(found.total) == pytest.approx(sum(groups), rel=0.10)


def test_uncertainties_cover_the_truth_and_say_something() -> None:
    inside = 0
    for seed in range(12):
        found = heat.of_step(soak(A_300_W_CARD, seed=seed))
        assert isinstance(found.total, Resistance)
        assert 0.005 < found.total.u / found.total.value < 0.10
        inside += abs(found.total.value - sum(A_300_W_CARD)) < 2 * found.total.u
    assert inside >= 11


def test_a_slow_fan_is_reckoned_up_to_the_speed_that_resistances_are_told_for() -> None:
    first, second, plate, air = A_300_W_CARD
    found = heat.of_step(soak(A_300_W_CARD, fan=(35.0, 35.0)))
    assert value(found.total) == pytest.approx(first + second + plate + air * 0.5**heat.FAN_EXPONENT, rel=0.03)
    assert value(found.fast) == pytest.approx(z(A_300_W_CARD, 1.0), rel=0.03), "a fan does nothing in a second"


def test_only_a_fan_that_turns_alike_is_called_steady() -> None:
    assert not heat.of_step(soak(A_300_W_CARD, fan=(30.0, 80.0))).steady_fan
    assert heat.of_step(soak(A_300_W_CARD)).steady_fan


def test_a_short_load_shows_the_first_second_only() -> None:
    found = heat.of_step(soak(A_300_W_CARD, heat_s=30))
    assert value(found.fast) == pytest.approx(z(A_300_W_CARD, 1.0), rel=0.12)
    assert isinstance(found.slow, Absent)
    assert isinstance(found.total, Absent)


def test_telemetry_of_one_row_a_second_is_too_coarse() -> None:
    found = heat.of_step(soak(A_300_W_CARD, every_s=1.0))
    assert isinstance(found.fast, Absent)
    assert "gaps" in found.fast.detail


def test_a_card_that_warms_little_in_the_first_second_is_not_judged_by_it() -> None:
    found = heat.of_step(soak(A_300_W_CARD, watts=120))
    assert isinstance(found.fast, Absent)
    assert isinstance(found.total, Resistance)


def higher_before(step: StepRecord, *moments: float) -> StepRecord:
    """The soak with a degree more until each of these moments, as a sensor reads that flips there."""
    trace = step.traces["telemetry"]
    degrees = np.array(trace.column("temperature_c"), dtype=np.float64)
    for moment in moments:
        degrees += np.array(trace.at_s) < moment
    channels = {**trace.channels, "temperature_c": tuple(degrees.tolist())}
    return structs.replace(step, traces={"telemetry": structs.replace(trace, channels=channels)})


@pytest.mark.parametrize("moment", [42.0, 48.0, 50.0, 52.0, 58.0])
def test_a_reading_that_flips_once_at_rest_leaves_the_card_tested(moment: float) -> None:
    """A reading in whole degrees flips where the temperature stands at half a degree; the card is at rest."""
    still = soak(A_300_W_CARD, noise_c=0.0)
    found, flipped = heat.of_step(still), heat.of_step(higher_before(still, moment))
    for name, within in (("fast", 0.05), ("slow", 0.05), ("total", 0.02)):
        assert value(getattr(flipped, name)) == pytest.approx(value(getattr(found, name)), rel=within)


def test_two_flips_or_a_short_rest_are_no_rest() -> None:
    still = soak(A_300_W_CARD, noise_c=0.0)
    assert isinstance(heat.of_step(higher_before(still, 30.0, 50.0)).fast, Absent)
    assert isinstance(heat.of_step(higher_before(still, 10.0, 50.0)).fast, Resistance), "long over"
    flipped = higher_before(still, 50.0)
    trace = flipped.traces["telemetry"]
    late = structs.replace(
        trace,
        at_s=trace.at_s[250:],
        channels={name: trace.column(name)[250:] for name in trace.channels},
    )
    short = heat.of_step(structs.replace(flipped, traces={"telemetry": late}))
    assert isinstance(short.fast, Absent)
    assert "rest" in short.fast.detail


def test_a_card_that_is_not_at_rest_is_not_judged() -> None:
    found = heat.of_step(soak(A_300_W_CARD, drift_c_per_min=-12))
    assert isinstance(found.total, Absent)
    assert "rest" in found.total.detail


@pytest.mark.parametrize("lost", ["temperature_c", "power_w"])
def test_without_a_channel_there_is_nothing_to_fit(lost: str) -> None:
    step = soak(A_300_W_CARD)
    trace = step.traces["telemetry"]
    gone = dict(trace.channels) | {lost: (Absence.NO_PERMISSION,) * len(trace.at_s)}
    found = heat.of_step(structs.replace(step, traces={"telemetry": structs.replace(trace, channels=gone)}))
    assert isinstance(found.fast, Absent)


def test_single_rows_without_a_reading_are_bridged() -> None:
    step = soak(A_300_W_CARD)
    trace = step.traces["telemetry"]
    holed = {name: tuple(_holed(trace.column(name))) for name in trace.channels}
    found = heat.of_step(structs.replace(step, traces={"telemetry": structs.replace(trace, channels=holed)}))
    assert value(found.total) == pytest.approx(value(heat.of_step(step).total), rel=0.002)
    assert found.steady_fan


def _holed(column: tuple[float | Absence, ...]) -> Iterator[float | Absence]:
    for place, one in enumerate(column):
        yield Absence.LOST if place % 97 == 5 else one


def test_a_power_sensor_that_stands_still_makes_no_resistance_of_nothing() -> None:
    """A resistance of 0 would pass every limit."""
    found = heat.of_step(soak(A_300_W_CARD, watts=40.0))
    assert isinstance(found.fast, Absent)
    assert isinstance(found.total, Absent)


@pytest.mark.parametrize("measure", ["heat_began", "heat_ended"])
def test_a_soak_that_did_not_end_shows_nothing(measure: str) -> None:
    step = soak(A_300_W_CARD)
    kept = tuple(one for one in step.measurements if one.name != measure)
    assert isinstance(heat.of_step(structs.replace(step, measurements=kept)).total, Absent)
