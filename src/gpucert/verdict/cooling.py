"""Cooling: whether paste, cooler, air or room hold the card back, from the step response of a thermal soak."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import structs

from gpucert.baselines.limit import Limit
from gpucert.outcome import Outcome
from gpucert.reading import Absent
from gpucert.record import Measurement, StepRecord
from gpucert.units import Unit, show
from gpucert.verdict import heat
from gpucert.verdict.case import Case
from gpucert.verdict.decision import decide
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.heat import Heat, Resistance
from gpucert.verdict.pads import judge_hotspot, judge_pads, top_c
from gpucert.verdict.rules import OWN
from gpucert.verdict.steps import against_limit
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding

PROBE = "thermal"
HEAT = {"thermal_throttle", "temperature_limit", "thermal_slowdown"}
"""Measures that say that heat held the card back."""
SENSOR_U_C = 1.0
"""Of a temperature sensor's offset."""
STEP_U_C = 0.3
"""Of a reading in whole degrees."""
COVERAGE = 2.0
"""How many standard uncertainties a temperature that is worked out may be off: nineteen of twenty times less."""
SHAPE_ALIKE = 0.25
"""Logarithm of two ratios: healthy cards differ by 8 % in either part, so that this is twice what their ratio does."""

EXPLAINING = ("thermal.interface", "thermal.airflow", "station.airflow", "thermal.memory_pads", "power.sensor")
"""Causes after which nobody asks why heat held the card back."""

_Item = Finding | Diagnosed


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


def judge_cooling(case: Case, found: Sequence[Finding]) -> Iterator[_Item]:
    """Findings of every soak, and the one cause that they point to. `found` is what steps and run have shown."""
    heats = [heat.of_step(step) for step in case.steps_of(heat.PROBE)]
    findings = [finding for one in heats for finding in _resistances(case, one)]
    yield from findings
    inlet = inlet_of(case, heats)
    hot = inlet is not None and inlet.above(case.policy.gates.inlet_c)
    slowed = _slowed(found)
    causes = (*_causes(case, findings, slowed), *judge_pads(case, found), *judge_hotspot(found))
    yield from causes
    yield from (_inlet_max(case, one) for one in heats if isinstance(one.total, Resistance) and top_c(case) is not None)
    if slowed is not None and not hot and not any(one.code in EXPLAINING for one in causes):
        known = any(one.outcome is not Outcome.SKIPPED for one in findings)
        yield _unexplained(case, slowed, inlet, known=known)
    if inlet is not None and not hot:
        yield _told_inlet(case, inlet)
    elif inlet is None and heats:
        why = "the air cannot be worked out from this card at rest; state it with --inlet-c"
        yield structs.replace(_not_told(heats[0].step, "inlet", why), unit=Unit.CELSIUS.value, subject="station")
    if hot and inlet is not None:
        reason = f"The air at the inlet has {inlet.told}, {inlet.how}."
        limit = f"≤ {case.policy.gates.inlet_c:g} °C"
        yield _station("inlet", inlet.celsius, Unit.CELSIUS, limit, reason)
        yield diagnosed("station.inlet", reason, "certain" if inlet.stated else "likely")


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
    return _passive(case) or any(isinstance(value, int | float) and value > 0 for value in fan[:20])


def _resistances(case: Case, one: Heat) -> Iterator[Finding]:
    for name, found in (("fast", one.fast), ("slow", one.slow), ("total", one.total)):
        limit = case.baseline.find(f"{PROBE}.{name}") if case.baseline else None
        if isinstance(found, Absent) or limit is None:
            why = found.detail if isinstance(found, Absent) else "the model is not graded"
            yield _not_told(one.step, name, why)
        else:
            yield _judged(one.step, name, found, limit)


def _judged(step: StepRecord, name: str, found: Resistance, limit: Limit) -> Finding:
    measured = Measurement(name=name, unit=Unit.CELSIUS_PER_WATT, value=found.value, u=found.u)
    finding = against_limit(step, limit, measured, needed=False)
    return structs.replace(finding, probe=PROBE, advisory=limit.advises)


def _not_told(step: StepRecord, name: str, why: str) -> Finding:
    return Finding(
        probe=PROBE, measure=name, outcome=Outcome.SKIPPED, value=None, unit=Unit.CELSIUS_PER_WATT.value, limit="",
        reason=f"Not tested: {why}.", authority=OWN, step=step.index, advisory=True,
    )  # fmt: skip


