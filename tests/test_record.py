"""The record's file: what it refuses, how it is laid out, and that a column is the same however it is kept."""

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gpucert import record as records
from gpucert.outcome import StepStatus
from gpucert.reading import Absence
from gpucert.record import Identity, Measurement, PlanRun, Record, Settings, Station, StepRecord, Trace
from gpucert.units import Unit


def recorded(*traces: Trace, value: float = 1.0) -> Record:
    """A record of one step with these traces."""
    step = StepRecord(
        index=0, probe="toy", blocker=False, seconds=1.0, status=StepStatus.RAN, began_s=0.0, ended_s=1.0,
        traces={f"trace {place}": trace for place, trace in enumerate(traces)},
        measurements=(Measurement(name="answer", unit=Unit.COUNT, value=value),),
    )  # fmt: skip
    return Record(
        simulated=True, started_at="2026-01-01T00:00:00+00:00", ended_at="2026-01-01T00:00:01+00:00", seed=1,
        card=Identity(), settings=Settings(), steps=(step,), versions={},
        station=Station(os="Linux", python="3.11", cpu_count=2, clock_utc="2026-01-01T00:00:00+00:00"),
        plan=PlanRun(name="toy", version=1, yields="report", best_tier=None, sha256="0" * 64),
    )  # fmt: skip


values = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(Absence), st.just(60.0))
columns = st.integers(0, 5).flatmap(lambda rows: st.lists(values, min_size=rows, max_size=rows).map(tuple))


@given(columns)
def test_a_column_comes_back_whole_from_the_file(column: tuple[float | Absence, ...]) -> None:
    trace = Trace.of(tuple(map(float, range(len(column)))), {"power_w": column})
    read = records.decode(records.encode(recorded(trace)), "here").steps[0].traces["trace 0"]
    assert read == trace
    assert read.column("power_w") == column
    assert read.column("hotspot_c") == ()


def test_a_channel_that_never_changed_is_kept_once() -> None:
    at_s = (0.1, 0.2, 0.3)
    trace = Trace.of(at_s, {"fan_percent": (60.0,) * 3, "hotspot_c": (Absence.LOST,) * 3, "power_w": (1.0, 1.0, 2.0)})
    assert trace.channels == {"fan_percent": 60.0, "hotspot_c": Absence.LOST, "power_w": (1.0, 1.0, 2.0)}
    whole = Trace(at_s, {name: trace.column(name) for name in trace.channels})
    read = records.decode(records.encode(recorded(whole)), "here").steps[0].traces["trace 0"]
    assert {name: read.column(name) for name in read.channels} == whole.channels, "both forms are read alike"


def test_columns_stand_on_one_line_and_everything_else_on_its_own() -> None:
    trace = Trace.of((0.1, 0.2), {"power_w": (-1e-7, Absence.LOST)})
    text = records.encode(recorded(trace)).decode()
    assert '"at_s": [0.1, 0.2],\n' in text
    assert '"power_w": [-1e-7, "lost"]\n' in text
    assert '"seed": 1,\n' in text
    assert json.loads(text) == json.loads(msgspec.json.encode(recorded(trace)))


@given(st.text())
def test_no_text_is_changed_by_the_layout(text: str) -> None:
    record = structs.replace(recorded(), scenario=text, versions={text: "[\n 1,\n 2\n]" + text})
    assert records.decode(records.encode(record), "here") == record


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_not_written(odd: float) -> None:
    with pytest.raises(ValueError, match=r"steps\[0\]\.measurements\[0\]\.value is"):
        records.encode(recorded(value=odd))
    with pytest.raises(ValueError, match=r"traces\.trace 0\.channels\.power_w\[1\] is"):
        records.encode(recorded(Trace((0.1, 0.2), {"power_w": (1.0, odd)})))


@pytest.mark.parametrize(("field", "told"), [
    (b'"seed": 1', "here: the seed has more than 64 bits"),
    (b'"index": 0', r"here: Expected `int` <= 9223372036854775807 - at `\$\.steps\[0\]\.index`"),
    (b'"value": 1', r"here: Expected `int` <= 9223372036854775807 - at `\$\.steps\[0\]\.measurements\[0\]\.value`"),
])  # fmt: skip
@pytest.mark.parametrize("digits", [20, 21, 25, 400])
def test_a_number_that_no_card_counts_to_is_refused(field: bytes, told: str, digits: int) -> None:
    data = records.encode(recorded(value=1))
    assert data.count(field + b",") == 1
    name, _ = field.split(b" ")
    with pytest.raises(records.UnreadableRecordError, match=told):
        records.decode(data.replace(field + b",", name + b" " + b"9" * digits + b","), "here")


def test_a_number_without_end_is_refused() -> None:
    data = records.encode(recorded()).replace(b'"seed": 1,', b'"seed": ' + b"1" * 5000 + b",")
    with pytest.raises(records.UnreadableRecordError, match="here: Integer value out of range"):
        records.decode(data, "here")


def test_long_digits_that_are_no_whole_number_are_read() -> None:
    written = structs.replace(recorded(), scenario="1" * 30, versions={"0" * 30: "2"})
    data = records.encode(written).replace(b'"seconds": 1.0', b'"seconds": 1.' + b"0" * 30)
    assert records.decode(data, "here") == written
    largest = structs.replace(recorded(), seed=2**64 - 1)
    assert records.decode(records.encode(largest), "here") == largest


@pytest.mark.parametrize(("data", "told"), [
    (b"", "not a gpucert record"),
    (b"[]", "not a gpucert record"),
    (b"{}", "not a gpucert record"),
    (b'{"schema": 1}', "not a gpucert record"),
    (b'{"schema": "gpucert.record/2"}', "schema is 'gpucert.record/2', this version reads"),
    (b'{"schema": "gpucert.record/2", "seed": ' + b"1" * 30 + b"}", "schema is 'gpucert.record/2'"),
    (b'{"schema": "gpucert.record/1"}', "missing required field"),
])  # fmt: skip
def test_what_is_no_record_of_this_version_says_why(data: bytes, told: str) -> None:
    with pytest.raises(records.UnreadableRecordError, match=f"here: .*{told}"):
        records.decode(data, "here")


def test_a_whole_record_must_say_its_schema_and_the_right_one() -> None:
    data = records.encode(recorded())
    with pytest.raises(records.UnreadableRecordError, match="not a gpucert record"):
        records.decode(data.replace(b'"schema": "gpucert.record/1",', b""), "here")
    with pytest.raises(records.UnreadableRecordError, match=r"schema is 'gpucert\.record/0'"):
        records.decode(data.replace(b"gpucert.record/1", b"gpucert.record/0"), "here")
