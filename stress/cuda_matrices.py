"""Matrix products on one GPU, every output compared with a reference bit for bit, at the cost of reading it once.

No output is blanked before it is made. Instead each product begins elsewhere in the matrix than the one before it, and
goes on with the beginning: where an output was not written, the answer of another column still stands, and is wrong
there. The digest counts columns from the matrix's own beginning, so that a reference is good wherever a product begins.
"""

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpucert.stress import digests, fills, freivalds, kernels
from gpucert.stress.backend import Compared, DType, Product, WrongWord
from gpucert.stress.cublas import RECIPES, Multiplier, Recipe
from gpucert.stress.cuda_card import AHEAD_SECONDS, CudaCard, Pinned, Words
from gpucert.stress.cuda_digests import PAIR_BYTES, RUNS, Digests, Output, Right, unplaced
from gpucert.stress.cuda_tallies import Tallies
from gpucert.stress.fills import TOGGLING, Data

Integers = NDArray[np.int8]
Answer = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int32]
_BLANKS = (0xFF, 0x7F)
"""What every byte is where a reference is to be made: two, because an output that nobody writes must differ in both."""
_LANE_SECONDS = AHEAD_SECONDS / 2
"""Of work in a lane, because two of them are queued ahead."""
_FILL_BLOCKS_PER_SM = 4
_STEP_COLUMNS = 256
"""By how much every other product of full-mantissa numbers begins further on: whole tiles of every kernel."""
_PROBE_COLUMNS = 256
_LONGEST_LAUNCH_SECONDS = 0.4
"""Longer products are cut into panels of columns, because a watchdog kills what holds a display for too long."""
_BITS = {4: np.uint32, 8: np.uint64}
_ROWS_LOCATED = 256
"""Wrong rows whose elements are located, because the places of a wholly wrong product would fill the host's memory."""


class Lane:
    """What belongs to products that are queued together.

    Two lanes take turns, because a card that waits until the host has read what it found of the products before has
    nothing to do meanwhile.
    """

    def __init__(self, card: CudaCard, tallies: Tallies) -> None:
        self.digests = Digests(card, tallies)
        self.events = [(card.event(), card.event()) for _ in range(RUNS)]
        self.done = card.event()


@dataclass(frozen=True)
class _Queued:
    """Products in a lane."""

    lane: Lane
    runs: int
    looked_at: bool

    def finish(self) -> tuple[float, Compared]:
        """Wait until they are done: their seconds, and what was found of them."""
        self.lane.done.wait()
        seconds = sum(end.seconds_since(start) for start, end in self.lane.events[: self.runs])
        return seconds, self.lane.digests.read() if self.looked_at else Compared(0, 0, ())


