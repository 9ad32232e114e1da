"""Rules that set a limit from reference cards: ours, and those of other tools, on equal terms.

All of them see log ratios x = ln(y / centre) in which worse is lower, and return the lowest acceptable one.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median, stdev

from msgspec import Struct

from gpucert.baselines import shrink
from gpucert.baselines.defaults import MeasureClass


class Rule(Struct, frozen=True):
    """A rule by name. `needs` is the number of reference cards without which it has no limit."""

    name: str
    needs: int
    limit: Callable[[Sequence[float], MeasureClass, float], float]
    """From the reference cards, the class of the measure, and the share of healthy cards that may fail."""


def _ours(values: Sequence[float], of: MeasureClass, q: float) -> float:
    found = shrink.fit(values, of.prior(of.t0))
    return shrink.limit(found, q, of.floor)


def _share_below(mean: float, share: float) -> float:
    return mean + math.log1p(-share)


def _iterative(values: Sequence[float], share: float) -> float:
    """The mean of those that lie no further than `share` below the mean, until none is dropped (SuperBench 0.11)."""
    kept = list(values)
    while True:
        least = _share_below(math.log(fmean(map(math.exp, kept))), share)
        left = [x for x in kept if x >= least]
        if len(left) == len(kept):
            return least
        kept = left


def _tolerance(values: Sequence[float], content: float = 0.95, confidence: float = 0.95) -> float:
    """The one-sided normal tolerance limit: mean − k·s, k from the noncentral t (Hahn & Meeker, §4.6.3)."""
    from scipy.stats import nct, norm

    n = len(values)
    k = float(nct.ppf(confidence, n - 1, math.sqrt(n) * norm.ppf(content))) / math.sqrt(n)
    return fmean(values) - k * stdev(values)


def _deviations(values: Sequence[float], count: float) -> float:
    centre = median(values)
    return centre - count * shrink.MAD_TO_SIGMA * median(abs(x - centre) for x in values)


OURS = Rule("gpucert: shrinkage", 0, _ours)
OTHERS = (
    Rule("specification − 10 %", 0, lambda *_: math.log1p(-0.10)),
    Rule("mean − 5 %", 1, lambda values, *_: _share_below(math.log(fmean(map(math.exp, values))), 0.05)),
    Rule("SuperBench: iterative − 5 %", 1, lambda values, *_: _iterative(values, 0.05)),
    Rule("mean − 3 s", 2, lambda values, *_: fmean(values) - 3 * stdev(values)),
    Rule("median − 3.5 MAD", 2, lambda values, *_: _deviations(values, 3.5)),
    Rule("tolerance 95/95", 2, lambda values, *_: _tolerance(values)),
)
"""SuperBench: `fix_threshold_outlier_detection`; the fixed shares are DCGM's and common practice."""
