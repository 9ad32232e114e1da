"""The XML of `nvidia-smi -q -x`: takes a document piece by piece and turns it into answers.

The parser is handed the root element alone, never the prologue with its DOCTYPE, so that no DTD can define entities or
name files to be fetched.
"""

import re
from xml.parsers import expat

from gpucert.device import bus_id
from gpucert.device.smi_document import Card, Document, UnreadableCaptureError
from gpucert.device.smi_words import Answers

_ROOT = re.compile(r"<nvidia_smi_log[\s>]")
_END = "</nvidia_smi_log>"
_CARD = re.compile(r'<gpu id="[0-9A-Fa-f]{4,8}:')
_MAX_DEPTH = 32


def root(line: str) -> int | None:
    """Where the root element of a document begins in this line, None where it does not."""
    match = _ROOT.search(line)
    return match.start() if match else None


def is_card(line: str) -> bool:
    """Whether a card begins in this line."""
    return _CARD.search(line) is not None


class XmlDocument:
    """One document, parsed as it comes, from its root element to the end of that."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._reader = _Reader(source)
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._reader.start
        parser.EndElementHandler = self._reader.end
        parser.CharacterDataHandler = self._reader.text
        self._over = False

    def take(self, line: str) -> bool:
        """Take a line; False once the document is over. Raises UnreadableCaptureError for broken XML."""
        if self._over:
            return False
        end = line.find(_END)
        self._over = end >= 0
        self._parse(line[: end + len(_END)] if self._over else f"{line}\n", final=False)
        return True

    def close(self) -> Document:
        """The head and the cards. Raises UnreadableCaptureError for a document that is cut off."""
        self._parse("", final=True)
        return Document(head=Answers(self._reader.head), cards=tuple(self._reader.cards))

    def _parse(self, text: str, *, final: bool) -> None:
        try:
            self._parser.Parse(text.encode("utf-8", errors="replace"), final)
        except expat.ExpatError as error:
            raise UnreadableCaptureError(
                f"{self._source}: broken XML at line {error.lineno} of the document ({expat.ErrorString(error.code)}), "
                "perhaps cut off; capture it again with `nvidia-smi -q -x > FILE`"
            ) from error


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
