"""Memory bandwidth: sustained reading, writing and copying over all of the memory, per memory clock.

Measured over the whole memory, because a buffer that fits the L2 shows the L2. Divided by the memory clock that was
read meanwhile, it is the same on every healthy card of a model. No other load heats the memory so much over the die:
what its sensor shows over that of the die, whether heat held the card back, and whether reading became slower as the
step went on, tell of the pads between memory and cooler.
"""

from statistics import median, stdev

from gpucert.probes.bench import Bench, Measure, Probe, held_by_heat, mean, over_core, share_held
from gpucert.reading import Absent, Reading
from gpucert.record import Sample
from gpucert.stress.backend import WORD_BYTES, Region
from gpucert.units import Unit

KINDS = ("read", "write", "copy")
HEADROOM_BYTES = 256 << 20
BATCHES = 10
"""Batches of each kind, unless a plan asks for others; more where time is to be filled."""
BATCH_SECONDS = 0.5
FILLED_SHARE = 0.8


def run(bench: Bench) -> None:
    """Measure in batches of half a second; the median counts, the scatter of the batches is the uncertainty.

    The kinds take turns, because neighbours in time resemble each other: the batches of one kind are spread out.
    """
    free = bench.backend.properties().free_bytes
    regions = bench.backend.reserve(HEADROOM_BYTES if free > 16 * HEADROOM_BYTES else 0)
    began = bench.card.now_s()
    try:
        rates = _rates(bench, regions)
    finally:
        bench.backend.release(regions)
    samples = bench.card.samples(began)
    clock = mean(samples, "memory_clock_mhz")
    for kind in KINDS:
        _measure(bench, kind, rates[kind], clock)
    _measure_heat(bench, samples, rates["read"])


def _rates(bench: Bench, regions: tuple[Region, ...]) -> dict[str, list[float]]:
    """GB/s of every batch, by kind."""
    moved = sum(region.words for region in regions) * WORD_BYTES * bench.backend.memory_scale
    budget, began = bench.time_left(), bench.backend.seconds()
    batches = int(bench.options.get("batches", BATCHES))
    passes = {kind: max(1, round(BATCH_SECONDS / bench.backend.touch(regions, kind, 1))) for kind in KINDS}
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    done = 0.0
    while done < 1:
        for kind in KINDS:
            rates[kind].append(moved * passes[kind] / bench.backend.touch(regions, kind, passes[kind]) / 1e9)
        by_count = len(rates[KINDS[0]]) / batches
        by_time = (bench.backend.seconds() - began) / (FILLED_SHARE * budget) if bench.backend.fills_time else 1.0
        done = min(by_count, by_time)
        bench.progress(min(done, 1.0), "reading, writing, copying")
    return rates


def _measure(bench: Bench, kind: str, rates: list[float], clock_mhz: Reading[float]) -> None:
    rate, u = median(rates), stdev(rates) / len(rates) ** 0.5
    bench.measure(kind, rate, u=u, n=len(rates))
    if isinstance(clock_mhz, Absent):
        bench.measure(f"{kind}_per_clock", clock_mhz)
    else:
        bench.measure(f"{kind}_per_clock", rate * 1000 / clock_mhz, u=u * 1000 / clock_mhz, n=len(rates))


def _measure_heat(bench: Bench, samples: tuple[Sample, ...], rates: list[float]) -> None:
    """How warm the memory became, and what that cost; warm at the end means the last fifth of the step."""
    warm = samples[len(samples) * 4 // 5 :]
    bench.measure("memory_over_core", over_core(warm, "memory_temperature_c"))
    bench.measure("core_temperature", mean(warm, "temperature_c"))
    bench.measure("thermal_throttle", share_held(samples, held_by_heat))
    third = max(1, len(rates) // 3)
    bench.measure("rate_kept", 100 * median(rates[-third:]) / median(rates[:third]))


PROBE = Probe(
    name="memory_bandwidth",
    summary="sustained bandwidth over all of the memory, per memory clock",
    measures=(
        *(
            measure
            for kind in KINDS
            for measure in (
                Measure(kind, Unit.GBYTE_PER_SECOND, f"sustained {kind} rate, bytes read and written counted"),
                Measure(f"{kind}_per_clock", Unit.BYTE_PER_CLOCK, f"the same for each cycle of memory clock ({kind})"),
            )
        ),
        Measure("memory_over_core", Unit.CELSIUS, "the memory's temperature over the die's, at the end"),
        Measure("core_temperature", Unit.CELSIUS, "the die's temperature at the end"),
        Measure("thermal_throttle", Unit.PERCENT, "share of the step's samples slowed down by heat"),
        Measure("rate_kept", Unit.PERCENT, "reading at the end over reading at the beginning"),
    ),
    run=run,
)