def _inlet_max(case: Case, one: Heat) -> Finding:
    """T − R·P: the warmest air in which the card holds full power. R and P are of one sensor, so its gain cancels."""
    top, watts = top_c(case), case.record.settings.power_default_w
    if top is None or not isinstance(watts, float) or not isinstance(one.total, Resistance):
        untold = _not_told(one.step, "inlet_max", "the card tells no limit of power")
        return structs.replace(untold, unit=Unit.CELSIUS.value)
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


def _told_inlet(case: Case, inlet: Inlet) -> Finding:
    """Air that is cool enough, or may be."""
    gate = case.policy.gates.inlet_c
    reason = f"The air at the inlet has {inlet.told}, {inlet.how}."
    return Finding(
        probe=PROBE, measure="inlet", outcome=Outcome.PASS, value=round(inlet.celsius, 1),
        u=round(inlet.u_c / COVERAGE, 2), unit=Unit.CELSIUS.value, limit=f"≤ {gate:g} °C", reason=reason,
        authority=OWN, subject="station", advisory=True,
    )  # fmt: skip


def _station(measure: str, value: float, unit: Unit, limit: str, reason: str) -> Finding:
    return Finding(
        probe=PROBE, measure=measure, outcome=Outcome.FAIL, value=round(value, 1), unit=unit.value, limit=limit,
        reason=reason, authority=OWN, subject="station",
    )  # fmt: skip


def _slowed(found: Sequence[Finding]) -> str | None:
    """What says that heat held the card back, or ended a load."""
    return next((one.reason for one in found if one.measure in HEAT and one.outcome is Outcome.FAIL), None)


def _causes(case: Case, findings: Sequence[Finding], slowed: str | None) -> Iterator[Diagnosed]:
    """What the resistances tell: differences need no temperature of the air, so a hot room hides neither."""
    failed = {one.measure: one for one in findings if one.outcome is Outcome.FAIL}
    advisory = slowed is None and all(one.advisory for one in failed.values())
    if factor := _of_the_meter(case, findings):
        told = (
            f"Both parts of the way of the heat are {factor:.2f} times what healthy cards have, the shape is as usual"
        )
        also = ": either the watts are not what they seem, or paste and airflow are both worn." if factor > 1 else "."
        yield diagnosed("power.sensor", told + also, "possible", advisory=advisory or factor < 1)
        return
    confidence: Confidence = "possible" if advisory else "likely"
    if "fast" in failed:
        evidence = _evidence(failed["fast"], "in the first second")
        yield diagnosed("thermal.interface", evidence, confidence, advisory=advisory)
    if "slow" in failed:
        evidence = _evidence(failed["slow"], "from the fins to the air")
        code = "station.airflow" if _passive(case) else "thermal.airflow"
        yield diagnosed(code, evidence, confidence, advisory=advisory)


def _of_the_meter(case: Case, findings: Sequence[Finding]) -> float | None:
    """By which factor both parts are off, where both are beyond their limits, or as far on the other side."""
    ratios: list[float] = []
    for name in ("fast", "slow"):
        limit = case.baseline.find(f"{PROBE}.{name}") if case.baseline else None
        measured = [one.value for one in findings if one.measure == name and isinstance(one.value, float)]
        if limit is None or not measured:
            return None
        off, allowed = math.log(measured[0] / limit.centre), math.log(limit.limit / limit.centre)
        if abs(off) <= allowed:
            return None
        ratios.append(off)
    fast, slow = ratios
    return math.exp((fast + slow) / 2) if abs(fast - slow) <= SHAPE_ALIKE else None


def _unexplained(case: Case, slowed: str, inlet: Inlet | None, *, known: bool) -> Diagnosed:
    """Heat held the card back, and no resistance tells why: the card's own fault only where the air is known."""
    if _passive(case):
        return diagnosed("station.airflow", f"{slowed} The card has no fan of its own.", "possible")
    if inlet is not None and inlet.celsius + inlet.u_c <= case.policy.gates.inlet_c:
        return diagnosed("thermal.throttle", slowed, "certain")
    healthy = "its cooler is as usual" if known else "its cooler could not be measured"
    evidence = f"{slowed} The temperature of the inlet air is not known, and {healthy}: give it with --inlet-c."
    return diagnosed("station.inlet", evidence, "possible")


def _passive(case: Case) -> bool:
    return case.model is not None and case.model.thermal.cooling == "passive"


def _evidence(finding: Finding, where: str) -> str:
    assert isinstance(finding.value, int | float)
    value = show(float(finding.value), Unit.CELSIUS_PER_WATT)
    return f"{value} {where}, limit {finding.limit} ({finding.authority.partition(';')[0]})"
