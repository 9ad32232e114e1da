"""Heat: how the die warms over the inlet air, as a Foster network of four exponential terms.

Real cards rise by half to nine tenths of their first five seconds within one second, so a single time constant will
not do (measured on raw traces of Yang et al., SC24). The terms have no one-to-one part of the card: what is said of a
card is its curve Z(t), the rise per watt t seconds after a power step.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from msgspec import Struct

TAUS_S = (0.08, 0.4, 4.0, 55.0)
"""Die and interface (two), cold plate, fin stack to air."""

FAN_AT_PERCENT = 70.0
"""Of a card's own fan: the speed that the catalogue's resistances are stated at, about that of full power."""
STILL_PERCENT = 8.0
"""A fan that stands cools like one this slow, because warm air rises by itself: an engineering choice."""

_FIRST_OF_FAST = 0.4
"""Share of the fast pair that the fastest term has."""
_PLATE_OF_REST = 0.3
"""Share of the rest that the cold plate has."""

Rises = tuple[float, float, float, float]


class Network(Struct, frozen=True):
    """Resistances of the four terms in °C/W."""

    c_per_w: Rises

    @property
    def total_c_per_w(self) -> float:
        """Z(∞)."""
        return sum(self.c_per_w)

    def rise_per_watt(self, seconds: float) -> float:
        """Z(t): the rise in °C/W, `seconds` after a step of power."""
        return sum(r * -math.expm1(-seconds / tau) for r, tau in zip(self.c_per_w, TAUS_S, strict=True))


def network(fast_c_per_w: float, total_c_per_w: float) -> Network:
    """The network whose Z(1 s) and Z(∞) are these."""
    fast_response = _mix(_FIRST_OF_FAST, 0, 1)
    rest_response = _mix(_PLATE_OF_REST, 2, 3)
    fast = (fast_c_per_w - rest_response * total_c_per_w) / (fast_response - rest_response)
    fast = min(max(fast, 0.0), total_c_per_w)
    rest = total_c_per_w - fast
    shares = (
        _FIRST_OF_FAST * fast,
        (1 - _FIRST_OF_FAST) * fast,
        _PLATE_OF_REST * rest,
        (1 - _PLATE_OF_REST) * rest,
    )
    return Network(shares)


def _mix(share: float, first: int, second: int) -> float:
    """Response at one second of two terms that share a resistance."""
    return share * -math.expm1(-1 / TAUS_S[first]) + (1 - share) * -math.expm1(-1 / TAUS_S[second])


def scaled(base: Network, fast: float, slow: float) -> Network:
    """The network with its interface (first two terms) and its way into the air (last term) made worse."""
    a, b, plate, air = base.c_per_w
    return Network((a * fast, b * fast, plate, air * slow))


def at_speeds(base: Network, percents: Sequence[float], exponent: float) -> Network:
    """The network while its fans turn at these speeds: each cools its part of the fins, by a power of its speed."""
    a, b, plate, air = base.c_per_w
    carried = fmean(math.pow(max(one, STILL_PERCENT) / FAN_AT_PERCENT, exponent) for one in percents)
    return Network((a, b, plate, air / carried))


def decay(seconds: float) -> Rises:
    """What remains of each term's distance to its end after `seconds`; exact for any step."""
    first, second, plate, air = TAUS_S
    return math.exp(-seconds / first), math.exp(-seconds / second), math.exp(-seconds / plate), math.exp(-seconds / air)


def warmed(rises: Rises, watts: float, network: Network, remaining: Rises) -> Rises:
    """The rises after a step of constant power, given `decay` of its length."""
    (a, b, c, d), (ra, rb, rc, rd), (ka, kb, kc, kd) = rises, network.c_per_w, remaining
    ea, eb, ec, ed = ra * watts, rb * watts, rc * watts, rd * watts
    return ea + (a - ea) * ka, eb + (b - eb) * kb, ec + (c - ec) * kc, ed + (d - ed) * kd
