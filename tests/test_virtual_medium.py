"""The virtual medium: where each fault acts, what ECC and L2 make of it, and what work costs."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucert.device.simulated import scenario
from gpucert.device.simulated.card import VirtualCard
from gpucert.device.simulated.medium import VirtualMedium
from gpucert.device.simulated.memory import WindowSizeError
from gpucert.stress.backend import (
    UNIT_OF,
    ArithmeticUnit,
    DeviceLostError,
    DType,
    UncorrectableEccError,
    UnitNotOfferedError,
)
from gpucert.stress.medium import Work
from tests.virtual import Bench, fault

A100 = "NVIDIA A100-SXM4-80GB"
RTX_3090 = "NVIDIA GeForce RTX 3090"
WORDS = 1 << 18
ALL_ONES = np.uint64(2**64 - 1)
ONE_READ = Work("memory", bytes_read=8 << 20)


def distinct(seed=1):
    return np.random.default_rng(seed).integers(0, 2**64, WORDS, dtype=np.uint64)


def wrong_places(stored, loaded):
    return list(np.nonzero(stored != loaded)[0])


# ---- counters ----


def test_counters_of_sms_differ_and_move_together():
    bench = Bench(A100, fault("tpc_missing", count=1), probe="sm_clock")
    assert bench.medium.properties().sm_count == 106
    before = [bench.medium.counters(sm) for sm in range(106)]
    assert len({cycles for cycles, _ in before}) == 106
    bench.medium.spend(Work("arithmetic", flop=1e13, rate="fp32"))
    after = [bench.medium.counters(sm) for sm in range(106)]
    (moved,) = {(cycles - began, ns - began_ns) for (began, began_ns), (cycles, ns) in zip(before, after, strict=True)}
    assert 1000 * moved[0] / moved[1] == pytest.approx(bench.card.sample(0.0).sm_clock_mhz, rel=1e-3)
    assert moved[1] % bench.medium.timer_step_ns == 0


# ---- memory ----


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 3000)), max_size=12), st.booleans())
def test_healthy_memory_holds_what_was_stored_last(writes, flush):
    bench = Bench(A100)
    mirror = np.zeros(8192, dtype=np.uint64)
    for number, (first, count) in enumerate(writes):
        words = distinct(number)[:count]
        mirror[first : first + count] = words
        bench.medium.store(first, words, number)
        if flush:
            bench.medium.flush()
    assert np.array_equal(bench.medium.load(0, len(mirror), 0), mirror)
    assert bench.card.counters().ecc_corrected_volatile == 0


def test_a_stuck_bit_shows_at_its_offset_where_the_data_disagrees():
    bench = Bench(RTX_3090, fault("stuck_bit", offset=40961, bit=3, value=1))
    zeros, ones = np.zeros(WORDS, np.uint64), np.full(WORDS, ALL_ONES)
    loaded = bench.again(zeros)
    assert wrong_places(zeros, loaded) == [40961 // 8]
    assert loaded[40961 // 8] == 1 << 3
    assert wrong_places(ones, bench.again(ones)) == []


@pytest.mark.parametrize(("direction", "fails_at"), [("up", 1), ("down", 2)])
def test_a_transition_fault_fails_in_its_direction_only(direction, fails_at):
    bench = Bench(RTX_3090, fault("transition", offset=800, bit=7, direction=f'"{direction}"'))
    zeros, ones = np.zeros(WORDS, np.uint64), np.full(WORDS, ALL_ONES)
    found = [wrong_places(words, bench.again(words)) for words in (zeros, ones, zeros)]
    assert found == [[100] if at == fails_at else [] for at in range(3)]


def test_an_alias_reaches_the_words_of_another_address():
    lines = "[[fault]]\nkind = 'alias'\nfrom = 8192\nto = 65536\nbytes = 4096"
    bench, words = Bench(A100, lines), distinct()
    loaded = bench.again(words)
    assert wrong_places(words, loaded) == list(range(1024, 1536))
    assert np.array_equal(loaded[1024:1536], words[8192 : 8192 + 512])
    assert bench.card.counters().ecc_uncorrected_volatile == 0


def test_memory_that_is_not_there_wraps():
    bench = Bench(A100, "vram_mib = 4", fault("fake_memory", real_mib=1))
    words = np.arange(3 * (1 << 17), dtype=np.uint64)
    loaded = bench.again(words)
    assert np.array_equal(loaded[: 1 << 17], words[2 << 17 :])
    assert np.array_equal(loaded[2 << 17 :], words[2 << 17 :])


@pytest.mark.parametrize("model", [A100, RTX_3090])
def test_a_fault_of_the_path_is_seen_on_any_card_and_moves_no_counter(model):
    bench = Bench(model, fault("stuck_bit", offset=800, bit=3, value=1, above_ecc="true"))
    zeros = np.zeros(WORDS, np.uint64)
    assert wrong_places(zeros, bench.again(zeros, flush=False)) == [100]
    assert bench.card.counters().ecc_corrected_volatile in (0, bench.card.counters().retired_sbe)


def test_a_path_that_cannot_rise_damages_what_is_stored():
    bench = Bench(A100, fault("transition", offset=800, bit=3, direction='"up"', above_ecc="true"))
    ones = np.full(WORDS, ALL_ONES)
    assert wrong_places(ones, bench.again(ones)) == [100]
    assert bench.card.counters().ecc_corrected_volatile == 0


# ---- ECC ----


def test_one_bad_bit_under_ecc_is_right_data_and_one_count_for_each_load():
    bench = Bench(A100, fault("stuck_bit", offset=40961, bit=3, value=1))
    zeros = np.zeros(WORDS, np.uint64)
    assert wrong_places(zeros, bench.again(zeros)) == []
    bench.medium.load(0, WORDS, 5)
    counts = bench.card.counters()
    assert (counts.ecc_corrected_volatile, counts.ecc_uncorrected_volatile) == (2, 0)
    ones = np.full(WORDS, ALL_ONES)
    bench.again(ones)
    assert bench.card.counters().ecc_corrected_volatile == 2
    assert bench.card.events() == ()


def test_two_bad_bits_in_a_word_kill_the_context_and_are_logged():
    two = [fault("stuck_bit", offset=800, bit=bit, value=1) for bit in (3, 44)]
    bench = Bench(A100, *two)
    with pytest.raises(UncorrectableEccError):
        bench.again(np.zeros(WORDS, np.uint64))
    with pytest.raises(UncorrectableEccError):
        bench.medium.spend(ONE_READ)
    counts = bench.card.counters()
    assert (counts.ecc_corrected_volatile, counts.ecc_uncorrected_volatile) == (0, 1)
    assert [event.code for event in bench.card.events()] == ["48"]


def test_two_bad_bits_in_two_words_are_corrected():
    two = [fault("stuck_bit", offset=offset, bit=3, value=1) for offset in (800, 808)]
    bench, zeros = Bench(A100, *two), np.zeros(WORDS, np.uint64)
    assert wrong_places(zeros, bench.again(zeros)) == []
    assert bench.card.counters().ecc_corrected_volatile == 2


def test_with_ecc_switched_off_the_same_bit_is_seen():
    bench = Bench(A100, "ecc = false", fault("stuck_bit", offset=800, bit=3, value=1))
    zeros = np.zeros(WORDS, np.uint64)
    assert wrong_places(zeros, bench.again(zeros)) == [100]


def test_a_timed_uncorrectable_error_kills_the_context_that_runs_and_not_the_next():
    bench = Bench(A100, fault("ecc_uncorrected", at_s=1))
    with pytest.raises(UncorrectableEccError):
        bench.medium.spend(Work("idle", seconds=5.0))
    with pytest.raises(UncorrectableEccError):
        bench.medium.load(0, 1, 0)
    described = scenario.parse(f'model = "{A100}"\n' + fault("ecc_uncorrected", at_s=1), "test")
    after = VirtualMedium(described, bench.memory, bench.card.advance, "gemm_exact", 0.0)
    assert len(after.load(0, 4, 0)) == 4


# ---- L2 ----


def test_the_l2_hides_a_bad_cell_until_it_is_flushed_or_pushed_out():
    bench = Bench(RTX_3090, fault("stuck_bit", offset=800, bit=3, value=1))
    few = np.zeros(8, np.uint64)
    assert wrong_places(few, bench.again(few, flush=False, first=96)) == []
    bench.medium.flush()
    assert wrong_places(few, bench.medium.load(96, 8, 0)) == [4]
    assert wrong_places(few, bench.again(few, flush=False, first=96)) == []
    bench.medium.load(50_000, WORDS // 2, 0)
    assert wrong_places(few, bench.medium.load(96, 8, 0)) == [4]


def test_a_sweep_over_the_whole_memory_needs_no_flush():
    last = scenario.parse(f'model = "{RTX_3090}"', "test").tested_bytes // 8 - 1
    bench = Bench(RTX_3090, fault("stuck_bit", offset=last * 8, bit=3, value=1))
    zeros = np.zeros(last + 1, np.uint64)
    assert wrong_places(zeros, bench.again(zeros, flush=False)) == [last]


# ---- arithmetic ----


def test_one_multiprocessor_errs_every_nth_answer_of_one_unit():
    bench = Bench(A100, fault("sm_arithmetic", sm=17, unit='"fp32"', every=10))
    right = np.ones(25, np.float32)
    for _ in range(2):
        assert wrong_places(right, bench.medium.compute(ArithmeticUnit.FP32, 16, right)) == []
        assert wrong_places(right, bench.medium.compute(ArithmeticUnit.FP64, 17, right)) == []
    found = [wrong_places(right, bench.medium.compute(ArithmeticUnit.FP32, 17, right)) for _ in range(3)]
    assert found == [[9, 19], [4, 14, 24], [9, 19]]
    assert np.array_equal(right, np.ones(25, np.float32))


def test_an_arithmetic_fault_can_wait_for_heat():
    bench = Bench(A100, fault("sm_arithmetic", sm=3, unit='"fp64"', above_c=45))
    right = np.arange(4, dtype=np.float64)
    assert bench.medium.compute(ArithmeticUnit.FP64, 3, right) is right
    bench.medium.spend(Work("arithmetic", flop=2e15, rate="fp32"))
    assert wrong_places(right, bench.medium.compute(ArithmeticUnit.FP64, 3, right)) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["sm_arithmetic", "wrong_every_time"])
@pytest.mark.parametrize("dtype", DType)
def test_an_arithmetic_fault_can_lie_in_one_type_of_products(kind, dtype):
    unit = UNIT_OF[dtype]
    where = {"sm": 3} if kind == "sm_arithmetic" else {}
    bench = Bench(A100, fault(kind, unit=f'"{unit}"', dtype=f'"{dtype}"', **where))
    right = np.arange(4, dtype=np.float64)
    wrong = {one for one in DType if bench.medium.compute(UNIT_OF[one], 3, right, one) is not right}
    assert wrong == {dtype}
    assert bench.medium.compute(unit, 3, right) is right


SECOND, MOMENT = (Work("arithmetic", flop=flop, rate="fp32") for flop in (1.6e13, 2.4e10))
"""On an A100 about 1 s and 1.5 ms."""


@pytest.mark.parametrize("hertz", [1, 3, 10, 100])
def test_a_fault_of_bursts_strikes_when_load_begins_after_a_rest(hertz):
    bench = Bench(A100, fault("sm_arithmetic", sm=3, unit='"fp32"', burst="true"))
    right = np.arange(4, dtype=np.float32)

    def wrong_before(work):
        wrong = bench.medium.compute(ArithmeticUnit.FP32, 3, right) is not right
        bench.medium.spend(work)
        return wrong

    assert not any([wrong_before(SECOND) for _ in range(5)] + [wrong_before(MOMENT)]), "a steady load"
    for _ in range(3):
        bench.medium.spend(Work("idle", seconds=0.5 / hertz))
        assert [wrong_before(MOMENT) for _ in range(4)] == [True, True, False, False]
    bench.medium.spend(Work("idle", seconds=0.001))
    assert not wrong_before(MOMENT), "too short a rest"
    bench.medium.spend(Work("idle", seconds=0.001))
    bench.medium.spend(Work("idle", seconds=0.001))
    assert [wrong_before(SECOND), wrong_before(SECOND)] == [True, False]


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, np.uint64, np.int32])
def test_a_unit_that_is_always_wrong_is_so_alike_everywhere(dtype):
    bench = Bench(A100, fault("wrong_every_time", unit='"tensor"'))
    right = np.arange(130).astype(dtype).reshape(13, 10)
    answers = [bench.medium.compute(ArithmeticUnit.TENSOR, sm, right) for sm in (0, 50, 50)]
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
    assert answers[0].shape == right.shape
    assert wrong_places(right.reshape(-1), answers[0].reshape(-1)) == [0, 64, 128]


def test_a_unit_that_the_model_has_not_is_refused():
    pascal = Bench("Tesla P100-PCIE-16GB")
    with pytest.raises(UnitNotOfferedError, match="P100"):
        pascal.medium.compute(ArithmeticUnit.TENSOR, 0, np.ones(1))
    with pytest.raises(UnitNotOfferedError):
        pascal.medium.spend(Work("arithmetic", flop=1e9, rate="bf16"))


# ---- work, time and ends ----


def test_a_touch_of_the_window_takes_what_the_whole_memory_would():
    read = Bench(A100).medium.spend(ONE_READ)
    assert read == pytest.approx(81920 * 2**20 / (2039e9 * 0.88), rel=0.02)
    slow = Bench(A100, fault("slow_memory", factor=0.8)).medium.spend(ONE_READ)
    assert read / slow == pytest.approx(0.8, rel=0.01)


def test_slow_arithmetic_is_slow_at_the_same_clock_and_only_in_its_unit():
    slowed = fault("slow_compute", unit='"tensor"', factor=0.8)
    for rate, factor in (("fp32", 1.0), *((one, 0.8) for one in ("tf32", "fp16", "bf16", "int8"))):
        work = Work("arithmetic", flop=1e13, rate=rate)
        healthy, faulty = Bench(A100).medium.spend(work), Bench(A100, slowed).medium.spend(work)
        assert healthy / faulty == pytest.approx(factor, rel=0.005)


def test_copies_over_the_link_are_not_scaled_and_follow_its_width():
    work = Work("pcie", bytes_written=1 << 30)
    wide, narrow = Bench(A100).medium.spend(work), Bench(A100, fault("pcie_width", width=4)).medium.spend(work)
    assert (1 << 30) / wide == pytest.approx(25.8e9, rel=0.02)
    assert narrow / wide == pytest.approx(4, rel=0.01)
    words = distinct()
    assert np.array_equal(Bench(A100).medium.transfer(words, "to_card"), words)


def test_idle_takes_its_seconds_and_time_is_the_cards():
    bench = Bench(A100)
    assert bench.medium.spend(Work("idle", seconds=7.25)) == 7.25
    assert bench.medium.now_s() == bench.card.now_s() == pytest.approx(7.25)
    assert bench.medium.spend(Work("memory")) == 0.0


def test_no_single_advance_is_longer_than_a_heartbeat_allows():
    described = scenario.parse(f'model = "{A100}"', "test")
    virtual, asked = VirtualCard(described), []

    def advance(seconds, load):
        asked.append(seconds)
        return virtual.advance(seconds, load)

    medium = VirtualMedium(described, bytearray(virtual.memory_bytes), advance, "x", 0.0)
    medium.spend(Work("idle", seconds=60))
    medium.spend(Work("arithmetic", flop=1e15, rate="fp32"))
    assert max(asked) <= 2.0
    assert virtual.now_s() > 100


def test_a_lost_card_serves_nothing():
    bench = Bench(A100, fault("lost", at_s=1))
    for use in (
        lambda: bench.medium.spend(Work("arithmetic", flop=1e18, rate="fp32")),
        lambda: bench.medium.load(0, 1, 0),
        lambda: bench.medium.store(0, np.zeros(1, np.uint64), 0),
        lambda: bench.medium.compute(ArithmeticUnit.FP32, 0, np.ones(1)),
        lambda: bench.medium.transfer(np.zeros(1, np.uint64), "to_host"),
        bench.medium.properties,
    ):
        with pytest.raises(DeviceLostError):
            use()
    assert bench.card.now_s() < 3.1


class ReachedError(Exception):
    """The hook was called."""


def reach():
    raise ReachedError


@pytest.mark.parametrize("kind", ["hang", "crash"])
def test_hang_and_crash_strike_under_work_of_their_probe_only(kind):
    lines = fault(kind, probe='"gemm_exact"')
    with pytest.raises(ReachedError):
        Bench(A100, lines, probe="gemm_exact", **{kind: reach}).medium.spend(ONE_READ)
    assert Bench(A100, lines, probe="memory_scan", **{kind: reach}).medium.spend(ONE_READ) > 0


def test_a_crash_ends_the_process_by_a_segmentation_fault():
    program = "from gpucert.device.simulated.medium import crash_hard; crash_hard()"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -11


def test_properties_are_those_of_the_chip_and_the_window():
    known = Bench(A100).medium.properties()
    assert (known.name, known.sm_count, known.bus_bits, known.l2_bytes) == (A100, 108, 5120, 40 << 20)
    assert known.total_bytes == 8 << 20
    assert 0.98 < known.free_bytes / known.total_bytes < 1
    shared = Bench(A100, fault("other_process", mib=4)).medium.properties()
    assert known.free_bytes - shared.free_bytes == 4 << 20
    fake = Bench(RTX_3090, fault("counterfeit", actual_model='"NVIDIA GeForce RTX 3080 10GB"')).medium.properties()
    assert (fake.name, fake.sm_count, fake.bus_bits) == (RTX_3090, 68, 320)


def test_memory_that_is_smaller_than_the_window_is_refused():
    described = scenario.parse(f'model = "{A100}"', "test")
    virtual = VirtualCard(described)
    with pytest.raises(WindowSizeError, match="window"):
        VirtualMedium(described, bytearray(1024), virtual.advance, "x", 0.0)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 2**31), st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_the_same_calls_give_the_same_data_and_samples(seed, calls):
    lines = [f"seed = {seed}", fault("sm_arithmetic", sm=2, unit='"fp32"', every=7)]
    lines += [fault("stuck_bit", offset=800, bit=3, value=1)]
    one, other = Bench(A100, *lines), Bench(A100, *lines)
    assert [use(one, call) for call in calls] == [use(other, call) for call in calls]
    assert one.card.drain() == other.card.drain()
    assert one.card.freeze() == other.card.freeze()
    assert one.memory == other.memory


def use(bench, call):
    words = distinct(call)[:2048]
    match call:
        case 0:
            return bench.again(words).tobytes()
        case 1:
            return bench.medium.spend(ONE_READ)
        case 2:
            return bench.medium.compute(ArithmeticUnit.FP32, 2, words.astype(np.float32)).tobytes()
        case 3:
            return bench.medium.spend(Work("arithmetic", flop=5e13, rate="fp16"))
        case _:
            return bench.medium.spend(Work("idle", seconds=0.7))
