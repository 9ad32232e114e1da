"""Everything that has a known answer, asked in one go: chains of every SM, a product, the memory, copies over the link.

A card that warms, is hot or cools is so for a while only, and a fault that comes with heat may touch any part of it. So
each round asks all of them, a little of each: it takes about two seconds on a card, which neither heats nor cools much.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from gpucert.stress.backend import (
    WORD_BYTES,
    ArithmeticUnit,
    Backend,
    DType,
    Matrices,
    OutOfMemoryError,
    Pattern,
    PatternKind,
    Region,
    UnitNotOfferedError,
    WrongWord,
)
from gpucert.stress.offers import first_offered
from gpucert.stress.phases import REPEATS, SEEDS
from gpucert.stress.sweeper import Books, ClearAnswerError, Sweeper, inverse
from gpucert.stress.wrong_words import Inquiry, Located

DTYPES = (DType.BF16, DType.FP16, DType.FP32)
"""The first of these that the card offers multiplies."""
SIZE = 4096
COPY_BYTES = 16 << 20
DIRECTIONS = ("to_card", "to_host")
ANSWERS = 1
"""Of each part of each SM in a round."""
ROOM_BYTES, ROOM_SHARE = 256 << 20, 16
"""Of memory that is not swept, because copies need some: a sixteenth on small cards."""
PEEKS = 150
"""How often a word that seems right again is stared at in each polarity."""
MOST_WRONG = 32
"""Wrong SMs of a part, and wrong outputs, that are reported of each round."""


@dataclass
class Asked:
    """What all rounds compared and found."""

    rounds: int = 0
    books: Books = field(default_factory=Books)
    elements: int = 0
    wrong: int = 0
    """Of the elements of products."""
    answers: int = 0
    reached: dict[ArithmeticUnit, set[int]] = field(default_factory=dict)
    sms_wrong: set[int] = field(default_factory=set)
    wrong_answers: int = 0
    copied: int = 0
    """Words that were copied over the link and compared."""
    copied_wrong: int = 0

    @property
    def found(self) -> int:
        """Everything that was wrong so far."""
        return self.books.wrong_words + self.wrong + self.wrong_answers + self.copied_wrong


@dataclass(frozen=True)
class Ears:
    """Who hears of wrong words of the memory, and of wrong values with the phase that they were met in."""

    word: Callable[[Located], None]
    value: Callable[[WrongWord, str], None]


@contextmanager
def prepared(backend: Backend, seed: int, ears: Ears) -> Iterator["Asking"]:
    """Product and memory are held until the end. Raises UnitNotOfferedError or OutOfMemoryError."""
    matrices = first_offered(backend, DTYPES, SIZE, seed, exact=True)
    try:
        free = backend.properties().free_bytes
        regions = backend.reserve(min(ROOM_BYTES, free // ROOM_SHARE))
        if not regions:
            raise OutOfMemoryError(f"{free >> 20} MiB are free, too few to test any: end what else uses the card")
        try:
            asking = Asking(backend, seed, ears, matrices, regions)
            yield asking
            asking.leave()
        finally:
            backend.release(regions)
    finally:
        matrices.free()


class Asking:
    """Rounds of questions to one card; `done` is what came of them."""

    def __init__(
        self, backend: Backend, seed: int, ears: Ears, matrices: Matrices, regions: tuple[Region, ...]
    ) -> None:
        self.done = Asked()
        self._backend = backend
        self._seed = seed
        self._ears = ears
        self._matrices = matrices
        self._sweeper = Sweeper(backend, regions, regions, self.done.books)
        self._inquiry = Inquiry(self._sweeper, PEEKS, ears.word)
        self._units = tuple(ArithmeticUnit)

    def ask(self, phase: str, *, everywhere: bool) -> None:
        """One round, in all memory or in the next part of it. Raises whatever the card raises when it fails."""
        self._units = tuple(unit for unit in self._units if self._answer(unit, phase))
        self._multiply(phase)
        for direction in DIRECTIONS:
            self._copy(direction)
        parts = self._sweeper.regions
        self._sweep(phase, parts if everywhere else (parts[self.done.rounds % len(parts)],))
        self.done.rounds += 1

    def leave(self) -> None:
        """Report what nobody could look into, because nothing more is asked."""
        self._inquiry.leave()

    def _answer(self, unit: ArithmeticUnit, phase: str) -> bool:
        """Whether the card has the part; every SM answers for it."""
        try:
            answers = self._backend.answers(unit, ANSWERS, self._seed)
        except UnitNotOfferedError:
            return False
        wrong = [one for one in answers if one.wrong]
        self.done.answers += sum(one.repeats for one in answers)
        self.done.wrong_answers += sum(one.wrong for one in wrong)
        self.done.sms_wrong |= {one.sm for one in wrong}
        self.done.reached.setdefault(unit, set()).update(one.sm for one in answers)
        for one in wrong[:MOST_WRONG]:
            assert one.first_wrong is not None
            self._ears.value(one.first_wrong, f"{unit.value}, {phase}")
        return True

    def _multiply(self, phase: str) -> None:
        product = self._matrices.run(1, check=True)
        self.done.elements += product.compared
        self.done.wrong += product.wrong
        for element in product.first_wrong[:MOST_WRONG]:
            self._ears.value(element, f"{self._matrices.dtype.value} in {phase}")

    def _copy(self, direction: str) -> None:
        copy = self._backend.copy(COPY_BYTES, direction, self._seed + self.done.rounds)
        self.done.copied += COPY_BYTES // WORD_BYTES
        self.done.copied_wrong += copy.wrong

    def _sweep(self, phase: str, regions: tuple[Region, ...]) -> None:
        """Both polarities of new data, and a look into what was wrong."""
        pattern = Pattern(PatternKind.RANDOM, (self._seed + self.done.rounds) * SEEDS)
        self._sweeper.begin(phase)

        def work() -> None:
            self._sweeper.write(pattern, regions)
            self._sweeper.verify(pattern, inverse(pattern), regions)
            self._sweeper.verify(inverse(pattern), None, regions)

        with suppress(ClearAnswerError):
            work()
        self._inquiry.look_into(work, REPEATS)
