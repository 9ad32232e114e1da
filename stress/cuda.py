"""A real GPU as something that can be loaded: the Backend of CUDA, through CuPy."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gpucert.stress import answers, kernels, patterns
from gpucert.stress.backend import (
    PARTITIONS,
    WORD_BYTES,
    Answer,
    ArithmeticUnit,
    ClockCount,
    Copy,
    DType,
    OutOfMemoryError,
    Pattern,
    PatternKind,
    Properties,
    Region,
    Sweep,
    UnitOutOfReachError,
    WrongWord,
)
from gpucert.stress.cublas import Multiplier
from gpucert.stress.cuda_card import CudaCard, NoCudaError, Pinned, Words, scrub_environment
from gpucert.stress.cuda_clock import ClockCounter
from gpucert.stress.cuda_matrices import CudaMatrices, Lane
from gpucert.stress.cuda_tallies import Counted, Tallies
from gpucert.stress.offers import answered, offered

__all__ = ["CudaBackend", "NoCudaError", "scrub_environment"]

MIB = 1 << 20
CHUNK_BYTES = tuple(size * MIB for size in (1024, 256, 64, 16, 2))
"""Sizes in which memory is taken, the largest first: many pieces survive fragmentation and retired pages."""
FLUSH_FACTOR = 4
"""A flush streams this many times the L2, because nobody publishes how it replaces lines."""
_PAIR_WORDS = 2
_SCRATCH_BYTES = 256
_ALL_ONES = (1 << 64) - 1
_LAUNCHES_PER_REPEAT = 4
_LAUNCHES_AT_LEAST = 16
_NAP_SECONDS = 0.05
_BUSY_SECONDS = 0.25
_COPIES_AT_MOST = 64
_BURN_STEPS = 1 << 12
_BURN_SECONDS = 0.2


class CudaBackend:
    """One GPU, found by UUID or PCI bus id. Raises NoCudaError where the station cannot run CUDA work.

    Everything that needs memory of its own (context, cuBLAS, kernels, counters) is made and used once here, because
    later the tested memory leaves no room for it. To be used by the thread that made it: CUDA keeps its current card
    per thread.
    """

    name = "cuda"
    fills_time = True
    memory_scale = 1.0

    def __init__(self, uuid_or_bus_id: str) -> None:
        self._card = CudaCard(uuid_or_bus_id)
        self._blocks = kernels.blocks(self._card.sm_count)
        self._tallies = Tallies(self._card, self._blocks)
        self._tallies_beside = Tallies(self._card, self._blocks)
        self._scratch = self._card.allocate(_SCRATCH_BYTES)
        self._reply = Pinned(1)
        self._answers = Pinned(self._card.sm_count * kernels.ANSWER_WORDS)
        self._lanes = tuple(Lane(self._card, tallies) for tallies in (self._tallies, Tallies(self._card, self._blocks)))
        self._multiplier = Multiplier(self._card)
        self._clock = ClockCounter(self._card, self._scratch)
        self._chunks: dict[int, Region] = {}
        self._passes: Counter[int] = Counter()
        self._flush_due = False
        self._warm_up()

    def versions(self) -> dict[str, str]:
        """Versions of CUDA's driver and runtime, cuBLAS, NVRTC, CuPy, NumPy and of the kernels themselves."""
        import cupy
        from cupy.cuda import runtime
        from cupy_backends.cuda.libs import nvrtc

        with self._card.errors():
            return {
                "cuda_driver": _cuda_version(runtime.driverGetVersion()),
                "cuda_runtime": _cuda_version(runtime.runtimeGetVersion()),
                "cublas": self._multiplier.version(),
                "nvrtc": ".".join(str(part) for part in nvrtc.getVersion()),
                "cupy": str(cupy.__version__),
                "numpy": np.__version__,
                "kernels": kernels.version(),
            }

    def properties(self) -> Properties:
        """The card as CUDA's device attributes describe it, and its free memory now."""
        from cupy.cuda import runtime

        free, total = self._card.memory()
        with self._card.errors():
            name = runtime.getDeviceProperties(self._card.device)["name"].decode(errors="replace")
        return Properties(
            name=name,
            compute_capability=f"{self._card.capability // 10}.{self._card.capability % 10}",
            sm_count=self._card.sm_count,
            l2_bytes=self._card.l2_bytes,
            bus_bits=self._card.attribute("GlobalMemoryBusWidth"),
            memory_clock_mhz=self._card.attribute("MemoryClockRate") / 1000,
            total_bytes=total,
            free_bytes=free,
        )

    def seconds(self) -> float:
        """The host's monotonic clock."""
        return time.monotonic()

    def idle(self, seconds: float) -> None:
        """Leave the card alone, in short naps, so that an interrupt is answered."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(_NAP_SECONDS, left))

    def reserve(self, headroom_bytes: int) -> tuple[Region, ...]:
        """Take nearly all free memory, chunk by chunk from the largest size to the smallest."""
        taken: list[Region] = []
        first_word = 0
        for size in CHUNK_BYTES:
            while (chunk := self._take(size, first_word, headroom_bytes)) is not None:
                taken.append(chunk)
                first_word += chunk.words
        return tuple(taken)

    def release(self, regions: tuple[Region, ...]) -> None:
        """Give chunks back."""
        for region in regions:
            if self._chunks.pop(region.handle, None) is not None:
                self._card.free(region.handle)

    def write(self, region: Region, pattern: Pattern, *, descending: bool = False, others: bool = False) -> Sweep:
        """Store a pattern."""
        address, pairs = self._span(region)
        self._tallies.begin()
        seconds = self._card.timed(
            lambda: self._card.launch(
                "memory_write", address, pairs, _numbered(region, pattern), *_told(pattern), descending, others,
                self._rotation(region), self._tallies.rows(), blocks=self._blocks,
            )
        )  # fmt: skip
        return _sweep(self._tallies.read(), seconds, pattern.shift)

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        """Load and compare every word, and replace it in the same pass if asked to.

        With work beside it, the sweep is given one block on each SM only, so that both find room there. Raises
        ValueError where the two patterns are not shifted alike, because one launch numbers its words once.
        """
        if then_write is not None and then_write.shift != pattern.shift:
            raise ValueError("a pattern cannot be replaced by one of another shift in the same pass")
        address, pairs = self._span(region)
        if self._flush_due:
            self._evict(region)
        tallies = self._tallies if beside is None else self._tallies_beside
        tallies.begin()
        launch = partial(
            self._card.launch,
            "memory_verify", address, pairs, _numbered(region, pattern), *_told(pattern),
            then_write is not None, *_told(then_write or pattern), descending,
            self._rotation(region), tallies.rows(), *tallies.log(),
            blocks=self._blocks if beside is None else self._card.sm_count,
        )  # fmt: skip
        seconds = self._card.timed(launch) if beside is None else self._card.timed_beside(launch, beside)
        return _sweep(tallies.read(), seconds, pattern.shift)

    def move(self, source: Region, target: Region) -> float:
        """Have the copy engine copy a region. Raises ValueError where the sizes differ."""
        (from_address, pairs), (to_address, same) = self._span(source), self._span(target)
        if pairs != same:
            raise ValueError(f"{source.words} words do not fit {target.words}")
        size = pairs * _PAIR_WORDS * WORD_BYTES
        return self._card.timed(lambda: self._card.copy(to_address, from_address, size))

    def peek(self, region: Region, word: int) -> int:
        """Load one word from memory: everything of its chunk is pushed out of L2 before."""
        address = self._word_address(region, word)
        self._evict(region)
        self._reply.words[0] = _ALL_ONES
        self._card.launch("memory_peek", address, self._reply.address, blocks=1)
        self._card.finish()
        return int(self._reply.words[0])

    def poke(self, region: Region, word: int, value: int) -> None:
        """Store one word."""
        self._card.launch("memory_poke", self._word_address(region, word), value, blocks=1)
        self._card.finish()

    def flush(self) -> None:
        """Have the next verify begin with an empty L2.

        Done when that verify says where it will load, because what is streamed in order to flush must lie elsewhere,
        and a buffer kept for this alone would be memory that is never tested.
        """
        self._flush_due = True

    def burn(self, seconds: float) -> None:
        """Launch chains of FP32 arithmetic, each a fraction of a second long, until the time is over."""
        until, steps = time.monotonic() + seconds, _BURN_STEPS
        while time.monotonic() < until:
            took = self._card.timed(partial(self._card.launch, "burn", steps, self._scratch, blocks=self._blocks))
            steps = max(1, int(steps * min(_BURN_SECONDS / max(took, 1e-6), 4.0)))

    def clock(self, seconds: float) -> ClockCount:
        """Launch blocks that work and count, one on every SM, until the time is over."""
        return self._clock.count(seconds)

    def touch(self, regions: tuple[Region, ...], kind: str, passes: int) -> float:
        """Read or write all of the regions, or copy the first half of each to its second half.

        Every kind moves as many bytes in a pass as the regions hold: a copy reads one half and writes the other.
        """
        launches = [self._toucher(kind, *self._span(region)) for region in regions]

        def one_pass() -> None:
            for launch in launches:
                launch()

        return self._card.timed_repeats(passes, one_pass)

    def matrices(self, dtype: DType, size: int, seed: int, *, exact: bool, inner: int | None = None) -> CudaMatrices:
        """A size × size × inner product on the card. Raises UnitNotOfferedError, also where cuBLAS cannot make it."""
        offered(dtype, self._card.capability)
        try:
            return self._matrices(dtype, (size, size, inner or size), seed, exact=exact)
        except NoCudaError as error:
            raise UnitOutOfReachError(str(error)) from error

    def _matrices(self, dtype: DType, shape: tuple[int, int, int], seed: int, *, exact: bool) -> CudaMatrices:
        return CudaMatrices(self._card, self._multiplier, self._tallies, self._lanes, dtype, shape, seed, exact=exact)

    def answers(self, unit: ArithmeticUnit, repeats: int, seed: int) -> tuple[Answer, ...]:
        """One block on every SM, launched again until each has answered `repeats` times or will not be reached."""
        answered(unit, self._card.capability)
        heard, kernel = _Heard(), kernels.entry(unit)
        for _ in range(repeats * _LAUNCHES_PER_REPEAT + _LAUNCHES_AT_LEAST):
            if heard.complete(self._card.sm_count, repeats):
                break
            heard.take(self._ask_every_sm(kernel, seed))
        return heard.judged(unit, heard.majority() if unit is ArithmeticUnit.SFU else answers.signatures(unit, seed))

    def copy(self, size_bytes: int, direction: str, seed: int) -> Copy:
        """Copy a random pattern `to_card` or `to_host`; what arrives is blanked first and compared afterwards."""
        pairs = size_bytes // (_PAIR_WORDS * WORD_BYTES)
        moved = pairs * _PAIR_WORDS * WORD_BYTES
        pattern = Pattern(PatternKind.RANDOM, seed)
        buffer, device = Pinned(pairs * _PAIR_WORDS), self._card.allocate(moved)
        try:
            if direction == "to_card":
                return self._copy_to_card(buffer, device, pairs, pattern)
            if direction == "to_host":
                return self._copy_to_host(buffer, device, pairs, pattern)
            raise ValueError(f"direction is {direction!r}; it must be 'to_card' or 'to_host'")
        finally:
            self._card.finish()
            self._card.free(device)
            buffer.free()

    def _copy_to_card(self, buffer: Pinned, device: int, pairs: int, pattern: Pattern) -> Copy:
        size = pairs * _PAIR_WORDS * WORD_BYTES
        buffer.words[:] = patterns.words(pattern, 0, pairs * _PAIR_WORDS)
        self._card.fill_bytes(device, 0, size)
        link = self._keep_busy(device, buffer.address, size)
        self._tallies.begin()
        self._card.launch(
            "memory_verify", device, pairs, 0, *_told(pattern), False, *_told(pattern), False,
            0, self._tallies.rows(), *self._tallies.log(), blocks=self._blocks,
        )  # fmt: skip
        self._card.finish()
        counted = self._tallies.read()
        never_compared = pairs * _PAIR_WORDS - counted.items
        return replace(link, wrong=counted.bad_items + never_compared)

    def _copy_to_host(self, buffer: Pinned, device: int, pairs: int, pattern: Pattern) -> Copy:
        size = pairs * _PAIR_WORDS * WORD_BYTES
        buffer.words[:] = 0
        self._tallies.begin()
        self._card.launch(
            "memory_write",
            device,
            pairs,
            0,
            *_told(pattern),
            False,
            False,
            0,
            self._tallies.rows(),
            blocks=self._blocks,
        )
        link = self._keep_busy(buffer.address, device, size)
        wrong = np.count_nonzero(buffer.words != patterns.words(pattern, 0, pairs * _PAIR_WORDS))
        return replace(link, wrong=int(wrong))

    def _keep_busy(self, to: int, source: int, size_bytes: int) -> Copy:
        """Copy again and again, because the monitor looks ten times a second and must find the link at work."""

        def once() -> None:
            self._card.copy(to, source, size_bytes)

        took = self._card.timed(once)
        times = min(max(round(_BUSY_SECONDS / max(took, 1e-6)), 1), _COPIES_AT_MOST)
        began_s = self.seconds()
        seconds = self._card.timed_repeats(times, once)
        return Copy(size_bytes * times, seconds, 0, began_s, self.seconds())

    def _take(self, size: int, first_word: int, headroom_bytes: int) -> Region | None:
        if self._card.free_bytes() - size < headroom_bytes:
            return None
        try:
            address = self._card.allocate(size)
        except OutOfMemoryError:
            return None
        chunk = Region(address, first_word, size // WORD_BYTES)
        self._chunks[address] = chunk
        return chunk

    def _span(self, region: Region) -> tuple[int, int]:
        """Address and number of pairs of a region, which may be a part of a chunk. Raises ValueError."""
        chunk = self._chunks[region.handle]
        offset = region.first_word - chunk.first_word
        if offset < 0 or offset + region.words > chunk.words:
            raise ValueError(f"words {region.first_word} to {region.first_word + region.words} leave their chunk")
        if offset % _PAIR_WORDS or region.words % _PAIR_WORDS:
            raise ValueError(f"a region must begin and end at an even word, not at {region.first_word}")
        return region.handle + offset * WORD_BYTES, region.words // _PAIR_WORDS

    def _word_address(self, region: Region, word: int) -> int:
        chunk = self._chunks[region.handle]
        if not 0 <= word - chunk.first_word < chunk.words:
            raise ValueError(f"word {word} is not in the chunk that begins at word {chunk.first_word}")
        return region.handle + (word - chunk.first_word) * WORD_BYTES

    def _rotation(self, region: Region) -> int:
        """One block further at every pass over a chunk, so that another SM comes to each tile than the time before."""
        self._passes[region.handle] += 1
        return self._passes[region.handle] % self._blocks

    def _toucher(self, kind: str, address: int, pairs: int) -> Callable[[], None]:
        half = pairs // 2
        launches: dict[str, tuple[str, tuple[int, ...]]] = {
            "read": ("stream_read", (address, pairs, self._scratch)),
            "write": ("stream_write", (address, pairs, _TOUCH_WORD)),
            "copy": ("stream_copy", (address, address + half * _PAIR_WORDS * WORD_BYTES, half)),
        }
        if kind not in launches:
            raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(launches)}")
        kernel, arguments = launches[kind]
        return lambda: self._card.launch(kernel, *arguments, blocks=self._blocks)

    def _evict(self, target: Region) -> None:
        """Stream memory that is not in the target's chunk until nothing of that chunk can be left in L2."""
        self._flush_due = False
        left = FLUSH_FACTOR * self._card.l2_bytes
        others = [chunk for chunk in self._chunks.values() if chunk.handle != target.handle]
        for chunk in others:
            if left <= 0:
                break
            left -= self._stream(chunk.handle, min(left, chunk.words * WORD_BYTES))
        if left > 0:
            self._stream_elsewhere(left, target)
        self._card.finish()

    def _stream_elsewhere(self, size_bytes: int, target: Region) -> None:
        try:
            address = self._card.allocate(size_bytes)
        except OutOfMemoryError:  # the chunk itself is then the best there is
            chunk = self._chunks[target.handle]
            self._stream(chunk.handle, chunk.words * WORD_BYTES)
            return
        self._stream(address, size_bytes)
        self._card.finish()
        self._card.free(address)

    def _stream(self, address: int, size_bytes: int) -> int:
        pairs = size_bytes // (_PAIR_WORDS * WORD_BYTES)
        self._card.launch("stream_read", address, pairs, self._scratch, blocks=self._blocks)
        return size_bytes

    def _ask_every_sm(self, kernel: str, seed: int) -> Words:
        """One launch of known-answer blocks: a row for each, see kernels.ANSWER_WORDS; ones where none answered."""
        self._answers.words[:] = _ALL_ONES
        self._card.launch(
            kernel, self._answers.address, seed, answers.STEPS,
            blocks=self._card.sm_count, shared=self._spare_shared[kernel],
        )  # fmt: skip
        self._card.finish()
        return self._answers.words.reshape(-1, kernels.ANSWER_WORDS)

    def _warm_up(self) -> None:
        """Run everything once on nothing."""
        units = [unit for unit in ArithmeticUnit if self._card.capability >= unit.first_capability]
        self._spare_shared = {name: self._card.allow_shared(name) for name in map(kernels.entry, units)}
        nothing = Pattern(PatternKind.OWN)
        self._tallies.begin()
        rows, log = self._tallies.rows(), self._tallies.log()
        for name, arguments in {
            "memory_write": (self._scratch, 0, 0, *_told(nothing), 0, 0, 0, rows),
            "memory_verify": (self._scratch, 0, 0, *_told(nothing), 0, *_told(nothing), 0, 0, rows, *log),
            "burn": (1, self._scratch),
            "memory_poke": (self._scratch, 0),
            "memory_peek": (self._scratch, self._reply.address),
            "stream_read": (self._scratch, 0, self._scratch),
            "stream_write": (self._scratch, 0, 0),
            "stream_copy": (self._scratch, self._scratch, 0),
            "matrix_fill": (self._scratch, *_NO_OPERAND),
            "matrix_inputs": (self._scratch, *_NO_OPERAND, rows, *log),
            "matrix_digest": (self._scratch, 0, 0, self._scratch, rows),
            "matrix_compare": (self._scratch, self._scratch, 0, 0, 64, self._scratch, 0, rows, *log),
        }.items():
            self._card.launch(name, *arguments, blocks=self._blocks if rows in arguments else 1)
        for name, shared in self._spare_shared.items():
            self._card.launch(name, self._answers.address, 0, 0, blocks=self._card.sm_count, shared=shared)
        self._card.finish()
        self._matrices(DType.FP32, (256, 256, 256), 0, exact=False).free()


