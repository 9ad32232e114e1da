"""The tables of `gpucert bench detection` in Markdown, alone or in their place on a page."""

from collections.abc import Iterable, Iterator, Sequence

from gpucert.trials.detection import HEALTHY, SUITES, Row, Told, named
from gpucert.trials.rate import Bounded

END = "<!-- end of table -->"
"""What stands before it, from the line on that `begin` gives, is replaced on a page."""

_NOTHING = "–"


class NoPlaceError(ValueError):
    """A page has no place for the tables; the text says how to make one."""


def begin(suite: str) -> str:
    """The line of a page after which the tables of a suite stand."""
    return f"<!-- table: {named(suite)} -->"


def place(page: str, suite: str) -> tuple[str, str]:
    """What stands before and after the tables of a suite; nothing on an empty page. Raises NoPlaceError."""
    line = begin(suite)
    before, begun, rest = (page or f"{line}\n{END}\n").partition(line)
    _, end, after = rest.partition(END)
    if not begun or not end:
        raise NoPlaceError(f"has no place for the tables: write the lines {line} and {END} into it")
    return before, after


def placed(page: str, told: Told) -> str:
    """The page with the tables in their place. Raises NoPlaceError."""
    before, after = place(page, told.suite)
    return "\n".join([before + begin(told.suite), *lines(told), END + after])


def lines(told: Told) -> Iterator[str]:
    """All tables, with the command that made them."""
    yield f"`{told.command}`"
    yield ""
    yield f"{told.title.capitalize()}. Shares in percent with their exact 95 % bounds, and of how many cards."
    ours = [row for row in told.rows if row.method.sort == "profile"]
    if ours:
        yield ""
        yield from _ours(ours, SUITES[told.suite].FOREIGN)
    if told.alarms:
        yield ""
        yield "False alarms of each limit, of the healthy cards on which it was tested:"
        yield ""
        yield from _alarms(told)
        yield ""
        yield "How far what is measured is off the truth on healthy cards, in percent of it:"
        yield ""
        yield from _errors(told)
    if any(row.method.sort == "peer" for row in told.rows):
        yield ""
        yield "Found beside the algorithms of other tools (our re-implementations, simulated), on the same cards:"
        yield ""
        yield from _side_by_side([row for row in told.rows if row.method.sort != "ablation"])
    fewer = [row for row in told.rows if row.method.sort == "ablation"]
    if fewer:
        yield ""
        yield f"{SUITES[told.suite].LOST}:"
        yield ""
        yield from _without_a_phase(fewer)
    failures = list(_failures(ours))
    if failures:
        yield ""
        yield "The first cards that went wrong, by seed; `gpucert bench detection --show KIND SEED` prints one of them."
        yield ""
        yield from failures


def _ours(rows: Sequence[Row], foreign: str) -> Iterator[str]:
    """With columns for SM and unit where anything has them."""
    placed = any(row.unit for row in rows)
    places = ("SM right, of those found", "unit right, of those found") if placed else ()
    head = ("planted", "profile", "found", "diagnosis right, of those found", *places, foreign)
    yield from _table(head, (_cells(row, placed=placed) for row in rows))


def _cells(row: Row, *, placed: bool) -> tuple[str, ...]:
    places = (_rate(row.sm), _rate(row.unit)) if placed else ()
    rates = (_rate(row.found), _rate(row.right), *places, _rate(row.foreign))
    return (_named(row.planted), row.method.name, *rates)


def _alarms(told: Told) -> Iterator[str]:
    yield from _table(
        ("measure", "judged by", "false alarms"),
        ((one.measure, one.profile, _rate(one.cards)) for one in told.alarms),
    )


def _errors(told: Told) -> Iterator[str]:
    yield from _table(
        ("cards", "measure", "median", "95th percentile", "measured"),
        (
            (one.sort, one.measure, f"{100 * one.median:.1f}", f"{100 * one.p95:.1f}", f"{one.cards} of {one.of}")
            for one in told.errors
        ),
    )


def _side_by_side(rows: Sequence[Row]) -> Iterator[str]:
    names = list(dict.fromkeys(row.method.name for row in rows))
    ours = {row.method.name for row in rows if row.method.sort == "profile"}
    found: dict[str, dict[str, Bounded]] = {}
    for row in rows:
        found.setdefault(row.planted, {})[row.method.name] = row.beside
    yield from _table(
        ["planted", "cards", *(f"gpucert {name}" if name in ours else name for name in names)],
        (
            [_named(planted), str(max(one.trials for one in by.values())), *(_share(by.get(name)) for name in names)]
            for planted, by in found.items()
        ),
    )


def _without_a_phase(rows: Sequence[Row]) -> Iterator[str]:
    """Where something is lost, and which phases cost nothing."""
    whole = {(row.planted, row.method.name): row for row in rows if not row.method.without}
    pairs = [(row, whole[row.planted, row.method.name]) for row in rows]
    lost = [(row, of) for row, of in pairs if row.found.hits < of.found.hits or _named_right(row) < _named_right(of)]
    yield from _table(
        ["planted", "profile", "without", "found", "with all phases", "named right", "with all phases"],
        (
            [row.planted, row.method.name, row.method.without]
            + [_rate(rate) for rate in (row.found, of.found, row.right, of.right)]
            for row, of in lost
        ),
    )
    missed = {row.method.without for row, _ in lost}
    phases = dict.fromkeys(row.method.without for row in rows if row.method.without)
    if idle := [phase for phase in phases if phase not in missed]:
        yield ""
        yield f"Nothing is lost without {', '.join(idle)}."


def _named_right(row: Row) -> int:
    return row.right.hits if row.right else 0


def _named(planted: str) -> str:
    return "healthy: false alarms" if planted == HEALTHY else planted


def _rate(rate: Bounded | None) -> str:
    return f"{_share(rate)} of {rate.trials}" if rate and rate.trials else _NOTHING


def _share(rate: Bounded | None) -> str:
    if rate is None or not rate.trials:
        return _NOTHING
    share, low, high = (100 * one for one in (rate.hits / rate.trials, rate.low, rate.high))
    return f"{share:.1f} ({low:.1f}–{high:.1f})"


def _failures(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        what = "false alarm" if row.planted == HEALTHY else "not found"
        groups = ((what, row.missed), ("misnamed", row.misnamed))
        told = [f"{words} {', '.join(map(str, seeds))}" for words, seeds in groups if seeds]
        if told:
            yield f"- {row.planted}, {row.method.name}: {'; '.join(told)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """With columns of one width, so that it can be read as it stands."""
    table = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for number, cells in enumerate(table):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
        if number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
