"""The scan: nearly all memory written and compared in phases, with proof of what was covered and of what was found.

The parts: phases.py says what is done, sweeper.py does it and keeps the books, wrong_words.py looks into what was
wrong, self_test.py plants faults of its own before. Here they are put in order.
"""

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gpucert.stress.backend import WORD_BYTES, Backend, OutOfMemoryError, Pattern, PatternKind, Region
from gpucert.stress.phases import PROFILES, SEEDS, Phase, Profile, stare
from gpucert.stress.self_test import SelfTest, self_test
from gpucert.stress.sweeper import Books, ClearAnswerError, Sweeper, inverse
from gpucert.stress.wrong_words import Inquiry, Located

__all__ = ["HEADROOM_BYTES", "PROFILES", "Located", "Phase", "Profile", "Scan", "scan"]

HEADROOM_BYTES = 64 << 20
"""Left free on a card of real size, for the driver and for the flush."""
CANARY_SHARE = 100
"""A canary is one so many-th of the tested memory."""
CORRECTED_READS = 100
"""How often everything is read in each polarity where ECC corrected something that does not come again."""
MISREAD_ONCE_IN = 100
"""The escape is told for a cell that is misread once in so many reads."""

Tell = Callable[[float, str], None]
"""Called with the share that is done and what comes next."""
Work = Callable[[], None]
Corrected = Callable[[], int]
"""How many errors ECC has corrected by now; always the same where nobody knows."""


@dataclass
class Scan:
    """What a scan found."""

    total_bytes: int
    tested_bytes: int
    self_test: SelfTest
    books: Books = field(default_factory=Books)
    rounds: int = 0
    located: list[Located] = field(default_factory=list)
    corrected_phases: int = 0
    """Phases in which ECC corrected something: such errors carry no address, so that only time tells them apart."""

    @property
    def coverage_percent(self) -> float:
        """Tested bytes of all bytes, in percent."""
        return 100 * self.tested_bytes / self.total_bytes

    @property
    def wrong_words(self) -> int:
        """Compares that failed."""
        return self.books.wrong_words

    @property
    def reads(self) -> int:
        """How often each word was compared, on average."""
        return self.books.words_compared * WORD_BYTES // self.tested_bytes

    @property
    def error_bound(self) -> float | None:
        """Upper bound (95 %) of errors per bit read: 3 / N for none in N bits; None where errors were found."""
        bits = self.books.words_compared * WORD_BYTES * 8
        return 3 / bits if bits and not self.wrong_words else None

    @property
    def escape_percent(self) -> float | None:
        """Chance that a cell which is misread once in MISREAD_ONCE_IN reads was right in all: (1 − 1/k)^reads.

        None where errors were found.
        """
        return None if self.wrong_words else 100 * (1 - 1 / MISREAD_ONCE_IN) ** self.reads

    def of_kind(self, kind: str) -> int:
        """How many of the words that were looked into are of this kind."""
        return sum(one.kind == kind for one in self.located)


def scan(
    backend: Backend,
    profile: Profile,
    seed: int,
    time_left: Callable[[], float],
    tell: Tell,
    report: Callable[[Located], None],
    corrected: Corrected = lambda: 0,
) -> Scan:
    """Scan all free memory; `report` is called with each located word as soon as its phase ends.

    A phase in which ECC corrected something is repeated, because once is chance.
    Raises OutOfMemoryError, and whatever the card raises when it fails: what was wrong until then is reported before.
    """
    free = backend.properties().free_bytes
    regions = backend.reserve(HEADROOM_BYTES if free > 64 * HEADROOM_BYTES else 0)
    if not regions:
        raise OutOfMemoryError(f"{free >> 20} MiB are free, too few to test any: end what else uses the card")
    try:
        tell(0.0, "self-test: planting faults")
        tested = sum(region.words for region in regions) * WORD_BYTES
        done = Scan(backend.properties().total_bytes, tested, self_test(backend, regions, seed))
        sweeper = Sweeper(backend, regions, regions, done.books)
        inquiry = Inquiry(sweeper, profile.peeks, report)
        done.located = inquiry.located
        try:
            _Rounds(sweeper, inquiry, profile, done, tell, corrected).run(seed, time_left)
        finally:
            inquiry.leave()
        return done
    finally:
        backend.release(regions)


