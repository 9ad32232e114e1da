"""Counters: what the card has counted against itself.

Corrected and uncorrected errors, rows that had to be replaced, pages that had to be retired, and whether its own record
(InfoROM) can still be read. A clean counter is no clean past, because some of them can be cleared; a dirty one is.
"""

from gpucert.probes.bench import Bench, Measure, Probe
from gpucert.reading import Absent, Reading
from gpucert.units import Unit


def run(bench: Bench) -> None:
    """Pass every counter on as it is, absences too."""
    now = bench.card.counters()
    bench.measure("ecc_corrected", now.ecc_corrected_volatile)
    bench.measure("ecc_uncorrected", now.ecc_uncorrected_volatile)
    bench.measure("remapped_uncorrectable", now.remapped_uncorrectable)
    bench.measure("remap_pending", _flag(now.remap_pending))
    bench.measure("remap_failure", _flag(now.remap_failure))
    bench.measure("retired_pages", _sum(now.retired_sbe, now.retired_dbe))
    bench.measure("retired_pending", _flag(now.retired_pending))
    bench.measure("inforom_valid", _flag(now.inforom_valid))
    bench.measure("recovery_action", now.recovery_action)


def _flag(value: Reading[bool]) -> Reading[float | int]:
    return value if isinstance(value, Absent) else int(value)


def _sum(first: Reading[int], second: Reading[int]) -> Reading[float | int]:
    if isinstance(first, Absent):
        return first
    return second if isinstance(second, Absent) else first + second


PROBE = Probe(
    name="counters",
    summary="what the card has counted against itself",
    measures=(
        Measure("ecc_corrected", Unit.COUNT, "errors that ECC corrected since the driver was loaded"),
        Measure("ecc_uncorrected", Unit.COUNT, "errors that ECC could not correct since the driver was loaded"),
        Measure("remapped_uncorrectable", Unit.COUNT, "memory rows replaced after uncorrectable errors"),
        Measure("remap_pending", Unit.COUNT, "1 while a row remap waits for a reset"),
        Measure("remap_failure", Unit.COUNT, "1 once a row could not be remapped"),
        Measure("retired_pages", Unit.COUNT, "memory pages retired for life"),
        Measure("retired_pending", Unit.COUNT, "1 while a page retirement waits for a driver reload"),
        Measure("inforom_valid", Unit.COUNT, "1 if the checksum of the card's own record is right"),
        Measure("recovery_action", Unit.COUNT, "0, or the recovery that the driver asks for"),
    ),
    run=run,
    loads_card=False,
)
