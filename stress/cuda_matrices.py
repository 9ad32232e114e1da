"""Matrix products by cuBLAS on one GPU, compared bit for bit with a reference by a kernel of our own.

Matrices lie by columns, as cuBLAS wants them: element (i, j) of an m × n matrix is number i + j·m. Only the left
operand of INT8 lies by rows.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpucert.stress import fills, freivalds, kernels
from gpucert.stress.backend import Compared, DType, Product, WrongWord
from gpucert.stress.cuda_card import AHEAD_SECONDS, CudaCard, Event, NoCudaError, Pinned, Words
from gpucert.stress.cuda_tallies import SETS, Tallies

Integers = NDArray[np.int8]
Answer = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int32]
_NAN_BYTE = 0xFF
"""Bytes that are no number."""
_NO_SUM_BYTE = 0x7F
"""0x7F7F7F7F is no sum of products of INT8 either, up to an inner size of 130,560."""


@dataclass(frozen=True)
class Recipe:
    """What cublasGemmEx is told for one type: numbers of cudaDataType and cublasComputeType_t.

    Literals, because CuPy has no names for all of them.
    """

    inputs: int
    output: int
    compute: int
    scalar: type[np.float32] | type[np.float64] | type[np.int32]
    """Type of the two factors, and of the output."""
    blank: int = _NAN_BYTE
    """What every byte of an output is before it is computed: no answer."""
    left_by_rows: bool = False
    multiple: int = 1
    """Of which every size must be a multiple."""

    @property
    def left_operation(self) -> int:
        """How cuBLAS is to take the left operand: as it lies (0), or turned (1)."""
        return int(self.left_by_rows)


RECIPES: dict[DType, Recipe] = {
    DType.FP64: Recipe(inputs=1, output=1, compute=70, scalar=np.float64),
    DType.FP32: Recipe(inputs=0, output=0, compute=69, scalar=np.float32),
    DType.TF32: Recipe(inputs=0, output=0, compute=77, scalar=np.float32),
    DType.FP16: Recipe(inputs=2, output=0, compute=68, scalar=np.float32),
    DType.BF16: Recipe(inputs=14, output=0, compute=68, scalar=np.float32),
    DType.INT8: Recipe(
        inputs=3, output=10, compute=72, scalar=np.int32, blank=_NO_SUM_BYTE, left_by_rows=True, multiple=16
    ),
}
"""FP32 is pedantic (69): the plain compute type may be lowered to TF32 by a math mode. INT8 is multiplied on tensor
cores where sizes and leading dimensions are multiples of 4, better of 16, and where both operands lie along the inner
dimension, which takes the left one turned ("TN")."""

_NO_TRANSPOSE = 0
_DEFAULT_ALGORITHM = -1
_FILL_BLOCKS_PER_SM = 4
_PROBE_COLUMNS = 256
_LONGEST_LAUNCH_SECONDS = 0.4
"""Longer products are cut into panels of columns, because a watchdog kills what holds a display for too long."""
_BITS = {4: np.uint32, 8: np.uint64}
_ROWS_LOCATED = 256
"""Wrong rows whose elements are located, because the places of a wholly wrong product would fill the host's memory."""


class Cublas(Protocol):
    """What is used of cupy_backends.cuda.libs.cublas; names as there."""

    def create(self) -> int:
        """A handle."""

    def getVersion(self, handle: int) -> int:  # noqa: N802
        """Version as one number."""

    def gemmEx(self, handle: int, *arguments: int) -> None:  # noqa: N802
        """Queue a product; 18 arguments as cublasGemmEx has them."""


class Multiplier:
    """The cuBLAS handle of a card."""

    def __init__(self, card: CudaCard) -> None:
        self._card = card
        with card.errors():
            self._cublas = _import_cublas()
            self._handle = self._cublas.create()

    def version(self) -> str:
        """Version of cuBLAS, as `major.minor.patch`."""
        with self._card.errors():
            number = int(self._cublas.getVersion(self._handle))
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def multiply(self, recipe: Recipe, left: int, right: int, result: int, rows: int, columns: int, inner: int) -> None:
        """Queue result = left · right; addresses of matrices without padding, by columns or as the recipe has it."""
        one, zero = np.ones(1, recipe.scalar), np.zeros(1, recipe.scalar)
        with self._card.errors():
            self._cublas.gemmEx(
                self._handle, recipe.left_operation, _NO_TRANSPOSE, rows, columns, inner, one.ctypes.data,
                left, recipe.inputs, inner if recipe.left_by_rows else rows, right, recipe.inputs, inner,
                zero.ctypes.data,
                result, recipe.output, rows, recipe.compute, _DEFAULT_ALGORITHM,
            )  # fmt: skip


def _import_cublas() -> Cublas:
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError as error:
        raise NoCudaError(f"cuBLAS cannot be loaded ({error}): install nvidia-cublas of the CUDA release") from error
    library: Cublas = cublas
    return library


