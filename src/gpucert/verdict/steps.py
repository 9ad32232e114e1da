"""Every step of the plan, judged: how it ended, and each measure that its probe declared.

Nothing unread, unset, skipped, of another unit or not a number ever ends as a pass.
"""

import math
from collections import Counter
from collections.abc import Iterator
from functools import cache

from msgspec import structs

from gpucert.baselines import defaults
from gpucert.baselines.limit import BELIEVED_ABOVE_CEILING, Limit
from gpucert.outcome import LOOKS, Outcome, StepStatus
from gpucert.reading import Absence, Absent
from gpucert.record import Declared, Measurement, StepRecord
from gpucert.units import Unit, show
from gpucert.verdict import decision, rules
from gpucert.verdict.case import Case
from gpucert.verdict.rules import OWN, Rule
from gpucert.verdict.verdict import Finding

STEP = "step"
"""The measure of a finding about a step as a whole."""

_WHY_ABSENT = {
    Absence.NOT_SUPPORTED: "the card answers that it does not support this",
    Absence.DRIVER_TOO_OLD: "the driver is too old to tell",
    Absence.NO_PERMISSION: "the station may not read this",
    Absence.LOST: "the card was lost",
    Absence.RESET_REQUIRED: "the card must be reset first",
    Absence.ABSURD: "the value cannot be",
    Absence.UNKNOWN: "there is no value",
}
_DTYPES: dict[str, rules.Part] = {"fp64": "fp64", "tf32": "tf32", "fp16": "fp16", "bf16": "bf16", "int8": "int8"}
"""Types that not every model computes in."""
_NEVER_NEGATIVE = set(Unit) - {Unit.CELSIUS, Unit.PERCENT}
LEAST_OF_NOMINAL = 0.9
"""Of the nominal memory, that programs see: the driver keeps up to 3 %, ECC on GDDR another sixteenth."""
_MEASURED_WRONGLY = {Absence.LOST, Absence.RESET_REQUIRED, Absence.ABSURD}


def judge_steps(case: Case) -> Iterator[Finding]:
    """Findings of every step, repeats pooled with the step that they repeat where a measure has a baseline."""
    if not case.record.steps:
        yield Finding(
            probe=STEP, measure=STEP, outcome=Outcome.ERROR, value=None, unit="", limit="", blocker=True,
            reason="The plan has no steps, so nothing was tested.", authority=OWN,
        )  # fmt: skip
    for step in case.record.steps:
        yield from _misfits(case, step)
        yield from _step(case, step)


def _misfits(case: Case, step: StepRecord) -> Iterator[Finding]:
    """A step that shares its index, or that repeats what is no earlier step of its probe, proves nothing."""
    steps = case.record.steps
    if sum(one.index == step.index for one in steps) > 1:
        yield _about(step, Outcome.ERROR, f"Several steps have the index {step.index}.", needed=True)
    if step.repeat_of is not None:
        first = next((one for one in steps if one.index == step.repeat_of and one.index < step.index), None)
        if first is None or first.repeat_of is not None or first.probe != step.probe:
            yield _about(step, Outcome.ERROR, "It repeats what is no earlier step of this probe.", needed=True)


def _step(case: Case, step: StepRecord) -> Iterator[Finding]:
    needed = case.needs(step)
    if step.status is not StepStatus.RAN or step.death is not None:
        yield _ended(step, needed=needed)
        yield from (one for one in _measures(case, step, needed=False) if one.outcome is Outcome.FAIL)
    elif not step.declared:
        yield _about(step, Outcome.ERROR, "The probe declared no measure, so nothing was measured.", needed=needed)
    else:
        yield from _measures(case, step, needed=needed)
    yield from _unsummed(step)


def _about(step: StepRecord, outcome: Outcome, reason: str, *, needed: bool) -> Finding:
    return Finding(
        probe=step.probe, measure=STEP, outcome=outcome, value=step.status.value, unit="", limit="ran",
        reason=reason, authority=OWN, step=step.index, blocker=needed,
    )  # fmt: skip


