"""Memory under load: the memory compared while products run beside, every word and every output of both.

Scans and products by themselves can both be right on a card that fails a workload, because that does both at once.
"""

from gpucert.probes.bench import Bench, Measure, Probe, wrong_value, wrong_word
from gpucert.stress.backend import DType, UnitNotOfferedError
from gpucert.stress.under_load import UnderLoad, compare_under_load
from gpucert.units import Unit

HEATERS = (DType.BF16, DType.FP16, DType.FP32)
"""The first of these that the card offers multiplies."""


def run(bench: Bench) -> None:
    """Compare both until the step's time is used up, and put what was wrong on the record."""
    done = _done(bench)
    for element in done.first_wrong:
        bench.mismatch(wrong_value(element, "product beside memory", bench.card.now_s()))
    bench.measure("words_expected", done.books.words_expected)
    bench.measure("words_compared", done.books.words_compared)
    bench.measure("wrong_words", done.books.wrong_words)
    bench.measure("elements", done.elements)
    bench.measure("wrong", done.wrong)
    bench.measure("overlap", done.overlap_percent)


def _done(bench: Bench) -> UnderLoad:
    for dtype in HEATERS:
        try:
            return compare_under_load(
                bench.backend,
                dtype,
                bench.seed,
                bench.time_left,
                bench.progress,
                lambda located: bench.mismatch(wrong_word(located)),
            )
        except UnitNotOfferedError:
            continue
    raise UnitNotOfferedError("no matrix product is offered to load the card with")


PROBE = Probe(
    name="memory_under_load",
    summary="the memory compared while products run beside, both checked",
    measures=(
        Measure("words_expected", Unit.COUNT, "64-bit compares that the plan asks for"),
        Measure("words_compared", Unit.COUNT, "64-bit compares that are proven by count and sum"),
        Measure("wrong_words", Unit.COUNT, "compares that failed"),
        Measure("elements", Unit.COUNT, "outputs of products that were compared"),
        Measure("wrong", Unit.COUNT, "outputs that were wrong"),
        Measure("overlap", Unit.PERCENT, "share of the shorter work that was done during the longer one, at least"),
    ),
    run=run,
)
