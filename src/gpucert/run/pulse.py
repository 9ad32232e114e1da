"""The pulse: counters in shared memory by which the processes of a run see that the others are alive and at work.

They are counters, not times, so that no clock can lie; each has one writer.
"""

import mmap
import os
import struct
import time
from enum import IntEnum

_COUNTER = struct.Struct("@Q")
_BYTES = 64
LONGEST_TICK_S = 0.5


class Abort(IntEnum):
    """Why the monitor wants the worker to end at once."""

    NONE = 0
    LIMIT = 1
    """The card reached its own temperature limit."""
    LOST = 2
    """The card fell off the bus."""
    BLIND = 3
    """Its temperature cannot be read, so that it would be loaded unwatched."""


class Pulse:
    """One view of the shared counters. `with` closes it."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _BYTES)

    @staticmethod
    def create() -> int:
        """A fresh pulse as a file descriptor without a name, which vanishes with its last user."""
        fd = os.memfd_create("gpucert-pulse")
        os.ftruncate(fd, _BYTES)
        return fd

    @property
    def beats(self) -> int:
        """Grows while the monitor lives. Written by the monitor."""
        return self._get(0)

    @property
    def readings(self) -> int:
        """Grows with each fresh temperature. Written by the monitor."""
        return self._get(1)

    @property
    def advances(self) -> int:
        """Grows with each advance of a virtual card. Written by the monitor."""
        return self._get(2)

    @property
    def abort(self) -> Abort:
        """Set once, by the monitor; cleared before each step."""
        return Abort(self._get(3))

    @property
    def works(self) -> int:
        """Grows with each sign of life of the probe. Written by the worker."""
        return self._get(4)

    def beat(self, *, fresh: bool) -> None:
        """The monitor lives, and has a fresh temperature or not."""
        self._set(0, self.beats + 1)
        if fresh:
            self._set(1, self.readings + 1)

    def advanced(self) -> None:
        """The virtual card moved on."""
        self._set(2, self.advances + 1)

    def set_abort(self, reason: Abort) -> None:
        """Ask the worker to end, or take the wish back before the next step."""
        self._set(3, reason)

    def worked(self) -> None:
        """The probe gave a sign of life."""
        self._set(4, self.works + 1)

    def close(self) -> None:
        """Give the view back."""
        self._memory.close()

    def _get(self, place: int) -> int:
        value: int = _COUNTER.unpack_from(self._memory, place * _COUNTER.size)[0]
        return value

    def _set(self, place: int, value: int) -> None:
        _COUNTER.pack_into(self._memory, place * _COUNTER.size, value)


class Patience:
    """Counts for how long a mark has not changed, in seconds during which this process itself was running.

    A process that was stopped, or a host that slept, must not conclude that everybody else was silent: a gap between
    two looks counts as half a second at most.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waited = 0.0
        self._looked = time.monotonic()
        self._mark: object = None

    def over(self, mark: object) -> bool:
        """Look at the mark: True when it has stayed the same for too long."""
        now = time.monotonic()
        tick, self._looked = min(now - self._looked, LONGEST_TICK_S), now
        self._waited = self._waited + tick if mark == self._mark else 0.0
        self._mark = mark
        return self._waited > self._seconds
