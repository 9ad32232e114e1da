"""The phases of the memory scan, one function each, and the profiles that say how much of them is done.

What finds what is explained in docs/detection.md. A touch is one load or one store of all tested memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gpucert.stress import patterns
from gpucert.stress.backend import Pattern, PatternKind
from gpucert.stress.sweeper import Sweeper, inverse

HOT_BURN_S = 3.0
"""Arithmetic before each hot sweep: the die is hot again, and the sweep itself heats the memory."""
HOT_READS = 5
SEEDS = 64
"""Kinds of random data in a round; each phase has its own."""
REPEATS = 3
LONG_TOUCHES = 300
"""A phase that is longer, or waits, is repeated once and not REPEATS times."""
_SOLID = Pattern(PatternKind.BACKGROUND, patterns.SOLID)
_DATA_SEEDS = 1 << 56


@dataclass(frozen=True)
class Phase:
    """One phase: what it does with a seed, how many touches that is, and how long it only waits."""

    name: str
    run: Callable[[Sweeper, int], None]
    touches: float
    waits_s: float = 0.0

    @property
    def repeats(self) -> int:
        """How often it is run again for what nothing else explains."""
        return 1 if self.waits_s or self.touches > LONG_TOUCHES else REPEATS


@dataclass(frozen=True)
class Profile:
    """How much is done in one round.

    `first` has all memory, before anything else makes sense. `guarded` runs while canaries stand, and afterwards once
    more where they stood. `after` has all memory again; of it, what waits runs in the first round only, because that
    takes the time of many sweeps.
    """

    first: tuple[Phase, ...]
    guarded: tuple[Phase, ...]
    after: tuple[Phase, ...]
    peeks: int
    """How often a word that seems right again is stared at in each polarity."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All of them, in order."""
        return self.first + self.guarded + self.after

    def without(self, name: str) -> "Profile":
        """The same without a phase, to see what is lost."""
        first, guarded, after = (
            tuple(phase for phase in part if phase.name != name) for part in (self.first, self.guarded, self.after)
        )
        return replace(self, first=first, guarded=guarded, after=after)

    def without_waits(self) -> "Profile":
        """What is left for further rounds."""
        return replace(self, after=tuple(phase for phase in self.after if not phase.waits_s))


def own() -> Phase:
    """Every word holds its own number: all are written before any is read, so that a wrong address shows."""

    def run(sweeper: Sweeper, seed: int) -> None:
        for pattern in (Pattern(PatternKind.OWN, seed), Pattern(PatternKind.OWN, seed, inverted=True)):
            sweeper.write(pattern)
            sweeper.verify(pattern)

    return Phase("own", run, 4)


def random(seeds: int) -> Phase:
    """Random data and their inverse."""

    def run(sweeper: Sweeper, seed: int) -> None:
        for number in range(seeds):
            sweeper.both(Pattern(PatternKind.RANDOM, seed * SEEDS + number))

    return Phase("random", run, 4 * seeds)


def modulo(kind: PatternKind, name: str) -> Phase:
    """Every so many-th piece is a target, whose neighbours are turned twice before it is read."""
    pieces = patterns.MODULI[kind]

    def run(sweeper: Sweeper, seed: int) -> None:
        for offset in range(pieces):
            plain = patterns.modulo(kind, offset, (seed * pieces + offset) % _DATA_SEEDS)
            for pattern in (plain, inverse(plain)):
                sweeper.write(pattern)
                sweeper.write(inverse(pattern), others=True)
                sweeper.write(pattern, others=True)
                sweeper.verify(pattern)

    return Phase(name, run, 2 * pieces * (4 - 2 / pieces))


def march() -> Phase:
    """March C− with solid data, as sweeps: up, up, down, down."""

    def run(sweeper: Sweeper, _seed: int) -> None:
        zeros, ones = _SOLID, inverse(_SOLID)
        sweeper.write(zeros)
        for descending in (False, True):
            sweeper.verify(zeros, ones, descending=descending)
            sweeper.verify(ones, zeros, descending=descending)
        sweeper.verify(zeros)

    return Phase("march", run, 10)


def backgrounds(numbers: int = patterns.BACKGROUNDS) -> Phase:
    """Neighbouring bits, halves, words and sectors alternate."""

    def run(sweeper: Sweeper, _seed: int) -> None:
        for number in range(numbers):
            sweeper.both(Pattern(PatternKind.BACKGROUND, number))

    return Phase("backgrounds", run, 4 * numbers)


