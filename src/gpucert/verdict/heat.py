"""How heat leaves the die: the step response of a thermal soak, fitted from its telemetry.

T(t) = c + Σ Rᵢ·(hᵢ ∗ (P − P₀))(t) [+ d·t] with hᵢ(t) = exp(−t/τᵢ)/τᵢ and Rᵢ ≥ 0, three groups: die and interface, cold
plate, fins to air. The resistances have no one-to-one part of a card, so the curve Z(t) = Σ Rᵢ(1 − exp(−t/τᵢ)) is
reported at fixed times. Solved by variable projection: bounded log τ outside, non-negative least squares inside.
Unbounded fits run away with drift (simulated on published step responses: p95 error of Z(∞) 19 to 113 %).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucert.reading import Absence, Absent
from gpucert.record import StepRecord, Trace

Array = NDArray[np.float64]

PROBE = "thermal_soak"
TAU_BOUNDS_S = ((0.08, 1.0), (1.5, 12.0), (20.0, 250.0))
STARTS_S = ((0.3, 4.0, 60.0), (0.6, 3.0, 120.0))
SPACING_S = 0.1
LONGEST_GAP_S = 0.6
"""A telemetry of one row a second is blind to the interface; a station that stalls for half a second is not."""
WHOLE_HEAT_S = 120.0
"""A shorter load shows the first second only: nothing can be said of the way into the air."""
LEAST_RISE_C = 8.0
"""Of the first second: below it, readings in whole degrees decide too little."""
STEADY_C = 0.7
"""How far the two halves of the last part of the rest may differ."""
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
    times = np.array(trace.at_s, dtype=np.float64)
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
    column = trace.column(channel)[: len(trace.at_s)]
    padded = np.full(len(trace.at_s), math.nan)
    try:
        padded[: len(column)] = column
    except ValueError:  # because a word stands among the numbers
        padded[: len(column)] = [math.nan if isinstance(value, Absence) else value for value in column]
    return padded


def _fitted(step: StepRecord, rows: _Columns, began: float, ended: float) -> Heat:
    rest = (rows.at_s < began) & (rows.at_s >= began - 20)
    load = (rows.at_s >= began) & (rows.at_s <= ended)
    if rest.sum() < 40 or load.sum() < 100:
        return _nothing(step, "rest or load were too short")
    temperature = rows.temperature_c[rest]
    half = len(temperature) // 2
    if abs(float(np.mean(temperature[half:])) - float(np.mean(temperature[:half]))) > STEADY_C:
        return _nothing(step, "the card had not come to rest before the load began")
    idle_w = float(np.mean(rows.power_w[rest]))
    window = rows.at_s >= began - 20
    moved = 0.0 if rows.fan_percent is None else float(np.ptp(rows.fan_percent[load | rest]))
    whole = ended - began >= WHOLE_HEAT_S
    response = _fit(
        rows.at_s[window], rows.temperature_c[window], rows.power_w[window] - idle_w,
        drift=whole and moved <= FAN_MOVED_PERCENT,
    )  # fmt: skip
    rise = response.at(1.0).value * (float(np.median(rows.power_w[load])) - idle_w)
    low = Absent(Absence.UNKNOWN, f"the first second warmed the die by {rise:.0f} °C, too little to judge by")
    short = Absent(Absence.UNKNOWN, f"a load of {ended - began:.0f} s is too short to see the heat reach the air")
    return Heat(
        step=step,
        fast=response.at(1.0) if rise >= LEAST_RISE_C else low,
        slow=response.between(10.0, math.inf) if whole else short,
        total=response.at(math.inf) if whole else short,
        idle_c=float(np.mean(temperature)),
        idle_w=idle_w,
        steady_fan=moved <= FAN_MOVED_PERCENT,
    )


@dataclass(frozen=True)
class _Response:
    """The fitted curve: resistances, time constants and the covariance of both (R₁ R₂ R₃, ln τ₁ ln τ₂ ln τ₃)."""

    r: Array
    tau: Array
    covariance: Array

    def at(self, seconds: float) -> Resistance:
        """Z at one time."""
        return self._of(*self._weights(seconds))

    def between(self, early: float, late: float) -> Resistance:
        """Z(late) − Z(early)."""
        (r_late, tau_late), (r_early, tau_early) = self._weights(late), self._weights(early)
        return self._of(r_late - r_early, tau_late - tau_early)

    def _weights(self, seconds: float) -> tuple[Array, Array]:
        """The derivatives of Z by each R and by each ln τ."""
        x = seconds / self.tau
        fading = np.exp(-np.minimum(x, 700.0))
        return 1 - fading, np.where(np.isinf(x), 0.0, -self.r * np.where(np.isinf(x), 0.0, x) * fading)

    def _of(self, by_r: Array, by_tau: Array) -> Resistance:
        gradient = np.concatenate([by_r, by_tau])
        value = float(by_r @ self.r)
        own = OPTIMISM * math.sqrt(max(float(gradient @ self.covariance @ gradient), 0.0))
        return Resistance(value, math.hypot(own, POWER_U * value))


def _fit(at_s: Array, temperature_c: Array, watts: Array, *, drift: bool) -> _Response:
    from scipy.optimize import least_squares

    low, high = (np.log([bound[side] for bound in TAU_BOUNDS_S]) for side in (0, 1))

    def residual(log_tau: Array) -> Array:
        columns = _design(at_s, watts, np.exp(log_tau), drift=drift)
        return temperature_c - columns @ _solve(columns, temperature_c)

    fits = (least_squares(residual, np.log(start), bounds=(low, high), diff_step=1e-3) for start in STARTS_S)
    best = min(fits, key=lambda one: float(one.cost))
    tau = np.exp(np.asarray(best.x, dtype=np.float64))
    columns = _design(at_s, watts, tau, drift=drift)
    solved = _solve(columns, temperature_c)
    return _Response(solved[:3], tau, _covariance(at_s, watts, temperature_c, tau, solved, columns))


def _design(at_s: Array, watts: Array, tau: Array, *, drift: bool) -> Array:
    """One column for each group's response to the power, one for the offset, one for the drift."""
    columns = [_response(watts, one) for one in tau]
    columns.append(np.ones_like(at_s))
    if drift:
        columns.append((at_s - at_s[0]) / 100)
    return np.column_stack(columns)


