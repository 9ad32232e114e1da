"""Thermal soak: rest, pulses, heat, cool, sampled ten times a second, so that the way of the heat can be told apart.

Half of the rise of the first seconds happens within one: that part tells of the paste and contact between die and
cooler, the slow part of the cooler and its air. Short pulses show the first second several times over, each with
roundings of its own; the rests between them are long enough for the cooler's base to recover. The
verdict fits all of it from the telemetry of this step; the probe only makes clean steps of power and says when.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gpucert.probes.bench import Bench, Measure, Probe, held_by_heat, mean, over_core, share_held
from gpucert.record import EventReason, Sample
from gpucert.stress.backend import Matrices
from gpucert.stress.offers import heater
from gpucert.units import Unit

SLICE_S = 0.5
PLATEAU_SHARE = 0.5


def run(bench: Bench) -> None:
    """Rest, load with full-mantissa products in pulses and then for long, rest; then read what the telemetry shows."""
    asked = {name: float(bench.options.get(name, default)) for name, default in DEFAULTS.items()}
    matrices = heater(bench.backend, bench.seed)
    began = bench.card.now_s()
    try:
        when = _soaked(bench, matrices, asked)
    finally:
        matrices.free()
    _measure(bench, bench.card.samples(began), when)


DEFAULTS = {
    "idle_s": 20.0,
    "pulses": 3.0,
    "pulse_s": 2.0,
    "gap_s": 12.0,
    "heat_s": 180.0,
    "cool_s": 90.0,
}
"""What a step of a plan may ask for."""


@dataclass(frozen=True)
class _When:
    """When the card was loaded, on the run's clock."""

    pulses: int
    pulses_began: float
    heat_began: float
    heat_ended: float


def _soaked(bench: Bench, matrices: Matrices, asked: Mapping[str, float]) -> _When:
    """The steps of power, one after the other."""
    pulses = int(asked["pulses"])
    _rest(bench, asked["idle_s"], "resting")
    pulses_began = bench.card.now_s()
    runs = max(1, round(SLICE_S / matrices.run(1, check=False).seconds)) if pulses else 0
    for one in range(pulses):
        _load(bench, matrices, runs, asked["pulse_s"], f"pulse {one + 1} of {pulses}")
        _rest(bench, asked["gap_s"], "resting")
    heat_began = bench.card.now_s()
    runs = runs or max(1, round(SLICE_S / matrices.run(1, check=False).seconds))
    _load(bench, matrices, runs, asked["heat_s"], "heating")
    heat_ended = bench.card.now_s()
    _rest(bench, asked["cool_s"], "cooling")
    return _When(pulses, pulses_began, heat_began, heat_ended)


def _load(bench: Bench, matrices: Matrices, runs: int, seconds: float, word: str) -> None:
    """Products until so many seconds are over; none where that is no time."""
    began = bench.card.now_s()
    while (spent := bench.card.now_s() - began) < seconds:
        bench.progress(spent / seconds, word)
        matrices.run(runs, check=False)


def _rest(bench: Bench, seconds: float, word: str) -> None:
    bench.progress(0.0, word)
    bench.backend.idle(seconds)


def _measure(bench: Bench, samples: tuple[Sample, ...], when: _When) -> None:
    rest = [sample for sample in samples if sample.at_s < when.pulses_began]
    load = [sample for sample in samples if when.heat_began <= sample.at_s <= when.heat_ended]
    plateau = load[int(len(load) * PLATEAU_SHARE) :]
    bench.measure("idle_temperature", mean(rest[-30:], "temperature_c"))
    bench.measure("end_temperature", mean(load[-10:], "temperature_c"))
    bench.measure("plateau_power", mean(plateau, "power_w"))
    bench.measure("pulses", when.pulses)
    bench.measure("pulses_began", when.pulses_began)
    bench.measure("heat_began", when.heat_began)
    bench.measure("heat_ended", when.heat_ended)
    bench.measure("hotspot_over_core", over_core(plateau, "hotspot_c"))
    bench.measure("thermal_throttle", share_held(load, held_by_heat))
    bench.measure("power_brake", share_held(load, lambda bits: bool(bits & EventReason.HW_POWER_BRAKE)))


PROBE = Probe(
    name="thermal_soak",
    summary="rest, pulses, heat and cool: what paste, cooler and air do",
    measures=(
        Measure("idle_temperature", Unit.CELSIUS, "mean of the last three seconds at rest"),
        Measure("end_temperature", Unit.CELSIUS, "mean of the last second under load"),
        Measure("plateau_power", Unit.WATT, "mean power over the second half of the load"),
        Measure("pulses", Unit.COUNT, "short pulses of load before the long one"),
        Measure("pulses_began", Unit.SECOND, "when the card was first loaded, on the run's clock"),
        Measure("heat_began", Unit.SECOND, "when the long load began, on the run's clock"),
        Measure("heat_ended", Unit.SECOND, "when the long load ended, on the run's clock"),
        Measure("hotspot_over_core", Unit.CELSIUS, "hottest part of the die over its sensor, second half of the load"),
        Measure("thermal_throttle", Unit.PERCENT, "share of the load's samples slowed down by heat"),
        Measure("power_brake", Unit.PERCENT, "share of the load's samples slowed down by the host's power brake"),
    ),
    run=run,
)
