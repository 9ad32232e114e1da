"""What the experiments with a wrong word showed, and the kind of fault that this says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpucert.stress import patterns
from gpucert.stress.backend import PatternKind, Region
from gpucert.stress.sweeper import Suspect, Tries

SECTORS_OF_A_LINE = 6
"""So many sectors must be wrong in one set of lanes before that is called a data line."""
WORDS_OF_A_PATH = 4
"""So many words must be wrong for one SM alone before the path to it is blamed."""
STRIDES = (64, 32, 16)
"""Distances of the lanes of one wire in a word: by the width of a channel, HBM, GDDR5, newer GDDR."""
_UNTRIED: Tries = (0, 0)


@dataclass(frozen=True)
class Evidence:
    """What experiments with one word showed."""

    owner: int | None = None
    """The word that the wrong value belongs to."""
    reread: Tries | None = None
    """Before anything was written to it again; None where the sweep itself had replaced it."""
    again: int = 0
    """In how many other sweeps it was wrong."""
    copied: bool = False
    """It was wrong where the copy engine had put it."""
    rewritten: tuple[Tries, ...] = ()
    """Rewritten and read, one entry for each polarity."""
    stared: Tries = _UNTRIED
    """Read very often."""
    rested: Tries = _UNTRIED
    """Rewritten and left alone for a while."""
    repeated: Tries = _UNTRIED
    """The whole phase once more."""

    @property
    def tries(self) -> Tries:
        """All experiments together: how far the fault can be reproduced."""
        all_of_them = (self.reread or _UNTRIED, *self.rewritten, self.stared, self.rested, self.repeated)
        return sum(wrong for wrong, _ in all_of_them), sum(times for _, times in all_of_them)


def classify(evidence: Evidence) -> str:
    """The kind of fault that the evidence says."""
    if evidence.owner is not None:
        return "alias"
    if any(wrong == tries for wrong, tries in evidence.rewritten):
        return "hard"
    if any(wrong for wrong, _ in (*evidence.rewritten, evidence.stared)):
        return "intermittent"
    if evidence.rested[0]:
        return "retention"
    wrong, tries = evidence.reread or _UNTRIED
    if wrong < tries and (wrong or evidence.again or evidence.repeated[0]):
        return "intermittent"  # because it was wrong in a read, and not in its cell
    if evidence.repeated[0]:
        return "path" if evidence.copied else "coupling"
    return "soft" if wrong else "transient"


def owner(regions: Iterable[Region], suspect: Suspect) -> int | None:
    """The word whose data stands here, if an own-address pattern tells of one that is tested."""
    if suspect.pattern.kind is not PatternKind.OWN or suspect.pattern.shift:
        return None
    word = patterns.owner(suspect.pattern, suspect.wrong.actual)
    tested = any(region.first_word <= word < region.first_word + region.words for region in regions)
    return word if tested and word != suspect.wrong.word else None


def data_line(suspects: Sequence[Suspect]) -> int | None:
    """Which lane of a channel is bad, if enough sectors are wrong in nothing but the lanes that one wire carries.

    A wire that is stuck reads one value, so all wrong bits must have been read alike.
    """
    sectors = {one.wrong.word // patterns.SECTOR_WORDS for one in suspects}
    if len(sectors) < SECTORS_OF_A_LINE:
        return None
    flips, values = 0, set()
    for one in suspects:
        flipped = one.wrong.expected ^ one.wrong.actual
        flips |= flipped
        values |= {value for value in (0, 1) if flipped & (one.wrong.actual if value else ~one.wrong.actual)}
    lanes = {bit for bit in range(64) if flips >> bit & 1}
    for stride in STRIDES:
        if len(values) == 1 and len({lane % stride for lane in lanes}) == 1:
            return min(lanes) % stride
    return None


def one_sm(suspects: Sequence[Suspect]) -> bool:
    """Whether many words were read by one and the same SM."""
    return len(suspects) >= WORDS_OF_A_PATH and len({one.wrong.sm for one in suspects}) == 1
