"""Two ways to do the same work, taken in turns, and what their rates say of each other."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

LEAST, MOST = 5, 25
"""Turns of each side: fewer have no quartiles worth the name, more show nothing new."""


@dataclass(frozen=True)
class Spread:
    """Repeated values in short: how many, the middle one, and between which two half of them lie."""

    n: int
    median: float
    q1: float
    q3: float


@dataclass(frozen=True)
class Row:
    """One comparison: `ratio` is ours / plain of turns side by side, `of_peak` ours (or plain alone) / peak bandwidth.

    `plain_is` says in words what the plain side did. Where nothing was measured `why` says the reason, and the numbers
    are None, never 0.
    """

    what: str
    unit: str
    outcome: Literal["measured", "not_offered", "failed"] = "measured"
    why: str = ""
    plain_is: str = ""
    ours: Spread | None = None
    plain: Spread | None = None
    ratio: Spread | None = None
    of_peak: float | None = None
    note: str = ""


Turns = list[tuple[float, float]]
"""What ours and plain reached, turn by turn, in the same unit."""


@dataclass(frozen=True)
class Pair:
    """Two ways to do the same work. Either call is one turn; it answers a rate.

    Ours may answer several, by name, where one turn shows several.
    """

    ours: Callable[[], dict[str, float]]
    plain: Callable[[], float]


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles (inclusive: the values are all that was measured). Raises ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread")
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(len(values), median, q1, q3)


def take(pairs: Sequence[Pair], seconds: float, clock: Callable[[], float]) -> dict[str, Turns]:
    """Ours, plain, ours, plain, … through all pairs, for this long; the first round is dropped: clocks still rise."""
    _one_round(pairs)
    began, found = clock(), dict[str, Turns]()
    for count in range(1, MOST + 1):
        for name, turn in _one_round(pairs).items():
            found.setdefault(name, []).append(turn)
        if count >= LEAST and clock() - began >= seconds:
            break
    return found


def _one_round(pairs: Sequence[Pair]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for pair in pairs:
        ours, plain = pair.ours(), pair.plain()
        found |= {name: (rate, plain) for name, rate in ours.items()}
    return found


def compared(what: str, unit: str, turns: Turns, plain_is: str, *, peak: float | None = None, note: str = "") -> Row:
    """The row of one comparison; `peak` in the same unit."""
    ours = spread([one for one, _ in turns])
    return Row(
        what=what,
        unit=unit,
        plain_is=plain_is,
        ours=ours,
        plain=spread([one for _, one in turns]),
        ratio=spread([one / plain for one, plain in turns]),
        of_peak=ours.median / peak if peak else None,
        note=note,
    )
