"""Load swings: bursts of products and rests in turn, from once a second to a hundred times, every output compared.

A steady load gives the voltage regulators nothing to do. When thousands of units begin at once the voltage dips, and a
weak regulator, a cracked joint or a marginal core errs there and nowhere else. The types of the bursts alternate,
because each draws another current. Whole numbers have a reference that the card did not make.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from gpucert.probes.bench import Bench, Measure, Probe, wrong_value
from gpucert.stress.backend import DType, Matrices, Product, UnitNotOfferedError
from gpucert.units import Unit

SIZE = 2048
"""Small enough that even a small card makes a product within the shortest burst, 5 ms."""
FREQUENCIES_HZ = (1, 2, 5, 10, 20, 50, 100)
SHORTEST_S = 0.5 / FREQUENCIES_HZ[-1]
SWINGS = 8
"""Of each frequency in a round; more rounds where time is to be filled."""
KEPT = 0.25
"""A swing counts if so much of its period at least was rest, and at least as much was load."""
MOST_RECORDED = 64


@dataclass
class _Swings:
    """What came of all rounds."""

    elements: int = 0
    wrong: int = 0
    swings: int = 0
    fastest_hz: int = 0

    def take(self, bench: Bench, product: Product, dtype: DType, when: str) -> None:
        """Enter what was compared, and put on the record what was wrong."""
        self.elements += product.compared
        self.wrong += product.wrong
        for element in product.first_wrong[:MOST_RECORDED]:
            bench.mismatch(wrong_value(element, f"{dtype.value} {when}", bench.card.now_s()))


@dataclass(frozen=True)
class _Load:
    """A type of product, and how long one of them takes."""

    matrices: Matrices
    seconds: float

    def burst(self, seconds: float) -> Product:
        """As many products as fit, one at least, and compared."""
        return self.matrices.run(max(1, int(seconds / self.seconds)), check=True)


def run(bench: Bench) -> None:
    """Swing in rounds until the step's time is used up."""
    done = _Swings()
    with ExitStack() as held:
        loads = _loads(bench, held, done)
        began, rounds = bench.backend.seconds(), 0
        while not rounds or (bench.backend.fills_time and _time_for_another(bench, began, rounds)):
            for number, frequency in enumerate(FREQUENCIES_HZ):
                bench.progress(number / len(FREQUENCIES_HZ), f"{frequency} Hz")
                _swing(bench, loads, frequency, done)
            rounds += 1
    bench.measure("elements", done.elements)
    bench.measure("wrong", done.wrong)
    bench.measure("swings", done.swings)
    bench.measure("fastest", float(done.fastest_hz))


def _time_for_another(bench: Bench, began: float, rounds: int) -> bool:
    return bench.time_left() > 1.1 * (bench.backend.seconds() - began) / rounds


def _loads(bench: Bench, held: ExitStack, done: _Swings) -> list[_Load]:
    """The products of every type that is fast enough on this card, with what they take when they run on end."""
    loads = []
    for dtype in DType:
        try:
            matrices = bench.backend.matrices(dtype, SIZE, bench.seed, exact=True)
        except UnitNotOfferedError:
            continue
        held.callback(matrices.free)
        done.take(bench, matrices.run(1, check=True), dtype, "before the swings")
        loads.append(_Load(matrices, matrices.run(8, check=False).seconds / 8))
    if not loads:
        raise UnitNotOfferedError("no matrix product is offered to load the card with")
    return [load for load in loads if load.seconds <= SHORTEST_S] or [min(loads, key=lambda load: load.seconds)]


def _swing(bench: Bench, loads: Sequence[_Load], frequency: int, done: _Swings) -> None:
    """Some swings of one frequency, of all types in turn."""
    backend, half, kept = bench.backend, 0.5 / frequency, 0
    for number in range(SWINGS):
        load = loads[number % len(loads)]
        began = backend.seconds()
        product = load.burst(half)
        loaded = backend.seconds() - began
        rest = max(2 * half - loaded, 0.0)
        backend.idle(rest)
        kept += rest >= KEPT * 2 * half and loaded >= KEPT * 2 * half
        done.take(bench, product, load.matrices.dtype, f"at {frequency} Hz")
    done.swings += kept
    if kept > SWINGS // 2:
        done.fastest_hz = max(done.fastest_hz, frequency)


PROBE = Probe(
    name="load_swings",
    summary="bursts and rests from 1 to 100 Hz, every output compared",
    measures=(
        Measure("elements", Unit.COUNT, "outputs that were compared"),
        Measure("wrong", Unit.COUNT, "outputs that were wrong"),
        Measure("swings", Unit.COUNT, "swings that were load and rest as they should be"),
        Measure("fastest", Unit.HERTZ, "the highest frequency that most swings kept to"),
    ),
    run=run,
)
