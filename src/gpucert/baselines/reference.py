"""Reference cards: what healthy cards of one model measured and under what, read from TOML.

A file names each card once, with the conditions of its run, and beside that for each measure one line per card:

    model = "NVIDIA A100-SXM4-80GB"
    version = 1
    kernel = "0123456789ab"

    [card.GPU-5a1f…]
    tested_at = 2026-11-02T09:30:00+00:00
    driver = "580.95.05"
    …

    [measure."memory_bandwidth.read_per_clock"]
    unit = "B/clk"
    [measure."memory_bandwidth.read_per_clock".value]
    GPU-5a1f… = 1130.2
"""

import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from gpucert.baselines.defaults import BaselineDataError, Defaults
from gpucert.catalogue import shelf
from gpucert.units import Unit

NOT_STATED = "not stated"
INLET_C = (5.0, 60.0)
"""Inlet air in which a card may be measured as a reference: what rooms and hot aisles have, with room to spare."""
LAST_VERSION = 999
"""A number above it is a slip of the pen or another kind of number."""

Text = Annotated[str, Meta(min_length=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Inlet = Annotated[float, Meta(ge=INLET_C[0], le=INLET_C[1])]
Version = Annotated[int, Meta(ge=1, le=LAST_VERSION)]


class Conditions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """With what and in what one card was measured; what nobody stated reads so, because nothing absent is left out."""

    tested_at: Annotated[datetime, Meta(tz=True)]
    driver: Text
    cuda: Text
    cublas: Text
    gpucert: Text
    inlet_c: Inlet | Literal["not stated"]
    record_sha256: Sha256
    """Of the record that the card's values come from."""


class Card(Struct, frozen=True):
    """One healthy card in one measure: its identity, so that none counts twice, and its value."""

    card: str
    value: float


class Measured(Struct, frozen=True):
    """What several cards measured."""

    unit: Unit
    source: str
    """When, with what and in what they were measured: the conditions of its cards, in one sentence."""
    cards: tuple[Card, ...]


class References(Struct, frozen=True):
    """The reference cards of one model, by measure. Version 0 has none: nothing was measured yet."""

    model: str
    version: int
    measures: dict[str, Measured] = {}
    simulated: bool = False
    """Learned from virtual cards: it judges no real one."""
    kernel: str = ""
    """Version of the kernels that all of them ran; rates of two versions are never mixed."""
    conditions: dict[str, Conditions] = {}
    """Of each card, by its identity."""

    def for_kernel(self, kernel: str) -> "References":
        """These, for a record of the same kernels; none for any other, because its rates are of another kind."""
        return self if kernel == self.kernel else References(self.model, 0)


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    unit: Unit
    value: dict[str, Annotated[float, Meta(gt=0)]]


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    """The outermost level; cards and measures are read one by one, so that a mistake can name the one it is in."""

    model: str
    version: Version
    kernel: Text
    card: dict[str, Any]
    measure: dict[str, Any]
    simulated: bool = False


def of_model(key: str, defaults: Defaults) -> References:
    """The reference cards that come with this version. Raises BaselineDataError for a file that cannot be used."""
    file = files("gpucert.baselines") / "data" / f"{shelf.slug(key)}.toml"
    return parse(file.read_text("utf-8"), file.name, key, defaults) if file.is_file() else References(key, 0)


def parse(text: str, source: str, key: str | None, defaults: Defaults) -> References:
    """Read reference cards from TOML and check them against each other and the units, and the model where `key` is one.

    Whether the values can be is `lint`'s to say. Raises BaselineDataError, which names file, field and remedy.
    """
    file = _typed(_tree(text, source), _File, source, "")
    if key is not None and file.model != key:
        raise BaselineDataError(f"{source}: model is {file.model!r}, but the file is that of {key!r}")
    conditions = {card: _typed(found, Conditions, source, f"card.{card}") for card, found in file.card.items()}
    rows = {name: _typed(found, _Row, source, f"measure.{name}") for name, found in file.measure.items()}
    for field, said in (*_cards(conditions, rows), *_rows(conditions, rows, defaults)):
        raise BaselineDataError(f"{source}: {field}{said}")
    measures = {name: gathered(row.unit, row.value, conditions) for name, row in rows.items()}
    return References(file.model, file.version, measures, file.simulated, file.kernel, conditions)


def gathered(unit: Unit, values: dict[str, float], conditions: dict[str, Conditions]) -> Measured:
    """What these cards measured, with the conditions of all of them in one sentence."""
    told = source_of([conditions[card] for card in values])
    return Measured(unit, told, tuple(Card(card, value) for card, value in values.items()))


def source_of(conditions: Iterable[Conditions]) -> str:
    """The conditions of several cards in one sentence: the days, and whatever they were measured with and in."""
    every = tuple(conditions)
    days = sorted(one.tested_at.date().isoformat() for one in every)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    parts = [
        f"{name} {', '.join(sorted({getattr(one, field) for one in every}))}"
        for name, field in (("driver", "driver"), ("CUDA", "cuda"), ("cuBLAS", "cublas"), ("gpucert", "gpucert"))
    ]
    return f"measured {when}; {'; '.join(parts)}; inlet {_inlet(every)}"


def _inlet(conditions: Iterable[Conditions]) -> str:
    stated = sorted(one.inlet_c for one in conditions if isinstance(one.inlet_c, float))
    unstated = any(one.inlet_c == NOT_STATED for one in conditions)
    if not stated:
        return NOT_STATED
    told = f"{stated[0]:g}" if stated[0] == stated[-1] else f"{stated[0]:g} to {stated[-1]:g}"
    return f"{told} °C{', of some not stated' if unstated else ''}"


# What stands where it must not

_Complaints = Iterator[tuple[str, str]]


def _cards(conditions: dict[str, Conditions], rows: dict[str, _Row]) -> _Complaints:
    """Cards and records that stand there twice, and cards that tell nothing.

    A file holds one id of each card. One that was written down by its UUID and again by its PDI is therefore two
    cards here; `learn`, which sees both in the record, counts it once.
    """
    names: dict[str, str] = {}
    records: dict[str, str] = {}
    measured = {card for row in rows.values() for card in row.value}
    for card, one in conditions.items():
        if (other := names.setdefault(card.casefold(), card)) != card:
            yield f"card.{card}", f" is {other} in other letters: keep one of them"
        if (other := records.setdefault(one.record_sha256, card)) != card:
            yield f"card.{card}.record_sha256", f" is that of {other} too: a record is of one card, keep one of them"
        if card not in measured:
            yield f"card.{card}", " has no value in any measure: add its values, or remove it"


def _rows(conditions: dict[str, Conditions], rows: dict[str, _Row], defaults: Defaults) -> _Complaints:
    for name, row in rows.items():
        where = f"measure.{name}"
        if name not in defaults.measures:
            yield where, f" is no measure that has limits; these have: {', '.join(defaults.measures)}"
            continue
        expected = defaults.measures[name].unit
        if row.unit != expected:
            yield f"{where}.unit", f" is {row.unit.value!r}, but limits are in {expected.value!r}: measure it again so"
        if not row.value:
            yield f"{where}.value", " is empty: add the cards that measured it, or remove the measure"
        for card, value in row.value.items():
            if card not in conditions:
                yield f"{where}.value.{card}", f" is no card of this file: state its conditions in [card.{card}]"
            if not math.isfinite(value):
                yield f"{where}.value.{card}", " is not a finite number: leave that card out"


# Reading TOML so that every mistake has a place

_Found = TypeVar("_Found", bound=Struct)
_TWICE = re.compile("^Cannot (declare|overwrite)")
_MISSING = re.compile("missing required field `(.+)`")
_UNKNOWN = re.compile("unknown field `(.+)`")


def _tree(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        remedy = ": a card or a measure stands there twice, keep one" if _TWICE.match(str(error)) else ""
        raise BaselineDataError(f"{source}: not TOML: {error}{remedy}") from error


def _typed(found: object, kind: type[_Found], source: str, where: str) -> _Found:
    """This part of the file as what it must be. Raises BaselineDataError."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        said, _, at = str(error).partition(" - at ")
        place = ".".join(part for part in (where, at.strip("`").removeprefix("$").lstrip(".")) if part)
        raise BaselineDataError(f"{source}: {_remedied(said, kind, place)}") from error


def _remedied(said: str, kind: type[Struct], place: str) -> str:
    prefix = f"{place}." if place else ""
    fields = ", ".join(kind.__struct_encode_fields__)
    if missing := _MISSING.search(said):
        return f"{prefix}{missing[1]} is missing: state it" + (f' (or "{NOT_STATED}")' if _may_lack(missing[1]) else "")
    if unknown := _UNKNOWN.search(said):
        return f"{prefix}{unknown[1]} is an unknown field: remove it; there are {fields}"
    return f"{place or 'the file'}: {said[:1].lower()}{said[1:]}: correct it"


def _may_lack(field: str) -> bool:
    """Whether “not stated” is an answer that a file may give."""
    return field in {"driver", "cuda", "cublas", "gpucert", "inlet_c"}
