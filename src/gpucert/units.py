"""The units that a measurement may carry, and how a value of each is printed."""

from enum import StrEnum

NARROW_NO_BREAK_SPACE = "\u202f"


class Unit(StrEnum):
    """Each value is the symbol that is printed and that stands in JSON."""

    BIT = "bit"
    BYTE = "B"
    CELSIUS = "°C"
    CELSIUS_PER_WATT = "°C/W"
    COUNT = "1"
    FLOP_PER_CLOCK_SM = "FLOP/clk/SM"
    BYTE_PER_CLOCK = "B/clk"
    GBYTE_PER_SECOND = "GB/s"
    GFLOP_PER_JOULE = "GFLOP/J"
    HERTZ = "Hz"
    JOULE = "J"
    MEGAHERTZ = "MHz"
    MIBIBYTE = "MiB"
    PER_BIT = "1/bit"
    PERCENT = "%"
    RATIO = "ratio"
    REVOLUTIONS_PER_MINUTE = "rpm"
    SECOND = "s"
    TFLOP_PER_SECOND = "TFLOP/s"
    WATT = "W"


_BARE = (Unit.COUNT, Unit.RATIO)


def show(value: float, unit: Unit) -> str:
    """Print a value with four significant digits (counts in full, grouped) and its unit."""
    number = f"{value:,}" if isinstance(value, int) else _four_digits(value)
    number = number.replace(",", NARROW_NO_BREAK_SPACE)
    return number if unit in _BARE else f"{number}{NARROW_NO_BREAK_SPACE}{unit.value}"


def _four_digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude == 0 or 1e-3 <= magnitude < 1e7:
        return f"{value:,.4g}" if magnitude < 1000 else f"{value:,.0f}"
    return f"{value:.2e}"
