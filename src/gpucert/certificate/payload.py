"""The payload: everything that the page says and nothing that it does not need, in language-neutral values.

Its canonical bytes (RFC 8785) are what a certificate is identified by. Numbers beyond 2⁵³ travel as text, because JSON
readers may hold numbers as doubles.
"""

import hashlib

import msgspec
from msgspec import Struct

from gpucert.baselines.limit import Baseline, Limit
from gpucert.catalogue.model import Model
from gpucert.certificate.harmless import harmless
from gpucert.outcome import VerdictOutcome
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Event, Inspection, Measurement, PlanRun, Record, Station, StepRecord, Trace
from gpucert.verdict.verdict import Diagnosed, Finding, NotTested, Source, Unmet, Verdict

SCHEMA = "gpucert.payload/1"
POINTS = 400
"""Most points of one drawn series."""
LARGEST_INTEGER = 2**53 - 1
SERIAL_SHOWN = 4

CHANNELS = ("temperature_c", "memory_temperature_c", "power_w", "sm_clock_mhz", "memory_clock_mhz")
"""Telemetry that the page draws."""

Value = float | int | str


class Attempt(Struct, frozen=True):
    """Where this run stands among those on the same card that this issuer knows of."""

    number: int
    since: str


class Device(Struct, frozen=True, kw_only=True):
    """The card, its serial masked."""

    name: str
    model: str | None
    serial: str
    uuid: str
    bus_id: str
    part_number: str
    vbios: str
    driver: str
    architecture: str
    form_factor: str
    memory: str
    memory_mib: int | None
    window_mib: int | None


class Bar(Struct, frozen=True, kw_only=True):
    """One measurement beside its limit."""

    measure: str
    unit: str
    value: float
    u: float | None
    centre: float
    limit: float
    better: str
    n: int
    grade: str
    source: str


class Series(Struct, frozen=True):
    """One drawn channel. Gaps, where the card gave no value, are None."""

    at_s: tuple[float, ...]
    values: tuple[float | None, ...]


class Phase(Struct, frozen=True, kw_only=True):
    """One step on the time axis, as it ended."""

    index: int
    probe: str
    status: str
    reason: str
    began_s: float
    ended_s: float


class Change(Struct, frozen=True):
    """One counter before and after the run."""

    name: str
    before: Value
    after: Value


class Rate(Struct, frozen=True):
    """One measurement that is shown without a limit."""

    measure: str
    value: Value
    unit: str


class Payload(Struct, frozen=True, kw_only=True):
    """What the page is made of."""

    schema: str = SCHEMA
    kind: str
    """`certificate` or `report`."""
    specimen: tuple[str, ...]
    """Why nobody vouches for this page: `simulated`, `unsigned`; empty for a signed certificate of a real card."""
    issued_at: str
    tested_from: str
    tested_to: str
    attempt: Attempt
    device: Device
    plan: PlanRun
    verdict: VerdictOutcome
    tier: str | None
    sentence: str
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosed, ...]
    why_not_higher: tuple[Unmet, ...]
    not_tested: tuple[NotTested, ...]
    also_qualifies: tuple[str, ...]
    bars: tuple[Bar, ...]
    rates: tuple[Rate, ...]
    phases: tuple[Phase, ...]
    series: dict[str, Series]
    events: tuple[Event, ...]
    changes: tuple[Change, ...]
    station: Station
    inlet_c: float | None
    inspection: tuple[Inspection, ...]
    versions: dict[str, str]
    seed: int
    policy: Source
    baseline: Source
    record_sha256: str
    verdict_sha256: str


def build(
    record: Record,
    verdict: Verdict,
    *,
    model: Model | None,
    baseline: Baseline | None,
    attempt: Attempt,
    issued_at: str,
    verdict_sha256: str,
) -> Payload:
    """The payload of a judged record. `issued_at` is UTC in ISO 8601."""
    return Payload(
        kind=record.plan.yields,
        specimen=("simulated", "unsigned") if record.simulated else ("unsigned",),
        issued_at=issued_at,
        tested_from=record.started_at,
        tested_to=record.ended_at,
        attempt=attempt,
        device=_device(record, model),
        plan=record.plan,
        verdict=verdict.outcome,
        tier=verdict.tier,
        sentence=verdict.sentence,
        findings=verdict.findings,
        diagnoses=verdict.diagnoses,
        why_not_higher=verdict.why_not_higher,
        not_tested=verdict.not_tested,
        also_qualifies=verdict.also_qualifies,
        bars=_bars(record, baseline),
        rates=_rates(record),
        phases=tuple(_phase(step) for step in record.steps),
        series=_series(record),
        events=record.events,
        changes=_changes(record),
        station=record.station,
        inlet_c=record.inlet_c,
        inspection=record.inspection,
        versions=record.versions,
        seed=record.seed,
        policy=verdict.policy,
        baseline=verdict.baseline,
        record_sha256=verdict.record_sha256,
        verdict_sha256=verdict_sha256,
    )


def canonical(payload: Payload) -> bytes:
    """The canonical JSON of a payload (RFC 8785)."""
    import rfc8785

    return rfc8785.dumps(_within_doubles(msgspec.to_builtins(payload)))  # type: ignore[arg-type]  # a JSON tree


