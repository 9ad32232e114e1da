"""Reference cards: what healthy cards of one model measured, read from `data/<model>.toml` where that exists."""

import math
from importlib.resources import files
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from gpucert.baselines.defaults import BaselineDataError, Defaults
from gpucert.catalogue import shelf
from gpucert.units import Unit


class Card(Struct, frozen=True, forbid_unknown_fields=True):
    """One healthy card: its identity, so that none counts twice, and its value."""

    card: str
    value: Annotated[float, Meta(gt=0)]


class Measured(Struct, frozen=True, forbid_unknown_fields=True):
    """What several cards measured with one version of one kernel."""

    unit: Unit
    kernel: str
    source: str
    cards: tuple[Card, ...]


class References(Struct, frozen=True, forbid_unknown_fields=True, rename={"measures": "measure"}):
    """The reference cards of one model, by measure. Version 0 has none: nothing was measured yet."""

    model: str
    version: Annotated[int, Meta(ge=0)]
    measures: dict[str, Measured] = {}
    simulated: bool = False
    """Learned from virtual cards: it judges no real one."""


def of_model(key: str, defaults: Defaults) -> References:
    """The reference cards that come with this version. Raises BaselineDataError for a file that cannot be used."""
    file = files("gpucert.baselines") / "data" / f"{shelf.slug(key)}.toml"
    return parse(file.read_text("utf-8"), file.name, key, defaults) if file.is_file() else References(key, 0)


def parse(text: str, source: str, key: str | None, defaults: Defaults) -> References:
    """Read reference cards from TOML and check them against units, and the model where `key` names one.

    Raises BaselineDataError.
    """
    try:
        found = msgspec.toml.decode(text, type=References)
    except msgspec.DecodeError as error:
        raise BaselineDataError(f"{source}: {error}") from error
    if key is not None and found.model != key:
        raise BaselineDataError(f"{source}: model is {found.model!r}, but the file is that of {key!r}")
    for measure, measured in found.measures.items():
        _check(measure, measured, f"{source}: measure.{measure}", defaults)
    return found


def _check(measure: str, measured: Measured, where: str, defaults: Defaults) -> None:
    if measure not in defaults.measures:
        raise BaselineDataError(f"{where} is no measure that has limits; these have: {', '.join(defaults.measures)}")
    expected = defaults.measures[measure].unit
    if measured.unit != expected:
        raise BaselineDataError(f"{where}.unit is {measured.unit.value!r}, but limits are in {expected.value!r}")
    cards = [card.card for card in measured.cards]
    if twice := sorted({card for card in cards if cards.count(card) > 1}):
        raise BaselineDataError(f"{where}.cards has {', '.join(twice)} more than once: keep one entry per card")
    if not all(math.isfinite(card.value) for card in measured.cards):
        raise BaselineDataError(f"{where}.cards has a value that is not a finite number: leave that card out")
