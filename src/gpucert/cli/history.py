"""`gpucert history`: what the ledger knows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import ProblemError, console, printable
from gpucert.outcome import LOOKS, VerdictOutcome

if TYPE_CHECKING:
    from gpucert.store.ledger import Attempt


@click.command(short_help="List the attempts that this issuer knows of.")
@click.argument("which", required=False, metavar="[SERIAL|UUID]")
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="The ledger's file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def command(which: str | None, store: Path | None, *, as_json: bool) -> None:
    """List every attempt that this issuer's ledger knows of, the failed and the interrupted ones too.

    \b
    Example:
      gpucert history 1324020001234
    """
    from gpucert.store.ledger import LedgerError, default_path, open_ledger

    try:
        attempts = open_ledger(store or default_path()).history(which)
    except LedgerError as error:
        raise ProblemError(str(error)) from error
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"attempts": attempts})).decode())
    elif not attempts:
        click.echo(f"no attempt on {printable(which)} is known here" if which else "no attempt is known here")
    else:
        _list(attempts)


def _list(attempts: "tuple[Attempt, ...]") -> None:
    from rich.markup import escape

    out = console()
    for attempt in attempts:
        tier = f" tier {attempt.tier}" if attempt.tier else ""
        card = escape(printable(f"{attempt.name} {attempt.serial or attempt.card_id}"))
        out.print(f"{_outcome(attempt.outcome, tier)}  [bold]{card}[/]{'  SIMULATED' if attempt.simulated else ''}")
        began = f"{attempt.started_at[:10]} {attempt.started_at[11:16]} UTC"
        out.print(escape(printable(f"    {began}, attempt {attempt.number}, plan {attempt.plan}")))
        if attempt.diagnoses:
            out.print(f"    {escape(printable(' '.join(attempt.diagnoses)))}")
        out.print(f"[dim]    {escape(printable(attempt.folder))}[/]", overflow="fold")


def _outcome(outcome: str | None, tier: str) -> str:
    if outcome is None:
        return "[magenta]– never judged[/]"
    look = LOOKS[VerdictOutcome(outcome)]
    return f"[{look.colour}]{look.symbol} {look.word}{tier}[/]"
