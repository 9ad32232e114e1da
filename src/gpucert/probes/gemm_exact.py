"""Exact products: large matrix products of whole numbers, every output compared bit for bit.

Peers compare a GPU with itself, so that a fault that repeats passes everywhere. The reference here is proven on the
host, and whole numbers that every type holds exactly leave no tolerance for a fault to hide in.
"""

from gpucert.probes.bench import Bench, Measure, Probe, wrong_value
from gpucert.reading import Absence, Absent
from gpucert.stress.backend import DType, Product, UnitNotOfferedError
from gpucert.units import Unit

SIZE = 8192
RUNS = 8
"""Runs for each type; more where time is to be filled."""
MOST_RECORDED = 64


def run(bench: Bench) -> None:
    """Multiply and compare in every type that the card offers."""
    for number, dtype in enumerate(DType):
        bench.progress(number / len(DType), dtype.value)
        try:
            products = _multiply(bench, dtype, len(DType) - number)
        except UnitNotOfferedError as error:
            absent = Absent(Absence.NOT_SUPPORTED, str(error))
            bench.measure(f"{dtype.value}_elements", absent)
            bench.measure(f"{dtype.value}_wrong", absent)
            continue
        bench.measure(f"{dtype.value}_elements", sum(one.compared for one in products))
        bench.measure(f"{dtype.value}_wrong", sum(one.wrong for one in products))
        _record(bench, dtype, products)


def _multiply(bench: Bench, dtype: DType, types_left: int) -> list[Product]:
    matrices = bench.backend.matrices(dtype, SIZE, bench.seed, exact=True)
    try:
        share, began = bench.time_left() / types_left, bench.backend.seconds()
        products = [matrices.run(1, check=True) for _ in range(RUNS)]
        while bench.backend.fills_time and bench.backend.seconds() - began < 0.8 * share:
            products.append(matrices.run(1, check=True))
        return products
    finally:
        matrices.free()


def _record(bench: Bench, dtype: DType, products: list[Product]) -> None:
    wrong = [element for product in products for element in product.first_wrong]
    for element in wrong[:MOST_RECORDED]:
        bench.mismatch(wrong_value(element, f"exact {dtype.value}", bench.card.now_s()))


PROBE = Probe(
    name="gemm_exact",
    summary="matrix products compared bit for bit with a reference that the card did not make",
    measures=tuple(
        measure
        for dtype in DType
        for measure in (
            Measure(f"{dtype.value}_elements", Unit.COUNT, f"{dtype.value} outputs that were compared"),
            Measure(f"{dtype.value}_wrong", Unit.COUNT, f"{dtype.value} outputs that were wrong"),
        )
    ),
    run=run,
)
