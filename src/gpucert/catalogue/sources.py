"""Where the facts of the catalogue come from: what each source code means and how far it can be trusted."""

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct


class Source(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One source: what it is, where to find it, under which licence, and how far it can be trusted."""

    what: str
    where: str
    licence: str
    trust: Literal["high", "medium", "low"]


def code(text: str) -> str:
    """The code of an entry in `Model.sources`: its first word."""
    return text.partition(" ")[0]


@cache
def explained() -> dict[str, Source]:
    """Every source by its code."""
    text = (files("gpucert.catalogue") / "sources.toml").read_text("utf-8")
    return msgspec.toml.decode(text, type=dict[str, Source])
