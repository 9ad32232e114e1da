"""Cards that are tested and judged in this process, where no fault of theirs ends one: a run without its processes."""

import contextlib
import tempfile
from pathlib import Path

from gpucert import record as records
from gpucert.cli import jobs
from gpucert.cli.rules import RuleFiles, load
from gpucert.device.simulated import scenario
from gpucert.record import Record
from gpucert.run.plan import PlannedRun
from gpucert.trials import in_process
from gpucert.verdict.verdict import Verdict


def tested(text: str, source: str, planned: PlannedRun) -> Record:
    """The record of a card, which has less memory than its scenario says if its faults fit into that."""
    with contextlib.suppress(scenario.ScenarioError):
        text = scenario.parse(f"vram_mib = 1\n{text}", source).text
    return in_process.run(text, source, planned)


def judged(record: Record) -> Verdict:
    """As `gpucert judge` does it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.json"
        file.write_bytes(records.encode(record))
        return jobs.judge_file(file, load(RuleFiles())).verdict