def number(payload: Payload) -> str:
    """The certificate's number: twelve characters of the payload's digest, in Crockford's alphabet, in three groups."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digest = int.from_bytes(hashlib.sha256(canonical(payload)).digest()[:8], "big")
    letters = "".join(alphabet[digest >> (5 * place) & 31] for place in reversed(range(12)))
    return "-".join((letters[:4], letters[4:8], letters[8:]))


def _device(record: Record, model: Model | None) -> Device:
    card = record.card
    return Device(
        name=harmless(str(card.name)),
        model=model.key if model else None,
        serial=_masked(card.serial),
        uuid=_masked(card.uuid),
        bus_id=harmless(str(card.bus_id)),
        part_number=harmless(str(card.board_part_number)),
        vbios=harmless(str(card.vbios)),
        driver=harmless(str(card.driver)),
        architecture=model.architecture if model else "unknown",
        form_factor=model.form_factor if model else "unknown",
        memory=f"{model.memory.size_gib} GiB {model.memory.type}" if model else "unknown",
        memory_mib=None if isinstance(card.memory_mib, Absent) else card.memory_mib,
        window_mib=card.window_mib,
    )


def _masked(value: Reading[str]) -> str:
    """The last characters only: the whole number would let a stranger clone a serial."""
    if isinstance(value, Absent):
        return str(value)
    text = harmless(value)
    return f"…{text[-SERIAL_SHOWN:]}" if len(text) > SERIAL_SHOWN else text


def _bars(record: Record, baseline: Baseline | None) -> tuple[Bar, ...]:
    """The last measurement of every measure that has a limit."""
    if baseline is None:
        return ()
    bars: dict[str, Bar] = {}
    for step in record.steps:
        for measurement in step.measurements:
            limit = baseline.find(f"{step.probe}.{measurement.name}")
            if limit is not None and not isinstance(measurement.value, Absent) and limit.unit is measurement.unit:
                bars[limit.measure] = _bar(limit, measurement, float(measurement.value))
    return tuple(bars[name] for name in sorted(bars))


def _bar(limit: Limit, measurement: Measurement, value: float) -> Bar:
    return Bar(
        measure=limit.measure,
        unit=limit.unit.value,
        value=value,
        u=measurement.u,
        centre=limit.centre,
        limit=limit.limit,
        better=limit.better,
        n=limit.n,
        grade=limit.grade.value,
        source=limit.source,
    )


def _rates(record: Record) -> tuple[Rate, ...]:
    """The last value of everything that was measured, by name."""
    rates: dict[str, Rate] = {}
    for step in record.steps:
        for measurement in step.measurements:
            name = f"{step.probe}.{measurement.name}"
            value = harmless(str(measurement.value)) if isinstance(measurement.value, Absent) else measurement.value
            rates[name] = Rate(name, value, measurement.unit.value)
    return tuple(rates[name] for name in sorted(rates))


def _phase(step: StepRecord) -> Phase:
    return Phase(
        index=step.index,
        probe=step.probe,
        status=step.status.value,
        reason=harmless(step.reason),
        began_s=step.began_s,
        ended_s=step.ended_s,
    )


def _series(record: Record) -> dict[str, Series]:
    """Every drawn channel over the whole run, thinned so that spikes stay."""
    traces = [step.traces["telemetry"] for step in record.steps if "telemetry" in step.traces]
    joined = {name: _joined(traces, name) for name in CHANNELS}
    return {name: thinned(*points) for name, points in joined.items() if any(v is not None for v in points[1])}


def _joined(traces: list[Trace], channel: str) -> tuple[list[float], list[float | None]]:
    times: list[float] = []
    values: list[float | None] = []
    for trace in traces:
        times.extend(trace.at_s)
        row = trace.channels.get(channel, (Absence.UNKNOWN,) * len(trace.at_s))
        values.extend(None if isinstance(value, Absence) else float(value) for value in row)
    return times, values


def thinned(at_s: list[float], values: list[float | None], points: int = POINTS) -> Series:
    """At most `points` points: of every stretch of time its lowest and its highest, in the order they came."""
    if len(at_s) <= points:
        return Series(tuple(at_s), tuple(values))
    buckets = points // 2
    kept: list[int] = []
    for bucket in range(buckets):
        inside = range(bucket * len(at_s) // buckets, (bucket + 1) * len(at_s) // buckets)
        known = [(value, place) for place in inside if (value := values[place]) is not None]
        kept.extend(sorted({min(known)[1], max(known)[1]}) if known else [inside[0]])
    return Series(tuple(at_s[place] for place in kept), tuple(values[place] for place in kept))


def _changes(record: Record) -> tuple[Change, ...]:
    """Every counter as the first step found it and the last step left it; those that nobody asked for are left out."""
    tested = [step for step in record.steps if step.before != Counters()]
    if not tested:
        return ()
    before, after = tested[0].before, tested[-1].after
    rows = ((name, getattr(before, name), getattr(after, name)) for name in Counters.__struct_fields__)
    return tuple(
        Change(name, _value(first), _value(last)) for name, first, last in rows if not _not_offered(first, last)
    )


def _not_offered(first: object, last: object) -> bool:
    return all(isinstance(one, Absent) and one.absent is Absence.NOT_SUPPORTED for one in (first, last))


def _value(reading: object) -> Value:
    match reading:
        case bool():
            return "yes" if reading else "no"
        case int() | float():
            return reading
        case tuple():
            return " / ".join(str(one) for one in reading)
        case _:
            return harmless(str(reading))


def _within_doubles(tree: object) -> object:
    match tree:
        case bool():
            return tree
        case int() if abs(tree) > LARGEST_INTEGER:
            return str(tree)
        case dict():
            return {key: _within_doubles(value) for key, value in tree.items()}
        case list() | tuple():
            return [_within_doubles(value) for value in tree]
        case _:
            return tree
