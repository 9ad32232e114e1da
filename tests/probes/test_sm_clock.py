"""The real clock: what the SMs count beside what is reported, and words where either says nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpucert.probes import sm_clock
from gpucert.reading import Absence, Absent
from gpucert.stress.backend import ClockCount, SmCycles
from tests.fakes import HEALTHY, FakeBench, InProcessCard, faulty, run_probe

CLOCKS = ("real", "slowest", "fastest", "ratio")


def test_a_healthy_card_runs_at_the_clock_that_it_reports() -> None:
    bench = run_probe("sm_clock")
    assert not bench.unset
    assert (bench.number("sms"), bench.number("ratio")) == (108, pytest.approx(1, abs=1e-4))
    assert bench.number("slowest") <= bench.number("real") <= bench.number("fastest")
    assert bench.number("real") == pytest.approx(bench.number("reported"), rel=1e-4)
    assert all((bench.u[name] or 0) > 0 for name in ("reported", *CLOCKS))
    assert (bench.u["ratio"] or 0) == pytest.approx(15 / 12**0.5 / bench.number("reported"), rel=0.01)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.3, 1.0))
def test_a_clock_that_sags_shows_by_just_as_much(factor: float) -> None:
    bench = run_probe("sm_clock", faulty(f'kind = "effective_clock"\nfactor = {factor}'))
    assert bench.number("ratio") == pytest.approx(factor, rel=1e-4)
    assert bench.number("real") == pytest.approx(factor * bench.number("reported"), rel=1e-4)


@pytest.mark.parametrize(
    "fault",
    [
        'kind = "slow_compute"\nfactor = 0.7',
        'kind = "power_limit"\nwatts = 200',
        'kind = "hot_inlet"\ninlet_c = 45',
        'kind = "power_brake"',
        'kind = "tpc_missing"\ncount = 3',
    ],
)
def test_what_only_slows_or_throttles_is_no_sag(fault: str) -> None:
    bench = run_probe("sm_clock", faulty(fault))
    assert abs(bench.number("ratio") - 1) < 2 * (bench.u["ratio"] or 0)


def test_a_card_that_reports_no_clock_gets_the_real_one_and_no_ratio() -> None:
    bench = run_probe("sm_clock", faulty('kind = "absurd"\nreading = "sm_clock_mhz"\nvalue = -3'))
    assert bench.number("real") > 1000
    for name in ("reported", "ratio"):
        assert isinstance(bench.values[name], Absent)
        assert bench.u[name] is None


def counting(change: Callable[[ClockCount], ClockCount]) -> FakeBench:
    """The probe on a healthy card whose counts are changed on their way."""
    card = InProcessCard(HEALTHY)
    backend = card.backend("sm_clock")
    whole = backend.clock
    backend.clock = lambda seconds: change(whole(seconds))  # type: ignore[method-assign]
    bench = FakeBench(card, backend, "sm_clock")
    sm_clock.run(bench)
    return bench


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda count: replace(count, sms=(), timer_step_ns=0, timer_seconds=0.0), "stands still"),
        (lambda count: replace(count, timer_step_ns=2_000_000), "steps of 2000000 ns"),
        (lambda count: replace(count, launches=2000), "too coarse"),
        (lambda count: replace(count, timer_seconds=count.timer_seconds * 1.03), "1.030 s"),
        (lambda count: replace(count, seconds=count.seconds * 32), "0.031 s"),
    ],
)
def test_a_timer_that_says_nothing_blames_no_card(change: Callable[[ClockCount], ClockCount], words: str) -> None:
    bench = counting(change)
    assert not bench.unset
    for name in CLOCKS:
        value = bench.values[name]
        assert isinstance(value, Absent)
        assert value.absent is Absence.ABSURD
        assert words in value.detail
    assert bench.number("reported") > 0


def test_a_station_that_is_late_once_is_believed() -> None:
    late = iter([1.0, 1.0, 1.4, 1.0, 1.05, 1.0])
    assert counting(lambda count: replace(count, seconds=count.seconds * next(late))).number("ratio") > 0.99


def test_the_slowest_and_the_fastest_sm_are_named() -> None:
    def uneven(count: ClockCount) -> ClockCount:
        sms = tuple(
            SmCycles(one.sm, one.cycles * (97 if one.sm == 7 else 104 if one.sm == 90 else 100) // 100, one.nanoseconds)
            for one in count.sms
        )
        return replace(count, sms=sms)

    bench = counting(uneven)
    assert (bench.where["slowest"], bench.where["fastest"]) == ("SM 7", "SM 90")
    assert bench.number("slowest") / bench.number("real") == pytest.approx(0.97, abs=1e-3)
    assert bench.number("fastest") / bench.number("real") == pytest.approx(1.04, abs=1e-3)
    assert bench.number("ratio") == pytest.approx(1, abs=1e-3)


def test_windows_that_scatter_leave_a_larger_doubt() -> None:
    pace = iter([100, 100, 90, 110, 95, 105])

    def wandering(count: ClockCount) -> ClockCount:
        share = next(pace)
        return replace(count, sms=tuple(replace(one, cycles=one.cycles * share // 100) for one in count.sms))

    bench = counting(wandering)
    assert (bench.u["ratio"] or 0) > 0.03
    assert bench.number("ratio") == pytest.approx(1, abs=0.01)
