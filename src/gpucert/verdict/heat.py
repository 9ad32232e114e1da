"""How heat leaves the die: the step response of a thermal soak, fitted from its telemetry.

T(t) = c + Σ Rᵢ·(hᵢ ∗ (P − P₀))(t) [+ d·t] with hᵢ(t) = exp(−t/τᵢ)/τᵢ and Rᵢ ≥ 0, three groups: die and interface, cold
plate, fins to air. In the last, the power counts by a factor of the fan's speed, where the card has a fan: else a fan
that follows the die would be taken for a better cooler, or for a room that cools. The resistances have no one-to-one
part of a card, so the curve Z(t) = Σ Rᵢ(1 − exp(−t/τᵢ)) is reported at fixed times. Solved by `step_response`: bounded
log τ outside, non-negative least squares inside. Unbounded fits run away with drift (simulated on published step
responses: p95 error of Z(∞) 19 to 113 %).
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
"""Of the first second: below it, readings in whole degrees decide too little. With more steps of power less will do, by
the root of their number, because the roundings of each are its own."""
LEAST_WARMING_C = 8.0
"""Of the whole load: below it, a sensor may stand still, and every resistance would be 0."""
AVERAGED_ROWS = 10
"""Older drivers tell the mean of the last second of power on newer cards."""
STEP_ROWS, STEP_SHARE = 3, 0.6
"""An instantaneous reading makes more than this share of the step of power in so many rows, a mean makes a third."""
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
"""A fan that moved more follows the die."""
FAN_AT_PERCENT = 70.0
"""Of a card's own fan: what it measures is told for this speed, about that of full power, whatever speed it had."""
FAN_EXPONENT = 0.36
"""The way into the air falls with this power of the speed: by 35 % from the lowest to the highest (thermal_stats.md
§1.3)."""
FAN_EXPONENTS = (0.12, 0.60)
"""Coolers differ in it, so where the fan moved, the power is fitted as well, between these."""
EXPONENT_ROUNDS = 7
"""Of the search for it: each leaves 0.62 of the interval, so that a hundredth is left of 0.48."""
STILL_PERCENT = 8.0
"""A fan that stands counts as one this slow, because warm air rises by itself."""
OPTIMISM = 2.0
"""The interval from the Jacobian is too small by this factor, because rounding residuals are correlated."""
REST_U = 0.2
"""Of what the fan's speed changes of it between load and rest, by a power that is known no better."""
MODEL_U, MODEL_U_MOVED = 0.02, 0.04
"""Of the last group: by how much its resistance is off, because the air drifts, heat leaks and fans move otherwise than
the fit supposes; the second where the fan moved (`gpucert bench detection --suite heat`)."""


_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Resistance:
    """A value in °C/W with its standard uncertainty: how well this card would repeat it by its own power sensor.

    The gain of that sensor, 3 % between cards (Yang et al., SC24), is no part of it: what reference cards measured
    holds it already, and the limit of power is kept by the same sensor.
    """

    value: float
    u: float


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
    at_rest: Resistance | None = None
    """Z(∞) with the fan as it turned at rest, where the whole way was seen."""
    steady_fan: bool = False
    """Whether the fan turned alike at rest and under load, or there is none."""


def of_step(step: StepRecord) -> Heat:
    """The heat of a thermal soak, from its own trace of telemetry and the moments that the probe measured."""
    began, ended, trace = step.number("heat_began"), step.number("heat_ended"), step.traces.get("telemetry")
    if began is None or ended is None or trace is None:
        return _nothing(step, "the soak did not run to its end")
    columns = _columns(trace)
    if isinstance(columns, str):
        return _nothing(step, columns)
    first = step.number("pulses_began")
    return _fitted(
        step, columns, _Load(began if first is None else first, began, ended, int(step.number("pulses") or 0))
    )


@dataclass(frozen=True)
class _Load:
    """When the card was loaded: first in short pulses, if any, then for long."""

    first: float
    began: float
    ended: float
    pulses: int


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


