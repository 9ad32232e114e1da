"""The scan: nearly all memory written and compared in several patterns, with proof of what was covered.

Every phase is write, flush, verify, then the same inverted; all regions are written before any is read, because an
address that reaches the wrong place shows only then. Words compared are counted by the kernels, and the loaded words
are summed: a word and its inverse add to 2⁶⁴ − 1 whatever the data, so a lost block or a blind compare shows up.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gpucert.stress import patterns
from gpucert.stress.backend import WORD_BYTES, Backend, Pattern, PatternKind, Region, Sweep, WrongWord

HEADROOM_BYTES = 64 << 20
"""Left free on a card of real size, for the driver and for the flush."""
DIAGNOSED = 64
"""How many wrong words of a pass are looked into one by one."""
STOP_SHARE = 0.001
"""A pass with more than this share of wrong words ends the scan: the answer is clear."""
SPAN_WORDS = 256
"""Length of the stretch that the self-test plants its faults in."""

Tell = Callable[[float, str], None]
"""Called with the share that is done and what comes next."""


@dataclass(frozen=True)
class Profile:
    """How much is done in one round."""

    randoms: int
    backgrounds: int


PROFILES = {
    "quick": Profile(randoms=1, backgrounds=0),
    "standard": Profile(randoms=2, backgrounds=patterns.BACKGROUNDS),
}


@dataclass(frozen=True)
class Located:
    """One wrong word, looked into. `owner` is the word that the wrong value belongs to, for an alias."""

    phase: str
    word: int
    expected: int
    actual: int
    kind: str
    owner: int | None
    sm: int
    at_s: float


Report = Callable[[Located], None]


@dataclass
class Scan:
    """What a scan found."""

    report: Report
    """Called with each located word at once, because a card may die before the end and must not take it along."""
    total_bytes: int
    tested_bytes: int = 0
    rounds: int = 0
    words_expected: int = 0
    words_compared: int = 0
    """Only words of passes whose sum proves that they were loaded."""
    wrong_words: int = 0
    wrong_bits: int = 0
    located: list[Located] = field(default_factory=list)
    planted: int = 0
    found: int = 0
    swept_bytes: int = 0
    sweep_seconds: float = 0.0

    @property
    def coverage_percent(self) -> float:
        """Tested bytes of all bytes, in percent."""
        return 100 * self.tested_bytes / self.total_bytes

    @property
    def error_bound(self) -> float | None:
        """Upper bound (95 %) of errors per bit read: 3 / N for none in N bits; None where errors were found."""
        bits = self.words_compared * WORD_BYTES * 8
        return 3 / bits if bits and not self.wrong_words else None

    def keep(self, located: Located) -> None:
        """One more wrong word that was looked into."""
        self.located.append(located)
        self.report(located)

    def of_kind(self, kind: str) -> int:
        """How many of the words that were looked into are of this kind."""
        return sum(one.kind == kind for one in self.located)


def scan(
    backend: Backend, profile: Profile, seed: int, time_left: Callable[[], float], tell: Tell, report: Report
) -> Scan:
    """Scan all free memory. Raises OutOfMemoryError, and whatever the card raises when it fails."""
    free = backend.properties().free_bytes
    regions = backend.reserve(HEADROOM_BYTES if free > 64 * HEADROOM_BYTES else 0)
    try:
        done = Scan(report, total_bytes=backend.properties().total_bytes)
        done.tested_bytes = sum(region.words for region in regions) * WORD_BYTES
        tell(0.0, "self-test: planting faults")
        _self_test(backend, regions, seed, done)
        began = backend.seconds()
        while _round(backend, regions, profile, seed + done.rounds, done, tell):
            took = (backend.seconds() - began) / done.rounds
            if not backend.fills_time or done.wrong_words or time_left() < 1.2 * took:
                break
        return done
    finally:
        backend.release(regions)


def phases(profile: Profile, seed: int) -> list[tuple[str, Pattern]]:
    """The phases of one round in order: own addresses first, because nothing else makes sense if those are wrong."""
    own = [("own", Pattern(PatternKind.OWN, seed))]
    randoms = [("random", Pattern(PatternKind.RANDOM, seed * 16 + number)) for number in range(profile.randoms)]
    backgrounds = [
        (f"background {number}", Pattern(PatternKind.BACKGROUND, number)) for number in range(profile.backgrounds)
    ]
    return own + randoms + backgrounds


def _round(backend: Backend, regions: tuple[Region, ...], profile: Profile, seed: int, done: Scan, tell: Tell) -> bool:
    """All phases once; False where the scan ends because the answer is clear."""
    done.rounds += 1
    wanted = phases(profile, seed)
    for number, (name, pattern) in enumerate(wanted):
        tell(number / len(wanted), f"round {done.rounds}, {name}")
        if not _phase(backend, regions, name, pattern, done):
            return False
    return True


def _phase(backend: Backend, regions: tuple[Region, ...], name: str, pattern: Pattern, done: Scan) -> bool:
    plain = _pass(backend, regions, name, pattern, done)
    inverse = _pass(backend, regions, name, _inverted(pattern), done)
    for region, first, second in zip(regions, plain, inverse, strict=True):
        done.words_expected += 2 * region.words
        summed = (first.total + second.total) % (1 << 64) == patterns.pair_total(region.words)
        if summed or first.bad_words or second.bad_words:
            done.words_compared += first.words + second.words
    aliased = any(one.kind == "alias" for one in done.located)
    wrong = sum(sweep.bad_words for sweep in plain + inverse)
    return not aliased and wrong <= STOP_SHARE * 2 * sum(region.words for region in regions)


def _pass(backend: Backend, regions: tuple[Region, ...], name: str, pattern: Pattern, done: Scan) -> list[Sweep]:
    for region in regions:
        backend.write(region, pattern)
    backend.flush()
    sweeps = []
    for region in regions:
        sweep = backend.verify(region, pattern)
        done.wrong_words += sweep.bad_words
        done.wrong_bits += sweep.bad_bits
        done.swept_bytes += sweep.words * WORD_BYTES
        done.sweep_seconds += sweep.seconds
        sweeps.append(sweep)
    for region, sweep in zip(regions, sweeps, strict=True):
        for wrong in sweep.first_wrong[: max(0, DIAGNOSED - len(done.located))]:
            done.keep(_look_into(backend, regions, region, name, pattern, wrong))
    return sweeps


def _look_into(
    backend: Backend, regions: tuple[Region, ...], region: Region, phase: str, pattern: Pattern, wrong: WrongWord
) -> Located:
    owner = _owner(regions, pattern, wrong)
    kind = "alias" if owner is not None else _behaviour(backend, region, wrong)
    return Located(phase, wrong.word, wrong.expected, wrong.actual, kind, owner, wrong.sm, backend.seconds())


def _owner(regions: tuple[Region, ...], pattern: Pattern, wrong: WrongWord) -> int | None:
    """The word whose data stands here, if an own-address pattern tells of one that is tested."""
    if pattern.kind is not PatternKind.OWN:
        return None
    word = patterns.owner(pattern, wrong.actual)
    tested = any(region.first_word <= word < region.first_word + region.words for region in regions)
    return word if tested and word != wrong.word else None


def _behaviour(backend: Backend, region: Region, wrong: WrongWord) -> str:
    """Transient: right when read again. Hard: wrong again after it was rewritten. Soft: right from then on."""
    if backend.peek(region, wrong.word) == wrong.expected:
        return "transient"
    inverse = wrong.expected ^ ((1 << 64) - 1)
    for value in (wrong.expected, inverse, wrong.expected):
        backend.poke(region, wrong.word, value)
        if backend.peek(region, wrong.word) != value:
            return "hard"
    return "soft"


def _inverted(pattern: Pattern) -> Pattern:
    return Pattern(pattern.kind, pattern.seed, not pattern.inverted)


def _self_test(backend: Backend, regions: tuple[Region, ...], seed: int, done: Scan) -> None:
    """Plant one bit, one 32-byte sector, two swapped stretches and a stuck lane; count those found and told apart.

    Planted where the tested memory is sound, because a word that is wrong by itself says nothing about the test.
    """
    chooser = random.Random(seed)  # noqa: S311  # places, not secrets
    region = chooser.choice([one for one in regions if one.words >= 4 * SPAN_WORDS] or list(regions))
    pattern = Pattern(PatternKind.OWN, chooser.getrandbits(63))
    backend.write(region, pattern)
    backend.flush()
    unsound = {wrong.word for wrong in backend.verify(region, pattern).first_wrong}
    planted = {word: value for word, value in _plants(region, pattern, chooser).items() if word not in unsound}
    for word, value in planted.items():
        backend.poke(region, word, value)
    backend.flush()
    seen = {wrong.word: wrong for wrong in backend.verify(region, pattern).first_wrong}
    done.planted = len(planted)
    done.found = sum(_told(backend, regions, region, pattern, seen.get(word), value) for word, value in planted.items())


def _plants(region: Region, pattern: Pattern, chooser: random.Random) -> dict[int, int]:
    """Words to damage with the values to put there."""
    room = region.words - 2 * SPAN_WORDS
    first = region.first_word + chooser.randrange(room // 2) // 4 * 4
    second = region.first_word + room // 2 + chooser.randrange(room // 2) // 4 * 4
    data = {word: patterns.word(pattern, word) for start in (first, second) for word in range(start, start + 128)}
    plants = {first: data[first] ^ (1 << chooser.randrange(64))}
    plants |= {word: chooser.getrandbits(64) for word in range(first + 4, first + 8)}
    for offset in range(16, 32):
        plants[first + offset], plants[second + offset] = data[second + offset], data[first + offset]
    lane = 1 << chooser.randrange(64)
    plants |= {word: data[word] | lane for word in range(second + 64, second + 128)}
    return {word: value for word, value in plants.items() if value != data[word]}


def _told(
    backend: Backend,
    regions: tuple[Region, ...],
    region: Region,
    pattern: Pattern,
    wrong: WrongWord | None,
    value: int,
) -> bool:
    """Whether a planted fault was seen with its value, and told to be what it is: an alias, or damage that stays."""
    if wrong is None or wrong.actual != value:
        return False
    swapped = patterns.owner(pattern, value)
    if any(one.first_word <= swapped < one.first_word + one.words for one in regions):
        return _owner(regions, pattern, wrong) == swapped
    return _behaviour(backend, region, wrong) == "soft"
