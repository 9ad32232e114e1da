"""A kernel log as a whole: what it tells of each card, counted, in a bounded memory however long the log is.

A log may cover several boots, between which cards change places: a bus id is tied to a card only from the line that
names its UUID until the next boot or the next loading of the driver. What is logged of a bus id without such a line is
known of the bus id alone.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct, structs

from gpucert.capture import NOT_STATED, LoggedBusErrors, LoggedXid
from gpucert.catalogue import xid
from gpucert.catalogue.xid import FELL_OFF_THE_BUS
from gpucert.device.kernel_line import (
    BootLine,
    BusErrorLine,
    BusSeverity,
    DamagedLine,
    DriverLine,
    Line,
    LostLine,
    NamedLine,
    PresentLine,
    SerialLine,
    SxidLine,
    SxidSeverity,
    XidLine,
    messages,
    split,
    stamp,
    stamp_of,
)
from gpucert.device.smi_words import quote
from gpucert.reading import Absence, Absent, Reading

MAX_CARDS = 2_048
"""A rack's worth; what names more was made to keep somebody waiting."""
_MAX_ENTRIES = 10_000
"""Different Xids of all cards together: far above what a rack can log, and small enough to keep."""
_MAX_SWITCHES = 1_000
_SPAN_LINES = 50
_SPAN = 20_000
"""Characters at either end of a block in which stamps are looked for."""


class LoggedCard(Struct, frozen=True, kw_only=True):
    """What a log tells of one card, or of one place where it names no card."""

    bus_id: str
    uuid: str | None
    """None where the log ties no card to the bus id at that time."""
    serial: Reading[str]
    pci_device: str | None
    """Four hexadecimal digits, where the kernel or the driver shows them."""
    xids: tuple[LoggedXid, ...]
    bus_errors: tuple[LoggedBusErrors, ...]
    not_initialised: str
    """The driver's words where it could not start the card."""

    @property
    def told(self) -> bool:
        """Whether the log says more of it than that it is there."""
        return bool(self.xids or self.bus_errors or self.not_initialised or self.uuid)


class LoggedSxid(Struct, frozen=True, kw_only=True):
    """One SXid of one NVSwitch, however often it was logged."""

    switch: int
    code: int
    severity: SxidSeverity
    times: int


class KernelLog(Struct, frozen=True, kw_only=True):
    """Everything that is kept of a log."""

    cards: tuple[LoggedCard, ...]
    """In the order in which the log speaks of them."""
    switches: tuple[LoggedSxid, ...]
    homeless: tuple[LostLine, ...]
    """Losses and failed starts that name no card, each text once."""
    damaged: int
    """How many lines begin as an Xid and cannot be read."""
    damaged_line: str
    drivers: tuple[str, ...]
    """The versions of the driver that the log names, the last one last."""
    lines: int
    """How many lines the log has, whatever they say."""
    of_driver: bool
    """Whether any of them speaks of the driver or its cards."""
    first_at: Reading[str]
    last_at: Reading[str]
    overflow: bool
    """Whether it names more cards or more kinds of events than there can be."""


def merged(cards: Iterable[LoggedCard]) -> tuple[LoggedXid, ...]:
    """The Xids of several entries that are of one card, those of one meaning added up, by code."""
    told: dict[tuple[int, str], LoggedXid] = {}
    for one in (one for card in cards for one in card.xids):
        known = told.get((one.code, one.detail))
        told[one.code, one.detail] = one if known is None else _added(known, one)
    return tuple(sorted(told.values(), key=lambda one: one.code))


def housed(log: KernelLog, where: str) -> KernelLog:
    """The log, where what names no card is told of the only card that there is."""
    lost = [line.text for line in log.homeless if line.kind == "lost"]
    dead = [line.text for line in log.homeless if line.kind == "not_initialised"]
    card = LoggedCard(
        bus_id=where,
        uuid=None,
        serial=NOT_STATED,
        pci_device=None,
        xids=tuple(LoggedXid(code=FELL_OFF_THE_BUS, first=text) for text in lost[:1]),
        bus_errors=(),
        not_initialised="".join(dead[:1]),
    )
    return structs.replace(log, cards=(*log.cards, card), homeless=())