def _ended(step: StepRecord, *, needed: bool) -> Finding:
    """What a step that did not run to its end says: against the card only where its end is the card's doing."""
    if step.death is not None and step.death.subject == "card":
        return _about(step, Outcome.FAIL, _sentence(step.death.text), needed=needed)
    outcome = Outcome.SKIPPED if step.status in {StepStatus.SKIPPED, StepStatus.ABORTED} else Outcome.ERROR
    return _about(step, outcome, _sentence(step.reason or "the step did not run to its end"), needed=needed)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _unsummed(step: StepRecord) -> Iterator[Finding]:
    """Wrong values that no measure of the step sums up: it ended early, or an earlier attempt at it found them."""
    count = len(step.mismatches)
    if count and not any(_tells_wrong(measurement) for measurement in step.measurements):
        yield Finding(
            probe=step.probe, measure="mismatches", outcome=Outcome.FAIL, value=count, unit=Unit.COUNT.value,
            limit="≤ 0", reason=f"{count} wrong values were found in this step or in an attempt at it.", authority=OWN,
            step=step.index, blocker=True,
        )  # fmt: skip


def _tells_wrong(measurement: Measurement) -> bool:
    value = measurement.value
    return measurement.name.endswith(("wrong", "wrong_words")) and not isinstance(value, Absent) and value > 0


def _measures(case: Case, step: StepRecord, *, needed: bool) -> Iterator[Finding]:
    yield from _undeclared(step, needed=needed)
    measured = {one.name: one for one in reversed(step.measurements)}  # the first of a name counts
    for declared in step.declared:
        finding = _measure(case, step, declared, measured.get(declared.name), needed=needed)
        if finding is not None:
            yield finding


def _undeclared(step: StepRecord, *, needed: bool) -> Iterator[Finding]:
    """What the probe must measure and did not promise, and what it measured twice or without a promise."""
    declared = {one.name for one in step.declared}
    measured = Counter([one.name for one in step.measurements])
    for measure in _asked().get(step.probe, ()):
        if measure not in declared and step.status is StepStatus.RAN:
            missing = Declared(measure, Unit.COUNT)
            yield _of(step, missing, Outcome.ERROR, "The probe did not promise this measure.", needed=needed)
    for name, times in measured.items():
        if times > 1 or name not in declared:
            odd = Declared(name, Unit.COUNT)
            yield _of(step, odd, Outcome.ERROR, "Measured twice, or without a promise.", needed=needed)


@cache
def _asked() -> dict[str, list[str]]:
    """The measures that each probe must promise, because a rule needs them or a baseline has them."""
    asked = {name for name, rule in rules.shipped().items() if rule.needed} | set(defaults.shipped().measures)
    by_probe: dict[str, list[str]] = {}
    for name in sorted(asked):
        probe, _, measure = name.partition(".")
        by_probe.setdefault(probe, []).append(measure)
    return by_probe


def _measure(
    case: Case, step: StepRecord, declared: Declared, measurement: Measurement | None, *, needed: bool
) -> Finding | None:
    """One declared measure; None for one that is only told and is there, and for a repeat that is pooled."""
    name = f"{step.probe}.{declared.name}"
    rule = rules.shipped().get(name)
    if measurement is None:
        return _of(step, declared, Outcome.ERROR, "The probe promised this measure and left it unset.", needed=needed)
    if measurement.unit is not declared.unit or (rule is not None and rule.unit is not measurement.unit):
        expected = rule.unit if rule else declared.unit
        reason = f"Measured in {measurement.unit.value!r}, but declared or limited in {expected.value!r}."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed)
    if isinstance(measurement.value, Absent):
        return _absent(case, step, declared, measurement.value, rule, needed=needed)
    if not math.isfinite(measurement.value):
        return _of(step, declared, Outcome.ERROR, "The value is not a number.", needed=needed)
    if measurement.value < 0 and declared.unit in _NEVER_NEGATIVE:
        reason = f"{_shown(measurement.value, declared.unit)} cannot be."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed, value=measurement.value)
    if declared.name == "coverage" and measurement.value > 100:
        reason = f"{_shown(measurement.value, declared.unit)} of the memory cannot be covered."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed, value=measurement.value)
    if rule is not None and not rule.told:
        return _ruled(case, step, measurement, rule, needed=needed and rule.needed)
    if rule is not None and (case.baseline is None or case.baseline.find(name) is None):
        return None
    return _beside_baseline(case, step, measurement, needed=needed)


