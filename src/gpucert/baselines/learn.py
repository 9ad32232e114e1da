"""Learning: reference cards of one model, gathered into a file of baselines, and how well each fits the others."""

import json
import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gpucert.baselines import shrink
from gpucert.baselines.baseline import centres
from gpucert.baselines.defaults import Defaults
from gpucert.baselines.reference import Card, Measured, References
from gpucert.catalogue.model import Model


class Candidate(Struct, frozen=True, kw_only=True):
    """A card that may stand as a reference: what it measured, with what, and where that is written."""

    card: str
    """UUID or PDI, so that no card counts twice."""
    tested_at: str
    record: str
    """The record's file, for a person."""
    kernel: str
    """Version of the kernels; rates of two versions are never mixed."""
    conditions: str
    """Driver, CUDA and inlet air, in words."""
    simulated: bool
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
    latest = {one.card: one for one in sorted(candidates, key=lambda one: one.tested_at)}
    kernel, simulated = candidates[0].kernel, candidates[0].simulated
    measures = {}
    for centre in centres(model):
        cards = tuple(
            Card(one.card, one.values[centre.measure])
            for one in sorted(latest.values(), key=lambda one: one.card)
            if _usable(one.values.get(centre.measure))
        )
        if cards:
            unit = defaults.measures[centre.measure].unit
            measures[centre.measure] = Measured(unit, kernel, _source(latest.values()), cards)
    if not measures:
        raise MixedCandidatesError("the records hold none of the measures that have limits")
    return References(model.key, version, measures, simulated=simulated)


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _same(candidates: Iterable[Candidate], field: str, words: str) -> None:
    seen: dict[object, str] = {}
    for one in candidates:
        seen.setdefault(getattr(one, field), one.record)
    if len(seen) > 1:
        (first, here), (second, there), *_ = seen.items()
        raise MixedCandidatesError(f"{here} has {words} {first}, {there} {second}: a baseline must not mix them")


def _source(candidates: Iterable[Candidate]) -> str:
    found = sorted({one.conditions for one in candidates})
    dates = sorted(one.tested_at[:10] for one in candidates)
    return f"measured {dates[0]} to {dates[-1]}: {'; '.join(found)}"


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
    """The file: what `reference.parse` reads. The same cards give the same text."""
    lines = [f"model = {_text(references.model)}", f"version = {references.version}"]
    if references.simulated:
        lines.append("simulated = true")
    for name, measured in references.measures.items():
        lines += ["", f"[measure.{_text(name)}]", f"unit = {_text(measured.unit.value)}"]
        lines += [f"kernel = {_text(measured.kernel)}", f"source = {_text(measured.source)}", "cards = ["]
        lines += [f"    {{ card = {_text(card.card)}, value = {card.value!r} }}," for card in measured.cards]
        lines.append("]")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """A basic string of TOML, which is JSON's but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
