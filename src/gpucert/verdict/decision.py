"""The decision rule: ternary, with a guard band, so that doubt is neither a pass nor a fail.

x is what was measured, u its repeatability on this card (k = 1), L the limit. A pass needs x − 1.645 u ≥ L, a fail
x + 1.645 u < L (mirrored where less is better); what lies between is undecided (ILAC-G8:09/2019, non-binary rule).
"""

import math
from collections.abc import Sequence
from statistics import stdev

from gpucert.baselines.limit import Limit
from gpucert.outcome import Outcome

GUARD = 1.645
"""One-sided 95 % of the normal distribution."""


def decide(value: float, u: float, bound: float, *, higher_is_better: bool) -> Outcome:
    """PASS, FAIL, or MARGINAL while the repeatability leaves it open. A value that is not finite is an ERROR."""
    if not (math.isfinite(value) and math.isfinite(u) and u >= 0):
        return Outcome.ERROR
    margin = value - bound if higher_is_better else bound - value
    if margin - GUARD * u >= 0:
        return Outcome.PASS
    return Outcome.FAIL if margin + GUARD * u < 0 else Outcome.MARGINAL


def against(limit: Limit, value: float, u: float) -> Outcome:
    """A measurement against the global gate of its measure."""
    return decide(value, u, limit.limit, higher_is_better=limit.better == "higher")


def within(limit: Limit, share: float, value: float, u: float) -> Outcome:
    """A measurement against a tier's allowance: at most `share` worse than the baseline's centre."""
    higher = limit.better == "higher"
    bound = limit.centre * (1 - share) if higher else limit.centre * (1 + share)
    return decide(value, u, bound, higher_is_better=higher)


def pooled(values: Sequence[float], uncertainties: Sequence[float]) -> tuple[float, float]:
    """Mean of k repeats and its uncertainty: the larger of what each tells of itself and of their scatter, over √k."""
    k = len(values)
    own = math.sqrt(sum(one * one for one in uncertainties) / k)
    scatter = stdev(values) if k > 1 else 0.0
    return sum(values) / k, max(own, scatter) / math.sqrt(k)
