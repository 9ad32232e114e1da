"""`gpucert bench`: what gpucert's own methods are worth, measured where the truth is known."""

import click

NUMBERS = (0, 5, 20, 100)
"""Reference cards."""
LOSSES = (0.05, 0.08, 0.12, 0.20)


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

    Clock-normalised throughput; rates in percent with their exact 95 % bounds, by the number of reference cards, all
    of them healthy or one in ten defective.

    \b
    Example:
      gpucert bench decision --models 1000
    """
    from gpucert.baselines import defaults
    from gpucert.trials.decision import World, run
    from gpucert.trials.rules import OTHERS, OURS

    of = defaults.shipped().classes["throughput_per_clock"]
    told = []
    if not as_json:
        click.echo(f"{'':<28} {'healthy rejected':>20}   worn cards that pass, by what they lost")
    for references in NUMBERS:
        for defective in (0.0, 0.1) if references else (0.0,):
            world = World(models=models, cards=cards, references=references, defective=defective, seed=seed)
            rates = [run(rule, of, world, LOSSES) for rule in (OURS, *OTHERS) if rule.needs <= references]
            told += rates
            if not as_json:
                kind = "no reference cards" if not references else f"{references} reference cards"
                click.echo(f"\n{kind}{', one in ten defective' if defective else ''}")
                for one in rates:
                    lost = "  ".join(f"−{loss} %:{100 * rate.share:>5.1f}" for loss, rate in one.passed.items())
                    low, high = one.rejected.bounds()
                    wrong = f"{100 * one.rejected.share:.1f} ({100 * low:.1f}–{100 * high:.1f})"
                    click.echo(f"  {one.rule:<28} {wrong:>18}   {lost}")
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"rates": told})).decode())
