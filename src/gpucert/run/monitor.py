"""The monitor: the one process that reads the card, writes telemetry.csv and answers the worker.

Started by the supervisor as `python -m gpucert.run.monitor PARENT RIG CONTROL PULSE MEMORY TELEMETRY`, the last four
being file descriptors.
"""

import os
import selectors
import stat
import sys
import time
from dataclasses import dataclass

from msgspec import Struct

from gpucert.record import Sample
from gpucert.run import processes, rig, telemetry
from gpucert.run.cards import DrivenCard, RealDriven, VirtualDriven
from gpucert.run.pulse import Pulse
from gpucert.run.wire import (
    ASKED,
    TO_MONITOR,
    Ask,
    AskAdvance,
    AskCounters,
    AskIdentity,
    AskSamples,
    AskSettings,
    Attach,
    Attached,
    BeginStep,
    Channel,
    Close,
    ClosedError,
    EndStep,
    Happened,
    Hold,
    Refused,
    Seen,
    StepBegun,
    StepEnded,
    Trouble,
    read,
)

POLL_S = 0.05
SHOW_EVERY_S = 0.25


@dataclass
class _Step:
    """The step that is watched."""

    index: int
    attempt: int
    worker: Channel
    telemetry: telemetry.StepTelemetry


class Monitor:
    """One card, one supervisor, one worker at a time."""

    def __init__(self, supervisor: Channel, card: DrivenCard, telemetry_fd: int) -> None:
        self._supervisor = supervisor
        self._card = card
        self._telemetry_fd = telemetry_fd
        self._selector = selectors.DefaultSelector()
        self._selector.register(supervisor, selectors.EVENT_READ)
        self._step: _Step | None = None
        self._shown = 0.0
        self._held: list[int] = []

    def watch(self) -> None:
        """Serve until the supervisor says that the run is over. Raises ClosedError when it dies."""
        while True:
            for key, _ in self._selector.select(POLL_S):
                if key.fileobj is self._supervisor:
                    if not self._obey():
                        return
                elif self._step is not None:
                    self._serve(self._step)
            self._gather()

    def _obey(self) -> bool:
        for frame in self._supervisor.arrived():
            match read(frame, TO_MONITOR):
                case BeginStep() as begin:
                    self._begin(begin)
                case EndStep():
                    self._end()
                case Hold():
                    self._held.append(self._supervisor.fds.popleft())
                case Close():
                    return False
                case Attach():
                    raise ClosedError("a monitor attaches once")
        return True

    def _begin(self, begin: BeginStep) -> None:
        self._card.begin(begin.state)
        worker = Channel.of_fd(self._supervisor.fds.popleft())
        self._step = _Step(begin.index, begin.attempt, worker, telemetry.StepTelemetry())
        self._selector.register(worker, selectors.EVENT_READ)
        self._supervisor.send(StepBegun(began_s=self._card.now_s(), before=self._card.gpu.counters()))

    def _end(self) -> None:
        step = self._step
        assert step is not None, "no step to end"
        self._gather()
        self._hang_up(step)
        after = self._card.gpu.counters()
        self._gather()
        self._step = None
        if stat.S_ISREG(os.fstat(self._telemetry_fd).st_mode):
            os.fsync(self._telemetry_fd)
        self._supervisor.send(
            StepEnded(
                ended_s=self._card.now_s(),
                after=after,
                telemetry=step.telemetry.trace(),
                state=self._card.freeze(),
            )
        )

    def _hang_up(self, step: _Step) -> None:
        if step.worker in {key.fileobj for key in self._selector.get_map().values()}:
            self._selector.unregister(step.worker)
            step.worker.close()

    def _serve(self, step: _Step) -> None:
        """Answer what the worker asks; one that is gone or speaks another language is the supervisor's to judge."""
        try:
            for frame in step.worker.arrived():
                step.worker.send(self._answer(step, read(frame, ASKED)))
        except ClosedError:
            self._hang_up(step)

    def _answer(self, step: _Step, ask: Ask) -> Struct | tuple[Sample, ...]:
        match ask:
            case AskAdvance():
                return self._card.advance(ask.seconds, ask.load)
            case AskIdentity():
                return self._card.gpu.identity()
            case AskSettings():
                return self._card.gpu.settings()
            case AskCounters():
                return self._card.gpu.counters()
            case AskSamples():
                self._gather()
                return step.telemetry.since(ask.since_s)

    def _gather(self) -> None:
        """Take new samples and events: to the file, to the step, to the person who waits."""
        samples = self._card.collect()
        step = self._step
        if step is None:
            return
        if samples:
            self._write(step, samples)
            step.telemetry.add(samples)
            self._show(samples[-1])
        for event in self._card.events():
            self._supervisor.send(Happened(event=event))

    def _show(self, sample: Sample) -> None:
        now = time.monotonic()
        if now - self._shown >= SHOW_EVERY_S:
            self._shown = now
            self._supervisor.send(Seen(sample=sample))

    def _write(self, step: _Step, samples: tuple[Sample, ...]) -> None:
        rows = "".join(telemetry.row(step.index, step.attempt, sample) for sample in samples).encode()
        while rows:
            rows = rows[os.write(self._telemetry_fd, rows) :]


def attach(request: Attach, parts: rig.Rig, pulse: Pulse, memory_fd: int) -> DrivenCard:
    """Take hold of the card and give a virtual one its memory."""
    if request.scenario is None:
        return RealDriven(parts.gpu(request.gpu), pulse, request.clock_s)
    return VirtualDriven(parts.virtual_card(request.scenario, request.source), pulse, memory_fd)


def introduce(card: DrivenCard) -> Attached:
    """The card as it answers before the run."""
    return Attached(
        identity=card.gpu.identity(),
        settings=card.gpu.settings(),
        processes=card.gpu.processes(),
        zero_s=card.zero_s,
    )


def main(arguments: list[str]) -> None:
    """Attach, then watch until the run is over."""
    parent, parts, *fds = arguments
    processes.live_and_die_with(int(parent))
    control, pulse_fd, memory_fd, telemetry_fd = (int(fd) for fd in fds)
    supervisor = Channel.of_fd(control)
    request = supervisor.receive(Attach)
    try:
        card = attach(request, rig.load(parts), Pulse(pulse_fd), memory_fd)
        attached = introduce(card)
    except (RuntimeError, LookupError, ValueError, OSError, ImportError) as error:
        supervisor.send(Refused(error=type(error).__name__, text=_text(error)))
        return
    supervisor.send(attached)
    try:
        Monitor(supervisor, card, telemetry_fd).watch()
    except ClosedError:
        return
    except OSError as error:
        supervisor.send(Trouble(errno=error.errno or 0, text=_text(error)))
        return
    card.close()


def _text(error: Exception) -> str:
    return (
        error.strerror if isinstance(error, OSError) and error.strerror else str(error.args[0] if error.args else error)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