@dataclass(frozen=True)
class _Soak:
    """What is fitted: the rows from the last part of the rest on, and what rest and load were like."""

    temperature_c: Array
    power_w: Array
    fan_percent: Array | None
    rest: NDArray[np.bool_]
    idle_w: float
    load_w: float
    """Above rest."""
    seconds: float
    """Of the long load."""
    pulses: int
    follows: bool
    """Whether the fan moved between rest and load."""

    @property
    def whole(self) -> bool:
        """Whether the load was long enough to see the heat reach the air."""
        return self.seconds >= WHOLE_HEAT_S

    def harder(self, exponent: float) -> Array:
        """By how much the fan's speed makes the way into the air harder than at FAN_AT_PERCENT."""
        if self.fan_percent is None:
            return np.ones_like(self.power_w)
        speed = np.maximum(self.fan_percent, STILL_PERCENT) / FAN_AT_PERCENT
        return np.asarray(speed**-exponent, dtype=np.float64)

    def at_rest(self, exponent: float) -> float:
        """The same, of the rest."""
        return float(np.mean(self.harder(exponent)[self.rest]))

    def fit(self, exponent: float) -> Response:
        """The curve, if a fan cools by this power of its speed."""
        into_air = self.power_w * self.harder(exponent)
        return step_response.fit(
            self.temperature_c,
            self.power_w - self.idle_w,
            drift=self.whole,
            into_air=into_air - float(np.mean(into_air[self.rest])),
        )


def _fitted(step: StepRecord, rows: _Columns, when: _Load) -> Heat:
    soak = _soak(rows, when)
    if isinstance(soak, str):
        return _nothing(step, soak)
    exponent = _best(soak.fit) if soak.whole and soak.follows else FAN_EXPONENT
    return _told(step, soak, soak.fit(exponent), soak.at_rest(exponent))


def _soak(rows: _Columns, when: _Load) -> _Soak | str:
    """A soak that can be fitted; a sentence where it cannot."""
    rest = (rows.at_s < when.first) & (rows.at_s >= when.first - REST_S)
    load = (rows.at_s >= when.began) & (rows.at_s <= when.ended)
    if rest.sum() < 40 or load.sum() < 100:
        return "rest or load were too short"
    if not (_alike(rows.temperature_c[rest]) or _one_step(rows, when.first)):
        return "the card had not come to rest before the load began"
    idle_w = float(np.mean(rows.power_w[rest]))
    load_w = float(np.median(rows.power_w[load])) - idle_w
    if load_w < LEAST_LOAD_W:
        return f"the load drew {load_w:.0f} W more than rest, too little to judge by"
    degrees = rows.temperature_c
    if _averaged(rows.power_w, load_w):
        # What is fitted is linear, so that a temperature averaged alike is explained by that power as well.
        degrees = _mean_of_the_last(degrees, AVERAGED_ROWS)
    window, fan = rows.at_s >= when.first - REST_S, rows.fan_percent
    return _Soak(
        temperature_c=degrees[window],
        power_w=rows.power_w[window],
        fan_percent=None if fan is None else fan[window],
        rest=rest[window],
        idle_w=idle_w,
        load_w=load_w,
        seconds=when.ended - when.began,
        pulses=when.pulses,
        follows=fan is not None and float(np.ptp(fan[load | rest])) > FAN_MOVED_PERCENT,
    )


def _told(step: StepRecord, soak: _Soak, curve: Response, harder_at_rest: float) -> Heat:
    """What the curve shows, and what it cannot."""
    doubt = MODEL_U_MOVED if soak.follows else MODEL_U
    fast, total = _at(curve, 1.0, doubt), _at(curve, math.inf, doubt)
    if soak.whole and total.value * soak.load_w < LEAST_WARMING_C:
        return _nothing(step, "the load hardly warmed the die: its sensor may stand still")
    if soak.whole and curve.r[-1] <= 0:
        return _nothing(step, "what was read shows no heat that goes into the air")
    rise = fast.value * soak.load_w
    low = Absent(Absence.UNKNOWN, f"the first second warmed the die by {rise:.0f} °C, too little to judge by")
    short = Absent(Absence.UNKNOWN, f"a load of {soak.seconds:.0f} s is too short to see the heat reach the air")
    return Heat(
        step=step,
        fast=fast if rise >= LEAST_RISE_C / math.sqrt(1 + soak.pulses) else low,
        slow=_between(curve, 10.0, math.inf, doubt) if soak.whole else short,
        total=total if soak.whole else short,
        idle_c=float(np.mean(soak.temperature_c[soak.rest])),
        idle_w=soak.idle_w,
        at_rest=_at_rest(curve, harder_at_rest, doubt) if soak.whole else None,
        steady_fan=not soak.follows,
    )


