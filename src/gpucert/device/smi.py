"""Captures: files that speak of cards, read as cards that can be looked at but not loaded.

A file may hold the output of `nvidia-smi -q` or `-q -x`, several times (idle and under load), a kernel log, a summary
table, a listing of NVLinks, or all of them, as an nvidia-bug-report does, and be of any length. Every card of every
document becomes one capture; a card of which only a log, a listing or a warning speaks becomes one too. Labels of
drivers 384 to 610 are known; what a file does not state is an absent reading and never a zero.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from gpucert.capture import NOT_STATED, Capture
from gpucert.device import kernel_log, smi_card, smi_foreign, smi_log, smi_nvlink, smi_table, smi_whole, text_file
from gpucert.device.kernel_log import KernelLog
from gpucert.device.mention import ADVICE, filled, mention
from gpucert.device.smi_document import Card, Document, UnreadableCaptureError
from gpucert.device.smi_sieve import Sieve, Sifted
from gpucert.device.smi_words import count, quote
from gpucert.reading import Absence, Absent
from gpucert.record import Identity

__all__ = ["UnreadableCaptureError", "load", "read", "read_stream"]


def load(path: Path) -> tuple[Capture, ...]:
    """Read a file. Raises UnreadableCaptureError."""
    try:
        with text_file.open_file(path) as stream:
            return read_stream(stream, str(path))
    except text_file.UnreadableTextError as error:
        raise UnreadableCaptureError(str(error)) from error


def read(text: str, source: str) -> tuple[Capture, ...]:
    """Read a text; `source` names it in errors. Raises UnreadableCaptureError."""
    return read_stream(io.BytesIO(text.encode("utf-8", errors="replace")), source)


def read_stream(stream: text_file.Readable, source: str) -> tuple[Capture, ...]:
    """Read a stream of bytes to its end, gzip and UTF-16 included. Raises UnreadableCaptureError."""
    sieve = Sieve(source)
    documents: list[tuple[Capture, ...]] = []
    cards = 0
    try:
        for block in text_file.blocks(stream, source):
            for document in sieve.feed(block):
                documents.append(_captures(document, source, len(documents) + 1))
                cards += len(document.cards)
                _refuse_too_many(cards, source)
    except text_file.UnreadableTextError as error:
        raise UnreadableCaptureError(str(error)) from error
    documents += [_captures(document, source, len(documents) + 1) for document in sieve.close()]
    return _assembled(documents, sieve.sifted(), source)


_MAX_CARDS = kernel_log.MAX_CARDS


def _refuse_too_many(cards: int, source: str) -> None:
    if cards > _MAX_CARDS:
        raise UnreadableCaptureError(f"{source}: names {cards} cards, more than {_MAX_CARDS}; split the file")


# --- documents


def _captures(document: Document, source: str, number: int) -> tuple[Capture, ...]:
    return tuple(_capture(card, document, source, number) for card in document.cards)


def _capture(card: Card, document: Document, source: str, number: int) -> Capture:
    answers = card.answers
    if not answers.has("product_name"):
        raise UnreadableCaptureError(
            f"{source}: GPU {card.bus_id} has no product name, so this is no full query; "
            "capture it again with `nvidia-smi -q > FILE`"
        )
    if smi_card.is_spliced(card):
        raise UnreadableCaptureError(
            f"{source}: the text of GPU {card.bus_id} holds the answers of more than one card, so lines are missing; "
            "capture it again with `nvidia-smi -q > FILE`"
        )
    capture = Capture(
        source=source,
        document=number,
        taken_at=document.head.say("timestamp"),
        identity=smi_card.identity(card, smi_card.driver(document.head)),
        settings=smi_card.settings(answers),
        counters=smi_card.counters(answers, document.head.say("timestamp")),
        processes=smi_card.processes(answers),
        sample=smi_card.sample(answers),
        notes=tuple(_notes(document)),
    )
    return filled(msgspec.structs.replace(capture, left_out=smi_whole.left_out(capture, document.head, answers)))


def _notes(document: Document) -> Iterator[str]:
    attached = count(document.head.say("attached_gpus"), "attached GPUs")
    shown = len(document.cards)
    if isinstance(attached, int) and attached != shown:
        yield f"The document says that {attached} GPUs are attached and shows {shown}."
    driver = smi_card.driver(document.head)
    if (smi_whole.major(driver) or 0) > smi_whole.NEWEST:
        yield f"Driver {driver} is newer than those known here: whether the query leaves anything out was not told."


# --- what the rest of the file says


def _assembled(documents: list[tuple[Capture, ...]], rest: Sifted, source: str) -> tuple[Capture, ...]:
    """The captures of the documents with what the rest of the file says of them, and those that only it speaks of."""
    if rest.log.overflow:
        raise UnreadableCaptureError(f"{source}: a log of more cards or events than there can be; split the file")
    captures = [msgspec.structs.replace(capture, documents=len(documents)) for cards in documents for capture in cards]
    known = _places(captures)
    table, links = smi_table.captures(rest.table, source), smi_nvlink.captures(rest.links, source)
    captures += (filled(one) for one in table if str(one.identity.bus_id) not in known)
    captures = _with_links(captures, map(filled, links))
    captures += (_lost(where, words, source) for where, words in rest.lost.items())
    known = _places(captures)
    captures += (_glimpse(where, source) for where in rest.corrupted if where not in known)
    log = rest.log
    places = _places(captures) | {card.bus_id for card in log.cards}
    if log.homeless and len(places) == 1:
        log = kernel_log.housed(log, places.pop())
    captures = smi_log.tied(captures, log, source) or smi_log.statements(log, source)
    _refuse_too_many(len(captures), source)
    if not captures:
        raise UnreadableCaptureError(smi_foreign.why(rest.beginning, source, rest.log, empty_document=bool(documents)))
    notes = tuple(_of_file(documents, log))
    return tuple(_warned(capture, rest.corrupted, notes) for capture in captures)


def _places(captures: Iterable[Capture]) -> set[str]:
    return {str(capture.identity.bus_id) for capture in captures if isinstance(capture.identity.bus_id, str)}


def _lost(where: str, words: str, source: str) -> Capture:
    """The driver has no handle for a card that it knew: whatever the error says, the card does not answer."""
    return mention(Identity(bus_id=where), Absent(Absence.LOST, words), source, words)


def _glimpse(where: str, source: str) -> Capture:
    """A card that the file only names in a warning."""
    note = f"Only a warning names this card: no counters were read. {ADVICE}"
    return mention(Identity(bus_id=where), NOT_STATED, source, note)


def _warned(capture: Capture, corrupted: dict[str, str], notes: tuple[str, ...]) -> Capture:
    """The capture with a warning of its InfoROM and with what concerns the file as a whole."""
    words = corrupted.get(str(capture.identity.bus_id))
    if words is None:
        return msgspec.structs.replace(capture, notes=(*capture.notes, *notes))
    return msgspec.structs.replace(
        capture,
        counters=msgspec.structs.replace(capture.counters, inforom_valid=False),
        notes=(*capture.notes, f"The driver warns: {quote(words)}", *notes),
    )


def _with_links(captures: list[Capture], listed: Iterable[Capture]) -> list[Capture]:
    """The captures with their NVLinks; a card that only the listing of links shows is one by itself.

    Where the UUIDs are masked, one listing may be of any of the cards.
    """
    captures = list(captures)
    for one in listed:
        same = [n for n, capture in enumerate(captures) if capture.identity.uuid == one.identity.uuid]
        if not same or len(_places(captures[n] for n in same)) > 1:
            captures.append(one)
            continue
        for n in same:
            counters = msgspec.structs.replace(
                captures[n].counters, nvlinks_up=one.counters.nvlinks_up, nvlink_errors=one.counters.nvlink_errors
            )
            captures[n] = msgspec.structs.replace(captures[n], nvlinks=one.nvlinks, counters=counters)
    return captures


def _of_file(documents: list[tuple[Capture, ...]], log: KernelLog) -> Iterator[str]:
    """What concerns every card of the file, or none."""
    empty = [number for number, cards in enumerate(documents, start=1) if not cards]
    if empty:
        yield f"Document {', '.join(map(str, empty))} of {len(documents)} in this file lists no GPU."
    yield from smi_log.of_file(log)
