"""What a kernel log tells, as captures: of cards that its file shows elsewhere too, and of those that only it names."""

from collections.abc import Iterable, Iterator

from msgspec import structs

from gpucert.capture import NOT_STATED, Capture
from gpucert.catalogue.xid import FELL_OFF_THE_BUS
from gpucert.device import kernel_log
from gpucert.device.kernel_log import KernelLog, LoggedCard
from gpucert.device.mention import mention
from gpucert.device.smi_words import quote
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Identity


def tied(captures: list[Capture], log: KernelLog, source: str) -> list[Capture]:
    """The captures with what the log tells of their cards, then the cards that only the log speaks of."""
    of_capture: dict[int, list[LoggedCard]] = {}
    alone: list[LoggedCard] = []
    for card in log.cards:
        if not card.told:
            continue
        here = _of_card(card, captures, log)
        for number in here:
            of_capture.setdefault(number, []).append(card)
        if not here:
            alone.append(card)
    told = [
        _with_cards(capture, of_capture[number]) if number in of_capture else capture
        for number, capture in enumerate(captures)
    ]
    return told + [_from_log(card, log, source, alone=not captures) for card in alone]


def _of_card(card: LoggedCard, captures: list[Capture], log: KernelLog) -> list[int]:
    """Which captures are of this card: by UUID, else by bus id where nothing says that another card stood there."""
    if card.uuid is not None:
        same = [n for n, one in enumerate(captures) if _uuid(one) == card.uuid]
        if same:
            return same
    here = [n for n, one in enumerate(captures) if one.identity.bus_id == card.bus_id]
    if card.uuid is not None:
        return [n for n in here if _uuid(captures[n]) is None]
    others = {one.uuid for one in log.cards if one.bus_id == card.bus_id and one.uuid is not None}
    return here if others <= {_uuid(captures[n]) for n in here} else []


def _uuid(capture: Capture) -> str | None:
    """The UUID in the log's spelling, None where it is not known or masked by whoever collected it."""
    uuid = capture.identity.uuid
    if isinstance(uuid, Absent) or set(uuid.upper().removeprefix("GPU-")) <= set("0X*-"):
        return None
    return kernel_log.one_spelling(uuid)


def _with_cards(capture: Capture, cards: list[LoggedCard]) -> Capture:
    notes = list(capture.notes)
    if any(card.uuid is None for card in cards) and _uuid(capture) is not None:
        notes.append("Only its bus id ties some lines of the kernel log to this card.")
    serials = {card.serial for card in cards if not isinstance(card.serial, Absent)}
    said = capture.identity.serial
    if not isinstance(said, Absent) and serials - {said}:
        notes.append(f"The kernel log names another serial for this card: {', '.join(sorted(serials - {said}))}.")
    return structs.replace(
        capture,
        log=kernel_log.merged(cards),
        bus_errors=tuple(error for card in cards for error in card.bus_errors),
        not_initialised=next((card.not_initialised for card in cards if card.not_initialised), ""),
        notes=(*notes, *_bus_notes(cards)),
    )


def _from_log(card: LoggedCard, log: KernelLog, source: str, *, alone: bool) -> Capture:
    """A card of which only the kernel log speaks: one that fell off the bus is missing from the query beside it."""
    lost = next((one.first for one in card.xids if one.code == FELL_OFF_THE_BUS), None)
    reason = NOT_STATED if lost is None else Absent(Absence.LOST, f"kernel log: {lost}")
    capture = mention(_identity(card, log, reason), reason, source, _statement(card, log, alone=alone))
    return structs.replace(
        capture,
        log=card.xids,
        bus_errors=card.bus_errors,
        not_initialised=card.not_initialised,
        notes=(*capture.notes, *_bus_notes([card])),
    )


def statements(log: KernelLog, source: str) -> list[Capture]:
    """Cards that a log shows and says nothing else of: what it says is a statement, not a verdict."""
    return [_from_log(card, log, source, alone=True) for card in log.cards]


def _identity(card: LoggedCard, log: KernelLog, reason: Absent) -> Identity:
    return Identity(
        bus_id=card.bus_id,
        uuid=card.uuid or reason,
        serial=reason if card.serial == NOT_STATED else card.serial,
        pci_device=card.pci_device or reason,
        driver=_driver(log),
    )


def _driver(log: KernelLog) -> Reading[str]:
    """The driver's version, where the log names one and no other."""
    if len(log.drivers) > 1:
        return Absent(Absence.UNKNOWN, f"the log names {quote(log.drivers[-2])} and {quote(log.drivers[-1])}")
    return log.drivers[0] if log.drivers else NOT_STATED


def _statement(card: LoggedCard, log: KernelLog, *, alone: bool) -> str:
    """What is known of a card from a log; `alone` where the file is nothing but the log."""
    words = f"Only a kernel log shows this card{f': {span(log)}' if alone else ''}"
    if card.xids or card.not_initialised or card.bus_errors:
        return f"{words}."
    return f"{words}, without any Xid of it. Nothing is known of its counters."


def span(log: KernelLog) -> str:
    """`1204 lines from Feb 01 14:25:31 to Feb 02 09:00:00`."""
    lines = "1 line" if log.lines == 1 else f"{log.lines} lines"
    if isinstance(log.first_at, Absent) or isinstance(log.last_at, Absent):
        return f"{lines} without time stamps"
    return f"{lines} from {log.first_at} to {log.last_at}"


def _bus_notes(cards: Iterable[LoggedCard]) -> Iterator[str]:
    for error in (error for card in cards for error in card.bus_errors):
        often = "1 PCIe error" if error.times == 1 else f"{error.times} PCIe errors"
        severity = {"corrected": "corrected", "non_fatal": "uncorrected, not fatal", "fatal": "uncorrected, fatal"}
        yield f"The kernel log counts {often} of this card ({severity[error.severity]}): {quote(error.first)}"


def of_file(log: KernelLog) -> Iterator[str]:
    """What a log tells that no single card is to blame for."""
    for one in log.switches[:_MAX_NOTES]:
        severity = _SEVERITY[one.severity]
        often = "once" if one.times == 1 else f"{one.times} times"
        yield f"NVSwitch {one.switch} logged SXid {one.code} ({severity}) {often}: a matter of the baseboard."
    if len(log.switches) > _MAX_NOTES:
        yield f"NVSwitches logged {len(log.switches) - _MAX_NOTES} other kinds of SXid."
    for line in log.homeless:
        what = "A card fell off the bus" if line.kind == "lost" else "The driver could not start a card"
        yield f"{what} that the log does not name: {quote(line.text)}"
    if log.damaged:
        lines = "1 line begins" if log.damaged == 1 else f"{log.damaged} lines begin"
        yield f"{lines} as an Xid and cannot be read, for example {quote(log.damaged_line)}"


_MAX_NOTES = 8
_SEVERITY = {"fatal": "fatal", "non_fatal": "not fatal", "unknown": "of unknown severity"}
