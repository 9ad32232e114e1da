"""Pairs: every measure of two runs side by side, and whether its difference is more than its uncertainty.

With d the difference and u its standard uncertainty, d is told as a change where |d| > g·u, else no change was seen.
g shares one error budget over all measures that have an uncertainty, after Šidák: q = 1 − (1 − budget)^(1/m) each, and
g = Φ⁻¹(1 − q/2), because either direction would be told. Measures that go together make that share smaller than stated.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Literal

from gpucert.baselines import defaults
from gpucert.diagnosis import Subject
from gpucert.outcome import Outcome, StepStatus
from gpucert.reading import Absent
from gpucert.record import Column, Measurement, StepRecord
from gpucert.units import Unit, show
from gpucert.verdict import decision, heat, rules
from gpucert.verdict.circumstances import Hindrances, Run, as_thorough
from gpucert.verdict.comparison import Change, Measured
from gpucert.verdict.heat import FAN_MOVED_PERCENT, Resistance

WITHIN_CARD_U = 0.005
"""Of the value: what one run does not show of its repeatability in another one. Resistances of one card scatter by 0.2
to 0.6 % in simulations with a fixed fan; rates by no more than those of eight A100 in one node, 0.3 to 0.7 %
(RRZE-HPC/gpu-benches, microsoft/superbench-results). No run of a real card was repeated yet to measure it."""

LARGEST = 1e150
"""A number beyond it is none: its square overflows."""

_HEAT = ("fast", "slow", "total")
_INTO_THE_AIR = ("thermal.slow", "thermal.total")
_DISCRETE = ("identity.", "pcie_link.width", "pcie_link.generation", "sm_answers.sms_present", "sm_clock.sms")
"""Beginnings of measures that count parts: any difference is one."""
_DECIDED = (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL)
"""The worst last."""

Better = Literal["higher", "lower"] | None


@dataclass(frozen=True)
class _Value:
    """One measure of one run, its steps and repeats pooled; `why` says why there is no number."""

    unit: Unit
    number: float | int | None
    u: float | None = None
    why: str = ""
    fan_percent: float | None = None
    """Of a resistance: how fast the fan was told to turn under load."""


@dataclass(frozen=True)
class _Pair:
    """One measure of both runs."""

    name: str
    before: _Value
    after: _Value
    hindrance: str
    better: Better
    outcomes: tuple[Outcome | None, Outcome | None]
    """As judged in each run, the worst of its steps; None where it has no limit."""
    as_thorough: tuple[bool, bool]
    """Whether the run before gave its probe as much time as the one after, and the other way round."""

    @property
    def unit(self) -> Unit:
        """The unit of the number that there is."""
        return self.before.unit if self.after.number is None else self.after.unit

    @property
    def difference(self) -> float | int | None:
        """After less before, where both are numbers of one unit."""
        one, other = self.before.number, self.after.number
        return None if one is None or other is None or self.before.unit is not self.after.unit else other - one

    @property
    def u(self) -> float | None:
        """Of the difference."""
        one, other = self.before.u, self.after.u
        return None if one is None or other is None or self.difference is None else math.hypot(one, other)

    @property
    def judged(self) -> bool:
        """Whether it has a share of the budget."""
        return self.u is not None and not self.hindrance


@dataclass(frozen=True)
class Pairs:
    """All measures, and what they were judged by."""

    measures: tuple[Measured, ...]
    judged: int
    guard: float


def pairs(before: Run, after: Run) -> Pairs:
    """Every measure that either run has a number of: heat first, then in the order of the plan."""
    hindrances = Hindrances(before, after)
    one, other = _values(before), _values(after)
    every = [
        _Pair(
            name=name,
            before=one.get(name) or _missing(name, before),
            after=other.get(name) or _missing(name, after),
            hindrance=hindrances.of(name),
            better=better(name, before, after),
            outcomes=(_outcome(name, before), _outcome(name, after)),
            as_thorough=(as_thorough(_probe(name), before, after), as_thorough(_probe(name), after, before)),
        )
        for name in dict.fromkeys((*one, *other))
    ]
    told = [pair for pair in every if pair.before.number is not None or pair.after.number is not None]
    judged = sum(pair.judged for pair in told)
    guard = guard_of(judged)
    return Pairs(tuple(_measured(pair, guard, before, after) for pair in told), judged, guard)


def guard_of(measures: int) -> float:
    """Standard uncertainties of a difference from which it is a change, where so many measures share the budget."""
    return NormalDist().inv_cdf(1 - defaults.shipped().share(max(measures, 1)) / 2)


def better(name: str, *runs: Run) -> Better:
    """Which side of a measure is wanted, by its limit; None where it has none, or only one right value."""
    baseline, rule = defaults.shipped().measures.get(name), rules.shipped().get(name)
    if baseline is not None:
        return baseline.better
    if rule is not None and rule.at_most is not None:
        return "lower"
    if rule is not None and (rule.at_least is not None or rule.gate is not None):
        return "higher"
    limits = {one.limit[:1] for run in runs for one in run.findings.get(name, ())}
    return "higher" if limits == {"≥"} else "lower" if limits == {"≤"} else None


# What each run measured


def _values(run: Run) -> dict[str, _Value]:
    found = {f"thermal.{name}": value for name, value in _heats(run)}
    measured: dict[str, list[Measurement]] = {}
    for step in run.record.steps:
        for one in step.measurements:
            measured.setdefault(f"{step.probe}.{one.name}", []).append(one)
    found |= {name: _pooled(many, better(name, run)) for name, many in measured.items()}
    return {name: _believed(name, value, run) for name, value in found.items()}


def _believed(name: str, value: _Value, run: Run) -> _Value:
    """What was judged to be no measurement (negative bytes, more than the silicon can) has no number to compare."""
    errors = [one.reason for one in run.findings.get(name, ()) if one.outcome is Outcome.ERROR]
    return _Value(value.unit, None, why=errors[0].rstrip(".")) if errors else value


def _heats(run: Run) -> Iterator[tuple[str, _Value]]:
    """The resistances of all soaks, pooled."""
    steps = run.steps_of(heat.PROBE)
    heats = [heat.of_step(step) for step in steps]
    for name in _HEAT:
        each: list[Resistance | Absent] = [getattr(one, name) for one in heats]
        known = [(step, one) for step, one in zip(steps, each, strict=True) if isinstance(one, Resistance)]
        if known:
            value, u = decision.pooled([one.value for _, one in known], [one.u for _, one in known])
            fans = [fan for step, _ in known if (fan := _fan_percent(step)) is not None]
            yield (
                name,
                _Value(Unit.CELSIUS_PER_WATT, value, _within(value, u), fan_percent=fmean(fans) if fans else None),
            )
        elif absent := next((one for one in each if isinstance(one, Absent)), None):
            yield name, _Value(Unit.CELSIUS_PER_WATT, None, why=absent.detail)


def _within(value: float, u: float) -> float:
    """The uncertainty of a value from one run of a card to the next."""
    return math.hypot(u, WITHIN_CARD_U * value)


def _fan_percent(step: StepRecord) -> float | None:
    """The mean speed that the fan was told under load; None for a card without one."""
    began, ended, trace = step.number("heat_began"), step.number("heat_ended"), step.traces.get("telemetry")
    if began is None or ended is None or trace is None:
        return None
    turning = [fan for at, fan in _rows(trace.at_s, trace.column("fan_percent")) if began <= at <= ended]
    return fmean(turning) if turning else None


def _rows(at_s: tuple[float, ...], column: Column) -> Iterator[tuple[float, float]]:
    return ((at, value) for at, value in zip(at_s, column, strict=False) if isinstance(value, int | float))


def _pooled(many: Sequence[Measurement], better: Better) -> _Value:
    """Steps and repeats of one measure as one value: their mean where each has an uncertainty, else the worst."""
    unit = many[-1].unit
    known = [(number, one.u) for one in many if one.unit is unit and (number := _number(one)) is not None]
    if not known:
        value = many[-1].value
        return _Value(unit, None, why=str(value) if isinstance(value, Absent) else "it is no number")
    numbers = [number for number, _ in known]
    uncertainties = [u for _, u in known if u is not None and 0 <= u <= LARGEST]
    if len(uncertainties) == len(numbers):
        value, u = decision.pooled(numbers, uncertainties)
        return _Value(unit, value, _within(value, u))
    return _Value(unit, min(numbers) if better == "higher" else max(numbers) if better == "lower" else numbers[-1])


def _probe(name: str) -> str:
    """The probe that measures it; resistances are fitted from a soak."""
    probe = name.partition(".")[0]
    return heat.PROBE if probe == "thermal" else probe


def _missing(name: str, run: Run) -> _Value:
    """Why a run has nothing of a measure."""
    probe = _probe(name)
    steps = run.steps_of(probe)
    ended = [step.reason or f"its step ended as {step.status.value}" for step in steps if step.status != StepStatus.RAN]
    why = f"plan {run.record.plan.name} has no step of {probe}" if not steps else "its probe did not measure it"
    return _Value(Unit.COUNT, None, why=ended[0].rstrip(".") if ended else why)


def _number(measurement: Measurement) -> float | int | None:
    value = measurement.value
    return None if isinstance(value, Absent) or not abs(value) <= LARGEST else value


# What became of each


def _measured(pair: _Pair, guard: float, before: Run, after: Run) -> Measured:
    change, why = _change(pair, guard)
    return Measured(
        measure=pair.name,
        unit=pair.unit.value,
        before=pair.before.number,
        before_u=pair.before.u,
        after=pair.after.number,
        after_u=pair.after.u,
        difference=pair.difference,
        difference_u=pair.u,
        least=guard * pair.u if pair.judged and pair.u is not None else None,
        change=change,
        why=why,
        limited=pair.name in before.findings,
        subject=_subject(pair.name, before, after),
    )


def _change(pair: _Pair, guard: float) -> tuple[Change, str]:
    if pair.after.number is None:
        return Change.NOT_AGAIN, f"Not measured after: {pair.after.why}."
    if pair.before.number is None:
        return Change.NEW, f"Not measured before: {pair.before.why}."
    if pair.difference is None:
        units = f"{pair.before.unit.value!r} before and {pair.after.unit.value!r} after"
        return Change.NOT_COMPARABLE, f"Measured in {units}."
    if pair.hindrance:
        return Change.NOT_COMPARABLE, pair.hindrance
    if pair.u is not None:
        return _beyond(pair, pair.difference, pair.u, guard)
    return _without_u(pair, pair.difference)


def _beyond(pair: _Pair, difference: float, u: float, guard: float) -> tuple[Change, str]:
    """A difference against its uncertainty."""
    if abs(difference) <= guard * u:
        return Change.SAME, f"A difference of more than {show(guard * u, pair.unit)} would have been told."
    if fan := _fan_explains(pair, difference):
        return Change.NOT_COMPARABLE, fan
    far = f"{abs(difference) / u:.1f} standard uncertainties" if u else "no uncertainty"
    return _direction(pair, difference), f"The difference is {far}; from {guard:.1f} on it is told."


def _direction(pair: _Pair, difference: float) -> Change:
    if pair.better is None:
        return Change.CHANGED
    return Change.BETTER if (difference > 0) == (pair.better == "higher") else Change.WORSE


def _fan_explains(pair: _Pair, difference: float) -> str:
    """Why a way into the air that changed tells nothing of the cooler: a faster fan shortens it by itself."""
    one, other = pair.before.fan_percent, pair.after.fan_percent
    if pair.name not in _INTO_THE_AIR or one is None or other is None or abs(other - one) <= FAN_MOVED_PERCENT:
        return ""
    turned = f"The fan was told to turn at {one:.0f} % before and {other:.0f} % after"
    return f"{turned}, which explains a difference to this side." if (other > one) == (difference < 0) else ""


def _without_u(pair: _Pair, difference: float) -> tuple[Change, str]:
    """Equal, or told by its limit; a difference of anything else could be noise."""
    if difference == 0:
        return Change.SAME, "The same number."
    inside = tuple(None if one not in _DECIDED else one is not Outcome.FAIL for one in pair.outcomes)
    if inside in {(False, True), (True, False)}:
        return _crossed(pair, inwards=inside == (False, True))
    if pair.name.startswith(_DISCRETE):
        return _direction(pair, difference), "It is counted, so any difference is one."
    if inside == (False, False):
        return Change.NOT_JUDGED, "Outside of its limit both times; how far differs from one run to the next."
    return Change.NOT_JUDGED, "Measured without an uncertainty, so nobody knows what a difference means."


def _crossed(pair: _Pair, *, inwards: bool) -> tuple[Change, str]:
    """From one side of its limit to the other, where the shorter test is not the one that found nothing."""
    before, after = pair.as_thorough
    if not (after if inwards else before):
        shorter = "after" if inwards else "before"
        return Change.NOT_JUDGED, f"Inside of its limit {shorter}, in a shorter test that could have missed it."
    if inwards:
        return Change.BETTER, "It was outside of its limit, and is inside now."
    return Change.WORSE, "It was inside of its limit, and is outside now."


def _outcome(name: str, run: Run) -> Outcome | None:
    """The worst of what a measure was judged as."""
    found = [one.outcome for one in run.findings.get(name, ()) if one.outcome in _DECIDED]
    return max(found, key=_DECIDED.index, default=None)


def _subject(name: str, before: Run, after: Run) -> Subject:
    """Whom it is about, as its findings say."""
    found = (*after.findings.get(name, ()), *before.findings.get(name, ()))
    return found[0].subject if found else "card"
