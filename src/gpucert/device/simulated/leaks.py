"""Cells that lose their charge: which bits have fallen to 0 by now, given when their words were last used."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated.faults import RefreshLost, Retention
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.backend import WORD_BYTES

Words = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_ALL_BITS = (1 << 64) - 1


@dataclass
class _Leak:
    """One range of words whose bits in `mask` fall to 0 when they are older than `hold_s`."""

    first: int
    mask: int
    hold_s: float
    above_c: float | None
    idle: bool
    """Only while the card idles."""
    since_s: NDArray[np.float64]
    """When each word's charge was last known to be full."""

    def overlap(self, physical: int, length: int) -> tuple[int, int]:
        """The part of a stretch of words that lies in this range, as first and end within the range."""
        return max(physical - self.first, 0), min(physical + length - self.first, len(self.since_s))


class Leaks:
    """All cells of one card that leak, and its clock as far as they feel it."""

    def __init__(self, scenario: Scenario, now_s: float) -> None:
        self._now_s = now_s
        self._leaks = tuple(
            [
                _Leak(one.offset // WORD_BYTES, 1 << one.bit, one.hold_ms / 1000, one.above_c, False, np.full(1, now_s))
                for one in scenario.of(Retention)
            ]
            + [
                _Leak(first, _ALL_BITS, one.seconds, one.above_c, one.idle, np.full(one.bytes // WORD_BYTES, now_s))
                for one in scenario.of(RefreshLost)
                for first in [one.offset // WORD_BYTES]
            ]
        )

    def __bool__(self) -> bool:
        return bool(self._leaks)

    def words(self) -> NDArray[np.int64]:
        """Every word that may leak, not sorted."""
        ranges = [np.arange(leak.first, leak.first + len(leak.since_s)) for leak in self._leaks]
        return np.concatenate(ranges) if ranges else np.empty(0, np.int64)

    def passed(self, cells: Words, now_s: float, memory_c: float, *, idle: bool) -> None:
        """Time has passed, on an idle card or not, and the memory is this warm now: clear what has leaked meanwhile."""
        self._now_s = now_s
        for leak in self._leaks:
            if (leak.above_c is not None and memory_c < leak.above_c) or (leak.idle and not idle):
                leak.since_s[:] = now_s  # because refresh comes in time
                continue
            empty = now_s - leak.since_s > leak.hold_s
            if empty.any():
                cells[leak.first : leak.first + len(empty)][empty] &= np.uint64(_ALL_BITS ^ leak.mask)

    def used(self, physical: int, length: int, used: Mask | None) -> None:
        """Words of a stretch were loaded or stored, all of them or those in the mask: their charge is renewed."""
        for leak in self._leaks:
            low, high = leak.overlap(physical, length)
            if low >= high:
                continue
            if used is None:
                leak.since_s[low:high] = self._now_s
            else:
                at = low + leak.first - physical
                leak.since_s[low:high][used[at : at + high - low]] = self._now_s
