"""The inspection report: what cards say of themselves, what speaks against each, and what none of it can prove."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpucert.capture import Capture, LoggedXid
from gpucert.catalogue import xid
from gpucert.certificate import advice, proofs, readings
from gpucert.certificate.templates import template, whole_page
from gpucert.certificate.words import ACTIONS, FOUND, NOTHING_FOUND, STATION
from gpucert.outcome import Look as Mark
from gpucert.outcome import Outcome
from gpucert.reading import Absent
from gpucert.verdict.look import Look

COLUMNS = 4
"""Captures that stand side by side; of more, the first and the latest ones."""
XIDS_SHOWN = 40
DIAGNOSES_SHOWN = 12


@dataclass(frozen=True)
class Source:
    """A file as it was read, so that a reader can check that it is the one."""

    name: str
    sha256: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class _Text:
    """One reading of one capture; `differs` where the captures of the card do not agree on it."""

    text: str
    differs: bool


@dataclass(frozen=True)
class _Topic:
    """The readings of one topic, in one cell for each capture."""

    name: str
    cells: tuple[tuple[_Text, ...], ...]


@dataclass(frozen=True)
class _Logged:
    told: LoggedXid
    meaning: str
    action: str


@dataclass(frozen=True)
class _Card:
    """One card as the page shows it."""

    look: Look
    name: str
    mark: Mark
    sentence: str
    sections: tuple[advice.Section, ...]
    disclosed: tuple[str, ...]
    columns: tuple[Capture, ...]
    left_out: int
    topics: tuple[_Topic, ...]
    unread: tuple[tuple[str, str], ...]
    log: tuple[_Logged, ...]
    proofs: tuple[proofs.Shown, ...]


def render(
    looks: Sequence[Look], sources: Sequence[Source], unreadable: Sequence[str], *, made_at: str, version: str
) -> str:
    """The page. The same arguments give the same text. Raises PageTooLargeError beyond 1 MB."""
    cards = tuple(_card(look) for look in looks)
    return whole_page(
        template("inspection.html.j2").render(
            cards=cards,
            found=sum(card.look.found for card in cards),
            sources=sources,
            unreadable=unreadable,
            made_at=made_at,
            version=version,
            diagnoses_shown=DIAGNOSES_SHOWN,
        )
    )


def _card(look: Look) -> _Card:
    captures = look.captures
    columns = captures if len(captures) <= COLUMNS else (captures[0], *captures[-(COLUMNS - 1) :])
    name = look.identity.name
    return _Card(
        look=look,
        name="A card that gave no name" if isinstance(name, Absent) else name,
        mark=_mark(look),
        sentence=_sentence(look),
        sections=advice.sorted_by_subject(look.diagnoses, only_advise=False),
        disclosed=tuple(_disclosed(look)),
        columns=columns,
        left_out=len(captures) - len(columns),
        topics=tuple(_topics(columns)),
        unread=tuple(readings.unread(captures).items()),
        log=tuple(_log(captures)),
        proofs=proofs.shown(captures),
    )


def _mark(look: Look) -> Mark:
    """How the card is marked: what is about its station alone must not read as its fault."""
    if not look.found:
        return NOTHING_FOUND
    return FOUND if any(one.subject == "card" for one in look.diagnoses) else STATION


def _sentence(look: Look) -> str:
    if not look.found:
        return "Nothing that was read speaks against this card. What could not be read may."
    against = sum(one.subject == "card" for one in look.diagnoses)
    station = sum(one.subject == "station" for one in look.diagnoses)
    card = f"{against} {'diagnosis speaks' if against == 1 else 'diagnoses speak'} against the card" if against else ""
    noun = "" if card else ("diagnosis " if station == 1 else "diagnoses ")
    host = f"{station} {noun}{'is' if station == 1 else 'are'} about the station that held it" if station else ""
    said = ", ".join(part for part in (card, host) if part)
    return f"{said[:1].upper()}{said[1:]}." if said else "A reading failed its rule; see below."


def _disclosed(look: Look) -> Iterator[str]:
    """What is no fault and belongs to an honest sale all the same: few remapped rows, old errors."""
    for finding in look.findings:
        if finding.outcome is Outcome.PASS and finding.probe != "identity" and finding.measure != "model":
            yield finding.reason


def _topics(captures: tuple[Capture, ...]) -> Iterator[_Topic]:
    rows = tuple(zip(*(readings.items(capture) for capture in captures), strict=True))
    for topic in dict.fromkeys(row[0].topic for row in rows):
        told = [row for row in rows if row[0].topic == topic and any(item.known for item in row)]
        if told:
            yield _Topic(topic, tuple(_cell(told, column) for column in range(len(captures))))


def _cell(rows: list[tuple[readings.Item, ...]], column: int) -> tuple[_Text, ...]:
    return tuple(
        _Text(str(row[column].text), len({item.text for item in row if item.known}) > 1)
        for row in rows
        if row[column].known
    )


def _log(captures: tuple[Capture, ...]) -> Iterator[_Logged]:
    told = [one for capture in captures for one in capture.log]
    for one in told[:XIDS_SHOWN]:
        row = xid.describe(one.code)
        yield _Logged(one, row.meaning, ACTIONS.get(row.immediate, row.immediate) or "none named")