class CudaMatrices:
    """A product A · B on the card with its reference. Raises ValueError for a size that the type does not take."""

    def __init__(
        self,
        card: CudaCard,
        multiplier: Multiplier,
        tallies: Tallies,
        dtype: DType,
        size: int,
        seed: int,
        *,
        exact: bool,
    ) -> None:
        self.dtype = dtype
        self.shape = (size, size, size)
        self._card, self._multiplier, self._tallies = card, multiplier, tallies
        self._recipe = RECIPES[dtype]
        if size % self._recipe.multiple:
            raise ValueError(f"size is {size}; of {dtype.value} it must be a multiple of {self._recipe.multiple}")
        self._seed = seed
        self._elements = size * size
        self._bound = fills.exact_bound(size) if exact else 0
        self._output_width = 8 * np.dtype(self._recipe.scalar).itemsize
        self._output_bytes = padded(self._elements * self._output_width // 8)
        input_bytes = padded(self._elements * fills.FORMATS[dtype].bytes)
        self._held: list[int] = []
        self._proof: Proof | None = None
        try:
            self.left, self.right = self._allocate(input_bytes), self._allocate(input_bytes)
            self.result, self.reference = self._allocate(self._output_bytes), self._allocate(self._output_bytes)
            self._events = [(card.event(), card.event()) for _ in range(SETS)]
            self._prepare(exact=exact)
        except BaseException:
            self.free()
            raise

    def run(self, runs: int, *, check: bool, first_column: int = 0) -> Product:
        """Multiply `runs` times; `seconds` are those of the products alone, without the compares between them.

        An output that should have been compared and was not counts as wrong. The first checked call also answers for
        the product that an exact reference was taken from, because that was the card's work, too.
        """
        size = self.shape[0]
        seconds, compared, wrong, done, batch = 0.0, 0, 0, 0, 1
        first_wrong: tuple[WrongWord, ...] = ()
        if check and self._proof is not None:
            compared, wrong, first_wrong = self._proof.elements, self._proof.wrong, self._proof.first_wrong
            self._proof = None
        while done < runs:
            count = min(batch, runs - done, SETS)
            took = self._batch(count, first_column, check=check)
            if check:
                counted = self._tallies.read()
                never_compared = count * self._elements - counted.items
                compared, wrong = compared + counted.items, wrong + counted.bad_items + never_compared
                first_wrong = (first_wrong + _unplaced(counted.first_wrong))[: kernels.LOG_CAPACITY]
            seconds, done = seconds + took, done + count
            batch = max(1, int(AHEAD_SECONDS * count / max(took, 1e-6)))
        return Product(runs, 2.0 * size**3 * runs, seconds, compared, wrong, first_wrong)

    def inputs(self) -> Compared:
        """Both operands as they stand on the card, against their definition. What was not compared counts as wrong."""
        elements, wrong, first_wrong = 0, 0, list[WrongWord]()
        for operand, address in enumerate((self.left, self.right)):
            self._tallies.begin()
            self._card.launch(
                "matrix_inputs", address, *self._definition(operand), self._tallies.rows(), *self._tallies.log(),
                blocks=kernels.blocks(self._card.sm_count),
            )  # fmt: skip
            self._card.finish()
            counted = self._tallies.read()
            elements += counted.items
            wrong += counted.bad_items + self._elements - counted.items
            first_wrong += [
                replace(one, word=one.word + operand * self._elements) for one in _unplaced(counted.first_wrong)
            ]
        return Compared(elements, wrong, tuple(first_wrong[: kernels.LOG_CAPACITY]))

    def free(self) -> None:
        """Give the memory back."""
        while self._held:
            self._card.free(self._held.pop())

    def _allocate(self, size_bytes: int) -> int:
        address = self._card.allocate(size_bytes)
        self._held.append(address)
        self._card.fill_bytes(address, 0, size_bytes)
        return address

    def _prepare(self, *, exact: bool) -> None:
        for operand, address in enumerate((self.left, self.right)):
            blocks = self._card.sm_count * _FILL_BLOCKS_PER_SM
            self._card.launch("matrix_fill", address, *self._definition(operand), blocks=blocks)
        self._panel = self._panel_columns()
        self._multiply()
        if exact:
            self._take_proven_reference()
        else:
            self._card.copy(self.reference, self.result, self._output_bytes)
        self._card.finish()

    def _definition(self, operand: int) -> tuple[int, ...]:
        """What a kernel is told of an operand: elements, seed, bound, format, and the side of one that is turned."""
        shape, turned = fills.FORMATS[self.dtype], self._recipe.left_by_rows and operand == 0
        seed, side = fills.operand_seed(self._seed, operand), self.shape[0] if turned else 0
        return self._elements, seed, self._bound, shape.width, shape.fraction, shape.bias, shape.spare, side

    def _panel_columns(self) -> int:
        """How many columns a launch may make: all of them, unless the card is slow in this type."""
        size = self.shape[0]
        probe = min(_PROBE_COLUMNS, size)
        seconds = [self._card.timed(lambda: self._columns(0, probe)) for _ in range(2)][-1]
        panels = max(1, round(_LONGEST_LAUNCH_SECONDS / max(seconds, 1e-6)))
        return min(size, probe * panels)

    def _multiply(self, first_column: int = 0) -> None:
        for begin, end in ((first_column, self.shape[0]), (0, first_column)):
            for first in range(begin, end, self._panel):
                self._columns(first, min(self._panel, end - first))

    def _columns(self, first: int, columns: int) -> None:
        size = self.shape[0]
        right = self.right + first * size * fills.FORMATS[self.dtype].bytes
        result = self.result + first * size * self._output_width // 8
        self._multiplier.multiply(self._recipe, self.left, right, result, size, columns, size)

    def _batch(self, count: int, first_column: int, *, check: bool) -> float:
        if check:
            self._tallies.begin(count)
        for index, (start, end) in enumerate(self._events[:count]):
            if check:  # because the right answer of the run before would pass for that of a product that never ran
                self._card.fill_bytes(self.result, self._recipe.blank, self._elements * self._output_width // 8)
            start.record()
            self._multiply(first_column)
            end.record()
            if check:
                self._compare(index)
        return self._seconds_of(self._events[:count])

    def _seconds_of(self, events: list[tuple[Event, Event]]) -> float:
        self._card.finish()
        return sum(end.seconds_since(start) for start, end in events)

    def _compare(self, index: int) -> None:
        self._card.launch(
            "matrix_compare", self.result, self.reference, self._output_bytes // 16, self._elements,
            self._output_width, self._tallies.rows(index), *self._tallies.log(),
            blocks=kernels.blocks(self._card.sm_count),
        )  # fmt: skip

    def _take_proven_reference(self) -> None:
        """Prove the card's first answer on the host, mend the rows that are wrong, and give it back as reference."""
        size = self.shape[0]
        left, right = (whole_numbers(size, fills.operand_seed(self._seed, operand), self._bound) for operand in (0, 1))
        words = Pinned(self._output_bytes // 8)
        try:
            self._card.copy(words.address, self.result, self._output_bytes)
            self._card.finish()
            answer = _numbers(words.words, self._recipe)[: self._elements].reshape(size, size).T
            self._proof = mend(left, right, answer, self._seed)
            self._card.copy(self.reference, words.address, self._output_bytes)
            self._card.finish()
        finally:
            words.free()


def _unplaced(wrong: tuple[WrongWord, ...]) -> tuple[WrongWord, ...]:
    """Without an SM: that of the log compared an output, and cuBLAS does not tell which one made it."""
    return tuple(replace(one, sm=-1) for one in wrong)


def _numbers(words: Words, recipe: Recipe) -> Answer:
    if recipe.scalar is np.int32:
        return words.view(np.int32)
    return words.view(np.float64) if recipe.scalar is np.float64 else words.view(np.float32)


@dataclass(frozen=True)
class Proof:
    """What the proof of a product found: how many elements it has, which were wrong; their SMs are not known."""

    elements: int
    wrong: int
    first_wrong: tuple[WrongWord, ...] = ()


def mend(left: Integers, right: Integers, answer: Answer, seed: int) -> Proof:
    """Replace in place every row of `answer` (m × n) that is not left · right, and say what stood there."""
    rows = freivalds.wrong_rows(left, right, answer, seed)
    if not len(rows):
        return Proof(answer.size, 0)
    found, true = answer[rows], freivalds.rows(left, right, rows).astype(answer.dtype)
    differs = found != true  # NaN differs from everything
    answer[rows] = true
    height = answer.shape[0]
    first = tuple(
        _wrong(rows[row] + column * height, found[row, column], true[row, column])
        for row, column in np.argwhere(differs[:_ROWS_LOCATED])[: kernels.LOG_CAPACITY]
    )
    return Proof(answer.size, int(np.count_nonzero(differs)), first)


def _wrong(element: int, found: np.generic, true: np.generic) -> WrongWord:
    bits = _BITS[found.itemsize]
    return WrongWord(int(element), int(true.view(bits)), int(found.view(bits)), sm=-1)


@lru_cache(maxsize=2)  # because every type multiplies the same whole numbers
def whole_numbers(size: int, seed: int, bound: int) -> Integers:
    """The operand as the definition has it, not as the card does: shape (size, size), row i and column j."""
    numbers = fills.integers(size * size, seed, bound).reshape(size, size).T
    numbers.flags.writeable = False
    return numbers


def padded(size_bytes: int) -> int:
    """The next multiple of the 16 bytes that kernels load at once."""
    return -(-size_bytes // 16) * 16
