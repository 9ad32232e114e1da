"""The CUDA backend over a CuPy that is none: its bookkeeping, its verdicts on planted faults, its errors in words."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from gpucert.stress import (
    asking,
    cublas,
    cuda_card,
    cuda_clock,
    cuda_matrices,
    deep,
    fills,
    kernels,
    patterns,
    phases,
    under_load,
)
from gpucert.stress import backend as contract
from gpucert.stress.backend import ArithmeticUnit, Backend, DType, Pattern, PatternKind, Region
from gpucert.stress.cuda import CudaBackend, NoCudaError
from gpucert.stress.cuda_card import CudaCard
from gpucert.stress.memory_scan import PROFILES, Profile, Scan, scan
from gpucert.stress.offers import refused
from gpucert.stress.self_test import self_test
from gpucert.stress.wrong_words import Located
from tests import host_compiler
from tests.host_compiler import HostKernels
from tests.host_compiler.cupy import MIB, CUBLASError, CUDARuntimeError, FakeCuda

pytestmark = pytest.mark.skipif(host_compiler.COMPILER is None, reason="no C++ compiler on this machine")

BUS_ID = "00000000:65:00.0"
OWN = Pattern(PatternKind.OWN, 11)
SIZE = 64


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HostKernels]:
    return {name: HostKernels(name, tmp_path_factory.mktemp(name)) for name in kernels.ENTRIES}


@pytest.fixture
def fake(built: dict[str, HostKernels], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    cuda = FakeCuda(built)
    cuda.install(monkeypatch)
    for made in built.values():
        made.set_sms(cuda.sm_count)
    yield cuda
    for made in built.values():
        made.repair()


@pytest.fixture
def gpu(fake: FakeCuda) -> CudaBackend:
    return CudaBackend(BUS_ID)


def test_it_is_a_backend(gpu: CudaBackend) -> None:
    kept: Backend = gpu
    assert (kept.name, kept.fills_time) == ("cuda", True)
    properties = kept.properties()
    assert (properties.name, properties.compute_capability, properties.sm_count) == ("Fake GPU", "9.0", 2)
    assert (properties.bus_bits, properties.memory_clock_mhz, properties.total_bytes) == (5120, 1593.0, 12 * MIB)
    versions = kept.versions()
    assert (versions["cuda_driver"], versions["cuda_runtime"], versions["cublas"]) == ("13.1", "12.9", "13.2.3")
    assert versions["kernels"] == kernels.version()


def test_every_kernel_ran_before_memory_was_filled(gpu: CudaBackend, fake: FakeCuda) -> None:
    assert {name for name, _, _ in fake.launched} == {
        entry for entries in kernels.ENTRIES.values() for entry in entries
    }
    assert fake.products > 0


def test_uuid_is_found_even_as_cupy_cuts_it(fake: FakeCuda) -> None:
    assert cuda_card.find_device("GPU-01234567-89ab-00ef-0123-456789abcdef") == 1
    with pytest.raises(NoCudaError, match="0 cards"):
        cuda_card.find_device("GPU-11234567-89ab-00ef-0123-456789abcdef")
    with pytest.raises(NoCudaError, match="no UUID"):
        cuda_card.find_device("GPU-0")


def test_the_clock_of_every_sm_is_counted_over_all_launches(
    gpu: CudaBackend, built: dict[str, HostKernels], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_clock, "LAUNCH_SECONDS", 0.02)
    built["clock"].set_clock(1410, 1000, slow_sm=1, slow_mhz=1300)
    gpu.clock(0.0)  # finds out how long a launch has to be
    count = gpu.clock(0.1)
    assert [one.sm for one in count.sms] == [0, 1]
    assert [one.mhz for one in count.sms] == [pytest.approx(1410, rel=0.01), pytest.approx(1300, rel=0.01)]
    assert count.launches > 1
    assert count.timer_step_ns == 1000
    assert count.timer_seconds >= sum(one.nanoseconds for one in count.sms) / 1e9 > 0
    assert 0.1 <= count.seconds < 10


def test_launches_of_the_clock_are_far_from_half_a_second(
    gpu: CudaBackend, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    seconds_of_a_step = 1e-5

    def timed(card: CudaCard, enqueue: Callable[[], None]) -> float:
        steps = int(enqueue.args[2])  # type: ignore[attr-defined]
        asked.append(steps)
        return steps * seconds_of_a_step

    monkeypatch.setattr(CudaCard, "timed", timed)
    for seconds_of_a_step in (1e-5, 3e-8, 1e-7):
        for _ in range(12):
            gpu.clock(0.0)
        assert asked[-1] * seconds_of_a_step == pytest.approx(cuda_clock.LAUNCH_SECONDS, rel=0.01)
    assert max(asked[:12]) * 1e-5 < 0.5
    assert {shared > 0 for name, _, shared in fake.launched if name == "clock_count"} == {True}


def test_blocks_that_say_nothing_and_a_timer_that_stands_still_count_for_nothing(
    gpu: CudaBackend, fake: FakeCuda, built: dict[str, HostKernels]
) -> None:
    built["clock"].set_clock(1410, step_ns=0)
    stood = gpu.clock(0.0)
    assert (stood.sms, stood.timer_step_ns, stood.timer_seconds) == ((), 0, 0.0)
    built["clock"].set_clock(1410)
    fake.silent.add("clock_count")
    assert gpu.clock(0.0).sms == ()


def test_chunks_are_numbered_as_one_memory_and_leave_the_headroom(gpu: CudaBackend, fake: FakeCuda) -> None:
    regions = gpu.reserve(3 * MIB)
    assert 3 * MIB <= fake.left < 5 * MIB
    first = 0
    for region in regions:
        assert region.first_word == first
        first += region.words
    gpu.release(regions)
    assert fake.left > 11 * MIB


def test_write_then_verify_counts_every_word(gpu: CudaBackend) -> None:
    region = gpu.reserve(9 * MIB)[0]
    assert gpu.write(region, OWN).words == region.words
    sweep = gpu.verify(region, OWN, Pattern(PatternKind.RANDOM, 5, inverted=True))
    assert (sweep.words, sweep.bad_words, sweep.first_wrong) == (region.words, 0, ())
    assert sweep.total == int(patterns.words(OWN, region.first_word, region.words).sum())
    again = gpu.verify(region, Pattern(PatternKind.RANDOM, 5, inverted=True))
    assert (again.bad_words, again.words) == (0, region.words)


def test_what_is_poked_is_found_where_it_is(gpu: CudaBackend) -> None:
    regions = gpu.reserve(7 * MIB)
    second = regions[1]
    gpu.write(second, OWN)
    word = second.first_word + 12_345
    right = patterns.word(OWN, word)
    gpu.poke(second, word, right ^ 0b101)
    sweep = gpu.verify(second, OWN)
    assert (sweep.bad_words, sweep.bad_bits) == (1, 2)
    assert (sweep.first_wrong[0].word, sweep.first_wrong[0].expected) == (word, right)
    assert gpu.peek(second, word) == right ^ 0b101
    clean = gpu.verify(second, OWN, OWN), gpu.verify(second, OWN)
    assert [each.bad_words for each in clean] == [1, 0]
    assert clean[1].first_wrong == ()


def test_a_sweep_may_begin_at_the_end(gpu: CudaBackend) -> None:
    region = gpu.reserve(9 * MIB)[0]
    turned = Pattern(PatternKind.OWN, 11, inverted=True)
    assert gpu.write(region, OWN, descending=True).words == region.words
    assert gpu.verify(region, OWN, turned, descending=True).bad_words == 0
    assert gpu.verify(region, turned).bad_words == 0


@pytest.mark.parametrize("kind", list(patterns.MODULI))
def test_others_are_written_and_targets_are_not(gpu: CudaBackend, kind: PatternKind) -> None:
    region = gpu.reserve(9 * MIB)[0]
    plain, turned = (patterns.modulo(kind, 3, 77, inverted=inverted) for inverted in (False, True))
    gpu.write(region, plain)
    assert gpu.write(region, turned, others=True).words == region.words
    targets = patterns.targets(plain, region.first_word, region.words)
    differing = int(np.unpackbits((~targets).view(np.uint8)).sum())
    assert gpu.verify(region, plain).bad_bits == differing
    gpu.write(region, plain, others=True)
    assert gpu.verify(region, plain).bad_words == 0


def test_moved_words_are_known_by_where_they_came_from(gpu: CudaBackend) -> None:
    chunk = gpu.reserve(9 * MIB)[0]
    half = chunk.words // 2
    low, high = (Region(chunk.handle, chunk.first_word + at, half) for at in (0, half))
    gpu.write(low, OWN)
    gpu.write(high, Pattern(PatternKind.BACKGROUND, 0))
    assert gpu.move(low, high) > 0
    moved = Pattern(PatternKind.OWN, 11, shift=half)
    assert gpu.verify(high, moved).bad_words == 0
    gpu.poke(high, high.first_word + 5, 0)
    (wrong,) = gpu.verify(high, moved).first_wrong
    assert (wrong.word, wrong.expected) == (high.first_word + 5, patterns.word(OWN, low.first_word + 5))
    with pytest.raises(ValueError, match="do not fit"):
        gpu.move(low, chunk)
    with pytest.raises(ValueError, match="another shift"):
        gpu.verify(high, moved, OWN)


def test_burning_lasts_as_long_as_asked(gpu: CudaBackend, fake: FakeCuda) -> None:
    fake.launched.clear()
    gpu.burn(0.01)
    assert {name for name, _, _ in fake.launched} == {"burn"}


def test_a_part_of_a_chunk_is_a_region_too(gpu: CudaBackend) -> None:
    chunk = gpu.reserve(9 * MIB)[0]
    part = Region(chunk.handle, chunk.first_word + 1000, 5000)
    gpu.write(chunk, OWN)
    assert gpu.verify(part, OWN, Pattern(PatternKind.BACKGROUND, 0)).words == 5000
    assert gpu.verify(chunk, OWN).bad_words == 5000
    with pytest.raises(ValueError, match="leave their chunk"):
        gpu.verify(Region(chunk.handle, chunk.words - 2, 4), OWN)
    with pytest.raises(ValueError, match="even"):
        gpu.verify(Region(chunk.handle, 1, 4), OWN)
    with pytest.raises(ValueError, match="not in the chunk"):
        gpu.poke(chunk, chunk.words, 0)


def test_a_flush_streams_four_times_the_l2_elsewhere(gpu: CudaBackend, fake: FakeCuda) -> None:
    region = gpu.reserve(7 * MIB)[0]
    gpu.write(region, OWN)
    fake.launched.clear()
    gpu.verify(region, OWN)
    assert [name for name, _, _ in fake.launched] == ["memory_verify"]
    gpu.flush()
    gpu.verify(region, OWN)
    assert [name for name, _, _ in fake.launched][1:] == ["stream_read", "memory_verify"]


def test_stuck_cell_below_the_loads_is_seen_by_verify_and_peek(gpu: CudaBackend, fake: FakeCuda) -> None:
    region = gpu.reserve(9 * MIB)[0]
    fake.built["memory_scan"].plant(region.handle + 8 * 77, set_bits=1 << 40, keep=(1 << 64) - 1)
    zeros = Pattern(PatternKind.BACKGROUND, 8)
    gpu.write(region, zeros)
    assert gpu.verify(region, zeros).first_wrong[0].actual == 1 << 40
    assert gpu.peek(region, region.first_word + 77) == 1 << 40


def test_touches_move_and_time(gpu: CudaBackend, fake: FakeCuda) -> None:
    regions = gpu.reserve(7 * MIB)
    for kind in ("read", "write", "copy"):
        fake.launched.clear()
        assert gpu.touch(regions, kind, 3) > 0
        assert fake.launched == [(f"stream_{kind}", 16, 0)] * (3 * len(regions))
    with pytest.raises(ValueError, match="kind"):
        gpu.touch(regions, "erase", 1)


@pytest.mark.parametrize("dtype", list(cublas.RECIPES))
@pytest.mark.parametrize("exact", [True, False])
def test_healthy_products_are_right_in_every_type(gpu: CudaBackend, dtype: DType, exact: bool) -> None:
    matrices = gpu.matrices(dtype, SIZE, 3, exact=exact)
    product = matrices.run(5, check=True)
    proven = 1 if exact else 0
    assert (product.runs, product.compared, product.wrong) == (5, (5 + proven) * SIZE * SIZE, 0)
    assert product.flop == 2.0 * SIZE**3 * 5
    assert matrices.run(2, check=False).compared == 0
    matrices.free()


def on_card(address: int, dtype: DType, number: type[np.generic] | str) -> NDArray[np.generic]:
    """A square matrix as it lies in the memory of the card."""
    count = SIZE * SIZE * np.dtype(number).itemsize
    return np.frombuffer((ctypes.c_char * count).from_address(address), number).reshape(SIZE, SIZE)


def test_all_types_multiply_the_same_whole_numbers_to_the_same_answer(gpu: CudaBackend) -> None:
    bound = fills.exact_bound(SIZE)
    left, right = (fills.integers(SIZE * SIZE, fills.operand_seed(3, at), bound).reshape(SIZE, SIZE) for at in (0, 1))
    true = right.astype(np.int64) @ left.astype(np.int64)  # by columns, so that both factors stand the other way round
    for dtype, recipe in cublas.RECIPES.items():
        matrices = gpu.matrices(dtype, SIZE, 3, exact=True)
        stored = f"u{fills.FORMATS[dtype].bytes}"
        lies = fills.values(dtype, on_card(matrices.left, dtype, stored))
        assert np.array_equal(lies.T if recipe.left_by_rows else lies, left), dtype
        assert np.array_equal(fills.values(dtype, on_card(matrices.right, dtype, stored)), right), dtype
        assert matrices.run(2, check=True).wrong == 0, "which ends at the beginning again"
        for answer in (matrices.result, *matrices.references):
            assert np.array_equal(on_card(answer, dtype, recipe.scalar), true), dtype
        matrices.free()


def test_tf32_is_rounded_before_the_card_could_round_it(gpu: CudaBackend) -> None:
    matrices = gpu.matrices(DType.TF32, SIZE, 3, exact=False)
    left, right = (
        on_card(address, DType.TF32, np.float32).astype(np.float64) for address in (matrices.left, matrices.right)
    )
    product = on_card(matrices.references[0], DType.TF32, np.float32)
    assert np.array_equal(product, (right @ left).astype(np.float32))
    assert np.unique(left).size > 3000, "of the 4096 most differ"


@pytest.mark.parametrize("dtype", list(cublas.RECIPES))
def test_products_from_any_column_on_are_right_and_changed_inputs_are_located(gpu: CudaBackend, dtype: DType) -> None:
    matrices = gpu.matrices(dtype, SIZE, 3, exact=True)
    assert matrices.run(2, check=True, first_column=48).wrong == 0
    own, more = 2 * SIZE * SIZE, matrices.step * SIZE
    inputs = matrices.inputs()
    assert (inputs.elements, inputs.wrong) == (own + more, 0)
    ctypes.memset(matrices.right, 0x55, fills.FORMATS[dtype].bytes)
    inputs = matrices.inputs()
    assert (inputs.elements, inputs.wrong, inputs.first_wrong[0].word) == (own + more, 1, SIZE * SIZE)
    assert matrices.run(1, check=True).wrong > 0


def test_inputs_that_nobody_compared_are_not_right(gpu: CudaBackend, fake: FakeCuda) -> None:
    matrices = gpu.matrices(DType.FP32, SIZE, 3, exact=True)
    fake.silent.add("matrix_inputs")
    assert matrices.inputs().wrong == (2 * SIZE + matrices.step) * SIZE


def test_int8_uses_all_that_it_holds(gpu: CudaBackend) -> None:
    matrices = gpu.matrices(DType.INT8, SIZE, 3, exact=False)
    left = on_card(matrices.left, DType.INT8, np.int8)
    assert (left.min(), left.max(), np.unique(left).size) == (-128, 127, 256)
    with pytest.raises(ValueError, match="multiples of 16"):
        gpu.matrices(DType.INT8, 40, 3, exact=False)


def test_matrices_may_be_deeper_than_wide(gpu: CudaBackend) -> None:
    for dtype in cublas.RECIPES:
        matrices = gpu.matrices(dtype, SIZE, 3, exact=True, inner=4 * SIZE)
        product = matrices.run(2, check=True)
        assert (matrices.shape, product.flop) == ((SIZE, SIZE, 4 * SIZE), 2 * 8.0 * SIZE**3)
        assert (product.compared, product.wrong, matrices.inputs().wrong) == (3 * SIZE * SIZE, 0, 0), dtype
        matrices.free()


def stopped(*_: object) -> None:
    """A product that never runs."""


@pytest.mark.parametrize(("exact", "first_column"), [(True, 0), (True, 16), (False, 0)])
def test_an_output_that_was_never_written_is_no_right_answer(
    gpu: CudaBackend, fake: FakeCuda, exact: bool, first_column: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype in (DType.FP64, DType.FP16, DType.INT8):
        matrices = gpu.matrices(dtype, SIZE, 3, exact=exact)
        assert matrices.run(2, check=True, first_column=first_column).wrong == 0
        with monkeypatch.context() as patch:
            patch.setattr(fake, "gemmEx", stopped)
            product = matrices.run(1, check=True, first_column=first_column)
        assert product.wrong > 0.98 * SIZE * SIZE, "another column's answer may happen to be the right one"
        assert product.compared == SIZE * SIZE
        matrices.free()


@pytest.mark.parametrize("exact", [True, False])
def test_products_that_never_ran_at_all_are_never_right(
    gpu: CudaBackend, fake: FakeCuda, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "gemmEx", stopped)
    matrices = gpu.matrices(DType.FP32, SIZE, 3, exact=exact)
    assert matrices.run(2, check=True).wrong >= SIZE * SIZE


@pytest.mark.parametrize("exact", [True, False])
def test_an_output_that_is_written_nowhere_is_found(gpu: CudaBackend, fake: FakeCuda, exact: bool) -> None:
    """Below the products: one element keeps what it held, from the first reference on."""
    fake.never_written = 77
    matrices = gpu.matrices(DType.FP32, SIZE, 3, exact=exact)
    assert matrices.run(2, check=True).wrong > 0


@pytest.mark.parametrize("exact", [True, False])
def test_one_wrong_element_of_one_run_is_found_in_every_type(gpu: CudaBackend, fake: FakeCuda, exact: bool) -> None:
    for dtype in cublas.RECIPES:
        matrices = gpu.matrices(dtype, SIZE, 3, exact=exact)
        fake.wrong_products[fake.products + 2] = 130
        product = matrices.run(4, check=True)
        begun = matrices.step if exact else 0  # the third product since the references
        assert (product.wrong, [wrong.word for wrong in product.first_wrong]) == (1, [130 + begun * SIZE]), dtype
        matrices.free()


def test_products_that_are_queued_ahead_are_each_looked_at(
    gpu: CudaBackend, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_matrices, "RUNS", 2)
    matrices = gpu.matrices(DType.FP32, SIZE, 3, exact=False)
    fake.wrong_products = dict.fromkeys(range(fake.products, fake.products + 13, 3), 40)
    product = matrices.run(13, check=True)
    assert (product.runs, product.compared, product.wrong) == (13, 13 * SIZE * SIZE, 5)
    assert len(product.first_wrong) == 5


@pytest.mark.parametrize("silent", ["matrix_digest", "matrix_compare"])
@pytest.mark.parametrize("exact", [True, False])
def test_outputs_that_nobody_looked_at_are_wrong(gpu: CudaBackend, fake: FakeCuda, exact: bool, silent: str) -> None:
    matrices = gpu.matrices(DType.FP16, SIZE, 3, exact=exact)
    fake.silent.add(silent)
    fake.wrong_products = dict.fromkeys(range(fake.products, fake.products + 5), 7)
    product = matrices.run(5, check=True)
    assert product.wrong == 5 * SIZE * SIZE if silent == "matrix_compare" else product.wrong == 5


def test_a_digest_that_no_element_explains_is_wrong(gpu: CudaBackend, fake: FakeCuda) -> None:
    """The kernels that sum and compare may err as well; what they say must fit together."""
    matrices = gpu.matrices(DType.FP16, SIZE, 3, exact=True)
    fake.silent.add("matrix_digest")
    assert matrices.run(3, check=True).wrong == 3, "compared in full, nothing found"
    fake.silent = {"matrix_compare"}
    assert matrices.run(3, check=True).wrong == 0, "nothing was left to compare"


def test_a_card_that_compares_in_full_without_a_reason_counts_wrongly(
    gpu: CudaBackend, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrices = gpu.matrices(DType.FP16, SIZE, 3, exact=True)
    launch = CudaCard.launch

    def astray(card: CudaCard, name: str, *arguments: int, blocks: int, shared: int = 0) -> None:
        """The counters on the card are not what the blocks told the host."""
        launch(card, name, *arguments, blocks=blocks, shared=shared)
        if name == "matrix_digest":
            ctypes.c_uint64.from_address(arguments[3]).value += 1

    monkeypatch.setattr(CudaCard, "launch", astray)
    product = matrices.run(2, check=True)
    assert (product.wrong, product.compared) == (2, 3 * SIZE * SIZE)


@pytest.mark.parametrize("dtype", [DType.FP16, DType.INT8])
def test_new_numbers_have_new_answers(gpu: CudaBackend, fake: FakeCuda, dtype: DType) -> None:
    matrices = gpu.matrices(dtype, SIZE, 3, exact=False)
    first = on_card(matrices.references[0], dtype, cublas.RECIPES[dtype].scalar).copy()
    for seed, toggling in ((4, False), (5, True), (3, False)):
        matrices.renew(seed, toggling=toggling)
        answer = on_card(matrices.references[0], dtype, cublas.RECIPES[dtype].scalar)
        assert np.isfinite(answer).all()
        assert np.count_nonzero(answer) > 0.9 * answer.size
        assert np.array_equal(answer, first) == (seed == 3)
        assert (matrices.run(3, check=True).wrong, matrices.inputs().wrong) == (0, 0)
        fake.wrong_products = {fake.products + 1: 5}
        assert matrices.run(3, check=True).wrong == 1


def test_whole_numbers_are_not_renewed_and_others_begin_at_their_beginning(gpu: CudaBackend) -> None:
    with pytest.raises(ValueError, match="not renewed"):
        gpu.matrices(DType.FP32, SIZE, 3, exact=True).renew(4)
    with pytest.raises(ValueError, match="begin anywhere"):
        gpu.matrices(DType.FP32, SIZE, 3, exact=False).run(1, check=True, first_column=16)


def test_a_card_without_the_room_multiplies_less_deep(gpu: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "SIZE", SIZE)
    monkeypatch.setattr(deep, "_ON_TENSOR_CORES", MIB // 4)
    shapes = [deep.deepest(gpu, dtype, 3).shape for dtype in (DType.FP32, DType.BF16)]
    assert shapes == [(SIZE, SIZE, SIZE), (SIZE, SIZE, 2 * SIZE)]
    assert deep.inner_sizes(DType.FP16, 61) == (SIZE,)


@pytest.mark.parametrize("dtype", [DType.FP32, DType.INT8])
def test_a_reference_that_the_card_made_wrong_is_mended_on_the_host(
    gpu: CudaBackend, fake: FakeCuda, dtype: DType
) -> None:
    fake.wrong_products = dict.fromkeys(range(fake.products, fake.products + 100), 7)
    exact = gpu.matrices(dtype, SIZE, 3, exact=True)
    first = exact.run(3, check=True)
    assert first.wrong == 4, "the product that the reference was taken from was wrong as well"
    assert {wrong.word for wrong in first.first_wrong} == {7, 7 + exact.step * SIZE}, "the same place, by turns"
    assert exact.run(3, check=True).wrong == 3
    trusting = gpu.matrices(dtype, SIZE, 3, exact=False)
    assert trusting.run(3, check=True).wrong == 0


def test_slow_types_are_multiplied_in_panels_with_the_same_answer(
    gpu: CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_matrices, "_PROBE_COLUMNS", 24)
    monkeypatch.setattr(cuda_matrices, "_LONGEST_LAUNCH_SECONDS", 1e-9)
    assert gpu.matrices(DType.FP64, SIZE, 3, exact=True).run(2, check=True).wrong == 0


@pytest.mark.parametrize(
    ("capability", "lacks"),
    [
        ((6, 1), {DType.TF32, DType.BF16, DType.INT8, DType.FP8}),
        ((7, 0), {DType.TF32, DType.BF16, DType.INT8, DType.FP8}),
        ((7, 5), {DType.TF32, DType.BF16, DType.FP8}),
        ((8, 6), {DType.FP8}),
        ((12, 0), {DType.FP8}),
    ],
)
def test_types_that_an_architecture_lacks_are_not_offered(
    fake: FakeCuda, capability: tuple[int, int], lacks: set[DType]
) -> None:
    fake.capability = capability
    reasons = refused(CudaBackend(BUS_ID), 1)
    assert set(reasons) == lacks
    for reason in reasons.values():
        out_of_reach = capability == (12, 0)
        assert isinstance(reason, contract.UnitOutOfReachError) == out_of_reach
        assert ("give no FP8 product" in str(reason)) == out_of_reach
        assert ("starts with compute capability" in str(reason)) != out_of_reach


def test_a_type_that_cublas_refuses_is_out_of_reach_and_no_fault_of_the_others(
    gpu: CudaBackend, fake: FakeCuda
) -> None:
    fake.refused = {72}
    reasons = refused(gpu, 1)
    assert set(reasons) == {DType.INT8, DType.FP8}
    assert isinstance(reasons[DType.INT8], contract.UnitOutOfReachError)
    assert "cuBLAS cannot multiply" in str(reasons[DType.INT8])


def test_a_cublas_that_multiplies_nothing_is_a_matter_of_the_station(fake: FakeCuda) -> None:
    fake.refused = {69}
    with pytest.raises(NoCudaError, match="cuBLAS"):
        CudaBackend(BUS_ID)


def test_pascal_has_no_tensor_answers_and_never_compiles_them(fake: FakeCuda) -> None:
    fake.capability = (6, 0)
    gpu = CudaBackend(BUS_ID)
    assert "answers_tensor" not in {name for name, _, _ in fake.launched}
    with pytest.raises(contract.UnitNotOfferedError):
        gpu.answers(ArithmeticUnit.TENSOR, 1, 1)


@pytest.mark.parametrize("unit", list(ArithmeticUnit))
def test_every_sm_answers_and_the_wrong_one_is_named(
    gpu: CudaBackend, fake: FakeCuda, unit: ArithmeticUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpucert.stress.answers.STEPS", 64)
    made = fake.built[next(name for name, entries in kernels.ENTRIES.items() if kernels.entry(unit) in entries)]
    steps = 64
    right = contract.Answer(0, unit, 2, 0), contract.Answer(1, unit, 2, 0)
    monkeypatch.setattr("gpucert.stress.answers.signatures", _with_steps(steps))
    assert gpu.answers(unit, 2, 9) == right
    made.set_sms(2, wrong=1)
    given = gpu.answers(unit, 2, 9)
    if unit is ArithmeticUnit.SFU:  # one against one is no majority, so neither is believed
        assert [answer.wrong for answer in given] == [2, 2]
    else:
        assert [answer.wrong for answer in given] == [0, 2]
    assert fake.launched[-1][2] == 99_000 - 1000


def _with_steps(steps: int):  # type: ignore[no-untyped-def]
    from gpucert.stress import answers

    whole = answers.signatures
    return lambda unit, seed: whole(unit, seed, steps)


def test_sms_that_are_never_reached_give_no_answer(
    gpu: CudaBackend, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpucert.stress.answers.STEPS", 0)
    fake.built["sm_answers"].set_sms(1)
    fake.launched.clear()
    given = gpu.answers(ArithmeticUnit.INT32, 1, 9)
    assert [answer.sm for answer in given] == [0]
    assert 1 < len(fake.launched) < 100


def test_copies_are_verified_both_ways(gpu: CudaBackend, fake: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    for direction in ("to_card", "to_host"):
        copied = gpu.copy(MIB, direction, 4)
        assert copied.wrong == 0
        assert copied.bytes in range(MIB, 65 * MIB, MIB)
        assert 0 < copied.seconds <= copied.ended_s - copied.began_s
    monkeypatch.setattr(cuda_card.CudaCard, "copy", lambda *_: None)
    assert [gpu.copy(MIB, direction, 4).wrong for direction in ("to_card", "to_host")] == [MIB // 8, MIB // 8]
    with pytest.raises(ValueError, match="direction"):
        gpu.copy(MIB, "sideways", 4)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (2, contract.OutOfMemoryError),
        (46, contract.DeviceLostError),
        (214, contract.UncorrectableEccError),
        (700, contract.IllegalAddressError),
        (702, contract.LaunchFailedError),
        (719, contract.LaunchFailedError),
        (999, contract.DeviceLostError),
    ],
)
def test_a_dead_context_is_told_in_words(
    gpu: CudaBackend, fake: FakeCuda, status: int, expected: type[Exception]
) -> None:
    region = gpu.reserve(9 * MIB)[0]
    fake.stuck = status
    with pytest.raises(expected, match=str(status)):
        gpu.verify(region, OWN)


def test_a_station_without_cuda_is_not_a_broken_card(fake: FakeCuda) -> None:
    fake.stuck = 35
    with pytest.raises(NoCudaError, match="driver"):
        CudaBackend(BUS_ID)
    with pytest.raises(NoCudaError):
        CudaBackend("00000000:66:00.0")


def test_a_station_without_nvrtc_is_not_a_broken_card(fake: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> None:
        raise RuntimeError("libnvrtc.so.13 not found")

    monkeypatch.setattr(sys.modules["cupy"], "RawModule", missing)
    with pytest.raises(NoCudaError, match="NVRTC"):
        CudaBackend(BUS_ID)


def test_other_errors_keep_their_own_name() -> None:
    plain, invalid = RuntimeError("ours"), CUDARuntimeError(1)
    assert cuda_card.named(plain, working=True) is plain
    assert cuda_card.named(invalid, working=True) is invalid
    assert isinstance(cuda_card.named(CUBLASError(3), working=True), contract.OutOfMemoryError)
    assert isinstance(cuda_card.named(CUBLASError(15), working=True), NoCudaError)
    assert isinstance(cuda_card.named(CUBLASError(13), working=True), contract.LaunchFailedError)


def test_the_environment_is_scrubbed_of_what_changes_arithmetic() -> None:
    environment = {
        "CUPY_TF32": "1",
        "NVIDIA_TF32_OVERRIDE": "1",
        "CUPY_ACCELERATORS": "cub",
        "CUBLAS_EMULATE_SINGLE_PRECISION": "1",
        "CUBLAS_EMULATION_STRATEGY": "eager",
        "CUBLAS_WORKSPACE_CONFIG": ":0:0",
        "HOME": "/home/x",
    }
    cuda_card.scrub_environment(environment)
    assert environment == {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "HOME": "/home/x",
    }


def test_mend_repairs_rows_and_only_those() -> None:
    left, right = (cuda_matrices.whole_numbers(32, 32, seed, 5) for seed in (1, 2))
    true = left.astype(np.float32) @ right.astype(np.float32)
    answer = true.copy()
    answer[3, 4], answer[9, :] = np.nan, 0
    proof = cuda_matrices.mend(left, right, answer, 1)
    assert (proof.elements, proof.wrong) == (32 * 32, 1 + np.count_nonzero(true[9, :]))
    assert (proof.first_wrong[0].word, proof.first_wrong[0].sm) == (3 + 4 * 32, -1)
    assert cuda_matrices.mend(left, right, answer, 1) == contract.Compared(32 * 32, 0, ())
    assert np.array_equal(answer, true)


def test_a_product_that_was_wrong_only_once_is_not_forgiven_with_its_reference(
    gpu: CudaBackend, fake: FakeCuda
) -> None:
    before = fake.products
    gpu.matrices(DType.FP32, SIZE, 3, exact=True).free()
    reference = fake.products - before - 1  # the last product that preparing made
    fake.wrong_products[fake.products + reference] = 9
    product = gpu.matrices(DType.FP32, SIZE, 3, exact=True).run(2, check=True)
    assert (product.wrong, product.first_wrong[0].word) == (1, 9)


SHORT = replace(PROFILES["quick"], guarded=(phases.random(1),), peeks=20)
EVERY_KIND = replace(
    SHORT,
    after=(
        *PROFILES["quick"].after,
        phases.backgrounds(1),
        phases.walking(1),
        phases.moving(),
        phases.soak(0.01),
        phases.heated(2),
        phases.fading(0.01),
        phases.dip(0.01),
        phases.stare(1),
    ),
)


def scanned(gpu: CudaBackend, profile: Profile) -> Scan:
    return scan(gpu, profile, 5, lambda: 0.0, lambda *_: None, lambda _: None)


@pytest.fixture
def little(fake: FakeCuda) -> FakeCuda:
    """So little memory that all of it is soon scanned."""
    fake.left -= 8 * MIB
    return fake


def test_every_phase_of_the_scan_proves_what_it_compared(
    little: FakeCuda, gpu: CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "HOT_BURN_S", 0.01)
    done = scanned(gpu, EVERY_KIND)
    assert done.wrong_words == 0
    assert done.books.words_compared == done.books.words_expected > 0
    assert done.self_test.planted == done.self_test.found > 60


def test_the_scan_names_a_stuck_cell_below_the_loads(little: FakeCuda, gpu: CudaBackend) -> None:
    regions = gpu.reserve(0)
    little.built["memory_scan"].plant(regions[0].handle + 8 * 50_000, set_bits=1 << 40, keep=(1 << 64) - 1)
    gpu.release(regions)
    done = scanned(gpu, SHORT)
    assert {(one.expected ^ one.actual, one.kind) for one in done.located} == {(1 << 40, "hard")}


@pytest.mark.parametrize("ill", ["", "memory", "product", "reference"])
def test_memory_and_products_are_checked_beside_each_other(
    little: FakeCuda, gpu: CudaBackend, ill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeps leave room on every SM, and what is wrong on one side is not wrong on the other."""
    monkeypatch.setattr(under_load, "SIZE", SIZE)
    reserve = gpu.reserve

    def taken(headroom: int) -> tuple[Region, ...]:
        regions = reserve(headroom)
        if ill == "memory":
            little.built["memory_scan"].plant(regions[0].handle + 8 * 5000, set_bits=1 << 40, keep=(1 << 64) - 1)
        return regions

    monkeypatch.setattr(gpu, "reserve", taken)
    first = little.products + {"product": 4, "reference": 2}.get(ill, 10**6)  # after two that find the panel
    little.wrong_products = dict.fromkeys(range(first, first + (6 if ill == "product" else 1)), 5)
    done = under_load.compare_under_load(gpu, DType.FP32, 3, lambda: 0.0, lambda *_: None, lambda _: None)
    assert (done.books.wrong_words > 0, done.wrong > 0) == (ill == "memory", ill in ("product", "reference"))
    assert done.books.words_compared > 0
    assert done.elements >= SIZE * SIZE
    beside = {blocks for name, blocks, _ in little.launched if name == "memory_verify"}
    assert beside == {2, 2 * kernels.BLOCKS_PER_SM}


