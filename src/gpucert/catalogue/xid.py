"""What Xid codes mean: NVIDIA's catalogue, with what each says about a card during a run and in its history."""

from functools import cache
from importlib.resources import files
from typing import Literal, cast, get_args

from msgspec import Struct

Blame = Literal["hardware", "either", "software", "secondary", "derived", "unclassified"]
Weight = Literal["FAIL", "HOLD", "WARN", "INFO", "IGNORE", "FOLLOW", "DECODE"]

FELL_OFF_THE_BUS = 79
"""The Xid of a lost card."""


class Xid(Struct, frozen=True):
    """One row of the catalogue (`xid_catalog.tsv`)."""

    code: int
    mnemonic: str
    meaning: str
    immediate: str
    """The action bucket that NVIDIA names first, in its own spelling; empty where it names none."""
    investigatory: str
    blame: Blame
    in_run: Weight
    """FAIL: the card's fault. HOLD: test again. WARN: disclose. FOLLOW: judge the other Xid. DECODE: read its text."""
    in_history: Weight
    note: str


def describe(code: int) -> Xid:
    """The row of a code. An unknown code weighs HOLD, because newer drivers add hardware codes."""
    return _catalogue().get(code) or Xid(
        code, "UNKNOWN", "Not in the catalogue that gpucert knows", "", "", "unclassified", "HOLD", "HOLD", ""
    )


def codes() -> tuple[int, ...]:
    """Every code of the catalogue, in order."""
    return tuple(sorted(_catalogue()))


@cache
def _catalogue() -> dict[int, Xid]:
    text = files("gpucert.catalogue").joinpath("xid_catalog.tsv").read_text(encoding="utf-8")
    _comment, _heading, *lines = text.splitlines()
    return {row.code: row for row in map(_row, lines)}


def _row(line: str) -> Xid:
    code, mnemonic, meaning, immediate, investigatory, blame, in_run, in_history, note = line.split("\t")
    assert blame in get_args(Blame)
    assert {in_run, in_history} <= set(get_args(Weight))
    return Xid(
        code=int(code),
        mnemonic=mnemonic,
        meaning=meaning,
        immediate=immediate,
        investigatory=investigatory,
        blame=cast("Blame", blame),
        in_run=cast("Weight", in_run),
        in_history=cast("Weight", in_history),
        note=note,
    )
