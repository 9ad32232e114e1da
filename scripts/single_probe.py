"""Runs one probe of the standard plan on a GPU or a virtual card, as a run of its own: GPU PROBE FOLDER [SECONDS].

Without arguments it prints the seconds of every probe as JSON.
"""

import json
import sys
from pathlib import Path

from msgspec import structs

from gpucert.device.simulated import scenario
from gpucert.outcome import StepStatus
from gpucert.run import plan, supervisor
from gpucert.run.request import RunRequest

STANDARD = plan.load("standard")


def only(probe: str, seconds: float | None = None) -> plan.PlannedRun:
    """The standard plan with nothing but the first step of one probe, for its time or another; it yields no tier."""
    step = next(step for step in STANDARD.step if step.probe == probe)
    step = step if seconds is None else structs.replace(step, seconds=seconds)
    return plan.ready(structs.replace(STANDARD, name=f"only-{probe}", yields="report", best_tier=None, step=(step,)))


def request(gpu: str, planned: plan.PlannedRun, folder: Path) -> RunRequest:
    """The run that is asked for; a card that is the name of a scenario is a virtual one."""
    if gpu in scenario.names():
        return RunRequest(plan=planned, folder=folder, scenario=scenario.load(gpu).text, source=gpu)
    return RunRequest(plan=planned, folder=folder, gpu=gpu)


def main(words: list[str]) -> int:
    """Run it; 0 when the step ran to its end."""
    if not words:
        sys.stdout.write(json.dumps({step.probe: step.seconds for step in STANDARD.step}) + "\n")
        return 0
    gpu, probe, folder, *seconds = words
    planned = only(probe, float(seconds[0]) if seconds else None)
    record = supervisor.run_card(request(gpu, planned, Path(folder)))
    (step,) = record.steps
    for measurement in step.measurements:
        sys.stdout.write(f"{measurement.name} = {measurement.value} {measurement.unit}\n")
    sys.stdout.write(f"{probe}: {step.status}{f': {step.reason}' if step.reason else ''}\n")
    return 0 if step.status is StepStatus.RAN else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
