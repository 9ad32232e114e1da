"""How heat leaves the die: the step response of a thermal soak, fitted from its telemetry.

T(t) = c + Σ Rᵢ·(hᵢ ∗ (P − P₀))(t) [+ d·t] with hᵢ(t) = exp(−t/τᵢ)/τᵢ and Rᵢ ≥ 0, three groups: die and interface, cold
plate, fins to air. The resistances have no one-to-one part of a card, so the curve Z(t) = Σ Rᵢ(1 − exp(−t/τᵢ)) is
reported at fixed times. Solved by `step_response`: bounded log τ outside, non-negative least squares inside.
Unbounded fits run away with drift (simulated on published step responses: p95 error of Z(∞) 19 to 113 %).
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from gpucert.reading import Absence, Absent
from gpucert.record import Column, StepRecord, Trace
from gpucert.verdict import step_response
from gpucert.verdict.step_response import SPACING_S, Array, Response

PROBE = "thermal_soak"
LONGEST_GAP_S = 0.6
"""A telemetry of one row a second is blind to the interface; a station that stalls for half a second is not."""
WHOLE_HEAT_S = 120.0
"""A shorter load shows the first second only: nothing can be said of the way into the air."""
LEAST_RISE_C = 8.0
"""Of the first second: below it, readings in whole degrees decide too little."""
LEAST_LOAD_W = 5.0
"""Above rest: a sensor that stands still would make every resistance 0."""
REST_S = 20.0
"""The last part of the rest, which is what the load is compared with."""
STEADY_C = 0.7
"""How far the means of its two halves may differ."""
STEP_C = 1.0
"""A sensor's step. Rest of twice REST_S in which no more is read may have changed by less than STEADY_C allows: then a
card whose reading flips once in the middle, where the halves differ by nearly a degree, is at rest all the same."""
FAN_MOVED_PERCENT = 5.0
"""A fan that moved more takes the drift's place: the drift term would absorb it."""
OPTIMISM = 2.0
"""The interval from the Jacobian is too small by this factor, because rounding residuals are correlated."""
POWER_U = 0.03
"""Standard uncertainty of a power sensor's gain between cards: it scales every resistance."""


@dataclass(frozen=True)
class Resistance:
    """A value in °C/W with its standard uncertainty."""

    value: float
    u: float

    @property
    def of_fit(self) -> float:
        """The part of u that is not the power sensor's gain, which is the same in every run of one card."""
        return math.sqrt(max(self.u**2 - (POWER_U * self.value) ** 2, 0.0))


@dataclass(frozen=True)
class Heat:
    """What one soak shows; a resistance that it cannot show is an absence with its reason."""

    step: StepRecord
    fast: Resistance | Absent
    """Z(1 s): die, thermal interface, base plate."""
    slow: Resistance | Absent
    """Z(∞) − Z(10 s): from the fins to the air."""
    total: Resistance | Absent
    """Z(∞)."""
    idle_c: float | None = None
    idle_w: float | None = None
    """Temperature and power at rest, where the card was at rest."""
    steady_fan: bool = False
    """Whether the fan turned alike at rest and under load, or there is none: only then rest and load compare."""


def of_step(step: StepRecord) -> Heat:
    """The heat of a thermal soak, from its own trace of telemetry and the moments that the probe measured."""
    began, ended, trace = step.number("heat_began"), step.number("heat_ended"), step.traces.get("telemetry")
    if began is None or ended is None or trace is None:
        return _nothing(step, "the soak did not run to its end")
    columns = _columns(trace)
    if isinstance(columns, str):
        return _nothing(step, columns)
    return _fitted(step, columns, began, ended)


@dataclass(frozen=True)
class _Columns:
    at_s: Array
    temperature_c: Array
    power_w: Array
    fan_percent: Array | None


def _nothing(step: StepRecord, why: str) -> Heat:
    absent = Absent(Absence.UNKNOWN, why)
    return Heat(step, absent, absent, absent)


def _columns(trace: Trace) -> _Columns | str:
    """Rows that have both temperature and power, on an even grid; a sentence where that cannot be had."""
    times = _array(trace.at_s)
    degrees, watts, fan = (_numbers(trace, name) for name in ("temperature_c", "power_w", "fan_percent"))
    read = np.isfinite(degrees) & np.isfinite(watts)
    if np.count_nonzero(read) < 100:
        return "there is no telemetry of temperature and power"
    at_s, degrees, watts = times[read], degrees[read], watts[read]
    gaps = np.diff(at_s)
    if float(np.min(gaps)) <= 0 or float(np.max(gaps)) > LONGEST_GAP_S:
        return "the telemetry has gaps: ten rows a second are needed"
    if float(np.max(np.abs(degrees))) > 1000 or float(np.max(np.abs(watts))) > 1e5:
        return "the telemetry holds values that cannot be"
    grid = np.arange(at_s[0], at_s[-1] + SPACING_S / 2, SPACING_S)
    turning = np.isfinite(fan)
    return _Columns(
        grid,
        np.interp(grid, at_s, degrees),
        np.interp(grid, at_s, watts),
        np.interp(grid, times[turning], fan[turning]) if turning.any() else None,
    )


