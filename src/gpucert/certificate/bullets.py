"""Bullet charts: each measurement as a mark on an axis in percent of what healthy cards measure, beside its limit.

No bars, because a bar that starts on a cut axis shows a small difference as a large one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpucert.certificate.payload import Bar, Payload
from gpucert.certificate.words import ADVICE, SAID_OF, capitalised, measure_name
from gpucert.outcome import LOOKS, Look
from gpucert.units import Unit, show

GUARD = 1.645
"""Standard uncertainties that the decision rule keeps in reserve; the whisker is as long to each side."""
ROOM = 0.06
"""Share of the span between the outermost marks that stays free on each side."""
NARROWEST = 10.0
"""Percent that an axis spans at least, so that noise does not fill it."""
VISIBLE = 0.8
"""Percent of the drawn width below which a whisker would hide behind its mark."""
MOST_TICKS = 6

_SPEED = "Speed beside healthy cards of this model"
_SPEED_NOTE = "Per clock, so that cooling, power limit and luck of the silicon do not count."
_RAW = "Speed a second beside healthy cards of this model"
_RAW_NOTE = "At the clocks that cooler, board and power limit left: a card that is low here alone has low clocks."
_COOLING = "Cooling beside healthy cards of this model"
_COOLING_NOTE = (
    "Degrees for each watt on the way from the die to the air: less is better. "
    "While fewer than five reference cards stand behind a limit, it only advises."
)


@dataclass(frozen=True)
class Tick:
    """One labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Bullet:
    """One row: places and widths are percent of the drawn width."""

    name: str
    value: str
    share: str
    limit: str
    evidence: str
    look: Look
    advisory: bool
    steps: str
    value_at: float
    limit_at: float
    centre_at: float
    whisker: tuple[float, float] | None
    bad_from: float
    bad_width: float

    @property
    def bad(self) -> bool:
        """Whether the mark is drawn as one that speaks against the card."""
        return self.look in {LOOKS[one] for one in SAID_OF}


@dataclass(frozen=True)
class Panel:
    """Measurements that share an axis."""

    title: str
    note: str
    ticks: tuple[Tick, ...]
    bullets: tuple[Bullet, ...]


def panels(payload: Payload) -> tuple[Panel, ...]:
    """Speed for each clock and for each second, and cooling, each where something of it was judged."""
    cooling = [bar for bar in payload.bars if bar.probe == "thermal"]
    speed = [bar for bar in payload.bars if bar.measure.endswith("_per_clock")]
    raw = [bar for bar in payload.bars if bar not in cooling and bar not in speed]
    parts = ((_SPEED, _SPEED_NOTE, speed), (_RAW, _RAW_NOTE, raw), (_COOLING, _COOLING_NOTE, cooling))
    return tuple(_panel(title, note, bars) for title, note, bars in parts if bars)


def _panel(title: str, note: str, bars: Sequence[Bar]) -> Panel:
    low, high = _span(bars)
    ticks = tuple(Tick(_place(tick, low, high), f"{tick:g}\u202f%") for tick in _ticks(low, high))
    return Panel(title, note, ticks, tuple(_bullet(bar, low, high) for bar in bars))


def _percent(bar: Bar, value: float) -> float:
    return 100 * value / bar.centre


def _reach(bar: Bar) -> float:
    return GUARD * (bar.u or 0.0)


def _span(bars: Sequence[Bar]) -> tuple[float, float]:
    """From below the lowest mark to above the highest, 100 % in between."""
    marks = [100.0]
    for bar in bars:
        places = (bar.value - _reach(bar), bar.value + _reach(bar), bar.limit)
        marks.extend(_percent(bar, place) for place in places)
    low, high = min(marks), max(marks)
    room = max(ROOM * (high - low), (NARROWEST - (high - low)) / 2)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, 100 always among them because every step divides it."""
    step = next((one for one in (1, 2, 5, 10, 20, 25, 50) if (high - low) / one <= MOST_TICKS), None)
    if step is None:
        step = 100 * math.ceil((high - low) / 100 / MOST_TICKS)
    first = 100 - step * math.floor((100 - low) / step)
    return [float(first + step * place) for place in range(math.floor((high - first) / step) + 1)]


def _place(percent: float, low: float, high: float) -> float:
    return round(100 * (percent - low) / (high - low), 1)


def _bullet(bar: Bar, low: float, high: float) -> Bullet:
    def at(value: float) -> float:
        return _place(_percent(bar, value), low, high)

    unit, limit_at, lower = Unit(bar.unit), at(bar.limit), bar.better == "lower"
    whisker = (at(bar.value - _reach(bar)), at(bar.value + _reach(bar)))
    return Bullet(
        name=capitalised(measure_name(bar.probe, bar.measure)),
        value=show(bar.value, unit),
        share=f"{_percent(bar, bar.value):.1f}\u202f%",
        limit=f"{'≤' if lower else '≥'} {show(bar.limit, unit)}",
        evidence=f"{bar.grade}, n = {bar.n}",
        look=ADVICE if bar.advisory and bar.outcome in SAID_OF else LOOKS[bar.outcome],
        advisory=bar.advisory,
        steps=_steps(bar),
        value_at=at(bar.value),
        limit_at=limit_at,
        centre_at=at(bar.centre),
        whisker=whisker if whisker[1] - whisker[0] >= VISIBLE else None,
        bad_from=limit_at if lower else 0.0,
        bad_width=round(100 - limit_at, 1) if lower else limit_at,
    )


def _steps(bar: Bar) -> str:
    """Of which step the value is, where several measured it."""
    if bar.of_steps < 2 or bar.step is None:
        return ""
    return f"step {bar.step + 1}, worst of {bar.of_steps}"
