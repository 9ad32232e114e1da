"""`gpucert baseline`: what healthy cards of a model measure; learned from records, shown, compared and checked."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.baselines.reference import LAST_VERSION
from gpucert.cli.console import ProblemError, printable, say

if TYPE_CHECKING:
    from gpucert.baselines.learn import Candidate, Weighed
    from gpucert.baselines.limit import Baseline, Limit
    from gpucert.baselines.reference import References
    from gpucert.catalogue.model import Model
    from gpucert.cli.jobs import Judged


@click.group(short_help="Learn, show, compare and check what healthy cards of a model measure.")
def command() -> None:
    """Learn, show, compare and check what healthy cards of a model measure.

    \b
    Example:
      gpucert baseline show "NVIDIA A100-SXM4-80GB"
    """


@command.command("learn")
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="RECORD…")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the baseline goes; else it is shown."
)
@click.option(
    "--version", type=click.IntRange(1, LAST_VERSION), default=1, show_default=True, help="Number of this baseline."
)
def learn(records: tuple[Path, ...], out: Path | None, version: int) -> None:
    """Make a baseline of clean cards of one model. RECORD is a record.json, or a folder of runs.

    A card counts once, with its latest run. A card that fails any gate but those to be learned is left out and said.
    One whose values cannot be is left out too, and a measure in which most cards cannot be. A card that is off its
    siblings stays in the file and weighs little. All of that is said.

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
    references = _believed(model, clean, version)
    for line in _suspects(learning.weigh(model, references, defaults.shipped())):
        click.echo(line, err=True)
    text = learning.as_toml(references)
    if out is None:
        click.echo(text, nl=False)
        return
    jobs.write(out, text.encode())
    click.echo(f"{_cards(references)} of {model.key} in {printable(str(out))}", err=True)


def _cards(references: "References") -> str:
    count = len(references.conditions)
    return "1 reference card" if count == 1 else f"{count} reference cards"


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


def _believed(model: "Model", candidates: "list[Candidate]", version: int) -> "References":
    """What these cards teach, less what cannot be, which is said. Raises ProblemError where nothing is left."""
    from gpucert.baselines import defaults, learn
    from gpucert.cli import rules

    while True:
        try:
            references = learn.learn(model, candidates, defaults.shipped(), version)
        except learn.MixedCandidatesError as error:
            raise ProblemError(str(error)) from error
        defects = rules.defects_of(references)
        if not defects:
            return references
        rows, cards = learn.blamed(references, defects)
        for one in defects:
            if one.measure not in rows:
                click.echo(f"left out {printable(one.card)}: {printable(str(one))}", err=True)
        for row in sorted(rows):
            said = next(one.said for one in defects if one.measure == row)
            click.echo(f"left out {row} of every card: {printable(said)}", err=True)
        candidates = learn.without(candidates, rows, cards)


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
    """Show the limits of a MODEL: centre, limit and prior of each, and the reference cards with their conditions.

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
        say(line)


def _shown(model: "Model", baseline: "Baseline", learned: "References | None") -> Iterator[str]:
    from gpucert.baselines import defaults, reference
    from gpucert.baselines.baseline import centres
    from gpucert.baselines.learn import weigh

    of = defaults.shipped()
    references = learned or reference.of_model(model.key, of)
    weighed = weigh(model, references, of)
    yield f"{baseline.model}, version {baseline.version}, sha256 {baseline.sha256}"
    yield "limit |, centre ^, reference cards o (x where one is off its siblings); scale in percent of the centre"
    expected = {centre.measure: centre for centre in centres(model)}
    for limit in baseline.limits:
        centre = expected[limit.measure]
        cards = [one for one in weighed if one.measure == limit.measure]
        sign = "≥" if limit.better == "higher" else "≤"
        prior = of.rule(limit.measure)[1].prior(centre.u)
        yield ""
        yield f"{limit.measure} in {limit.unit.value}: centre {limit.centre:g}, limit {sign} {limit.limit:g}"
        yield f"  {_drawing(limit, cards)}"
        yield f"  n = {limit.n} ({limit.grade}){f'; {limit.source}' if limit.n else ''}"
        spreads = f"cards of one model differ by s0 = {prior.s0:.1%}, models from it by t0 = {prior.t0:.1%}"
        yield f"  {centre.source}; {spreads}"
    yield ""
    yield f"shares of the specification: {'; '.join(model.sources['achieved'])}"
    yield f"resistances: {'; '.join(model.sources['thermal'])}"
    yield from _behind(references, weighed)


def _behind(references: "References", weighed: "Iterable[Weighed]") -> Iterator[str]:
    """The cards behind the limits, with what and in what each was measured, and how much it weighs."""
    if not references.conditions:
        yield ""
        yield "no reference cards: every limit is the prior's"
        return
    yield ""
    yield f"{_cards(references)}, measured with kernels of version {references.kernel}"
    for card, one in references.conditions.items():
        weights = [each.weight for each in weighed if each.card == card]
        inlet = one.inlet_c if isinstance(one.inlet_c, str) else f"{one.inlet_c:g} °C"
        yield f"  {printable(card)}  {one.tested_at.isoformat()}, inlet {inlet}, weighs {min(weights):.2f} or more"
        with_what = f"driver {one.driver}, CUDA {one.cuda}, cuBLAS {one.cublas}, gpucert {one.gpucert}"
        yield f"    {printable(with_what)}, record sha256 {one.record_sha256}"


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
    for measure in dict.fromkeys(one.measure for one in (*before.limits, *after.limits)):
        click.echo(f"  {measure:<34} {_differs(before.find(measure), after.find(measure))}")
    if records:
        for line in _changed(records, learned):
            click.echo(line)


def _differs(old: "Limit | None", new: "Limit | None") -> str:
    if old is None or new is None:
        return "no limit any more" if new is None else f"first limit {new.limit:g}, centre {new.centre:g}, n {new.n}"
    moved = f"centre {_moved(old.centre, new.centre)}, limit {_moved(old.limit, new.limit)}"
    return f"{moved}, n {old.n} → {new.n}"


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


@command.command("lint")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE…")
@click.pass_context
def lint(ctx: click.Context, files: tuple[Path, ...]) -> None:
    """Check FILEs of reference cards: units, ceilings, rows of another measure or model, cards and records named twice.

    What is wrong here is refused wherever a baseline is used. Exit code 0 when nothing is wrong, 2 when something is.

    \b
    Example:
      gpucert baseline lint a100.toml
    """
    from gpucert.cli import rules

    wrong = 0
    for file in files:
        try:
            found = rules.unlinted(file)
        except ProblemError as error:
            click.echo(printable(error.message))
            wrong += 1
            continue
        defects = rules.defects_of(found)
        wrong += len(defects)
        for defect in defects:
            click.echo(printable(f"{file}: {defect}"))
        for line in _of_other_kernels(file, found):
            click.echo(printable(line), err=True)
    if wrong:
        click.echo(f"gpucert: {'1 defect' if wrong == 1 else f'{wrong} defects'} in {_files(files)}", err=True)
        ctx.exit(2)
    click.echo(f"{_files(files)}, nothing wrong")


def _files(files: tuple[Path, ...]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _of_other_kernels(file: Path, found: "References") -> Iterator[str]:
    """No defect, because records of those kernels may still be judged again; but new ones cannot be."""
    from gpucert.stress import kernels
    from gpucert.verdict.candidate import WITHOUT_KERNELS

    ours = WITHOUT_KERNELS if found.simulated else kernels.version()
    if found.kernel != ours:
        yield f"{file}: kernel is {found.kernel}, this version measures with {ours}: it judges older records only"
