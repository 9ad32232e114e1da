"""Cooling, judged: one cause for one fault, none for a healthy card in a bad place, and what is told of its air."""

from functools import cache

import numpy as np
import pytest
from msgspec import structs

from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.reading import Absence
from gpucert.record import Column, Record, Trace
from gpucert.run import plan
from gpucert.run.plan import PlannedRun
from gpucert.trials import heat_suite, in_process
from gpucert.verdict.verdict import Finding, Verdict
from tests.verdict.judging import codes, judged

RTX_3090, A100 = "NVIDIA GeForce RTX 3090", "NVIDIA A100-SXM4-80GB"


def fault(kind: str, **fields: float) -> str:
    return f'[[fault]]\nkind = "{kind}"\n' + "".join(f"{name} = {value}\n" for name, value in fields.items())


def text(model: str, *lines: str) -> str:
    return f'model = "{model}"\nvram_mib = 1\nseed = 5\n' + "\n".join(lines)


@cache
def record(model: str, *lines: str) -> Record:
    """The steps that show heat, on a virtual card."""
    return in_process.run(text(model, *lines), "test", heat_suite.planned())


def found(verdict: Verdict, measure: str, probe: str = "thermal") -> Finding:
    (one,) = (one for one in verdict.findings if (one.probe, one.measure) == (probe, measure))
    return one


def told(verdict: Verdict, measure: str) -> float:
    value = found(verdict, measure).value
    assert isinstance(value, float), found(verdict, measure).reason
    return value


@pytest.mark.parametrize(
    ("model", "lines", "code"),
    [
        (RTX_3090, (fault("interface", scale=2.5),), "thermal.interface"),
        (RTX_3090, (fault("fan", index=0), fault("fan", index=1)), "thermal.airflow"),
        (A100, (fault("airflow", scale=2.5),), "station.airflow"),
        (RTX_3090, (fault("memory_pads", extra_c=60),), "thermal.memory_pads"),
        (A100, (fault("memory_pads", extra_c=35),), "thermal.memory_pads"),
        (RTX_3090, (fault("hotspot", extra_c=25),), "thermal.hotspot"),
        (A100, (fault("sensor_gain", factor=0.5),), "power.sensor"),
        (A100, (fault("sensor_gain", factor=2.4),), "power.sensor"),
        (A100, ("inlet_c = 38",), "station.inlet"),
    ],
)
def test_one_fault_has_one_cause(model: str, lines: tuple[str, ...], code: str) -> None:
    assert codes(judged(record(model, *lines))) == {code}


def test_pads_that_slow_a_card_without_a_sensor_of_its_memory_count_against_it() -> None:
    verdict = judged(record(RTX_3090, fault("memory_pads", extra_c=60)))
    assert verdict.outcome is VerdictOutcome.NOT_CERTIFIED
    assert verdict.diagnoses[0].confidence == "likely"
    assert "The die had" in verdict.diagnoses[0].evidence


def test_what_a_sensor_alone_says_of_pads_and_hot_spots_is_a_hint() -> None:
    for model, line in ((A100, fault("memory_pads", extra_c=35)), (RTX_3090, fault("hotspot", extra_c=25))):
        verdict = judged(record(model, line))
        assert verdict.outcome is VerdictOutcome.REPORTED
        assert all(one.advisory for one in verdict.diagnoses)


# What fails no card


def after_another_job() -> PlannedRun:
    """A soak that begins while the card is still hot from products."""
    quick = plan.load("quick")
    steps = {step.probe: step for step in quick.step}
    soak = structs.replace(steps["thermal_soak"], options={"idle_s": 20, "pulses": 0, "heat_s": 120, "cool_s": 20})
    return plan.ready(structs.replace(quick, name="hot", step=(steps["gemm_sustained"], soak)))


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        (RTX_3090, ("inlet_c = 34",)),
        (A100, ("inlet_c = 34",)),
        (RTX_3090, (fault("power_limit", watts=250),)),
        (RTX_3090, ('fan_mode = "stops"',)),
        (A100, ("inlet_drift_c_per_min = 0.5",)),
    ],
)
def test_a_healthy_card_in_a_bad_place_is_not_failed(model: str, lines: tuple[str, ...]) -> None:
    verdict = judged(record(model, *lines))
    assert verdict.outcome is not VerdictOutcome.NOT_CERTIFIED
    assert not [one for one in verdict.diagnoses if one.subject == "card"]
    for measure in ("fast", "slow", "total"):
        assert found(verdict, measure).outcome is Outcome.PASS, "differences need no cool air, cap or turning fan"


