"""Runs of a shipped plan on shipped virtual cards: alike for one seed, and alike when torn off and resumed."""

from pathlib import Path

import pytest

from gpucert.device.simulated import scenario
from gpucert.outcome import StepStatus
from gpucert.record import Record
from gpucert.run import journal, plan, supervisor
from gpucert.run.request import RunRequest
from tests.run.runs import timeless


def quick(folder: Path, name: str) -> Record:
    text, source = scenario.find(name)
    request = RunRequest(plan=plan.ready(plan.load("quick")), folder=folder, scenario=text, source=source)
    return supervisor.run_card(request)


@pytest.mark.parametrize("name", ["healthy-a100-sxm4-80gb", "lost", "stuck-bit"])
def test_a_run_torn_off_anywhere_ends_in_the_undisturbed_record(tmp_path: Path, name: str) -> None:
    whole = quick(tmp_path / "whole", name)
    assert not whole.interrupted
    lines = (tmp_path / "whole" / journal.NAME).read_bytes().splitlines(keepends=True)
    started = [n for n, line in enumerate(lines) if b'"type":"step_started"' in line]
    for length in (started[3] + 1, started[-1] + 2):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / journal.NAME).write_bytes(b"".join(lines[:length]))
        assert timeless(supervisor.resume(folder)) == timeless(whole)


def test_one_seed_one_record(tmp_path: Path) -> None:
    one, other = (quick(tmp_path / name, "healthy-a10") for name in ("one", "other"))
    assert {step.status for step in one.steps} == {StepStatus.RAN}
    assert timeless(one) == timeless(other)
    same = ((tmp_path / name / "telemetry.csv").read_bytes() for name in ("one", "other"))
    assert next(same) == next(same)
