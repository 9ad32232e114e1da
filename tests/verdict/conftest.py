"""Records to judge: a healthy virtual A100 and a faulty RTX 3090, each tested once."""

import pytest
from msgspec import structs

from gpucert.device.simulated import scenario
from gpucert.record import Record
from gpucert.run.plan import PlannedRun, load, ready
from tests import alone


def short(name: str = "standard") -> PlannedRun:
    """A shipped plan with shorter loads: the same steps, in less time."""
    planned = ready(load(name))
    steps = tuple(structs.replace(step, seconds=min(step.seconds, 60.0)) for step in planned.steps)
    return structs.replace(planned, steps=steps)


@pytest.fixture(scope="session")
def soaked() -> Record:
    return alone.tested(*scenario.find("healthy-a100-sxm4-80gb"), short())


@pytest.fixture(scope="session")
def healthy(soaked: Record) -> Record:
    """The same without telemetry: its fit decides nothing about a certificate, and costs most of a judgement."""
    return structs.replace(soaked, steps=tuple(structs.replace(step, traces={}) for step in soaked.steps))


@pytest.fixture(scope="session")
def faulty() -> Record:
    record = alone.tested(*scenario.find("stuck-bit"), short())
    return structs.replace(record, steps=tuple(structs.replace(step, traces={}) for step in record.steps))
