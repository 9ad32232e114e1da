"""The real clock: whether the SMs ran at the clock that the card reports, on which every rate per clock rests.

On a healthy card the two agree: within 0.5 % where somebody published both (1495 MHz counted, 1500 MHz set: pull
request 7729 of triton-lang/triton). How far apart they may lie on the models of the catalogue nobody has measured, so
that the limit is wide and only advises. A clock that sags far enough to fail a rate per clock costs the certificate
through that rate; then two measurements that share nothing but the clock agree on it.
"""

from collections.abc import Iterable, Iterator

from gpucert.outcome import Outcome, StepStatus
from gpucert.reading import Absence, Absent
from gpucert.record import Measurement, StepRecord
from gpucert.units import Unit, show
from gpucert.verdict import decision
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.rules import OWN
from gpucert.verdict.steps import pooled
from gpucert.verdict.verdict import Diagnosed, Finding

PROBE, MEASURE = "sm_clock", "ratio"
APART = 0.05
"""Of the reported clock; engineering choice: more than three of its steps of 15 MHz at 1 GHz, and less than any limit
of a rate per clock forgives, so that a clock that sags is named before it fails a card."""
_GRAVITY = (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL, Outcome.ERROR)

_Item = Finding | Diagnosed


def judge_clock(case: Case, findings: Iterable[Finding]) -> Iterator[_Item]:
    """A finding for each step that counted cycles, and what a sag means. `findings` are those of the steps."""
    every = tuple(findings)
    for step in case.steps_of(PROBE):
        measured = next((one for one in step.measurements if one.name == MEASURE), None)
        if measured is None or step.repeat_of is not None or step.status is not StepStatus.RAN:
            continue
        for found in _judged(step, pooled(case, step, measured)):
            yield found
            if _sags(found):
                slow = any(_explains(case, found, one) for one in every)
                yield diagnosed("power.droop", found.reason, "likely" if slow else "possible", advisory=not slow)


def explained_by_clock(case: Case, findings: Iterable[Finding], slow: Finding) -> bool:
    """Whether a rate per reported clock failed only because the SMs ran slower than was reported."""
    return any(_explains(case, one, slow) for one in findings if _sags(one))


def _sags(finding: Finding) -> bool:
    ours = (finding.probe, finding.measure, finding.outcome) == (PROBE, MEASURE, Outcome.FAIL)
    return ours and isinstance(finding.value, float) and finding.value < 1


def _explains(case: Case, sag: Finding, slow: Finding) -> bool:
    per_clock = slow.probe == "gemm_sustained" and slow.measure.endswith("_per_clock")
    limit = case.baseline.find(f"{slow.probe}.{slow.measure}") if case.baseline and per_clock else None
    if limit is None or slow.outcome is not Outcome.FAIL:
        return False
    if not isinstance(sag.value, float) or not isinstance(slow.value, float) or slow.u is None:
        return False
    return decision.against(limit, slow.value / sag.value, slow.u / sag.value) is not Outcome.FAIL


def _judged(step: StepRecord, measured: Measurement) -> Iterator[Finding]:
    """The ratio against both limits; nothing where the findings of the steps say why there is no ratio."""
    value, u = measured.value, measured.u
    if isinstance(value, Absent):
        if value.absent is Absence.UNKNOWN:
            yield _found(step, Outcome.SKIPPED, f"Not tested: {value.detail}.", None)
    elif u is not None and measured.unit is Unit.RATIO:
        low = decision.decide(value, u, 1 - APART, higher_is_better=True)
        high = decision.decide(value, u, 1 + APART, higher_is_better=False)
        yield _found(step, max(low, high, key=_GRAVITY.index), _sentence(step, float(value)), float(value), u)


def _sentence(step: StepRecord, ratio: float) -> str:
    real, reported = step.number("real"), step.number("reported")
    clocks = f", {show(real, Unit.MEGAHERTZ)} of {show(reported, Unit.MEGAHERTZ)}" if real and reported else ""
    return f"Under load the SMs ran at {100 * ratio:.1f} % of the clock that was reported{clocks}."


def _found(step: StepRecord, outcome: Outcome, reason: str, value: float | None, u: float | None = None) -> Finding:
    return Finding(
        probe=PROBE, measure=MEASURE, outcome=outcome, value=value, u=u, unit=Unit.RATIO.value,
        limit=f"{1 - APART:g} to {1 + APART:g}", reason=reason, authority=OWN, step=step.index, advisory=True,
    )  # fmt: skip
