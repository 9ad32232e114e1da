"""Error rates of the decision: healthy cards that are rejected, and worn ones that pass, over made-up models.

The world: each model's true centre lies off the prior's by N(0, t0), its cards scatter about it by a spread of their
own (log-normal about s0), some reference cards are defective (5 to 30 % down), and a measurement repeats to 0.7 %.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct

from gpucert.baselines.defaults import MeasureClass
from gpucert.outcome import Outcome
from gpucert.trials.rules import Rule
from gpucert.verdict.decision import decide, pooled

REPEATABILITY = 0.007
"""Relative standard deviation of one measurement of one card."""
SPREAD_LOG_SD = 0.5
"""How much the spread of healthy cards differs between models."""
DEFECTIVE_LOSS = (0.05, 0.30)
MOST_REPEATS = 3


class World(Struct, frozen=True, kw_only=True):
    """What is made up: how many models, cards under test of each, reference cards, and their defective share."""

    models: int
    cards: int
    references: int
    defective: float
    seed: int = 0


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


class Rates(Struct, frozen=True):
    """How one rule did in one world."""

    rule: str
    world: World
    rejected: Rate
    """Healthy cards that failed."""
    passed: dict[str, Rate]
    """Loss in percent → worn cards that passed."""


def run(rule: Rule, of: MeasureClass, world: World, losses: Sequence[float]) -> Rates:
    """Judge the cards of a world by a rule, with repeats and the guard band, as `certify` does.

    `losses` are shares of the measure that worn cards have lost. The same seed gives the same world to every rule.
    """
    rejected = 0
    passed = dict.fromkeys(losses, 0)
    for references, healthy, repeats in _models(of, world):
        limit = rule.limit(references, of)
        for card, noise in zip(healthy, repeats, strict=True):
            rejected += _outcome(card, noise, limit) is Outcome.FAIL
            for loss in losses:
                passed[loss] += _outcome(card + math.log1p(-loss), noise, limit) is Outcome.PASS
    trials = world.models * world.cards
    rates = {f"{100 * loss:g}": Rate(hits, trials) for loss, hits in passed.items()}
    return Rates(rule.name, world, Rate(rejected, trials), rates)


_Drawn = tuple[list[float], list[float], list[list[float]]]


def _models(of: MeasureClass, world: World) -> Iterator[_Drawn]:
    """Reference cards, cards under test, and the errors of the repeats of each, for one model after another."""
    chance = np.random.default_rng(world.seed)
    for _ in range(world.models):
        centre = chance.normal(0, of.t0)
        spread = of.s0 * math.exp(chance.normal(0, SPREAD_LOG_SD))
        references = centre + spread * chance.standard_normal(world.references)
        bad = chance.random(world.references) < world.defective
        references[bad] += np.log1p(-chance.uniform(*DEFECTIVE_LOSS, int(bad.sum())))
        references += REPEATABILITY * chance.standard_normal(world.references)
        healthy = centre + spread * chance.standard_normal(world.cards)
        repeats = REPEATABILITY * chance.standard_normal((world.cards, MOST_REPEATS))
        yield references.tolist(), healthy.tolist(), repeats.tolist()


def _outcome(true: float, noise: Sequence[float], limit: float) -> Outcome:
    """Measured once, and again while undecided."""
    outcome = Outcome.MARGINAL
    for repeats in range(1, MOST_REPEATS + 1):
        value, u = pooled([true + one for one in noise[:repeats]], [REPEATABILITY] * repeats)
        outcome = decide(value, u, limit, higher_is_better=True)
        if outcome is not Outcome.MARGINAL:
            break
    return outcome
