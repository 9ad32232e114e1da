"""Kinds of faults of the way of the heat: what is drawn of each, and what must be told of it."""

import random
from collections.abc import Callable, Mapping

from gpucert.device.simulated.faults import FANS
from gpucert.device.simulated.scenario import Scenario, parse
from gpucert.trials import drawn
from gpucert.trials.drawn import Fields, Ground, Kind

PASSIVE = ("NVIDIA A100-SXM4-80GB", "Tesla V100-SXM2-32GB", "Tesla T4")
OWN_FAN = ("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090", "NVIDIA RTX A6000")
"""Even seeds have no fan of their own, odd ones have."""
FAN_MODES = ("automatic", "fixed", "stops")
INLET_C = (18.0, 27.0)
DRIFT_C_PER_MIN = 0.5
"""The air of a room, and how fast it changes at most (thermal_stats.md §1.3)."""


def _scaled(scale: float) -> Callable[[Ground], Fields]:
    return lambda _on: {"scale": scale}


def _pads(on: Ground) -> Fields:
    low, high = (20.0, 45.0) if on.silicon.model.memory.type.startswith("HBM") else (50.0, 80.0)
    return {"extra_c": round(on.luck.uniform(low, high), 1)}


def _hotspot(on: Ground) -> Fields:
    return {"extra_c": round(on.luck.uniform(16.0, 40.0), 1)}


def _one_fan(on: Ground) -> Fields:
    return {"index": on.luck.randrange(FANS), "rpm_fraction": 0.0}


def _gain(on: Ground) -> Fields:
    return {"factor": round(on.luck.choice((on.luck.uniform(0.4, 0.6), on.luck.uniform(1.7, 2.5))), 3)}


def _warm_room(on: Ground) -> Fields:
    return {"inlet_c": round(on.luck.uniform(35.0, 45.0), 1)}


KINDS: Mapping[str, Kind] = {
    f"{fault}_x{scale:g}": Kind(fault=fault, says=f"{says} × {scale:g}", draw=_scaled(scale), ecc=None)
    for fault, says in (
        ("interface", "the resistance of die and interface"),
        ("airflow", "the resistance from the fins to the air"),
    )
    for scale in (1.5, 2.0, 2.5)
} | {
    name: Kind(fault=name, says=says, draw=draw, ecc=None)
    for name, says, draw in (
        ("fan", "one of two fans of the card's own that stands still", _one_fan),
        ("memory_pads", "memory hotter by 20 to 45 °C (HBM) or 50 to 80 °C (GDDR) under its own load", _pads),
        ("hotspot", "a part of the die hotter by 16 to 40 °C at full power", _hotspot),
        ("sensor_gain", "a power sensor that answers 0.4 to 0.6, or 1.7 to 2.5, of a watt", _gain),
        ("hot_inlet", "air of 35 to 45 °C", _warm_room),
    )
}


def expected(card: Scenario) -> frozenset[str]:
    """The right diagnosis of a card with one fault."""
    own_fan = card.silicon.thermal.cooling == "own_fan"
    (fault,) = card.faults
    match fault.kind:
        case "interface":
            return frozenset({"thermal.interface"})
        case "airflow":
            return frozenset({"thermal.airflow" if own_fan else "station.airflow"})
        case "fan":
            return frozenset({"thermal.airflow"})
        case "sensor_gain":
            return frozenset({"power.sensor"})
        case "hot_inlet":
            return frozenset({"station.inlet"})
        case _:
            return frozenset({f"thermal.{fault.kind}"})


def healthy(seed: int) -> str:
    """The scenario of a card in a room, without a fault."""
    return _card("healthy", _model(seed), seed)


def reference(model: str, number: int) -> str:
    """The scenario of a healthy card that others of its model are compared with; no card to be judged is like it."""
    return _card("reference", model, 2**40 + number)


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one fault of a kind."""
    kind = KINDS[name]
    card = _card(name, OWN_FAN[seed // 2 % len(OWN_FAN)] if kind.fault == "fan" else _model(seed), seed)
    fields = kind.draw(Ground(parse(card, name), _luck(name, seed)))
    return f'{card}\n[[fault]]\nkind = "{kind.fault}"\n' + drawn.lines(fields)


def _model(seed: int) -> str:
    models = OWN_FAN if seed % 2 else PASSIVE
    return models[seed // 2 % len(models)]


def _luck(name: str, seed: int) -> random.Random:
    return random.Random(f"{name}/{seed}")  # noqa: S311  # no secrets


def _card(name: str, model: str, seed: int) -> str:
    luck = _luck(f"{name}/room", seed)
    return drawn.lines(
        {
            "model": model,
            "summary": f"{name} {seed}",
            "vram_mib": 1,
            "seed": seed,
            "inlet_c": round(luck.uniform(*INLET_C), 1),
            "inlet_drift_c_per_min": round(luck.uniform(-DRIFT_C_PER_MIN, DRIFT_C_PER_MIN), 3),
            "fan_mode": luck.choice(FAN_MODES),
        }
    )
