"""Ctrl-C and friends as a flag that the supervisor looks at: an exception at any moment could tear a journal."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptedBySignal(BaseException):  # control flow inside the supervisor, like KeyboardInterrupt
    """Someone wants the run to end now."""


class Interrupts:
    """While this is entered, signals set a flag. In any other thread than the main one it watches nothing."""

    def __init__(self) -> None:
        self.raised = False
        self._before: dict[int, object] = {}

    def look(self) -> None:
        """Raise InterruptedBySignal if a signal came."""
        if self.raised:
            raise InterruptedBySignal

    def __enter__(self) -> Self:
        """Watch."""
        if threading.current_thread() is threading.main_thread():
            for number in _WATCHED:
                # A signal that is ignored stays ignored: that is how nohup works.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Leave the signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it is what signal.signal answered
        self._before = {}

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.raised = True
