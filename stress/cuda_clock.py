"""The clock of every SM: launches of `clock.cu`, one block on each, and what their rows say."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from gpucert.stress import kernels
from gpucert.stress.backend import ClockCount, SmCycles
from gpucert.stress.cuda_card import CudaCard, Pinned, Words

LAUNCH_SECONDS = 0.2
"""Long beside a step of the global timer, and far from the half second after which a display would be missed."""
_FIRST_STEPS = 1 << 14
_GROWTH_AT_MOST = 4.0
_NOTHING = (1 << 64) - 1


@dataclass(frozen=True)
class _Stretch:
    """What one block counted, from one change of the timer to another."""

    sm: int
    cycles: int
    began_ns: int
    ended_ns: int
    step_ns: int


class ClockCounter:
    """Keeps the rows that blocks write, and how long a launch has to be; everything is used once when it is made."""

    def __init__(self, card: CudaCard, scratch: int) -> None:
        self._card = card
        self._scratch = scratch
        self._rows = Pinned(card.sm_count * kernels.CLOCK_WORDS)
        self._spare_shared = card.allow_shared("clock_count")
        self._steps = _FIRST_STEPS
        self._launch(1)

    def count(self, seconds: float) -> ClockCount:
        """Launch again and again until the time is over, at least once."""
        began, launches, heard = time.monotonic(), 0, list[_Stretch]()
        while not launches or time.monotonic() - began < seconds:
            took = self._launch(self._steps)
            heard.extend(_stretches(self._rows.words))
            launches += 1
            self._steps = max(1, int(self._steps * min(LAUNCH_SECONDS / max(took, 1e-6), _GROWTH_AT_MOST)))
        return _counted(heard, launches, time.monotonic() - began)

    def _launch(self, steps: int) -> float:
        """One block on every SM, alone there because it takes all the shared memory; the seconds on the card."""
        self._rows.words[:] = _NOTHING
        launch = partial(
            self._card.launch, "clock_count", self._rows.address, steps, self._scratch,
            blocks=self._card.sm_count, shared=self._spare_shared,
        )  # fmt: skip
        return self._card.timed(launch)


def _stretches(rows: Words) -> Iterator[_Stretch]:
    """The rows of blocks that ended on the SM on which they began, and that saw the timer move."""
    for row in rows.reshape(-1, kernels.CLOCK_WORDS).tolist():
        first_sm, first_cycles, first_ns, first_step, last_sm, last_cycles, last_ns, last_step = row
        moved = first_step and last_step and last_ns > first_ns and last_cycles > first_cycles
        if first_sm == last_sm != _NOTHING and moved:
            yield _Stretch(first_sm, last_cycles - first_cycles, first_ns, last_ns, max(first_step, last_step))


def _counted(heard: list[_Stretch], launches: int, seconds: float) -> ClockCount:
    cycles, nanoseconds = defaultdict[int, int](int), defaultdict[int, int](int)
    for one in heard:
        cycles[one.sm] += one.cycles
        nanoseconds[one.sm] += one.ended_ns - one.began_ns
    first, last = min((one.began_ns for one in heard), default=0), max((one.ended_ns for one in heard), default=0)
    return ClockCount(
        sms=tuple(SmCycles(sm, cycles[sm], nanoseconds[sm]) for sm in sorted(cycles)),
        launches=launches,
        timer_step_ns=round(statistics.median(one.step_ns for one in heard)) if heard else 0,
        timer_seconds=(last - first) / 1e9,
        seconds=seconds,
    )
