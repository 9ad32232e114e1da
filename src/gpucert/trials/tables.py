"""The tables of `gpucert bench decision`: every rule on single measures, and ours on a whole card."""

from collections.abc import Iterator

from msgspec import Struct

from gpucert.baselines.defaults import Defaults
from gpucert.trials.decision import Rates, World, run, thermal, throughput
from gpucert.trials.rules import OTHERS, OURS, Rule

REFERENCES = (0, 5, 20, 100)
THROUGHPUTS, RESISTANCES = 7, 3
"""Measures of a model that computes in every type."""


class Table(Struct, frozen=True):
    """The error rates of several rules, by number and kind of reference cards."""

    title: str
    q: float
    """The share of healthy cards that our limit of one measure may fail."""
    rates: tuple[Rates, ...]


def tables(defaults: Defaults, models: int, cards: int, seed: int) -> Iterator[Table]:
    """One table after the other, as they are worked out."""
    worlds = tuple(_worlds(models, cards, seed))
    rates, resistance = throughput(defaults), thermal(defaults)
    q = defaults.share(THROUGHPUTS + RESISTANCES)
    yield Table(
        "clock-normalised throughput, one measure",
        q,
        tuple(run(rule, [rates], q, world) for world in worlds for rule in _with_limit(world)),
    )
    advises = f"with fewer than {resistance.of.advises_below} reference cards it only advises"
    yield Table(
        f"thermal resistance, one measure ({advises})",
        q,
        tuple(run(rule, [resistance], q, world) for world in worlds for rule in _with_limit(world)),
    )
    whole = [rates] * THROUGHPUTS + [resistance] * RESISTANCES
    graded = [world for world in worlds if world.references >= resistance.of.advises_below]
    yield Table(
        f"a whole card, {len(whole)} measures, of which a worn one lost in one rate",
        q,
        tuple(run(OURS, whole, q, world) for world in graded),
    )


def _with_limit(world: World) -> Iterator[Rule]:
    return (rule for rule in (OURS, *OTHERS) if rule.needs <= world.references)


def _worlds(models: int, cards: int, seed: int) -> Iterator[World]:
    for references in REFERENCES:
        for defective in (0.0, 0.1) if references else (0.0,):
            yield World(models=models, cards=cards, references=references, defective=defective, seed=seed)
