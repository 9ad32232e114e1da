"""The plain text of `nvidia-smi -q`: takes a document line by line and turns it into answers."""

import re
from collections.abc import Iterable

from gpucert.device import bus_id
from gpucert.device.smi_document import Card, Document, UnreadableCaptureError
from gpucert.device.smi_words import Answers
from gpucert.device.text_file import CUT

_TITLE = re.compile(r"(?P<margin>\s*)=+NVSMI LOG=+\s*")
_CARD = re.compile(r"GPU\s+([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s*")
_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")
_MAX_LINE = 2_000
_MAX_INDENT = 64
"""Because nvidia-smi nests six levels of four blanks; deeper lines are no part of it."""
_MAX_HEAD_LINES = 200
_MAX_CARD_LINES = 20_000
"""The list of supported clocks has a thousand lines or two; nothing else is long."""


def margin(line: str) -> str | None:
    """What stands before the title where this line is one (a pasted document is indented), None for other lines."""
    title = _TITLE.fullmatch(line)
    return title["margin"] if title else None


def is_card(line: str) -> bool:
    """Whether this line is the heading of a card, at its place in the first column."""
    return _CARD.fullmatch(line) is not None


class TextDocument:
    """One document, collected as its lines come; without a title where a card's heading stands alone."""

    def __init__(self, source: str, margin: str = "") -> None:
        self._source = source
        self._margin = margin
        self._head: list[str] = []
        self._cards: list[tuple[str, list[str]]] = []

    def take(self, line: str) -> bool:
        """Take a line; False for one that is no part of the document, which is over then."""
        line = line[:_MAX_LINE].removeprefix(self._margin).expandtabs(4)
        found = _CARD.fullmatch(line)
        if found:
            self._cards.append((bus_id.normal(found[1]) or found[1], []))
            return True
        lines, most = (self._cards[-1][1], _MAX_CARD_LINES) if self._cards else (self._head, _MAX_HEAD_LINES)
        if (self._cards and line[:1] not in {" ", ""}) or len(lines) >= most:
            return False
        lines.append(line)
        return True

    def close(self) -> Document:
        """The head and the cards. Raises UnreadableCaptureError for a card that is cut off."""
        lines = self._cards[-1][1] if self._cards else self._head
        if lines:  # because people paste without the last line end, which is no cut
            lines[-1] = lines[-1].removesuffix(CUT)
        return Document(head=_answers(self._head), cards=tuple(_card(*card, self._source) for card in self._cards))


def _card(where: str, lines: list[str], source: str) -> Card:
    answers = _answers(lines)
    if not any(path.partition("/")[0] == "processes" for path in answers.stated):
        raise UnreadableCaptureError(
            f"{source}: the text of GPU {where} ends before its list of processes, so it was cut off or made with -d; "
            "capture it again with `nvidia-smi -q > FILE`"
        )
    return Card(bus_id=where, answers=answers)


def _answers(lines: Iterable[str]) -> Answers:
    """Indentation makes sections: `ECC Mode` / `Current : Enabled` becomes `ecc_mode/current`."""
    stated: dict[str, list[str]] = {}
    open_sections: list[tuple[int, str]] = []
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        label, colon, value = line.partition(":")
        slug = _NOT_A_LETTER.sub("_", label.lower()).strip("_")
        if not slug or indent > _MAX_INDENT:
            continue
        while open_sections and open_sections[-1][0] >= indent:
            open_sections.pop()
        open_sections.append((indent, slug))
        if colon:
            stated.setdefault("/".join(name for _, name in open_sections), []).append(value.strip())
    return Answers(stated)
