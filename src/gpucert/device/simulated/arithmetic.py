"""Wrong answers: what the arithmetic faults of a scenario make of a right one, multiprocessor by multiprocessor."""

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated.faults import SmArithmetic, WrongEveryTime
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.answers import WARP
from gpucert.stress.backend import PARTITIONS, ArithmeticUnit, DType

Numbers = NDArray[np.generic]

REST_S, BURST_S = 0.002, 0.002
"""After a rest of at least so long, the first so many seconds of load are a burst.

An engineering choice: supply and clock answer to a step of load within milliseconds, and a swing between load and rest
at 100 Hz leaves each of them 5 ms. A card whose context was just made has not rested, because making it wakes the card.
"""

_RAW = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_REPEATABLE_STRIDE = 64
"""Every how many answers a unit that is always wrong is wrong."""


class Arithmetic:
    """The arithmetic of one card. It counts answers, because a fault may strike every Nth only."""

    def __init__(self, scenario: Scenario) -> None:
        self._single = scenario.of(SmArithmetic)
        self._everywhere = scenario.of(WrongEveryTime)
        all_sms = range(scenario.sm_count)
        self._suspects: Container[int] = all_sms if self._everywhere else {fault.sm for fault in self._single}
        self._answered = dict.fromkeys(self._single, 0)
        self._rested_s = self._loaded_s = 0.0

    def passed(self, seconds: float, *, idle: bool) -> None:
        """Take note that the card idled or worked for so long; `answer` is for work that begins now."""
        if not idle:
            self._loaded_s += seconds
        elif seconds > 0:
            self._rested_s = seconds if self._loaded_s else self._rested_s + seconds
            self._loaded_s = 0.0

    def answer(
        self, unit: ArithmeticUnit, sm: int, right: Numbers, temperature_c: float, dtype: DType | None = None
    ) -> Numbers:
        """What SM `sm` answers; `right` itself where nothing is wrong. `dtype` is that of a matrix product."""
        if sm not in self._suspects:
            return right  # at once, because a sustained load asks for hundreds of thousands of tiles
        wrong = [
            self._struck(fault, right.size)
            for fault in self._single
            if fault.sm == sm and _meets(fault, unit, dtype) and self._strikes_now(fault, temperature_c)
        ]
        if any(_meets(fault, unit, dtype) for fault in self._everywhere):
            wrong.append(np.arange(0, right.size, _REPEATABLE_STRIDE))
        if not wrong:
            return right
        places = wrong[0] if len(wrong) == 1 else np.unique(np.concatenate(wrong))
        return _flipped(right, places) if places.size else right

    def _strikes_now(self, fault: SmArithmetic, temperature_c: float) -> bool:
        hot = fault.above_c is None or temperature_c >= fault.above_c
        return hot and (not fault.burst or (self._rested_s >= REST_S and self._loaded_s < BURST_S))

    def _struck(self, fault: SmArithmetic, size: int) -> NDArray[np.intp]:
        """Which of the next `size` answers of this SM are every Nth of those that its fault concerns."""
        concerned = np.arange(size)
        if fault.partition is not None:
            concerned = concerned[concerned // WARP % PARTITIONS == fault.partition]
        first = -(self._answered[fault] + 1) % fault.every
        self._answered[fault] += len(concerned)
        return concerned[first :: fault.every]


def _meets(fault: SmArithmetic | WrongEveryTime, unit: ArithmeticUnit, dtype: DType | None) -> bool:
    """Whether this is work of the part that a fault is in."""
    return fault.unit == unit.part and fault.dtype in (None, dtype)


def _flipped(right: Numbers, places: NDArray[np.intp]) -> Numbers:
    """A copy with a bit in the upper half of each of these elements flipped: large enough to matter in every type."""
    wrong = np.array(right, order="C", copy=True)
    width = wrong.dtype.itemsize
    raw = wrong.reshape(-1).view(_RAW[width])
    raw[places] ^= _RAW[width](1 << (5 * width))
    return wrong
