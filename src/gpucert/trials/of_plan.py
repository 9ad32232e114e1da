"""Steps of a shipped plan on a virtual card, for suites whose profiles are plans."""

from functools import cache

from msgspec import structs

from gpucert.device.simulated.scenario import Scenario
from gpucert.record import Record
from gpucert.run import plan
from gpucert.run.plan import PlannedRun
from gpucert.trials import in_process

DATA = 4
"""Seeds of test data, because the right answers of each are worked out once, and a fault strikes whatever they are."""


@cache
def planned(profile: str, probes: tuple[str, ...], without: str = "") -> PlannedRun:
    """The plan's steps of these probes, as it has them; all but those of one probe, if one is named."""
    steps = tuple(step for step in plan.load(profile).step if step.probe in probes and step.probe != without)
    return plan.ready(structs.replace(plan.load("quick"), name=f"bench-detection-{profile}", step=steps))


def phases(profile: str, probes: tuple[str, ...]) -> tuple[str, ...]:
    """The probes of the steps, in their order."""
    return tuple(dict.fromkeys(step.probe for step in planned(profile, probes).steps))


def run(card: Scenario, profile: str, probes: tuple[str, ...], without: str = "") -> Record:
    """These steps on a card."""
    return in_process.run(card.text, profile, planned(profile, probes, without), card.seed % DATA)
