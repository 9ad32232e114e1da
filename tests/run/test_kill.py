"""Supervisor, monitor and worker are killed at many moments: no evidence is lost, no orphan stays, no pass is wrong."""

import os
import signal
from pathlib import Path

import pytest

from gpucert import record as records
from gpucert.outcome import StepStatus
from gpucert.run import journal, supervisor
from tests.run.runs import (
    RIG,
    alive,
    children,
    entries,
    in_process,
    kill,
    lines,
    resume_in_process,
    text_of,
    timeless,
    until,
    virtual,
)

PLAN = ("good", "reads", "slow", "good")


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file exists, the probe `slow` waits."""
    path = tmp_path / "gate"
    path.touch()
    monkeypatch.setenv("TOY_SLOW", str(path))
    return path


def undisturbed(folder: Path, gate: Path) -> object:
    gate.unlink(missing_ok=True)
    return timeless(supervisor.run_card(virtual(folder, *PLAN), parts=RIG))


@pytest.mark.parametrize("position", [0, 1, 3, 5, 8, 9])
def test_a_killed_supervisor_leaves_no_orphan_and_a_run_that_ends_like_any_other(
    tmp_path: Path, gate: Path, position: int
) -> None:
    folder = tmp_path / "card"
    process = in_process(virtual(folder, *PLAN))
    until(lambda: lines(folder) >= position and bool(children(process.pid, "monitor")))
    ours = [*children(process.pid, "monitor"), *children(process.pid, "worker")]
    kill(process.pid)
    process.communicate()
    until(lambda: not any(alive(pid) for pid in ours), 3)
    gate.unlink()
    if lines(folder) == 0:
        record = supervisor.run_card(virtual(folder, *PLAN), parts=RIG)
    else:
        unfinished = journal.fold(entries(folder))
        assert unfinished.interrupted
        assert len(unfinished.steps) == len(PLAN)
        assert any(step.status is not StepStatus.RAN for step in unfinished.steps)
        record = supervisor.resume(folder, parts=RIG)
        assert [event.kind for event in record.events] == ["resumed"]
    assert not record.interrupted
    assert timeless(record) == undisturbed(tmp_path / "other", gate)
    assert records.load(folder / "record.json") == record


def test_a_worker_killed_from_outside_stops_the_run_and_says_nothing_about_the_card(tmp_path: Path, gate: Path) -> None:
    folder = tmp_path / "card"
    process = in_process(virtual(folder, *PLAN))
    until(lambda: '"index":2' in text_of(folder))
    kill(children(process.pid, "worker")[0])
    _, complaint = process.communicate()
    assert "RunStoppedError" in complaint
    assert "--resume" in complaint
    stopped = records.load(folder / "record.json")
    assert stopped.interrupted
    step = stopped.steps[2]
    assert step.status is StepStatus.ABORTED
    assert step.death is not None
    assert (step.death.kind, step.death.subject, step.death.signal) == ("killed", "station", signal.SIGKILL)
    assert stopped.steps[3].status is StepStatus.SKIPPED
    gate.unlink()
    record = supervisor.resume(folder, parts=RIG)
    assert timeless(record) == undisturbed(tmp_path / "other", gate)
    assert "attempt 1 at step 3 (slow)" in record.events[0].text


def test_a_killed_monitor_stops_worker_and_run(tmp_path: Path, gate: Path) -> None:
    folder = tmp_path / "card"
    process = in_process(virtual(folder, *PLAN))
    until(lambda: '"index":2' in text_of(folder) and bool(children(process.pid, "worker")))
    worker = children(process.pid, "worker")[0]
    kill(children(process.pid, "monitor")[0])
    _, complaint = process.communicate()
    assert "the monitor ended (signal 9)" in complaint
    assert not alive(worker)
    gate.unlink()
    assert timeless(supervisor.resume(folder, parts=RIG)) == undisturbed(tmp_path / "other", gate)


def test_a_stopped_monitor_makes_the_worker_end_itself(tmp_path: Path, gate: Path) -> None:
    folder = tmp_path / "card"
    process = in_process(virtual(folder, *PLAN))
    until(lambda: '"index":2' in text_of(folder) and bool(children(process.pid, "worker")))
    worker, monitor = children(process.pid, "worker")[0], children(process.pid, "monitor")[0]
    os.kill(monitor, signal.SIGSTOP)
    until(lambda: not alive(worker), 6)
    kill(process.pid)
    process.communicate()
    until(lambda: not alive(monitor), 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_soon_and_can_be_resumed(tmp_path: Path, gate: Path, number: signal.Signals) -> None:
    folder = tmp_path / "card"
    process = in_process(virtual(folder, *PLAN))
    until(lambda: '"index":2' in text_of(folder))
    process.send_signal(number)
    _, complaint = process.communicate(timeout=10)
    assert "RunInterruptedError" in complaint
    assert str(folder) in complaint
    assert not records.load(folder / "record.json").steps[2].measurements
    gate.unlink()
    assert timeless(supervisor.resume(folder, parts=RIG)) == undisturbed(tmp_path / "other", gate)


def test_a_run_can_be_killed_and_resumed_again_and_again(tmp_path: Path, gate: Path) -> None:
    folder = tmp_path / "card"
    process = in_process(virtual(folder, *PLAN))
    until(lambda: '"index":2' in text_of(folder))
    kill(process.pid)
    process.communicate()
    again = resume_in_process(folder)
    until(lambda: '"attempt":2' in text_of(folder))
    kill(again.pid)
    again.communicate()
    gate.unlink()
    record = supervisor.resume(folder, parts=RIG)
    assert timeless(record) == undisturbed(tmp_path / "other", gate)
    assert [event.kind for event in record.events] == ["resumed", "resumed"]
    rows = (folder / "telemetry.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows if row.startswith("2,")} == {"3"}, "rows tell their attempt"
