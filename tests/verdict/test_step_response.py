"""The fast fit of a step response: the same curve as a slow one that works on every row with SciPy."""

import numpy as np
import pytest
from scipy.optimize import least_squares, nnls
from scipy.signal import lfilter

from gpucert.verdict import step_response
from gpucert.verdict.step_response import SPACING_S, TAU_BOUNDS_S, Array, Response

SECONDS = np.arange(0, 300, SPACING_S)
WATTS = np.where((SECONDS > 20) & (SECONDS < 200), 300.0, 0.0)


def responses(watts: Array, tau: Array) -> list[Array]:
    a = np.exp(-SPACING_S / tau)
    return [np.asarray(lfilter([1 - one], [1, -one], watts)) for one in a]


def slow(temperature_c: Array, watts: Array, *, drift: bool) -> tuple[Array, Array]:
    """Resistances and time constants by bounded least squares, from two starts, over all rows."""

    def columns(log_tau: Array) -> Array:
        free = [np.ones_like(watts), *([SECONDS / 100] if drift else [])]
        return np.column_stack([*responses(watts, np.exp(log_tau)), *free, *(-one for one in free)])

    def residual(log_tau: Array) -> Array:
        design = columns(log_tau)
        return temperature_c - design @ nnls(design, temperature_c)[0]

    bounds = tuple(np.log(np.array(TAU_BOUNDS_S)).T)
    starts = ((0.3, 4.0, 60.0), (0.6, 3.0, 120.0))
    best = min((least_squares(residual, np.log(one), bounds=bounds) for one in starts), key=lambda fit: fit.cost)
    return nnls(columns(best.x), temperature_c)[0][:3], np.exp(best.x)


def rise(r: Array, tau: Array, seconds: float) -> float:
    return float(np.sum(r * (1 - np.exp(-seconds / tau))))


def soak(seed: int, *, drift: bool) -> tuple[Array, Array]:
    """Temperatures in whole degrees over a noisy power, of a card drawn within what cards can be."""
    chance = np.random.default_rng(seed)
    r = chance.uniform((0.02, 0.005, 0.02), (0.15, 0.03, 0.12))
    tau = chance.uniform((0.15, 2.0, 30.0), (0.8, 9.0, 150.0))
    watts = WATTS + chance.normal(0, 4, len(WATTS)) * (WATTS > 0)
    heat = sum(one * response for one, response in zip(r, responses(watts, tau), strict=True))
    return np.round(30 + heat + (0.01 * SECONDS if drift else 0) + chance.normal(0, 0.2, len(WATTS))), watts


@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_curve_of_a_slow_fit(seed: int, *, drift: bool) -> None:
    temperature_c, watts = soak(seed, drift=drift)
    fast = step_response.fit(temperature_c, watts, drift=drift)
    r, tau = slow(temperature_c, watts, drift=drift)
    for seconds in (1.0, 10.0, 1e6):
        assert rise(fast.r, fast.tau, seconds) == pytest.approx(rise(r, tau, seconds), rel=0.005)


@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_its_uncertainty_is_that_of_the_jacobian_over_all_rows(seed: int, *, drift: bool) -> None:
    """u of Z(1 s), Z(∞) − Z(10 s) and Z(∞), from derivatives by differences at the solution.

    Never less than over all rows, but for digits; a little more, because a joined second tells less than its rows.
    """
    temperature_c, watts = soak(seed, drift=drift)
    fast = step_response.fit(temperature_c, watts, drift=drift)
    free = [np.ones_like(watts), *([SECONDS] if drift else [])]
    values = np.array(responses(watts, fast.tau))
    up, down = (np.array(responses(watts, fast.tau * np.exp(step))) for step in (1e-4, -1e-4))
    slopes = (up - down) / 2e-4
    jacobian = np.column_stack([*values, *(fast.r[:, None] * slopes), *free])
    left = temperature_c - fast.r @ values
    left -= np.column_stack(free) @ np.linalg.lstsq(np.column_stack(free), left, rcond=None)[0]
    variance = float(left @ left) / (len(left) - jacobian.shape[1])
    covariance = np.linalg.pinv(jacobian.T @ jacobian, rcond=1e-14, hermitian=True)[:6, :6] * variance
    for early, late in ((0.0, 1.0), (10.0, 1e9), (0.0, 1e9)):
        by_r = np.exp(-early / fast.tau) - np.exp(-late / fast.tau)
        by_tau = fast.r * (early / fast.tau * np.exp(-early / fast.tau) - late / fast.tau * np.exp(-late / fast.tau))
        gradient = np.concatenate([by_r, by_tau])
        u, slow_u = (float(gradient @ one @ gradient) ** 0.5 for one in (fast.covariance, covariance))
        assert 0.97 < u / slow_u < 1.2


def test_resistances_and_time_constants_stay_within_what_can_be() -> None:
    """Temperatures that fall while the card is loaded, that never move, and that are noise."""
    chance = np.random.default_rng(1)
    for temperature_c in (50 - WATTS / 30, np.full(len(WATTS), 40.0), chance.normal(40, 5, len(WATTS))):
        found: Response = step_response.fit(temperature_c, WATTS, drift=True)
        low, high = np.array(TAU_BOUNDS_S).T
        assert (found.r >= 0).all()
        assert ((found.tau >= low * 0.999) & (found.tau <= high * 1.001)).all()
        assert np.isfinite(found.covariance).all()


def test_power_that_counts_otherwise_in_the_last_group_is_told_apart() -> None:
    """A fan that speeds up cools more: unsaid, the resistance into the air would seem to shrink."""
    r, tau = np.array([0.05, 0.03, 0.08]), np.array([0.3, 4.0, 60.0])
    into_air = WATTS * np.where(SECONDS < 90, 1.0, 0.6)
    first, second, _ = responses(WATTS, tau)
    temperature_c = 30 + r[0] * first + r[1] * second + r[2] * responses(into_air, tau)[2]
    told = step_response.fit(temperature_c, WATTS, drift=False, into_air=into_air)
    assert rise(told.r, told.tau, 1e6) == pytest.approx(sum(r), rel=0.01)
    assert rise(told.r, told.tau, 1.0) == pytest.approx(rise(r, tau, 1.0), rel=0.02)
    untold = step_response.fit(temperature_c, WATTS, drift=False)
    assert rise(untold.r, untold.tau, 1e6) < 0.9 * sum(r)
