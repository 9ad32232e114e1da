"""The payload: canonical bytes, a stable number, and drawings thinned without losing what matters."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gpucert.baselines.limit import Baseline, Limit
from gpucert.certificate import payload as payloads
from gpucert.certificate import places
from gpucert.certificate.payload import MARKS, PLACES, Attempt, Count, Payload, Rate, build, canonical, number, thinned
from gpucert.outcome import ExitCode, Outcome, StepStatus, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Event, Identity, Measurement, Mismatch, Record, Settings, StepRecord
from gpucert.units import Unit
from gpucert.verdict.verdict import Finding, Verdict
from tests import certificates

TEXT = st.text(st.characters(exclude_categories=()))  # with lone surrogates, which a damaged file can hold


def record(steps: tuple[StepRecord, ...] = (), events: tuple[Event, ...] = ()) -> Record:
    sample = certificates.healthy()
    return Record(
        simulated=True, started_at="2026-11-24T09:00:00+00:00", ended_at="2026-11-24T09:50:00+00:00", seed=7,
        card=Identity(name="NVIDIA A100-SXM4-80GB", uuid="GPU-27580b10-ce98"), settings=Settings(),
        station=sample.station, plan=sample.plan, versions={}, steps=steps, events=events,
    )  # fmt: skip


def verdict(*findings: Finding) -> Verdict:
    sample = certificates.healthy()
    return Verdict(
        outcome=VerdictOutcome.CERTIFIED, tier="D", exit_code=ExitCode.CERTIFIED, sentence="", simulated=True,
        model=None, findings=findings, diagnoses=(), why_not_higher=(), not_tested=(), also_qualifies=(),
        policy=sample.policy, baseline=sample.baseline, record_sha256="0" * 64,
    )  # fmt: skip


def built(record: Record, verdict: Verdict, *limits: Limit) -> Payload:
    return build(
        record, verdict, model=None, baseline=Baseline(model="any", version=1, limits=limits, sha256=""),
        attempt=Attempt(1, ""), issued_at="", verdict_sha256="",
    )  # fmt: skip


def step(index: int, probe: str, *measurements: Measurement, **fields: object) -> StepRecord:
    told: dict[str, object] = {
        "blocker": True, "seconds": 1.0, "status": StepStatus.RAN, "began_s": 0.0, "ended_s": 1.0,
    }  # fmt: skip
    return StepRecord(index=index, probe=probe, measurements=measurements, **{**told, **fields})  # type: ignore[arg-type]


# Canonical bytes


@pytest.mark.parametrize("kind", certificates.KINDS)
def test_canonical_bytes_are_sorted_json_that_reads_back(kind: str) -> None:
    payload = certificates.KINDS[kind]()
    data = canonical(payload)
    tree = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert data == json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert msgspec.json.decode(data, type=Payload) == payload


@given(TEXT, st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_a_card_answers_has_canonical_bytes(text: str, whole: int, real: float) -> None:
    payload = structs.replace(
        certificates.golden(),
        sentence=text,
        versions={text: text},
        rates=(Rate("a", whole, "1", None, 1), Rate("b", real, "1", real, 1)),
    )
    tree = json.loads(canonical(payload))
    assert tree["rates"][0]["value"] == (whole if abs(whole) < 2**53 else str(whole))
    assert float(tree["rates"][1]["value"]) == real  # 1e16 has no point in JSON
    assert canonical(payload) == canonical(structs.replace(payload))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not representable"):
        canonical(structs.replace(certificates.healthy(), inlet_c=value))


def test_the_number_is_of_the_payload() -> None:
    payload = certificates.healthy()
    assert number(payload) == number(msgspec.json.decode(canonical(payload), type=Payload))
    assert number(payload) != number(structs.replace(payload, seed=8))
    letters = number(payload).replace("-", "")
    assert len(letters) == 12
    assert not set(letters) & set("ILOU")


# Series


VALUES = st.one_of(st.none(), st.floats(-1e6, 1e6))


@given(st.lists(VALUES, max_size=300), st.integers(2, 50))
def test_thinning_keeps_the_extremes(values: list[float | None], points: int) -> None:
    at_s = [float(place) for place in range(len(values))]
    kept = thinned(at_s, values, points)
    known = [value for value in values if value is not None]
    left = [value for value in kept.values if value is not None]
    assert (min(left, default=None), max(left, default=None)) == (min(known, default=None), max(known, default=None))
    assert len(kept.at_s) == len(kept.values) <= max(points, 2)
    assert list(kept.at_s) == sorted(kept.at_s)
    assert all(values[int(at)] == value for at, value in zip(kept.at_s, kept.values, strict=True))


# Events


def test_a_storm_of_xids_is_one_happening_and_a_few_marks() -> None:
    storm = tuple(Event(float(at), "xid", str(13 + at % 2), f"line {at}") for at in range(1000))
    payload = built(record(events=storm), verdict())
    assert [(one.code, one.times, one.first_s, one.last_s) for one in payload.events] == [
        ("13", 500, 0.0, 998.0),
        ("14", 500, 1.0, 999.0),
    ]
    assert payload.events[0].text == "line 0"
    assert len(payload.marks) <= MARKS + 1


def test_notes_of_different_text_stay_apart() -> None:
    notes = (Event(1.0, "note", "n", "first"), Event(2.0, "note", "n", "second"), Event(3.0, "note", "n", "first"))
    payload = built(record(events=notes), verdict())
    assert [(one.text, one.times) for one in payload.events] == [("first", 2), ("second", 1)]


@given(st.lists(st.floats(0, 1e6), max_size=200))
def test_every_event_lies_near_a_mark(times: list[float]) -> None:
    marks = built(record(events=tuple(Event(at, "note", "n", "") for at in times)), verdict()).marks
    span = (max(times) - min(times)) / MARKS if times else 0
    assert len(marks) <= MARKS + 1
    assert all(any(abs(at - mark) <= span for mark in marks) for at in times)


# Bars


SLOW = Limit(
    measure="gemm_sustained.fp64_per_clock", unit=Unit.FLOP_PER_CLOCK_SM, better="higher", centre=123.0, limit=114.5,
    n=0, q=0.003, advises=False, source="prior",
)  # fmt: skip
FAST = Limit(
    measure="thermal.fast", unit=Unit.CELSIUS_PER_WATT, better="lower", centre=0.05, limit=0.08,
    n=0, q=0.01, advises=True, source="prior",
)  # fmt: skip


def speed(value: float, step: int, outcome: Outcome = Outcome.PASS) -> Finding:
    return certificates.finding("gemm_sustained", "fp64_per_clock", outcome, value=value, unit="FLOP/clk/SM", step=step)


def test_a_good_last_cycle_does_not_hide_a_bad_one() -> None:
    payload = built(record(), verdict(speed(122, 3), speed(100, 8, Outcome.FAIL), speed(123, 13)), SLOW)
    (bar,) = payload.bars
    assert (bar.value, bar.outcome, bar.step, bar.of_steps) == (100, Outcome.FAIL, 8, 3)


def test_a_resistance_is_drawn_from_its_finding_at_its_highest() -> None:
    found = [
        certificates.finding("thermal", "fast", value=value, unit="°C/W", advisory=True, step=place)
        for place, value in enumerate((0.05, 0.07, 0.06))
    ]
    (bar,) = built(record(), verdict(*found), FAST).bars
    assert (bar.value, bar.advisory, bar.u) == (0.07, True, None)


def test_the_whisker_is_that_of_the_judgement() -> None:
    judged = structs.replace(speed(122, 3), u=0.5)
    assert built(record(), verdict(judged), SLOW).bars[0].u == 0.5
    assert built(record(), verdict(speed(122, 3)), SLOW).bars[0].u is None


@pytest.mark.parametrize("value", [None, "unknown"])
def test_what_was_not_measured_is_not_drawn(value: str | None) -> None:
    finding = certificates.finding("gemm_sustained", "fp64_per_clock", Outcome.SKIPPED, value=value)
    assert built(record(), verdict(finding), SLOW).bars == ()


# Counters


def test_a_counter_that_could_not_be_read_again_did_not_change() -> None:
    lost = Absent(Absence.LOST)
    before = Counters(energy_mj=1, pcie_replays=2, remap_failure=False)
    after = Counters(energy_mj=5, pcie_replays=lost, remap_failure=False)
    changes = {
        one.name: one for one in built(record((step(0, "counters", before=before, after=after),)), verdict()).changes
    }
    assert changes["energy_mj"].changed
    assert not changes["pcie_replays"].changed
    assert changes["pcie_replays"].after == "lost"
    assert not changes["remap_failure"].changed


def test_only_the_end_of_a_serial_is_told() -> None:
    assert built(record(), verdict()).device.uuid == "…ce98"
    assert payloads.SERIAL_SHOWN == 4


# Wrong words


def mismatch(offset: int, actual: str, kind: str = "hard", **fields: object) -> Mismatch:
    return Mismatch(phase="own", offset=offset, expected="0", actual=actual, flips=1, kind=kind, **fields)  # type: ignore[arg-type]


def scan(*wrong: Mismatch, coverage: float = 50.0) -> StepRecord:
    measured = (
        Measurement(name="coverage", value=coverage, unit=Unit.PERCENT),
        Measurement(name="wrong_words", value=7, unit=Unit.COUNT),
    )
    return step(3, "memory_scan", *measured, mismatches=wrong)


def test_wrong_words_lie_where_the_record_says() -> None:
    """Half of 4 MiB was tested: the last word of it lies in the last stretch, bit 8 of the last word of its sector."""
    first, last = mismatch(8, "1", reader_sm=4), mismatch((2 << 20) - 8, "100", reader_sm=5)
    told = structs.replace(record((scan(first, last, first),)), card=Identity(memory_mib=4))
    wrong = built(told, verdict()).wrong_words
    assert wrong is not None
    assert (wrong.words, wrong.compares, wrong.tested_bytes) == (2, 7, 2 << 20)
    assert wrong.places == (Count(0, 1), Count(PLACES - 1, 1))
    assert wrong.lanes == (Count(64, 1), Count(200, 1))
    assert wrong.sms == (Count(4, 1), Count(5, 1))


def test_without_a_size_there_are_no_places() -> None:
    wrong = built(record((scan(mismatch(8, "1")),)), verdict()).wrong_words
    assert wrong is not None
    assert (wrong.tested_bytes, wrong.places) == (None, ())


def test_wrong_products_are_no_wrong_words() -> None:
    assert built(record((scan(mismatch(8, "1", kind="compute")),)), verdict()).wrong_words is None


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**64 - 1))
def test_words_beyond_the_memory_are_drawn_at_its_end(offset: int, actual: int) -> None:
    told = structs.replace(record((scan(mismatch(offset, f"{actual:x}")),)), card=Identity(memory_mib=4))
    drawn = places.drawing(built(told, verdict()))
    assert drawn is not None
    (mark,) = drawn.marks
    assert mark.at < mark.at + mark.width <= 100.1
    assert len(drawn.cells) == actual.bit_count()
