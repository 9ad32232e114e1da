"""The step response that explains a temperature by the power before it, fitted in about a millisecond.

T(t) = c + Σ Rᵢ·(hᵢ ∗ P)(t) [+ d·t] with hᵢ(t) = exp(−t/τᵢ)/τᵢ, Rᵢ ≥ 0 and each τᵢ within its bounds. Variable
projection (Golub and Pereyra 1973, with the Jacobian of Kaufman 1975): R, c and d follow from τ, and only ln τ is
searched. Three things make it fast and leave its meaning alone. Between its bounds the response to one power is a
polynomial in ln τ, so it is worked out at a few τ only, and from there on all is algebra of their normal equations.
Long after the power last moved, a second of temperatures is one row, of their mean; the response behind it is exact to
each reading of power. And the search ends where it could move by a hundredth of the uncertainty.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPACING_S = 0.1
"""From one row to the next."""
TAU_BOUNDS_S = ((0.08, 1.0), (1.5, 12.0), (20.0, 250.0))
"""Die and interface, cold plate, fins to air."""
POWERS = 8
"""Terms of the polynomial in ln τ: its error is below a ten-thousandth of the response."""
BLOCK = 10
"""Rows that become one, where nothing moves."""
MOVED = 0.25
"""Of the whole swing of the power: a block within which it swings more is not averaged, nor are those after it."""
AWAKE_BLOCKS = 12
"""Three time constants of the cold plate, after which a second holds a line of temperature and no more."""
STEPS = 40
SETTLED = 1e-4
"""Expected gain, in variances of a row, below which the search ends: a hundredth of a standard deviation, squared."""
LEAST_VARIANCE_C2 = 1 / 120
"""Of a temperature in whole degrees, 1/12, spread over ten rows that mostly read alike."""

_GROUPS = len(TAU_BOUNDS_S)
_LOW, _HIGH = np.log(np.array(TAU_BOUNDS_S)).T
_MIDDLE, _HALF = (_LOW + _HIGH) / 2, (_HIGH - _LOW) / 2
"""Of ln τ, for each group."""
_MEAN = np.full(BLOCK, 1 / BLOCK)
_INTO_AIR = slice((_GROUPS - 1) * POWERS, None)
"""The nodes of the last group."""
_EACH, _EXPONENTS = np.arange(_GROUPS), np.arange(POWERS)
_DAMPED = np.diag(np.repeat([0.0, 1.0], _GROUPS))
"""Of a step in (R, x), what the search holds back: x alone."""


@dataclass(frozen=True)
class Response:
    """The fitted curve: resistances in °C/W, time constants in s, the covariance of (R, ln τ), and what was left over.

    `squares` is the sum of squared residuals over all rows, in °C².
    """

    r: Array
    tau: Array
    covariance: Array
    squares: float


def fit(temperature_c: Array, watts: Array, *, drift: bool, into_air: Array | None = None) -> Response:
    """Fit rows that follow each other by SPACING_S; `watts` is what is above the power at rest, which ruled before.

    `into_air` stands in for it in the last group, whose resistance a fan changes: watts times a factor of its speed.
    """
    problem = _problem(temperature_c, watts, watts if into_air is None else into_air, drift=drift)
    now = _at(problem, _start(problem))
    damping = 1e-3
    for _ in range(STEPS):
        step, gain = _step(now, damping)
        if gain < SETTLED * problem.variance(now.squares):
            break
        then = _at(problem, np.minimum(np.maximum(now.x + step, -1.0), 1.0))
        if then.squares < now.squares:
            now, damping = then, damping / 10
        else:
            damping *= 10
    return Response(now.r, _tau(now.x), _covariance(problem, now), now.squares)


# The problem: normal equations of the polynomials' coefficients


@dataclass(frozen=True)
class _Problem:
    """Normal equations of the coefficients of three polynomials, offset and drift taken out of both sides.

    `gram` is (3·POWERS)², `by_temperature` 3·POWERS; `squares` is what offset and drift leave of the temperature.
    """

    gram: Array
    by_temperature: Array
    squares: float
    freedom: int

    def variance(self, squares: float) -> float:
        """Of one row."""
        return max(squares / self.freedom, LEAST_VARIANCE_C2)


@dataclass(frozen=True)
class _Nodes:
    """Where the responses are worked out, and what makes coefficients of them.

    `to_power` is [row of the power, row of the response, node], the response of one block to its own power;
    `to_state` [row of the response, node] what is left in it of the state before. `to_mean_power` and `to_mean_state`
    are the same for the mean of a block's rows.
    """

    to_power: Array
    to_state: Array
    to_mean_power: Array
    to_mean_state: Array
    coefficients: Array


@cache
def _nodes() -> _Nodes:
    """x ← a·x + (1 − a)·P with a = exp(−Δt/τ): exact for power that is constant between two rows."""
    places = np.cos(np.pi * (np.arange(POWERS) + 0.5) / POWERS)  # Chebyshev's, where polynomials do not ring
    a = np.exp(-SPACING_S / _tau(np.tile(places[:, None], _GROUPS)).T.ravel())
    rows = np.arange(BLOCK)
    later = rows - rows[:, None]
    to_power = np.where(later[..., None] >= 0, (1 - a) * a ** np.maximum(later, 0)[..., None], 0.0)
    to_coefficients = np.linalg.inv(np.vander(places, increasing=True)).T
    spread = np.asarray(np.kron(np.eye(_GROUPS), to_coefficients), dtype=np.float64)
    to_state = np.asarray(a ** (rows[:, None] + 1), dtype=np.float64)
    return _Nodes(to_power, to_state, to_power.mean(axis=1), to_state.mean(axis=0), spread)


def _problem(temperature_c: Array, watts: Array, into_air: Array, *, drift: bool) -> _Problem:
    blocks = len(watts) // BLOCK
    degrees, power, air = (row[: blocks * BLOCK].reshape(blocks, BLOCK) for row in (temperature_c, watts, into_air))
    minutes = np.arange(blocks * BLOCK).reshape(blocks, BLOCK) * (SPACING_S / 60)
    awake, states = _awake(power), _states(power)
    states[:, _INTO_AIR] = _states(air)[:, _INTO_AIR]
    nodes = _nodes()
    single = _responses(states[awake], power[awake], air[awake], nodes.to_state, nodes.to_power)
    joined = _responses(states[~awake], power[~awake], air[~awake], nodes.to_mean_state, nodes.to_mean_power)
    other = np.stack([degrees, np.ones_like(degrees), *([minutes] if drift else [])])
    asleep = other[:, ~awake]
    means = asleep @ _MEAN
    columns = np.hstack([other[:, awake].reshape(len(other), -1), math.sqrt(BLOCK) * means])
    design = np.hstack([np.vstack([single, math.sqrt(BLOCK) * joined]), columns.T])
    gram = _without(design.T @ design, len(other) - 1)
    scatter = float(np.sum((asleep[0] - means[0][:, None]) ** 2))
    return _Problem(
        gram=nodes.coefficients.T @ gram[:-1, :-1] @ nodes.coefficients,
        by_temperature=nodes.coefficients.T @ gram[:-1, -1],
        squares=float(gram[-1, -1]) + scatter,
        freedom=max(blocks * BLOCK - 2 * _GROUPS - len(other) + 1, 1),
    )


def _awake(power: Array) -> NDArray[np.bool_]:
    """Blocks in which the power moves, and those that follow: there every row is kept."""
    before = np.concatenate([power[:1, 0], power[:-1, -1]])
    swing = np.maximum(power.max(axis=1), before) - np.minimum(power.min(axis=1), before)
    moved = np.flatnonzero(swing > MOVED * np.ptp(power))
    awake = np.zeros(len(power), dtype=np.bool_)
    for one in moved:
        awake[one : one + AWAKE_BLOCKS + 1] = True
    return awake


def _states(power: Array) -> Array:
    """The response at each node before each block, starting at rest: a running sum in log₂ steps."""
    nodes = _nodes()
    states = np.zeros((len(power), nodes.to_state.shape[1]))
    states[1:] = power[:-1] @ nodes.to_power[:, -1]
    kept, shift = nodes.to_state[-1], 1
    while shift < len(states):
        states[shift:] += kept * states[:-shift]
        kept, shift = kept * kept, 2 * shift
    return states


def _responses(states: Array, power: Array, air: Array, to_state: Array, to_power: Array) -> Array:
    """The response at each node in some blocks, [row or block, node]: of each row, or of their mean, as is asked."""
    responses = states[:, None] * to_state
    for watts, nodes in ((power, slice(_INTO_AIR.start)), (air, _INTO_AIR)):
        part = responses[..., nodes]
        part += (watts @ to_power[..., nodes].reshape(BLOCK, -1)).reshape(part.shape)
    return responses.reshape(-1, to_state.shape[-1])


def _without(gram: Array, last: int) -> Array:
    """Normal equations with the last unknowns eliminated (Schur complement)."""
    kept = gram.shape[0] - last
    return np.asarray(gram[:kept, :kept] - gram[:kept, kept:] @ np.linalg.solve(gram[kept:, kept:], gram[kept:, :kept]))


# The search


@dataclass(frozen=True)
class _Point:
    """One choice of the time constants, with the resistances that follow from it.

    `x` runs from −1 to 1 between the bounds of ln τ. `gram` and `by_temperature` are the normal equations of the three
    responses and, for R = 1, their three derivatives by x.
    """

    x: Array
    gram: Array
    by_temperature: Array
    r: Array
    squares: float


def _tau(x: Array) -> Array:
    return np.asarray(np.exp(_MIDDLE + _HALF * x), dtype=np.float64)


def _at(problem: _Problem, x: Array) -> _Point:
    powers = x[:, None] ** _EXPONENTS
    columns = np.zeros((_GROUPS, POWERS, 2, _GROUPS))
    columns[_EACH, :, 0, _EACH] = powers
    columns[_EACH, 1:, 1, _EACH] = powers[:, :-1] * _EXPONENTS[1:]
    to_columns = columns.reshape(_GROUPS * POWERS, 2 * _GROUPS)
    gram, by_temperature = to_columns.T @ problem.gram @ to_columns, to_columns.T @ problem.by_temperature
    a, b = gram[:_GROUPS, :_GROUPS], by_temperature[:_GROUPS]
    r = _not_negative(a, b)
    return _Point(x, gram, by_temperature, r, problem.squares - float(r @ (2 * b - a @ r)))


def _not_negative(a: Array, b: Array) -> Array:
    """The r ≥ 0 that makes r·a·r − 2·b·r least: the best of those whose other elements are 0."""
    r = np.asarray(np.linalg.solve(a, b), dtype=np.float64)
    if r.min() >= 0:
        return r
    best, most = np.zeros(_GROUPS), 0.0
    for kept in (list(some) for size in range(1, _GROUPS) for some in combinations(range(_GROUPS), size)):
        some = np.linalg.solve(a[np.ix_(kept, kept)], b[kept])
        if some.min() >= 0 and (gain := float(some @ b[kept])) > most:
            best, most = np.zeros(_GROUPS), gain
            best[kept] = some
    return best


def _step(now: _Point, damping: float) -> tuple[Array, float]:
    """Of Levenberg and Marquardt, and by how much it promises to lower the squares; nothing is pushed over a bound."""
    scale = _scale(now.r)
    normal = now.gram * scale * scale[:, None]
    downhill = (now.by_temperature - now.gram[:, :_GROUPS] @ now.r) * scale
    normal += damping * _DAMPED * normal
    free = scale > 0
    free[:_GROUPS] = free[_GROUPS:]
    free[_GROUPS:] &= now.x * np.sign(downhill[_GROUPS:]) < 1
    step = np.zeros(2 * _GROUPS)
    if free.all():
        step[:] = np.linalg.solve(normal, downhill)
    else:
        step[free] = np.linalg.solve(normal[free][:, free], downhill[free])
    return step[_GROUPS:], float(step @ downhill)


def _scale(r: Array) -> Array:
    """What makes a derivative by (R, x) of one for R = 1."""
    scale = np.ones(2 * _GROUPS)
    scale[_GROUPS:] = r
    return scale


@cache
def _grid() -> tuple[Array, NDArray[np.int_], Array]:
    """Where the search may start: places along x, all ways to choose one for each group, and how to get there."""
    places = np.linspace(-0.8, 0.8, 5)
    powers = places[:, None] ** np.arange(POWERS)
    chosen = np.array(list(product(range(len(places)), repeat=_GROUPS)))
    return places, chosen, np.kron(np.eye(_GROUPS), powers.T).astype(np.float64)


def _start(problem: _Problem) -> Array:
    """The best of a coarse grid, among those whose resistances are not negative; else its middle."""
    places, chosen, spread = _grid()
    column = chosen + np.arange(_GROUPS) * len(places)
    gram, b = spread.T @ problem.gram @ spread, (spread.T @ problem.by_temperature)[column]
    r = np.linalg.solve(gram[column[:, :, None], column[:, None, :]], b[..., None])[..., 0]
    gain = np.where((r >= 0).all(axis=1), np.sum(r * b, axis=1), -np.inf)
    best = int(np.argmax(gain))
    return places[chosen[best]] if math.isfinite(gain[best]) else np.zeros(_GROUPS)


def _covariance(problem: _Problem, now: _Point) -> Array:
    """Of (R, ln τ), from the Jacobian at the solution; what is not identified has little weight in any Z."""
    scale = _scale(now.r / _HALF)
    normal = now.gram * scale * scale[:, None]
    squares, axes = np.linalg.eigh(normal)
    told = squares > 1e-12 * squares[-1]
    return np.asarray((axes[:, told] / squares[told]) @ axes[:, told].T * problem.variance(now.squares))
