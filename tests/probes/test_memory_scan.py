"""The scan as a probe: every promise kept, errors located, faults above and below ECC."""

import pytest
from msgspec.structs import replace

from gpucert import probes
from gpucert.reading import Absence, Absent, Reading
from gpucert.stress.backend import DeviceLostError
from tests.fakes import HEALTHY, FakeBench, InProcessCard, faulty, run_probe

STUCK = 'kind = "stuck_bit"\noffset = 40960\nbit = 3\nvalue = 1'
GONE = Absent(Absence.UNKNOWN)


def test_a_healthy_card_keeps_every_promise() -> None:
    bench = run_probe("memory_scan", profile="quick")
    assert not bench.unset
    assert bench.number("wrong_words") == 0
    assert bench.number("words_compared") == bench.number("words_expected")
    assert bench.number("coverage") > 97
    assert 1000 < bench.number("sweep_rate") < 2100


def test_a_wrong_word_is_located_for_a_technician() -> None:
    bench = run_probe("memory_scan", faulty(STUCK), profile="quick")
    mismatch = bench.mismatches[0]
    assert (mismatch.offset, mismatch.flips, mismatch.kind) == (40960, 1, "hard")
    assert int(mismatch.expected, 16) ^ int(mismatch.actual, 16) == 1 << 3
    assert isinstance(bench.values["error_bound"], Absent)


def test_ecc_hides_a_single_bit_from_compares_and_counts_it() -> None:
    bench = run_probe("memory_scan", faulty(STUCK, HEALTHY.replace("ecc = false\n", "")), profile="quick")
    assert bench.number("wrong_words") == 0
    counted = bench.card.counters().ecc_corrected_volatile
    assert isinstance(counted, int)
    assert counted > 0
    assert bench.number("ecc_phases") > 1


def test_without_ecc_nobody_knows_what_it_would_have_corrected() -> None:
    assert isinstance(run_probe("memory_scan", profile="quick").values["ecc_phases"], Absent)


@pytest.mark.parametrize(
    ("first", "then", "phases"),
    [(500, [GONE, 500], 0), (500, [GONE, GONE, 501], 1), (GONE, [500], None), (500, [GONE], None)],
)
def test_a_counter_that_is_not_answered_for_a_while_has_corrected_nothing_meanwhile(
    first: Reading[int], then: list[Reading[int]], phases: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it rose by is told as soon as it answers again; without a beginning or an end nobody knows."""
    answers = iter([first, *then])
    card = InProcessCard(HEALTHY)
    counters = card.counters()
    monkeypatch.setattr(card, "counters", lambda: replace(counters, ecc_corrected_volatile=next(answers, then[-1])))
    bench = FakeBench(card, card.backend("memory_scan"), "memory_scan", options={"profile": "quick"})
    probes.load("memory_scan").run(bench)
    told = bench.values["ecc_phases"]
    assert (None if isinstance(told, Absent) else told) == phases


def test_a_card_that_dies_later_does_not_take_its_wrong_words_along() -> None:
    dies = '[[fault]]\nkind = "lost"\nat_s = 2.0\n'
    card = InProcessCard(faulty(STUCK) + dies)
    bench = FakeBench(card, card.backend("memory_scan"), "memory_scan", options={"profile": "standard"})
    with pytest.raises(DeviceLostError):
        probes.load("memory_scan").run(bench)
    assert bench.mismatches[0].offset == 40960
