"""Error rates of the decision: healthy cards that are rejected, and worn ones that pass, over made-up models.

The world: each model's true centre lies off the prior's by N(0, t0), its cards scatter about it by a spread of their
own (log-normal about s0), some reference cards are defective (5 to 30 % down), and a measurement repeats to a share of
its own. All values are log ratios x = ln(y / centre) in which worse is lower.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gpucert.baselines.defaults import Defaults, MeasureClass
from gpucert.outcome import Outcome
from gpucert.trials.rate import Rate
from gpucert.trials.rules import Rule
from gpucert.verdict.decision import decide, pooled

FloatArray = NDArray[np.float64]

POWER_U = 0.03
"""Of the gain of a power sensor (Yang et al., SC24), which scales every resistance."""
SPREAD_LOG_SD = 0.5
"""How much the spread of healthy cards differs between models."""
DEFECTIVE_LOSS = (0.05, 0.30)
MOST_REPEATS = 3


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of measure: its class, how well it repeats on one card, and what a worn card measures."""

    of: MeasureClass
    repeatability: float
    """Relative standard deviation of one measurement of one card."""
    worn: Mapping[str, float]
    """In words → as a log ratio."""
    follows: int | None = None
    """Of a rate per second the place of the same rate per clock, among the kinds of one card."""


def throughput(defaults: Defaults, of: str = "throughput_per_clock") -> Kind:
    """Rates of a class, assumed to repeat to 0.7 %: eight A100 of one node differed by no more (SuperBench)."""
    lost = (0.05, 0.08, 0.12, 0.20)
    worn = {f"−{100 * share:g} %": math.log1p(-share) for share in lost}
    return Kind(of=defaults.classes[of], repeatability=0.007, worn=worn)


def thermal(defaults: Defaults) -> Kind:
    """Thermal resistances, assumed to repeat as well as the power sensor's gain is known.

    A real card keeps its gain from one run to the next and for all its resistances; here each measurement draws one.
    """
    more = (0.15, 0.30, 0.50, 1.00)
    worn = {f"+{100 * share:g} %": -math.log1p(share) for share in more}
    return Kind(of=defaults.classes["thermal_resistance"], repeatability=POWER_U, worn=worn)


class World(Struct, frozen=True, kw_only=True):
    """What is made up: how many models, cards under test of each, reference cards, and their defective share."""

    models: int
    cards: int
    references: int
    defective: float
    seed: int = 0


class Rates(Struct, frozen=True):
    """How one rule did in one world."""

    rule: str
    world: World
    q: float
    """The share of healthy cards that our limit of each measure may fail."""
    rejected: Rate
    """Healthy cards that failed."""
    passed: dict[str, Rate]
    """What a card lost in its first measure → such cards that nothing failed, and whose first measure passed."""


def run(rule: Rule, kinds: Sequence[Kind], q: float, world: World) -> Rates:
    """Judge the cards of a world by a rule, with repeats and the guard band, as `certify` does.

    `kinds` are the measures of one card, each with a limit of its own that a share `q` of healthy cards may fail; the
    first is the one that worn cards lost in. The same seed gives the same world to every rule.
    """
    worn = kinds[0].worn
    rejected, passed = 0, dict.fromkeys(worn, 0)
    for measures in _models(kinds, world):
        limits = [rule.limit(one.references, kind.of, q) for one, kind in zip(measures, kinds, strict=True)]
        for card in range(world.cards):
            outcomes = [one.outcome(card, limit) for one, limit in zip(measures, limits, strict=True)]
            rejected += Outcome.FAIL in outcomes
            if Outcome.FAIL not in outcomes[1:]:
                for words, shift in worn.items():
                    passed[words] += measures[0].outcome(card, limits[0], shift) is Outcome.PASS
    trials = world.models * world.cards
    rates = {words: Rate(hits, trials) for words, hits in passed.items()}
    return Rates(rule.name, world, q, Rate(rejected, trials), rates)


class _Drawn(Struct, frozen=True):
    """One measure of one model: its reference cards, its cards under test, and the errors of their repeats."""

    references: list[float]
    healthy: list[float]
    noise: list[list[float]]
    u: float
    spread: float
    own: FloatArray
    """By how much every card, references first, is off its model."""

    def outcome(self, card: int, limit: float, shift: float = 0.0) -> Outcome:
        """Measured once, and again while undecided."""
        outcome = Outcome.MARGINAL
        for repeats in range(1, MOST_REPEATS + 1):
            values = [self.healthy[card] + shift + one for one in self.noise[card][:repeats]]
            outcome = decide(*pooled(values, [self.u] * repeats), limit, higher_is_better=True)
            if outcome is not Outcome.MARGINAL:
                break
        return outcome


def _models(kinds: Sequence[Kind], world: World) -> Iterator[list[_Drawn]]:
    """One model after another, with all its measures. A card has one clock, which its rates per second share."""
    chance = np.random.default_rng(world.seed)
    for _ in range(world.models):
        clock = chance.standard_normal(world.references + world.cards)
        drawn: list[_Drawn] = []
        for kind in kinds:
            per_clock = None if kind.follows is None else drawn[kind.follows]
            drawn.append(_drawn(kind, world, chance, clock, per_clock))
        yield drawn


def _drawn(
    kind: Kind, world: World, chance: np.random.Generator, clock: FloatArray, per_clock: _Drawn | None
) -> _Drawn:
    centre = chance.normal(0, kind.of.t0)
    spread = kind.of.s0 * math.exp(chance.normal(0, SPREAD_LOG_SD))
    if per_clock is None:
        own = spread * chance.standard_normal(world.references + world.cards)
    else:
        own = per_clock.own + math.sqrt(max(spread**2 - per_clock.spread**2, 0.0)) * clock
    references, healthy = centre + own[: world.references], centre + own[world.references :]
    bad = chance.random(world.references) < world.defective
    references[bad] += np.log1p(-chance.uniform(*DEFECTIVE_LOSS, int(bad.sum())))
    references += kind.repeatability * chance.standard_normal(world.references)
    noise = kind.repeatability * chance.standard_normal((world.cards, MOST_REPEATS))
    return _Drawn(references.tolist(), healthy.tolist(), noise.tolist(), kind.repeatability, spread, own)
