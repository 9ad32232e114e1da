"""A rate: so many of so many, with exact bounds."""

from msgspec import Struct


class Rate(Struct, frozen=True):
    """So many of so many."""

    hits: int
    trials: int

    @property
    def share(self) -> float:
        """The observed share."""
        return self.hits / self.trials

    def bounds(self, confidence: float = 0.95) -> tuple[float, float]:
        """The exact interval of a binomial share (Clopper and Pearson 1934), two-sided."""
        from scipy.stats import beta

        tail = (1 - confidence) / 2
        low = 0.0 if self.hits == 0 else float(beta.ppf(tail, self.hits, self.trials - self.hits + 1))
        high = 1.0 if self.hits == self.trials else float(beta.ppf(1 - tail, self.hits + 1, self.trials - self.hits))
        return low, high


class Bounded(Struct, frozen=True):
    """A rate with its exact 95 % bounds."""

    hits: int
    trials: int
    low: float
    high: float


def bounded(hits: int, trials: int) -> Bounded:
    """Without trials nothing is known: the bounds are 0 and 1."""
    low, high = Rate(hits, trials).bounds() if trials else (0.0, 1.0)
    return Bounded(hits, trials, low, high)
