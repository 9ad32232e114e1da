"""One line of a kernel log: what the NVIDIA driver or the kernel says in it of a card, and the stamp before it.

Formats: `kernel_rc.c`, `osinit.c` and `osapi.c` of NVIDIA/open-gpu-kernel-modules 595.45.04, `common_nvswitch.h` for
SXid, `aer.c` of Linux, and the lines of older drivers that wrote `pid='<unknown>'`, no `PCI:` or no bus id. What stands
before a message (dmesg, journal, syslog, containers, JSON) is read for its time stamp alone.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from gpucert.catalogue import xid
from gpucert.device import bus_id
from gpucert.device.text_file import CUT

SxidSeverity = Literal["fatal", "non_fatal", "unknown"]
BusSeverity = Literal["corrected", "non_fatal", "fatal"]


class XidLine(Struct, frozen=True, kw_only=True):
    """An Xid of one card."""

    bus_id: str
    code: int
    text: str
    """The driver's message, without process id and name: the name of a process never leaves the station."""
    detail: str = ""
    """What the text adds to the number, in the words of the catalogue."""
    caused_by: int | None = None
    """The earlier Xid that the driver names as the cause (Xid 45 of newer drivers)."""


class DamagedLine(Struct, frozen=True, kw_only=True):
    """The beginning of an Xid whose number or card cannot be read, for example because the line was cut."""

    text: str


class SxidLine(Struct, frozen=True, kw_only=True):
    """An SXid of one NVSwitch: a matter of the baseboard, never of one GPU alone."""

    switch: int
    code: int
    severity: SxidSeverity
    text: str


class LostLine(Struct, frozen=True, kw_only=True):
    """A card that fell off the bus or could not be started, in a line without an Xid. Old drivers name no card."""

    bus_id: str | None
    kind: Literal["lost", "not_initialised"]
    text: str


class NamedLine(Struct, frozen=True, kw_only=True):
    """The line that ties a bus id to a UUID, written once before the first Xid after loading the driver."""

    bus_id: str
    uuid: str


class SerialLine(Struct, frozen=True, kw_only=True):
    """The serial of the board; without a bus id it is that of the card which was named just before."""

    bus_id: str | None
    serial: str


class PresentLine(Struct, frozen=True, kw_only=True):
    """A line that shows only that there is a card: found on the bus, taken by the driver, or about to be complained of.

    `opens` marks the first line of a message of three, whose last says what is wrong without naming the card again.
    """

    bus_id: str
    pci_device: str | None = None
    opens: bool = False


class DriverLine(Struct, frozen=True, kw_only=True):
    """The version of the driver; `loads` where it is being loaded, from when on cards are named anew."""

    version: str
    loads: bool


class BootLine(Struct, frozen=True):
    """The station was started."""


class BusErrorLine(Struct, frozen=True, kw_only=True):
    """A PCIe error of one device: told by the device's own driver, or `relayed` by the port above it."""

    bus_id: str
    severity: BusSeverity
    text: str
    relayed: bool = False


Line: TypeAlias = (
    XidLine
    | DamagedLine
    | SxidLine
    | LostLine
    | NamedLine
    | SerialLine
    | PresentLine
    | DriverLine
    | BootLine
    | BusErrorLine
)

_MAX_BEFORE = 200
"""Characters before a message in which its stamp is looked for."""
_MAX_MESSAGE = 1_500
"""Because printk cuts lines at about a thousand characters; what is longer is not the driver's."""
_MAX_TEXT = 400
_MAX_JSON = 65_536

# --- messages

_BUS = r"(?:PCI:)?(?P<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"
_GPU = rf"NVRM:\s+GPU\s+(?:at\s+)?{_BUS}:?\s+"
_MAYBE_GPU = rf"NVRM:\s+(?:GPU\s+(?:at\s+)?{_BUS}:\s+)?"
_KERNEL_MODULE = r"NVIDIA UNIX .{0,60}?Kernel Module .{0,20}?\s(?P<version>\d{3}\.\d{1,3}(?:\.\d{1,3})?)\b"
_UUID = r"GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_SEVERITY = r"(?P<severity>(?:Un)?[Cc]orrect(?:ed|able)(?: \([A-Za-z-]{1,20}\))?)"

