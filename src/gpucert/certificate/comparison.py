"""The comparison for a person: rows in words and numbers with places on an axis, and the page that is made of them."""

import math
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpucert.certificate.advice import meaning
from gpucert.certificate.bullets import Tick
from gpucert.certificate.fold import shown
from gpucert.certificate.templates import template, whole_page
from gpucert.certificate.words import capitalised, measure_name, probe_name, words
from gpucert.outcome import LOOKS as OUTCOMES
from gpucert.outcome import ExitCode, Look, Outcome, VerdictOutcome
from gpucert.units import Unit
from gpucert.verdict.comparison import LOOKS, Change, Comparison, Counted, Diagnosis, Found, Measured

MINUS, NARROW = "\u2212", "\u202f"
ROOM = 1.15
"""Times the farthest mark: the half width of an axis."""
OUTERMOST = 0.9
"""Of the half width: the label of a tick farther out would reach beyond the edge of a small screen."""
_TELLING = (Change.WORSE, Change.BETTER, Change.CHANGED)
"""In the order in which a reader wants them."""
_CLAIMING_NOTHING = (Change.NOT_COMPARABLE, Change.NOT_AGAIN, Change.NEW)
_BARE = ("", Unit.COUNT.value, Unit.RATIO.value)
_STILL_BAD = Look("Nothing got worse", "◐", "blue", "all that was judged before was judged again; the card is no good")
"""Green would be read as a word about the card."""
_ANSWERS = {
    ExitCode.CERTIFIED: Look("Nothing got worse", "✔", "green", "all that was judged before was judged again"),
    ExitCode.RESTRICTED: Look("Nothing known to be worse", "◐", "blue", "not everything was tested again"),
    ExitCode.NOT_CERTIFIED: Look("Something got worse", "▼", "red", "beyond uncertainty, and about the card"),
}


@dataclass(frozen=True)
class Places:
    """Where a row's marks stand, in percent of the drawn width."""

    difference: float
    band: tuple[float, float]
    """What lies inside is no change: its left end and its width."""


@dataclass(frozen=True)
class Row:
    """One measure or counter."""

    name: str
    of: str
    """What its probe does, or which kind of counter it is."""
    before: str
    after: str
    unit: str
    """Of the numbers before and after, which stand without it."""
    difference: str
    least: str
    """From what on a difference would have been told; empty where nothing is judged."""
    look: Look
    why: str
    note: str = ""
    places: Places | None = None


