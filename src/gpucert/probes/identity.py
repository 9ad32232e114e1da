"""Identity: what the chip is, asked of the compute driver instead of the card's own labels.

A flashed card answers any name, but SM count, bus width and memory size come from the silicon. The verdict holds them
against the model that the card claims to be.
"""

from gpucert.probes.bench import Bench, Measure, Probe
from gpucert.reading import Absence, Absent, Reading
from gpucert.units import Unit

_MIB = 1 << 20
_BITS_PER_BYTE = 8


def run(bench: Bench) -> None:
    """Set every measure from the compute driver's properties; what it answers as 0 is absent."""
    found = bench.backend.properties()
    bench.measure("sm_count", _known(found.sm_count, "SM count"))
    bench.measure("memory_total", _known(found.total_bytes // _MIB, "memory size"))
    bench.measure("l2", _known(found.l2_bytes / _MIB, "L2 size"))
    bench.measure("bus_width", _known(found.bus_bits, "bus width"))
    peak = 2 * found.memory_clock_mhz * found.bus_bits / _BITS_PER_BYTE / 1000
    bench.measure("peak_bandwidth", _known(peak, "memory clock or bus width"))


def _known(value: float, what: str) -> Reading[float | int]:
    return value if value > 0 else Absent(Absence.ABSURD, f"the compute driver answered {value} as {what}")


PROBE = Probe(
    name="identity",
    summary="what the chip is, past its own labels",
    measures=(
        Measure("sm_count", Unit.COUNT, "streaming multiprocessors that the chip has"),
        Measure("memory_total", Unit.MIBIBYTE, "memory that can exist for programs"),
        Measure("l2", Unit.MIBIBYTE, "size of the second-level cache"),
        Measure("bus_width", Unit.BIT, "width of the memory bus"),
        Measure("peak_bandwidth", Unit.GBYTE_PER_SECOND, "2 × memory clock × bus width / 8"),
    ),
    run=run,
)
