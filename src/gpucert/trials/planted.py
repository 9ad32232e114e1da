"""Faults to plant, as a command line names them: `KIND` or `KIND:field=value,…`, with the words of a scenario."""

import json
import re
import tomllib

from msgspec import Struct

from gpucert.device.simulated.scenario import ScenarioError, parse

VRAM_MIB = 4
"""A small window: the measures of this bench do not depend on its size."""

_FIELD = re.compile(r"[a-z_]+")


class Planted(Struct, frozen=True):
    """One fault."""

    named: str
    """As it was asked for."""
    table: str
    """Its lines in a scenario."""


def planted(named: str) -> Planted:
    """Read a fault off the command line; `scenario` checks what it says. Raises ScenarioError."""
    kind, _, rest = named.partition(":")
    lines = [f"kind = {json.dumps(kind)}"]
    for pair in rest.split(",") if rest else ():
        field, equals, value = pair.partition("=")
        if not equals or not _FIELD.fullmatch(field):
            raise ScenarioError(f"{named}: {pair!r} is no field=value; write KIND:field=value,field=value")
        lines.append(f"{field} = {_value(value)}")
    return Planted(named, "\n".join(lines))


def _value(text: str) -> str:
    """A number or a truth value as it stands; anything else as a string, so that nobody has to quote quotes."""
    try:
        plain = isinstance(tomllib.loads(f"value = {text}").get("value"), bool | int | float) and "\n" not in text
    except tomllib.TOMLDecodeError:
        plain = False
    return text if plain else json.dumps(text)


def scenario(model: str, seed: int, fault: Planted | None = None) -> str:
    """The text of the scenario of one card, which `--simulate` takes as well. Raises ScenarioError."""
    text = f"model = {json.dumps(model)}\nvram_mib = {VRAM_MIB}\nseed = {seed}\n"
    if fault is not None:
        text += f"\n[[fault]]\n{fault.table}\n"
    parse(text, fault.named if fault else model)
    return text
