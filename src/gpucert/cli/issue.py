"""`gpucert issue`: the page of a judged record."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import ProblemError
from gpucert.cli.rules import RuleFiles, of_run, rule_options

if TYPE_CHECKING:
    from gpucert.cli.jobs import CardFolder, Judged


@click.command(short_help="Write the certificate of a judged record.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@rule_options
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="The ledger's file.")
def command(folder: Path, policy: Path | None, baseline: Path | None, store: Path | None) -> None:
    """Write the certificate (or report) of the record and verdict in FOLDER.

    The verdict must be what judging makes of this very record: one that was changed is refused.

    \b
    Example:
      gpucert issue gpucert-runs/2026-11-23T08-16-36Z/GPU-1234
    """
    from gpucert.cli import jobs

    card = jobs.card_folder(folder)
    judged = jobs.judged_before(card, of_run(card.path, RuleFiles(policy, baseline)))
    write_page(card, judged, jobs.note_in_ledger(jobs.open_store(store), card, judged))
    click.echo(str(card.certificate))


def write_page(folder: "CardFolder", judged: "Judged", standing: tuple[int, str]) -> None:
    """Render and write certificate.html; `standing` is the attempt's number and the date of the first."""
    from gpucert.certificate import page, payload
    from gpucert.certificate.templates import PageTooLargeError
    from gpucert.cli import jobs

    number, since = standing
    contents = payload.build(
        judged.record,
        judged.verdict,
        model=judged.model,
        baseline=judged.baseline,
        attempt=payload.Attempt(number=number, since=since),
        issued_at=jobs.now(),
        verdict_sha256=judged.verdict_sha256,
    )
    try:
        jobs.write(folder.certificate, page.render(contents).encode())
    except PageTooLargeError as error:
        raise ProblemError(str(error)) from error
