"""Cards that are tested in this process, where no fault of theirs ends one: a run without its processes."""

import contextlib

from gpucert.device.simulated import scenario
from gpucert.record import Record
from gpucert.run.plan import PlannedRun
from gpucert.trials import in_process


def tested(text: str, source: str, planned: PlannedRun) -> Record:
    """The record of a card, which has less memory than its scenario says if its faults fit into that."""
    with contextlib.suppress(scenario.ScenarioError):
        text = scenario.parse(f"vram_mib = 1\n{text}", source).text
    return in_process.run(text, source, planned)
