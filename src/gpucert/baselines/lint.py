"""Lint: what cannot be true in a file of reference cards, found beside the model that it is of.

A baseline that is wrong passes broken cards, or fails sound ones, for as long as it is used. The usual mistakes are a
unit (a factor of 1000, 1024, 10 or 2), a row of another measure and the row of a sibling model; every rule here holds
the values against what the catalogue expects of the model, so that it needs no second file. What cannot be seen: reads
and writes that were swapped, because healthy cards read and write at nearly one rate.
"""

import math
from collections.abc import Iterable, Iterator
from statistics import median

from msgspec import Struct

from gpucert.baselines.baseline import Centre, centres
from gpucert.baselines.defaults import Defaults
from gpucert.baselines.limit import BELIEVED_ABOVE_CEILING
from gpucert.baselines.reference import Card, References
from gpucert.catalogue.matching import name_agrees
from gpucert.catalogue.model import Model

FURTHEST = 1.9
"""A value this many times off is never believed, however little is known of a centre: a factor of 2 must be found."""
SCALE_ONLY = 0.5
"""A centre known no better than this is a scale: cards of a low power limit are a factor of 2 below it."""
SURE = 3.0
"""Standard uncertainties of a centre outside of which a whole row is not of this model."""
FITS = 2.0
"""Standard uncertainties of a centre within which a value is said to fit it."""
WITHIN_NOISE = 1.05
"""Parts of a resistance may exceed the whole by what one fit differs from the next."""
FACTORS = (1000, 1024, 10, 2)
"""By which a unit, a prefix or the counting of both directions goes wrong."""


class Defect(Struct, frozen=True, order=True):
    """One thing that cannot be true."""

    field: str
    """Its place as it is called in the file: `measure.thermal.fast.value.GPU-…`."""
    said: str
    """What is wrong, what it looks like, and what to do."""
    measure: str = ""
    card: str = ""
    """The card whose value it is; empty where it is the whole row's."""

    def __str__(self) -> str:
        """One line that names the place."""
        return f"{self.field}: {self.said}"


def lint(model: Model, references: References, defaults: Defaults, models: Iterable[Model]) -> tuple[Defect, ...]:
    """Every defect of the reference cards of a model, ordered; `models` are those whose rows may have been swapped."""
    known = {centre.measure: centre for centre in centres(model)}
    related = (one for one in models if one.key != model.key and _related(one, model))
    siblings = tuple(sorted(related, key=lambda one: (not _namesakes(one, model), one.key)))
    found: list[Defect] = []
    for name, measured in references.measures.items():
        if name not in known:
            said = f"nothing is expected of a {model.key} here, which has no such unit: remove the row"
            found.append(Defect(f"measure.{name}", said, name))
            continue
        row = _Row(model, known[name], _t(known[name], defaults), measured.cards, tuple(known.values()), siblings)
        off = [*_values(row, defaults)]
        found += off or _sibling(row, defaults)
    return tuple(sorted((*found, *_resistances(references))))


class _Row(Struct, frozen=True):
    """One measure of the file beside what is expected of it."""

    model: Model
    centre: Centre
    t: float
    """Relative standard uncertainty of the centre."""
    cards: tuple[Card, ...]
    others: tuple[Centre, ...]
    """What is expected of the model's other measures."""
    siblings: tuple[Model, ...]


def _t(centre: Centre, defaults: Defaults) -> float:
    return defaults.rule(centre.measure)[1].prior(centre.u).t0


def _related(one: Model, other: Model) -> bool:
    """Models whose rows stand near each other in a table: of one chip, or of one name."""
    return one.chip == other.chip or _namesakes(one, other)


def _namesakes(one: Model, other: Model) -> bool:
    return any(name_agrees(one, name) for name in other.names)


# Value by value


