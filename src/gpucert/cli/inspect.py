"""`gpucert inspect`: what a card says of itself, from the output of nvidia-smi; nothing is loaded or certified."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpucert.capture import Capture


@click.command(short_help="Read what a card says of itself from nvidia-smi output, without load.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Read what cards say of themselves in the output of nvidia-smi, and say what speaks against them.

    FILE is what `nvidia-smi -q` or `nvidia-smi -q -x` printed, for one card or many, or an nvidia-bug-report.log.gz;
    - reads standard input.

    Exit code 10 when nothing was found, 20 when something was, 2 for a file that cannot be read.

    \b
    Example:
      nvidia-smi -q > card.txt; gpucert inspect card.txt
      nvidia-smi -q | gpucert inspect -
    """
    from gpucert.cli.console import printable
    from gpucert.cli.look import look_at

    captures, unreadable = read(files)
    looks = look_at(captures, unreadable)
    for line in unreadable:
        click.echo(f"gpucert: {printable(line)}", err=True)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(looks)).decode())
    elif captures:
        from gpucert.cli.inspect_text import show

        show(looks.cards)
    ctx.exit(looks.exit_code)


def read(files: tuple[Path, ...]) -> tuple[tuple["Capture", ...], tuple[str, ...]]:
    """The captures of all files, and one line for each file without; one bad file does not hide the others."""
    from gpucert.device import smi

    captures: list[Capture] = []
    unreadable: list[str] = []
    for file in files:
        try:
            captures += smi.from_bytes(_standard_input(), "standard input") if str(file) == "-" else smi.load(file)
        except smi.UnreadableCaptureError as error:
            unreadable.append(str(error))
    return tuple(captures), tuple(unreadable)


def _standard_input() -> bytes:
    import sys

    from gpucert.device.smi import UnreadableCaptureError
    from gpucert.device.text_file import MAX_BYTES

    if sys.stdin is None:
        raise UnreadableCaptureError("standard input: closed; name a file")
    return sys.stdin.buffer.read(MAX_BYTES + 1)
