"""Kernel log lines of the NVIDIA driver: Xid, SXid and lost cards, read line by line and tied to cards by bus id.

Formats: `kernel_rc.c` and `osinit.c` of NVIDIA/open-gpu-kernel-modules 595.45.04, `common_nvswitch.h` for SXid, and the
lines of older drivers that wrote `pid='<unknown>'` or no `PCI:`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from gpucert.capture import LoggedXid
from gpucert.catalogue.xid import FELL_OFF_THE_BUS
from gpucert.device import bus_id

_MAX_LINE = 4_096
"""Because printk cuts lines at about a thousand characters; what is longer is not the driver's."""


class XidLine(Struct, frozen=True, kw_only=True):
    """An Xid of one card."""

    bus_id: str
    code: int
    text: str
    """The driver's message, without process id and name: the name of a process never leaves the station."""
    pid: int | None = None
    gpu_instance: int | None = None
    """The MIG instance that it hit."""
    caused_by: int | None = None
    """The earlier Xid that the driver names as the cause (Xid 45 of newer drivers)."""
    boot_s: float | None = None
    """Seconds since boot, where the line carries them."""


class SxidLine(Struct, frozen=True, kw_only=True):
    """An SXid of one NVSwitch: a matter of the baseboard, never of one GPU alone."""

    switch: int
    bus_id: str
    code: int
    severity: Literal["fatal", "non_fatal", "unknown"]
    text: str
    boot_s: float | None = None


class LostLine(Struct, frozen=True, kw_only=True):
    """A card that fell off the bus or could not be started, in a line without an Xid."""

    bus_id: str
    kind: Literal["lost", "not_initialised"]
    text: str
    boot_s: float | None = None


class NamedLine(Struct, frozen=True, kw_only=True):
    """The line that ties a bus id to a UUID, written once before the first Xid after loading the driver."""

    bus_id: str
    uuid: str


Line: TypeAlias = XidLine | SxidLine | LostLine | NamedLine

_BUS = r"(?:PCI:)?(?P<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"
_XID = re.compile(
    rf"NVRM:\s+Xid\s+\({_BUS}(?:\s+GPU-I:(?P<gi>\d{{1,4}}))?(?:\s+GPU-CI:\d{{1,4}})?\):\s+(?P<code>\d{{1,6}})"
    r"(?:,\s*pid=(?:(?P<pid>\d{1,10})|'?<unknown>'?))?(?:,\s*name=(?:<unknown>|[^,]*))?(?:,\s*(?P<text>.*))?$"
)
_SXID = re.compile(
    rf"nvidia-nvswitch(?P<switch>\d{{1,4}}):\s+SXid\s+\({_BUS}\):\s+(?P<code>\d{{4,6}}),\s*(?P<text>.*)$"
)
_LOST = re.compile(rf"NVRM:\s+GPU\s+(?:at\s+)?{_BUS}:\s+(?P<text>GPU has fallen off the bus.*|RmInitAdapter failed.*)$")
_NAMED = re.compile(rf"NVRM:\s+GPU at {_BUS}:\s+(?P<uuid>GPU-[0-9a-fA-F-]{{36}})")
_CAUSE = re.compile(r"caused by previous Xid (\d{1,6})")
_BOOT = re.compile(r"\[\s*(\d{1,12}\.\d{1,9})\]")


def parse(line: str) -> Line | None:
    """What one line says, None for lines of no interest."""
    line = line[:_MAX_LINE].rstrip()
    if "NVRM:" in line:
        return _xid(line) or _lost(line) or _named(line)
    return _sxid(line) if "SXid" in line else None


def scan(lines: Iterable[str]) -> Iterator[Line]:
    """Every line of interest, in order. The details that follow an SXid repeat its number and are counted once."""
    told: set[tuple[int, int]] = set()
    for text in lines:
        line = parse(text)
        if isinstance(line, SxidLine):
            if line.severity == "unknown" and (line.switch, line.code) in told:
                continue
            told.add((line.switch, line.code))
        if line is not None:
            yield line


def by_card(lines: Iterable[Line]) -> dict[str, tuple[LoggedXid, ...]]:
    """Bus id → the Xids of that card, each once with its count. A loss without Xid is told as 79."""
    told: dict[str, dict[int, LoggedXid]] = {}
    for line in lines:
        if isinstance(line, XidLine):
            _count(told.setdefault(line.bus_id, {}), line.code, line)
        elif isinstance(line, LostLine) and line.kind == "lost":
            of_card = told.setdefault(line.bus_id, {})
            if FELL_OFF_THE_BUS not in of_card:  # because the driver says again in plain words what Xid 79 has said
                _count(of_card, FELL_OFF_THE_BUS, line)
    return {where: tuple(one for _, one in sorted(of_card.items())) for where, of_card in told.items()}


def _count(of_card: dict[int, LoggedXid], code: int, line: XidLine | LostLine) -> None:
    known = of_card.get(code)
    of_card[code] = (
        LoggedXid(code=code, first=line.text)
        if known is None
        else msgspec.structs.replace(known, times=known.times + 1, last=line.text)
    )


def not_initialised(lines: Iterable[Line]) -> dict[str, str]:
    """Bus id → the driver's words about a card that it could not start."""
    return {line.bus_id: line.text for line in lines if isinstance(line, LostLine) and line.kind == "not_initialised"}


def _bus(match: re.Match[str]) -> str:
    return bus_id.normal(match["bus"]) or match["bus"]


def _boot_s(line: str, end: int) -> float | None:
    """The last stamp before the message: some logs put their own brackets before the kernel's."""
    stamps = _BOOT.findall(line, 0, end)
    return float(stamps[-1]) if stamps else None


def _xid(line: str) -> XidLine | None:
    match = _XID.search(line)
    if match is None:
        return None
    text = (match["text"] or "").strip()
    cause = _CAUSE.search(text)
    return XidLine(
        bus_id=_bus(match),
        code=int(match["code"]),
        text=text,
        pid=int(match["pid"]) if match["pid"] else None,
        gpu_instance=int(match["gi"]) if match["gi"] else None,
        caused_by=int(cause[1]) if cause else None,
        boot_s=_boot_s(line, match.start()),
    )


def _sxid(line: str) -> SxidLine | None:
    match = _SXID.search(line)
    if match is None:
        return None
    text = match["text"].strip()
    return SxidLine(
        switch=int(match["switch"]),
        bus_id=_bus(match),
        code=int(match["code"]),
        severity=_severity(text),
        text=text,
        boot_s=_boot_s(line, match.start()),
    )


def _severity(text: str) -> Literal["fatal", "non_fatal", "unknown"]:
    word = text.partition(",")[0].strip().lower()
    if word == "fatal":
        return "fatal"
    return "non_fatal" if word == "non-fatal" else "unknown"


def _lost(line: str) -> LostLine | None:
    match = _LOST.search(line)
    if match is None:
        return None
    return LostLine(
        bus_id=_bus(match),
        kind="lost" if match["text"].startswith("GPU has fallen") else "not_initialised",
        text=match["text"].strip(),
        boot_s=_boot_s(line, match.start()),
    )


def _named(line: str) -> NamedLine | None:
    match = _NAMED.search(line)
    return NamedLine(bus_id=_bus(match), uuid=match["uuid"]) if match else None
