"""Memory and arithmetic at once: the memory is compared while products run, and every output of those as well.

Each alone may be right where both together are not: they share supply, heat, the L2 and the way between.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from gpucert.stress.backend import Backend, DType, Matrices, OutOfMemoryError, Pattern, PatternKind, Product, WrongWord
from gpucert.stress.memory_scan import HEADROOM_BYTES
from gpucert.stress.phases import REPEATS, SEEDS
from gpucert.stress.sweeper import Books, ClearAnswerError, Sweeper, inverse
from gpucert.stress.wrong_words import Inquiry, Located

SIZE = 4096
"""Of the products: large enough to fill every card, small enough to leave the memory to the sweeps."""
PEEKS = 150
"""How often a word that seems right again is stared at in each polarity."""
MOST_WRONG = 64
"""Wrong outputs that are kept with their values."""


@dataclass
class UnderLoad:
    """What was compared and found on both sides."""

    dtype: DType
    """Of the products."""
    books: Books = field(default_factory=Books)
    elements: int = 0
    wrong: int = 0
    first_wrong: list[WrongWord] = field(default_factory=list)
    rounds: int = 0
    apart_s: float = 0.0
    """How long sweeps and products would have taken one after another, by what each takes alone."""
    shorter_s: float = 0.0
    """The shorter of the two: so much could have been saved."""
    together_s: float = 0.0

    @property
    def overlap_percent(self) -> float:
        """How much of the shorter work was done during the longer one; at least, as the host's own time is in it."""
        saved = max(self.apart_s - self.together_s, 0.0)
        return 100 * min(saved / self.shorter_s, 1.0) if self.shorter_s else 0.0


def compare_under_load(
    backend: Backend,
    dtype: DType,
    seed: int,
    time_left: Callable[[], float],
    tell: Callable[[float, str], None],
    report: Callable[[Located], None],
) -> UnderLoad:
    """One round on a medium, or as many as there is time for on a card; `report` is called with each located word.

    Raises UnitNotOfferedError, OutOfMemoryError, and whatever the card raises when it fails.
    """
    matrices = backend.matrices(dtype, SIZE, seed, exact=True)
    try:
        free = backend.properties().free_bytes
        regions = backend.reserve(HEADROOM_BYTES if free > 64 * HEADROOM_BYTES else 0)
        if not regions:
            raise OutOfMemoryError(f"{free >> 20} MiB are free, too few to test any: end what else uses the card")
        try:
            done = UnderLoad(dtype)
            sweeper = Sweeper(backend, regions, regions, done.books)
            inquiry = Inquiry(sweeper, PEEKS, report)
            try:
                _Rounds(sweeper, inquiry, matrices, done).run(seed, time_left, tell)
            finally:
                inquiry.leave()
            return done
        finally:
            backend.release(regions)
    finally:
        matrices.free()


class _Rounds:
    """Rounds of one write and two compares, in both polarities, of new data each."""

    def __init__(self, sweeper: Sweeper, inquiry: Inquiry, matrices: Matrices, done: UnderLoad) -> None:
        self._sweeper = sweeper
        self._inquiry = inquiry
        self._matrices = matrices
        self._done = done
        self._products = 0
        self._product_s = self._multiply_once().seconds

    def run(self, seed: int, time_left: Callable[[], float], tell: Callable[[float, str], None]) -> None:
        """Until the time is used up, or the answer is clear."""
        backend, began = self._sweeper.backend, self._sweeper.backend.seconds()
        budget = time_left()
        while True:
            tell(min(1.0, (backend.seconds() - began) / budget) if budget > 0 else 0.0, "memory and products")
            clear = self._round(seed + self._done.rounds)
            self._done.rounds += 1
            if clear or self._done.books.wrong_words or not backend.fills_time:
                return
            if time_left() < 1.2 * (backend.seconds() - began) / self._done.rounds:
                return

    def _round(self, seed: int) -> bool:
        """True where the answer is clear before the end."""
        pattern = Pattern(PatternKind.RANDOM, seed * SEEDS)
        self._sweeper.begin("under load")

        def work() -> None:
            self._sweeper.write(pattern)
            self._compare(pattern, inverse(pattern))
            self._compare(inverse(pattern), None)

        clear = False
        try:
            work()
        except ClearAnswerError:
            clear = True
        self._inquiry.look_into(work, REPEATS)
        return clear or self._inquiry.aliased

    def _compare(self, pattern: Pattern, then_write: Pattern | None) -> None:
        """Once alone, to know how long that takes, and once beside products."""
        backend = self._sweeper.backend
        alone = backend.seconds()
        self._sweeper.verify(pattern)
        alone, began, before = backend.seconds() - alone, backend.seconds(), self._products
        self._sweeper.verify(pattern, then_write, beside=self._multiply)
        products = (self._products - before) * self._product_s
        self._done.apart_s += alone + products
        self._done.shorter_s += min(alone, products)
        self._done.together_s += backend.seconds() - began

    def _multiply(self) -> None:
        self._multiply_once()
        self._products += 1

    def _multiply_once(self) -> Product:
        product = self._matrices.run(1, check=True)
        self._done.elements += product.compared
        self._done.wrong += product.wrong
        self._done.first_wrong += product.first_wrong[: MOST_WRONG - len(self._done.first_wrong)]
        return product
