"""What happened to the card during the run: Xids, errors that ECC met, the power brake, readings that cannot be."""

from collections.abc import Iterator

from msgspec import structs

from gpucert.outcome import Outcome
from gpucert.reading import Absence, Absent
from gpucert.record import StepRecord
from gpucert.units import Unit
from gpucert.verdict import xids
from gpucert.verdict.case import Case
from gpucert.verdict.cycles import heat_at_the_end
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.rules import OWN
from gpucert.verdict.verdict import Diagnosed, Finding

PROBE = "run"
SAID_BY_NVIDIA = "NVIDIA's Xid catalogue, as gpucert reads it for a run of known-good kernels"

SLOWED_AT_MOST_PERCENT = 10.0
"""Of the whole run; engineering choice, as for the soak (limits.toml)."""
DECIDING = ("temperature_c", "power_w", "sm_clock_mhz", "memory_clock_mhz", "event_reasons")
"""Channels that a verdict rests on."""
GLITCHES = 3
"""Absurd rows of one channel in one step from which it is no glitch: the guard of a load waits as long."""

_SECONDS_PER_HOUR = 3600
_Item = Finding | Diagnosed


def judge_run(case: Case) -> Iterator[_Item]:
    """Findings and diagnoses of everything that is not a measure of a probe."""
    yield from _deaths(case)
    yield from _aborts(case)
    yield from _slowdown(case)
    yield from _xids(case)
    yield from _uncorrected(case)
    yield from _corrected(case)
    yield from _brake(case)
    yield from _absurd(case)
    yield from _permission(case)
    yield from _unwatched(case)


def _found(
    measure: str, outcome: Outcome, reason: str, *, value: float | str | None = None, unit: str = "", limit: str = "",
    authority: str = OWN,
) -> Finding:  # fmt: skip
    return Finding(
        probe=PROBE, measure=measure, outcome=outcome, value=value, unit=unit, limit=limit, reason=reason,
        authority=authority,
    )  # fmt: skip


# How steps ended

DIAGNOSIS_OF_DEATH = {
    "lost": "device.lost",
    "ecc_uncorrected": "memory.ecc_uncorrected",
    "illegal_address": "device.crash",
    "launch_failed": "device.crash",
    "crash": "device.crash",
    "hang": "device.hang",
    "unkillable": "device.hang",
    "readings": "device.hang",
    "abort": "thermal.throttle",
    "no_room": "station.contention",
    "no_driver": "station.driver",
    "host": "station.down",
    "killed": "station.worker",
    "silence": "station.worker",
    "host_memory": "station.worker",
    "overtime": "station.worker",
    "no_start": "station.worker",
    "no_answer": "station.worker",
}
"""Every kind of death that a record may name (run/deaths.toml), with what it tells."""


def _deaths(case: Case) -> Iterator[_Item]:
    """The step's own finding says that it failed; here is why."""
    for step in case.record.steps:
        if step.death is not None:
            code = DIAGNOSIS_OF_DEATH.get(step.death.kind, "station.worker")
            code = _uncorrectable(case) if code == _UNCORRECTED else code
            told = f"step {step.index + 1} ({step.probe}): {step.death.text}{heat_at_the_end(step)}"
            yield diagnosed(code, told, "certain")


def _aborts(case: Case) -> Iterator[_Item]:
    """The card reached its own limit, or its thermometer fell silent, and the load was ended."""
    for event in case.record.events:
        if event.kind == "abort" and event.code == "limit":
            yield _found("temperature_limit", Outcome.FAIL, f"A load was ended: {event.text}.", limit="never")
        elif event.kind == "abort" and event.code == "blind":
            reason = f"A load was ended, because nobody could watch it: {event.text}."
            yield structs.replace(_found("thermometer", Outcome.ERROR, reason), blocker=True)


def _slowdown(case: Case) -> Iterator[_Item]:
    """The card's own count of thermal slowdown over every step, because a soak is a small part of a run."""
    loaded = [step for step in case.record.steps if step.ended_s > step.began_s]
    seconds = sum(step.ended_s - step.began_s for step in loaded)
    slowed = sum(case.growth(step, "throttle_thermal_ns") for step in loaded) / 1e9
    if seconds > 0 and slowed > 0:
        share = 100 * slowed / seconds
        outcome = Outcome.FAIL if share > SLOWED_AT_MOST_PERCENT else Outcome.PASS
        reason = f"Heat held the clocks down for {slowed:.0f} s of {seconds:.0f} s."
        limit = f"≤ {SLOWED_AT_MOST_PERCENT:g} %"
        yield _found("thermal_slowdown", outcome, reason, value=round(share, 1), unit=Unit.PERCENT.value, limit=limit)


# Xids


def _xids(case: Case) -> Iterator[_Item]:
    for one in xids.logged(case.record.events):
        evidence = f"The driver logged Xid {one.code} ({one.row.meaning}) {one.often}: {one.quote}"
        measure = f"xid_{one.code}"
        match one.weight(in_run=True):
            case "FAIL":
                yield _found(measure, Outcome.FAIL, evidence, value=one.times, unit="1", authority=SAID_BY_NVIDIA)
                yield diagnosed(one.diagnosis, evidence, "likely")
            case "HOLD" | "DECODE":
                held = _found(measure, Outcome.ERROR, evidence, value=one.times, unit="1", authority=SAID_BY_NVIDIA)
                yield structs.replace(held, blocker=True)
                yield diagnosed(one.diagnosis, evidence, "possible")
            case "WARN":
                told = _found(measure, Outcome.FAIL, evidence, value=one.times, unit="1", authority=SAID_BY_NVIDIA)
                yield structs.replace(told, advisory=True)
                yield diagnosed(one.diagnosis, evidence, "possible", advisory=True)
            case _:
                pass
    for event in case.record.events:
        if event.kind == "xid" and not xids.is_code(event.code):
            reason = f"The driver logged an Xid whose number cannot be read: {event.text[: xids.MAX_QUOTE]}"
            yield structs.replace(_found("xid", Outcome.ERROR, reason), blocker=True)


