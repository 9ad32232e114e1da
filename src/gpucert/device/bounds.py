"""What a reading can physically be: a value outside is `absurd`, whoever answered it."""

import math
from typing import NamedTuple, TypeVar

from gpucert.reading import Absence, Absent, Reading


class Bounds(NamedTuple):
    """The smallest and largest value that any real card can answer, generous to cards that do not exist yet."""

    low: float
    high: float


CELSIUS = Bounds(-50, 200)  # 255 is what a dead sensor answers
MARGIN_CELSIUS = Bounds(-100, 200)  # T.Limit margins are negative beyond the limit
WATTS = Bounds(0, 10_000)
POWER_LIMIT_WATTS = Bounds(1, 10_000)
MEGAHERTZ = Bounds(0, 50_000)
MAX_MEGAHERTZ = Bounds(1, 50_000)
FAN_PERCENT = Bounds(0, 250)  # NVML allows more than 100
MEMORY_MIB = Bounds(1, 2**27)
PROCESS_MIB = Bounds(0, 2**27)
PERCENT = Bounds(0, 100)
PCIE_GENERATION = Bounds(1, 10)
PCIE_WIDTH = Bounds(1, 32)
BUS_BITS = Bounds(8, 65_536)
CUDA_CORES = Bounds(1, 10_000_000)
FANS = Bounds(0, 64)
BANKS = Bounds(0, 2**20)
COUNTER = Bounds(0, 2**63 - 1)
GIGABYTES_PER_S = Bounds(0, 100_000)
MASK = Bounds(0, 2**32 - 2)
DEVICE_IDENTIFIER = Bounds(1, 2**64 - 2)

_NOT_A_COUNT = (2**32 - 1, 2**64 - 1)
"""All ones: what a register answers when nobody is at home."""

N = TypeVar("N", int, float)


def within(value: N, bounds: Bounds, what: str) -> Reading[N]:
    """The value if it can be; else `absurd` with `what` answered it."""
    if math.isfinite(value) and bounds.low <= value <= bounds.high and value not in _NOT_A_COUNT:
        return value
    return Absent(Absence.ABSURD, f"{what} answered {value}")
