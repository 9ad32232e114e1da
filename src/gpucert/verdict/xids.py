"""Xids, judged: which diagnosis each stands for, and how much it weighs in a run and in a card's history."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from gpucert.catalogue import xid
from gpucert.catalogue.xid import Weight
from gpucert.record import Event

_OWN_DIAGNOSIS = {
    48: "memory.ecc_uncorrected",
    79: "device.lost",
    94: "memory.ecc_uncorrected",
    95: "memory.ecc_uncorrected",
    119: "device.firmware",
    120: "device.firmware",
    140: "memory.ecc_uncorrected",
    171: "memory.ecc_uncorrected",
}
"""Xids that other diagnoses account for; the rest are `xid.N`."""

MAX_QUOTE = 160
"""Characters of a log line that evidence repeats."""


LONGEST_CODE = 6
"""Digits of an Xid's number; those in use have three."""


class Logged(Struct, frozen=True, kw_only=True):
    """One Xid code as often as it was logged."""

    code: int
    diagnosis: str
    times: int
    quote: str
    """The first line, cut."""
    row: xid.Xid

    @property
    def often(self) -> str:
        """How often, in words."""
        return "once" if self.times == 1 else f"{self.times} times"

    def weight(self, *, in_run: bool) -> Weight:
        """How much it weighs."""
        return self.row.in_run if in_run else self.row.in_history


def is_code(text: str) -> bool:
    """Whether this is the number of an Xid."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_CODE


def logged(events: Iterable[Event]) -> Iterator[Logged]:
    """Every Xid among these events, by code."""
    lines: dict[int, list[str]] = {}
    for event in events:
        if event.kind == "xid" and is_code(event.code):
            lines.setdefault(int(event.code), []).append(event.text)
    for code, texts in sorted(lines.items()):
        yield weighed(code, len(texts), texts[0])


def weighed(code: int, times: int, first: str) -> Logged:
    """An Xid with what the catalogue knows of it."""
    diagnosis = _OWN_DIAGNOSIS.get(code, f"xid.{code}")
    return Logged(code=code, diagnosis=diagnosis, times=times, quote=first[:MAX_QUOTE], row=xid.describe(code))