def one_spelling(uuid: str) -> str:
    """A UUID as logs and queries of one card can be compared by it."""
    return "GPU-" + uuid.removeprefix("GPU-").lower()


def _added(first: LoggedXid, then: LoggedXid) -> LoggedXid:
    return LoggedXid(
        code=first.code,
        times=first.times + then.times,
        first=first.first,
        last=then.last or then.first,
        first_at=first.first_at,
        last_at=then.last_at,
        detail=first.detail,
        caused_by=first.caused_by,
        words=first.words,
    )


# --- collecting


class _Event(Struct):
    """The first and the last of events of one kind, as lines; they are read again when the log is at its end."""

    first: str
    last: str
    times: int = 1

    def again(self, piece: str) -> None:
        self.times += 1
        self.last = piece


class _Card(Struct):
    """What has been collected of one card."""

    bus_id: str
    uuid: str | None
    pci_device: str | None
    xids: dict[tuple[int, str], _Event] = {}
    lost: _Event | None = None
    not_initialised: str = ""
    serials: list[str] = []
    bus_errors: dict[tuple[BusSeverity, bool], _Event] = {}


class Book:
    """Takes a log line by line."""

    def __init__(self) -> None:
        self._cards: dict[tuple[str, str | None, str | None], _Card] = {}
        self._here: dict[str, _Card] = {}
        """The card at each bus id since the last boot."""
        self._present: dict[str, str | None] = {}
        self._devices: dict[str, str] = {}
        """PCI device ids since the last boot."""
        self._last: _Card | None = None
        """The card that was named last: what a line without a bus id speaks of."""
        self._opened: str | None = None
        self._events: dict[str, _Event] = {}
        """The beginning of a line up to its number → what it counts for, whatever its text."""
        self._decoded: dict[str, tuple[_Card, int]] = {}
        """The same for numbers whose text decides what they count for."""
        self._homeless: dict[str, LostLine] = {}
        self._switches: dict[tuple[int, int, SxidSeverity], int] = {}
        self._drivers: dict[str, None] = {}
        self._damaged = 0
        self._damaged_line = ""
        self._lines = 0
        self._of_driver = False
        self._first: list[str] = []
        self._tail: list[str] = []
        self._entries = 0
        self._overflow = False

    def skim(self, block: str) -> None:
        """Count the lines of a block, whatever they say, and keep the first and last few for their stamps."""
        self._lines += block.count("\n") + 1
        if len(self._first) < _SPAN_LINES:
            self._first += (line[:_MAX_PIECE] for line in block[:_SPAN].split("\n")[:_SPAN_LINES])
        tail = [line[:_MAX_PIECE] for line in block[-_SPAN:].split("\n")[-_SPAN_LINES:]]
        self._tail = [*self._tail, *tail][-_SPAN_LINES:]

    def add(self, line: str) -> None:
        """Take one line that may be of interest."""
        at = line.find("NVRM: Xid (")
        end = line.find(",", at) if at >= 0 else -1
        if end >= 0:  # most lines of a log repeat an earlier one, whose beginning is known
            head = line[at:end]
            event = self._events.get(head)
            if event is None and head in self._decoded:
                event = self._decoded_event(head, line[end:])
            if event is not None and len(line) < _MAX_PIECE and line.find(_DRIVER, end) < 0:
                event.times += 1
                event.last = line
                return
        for message in messages(line) if line.count(_DRIVER) > 1 else (line,):
            found = split(message)
            if found is not None:
                self._take(found.said, found.piece)

    def _decoded_event(self, head: str, text: str) -> _Event | None:
        """What an Xid counts for whose text decides."""
        card, code = self._decoded[head]
        message = text.partition('"')[0]  # because in JSON it ends there
        _, _, after_name = message.partition(", name=")
        return card.xids.get((code, xid.decode(code, after_name.partition(",")[2] or message).words))

    def _take(self, said: Line, piece: str) -> None:
        if self._overflow:
            return
        self._of_driver = True
        match said:
            case XidLine():
                self._xid(said, piece)
            case NamedLine():
                self._last = self._here[said.bus_id] = self._card(said.bus_id, one_spelling(said.uuid))
                self._events.clear()
                self._decoded.clear()
            case SerialLine():
                self._serial(said)
            case LostLine():
                self._lost(said, piece)
            case PresentLine():
                self._seen(said)
            case BusErrorLine():
                self._bus_error(said, piece)
            case SxidLine():
                self._sxid(said)
            case DamagedLine():
                self._damaged += 1
                self._damaged_line = self._damaged_line or said.text
            case DriverLine():
                self._driver(said)
            case BootLine():
                self._forget()
                self._devices.clear()

    def _forget(self) -> None:
        """From here on a bus id may belong to another card."""
        self._here.clear()
        self._events.clear()
        self._decoded.clear()
        self._opened = self._last = None

    def _driver(self, said: DriverLine) -> None:
        self._drivers.pop(said.version, None)
        if len(self._drivers) < _DRIVERS:
            self._drivers[said.version] = None
        if said.loads:
            self._forget()

    def _xid(self, said: XidLine, piece: str) -> None:
        card = self._at(said.bus_id)
        event = card.xids.get((said.code, said.detail))
        if event is None:
            self._entries += 1
            if self._entries > _MAX_ENTRIES:
                self._overflow = True
                return
            event = card.xids[said.code, said.detail] = _Event(piece, piece)
        else:
            event.again(piece)
        if len(self._events) + len(self._decoded) > _MAX_HEADS:  # because one beginning can be spelled in many ways
            self._events.clear()
            self._decoded.clear()
        head = _HEAD.search(piece)
        if head and xid.has_details(said.code):
            self._decoded[head[0]] = card, said.code
        elif head:
            self._events[head[0]] = event

    def _unnamed(self, where: str) -> _Card:
        """The place alone: no line since the last boot has named the card in it."""
        card = self._here[where] = self._card(where, None)
        return card

    def _card(self, where: str, uuid: str | None) -> _Card:
        device = self._devices.get(where)
        key = (where, uuid, device if uuid is None else None)
        card = self._cards.get(key)
        if card is None:
            card = _Card(bus_id=where, uuid=uuid, pci_device=device)
            if len(self._cards) < MAX_CARDS:
                self._cards[key] = card
            else:
                self._overflow = True
        return card

    def _serial(self, said: SerialLine) -> None:
        card = self._last if said.bus_id is None else self._at(said.bus_id)
        if card is not None and said.serial not in card.serials and len(card.serials) < _SERIALS:
            card.serials.append(said.serial)

    def _at(self, where: str) -> _Card:
        return self._here.get(where) or self._unnamed(where)

    def _lost(self, said: LostLine, piece: str) -> None:
        where = said.bus_id or (self._opened if said.kind == "lost" else None)
        if where is None:
            if len(self._homeless) < _HOMELESS:
                self._homeless.setdefault(said.text, said)
            return
        card = self._last = self._at(where)
        if said.kind == "not_initialised":
            card.not_initialised = card.not_initialised or said.text
        elif card.lost is None:
            card.lost = _Event(piece, piece)
        else:
            card.lost.again(piece)

    def _seen(self, said: PresentLine) -> None:
        self._opened = said.bus_id if said.opens else self._opened
        if said.pci_device is not None:
            self._devices[said.bus_id] = said.pci_device
        if said.bus_id in self._present or len(self._present) < MAX_CARDS:
            self._present[said.bus_id] = said.pci_device or self._present.get(said.bus_id)

    def _bus_error(self, said: BusErrorLine, piece: str) -> None:
        """Ports relay the errors of any device: only those of a place where a GPU was seen are a card's."""
        if said.relayed and said.bus_id not in self._present and said.bus_id not in self._here:
            return
        card = self._at(said.bus_id)
        event = card.bus_errors.get((said.severity, said.relayed))
        if event is None:
            card.bus_errors[said.severity, said.relayed] = _Event(piece, piece)
        else:
            event.again(piece)

    def _sxid(self, said: SxidLine) -> None:
        """The details that follow an SXid repeat its number without a severity and are no further event."""
        key = (said.switch, said.code, said.severity)
        told = any((said.switch, said.code, severity) in self._switches for severity in _TOLD)
        if said.severity == "unknown" and told:
            return
        if key in self._switches or len(self._switches) < _MAX_SWITCHES:
            self._switches[key] = self._switches.get(key, 0) + 1

    def close(self) -> KernelLog:
        """What the log told."""
        cards = [_logged(card) for card in self._cards.values()]
        named = {card.bus_id for card in cards}
        cards += [
            _logged(_Card(bus_id=where, uuid=None, pci_device=device))
            for where, device in self._present.items()
            if where not in named
        ]
        return KernelLog(
            cards=tuple(cards),
            switches=tuple(
                LoggedSxid(switch=switch, code=code, severity=severity, times=times)
                for (switch, code, severity), times in self._switches.items()
            ),
            homeless=tuple(self._homeless.values()),
            damaged=self._damaged,
            damaged_line=self._damaged_line,
            drivers=tuple(self._drivers),
            lines=self._lines,
            of_driver=self._of_driver,
            first_at=_first_stamp(self._first),
            last_at=_first_stamp(reversed(self._tail)),
            overflow=self._overflow,
        )


