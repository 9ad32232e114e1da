"""What the host backend is handed in place of silicon: memory, arithmetic and a clock that behave like a card's."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gpucert.stress.backend import ArithmeticUnit, DType, Properties

Words = NDArray[np.uint64]

COPY_ENGINE = -1
"""In place of an SM: the card's own engine for copies."""


@dataclass(frozen=True)
class Work:
    """One piece of work, as the card's heat and clocks feel it.

    `flop` and the bytes are those of the job that is declared, which may be larger than what was really computed: a
    small host product stands for a large one on the card, and the medium charges time and heat for the large one.
    """

    kind: Literal["idle", "memory", "arithmetic", "pcie"]
    seconds: float = 0.0
    """How long, for `idle`."""
    bytes_read: int = 0
    bytes_written: int = 0
    """Of the simulated window; the medium scales them to the model's memory."""
    flop: float = 0.0
    rate: str = ""
    """Which rate of the model bounds the arithmetic: a DType or ArithmeticUnit value."""


class Medium(Protocol):
    """Memory below a fault layer, arithmetic per SM, and a clock that only `spend` moves."""

    memory_scale: float
    """Bytes of the model's memory that each byte of the simulated window stands for."""
    timer_step_ns: int
    """By how much the card's global timer moves at once."""

    def properties(self) -> Properties:
        """The card as its compute driver would describe it."""

    def load(self, first_word: int, count: int, sm: int) -> Words:
        """What SM `sm`, or COPY_ENGINE, reads. May raise UncorrectableEccError or DeviceLostError."""

    def store(
        self, first_word: int, words: Words, sm: int, *, descending: bool = False, keep: Words | None = None
    ) -> None:
        """Write words from SM `sm`, the last of them first if `descending`; bits set in `keep` are not stored.

        `sm` may be COPY_ENGINE.
        """

    def flush(self) -> None:
        """Empty the L2."""

    def compute(
        self, unit: ArithmeticUnit, sm: int, right: NDArray[np.generic], dtype: DType | None = None
    ) -> NDArray[np.generic]:
        """The answer that SM `sm` gives where `right` would be correct; `right` itself on a healthy one.

        `dtype` is the type of a matrix product, None for any other work of the unit.
        """

    def transfer(self, words: Words, direction: str) -> Words:
        """Words as they arrive over PCIe."""

    def counters(self, sm: int) -> tuple[int, int]:
        """The cycles that SM `sm` has counted and the nanoseconds of the global timer, as a kernel would read them."""

    def spend(self, work: Work) -> float:
        """Advance the card's clock, heat and counters by this work; the seconds that it took."""

    def now_s(self) -> float:
        """The card's clock."""
