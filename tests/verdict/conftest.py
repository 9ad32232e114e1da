"""Records to judge: a healthy virtual A100 and a faulty RTX 3090, each run once by the real supervisor."""

from pathlib import Path

import pytest
from msgspec import structs

from gpucert.device.simulated import scenario
from gpucert.record import Record
from gpucert.run import supervisor
from gpucert.run.plan import PlannedRun, load, ready
from gpucert.run.request import RunRequest


def short(name: str = "standard") -> PlannedRun:
    """A shipped plan with shorter loads: the same steps, in less time."""
    planned = ready(load(name))
    steps = tuple(structs.replace(step, seconds=min(step.seconds, 60.0)) for step in planned.steps)
    return structs.replace(planned, steps=steps)


def run(folder: Path, name: str) -> Record:
    text, source = scenario.find(name)
    return supervisor.run_card(RunRequest(plan=short(), folder=folder, scenario=text, source=source))


@pytest.fixture(scope="session")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run(tmp_path_factory.mktemp("healthy") / "card", "healthy-a100-sxm4-80gb")


@pytest.fixture(scope="session")
def healthy(soaked: Record) -> Record:
    """The same without telemetry: its fit decides nothing about a certificate, and costs most of a judgement."""
    return structs.replace(soaked, steps=tuple(structs.replace(step, traces={}) for step in soaked.steps))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Record:
    record = run(tmp_path_factory.mktemp("faulty") / "card", "stuck-bit")
    return structs.replace(record, steps=tuple(structs.replace(step, traces={}) for step in record.steps))
