"""Cooling: whether paste, cooler, air or room hold the card back, from the step response of a thermal soak."""

import math
from collections.abc import Iterator, Sequence

from msgspec import structs

from gpucert.baselines.limit import Limit
from gpucert.outcome import Outcome
from gpucert.reading import Absent
from gpucert.record import Measurement, StepRecord
from gpucert.units import Unit, show
from gpucert.verdict import heat
from gpucert.verdict.air import PROBE, Inlet, inlet_of, judge_air, not_told, passive
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.heat import Heat, Resistance
from gpucert.verdict.pads import judge_hotspot, judge_pads
from gpucert.verdict.steps import against_limit
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding

HEAT = {"thermal_throttle", "temperature_limit", "thermal_slowdown"}
"""Measures that say that heat held the card back."""
SHAPE_ALIKE = 0.25
"""Logarithm of two ratios: healthy cards differ by 8 % in either part, so that this is twice what their ratio does."""

EXPLAINING = ("thermal.interface", "thermal.airflow", "station.airflow", "thermal.memory_pads", "power.sensor")
"""Causes after which nobody asks why heat held the card back."""

_Item = Finding | Diagnosed


def judge_cooling(case: Case, found: Sequence[Finding]) -> Iterator[_Item]:
    """Findings of every soak, and the one cause that they point to. `found` is what steps and run have shown."""
    heats = [heat.of_step(step) for step in case.steps_of(heat.PROBE)]
    findings = [finding for one in heats for finding in _resistances(case, one)]
    yield from findings
    inlet = inlet_of(case, heats)
    slowed = _slowed(found)
    causes = (*_causes(case, findings, slowed), *judge_pads(case, found), *judge_hotspot(found))
    yield from causes
    if slowed is not None and not _hot(case, inlet) and not any(one.code in EXPLAINING for one in causes):
        known = any(one.outcome is not Outcome.SKIPPED for one in findings)
        yield _unexplained(case, slowed, inlet, known=known)
    yield from judge_air(case, heats, inlet)


def _hot(case: Case, inlet: Inlet | None) -> bool:
    return inlet is not None and inlet.above(case.policy.gates.inlet_c)


def _resistances(case: Case, one: Heat) -> Iterator[Finding]:
    for name, found in (("fast", one.fast), ("slow", one.slow), ("total", one.total)):
        limit = case.baseline.find(f"{PROBE}.{name}") if case.baseline else None
        if isinstance(found, Absent) or limit is None:
            why = found.detail if isinstance(found, Absent) else "the model is not graded"
            yield not_told(one.step, name, why, Unit.CELSIUS_PER_WATT)
        else:
            yield _judged(one.step, name, found, limit)


def _judged(step: StepRecord, name: str, found: Resistance, limit: Limit) -> Finding:
    measured = Measurement(name=name, unit=Unit.CELSIUS_PER_WATT, value=found.value, u=found.u)
    finding = against_limit(step, limit, measured, needed=False)
    return structs.replace(finding, probe=PROBE, advisory=limit.advises)


def _slowed(found: Sequence[Finding]) -> str | None:
    """What says that heat held the card back, or ended a load."""
    return next((one.reason for one in found if one.measure in HEAT and one.outcome is Outcome.FAIL), None)


def _causes(case: Case, findings: Sequence[Finding], slowed: str | None) -> Iterator[Diagnosed]:
    """What the resistances tell: differences need no temperature of the air, so a hot room hides neither."""
    failed = {one.measure: one for one in findings if one.outcome is Outcome.FAIL}
    advisory = slowed is None and all(one.advisory for one in failed.values())
    if factor := _of_the_meter(case, findings):
        told = f"Both parts of the heat's way are {factor:.2f} times what healthy cards have, the shape is as usual"
        also = ": either the watts are not what they seem, or paste and airflow are both worn." if factor > 1 else "."
        yield diagnosed("power.sensor", told + also, "possible", advisory=advisory or factor < 1)
        return
    confidence: Confidence = "possible" if advisory else "likely"
    if "fast" in failed:
        evidence = _evidence(failed["fast"], "in the first second")
        yield diagnosed("thermal.interface", evidence, confidence, advisory=advisory)
    if "slow" in failed:
        evidence = _evidence(failed["slow"], "from the fins to the air")
        code = "station.airflow" if passive(case) else "thermal.airflow"
        yield diagnosed(code, evidence, confidence, advisory=advisory)


def _of_the_meter(case: Case, findings: Sequence[Finding]) -> float | None:
    """By which factor both parts are off, where both are beyond their limits, or as far on the other side."""
    ratios: list[float] = []
    for name in ("fast", "slow"):
        limit = case.baseline.find(f"{PROBE}.{name}") if case.baseline else None
        measured = [one.value for one in findings if one.measure == name and isinstance(one.value, float)]
        if limit is None or not measured or measured[0] <= 0:
            return None
        off, allowed = math.log(measured[0] / limit.centre), math.log(limit.limit / limit.centre)
        if abs(off) <= allowed:
            return None
        ratios.append(off)
    fast, slow = ratios
    return math.exp((fast + slow) / 2) if abs(fast - slow) <= SHAPE_ALIKE else None


def _unexplained(case: Case, slowed: str, inlet: Inlet | None, *, known: bool) -> Diagnosed:
    """Heat held the card back, and no resistance tells why: the card's own fault only where the air is known."""
    if passive(case):
        return diagnosed("station.airflow", f"{slowed} The card has no fan of its own.", "possible")
    if inlet is not None and inlet.celsius + inlet.u_c <= case.policy.gates.inlet_c:
        return diagnosed("thermal.throttle", slowed, "certain")
    healthy = "its cooler is as usual" if known else "its cooler could not be measured"
    evidence = f"{slowed} The temperature of the inlet air is not known, and {healthy}: give it with --inlet-c."
    return diagnosed("station.inlet", evidence, "possible")


def _evidence(finding: Finding, where: str) -> str:
    assert isinstance(finding.value, int | float)
    value = show(float(finding.value), Unit.CELSIUS_PER_WATT)
    return f"{value} {where}, limit {finding.limit} ({finding.authority.partition(';')[0]})"