_TOUCH_WORD = 0x5555_5555_5555_5555
_NO_OPERAND = (0, 0, 0, 0, 0, 0, 64, 52, 1023, 0)
"""One of no elements."""


@dataclass
class _Heard:
    """Answers of SMs: the slots of the eight warps and the 256 signatures of each block."""

    by_sm: dict[int, list[Words]] = field(default_factory=lambda: defaultdict(list))

    def take(self, rows: Words) -> None:
        """Keep the rows of blocks that ran, and that ended on the SM on which they began."""
        for row in rows:
            start, end = int(row[0]), int(row[1])
            if start == end != _ALL_ONES:
                self.by_sm[start].append(row[2:].copy())

    def complete(self, sm_count: int, repeats: int) -> bool:
        """Whether every SM that there is has answered often enough."""
        return len(self.by_sm) >= sm_count and min(len(given) for given in self.by_sm.values()) >= repeats

    def majority(self) -> Words | None:
        """What more than half of the SMs answered first, None where they do not agree: then none of them is right."""
        firsts = Counter(given[0][kernels.WARPS :].tobytes() for given in self.by_sm.values())
        answer, votes = firsts.most_common(1)[0] if firsts else (b"", 0)
        return np.frombuffer(answer, np.uint64) if votes * 2 > len(self.by_sm) else None

    def judged(self, unit: ArithmeticUnit, right: Words | None) -> tuple[Answer, ...]:
        """One Answer for each SM that was reached."""
        return tuple(_answer(sm, unit, given, right) for sm, given in sorted(self.by_sm.items()))