_DRIVER = "NVRM:"
_HEAD = re.compile(r"NVRM: Xid \([^,]*(?=,)")
_MAX_HEADS = 20_000
_SERIALS = 2
_DRIVERS = 20
_HOMELESS = 20
_MAX_PIECE = 2_000
"""Characters of a line that are kept."""
_TOLD: tuple[SxidSeverity, ...] = ("fatal", "non_fatal")


def _first_stamp(lines: Iterable[str]) -> Reading[str]:
    stamps = (stamp_of(line) for line in lines)
    return next((one for one in stamps if one is not None), NOT_STATED)


def _logged(card: _Card) -> LoggedCard:
    return LoggedCard(
        bus_id=card.bus_id,
        uuid=card.uuid,
        serial=_serial_of(card.serials),
        pci_device=card.pci_device,
        xids=tuple(sorted(_xids(card), key=lambda one: one.code)),
        bus_errors=tuple(_bus_errors(card)),
        not_initialised=card.not_initialised,
    )


def _serial_of(serials: list[str]) -> Reading[str]:
    if len(serials) > 1:
        return Absent(Absence.UNKNOWN, f"the log says both {quote(serials[0])} and {quote(serials[1])}")
    return serials[0] if serials else NOT_STATED


def _xids(card: _Card) -> Iterator[LoggedXid]:
    """A loss that is told without a number is 79; the driver also says in plain words what its Xid 79 has said."""
    for (code, detail), event in card.xids.items():
        yield _logged_xid(code, detail, event)
    if card.lost is not None and not any(code == FELL_OFF_THE_BUS for code, _ in card.xids):
        yield _logged_xid(FELL_OFF_THE_BUS, "", card.lost)


