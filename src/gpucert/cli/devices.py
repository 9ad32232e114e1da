"""`gpucert devices`: the GPUs that the driver of this station shows."""

import click

from gpucert.cli.console import ProblemError, console, printable
from gpucert.outcome import ExitCode
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
        _table(cards)


def _table(cards: tuple[Identity, ...]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("gpu", "name", "memory", "bus id", "serial", "uuid", box=None, pad_edge=False)
    for index, card in enumerate(cards):
        memory = f"{card.memory_mib} MiB" if isinstance(card.memory_mib, int) else str(card.memory_mib)
        words = (card.name, memory, card.bus_id, card.serial, card.uuid)
        table.add_row(str(index), *(escape(printable(str(word))) for word in words))
    console().print(table)
