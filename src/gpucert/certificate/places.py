"""Where the memory was wrong, drawn: along the whole of it, and by the 256 wires that a sector of 32 bytes crosses."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpucert.certificate.payload import LANES, PLACES, Count, Payload, WrongWords
from gpucert.units import Unit, show

WORD_BITS = 64
LOWEST = 25.0
"""Height in percent of a place with a single wrong word beside one with many: all are to be seen."""
QUARTERS = 4
FAINTEST = 0.4
"""How strongly a wire is drawn at least."""
FEW = 4
"""So many multiprocessors are named; of more, only their number."""
MIB = 1 << 20


@dataclass(frozen=True)
class Mark:
    """One place along the memory; in percent of the drawn width and height."""

    at: float
    width: float
    height: float


@dataclass(frozen=True)
class Cell:
    """One wire: its bit of the word, and which of the sector's words."""

    bit: int
    word: int
    strength: float
    """How strongly it is drawn: 1 for the wire of most wrong words."""


@dataclass(frozen=True)
class Drawing:
    """What the page draws of wrong words, and says of them."""

    marks: tuple[Mark, ...]
    """Empty where the size of the tested memory is not known."""
    ticks: tuple[str, ...]
    """Labels of the ends and the quarters between them, in MiB."""
    cells: tuple[Cell, ...]
    sentence: str


def drawing(payload: Payload) -> Drawing | None:
    """The wrong words of all scans; None where none was located."""
    wrong = payload.wrong_words
    if wrong is None:
        return None
    return Drawing(
        marks=_marks(wrong.places),
        ticks=_ticks(wrong.tested_bytes),
        cells=_cells(wrong.lanes),
        sentence=_sentence(wrong),
    )


def _marks(places: Sequence[Count]) -> tuple[Mark, ...]:
    most = max((one.words for one in places), default=0)
    width = round(100 / PLACES, 3)
    return tuple(
        Mark(round(100 * one.number / PLACES, 3), width, round(LOWEST + (100 - LOWEST) * one.words / most, 1))
        for one in places
    )


def _cells(lanes: Sequence[Count]) -> tuple[Cell, ...]:
    most = max((one.words for one in lanes), default=0)
    return tuple(
        Cell(
            bit=one.number % WORD_BITS,
            word=one.number // WORD_BITS,
            strength=round(FAINTEST + (1 - FAINTEST) * one.words / most, 2),
        )
        for one in lanes
    )


def _ticks(size_bytes: int | None) -> tuple[str, ...]:
    if size_bytes is None:
        return ()
    whole = [round(size_bytes / MIB * quarter / QUARTERS) for quarter in range(QUARTERS)]
    return (*(show(mib, Unit.COUNT) for mib in whole), show(round(size_bytes / MIB), Unit.MIBIBYTE))


def _sentence(wrong: WrongWords) -> str:
    """The same in words, for those who cannot see it and for those who want the numbers."""
    many = "s" if wrong.words > 1 else ""
    failed = f", of {show(wrong.compares, Unit.COUNT)} failed compares" if wrong.compares > wrong.words else ""
    parts = [
        f"{show(wrong.words, Unit.COUNT)} wrong word{many} located{failed}",
        f"{len(wrong.lanes)} of {LANES} bits of a sector concerned",
        _flips([one.number for one in wrong.flips]) + (" in each" if many else ""),
    ]
    if wrong.sms:
        sms = [str(one.number) for one in wrong.sms]
        parts.append(f"read by SM {', '.join(sms)}" if len(sms) <= FEW else f"read by {len(sms)} multiprocessors")
    return f"{'; '.join(parts)}."


def _flips(flips: Sequence[int]) -> str:
    few, most = flips[0], flips[-1]
    return f"{few} to {most} flipped bits" if few < most else f"{few} flipped bit{'s' if few > 1 else ''}"