def _values(row: _Row, defaults: Defaults) -> Iterator[Defect]:
    measure = row.centre.measure
    reach = defaults.rule(measure)[1].reach
    furthest = reach + SURE * row.t if row.t >= SCALE_ONLY else min(math.log(FURTHEST), reach + SURE * row.t)
    for one in row.cards:
        ratio, ceiling = one.value / row.centre.value, row.centre.ceiling
        if ceiling is not None and one.value > ceiling * BELIEVED_ABOVE_CEILING:
            said = f"{one.value:g} is more than the silicon can ({ceiling:.5g})"
        elif abs(math.log(ratio)) > furthest:
            said = f"{one.value:g} is {ratio:.3g} of what cards of this model measure ({row.centre.value:.5g})"
        else:
            continue
        looks = _or(_looks(row, one.value, defaults))
        remedy = f"; it looks like {looks}: correct it" if looks else ": correct it"
        place = f"measure.{measure}.value.{one.card}"
        yield Defect(place, f"{said}{remedy}, or leave the card out", measure, one.card)


def _looks(row: _Row, value: float, defaults: Defaults) -> Iterator[str]:
    """What a value may be that this measure of this model cannot have."""
    unit = defaults.measures[row.centre.measure].unit
    for other in sorted(row.others, key=lambda one: _distance(value, one)):
        same = other.measure != row.centre.measure and defaults.measures[other.measure].unit is unit
        if same and _fits(value, other, defaults):
            yield other.measure
    yield from _of_sibling(row, value, defaults)
    by = [factor for factor in FACTORS if any(_fits(value * shift, row.centre, defaults) for shift in _ways(factor))]
    if by:
        nearest = min(by, key=lambda factor: min(_distance(value * shift, row.centre) for shift in _ways(factor)))
        yield f"a factor of {nearest}"


def _ways(factor: int) -> tuple[float, float]:
    return factor, 1 / factor


def _distance(value: float, centre: Centre) -> float:
    return abs(math.log(value / centre.value))


def _fits(value: float, centre: Centre, defaults: Defaults) -> bool:
    below_ceiling = centre.ceiling is None or value <= centre.ceiling * BELIEVED_ABOVE_CEILING
    return below_ceiling and _distance(value, centre) <= FITS * _t(centre, defaults)


def _of_sibling(row: _Row, value: float, defaults: Defaults) -> Iterator[str]:
    for sibling in row.siblings:
        centre = next((one for one in centres(sibling) if one.measure == row.centre.measure), None)
        if centre is not None and _fits(value, centre, defaults):
            yield f"a value of {sibling.key}"


def _or(looks: Iterator[str]) -> str:
    """The likeliest few: more would only hide them."""
    found = list(dict.fromkeys(looks))[:3]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}" if found else ""


# Row by row


def _sibling(row: _Row, defaults: Defaults) -> Iterator[Defect]:
    """A row of rates whose middle is outside of this model and inside of a sibling; resistances are too uncertain."""
    if row.centre.ceiling is None or not row.cards:
        return
    middle = median(card.value for card in row.cards)
    if _distance(middle, row.centre) <= SURE * row.t:
        return
    of = _or(_of_sibling(row, middle, defaults))
    if of:
        said = (
            f"its middle, {middle:g}, is {middle / row.centre.value:.3g} of what cards of this model measure "
            f"({row.centre.value:.5g}), and looks like {of}: put it into that file, or see what these cards are"
        )
        yield Defect(f"measure.{row.centre.measure}", said, row.centre.measure)


# Card by card


def _resistances(references: References) -> Iterator[Defect]:
    """Z(1 s) and the slow part are parts of the whole resistance of the same card, and they do not overlap."""
    fast, slow, total = (_by_card(references, f"thermal.{name}") for name in ("fast", "slow", "total"))
    for card, whole in total.items():
        parts = {"thermal.fast": fast.get(card), "thermal.slow": slow.get(card)}
        known = {name: part for name, part in parts.items() if part is not None}
        if not known:
            continue
        told = " and ".join(f"{name} {part:g}" for name, part in known.items())
        if max(known.values()) >= whole or sum(known.values()) > whole * WITHIN_NOISE:
            said = f"{whole:g} is not above its parts, {told}: correct one of them, or leave the card out"
            yield Defect(f"measure.thermal.total.value.{card}", said, "thermal.total", card)


def _by_card(references: References, measure: str) -> dict[str, float]:
    measured = references.measures.get(measure)
    return {} if measured is None else {one.card: one.value for one in measured.cards}
