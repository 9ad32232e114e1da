"""On real silicon: kernel against twin, planted faults found, every SM reached, exact products proved.

`pytest -m gpu` on a machine with an NVIDIA GPU and CuPy; anywhere else these skip and say why. The card's own faults
fail them too: run them on a card that is known to be good.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from gpucert.stress import asking, fills, patterns
from gpucert.stress.backend import ArithmeticUnit, DType, Pattern, PatternKind, Region, UnitNotOfferedError
from gpucert.stress.cublas import RECIPES
from gpucert.stress.cuda import CudaBackend, NoCudaError, scrub_environment
from gpucert.stress.cuda_matrices import CudaMatrices, whole_numbers
from gpucert.stress.memory_scan import PROFILES, scan

pytestmark = pytest.mark.gpu

MIB = 1 << 20
ALL_ONES = (1 << 64) - 1
PATTERNS = [
    Pattern(PatternKind.OWN, 0x1234_5678_9ABC_DEF0),
    Pattern(PatternKind.RANDOM, ALL_ONES, inverted=True),
    *(Pattern(PatternKind.BACKGROUND, number, inverted) for number in range(9) for inverted in (False, True)),
]


def first_bus_id() -> str:
    """The PCI bus id of the first card that CUDA sees, or a skip with the reason."""
    scrub_environment()
    runtime = pytest.importorskip("cupy.cuda", reason="CuPy is not installed").runtime
    try:
        return str(runtime.deviceGetPCIBusId(0))
    except RuntimeError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.fixture(scope="module")
def gpu() -> CudaBackend:
    bus_id = first_bus_id()
    try:
        return CudaBackend(bus_id)
    except NoCudaError as error:
        pytest.skip(str(error))


@pytest.fixture
def regions(gpu: CudaBackend) -> Iterator[tuple[Region, ...]]:
    """A few hundred MiB, as several chunks."""
    taken = gpu.reserve(gpu.properties().free_bytes - 600 * MIB)
    yield taken
    gpu.release(taken)


def test_the_same_card_is_found_by_its_uuid(gpu: CudaBackend) -> None:
    from cupy.cuda import runtime

    from gpucert.stress.cuda_card import find_device

    told = runtime.getDeviceProperties(0)["uuid"]
    if len(told) != 16:
        pytest.skip("CuPy cuts this card's UUID at a zero byte")
    digits = told.hex()
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    assert find_device(f"GPU-{uuid}") == 0


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_written_words_are_those_of_the_twin(gpu: CudaBackend, regions: tuple[Region, ...], pattern: Pattern) -> None:
    region = regions[-1]
    assert gpu.write(region, pattern).words == region.words
    sweep = gpu.verify(region, pattern)
    twin = patterns.words(pattern, region.first_word, region.words)
    assert (sweep.words, sweep.total, sweep.bad_words) == (region.words, int(twin.sum(dtype=np.uint64)), 0)
    for word in (0, 1, region.words // 2 + 1, region.words - 1):
        assert gpu.peek(region, region.first_word + word) == int(twin[word])


def test_planted_faults_are_found_and_nothing_else(gpu: CudaBackend, regions: tuple[Region, ...]) -> None:
    pattern, turned = Pattern(PatternKind.OWN, 7), Pattern(PatternKind.OWN, 7, inverted=True)
    planted = {}
    for region in regions:
        gpu.write(region, pattern)
        for word in (region.first_word, region.first_word + region.words // 3, region.first_word + region.words - 1):
            planted[word] = patterns.word(pattern, word) ^ (1 << word % 64)
            gpu.poke(region, word, planted[word])
    gpu.flush()
    sweeps = [gpu.verify(region, pattern, turned) for region in regions]
    found = {wrong.word: wrong.actual for sweep in sweeps for wrong in sweep.first_wrong}
    assert found == planted
    assert sum(sweep.bad_bits for sweep in sweeps) == len(planted)
    assert all(gpu.verify(region, turned).bad_words == 0 for region in regions)


def test_a_wholly_wrong_region_is_counted_in_full(gpu: CudaBackend, regions: tuple[Region, ...]) -> None:
    region = regions[0]
    gpu.write(region, Pattern(PatternKind.BACKGROUND, 8))
    sweep = gpu.verify(region, Pattern(PatternKind.BACKGROUND, 8, inverted=True))
    assert (sweep.bad_words, sweep.bad_bits) == (region.words, 64 * region.words)
    assert len(sweep.first_wrong) == 4096


def test_most_of_the_memory_can_be_taken(gpu: CudaBackend) -> None:
    free = gpu.properties().free_bytes
    taken = gpu.reserve(128 * MIB)
    try:
        assert sum(region.words * 8 for region in taken) > 0.97 * (free - 128 * MIB)
        assert all(gpu.write(region, PATTERNS[0]).words == region.words for region in taken)
        assert all(gpu.verify(region, PATTERNS[0]).bad_words == 0 for region in taken)
    finally:
        gpu.release(taken)


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_the_whole_scan_proves_what_it_compared_and_finds_its_own_faults(gpu: CudaBackend, name: str) -> None:
    """With all memory but for the rests, which prove nothing about a good card."""
    profile = PROFILES[name].without_waits()
    told: list[str] = []
    done = scan(gpu, profile, 5, lambda: 0.0, lambda _, text: told.append(text), lambda _: None)
    assert (done.wrong_words, done.located, done.rounds) == (0, [], 1)
    assert done.books.words_compared == done.books.words_expected > 0
    assert done.self_test.planted == done.self_test.found > 60
    assert done.coverage_percent > 95
    assert all(any(phase.name in text for text in told) for phase in profile.phases)


@pytest.mark.parametrize("kind", ["read", "write", "copy"])
def test_touches_take_a_believable_time(gpu: CudaBackend, regions: tuple[Region, ...], kind: str) -> None:
    moved = sum(region.words * 8 for region in regions) * 20
    card = gpu.properties()
    peak = 2 * card.memory_clock_mhz * 1e6 * card.bus_bits / 8
    assert 0.2 * peak < moved / gpu.touch(regions, kind, 20) < 1.05 * peak


def test_every_sm_counts_the_same_believable_clock(gpu: CudaBackend) -> None:
    gpu.clock(2.0)
    count = gpu.clock(2.0)
    clocks = [one.mhz for one in count.sms]
    assert len(clocks) == gpu.properties().sm_count
    assert 200 < min(clocks) <= max(clocks) < 4000
    assert max(clocks) - min(clocks) < 0.05 * max(clocks)
    assert 0 < count.timer_step_ns * count.launches < 1e-3 * min(one.nanoseconds for one in count.sms)
    assert count.timer_seconds == pytest.approx(count.seconds, rel=0.01)
    assert count.seconds / count.launches < 0.5


@pytest.mark.parametrize("unit", list(ArithmeticUnit))
def test_every_sm_is_reached_and_answers_as_the_twin_does(gpu: CudaBackend, unit: ArithmeticUnit) -> None:
    try:
        given = gpu.answers(unit, 4, 99)
    except UnitNotOfferedError as reason:
        pytest.skip(str(reason))
    assert len(given) == gpu.properties().sm_count
    assert all(answer.repeats >= 4 and answer.wrong == 0 for answer in given)


def prepared(gpu: CudaBackend, dtype: DType, size: int, *, exact: bool) -> CudaMatrices:
    try:
        return gpu.matrices(dtype, size, 5, exact=exact)
    except UnitNotOfferedError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("exact", [True, False])
def test_products_repeat_bit_for_bit(gpu: CudaBackend, dtype: DType, exact: bool) -> None:
    size = 2048
    matrices = prepared(gpu, dtype, size, exact=exact)
    try:
        product = matrices.run(20, check=True)
        proven = 1 if exact else 0
        assert (product.compared, product.wrong) == ((20 + proven) * size * size, 0)
        assert product.seconds > 0
    finally:
        matrices.free()


def fetched(address: int, count: int, kind: str) -> NDArray[np.generic]:
    from cupy.cuda import runtime

    host = np.empty(count, kind)
    runtime.memcpy(host.ctypes.data, address, host.nbytes, runtime.memcpyDeviceToHost)
    return host


@pytest.mark.parametrize("dtype", list(RECIPES))
def test_inputs_on_the_card_are_those_of_the_twin(gpu: CudaBackend, dtype: DType) -> None:
    size = 512
    matrices = prepared(gpu, dtype, size, exact=False)
    twin = fills.full_bits(dtype, size * size, fills.operand_seed(5, 0))
    host = fetched(matrices.left, size * size, twin.dtype.str).reshape(size, size)
    matrices.free()
    assert np.array_equal(host.T if RECIPES[dtype].left_by_rows else host, twin.reshape(size, size))


@pytest.mark.parametrize("dtype", list(RECIPES))
def test_every_type_comes_to_the_same_whole_numbers(gpu: CudaBackend, dtype: DType) -> None:
    size = 512
    bound = fills.exact_bound(size)
    left, right = (whole_numbers(size, size, fills.operand_seed(5, at), bound).astype(np.float64) for at in (0, 1))
    matrices = prepared(gpu, dtype, size, exact=True)
    for answer in (matrices.result, *matrices.references):
        host = fetched(answer, size * size, np.dtype(RECIPES[dtype].scalar).str).reshape(size, size).T
        assert np.array_equal(host, left @ right)
    matrices.free()


@pytest.mark.parametrize("dtype", list(RECIPES))
def test_a_flipped_bit_of_an_operand_spoils_a_row_of_the_product(gpu: CudaBackend, dtype: DType) -> None:
    from cupy.cuda import runtime

    size, row = 512, 77
    matrices = prepared(gpu, dtype, size, exact=True)
    width = fills.FORMATS[dtype].bytes
    place = matrices.left + width * (row * size if RECIPES[dtype].left_by_rows else row)
    element = fetched(place, width, "u1")
    element[-1] ^= 0x40
    runtime.memcpy(place, element.ctypes.data, element.nbytes, runtime.memcpyHostToDevice)
    product, inputs = matrices.run(2, check=True), matrices.inputs()
    matrices.free()
    assert product.wrong > size
    assert {wrong.word % size for wrong in product.first_wrong} == {row}
    assert inputs.wrong == 1


@pytest.mark.parametrize("dtype", list(RECIPES))
def test_products_of_new_numbers_repeat_bit_for_bit(gpu: CudaBackend, dtype: DType) -> None:
    matrices = prepared(gpu, dtype, 512, exact=False)
    assert matrices.run(4, check=True).wrong == 0
    for toggling in (False, True):
        matrices.renew(6, toggling=toggling)
        product, inputs = matrices.run(4, check=True), matrices.inputs()
        assert (product.wrong, inputs.wrong) == (0, 0)
    matrices.free()


@pytest.mark.parametrize("direction", ["to_card", "to_host"])
def test_copies_arrive_whole(gpu: CudaBackend, direction: str) -> None:
    copied = gpu.copy(64 * MIB, direction, 3)
    assert copied.wrong == 0
    assert copied.bytes % (64 * MIB) == 0
    assert 0.1 < copied.seconds <= copied.ended_s - copied.began_s


def test_everything_with_a_known_answer_is_asked_within_seconds_while_the_memory_is_held(gpu: CudaBackend) -> None:
    with asking.prepared(gpu, 3, asking.Ears(lambda _: None, lambda *_: None)) as questions:
        questions.ask("warm", everywhere=True)
        began = gpu.seconds()
        questions.ask("warm", everywhere=True)
        took = gpu.seconds() - began
    done = questions.done
    assert done.found == 0
    assert done.books.words_compared == done.books.words_expected > 0
    assert {len(sms) for sms in done.reached.values()} == {gpu.properties().sm_count}
    assert took < 20, "a round of questions must be short against a way from hot to cool"
