"""Everything about a virtual card that changes: saved as JSON, it goes on from there bit for bit."""

import msgspec
from msgspec import Struct

from gpucert.device.simulated.joints import Joint
from gpucert.device.simulated.silicon import Silicon
from gpucert.device.simulated.thermal import Rises
from gpucert.record import Event, Sample

SCHEMA = "gpucert.virtual-card/1"


class State(Struct, kw_only=True):
    """The card at one moment. It is mutable because twelve virtual hours are half a million ticks."""

    schema: str = SCHEMA
    at_s: float = 0.0
    ticks: int = 0
    """Rows of telemetry so far; noise is a function of this number, so that no generator has a state of its own."""
    rises: Rises
    """Of the terms of the thermal network over the inlet air, °C."""
    memory_rise_c: float = 0.0
    """Of the memory over the die."""
    memory_share: float = 1.0
    """Of its clock, at which memory that is too hot runs."""
    fan_percent: float
    thermal_cap_mhz: float
    sm_clock_mhz: float
    memory_clock_mhz: float
    power_w: float
    """Mean of the last tick, as the sensor answers it."""
    reasons: int
    link_busy: bool = False
    """Whether the PCIe link was needed by the last load."""
    tick_energy_j: float = 0.0
    """Since the last tick."""
    energy_j: float = 0.0
    cycles: float = 0.0
    """That each multiprocessor has counted."""
    thermal_s: float = 0.0
    """Time in software or hardware thermal slowdown."""
    hw_thermal_s: float = 0.0
    """The part of it in hardware slowdown."""
    brake_s: float = 0.0
    corrected: int = 0
    """By ECC in the medium; what a steady rate adds follows from the clock."""
    uncorrected: int = 0
    joints: list[Joint] = []
    """Those that heat can open, in the order of their faults."""
    replays: int = 0
    """Packets that were sent again while joints of the link were open."""
    fired: int = 0
    """Timed faults that have happened, in their order."""
    lost: bool = False
    events: list[Event] = []
    samples: list[Sample] = []
    """Rows of telemetry that nobody has drained yet."""

    @property
    def rise_c(self) -> float:
        """Of the die over the inlet air."""
        first, second, plate, air = self.rises
        return first + second + plate + air


class UnreadableStateError(ValueError):
    """Bytes are not the state of a virtual card that this version can go on from."""


def at_rest(silicon: Silicon, reasons: int, fan_percent: float) -> State:
    """A card that has been idle for long, with its fan at this speed."""
    first, second, plate, air = silicon.network_at(fan_percent).c_per_w
    watts = silicon.idle_w
    return State(
        rises=(first * watts, second * watts, plate * watts, air * watts),
        fan_percent=fan_percent,
        thermal_cap_mhz=silicon.max_clock_mhz,
        sm_clock_mhz=silicon.idle_clock_mhz,
        memory_clock_mhz=silicon.memory_clock_mhz,
        power_w=watts * silicon.draw.power_gain,
        reasons=reasons,
    )


def encode(state: State) -> bytes:
    """As JSON."""
    return msgspec.json.encode(state)


def decode(data: bytes) -> State:
    """From JSON. Raises UnreadableStateError."""
    try:
        state = msgspec.json.decode(data, type=State)
    except msgspec.DecodeError as error:
        raise UnreadableStateError(f"not the state of a virtual card: {error}") from error
    if state.schema != SCHEMA:
        raise UnreadableStateError(f"state is {state.schema!r}, this version reads {SCHEMA!r}")
    return state
