"""One attempt at one step: start a worker, listen to it, and say how it ended."""

import selectors
import time
from dataclasses import dataclass, field

from gpucert.outcome import StepStatus
from gpucert.record import Death, Declared, Measurement, Mismatch, Trace
from gpucert.run import deaths, journal, processes
from gpucert.run.deaths import Rule, Then
from gpucert.run.interrupts import Interrupts
from gpucert.run.journal import Journal
from gpucert.run.link import TICK_S, MonitorLink
from gpucert.run.progress import Progress
from gpucert.run.pulse import Abort, Patience, Pulse
from gpucert.run.wire import (
    FROM_WORKER,
    ClosedError,
    Finished,
    FromWorker,
    Measured,
    Mismatched,
    Progressed,
    Ready,
    StepSpec,
    Traced,
    Uses,
    pair,
    read,
)

LEAVE_S = 1.0
"""A worker that has said its last words, or closed its line, is given this long to leave."""
OBEY_S = 2.0
"""A worker that its watchdog has not ended by then, after the monitor asked for it, is held by a call to the driver."""
QUIET_S = 30.0
START_S = 60.0
"""A worker that has not even loaded its probe by then says nothing about the card: the station is overloaded."""
MISMATCHES_JOURNALLED = 16
"""Wrong words that go to the journal at once, because a power cut must not erase them; the rest comes with the step."""


@dataclass
class Heard:
    """What a worker said, kept as it came, so that a crash keeps it."""

    declared: tuple[Declared, ...] = ()
    measurements: list[Measurement] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)
    traces: dict[str, Trace] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    finished: Finished | None = None

    def take(self, message: FromWorker) -> None:
        """Keep one message; how far a step is matters to nobody later."""
        match message:
            case Measured():
                self.measurements.append(message.measurement)
            case Mismatched():
                self.mismatches.append(message.mismatch)
            case Traced():
                self.traces[message.name] = message.trace
            case Ready():
                self.declared = message.declared
            case Uses():
                self.versions = message.versions
            case Finished():
                self.finished = message
            case Progressed():
                pass


@dataclass(frozen=True)
class Ending:
    """How a worker ended, and what follows for the plan."""

    status: StepStatus
    reason: str
    death: Death | None
    then: Then
    unwatched: bool = False
    """The worker ended itself because it missed the monitor."""


BUSY_FACTOR = 6
"""How much longer a worker may be silent that computes, or waits for a processor: on a virtual card that is work."""


class Deadline:
    """Decides when a step has hung: on a virtual card any idle silence is a hang, a real one may be silent for long."""

    def __init__(self, seconds: float, silence_s: float, *, pid: int, virtual: bool) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self._late_s = 0.0 if virtual else 1.5 * seconds + 60
        self._overtime_s = 3 * seconds + 600
        self._start = Patience(START_S)
        self._idle = Patience(silence_s if virtual else QUIET_S)
        self._busy = Patience(BUSY_FACTOR * silence_s if virtual else QUIET_S)

    def passed(self, mark: object, *, started: bool) -> Rule | None:
        """The row of the table of deaths when it is time to end the worker."""
        elapsed = time.monotonic() - self._began
        if not started:
            return deaths.of_kind("no_start") if self._start.over(started) else None
        idle, silent = self._idle.over((mark, processes.awake_seconds(self._pid))), self._busy.over(mark)
        if (idle or silent) and elapsed > self._late_s:
            return deaths.of_kind("hang")
        return deaths.of_kind("overtime") if elapsed > self._overtime_s else None


class Worker:
    """A worker process that waits for its step."""

    def __init__(self, rig: str, pulse: int, memory: int, held: tuple[int, ...]) -> None:
        self.channel, theirs = pair()
        self.card_line, card = pair()
        """The monitor's end of the worker's line to the card."""
        self.child = processes.Child(
            "gpucert.run.worker",
            (rig, str(theirs.fileno()), str(card.fileno()), str(pulse), str(memory)),
            (theirs.fileno(), card.fileno(), pulse, memory, *held),
        )
        theirs.close()
        card.close()

    def close(self) -> None:
        """End it if it still runs, and forget it."""
        process = self.child.process
        if process.poll() is None and not processes.end(process, kill_s=LEAVE_S):
            process.returncode = -9  # because nobody will ever wait for a process that the driver holds
        self.channel.close()
        self.card_line.close()
        self.child.close()


