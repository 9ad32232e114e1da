"""`gpucert doctor`: what stands between this station and a certificate, and what to do about it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import console, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gpucert.capture import Capture
    from gpucert.station.cards import Card
    from gpucert.station.facts import Station
    from gpucert.station.places import Wanted
    from gpucert.station.remark import Remark, Report
    from gpucert.verdict.verdict import Diagnosed

_LOOKS = {"problem": ("✘", "red"), "unknown": ("?", "magenta"), "warning": ("!", "yellow"), "ok": ("✔", "green")}
_NAME_AT_MOST = 22
"""Of the column; the longest code of a diagnosis that is told here fits."""


@click.command(short_help="Say what stands between this station and a certificate.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Look at driver, cards, CuPy and host, and say what stands between this station and a certificate.

    Nothing is loaded and nothing is changed. It takes five seconds at most, whatever hangs. Exit code 0 when nothing
    stands in the way, warnings or not; 30 when something does, or when what decides could not be looked at.

    \b
    Example:
      gpucert doctor
    """
    from gpucert.run.processes import environment
    from gpucert.station import doctor, gather
    from gpucert.station.remark import report

    places = _places()
    station = gather.station(os.environ, environment(os.environ), places, limit_s=gather.time_left())
    told = report((*doctor.examine(station), *_of_the_verdict(station)))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        _show(told)
    ctx.exit(int(told.exit_code))


def _places() -> "Wanted":
    from gpucert.run import locks
    from gpucert.station.places import Wanted
    from gpucert.store.place import default_path

    return Wanted(runs=Path("gpucert-runs"), ledger=default_path(), locks=locks.folder())


def _of_the_verdict(station: "Station") -> "Iterator[Remark]":
    """What the verdict would say of each card and its settings, without a run."""
    from gpucert.station import cards
    from gpucert.station.on_cards import capture_of

    for card in cards.every(station.sight):
        capture = capture_of(card, station)
        if card.unseen is None and capture is not None:
            yield from _judged(card, capture)


def _judged(card: "Card", capture: "Capture") -> "Iterator[Remark]":
    """The station's faults stand in the way, and so does a card that needs a reset or is not to be reached.

    Whatever else speaks against the card itself is what a run is for, and so is what the kernel log says of its past.
    """
    from msgspec.structs import replace

    from gpucert.cli.matching import match
    from gpucert.station.on_driver import heading
    from gpucert.station.remark import Remark, State
    from gpucert.verdict.facts import judge_facts
    from gpucert.verdict.glance import judge_glance

    found = match(capture.identity)
    if found.model is None:
        words = f"ungraded, so without a tier for performance: {found.reason}"
        yield Remark(topic=heading(card), name="model", state=State.WARNING, found=words, card=card.key)
    _, facts = judge_facts(capture.identity, capture.settings, capture.counters, found, capture.processes)
    _, now = judge_glance(replace(capture, log=(), bus_errors=(), not_initialised=""), found)
    _, past = judge_glance(capture, found)
    for one in {one.code: one for one in (*past, *now, *facts) if one.subject != "note"}.values():
        here = one in facts or one in now
        yield Remark(
            topic=heading(card),
            name=one.code,
            state=State.PROBLEM if here and not one.advisory and _in_the_way(one, capture) else State.WARNING,
            found=one.evidence,
            remedy=one.action,
            card=card.key,
        )


def _in_the_way(one: "Diagnosed", capture: "Capture") -> bool:
    if one.code == "memory.row_remap":
        return capture.counters.remap_pending is True
    if one.code == "memory.retired_pages":
        return capture.counters.retired_pending is True
    return one.subject == "station" or one.code.startswith("device.")


def _show(told: "Report") -> None:
    from rich.text import Text

    from gpucert.station.remark import closing, topics

    out = console()
    width = min(_NAME_AT_MOST, max(len(_name(one)) for one in told.remarks))
    for topic in topics(told.remarks):
        out.print(Text(printable(topic), style="bold"))
        out.print(_rows([one for one in told.remarks if one.topic == topic], width))
    out.print(Text(closing(told), style="bold green" if told.ready else "bold red"))


def _name(one: "Remark") -> str:
    """The code of a diagnosis stays as `gpucert explain` takes it; other names are words."""
    return one.name if "." in one.name else one.name.replace("_", " ")


def _rows(remarks: "list[Remark]", width: int) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(width=2, justify="right")
    table.add_column(width=width, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for one in remarks:
        symbol, colour = _LOOKS[one.state.value]
        words = Text(printable(one.found))
        if one.remedy:
            words.append(f"\n→ {printable(one.remedy)}", style="cyan")
        table.add_row(Text(symbol, style=colour), Text(_name(one)), words)
    return table