def _of(
    step: StepRecord, declared: Declared, outcome: Outcome, reason: str, *,
    needed: bool, value: float | str | None = None, u: float | None = None, limit: str = "", authority: str = OWN,
) -> Finding:  # fmt: skip
    return Finding(
        probe=step.probe, measure=declared.name, outcome=outcome, value=value, u=u, unit=declared.unit.value,
        limit=limit, reason=reason, authority=authority, step=step.index, blocker=needed,
    )  # fmt: skip


def _absent(
    case: Case, step: StepRecord, declared: Declared, absent: Absent, rule: Rule | None, *, needed: bool
) -> Finding | None:
    """A reading's absence: an unsupported part that the model lacks is not offered, anything else was not tested.

    None where the probe itself says that there is nothing to tell and nothing depends on it; where a bound would
    apply, it is told that it was not tested, and counts for nothing else.
    """
    if absent.absent is Absence.UNKNOWN and rule is not None and rule.told and not rule.needed:
        return None
    part = _part(step, declared, rule)
    offered = rules.has_part(part, case.model, case.record.settings)
    why = _WHY_ABSENT[absent.absent] + (f" ({absent.detail})" if absent.detail else "")
    needed = needed and (rule is None or rule.needed)
    if absent.absent is Absence.NOT_SUPPORTED and part is not None and offered is not True:
        whose = "This model has no such part" if offered is False else "Whether this model has the part is not known"
        return _of(step, declared, Outcome.NOT_OFFERED, f"{whose}: {why}.", needed=False, value=str(absent))
    told = needed or rule is None or not rule.told
    outcome = Outcome.ERROR if absent.absent in _MEASURED_WRONGLY and told else Outcome.SKIPPED
    found = _of(step, declared, outcome, f"Not tested: {why}.", needed=needed, value=str(absent))
    beside = absent.absent is Absence.UNKNOWN and rule is not None and not rule.needed
    return _advisory(found) if beside else found


def _part(step: StepRecord, declared: Declared, rule: Rule | None) -> rules.Part | None:
    """The part that a measure is about; those with a baseline are of the type that their name begins with."""
    if rule is not None:
        return rule.part
    return _DTYPES.get(declared.name.partition("_")[0]) if step.probe == "gemm_sustained" else None


# Measures with a rule


def _ruled(case: Case, step: StepRecord, measurement: Measurement, rule: Rule, *, needed: bool) -> Finding:
    bound = _bound(case, step, rule)
    value = measurement.value
    assert not isinstance(value, Absent)
    declared = Declared(measurement.name, measurement.unit)
    if bound is None:
        reason = "What it must be is not known: the model, or the measure that it must equal, is missing."
        return _of(step, declared, Outcome.SKIPPED, reason, needed=needed and rule.model is None, value=value)
    sign, number, authority = bound
    inside = {"≥": value >= number, "≤": value <= number, "=": value == number}[sign]
    limit = f"{sign} {_shown(number, measurement.unit)}"
    reading = f"{_shown(value, measurement.unit)}{f' ({measurement.where})' if measurement.where else ''}"
    reason = f"{reading}." if inside else f"{rule.says} Measured {reading}, limit {limit}."
    outside = Outcome.ERROR if rule.proof else Outcome.FAIL
    found = _of(
        step, declared, Outcome.PASS if inside else outside, reason,
        needed=needed, value=value, limit=limit, authority=authority,
    )  # fmt: skip
    return _advisory(found) if rule.advisory else found


def _bound(case: Case, step: StepRecord, rule: Rule) -> tuple[str, float, str] | None:
    """Sign, number and authority of a rule's bound; None where it cannot be known."""
    if rule.at_most is not None:
        return "≤", rule.at_most, OWN
    if rule.at_least is not None:
        return "≥", rule.at_least, OWN
    if rule.gate is not None:
        return "≥", case.coverage_target, f"policy {case.policy.source.name}"
    if rule.equals is not None:
        other = step.number(rule.equals)
        return None if other is None else ("=", other, OWN)
    if case.model is None:
        return None
    if rule.model == "memory":
        window = case.record.card.window_mib
        nominal = case.model.memory.size_gib * 1024 if window is None else window
        return "≥", LEAST_OF_NOMINAL * nominal, "gpucert catalogue"
    number = case.model.sm_count if rule.model == "sm_count" else case.model.memory.bus_bits
    return "=", number, "gpucert catalogue"


