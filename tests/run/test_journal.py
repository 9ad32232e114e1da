"""The journal: cut anywhere it still tells a story, damaged in the middle it is refused, folded it is the record."""

from pathlib import Path

import pytest
from msgspec import structs

from gpucert import record as records
from gpucert.outcome import StepStatus
from gpucert.record import Event, Mismatch
from gpucert.run import journal, supervisor
from gpucert.run.journal import JournalError
from tests.run.runs import RIG, entries, timeless, virtual


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The journal of a finished run of three steps."""
    folder = tmp_path_factory.mktemp("told") / "card"
    with pytest.MonkeyPatch.context() as patch:
        toys = str(Path(__file__).parent / "toys")
        patch.syspath_prepend(toys)
        patch.setenv("PYTHONPATH", toys)
        supervisor.run_card(virtual(folder, "good", "crash", "reads", scenario='{"xid_at_s": 1.0}'), parts=RIG)
    return (folder / journal.NAME).read_bytes()


def test_the_record_is_a_fold_of_the_journal(told: bytes) -> None:
    record = journal.fold(journal.parse(told, "here").entries)
    assert [step.status for step in record.steps] == [StepStatus.RAN, StepStatus.CRASHED, StepStatus.RAN]
    assert not record.interrupted
    assert [event.code for event in record.events] == ["31"]
    assert record.versions["toy"] == "1"
    assert records.decode(records.encode(record), "here") == record


def test_every_beginning_of_a_journal_folds_to_an_interrupted_record_with_all_steps(told: bytes) -> None:
    story = journal.parse(told, "here").entries
    for length in range(1, len(story)):
        record = journal.fold(story[:length])
        assert record.interrupted
        assert [step.index for step in record.steps] == [0, 1, 2]
        finished = sum(isinstance(entry, journal.StepFinished) for entry in story[:length])
        assert sum(step.status in (StepStatus.RAN, StepStatus.CRASHED) for step in record.steps) == finished
        assert all(step.reason for step in record.steps[finished:])


def test_a_step_that_was_torn_off_keeps_its_measurements(told: bytes) -> None:
    story = journal.parse(told, "here").entries
    measured = next(n for n, entry in enumerate(story) if isinstance(entry, journal.Measured))
    step = journal.fold(story[: measured + 1]).steps[0]
    assert step.status is StepStatus.ABORTED
    assert [one.name for one in step.measurements] == ["answer"]


@pytest.mark.parametrize(("simulated", "kept"), [(False, 1), (True, 0)])
def test_wrong_words_of_a_torn_attempt_stay_on_a_real_cards_record(told: bytes, simulated: bool, kept: int) -> None:
    start, begun, *rest = journal.parse(told, "here").entries
    assert isinstance(start, journal.RunStarted)
    finished = next(entry for entry in rest if isinstance(entry, journal.StepFinished))
    wrong = Mismatch(phase="own", offset=8, expected="0", actual="1", flips=1)
    resumed = journal.Resumed(at="", pid=1, boot="", event=Event(0.0, "resumed", "resumed", ""))
    story = (
        structs.replace(start, simulated=simulated), begun, journal.Mismatched(at="", index=0, mismatch=wrong),
        resumed, begun, finished,
    )  # fmt: skip
    assert finished.step.mismatches == ()
    assert journal.fold(story).steps[0].mismatches == (wrong,) * kept
    assert journal.fold(story[:-1]).steps[0].mismatches == (wrong,) * kept


def test_a_journal_cut_at_any_byte_loses_its_last_line_at_most(told: bytes) -> None:
    ends = [n + 1 for n, byte in enumerate(told) if byte == ord("\n")]
    for cut in {*range(ends[0], len(told), 997), *ends, *(end - 1 for end in ends[1:])}:
        story = journal.parse(told[:cut], "here")
        whole = [end for end in ends if end <= cut]
        assert len(story.entries) == len(whole)
        assert story.sound_bytes == whole[-1]
        assert story.torn == (cut not in ends)


def test_a_last_line_of_lost_sectors_is_torn(told: bytes) -> None:
    kept = told[: told.index(b"\n") + 1]
    assert len(journal.parse(kept + b"\0" * 512, "here").entries) == 1
    assert len(journal.parse(kept + b"\0" * 512 + b"\n", "here").entries) == 1


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_journal_without_a_complete_line_cannot_be_read(told: bytes, cut: int) -> None:
    with pytest.raises(JournalError, match="here: holds no complete line"):
        journal.parse(told[:cut], "here")


def test_a_damaged_middle_is_refused_with_file_and_line(told: bytes) -> None:
    lines = told.splitlines(keepends=True)
    cases = {
        "garbage": [lines[0], b"\0\0\0\n", *lines[2:]],
        "bit flip": [lines[0], lines[1].replace(b'"index":0', b'"index":1', 1), *lines[2:]],
        "missing": [lines[0], *lines[2:]],
        "doubled": [lines[0], lines[1], lines[1], *lines[2:]],
    }
    for pieces in cases.values():
        with pytest.raises(JournalError, match=r"here: line [23] is damaged"):
            journal.parse(b"".join(pieces), "here")


def test_a_journal_of_another_schema_is_refused(told: bytes) -> None:
    first = journal.parse(told, "here").start
    import msgspec

    line = journal.encode(0, msgspec.structs.replace(first, schema="gpucert.journal/99"))
    with pytest.raises(JournalError, match=r"schema is 'gpucert\.journal/99', this version reads 'gpucert\.journal/1'"):
        journal.parse(line, "here")


def test_cutting_the_journal_at_any_line_and_resuming_gives_the_undisturbed_record(told: bytes, tmp_path: Path) -> None:
    whole = timeless(journal.fold(journal.parse(told, "here").entries))
    lines = told.splitlines(keepends=True)
    for length in range(1, len(lines), 3):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / journal.NAME).write_bytes(b"".join(lines[:length]) + lines[length][:40])
        record = supervisor.resume(folder, parts=RIG)
        assert timeless(record) == whole
        assert not record.interrupted


def test_a_finished_run_is_not_run_again(told: bytes, tmp_path: Path) -> None:
    (tmp_path / journal.NAME).write_bytes(told)
    before = len(entries(tmp_path))
    record = supervisor.resume(tmp_path, parts=RIG)
    assert len(entries(tmp_path)) == before
    assert records.load(tmp_path / "record.json") == record


def test_station_deaths_count_only_other_boots_inside_the_step(told: bytes) -> None:
    story = journal.parse(told, "here").entries
    started = next(entry for entry in story if isinstance(entry, journal.StepStarted))
    event = records.Event(0.0, "resumed", "resumed", "")

    def resumed(boot: str) -> journal.Resumed:
        return journal.Resumed(at="", pid=1, boot=boot, event=event)

    first = journal.parse(told, "here").start
    same_boot = resumed(first.boot)
    stopped = journal.Stopped(at="", why="interrupted")
    assert journal.station_deaths((first, started, same_boot), 0) == 0
    assert journal.station_deaths((first, started, resumed("b")), 0) == 1
    assert journal.station_deaths((first, started, resumed("b"), started, resumed("c")), 0) == 2
    assert journal.station_deaths((first, started, stopped, resumed("b")), 0) == 0
    assert journal.station_deaths((first, started, resumed("b")), 1) == 0


def test_a_step_in_which_the_station_died_twice_is_given_up(told: bytes, tmp_path: Path) -> None:
    story = list(journal.parse(told, "here").entries)
    started = next(n for n, entry in enumerate(story) if isinstance(entry, journal.StepStarted))
    event = records.Event(0.0, "resumed", "resumed", "")
    again = [story[started], journal.Resumed(at="", pid=1, boot="another", event=event), story[started]]
    lines = [journal.encode(n, entry) for n, entry in enumerate([*story[:started], *again])]
    (tmp_path / journal.NAME).write_bytes(b"".join(lines))
    record = supervisor.resume(tmp_path, parts=RIG)
    first, *rest = record.steps
    assert first.status is StepStatus.CRASHED
    assert first.death is not None
    assert (first.death.kind, first.death.subject) == ("host", "station")
    assert "card or power supply undetermined" in first.reason
    assert {step.status for step in rest} == {StepStatus.SKIPPED}
