"""Probes that crash, hang, exit, lie or forget: each must end as the table of deaths says, and never as a pass."""

import math
from pathlib import Path

import pytest

from gpucert.outcome import StepStatus
from gpucert.reading import Absence, Absent
from gpucert.record import Record, StepRecord
from gpucert.run import supervisor
from tests.run.runs import RIG, Collected, virtual


def run(folder: Path, *probes: str, scenario: str = "{}") -> Record:
    return supervisor.run_card(virtual(folder / "card", *probes, scenario=scenario), parts=RIG)


def only(folder: Path, probe: str) -> StepRecord:
    """The step of a bad probe, after which a good one still ran."""
    bad, good = run(folder, probe, "good").steps
    assert good.status is StepStatus.RAN
    return bad


@pytest.mark.parametrize(
    ("probe", "status", "kind", "subject"),
    [
        ("crash", StepStatus.CRASHED, "crash", "card"),
        ("illegal", StepStatus.CRASHED, "illegal_address", "card"),
        ("launch", StepStatus.CRASHED, "launch_failed", "card"),
        ("leave", StepStatus.ERROR, "no_answer", "station"),
        ("host_memory", StepStatus.ERROR, "host_memory", "station"),
        ("no_room", StepStatus.ERROR, "no_room", "station"),
    ],
)
def test_a_death_that_lets_the_plan_go_on(
    tmp_path: Path, probe: str, status: StepStatus, kind: str, subject: str
) -> None:
    step = only(tmp_path, probe)
    assert (step.status, step.death and step.death.kind, step.death and step.death.subject) == (status, kind, subject)
    assert step.reason
    assert step.value("answer") == 42, "what was measured before the end is kept"
    assert len(step.mismatches) == 1
    assert [one.name for one in step.declared] == ["answer", "seconds"]


@pytest.mark.parametrize(
    ("probe", "status", "kind"),
    [
        ("lost", StepStatus.CRASHED, "lost"),
        ("ecc", StepStatus.CRASHED, "ecc_uncorrected"),
        ("hang", StepStatus.TIMED_OUT, "hang"),
        ("spins", StepStatus.TIMED_OUT, "hang"),
    ],
)
def test_a_death_after_which_the_card_cannot_be_loaded(
    tmp_path: Path, probe: str, status: StepStatus, kind: str
) -> None:
    first, second, third = run(tmp_path, "good", probe, "good").steps
    assert first.status is StepStatus.RAN
    assert (second.status, second.death and second.death.kind) == (status, kind)
    assert second.death is not None
    assert second.death.subject == "card"
    assert third.status is StepStatus.SKIPPED
    assert f"step 2 ({probe})" in third.reason


def test_a_hung_worker_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    step = run(tmp_path, "stubborn").steps[0]
    assert step.status is StepStatus.TIMED_OUT
    assert step.death is not None
    assert step.death.kind == "hang"
    assert step.value("answer") == 42


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("mistake", "ZeroDivisionError: division by zero"),
        ("undeclared", "UndeclaredMeasureError: probe undeclared measured 'something_else' but declares answer"),
        ("twice", "SetTwiceError"),
        ("reaches", "LoadRefusedError"),
        ("broken", "ImportError: no module named 'not_there'"),
    ],
)
def test_a_mistake_of_the_probe_is_an_error_and_nobodys_death(tmp_path: Path, probe: str, words: str) -> None:
    step = only(tmp_path, probe)
    assert step.status is StepStatus.ERROR
    assert step.death is None
    assert words in step.reason


def test_exit_without_answer_is_no_pass_even_by_exception(tmp_path: Path) -> None:
    step = only(tmp_path, "system_exit")
    assert step.status is StepStatus.ERROR


def test_a_child_that_keeps_the_lines_open_does_not_hold_up_the_run(tmp_path: Path) -> None:
    assert only(tmp_path, "forks").status is StepStatus.ERROR


def test_what_is_not_a_number_becomes_an_absurd_reading(tmp_path: Path) -> None:
    step = only(tmp_path, "not_a_number")
    for name in ("answer", "seconds"):
        value = step.value(name)
        assert isinstance(value, Absent)
        assert value.absent is Absence.ABSURD
    assert all(one.u is None or math.isfinite(one.u) for one in step.measurements)


def test_a_forgotten_promise_stays_visible(tmp_path: Path) -> None:
    step = only(tmp_path, "forgets")
    assert step.value("seconds") is None
    assert "seconds" in [one.name for one in step.declared]
    assert step.reason == "left unset: seconds"


def test_a_probe_that_cannot_run_here_is_skipped_with_its_reason(tmp_path: Path) -> None:
    step = only(tmp_path, "skips")
    assert (step.status, step.reason) == (StepStatus.SKIPPED, "this card has no such part")


def test_a_probe_cannot_swallow_an_abort(tmp_path: Path) -> None:
    record = run(tmp_path, "swallows", scenario='{"abort_at_s": 0.5}')
    step = record.steps[0]
    assert (step.status, step.reason) == (StepStatus.ABORTED, "91 °C has reached the limit")
    assert step.measurements == ()
    assert [event.kind for event in record.events] == ["abort"]


def test_what_a_probe_prints_does_not_reach_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert only(tmp_path, "prints").status is StepStatus.RAN
    assert "noise" not in capfd.readouterr().out


def test_each_step_finds_blank_memory(tmp_path: Path) -> None:
    steps = run(tmp_path, "dirties", "dirties").steps
    assert [step.value("answer") for step in steps] == [0, 0]


def test_progress_tells_the_run_in_order(tmp_path: Path) -> None:
    told = Collected()
    supervisor.run_card(virtual(tmp_path / "card", "good", "reads"), told, parts=RIG)
    assert told.calls == ["run_started", "step_started 0", "step_finished 0", "step_started 1", "step_finished 1"]
    assert told.texts[0] == "turn 1"
    assert told.samples
