"""Learning: reference cards of one model, gathered into a file of baselines, and how well each fits the others."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, structs

from gpucert.baselines import shrink
from gpucert.baselines.baseline import centres
from gpucert.baselines.defaults import Defaults
from gpucert.baselines.lint import Defect
from gpucert.baselines.reference import Conditions, References, gathered
from gpucert.catalogue.model import Model


class Candidate(Struct, frozen=True, kw_only=True):
    """A card that may stand as a reference: what it measured, with what, and where that is written."""

    card: str
    """UUID or PDI, so that no card counts twice."""
    also: str | None = None
    """Its PDI, where it is named by its UUID: a run that could read only one of them is still of this card."""
    record: str
    """The record's file, for a person."""
    kernel: str
    """Version of the kernels; rates of two versions are never mixed."""
    simulated: bool
    conditions: Conditions | None
    """None where the record does not tell them, which stands in `against`."""
    values: dict[str, float]
    """Measure, named `probe.measure`, → its value in the unit of its limits."""
    against: tuple[str, ...] = ()
    """Why it is not clean; empty for a card that may stand as a reference."""


class MixedCandidatesError(ValueError):
    """Candidates that cannot make one baseline; the text names them and what differs."""


class Weighed(Struct, frozen=True):
    """One card beside the others: how probable it is that it is healthy, in one measure."""

    measure: str
    card: str
    value: float
    weight: float


def learn(model: Model, candidates: Sequence[Candidate], defaults: Defaults, version: int) -> References:
    """The reference cards of a model from candidates. Raises MixedCandidatesError.

    Of several runs of one card the latest counts. Cards that are not clean must have been left out before.
    """
    if not candidates:
        raise MixedCandidatesError("no clean card is left to learn from")
    _same(candidates, "kernel", "kernels of version")
    _same(candidates, "simulated", "simulated =")
    latest = _latest(candidates)
    conditions: dict[str, Conditions] = {}
    measures = {}
    for centre in centres(model):
        values = {
            card: one.values[centre.measure]
            for card, (one, _) in latest.items()
            if _usable(one.values.get(centre.measure))
        }
        if values:
            told = {card: latest[card][1] for card in values}
            conditions |= told
            measures[centre.measure] = gathered(defaults.measures[centre.measure].unit, values, told)
    if not measures:
        raise MixedCandidatesError("the records hold none of the measures that have limits")
    kernel, simulated = candidates[0].kernel, candidates[0].simulated
    return References(model.key, version, measures, simulated, kernel, dict(sorted(conditions.items())))


def blamed(references: References, defects: Iterable[Defect]) -> tuple[frozenset[str], frozenset[str]]:
    """What to leave out for these defects: measures of which most cards cannot be, and cards in the others.

    Because one card that is off is a wrong card, and a whole row that is off is a wrong row.
    """
    off: dict[str, set[str]] = {}
    for one in defects:
        every = {card.card for card in references.measures[one.measure].cards}
        off.setdefault(one.measure, set()).update({one.card} if one.card else every)
    rows = {measure for measure, cards in off.items() if 2 * len(cards) > len(references.measures[measure].cards)}
    cards = {card for measure, them in off.items() if measure not in rows for card in them}
    return frozenset(rows), frozenset(cards)


def without(candidates: Iterable[Candidate], measures: frozenset[str], cards: frozenset[str]) -> list[Candidate]:
    """The candidates less these cards and less what they say of these measures."""
    every = tuple(candidates)
    uuids = _uuids(every)
    left = (one for one in every if uuids.get(one.card, one.card) not in cards)
    return [structs.replace(one, values={m: v for m, v in one.values.items() if m not in measures}) for one in left]


def _latest(candidates: Iterable[Candidate]) -> dict[str, tuple[Candidate, Conditions]]:
    """The latest run of each card, ordered by card."""
    every = tuple(candidates)
    uuids = _uuids(every)
    dated = [(one, one.conditions) for one in every if one.conditions is not None]
    found = {uuids.get(one.card, one.card): (one, when) for one, when in sorted(dated, key=lambda it: it[1].tested_at)}
    return dict(sorted(found.items()))


def _uuids(candidates: Iterable[Candidate]) -> dict[str, str]:
    """PDI → UUID of the cards that answered both."""
    return {one.also: one.card for one in candidates if one.also is not None}


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _same(candidates: Iterable[Candidate], field: str, words: str) -> None:
    seen: dict[object, str] = {}
    for one in candidates:
        seen.setdefault(getattr(one, field), one.record)
    if len(seen) > 1:
        (first, here), (second, there), *_ = seen.items()
        raise MixedCandidatesError(f"{here} has {words} {first}, {there} {second}: a baseline must not mix them")


def weigh(model: Model, references: References, defaults: Defaults) -> tuple[Weighed, ...]:
    """How well each card fits the others, by the fit that its baseline makes."""
    told = []
    for centre in centres(model):
        measured = references.measures.get(centre.measure)
        if measured is None:
            continue
        rule, of = defaults.rule(centre.measure)
        sign = 1 if rule.better == "higher" else -1
        fit = shrink.fit([sign * math.log(card.value / centre.value) for card in measured.cards], of.prior(centre.u))
        told += [
            Weighed(centre.measure, card.card, card.value, weight)
            for card, weight in zip(measured.cards, fit.weights, strict=True)
        ]
    return tuple(told)


def as_toml(references: References) -> str:
    """The file: what `reference.parse` reads, one line per fact. The same cards give the same text."""
    return "\n".join(_lines(references)) + "\n"


def _lines(references: References) -> Iterator[str]:
    yield f"model = {_text(references.model)}"
    yield f"version = {references.version}"
    yield f"kernel = {_text(references.kernel)}"
    if references.simulated:
        yield "simulated = true"
    for card, one in references.conditions.items():
        yield from ("", f"[card.{_key(card)}]", f"tested_at = {one.tested_at.isoformat()}")
        for name in ("driver", "cuda", "cublas", "gpucert"):
            yield f"{name} = {_text(getattr(one, name))}"
        yield f"inlet_c = {_text(one.inlet_c) if isinstance(one.inlet_c, str) else repr(one.inlet_c)}"
        yield f"record_sha256 = {_text(one.record_sha256)}"
    for name, measured in references.measures.items():
        yield from ("", f"[measure.{_key(name)}]", f"unit = {_text(measured.unit.value)}")
        yield f"[measure.{_key(name)}.value]"
        yield from (f"{_key(card.card)} = {card.value!r}" for card in measured.cards)


def _key(text: str) -> str:
    """A key of TOML: bare where it may be, which UUIDs are."""
    return text if re.fullmatch("[A-Za-z0-9_-]+", text) else _text(text)


def _text(text: str) -> str:
    """A basic string of TOML, which is JSON's but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
