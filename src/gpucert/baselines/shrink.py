"""Shrinkage: what a new healthy card will measure, learned from few or no reference cards and a prior.

All values are log ratios x = ln(y / centre), with the sign turned where lower is better, so that worse is always
below zero and the prior's centre is 0. Formulas: a normal-inverse-chi-square model (Gelman et al., Bayesian Data
Analysis, 3rd ed., §3.3) fitted by expectation-maximisation with a one-sided uniform component for defective reference
cards.
"""

import math
from collections.abc import Sequence
from statistics import median

from msgspec import Struct

ROUNDS = 50
TOLERANCE = 1e-9
MAD_TO_SIGMA = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""
SUSPECT = 0.5
"""Below this weight a reference card is more likely defective than healthy: it is no evidence, and not counted."""
OUTLIER_ABOVE = 1e-3
"""Density of an outlier that is better than the centre: defects are only ever worse."""


class Prior(Struct, frozen=True, kw_only=True):
    """What is known before any card: μ | s ~ N(0, s²/k₀) with k₀ = (s₀/t₀)², and s² ~ scaled inverse χ²(ν₀, s₀²)."""

    s0: float
    """Spread of healthy cards of one model."""
    t0: float
    """Spread of models about the centre: how well the centre is known."""
    nu0: float
    """How many cards the prior's spread is worth."""
    defective: float
    """Expected share of defective cards among the reference cards."""
    reach: float
    """Defective cards lie uniformly in [μ − reach, μ]."""

    @property
    def k0(self) -> float:
        """How many cards the prior's centre is worth."""
        return (self.s0 / self.t0) ** 2


class Fit(Struct, frozen=True, kw_only=True):
    """The distribution of healthy cards: a new one is μ + s·√(1 + 1/k)·t with ν degrees of freedom."""

    mu: float
    s: float
    k: float
    nu: float
    weights: tuple[float, ...] = ()
    """For each reference card the probability that it is healthy."""

    def below(self, q: float) -> float:
        """The value that a share q of healthy cards stays below: μ + s·√(1 + 1/k)·t_ν⁻¹(q)."""
        from scipy.special import stdtrit

        return self.mu + self.s * math.sqrt(1 + 1 / self.k) * float(stdtrit(self.nu, q))


def fit(values: Sequence[float], prior: Prior) -> Fit:
    """Fit the log ratios of the reference cards; none gives the prior itself. Raises ValueError if not finite."""
    if not all(map(math.isfinite, values)):
        raise ValueError("a reference value is not a finite number")
    now = _start(values, prior)
    for _ in range(ROUNDS if values else 0):
        before, now = now, _maximise(values, _healthy(values, now, prior), prior)
        if abs(now.mu - before.mu) < TOLERANCE and abs(now.s - before.s) < TOLERANCE:
            break
    return now


def limit(found: Fit, q: float, floor: float | None) -> float:
    """Where a value stops being acceptable: the predictive quantile q, at most the share `floor` below μ."""
    below = found.below(q)
    return below if floor is None else max(below, found.mu + math.log1p(-floor))


def _start(values: Sequence[float], prior: Prior) -> Fit:
    """The prior, moved to the median and the median absolute deviation where there are values."""
    if not values:
        return Fit(mu=0.0, s=prior.s0, k=prior.k0, nu=prior.nu0)
    mu = median(values)
    spread = MAD_TO_SIGMA * median(abs(x - mu) for x in values)
    return Fit(mu=mu, s=max(spread, prior.s0), k=prior.k0, nu=prior.nu0)


def _healthy(values: Sequence[float], now: Fit, prior: Prior) -> tuple[float, ...]:
    """E-step: w = (1−ε)·N(x; μ, s²) / [(1−ε)·N(x; μ, s²) + (ε/reach below μ, 10⁻³ above)]."""

    def weight(x: float) -> float:
        density = math.exp(-0.5 * ((x - now.mu) / now.s) ** 2) / (now.s * math.sqrt(2 * math.pi))
        healthy = (1 - prior.defective) * density
        outlier = prior.defective / prior.reach if x < now.mu else OUTLIER_ABOVE
        return healthy / (healthy + outlier)

    return tuple(weight(x) for x in values)


def _maximise(values: Sequence[float], weights: tuple[float, ...], prior: Prior) -> Fit:
    """M-step: k = k₀ + Σw, μ = Σwx/k, ν = ν₀ + Σw, s² = [ν₀s₀² + Σw(x−μ)² + k₀μ²]/ν."""
    total = sum(weights)
    k, nu = prior.k0 + total, prior.nu0 + total
    mu = sum(w * x for w, x in zip(weights, values, strict=True)) / k
    spread = sum(w * (x - mu) ** 2 for w, x in zip(weights, values, strict=True))
    s = math.sqrt((prior.nu0 * prior.s0**2 + spread + prior.k0 * mu**2) / nu)
    return Fit(mu=mu, s=s, k=k, nu=nu, weights=weights)
