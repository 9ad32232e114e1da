"""The air: how warm it reaches the card, and how warm it may be before the die meets its limit at full power."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import structs

from gpucert.outcome import Outcome
from gpucert.record import StepRecord
from gpucert.units import Unit
from gpucert.verdict.case import Case
from gpucert.verdict.decision import decide
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.heat import Heat, Resistance
from gpucert.verdict.pads import top_c
from gpucert.verdict.rules import OWN
from gpucert.verdict.verdict import Diagnosed, Finding

PROBE = "thermal"
SENSOR_U_C = 1.0
"""Of a temperature sensor's offset."""
STEP_U_C = 0.3
"""Of a reading in whole degrees."""
COVERAGE = 2.0
"""How many standard uncertainties a temperature that is worked out may be off: nineteen of twenty times less."""


@dataclass(frozen=True)
class Inlet:
    """The air that reaches the card, and how that is known."""

    celsius: float
    how: str
    u_c: float

    @property
    def told(self) -> str:
        """In words, with its uncertainty."""
        return f"{self.celsius:.0f} °C" if self.stated else f"{self.celsius:.0f} ± {self.u_c:.0f} °C"

    @property
    def stated(self) -> bool:
        """Whether a person said so."""
        return self.u_c == 0

    def above(self, limit_c: float) -> bool:
        """Whether it is surely warmer than this."""
        return self.celsius > limit_c + self.u_c


def judge_air(case: Case, heats: Sequence[Heat], inlet: Inlet | None) -> Iterator[Finding | Diagnosed]:
    """What is known of the air, and how warm it may be for each soak that showed the whole way."""
    yield from (_inlet_max(case, one) for one in heats if isinstance(one.total, Resistance))
    gate = case.policy.gates.inlet_c
    if inlet is not None:
        told = _told(inlet, gate)
        yield told
        if told.outcome is Outcome.FAIL:
            yield diagnosed("station.inlet", told.reason, "certain" if inlet.stated else "likely")
    elif heats:
        why = "the air cannot be worked out from this card at rest; state it with --inlet-c"
        yield structs.replace(not_told(heats[0].step, "inlet", why, Unit.CELSIUS), subject="station")


def _told(inlet: Inlet, gate_c: float) -> Finding:
    """Of the station, whatever it is: air that is too warm costs the card nothing."""
    outcome = Outcome.FAIL if inlet.above(gate_c) else Outcome.PASS
    reason = f"The air at the inlet has {inlet.told}, {inlet.how}."
    return Finding(
        probe=PROBE, measure="inlet", outcome=outcome, value=round(inlet.celsius, 1),
        u=round(inlet.u_c / COVERAGE, 2), unit=Unit.CELSIUS.value, limit=f"≤ {gate_c:g} °C", reason=reason,
        authority=OWN, subject="station", advisory=outcome is Outcome.PASS,
    )  # fmt: skip


def inlet_of(case: Case, heats: Sequence[Heat]) -> Inlet | None:
    """As a person stated it; else T − R·P of the card at rest, where its fan turns there."""
    if case.record.inlet_c is not None:
        return Inlet(case.record.inlet_c, "as stated", 0.0)
    expected = case.baseline.find(f"{PROBE}.total") if case.baseline else None
    for one in heats:
        if one.idle_c is None or one.idle_w is None or not _fan_turns(case, one):
            continue
        if one.at_rest is not None:
            u_c = COVERAGE * math.hypot(SENSOR_U_C, STEP_U_C, one.at_rest.u * one.idle_w)
            return Inlet(one.idle_c - one.at_rest.value * one.idle_w, "worked out from the card at rest", u_c)
        if expected is not None and one.steady_fan:
            rise = expected.centre * one.idle_w  # may be twice that on a card whose air is blocked
            u_c = COVERAGE * math.hypot(SENSOR_U_C, STEP_U_C) + rise
            return Inlet(one.idle_c - rise, "estimated from the card at rest", u_c)
    return None


def _fan_turns(case: Case, one: Heat) -> bool:
    """A card whose fans stop at rest is far warmer there than its resistance under load tells."""
    fan = one.step.traces["telemetry"].column("fan_percent")
    return passive(case) or any(isinstance(value, int | float) and value > 0 for value in fan[:20])


def _inlet_max(case: Case, one: Heat) -> Finding:
    """T − R·P: the warmest air in which the card holds full power. R and P are of one sensor, so its gain cancels."""
    top, watts = top_c(case), case.record.settings.power_default_w
    if top is None or not isinstance(watts, float) or not isinstance(one.total, Resistance):
        return not_told(one.step, "inlet_max", "the card tells no limit of temperature or power", Unit.CELSIUS)
    value, u = top - one.total.value * watts, math.hypot(SENSOR_U_C, one.total.u * watts)
    gate = case.policy.gates.inlet_c
    outcome = decide(value, u, gate, higher_is_better=True)
    reason = f"At {watts:.0f} W it holds its clocks in air of up to {value:.0f} ± {COVERAGE * u:.0f} °C"
    reason += f", before its die reaches {top:.0f} °C."
    return Finding(
        probe=PROBE, measure="inlet_max", outcome=outcome, value=round(value, 1), u=round(u, 2),
        unit=Unit.CELSIUS.value, limit=f"≥ {gate:g} °C", reason=reason, authority=OWN, step=one.step.index,
        advisory=True,
    )  # fmt: skip


def not_told(step: StepRecord, name: str, why: str, unit: Unit) -> Finding:
    """A finding about heat that a soak cannot make."""
    return Finding(
        probe=PROBE, measure=name, outcome=Outcome.SKIPPED, value=None, unit=unit.value, limit="",
        reason=f"Not tested: {why}.", authority=OWN, step=step.index, advisory=True,
    )  # fmt: skip


def passive(case: Case) -> bool:
    """Whether the card has no fan of its own."""
    return case.model is not None and case.model.thermal.cooling == "passive"
