"""The tested memory as one piece: what phases write, compare and let rest, and the books that prove what was compared.

Words compared are counted by the kernels, and the words that were loaded are summed. The sum is held against one that
the card did not make: patterns that repeat are summed from one period; of all others a word and its inverse add to
2⁶⁴ − 1 whatever the data, so that both polarities together prove each other. A lost block or a blind compare shows.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import median

from gpucert.stress import patterns
from gpucert.stress.backend import WORD_BYTES, Backend, Pattern, PatternKind, Region, Sweep, WrongWord

STOP_SHARE = 0.001
"""A sweep with more wrong words than this share of all tested words ends the scan: the answer is clear."""
KEPT = 1024
"""How many wrong words are located, the first ones."""
EXAMINED = 64
"""How many of them are looked into one by one."""
REREADS = 3
PIECE_S = 0.4
"""How long the card works before anybody may interrupt."""
Regions = tuple[Region, ...]
Tries = tuple[int, int]
"""Times wrong, times tried."""


class ClearAnswerError(Exception):
    """So much is wrong that more work would not say more."""


@dataclass(eq=False)
class Suspect:
    """One wrong word as a sweep met it, and what was seen of it since."""

    phase: str
    pattern: Pattern
    region: Region
    wrong: WrongWord
    at_s: float
    rested_s: float
    """How long nobody had touched its region."""
    reread: Tries | None = None
    """Read again at once; None where the same sweep had replaced it, or nobody looked."""
    again: int = 0
    """In how many other sweeps the word was wrong, too."""
    origin: "Suspect | None" = None
    """Of a word that the copy engine had moved, the one that it came from: this one may be at fault, or that one."""


@dataclass
class Books:
    """What the sweeps of a scan add up to."""

    words_expected: int = 0
    words_compared: int = 0
    """Only words of sweeps whose sum proves that they were loaded, or that found something wrong."""
    wrong_words: int = 0
    wrong_bits: int = 0
    swept_bytes: int = 0
    sweep_seconds: float = 0.0
    by_chunk: dict[Region, tuple[int, float]] = field(default_factory=dict)
    """Words loaded and seconds of the sweeps that only compare, chunk by chunk."""

    def take(self, region: Region, sweep: Sweep, *, replaced: bool) -> None:
        """Enter one sweep."""
        self.words_expected += region.words
        self.wrong_words += sweep.bad_words
        self.wrong_bits += sweep.bad_bits
        if replaced:
            return
        self.swept_bytes += sweep.words * WORD_BYTES
        self.sweep_seconds += sweep.seconds
        words, seconds = self.by_chunk.get(region, (0, 0.0))
        self.by_chunk[region] = (words + sweep.words, seconds + sweep.seconds)

    @property
    def slowest_chunk_percent(self) -> float:
        """How much slower the slowest chunk is than the median of all chunks of the size that was compared most."""
        compared: Counter[int] = Counter()
        for region, (words, _) in self.by_chunk.items():
            compared[region.words] += words
        ((usual, _),) = compared.most_common(1)
        rates = [words / seconds for region, (words, seconds) in self.by_chunk.items() if region.words == usual]
        return 100 * (1 - min(rates) / median(rates))


class Sweeper:
    """Writes and compares regions of one card for the phase that is under way."""

    def __init__(self, backend: Backend, regions: tuple[Region, ...], whole: tuple[Region, ...], books: Books) -> None:
        """`regions` is what this sweeper writes to; `whole`, all tested memory, may be read by anybody."""
        self.backend = backend
        self.regions = regions
        self.whole = whole
        self.books = books
        self.phase = ""
        self.suspects: dict[int, Suspect] = {}
        """Wrong words of the whole scan by their number, the first KEPT of them."""
        self._sure: dict[tuple[PatternKind, int, int, int], int] = {}
        self._waiting: dict[tuple[PatternKind, int, int, int], tuple[bool, int, int]] = {}
        self._touched_s: dict[Region, float] = {}

    def within(self, regions: tuple[Region, ...]) -> "Sweeper":
        """The same scan, with other regions to write to."""
        other = Sweeper(self.backend, regions, self.whole, self.books)
        other.phase, other.suspects = self.phase, self.suspects
        return other

    def begin(self, phase: str) -> None:
        """What follows belongs to this phase."""
        self.phase = phase
        self._sure.clear()
        self._waiting.clear()

    def write(
        self, pattern: Pattern, regions: Regions | None = None, *, descending: bool = False, others: bool = False
    ) -> None:
        """Store a pattern everywhere, or in some regions."""
        for region in _ordered(regions or self.regions, descending=descending):
            self.backend.write(region, pattern, descending=descending, others=others)
            self._touched_s[region] = self.backend.seconds()

    def verify(
        self,
        pattern: Pattern,
        then_write: Pattern | None = None,
        regions: Regions | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> None:
        """Compare everywhere, from memory and not from L2, and replace in the same pass if asked to.

        `beside` is other work for the card meanwhile. Raises ClearAnswerError.
        """
        self.backend.flush()
        wrong = 0
        for region in _ordered(regions or self.regions, descending=descending):
            rested = self.backend.seconds() - self._touched_s.get(region, self.backend.seconds())
            sweep = self.backend.verify(region, pattern, then_write, descending=descending, beside=beside)
            self._touched_s[region] = self.backend.seconds()
            self.books.take(region, sweep, replaced=then_write is not None)
            if sweep.bad_words:
                self._suspect(region, pattern, sweep, rested, replaced=then_write is not None)
                self.books.words_compared += sweep.words
            if sweep.words == region.words and sweep.bad_words == len(sweep.first_wrong):
                proven = self._proven(region, pattern, _as_if_right(sweep), 0 if sweep.bad_words else sweep.words)
                self.books.words_compared += proven
            wrong += sweep.bad_words
        if wrong > STOP_SHARE * sum(region.words for region in self.whole):
            raise ClearAnswerError

    def both(self, pattern: Pattern) -> None:
        """Write, compare and replace by the inverse, compare."""
        self.write(pattern)
        self.verify(pattern, inverse(pattern))
        self.verify(inverse(pattern))

    def move(self, source: Regions, target: Regions) -> None:
        """Have the copy engine copy regions to others of the same sizes."""
        for one, other in zip(source, target, strict=True):
            self.backend.move(one, other)
            self._touched_s[one] = self._touched_s[other] = self.backend.seconds()

    def halves(self) -> tuple[Regions, Regions]:
        """Each region as its first and second half, of the same size; regions of a few words have none."""
        pairs = [
            (
                replace(region, words=region.words // 4 * 2),
                replace(region, first_word=region.first_word + region.words // 4 * 2, words=region.words // 4 * 2),
            )
            for region in self.regions
            if region.words >= 4  # two pairs
        ]
        return tuple(first for first, _ in pairs), tuple(second for _, second in pairs)

    def sides(self) -> tuple[Regions, Regions]:
        """The regions in two parts: every other one. The second is empty where there is but one region."""
        return self.regions[::2], self.regions[1::2]

    def hammer(self, regions: Regions, kind: str, seconds: float) -> None:
        """Touch these regions for so long, `read` or `write`; without any, keep the arithmetic busy instead."""
        if not regions:
            self.backend.burn(seconds)
            return
        until, passes = self.backend.seconds() + seconds, 1
        while (left := until - self.backend.seconds()) > 0:
            took = self.backend.touch(regions, kind, passes)
            passes = max(1, int(passes * min(PIECE_S, left) / took)) if took else passes

    def _suspect(self, region: Region, pattern: Pattern, sweep: Sweep, rested_s: float, *, replaced: bool) -> None:
        for wrong in sweep.first_wrong:
            known = self.suspects.get(wrong.word) or self.suspects.get(wrong.word - pattern.shift)
            if known is not None:
                known.again += 1
            elif len(self.suspects) < KEPT:
                suspect = Suspect(self.phase, pattern, region, wrong, self.backend.seconds(), rested_s)
                self.suspects[wrong.word] = suspect
                if pattern.shift:
                    came_from = replace(wrong, word=wrong.word - pattern.shift)
                    suspect.origin = replace(suspect, region=self._home(came_from.word), wrong=came_from)
                    self.suspects[came_from.word] = suspect.origin
                if not replaced and len(self.suspects) <= EXAMINED:
                    suspect.reread = read(self.backend, region, wrong.word, wrong.expected, REREADS)

    def _home(self, word: int) -> Region:
        """The tested region that a word lies in."""
        return next(one for one in self.whole if one.first_word <= word < one.first_word + one.words)

    def _proven(self, region: Region, pattern: Pattern, total: int, words: int) -> int:
        """How many of these words the sum proves to have been loaded, with those of earlier sweeps that wait for it."""
        known = patterns.known_total(pattern, region.first_word, region.words)
        if known is not None:
            return words if total == known else 0
        key = (pattern.kind, pattern.seed, region.first_word - pattern.shift, region.words)
        plain = (patterns.pair_total(region.words) - total) % (1 << 64) if pattern.inverted else total
        if key in self._sure:
            return words if plain == self._sure[key] else 0
        inverted, same, waiting = self._waiting.get(key, (pattern.inverted, plain, 0))
        if plain != same:
            return 0
        if inverted != pattern.inverted:
            self._sure[key] = plain
            return waiting + words
        self._waiting[key] = (inverted, plain, waiting + words)
        return 0


def read(backend: Backend, region: Region, word: int, expected: int, times: int) -> Tries:
    """How often a word is wrong of so many times that it is read, each time past L2."""
    return sum(backend.peek(region, word) != expected for _ in range(times)), times


def inverse(pattern: Pattern) -> Pattern:
    """The same data with every bit turned."""
    return replace(pattern, inverted=not pattern.inverted)


def _as_if_right(sweep: Sweep) -> int:
    """The sum that this sweep would have had without its wrong words."""
    return (sweep.total + sum(wrong.expected - wrong.actual for wrong in sweep.first_wrong)) % (1 << 64)


def _ordered(regions: Regions, *, descending: bool) -> Iterable[Region]:
    return reversed(regions) if descending else regions
