"""Captures: what `nvidia-smi -q` or `-q -x` printed, read as a card that can be looked at but not loaded.

A file may hold several documents (idle and under load, or a whole nvidia-bug-report) and each document several cards:
every card of every document becomes one capture. Labels of drivers 384 to 610 are known; what a file does not state is
an absent reading and never a zero.
"""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from gpucert.capture import Capture, LoggedXid
from gpucert.catalogue.xid import FELL_OFF_THE_BUS
from gpucert.device import bus_id, kernel_log, smi_card, smi_foreign, smi_text, smi_xml, text_file
from gpucert.device.smi_document import Card, Document, UnreadableCaptureError
from gpucert.device.smi_words import NOT_STATED, count, quote
from gpucert.reading import NOT_ASKED, Absence, Absent
from gpucert.record import Counters, Identity, Sample, Settings

__all__ = ["UnreadableCaptureError", "from_bytes", "load", "read"]


def load(path: Path) -> tuple[Capture, ...]:
    """Read a file. Raises UnreadableCaptureError."""
    try:
        data = text_file.data(path)
    except text_file.UnreadableTextError as error:
        raise UnreadableCaptureError(str(error)) from error
    return from_bytes(data, str(path))


def from_bytes(data: bytes, source: str) -> tuple[Capture, ...]:
    """Read the bytes of a file or pipe, gzip and UTF-16 included. Raises UnreadableCaptureError."""
    try:
        text = text_file.decode(data, source)
    except text_file.UnreadableTextError as error:
        raise UnreadableCaptureError(str(error)) from error
    return read(text, source)


def read(text: str, source: str) -> tuple[Capture, ...]:
    """Every card of every document in a text; `source` names it in errors. Raises UnreadableCaptureError."""
    documents = (*smi_text.documents(text, source), *smi_xml.documents(text, source))
    lines = tuple(kernel_log.scan(text.splitlines()))
    _refuse_too_many(sum(len(document.cards) for document in documents), source)
    _refuse_too_many(len({line.bus_id for line in lines}), source)
    captures = [
        _capture(card, document, source, (number, len(documents)))
        for number, document in enumerate(documents, start=1)
        for card in document.cards
    ]
    captures += _from_banners(text, source, {_where(capture) for capture in captures})
    corrupted = _corrupted_inforoms(text)
    captures += _from_log(lines, source, {_where(capture) for capture in captures})
    if not captures:
        raise UnreadableCaptureError(smi_foreign.why(text, source, empty_document=bool(documents)))
    log, dead = kernel_log.by_card(lines), kernel_log.not_initialised(lines)
    return tuple(_with_rest_of_file(capture, corrupted, log, dead) for capture in captures)


_MAX_CARDS = 2_048
"""A rack's worth of documents in one file; what holds more was made to keep somebody waiting."""


def _refuse_too_many(cards: int, source: str) -> None:
    if cards > _MAX_CARDS:
        raise UnreadableCaptureError(f"{source}: names {cards} cards, more than {_MAX_CARDS}; split the file")


def _where(capture: Capture) -> str:
    return str(capture.identity.bus_id)


def _capture(card: Card, document: Document, source: str, place: tuple[int, int]) -> Capture:
    answers = card.answers
    if not answers.has("product_name"):
        raise UnreadableCaptureError(
            f"{source}: GPU {card.bus_id} has no product name, so this is no full query; "
            "capture it again with `nvidia-smi -q > FILE`"
        )
    return Capture(
        source=source,
        document=place[0],
        documents=place[1],
        taken_at=document.head.say("timestamp"),
        identity=smi_card.identity(card, smi_card.driver(document.head)),
        settings=smi_card.settings(answers),
        counters=smi_card.counters(answers),
        processes=smi_card.processes(answers),
        sample=smi_card.sample(answers),
        notes=_notes(document),
    )


def _notes(document: Document) -> tuple[str, ...]:
    attached = count(document.head.say("attached_gpus"), "attached GPUs")
    shown = len(document.cards)
    if isinstance(attached, int) and attached != shown:
        return (f"The document says that {attached} GPUs are attached and shows {shown}.",)
    return ()


# --- what the rest of the file says about a card

