"""`gpucert baseline`: what healthy cards of a model measure; learned from records, shown, and compared."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import ProblemError, printable

if TYPE_CHECKING:
    from gpucert.baselines.learn import Candidate, Weighed
    from gpucert.baselines.limit import Baseline, Limit
    from gpucert.baselines.reference import References
    from gpucert.catalogue.model import Model
    from gpucert.cli.jobs import Judged


@click.group(short_help="Learn, show and compare what healthy cards of a model measure.")
def command() -> None:
    """Learn, show and compare what healthy cards of a model measure.

    \b
    Example:
      gpucert baseline show "NVIDIA A100-SXM4-80GB"
    """


@command.command("learn")
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="RECORD…")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the baseline goes; else it is shown."
)
@click.option("--version", type=click.IntRange(1), default=1, show_default=True, help="Number of this baseline.")
def learn(records: tuple[Path, ...], out: Path | None, version: int) -> None:
    """Make a baseline of clean cards of one model. RECORD is a record.json, or a folder of runs.

    A card counts once, with its latest run. A card that fails any gate but those to be learned is left out and said.
    A card that is off its siblings stays in the file and weighs little, and that is said too.

    \b
    Example:
      gpucert baseline learn gpucert-runs --out a100.toml
      gpucert certify --gpu 0 --baseline a100.toml
    """
    from gpucert.baselines import defaults
    from gpucert.baselines import learn as learning
    from gpucert.cli import jobs

    model, found = _candidates(records)
    clean = [one for one in found if not one.against]
    for one in found:
        if one.against:
            click.echo(f"left out {printable(one.record)}: {printable(one.against[0])}", err=True)
    try:
        references = learning.learn(model, clean, defaults.shipped(), version)
    except learning.MixedCandidatesError as error:
        raise ProblemError(str(error)) from error
    for line in _suspects(learning.weigh(model, references, defaults.shipped())):
        click.echo(line, err=True)
    text = learning.as_toml(references)
    if out is None:
        click.echo(text, nl=False)
        return
    jobs.write(out, text.encode())
    cards = len({card.card for measured in references.measures.values() for card in measured.cards})
    click.echo(f"{cards} reference cards of {model.key} in {printable(str(out))}", err=True)


def _candidates(paths: Iterable[Path]) -> "tuple[Model, list[Candidate]]":
    """The cards of these records, all of one model. Raises ProblemError."""
    from gpucert.baselines import defaults
    from gpucert.verdict.candidate import candidate

    judged = list(_judged(paths))
    models = {one.model.key: one.model for _, one in judged if one.model is not None}
    strangers = [path for path, one in judged if one.model is None]
    if strangers:
        raise ProblemError(f"{strangers[0]}: its model is not in the catalogue, so that nothing can be expected of it")
    if len(models) != 1:
        raise ProblemError(f"a baseline is of one model; these records are of {', '.join(sorted(models))}")
    (model,) = models.values()
    return model, [candidate(one.record, one.verdict, defaults.shipped(), str(path)) for path, one in judged]


def _judged(paths: Iterable[Path]) -> "Iterator[tuple[Path, Judged]]":
    """Every record below these paths, judged by the shipped rules. Raises ProblemError."""
    from gpucert.cli import jobs
    from gpucert.cli.rules import RuleFiles, load

    rules, any_record = load(RuleFiles()), False
    for path in paths:
        files = [path] if path.is_file() else sorted(path.rglob("record.json"))
        for file in files:
            any_record = True
            yield file, jobs.judge_file(file, rules)
    if not any_record:
        raise ProblemError("no record.json there; name the folder of a run, or of several")


def _suspects(weighed: "Iterable[Weighed]") -> Iterator[str]:
    from gpucert.baselines.shrink import SUSPECT

    for one in weighed:
        if one.weight < SUSPECT:
            yield f"off its siblings: {one.card} in {one.measure}, {one.value:.5g}; weighs {one.weight:.2f} of a card"


@command.command("show")
@click.argument("model")
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False), help="One that was learned.")
def show(model: str, baseline: Path | None) -> None:
    """Show the limits of a MODEL: centre, limit, reference cards, and how much is known about each.

    \b
    Example:
      gpucert baseline show "Tesla T4"
      gpucert baseline show "NVIDIA A100-SXM4-80GB" --baseline a100.toml
    """
    from gpucert.baselines import baseline as baselines
    from gpucert.catalogue import shelf
    from gpucert.cli import rules

    try:
        found = shelf.get(model)
    except shelf.UnknownModelError as error:
        raise ProblemError(f"{error}; `gpucert catalogue list` shows all of them") from error
    learned = None if baseline is None else rules.references(baseline)
    if learned is not None and learned.model != found.key:
        raise ProblemError(f"{baseline}: is of {learned.model!r}, not of {found.key!r}")
    for line in _shown(found, baselines.for_model(found, learned), learned):
        click.echo(line)


def _shown(model: "Model", baseline: "Baseline", learned: "References | None") -> Iterator[str]:
    from gpucert.baselines import defaults, reference
    from gpucert.baselines.learn import weigh

    of = defaults.shipped()
    weighed = weigh(model, learned or reference.of_model(model.key, of), of)
    yield f"{baseline.model}, version {baseline.version}, {baseline.sha256[:16]}"
    yield "limit |, centre ^, reference cards o (x where one is off its siblings); scale in percent of the centre"
    for limit in baseline.limits:
        cards = [one for one in weighed if one.measure == limit.measure]
        sign = "≥" if limit.better == "higher" else "≤"
        yield ""
        yield f"{limit.measure} in {limit.unit.value}: centre {limit.centre:g}, limit {sign} {limit.limit:g}"
        yield f"  {_drawing(limit, cards)}"
        yield f"  n = {limit.n} ({limit.grade}); {limit.source}"


WIDTH = 61
SPAN = 0.15
"""Of the centre, to each side; a wider limit widens the drawing."""


def _drawing(limit: "Limit", cards: "Iterable[Weighed]") -> str:
    from gpucert.baselines.shrink import SUSPECT

    marked = {limit.limit: "|", limit.centre: "^"}
    values = [one.value for one in cards]
    span = max([SPAN, *(abs(value / limit.centre - 1) * 1.05 for value in (*values, limit.limit))])

    def place(value: float) -> int:
        return round((value / limit.centre - 1 + span) / (2 * span) * (WIDTH - 1))

    line = ["·"] * WIDTH
    for value, mark in marked.items():
        line[place(value)] = mark
    for one in cards:
        line[place(one.value)] = "x" if one.weight < SUSPECT else "o"
    return f"−{100 * span:.0f} % {''.join(line)} +{100 * span:.0f} %"


@command.command("diff")
@click.argument("baseline", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("records", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[RECORD…]")
def diff(baseline: Path, records: tuple[Path, ...]) -> None:
    """Say how a new BASELINE differs from the shipped one, and what it would change for records already judged.

    \b
    Example:
      gpucert baseline diff a100.toml gpucert-runs
    """
    from gpucert.baselines import baseline as baselines
    from gpucert.catalogue import shelf
    from gpucert.cli import rules

    learned = rules.references(baseline)
    model = shelf.get(learned.model)
    before, after = baselines.for_model(model), baselines.for_model(model, learned)
    click.echo(f"{model.key}: {before.sha256[:16]} → {after.sha256[:16]}")
    for old, new in zip(before.limits, after.limits, strict=True):
        moved = f"centre {_moved(old.centre, new.centre)}, limit {_moved(old.limit, new.limit)}"
        click.echo(f"  {old.measure:<34} {moved}, n {old.n} → {new.n}")
    if records:
        for line in _changed(records, learned):
            click.echo(line)


def _moved(old: float, new: float) -> str:
    return f"{old:g} → {new:g} ({100 * (new / old - 1):+.1f} %)"


def _changed(records: tuple[Path, ...], learned: "References") -> Iterator[str]:
    """The records whose verdict would change, and how many would not."""
    from gpucert.cli import jobs
    from gpucert.cli.rules import RuleFiles, Rules, load

    rules, same = load(RuleFiles()), 0
    for path, before in _judged(records):
        if before.model is None or before.model.key != learned.model:
            continue
        after = jobs.judge_file(path, Rules(rules.policy, learned))
        if _in_short(before) == _in_short(after):
            same += 1
        else:
            yield f"{printable(str(path))}: {_in_short(before)} → {_in_short(after)}"
    yield f"{same} records of this model are judged as before"


def _in_short(judged: "Judged") -> str:
    codes = ", ".join(one.code for one in judged.verdict.diagnoses if not one.advisory)
    return f"{judged.verdict.outcome.value}{f' ({codes})' if codes else ''}"
