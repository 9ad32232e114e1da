"""What is kept of a file of any length: documents of nvidia-smi one after another, its warnings, and what a log tells.

Everything else is dropped as it comes by. Of a document only one is held at a time; of the rest of a file its
beginning, which tells what it is, and the listings of nvidia-smi that other readers understand.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpucert.device import bus_id, smi_text, smi_xml
from gpucert.device.kernel_log import MAX_CARDS, Book, KernelLog
from gpucert.device.smi_document import Document, UnreadableCaptureError
from gpucert.device.smi_text import TextDocument
from gpucert.device.smi_xml import XmlDocument

MAX_KEPT = 64 * 2**20
"""Characters of nvidia-smi's output in one file: a rack's worth of full queries is a third of that."""
BEGINNING = 200_000
"""Characters of the beginning that are kept, because what a file is stands there."""

_CORRUPTED = re.compile(r"infoROM is corrupted at gpu\s+([0-9A-Fa-f:.]{7,20})", re.IGNORECASE)
_NO_HANDLE = re.compile(
    r"Unable to determine the device handle for (?:the )?GPU\s?(?:\d{1,3}:\s?)?"
    r"([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]):\s*([^\r\n\0]{0,200})"
)


_MARKS = (
    "NVRM",
    "NVSMI",
    "NVIDIA-SMI",
    "nvidia",
    "Xid (",
    "device handle",
    "orrupted at",
    "AER: ",
    "[10de:",
    "Linux version",
    "-- ",
    "<gpu",
    "<!ENT",
    "GPU ",
)
"""Every line of interest holds one of these; most lines of a log hold none."""
_ROOTS = re.compile(r"(?=<nvidia_smi_log)")


class Sifted(NamedTuple):
    """What a file holds beside its documents."""

    beginning: str
    table: str
    """The last summary table of nvidia-smi; empty where there is none."""
    links: str
    """The listings of `nvidia-smi nvlink` (and of `nvidia-smi -L`, which begin alike)."""
    corrupted: dict[str, str]
    """Bus id → the driver's own words about a corrupted InfoROM."""
    lost: dict[str, str]
    """Bus id → the driver's own words about a card of which it has no handle."""
    log: KernelLog


