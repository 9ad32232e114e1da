"""Fans: what the firmware asks of a card's own, by the temperature of its die. A blocked one is asked the same."""

from typing import Literal

from gpucert.device.simulated.silicon import Silicon

Sort = Literal["automatic", "fixed", "stops"]

FIXED_PERCENT = 70.0
TAU_S = 5.0
LOWEST_PERCENT, FROM_C, PERCENT_PER_C = 30.0, 45.0, 2.0
STARTS_C, STOPS_C = 55.0, 45.0
"""Of a fan that stands still while the die is cool: GeForce cards and workstation boards do so, at about these."""
TURNS_PERCENT = 5.0


def asked(percent: float, core_c: float, sort: Sort) -> float:
    """The speed that is asked of a fan that was asked for `percent` before."""
    if sort == "fixed":
        return FIXED_PERCENT
    if sort == "stops" and core_c < (STOPS_C if percent > TURNS_PERCENT else STARTS_C):
        return 0.0
    return min(100.0, max(LOWEST_PERCENT, LOWEST_PERCENT + PERCENT_PER_C * (core_c - FROM_C)))


def followed(percent: float, core_c: float, sort: Sort, seconds: float) -> float:
    """The speed a short while later: the firmware moves it slowly."""
    return percent + (asked(percent, core_c, sort) - percent) * seconds / TAU_S


def at_rest(silicon: Silicon, sort: Sort) -> float:
    """The speed at which a card that has been idle for long asks for no other one."""
    percent = 0.0
    for _ in range(30):
        rise = silicon.network_at(percent).total_c_per_w * silicon.idle_w
        percent = asked(percent, silicon.inlet_c + rise, sort)
    return percent