# ECC

_UNCORRECTED, _CONTAINED = "memory.ecc_uncorrected", "memory.contained"


def _uncorrectable(case: Case) -> str:
    """What an error beyond ECC is: contained where the driver says so and names none that was not."""
    told = {one.diagnosis for one in xids.logged(case.record.events)}
    return _CONTAINED if _CONTAINED in told and _UNCORRECTED not in told else _UNCORRECTED


def _uncorrected(case: Case) -> Iterator[_Item]:
    changes = case.changes("ecc_uncorrected_volatile")
    if any(change < 0 for change in (*changes, *case.changes("ecc_corrected_volatile"))):
        reason = "A counter of ECC errors fell during the run: somebody reset it, so that errors may be hidden."
        yield structs.replace(_found("ecc_counters", Outcome.ERROR, reason), blocker=True)
    errors = sum(change for change in changes if change > 0)
    if errors:
        reason = f"ECC met {errors} errors during the run that it could not correct."
        yield _found("ecc_uncorrected", Outcome.FAIL, reason, value=errors, unit=Unit.COUNT.value, limit="≤ 0")
        yield diagnosed(_uncorrectable(case), reason)


def _corrected(case: Case) -> Iterator[_Item]:
    """Corrected errors carry no address, so “again” means in two phases, or faster than the policy allows."""
    rises = [(step, case.growth(step, "ecc_corrected_volatile")) for step in case.record.steps]
    risen = [(step, count) for step, count in rises if count]
    errors = sum(change for change in case.changes("ecc_corrected_volatile") if change > 0)
    if not errors:
        return
    between = errors > sum(count for _, count in risen)
    hours = max((case.record.steps[-1].ended_s - case.record.steps[0].began_s) / _SECONDS_PER_HOUR, 1e-6)
    allowed = case.policy.gates.ecc_corrected_per_hour
    phases = len(risen) + sum(max(0, _phases(step) - 1) for step, _ in risen) + between
    again = phases > 1 or (errors > 1 and errors / hours > allowed)
    where = _steps(step for step, _ in risen) or "between steps"
    reason = f"ECC corrected {errors} errors, in {where}: {errors / hours:.0f} an hour, in {phases} phases."
    limit = f"≤ {allowed:g} an hour, and in one phase at most"
    outcome = Outcome.FAIL if again else Outcome.PASS
    yield _found("ecc_corrected", outcome, reason, value=errors, unit=Unit.COUNT.value, limit=limit)
    if again:
        yield diagnosed("memory.ecc_corrected", reason)


def _phases(step: StepRecord) -> int:
    """Phases of a scan in which ECC corrected something; a step of another probe is one phase."""
    return int(step.number("ecc_phases") or 1)


def _steps(steps: Iterator[StepRecord]) -> str:
    """`step 5 (memory_scan)`, the first few of them."""
    named = [f"step {step.index + 1} ({step.probe})" for step in steps]
    more = f" and {len(named) - 4} more" if len(named) > 4 else ""
    return ", ".join(named[:4]) + more


# Power brake


def _brake(case: Case) -> Iterator[_Item]:
    """The host's brake hides what the card can do."""
    braked = [step for step in case.record.steps if _is_braked(case, step)]
    if braked:
        reason = f"The host's power brake held the card back in {_steps(iter(braked))}."
        found = _found("power_brake", Outcome.FAIL, reason, limit="never")
        yield structs.replace(found, subject="station", hides=True)
        yield diagnosed("station.power", reason)


BRAKED_NS = 10_000_000
"""An engineering choice: a host that brakes holds on for longer, and a counter that moved by a nanosecond met none."""


def _is_braked(case: Case, step: StepRecord) -> bool:
    return case.growth(step, "throttle_power_brake_ns") >= BRAKED_NS or (step.number("power_brake") or 0) > 0


# Readings


def _absurd(case: Case) -> Iterator[_Item]:
    """A sensor that answers what cannot be hides what it should show; a single odd row is a glitch."""
    channels = {
        name
        for step in case.record.steps
        if "telemetry" in step.traces
        for name in DECIDING
        if step.traces["telemetry"].times(name, Absence.ABSURD) >= GLITCHES
    }
    if channels:
        reason = f"Readings that cannot be: {', '.join(sorted(channels))}."
        yield structs.replace(_found("readings", Outcome.ERROR, reason), blocker=True)
        yield diagnosed("sensor.absurd", reason)


def _unwatched(case: Case) -> Iterator[_Item]:
    """Xids that could not be watched are not tested; a driver that is silent is no clean log."""
    for event in case.record.events:
        if event.kind == "note" and event.code == "xids_not_watched":
            yield structs.replace(_found("xids", Outcome.SKIPPED, event.text), advisory=True)


def _permission(case: Case) -> Iterator[_Item]:
    refused = sorted(
        {
            f"{step.probe}.{measurement.name}"
            for step in case.record.steps
            for measurement in step.measurements
            if isinstance(measurement.value, Absent) and measurement.value.absent is Absence.NO_PERMISSION
        }
    )
    if refused:
        yield diagnosed("station.permission", f"no permission to read {', '.join(refused)}")
