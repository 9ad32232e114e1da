"""Sustained products: how fast matrices are multiplied when the card is hot, per clock, and whether they stay right.

A peak says what the card can do for a second. What counts is the median of the later part of a long load, divided by
the clock that was read meanwhile: a healthy card of a model answers the same number whatever its cooling and power
limit, so a card that is low in it has a fault that no cooler will cure. Full-mantissa data, because zeros run cooler.
Products of INT8 are counted in operations (TOP/s), not in floating-point operations, because none of theirs is one.

Every few seconds other numbers take the place of the old ones, because a core may err with some and not with others.
One set of three is of toggling numbers, whose bits flip all at once: for a moment, and not in the rates, because they
draw another power. The first answers to new numbers are taken for right. So this finds what changes; what is always
wrong in the same way is found by exact products and by known answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean, median, stdev

from gpucert.probes.bench import Bench, Measure, Probe, absence, mean, wrong_value
from gpucert.reading import Absence, Absent
from gpucert.record import Mismatch, Sample
from gpucert.stress.backend import Compared, DType, Matrices, Product
from gpucert.stress.deep import deepest
from gpucert.stress.offers import refused
from gpucert.units import Unit

SLICE_S = 1.0
STAY_S = 5.0
"""How long numbers of full mantissas stay; toggling ones stay for a slice."""
WORTH = 50
"""Products for which numbers stay at least, because the right answers to others cost two more."""
STAYS_ON_A_MEDIUM = 2
"""Into so many parts a load on a medium is divided instead, because there new numbers take the host's time."""
TURN, TOGGLING = 3, 1
"""Of every TURN sets of numbers, counted from 0, this one toggles."""
SUSTAINED_SHARE = 0.6
"""Only the last part of the load is judged: by then the card is warm."""
BATCH = 5
"""Slices that are averaged before their scatter is taken, because neighbours in time resemble each other."""
MOST_RECORDED = 64
"""Wrong outputs of each type that are put on the record."""


@dataclass(frozen=True)
class Slice:
    """About a second of products of the same numbers, on the card's clock."""

    product: Product
    ended_s: float

    @property
    def began_s(self) -> float:
        """When it began, but for the looks at its outputs."""
        return self.ended_s - self.product.seconds

    @property
    def rate(self) -> float:
        """TFLOP/s, or TOP/s."""
        return self.product.flop / self.product.seconds / 1e12


@dataclass(frozen=True)
class Stint:
    """What became of one set of numbers, which are those of the run's seed plus `number`."""

    number: int
    began_s: float
    slices: tuple[Slice, ...]
    inputs: Compared
    """The operands, after all of it."""

    @property
    def toggling(self) -> bool:
        """Whether the numbers are."""
        return _toggles(self.number)


@dataclass(frozen=True)
class Window:
    """The sustained part of one type's load."""

    tflops: float
    """Or TOP/s."""
    u: float
    n: int
    drop_percent: float
    samples: tuple[Sample, ...]


def run(bench: Bench) -> None:
    """Share the step's time among the types that the card offers."""
    reasons = refused(bench.backend, bench.seed)
    for dtype, reason in reasons.items():
        for suffix in ("rate", "per_clock", "per_joule"):
            bench.measure(f"{dtype.value}_{suffix}", absence(reason))
    offered = [dtype for dtype in DType if dtype not in reasons]
    sms = bench.backend.properties().sm_count
    stints, drops = list[Stint](), list[float]()
    for number, dtype in enumerate(offered):
        loaded = _load(bench, dtype, 0.95 * bench.time_left() / (len(offered) - number))
        window = _window(bench, [one for stint in loaded if not stint.toggling for one in stint.slices])
        _measure(bench, dtype, window, sms)
        stints += loaded
        drops.append(window.drop_percent)
    bench.measure("wrong", sum(one.product.wrong for stint in stints for one in stint.slices))
    bench.measure("inputs", sum(stint.inputs.elements for stint in stints))
    bench.measure("inputs_wrong", sum(stint.inputs.wrong for stint in stints))
    bench.measure("heat_soak_drop", max(drops) if drops else Absent(Absence.NOT_SUPPORTED, "no type is offered"))


