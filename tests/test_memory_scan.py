"""The scan: finds planted faults, tells them apart, proves its coverage, and notices when it is itself sabotaged."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.device.simulated.scenario import parse
from gpucert.stress import memory_scan, patterns
from gpucert.stress.backend import Backend, Pattern, PatternKind, Region, Sweep, WrongWord
from gpucert.stress.evidence import STRIDES, Evidence, classify, data_line
from gpucert.stress.host import HostBackend
from gpucert.stress.medium import Words
from gpucert.stress.memory_scan import PROFILES, Profile, Scan, scan
from gpucert.stress.phases import Phase
from gpucert.stress.sweeper import Books, Suspect, Sweeper, inverse
from gpucert.stress.wrong_words import Located
from tests.fakes import HEALTHY, InProcessCard, faulty

QUICK, STANDARD = PROFILES["quick"], PROFILES["standard"]
STUCK = 'kind = "stuck_bit"\noffset = 40960\nbit = 3\nvalue = 1'


def scanned(
    scenario: str = HEALTHY,
    profile: Profile = QUICK,
    backend: Backend | None = None,
    report: Callable[[Located], None] = lambda _: None,
) -> Scan:
    return scan(backend or InProcessCard(scenario).backend(), profile, 5, lambda: 0.0, lambda *_: None, report)


@pytest.mark.parametrize("profile", [QUICK, STANDARD])
def test_a_healthy_card_is_covered_and_clean(profile: Profile) -> None:
    done = scanned(profile=profile)
    assert done.wrong_words == 0
    assert done.books.words_compared == done.books.words_expected > 0
    assert done.coverage_percent > 97
    assert done.self_test.planted == done.self_test.found > 60
    assert done.error_bound == 3 / (done.books.words_compared * 64)


def test_the_standard_profile_reads_often_enough_for_a_cell_that_is_misread_twice_in_a_hundred() -> None:
    """0.98 to the power of its reads is below 1 %, within 1.3 times the 244 touches that the suite was planned with."""
    done = scanned(profile=STANDARD)
    assert 0.98**done.reads < 0.01
    assert done.escape_percent == pytest.approx(100 * 0.99**done.reads)
    assert sum(phase.touches for phase in STANDARD.phases) <= 1.3 * 244


def test_the_very_last_word_that_can_be_had_is_scanned() -> None:
    last = parse(HEALTHY, "test").tested_bytes - 8
    done = scanned(faulty(f'kind = "stuck_bit"\noffset = {last}\nbit = 3\nvalue = 1'))
    assert {one.word * 8 for one in done.located} == {last}


COUPLED = 'kind = "coupling"\naggressor = {}\nvictim = {}\nbit = 4'


@pytest.mark.parametrize(
    ("fault", "kind", "profile"),
    [
        (STUCK, "hard", QUICK),
        ('kind = "stuck_bit"\noffset = 1024\nbit = 63\nvalue = 0', "hard", QUICK),
        ('kind = "transition"\noffset = 81920\nbit = 17\ndirection = "up"', "hard", QUICK),
        ('kind = "transition"\noffset = 8\nbit = 0\ndirection = "down"', "hard", QUICK),
        ('kind = "alias"\nfrom = 0\nto = 1048576\nbytes = 4096', "alias", QUICK),
        ('kind = "fake_memory"\nreal_mib = 2', "alias", QUICK),
        ('kind = "dq"\nline = 5\nvalue = 1', "data_line", QUICK),
        ('kind = "dq"\nline = 5\nvalue = 0\nprobability = 0.01', "data_line", QUICK),
        (COUPLED.format(40960, 40968), "coupling", QUICK),
        (COUPLED.format(40968, 40960), "coupling", QUICK),
        (COUPLED.format(400_000, 3_000_000), "coupling", QUICK),
        (COUPLED.format(3_000_000, 400_000), "coupling", QUICK),
        (COUPLED.format(40960, 1_000_032) + "\nchanges = 2", "coupling", QUICK),
        ('kind = "neighbourhood"\noffset = 40960\nbit = 3\nreach = 1', "hard", STANDARD),
        ('kind = "retention"\noffset = 40960\nbit = 3\nhold_ms = 20\nabove_c = 41', "retention", STANDARD),
        ('kind = "stripes"\noffset = 40960\nbit = 30\napart = 2', "hard", STANDARD),
        ('kind = "copy_engine"\nbit = 9\nevery = 5000', "path", STANDARD),
        ('kind = "intermittent"\noffset = 40960\nbit = 3\nprobability = 0.5', "intermittent", QUICK),
        ('kind = "intermittent"\noffset = 40960\nbit = 3\nprobability = 0.02', "intermittent", STANDARD),
        ('kind = "retention"\noffset = 40960\nbit = 3\nhold_ms = 20', "retention", QUICK),
        ('kind = "retention"\noffset = 40960\nbit = 3\nhold_ms = 20\nabove_c = 50', "retention", STANDARD),
        ('kind = "refresh_lost"\noffset = 40960\nbytes = 64\nseconds = 8', "retention", STANDARD),
        ('kind = "refresh_lost"\noffset = 40960\nbytes = 64\nseconds = 1\nidle = true', "retention", STANDARD),
        ('kind = "refresh_lost"\noffset = 40960\nbytes = 64\nseconds = 1\nabove_c = 50', "retention", STANDARD),
        ('kind = "intermittent"\noffset = 40960\nbit = 3\nprobability = 0.2\nabove_c = 55', "intermittent", STANDARD),
    ],
)
def test_a_planted_fault_is_found_and_named(fault: str, kind: str, profile: Profile) -> None:
    done = scanned(faulty(fault), profile)
    assert done.wrong_words > 0
    assert {one.kind for one in done.located} == {kind}
    assert done.error_bound is done.escape_percent is None


def test_a_stuck_bit_is_located_to_the_bit_and_reproduced() -> None:
    (located,) = scanned(faulty(STUCK)).located
    assert located.word == 40960 // 8
    assert located.expected ^ located.actual == 1 << 3
    assert 0 < located.wrong_again < located.tries


def test_fake_memory_names_the_word_that_answers_instead() -> None:
    done = scanned(faulty('kind = "fake_memory"\nreal_mib = 2'))
    assert {abs(one.word - one.owner) * 8 for one in done.located if one.owner is not None} == {2 << 20}


def test_two_faults_are_told_apart() -> None:
    both = faulty(f"{COUPLED.format(400_000, 3_000_000)}\n[[fault]]\n{STUCK}")
    assert {(one.word * 8, one.kind) for one in scanned(both).located} == {(40960, "hard"), (3_000_000, "coupling")}


def test_words_that_nobody_could_look_into_are_reported_before_the_card_dies() -> None:
    class Dies(HostBackend):
        def peek(self, region: Region, word: int) -> int:
            if word == 40960 // 8:
                raise RuntimeError("the context is dead")
            return super().peek(region, word)

    told: list[Located] = []
    with pytest.raises(RuntimeError, match="dead"):
        scanned(backend=Dies(InProcessCard(faulty(STUCK)).medium()), report=told.append)
    assert [(one.word, one.kind) for one in told] == [(40960 // 8, "unclassified")]


class _Sabotaged(HostBackend):
    """A host backend whose verify is changed by each test, as a broken kernel or driver would change it."""

    def __init__(self, change: str) -> None:
        super().__init__(InProcessCard(HEALTHY).medium())
        self._change = change

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        sweep = super().verify(region, pattern, then_write, descending=descending, beside=beside)
        match self._change:
            case "blind":
                return replace(sweep, bad_words=0, bad_bits=0, first_wrong=())
            case "lost blocks":
                return replace(sweep, words=sweep.words - 8192)
            case "never loaded":
                return replace(sweep, total=0)
            case "wrong address":
                return replace(sweep, first_wrong=tuple(replace(one, word=one.word ^ 1) for one in sweep.first_wrong))
            case "false alarm":
                alarm = WrongWord(region.first_word, 0, 1, 0)
                return replace(sweep, bad_words=sweep.bad_words + 1, first_wrong=(*sweep.first_wrong, alarm))
        raise AssertionError(self._change)


@pytest.mark.parametrize("change", ["blind", "wrong address"])
def test_a_compare_that_misses_or_misplaces_faults_fails_its_self_test(change: str) -> None:
    done = scanned(backend=_Sabotaged(change))
    assert done.self_test.found < done.self_test.planted


@pytest.mark.parametrize("change", ["lost blocks", "never loaded"])
def test_coverage_is_not_claimed_for_what_was_not_loaded(change: str) -> None:
    done = scanned(backend=_Sabotaged(change))
    assert done.books.words_compared < done.books.words_expected


class _BadPath(HostBackend):
    """A card on which one SM loads some words wrongly, and the memory is sound."""

    def __init__(self, sm: int) -> None:
        medium = InProcessCard(HEALTHY).medium()
        super().__init__(medium)
        load = medium.load

        def damaged(first_word: int, count: int, by: int) -> Words:
            words = load(first_word, count, by)
            if by == sm and count > 1:
                words[::1000] ^= np.uint64(1 << 9)
            return words

        medium.load = damaged  # type: ignore[method-assign]


def test_words_that_only_one_sm_reads_wrongly_are_blamed_on_the_path() -> None:
    done = scanned(profile=replace(QUICK, first=(), guarded=(), after=(_read_once(),)), backend=_BadPath(11))
    assert {(one.kind, one.sm) for one in done.located} == {("path", 11)}


def _read_once() -> Phase:
    def run(sweeper: Sweeper, seed: int) -> None:
        sweeper.write(Pattern(PatternKind.BACKGROUND, 1))
        sweeper.verify(Pattern(PatternKind.BACKGROUND, 1))

    return Phase("once", run, 2)


class _Counting(HostBackend):
    """Counts the words that are written and read, and keeps what was written."""

    def __init__(self) -> None:
        super().__init__(InProcessCard(HEALTHY).medium())
        self.touched = 0.0
        self.written: set[Pattern] = set()

    def write(self, region: Region, pattern: Pattern, *, descending: bool = False, others: bool = False) -> Sweep:
        self.touched += region.words * (1 - 1 / patterns.MODULI[pattern.kind] if others else 1)
        self.written.add(replace(pattern, inverted=False))
        return super().write(region, pattern, descending=descending, others=others)

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        self.touched += region.words * (1 if then_write is None else 2)
        return super().verify(region, pattern, then_write, descending=descending, beside=beside)

    def move(self, source: Region, target: Region) -> float:
        self.touched += source.words + target.words
        return super().move(source, target)


@pytest.mark.parametrize("phase", STANDARD.phases, ids=lambda phase: phase.name)
def test_a_phase_touches_memory_as_often_as_it_says(phase: Phase) -> None:
    backend = _Counting()
    regions = backend.reserve(0)
    books = Books()
    began = backend.seconds()
    phase.run(Sweeper(backend, regions, regions, books), 3)
    words = sum(region.words for region in regions)
    assert backend.touched == pytest.approx(phase.touches * words, rel=0.001)
    assert books.words_compared == books.words_expected
    assert backend.seconds() - began >= phase.waits_s


def test_rounds_use_new_data() -> None:
    seen: list[set[Pattern]] = []
    for seed in (1, 2):
        backend = _Counting()
        scan(backend, STANDARD, seed, lambda: 0.0, lambda *_: None, lambda _: None)
        seen.append({one for one in backend.written if one.kind in (PatternKind.RANDOM, PatternKind.OWN)})
    assert seen[0]
    assert not seen[0] & seen[1]


def test_nobody_writes_over_canaries_and_what_lay_there_is_scanned_afterwards() -> None:
    stuck_everywhere = []
    for seed in range(12):
        backend = InProcessCard(faulty(STUCK)).backend()
        done = scan(backend, replace(QUICK, first=()), seed, lambda: 0.0, lambda *_: None, lambda _: None)
        stuck_everywhere.append({one.word for one in done.located})
    assert stuck_everywhere == [{40960 // 8}] * 12


@given(st.lists(st.integers(4, 5000).map(lambda pairs: 2 * pairs), min_size=1, max_size=9), st.integers(0, 1 << 31))
def test_windows_and_what_is_outside_make_up_the_whole(sizes: list[int], seed: int) -> None:
    first, regions = 0, []
    for size in sizes:
        regions.append(Region(first, first, size))
        first += size
    windows = memory_scan._windows(tuple(regions), seed)
    parts = [*memory_scan._outside(tuple(regions), windows), *windows]
    covered = sorted((part.first_word, part.words) for part in parts)
    assert sum(words for _, words in covered) == first
    assert all(one + words == two for (one, words), (two, _) in pairwise(covered))
    assert all(part.first_word % 2 == part.words % 2 == 0 and part.words for part in parts)


def test_a_burn_lasts_as_long_as_asked_and_leaves_memory_alone() -> None:
    backend = InProcessCard(HEALTHY).backend()
    (region, *_) = backend.reserve(0)
    pattern = Pattern(PatternKind.OWN, 5)
    backend.write(region, pattern)
    began = backend.seconds()
    backend.burn(7.5)
    assert backend.seconds() - began == pytest.approx(7.5, rel=0.02)
    assert backend.verify(region, pattern).bad_words == 0


def test_moved_words_are_known_by_where_they_came_from() -> None:
    backend = InProcessCard(HEALTHY).backend()
    low, high, *_ = backend.reserve(0)
    pattern = Pattern(PatternKind.RANDOM, 9)
    backend.write(low, pattern)
    backend.write(high, Pattern(PatternKind.BACKGROUND, 0))
    assert backend.move(low, high) > 0
    assert backend.verify(high, replace(pattern, shift=high.first_word - low.first_word)).bad_words == 0
    assert backend.verify(high, pattern).bad_words == high.words


@pytest.mark.parametrize("kind", list(patterns.MODULI))
def test_targets_of_a_modulo_pattern_keep_what_they_hold(kind: PatternKind) -> None:
    """Also what a stuck cell makes of them, with the rest of its word written again."""
    for scenario, most in ((HEALTHY, 0), (faulty(STUCK), 1)):
        backend = InProcessCard(scenario).backend()
        (region, *_) = backend.reserve(0)
        for offset in range(patterns.MODULI[kind]):
            plain = patterns.modulo(kind, offset, 77)
            backend.write(region, plain, descending=True)
            backend.write(region, replace(plain, inverted=True), others=True)
            backend.write(region, plain, others=True)
            found = backend.verify(region, plain, descending=True)
            assert found.bad_words <= most
            assert all(one.word * 8 == 40960 and one.expected ^ one.actual == 1 << 3 for one in found.first_wrong)


def test_a_scan_fills_its_time_on_a_card_and_not_on_a_host() -> None:
    backend = InProcessCard(HEALTHY).backend()
    backend.fills_time = True
    left = iter([100.0, 100.0, 0.0])
    assert scan(backend, QUICK, 5, lambda: next(left), *([lambda *_: None] * 2)).rounds == 3
    assert scanned().rounds == 1


# What the evidence says


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (Evidence(owner=3, reread=(0, 3)), "alias"),
        (Evidence(reread=(3, 3), rewritten=((8, 8), (0, 8))), "hard"),
        (Evidence(reread=(3, 3), rewritten=((1, 8), (0, 8))), "intermittent"),
        (Evidence(reread=(0, 3), rewritten=((0, 8), (0, 8)), stared=(1, 300)), "intermittent"),
        (Evidence(reread=(1, 3), rewritten=((0, 8), (0, 8))), "intermittent"),
        (Evidence(reread=(0, 3), again=1, rewritten=((0, 8), (0, 8)), stared=(0, 300)), "intermittent"),
        (Evidence(reread=(3, 3), rewritten=((0, 8), (0, 8)), rested=(1, 1)), "retention"),
        (Evidence(rewritten=((0, 8), (0, 8)), stared=(0, 300), repeated=(3, 3)), "coupling"),
        (Evidence(reread=(3, 3), rewritten=((0, 8), (0, 8)), repeated=(1, 3)), "coupling"),
        (Evidence(copied=True, rewritten=((0, 8), (0, 8)), repeated=(3, 3)), "path"),
        (Evidence(reread=(3, 3), rewritten=((0, 8), (0, 8)), rested=(0, 1), repeated=(0, 3)), "soft"),
        (Evidence(reread=(0, 3), rewritten=((0, 8), (0, 8)), stared=(0, 300), repeated=(0, 3)), "transient"),
        (Evidence(rewritten=((0, 8), (0, 8)), stared=(0, 300), repeated=(0, 3)), "transient"),
    ],
)
def test_a_kind_follows_from_the_evidence(evidence: Evidence, kind: str) -> None:
    assert classify(evidence) == kind


def suspects(words: list[int], flips: Callable[[int], int], read: int = 1) -> list[Suspect]:
    region, pattern = Region(0, 0, 1 << 20), Pattern(PatternKind.RANDOM, 1)
    told = [(word, 0 if read else flips(word), flips(word) if read else 0) for word in words]
    return [Suspect("test", pattern, region, WrongWord(word, *values, sm=0), 0.0, 0.0) for word, *values in told]


@pytest.mark.parametrize(("lanes", "stride"), [([5], 64), ([5, 37], 32), ([5, 21, 37, 53], 16)])
@pytest.mark.parametrize("read", [0, 1])
def test_one_lane_in_many_sectors_is_a_data_line(lanes: list[int], stride: int, read: int) -> None:
    assert data_line(suspects(list(range(0, 400, 40)), lambda word: 1 << lanes[word // 40 % len(lanes)], read)) == 5
    assert stride in STRIDES


def test_a_few_words_or_several_lanes_or_both_values_are_no_data_line() -> None:
    assert data_line(suspects([0, 1, 2, 3, 4, 5, 6, 7], lambda _: 32)) is None
    assert data_line(suspects(list(range(0, 400, 40)), lambda word: 1 << word // 40)) is None
    mixed = suspects(list(range(0, 400, 40)), lambda _: 32) + suspects(list(range(404, 800, 40)), lambda _: 32, read=0)
    assert data_line(mixed) is None


@given(st.integers(0, 1 << 40), st.sampled_from(list(PatternKind)), st.booleans())
def test_both_polarities_prove_each_other(seed: int, kind: PatternKind, inverted: bool) -> None:
    backend = InProcessCard(HEALTHY).backend()
    regions = backend.reserve(0)[:1]
    books = Books()
    sweeper = Sweeper(backend, regions, regions, books)
    plain = {
        PatternKind.BACKGROUND: Pattern(kind, seed % 9),
        PatternKind.WALKING: Pattern(kind, seed % 32),
        PatternKind.MODULO_SECTOR: patterns.modulo(kind, seed % 5, seed) if kind in patterns.MODULI else None,
        PatternKind.MODULO_HALF: patterns.modulo(kind, seed % 20, seed) if kind in patterns.MODULI else None,
    }.get(kind, Pattern(kind, seed))
    assert plain is not None
    first = inverse(plain) if inverted else plain
    sweeper.both(first)
    assert books.words_compared == books.words_expected == 2 * regions[0].words


@pytest.mark.parametrize(
    ("counted", "phases", "attempts"),
    [
        ([0, 0], 0, 0),
        ([0, 1], 1, 4),  # own three times more, and everything read very often
        ([0, 1, 2], 2, 1),
        ([0, 1, 1, 5], 2, 2),
    ],
)
def test_a_phase_in_which_ecc_corrected_something_is_run_again_until_it_must_again(
    counted: list[int], phases: int, attempts: int
) -> None:
    """The counter is asked at first and after each attempt; at the end of the list it stands still."""
    asked = iter(counted)
    backend = _Counting()
    only_own = replace(QUICK, guarded=(), after=())
    done = scan(
        backend, only_own, 5, lambda: 0.0, lambda *_: None, lambda _: None, lambda: next(asked, counted[-1])
    )  # fmt: skip
    assert done.corrected_phases == phases
    own = 2 * sum(region.words for region in backend.reserve(0))
    canaries = 2 * own // 2 // memory_scan.CANARY_SHARE * 2
    read = done.books.words_expected - canaries
    expected = own * (1 + min(attempts, 3)) + (memory_scan.CORRECTED_READS * own if attempts == 4 else 0)
    assert read == pytest.approx(expected, rel=0.01)