@dataclass(frozen=True)
class Panel:
    """Rows on one axis in percent of the value before."""

    ticks: tuple[Tick, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Gap:
    """Measures of which nothing is claimed, for one reason; `names` has one entry for each probe."""

    look: Look
    why: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """A finding or a diagnosis, and what became of it."""

    name: str
    look: Look
    text: str
    note: str
    outcomes: str = ""
    measured: bool = False
    """Whether a row about the measure says that it changed."""
    to_do: str = ""


@dataclass(frozen=True)
class View:
    """A comparison in the words of a page."""

    answer: Look
    changed: Panel | None
    same: Panel | None
    equal: int
    """Measures without an uncertainty that gave the same number."""
    unjudged: tuple[Row, ...]
    gaps: tuple[Gap, ...]
    counters: tuple[Row, ...]
    still: int
    """Counters that did not change."""
    findings: tuple[Told, ...]
    diagnoses: tuple[Told, ...]


def view(comparison: Comparison) -> View:
    """The rows of a comparison, the worst first."""
    measures = comparison.measures
    telling = sorted((one for one in measures if one.change in _TELLING), key=lambda one: _TELLING.index(one.change))
    same = [one for one in measures if one.change is Change.SAME]
    moved = [one for one in comparison.counters if one.change is not Change.SAME]
    return View(
        answer=_answer(comparison),
        changed=_panel(telling),
        same=_panel([one for one in same if one.least is not None]),
        equal=sum(one.least is None for one in same),
        unjudged=tuple(_row(one, 0.0) for one in measures if one.change is Change.NOT_JUDGED),
        gaps=tuple(_gaps(measures)),
        counters=tuple(_counter(one) for one in moved),
        still=len(comparison.counters) - len(moved),
        findings=tuple(_finding(one, {one.measure for one in telling}) for one in comparison.findings),
        diagnoses=tuple(_diagnosis(one) for one in comparison.diagnoses),
    )


def _answer(comparison: Comparison) -> Look:
    unchanged = comparison.exit_code is ExitCode.CERTIFIED
    bad = comparison.after.outcome is VerdictOutcome.NOT_CERTIFIED
    return _STILL_BAD if unchanged and bad else _ANSWERS[comparison.exit_code]


def render(comparison: Comparison, *, made_at: str, version: str) -> str:
    """The page. The same arguments give the same text. Raises PageTooLargeError beyond 1 MB."""
    return whole_page(
        template("comparison.html.j2").render(
            c=comparison,
            v=view(comparison),
            before_look=OUTCOMES[comparison.before.outcome],
            after_look=OUTCOMES[comparison.after.outcome],
            made_at=made_at,
            version=version,
        )
    )


# Measures


def _panel(measures: Sequence[Measured]) -> Panel | None:
    """Rows on the axis that holds all of their marks; a row without a share of its value before has none."""
    if not measures:
        return None
    ends = [abs(end) for one in measures if (marks := _marks(one)) for end in marks]
    half = ROOM * max(ends, default=0.0)
    return Panel(tuple(_ticks(half)) if half else (), tuple(_row(one, half) for one in measures))


def _marks(measure: Measured) -> tuple[float, float] | None:
    """Difference, and from what on it is told, in percent of the value before."""
    if not measure.before or measure.difference is None or measure.least is None:
        return None
    share = 100 / abs(measure.before)
    marks = (share * measure.difference, share * measure.least)
    return marks if all(map(math.isfinite, marks)) else None


def _ticks(half: float) -> Iterator[Tick]:
    """Three on each side at most, at round numbers, 0 among them."""
    step = 10.0 ** math.floor(math.log10(half))
    step *= next(factor for factor in (1, 2, 5, 10) if half / (factor * step) <= 3)
    most = math.floor(OUTERMOST * half / step)
    for count in range(-most, most + 1):
        yield Tick(_place(count * step, half), f"{_signed(count * step)}{NARROW}%" if count else "0")


def _place(percent: float, half: float) -> float:
    return round(50 + 50 * percent / half, 1)


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", MINUS)


def _row(measure: Measured, half: float) -> Row:
    probe, _, name = measure.measure.partition(".")
    marks = _marks(measure) if half else None
    return Row(
        name=capitalised(measure_name(probe, name)),
        of=probe_name(probe),
        before=shown(measure.before),
        after=shown(measure.after),
        unit="" if measure.unit in _BARE else measure.unit,
        difference=_difference(measure),
        least=_least(measure),
        look=LOOKS[measure.change],
        why=measure.why,
        note="not the card" if measure.subject == "station" else "",
        places=_places(marks, half) if marks else None,
    )


def _places(marks: tuple[float, float], half: float) -> Places:
    difference, least = marks
    left = _place(-least, half)
    return Places(_place(difference, half), (left, round(_place(least, half) - left, 1)))


def _difference(measure: Measured) -> str:
    """In percent of the value before where it has an uncertainty; else in its unit."""
    if measure.difference is None:
        return ""
    if marks := _marks(measure):
        return f"{_percent(marks[0])}{NARROW}%"
    return _more(measure.difference)


def _percent(value: float) -> str:
    """To a hundredth, from 10 % on to a tenth: no measurement here is known better."""
    rounded = round(value, 1 if abs(value) >= 10 else 2)
    return f"{rounded:+g}".replace("-", MINUS) if rounded else "0"


def _least(measure: Measured) -> str:
    if measure.least is None:
        return ""
    marks = _marks(measure)
    return f"±{NARROW}{marks[1]:.2g}{NARROW}%" if marks else f"±{NARROW}{shown(measure.least, measure.unit)}"


def _gaps(measures: Iterable[Measured]) -> Iterator[Gap]:
    """Measures of which nothing is claimed, those with one reason together, and in it those of one probe."""
    by_reason: dict[tuple[Change, str], dict[str, list[str]]] = {}
    for one in measures:
        if one.change in _CLAIMING_NOTHING:
            probe, _, name = one.measure.partition(".")
            by_reason.setdefault((one.change, one.why), {}).setdefault(probe, []).append(measure_name(probe, name))
    for (change, why), probes in sorted(by_reason.items(), key=lambda item: _CLAIMING_NOTHING.index(item[0][0])):
        names = tuple(f"{probe_name(probe)}: {', '.join(names)}" for probe, names in probes.items())
        yield Gap(LOOKS[change], why, names)


# Counters, findings, diagnoses


def _counter(counted: Counted) -> Row:
    name, unit = counted.counter, Unit.COUNT.value
    before, after = counted.before, counted.after
    if name.endswith("_ns"):
        name, unit = name.removesuffix("_ns"), Unit.SECOND.value
        before, after = (None if one is None else round(one / 1e9) for one in (before, after))
    return Row(
        name=capitalised(words(name)),
        of="Added by each run" if counted.during else "At the end of each run",
        before=shown(before),
        after=shown(after),
        unit="" if unit in _BARE else unit,
        difference="" if isinstance(before, bool) or before is None or after is None else _more(after - before),
        least="",
        look=LOOKS[counted.change],
        why=counted.why,
        note="not the card alone" if counted.subject == "station" else "",
    )


def _more(difference: float) -> str:
    """With its sign."""
    return f"{'+' if difference > 0 else MINUS}{shown(abs(difference))}" if difference else "0"


def _full_name(measure: str) -> str:
    probe, _, name = measure.partition(".")
    return f"{probe_name(probe)}: {measure_name(probe, name)}"


def _finding(found: Found, changed: Container[str]) -> Told:
    before, after = (_word(one) for one in (found.before, found.after))
    measure = f"{found.probe}.{found.measure}"
    return Told(
        name=_full_name(measure),
        measured=measure in changed,
        look=LOOKS[found.standing],
        text=found.reason,
        note=_note(found),
        outcomes=f"{before} → {after}",
    )


def _word(outcome: Outcome | None) -> str:
    return "not said" if outcome is None else OUTCOMES[outcome].word


def _diagnosis(diagnosis: Diagnosis) -> Told:
    where = f" at {diagnosis.where}" if diagnosis.where else ""
    return Told(
        name=f"{diagnosis.code}{where}",
        look=LOOKS[diagnosis.standing],
        text=meaning(diagnosis.code),
        note=_note(diagnosis),
        to_do="" if LOOKS[diagnosis.standing].colour == "green" else diagnosis.action,
    )


def _note(one: Found | Diagnosis) -> str:
    if one.subject == "station":
        return "not the card"
    return "advice" if one.advisory or one.subject == "note" else ""