def _load(bench: Bench, dtype: DType, seconds: float) -> list[Stint]:
    """Multiply for this long, every output of every product looked at."""
    matrices = deepest(bench.backend, dtype, bench.seed)
    try:
        once = matrices.run(1, check=False).seconds
        runs = max(1, round(SLICE_S / once))
        stay_s = max(STAY_S, WORTH * once) if bench.backend.fills_time else seconds / STAYS_ON_A_MEDIUM
        began, stints, recorded = bench.backend.seconds(), list[Stint](), 0
        while not stints or (left_s := began + seconds - bench.backend.seconds()) > 0:
            stints.append(_stint(bench, matrices, len(stints), runs, min(stay_s, left_s) if stints else stay_s))
            for mismatch in islice(_wrong(dtype, stints[-1]), MOST_RECORDED - recorded):
                bench.mismatch(mismatch)
                recorded += 1
            bench.progress(min((bench.backend.seconds() - began) / seconds, 1.0), dtype.value)
    finally:
        matrices.free()
    _trace(bench, matrices, stints)
    return stints


def _stint(bench: Bench, matrices: Matrices, number: int, runs: int, seconds: float) -> Stint:
    """Products of one set of numbers, in slices of so many: for this long, or a single slice of toggling ones."""
    began, began_s = bench.backend.seconds(), bench.card.now_s()
    if number:
        matrices.renew(bench.seed + number, toggling=_toggles(number))
    slices = list[Slice]()
    while not slices or (not _toggles(number) and bench.backend.seconds() - began < seconds):
        product = matrices.run(runs, check=True)
        slices.append(Slice(product, bench.card.now_s()))
    return Stint(number, began_s, tuple(slices), matrices.inputs())


def _toggles(number: int) -> bool:
    return number % TURN == TOGGLING


def _wrong(dtype: DType, stint: Stint) -> Iterator[Mismatch]:
    """The wrong outputs that are known by place, each with its type and the numbers that it came of."""
    phase = f"sustained {dtype.value} {'toggling' if stint.toggling else 'full'} data {stint.number}"
    for one in stint.slices:
        for element in one.product.first_wrong:
            yield wrong_value(element, phase, one.ended_s)


def _trace(bench: Bench, matrices: Matrices, stints: Sequence[Stint]) -> None:
    """When which numbers were multiplied, and how deep the matrices were."""
    bench.trace(
        f"{matrices.dtype.value}_data",
        tuple(stint.began_s for stint in stints),
        {
            "number": tuple(float(stint.number) for stint in stints),
            "toggling": tuple(float(stint.toggling) for stint in stints),
            "inner_size": (float(matrices.shape[2]),) * len(stints),
        },
    )


def _window(bench: Bench, slices: Sequence[Slice]) -> Window:
    """The figures of slices in their order, all of numbers that draw the same power."""
    rates = [one.rate for one in slices]
    first = min(int(len(rates) * (1 - SUSTAINED_SHARE)), len(rates) - 1)
    sustained = rates[first:]
    batch = min(BATCH, -(-len(sustained) // 2))  # because a single one has no scatter
    batches = [fmean(sustained[at : at + batch]) for at in range(0, len(sustained), batch)]
    u = stdev(batches) / len(batches) ** 0.5 if len(batches) > 1 else 0.01 * sustained[0]
    early = median(rates[: max(1, len(rates) // 10)])
    return Window(
        tflops=median(sustained),
        u=u,
        n=len(sustained),
        drop_percent=100 * (1 - median(sustained) / early),
        samples=tuple(_during(slices[first:], bench.card.samples(slices[first].began_s))),
    )


def _during(slices: Sequence[Slice], samples: Sequence[Sample]) -> Iterator[Sample]:
    """The samples, oldest first, that were taken while one of these slices ran."""
    left = iter(samples)
    sample = next(left, None)
    for one in slices:
        while sample is not None and sample.at_s <= one.ended_s:
            if sample.at_s >= one.began_s:
                yield sample
            sample = next(left, None)


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
        Measure("wrong", Unit.COUNT, "outputs that differ from the first answer to the same numbers, bit for bit"),
        Measure("inputs", Unit.COUNT, "elements of the operands that were compared after the products"),
        Measure("inputs_wrong", Unit.COUNT, "elements of the operands that had changed in memory"),
        Measure("heat_soak_drop", Unit.PERCENT, "loss of speed from the first tenth of the load to its sustained part"),
    ),
    run=run,
)