class Attempt:
    """Listens to one worker at one step."""

    def __init__(
        self,
        spec: StepSpec,
        worker: Worker,
        monitor: MonitorLink,
        pulse: Pulse,
        story: Journal,
        progress: Progress,
        interrupts: Interrupts,
        deadline: Deadline,
    ) -> None:
        self.heard = Heard()
        self._spec = spec
        self._worker = worker
        self._monitor = monitor
        self._pulse = pulse
        self._journal = story
        self._progress = progress
        self._interrupts = interrupts
        self._deadline = deadline
        self._obedience = Patience(OBEY_S)
        self._words = 0
        self._open = True

    def follow(self) -> Ending:
        """Send the step and listen until the worker has ended. Raises as `MonitorLink.begin` does, and DiskError."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._worker.channel, selectors.EVENT_READ)
            selector.register(self._monitor.channel, selectors.EVENT_READ)
            self._send_spec()
            overdue = self._listen(selector)
        if overdue is not None:
            return self._kill(overdue)
        return self._ending()

    def _send_spec(self) -> None:
        try:
            self._worker.channel.send(self._spec)
        except ClosedError:
            self._open = False  # it died while it waited: its exit code tells

    def _listen(self, selector: selectors.BaseSelector) -> Rule | None:
        """Until the worker is gone (None), or has to be ended."""
        process = self._worker.child.process
        while self._open and process.poll() is None:
            for key, _ in selector.select(TICK_S):
                if key.fileobj is self._monitor.channel:
                    self._monitor.hear()
                else:
                    self._hear()
            self._interrupts.look()
            if self._disobeys():
                return deaths.of_kind("abort")
            mark = (self._pulse.advances, self._pulse.works, self._words)
            overdue = self._deadline.passed(mark, started=self._words > 0)
            if overdue is not None:
                return overdue
        while self._open and any(key.fileobj is self._worker.channel for key, _ in selector.select(0)):
            self._hear()
        return None if processes.gone(process, LEAVE_S) else self._lingering()

    def _disobeys(self) -> bool:
        wanted = self._pulse.abort is not Abort.NONE
        return self._obedience.over(wanted) and wanted

    def _lingering(self) -> Rule:
        return deaths.of_kind("hang" if self.heard.finished else "no_answer")

    def _hear(self) -> None:
        try:
            frames = self._worker.channel.arrived()
            for frame in frames:
                self._take(read(frame, FROM_WORKER))
        except ClosedError:
            self._open = False

    def _take(self, message: FromWorker) -> None:
        self._words += 1
        self.heard.take(message)
        index = self._spec.index
        match message:
            case Progressed():
                self._progress.step_progress(index, message.fraction, message.text)
            case Measured():
                self._journal.append(
                    journal.Measured(at=journal.now(), index=index, measurement=message.measurement), sync=False
                )
            case Mismatched() if len(self.heard.mismatches) <= MISMATCHES_JOURNALLED:
                self._journal.append(journal.Mismatched(at=journal.now(), index=index, mismatch=message.mismatch))
            case _:
                pass

    def _kill(self, rule: Rule) -> Ending:
        """End a worker that hung, overstayed or lingers; one that the driver holds is left behind."""
        process = self._worker.child.process
        if not processes.end(process):
            process.returncode = -9  # because nobody will ever wait for it
            rule = deaths.of_kind("unkillable")
        elif self.heard.finished:
            return said(self.heard.finished)
        elif rule.kind == "abort":
            return self._aborted()
        return Ending(rule.status, rule.text, rule.death(), rule.then)

    def _ending(self) -> Ending:
        if self.heard.finished:
            return said(self.heard.finished)
        code = self._worker.child.process.poll()
        assert code is not None
        if code == deaths.EXIT_ABORTED:
            return self._aborted()
        rule, death = deaths.of_exit(code)
        return Ending(rule.status, death.text, death, rule.then, unwatched=code == deaths.EXIT_UNWATCHED)

    def _aborted(self) -> Ending:
        if self._pulse.abort is Abort.LOST:
            lost = deaths.of_kind("lost")
            return Ending(lost.status, lost.text, lost.death(), lost.then)
        limit = deaths.of_kind("abort")
        return Ending(limit.status, limit.text, None, limit.then)


def said(finished: Finished) -> Ending:
    """The worker's own words for its end."""
    if not finished.death:
        return Ending(finished.status, finished.reason, None, "go_on")
    rule = deaths.of_kind(finished.death)
    return Ending(rule.status, finished.reason, rule.death(finished.reason), rule.then)
