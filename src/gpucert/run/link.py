"""The supervisor's line to its monitor: requests that are answered, and what the monitor says by itself."""

import contextlib
import os
import selectors
import time
from collections.abc import Callable
from typing import TypeVar

from gpucert.record import Event, Sample
from gpucert.run import processes
from gpucert.run.interrupts import Interrupts
from gpucert.run.wire import (
    TO_SUPERVISOR,
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
    ToSupervisor,
    Trouble,
    pair,
    read,
)

ATTACH_S = 60.0
"""The first call to a driver without persistence mode loads its firmware."""
ANSWER_S = 10.0
CLOSE_S = 0.3
TICK_S = 0.05

T = TypeVar("T", Attached, StepBegun, StepEnded)


class MonitorGoneError(RuntimeError):
    """The monitor died: the station is to blame."""


class MonitorStuckError(RuntimeError):
    """The monitor lives and does not answer: the driver holds it."""


class RefusedError(RuntimeError):
    """The card could not be had."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error
        """Name of the class of the error in the monitor."""


class TelemetryError(RuntimeError):
    """The monitor cannot write telemetry.csv."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class MonitorLink:
    """One monitor process, from its start to its end."""

    def __init__(
        self,
        rig: str,
        fds: tuple[int, int, int],
        held: tuple[int, ...],
        interrupts: Interrupts,
        on_sample: Callable[[Sample], None],
        on_event: Callable[[Event], None],
    ) -> None:
        self.channel, theirs = pair()
        pulse, memory, telemetry = fds
        self._child = processes.Child(
            "gpucert.run.monitor",
            (rig, str(theirs.fileno()), str(pulse), str(memory), str(telemetry)),
            (theirs.fileno(), *fds, *held),
        )
        theirs.close()
        self._interrupts = interrupts
        self._on_sample = on_sample
        self._on_event = on_event
        self._answers: list[Attached | StepBegun | StepEnded] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.channel, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """The monitor's process."""
        return self._child.process.pid

    def attach(self, request: Attach) -> Attached:
        """Let the monitor take hold of the card. Raises RefusedError and what `begin` raises."""
        return self._ask(request, Attached, ATTACH_S)

    def hold(self, lock: int) -> None:
        """Let the monitor keep the card's lock."""
        self._send(Hold(), (lock,))

    def begin(self, request: BeginStep, worker: Channel) -> StepBegun:
        """Begin a step; `worker` is the monitor's end of the worker's line, which is closed here.

        Raises MonitorGoneError, MonitorStuckError, TelemetryError, InterruptedBySignal.
        """
        self._send(request, (worker.fileno(),))
        worker.close()
        return self._await(StepBegun, ANSWER_S)

    def end(self) -> StepEnded:
        """End a step. Raises what `begin` raises."""
        return self._ask(EndStep(), StepEnded, ANSWER_S)

    def hear(self) -> None:
        """Take what the monitor said by itself, once a selector says that there is something. Raises as `begin`."""
        try:
            frames = self.channel.arrived()
        except ClosedError:
            raise MonitorGoneError(self._last_words()) from None
        for frame in frames:
            self._take(read(frame, TO_SUPERVISOR))

    def close(self) -> None:
        """End the monitor, whatever it is doing; it holds nothing that must be tidied."""
        with contextlib.suppress(ClosedError):
            self.channel.send(Close())
        if not processes.gone(self._child.process, CLOSE_S):
            processes.end(self._child.process, term_s=CLOSE_S, kill_s=CLOSE_S)
        self._selector.close()
        self.channel.close()
        self._child.close()

    def _ask(self, request: Attach | EndStep, kind: type[T], patience_s: float) -> T:
        self._send(request)
        return self._await(kind, patience_s)

    def _send(self, message: Attach | Hold | BeginStep | EndStep, fds: tuple[int, ...] = ()) -> None:
        try:
            self.channel.send(message, fds)
        except ClosedError:
            raise MonitorGoneError(self._last_words()) from None

    def _await(self, kind: type[T], patience_s: float) -> T:
        until = time.monotonic() + patience_s
        while not self._answers:
            self._interrupts.look()
            if self._selector.select(TICK_S):
                self.hear()
            elif time.monotonic() > until:
                raise MonitorStuckError(f"the monitor has not answered for {patience_s:g} s")
        answer = self._answers.pop(0)
        assert isinstance(answer, kind), f"the monitor answered {answer} where {kind.__name__} was due"
        return answer

    def _take(self, message: ToSupervisor) -> None:
        match message:
            case Seen():
                self._on_sample(message.sample)
            case Happened():
                self._on_event(message.event)
            case Refused():
                raise RefusedError(message.error, message.text)
            case Trouble():
                raise TelemetryError(OSError(message.errno, message.text))
            case _:
                self._answers.append(message)

    def _last_words(self) -> str:
        processes.gone(self._child.process, CLOSE_S)
        code = self._child.process.poll()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        printed = self._child.printed().strip().splitlines()
        return f"the monitor ended ({how})" + (f": {printed[-1]}" if printed else "")


def memory() -> int:
    """Nameless memory for a virtual card, which vanishes with its last user; the monitor gives it its size."""
    return os.memfd_create("gpucert-memory")
