"""The tables of `gpucert bench decision`: every rule on single measures, and ours on a whole card."""

from collections.abc import Callable, Iterator

from msgspec import Struct

from gpucert.baselines.defaults import Defaults
from gpucert.trials.decision import Kind, Rates, World, run, thermal, throughput
from gpucert.trials.rules import OTHERS, OURS, Rule

REFERENCES = (0, 5, 20, 100)
THROUGHPUTS, RESISTANCES = 7, 3
"""Measures of a model that computes in every type."""


class Table(Struct, frozen=True):
    """The error rates of several rules, by number and kind of reference cards."""

    title: str
    rates: tuple[Rates, ...]


def tables(defaults: Defaults, models: int, cards: int, seed: int) -> Iterator[Table]:
    """One table after the other, as they are worked out."""
    worlds = tuple(_worlds(models, cards, seed))
    rate, resistance = throughput(defaults), thermal(defaults)
    few = resistance.of.advises_below

    def shared(world: World) -> float:
        return defaults.share(THROUGHPUTS + (RESISTANCES if world.references >= few else 0))

    def by_every_rule(kind: Kind, q: Callable[[World], float]) -> tuple[Rates, ...]:
        return tuple(run(rule, [kind], q(world), world) for world in worlds for rule in _with_limit(world))

    yield Table("clock-normalised throughput, one measure", by_every_rule(rate, shared))
    yield Table(
        f"thermal resistance, one measure (with fewer than {few} reference cards it only advises)",
        by_every_rule(resistance, lambda world: shared(world) if world.references >= few else defaults.advice),
    )
    whole = [rate] * THROUGHPUTS + [resistance] * RESISTANCES
    yield Table(
        f"a whole card by every limit that costs a certificate: {THROUGHPUTS} rates, and {RESISTANCES} resistances "
        f"from {few} reference cards on; a worn one lost in one rate",
        tuple(
            run(OURS, whole if world.references >= few else whole[:THROUGHPUTS], shared(world), world)
            for world in worlds
        ),
    )


def _with_limit(world: World) -> Iterator[Rule]:
    return (rule for rule in (OURS, *OTHERS) if rule.needs <= world.references)


def _worlds(models: int, cards: int, seed: int) -> Iterator[World]:
    for references in REFERENCES:
        for defective in (0.0, 0.1) if references else (0.0,):
            yield World(models=models, cards=cards, references=references, defective=defective, seed=seed)
