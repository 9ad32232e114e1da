"""Memory bandwidth: sustained reading, writing and copying over all of the memory, per memory clock.

Measured over the whole memory, because a buffer that fits the L2 shows the L2. Divided by the memory clock that was
read meanwhile, it is the same on every healthy card of a model.
"""

from statistics import median, stdev

from gpucert.probes.bench import Bench, Measure, Probe, mean
from gpucert.reading import Absent
from gpucert.stress.backend import WORD_BYTES, Region
from gpucert.units import Unit

KINDS = ("read", "write", "copy")
HEADROOM_BYTES = 256 << 20
BATCHES = 10
BATCH_SECONDS = 0.5


def run(bench: Bench) -> None:
    """Measure each kind in batches of half a second; the median counts, its scatter is the uncertainty."""
    free = bench.backend.properties().free_bytes
    regions = bench.backend.reserve(HEADROOM_BYTES if free > 16 * HEADROOM_BYTES else 0)
    try:
        for position, kind in enumerate(KINDS):
            bench.progress(position / len(KINDS), kind)
            _measure(bench, regions, kind)
    finally:
        bench.backend.release(regions)


def _measure(bench: Bench, regions: tuple[Region, ...], kind: str) -> None:
    moved = sum(region.words for region in regions) * WORD_BYTES * bench.backend.memory_scale
    once = bench.backend.touch(regions, kind, 1)
    passes = max(1, round(BATCH_SECONDS / once))
    began = bench.card.now_s()
    rates = [moved * passes / bench.backend.touch(regions, kind, passes) / 1e9 for _ in range(BATCHES)]
    rate, u = median(rates), stdev(rates) / len(rates) ** 0.5
    bench.measure(kind, rate, u=u, n=len(rates))
    clock = mean(bench.card.samples(began), "memory_clock_mhz")
    if isinstance(clock, Absent):
        bench.measure(f"{kind}_per_clock", clock)
    else:
        bench.measure(f"{kind}_per_clock", rate * 1000 / clock, u=u * 1000 / clock, n=len(rates))


PROBE = Probe(
    name="memory_bandwidth",
    summary="sustained bandwidth over all of the memory, per memory clock",
    measures=tuple(
        measure
        for kind in KINDS
        for measure in (
            Measure(kind, Unit.GBYTE_PER_SECOND, f"sustained {kind} rate, bytes read and written counted"),
            Measure(f"{kind}_per_clock", Unit.BYTE_PER_CLOCK, f"the same for each cycle of the memory clock ({kind})"),
        )
    ),
    run=run,
)
