"""A limit: where a measure of one model stops being acceptable, and how much is known about that."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from gpucert.units import Unit

BELIEVED_ABOVE_CEILING = 1.05
"""Clocks are read with some lag: a rate this much above the specification is still believed."""


class Grade(StrEnum):
    """How much evidence stands behind a limit, by its number of reference cards n."""

    PRIOR = "prior"
    THIN = "thin"
    DEVELOPING = "developing"
    ESTABLISHED = "established"


def grade(n: int) -> Grade:
    """n = 0 prior, 1 to 4 thin, 5 to 19 developing, 20 and more established."""
    if n == 0:
        return Grade.PRIOR
    if n < 5:
        return Grade.THIN
    return Grade.DEVELOPING if n < 20 else Grade.ESTABLISHED


class Limit(Struct, frozen=True, kw_only=True):
    """The limit of one measure, named `probe.measure`."""

    measure: str
    unit: Unit
    better: Literal["higher", "lower"]
    centre: float
    """What healthy cards measure: tier percentages count from here."""
    limit: float
    """The global gate."""
    n: int
    q: float
    """The share of healthy cards that may fall outside."""
    advises: bool
    """Whether too few reference cards stand behind it for it to cost a certificate."""
    source: str
    ceiling: float | None = None
    """What the silicon can do at most, by its specification: a measurement above it is not believed."""

    @property
    def grade(self) -> Grade:
        """How much evidence stands behind it."""
        return grade(self.n)


class Baseline(Struct, frozen=True, kw_only=True):
    """All limits of one model."""

    model: str
    version: int
    limits: tuple[Limit, ...]
    sha256: str
    shipped: bool = True
    """False where someone learned it: a tier by it is “custom”, because slow cards make a low limit."""

    def find(self, measure: str) -> Limit | None:
        """The limit of a measure, None when there is none: then nothing about it can pass."""
        for limit in self.limits:
            if limit.measure == measure:
                return limit
        return None
