"""What the tests of the run share: plans of toy probes, requests, and supervisors in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from gpucert.record import Identity, PlanRun, Record, Sample, StepRecord
from gpucert.run import journal
from gpucert.run.plan import PlannedRun, Step
from gpucert.run.request import RunRequest

TOYS = Path(__file__).parent / "toys"
RIG = "toy_rig"


def planned(*probes: str, seconds: float = 10) -> PlannedRun:
    run = PlanRun(name="toy", version=1, yields="report", best_tier=None, sha256="0")
    return PlannedRun(run=run, steps=tuple(Step(probe=name, seconds=seconds, blocker=True) for name in probes))


def virtual(folder: Path, *probes: str, scenario: str = "{}", seconds: float = 10) -> RunRequest:
    return RunRequest(plan=planned(*probes, seconds=seconds), folder=folder, scenario=scenario)


class Collected:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.texts: list[str] = []
        self.samples: list[Sample] = []
        self.finished: list[StepRecord] = []

    def run_started(self, identity: Identity, steps: tuple[Step, ...]) -> None:
        self.calls.append("run_started")

    def step_started(self, index: int, step: Step) -> None:
        self.calls.append(f"step_started {index}")

    def step_progress(self, index: int, fraction: float, text: str) -> None:
        self.texts.append(text)

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def step_finished(self, step: StepRecord) -> None:
        self.calls.append(f"step_finished {step.index}")
        self.finished.append(step)

    def note(self, text: str) -> None:
        self.texts.append(text)


def timeless(record: Record) -> object:
    """A record without its timestamps and without the events that say that it was resumed."""
    station = msgspec.structs.replace(record.station, clock_utc="")
    events = tuple(event for event in record.events if event.kind != "resumed")
    bare = msgspec.structs.replace(record, started_at="", ended_at="", station=station, events=events)
    return msgspec.to_builtins(bare)


def entries(folder: Path) -> tuple[journal.AnyEntry, ...]:
    path = folder / journal.NAME
    return journal.parse(path.read_bytes(), str(path)).entries


_SCRIPT = """
import sys
from pathlib import Path
from gpucert.run import supervisor
from gpucert.run.request import RunRequest
import msgspec
order, folder, text = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
if order == "run":
    supervisor.run_card(msgspec.json.decode(text, type=RunRequest, dec_hook=lambda kind, value: kind(value)),
                        parts="toy_rig")
else:
    supervisor.resume(folder, parts="toy_rig")
"""


def in_process(request: RunRequest) -> "subprocess.Popen[str]":
    """A supervisor in a process of its own, to be hurt."""
    return _supervisor("run", request.folder, msgspec.json.encode(request, enc_hook=str).decode())


def resume_in_process(folder: Path) -> "subprocess.Popen[str]":
    """The same, going on with a run."""
    return _supervisor("resume", folder, "")


def _supervisor(order: str, folder: Path, text: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, order, str(folder), text],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def text_of(folder: Path) -> str:
    path = folder / journal.NAME
    return path.read_text(errors="replace") if path.exists() else ""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def children(pid: int, module: str) -> list[int]:
    """The children of a process that run a module of gpucert.run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(stat[1]) == pid and stat[0] != "Z" and f"gpucert.run.{module}".encode() in words:
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def lines(folder: Path) -> int:
    path = folder / journal.NAME
    return path.read_bytes().count(b"\n") if path.exists() else 0


def record_json(folder: Path) -> dict[str, object]:
    decoded = json.loads((folder / "record.json").read_bytes())
    assert isinstance(decoded, dict)
    return decoded