def walking(places: int) -> Phase:
    """One bit of each half word against all others, and the inverse; so many of its 32 first places."""

    def run(sweeper: Sweeper, seed: int) -> None:
        step = patterns.SHIFTS // places
        for place in range(seed % step, patterns.SHIFTS, step):
            sweeper.both(Pattern(PatternKind.WALKING, place))

    return Phase("walking", run, 4 * places)


def moving() -> Phase:
    """Half to half by the card's copy engine, which no other phase uses, both ways and in both polarities."""

    def run(sweeper: Sweeper, seed: int) -> None:
        halves = sweeper.halves()
        for number, (source, target) in enumerate((halves, halves[::-1])):
            for inverted in (False, True):
                pattern = Pattern(PatternKind.RANDOM, seed * SEEDS + 32 + number, inverted)
                sweeper.write(pattern, source)
                sweeper.verify(
                    pattern, regions=source
                )  # because the copy of a wrong word says nothing of its new place
                sweeper.move(source, target)
                for one, other in zip(source, target, strict=True):
                    shifted = replace(pattern, shift=other.first_word - one.first_word)
                    sweeper.verify(shifted, regions=(other,))

    return Phase("moving", run, 10)


def soak(seconds: float) -> Phase:
    """Arithmetic until the card is warm through."""
    return Phase("soak", lambda sweeper, _seed: sweeper.backend.burn(seconds), 0, waits_s=seconds)


def heated(beats: int) -> Phase:
    """Random data on a hot card: some seconds of arithmetic, then one write and several reads, polarities in turn."""

    def run(sweeper: Sweeper, seed: int) -> None:
        for beat in range(beats):
            pattern = Pattern(PatternKind.RANDOM, seed * SEEDS + 40 + beat // 2 % 16, inverted=bool(beat % 2))
            sweeper.backend.burn(HOT_BURN_S)
            sweeper.write(pattern)
            for _ in range(HOT_READS):
                sweeper.verify(pattern)

    return Phase("hot", run, beats * (1 + HOT_READS), waits_s=beats * HOT_BURN_S)


def fading(seconds: float) -> Phase:
    """One part rests while the other is written to all the time, because that warms memory better than arithmetic."""

    def run(sweeper: Sweeper, _seed: int) -> None:
        sides = sweeper.sides()
        for pattern in (_SOLID, inverse(_SOLID)):
            for resting, hammered in (sides, sides[::-1]):
                if resting:
                    sweeper.write(pattern, resting)
                    sweeper.hammer(hammered, "write", seconds)
                    sweeper.verify(pattern, regions=resting)

    return Phase("fading", run, 4, waits_s=4 * seconds)


def dip(seconds: float) -> Phase:
    """The card idles, so that its memory clock falls and its memory refreshes itself."""

    def run(sweeper: Sweeper, seed: int) -> None:
        plain = Pattern(PatternKind.RANDOM, seed * SEEDS + 34)
        for pattern in (plain, inverse(plain)):
            sweeper.write(pattern)
            sweeper.backend.idle(seconds)
            sweeper.verify(pattern)

    return Phase("idle dip", run, 4, waits_s=2 * seconds)


def stare(reads: int) -> Phase:
    """Written once and read very often, in both polarities: a cell that is misread now and then is met in the end."""

    def run(sweeper: Sweeper, seed: int) -> None:
        plain = Pattern(PatternKind.RANDOM, seed * SEEDS + 35)
        for pattern in (plain, inverse(plain)):
            sweeper.write(pattern)
            for _ in range(reads):
                sweeper.verify(pattern)

    return Phase("stare", run, 2 * (1 + reads))


_SECTORS = modulo(PatternKind.MODULO_SECTOR, "modulo")

PROFILES = {
    "quick": Profile(first=(own(),), guarded=(random(1), _SECTORS), after=(march(),), peeks=150),
    "standard": Profile(
        first=(own(),),
        guarded=(random(2), _SECTORS),
        after=(
            *(march(), backgrounds(), walking(4), moving()),
            *(soak(60), heated(8), fading(10), dip(15), stare(71)),
        ),
        peeks=300,
    ),
    "deep": Profile(
        first=(own(),),
        guarded=(random(16), _SECTORS),
        after=(
            *(march(), backgrounds(), walking(32), moving()),
            *(soak(180), heated(100), replace(_SECTORS, name="modulo hot"), fading(60), dip(15), stare(2300)),
            modulo(PatternKind.MODULO_HALF, "modulo of halves"),
        ),
        peeks=3000,
    ),
}
