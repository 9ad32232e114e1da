"""The comparison for a terminal: the answer, what changed and by how much, and what nothing is claimed of."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from gpucert.certificate.comparison import Gap, Panel, Row, Told, View, view
from gpucert.cli.console import console, printable
from gpucert.outcome import LOOKS, Look
from gpucert.verdict.comparison import Comparison, Side

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TABLE_FROM = 76
"""Columns of a terminal from which numbers stand below each other."""
NAMES_SHOWN = 6
"""Probes whose measures are named for one reason; the JSON has all of them."""


def show(comparison: Comparison) -> None:
    """Print a comparison on standard output."""
    out, found = console(), view(comparison)
    _head(out, comparison, found)
    _rows(out, "What changed", _of(found.changed))
    _told(out, "Diagnoses", found.diagnoses)
    _told(out, "Findings", (one for one in found.findings if not one.measured))
    _rows(out, "Counters that changed", found.counters)
    _unlike(out, comparison)
    _gaps(out, found.gaps)
    _unchanged(out, comparison, found)


def _say(out: "Console", text: str, style: str = "", indent: int = 0) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out.print(Padding.indent(Text(printable(text), style=style, overflow="fold"), indent))


def _marked(out: "Console", look: Look, text: str) -> None:
    """A line that begins with symbol and word in the colour of what they mean."""
    from rich.padding import Padding
    from rich.text import Text

    line = Text.assemble((f"{look.symbol} {look.word}", look.colour), "  ", printable(text), overflow="fold")
    out.print(Padding.indent(line, 2))


def _head(out: "Console", comparison: Comparison, found: View) -> None:
    simulated = "  SIMULATED" if comparison.simulated else ""
    _say(out, f"\n{found.answer.symbol} {found.answer.word}{simulated}", f"bold {found.answer.colour}")
    _say(out, comparison.sentence)
    _say(out, f"\n{comparison.name}, {comparison.card}", "bold")
    serial = f"; its serial, a label, is {comparison.serial}" if comparison.serial else ""
    _say(out, f"One card by its {comparison.known_by}{serial}.")
    for side, when in ((comparison.before, "Before"), (comparison.after, "After")):
        _side(out, side, when)
    for note in comparison.notes:
        _say(out, f"! {note}", "magenta")


def _side(out: "Console", side: Side, when: str) -> None:
    look = LOOKS[side.outcome]
    tier = f" tier {side.tier}" if side.tier else ""
    began = f"{side.started_at[:10]} {side.started_at[11:16]} UTC"
    _marked(out, look, f"{when}: {began}, plan {side.plan}{tier}")


def _rows(out: "Console", title: str, rows: Iterable[Row]) -> None:
    rows = tuple(rows)
    if rows:
        _say(out, f"\n{title}", "bold")
    for of, some in groupby(rows, key=lambda row: row.of):
        _say(out, of, indent=2)
        if out.width >= TABLE_FROM:
            out.print(_table(some))
        else:
            for row in some:
                _marked(out, row.look, f"{_named(row)}: {_numbers(row)} {row.difference} {row.least}".rstrip())


def _named(row: Row) -> str:
    return f"{row.name} ({row.note})" if row.note else row.name


def _numbers(row: Row) -> str:
    return f"{row.before} → {row.after} {row.unit}".rstrip()


def _table(rows: Iterable[Row]) -> "Table":
    """What became of each measure, its numbers, the difference, and from what on one is told."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=11)
    table.add_column(ratio=1, overflow="fold")
    table.add_column(width=27, overflow="fold")
    table.add_column(width=8, justify="right")
    table.add_column(width=9)
    for row in rows:
        mark = Text(f"  {row.look.symbol} {row.look.word}", row.look.colour)
        least = f"({row.least})" if row.least else ""
        table.add_row(mark, printable(_named(row)), _numbers(row), row.difference, Text(least, "dim"))
    return table


def _told(out: "Console", title: str, told: Iterable[Told]) -> None:
    told = tuple(told)
    if told:
        _say(out, f"\n{title}", "bold")
    for one in told:
        note = f" ({one.note})" if one.note else ""
        outcomes = f", {one.outcomes}" if one.outcomes else ""
        _marked(out, one.look, f"{one.name}{note}{outcomes}")
        _say(out, one.text, indent=6)
        if one.to_do:
            _say(out, f"→ {one.to_do}", indent=6)


def _unlike(out: "Console", comparison: Comparison) -> None:
    if comparison.circumstances:
        _say(out, "\nWhat was not alike, or not told", "bold")
    for one in comparison.circumstances:
        _say(out, f"  ≠ {one.name}: {one.before} → {one.after}")
        _say(out, one.means, indent=6)


def _gaps(out: "Console", gaps: Iterable[Gap]) -> None:
    gaps = tuple(gaps)
    if gaps:
        _say(out, "\nNothing is claimed about", "bold")
    for gap in gaps:
        _marked(out, gap.look, "; ".join(_first(gap.names)))
        _say(out, gap.why, indent=6)


def _first(names: tuple[str, ...]) -> Iterator[str]:
    yield from names[:NAMES_SHOWN]
    if len(names) > NAMES_SHOWN:
        yield f"and {len(names) - NAMES_SHOWN} more"


def _unchanged(out: "Console", comparison: Comparison, found: View) -> None:
    _rows(out, "No change seen, where the difference in brackets would have been told", _of(found.same))
    rest = [f"{found.equal} measures gave the same number"] if found.equal else []
    rest += [f"{found.still} counters stand as they stood"] if found.still else []
    rest += [f"{len(found.unjudged)} differ and have nothing to judge a difference by"] if found.unjudged else []
    if rest:
        _say(out, f"\n{'; '.join(rest)}.")
    _say(
        out,
        f"Of an unchanged card, at most {100 * comparison.budget:g} % of comparisons tell any of its "
        f"{comparison.judged} judged measures as changed, as far as their uncertainties hold.",
        "dim",
    )


def _of(panel: Panel | None) -> tuple[Row, ...]:
    return () if panel is None else panel.rows
