"""`gpucert bench`: what gpucert's own methods are worth, measured where the truth is known."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.bench_detection import detection
from gpucert.cli.console import ProblemError, counting
from gpucert.outcome import ExitCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gpucert.baselines.limit import Baseline
    from gpucert.baselines.reference import References
    from gpucert.trials.cards import ByLimit, Group, Told
    from gpucert.trials.rate import Bounded
    from gpucert.trials.tables import Table


@click.group(short_help="Measure what gpucert's own methods are worth.")
def command() -> None:
    """Measure what gpucert's own methods are worth, on made-up cards whose truth is known.

    \b
    Example:
      gpucert bench decision
    """


command.add_command(detection)


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
    yield table.title
    yield f"{'':<30} {'healthy rejected':>18}   worn cards that pass, by what they lost"
    world = None
    for one in table.rates:
        if one.world != world:
            world = one.world
            kind = f"{world.references} reference cards" if world.references else "no reference cards"
            references = f"{kind}{', one in ten defective' if world.defective else ''}"
            yield f"{references}; each of our limits may fail {100 * one.q:.2g} % of healthy cards"
        low, high = one.rejected.bounds()
        wrong = f"{100 * one.rejected.share:.1f} ({100 * low:.1f}–{100 * high:.1f})"
        passed = "  ".join(f"{words}: {100 * rate.share:>5.1f}" for words, rate in one.passed.items())
        yield f"  {one.rule:<28} {wrong:>18}   {passed}"
    yield ""


@command.command("cards")
@click.option("--cards", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Cards of each model.")
@click.option("--model", "models", multiple=True, metavar="KEY", help="Instead of five that differ; repeatable.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND[:F=V,…]",
    help="A fault as scenarios name it, planted in every card; repeatable.",
)
@click.option(
    "--baseline",
    "learned",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Judge the cards of its model by it; repeatable.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Other cards.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def cards(
    cards: int,
    models: tuple[str, ...],
    faults: tuple[str, ...],
    learned: tuple[Path, ...],
    seed: int,
    *,
    as_json: bool,
) -> None:
    """How often a healthy virtual card is rejected, or one with a planted fault found, by probes and judge together.

    Virtual cards lie about what the catalogue expects of their model: this shows the errors of measuring and deciding,
    not how well the catalogue knows real cards. Uses all cores; 300 cards of five models take a quarter of an hour on
    two.

    \b
    Exit codes: 0; 20 where the exact 95 % bounds refute the promised rate;
    30 where healthy cards were not tested by every limit.
    \b
    Examples:
      gpucert bench cards --cards 300
      gpucert bench cards --fault slow_memory:factor=0.9 --fault slow_compute:factor=0.85,unit=tensor
    """
    from concurrent.futures.process import BrokenProcessPool

    from gpucert.cli.matching import match
    from gpucert.device.simulated.scenario import ScenarioError
    from gpucert.trials.cards import MODELS, Wanted, run
    from gpucert.trials.in_process import NeedsProcessesError
    from gpucert.trials.planted import planted

    try:
        wanted = Wanted(
            baselines=_baselines(dict.fromkeys(models or MODELS), learned),
            cards=cards,
            seed=seed,
            faults=tuple(map(planted, dict.fromkeys(faults))),
        )
        told = run(wanted, match, counting)
    except (ScenarioError, NeedsProcessesError) as error:
        raise ProblemError(f"--fault {error}") from error
    except BrokenProcessPool as error:
        raise ProblemError(f"a process of this bench was killed: {error}", ExitCode.INCOMPLETE) from error
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        for line in _cards_in_words(told):
            click.echo(line)
    sys.exit(told.exit_code)


def _baselines(models: "Collection[str]", files: tuple[Path, ...]) -> "tuple[Baseline, ...]":
    """The baseline of each model, by one of these files where it names that model. Raises ProblemError."""
    from gpucert.baselines.baseline import for_model
    from gpucert.catalogue import shelf
    from gpucert.verdict.candidate import WITHOUT_KERNELS

    learned = {one.model: one for one in (_references(path, models) for path in files)}
    try:
        return tuple(for_model(shelf.get(key), learned.get(key), kernel=WITHOUT_KERNELS) for key in models)
    except shelf.UnknownModelError as error:
        raise ProblemError(f"--model: {error}; `gpucert catalogue list` shows all of them") from error


def _references(path: Path, models: "Collection[str]") -> "References":
    from gpucert.cli import rules
    from gpucert.verdict.candidate import WITHOUT_KERNELS

    found = rules.references(path)
    if found.model not in models:
        raise ProblemError(f"{path}: is of {found.model!r}, of which no card is drawn; name it with --model")
    if found.kernel != WITHOUT_KERNELS:
        raise ProblemError(f"{path}: was measured with kernels of version {found.kernel}; virtual cards run none")
    return found


def _cards_in_words(told: "Told") -> "Iterator[str]":
    faults = any(group.fault for group in told.groups)
    doubt = "an undecided finding is no fault found" if faults else "an undecided finding is a rejection"
    yield "Virtual cards; nothing here was measured on silicon."
    yield f"{', '.join(told.probes)} as in the standard plan, once, without repeats; {doubt}."
    yield "Shares in percent with their exact 95 % bounds."
    for group in told.groups:
        yield ""
        yield f"{group.model or 'all models'}{f', {group.fault}' if group.fault else ''}"
        yield f"  rejected {_rate(group.rejected)}{_promised(group, told.promised)}"
        yield f"  pointed at by a limit that only advises {_rate(group.pointed_at)}"
        if group.not_tested:
            yield f"  {group.not_tested} were neither rejected nor tested by every limit: of them nothing is said"
        for limit in group.limits:
            yield f"    {limit.measure:<34} {'' if group.fault else f'{_may(limit)}; '}{_ended(limit)}"
        if group.wrong:
            what = "not found" if group.fault else "rejected or not tested"
            yield f"  {what}, by seed: {', '.join(map(str, group.wrong))}"


def _rate(rate: "Bounded") -> str:
    if not rate.trials:
        return "unknown: no card was tested"
    share = 100 * rate.hits / rate.trials
    return f"{rate.hits} of {rate.trials}: {share:.1f} ({100 * rate.low:.1f}–{100 * rate.high:.1f})"


def _promised(group: "Group", promised: float) -> str:
    rate = group.rejected
    says = {
        "kept": "kept",
        "not refuted": f"not refuted, but so few cards cannot show it: {rate.trials} leave room for "
        f"{100 * rate.high:.1f} %",
        "refuted": f"REFUTED: at least {100 * rate.low:.1f} % are rejected",
    }
    return f"; promised at most {100 * promised:g} %: {says[group.promise]}" if group.promise in says else ""


def _may(limit: "ByLimit") -> str:
    return f"{'may point at' if limit.advises else 'may fail'} {100 * limit.share:.2g} %"


def _ended(limit: "ByLimit") -> str:
    counts = {
        "failed": limit.failed,
        "undecided": limit.undecided,
        "error": limit.error,
        "passed": limit.passed,
        "not tested": limit.not_tested,
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
