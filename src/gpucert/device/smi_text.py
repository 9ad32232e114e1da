"""The plain text of `nvidia-smi -q`: finds every such document in a file and turns it into answers."""

import re
from collections.abc import Iterable, Iterator

from gpucert.device import bus_id
from gpucert.device.smi_document import Card, Document, UnreadableCaptureError
from gpucert.device.smi_words import Answers

_TITLE = re.compile(r"=+NVSMI LOG=+")
_CARD = re.compile(r"GPU\s+([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])")
_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")
_MAX_LINE = 2_000
_MAX_INDENT = 64
"""Because nvidia-smi nests six levels of four blanks; deeper lines are no part of it."""


def documents(text: str, source: str) -> tuple[Document, ...]:
    """Every document in the text, in order. Raises UnreadableCaptureError for one that is cut off."""
    return tuple(_document(lines, source) for lines in _split(text.splitlines()))


def _split(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines between one title and the next, less the margin that a pasted title stands in."""
    current: list[str] | None = None
    margin = ""
    for line in lines:
        if _TITLE.fullmatch(line.strip()):
            if current is not None:
                yield current
            current, margin = [], line[: line.index("=")]
        elif current is not None:
            current.append(line[:_MAX_LINE].removeprefix(margin).expandtabs(4))
    if current is not None:
        yield current


def _document(lines: list[str], source: str) -> Document:
    """The head and the cards; the first other line without indentation ends the last card."""
    head: list[str] = []
    cards: list[tuple[str, list[str]]] = []
    for line in lines:
        found = _CARD.fullmatch(line.strip()) if line[:1] != " " else None
        if found:
            cards.append((bus_id.normal(found[1]) or found[1], []))
        elif not cards:
            head.append(line)
        elif line[:1] == " " or not line:
            cards[-1][1].append(line)
        else:
            break
    return Document(head=_answers(head), cards=tuple(_card(where, body, source) for where, body in cards))


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