def test_the_heat_of_another_job_leaves_cooling_untested_and_says_so() -> None:
    verdict = judged(in_process.run(text(A100), "test", after_another_job()))
    assert found(verdict, "total").outcome is Outcome.SKIPPED
    assert "had not come to rest" in found(verdict, "total").reason
    assert not [code for code in codes(verdict) if code.startswith("thermal")]


def test_air_that_nobody_can_work_out_asks_for_it() -> None:
    """A fan that stands at rest leaves the card far warmer there than its resistance under load tells."""
    verdict = judged(record(RTX_3090, 'fan_mode = "stops"'))
    assert found(verdict, "inlet").outcome is Outcome.SKIPPED
    assert "--inlet-c" in found(verdict, "inlet").reason


# What sensors can do to it


def seen(one: Record, channel: str, change: object) -> Record:
    """The record with a channel of the soak's telemetry changed."""
    step = one.steps[0]
    trace = step.traces["telemetry"]
    column: Column = change(trace.column(channel))  # type: ignore[operator]
    new = Trace.of(trace.at_s, {name: trace.column(name) for name in trace.channels} | {channel: column})
    return structs.replace(one, steps=(structs.replace(step, traces={"telemetry": new}), *one.steps[1:]))


def averaged(watts: Column) -> Column:
    numbers = np.array(watts, dtype=np.float64)
    mean = np.convolve(np.concatenate([np.full(9, numbers[0]), numbers]), np.full(10, 0.1), mode="valid")
    return tuple(mean.tolist())


def test_power_that_is_averaged_over_a_second_is_no_better_interface_and_no_worse_one() -> None:
    whole = record(A100)
    instant, mean = judged(whole), judged(seen(whole, "power_w", averaged))
    assert told(mean, "fast") == pytest.approx(told(instant, "fast"), rel=0.04)
    assert told(mean, "total") == pytest.approx(told(instant, "total"), rel=0.01)
    assert not codes(mean)


def test_a_sensor_that_stands_still_passes_nothing() -> None:
    verdict = judged(seen(record(A100), "temperature_c", lambda column: (41.0,) * len(column)))
    assert {found(verdict, measure).outcome for measure in ("fast", "slow", "total")} == {Outcome.SKIPPED}
    assert "stand still" in found(verdict, "total").reason
    assert not codes(verdict)


def test_single_readings_that_cannot_be_make_no_diagnosis() -> None:
    def spoiled(column: Column) -> Column:
        return tuple(Absence.ABSURD if place % 400 == 7 else one for place, one in enumerate(column))

    verdict = judged(seen(record(A100), "temperature_c", spoiled))
    assert found(verdict, "total").outcome is Outcome.PASS
    assert not [code for code in codes(verdict) if code.startswith("thermal")]


# The air


@pytest.mark.parametrize(("model", "inlet_c"), [(A100, 24.0), (A100, 38.0), (RTX_3090, 24.0), (RTX_3090, 34.0)])
def test_the_air_is_worked_out_within_its_error(model: str, inlet_c: float) -> None:
    one = found(judged(record(model, *(() if inlet_c == 24 else (f"inlet_c = {inlet_c:.0f}",)))), "inlet")
    assert one.value == pytest.approx(inlet_c, abs=3)
    assert "±" in one.reason


def test_the_warmest_inlet_at_full_power_is_where_the_die_meets_its_limit() -> None:
    """On a card with a worse cooler it is lower, by the watts times what the resistance grew."""
    good, bad = judged(record(A100)), judged(record(A100, fault("airflow", scale=2.5)))
    for verdict in (good, bad):
        assert told(verdict, "inlet_max") == pytest.approx(85 - 400 * told(verdict, "total"), abs=0.1)
    assert told(bad, "inlet_max") < told(good, "inlet_max") - 10
    assert all(one.advisory for one in (found(good, "inlet_max"), found(bad, "inlet_max")))
