"""`gpucert schema`: the shape of what gpucert writes, for programs that read it."""

import click

NAMES = ("record", "verdict", "payload", "comparison")


@click.command(short_help="Print the JSON Schema of a file that gpucert writes.")
@click.argument("name", type=click.Choice(NAMES))
def command(name: str) -> None:
    """Print the JSON Schema of record.json, verdict.json, the certificate's payload or `compare --json`.

    \b
    Example:
      gpucert schema verdict
    """
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(msgspec.json.schema(_type(name)), order="sorted")).decode())


def _type(name: str) -> type:
    match name:
        case "record":
            from gpucert.record import Record

            return Record
        case "verdict":
            from gpucert.verdict.verdict import Verdict

            return Verdict
        case "comparison":
            from gpucert.verdict.comparison import Comparison

            return Comparison
        case _:
            from gpucert.certificate.payload import Payload

            return Payload