class Sieve:
    """Takes a file line by line."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._document: TextDocument | XmlDocument | None = None
        self._entities = False
        self._kept = 0
        self._beginning: list[str] = []
        self._beginning_length = 0
        self._table: list[str] = []
        self._links: list[str] = []
        self._listing: list[str] | None = None
        """The table or the listing of links that the next lines belong to."""
        self._corrupted: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        self._book = Book()

    def feed(self, block: str) -> Iterator[Document]:
        """Take a block of lines; every document as soon as it is over. Raises UnreadableCaptureError."""
        self._book.skim(block)
        if self._beginning_length < BEGINNING:
            self._beginning.append(block[: BEGINNING - self._beginning_length])
            self._beginning_length += len(block) + 1
        marks: list[str] | None = None
        add = self._book.add
        for line in block.split("\n") if self._may_hold_something(block) else ():
            idle = self._document is None and self._listing is None
            if idle and "NVRM" in line:
                add(line)
                continue
            if marks is None:  # because a log of the driver's lines alone can do without
                marks = [mark for mark in _MARKS if mark in block]
            marked = False
            for mark in marks:  # because any() costs as much again
                if mark in line:
                    marked = True
                    break
            if idle and not marked:
                continue
            if idle and not _may_begin(line):
                self._note(line)
                continue
            for part in _ROOTS.split(line) if line.count("<nvidia_smi_log") > 1 else (line,):
                yield from self._take(part, marked)

    def _may_hold_something(self, block: str) -> bool:
        idle = self._document is None and self._listing is None
        return not idle or any(mark in block for mark in _MARKS)

    def close(self) -> Iterator[Document]:
        """The document that the end of the file ends. Raises UnreadableCaptureError."""
        yield from self._end()

    def sifted(self) -> Sifted:
        """What is kept beside the documents."""
        return Sifted(
            beginning="\n".join(self._beginning),
            table="\n".join(self._table),
            links="\n".join(self._links),
            corrupted=self._corrupted,
            lost=self._lost,
            log=self._book.close(),
        )

    def _take(self, line: str, marked: bool) -> Iterator[Document]:
        if marked and (begun := self._begun(line)) is not None:
            yield from self._end()
            self._document, line = begun
            self._listing = None
        if self._document is not None:
            self._keep(line)
            if not self._document.take(line):
                yield from self._end()
        elif self._listing is not None:
            self._follow(line)
        if marked:
            self._note(line)

    def _begun(self, line: str) -> tuple[TextDocument | XmlDocument, str] | None:
        """A document that begins in this line, and the part of the line that is its own."""
        inside_xml = isinstance(self._document, XmlDocument)
        self._entities = self._entities or "<!ENTITY" in line
        margin = smi_text.margin(line) if "NVSMI LOG" in line else None
        if inside_xml and (margin is not None or smi_text.is_card(line.strip())):
            raise UnreadableCaptureError(
                f"{self._source}: a text document of nvidia-smi within an XML document; give each in a file of its own"
            )
        if margin is not None:
            return TextDocument(self._source, margin), line
        root = smi_xml.root(line) if "<nvidia_smi_log" in line else None
        if root is not None:
            if self._entities:
                raise UnreadableCaptureError(
                    f"{self._source}: defines XML entities, which nvidia-smi never does; refused"
                )
            return XmlDocument(self._source), line[root:]
        if self._document is not None:
            return None
        if smi_xml.is_card(line):
            raise UnreadableCaptureError(
                f"{self._source}: a card of `nvidia-smi -q -x` without the beginning of its document; capture it again"
            )
        return (TextDocument(self._source), line) if smi_text.is_card(line) else None

    def _end(self) -> Iterator[Document]:
        document, self._document = self._document, None
        if document is not None:
            yield document.close()

    def _keep(self, line: str) -> None:
        self._kept += len(line) + 1
        if self._kept > MAX_KEPT:
            raise UnreadableCaptureError(
                f"{self._source}: more than {MAX_KEPT // 2**20} MiB of nvidia-smi's output, or a document without an "
                "end; split the file"
            )

    def _follow(self, line: str) -> None:
        """Take a line of the listing that is open, up to the first that is no part of it."""
        listing = self._listing
        assert listing is not None
        inside = {"|", "+", ""} if listing is self._table else {" ", "\t", ""}
        goes_on = line[:1] in inside or not line.strip()
        if goes_on or listing is self._links:  # because that no link is up stands in a line of its own
            self._keep(line)
            listing.append(line[:_MAX_LISTED])
        if not goes_on:
            self._listing = None

    def _note(self, line: str) -> None:
        """Keep what this line says, in or outside of a document."""
        if line.startswith("| NVIDIA-SMI "):
            self._table = self._listing = [line[:_MAX_LISTED]]
        elif line.startswith("GPU ") and "(UUID: " in line:
            self._listing = self._links
            self._keep(line)
            self._links.append(line[:_MAX_LISTED])
        if "orrupted at" in line:
            self._warned(_CORRUPTED.search(line), self._corrupted)
        if "device handle" in line:
            self._warned(_NO_HANDLE.search(line), self._lost)
        self._book.add(line)

    def _warned(self, match: re.Match[str] | None, told: dict[str, str]) -> None:
        if match is None:
            return
        where = bus_id.normal(match[1].rstrip("."))
        if where is not None and (where in told or len(told) < MAX_CARDS):
            told[where] = match[0].strip()


_MAX_LISTED = 500


def _may_begin(line: str) -> bool:
    """Whether a document may begin in this line."""
    return (
        "NVSMI LOG" in line
        or "<nvidia_smi_log" in line
        or "<!ENTITY" in line
        or "<gpu id=" in line
        or line.startswith("GPU ")
    )
