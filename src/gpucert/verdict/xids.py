"""Xids, judged: which diagnosis each stands for, and how much it weighs in a run and in a card's history."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from gpucert.catalogue import xid
from gpucert.catalogue.xid import Weight
from gpucert.record import Event

_OWN_DIAGNOSIS = {
    48: "memory.ecc_uncorrected",
    79: "device.lost",
    94: "memory.contained",
    95: "memory.ecc_uncorrected",
    119: "device.firmware",
    120: "device.firmware",
    140: "memory.ecc_uncorrected",
    171: "memory.ecc_uncorrected",
    172: "memory.ecc_uncorrected",
}
"""Xids that other diagnoses account for; the rest are `xid.N`."""

_REPAIR_FAILED = 64

_ORDER: tuple[Weight, ...] = ("FAIL", "HOLD", "DECODE", "WARN", "INFO", "FOLLOW", "IGNORE")
"""From the heaviest down."""

MAX_QUOTE = 160
"""Characters of a log line that evidence repeats."""


LONGEST_CODE = 6
"""Digits of an Xid's number; those in use have three."""


class Logged(Struct, frozen=True, kw_only=True):
    """One Xid code as often as it was logged with texts of one meaning."""

    code: int
    diagnosis: str
    times: int
    quote: str
    """The first line, cut."""
    row: xid.Xid
    detail: xid.Detail
    """What the text adds to the number, for example that an error of a link was not fatal."""

    @property
    def often(self) -> str:
        """How often, in words."""
        return "once" if self.times == 1 else f"{self.times} times"

    def weight(self, *, in_run: bool) -> Weight:
        """How much it weighs: as its text says, else as the catalogue says of its number."""
        if in_run:
            return self.detail.in_run or self.row.in_run
        return self.detail.in_history or self.row.in_history


def is_code(text: str) -> bool:
    """Whether this is the number of an Xid."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_CODE


def logged(events: Iterable[Event]) -> Iterator[Logged]:
    """Every Xid among these events, by code, with the text that weighs heaviest."""
    lines: dict[int, list[str]] = {}
    for event in events:
        if event.kind == "xid" and is_code(event.code):
            lines.setdefault(int(event.code), []).append(event.text)
    for code, texts in sorted(lines.items()):
        told = (weighed(code, len(texts), text) for text in texts)
        yield min(told, key=lambda one: _ORDER.index(one.weight(in_run=True)))


def weighed(code: int, times: int, first: str) -> Logged:
    """An Xid with what the catalogue knows of it and what its text adds."""
    detail = xid.decode(code, first)
    return Logged(
        code=code,
        diagnosis=_diagnosis(code, first, detail),
        times=times,
        quote=first[:MAX_QUOTE],
        row=xid.describe(code),
        detail=detail,
    )


def _diagnosis(code: int, text: str, detail: xid.Detail) -> str:
    """A repair that only waits for a reset is told as what waits, not as a failed one."""
    if code == _REPAIR_FAILED and detail.in_history == "WARN":
        return "memory.retired_pages" if "retire" in text else "memory.row_remap"
    return _OWN_DIAGNOSIS.get(code, f"xid.{code}")
