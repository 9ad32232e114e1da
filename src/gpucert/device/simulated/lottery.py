"""The silicon lottery: where one virtual card lies in the spread of healthy cards of its model, drawn from its seed."""

import hashlib
import random

from msgspec import Struct

COMPUTE_SD = 0.005
BANDWIDTH_SD = 0.003
RESISTANCE_SD = 0.08
POWER_GAIN_SD = 0.024
FAN_EXPONENT, FAN_EXPONENT_SD = 0.36, 0.15
"""Spreads between healthy cards of one model. Power meters: Yang et al., SC24; resistances: two V100 of one chassis.
The way into the air falls by a third from the fan's lowest speed to its highest (thermal_stats.md §1.3): a power of the
speed, which differs from cooler to cooler by more than anybody has published."""
WIDEST = 2.0
"""Draws are kept within this many standard deviations, because a scenario called healthy must not be an outlier."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Draw(Struct, frozen=True, kw_only=True):
    """Factors of one card against the centre of its model."""

    compute: float
    bandwidth: float
    fast_resistance: float
    slow_resistance: float
    power_gain: float
    """What the power sensor answers for one true watt."""
    fan_exponent: float
    """By which power of its speed a fan of the card's own cools, not a factor."""


def draw(key: str, seed: int) -> Draw:
    """The draw of card `seed` of model `key`."""
    source = random.Random(f"{key}/{seed}")  # noqa: S311  # a simulation, not a secret
    return Draw(
        compute=_factor(source, COMPUTE_SD),
        bandwidth=_factor(source, BANDWIDTH_SD),
        fast_resistance=_factor(source, RESISTANCE_SD),
        slow_resistance=_factor(source, RESISTANCE_SD),
        power_gain=_factor(source, POWER_GAIN_SD),
        fan_exponent=FAN_EXPONENT * _factor(source, FAN_EXPONENT_SD),
    )


def _factor(source: random.Random, spread: float) -> float:
    return 1 + spread * max(-WIDEST, min(WIDEST, source.gauss(0, 1)))


def digits(key: str, seed: int, purpose: str) -> str:
    """64 hexadecimal digits that belong to this card alone: for its UUID, serial and the like."""
    return hashlib.sha256(f"{key}/{seed}/{purpose}".encode()).hexdigest()


def of_run(seed: int, run: int) -> int:
    """The seed of what differs from one run of a card to the next: its noise, and what goes wrong now and then.

    The first run has the card's own; those of others share no part of its sequence.
    """
    return int(digits("run", seed, str(run))[:16], 16) if run else seed


def noise(seed: int, count: int) -> float:
    """A value in [−1, 1) that is a pure function of a seed and a count, so that no generator has a state to keep.

    The finaliser is that of splitmix64 (Steele, Lea and Flood, 2014).
    """
    z = (seed + count * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) / (1 << 63) - 1.0
