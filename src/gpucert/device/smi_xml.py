"""The XML of `nvidia-smi -q -x`: finds every such document in a file and turns it into answers.

The parser is handed the root element alone, never the prologue with its DOCTYPE, so that no DTD can define entities or
name files to be fetched; a file that defines entities is refused by name.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.parsers import expat

from gpucert.device import bus_id
from gpucert.device.smi_document import Card, Document, UnreadableCaptureError
from gpucert.device.smi_words import Answers

_ROOT = re.compile(r"<nvidia_smi_log[\s>]")
_END = "</nvidia_smi_log>"
_MAX_DEPTH = 32


def documents(text: str, source: str) -> tuple[Document, ...]:
    """Every document in the text, in order. Raises UnreadableCaptureError for broken XML."""
    starts = [match.start() for match in _ROOT.finditer(text)]
    if starts and "<!ENTITY" in text:
        raise UnreadableCaptureError(f"{source}: defines XML entities, which nvidia-smi never does; refused")
    return tuple(_document(part, source) for part in _split(text, starts))


def _split(text: str, starts: list[int]) -> Iterator[str]:
    for start, limit in pairwise([*starts, len(text)]):
        end = text.find(_END, start, limit)
        yield text[start:limit] if end < 0 else text[start : end + len(_END)]


def _document(text: str, source: str) -> Document:
    reader = _Reader(source)
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(text.encode("utf-8", errors="replace"), True)
    except expat.ExpatError as error:
        raise UnreadableCaptureError(
            f"{source}: broken XML at line {error.lineno} of the document ({expat.ErrorString(error.code)}), perhaps "
            "cut off; capture it again with `nvidia-smi -q -x > FILE`"
        ) from error
    return Document(head=Answers(reader.head), cards=tuple(reader.cards))


class _Reader:
    """Collects the text of leaf elements under their path; each `gpu` element opens a card."""

    def __init__(self, source: str) -> None:
        self.head: dict[str, list[str]] = {}
        self.cards: list[Card] = []
        self._source = source
        self._stated = self.head
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Open an element."""
        if len(self._path) >= _MAX_DEPTH:
            raise UnreadableCaptureError(f"{self._source}: XML nested deeper than {_MAX_DEPTH} levels; refused")
        if len(self._path) == 1 and tag == "gpu":
            self._open_card(attributes.get("id", ""))
        self._path.append(tag)
        self._text = []

    def _open_card(self, where: str) -> None:
        self._stated = {}
        self.cards.append(Card(bus_id=bus_id.normal(where) or where, answers=Answers(self._stated)))

    def text(self, data: str) -> None:
        """Collect characters of the innermost element."""
        self._text.append(data)

    def end(self, tag: str) -> None:
        """Close an element. One that holds only white space and had children states nothing."""
        value = "".join(self._text).strip()
        inside_card = self._stated is not self.head
        path = "/".join(self._path[2:] if inside_card else self._path[1:])
        if value or tag == "processes":
            self._stated.setdefault(path, []).append(value)
        self._text = []
        self._path.pop()
        if len(self._path) == 1:
            self._stated = self.head
