"""Of a suite that measures what has a true value: how far it is off on healthy cards, and which limits they fail."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from gpucert.device.simulated.scenario import Scenario
from gpucert.trials.rate import Bounded, bounded
from gpucert.trials.suite import Seen


class Healthy(Struct, frozen=True):
    """What each profile made of one healthy card."""

    sort: str
    seen: dict[str, Seen]


class Alarms(Struct, frozen=True, kw_only=True):
    """How often healthy cards failed the limit of one measure."""

    measure: str
    profile: str
    cards: Bounded


class Errors(Struct, frozen=True, kw_only=True):
    """How far a measure is off its truth on healthy cards of one sort, as shares of it."""

    sort: str
    measure: str
    cards: int
    """On which it could be measured."""
    of: int
    median: float
    p95: float


def sort_of(card: Scenario) -> str:
    """Which sort of cooler a card has."""
    cooling = card.silicon.thermal.cooling
    return f"own fan, {card.fan_mode}" if cooling == "own_fan" else cooling


def alarms(cards: Sequence[Healthy]) -> Iterator[Alarms]:
    """Of each limit, of the cards on which it was tested."""
    for profile in dict.fromkeys(profile for one in cards for profile in one.seen):
        seen = [one.seen[profile] for one in cards if profile in one.seen]
        for measure in sorted({name for one in seen for name in one.off}):
            failed = [measure in one.failed for one in seen if measure in one.off]
            yield Alarms(measure=measure, profile=profile, cards=bounded(sum(failed), len(failed)))


def errors(cards: Iterable[Healthy]) -> Iterator[Errors]:
    """By sort and measure; what is measured does not depend on what it is judged by, so that any profile tells."""
    by_sort: dict[str, list[dict[str, float]]] = {}
    for one in cards:
        for seen in list(one.seen.values())[:1]:
            by_sort.setdefault(one.sort, []).append(seen.off)
    for sort, off in sorted(by_sort.items()):
        for measure in sorted({name for one in off for name in one}):
            yield _errors(sort, measure, sorted(abs(one[measure]) for one in off if measure in one), len(off))


def _errors(sort: str, measure: str, off: Sequence[float], of: int) -> Errors:
    middle, most = off[len(off) // 2], off[min(len(off) - 1, 95 * len(off) // 100)]
    return Errors(sort=sort, measure=measure, cards=len(off), of=of, median=middle, p95=most)
