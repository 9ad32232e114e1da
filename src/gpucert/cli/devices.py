"""`gpucert devices`: the GPUs that the driver of this station shows."""

import click

from gpucert.cli.console import ProblemError, console, printable
from gpucert.outcome import ExitCode
from gpucert.reading import Absent
from gpucert.record import Identity


@click.command(short_help="List the GPUs of this station.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def command(*, as_json: bool) -> None:
    """List the GPUs that the driver shows, with the index that --gpu takes.

    \b
    Example:
      gpucert devices
    """
    from gpucert.device import nvml
    from gpucert.device.gpu import NoDriverError

    try:
        cards = nvml.list_gpus()
    except NoDriverError as error:
        raise ProblemError(str(error), ExitCode.INCOMPLETE) from error
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode({"devices": cards})).decode())
    else:
        _list(cards)


def _list(cards: tuple[Identity, ...]) -> None:
    from rich.markup import escape

    out = console()
    for index, card in enumerate(cards):
        if isinstance(card.name, Absent):
            out.print(f"[bold]{index}[/]  [red]{escape(printable(str(card.name)))}[/]")
            continue
        memory = f"{card.memory_mib} MiB" if isinstance(card.memory_mib, int) else f"memory {card.memory_mib}"
        out.print(f"[bold]{index}  {escape(printable(card.name))}[/]  {escape(printable(memory))}")
        for word, value in (("bus id", card.bus_id), ("serial", card.serial), ("uuid", card.uuid)):
            out.print(f"   [dim]{word:<7}[/]{escape(printable(str(value)))}")
