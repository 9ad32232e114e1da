"""Clocks: what the card's own governor makes of power, heat and the power brake, and the reasons it gives."""

import math

from msgspec import Struct

from gpucert.device.simulated.silicon import Silicon
from gpucert.device.simulated.wire import Load
from gpucert.record import EventReason

STEP_MHZ = 15.0
LOWEST_MHZ = 300.0
POWER_EXPONENT = 2.4
"""Dynamic power over clock: voltage falls with the clock, but not in proportion."""
LEAKAGE_PER_C = 0.0015
LEAKAGE_AT_C = 60.0
THROTTLED = 0.5
"""Hardware slowdown and power brake halve the clock."""


class Clocked(Struct, frozen=True):
    """The governor's choice."""

    sm_clock_mhz: float
    watts: float
    """True board power."""
    reasons: int
    """Bits of EventReason."""


def demand_of(load: Load) -> str:
    """The row of the demand table that a load stands in."""
    return load.rate if load.kind == "arithmetic" else load.kind


def govern(silicon: Silicon, load: Load, temperature_c: float, thermal_cap_mhz: float, *, brake: bool) -> Clocked:
    """The highest clock that power limit, heat and brake allow under this load."""
    leakage = 1 + LEAKAGE_PER_C * (temperature_c - LEAKAGE_AT_C)
    idle = silicon.idle_w * leakage
    braked = EventReason.HW_POWER_BRAKE | EventReason.HW_SLOWDOWN if brake else 0
    if load.kind == "idle":
        return Clocked(silicon.idle_clock_mhz, idle, int(EventReason.IDLE | braked))
    dynamic = (silicon.demand_w[demand_of(load)] - silicon.idle_w) * leakage
    hot = temperature_c >= silicon.limits.slowdown_c
    ceiling = silicon.max_clock_mhz * (THROTTLED if hot or brake else 1.0)
    by_power = _clock_within(silicon, (silicon.limit_w / silicon.draw.power_gain - idle) / dynamic)
    clock = _on_a_step(min(ceiling, thermal_cap_mhz, by_power), silicon.max_clock_mhz)
    reasons = braked
    if hot:
        reasons |= EventReason.HW_THERMAL | EventReason.HW_SLOWDOWN
    if thermal_cap_mhz < min(ceiling, by_power):
        reasons |= EventReason.SW_THERMAL
    if by_power < min(ceiling, thermal_cap_mhz):
        reasons |= EventReason.SW_POWER_CAP
    return Clocked(clock, idle + dynamic * math.pow(clock / silicon.rated_clock_mhz, POWER_EXPONENT), int(reasons))


def _clock_within(silicon: Silicon, room: float) -> float:
    """The clock at which dynamic power is `room` times that at the rated clock."""
    return silicon.rated_clock_mhz * math.pow(max(room, 1e-3), 1 / POWER_EXPONENT)


def _on_a_step(clock_mhz: float, highest_mhz: float) -> float:
    """Clocks come in steps; the highest is offered whatever its remainder."""
    if clock_mhz >= highest_mhz:
        return highest_mhz
    return max(LOWEST_MHZ, math.floor(clock_mhz / STEP_MHZ) * STEP_MHZ)


def next_cap_mhz(silicon: Silicon, cap_mhz: float, temperature_c: float) -> float:
    """The thermal ceiling one telemetry tick later: down in proportion to the excess, up one step when it is cooler."""
    excess = temperature_c - silicon.limits.max_operating_c
    if excess > 0:
        return max(LOWEST_MHZ, cap_mhz - STEP_MHZ * math.ceil(excess))
    return min(silicon.max_clock_mhz, cap_mhz + STEP_MHZ) if excess < -1 else cap_mhz
