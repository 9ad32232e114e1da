"""Wrong answers: what the arithmetic faults of a scenario make of a right one, multiprocessor by multiprocessor."""

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated.faults import SmArithmetic, WrongEveryTime
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.answers import WARP
from gpucert.stress.backend import PARTITIONS, ArithmeticUnit

Numbers = NDArray[np.generic]

_RAW = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_REPEATABLE_STRIDE = 64
"""Every how many answers a unit that is always wrong is wrong."""


class Arithmetic:
    """The arithmetic of one card. It counts answers, because a fault may strike every Nth only."""

    def __init__(self, scenario: Scenario) -> None:
        self._single = scenario.of(SmArithmetic)
        self._everywhere = scenario.of(WrongEveryTime)
        self._healthy = not (self._single or self._everywhere)
        self._answered = dict.fromkeys(self._single, 0)

    def answer(self, unit: ArithmeticUnit, sm: int, right: Numbers, temperature_c: float) -> Numbers:
        """What SM `sm` answers; `right` itself where nothing is wrong."""
        if self._healthy:
            return right  # at once, because a sustained load asks for hundreds of thousands of tiles
        wrong = [self._struck(fault, right.size) for fault in self._concerned(unit, sm, temperature_c)]
        if any(fault.unit == unit.part for fault in self._everywhere):
            wrong.append(np.arange(0, right.size, _REPEATABLE_STRIDE))
        places = np.unique(np.concatenate(wrong)) if wrong else np.empty(0, dtype=np.intp)
        return _flipped(right, places) if places.size else right

    def _concerned(self, unit: ArithmeticUnit, sm: int, temperature_c: float) -> list[SmArithmetic]:
        return [
            fault
            for fault in self._single
            if (fault.sm, fault.unit) == (sm, unit.part) and (fault.above_c is None or temperature_c >= fault.above_c)
        ]

    def _struck(self, fault: SmArithmetic, size: int) -> NDArray[np.intp]:
        """Which of the next `size` answers of this SM are every Nth of those that its fault concerns."""
        concerned = np.arange(size)
        if fault.partition is not None:
            concerned = concerned[concerned // WARP % PARTITIONS == fault.partition]
        first = -(self._answered[fault] + 1) % fault.every
        self._answered[fault] += len(concerned)
        return concerned[first :: fault.every]


def _flipped(right: Numbers, places: NDArray[np.intp]) -> Numbers:
    """A copy with a bit in the upper half of each of these elements flipped: large enough to matter in every type."""
    wrong = np.array(right, order="C", copy=True)
    width = wrong.dtype.itemsize
    raw = wrong.reshape(-1).view(_RAW[width])
    raw[places] ^= _RAW[width](1 << (5 * width))
    return wrong
