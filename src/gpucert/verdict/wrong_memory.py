"""Wrong words of a memory scan: which fault of the memory is behind them, and how they lie."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpucert.reading import Absent
from gpucert.record import Mismatch, StepRecord
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.verdict import Confidence, Diagnosed

WRAPS_ABOVE = 0.1
"""Share of aliased compares above which memory is missing: a broken decoder hits a smaller range."""
FEW = 4
"""So many lanes or SMs are named; of more, only their number."""
SECTOR_BYTES = 32
"""What DRAM is asked for at least: 256 lanes."""
PAGE_BYTES = 2 << 20
"""The page that a card's memory is mapped in: nobody publishes which chip serves what lies within it."""

_CONFIDENCE: dict[str, Confidence] = {
    "data_line": "certain",
    "hard": "certain",
    "retention": "certain",
    "coupling": "likely",
    "intermittent": "certain",
    "path": "likely",
    "soft": "certain",
    "transient": "certain",
}
"""Kinds of wrong words that a diagnosis is named after, and how sure it is."""


@dataclass(frozen=True)
class Spread:
    """How wrong words lie: each of these counts words."""

    lanes: Counter[int]
    """By flipped bit of the sector of 32 bytes, 0 to 255."""
    flips: Counter[int]
    """By how many bits of the word are flipped, 1 to 64."""
    places: Counter[int]
    """By offset within a page of 2 MiB."""
    pages: Counter[int]
    sms: Counter[int]
    """By the SM that read the word."""


def spread(located: Sequence[Mismatch]) -> Spread:
    """The histograms of located words."""
    return Spread(
        lanes=Counter(one.offset % SECTOR_BYTES // 8 * 64 + bit for one in located for bit in _flipped(one)),
        flips=Counter(one.flips for one in located),
        places=Counter(one.offset % PAGE_BYTES for one in located),
        pages=Counter(one.offset // PAGE_BYTES for one in located),
        sms=Counter(one.reader_sm for one in located if one.reader_sm is not None),
    )


def wrong_memory(case: Case, step: StepRecord) -> Iterator[Diagnosed]:
    """Diagnoses of one scan."""
    wrong, expected = (int(step.number(name) or 0) for name in ("wrong_words", "words_expected"))
    located = latest(step.mismatches)
    if not wrong and not located:
        return
    aliases = [one for one in located if one.kind == "alias"]
    if aliases:
        yield _alias(aliases, wrong, expected)
        located = [one for one in located if one.kind not in ("alias", "unclassified")]
        if not located:
            return
    if _behind_ecc(case, step):
        evidence = f"{_found(wrong, located)} with ECC on, and its counters did not move"
        yield diagnosed("memory.path", evidence, "likely", _where(located))
        return
    kinds = {one.kind for one in located}
    for kind in _CONFIDENCE:
        if kind in kinds:
            of_kind = [one for one in located if one.kind == kind]
            yield diagnosed(f"memory.{kind}", _found(wrong, of_kind), _CONFIDENCE[kind], _where(of_kind))
    if not kinds & set(_CONFIDENCE):
        yield diagnosed("memory.hard", f"{_found(wrong, located)}, not looked into one by one", "possible")


def latest(mismatches: Sequence[Mismatch]) -> list[Mismatch]:
    """Each word once, as it was told last: what seemed transient may have come again."""
    return list({one.offset: one for one in mismatches if one.kind != "compute"}.values())


def _alias(aliases: list[Mismatch], wrong: int, expected: int) -> Diagnosed:
    first = aliases[0]
    owner = "" if first.owner is None else f": offset {first.offset:#x} holds the data of {first.owner:#x}"
    share = wrong / expected if expected else 0.0
    if share > WRAPS_ABOVE:
        evidence = f"{share:.0%} of all compares found the data of another address{owner}"
        return diagnosed("identity.memory", evidence, "certain")
    return diagnosed("memory.alias", f"{_found(wrong, aliases)}{owner}", "certain", _where(aliases))


def _behind_ecc(case: Case, step: StepRecord) -> bool:
    """With ECC on, damage in the cells moves a counter; damage that moves none happened behind it."""
    names = ("ecc_corrected_volatile", "ecc_uncorrected_volatile")
    read = all(not isinstance(getattr(one, name), Absent) for one in (step.before, step.after) for name in names)
    moved = any(case.growth(step, name) for name in names)
    return case.record.settings.ecc is True and read and not moved


def _found(wrong: int, located: list[Mismatch]) -> str:
    """How many compares failed, and how the words that were located lie."""
    parts = [f"{max(wrong, len(located))} failed compares, {len(located)} words located"]
    if located:
        how = spread(located)
        bits = sorted({lane % 64 for lane in how.lanes})
        parts.append(_named("bit", bits) if len(bits) <= FEW else f"{len(bits)} different bits")
        if len(located) > 1:
            parts += _together(how)
    tries = sum(one.tries for one in located)
    if tries:
        parts.append(f"wrong again in {sum(one.again for one in located)} of {tries} experiments")
    return "; ".join(parts)


def _together(how: Spread) -> Iterator[str]:
    """What many words have in common."""
    flips = sorted(how.flips)
    yield f"{flips[0]} flipped bits in each" if len(flips) == 1 else f"{flips[0]} to {flips[-1]} flipped bits in each"
    if len(how.places) == 1 < len(how.pages):
        yield "all at one place of their pages"
    if how.sms:
        yield _named("read by SM", sorted(how.sms)) if len(how.sms) <= FEW else f"read by {len(how.sms)} SMs"


def _named(what: str, numbers: Sequence[int]) -> str:
    return f"{what} {', '.join(map(str, numbers))}"


def _flipped(one: Mismatch) -> Iterator[int]:
    difference = int(one.expected, 16) ^ int(one.actual, 16)
    return (bit for bit in range(difference.bit_length()) if difference >> bit & 1)


def _where(located: list[Mismatch]) -> str:
    offsets = sorted({one.offset for one in located})
    if not offsets:
        return ""
    return f"offset {offsets[0]:#x}" if len(offsets) == 1 else f"offsets {offsets[0]:#x} to {offsets[-1]:#x}"