def _answer(sm: int, unit: ArithmeticUnit, given: list[Words], right: Words | None) -> Answer:
    slots, signatures = np.split(np.array(given), [kernels.WARPS], axis=1)
    expected = ~signatures[0] if right is None else right  # where nobody knows, nobody is right
    differ = signatures != expected
    warps = differ.reshape(len(given), kernels.WARPS, -1).any(axis=2)
    if not warps.any():
        return Answer(sm, unit, len(given), 0)
    repeat, thread = np.argwhere(differ)[0]
    first = WrongWord(int(thread), int(expected[thread]), int(signatures[repeat, thread]), sm)
    partitions = np.unique(slots[warps] % np.uint64(PARTITIONS))
    return Answer(sm, unit, len(given), int(np.count_nonzero(warps.any(axis=1))), tuple(partitions.tolist()), first)


def _sweep(counted: Counted, seconds: float, shift: int) -> Sweep:
    wrong = counted.first_wrong
    if shift:
        wrong = tuple(replace(one, word=(one.word + shift) & _ALL_ONES) for one in wrong)
    return Sweep(counted.items, counted.total, counted.bad_items, counted.bad_bits, wrong, seconds)


def _numbered(region: Region, pattern: Pattern) -> int:
    """The number by which a kernel knows the first word of a region."""
    return (region.first_word - pattern.shift) & _ALL_ONES


def _told(pattern: Pattern) -> tuple[int, int, int]:
    """Kind, seed and flip, as kernels are told a pattern."""
    return int(pattern.kind), pattern.seed, _ALL_ONES if pattern.inverted else 0


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