_XID = re.compile(
    rf"(?:NVRM:\s+)?Xid\s+\({_BUS}(?:\s+GPU-I:\d{{1,4}})?(?:\s+GPU-CI:\d{{1,4}})?\):\s+(?P<code>\d{{1,6}})"
    r"(?:,\s*(?:pid=(?:\d{1,10}|'?<unknown>'?)(?:,\s*|\0?$))?(?:name=(?:<unknown>|[^,]*)(?:,\s*|$))?(?P<text>.*)|\s*)$",
    re.DOTALL,
)
_BEGINS_XID = re.compile(r"(?:NVRM:\s+)?Xid\s*\((?:PCI:|[0-9a-fA-F]{4})")
_CAUSE = re.compile(r"caused by previous Xid (\d{1,6})")
_SXID = re.compile(
    rf"nvidia-nvswitch(?P<switch>\d{{1,4}}):\s+SXid\s+\({_BUS}\):\s+(?P<code>\d{{4,6}}),\s*(?P<text>.*)$", re.DOTALL
)
_LOST = re.compile(rf"{_GPU}(?P<text>(?:GPU )?has fallen off the bus.*)$", re.DOTALL)
_LOST_AT_ONCE = re.compile(rf"NVRM:\s+The NVIDIA GPU {_BUS}\s.*(?P<text>fallen off the bus and is not responding.*)$")
_FALLEN = re.compile(
    r"NVRM:\s+(?:installed in this system has\s+)?(?P<text>fallen off the bus and is not responding.*)$"
)
_OPENS = re.compile(rf"NVRM:\s+The NVIDIA GPU {_BUS}\s+\(PCI ID:\s*10de:(?P<device>[0-9a-fA-F]{{4}})\)")
_NOT_STARTED = re.compile(
    rf"{_MAYBE_GPU}(?P<text>(?:RmInitAdapter|rm_init_adapter)(?:\(\d{{1,4}}\))? failed.*)$", re.DOTALL
)
_NAMED = re.compile(rf"{_GPU}(?P<uuid>{_UUID})")
_SERIAL = re.compile(
    rf"{_MAYBE_GPU}GPU (?:Board Serial Number:|serial number is|is on Board)\s+"
    r"(?P<serial>[0-9A-Za-z-]{0,20}\d[0-9A-Za-z-]{0,20})(?![0-9A-Za-z-])"
)
_LOADS = re.compile(rf"NVRM:\s+loading {_KERNEL_MODULE}")
_VERSION = re.compile(rf"NVRM version: {_KERNEL_MODULE}")
_OF_DRIVER = re.compile(rf"NVRM:\s+GPU\s+(?:at\s+)?{_BUS}:\s")
_BUS_ERROR = re.compile(rf"nvidia {_BUS}: (?:AER: *)?PCIe Bus Error: severity={_SEVERITY}", re.DOTALL)
_RELAYED = re.compile(rf"AER: (?:Multiple )?{_SEVERITY} error (?:message )?received(?: from|:) {_BUS}")
_TAKEN = re.compile(rf"nvidia {_BUS}: ")
_DRM = re.compile(rf"nvidia-drm \S{{1,20}} (?:\d{{8}} )?for {_BUS} on minor")
_FOUND = re.compile(rf"pci {_BUS}: \[10de:(?P<device>[0-9a-fA-F]{{4}})\] type 00 class 0x030[02]")
_BOOTS = re.compile(r"Linux version \d|-- (?:Boot [0-9a-f]{8}|Reboot --)")


def parse(line: str) -> Line | None:
    """What one line says, None for lines of no interest."""
    stamped = split(line)
    return None if stamped is None else stamped.said


class Stamped(NamedTuple):
    """What a line says, and the part of it that says so."""

    said: Line
    before: str
    """What stands before the message: `stamp` finds the time in it."""
    message: str

    @property
    def piece(self) -> str:
        """The line without what is no part of the message or its stamp; it says the same."""
        return self.before + self.message


def split(line: str) -> Stamped | None:
    """What one line says with the text before it; None for lines of no interest."""
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    at = line.find(_DRIVER)
    if at < 0 and (at := _begin(line)) < 0:
        return None
    before, message = line[max(0, at - _MAX_BEFORE) : at], line[at : at + _MAX_MESSAGE]
    quote = _IN_QUOTES.search(before) if '"' in before else None
    if quote is None:
        said = _said(message)
        return None if said is None else Stamped(said, before, message)
    message = _unquoted(message)
    said = _said(message)
    if said is None:
        return None
    time = _TIME_KEY.search(line, 0, _MAX_JSON)
    return Stamped(said, f"{time['time']} {quote['inside']}" if time else quote["inside"], message)


