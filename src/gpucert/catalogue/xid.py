"""What Xid codes mean: NVIDIA's catalogue, with what each says about a card during a run and in its history.

Some codes mean one thing or another by the text behind them; those texts are decoded here too.
"""

import re
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


class Detail(Struct, frozen=True):
    """What the text behind some codes adds to the number."""

    words: str
    in_run: Weight | None = None
    """The weight instead of the catalogue's; None where the text changes nothing."""
    in_history: Weight | None = None


_PLAIN = Detail("")
_NVLINK5 = range(144, 151)

_DETAILS: tuple[tuple[tuple[int, ...], str, Detail], ...] = (
    # not terminal: the same row or page was met again before the reset that takes it out of use
    ((64,), "already pending", Detail("already waiting for a reset", "HOLD", "WARN")),
    ((64,), "table is full", Detail("the table of remapped rows is full")),
    ((64,), "All reserved rows for bank", Detail("the bank has no spare row left")),
    ((64,), "reserved row", Detail("a spare row failed")),
    ((64,), "Internal", Detail("an internal error of the remapper")),
    ((64,), "etirement", Detail("a page could not be retired")),
    ((63,), "Row Remapper", Detail("a row is remapped at the next reset")),
    ((63,), "etire", Detail("a page is retired when the driver is loaded again")),
    ((48,), "SRAM", Detail("SRAM")),
    ((48,), "framebuffer", Detail("DRAM")),
    ((48,), "DRAM", Detail("DRAM")),
    ((94, 95), "D-RST: Yes", Detail("drain and reset")),
    ((94, 95), "RST: Yes", Detail("reset")),
    ((94, 95), "RST: No", Detail("no reset")),
    (tuple(_NVLINK5), " Nonfatal ", Detail("not fatal", "WARN", "WARN")),
    (tuple(_NVLINK5), " Fatal ", Detail("fatal", "FAIL", None)),
    ((45,), "caused by previous Xid", Detail("caused by an earlier Xid", "IGNORE", "IGNORE")),
)
"""Codes, a part of the text, what it means; the first that fits decides.

Texts of `ras_events.c`, `kern_gpu_error_cont_ga100.c` and `kernel_rc.c` in NVIDIA/open-gpu-kernel-modules 595.45.04,
and of NVIDIA's Xid documentation (NVLink 5, page retirement).
"""

_ACTION = re.compile(r"changed from .{1,60} to 0x[0-9a-fA-F]{1,8} \(([A-Za-z0-9 ]{1,40})\)")
_RECOVERY_ACTION = 154


@cache
def _details() -> dict[int, tuple[tuple[str, Detail], ...]]:
    told: dict[int, list[tuple[str, Detail]]] = {}
    for of_codes, part, detail in _DETAILS:
        for code in of_codes:
            told.setdefault(code, []).append((part, detail))
    return {code: tuple(parts) for code, parts in told.items()}


def decode(code: int, text: str) -> Detail:
    """What the text of one Xid says beyond its number; no words where it says nothing that gpucert knows."""
    if code == _RECOVERY_ACTION:
        action = _ACTION.search(text)
        return Detail(action[1].lower()) if action else _PLAIN
    for part, detail in _details().get(code, ()):
        if part in text:
            return detail
    return _PLAIN


def has_details(code: int) -> bool:
    """Whether the text behind this code may change what it means."""
    return code == _RECOVERY_ACTION or code in _details()


class NvlinkError(Struct, frozen=True, kw_only=True):
    """An error of NVLink 5 (Xids 144 to 150), taken apart."""

    unit: str
    """The unit of the link that reported it, for example RLW_RXPIPE."""
    fatal: bool
    link: int | None
    """None where the driver names no link (-1)."""
    words: tuple[int, ...]
    """The registers as they were: intrInfo, errorStatus, then debug data of the unit."""


_NVLINK = re.compile(
    r"(?P<unit>[A-Z][A-Z0-9_]{1,30}) (?P<severity>Fatal|Nonfatal) XC\d i\d Link (?P<link>-?\d{1,3}) "
    r"\((?P<words>0x[0-9a-fA-F]{1,8}(?: 0x[0-9a-fA-F]{1,8}){0,15})\)"
)


def nvlink_error(code: int, text: str) -> NvlinkError | None:
    """The parts of an NVLink 5 error, None for other codes and for a text that was cut."""
    match = _NVLINK.search(text) if code in _NVLINK5 else None
    if match is None:
        return None
    link = int(match["link"])
    return NvlinkError(
        unit=match["unit"],
        fatal=match["severity"] == "Fatal",
        link=None if link < 0 else link,
        words=tuple(int(word, 16) for word in match["words"].split()),
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