_CORRUPTED = re.compile(r"infoROM is corrupted at gpu\s+([0-9A-Fa-f:.]{7,20})", re.IGNORECASE)
_NO_HANDLE = re.compile(
    r"Unable to determine the device handle for (?:the )?GPU\s?(?:\d{1,3}:\s?)?"
    r"([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]):\s*([^\r\n]{0,200})"
)


def _corrupted_inforoms(text: str) -> dict[str, str]:
    """Bus id → the driver's own words."""
    found = {}
    for match in _CORRUPTED.finditer(text):
        where = bus_id.normal(match[1].rstrip("."))
        if where:
            found[where] = match[0]
    return found


def _from_banners(text: str, source: str, known: set[str]) -> list[Capture]:
    """Cards of which the file shows no document, only a line that decides: a lost card, a corrupted InfoROM."""
    lost = {bus_id.normal(match[1]) or match[1]: match[0] for match in _NO_HANDLE.finditer(text)}
    captures = [_lost(where, words.strip(), source) for where, words in lost.items() if where not in known]
    for where in _corrupted_inforoms(text):
        if where not in known and where not in lost:
            captures.append(_glimpse(where, text, source))
    return captures


S = TypeVar("S", Identity, Settings, Counters, Sample)


def _fill(values: S, reason: Absent) -> S:
    """The same values, where everything not asked is absent for this reason."""
    unasked = (name for name in values.__struct_fields__ if getattr(values, name) == NOT_ASKED)
    return msgspec.structs.replace(values, **dict.fromkeys(unasked, reason))


def _from_log(lines: tuple[kernel_log.Line, ...], source: str, known: set[str]) -> list[Capture]:
    """Cards of which only the kernel log speaks: one that fell off the bus is missing from the query beside it."""
    uuids = {line.bus_id: line.uuid for line in lines if isinstance(line, kernel_log.NamedLine)}
    told, dead = kernel_log.by_card(lines), kernel_log.not_initialised(lines)
    captures = []
    for where in (where for where in (told | dead) if where not in known):
        lost = next((one.first for one in told.get(where, ()) if one.code == FELL_OFF_THE_BUS), None)
        reason = NOT_STATED if lost is None else Absent(Absence.LOST, f"kernel log: {lost}")
        identity = Identity(bus_id=where, uuid=uuids.get(where, reason))
        captures.append(_mention(identity, reason, source, "Only the kernel log names this card."))
    return captures


def _lost(where: str, words: str, source: str) -> Capture:
    """The driver has no handle for a card that it knew: whatever the error says, the card does not answer."""
    return _mention(Identity(bus_id=where), Absent(Absence.LOST, words), source, words)


def _glimpse(where: str, text: str, source: str) -> Capture:
    """A card that the file only names beside a warning; the summary table gives what else there is."""
    name, driver = smi_foreign.table_row(text, where)
    note = "Only a warning names this card: no counters were read. `nvidia-smi -q` gives them."
    return _mention(Identity(bus_id=where, name=name, driver=driver), NOT_STATED, source, note)


def _mention(known: Identity, reason: Absent, source: str, note: str) -> Capture:
    """A capture of a card of which next to nothing is known; every other reading is absent for one reason."""
    return Capture(
        source=source,
        document=1,
        documents=1,
        taken_at=NOT_STATED,
        identity=_fill(known, reason),
        settings=_fill(Settings(), reason),
        counters=_fill(Counters(), reason),
        processes=reason,
        sample=_fill(Sample(at_s=0.0), reason),
        notes=(note,),
    )


def _with_rest_of_file(
    capture: Capture, corrupted: dict[str, str], log: dict[str, tuple[LoggedXid, ...]], dead: dict[str, str]
) -> Capture:
    where = _where(capture)
    counters = capture.counters
    if where in corrupted:
        counters = msgspec.structs.replace(counters, inforom_valid=False)
    notes = (
        capture.notes if where not in corrupted else (*capture.notes, f"The driver warns: {quote(corrupted[where])}")
    )
    return msgspec.structs.replace(
        capture, counters=counters, log=log.get(where, ()), not_initialised=dead.get(where, ""), notes=notes
    )