def messages(line: str) -> Iterator[str]:
    """The line, once for each message in it: exports put a whole log into one, and a crash may lose a line's end."""
    parts = line.split(_DRIVER)
    for before, message in pairwise(parts):
        yield f"{before[-_MAX_BEFORE:]}{_DRIVER}{message[: _MAX_MESSAGE + _MAX_BEFORE]}"


_DRIVER = "NVRM:"
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_TRACED = re.compile(r"(?<![A-Za-z])Xid \(PCI:")
_OTHERS = (
    "NVRM version: ",
    "nvidia-nvswitch",
    "nvidia 0",
    "AER: ",
    "pci 0",
    "nvidia-drm ",
    "Linux version ",
    "-- Boot ",
    "-- Reboot ",
)
"""How other messages of interest begin; buses are of domain 0 to 0fff. Searched one by one, which is quickest."""


def _begin(line: str) -> int:
    """Where a message without the driver's name begins, -1 where there is none of interest."""
    if "Xid (" in line and "SXid (" not in line:
        traced = _TRACED.search(line)
        return traced.start() if traced else -1
    for beginning in _OTHERS:
        at = line.find(beginning)
        if at >= 0:
            return at
    return -1


@lru_cache(maxsize=2_048)
def _said(message: str) -> Line | None:
    """Cached because logs repeat themselves: a card that fell off the bus says so for hours."""
    if message.startswith(_DRIVER):
        return _xid(message) or _of_driver(message)
    if message.startswith("Xid"):
        return _xid(message)
    return _of_kernel(message)


def _of_driver(message: str) -> Line | None:
    if found := _LOST.match(message) or _LOST_AT_ONCE.match(message):
        return LostLine(bus_id=_bus(found), kind="lost", text=_text(found))
    if found := _FALLEN.match(message):
        return LostLine(bus_id=None, kind="lost", text=_text(found))
    if found := _NOT_STARTED.match(message):
        return LostLine(bus_id=_bus(found) if found["bus"] else None, kind="not_initialised", text=_text(found))
    if found := _NAMED.match(message):
        return NamedLine(bus_id=_bus(found), uuid=found["uuid"])
    if found := _SERIAL.match(message):
        return SerialLine(bus_id=_bus(found) if found["bus"] else None, serial=found["serial"])
    if found := _OPENS.match(message):
        return PresentLine(bus_id=_bus(found), pci_device=found["device"].lower(), opens=True)
    if found := _LOADS.match(message):
        return DriverLine(version=found["version"], loads=True)
    found = _OF_DRIVER.match(message)
    return PresentLine(bus_id=_bus(found)) if found else None


def _of_kernel(message: str) -> Line | None:
    if found := _SXID.match(message):
        text = _text(found)
        return SxidLine(switch=int(found["switch"]), code=int(found["code"]), severity=_sxid_severity(text), text=text)
    if found := _BUS_ERROR.match(message) or _RELAYED.match(message):
        return BusErrorLine(
            bus_id=_bus(found),
            severity=_bus_severity(found["severity"]),
            text=_tidy(message),
            relayed=message.startswith("AER"),
        )
    if found := _FOUND.match(message):
        return PresentLine(bus_id=_bus(found), pci_device=found["device"].lower())
    if found := _TAKEN.match(message) or _DRM.match(message):
        return PresentLine(bus_id=_bus(found))
    if found := _VERSION.match(message):
        return DriverLine(version=found["version"], loads=False)
    return BootLine() if _BOOTS.match(message) else None


def _xid(message: str) -> XidLine | DamagedLine | None:
    match = _XID.match(message)
    if match is None:
        return DamagedLine(text=_tidy(message)) if _BEGINS_XID.match(message) else None
    text, code = _tidy(match["text"] or ""), int(match["code"])
    cause = _CAUSE.search(text) if "caused" in text else None
    where = _normal(match["bus"])
    return XidLine(
        bus_id=where,
        code=code,
        text=text,
        detail=xid.decode(code, text).words,
        caused_by=int(cause[1]) if cause else None,
    )