def _logged_xid(code: int, detail: str, event: _Event) -> LoggedXid:
    first, last = _read_again(event.first), _read_again(event.last)
    nvlink = xid.nvlink_error(code, first.text)
    return LoggedXid(
        code=code,
        times=event.times,
        first=first.text,
        last=last.text if event.times > 1 else "",
        first_at=first.at,
        last_at=last.at,
        detail=detail,
        caused_by=first.caused_by,
        words=() if nvlink is None else nvlink.words,
    )


class _Told(NamedTuple):
    text: str
    at: Reading[str]
    caused_by: int | None


def _read_again(piece: str) -> _Told:
    found = split(piece)
    if found is None or not isinstance(found.said, XidLine | LostLine | BusErrorLine):
        return _Told("", NOT_STATED, None)
    cause = found.said.caused_by if isinstance(found.said, XidLine) else None
    return _Told(found.said.text, stamp(found.before) or NOT_STATED, cause)


def _bus_errors(card: _Card) -> Iterator[LoggedBusErrors]:
    """By severity. The port above relays what the device tells: the higher count of the two is that of the errors."""
    for severity in _BUS_SEVERITIES:
        told = [event for (one, _), event in card.bus_errors.items() if one == severity]
        if told:
            event = max(told, key=lambda one: one.times)
            first, last = _read_again(event.first), _read_again(event.last)
            yield LoggedBusErrors(
                severity=severity, times=event.times, first=first.text, first_at=first.at, last_at=last.at
            )


_BUS_SEVERITIES: tuple[BusSeverity, ...] = ("corrected", "non_fatal", "fatal")
