"""`gpucert bench`: what gpucert's own methods are worth, measured where the truth is known."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpucert.trials.tables import Table


@click.group(short_help="Measure what gpucert's own methods are worth.")
def command() -> None:
    """Measure what gpucert's own methods are worth, on made-up cards whose truth is known.

    \b
    Example:
      gpucert bench decision
    """


@command.command("decision")
@click.option("--models", default=300, show_default=True, type=click.IntRange(1, 100_000), help="Models to make up.")
@click.option("--cards", default=40, show_default=True, type=click.IntRange(1, 10_000), help="Cards of each model.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Another world.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def decision(models: int, cards: int, seed: int, *, as_json: bool) -> None:
    """How often a healthy card is rejected and a worn one passes, by our rule and by those of other tools.

    Rates in percent with their exact 95 % bounds, by the number of reference cards, all of them healthy or one in ten
    defective: for one rate, for one thermal resistance, and for a card whose measures share the error budget.

    \b
    Example:
      gpucert bench decision --models 1000
    """
    from gpucert.baselines import defaults
    from gpucert.trials.tables import tables

    told = []
    for table in tables(defaults.shipped(), models, cards, seed):
        told.append(table)
        if not as_json:
            for line in _lines(table):
                click.echo(line)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"tables": told})).decode())


def _lines(table: "Table") -> "Iterator[str]":
    yield f"{table.title}; our limit may fail {100 * table.q:.2g} % of healthy cards"
    yield f"{'':<30} {'healthy rejected':>18}   worn cards that pass, by what they lost"
    world = None
    for one in table.rates:
        if one.world != world:
            world = one.world
            kind = f"{world.references} reference cards" if world.references else "no reference cards"
            yield f"{kind}{', one in ten defective' if world.defective else ''}"
        low, high = one.rejected.bounds()
        wrong = f"{100 * one.rejected.share:.1f} ({100 * low:.1f}–{100 * high:.1f})"
        passed = "  ".join(f"{words}: {100 * rate.share:>5.1f}" for words, rate in one.passed.items())
        yield f"  {one.rule:<28} {wrong:>18}   {passed}"
    yield ""
