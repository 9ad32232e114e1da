"""The host backend: NumPy twins of the kernels over a medium, for virtual cards and for holding the kernels to account.

Memory is really stored, loaded and compared, and products are really multiplied, in tiles that each belong to one SM.
A small product stands for the large one that is declared: the medium charges its clock and heat for the large one.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpucert.stress import answers, fills, patterns
from gpucert.stress.backend import (
    PARTITIONS,
    UNIT_OF,
    WORD_BYTES,
    Answer,
    ArithmeticUnit,
    ClockCount,
    Compared,
    Copy,
    DType,
    OutOfMemoryError,
    Pattern,
    PatternKind,
    Product,
    Properties,
    Region,
    SmCycles,
    Sweep,
    WrongWord,
)
from gpucert.stress.fills import TOGGLING, Data
from gpucert.stress.medium import COPY_ENGINE, Medium, Words, Work
from gpucert.stress.offers import offered

TILE_WORDS = 8192
"""64 KiB: the piece of a sweep that one SM works on, as in the kernels."""
BURN_S = 1.0
"""How much of a burn is charged at once."""
SLOWEST_FLOP_PER_S = 1e12
"""How fast a burn takes the card to be before its first piece: no card since Pascal is slower in FP32."""
CHUNKS = 8
"""Pieces in which the memory is taken, so that several regions are always exercised."""
FIRST_WRONG = 4096
REAL_SIZE = 256
"""Rows and columns of the product that is really multiplied."""
TILE_ROWS = 16
"""Rows and columns of a tile of it: 256 tiles, more than any chip has SMs, so that every SM computes at each run."""
REAL_COPY_WORDS = 1 << 16
FLOP_PER_ANSWER = 2 * answers.STEPS * answers.THREADS
CHAIN_STEPS = 128
"""Of a chain that is worked out: a medium disturbs its end, so that more steps would prove nothing."""

_MASK = (1 << 64) - 1
_WITHOUT_RATE = {
    ArithmeticUnit.SHARED,
    ArithmeticUnit.REGISTERS,
    ArithmeticUnit.SHUFFLE,
    ArithmeticUnit.ATOMICS,
    ArithmeticUnit.BRANCHES,
}
"""Charged as whole-number arithmetic, because nobody states how fast they are."""
_SUMMED_IN_FP64 = {DType.FP64: np.float64, DType.INT8: np.int32}
_BITS = {4: np.uint32, 8: np.uint64}
_BYTES_PER_TOUCH = {"read": (1.0, 0.0), "write": (0.0, 1.0), "copy": (0.5, 0.5)}

Numbers = NDArray[np.generic]


class HostBackend:
    """A medium that can be loaded. Repeat counts are fixed, because a second identical pass over it proves nothing."""

    name = "host"
    fills_time = False

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self.memory_scale = medium.memory_scale
        self._sms = medium.properties().sm_count
        self._passes = 0

    def versions(self) -> dict[str, str]:
        """The version of NumPy, which does the arithmetic."""
        return {"numpy": np.__version__}

    def properties(self) -> Properties:
        """The card, and its free memory now."""
        return self._medium.properties()

    def seconds(self) -> float:
        """The medium's clock."""
        return self._medium.now_s()

    def idle(self, seconds: float) -> None:
        """Let the card rest."""
        self._medium.spend(Work(kind="idle", seconds=seconds))

    def reserve(self, headroom_bytes: int) -> tuple[Region, ...]:
        """All free memory but the headroom, in equal pieces of whole tiles and a rest. Raises OutOfMemoryError."""
        words = (self._medium.properties().free_bytes - headroom_bytes) // WORD_BYTES
        if words < 1:
            raise OutOfMemoryError("no memory is free for the test")
        size = max(words // CHUNKS // TILE_WORDS, 1) * TILE_WORDS
        firsts = list(range(0, words, size))
        if len(firsts) > CHUNKS:
            firsts = firsts[:CHUNKS]
        ends = [*firsts[1:], words]
        return tuple(Region(first, first, end - first) for first, end in zip(firsts, ends, strict=True))

    def release(self, regions: tuple[Region, ...]) -> None:
        """Nothing to give back: the memory is the medium's."""

    def write(self, region: Region, pattern: Pattern, *, descending: bool = False, others: bool = False) -> Sweep:
        """Store a pattern, tile by tile, each from another SM."""
        for first, count, sm in self._tiles(region, descending=descending):
            words = patterns.words(pattern, first, count)
            keep = patterns.targets(pattern, first, count) if others else None
            self._medium.store(first, words, sm, descending=descending, keep=keep)
        seconds = self._spend_memory(0, region.words)
        return Sweep(region.words, 0, 0, 0, (), seconds)

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        """Load and compare every word, and replace it in the same pass if asked to; a medium does one after another."""
        if beside is not None:
            beside()
        found = _Found()
        for first, count, sm in self._tiles(region, descending=descending):
            found.compare(first, self._medium.load(first, count, sm), patterns.words(pattern, first, count), sm)
            if then_write is not None:
                self._medium.store(first, patterns.words(then_write, first, count), sm, descending=descending)
        seconds = self._spend_memory(region.words, region.words if then_write is not None else 0)
        return Sweep(found.words, found.total, found.bad_words, found.bad_bits, tuple(found.wrong), seconds)

    def move(self, source: Region, target: Region) -> float:
        """Load here and store there, tile by tile, past the SMs."""
        for first, count, _ in self._tiles(source):
            words = self._medium.load(first, count, COPY_ENGINE)
            self._medium.store(first - source.first_word + target.first_word, words, COPY_ENGINE)
        return self._spend_memory(source.words, target.words)

    def peek(self, region: Region, word: int) -> int:
        """Load one word from memory, past L2."""
        self._medium.flush()
        return int(self._medium.load(word, 1, self._next_sm())[0])

    def poke(self, region: Region, word: int, value: int) -> None:
        """Store one word."""
        self._medium.store(word, np.array([value], np.uint64), self._next_sm())

    def flush(self) -> None:
        """Empty the L2."""
        self._medium.flush()

    def burn(self, seconds: float) -> None:
        """Charge the card for FP32 arithmetic, in pieces of a second."""
        until, speed = self.seconds() + seconds, SLOWEST_FLOP_PER_S
        while (left := until - self.seconds()) > 0:
            flop = speed * min(left, BURN_S)
            speed = flop / self._medium.spend(Work(kind="arithmetic", flop=flop, rate=DType.FP32.value))

    def clock(self, seconds: float) -> ClockCount:
        """Read both counters of every SM before and after a burn."""
        started = [self._medium.counters(sm) for sm in range(self._sms)]
        began_s = self.seconds()
        self.burn(seconds)
        spent_s = self.seconds() - began_s
        ended = [self._medium.counters(sm) for sm in range(self._sms)]
        counts = tuple(
            SmCycles(sm, cycles - first_cycles, ns - first_ns)
            for sm, ((first_cycles, first_ns), (cycles, ns)) in enumerate(zip(started, ended, strict=True))
            if ns > first_ns
        )
        by_timer_s = max((count.nanoseconds for count in counts), default=0) / 1e9
        return ClockCount(counts, 1, self._medium.timer_step_ns, by_timer_s, spent_s)

    def touch(self, regions: tuple[Region, ...], kind: str, passes: int) -> float:
        """Plain traffic. One pass over the first tile of each region is real, so that a dead memory is met."""
        if kind not in _BYTES_PER_TOUCH:
            raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(_BYTES_PER_TOUCH)}")
        for region in regions:
            first, count, sm = next(self._tiles(region))
            words = self._medium.load(first, count, sm)
            if kind != "read":
                self._medium.store(first, words, sm)
        moved = sum(region.words for region in regions) * WORD_BYTES * passes
        read, written = _BYTES_PER_TOUCH[kind]
        return self._medium.spend(Work(kind="memory", bytes_read=int(moved * read), bytes_written=int(moved * written)))

    def matrices(self, dtype: DType, size: int, seed: int, *, exact: bool, inner: int | None = None) -> "HostMatrices":
        """A size × size × inner product, of which a corner is multiplied. Raises UnitNotOfferedError."""
        offered(dtype, int(self._medium.properties().compute_capability.replace(".", "")))
        return HostMatrices(self._medium, dtype, (size, size, inner or size), seed, exact=exact)

    def answers(self, unit: ArithmeticUnit, repeats: int, seed: int) -> tuple[Answer, ...]:
        """Every SM answers `repeats` times and is compared with the chain's own signatures.

        Raises UnitNotOfferedError.
        """
        right = answers.signatures(unit, seed, CHAIN_STEPS)
        given = tuple(self._answer(unit, sm, repeats, right) for sm in range(self._sms))
        rate = ArithmeticUnit.INT32 if unit in _WITHOUT_RATE else unit.part
        self._medium.spend(Work(kind="arithmetic", flop=float(FLOP_PER_ANSWER * repeats * self._sms), rate=rate.value))
        return given

    def _answer(self, unit: ArithmeticUnit, sm: int, repeats: int, right: Words) -> Answer:
        given = [self._medium.compute(unit, sm, right) for _ in range(repeats)]
        wrong = [words for words in given if words is not right and not np.array_equal(words, right)]
        if not wrong:
            return Answer(sm, unit, repeats, 0)
        threads = np.flatnonzero((np.array(wrong) != right).any(axis=0))
        thread = int(np.flatnonzero(wrong[0] != right)[0])
        first = WrongWord(thread, int(right[thread]), int(wrong[0][thread]), sm)
        partitions = np.unique(threads // answers.WARP % PARTITIONS)
        return Answer(sm, unit, repeats, len(wrong), tuple(partitions.tolist()), first)

    def copy(self, size_bytes: int, direction: str, seed: int) -> Copy:
        """Send a random pattern over the link; the first half MiB of it is real."""
        sent = patterns.words(Pattern(PatternKind.RANDOM, seed), 0, min(size_bytes // WORD_BYTES, REAL_COPY_WORDS))
        arrived = self._medium.transfer(sent, direction)
        to_card = direction == "to_card"
        began_s = self.seconds()
        seconds = self._medium.spend(
            Work(kind="pcie", bytes_read=0 if to_card else size_bytes, bytes_written=size_bytes if to_card else 0)
        )
        wrong = int(np.count_nonzero(arrived != sent))
        return Copy(size_bytes, seconds, wrong, began_s, self.seconds())

    def _tiles(self, region: Region, *, descending: bool = False) -> Iterator[tuple[int, int, int]]:
        """First word, length and SM of each tile; every pass begins with another SM than the one before."""
        self._passes += 1
        end = region.first_word + region.words
        firsts = range(region.first_word, end, TILE_WORDS)
        for number, first in enumerate(reversed(firsts) if descending else firsts):
            yield first, min(TILE_WORDS, end - first), (number + self._passes) % self._sms

    def _next_sm(self) -> int:
        self._passes += 1
        return self._passes % self._sms

    def _spend_memory(self, read_words: int, written_words: int) -> float:
        return self._medium.spend(
            Work(kind="memory", bytes_read=read_words * WORD_BYTES, bytes_written=written_words * WORD_BYTES)
        )


class HostMatrices:
    """Inputs and right answer of one product. A corner of REAL_SIZE is multiplied, the rest is only charged for.

    Its outputs are compared in full: a corner is so small that a digest of it would be the longer work.
    """

    def __init__(self, medium: Medium, dtype: DType, shape: tuple[int, int, int], seed: int, *, exact: bool) -> None:
        self.dtype, self.shape = dtype, shape
        self._medium = medium
        self._unit = UNIT_OF[dtype]
        self._sms = medium.properties().sm_count
        self._runs = 0
        medium.spend(Work(kind="arithmetic", rate=dtype.value))  # because a type that is not offered is refused here
        self._exact = exact
        self._fill(seed, (Data.WHOLE, Data.WHOLE) if exact else (Data.FULL, Data.FULL))

    def _fill(self, seed: int, data: tuple[Data, Data]) -> None:
        self._seed, self._data = seed, data
        self._left, self._right = (self._operand(side).copy() for side in (0, 1))
        self._right_product = _right_product(self.dtype, seed, data)
        self.reference = self._right_product.copy() if self._exact else self.multiply()

    def run(self, runs: int, *, check: bool, first_column: int = 0) -> Product:
        """Multiply; one product of the corner is real in each call, whatever `runs` is.

        Every call begins at another SM, wherever its columns begin.
        """
        if first_column and not self._exact:
            raise ValueError("only products of whole numbers begin anywhere: the sums of others hang on the kernel")
        product = self.multiply()
        flop = 2.0 * self.shape[0] * self.shape[1] * self.shape[2] * runs
        seconds = self._medium.spend(Work(kind="arithmetic", flop=flop, rate=self.dtype.value))
        if not check:
            return Product(runs, flop, seconds, 0, 0, ())
        bits = _BITS[product.dtype.itemsize]
        found, wanted = product.view(bits).ravel(), self.reference.view(bits).ravel()
        places = np.flatnonzero(found != wanted)
        wrong = tuple(
            WrongWord(int(place), int(wanted[place]), int(found[place]), sm=-1)  # which nobody is told on a card either
            for place in places[:FIRST_WRONG]
        )
        return Product(runs, flop, seconds, found.size, len(places), wrong)

    def renew(self, seed: int, *, toggling: bool = False) -> None:
        """Other numbers, and the card's own first answer to them. Raises ValueError for whole numbers."""
        if self._exact:
            raise ValueError("whole numbers are not renewed: prepare others")
        self._fill(seed, TOGGLING if toggling else (Data.FULL, Data.FULL))

    def inputs(self) -> Compared:
        """The corners of both operands against their definition."""
        wrong, bits = list[WrongWord](), np.uint64
        for side, operand in enumerate((self._left, self._right)):
            found, wanted = operand.view(bits).ravel(), self._operand(side).view(bits).ravel()
            for place in np.flatnonzero(found != wanted):
                wrong.append(WrongWord(int(place) + side * operand.size, int(wanted[place]), int(found[place]), sm=-1))
        return Compared(self._left.size + self._right.size, len(wrong), tuple(wrong[:FIRST_WRONG]))

    def free(self) -> None:
        """Nothing to give back."""

    def _operand(self, side: int) -> NDArray[np.float64]:
        return _operand(self.dtype, fills.operand_seed(self._seed, side), self._data[side])

    def multiply(self) -> Numbers:
        """The product as this card's SMs compute it; each run begins at another SM, as launches on a card do."""
        self._runs += 1
        product = self._right_product.copy()
        tiles = _as_tiles(product)
        for number in range(len(tiles)):
            sm = (number + self._runs) % self._sms
            tiles[number] = self._medium.compute(self._unit, sm, tiles[number], self.dtype)
        return _from_tiles(tiles)


class _Found:
    """What the compares of one sweep found so far."""

    def __init__(self) -> None:
        self.words = 0
        self.total = 0
        self.bad_words = 0
        self.bad_bits = 0
        self.wrong: list[WrongWord] = []

    def compare(self, first: int, loaded: Words, expected: Words, sm: int) -> None:
        """Take in one tile."""
        self.words += len(loaded)
        self.total = (self.total + int(loaded.sum(dtype=np.uint64))) & _MASK
        flips = loaded ^ expected
        if not flips.any():
            return
        places = np.flatnonzero(flips)
        self.bad_words += len(places)
        self.bad_bits += int(np.unpackbits(flips[places].view(np.uint8)).sum())
        for place in places[: FIRST_WRONG - len(self.wrong)]:
            self.wrong.append(WrongWord(first + int(place), int(expected[place]), int(loaded[place]), sm))


@lru_cache(maxsize=128)  # because benches ask for the same again
def _right_product(dtype: DType, seed: int, data: tuple[Data, Data]) -> Numbers:
    """The corner of the product, summed as the type does: in FP64, in INT32, which FP64 sums exactly, or in FP32."""
    left, right = (_operand(dtype, fills.operand_seed(seed, side), data[side]) for side in (0, 1))
    if dtype in _SUMMED_IN_FP64:
        product: Numbers = (left @ right).astype(_SUMMED_IN_FP64[dtype])
    else:
        product = left.astype(np.float32) @ right.astype(np.float32)
    product.flags.writeable = False
    return product


@lru_cache(maxsize=64)
def _operand(dtype: DType, seed: int, data: Data) -> NDArray[np.float64]:
    """A corner of one operand, its values rounded to the type; not to be written to."""
    bits = fills.bits(dtype, data, REAL_SIZE * REAL_SIZE, seed, fills.exact_bound(REAL_SIZE))
    values = fills.values(dtype, bits).reshape(REAL_SIZE, REAL_SIZE)
    values.flags.writeable = False
    return values


def _as_tiles(product: Numbers) -> Numbers:
    across = REAL_SIZE // TILE_ROWS
    split = product.reshape(across, TILE_ROWS, across, TILE_ROWS).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(split).reshape(across * across, TILE_ROWS, TILE_ROWS)


def _from_tiles(tiles: Numbers) -> Numbers:
    across = REAL_SIZE // TILE_ROWS
    joined = tiles.reshape(across, across, TILE_ROWS, TILE_ROWS).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(joined).reshape(REAL_SIZE, REAL_SIZE)
