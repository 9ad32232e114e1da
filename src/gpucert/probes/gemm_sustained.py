"""Sustained products: how fast matrices are multiplied when the card is hot, per clock, and whether they stay right.

A peak says what the card can do for a second. What counts is the median of the later part of a long load, divided by
the clock that was read meanwhile: a healthy card of a model answers the same number whatever its cooling and power
limit, so a card that is low in it has a fault that no cooler will cure. Full-mantissa data, because zeros run cooler.
Products of INT8 are counted in operations (TOP/s), not in floating-point operations, because none of theirs is one.
"""

from dataclasses import dataclass
from statistics import fmean, median, stdev

from gpucert.probes.bench import Bench, Measure, Probe, absence, mean
from gpucert.reading import Absence, Absent
from gpucert.record import Sample
from gpucert.stress.backend import Compared, DType, Product
from gpucert.stress.offers import refused
from gpucert.units import Unit

SIZE = 8192
SLICE_S = 1.0
SUSTAINED_SHARE = 0.6
"""Only the last part of the load is judged: by then the card is warm."""
BATCH = 5
"""Slices that are averaged before their scatter is taken, because neighbours in time resemble each other."""


@dataclass(frozen=True)
class Window:
    """The sustained part of one type's load."""

    tflops: float
    """Or TOP/s."""
    u: float
    n: int
    drop_percent: float
    wrong: int
    inputs: Compared
    """The operands, after all of it."""
    samples: tuple[Sample, ...]


def run(bench: Bench) -> None:
    """Share the step's time among the types that the card offers."""
    reasons = refused(bench.backend, bench.seed)
    for dtype, reason in reasons.items():
        for suffix in ("rate", "per_clock", "per_joule"):
            bench.measure(f"{dtype.value}_{suffix}", absence(reason))
    offered = [dtype for dtype in DType if dtype not in reasons]
    sms = bench.backend.properties().sm_count
    windows: list[Window] = []
    for number, dtype in enumerate(offered):
        windows.append(_load(bench, dtype, 0.95 * bench.time_left() / (len(offered) - number)))
        _measure(bench, dtype, windows[-1], sms)
    bench.measure("wrong", sum(window.wrong for window in windows))
    bench.measure("inputs", sum(window.inputs.elements for window in windows))
    bench.measure("inputs_wrong", sum(window.inputs.wrong for window in windows))
    drops = [window.drop_percent for window in windows]
    bench.measure("heat_soak_drop", max(drops) if drops else Absent(Absence.NOT_SUPPORTED, "no type is offered"))


def _load(bench: Bench, dtype: DType, seconds: float) -> Window:
    """Multiply for this long in slices of about a second, every output of every slice's last run compared."""
    matrices = bench.backend.matrices(dtype, SIZE, bench.seed, exact=False)
    try:
        once = matrices.run(1, check=False).seconds
        runs = max(1, round(SLICE_S / once))
        began, slices, ends = bench.backend.seconds(), list[Product](), list[float]()
        while not slices or bench.backend.seconds() - began < seconds:
            slices.append(matrices.run(runs, check=True))
            ends.append(bench.card.now_s())
            bench.progress(min((bench.backend.seconds() - began) / seconds, 1.0), dtype.value)
        return _window(bench, slices, ends, matrices.inputs())
    finally:
        matrices.free()


def _window(bench: Bench, slices: list[Product], ends: list[float], inputs: Compared) -> Window:
    rates = [one.flop / one.seconds / 1e12 for one in slices]
    first = min(int(len(rates) * (1 - SUSTAINED_SHARE)), len(rates) - 1)
    sustained = rates[first:]
    batches = [fmean(sustained[at : at + BATCH]) for at in range(0, len(sustained), BATCH)]
    u = stdev(batches) / len(batches) ** 0.5 if len(batches) > 1 else 0.01 * sustained[0]
    early = median(rates[: max(1, len(rates) // 10)])
    since = ends[first] - slices[first].seconds
    return Window(
        tflops=median(sustained),
        u=u,
        n=len(sustained),
        drop_percent=100 * (1 - median(sustained) / early),
        wrong=sum(one.wrong for one in slices),
        inputs=inputs,
        samples=tuple(sample for sample in bench.card.samples(since) if sample.at_s <= ends[-1]),
    )


def _measure(bench: Bench, dtype: DType, window: Window, sms: int) -> None:
    bench.measure(f"{dtype.value}_rate", window.tflops, u=window.u, n=window.n)
    clock = mean(window.samples, "sm_clock_mhz")
    per_clock = clock if isinstance(clock, Absent) else window.tflops * 1e6 / (clock * sms)
    u = None if isinstance(per_clock, Absent) else per_clock * window.u / window.tflops
    bench.measure(f"{dtype.value}_per_clock", per_clock, u=u, n=window.n)
    power = mean(window.samples, "power_w")
    bench.measure(
        f"{dtype.value}_per_joule", power if isinstance(power, Absent) else window.tflops * 1000 / power, n=window.n
    )


def _promises(dtype: DType) -> tuple[Measure, ...]:
    integer = dtype is DType.INT8
    return (
        Measure(
            f"{dtype.value}_rate",
            Unit.TOP_PER_SECOND if integer else Unit.TFLOP_PER_SECOND,
            f"sustained {dtype.value} rate",
        ),
        Measure(
            f"{dtype.value}_per_clock",
            Unit.OP_PER_CLOCK_SM if integer else Unit.FLOP_PER_CLOCK_SM,
            f"the same per SM and cycle ({dtype.value})",
        ),
        Measure(
            f"{dtype.value}_per_joule",
            Unit.GOP_PER_JOULE if integer else Unit.GFLOP_PER_JOULE,
            f"the same per joule ({dtype.value})",
        ),
    )


PROBE = Probe(
    name="gemm_sustained",
    summary="how fast matrices are multiplied when the card is hot, per clock and per joule",
    measures=(
        *(measure for dtype in DType for measure in _promises(dtype)),
        Measure("wrong", Unit.COUNT, "outputs that differ from the first run's, bit for bit"),
        Measure("inputs", Unit.COUNT, "elements of the operands that were compared after the products"),
        Measure("inputs_wrong", Unit.COUNT, "elements of the operands that had changed in memory"),
        Measure("heat_soak_drop", Unit.PERCENT, "loss of speed from the first tenth of the load to its sustained part"),
    ),
    run=run,
)