def test_everything_with_a_known_answer_is_asked_at_once(
    little: FakeCuda, gpu: CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for copies while the memory is held, and each sort of trouble is told as what it is."""
    monkeypatch.setattr(asking, "SIZE", SIZE)
    monkeypatch.setattr(asking, "COPY_BYTES", 1 << 16)
    monkeypatch.setattr("gpucert.stress.answers.STEPS", 64)
    monkeypatch.setattr("gpucert.stress.answers.signatures", _with_steps(64))
    words, values = list[Located](), list[str]()
    with asking.prepared(gpu, 3, asking.Ears(words.append, lambda _wrong, phase: values.append(phase))) as questions:
        done, region = questions.done, questions._sweeper.regions[0]
        questions.ask("cycle 1, cool", everywhere=True)
        assert (done.found, words, values) == (0, [], [])
        little.built["memory_scan"].plant(region.handle + 8 * 5000, set_bits=1 << 40, keep=(1 << 64) - 1)
        little.wrong_products[little.products] = 5
        little.built["sm_answers"].set_sms(2, wrong=1)
        questions.ask("cycle 1, hot", everywhere=False)
    assert {(one.kind, one.phase) for one in words} == {("hard", "cycle 1, hot")}
    assert {"int32, cycle 1, hot", "bf16 in cycle 1, hot"} <= set(values)
    assert (done.wrong, 1 in done.sms_wrong, done.copied_wrong) == (1, True, 0)
    assert done.books.words_compared == done.books.words_expected > 0
    assert {len(sms) for sms in done.reached.values()} == {2}
    assert done.copied == 2 * 2 * (1 << 13)


def test_an_allocation_that_fails_half_way_is_memory_that_was_not_covered(
    little: FakeCuda, gpu: CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver says that memory is free and does not give it: fragments, or a page that was retired meanwhile."""
    from cupy.cuda import runtime

    given = runtime.malloc

    def refuse(size: int) -> int:
        if little.left <= 2 * MIB:
            raise CUDARuntimeError(2)
        return int(given(size))

    monkeypatch.setattr(runtime, "malloc", refuse)
    done = scanned(gpu, replace(SHORT, guarded=()))
    assert 0 < done.coverage_percent < 25
    assert done.books.words_compared == done.books.words_expected > 0


def test_a_card_without_free_memory_is_told_in_words(little: FakeCuda, gpu: CudaBackend) -> None:
    little.left = MIB
    with pytest.raises(contract.OutOfMemoryError, match="1 MiB are free, too few to test any"):
        scanned(gpu, SHORT)


def test_the_scan_is_no_pass_with_a_compare_that_does_nothing(little: FakeCuda, gpu: CudaBackend) -> None:
    little.silent.add("memory_verify")
    done = scanned(gpu, SHORT)
    assert done.self_test.found < done.self_test.planted
    assert done.books.words_compared == 0


def test_a_write_that_does_nothing_fails_the_self_test(little: FakeCuda, gpu: CudaBackend) -> None:
    little.silent.add("memory_write")
    tested = self_test(gpu, gpu.reserve(0), 5)
    assert tested.found < tested.planted