def _response(watts: Array, tau: float) -> Array:
    """x ← a·x + (1 − a)·P with a = exp(−Δt/τ): exact for power that is constant between two rows."""
    from scipy.signal import lfilter

    a = math.exp(-SPACING_S / tau)
    return np.asarray(lfilter([1 - a], [1, -a], watts), dtype=np.float64)


def _solve(columns: Array, temperature_c: Array) -> Array:
    """Resistances that are not negative; offset and drift of either sign."""
    from scipy.optimize import nnls

    free = columns[:, 3:]
    found, _ = nnls(np.hstack([columns, -free]), temperature_c)
    solved = np.asarray(found, dtype=np.float64)
    solved[3 : columns.shape[1]] -= solved[columns.shape[1] :]
    return solved[: columns.shape[1]]


def _covariance(at_s: Array, watts: Array, temperature_c: Array, tau: Array, solved: Array, columns: Array) -> Array:
    """Of (R, ln τ), from the Jacobian at the solution; what is not identified has little weight in any Z."""
    step = 1e-3
    by_tau = [
        solved[place] * (_response(watts, one * math.exp(step)) - _response(watts, one)) / step
        for place, one in enumerate(tau)
    ]
    jacobian = np.column_stack([columns, *by_tau])
    residual = temperature_c - columns @ solved
    variance = float(residual @ residual) / max(len(at_s) - jacobian.shape[1], 1)
    whole = np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-12) * max(variance, 1 / 12 / 10)
    kept = [0, 1, 2, *range(columns.shape[1], jacobian.shape[1])]
    return np.asarray(whole[np.ix_(kept, kept)], dtype=np.float64)
