"""Wrong data and slow work: which part of the card is behind what the probes found."""

from collections.abc import Iterable, Iterator, Sequence

from gpucert.outcome import Outcome
from gpucert.record import StepRecord
from gpucert.verdict.case import Case
from gpucert.verdict.clock import explained_by_clock
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.verdict import Diagnosed, Finding
from gpucert.verdict.wrong_memory import wrong_memory

ALIKE_ABOVE = 0.9
"""Share of SMs that must be wrong alike for a fault that is not of one SM."""
SOME_SMS = 8
"""At most so many wrong SMs are named; more, and the place is not known."""

_UNITS = ("int32", "fp32", "fp64", "tensor", "sfu")
_FOR_PERFORMANCE = {"gemm_sustained": "performance.compute", "memory_bandwidth": "performance.memory"}


def diagnose_wrong(case: Case, findings: Iterable[Finding]) -> Iterator[Diagnosed]:
    """Diagnoses of memory, arithmetic and performance."""
    for step in case.steps_of("memory_scan"):
        yield from wrong_memory(case, step)
    yield from _compute(case)
    yield from _performance(case, tuple(findings))


def _count(step: StepRecord, measure: str) -> int:
    return int(step.number(measure) or 0)


# Arithmetic


def _compute(case: Case) -> Iterator[Diagnosed]:
    """An SM by name where known answers or located outputs point to it; else what can be said."""
    for step in case.steps_of("sm_answers"):
        yield from _answers(step)
    for step in case.record.steps:
        if step.probe in ("gemm_exact", "gemm_sustained"):
            yield from _products(step)


def _answers(step: StepRecord) -> Iterator[Diagnosed]:
    """Unit by unit, because a unit that is wrong everywhere must not hide another that is wrong on one SM."""
    present = _count(step, "sms_present")
    wrong = {name: _count(step, f"{name}_wrong") for name in _UNITS if _count(step, f"{name}_wrong")}
    alike = [name for name, sms in wrong.items() if sms >= ALIKE_ABOVE * present]
    single = [name for name in wrong if name not in alike]
    places = next((one.where for one in step.measurements if one.name == "sms_wrong"), "").split(", ")
    if alike:
        evidence = f"{', '.join(alike)}: all of {present} SMs give wrong answers in step {step.index + 1}"
        yield diagnosed("compute.repeatable", evidence, "likely", ", ".join(alike))
    if single or (not wrong and _count(step, "sms_wrong")):
        named = [place for place in places if not any(f"({name})" in place for name in alike)]
        evidence = f"known answers were wrong in step {step.index + 1}"
        yield diagnosed("compute.sm", evidence, "certain", ", ".join(named) or ", ".join(single))


def _products(step: StepRecord) -> Iterator[Diagnosed]:
    wrong = sum(_count(step, one.name) for one in step.measurements if one.name.endswith("wrong"))
    located = [one for one in step.mismatches if one.kind == "compute"]
    if not wrong and not located:
        return
    sms = sorted({one.reader_sm for one in located if one.reader_sm is not None})
    evidence = f"{max(wrong, len(located))} outputs of matrix products were wrong in step {step.index + 1}"
    if sms and len(sms) <= SOME_SMS and all(one.reader_sm is not None for one in located):
        yield diagnosed("compute.sm", evidence, "likely", ", ".join(f"SM {sm}" for sm in sms))
    else:
        yield diagnosed("compute.wrong", evidence, "certain")


# Performance


def _performance(case: Case, findings: Sequence[Finding]) -> Iterator[Diagnosed]:
    """Slow work for each clock, but where the clock was lower than reported: that is diagnosed by itself."""
    for finding in findings:
        code = _FOR_PERFORMANCE.get(finding.probe)
        slow = finding.outcome is Outcome.FAIL and finding.measure.endswith("_per_clock")
        if code and slow and not explained_by_clock(case, findings, finding):
            yield diagnosed(code, f"{finding.measure}: {finding.reason}", "likely")