def _bus(match: re.Match[str]) -> str:
    return _normal(match["bus"])


@lru_cache(maxsize=2_048)
def _normal(where: str) -> str:
    return bus_id.normal(where) or where


def _text(match: re.Match[str]) -> str:
    return _tidy(match["text"])


def _tidy(text: str) -> str:
    return (text.replace(CUT, " ") if CUT in text else text).strip()[:_MAX_TEXT]


def _sxid_severity(text: str) -> SxidSeverity:
    word = text.partition(",")[0].strip().lower()
    if word == "fatal":
        return "fatal"
    return "non_fatal" if word == "non-fatal" else "unknown"


def _bus_severity(words: str) -> BusSeverity:
    if words.startswith("C"):
        return "corrected"
    return "non_fatal" if "Non-Fatal" in words else "fatal"


# --- the time before a message

_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"\d\d:\d\d:\d\d"
_ISO = rf"\d{{4}}-\d\d-\d\d[T ]{_CLOCK}(?:[.,]\d{{1,9}})?(?:Z|[+-]\d\d:?\d\d)?"
_WALL = re.compile(
    rf"{_DAY} {_MONTH} [ \d]\d {_CLOCK} \d{{4}}"  # dmesg -T
    rf"|{_DAY} {_ISO}(?: [A-Z]{{3,5}}(?= ))?"  # journalctl -o short-full
    rf"|{_ISO}"
    rf"|{_MONTH} [ \d]\d {_CLOCK}(?:\.\d{{1,9}})?"  # syslog, journalctl
    rf"|{_MONTH}[ \d]\d \d\d:\d\d(?=\])"  # dmesg -e
    r"|^\d{10,19}(?:\.\d{1,9})?(?= )"  # seconds or microseconds since 1970
)
_BOOT_SECONDS = re.compile(r"\[\s*(\d{1,12}\.\d{1,9})(?:\s*<[^>\]]{1,20}>)?\]")
_KMSG_LINE = re.compile(r"\d{1,4},\d{1,12},\d{1,16},[^;\s]{0,12};")
_KMSG = re.compile(r"\d{1,4},\d{1,12},(\d{1,16}),[^;\s]{0,12};$")


def stamp(before: str) -> str | None:
    """The time that stands before a message, in the log's own words; `[902.500001]` are seconds since boot.

    The stamps nearest to the message are its own: containers and collectors put theirs before them.
    """
    wall = list(_WALL.finditer(before))
    boot = _BOOT_SECONDS.findall(before)
    raw = _KMSG.search(before)
    if raw and not boot:
        seconds, micros = divmod(int(raw[1]), 10**6)
        boot = [f"{seconds}.{micros:06d}"]
    words = ([wall[-1][0]] if wall else []) + ([f"[{boot[-1]}]"] if boot else [])
    return " ".join(words) or None


def stamp_of(line: str) -> str | None:
    """The time at the beginning of any line of a log, or that a JSON object of a journal holds."""
    time = _TIME_KEY.search(line, 0, _MAX_JSON) if line.startswith("{") else None
    if time is not None:
        return time["time"]
    raw = _KMSG_LINE.match(line)
    found = stamp(raw[0] if raw else line[:_MAX_STAMP])
    return found if found is not None and line.find(found.split()[0].strip("[")) < _MAX_STAMP_AT else None


_MAX_STAMP = 80
_MAX_STAMP_AT = 32
"""Because other texts name times too, later in a line."""
_IN_QUOTES = re.compile(r'(?:[:,\[]\s*|^\s*)"(?P<inside>[^"]*)$')
_END_OF_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')
_TIME_KEY = re.compile(
    r'"(?:__REALTIME_TIMESTAMP|@?timestamp|time|ts)"\s*:\s*"?(?P<time>[0-9][^",}\]]{3,39})', re.IGNORECASE
)


def _unquoted(message: str) -> str:
    """A message within a JSON string or a quoted cell ends with it."""
    end = _END_OF_QUOTE.search(message)
    text = message[: end.start()] if end else message
    if "\\" not in text:
        return text
    try:
        return msgspec.json.decode(f'"{text}"', type=str).strip()
    except msgspec.DecodeError:  # it was cut within an escape, or is no JSON
        return text
