"""A run without processes: the steps of a plan on a virtual card, in the caller's own process, into the same record.

Bench, endings and record are those of any run; only nobody has a process of his own. A fault that ends processes would
end the caller, so such a card is refused.
"""

import contextlib
import io
import os
from collections.abc import Generator, Iterator
from pathlib import Path

from gpucert import probes
from gpucert.device.simulated.card import VirtualCard
from gpucert.device.simulated.faults import Crash, Hang, Lost
from gpucert.device.simulated.medium import VirtualMedium
from gpucert.device.simulated.scenario import Scenario, parse
from gpucert.device.simulated.wire import Advance, Load
from gpucert.record import Counters, Identity, Record, Sample, Settings, StepRecord
from gpucert.run import journal, link, rig, worker
from gpucert.run.attempt import Heard, said
from gpucert.run.journal import AnyEntry, Noticed, RunFinished, RunStarted, StepFinished, StepStarted
from gpucert.run.plan import PlannedRun
from gpucert.run.pulse import Pulse
from gpucert.run.request import RunRequest, verify
from gpucert.run.supervisor import Task, first_entry, step_record, step_spec, stopped_by
from gpucert.run.telemetry import StepTelemetry
from gpucert.run.wire import Attached, Finished, FromWorker, StepBegun, StepEnded, StepSpec
from gpucert.run.workbench import WorkBench

ENDS_A_PROCESS = (Crash, Hang, Lost)


class NeedsProcessesError(ValueError):
    """A fault of this card ends the process that tests it; the text names the fault and the remedy."""


class InProcessCard:
    """A virtual card and the telemetry of its present step; a `gpucert.run.workbench.Desk`."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.virtual = VirtualCard(scenario)
        self._telemetry = StepTelemetry()

    def attached(self) -> Attached:
        """The card as it answers before the run."""
        virtual = self.virtual
        return Attached(
            identity=virtual.identity(), settings=virtual.settings(), processes=virtual.processes(), zero_s=0.0
        )

    def begin(self) -> StepBegun:
        """A step begins: on a card that was frozen and thawed, as in any run."""
        self.virtual = VirtualCard(self.scenario, self.virtual.freeze())
        self._telemetry = StepTelemetry()
        return StepBegun(began_s=self.now_s(), before=self.counters())

    def end(self) -> StepEnded:
        """The step has ended."""
        return StepEnded(ended_s=self.now_s(), after=self.counters(), telemetry=self._telemetry.trace())

    def advance(self, seconds: float, load: Load) -> Advance:
        """Let time pass under a load."""
        moved = self.virtual.advance(seconds, load)
        self._telemetry.add(self.virtual.drain())
        return moved

    def identity(self) -> Identity:
        """Who the card says it is."""
        return self.virtual.identity()

    def settings(self) -> Settings:
        """Its modes and limits."""
        return self.virtual.settings()

    def counters(self) -> Counters:
        """Its counters now."""
        return self.virtual.counters()

    def samples(self, since_s: float) -> tuple[Sample, ...]:
        """Telemetry of this step from `since_s` on, oldest first."""
        return self._telemetry.since(since_s)

    def now_s(self) -> float:
        """The card's clock."""
        return self.virtual.now_s()


def bare_medium(scenario: Scenario) -> VirtualMedium:
    """A card, new and cold, without a run around it: nobody reads its telemetry."""
    card = VirtualCard(scenario)

    def advance(seconds: float, load: Load) -> Advance:
        moved = card.advance(seconds, load)
        card.drain()
        return moved

    return VirtualMedium(scenario, bytearray(card.memory_bytes), advance, "", 0.0)


def refuse(scenario: Scenario) -> None:
    """Raise NeedsProcessesError for a card that cannot be tested here."""
    for fault in scenario.faults:
        if isinstance(fault, ENDS_A_PROCESS):
            raise NeedsProcessesError(
                f"{fault.kind}: ends the process that tests the card, and here is none to spare; "
                "`gpucert certify --simulate` has one"
            )


def run(scenario: str, source: str, planned: PlannedRun, seed: int | None = None) -> Record:
    """Run a plan on the card of a scenario's text, which errors call `source`; no file is written.

    Raises ScenarioError, NeedsProcessesError, and RequestError for a plan or a seed that no run takes.
    """
    request = RunRequest(plan=planned, folder=Path(), scenario=scenario, source=source, seed=seed)
    verify(request)
    described = parse(scenario, source)
    refuse(described)
    return journal.fold(_entries(request, InProcessCard(described)))


def _entries(request: RunRequest, card: InProcessCard) -> Iterator[AnyEntry]:
    """What the journal of this run would hold."""
    start = first_entry(request, card.attached())
    yield start
    done: list[StepRecord] = []
    for index, step in enumerate(start.plan.steps):
        over = stopped_by(done)
        if over:
            done.append(journal.skipped(index, step, card.now_s(), over))
            yield StepFinished(at=journal.now(), step=done[-1])
        else:
            done.append((yield from _step(start, Task(index, step), card)))
    yield RunFinished(at=journal.now())


def _step(start: RunStarted, task: Task, card: InProcessCard) -> Generator[AnyEntry, None, StepRecord]:
    begun = card.begin()
    yield StepStarted(
        at=journal.now(),
        index=task.index,
        probe=task.step.probe,
        attempt=1,
        began_s=begun.began_s,
        before=begun.before,
    )
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        heard, finished = _work(step_spec(start, task, begun), card)
    ended = card.end()
    for event in card.virtual.events():
        yield Noticed(at=journal.now(), event=event)
    step = step_record(task, begun, ended, heard, said(finished))
    yield StepFinished(at=journal.now(), step=step, versions=heard.versions, stderr=printed.getvalue())
    return step


class _Ear:
    """A `gpucert.run.workbench.Listener` without a line between."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def send(self, message: FromWorker) -> None:
        """Hear it at once."""
        self._heard.take(message)


def _work(spec: StepSpec, card: InProcessCard) -> tuple[Heard, Finished]:
    """What a worker does, with memory and pulse of its own, which nobody else looks at."""
    probe, heard = probes.load(spec.probe), Heard()
    heard.take(worker.promises(probe))
    memory, pulse = link.memory(), Pulse.create()
    try:
        os.ftruncate(memory, card.virtual.memory_bytes)
        with contextlib.closing(Pulse(pulse)) as beating:
            bench = WorkBench(spec, probe, _Ear(heard), card, beating, rig.load(rig.SHIPPED), memory)
            return heard, worker.perform(probe, bench)
    finally:
        os.close(memory)
        os.close(pulse)
