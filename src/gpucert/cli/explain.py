"""`gpucert explain`: the table of diagnoses, for a person."""

import click

from gpucert.cli.console import ProblemError
from gpucert.diagnosis import TABLE, Kind, UnknownDiagnosisError, kind_of

_WHOSE = {
    "card": "the card",
    "station": "the station: it costs the card no tier",
    "note": "a note: it costs nothing",
}


@click.command(short_help="Say what a diagnosis means, what it rests on and how to repair it.")
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def command(code: str | None, *, as_json: bool) -> None:
    """Say what a diagnosis means, what it rests on and how to repair it. Without a CODE, list all of them.

    \b
    Example:
      gpucert explain memory.alias
    """
    try:
        kinds = [kind_of(code)] if code else list(TABLE.values())
    except UnknownDiagnosisError as error:
        raise ProblemError(str(error)) from error
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(kinds[0] if code else kinds)).decode())
    elif code:
        _show(kinds[0])
    else:
        _list(kinds)


def _show(kind: Kind) -> None:
    click.echo(f"{kind.code}: {kind.meaning}\n")
    click.echo(f"Evidence  {kind.evidence}")
    click.echo(f"Repair    {kind.action}")
    click.echo(f"Whose     {_WHOSE[kind.subject]}")


def _list(kinds: list[Kind]) -> None:
    width = max(len(kind.code) for kind in kinds)
    for kind in kinds:
        click.echo(f"{kind.code:<{width}}  {kind.meaning}")
    click.echo(f"{'xid.N':<{width}}  The driver logged Xid N and no other diagnosis accounts for it.")
