"""The payload: everything that the page says and nothing that it does not need, in language-neutral values.

Its canonical bytes (RFC 8785) are what a certificate is identified by. Numbers beyond 2⁵³ travel as text, because JSON
readers may hold numbers as doubles.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from gpucert.baselines.limit import Baseline, Limit
from gpucert.catalogue.model import Model
from gpucert.certificate.harmless import harmless
from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Event, Inspection, PlanRun, Record, Station, StepRecord, Trace
from gpucert.verdict.verdict import Diagnosed, Finding, NotTested, Source, Unmet, Verdict
from gpucert.verdict.wrong_memory import SECTOR_BYTES, latest, spread

SCHEMA = "gpucert.payload/1"
POINTS = 400
"""Most points of one drawn series."""
MARKS = 40
"""Most marks of events on the time axis, less one."""
LARGEST_INTEGER = 2**53 - 1
SERIAL_SHOWN = 4
PLACES = 512
"""Stretches of the tested memory, all of one length, by which wrong words are counted."""
LANES = 8 * SECTOR_BYTES
"""Bits of a sector, by which they are counted, too."""
MIB = 1 << 20

CHANNELS = ("temperature_c", "memory_temperature_c", "power_w", "sm_clock_mhz", "memory_clock_mhz")
"""Telemetry that the page draws."""

Value = float | int | str

_DECIDED = {Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL}


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
    """The worst finding about one measure of the baseline, beside its limit."""

    probe: str
    measure: str
    unit: str
    value: float
    u: float | None
    """None where the record has no uncertainty for just this value: repeats are pooled, resistances are fitted."""
    outcome: Outcome
    advisory: bool
    step: int | None
    of_steps: int
    """How many steps measured it."""
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
    changed: bool
    """False where one of them is no value: a counter that could not be read again did not count."""


class Rate(Struct, frozen=True):
    """One measurement, as the last step that made it left it."""

    measure: str
    value: Value
    unit: str
    u: float | None
    n: int


class Happening(Struct, frozen=True, kw_only=True):
    """One kind of event, as often as it happened; the text is that of the first."""

    kind: str
    code: str
    text: str
    times: int
    first_s: float
    last_s: float


class Count(Struct, frozen=True):
    """How many wrong words have one thing in common, and its number."""

    number: int
    words: int


class WrongWords(Struct, frozen=True, kw_only=True):
    """How the wrong words lie that the scans of the memory located, each word once."""

    words: int
    compares: int
    """Compares that failed, of these words and of others: of many, each phase locates the first."""
    tested_bytes: int | None
    """None where the record does not say how much was tested."""
    places: tuple[Count, ...]
    """By stretch of the tested memory, PLACES of them; none where its size is not known."""
    lanes: tuple[Count, ...]
    """By flipped bit of the sector, LANES of them."""
    flips: tuple[Count, ...]
    """By the number of flipped bits."""
    sms: tuple[Count, ...]
    """By the SM that read them."""


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
    events: tuple[Happening, ...]
    marks: tuple[float, ...]
    """Where the time axis marks events, thinned: a storm of them is a few marks."""
    changes: tuple[Change, ...]
    wrong_words: WrongWords | None = None
    """None where none was located."""
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
        bars=_bars(verdict, baseline),
        rates=_rates(record),
        phases=tuple(_phase(step) for step in record.steps),
        series=_series(record),
        events=_happenings(record.events),
        marks=_marks(record.events),
        changes=_changes(record),
        wrong_words=_wrong_words(record),
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

    return rfc8785.dumps(_within_json(msgspec.to_builtins(payload)))  # type: ignore[arg-type]  # a JSON tree


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


def _bars(verdict: Verdict, baseline: Baseline | None) -> tuple[Bar, ...]:
    """Every measure that has a limit and was judged by it, at its worst: a good last cycle must not hide a bad one."""
    judged: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        if finding.unit and isinstance(finding.value, int | float) and finding.outcome in _DECIDED:
            judged.setdefault(f"{finding.probe}.{finding.measure}", []).append(finding)
    limits = ((limit, judged.get(limit.measure, [])) for limit in (baseline.limits if baseline else ()))
    return tuple(_bar(limit, found) for limit, found in limits if found and limit.centre > 0)


def _bar(limit: Limit, found: list[Finding]) -> Bar:
    better = max if limit.better == "lower" else min
    worst = better(found, key=lambda one: float(one.value or 0))
    probe, _, measure = limit.measure.partition(".")
    return Bar(
        probe=probe,
        measure=measure,
        unit=limit.unit.value,
        value=float(worst.value or 0),
        u=worst.u,
        outcome=worst.outcome,
        advisory=worst.advisory,
        step=worst.step,
        of_steps=len(found),
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
            rates[name] = Rate(name, value, measurement.unit.value, measurement.u, measurement.n)
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
        row = trace.column(channel) or (Absence.UNKNOWN,) * len(trace.at_s)
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


def _happenings(events: tuple[Event, ...]) -> tuple[Happening, ...]:
    """Events by kind, the first first: Xids by code, because each line of a storm differs; others by their text."""
    same: dict[tuple[str, str, str], list[Event]] = {}
    for event in events:
        same.setdefault((event.kind, event.code, "" if event.kind == "xid" else event.text), []).append(event)
    return tuple(_happening(group) for group in same.values())


def _happening(group: list[Event]) -> Happening:
    times = [event.at_s for event in group]
    return Happening(
        kind=group[0].kind,
        code=harmless(group[0].code),
        text=harmless(group[0].text),
        times=len(group),
        first_s=min(times),
        last_s=max(times),
    )


def _marks(events: tuple[Event, ...]) -> tuple[float, ...]:
    """The first event of each of MARKS stretches of the time from the first event to the last."""
    times = sorted(event.at_s for event in events)
    if not times:
        return ()
    span = (times[-1] - times[0]) / MARKS
    kept = [times[0]]
    for time in times:
        if time - kept[-1] > span:
            kept.append(time)
    return tuple(kept)


def _changes(record: Record) -> tuple[Change, ...]:
    """Every counter as the first step found it and the last step left it; those that nobody asked for are left out."""
    tested = [step for step in record.steps if step.before != Counters()]
    if not tested:
        return ()
    before, after = tested[0].before, tested[-1].after
    rows = ((name, getattr(before, name), getattr(after, name)) for name in Counters.__struct_fields__)
    return tuple(
        Change(name, _value(first), _value(last), _changed(first, last))
        for name, first, last in rows
        if not _not_offered(first, last)
    )


def _wrong_words(record: Record) -> WrongWords | None:
    located = latest([one for step in record.steps for one in step.mismatches])
    if not located:
        return None
    how, tested = spread(located), _tested_bytes(record)
    places = Counter(min(one.offset * PLACES // tested, PLACES - 1) for one in located) if tested else {}
    return WrongWords(
        words=len(located),
        compares=sum(int(step.number("wrong_words") or 0) for step in record.steps),
        tested_bytes=tested,
        places=_counts(places),
        lanes=_counts(how.lanes),
        flips=_counts(how.flips),
        sms=_counts(how.sms),
    )


def _tested_bytes(record: Record) -> int | None:
    """The most of the memory that any step covered: of a virtual card, of its window."""
    covered = [share for step in record.steps if (share := step.number("coverage")) is not None]
    mib = record.card.memory_mib if record.card.window_mib is None else record.card.window_mib
    if not covered or isinstance(mib, Absent):
        return None
    return round(max(covered) / 100 * mib * MIB) or None


def _counts(words: Mapping[int, int]) -> tuple[Count, ...]:
    return tuple(Count(number, words[number]) for number in sorted(words))


def _changed(first: object, last: object) -> bool:
    return first != last and not isinstance(first, Absent) and not isinstance(last, Absent)


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


def _within_json(tree: object) -> object:
    """The tree with numbers and text that every JSON reader holds; NaN is left for the encoder to refuse."""
    match tree:
        case bool():
            return tree
        case int() if abs(tree) > LARGEST_INTEGER:
            return str(tree)
        case dict():
            return {_within_utf8(str(key)): _within_json(value) for key, value in tree.items()}
        case list() | tuple():
            return [_within_json(value) for value in tree]
        case str():
            return _within_utf8(tree)
        case _:
            return tree


def _within_utf8(text: str) -> str:
    """Half a surrogate pair, which a damaged file can hold and no UTF-8 can, is written as its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
