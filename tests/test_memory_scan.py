"""The scan: finds planted faults, tells them apart, proves its coverage, and notices when it is itself sabotaged."""

from dataclasses import replace

import pytest

from gpucert.device.simulated.scenario import parse
from gpucert.stress import memory_scan, patterns
from gpucert.stress.backend import Backend, Pattern, PatternKind, Region, Sweep
from gpucert.stress.host import HostBackend
from gpucert.stress.memory_scan import PROFILES, Scan, scan
from tests.fakes import HEALTHY, InProcessCard, faulty

QUICK, STANDARD = PROFILES["quick"], PROFILES["standard"]


def scanned(scenario: str = HEALTHY, profile: memory_scan.Profile = QUICK, backend: Backend | None = None) -> Scan:
    return scan(backend or InProcessCard(scenario).backend(), profile, 5, lambda: 0.0, *([lambda *_: None] * 2))


@pytest.mark.parametrize("profile", [QUICK, STANDARD])
def test_a_healthy_card_is_covered_and_clean(profile: memory_scan.Profile) -> None:
    done = scanned(profile=profile)
    assert done.wrong_words == 0
    assert done.words_compared == done.words_expected > 0
    assert done.coverage_percent > 97
    assert done.planted == done.found > 60
    assert done.error_bound == 3 / (done.words_compared * 64)


def test_the_very_last_word_that_can_be_had_is_scanned() -> None:
    last = parse(HEALTHY, "test").tested_bytes - 8
    done = scanned(faulty(f'kind = "stuck_bit"\noffset = {last}\nbit = 3\nvalue = 1'))
    assert {one.word * 8 for one in done.located} == {last}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ('kind = "stuck_bit"\noffset = 40960\nbit = 3\nvalue = 1', "hard"),
        ('kind = "stuck_bit"\noffset = 1024\nbit = 63\nvalue = 0', "hard"),
        ('kind = "transition"\noffset = 81920\nbit = 17\ndirection = "up"', "hard"),
        ('kind = "transition"\noffset = 8\nbit = 0\ndirection = "down"', "hard"),
        ('kind = "alias"\nfrom = 0\nto = 1048576\nbytes = 4096', "alias"),
        ('kind = "fake_memory"\nreal_mib = 2', "alias"),
    ],
)
def test_a_planted_fault_is_found_and_named(fault: str, kind: str) -> None:
    done = scanned(faulty(fault))
    assert done.wrong_words > 0
    assert {one.kind for one in done.located} == {kind}
    assert done.error_bound is None


def test_a_stuck_bit_is_located_to_the_bit() -> None:
    done = scanned(faulty('kind = "stuck_bit"\noffset = 40960\nbit = 3\nvalue = 1'))
    assert {one.word for one in done.located} == {40960 // 8}
    assert {one.expected ^ one.actual for one in done.located} == {1 << 3}


def test_fake_memory_names_the_word_that_answers_instead() -> None:
    done = scanned(faulty('kind = "fake_memory"\nreal_mib = 2'))
    assert {abs(one.word - one.owner) * 8 for one in done.located if one.owner is not None} == {2 << 20}


class _Sabotaged(HostBackend):
    """A host backend whose verify is changed by each test, as a broken kernel or driver would change it."""

    def __init__(self, card: InProcessCard, change: str) -> None:
        self._inner = card.backend()
        self._change = change

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def reserve(self, headroom_bytes: int) -> tuple[Region, ...]:
        return self._inner.reserve(headroom_bytes)

    def write(self, region: Region, pattern: Pattern, *, descending: bool = False, others: bool = False) -> Sweep:
        return self._inner.write(region, pattern, descending=descending, others=others)

    def flush(self) -> None:
        self._inner.flush()

    def poke(self, region: Region, word: int, value: int) -> None:
        self._inner.poke(region, word, value)

    def peek(self, region: Region, word: int) -> int:
        return self._inner.peek(region, word)

    def properties(self):  # type: ignore[no-untyped-def]
        return self._inner.properties()

    def seconds(self) -> float:
        return self._inner.seconds()

    def verify(
        self, region: Region, pattern: Pattern, then_write: Pattern | None = None, *, descending: bool = False
    ) -> Sweep:
        sweep = self._inner.verify(region, pattern, then_write, descending=descending)
        match self._change:
            case "blind":
                return replace(sweep, bad_words=0, bad_bits=0, first_wrong=())
            case "lost blocks":
                return replace(sweep, words=sweep.words - 8192)
            case "never loaded":
                return replace(sweep, total=0)
            case "wrong address":
                return replace(sweep, first_wrong=tuple(replace(one, word=one.word ^ 1) for one in sweep.first_wrong))
        raise AssertionError(self._change)


@pytest.mark.parametrize("change", ["blind", "wrong address"])
def test_a_compare_that_misses_or_misplaces_faults_fails_its_self_test(change: str) -> None:
    done = scanned(backend=_Sabotaged(InProcessCard(HEALTHY), change))
    assert done.found < done.planted


@pytest.mark.parametrize("change", ["lost blocks", "never loaded"])
def test_coverage_is_not_claimed_for_what_was_not_loaded(change: str) -> None:
    done = scanned(backend=_Sabotaged(InProcessCard(HEALTHY), change))
    assert done.words_compared < done.words_expected


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
    stuck = 'kind = "stuck_bit"\noffset = 40960\nbit = 3\nvalue = 1'
    for scenario, most in ((HEALTHY, 0), (faulty(stuck), 1)):
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


def test_rounds_use_new_data() -> None:
    assert memory_scan.phases(QUICK, 1) != memory_scan.phases(QUICK, 2)
