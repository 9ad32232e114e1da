"""Thermal soak: rest, heat, cool, sampled ten times a second, so that the way of the heat can be told apart.

Half of the rise of the first seconds happens within one: that part tells of the paste and contact between die and
cooler, the slow part of the cooler and its air. The verdict fits both from the telemetry of this step; the probe only
makes a clean step of power and says when it began and ended.
"""

from collections.abc import Callable

from gpucert.probes.bench import Bench, Measure, Probe, mean
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import THERMAL_REASONS, EventReason, Sample
from gpucert.stress.offers import heater
from gpucert.units import Unit

SLICE_S = 0.5
PLATEAU_SHARE = 0.5


def run(bench: Bench) -> None:
    """Rest, load with full-mantissa products, rest; then read what the telemetry shows."""
    idle_s, heat_s, cool_s = (float(bench.options.get(name, default)) for name, default in DEFAULTS.items())
    matrices = heater(bench.backend, bench.seed)
    try:
        began = bench.card.now_s()
        _rest(bench, idle_s, "resting")
        heat_began = bench.card.now_s()
        runs = max(1, round(SLICE_S / matrices.run(1, check=False).seconds))
        while bench.card.now_s() - heat_began < heat_s:
            matrices.run(runs, check=False)
            bench.progress(min((bench.card.now_s() - began) / (idle_s + heat_s + cool_s), 1.0), "heating")
        heat_ended = bench.card.now_s()
        _rest(bench, cool_s, "cooling")
    finally:
        matrices.free()
    _measure(bench, bench.card.samples(began), heat_began, heat_ended)


DEFAULTS = {"idle_s": 20.0, "heat_s": 180.0, "cool_s": 90.0}


def _rest(bench: Bench, seconds: float, word: str) -> None:
    bench.progress(0.0, word)
    bench.backend.idle(seconds)


def _measure(bench: Bench, samples: tuple[Sample, ...], heat_began: float, heat_ended: float) -> None:
    rest = [sample for sample in samples if sample.at_s < heat_began]
    load = [sample for sample in samples if heat_began <= sample.at_s <= heat_ended]
    plateau = load[int(len(load) * PLATEAU_SHARE) :]
    bench.measure("idle_temperature", mean(rest[-30:], "temperature_c"))
    bench.measure("end_temperature", mean(load[-10:], "temperature_c"))
    bench.measure("plateau_power", mean(plateau, "power_w"))
    bench.measure("heat_began", heat_began)
    bench.measure("heat_ended", heat_ended)
    bench.measure("thermal_throttle", _share(load, _held_by_heat))
    bench.measure("power_brake", _share(load, lambda bits: bool(bits & EventReason.HW_POWER_BRAKE)))


def _held_by_heat(bits: int) -> bool:
    """Older cards give hardware slowdown without its cause; where it is not the power brake, it is heat."""
    unexplained = bits & EventReason.HW_SLOWDOWN and not bits & EventReason.HW_POWER_BRAKE
    return bool(bits & THERMAL_REASONS or unexplained)


def _share(samples: list[Sample], held: Callable[[int], bool]) -> Reading[float]:
    """Percent of the samples in which the clocks were held down so."""
    readings = [sample.event_reasons for sample in samples]
    known = [bits for bits in readings if not isinstance(bits, Absent)]
    if known:
        return 100 * sum(held(bits) for bits in known) / len(known)
    absent = [one for one in readings if isinstance(one, Absent)]
    return absent[-1] if absent else Absent(Absence.UNKNOWN, "no sample was taken under load")


PROBE = Probe(
    name="thermal_soak",
    summary="rest, heat and cool: what paste, cooler and air do",
    measures=(
        Measure("idle_temperature", Unit.CELSIUS, "mean of the last three seconds at rest"),
        Measure("end_temperature", Unit.CELSIUS, "mean of the last second under load"),
        Measure("plateau_power", Unit.WATT, "mean power over the second half of the load"),
        Measure("heat_began", Unit.SECOND, "when the load began, on the run's clock"),
        Measure("heat_ended", Unit.SECOND, "when the load ended, on the run's clock"),
        Measure("thermal_throttle", Unit.PERCENT, "share of the load's samples slowed down by heat"),
        Measure("power_brake", Unit.PERCENT, "share of the load's samples slowed down by the host's power brake"),
    ),
    run=run,
)
