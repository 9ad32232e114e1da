"""Each fault of a virtual card's memory: where it acts, when, in which order, and what ECC and L2 make of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucert.catalogue import shelf
from gpucert.device.simulated.memory import CardMemory
from gpucert.device.simulated.readout import channels_of
from gpucert.device.simulated.silicon import silicon
from gpucert.device.simulated.wire import Load
from gpucert.stress.backend import UncorrectableEccError
from gpucert.stress.medium import COPY_ENGINE, Work
from tests.virtual import Bench, fault

A100 = "NVIDIA A100-SXM4-80GB"
H100 = "NVIDIA H100 80GB HBM3"
RTX_3090 = "NVIDIA GeForce RTX 3090"
GTX_1080_TI = "NVIDIA GeForce GTX 1080 Ti"
P40 = "Tesla P40"
ALL = 2**64 - 1
WORDS = 1 << 16
TOUCH = Work("memory", bytes_read=16 << 20)


def zeros(count=WORDS):
    return np.zeros(count, np.uint64)


def ones(count=WORDS):
    return np.full(count, ALL, np.uint64)


def distinct(seed=1, count=WORDS):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def wrong_places(stored, loaded):
    return list(np.nonzero(stored != loaded)[0])


def errors(bench):
    counts = bench.card.counters()
    return counts.ecc_corrected_volatile, counts.ecc_uncorrected_volatile


# ---- neighbourhood ----


@pytest.mark.parametrize("held", [0b10, ALL ^ 0b10])
def test_a_crowded_cell_is_read_wrongly_only_among_opposite_neighbours(held):
    bench = Bench(RTX_3090, fault("neighbourhood", offset=800, bit=1, reach=4))
    bench.medium.store(100, np.array([held], np.uint64), 0)
    assert bench.read(100) == held ^ 0b10
    for other in (0, ALL, held ^ (1 << 5)):  # all alike; all alike; the last neighbour within reach
        bench.medium.store(100, np.array([other], np.uint64), 0)
        assert bench.read(100) == other
    bench.medium.store(100, np.array([held ^ (1 << 6)], np.uint64), 0)
    assert bench.read(100) == held ^ (1 << 6) ^ 0b10, "what is out of reach does not matter"


# ---- stripes ----


def striped(apart, words):
    """Words whose bits alternate in runs of `apart` bits."""
    bits = (np.arange(words * 64) // apart) % 2
    return np.packbits(bits.astype(np.uint8), bitorder="little").view(np.uint64)


@pytest.mark.parametrize("apart", [1, 2, 4, 16, 32, 64, 128, 256])
def test_a_striped_cell_is_read_wrongly_only_while_its_line_alternates(apart):
    bench = Bench(RTX_3090, fault("stripes", offset=800, bit=5, apart=apart))
    for pattern in (striped(apart, 200), ~striped(apart, 200)):
        bench.medium.store(0, pattern, 0)
        assert wrong_places(pattern, bench.again(pattern)) == [100]
    for other in (zeros(200), ones(200), striped(2 * apart, 200)):
        assert wrong_places(other, bench.again(other)) == []
    broken = striped(apart, 200)
    place = 100 * 64 + 5 + 3 * apart
    broken[place // 64] ^= np.uint64(1 << place % 64)
    assert wrong_places(broken, bench.again(broken)) == [], "the third neighbour must alternate as well"


def test_the_edge_of_the_memory_is_no_neighbour():
    bench = Bench(RTX_3090, fault("stripes", offset=0, bit=0, apart=64))
    pattern = striped(64, 200)
    assert wrong_places(pattern, bench.again(pattern)) == [0]


# ---- copy_engine ----


def test_an_engine_for_copies_damages_what_it_copies_and_nothing_else():
    bench = Bench(RTX_3090, fault("copy_engine", bit=9, every=1000))
    stored = distinct()
    assert wrong_places(stored, bench.again(stored)) == []
    copied = bench.medium.load(500, 2000, COPY_ENGINE)
    assert wrong_places(stored[500:2500], copied) == [500, 1500]
    assert set(stored[500:2500][[500, 1500]] ^ copied[[500, 1500]]) == {1 << 9}
    assert wrong_places(stored, bench.medium.load(0, WORDS, 0)) == []


# ---- coupling ----

COUPLED = fault("coupling", aggressor=800, victim=1600, bit=5)
BACK = fault("coupling", aggressor=1600, victim=800, bit=5)


def test_so_many_changes_in_a_row_are_needed_and_a_store_to_the_victim_begins_anew():
    bench = Bench(RTX_3090, fault("coupling", aggressor=800, victim=1600, bit=5, changes=3))

    def change(times):
        for _ in range(times):
            bench.medium.store(100, ~bench.medium.load(100, 1, 0), 0)
        return bench.read(200)

    bench.medium.store(200, zeros(1), 0)
    assert [change(2), change(1), change(2), change(1)] == [0, 1 << 5, 1 << 5, 0]
    assert change(2) == 0
    bench.medium.store(200, zeros(1), 0)
    assert [change(2), change(1)] == [0, 1 << 5]


def test_a_cell_that_changes_inverts_its_victim_and_one_that_stays_does_not():
    bench = Bench(RTX_3090, COUPLED)
    bench.medium.store(200, zeros(1), 0)
    bench.medium.store(100, ones(1), 0)
    assert bench.read(200) == 1 << 5
    bench.medium.store(100, ones(1), 0)
    assert bench.read(200) == 1 << 5
    bench.medium.store(100, np.array([ALL ^ (1 << 5)], np.uint64), 0)
    assert bench.read(200) == 0
    assert bench.read(100) == ALL ^ (1 << 5)


def test_changes_of_other_bits_do_no_harm():
    bench = Bench(RTX_3090, COUPLED)
    bench.medium.store(100, np.array([ALL ^ (1 << 5)], np.uint64), 0)
    assert bench.read(200) == 0


@pytest.mark.parametrize(("lines", "victim"), [(COUPLED, 200), (BACK, 100)])
@pytest.mark.parametrize("descending", [False, True])
def test_a_victim_that_is_stored_later_is_cured_and_one_that_was_stored_before_is_damaged(lines, victim, descending):
    bench, words = Bench(RTX_3090, lines), ones()
    stored_later = (victim == 200) != descending
    loaded = bench.again(words, descending=descending)
    assert wrong_places(words, loaded) == ([] if stored_later else [victim])


def test_what_was_left_alone_does_not_couple_and_is_not_cured():
    bench = Bench(RTX_3090, COUPLED)
    keep = zeros(200)
    keep[0] = ALL
    bench.medium.store(100, ones(200), 0, keep=keep)
    assert bench.read(200) == ALL
    bench = Bench(RTX_3090, COUPLED)
    keep = zeros(200)
    keep[100] = 1 << 5
    bench.medium.store(100, ones(200), 0, keep=keep)
    assert bench.read(200) == ALL  # the bit was 0, was inverted by the aggressor before it, and then left alone


def test_coupling_acts_below_ecc():
    bench = Bench(A100, COUPLED)
    bench.medium.store(200, zeros(1), 0)
    bench.medium.store(100, ones(1), 0)
    assert bench.read(200) == 0
    assert errors(bench) == (1, 0)


def test_the_l2_still_has_what_the_victim_was_stored_as():
    bench = Bench(RTX_3090, COUPLED)
    bench.medium.store(200, zeros(1), 0)
    bench.medium.store(100, ones(1), 0)
    assert int(bench.medium.load(200, 1, 0)[0]) == 0
    assert bench.read(200) == 1 << 5


def test_a_stuck_victim_stays_what_it_is_and_a_stuck_aggressor_never_changes():
    bench = Bench(RTX_3090, COUPLED, fault("stuck_bit", offset=1600, bit=5, value=0))
    bench.medium.store(100, ones(1), 0)
    assert bench.read(200) == 0
    bench = Bench(RTX_3090, COUPLED, fault("stuck_bit", offset=800, bit=5, value=0))
    bench.medium.store(100, ones(1), 0)
    assert bench.read(200) == 0


# ---- all faults of storing against a plain model that stores one word after the other ----

FEW = 12
BIT = st.integers(0, 2)
WORD = st.integers(0, FEW - 1)
PAIR = st.tuples(WORD, WORD).filter(lambda pair: pair[0] != pair[1])
STUCK = st.tuples(st.just("stuck"), WORD, BIT, st.integers(0, 1))
TURNING = st.tuples(st.just("turn"), WORD, BIT, st.sampled_from(["up", "down"]))
COUPLING = st.tuples(st.just("couple"), PAIR, BIT, st.just(""))
VALUE = st.integers(0, 7)
STORE = st.tuples(
    WORD, st.lists(st.tuples(VALUE, st.sampled_from([0, 0, 1, 6, ALL])), min_size=1, max_size=FEW), st.booleans(),
    st.booleans(),
)  # fmt: skip


class Plain:
    """The same memory, stored word by word in order."""

    def __init__(self, faults):
        self.faults = faults
        self.meant = [0] * FEW
        self.cells = [self.held(word, 0, 0) for word in range(FEW)]

    def held(self, word, before, value):
        for kind, where, bit, what in self.faults:
            if where != word:
                continue
            mask = 1 << bit
            if kind == "stuck":
                value = value | mask if what else value & ~mask
            elif kind == "turn" and (before ^ value) & mask and (value & mask != 0) == (what == "up"):
                value = value ^ mask
        return value

    def store(self, first, values, keeps, descending):
        order = list(range(len(values)))
        for at in reversed(order) if descending else order:
            word, keep = first + at, keeps[at]
            before = self.cells[word]
            self.meant[word] = values[at] & ~keep | self.meant[word] & keep
            if keep == ALL:
                continue
            self.cells[word] = self.held(word, before, values[at] & ~keep | before & keep)
            for kind, where, bit, _ in self.faults:
                if kind == "couple" and where[0] == word and (self.cells[word] ^ before) >> bit & 1:
                    hit = self.cells[where[1]] ^ (1 << bit)
                    self.cells[where[1]] = self.held(where[1], hit, hit)


def written(kind, where, bit, what):
    if kind == "stuck":
        return fault("stuck_bit", offset=8 * where, bit=bit, value=what)
    if kind == "turn":
        return fault("transition", offset=8 * where, bit=bit, direction=f'"{what}"')
    return fault("coupling", aggressor=8 * where[0], victim=8 * where[1], bit=bit)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.one_of(STUCK, TURNING, COUPLING), max_size=5, unique_by=lambda one: one[1:3]),
    st.lists(STORE, max_size=8),
)
def test_faults_of_storing_combine_as_in_a_memory_that_stores_word_by_word(faults, stores):
    bare, checked = (Bench(model, *(written(*one) for one in faults)) for model in (RTX_3090, A100))
    plain = Plain([*faults])
    for first, values, partly, descending in stores:
        values = values[: FEW - first]
        keeps = [keep if partly else 0 for _, keep in values]
        words = np.array([value for value, _ in values], np.uint64)
        keep = np.array(keeps, np.uint64) if partly else None
        for bench in (bare, checked):
            bench.medium.store(first, words, 0, descending=descending, keep=keep)
        plain.store(first, [value for value, _ in values], keeps, descending)
    bare.medium.flush()
    assert list(bare.medium.load(0, FEW, 0)) == plain.cells
    flips = [(cell ^ meant).bit_count() for cell, meant in zip(plain.cells, plain.meant, strict=True)]
    checked.medium.flush()
    if max(flips) > 1:
        with pytest.raises(UncorrectableEccError):
            checked.medium.load(0, FEW, 0)
    else:
        assert list(checked.medium.load(0, FEW, 0)) == plain.meant
    assert errors(checked) == (flips.count(1), sum(flip > 1 for flip in flips))


# ---- intermittent ----


def intermittent(probability, offset=800, bit=9):
    return fault("intermittent", offset=offset, bit=bit, probability=probability)


def test_a_weak_read_comes_now_and_then_and_the_cell_keeps_its_value():
    bench = Bench(RTX_3090, intermittent(0.25))
    bench.medium.store(0, zeros(256), 0)
    bench.medium.flush()
    read = [bench.medium.load(0, 256, 0) for _ in range(400)]
    assert {int(words[100]) for words in read} == {0, 1 << 9}
    assert 60 < sum(int(words[100]) != 0 for words in read) < 140  # 100 ± 8.7, four standard deviations
    assert all(wrong_places(words, zeros(256)) in ([], [100]) for words in read)
    assert int(np.frombuffer(bench.memory, np.uint64)[100]) == 0


def test_a_weak_read_is_the_same_in_every_run_and_follows_the_seed():
    def run(seed):
        bench = Bench(RTX_3090, f"seed = {seed}", intermittent(0.5))
        return [int(bench.medium.load(100, 1, 0)[0]) for _ in range(64)]

    assert run(1) == run(1) != run(2)


def test_a_weak_read_does_not_reach_what_the_l2_holds():
    bench = Bench(RTX_3090, intermittent(1.0))
    bench.medium.store(96, zeros(8), 0)
    assert wrong_places(bench.medium.load(96, 8, 0), zeros(8)) == []
    bench.medium.flush()
    assert wrong_places(bench.medium.load(96, 8, 0), zeros(8)) == [4]


def test_ecc_has_nothing_to_do_for_what_the_l2_holds():
    bench = Bench(A100, intermittent(1.0), fault("stuck_bit", offset=808, bit=1, value=1), dq(5, 1))
    bench.again(zeros(64), flush=False, first=80)
    assert errors(bench) == (0, 0)


def test_a_weak_read_is_corrected_and_two_in_a_word_are_not():
    bench = Bench(A100, intermittent(1.0))
    assert wrong_places(bench.again(zeros()), zeros()) == []
    assert errors(bench) == (1, 0)
    bench = Bench(A100, intermittent(1.0), intermittent(1.0, bit=10))
    with pytest.raises(UncorrectableEccError):
        bench.again(zeros())
    assert errors(bench) == (0, 1)


def test_a_weak_read_of_a_stuck_cell_can_be_right_by_chance():
    bench = Bench(RTX_3090, intermittent(1.0), fault("stuck_bit", offset=800, bit=9, value=1))
    assert wrong_places(bench.again(zeros()), zeros()) == []
    assert wrong_places(bench.again(ones()), ones()) == [100]


def test_a_weak_cell_that_errs_only_while_warm_is_right_in_the_cool():
    bench = Bench(RTX_3090, fault("intermittent", offset=800, bit=9, probability=1.0, above_c=75))
    bench.medium.store(0, ones(), 0)
    assert bench.read(100) == ALL
    bench.medium.spend(Work("arithmetic", flop=6e15, rate="fp32"))
    assert bench.read(100) == ALL ^ (1 << 9)
    rest(bench, 120)
    assert bench.read(100) == ALL


# ---- retention and lost refresh ----


def leaking(hold_ms=20, above_c=None, offset=800, bit=3):
    warm = {} if above_c is None else {"above_c": above_c}
    return fault("retention", offset=offset, bit=bit, hold_ms=hold_ms, **warm)


def rest(bench, seconds):
    bench.medium.spend(Work("idle", seconds=seconds))


def test_a_leaking_cell_falls_to_zero_when_it_is_left_alone_for_too_long():
    bench = Bench(RTX_3090, leaking())
    bench.medium.store(0, ones(), 0)
    rest(bench, 0.019)
    assert bench.read(100) == ALL
    rest(bench, 0.019)
    assert bench.read(100) == ALL  # because the load renewed its charge
    rest(bench, 0.021)
    assert bench.read(100) == ALL ^ (1 << 3)
    assert wrong_places(bench.medium.load(0, WORDS, 0), ones()) == [100]
    bench.medium.store(100, ones(1), 0)
    assert bench.read(100) == ALL


def test_a_load_from_the_l2_renews_no_charge_and_is_right():
    bench = Bench(RTX_3090, leaking())
    bench.medium.store(96, ones(8), 0)
    rest(bench, 0.015)
    assert int(bench.medium.load(100, 1, 0)[0]) == ALL
    rest(bench, 0.015)
    assert int(bench.medium.load(100, 1, 0)[0]) == ALL
    assert bench.read(100) == ALL ^ (1 << 3)


def test_a_leaking_cell_loses_nothing_of_a_zero():
    bench = Bench(RTX_3090, leaking())
    bench.medium.store(0, zeros(), 0)
    rest(bench, 1)
    assert bench.read(100) == 0


def test_a_leak_follows_the_heat_of_the_memory():
    bench = Bench(RTX_3090, leaking(above_c=75))
    bench.medium.store(0, ones(), 0)
    rest(bench, 5)
    assert bench.read(100) == ALL
    bench.medium.spend(Work("arithmetic", flop=6e15, rate="fp32"))
    assert bench.card.advance(0.0, Load()).memory_temperature_c > 75
    assert bench.read(100) == ALL ^ (1 << 3)
    bench.medium.store(0, ones(), 0)
    rest(bench, 120)
    assert bench.card.advance(0.0, Load()).memory_temperature_c < 75
    bench.medium.store(0, ones(), 0)
    rest(bench, 5)
    assert bench.read(100) == ALL


def test_memory_is_warmer_than_the_die_and_warmest_under_its_own_load():
    bench = Bench(RTX_3090)
    bench.medium.spend(Work("memory", bytes_read=16 << 32))
    now = bench.card.advance(0.0, Load())
    assert 5 < now.memory_temperature_c - now.temperature_c < 15


def test_time_in_the_cool_does_not_count_against_a_leaking_cell():
    described, buffer = Bench(RTX_3090, leaking(above_c=75)).scenario, bytearray(16 << 20)
    memory = CardMemory(described, silicon(described), buffer)
    memory.store(100, ones(1))
    whole = []
    for at_s, memory_c in ((5, 20.0), (5.015, 80.0), (5.021, 80.0)):
        memory.passed(at_s, memory_c, idle=False)
        whole.append(int(np.frombuffer(buffer, np.uint64)[100]) == ALL)
    assert whole == [True, True, False]


def test_a_leak_acts_below_ecc():
    bench = Bench(A100, leaking())
    bench.medium.store(0, ones(), 0)
    rest(bench, 0.1)
    assert bench.read(100) == ALL
    assert bench.read(100) == ALL
    assert errors(bench) == (2, 0)
    bench.medium.store(100, ones(1), 0)
    assert bench.read(100) == ALL
    assert errors(bench) == (2, 0)


def test_a_stuck_cell_cannot_leak():
    bench = Bench(RTX_3090, leaking(), fault("stuck_bit", offset=800, bit=3, value=1))
    bench.medium.store(0, ones(), 0)
    rest(bench, 1)
    assert bench.read(100) == ALL


LOST = fault("refresh_lost", offset=4096, bytes=2048, seconds=3)
RANGE = list(range(512, 768))


def test_words_that_are_not_refreshed_read_zero_when_they_were_left_alone():
    bench = Bench(RTX_3090, LOST)
    bench.medium.store(0, ones(), 0)
    rest(bench, 2)
    bench.medium.flush()
    bench.medium.load(600, 8, 0)
    rest(bench, 2)
    bench.medium.flush()
    loaded = bench.medium.load(0, WORDS, 0)
    assert wrong_places(loaded, ones()) == [word for word in RANGE if not 600 <= word < 608]
    assert not loaded[512:600].any()
    bench.medium.store(0, ones(), 0)
    bench.medium.flush()
    assert wrong_places(bench.medium.load(0, WORDS, 0), ones()) == []


def test_words_that_were_wholly_left_alone_by_a_store_are_not_renewed():
    bench = Bench(RTX_3090, LOST)
    bench.medium.store(0, ones(), 0)
    rest(bench, 2)
    keep = np.zeros(256, np.uint64)
    keep[:100], keep[100:200] = ALL, 1
    bench.medium.store(512, ones(256), 0, keep=keep)
    rest(bench, 2)
    bench.medium.flush()
    assert wrong_places(bench.medium.load(0, WORDS, 0), ones()) == RANGE[:100]


def test_a_refresh_that_only_the_memory_itself_loses_is_lost_on_an_idle_card_alone():
    bench = Bench(RTX_3090, fault("refresh_lost", offset=4096, bytes=2048, seconds=3, idle="true"))
    bench.medium.store(0, ones(), 0)
    for _ in range(5):
        bench.medium.spend(Work("arithmetic", flop=6e13, rate="fp32"))
        rest(bench, 2)
    assert wrong_places(bench.medium.load(0, WORDS, 0), ones()) == []
    rest(bench, 4)
    assert wrong_places(bench.again(ones(256), first=2048), ones(256)) == []
    assert wrong_places(bench.medium.load(0, WORDS, 0), ones()) == RANGE


def test_a_refresh_that_is_lost_in_the_heat_comes_in_the_cool():
    bench = Bench(RTX_3090, fault("refresh_lost", offset=4096, bytes=2048, seconds=3, above_c=75))
    bench.medium.store(0, ones(), 0)
    rest(bench, 10)
    assert wrong_places(bench.again(ones()), ones()) == []
    bench.medium.spend(Work("arithmetic", flop=6e15, rate="fp32"))
    assert wrong_places(bench.medium.load(0, WORDS, 0), ones()) == RANGE


def test_lost_refresh_under_ecc_is_as_bad_as_the_bits_that_were_set():
    bench = Bench(A100, LOST)
    words = zeros()
    words[512:768] = np.uint64(1) << (np.arange(256, dtype=np.uint64) % np.uint64(64))
    bench.medium.store(0, words, 0)
    rest(bench, 4)
    bench.medium.flush()
    assert wrong_places(bench.medium.load(0, WORDS, 0), words) == []
    assert errors(bench) == (256, 0)
    bench.medium.store(0, ones(), 0)
    rest(bench, 4)
    bench.medium.flush()
    with pytest.raises(UncorrectableEccError):
        bench.medium.load(0, WORDS, 0)


# ---- data wires ----


def dq(line, value, probability=1.0):
    return fault("dq", line=line, value=value, probability=probability)


@pytest.mark.parametrize(
    ("model", "stride", "channels"),
    [(A100, 64, 80), (H100, 64, 80), (GTX_1080_TI, 32, 11), (P40, 32, 12), ("NVIDIA L4", 16, 12), (RTX_3090, 16, 24)],
)
def test_a_channel_is_as_wide_as_its_memory_has_it(model, stride, channels):
    memory = shelf.get(model).memory
    assert (memory.channel_bits, memory.channels) == (stride, channels)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 31), st.integers(0, 1), st.integers(0, 2**31), st.integers(0, 9000), st.integers(1, 9000))
def test_a_bad_wire_touches_exactly_its_lanes_in_exactly_one_channel(line, value, seed, first, count):
    bench = Bench(GTX_1080_TI, f"seed = {seed}", dq(line, value))
    words = distinct(seed, 1 << 15)
    loaded = bench.again(words)
    lanes = [line + 32 * beat for beat in range(8)]  # of the 256 of a sector
    sectors = np.unpackbits((words ^ loaded).view(np.uint8), bitorder="little").reshape(-1, 256)
    was = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(-1, 256)
    assert set(np.nonzero(sectors.any(axis=0))[0]) == set(lanes)
    hit = sectors.any(axis=1)
    expected = np.zeros_like(sectors)
    expected[np.ix_(hit, lanes)] = was[np.ix_(hit, lanes)] != value
    spread = np.repeat(channels_of(0, len(hit) // 8, 11), 8)
    (channel,) = set(spread[hit].tolist())
    untouched = (spread == channel) & ~hit
    assert not (was[np.ix_(untouched, lanes)] != value).any()
    assert np.array_equal(sectors, expected)
    assert np.array_equal(bench.medium.load(first, count, 0), loaded[first : first + count])


@pytest.mark.parametrize(("model", "channels"), [(RTX_3090, 24), (A100, 80)])
def test_channels_share_the_memory_evenly_in_pieces_that_no_stride_meets_alone(model, channels):
    spread = channels_of(0, 1 << 16, channels)
    shares = np.bincount(spread.astype(int), minlength=channels) * channels / len(spread)
    assert len(shares) == channels
    assert 0.85 < shares.min() <= shares.max() < 1.15
    assert all(len(set(spread[::stride].tolist())) == channels for stride in (2, 8, channels))


def test_a_wire_that_errs_now_and_then_errs_in_single_beats():
    bench = Bench(RTX_3090, dq(3, 1, 0.1))
    loaded = bench.again(zeros(1 << 18))
    carried = int((channels_of(0, 1 << 13, 24) == channel_of(loaded)).sum()) * 32 * 4
    bits = int(np.unpackbits(loaded.view(np.uint8)).sum())
    assert bits == pytest.approx(0.1 * carried, rel=0.05)
    assert not np.array_equal(bench.medium.load(0, len(loaded), 0), loaded)


def test_two_bad_wires_of_one_card_lie_in_channels_of_their_own():
    """Ten cards, because two draws of 80 fall together on one card in eighty."""
    channels = set()
    for seed in range(10):
        first, second = (
            Bench(A100, "ecc = false", f"seed = {seed}", *lines).again(zeros())
            for lines in ((dq(5, 1),), (dq(6, 1, 1e-9), dq(5, 1)))
        )
        channels.add((hbm_channel_of(first), hbm_channel_of(second)))
    assert sum(one != other for one, other in channels) >= 8


def channel_of(loaded):
    (channel,) = set(channels_of(0, len(loaded) // 32, 24)[np.nonzero(loaded)[0] // 32].tolist())
    return channel


def test_a_wire_of_hbm_is_corrected_and_a_wire_of_gddr_is_not():
    bench = Bench(A100, dq(17, 1))
    assert wrong_places(bench.again(zeros(1 << 14)), zeros(1 << 14)) == []
    corrected, uncorrected = errors(bench)
    assert corrected > 0
    assert corrected % 32 == uncorrected == 0
    bench = Bench("NVIDIA L4", dq(5, 1))
    with pytest.raises(UncorrectableEccError):
        bench.again(zeros(1 << 14))


def test_a_wire_and_a_cell_in_one_word_are_two_wrong_bits():
    wire = Bench(RTX_3090, dq(5, 1))
    word = int(np.nonzero(wire.again(zeros()))[0][40])
    both = Bench(RTX_3090, dq(5, 1), fault("stuck_bit", offset=8 * word, bit=6, value=1))
    assert int(both.again(zeros())[word]) == 0x0020002000200020 | 1 << 6
    hbm = Bench(A100, dq(5, 1))
    hbm.again(zeros())
    hit = next(block * 32 for block in range(1 << 11) if channels_of(block, 1, 80)[0] == hbm_channel())
    with pytest.raises(UncorrectableEccError):
        Bench(A100, dq(5, 1), fault("stuck_bit", offset=8 * hit, bit=6, value=1)).again(zeros())


def hbm_channel():
    return hbm_channel_of(Bench(A100, "ecc = false", dq(5, 1)).again(zeros()))


def hbm_channel_of(loaded):
    (channel,) = set(channels_of(0, WORDS // 32, 80)[np.nonzero(loaded)[0] // 32].tolist())
    return channel


def test_a_wire_harms_nothing_that_the_l2_holds_and_nothing_that_is_stored():
    bench = Bench(RTX_3090, dq(5, 1))
    few = zeros(64 * 24)
    assert not bench.again(few, flush=False)[-64:].any()
    assert bench.again(few).any()
    assert not np.frombuffer(bench.memory, np.uint64).any()


def test_a_wire_that_is_right_by_chance_moves_no_counter():
    bench = Bench(A100, dq(17, 1))
    bench.again(ones(1 << 14))
    assert errors(bench) == (0, 0)


# ---- all of them at once ----


def test_faults_of_five_kinds_in_one_word_add_up():
    bits = {"stuck": 1, "weak": 2, "leak": 4, "hit": 8}
    lines = [
        fault("stuck_bit", offset=800, bit=0, value=1),
        intermittent(1.0, bit=1),
        leaking(bit=2),
        fault("coupling", aggressor=8000, victim=800, bit=3),
    ]

    def meet(model, *extra):
        bench = Bench(model, *lines, *extra)
        bench.medium.store(100, np.array([bits["leak"]], np.uint64), 0)
        rest(bench, 0.1)
        bench.medium.store(1000, ones(1), 0)
        return bench

    assert meet(RTX_3090).read(100) == bits["stuck"] | bits["weak"] | bits["hit"]
    assert meet(RTX_3090, fault("refresh_lost", offset=800, bytes=8, seconds=0.05)).read(100) == 1 | 2 | 8
    with pytest.raises(UncorrectableEccError):
        meet(A100).read(100)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 3000), st.booleans()), max_size=10), st.booleans())
def test_words_without_a_fault_hold_what_was_stored_whatever_is_wrong_elsewhere(writes, flush):
    far = 8 * 20_000
    lines = [
        fault("coupling", aggressor=far, victim=far + 80, bit=1),
        intermittent(0.5, offset=far),
        leaking(offset=far),
        fault("refresh_lost", offset=far, bytes=800, seconds=1),
    ]
    bench = Bench(A100, *lines)
    mirror = zeros(8192)
    for number, (first, count, descending) in enumerate(writes):
        words = distinct(number, count)
        mirror[first : first + count] = words
        bench.medium.store(first, words, 0, descending=descending)
        rest(bench, 0.5)
        if flush:
            bench.medium.flush()
    assert np.array_equal(bench.medium.load(0, len(mirror), 0), mirror)
    assert errors(bench) == (0, 0)


# ---- speed, size, counters and Xids ----


def test_repeated_transfers_cost_bandwidth_while_the_memory_is_warm():
    plain = Bench(RTX_3090).medium.spend(TOUCH)
    assert plain / Bench(RTX_3090, fault("edr_replay", per_second=2e5)).medium.spend(TOUCH) == pytest.approx(0.8)
    assert plain / Bench(RTX_3090, fault("edr_replay", per_second=9e6)).medium.spend(TOUCH) == pytest.approx(0.5)
    cool, warm = (Bench(RTX_3090, fault("edr_replay", per_second=2e5, above_c=at)).medium for at in (75, 20))
    assert (plain / cool.spend(TOUCH), plain / warm.spend(TOUCH)) == (pytest.approx(1), pytest.approx(0.8))
    healthy = Bench(RTX_3090).medium
    for medium in (cool, healthy):
        medium.spend(Work("arithmetic", flop=6e15, rate="fp32"))
    assert healthy.spend(TOUCH) / cool.spend(TOUCH) == pytest.approx(0.8, rel=0.01)
    assert Bench(RTX_3090).medium.spend(Work("pcie", bytes_read=1 << 30)) == pytest.approx(
        Bench(RTX_3090, fault("edr_replay", per_second=2e5)).medium.spend(Work("pcie", bytes_read=1 << 30))
    )


@pytest.mark.parametrize(("model", "count", "left"), [("Tesla T4", 1, 15 / 16), (A100, 8, 9 / 10)])
def test_a_missing_channel_takes_its_share_of_everything(model, count, left):
    whole, short = Bench(model), Bench(model, fault("channel_missing", count=count))
    for ask in (
        lambda bench: bench.card.identity().bus_bits,
        lambda bench: bench.medium.properties().bus_bits,
        lambda bench: bench.card.identity().memory_mib,
        lambda bench: bench.medium.properties().total_bytes,
        lambda bench: bench.medium.properties().free_bytes,
    ):
        assert ask(short) / ask(whole) == pytest.approx(left, rel=0.001)
    assert short.medium.memory_scale == pytest.approx(whole.medium.memory_scale, rel=0.001)
    assert whole.medium.spend(TOUCH) / short.medium.spend(TOUCH) == pytest.approx(left, rel=0.001)
    whole_memory = short.medium.properties().free_bytes // 8
    assert np.array_equal(short.again(distinct(1, whole_memory)), distinct(1, whole_memory))


def test_a_contained_error_kills_what_runs_and_leaves_the_card_with_a_row_to_remap():
    bench = Bench(A100, fault("contained", at_s=1))
    assert (bench.card.counters().remap_pending, errors(bench)) == (False, (0, 0))
    with pytest.raises(UncorrectableEccError):
        rest(bench, 5)
    with pytest.raises(UncorrectableEccError):
        bench.medium.load(0, 1, 0)
    assert (bench.card.counters().remap_pending, errors(bench)) == (True, (0, 1))
    (event,) = bench.card.events()
    assert (event.code, "Contained" in event.text) == ("94", True)
    assert bench.card.advance(1.0, Load()).lost is False


def test_the_sram_threshold_is_a_flag_with_the_errors_that_set_it():
    worn, sound = (Bench(H100, *lines).card.counters() for lines in ([fault("sram_threshold")], []))
    assert (worn.sram_threshold_exceeded, sound.sram_threshold_exceeded) == (True, False)
    assert worn.sram_uncorrected_aggregate == worn.ecc_uncorrected_aggregate == 5
    assert worn.ecc_uncorrected_volatile == sound.sram_uncorrected_aggregate == 0
