"""Exact products: large matrix products of whole numbers, every output compared bit for bit.

Peers compare a GPU with itself, so that a fault that repeats passes everywhere. The reference here is proven on the
host, and whole numbers that every type holds exactly leave no tolerance for a fault to hide in. Every type multiplies
the same ones, so that all of them must come to the same whole numbers.
"""

from gpucert.probes.bench import Bench, Measure, Probe, absence, wrong_value
from gpucert.stress.backend import Compared, DType, Product
from gpucert.stress.offers import refused
from gpucert.units import Unit

SIZE = 8192
RUNS = 8
"""Runs for each type; more where time is to be filled."""
TURN = 7 * 256
"""Columns by which each run begins further on: whole tiles of every kernel, and in the end all places of them."""
MOST_RECORDED = 64


def run(bench: Bench) -> None:
    """Share the step's time among the types that the card offers; multiply and compare in each."""
    reasons = refused(bench.backend, bench.seed)
    for dtype, reason in reasons.items():
        bench.measure(f"{dtype.value}_elements", absence(reason))
        bench.measure(f"{dtype.value}_wrong", absence(reason))
    offered = [dtype for dtype in DType if dtype not in reasons]
    inputs: list[Compared] = []
    for number, dtype in enumerate(offered):
        bench.progress(number / len(offered), dtype.value)
        products, compared = _multiply(bench, dtype, len(offered) - number)
        inputs.append(compared)
        bench.measure(f"{dtype.value}_elements", sum(one.compared for one in products))
        bench.measure(f"{dtype.value}_wrong", sum(one.wrong for one in products))
        _record(bench, dtype, products)
    bench.measure("inputs", sum(one.elements for one in inputs))
    bench.measure("inputs_wrong", sum(one.wrong for one in inputs))


def _multiply(bench: Bench, dtype: DType, types_left: int) -> tuple[list[Product], Compared]:
    """Products, each from another column on, so that the same outputs come from other SMs; then the inputs again."""
    matrices = bench.backend.matrices(dtype, SIZE, bench.seed, exact=True)
    try:
        share, began = bench.time_left() / types_left, bench.backend.seconds()
        products: list[Product] = []
        while len(products) < RUNS or (bench.backend.fills_time and bench.backend.seconds() - began < 0.8 * share):
            products.append(matrices.run(1, check=True, first_column=len(products) * TURN % SIZE))
        return products, matrices.inputs()
    finally:
        matrices.free()


def _record(bench: Bench, dtype: DType, products: list[Product]) -> None:
    wrong = [element for product in products for element in product.first_wrong]
    for element in wrong[:MOST_RECORDED]:
        bench.mismatch(wrong_value(element, f"exact {dtype.value}", bench.card.now_s()))


PROBE = Probe(
    name="gemm_exact",
    summary="matrix products compared bit for bit with a reference that the card did not make",
    measures=(
        *(
            measure
            for dtype in DType
            for measure in (
                Measure(f"{dtype.value}_elements", Unit.COUNT, f"{dtype.value} outputs that were compared"),
                Measure(f"{dtype.value}_wrong", Unit.COUNT, f"{dtype.value} outputs that were wrong"),
            )
        ),
        Measure("inputs", Unit.COUNT, "elements of the operands that were compared after the products"),
        Measure("inputs_wrong", Unit.COUNT, "elements of the operands that had changed in memory"),
    ),
    run=run,
)
