"""SM clock: the clock at which the multiprocessors really run under load, beside the one that the driver reports.

A rate is divided by the reported clock before it is judged, so that a card whose clock sags under load, because its
supply or its regulators do, would look like one whose arithmetic is slow. Each SM counts its own cycles against the
timer of the whole card while its FP32 arithmetic is busy; no word of the driver takes part.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from gpucert.probes.bench import Bench, Measure, Probe, mean
from gpucert.reading import Absence, Absent, Reading
from gpucert.stress.backend import ClockCount
from gpucert.units import Unit

WARM_S = 3.0
"""Before anything counts: the governor takes its time to answer to another load."""
WINDOW_S = 1.0
"""Ten rows of telemetry."""
LEAST_WINDOWS = 5
REPORTED_STEP_MHZ = 15.0
"""Reported clocks lie 7.5 or 15 MHz apart: one that stands still may be off by half of it, always by the same."""
TIMER_SHARE_AT_MOST = 1e-3
"""Of a stretch that is counted, what a step of the global timer may be."""
TIMER_OFF_AT_MOST = 0.02
"""By how much the global timer and the station's clock may disagree about a second: the latter counts launches too."""
_UNIFORM = math.sqrt(12)
"""Width over standard deviation of a value that lies anywhere within its step."""
_REPORTED_U_MHZ = REPORTED_STEP_MHZ / _UNIFORM


@dataclass(frozen=True)
class Window:
    """A second of load: what the SMs counted, and the mean of the clocks that were reported meanwhile."""

    count: ClockCount
    reported: Reading[float]


def run(bench: Bench) -> None:
    """Warm up, then count in windows until the time is over."""
    bench.backend.clock(WARM_S)
    windows: list[Window] = []
    while len(windows) < LEAST_WINDOWS or (bench.backend.fills_time and bench.time_left() > 2 * WINDOW_S):
        windows.append(_window(bench))
        bench.progress(min(len(windows) / LEAST_WINDOWS, 1.0), f"{len(windows)} windows")
    clocks = _clocks([one.count for one in windows])
    bench.measure("sms", len(clocks))
    reported = _reported(windows)
    bench.measure("reported", reported, u=None if isinstance(reported, Absent) else _REPORTED_U_MHZ, n=len(windows))
    problem = _unbelievable([one.count for one in windows])
    if problem is not None:
        for name in ("real", "slowest", "fastest", "ratio"):
            bench.measure(name, problem)
        return
    timer_u = math.sqrt(2) * max(_timer_share(one.count) for one in windows) / _UNIFORM
    _measure(bench, clocks, timer_u, len(windows))
    _compare(bench, windows, reported, timer_u)


def _window(bench: Bench) -> Window:
    began_s = bench.card.now_s()
    count = bench.backend.clock(WINDOW_S)
    ended_s = bench.card.now_s()
    samples = [sample for sample in bench.card.samples(began_s) if began_s < sample.at_s <= ended_s]
    return Window(count, mean(samples, "sm_clock_mhz"))


def _clocks(counts: Sequence[ClockCount]) -> dict[int, float]:
    """MHz of each SM over all windows together."""
    cycles, nanoseconds = Counter[int](), Counter[int]()
    for count in counts:
        for one in count.sms:
            cycles[one.sm] += one.cycles
            nanoseconds[one.sm] += one.nanoseconds
    return {sm: 1000 * cycles[sm] / nanoseconds[sm] for sm in cycles}


def _reported(windows: Sequence[Window]) -> Reading[float]:
    """The mean of all windows; where one has none, its reason."""
    readings = [one.reported for one in windows]
    absent = [one for one in readings if isinstance(one, Absent)]
    return absent[-1] if absent else fmean(one for one in readings if not isinstance(one, Absent))


def _unbelievable(counts: Sequence[ClockCount]) -> Absent | None:
    """Why the counts say nothing about a clock: ours or the station's doing, so that no card is blamed for it."""
    if not all(count.sms for count in counts):
        return Absent(Absence.ABSURD, "the card's global timer stands still")
    share = max(_timer_share(count) for count in counts)
    if share > TIMER_SHARE_AT_MOST:
        step_ns = max(count.timer_step_ns for count in counts)
        return Absent(Absence.ABSURD, f"the card's global timer moves in steps of {step_ns} ns, too coarse to count by")
    pace = max(count.timer_seconds / count.seconds for count in counts)  # because a busy station only adds seconds
    if abs(pace - 1) > TIMER_OFF_AT_MOST:
        return Absent(Absence.ABSURD, f"the card's global timer passes {pace:.3f} s in a second of the station's")
    return None


def _timer_share(count: ClockCount) -> float:
    """A step of the timer in shares of what one launch counts."""
    stretch_ns = median(one.nanoseconds for one in count.sms) / count.launches
    return count.timer_step_ns / stretch_ns


def _measure(bench: Bench, clocks: dict[int, float], timer_u: float, n: int) -> None:
    slowest, fastest = (one(clocks, key=clocks.__getitem__) for one in (min, max))
    bench.measure("real", (real := median(clocks.values())), u=timer_u * real, n=n)
    bench.measure("slowest", clocks[slowest], u=timer_u * real, n=n, where=f"SM {slowest}")
    bench.measure("fastest", clocks[fastest], u=timer_u * real, n=n, where=f"SM {fastest}")


def _compare(bench: Bench, windows: Sequence[Window], reported: Reading[float], timer_u: float) -> None:
    """Window by window, because the governor moves both clocks; how far the windows scatter is part of u."""
    if isinstance(reported, Absent):
        bench.measure("ratio", reported)
        return
    pairs = [(median(one.mhz for one in window.count.sms), window.reported) for window in windows]
    ratios = [real / told for real, told in pairs if not isinstance(told, Absent) and told > 0]
    if len(ratios) < len(windows):
        bench.measure("ratio", Absent(Absence.ABSURD, "a clock of 0 MHz was reported under load"))
        return
    ratio, n = fmean(ratios), len(ratios)
    u = math.hypot(stdev(ratios) / math.sqrt(n), ratio * _REPORTED_U_MHZ / reported, ratio * timer_u)
    bench.measure("ratio", ratio, u=u, n=n)


PROBE = Probe(
    name="sm_clock",
    summary="the clock at which the SMs really run, beside the one that is reported",
    measures=(
        Measure("sms", Unit.COUNT, "SMs whose cycles were counted"),
        Measure("real", Unit.MEGAHERTZ, "median over the SMs of cycles counted in a second of the global timer"),
        Measure("slowest", Unit.MEGAHERTZ, "the same of the slowest SM"),
        Measure("fastest", Unit.MEGAHERTZ, "the same of the fastest SM"),
        Measure("reported", Unit.MEGAHERTZ, "SM clock that the driver reported in the same seconds"),
        Measure("ratio", Unit.RATIO, "real clock over the reported one"),
    ),
    run=run,
)
