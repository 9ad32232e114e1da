"""`gpucert devices`: the GPUs of this station, also those that no driver shows, and why it does not."""

import os
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import ProblemError, console, printable
from gpucert.outcome import ExitCode
from gpucert.reading import Absent, Reading

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from gpucert.station.cards import Card
    from gpucert.station.facts import Sight


@click.command(short_help="List the GPUs of this station, those that no driver shows too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """List every GPU on the PCI bus with the index that --gpu takes, and say why one of them cannot be used.

    Exit code 0 when the driver reads every card; 30 when it does not, or when there is no card.

    \b
    Example:
      gpucert devices
    """
    from gpucert.run.processes import environment
    from gpucert.station import cards, gather
    from gpucert.station.driver import trouble

    sight = gather.sight(os.environ, environment(os.environ), limit_s=gather.time_left())
    present, problem = cards.every(sight), trouble(sight)
    missing = problem is not None or any(card.unseen is not None and not card.unseen.hidden for card in present)
    code = ExitCode.INCOMPLETE if missing or not present else ExitCode.CERTIFIED
    if as_json:
        import msgspec

        told = {
            "devices": [_row(card) for card in present],
            "driver": None if problem is None else {"found": problem.found, "remedy": problem.remedy},
            "notes": _notes(sight),
            "exit_code": code,
        }
        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        _list(present, sight)
    if problem is not None:
        raise ProblemError(f"{problem.found}. {problem.remedy}", code)
    if not present:
        raise ProblemError(_nothing(sight), code)
    ctx.exit(int(code))


def _nothing(sight: "Sight") -> str:
    if isinstance(sight.bus, Absent):
        return f"the driver lists no GPU, and this station shows no PCI bus: {sight.bus}"
    return "there is no NVIDIA GPU on the PCI bus; `gpucert doctor` says what to look at"


def _row(card: "Card") -> dict[str, object]:
    """One card as JSON: what it says of itself, where it stands, and why it cannot be used."""
    identity, place = card.identity, card.place
    return {
        "index": card.index,
        "name": card.name,
        "memory_mib": None if identity is None else identity.memory_mib,
        "uuid": None if identity is None else identity.uuid,
        "serial": None if identity is None else identity.serial,
        "bus_id": card.bus_id,
        "kernel_driver": None if place is None else place.driver,
        "unseen": card.unseen,
        "identity": identity,
        "pci": place,
    }


def _notes(sight: "Sight") -> list[str]:
    """What a person who misses a card should know."""
    from gpucert.station import cards

    notes = []
    given = sight.container.visible
    if given is not None and given != "all":
        hidden = (
            "MIG instances alone are given to it; gpucert needs whole cards" if "MIG-" in given else "others are hidden"
        )
        notes.append(f"NVIDIA_VISIBLE_DEVICES={given or '(empty)'} chose the cards of this container: {hidden}.")
    own = next((one for one in sight.variables if one.name == "CUDA_VISIBLE_DEVICES"), None)
    if own is not None:
        notes.append(f"CUDA_VISIBLE_DEVICES={own.value} hides nothing here: gpucert takes it out for its runs.")
    if shared := cards.shares(sight):
        notes.append(f"{shared} virtual functions (shares of a card) are left out.")
    if not isinstance(sight.bus, Absent) and sight.bus.nvswitches:
        notes.append(f"{len(sight.bus.nvswitches)} NVSwitches connect them.")
    if not isinstance(sight.bus, Absent) and sight.bus.unreadable:
        notes.append(f"{len(sight.bus.unreadable)} places on the PCI bus could not be read.")
    if isinstance(sight.bus, Absent) and sight.listed:
        notes.append(f"Only the driver's list: this station shows no PCI bus ({sight.bus}).")
    return notes


def _list(present: "tuple[Card, ...]", sight: "Sight") -> None:
    from rich.text import Text

    out = console()
    for card in present:
        out.print(_title(card))
        _details(card, out)
    for note in _notes(sight):
        out.print(Text(printable(note), style="dim"))


def _title(card: "Card") -> "Text":
    from rich.text import Text

    number = "–" if card.index is None else str(card.index)
    title = Text(f"{number:<3}{printable(card.name)}", style="bold")
    if card.identity is not None and not isinstance(card.identity.name, Absent):
        title.append(f"  {_memory(card.identity.memory_mib)}", style="not bold")
    if card.unseen is not None:
        title.append(
            "  hidden" if card.unseen.hidden else "  NOT USABLE", style="yellow" if card.unseen.hidden else "red"
        )
    return title


def _memory(mib: Reading[int]) -> str:
    return printable(f"memory {mib}") if isinstance(mib, Absent) else f"{mib} MiB"


def _details(card: "Card", out: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [("bus id", card.bus_id or "unknown")]
    if card.identity is not None and isinstance(card.identity.name, str):
        rows += [("serial", str(card.identity.serial)), ("uuid", str(card.identity.uuid))]
    if card.place is not None:
        held = card.place.driver
        rows.append(("driver", "none holds it" if held is None else str(held)))
    if card.unseen is not None:
        rows += [("why", card.unseen.why), ("remedy", card.unseen.remedy), ("code", card.unseen.code)]
    table = Table.grid(padding=(0, 1))
    table.add_column(width=2)
    table.add_column(width=7, style="dim")
    table.add_column(ratio=1, overflow="fold")
    for word, value in rows:
        table.add_row("", word, Text(printable(value)))
    out.print(table)