def _averaged(power_w: Array, load_w: float) -> bool:
    """Whether the power is a mean of the last second, which makes of every step a ramp."""
    return float(np.max(power_w[STEP_ROWS:] - power_w[:-STEP_ROWS])) < STEP_SHARE * load_w


def _mean_of_the_last(values: Array, rows: int) -> Array:
    """The mean of each value and those before it, so many in all."""
    padded = np.concatenate([np.full(rows - 1, values[0]), values])
    return np.convolve(padded, np.full(rows, 1 / rows), mode="valid")


def _best(fitted: Callable[[float], Response]) -> float:
    """The exponent whose fit leaves least, by the golden section (Kiefer 1953)."""
    low, high = FAN_EXPONENTS
    left, right = (fitted(low + share * (high - low)).squares for share in (1 - _GOLDEN, _GOLDEN))
    for _ in range(EXPONENT_ROUNDS):
        if left < right:
            high, right = low + _GOLDEN * (high - low), left
            left = fitted(low + (1 - _GOLDEN) * (high - low)).squares
        else:
            low, left = low + (1 - _GOLDEN) * (high - low), right
            right = fitted(low + _GOLDEN * (high - low)).squares
    return (low + high) / 2


def _alike(temperature_c: Array) -> bool:
    """Whether both halves have one mean."""
    half = len(temperature_c) // 2
    return abs(float(np.mean(temperature_c[half:])) - float(np.mean(temperature_c[:half]))) <= STEADY_C


def _one_step(rows: _Columns, began: float) -> bool:
    """Whether a rest of twice REST_S was watched, and no more than one step of the sensor was read in it."""
    rest = (rows.at_s < began) & (rows.at_s >= began - 2 * REST_S)
    watched = rows.at_s[0] <= began - 2 * REST_S + SPACING_S
    return bool(watched) and float(np.ptp(rows.temperature_c[rest])) <= STEP_C


def _at(curve: Response, seconds: float, doubt: float) -> Resistance:
    """Z at one time."""
    return _resistance(curve, *_weights(curve, seconds), doubt)


def _between(curve: Response, early: float, late: float, doubt: float) -> Resistance:
    """Z(late) − Z(early)."""
    (r_late, tau_late), (r_early, tau_early) = _weights(curve, late), _weights(curve, early)
    return _resistance(curve, r_late - r_early, tau_late - tau_early, doubt)


def _at_rest(curve: Response, harder: float, doubt: float) -> Resistance:
    """Z(∞) where the way into the air is so many times harder than at FAN_AT_PERCENT."""
    by_r, by_tau = _weights(curve, math.inf)
    by_r[-1] = harder
    return _resistance(curve, by_r, by_tau, max(doubt, REST_U * abs(math.log(harder))))


def _weights(curve: Response, seconds: float) -> tuple[Array, Array]:
    """The derivatives of Z by each R and by each ln τ."""
    x = seconds / curve.tau
    if math.isinf(seconds):
        return np.ones_like(x), np.zeros_like(x)
    fading = np.exp(-x)
    return 1 - fading, -curve.r * x * fading


def _resistance(curve: Response, by_r: Array, by_tau: Array, doubt: float) -> Resistance:
    gradient = np.concatenate([by_r, by_tau])
    value = float(by_r @ curve.r)
    own = OPTIMISM * math.sqrt(max(float(gradient @ curve.covariance @ gradient), 0.0))
    return Resistance(value, math.hypot(own, doubt * float(by_r[-1] * curve.r[-1])))