class CudaMatrices:
    """A product A · B on the card with its right answers. Raises ValueError for a size that the type does not take.

    B has some of its first columns once more at its end, so that a product that begins `step` columns on is one call
    of cuBLAS as well, of the same shape.
    """

    def __init__(
        self,
        card: CudaCard,
        multiplier: Multiplier,
        tallies: Tallies,
        lanes: tuple[Lane, ...],
        dtype: DType,
        shape: tuple[int, int, int],
        seed: int,
        *,
        exact: bool,
    ) -> None:
        self.dtype, self.shape, self._recipe = dtype, shape, RECIPES[dtype]
        if any(size % self._recipe.multiple for size in shape):
            sizes = " × ".join(map(str, shape))
            raise ValueError(f"{sizes}: sizes of {dtype.value} must be multiples of {self._recipe.multiple}")
        self._card, self._multiplier, self._tallies, self._lanes = card, multiplier, tallies, lanes
        rows, columns, inner = shape
        self.step = min(_STEP_COLUMNS, columns // 2)
        """Columns."""
        self._exact, self._bound = exact, fills.exact_bound(inner) if exact else 0
        self._output_bytes = rows * columns * self._recipe.output_bytes
        self._input_bytes = fills.FORMATS[dtype].bytes
        self._held: list[int] = []
        self._rights: dict[int, Right] = {}
        self._proof: Compared | None = None
        self._standing = 0
        try:
            self.left = self._allocate(rows * inner * self._input_bytes)
            self.right = self._allocate((columns + self.step) * inner * self._input_bytes)
            self.result = self._allocate(self._output_bytes)
            self.references = tuple(self._allocate(self._output_bytes) for _ in self._firsts())
            self._fill(seed, (Data.WHOLE, Data.WHOLE) if exact else (Data.FULL, Data.FULL))
            self._panel = self._panel_columns()
            self._take_references()
        except BaseException:
            self.free()
            raise

    def run(self, runs: int, *, check: bool, first_column: int = 0) -> Product:
        """Multiply `runs` times; `seconds` are those of the products alone, without the digests between them.

        An output that should have been compared and was not counts as wrong. The first checked call also answers for
        the product that an exact reference was taken from, because that was the card's work, too.
        """
        if first_column and not self._exact:
            raise ValueError("only products of whole numbers begin anywhere: the sums of others hang on the kernel")
        seconds, left, batch = 0.0, runs, 1
        found = self._proven() if check else Compared(0, 0, ())
        queued, idle = deque[_Queued](), deque(self._lanes)
        while left or queued:
            while left and idle:
                queued.append(self._queue(idle.popleft(), min(batch, left, RUNS), first_column, check=check))
                left -= queued[-1].runs
            first = queued.popleft()
            took, looked = first.finish()
            seconds, found = seconds + took, _joined(found, looked)
            batch = max(1, int(_LANE_SECONDS * first.runs / max(took, 1e-6)))
            idle.append(first.lane)
        rows, columns, inner = self.shape
        return Product(
            runs, 2.0 * rows * columns * inner * runs, seconds, found.elements, found.wrong, found.first_wrong
        )

    def renew(self, seed: int, *, toggling: bool = False) -> None:
        """Other numbers, of full mantissas or toggling, and the card's own first answers to them as references.

        Raises ValueError for whole numbers, because their proof takes the host longer than they are worth.
        """
        if self._exact:
            raise ValueError("whole numbers are not renewed: prepare others")
        self._fill(seed, TOGGLING if toggling else (Data.FULL, Data.FULL))
        self._take_references()

    def inputs(self) -> Compared:
        """Both operands as they stand on the card, against their definition. What was not compared counts as wrong."""
        found = Compared(0, 0, ())
        for operand, address in enumerate((self.left, self.right)):
            definition = self._definition(operand)
            self._tallies.begin()
            self._card.launch(
                "matrix_inputs", address, *definition, self._tallies.rows(), *self._tallies.log(),
                blocks=kernels.blocks(self._card.sm_count),
            )  # fmt: skip
            self._card.finish()
            counted = self._tallies.read()
            wrong = counted.bad_items + definition[0] - counted.items
            found = _joined(found, Compared(counted.items, wrong, unplaced(counted.first_wrong, found.elements)))
        return found

    def free(self) -> None:
        """Give the memory back."""
        while self._held:
            self._card.free(self._held.pop())

    def _allocate(self, size_bytes: int) -> int:
        address = self._card.allocate(size_bytes)
        self._held.append(address)
        return address

    def _fill(self, seed: int, data: tuple[Data, Data]) -> None:
        self._seed, self._data = seed, data
        for operand, address in enumerate((self.left, self.right)):
            blocks = self._card.sm_count * _FILL_BLOCKS_PER_SM
            self._card.launch("matrix_fill", address, *self._definition(operand), blocks=blocks)

    def _definition(self, operand: int) -> tuple[int, ...]:
        """What a kernel is told of an operand: elements and how many of them are its own, columns of one that lies by
        rows, seed, family, bound, format.
        """
        rows, columns, inner = self.shape
        own, more, by_rows = (rows * inner, 0, self._recipe.left_by_rows * inner) if operand == 0 else (
            columns * inner, self.step * inner, 0,
        )  # fmt: skip
        shape, seed = fills.FORMATS[self.dtype], fills.operand_seed(self._seed, operand)
        return (
            own + more, own, by_rows, seed, self._data[operand], self._bound,
            shape.width, shape.fraction, shape.bias, shape.spare,
        )  # fmt: skip

    def _panel_columns(self) -> int:
        """How many columns a launch may make: all of them, unless the card is slow in this type."""
        columns = self.shape[1]
        probe = min(_PROBE_COLUMNS, columns)
        seconds = [self._card.timed(lambda: self._columns(0, 0, probe)) for _ in range(2)][-1]
        panels = max(1, round(_LONGEST_LAUNCH_SECONDS / max(seconds, 1e-6)))
        return min(columns, probe * panels)

    def _multiply(self, first_column: int) -> Output:
        """Queue a product whose columns are made from this one on; where it will lie."""
        rows, columns, _ = self.shape
        done = 0
        while done < columns:
            begin = (first_column + done) % columns
            count = min(self._panel, columns - done, columns + self.step - begin)
            self._columns(begin, done, count)
            done += count
        self._standing = first_column
        shift = first_column * rows * self._recipe.output_bytes // PAIR_BYTES
        return Output(self.result, self._output_bytes // PAIR_BYTES, shift, 8 * self._recipe.output_bytes)

    def _columns(self, first: int, place: int, columns: int) -> None:
        rows, _, inner = self.shape
        right = self.right + first * inner * self._input_bytes
        result = self.result + place * rows * self._recipe.output_bytes
        self._multiplier.multiply(self._recipe, self.left, right, result, rows, columns, inner)

    def _elsewhere(self, first_column: int) -> int:
        """The column that was asked for, or a step on where the product that stands there began with that one."""
        columns = self.shape[1]
        return (first_column + self.step * (first_column == self._standing)) % columns

    def _queue(self, lane: Lane, runs: int, first_column: int, *, check: bool) -> _Queued:
        """Queue products one after another, each with its digest if it is to be looked at."""
        if check:
            lane.digests.begin(runs)
        for start, end in lane.events[:runs]:
            start.record()
            output = self._multiply(self._elsewhere(first_column))
            end.record()
            if check:
                lane.digests.take(output, self._rights[0 if self._exact else self._standing])
        lane.done.record()
        return _Queued(lane, runs, check)

    def _firsts(self) -> tuple[int, ...]:
        """Columns at which products begin that need a reference of their own.

        Of whole numbers one does for all. The sums of others may hang on where in the matrix they are made, because
        cuBLAS promises the same bits for the same call alone.
        """
        return (0,) if self._exact else (0, self.step)

    def _take_references(self) -> None:
        for first, reference, blank in zip(self._firsts(), self.references, _BLANKS, strict=False):
            self._card.fill_bytes(self.result, blank, self._output_bytes)
            output = self._multiply(first)
            digest = self._prove(reference) if self._exact else self._keep(output, reference)
            self._rights[first] = Right(reference, digest)
        self._card.finish()

    def _keep(self, output: Output, reference: int) -> int:
        """Take a product as reference, from the beginning of the matrix on: its digest."""
        rest = output.shift * PAIR_BYTES
        self._card.copy(reference + rest, self.result, self._output_bytes - rest)
        self._card.copy(reference, self.result + self._output_bytes - rest, rest)
        return self._lanes[0].digests.of(output)

    def _prove(self, reference: int) -> int:
        """Prove the card's first answer on the host, mend the rows that are wrong, and give it back: its digest."""
        rows, columns, inner = self.shape
        left = whole_numbers(rows, inner, fills.operand_seed(self._seed, 0), self._bound)
        right = whole_numbers(inner, columns, fills.operand_seed(self._seed, 1), self._bound)
        words = Pinned(self._output_bytes // 8)
        try:
            self._card.copy(words.address, self.result, self._output_bytes)
            self._card.finish()
            answer = _numbers(words.words, self._recipe).reshape(columns, rows).T
            self._proof = mend(left, right, answer, self._seed)
            self._card.copy(reference, words.address, self._output_bytes)
            self._card.finish()
            return digests.digest(words.words)
        finally:
            words.free()

    def _proven(self) -> Compared:
        """What the proof of the reference found, once."""
        proof, self._proof = self._proof, None
        return proof or Compared(0, 0, ())


def _joined(one: Compared, other: Compared) -> Compared:
    first_wrong = (one.first_wrong + other.first_wrong)[: kernels.LOG_CAPACITY]
    return Compared(one.elements + other.elements, one.wrong + other.wrong, first_wrong)


def _numbers(words: Words, recipe: Recipe) -> Answer:
    if recipe.scalar is np.int32:
        return words.view(np.int32)
    return words.view(np.float64) if recipe.scalar is np.float64 else words.view(np.float32)


def mend(left: Integers, right: Integers, answer: Answer, seed: int) -> Compared:
    """Replace in place every row of `answer` (m × n) that is not left · right, and say what stood there."""
    rows = freivalds.wrong_rows(left, right, answer, seed)
    if not len(rows):
        return Compared(answer.size, 0, ())
    found, true = answer[rows], freivalds.rows(left, right, rows).astype(answer.dtype)
    differs = found != true  # NaN differs from everything
    answer[rows] = true
    height = answer.shape[0]
    first = tuple(
        _wrong(rows[row] + column * height, found[row, column], true[row, column])
        for row, column in np.argwhere(differs[:_ROWS_LOCATED])[: kernels.LOG_CAPACITY]
    )
    return Compared(answer.size, int(np.count_nonzero(differs)), first)


def _wrong(element: int, found: np.generic, true: np.generic) -> WrongWord:
    bits = _BITS[found.itemsize]
    return WrongWord(int(element), int(true.view(bits)), int(found.view(bits)), sm=-1)


@lru_cache(maxsize=2)  # because every type multiplies the same whole numbers
def whole_numbers(rows: int, columns: int, seed: int, bound: int) -> Integers:
    """The operand as the definition has it, not as the card does: shape (rows, columns), row i and column j."""
    numbers = fills.integers(rows * columns, seed, bound).reshape(columns, rows).T
    numbers.flags.writeable = False
    return numbers