class _Rounds:
    """Rounds of a profile, each of its phases once."""

    def __init__(
        self, sweeper: Sweeper, inquiry: Inquiry, profile: Profile, done: Scan, tell: Tell, corrected: Corrected
    ) -> None:
        self._sweeper = sweeper
        self._inquiry = inquiry
        self._profile = profile
        self._done = done
        self._tell = tell
        self._corrected = corrected
        self._corrected_before = corrected()
        self._seed = 0
        self._past = 0.0

    def run(self, seed: int, time_left: Callable[[], float]) -> None:
        """One round, or as many as there is time for on a card whose time is worth filling."""
        backend = self._sweeper.backend
        while True:
            began, self._seed, self._past = backend.seconds(), seed + self._done.rounds, 0.0
            self._done.rounds += 1
            clear = self._round()
            self._profile = self._profile.without_waits()
            if clear or self._done.wrong_words or not backend.fills_time:
                return
            if time_left() < 1.2 * (backend.seconds() - began):
                return

    def _round(self) -> bool:
        """True where the answer is clear before the end."""
        profile, everything = self._profile, self._sweeper
        windows = _windows(everything.whole, self._seed)
        rest = everything.within(_outside(everything.whole, windows))
        canaries = _Canaries(everything.within(windows), self._seed)
        return (
            any(self._settles(phase, everything) for phase in profile.first)
            or self._settled(canaries.place, canaries.place, 1, canaries.stare)
            or any(
                self._settles(phase, rest) or self._canaries_settle(canaries, phase, rest) for phase in profile.guarded
            )
            or any(self._settles(phase, canaries.sweeper, share=2 / CANARY_SHARE) for phase in profile.guarded)
            or any(self._settles(phase, everything) for phase in profile.after)
        )

    def _settles(self, phase: Phase, sweeper: Sweeper, share: float = 1.0) -> bool:
        """Run one phase; True where nothing more need be asked after it."""
        whole = sum(one.touches + one.waits_s for one in self._profile.phases)
        self._tell(min(self._past / whole, 1.0), f"round {self._done.rounds}, {phase.name}")
        self._past += (phase.touches + phase.waits_s) * share
        sweeper.begin(phase.name)

        def run() -> None:
            phase.run(sweeper, self._seed)

        def look_often() -> None:
            stare(CORRECTED_READS).run(sweeper, self._seed)

        return self._settled(run, run, phase.repeats, look_often)

    def _canaries_settle(self, canaries: "_Canaries", phase: Phase, sweeper: Sweeper) -> bool:
        """Look after the canaries when a phase has worked around them; True where nothing more need be asked."""

        def again() -> None:
            phase.run(sweeper, self._seed)
            canaries.look()

        return self._settled(canaries.look, again, phase.repeats, canaries.stare)

    def _settled(self, work: Work, repeat: Work, repeats: int, look_often: Work) -> bool:
        """Do some work and look into what was wrong in it; True where nothing more need be asked."""
        clear = False
        try:
            work()
        except ClearAnswerError:
            clear = True
        if self._had_to_correct():
            self._correct_again([*[repeat] * repeats, look_often])
        self._inquiry.look_into(repeat, repeats)
        return clear or self._inquiry.aliased

    def _correct_again(self, attempts: Iterable[Work]) -> None:
        """Do what may show whether ECC must correct something again, until it does."""
        for attempt in attempts:
            with suppress(ClearAnswerError):
                attempt()
            if self._had_to_correct():
                return

    def _had_to_correct(self) -> bool:
        """Whether ECC has corrected something since this was asked last, so that no error falls between two phases."""
        before, self._corrected_before = self._corrected_before, self._corrected()
        self._done.corrected_phases += self._corrected_before > before
        return self._corrected_before > before


class _Canaries:
    """Two windows that are written once and read after each phase: nobody else may write to them meanwhile."""

    def __init__(self, sweeper: Sweeper, seed: int) -> None:
        self.sweeper = sweeper
        patterns = (Pattern(PatternKind.RANDOM, seed * SEEDS + SEEDS - 1), Pattern(PatternKind.BACKGROUND, 0))
        self._data = tuple(zip(((window,) for window in sweeper.regions), patterns, strict=True))

    def place(self) -> None:
        """Write them, the inverse first, because only both polarities prove the sum."""
        self.sweeper.begin("canary")
        for window, pattern in self._data:
            for data in (inverse(pattern), pattern):
                self.sweeper.write(data, window)
                self.sweeper.verify(data, regions=window)

    def stare(self) -> None:
        """Compare them very often."""
        for _ in range(2 * CORRECTED_READS):
            self.look()

    def look(self) -> None:
        """Compare them."""
        for window, pattern in self._data:
            self.sweeper.verify(pattern, regions=window)


def _windows(regions: tuple[Region, ...], seed: int) -> tuple[Region, Region]:
    """Two places for canaries, other ones in each round, in the two largest regions or in halves of the only one."""
    words = max(sum(region.words for region in regions) // CANARY_SHARE // 2 * 2, 2)
    largest = sorted(regions, key=lambda region: -region.words)
    homes = (largest[0], largest[1]) if len(largest) > 1 else _halved(largest[0])
    chooser = random.Random(seed)  # noqa: S311  # places, not secrets

    def within(home: Region) -> Region:
        size = min(words, home.words // 4 * 2)
        return replace(
            home, first_word=home.first_word + chooser.randrange((home.words - size) // 2 + 1) * 2, words=size
        )

    return within(homes[0]), within(homes[1])


def _halved(region: Region) -> tuple[Region, Region]:
    half = region.words // 4 * 2
    return replace(region, words=half), replace(region, first_word=region.first_word + half, words=region.words - half)


def _outside(regions: tuple[Region, ...], windows: tuple[Region, ...]) -> tuple[Region, ...]:
    """What is left of the regions without the windows."""
    left = list(regions)
    for window in windows:
        (home,) = [one for one in left if one.first_word <= window.first_word < one.first_word + one.words]
        end = window.first_word + window.words
        parts = (
            replace(home, words=window.first_word - home.first_word),
            replace(home, first_word=end, words=home.first_word + home.words - end),
        )
        at = left.index(home)
        left[at : at + 1] = [part for part in parts if part.words]
    return tuple(left)