def _shown(value: float, unit: Unit) -> str:
    return show(int(value) if float(value).is_integer() else value, unit)


def _advisory(finding: Finding) -> Finding:
    return structs.replace(finding, advisory=True)


# Measures with a baseline


def _beside_baseline(case: Case, step: StepRecord, measurement: Measurement, *, needed: bool) -> Finding | None:
    declared = Declared(measurement.name, measurement.unit)
    value = measurement.value
    assert not isinstance(value, Absent)
    if step.repeat_of is not None:
        return None
    limit = case.baseline.find(f"{step.probe}.{measurement.name}") if case.baseline else None
    if limit is None:
        return _without_limit(case, step, declared, float(value), needed=needed)
    if limit.unit is not measurement.unit:
        reason = f"Measured in {measurement.unit.value!r}, but the limit is in {limit.unit.value!r}."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed)
    return against_limit(step, limit, pooled(case, step, measurement), needed=needed)


def _without_limit(case: Case, step: StepRecord, declared: Declared, value: float, *, needed: bool) -> Finding:
    """Nothing is claimed; a measure without a limit for any model keeps a blocker from passing."""
    if f"{step.probe}.{declared.name}" not in defaults.shipped().measures:
        reason = "No rule and no baseline says what this measure must be."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed, value=value)
    why = "the model is not graded" if case.baseline is None else "no figure is known for healthy cards of this model"
    return _of(step, declared, Outcome.SKIPPED, f"No limit, because {why}.", needed=False, value=value)


def pooled(case: Case, step: StepRecord, measurement: Measurement) -> Measurement:
    """The measurement of a step together with those of the steps that repeated it."""
    again = [one for one in case.record.steps if one.repeat_of == step.index and one.status is StepStatus.RAN]
    if not again:
        return measurement
    repeated = (m for one in again if one.probe == step.probe for m in one.measurements if m.name == measurement.name)
    same = [measurement, *(one for one in repeated if one.unit is measurement.unit)]
    known = [one for one in same if not isinstance(one.value, Absent) and math.isfinite(one.value)]
    if len(known) < 2 or any(one.u is None for one in known):
        return measurement
    value, u = decision.pooled(
        [float(one.value) for one in known if not isinstance(one.value, Absent)], [one.u or 0.0 for one in known]
    )
    return structs.replace(measurement, value=value, u=u, n=sum(one.n for one in known))


def against_limit(step: StepRecord, limit: Limit, measurement: Measurement, *, needed: bool) -> Finding:
    """A measurement against the limit of its model; one without an uncertainty cannot be decided, so it is an error."""
    value, u = measurement.value, measurement.u
    assert not isinstance(value, Absent)
    declared = Declared(measurement.name, measurement.unit)
    sign = "≥" if limit.better == "higher" else "≤"
    text = f"{sign} {show(limit.limit, limit.unit)}"
    if u is None:
        reason = "Measured without an uncertainty, so nothing can be decided."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed, value=value, limit=text)
    if limit.ceiling is not None and value > limit.ceiling * BELIEVED_ABOVE_CEILING:
        reason = f"{show(value, limit.unit)} is more than the silicon can ({show(limit.ceiling, limit.unit)})."
        return _of(step, declared, Outcome.ERROR, reason, needed=needed, value=value, limit=text)
    outcome = decision.against(limit, float(value), u)
    off = 100 * (float(value) / limit.centre - 1)
    side = "below" if off < 0 else "above"
    where = f"{abs(off):.1f} % {side} what healthy cards measure ({show(limit.centre, limit.unit)})"
    reason = f"{LOOKS[outcome].meaning.capitalize()}: {where}."
    authority = f"baseline of {limit.n} cards, evidence {limit.grade.value}; {limit.source}"
    found = _of(step, declared, outcome, reason, needed=needed, value=value, u=u, limit=text, authority=authority)
    return _advisory(found) if limit.advises else found
