"""Kernels built by the host's compiler equal their NumPy twins bit for bit, and find what is planted below them."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gpucert.stress import answers, digests, fills, kernels, patterns
from gpucert.stress.backend import ArithmeticUnit, DType, Pattern, PatternKind
from gpucert.stress.fills import Data
from tests import host_compiler
from tests.host_compiler import ALL_ONES, HostKernels, words

pytestmark = pytest.mark.skipif(host_compiler.COMPILER is None, reason="no C++ compiler on this machine")

BLOCKS = 3
TILE_WORDS = 8192
COUNT = 5 * TILE_WORDS + 6
"""Five whole tiles and a rest of three pairs, over three blocks."""
FIRST = (1 << 33) + 4
"""Beyond 32 bits, because an index cut to 32 bits must be noticed."""
STEPS = 256
SIGNED = 2 + kernels.WARPS
"""Where the signatures begin in a row of answers."""

PATTERNS = [
    Pattern(PatternKind.OWN, 0x1234_5678_9ABC_DEF0),
    Pattern(PatternKind.OWN, 3, inverted=True),
    Pattern(PatternKind.RANDOM, ALL_ONES - 5),
    Pattern(PatternKind.RANDOM, 17, inverted=True),
    *(Pattern(PatternKind.BACKGROUND, number, inverted) for number in range(9) for inverted in (False, True)),
    Pattern(PatternKind.WALKING, 0),
    Pattern(PatternKind.WALKING, 31, inverted=True),
    *(patterns.modulo(PatternKind.MODULO_SECTOR, offset, 5, inverted=offset % 2 == 1) for offset in range(5)),
    *(patterns.modulo(PatternKind.MODULO_HALF, offset, (1 << 56) - 1, inverted=offset > 9) for offset in range(20)),
]


def built(name: str, factory: pytest.TempPathFactory) -> HostKernels:
    return HostKernels(name, factory.mktemp(name))


@pytest.fixture(scope="module")
def compiled_scan(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    return built("memory_scan", tmp_path_factory)


@pytest.fixture
def scan(compiled_scan: HostKernels) -> Iterator[HostKernels]:
    yield compiled_scan
    compiled_scan.repair()


@pytest.fixture(scope="module")
def gemm(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    return built("gemm", tmp_path_factory)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    return built("bandwidth", tmp_path_factory)


@pytest.fixture(scope="module", params=list(ArithmeticUnit), ids=lambda unit: unit.value)
def unit(request: pytest.FixtureRequest) -> ArithmeticUnit:
    return ArithmeticUnit(request.param)


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory, unit: ArithmeticUnit) -> HostKernels:
    return built(next(name for name, made in kernels.ENTRIES.items() if kernels.entry(unit) in made), tmp_path_factory)


class Counts:
    """Rows and log as the backend hands them to kernels that count."""

    def __init__(self, capacity: int = 64) -> None:
        self.rows, self.log, self.ticket = words(BLOCKS * 4), words(capacity * 4), words(1)
        self.capacity, self.stamp = capacity, 9

    def log_arguments(self) -> tuple[int, int, int, int]:
        return self.log.ctypes.data, self.capacity, self.ticket.ctypes.data, self.stamp

    def sums(self) -> list[int]:
        return list(self.rows.reshape(-1, 4).sum(axis=0).tolist())

    def logged(self) -> list[tuple[int, int, int, int]]:
        lines = self.log.reshape(-1, 4).tolist()
        return sorted((a, b, c, mark & 0xFFFF_FFFF) for a, b, c, mark in lines if mark >> 32 == self.stamp)


def told(pattern: Pattern) -> tuple[int, int, int]:
    return int(pattern.kind), pattern.seed, ALL_ONES if pattern.inverted else 0


def write(
    scan: HostKernels,
    memory: NDArray[np.uint64],
    pattern: Pattern,
    rotation: int = 0,
    *,
    descending: bool = False,
    others: bool = False,
) -> Counts:
    counts = Counts()
    scan.call(
        "memory_write", memory.ctypes.data, len(memory) // 2, FIRST, *told(pattern), descending, others, rotation,
        counts.rows.ctypes.data, blocks=BLOCKS,
    )  # fmt: skip
    return counts


def verify(
    scan: HostKernels,
    memory: NDArray[np.uint64],
    pattern: Pattern,
    then: Pattern | None = None,
    rotation: int = 1,
    capacity: int = 64,
    *,
    descending: bool = False,
) -> Counts:
    counts = Counts(capacity)
    scan.call(
        "memory_verify", memory.ctypes.data, len(memory) // 2, FIRST, *told(pattern), then is not None,
        *told(then or pattern), descending, rotation, counts.rows.ctypes.data, *counts.log_arguments(), blocks=BLOCKS,
    )  # fmt: skip
    return counts


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_write_is_the_pattern_and_touches_nothing_else(scan: HostKernels, pattern: Pattern) -> None:
    memory = words(COUNT + 8, fill=0xDEAD)
    counts = write(scan, memory[:COUNT], pattern)
    assert np.array_equal(memory[:COUNT], patterns.words(pattern, FIRST, COUNT))
    assert (memory[COUNT:] == 0xDEAD).all()
    assert counts.sums() == [COUNT, 0, 0, 0]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_verify_of_the_twins_pattern_counts_all_of_it_and_finds_nothing(scan: HostKernels, pattern: Pattern) -> None:
    memory = words(COUNT)
    memory[:] = patterns.words(pattern, FIRST, COUNT)
    counts = verify(scan, memory, pattern)
    assert counts.sums() == [COUNT, int(memory.sum()), 0, 0]
    assert counts.logged() == []


@pytest.mark.parametrize("then", PATTERNS[:6], ids=str)
def test_verify_leaves_the_next_pattern_behind(scan: HostKernels, then: Pattern) -> None:
    first = PATTERNS[1]
    memory = words(COUNT)
    memory[:] = patterns.words(first, FIRST, COUNT)
    assert verify(scan, memory, first, then).sums()[2] == 0
    assert np.array_equal(memory, patterns.words(then, FIRST, COUNT))


@pytest.mark.parametrize("pattern", [one for one in PATTERNS if one.kind in patterns.MODULI], ids=str)
def test_targets_of_a_modulo_pattern_keep_what_they_hold(scan: HostKernels, pattern: Pattern) -> None:
    memory = words(COUNT + 8, fill=0xDEAD_BEEF_0BAD_F00D)
    before = memory.copy()
    counts = write(scan, memory[:COUNT], pattern, others=True)
    targets = patterns.targets(pattern, FIRST, COUNT)
    stored = patterns.words(pattern, FIRST, COUNT)
    assert np.array_equal(memory[:COUNT], stored & ~targets | before[:COUNT] & targets)
    assert (memory[COUNT:] == before[COUNT:]).all()
    assert counts.sums() == [COUNT, 0, 0, 0]


def test_a_descending_sweep_begins_with_the_last_words(scan: HostKernels) -> None:
    own, memory, damaged = PATTERNS[0], words(2 * TILE_WORDS), [0, TILE_WORDS]
    for descending in (False, True):
        assert write(scan, memory, own, descending=descending).sums()[0] == len(memory)
        assert np.array_equal(memory, patterns.words(own, FIRST, len(memory)))
        memory[damaged] ^= np.uint64(1)
        counts = verify(scan, memory, own, PATTERNS[2], rotation=0, descending=descending)
        assert counts.sums()[::2] == [len(memory), 2]
        met = [int(word) - FIRST for word in counts.log[::4][:2]]
        assert met == (damaged[::-1] if descending else damaged)
        assert np.array_equal(memory, patterns.words(PATTERNS[2], FIRST, len(memory)))


def test_every_wrong_word_is_counted_and_located(scan: HostKernels) -> None:
    pattern = PATTERNS[2]
    memory = words(COUNT)
    write(scan, memory, pattern)
    right = memory.copy()
    damage = {0: 1, 1: 1 << 63, TILE_WORDS - 1: 0xFF, 3 * TILE_WORDS + 17: ALL_ONES, COUNT - 1: 6}
    for word, flipped in damage.items():
        memory[word] ^= np.uint64(flipped)
    scan.set_sms(BLOCKS)
    counts = verify(scan, memory, pattern, rotation=0)
    assert counts.sums() == [COUNT, int(memory.sum()), 5, 1 + 1 + 8 + 64 + 2]
    assert counts.logged() == [
        (FIRST + word, int(right[word]), int(memory[word]), word // TILE_WORDS % BLOCKS) for word in sorted(damage)
    ]


def test_a_stuck_bit_shows_in_one_polarity_only(scan: HostKernels) -> None:
    pattern, turned = Pattern(PatternKind.BACKGROUND, 0), Pattern(PatternKind.BACKGROUND, 0, inverted=True)
    memory = words(COUNT)
    scan.plant(memory.ctypes.data + 8 * 1001, set_bits=1 << 5)
    write(scan, memory, pattern)
    first = verify(scan, memory, pattern, turned)
    second = verify(scan, memory, turned, pattern)
    assert [first.sums()[2:], second.sums()[2:]] == [[1, 1], [0, 0]]
    assert first.logged()[0][0] == FIRST + 1001


def test_a_lost_store_is_found(scan: HostKernels) -> None:
    memory = words(COUNT)
    scan.plant(memory.ctypes.data + 8 * 4000, drops_stores=True)
    write(scan, memory, PATTERNS[0])
    assert [line[0] for line in verify(scan, memory, PATTERNS[0]).logged()] == [FIRST + 4000]


def test_an_alias_decodes_to_the_word_it_came_from(scan: HostKernels) -> None:
    pattern = Pattern(PatternKind.OWN, 77)
    memory = words(COUNT)
    write(scan, memory, pattern)
    memory[10:14] = memory[20_000:20_004]
    logged = verify(scan, memory, pattern).logged()
    assert [line[0] - FIRST for line in logged] == [10, 11, 12, 13]
    own = patterns.words(pattern, FIRST, COUNT)
    assert [int(np.flatnonzero(own == line[2])[0]) for line in logged] == [20_000, 20_001, 20_002, 20_003]


def test_the_log_keeps_what_it_has_room_for_and_counts_the_rest(scan: HostKernels) -> None:
    memory = words(COUNT)
    counts = verify(scan, memory, Pattern(PatternKind.BACKGROUND, 8, inverted=True), capacity=7)
    assert counts.sums() == [COUNT, 0, COUNT, COUNT * 64]
    assert len(counts.logged()) == 7


def test_rotation_gives_every_tile_to_another_block_and_loses_none(scan: HostKernels) -> None:
    memory = words(COUNT)
    scan.set_sms(BLOCKS)
    readers = []
    for rotation in range(BLOCKS):
        write(scan, memory, PATTERNS[0], rotation)
        memory[5] ^= np.uint64(1)
        counts = verify(scan, memory, PATTERNS[0], rotation=rotation)
        assert counts.sums()[0] == COUNT
        readers.append(counts.logged()[0][3])
    assert sorted(readers) == list(range(BLOCKS))


def test_peek_and_poke_are_one_word(scan: HostKernels) -> None:
    memory, answer = words(16, fill=3), words(1)
    scan.call("memory_poke", memory.ctypes.data + 40, ALL_ONES - 1, blocks=1)
    scan.plant(memory.ctypes.data + 40, keep=~(1 << 9) & ALL_ONES)
    scan.call("memory_peek", memory.ctypes.data + 40, answer.ctypes.data, blocks=1)
    assert int(answer[0]) == (ALL_ONES - 1) & ~(1 << 9)
    assert memory.tolist() == [3] * 5 + [ALL_ONES - 1] + [3] * 10


def test_burning_ends_and_touches_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    sink = words(1, fill=7)
    built("burn", tmp_path_factory).call("burn", 1000, sink.ctypes.data, blocks=BLOCKS)
    assert int(sink[0]) == 7


def counted(clock: HostKernels, steps: int = 2000) -> list[list[int]]:
    rows, sink = words(BLOCKS * kernels.CLOCK_WORDS, fill=ALL_ONES), words(1, fill=7)
    clock.set_sms(BLOCKS)
    clock.call("clock_count", rows.ctypes.data, steps, sink.ctypes.data, blocks=BLOCKS)
    assert int(sink[0]) == 7
    return [list(map(int, row)) for row in rows.reshape(BLOCKS, -1)]


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    return built("clock", tmp_path_factory)


@pytest.mark.parametrize(("mhz", "step_ns"), [(1410, 1000), (1980, 32), (345, 1024)])
def test_cycles_over_nanoseconds_are_the_clock(clock: HostKernels, mhz: int, step_ns: int) -> None:
    clock.set_clock(mhz, step_ns, slow_sm=2, slow_mhz=mhz * 3 // 4)
    rows = counted(clock)
    assert [(row[0], row[4]) for row in rows] == [(sm, sm) for sm in range(BLOCKS)]
    for sm, (_, began, began_ns, first_step, _, ended, ended_ns, last_step) in enumerate(rows):
        stretch_ns, own = ended_ns - began_ns, mhz * 3 // 4 if sm == 2 else mhz
        assert stretch_ns >= 2000 * 8 * 0.5, "the work lies between the two moments"
        assert 1000 * (ended - began) / stretch_ns == pytest.approx(own, rel=2 * 60 / stretch_ns)
        assert first_step % step_ns == last_step % step_ns == 0
        assert step_ns <= first_step <= max(step_ns, 128)


def test_a_timer_that_stands_still_ends_the_wait_and_is_told(clock: HostKernels) -> None:
    clock.set_clock(1500, step_ns=0)
    assert [row[2:4] + row[6:] for row in counted(clock)] == [[42, 0, 42, 0]] * BLOCKS


def definition(
    dtype: DType, count: int, seed: int, data: Data, bound: int = 0, columns: int = 0, more: int = 0
) -> tuple[int, ...]:
    shape = fills.FORMATS[dtype]
    return (
        count + more, count, columns, seed, int(data), bound, shape.width, shape.fraction, shape.bias, shape.spare,
    )  # fmt: skip


def fill(gemm: HostKernels, dtype: DType, told: tuple[int, ...]) -> NDArray[np.uint64]:
    memory = words(-(-told[0] * fills.FORMATS[dtype].bytes // 8) + 2, fill=ALL_ONES)
    gemm.call("matrix_fill", memory.ctypes.data, *told, blocks=BLOCKS)
    assert (memory[-2:] == ALL_ONES).all()
    return memory[:-2]


@pytest.mark.parametrize("dtype", list(fills.FORMATS))
@pytest.mark.parametrize(("data", "bound"), [*((Data.WHOLE, bound) for bound in (1, 22, 64)), *((x, 0) for x in Data)])
def test_fills_equal_their_twin(gemm: HostKernels, dtype: DType, data: Data, bound: int) -> None:
    twin = fills.bits(dtype, data, 4001, ALL_ONES, bound)
    made = fill(gemm, dtype, definition(dtype, 4001, ALL_ONES, data, bound)).view(twin.dtype)
    assert np.array_equal(made[:4001], twin)
    assert not made[4001:].any()


def test_beyond_its_own_numbers_an_operand_begins_again(gemm: HostKernels) -> None:
    made = fill(gemm, DType.BF16, definition(DType.BF16, 4000, 5, Data.FULL, more=600)).view(np.uint16)
    assert np.array_equal(made[4000:4600], made[:600])


@pytest.mark.parametrize("data", [Data.FULL, Data.WHOLE])
def test_a_matrix_by_rows_has_the_numbers_of_the_one_by_columns(gemm: HostKernels, data: Data) -> None:
    rows, columns = 61, 48
    by_columns, by_rows = (
        fill(gemm, DType.INT8, definition(DType.INT8, rows * columns, 5, data, 22, turned)).view(np.int8)
        for turned in (0, columns)
    )
    columns_first = by_columns[: rows * columns].reshape(columns, rows)
    assert np.array_equal(by_rows[: rows * columns].reshape(rows, columns), columns_first.T)


@pytest.mark.parametrize("dtype", list(fills.FORMATS))
@pytest.mark.parametrize("data", list(Data))
def test_inputs_that_changed_are_counted_and_located(gemm: HostKernels, dtype: DType, data: Data) -> None:
    count, more = 61 * 60, 61
    told = definition(dtype, count, 5, data, 22, columns=60, more=more)
    memory = fill(gemm, dtype, told)
    raw = memory.view(f"u{fills.FORMATS[dtype].bytes}")
    right = raw.copy()
    gemm.set_sms(1)
    for changed in ((), (0, 999, count + more - 1)):
        raw[list(changed)] ^= raw.dtype.type(1)
        counts = Counts()
        gemm.call(
            "matrix_inputs", memory.ctypes.data, *told, counts.rows.ctypes.data, *counts.log_arguments(), blocks=BLOCKS
        )
        assert counts.sums() == [count + more, int(memory.sum()), len(changed), len(changed)]
        assert counts.logged() == [(place, int(right[place]), int(right[place]) ^ 1, 0) for place in changed]


PRODUCT_WORDS = 2 * TILE_WORDS + 6
"""Two tiles and a rest of three pairs, over three blocks."""


def product(begin: int = 0) -> NDArray[np.uint64]:
    """Numbers as a product has them, lying from word `begin` on and then from the first."""
    memory = words(PRODUCT_WORDS)
    memory[:] = np.roll(patterns.words(Pattern(PatternKind.RANDOM, 5), 0, PRODUCT_WORDS), -begin)
    return memory


def digested(gemm: HostKernels, memory: NDArray[np.uint64], begin: int = 0) -> tuple[NDArray[np.uint64], Counts]:
    """The two counters on the card, and what the host is told."""
    sums, counts = words(2), Counts()
    gemm.call(
        "matrix_digest", memory.ctypes.data, len(memory) // 2, begin // 2, sums.ctypes.data, counts.rows.ctypes.data,
        blocks=BLOCKS,
    )  # fmt: skip
    return sums, counts


def compared(
    gemm: HostKernels,
    memory: NDArray[np.uint64],
    sums: NDArray[np.uint64],
    digest: int,
    begin: int = 0,
    width: int = 32,
) -> Counts:
    reference, counts = product(), Counts()
    gemm.set_sms(1)
    gemm.call(
        "matrix_compare", memory.ctypes.data, reference.ctypes.data, len(memory) // 2, begin // 2, width,
        sums.ctypes.data, digest, counts.rows.ctypes.data, *counts.log_arguments(), blocks=BLOCKS,
    )  # fmt: skip
    return counts


RIGHT = digests.digest(product())


@pytest.mark.parametrize("begin", [0, 2, TILE_WORDS + 4, PRODUCT_WORDS - 2])
def test_a_digest_is_the_same_wherever_the_product_begins(gemm: HostKernels, begin: int) -> None:
    sums, counts = digested(gemm, product(begin), begin)
    assert counts.sums() == [PRODUCT_WORDS, RIGHT, 0, 0]
    assert sums.tolist() == [PRODUCT_WORDS, RIGHT]
    assert compared(gemm, product(begin), sums, RIGHT, begin).sums() == [0, 0, 0, 0]


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("begin", [0, TILE_WORDS + 4])
def test_wrong_elements_change_the_digest_and_are_located(gemm: HostKernels, begin: int, width: int) -> None:
    memory, number = product(begin), np.dtype(f"u{width // 8}").type
    places = [0, 501, PRODUCT_WORDS * 64 // width - 1]
    memory.view(number)[places] ^= number(9)
    sums, _ = digested(gemm, memory, begin)
    assert int(sums[0]) == PRODUCT_WORDS
    assert int(sums[1]) != RIGHT
    counts = compared(gemm, memory, sums, RIGHT, begin, width)
    elements = PRODUCT_WORDS * 64 // width
    right = product().view(number)
    wrong = sorted((place + begin * 64 // width) % elements for place in places)
    assert counts.sums() == [elements, int(memory.sum()), 3, 6]
    assert counts.logged() == [(place, int(right[place]), int(right[place]) ^ 9, 0) for place in wrong]


@given(
    word=st.integers(0, PRODUCT_WORDS - 1),
    other=st.integers(0, PRODUCT_WORDS - 1),
    bit=st.integers(0, 63),
)
def test_flipped_bits_and_exchanged_words_change_the_digest(word: int, other: int, bit: int) -> None:
    memory = product()
    memory[word] ^= np.uint64(1 << bit)
    assert digests.digest(memory) != RIGHT
    memory[other] ^= np.uint64(1 << bit)
    assert (digests.digest(memory) == RIGHT) == (word == other)
    memory = product()
    memory[[word, other]] = memory[[other, word]]
    assert (digests.digest(memory) == RIGHT) == (word == other)


def test_what_a_digest_did_not_take_is_compared_in_full(gemm: HostKernels) -> None:
    """Neither a block that never ran nor one that was counted twice passes for the whole."""
    sums, _ = digested(gemm, product())
    for items in (PRODUCT_WORDS - 2, 0, 2 * PRODUCT_WORDS):
        sums[0] = items
        assert compared(gemm, product(), sums, RIGHT).sums()[::2] == [2 * PRODUCT_WORDS, 0]


def test_a_bit_that_is_read_wrongly_is_in_the_digest(gemm: HostKernels) -> None:
    memory = product()
    gemm.plant(memory.ctypes.data + 8 * 4000, set_bits=1 << 21, keep=ALL_ONES ^ (1 << 20))
    sums, _ = digested(gemm, memory)
    counts = compared(gemm, memory, sums, RIGHT)
    gemm.repair()
    assert int(sums[1]) != RIGHT
    assert [line[0] for line in counts.logged()] == [8000]


def test_numbers_that_are_equal_or_none_are_told_apart_by_their_bits(gemm: HostKernels) -> None:
    special = np.array([np.nan, -np.nan, np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.0], np.float32)
    memory = product()
    memory.view(np.float32)[:8] = special
    right = digests.digest(memory)
    for place, other in enumerate([-np.nan, np.inf, np.nan, -0.0, 0.0, 0.0, -0.0, np.nan]):
        changed = memory.copy()
        changed.view(np.float32)[place] = other
        sums, _ = digested(gemm, changed)
        assert int(sums[1]) == digests.digest(changed) != right


def test_streams_cover_everything_once(stream: HostKernels) -> None:
    memory = words(COUNT + 8, fill=7)
    stream.call("stream_write", memory.ctypes.data, COUNT // 2, 0x55, blocks=BLOCKS)
    assert (memory[:COUNT:2] == 0x55).all()
    assert (memory[1:COUNT:2] == ALL_ONES - 0x55).all()
    assert (memory[COUNT:] == 7).all()
    source = np.arange(COUNT, dtype=np.uint64)
    copied = words(COUNT + 8, fill=7)
    stream.call("stream_copy", source.ctypes.data, copied.ctypes.data, COUNT // 2, blocks=BLOCKS)
    assert np.array_equal(copied[:COUNT], source)
    assert (copied[COUNT:] == 7).all()


def test_reading_depends_on_every_word_that_is_read(stream: HostKernels) -> None:
    trigger, sink = 0x6A09E667F3BCC909, words(1)
    for word in (0, COUNT // 2, COUNT - 1):
        memory = words(COUNT)
        memory[word] = trigger
        sink[0] = 0
        stream.call("stream_read", memory.ctypes.data, COUNT // 2, sink.ctypes.data, blocks=BLOCKS)
        assert int(sink[0]) == trigger


def ask(chains: HostKernels, unit: ArithmeticUnit, seed: int, wrong: int = ALL_ONES) -> NDArray[np.uint64]:
    rows = words(BLOCKS * kernels.ANSWER_WORDS)
    chains.set_sms(BLOCKS, wrong)
    chains.call(kernels.entry(unit), rows.ctypes.data, seed, STEPS, blocks=BLOCKS)
    return rows.reshape(BLOCKS, -1)


def test_known_answers_equal_their_twin_on_every_sm(chains: HostKernels, unit: ArithmeticUnit) -> None:
    for seed in (0, 1, ALL_ONES):
        rows = ask(chains, unit, seed)
        assert rows[:, :2].tolist() == [[sm, sm] for sm in range(BLOCKS)]
        assert rows[:, 2:SIGNED].tolist() == [list(range(kernels.WARPS))] * BLOCKS
        assert (rows[:, SIGNED:] == answers.signatures(unit, seed, STEPS)).all()


def test_a_wrong_product_on_one_sm_is_wrong_there_alone(chains: HostKernels, unit: ArithmeticUnit) -> None:
    rows = ask(chains, unit, 5, wrong=1)
    same = (rows[:, SIGNED:] == answers.signatures(unit, 5, STEPS)).any(axis=1)
    assert same.tolist() == [True, False, True]
