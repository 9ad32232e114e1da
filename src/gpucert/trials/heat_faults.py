"""Kinds of faults of the way of the heat: what is drawn of each, and what must be told of it."""

import random
from collections.abc import Callable, Mapping

from gpucert.device.simulated.scenario import Scenario, parse
from gpucert.trials import drawn
from gpucert.trials.drawn import Fields, Ground, Kind

PASSIVE = ("NVIDIA A100-SXM4-80GB", "Tesla V100-SXM2-32GB", "Tesla T4", "NVIDIA A10")
OWN_FAN = ("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090", "NVIDIA RTX A6000", "NVIDIA GeForce RTX 2080 Ti")
"""Even seeds have no fan of their own, odd ones have."""
FAN_MODES = ("automatic", "fixed", "stops")
INLET_C = (18.0, 27.0)
DRIFT_C_PER_MIN = 0.5
"""The air of a room, and how fast it changes at most (thermal_stats.md §1.3)."""


def _scaled(scale: float) -> Callable[[Ground], Fields]:
    return lambda _on: {"scale": scale}


KINDS: Mapping[str, Kind] = {
    f"{fault}_x{scale:g}": Kind(fault=fault, says=f"{says} × {scale:g}", draw=_scaled(scale), ecc=None)
    for fault, says in (
        ("interface", "the resistance of die and interface"),
        ("airflow", "the resistance from the fins to the air"),
    )
    for scale in (1.5, 2.0, 2.5)
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
        case _:
            raise AssertionError(f"{fault.kind} is no fault of this suite")


def healthy(seed: int) -> str:
    """The scenario of a card in a room, without a fault."""
    return _card("healthy", _model(seed), seed)


def reference(model: str, number: int) -> str:
    """The scenario of a healthy card that others of its model are compared with; no card to be judged is like it."""
    return _card("reference", model, 2**40 + number)


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one fault of a kind."""
    card, kind = _card(name, _model(seed), seed), KINDS[name]
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
