"""`gpucert compare`: two records of one card side by side, before and after a repair."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.rules import RuleFiles, load, rule_options

if TYPE_CHECKING:
    from gpucert.verdict.circumstances import Run
    from gpucert.verdict.comparison import Comparison


@click.command(short_help="Say what changed between two records of one card.")
@click.argument("before", type=click.Path(path_type=Path, exists=True))
@click.argument("after", type=click.Path(path_type=Path, exists=True))
@rule_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the comparison as one HTML file.",
)
@click.pass_context
def command(
    ctx: click.Context,
    before: Path,
    after: Path,
    policy: Path | None,
    baseline: Path | None,
    *,
    as_json: bool,
    page: Path | None,
) -> None:
    """Say what changed from the record BEFORE to the record AFTER: by new paste, another slot, or half a year.

    Each is a record.json, the folder of a card or that of a run. Both are judged again by the same rules, the shipped
    ones or those that are named. A difference is told as a change where it is beyond the uncertainty of both
    measurements; what was not measured in both, or not under the same conditions, is listed and claims nothing.

    Exit code 0 when all that was judged before was judged again and nothing of the card got worse, 10 when nothing is
    known to be worse and not all of it was tested again or under the same conditions, 20 when something of the card got
    worse, 30 when the two cannot be compared, 2 for a file that cannot be read. What is about the station counts for
    none of these, and 0 does not say that the card is good: what was wrong before may still be.

    \b
    Example:
      gpucert compare gpucert-runs/before/GPU-1234 gpucert-runs/after/GPU-1234
      gpucert compare --page repair.html may/record.json july/record.json
    """
    from gpucert.cli.console import ProblemError
    from gpucert.outcome import ExitCode
    from gpucert.verdict.compare import NotComparableError, compare

    files = tuple(_record(path) for path in (before, after))
    _refuse_overwriting(page, files)
    one, other = (_judged(path, RuleFiles(policy, baseline)) for path in files)
    try:
        found = compare(one, other)
    except NotComparableError as error:
        raise ProblemError(f"{files[0]} and {files[1]}: {error}", ExitCode.INCOMPLETE) from error
    if page is not None:
        _write(page, found)
    if as_json:
        from gpucert import record as records

        click.echo(records.encode(found), nl=False)
    else:
        from gpucert.cli.compare_text import show

        show(found)
    ctx.exit(found.exit_code)


def _record(path: Path) -> Path:
    """The record that a person means: this file, or that of the only card in this folder. Raises ProblemError."""
    from gpucert.cli import jobs

    return path if path.is_file() else jobs.card_folder(path).record


def _judged(path: Path, rules: RuleFiles) -> "Run":
    from gpucert.cli import jobs
    from gpucert.verdict.circumstances import Run

    judged = jobs.judge_file(path, load(rules))
    return Run(judged.record, judged.verdict)


def _refuse_overwriting(page: Path | None, records: tuple[Path, ...]) -> None:
    """Evidence must not be overwritten by a page about it."""
    from gpucert.cli.console import ProblemError

    if page is not None and page.exists() and any(page.samefile(record) for record in records):
        raise ProblemError(f"{page}: is one of the records; name another file for the page")


def _write(path: Path, comparison: "Comparison") -> None:
    from gpucert import installed_version
    from gpucert.certificate.comparison import render
    from gpucert.certificate.templates import PageTooLargeError
    from gpucert.cli import jobs
    from gpucert.cli.console import ProblemError, printable

    try:
        text = render(comparison, made_at=jobs.now(), version=installed_version())
    except PageTooLargeError as error:
        raise ProblemError(f"{path}: {error}") from error
    jobs.write(path, text.encode())
    click.echo(f"gpucert: page in {printable(str(path))}", err=True)
