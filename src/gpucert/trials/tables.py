"""The tables of `gpucert bench decision`: every rule on single measures, and ours on a whole card."""

from collections.abc import Callable, Iterator

from msgspec import Struct, structs

from gpucert.baselines.defaults import Defaults
from gpucert.trials.decision import Kind, Rates, World, run, thermal, throughput
from gpucert.trials.rules import OTHERS, OURS, Rule

REFERENCES = (0, 5, 20, 100)
THROUGHPUTS, ADVISING, RESISTANCES = 8, 1, 3
"""Measures of a model that computes in every type: rates per clock, that of INT8, which only advises while few cards
were measured, and resistances on the way of its heat."""


class Table(Struct, frozen=True):
    """The error rates of several rules, by number and kind of reference cards."""

    title: str
    rates: tuple[Rates, ...]


def tables(defaults: Defaults, models: int, cards: int, seed: int) -> Iterator[Table]:
    """One table after the other, as they are worked out."""
    worlds = tuple(_worlds(models, cards, seed))
    rate, raw, resistance = throughput(defaults), throughput(defaults, "throughput_raw"), thermal(defaults)
    few = resistance.of.advises_below

    def whole(world: World) -> list[Kind]:
        """The measures whose limits cost a card its certificate."""
        enough = world.references >= few
        per_clock = THROUGHPUTS + ADVISING * enough
        per_second = per_clock if world.references >= raw.of.limits_from else 0
        return [*rates(rate, per_clock, raw, per_second), *[resistance] * (RESISTANCES * enough)]

    def shared(world: World) -> float:
        return defaults.share(len(whole(world)))

    def by_every_rule(kind: Kind, q: Callable[[World], float]) -> tuple[Rates, ...]:
        return tuple(run(rule, [kind], q(world), world) for world in worlds for rule in _with_limit(world))

    yield Table("clock-normalised throughput, one measure", by_every_rule(rate, shared))
    yield Table(
        f"thermal resistance, one measure (with fewer than {few} reference cards it only advises)",
        by_every_rule(resistance, lambda world: shared(world) if world.references >= few else defaults.advice),
    )
    yield Table(
        f"a whole card by every limit that costs a certificate: {THROUGHPUTS} rates per clock, and from {few} "
        f"reference cards on {ADVISING} more, as many per second and {RESISTANCES} resistances; a worn one lost in one "
        "rate per clock",
        tuple(run(OURS, whole(world), shared(world), world) for world in worlds),
    )


def rates(per_clock: Kind, every: int, per_second: Kind, raw: int) -> list[Kind]:
    """Every rate per clock, and the first of them per second as well."""
    return [per_clock] * every + [structs.replace(per_second, follows=place) for place in range(raw)]


def _with_limit(world: World) -> Iterator[Rule]:
    return (rule for rule in (OURS, *OTHERS) if rule.needs <= world.references)


def _worlds(models: int, cards: int, seed: int) -> Iterator[World]:
    for references in REFERENCES:
        for defective in (0.0, 0.1) if references else (0.0,):
            yield World(models=models, cards=cards, references=references, defective=defective, seed=seed)
