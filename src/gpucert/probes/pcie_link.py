"""PCIe link: generation and width under load, speed both ways, and whether what is sent arrives.

An idle link drops to its lowest generation, so only readings taken while data moves count. Repeated packets are judged
as growth during the load, because every card has some from its boot.
"""

from statistics import mode

from gpucert.probes.bench import Bench, Measure, Probe
from gpucert.reading import Absence, Absent, Reading
from gpucert.stress.backend import Copy
from gpucert.units import Unit

COPY_BYTES = 64 << 20
ROUNDS = 8
"""Copies each way; as many as make the link leave its idle state for good."""
SHORTEST_LOAD_S = 0.5


def run(bench: Bench) -> None:
    """Copy both ways until there are readings under load, and compare every word."""
    before, began = bench.card.counters().pcie_replays, bench.card.now_s()
    clocks_apart = began - bench.backend.seconds()
    copies: dict[str, list[Copy]] = {"to_card": [], "to_host": []}
    number = 0
    while number < ROUNDS or (bench.card.now_s() - began < SHORTEST_LOAD_S and bench.time_left() > 1):
        for direction, done in copies.items():
            done.append(bench.backend.copy(COPY_BYTES, direction, bench.seed + number))
        number += 1
        bench.progress(min(number / ROUNDS, 1.0), "copying both ways")
    for direction, done in copies.items():
        rates = sorted(copy.bytes / copy.seconds / 1e9 for copy in done[1:])
        bench.measure(direction, rates[len(rates) // 2], n=len(rates))
    bench.measure("wrong_words", sum(copy.wrong for done in copies.values() for copy in done))
    moving = [(copy.began_s + clocks_apart, copy.ended_s + clocks_apart) for done in copies.values() for copy in done]
    loaded = [one for one in bench.card.samples(began) if any(start <= one.at_s <= end for start, end in moving)]
    bench.measure("generation", _agreed([one.pcie_gen for one in loaded]))
    bench.measure("width", _agreed([one.pcie_width for one in loaded]))
    bench.measure("replays", _growth(before, bench.card.counters().pcie_replays))


def _agreed(readings: list[Reading[int]]) -> Reading[float | int]:
    """The value that most samples of the load agree on; the last absence where there is none."""
    values = [one for one in readings if not isinstance(one, Absent)]
    if values:
        return mode(values)
    return readings[-1] if readings else Absent(Absence.UNKNOWN, "no sample was taken under load")


def _growth(before: Reading[int], after: Reading[int]) -> Reading[float | int]:
    if isinstance(before, Absent):
        return before
    if isinstance(after, Absent):
        return after
    return after - before if after >= before else Absent(Absence.ABSURD, f"the counter fell from {before} to {after}")


PROBE = Probe(
    name="pcie_link",
    summary="the PCIe link under load: generation, width, speed, and whether data arrives",
    measures=(
        Measure("generation", Unit.COUNT, "PCIe generation while data moved"),
        Measure("width", Unit.COUNT, "lanes in use while data moved"),
        Measure("to_card", Unit.GBYTE_PER_SECOND, "median rate from pinned host memory to the card"),
        Measure("to_host", Unit.GBYTE_PER_SECOND, "median rate from the card to pinned host memory"),
        Measure("replays", Unit.COUNT, "packets that were sent again during the load"),
        Measure("wrong_words", Unit.COUNT, "64-bit words that arrived differently"),
    ),
    run=run,
)