def _numbers(trace: Trace, channel: str) -> Array:
    """One value of a channel for each time of the trace, NaN where there is none."""
    padded = np.full(len(trace.at_s), math.nan)
    if isinstance(trace.channels.get(channel), Absence):
        return padded
    column = trace.column(channel)[: len(trace.at_s)]
    try:
        padded[: len(column)] = _array(column)
    except struct.error:  # because a word stands among the numbers
        padded[: len(column)] = [math.nan if isinstance(value, Absence) else value for value in column]
    return padded


def _array(column: Column) -> Array:
    """A column of numbers: packing it takes half the time of numpy's own ways. Raises struct.error at a word."""
    return np.frombuffer(struct.pack(f"{len(column)}d", *column))


def _fitted(step: StepRecord, rows: _Columns, began: float, ended: float) -> Heat:
    rest = (rows.at_s < began) & (rows.at_s >= began - REST_S)
    load = (rows.at_s >= began) & (rows.at_s <= ended)
    if rest.sum() < 40 or load.sum() < 100:
        return _nothing(step, "rest or load were too short")
    temperature = rows.temperature_c[rest]
    if not (_alike(temperature) or _one_step(rows, began)):
        return _nothing(step, "the card had not come to rest before the load began")
    idle_w = float(np.mean(rows.power_w[rest]))
    load_w = float(np.median(rows.power_w[load])) - idle_w
    if load_w < LEAST_LOAD_W:
        return _nothing(step, f"the load drew {load_w:.0f} W more than rest, too little to judge by")
    window = rows.at_s >= began - REST_S
    moved = 0.0 if rows.fan_percent is None else float(np.ptp(rows.fan_percent[load | rest]))
    whole = ended - began >= WHOLE_HEAT_S
    curve = step_response.fit(
        rows.temperature_c[window], rows.power_w[window] - idle_w, drift=whole and moved <= FAN_MOVED_PERCENT
    )
    fast = _at(curve, 1.0)
    rise = fast.value * load_w
    low = Absent(Absence.UNKNOWN, f"the first second warmed the die by {rise:.0f} °C, too little to judge by")
    short = Absent(Absence.UNKNOWN, f"a load of {ended - began:.0f} s is too short to see the heat reach the air")
    return Heat(
        step=step,
        fast=fast if rise >= LEAST_RISE_C else low,
        slow=_between(curve, 10.0, math.inf) if whole else short,
        total=_at(curve, math.inf) if whole else short,
        idle_c=float(np.mean(temperature)),
        idle_w=idle_w,
        steady_fan=moved <= FAN_MOVED_PERCENT,
    )


def _alike(temperature_c: Array) -> bool:
    """Whether both halves have one mean."""
    half = len(temperature_c) // 2
    return abs(float(np.mean(temperature_c[half:])) - float(np.mean(temperature_c[:half]))) <= STEADY_C


def _one_step(rows: _Columns, began: float) -> bool:
    """Whether a rest of twice REST_S was watched, and no more than one step of the sensor was read in it."""
    rest = (rows.at_s < began) & (rows.at_s >= began - 2 * REST_S)
    watched = rows.at_s[0] <= began - 2 * REST_S + SPACING_S
    return bool(watched) and float(np.ptp(rows.temperature_c[rest])) <= STEP_C


def _at(curve: Response, seconds: float) -> Resistance:
    """Z at one time."""
    return _resistance(curve, *_weights(curve, seconds))


def _between(curve: Response, early: float, late: float) -> Resistance:
    """Z(late) − Z(early)."""
    (r_late, tau_late), (r_early, tau_early) = _weights(curve, late), _weights(curve, early)
    return _resistance(curve, r_late - r_early, tau_late - tau_early)


def _weights(curve: Response, seconds: float) -> tuple[Array, Array]:
    """The derivatives of Z by each R and by each ln τ."""
    x = seconds / curve.tau
    if math.isinf(seconds):
        return np.ones_like(x), np.zeros_like(x)
    fading = np.exp(-x)
    return 1 - fading, -curve.r * x * fading


def _resistance(curve: Response, by_r: Array, by_tau: Array) -> Resistance:
    gradient = np.concatenate([by_r, by_tau])
    value = float(by_r @ curve.r)
    own = OPTIMISM * math.sqrt(max(float(gradient @ curve.covariance @ gradient), 0.0))
    return Resistance(value, math.hypot(own, POWER_U * value))
