"""What passes between the virtual medium in the worker and the virtual card in the monitor: a load and its outcome."""

from typing import Literal

from msgspec import Struct

LoadKind = Literal["idle", "memory", "arithmetic", "pcie"]


class Load(Struct, frozen=True, kw_only=True):
    """What the card is asked to do while time advances.

    Work that is given in `flop` or bytes ends the advance as soon as it is done; without any, the load lasts for all
    the seconds that were asked for. Bytes are those of the model's memory, not of the simulated window.
    """

    kind: LoadKind = "idle"
    rate: str = ""
    """Which rate bounds arithmetic: a DType or ArithmeticUnit value."""
    flop: float = 0.0
    bytes_read: float = 0.0
    """From the card's memory, or over PCIe to the host."""
    bytes_written: float = 0.0
    """To the card's memory, or over PCIe to the card."""
    corrected: int = 0
    """Errors that ECC corrected in the medium since the last advance."""
    uncorrected: int = 0
    """Errors that ECC found in the medium and could not correct since the last advance."""


class Advance(Struct, frozen=True, kw_only=True):
    """The card after time has advanced."""

    at_s: float
    """The card's clock now."""
    seconds: float
    """How long this advance took: less than asked for where its work was done earlier."""
    done: float
    """Share of the load's work that is done, 0 to 1; 1 for a load without work."""
    sm_clock_mhz: float
    """As it is reported."""
    cycles: float
    """That each multiprocessor has counted since the run began, at its real clock."""
    memory_clock_mhz: float
    temperature_c: float
    """The die's true temperature, which heat-dependent faults follow; sensors round it."""
    memory_temperature_c: float
    """The memory's true temperature, whether a sensor tells it or not."""
    uncorrected: int
    """Uncorrectable errors so far: a context that sees this rise is dead."""
    open_lines: tuple[int, ...] = ()
    """Joints of data wires of the memory that are open, by their number."""
    lost: bool = False
    """The card is off the bus."""
    abort: str = ""
    """Why the monitor wants the step to end, empty while it does not."""
