"""Wrong data and slow work: which part of the card is behind what the probes found."""

from collections.abc import Iterable, Iterator

from gpucert.outcome import Outcome
from gpucert.record import Mismatch, StepRecord
from gpucert.stress.backend import PARTITIONS
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.verdict import Diagnosed, Finding
from gpucert.verdict.wrong_memory import wrong_memory

ALIKE_ABOVE = 0.9
"""Share of SMs that must be wrong alike for a fault that is not of one SM."""
SOME_SMS = 8
"""At most so many wrong SMs are named; of products more than that, and the place is not known."""
SURE_AFTER = 3
"""So many wrong answers name an SM for certain."""

_FOR_PERFORMANCE = {"gemm_sustained": "performance.compute", "memory_bandwidth": "performance.memory"}


def diagnose_wrong(case: Case, findings: Iterable[Finding]) -> Iterator[Diagnosed]:
    """Diagnoses of memory, arithmetic and performance."""
    for probe in ("memory_scan", "memory_under_load"):
        for step in case.steps_of(probe):
            yield from wrong_memory(case, step)
    yield from _compute(case)
    yield from _performance(findings)


def _count(step: StepRecord, measure: str) -> int:
    return int(step.number(measure) or 0)


# Arithmetic


def _compute(case: Case) -> Iterator[Diagnosed]:
    """An SM by name where known answers or located outputs point to it; else what can be said."""
    for step in case.steps_of("sm_answers"):
        yield from _answers(step)
    for step in case.record.steps:
        if step.probe in ("gemm_exact", "gemm_sustained", "load_swings", "memory_under_load"):
            yield from _products(step)


def _answers(step: StepRecord) -> Iterator[Diagnosed]:
    """Part by part, because one that is wrong everywhere must not hide another that is wrong on one SM."""
    present = _count(step, "sms_present")
    wrong = {part: sms for part in _parts(step) if (sms := _count(step, f"{part}_wrong"))}
    alike = [part for part, sms in wrong.items() if sms >= ALIKE_ABOVE * present]
    if alike:
        evidence = f"{', '.join(alike)}: all of {present} SMs give wrong answers in step {step.index + 1}"
        yield diagnosed("compute.repeatable", evidence, "likely", ", ".join(alike))
    located = [one for one in step.mismatches if one.kind == "compute" and _part(one) not in alike]
    if located:
        again, tries = sum(one.again for one in located), sum(one.tries for one in located)
        evidence = f"{again} of {tries} known answers were wrong in step {step.index + 1}"
        yield diagnosed("compute.sm", evidence, "certain" if again >= SURE_AFTER else "likely", _places(step, located))
    elif (single := [part for part in wrong if part not in alike]) or (not wrong and _count(step, "sms_wrong")):
        yield diagnosed("compute.sm", f"known answers were wrong in step {step.index + 1}", "likely", ", ".join(single))


def _parts(step: StepRecord) -> list[str]:
    """The parts that answered, in their order."""
    asked = (one.name.removesuffix("_wrong") for one in step.measurements if one.name.endswith("_wrong"))
    return [part for part in asked if part != "sms" and step.number(f"{part}_wrong") is not None]


def _part(located: Mismatch) -> str:
    return located.phase.partition(",")[0]


def _places(step: StepRecord, located: list[Mismatch]) -> str:
    """The SMs that were wrong, each with its parts, and with its sub-partitions where it is not all four."""
    by_sm: dict[int, list[Mismatch]] = {}
    for one in located:
        if one.reader_sm is not None:
            by_sm.setdefault(one.reader_sm, []).append(one)
    told = [_place(sm, given, _parts(step)) for sm, given in sorted(by_sm.items())]
    more = f" and {len(told) - SOME_SMS} more" if len(told) > SOME_SMS else ""
    return ", ".join(told[:SOME_SMS]) + more


def _place(sm: int, given: list[Mismatch], parts: list[str]) -> str:
    wrong = list(dict.fromkeys(map(_part, given)))
    tensor = [part for part in parts if part.startswith("tensor")]
    if len(tensor) > 1 and set(tensor) <= set(wrong):  # all types that they multiply: then it is the cores
        wrong = [part for part in wrong if part not in tensor] + ["tensor"]
    partitions = sorted({place for one in given for place in one.partitions})
    which = f" partition {' and '.join(map(str, partitions))}" if 0 < len(partitions) < PARTITIONS else ""
    return f"SM {sm}{which} ({', '.join(wrong)})"


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


def _performance(findings: Iterable[Finding]) -> Iterator[Diagnosed]:
    for finding in findings:
        code = _FOR_PERFORMANCE.get(finding.probe)
        if code and finding.outcome is Outcome.FAIL and finding.measure.endswith("_per_clock"):
            yield diagnosed(code, f"{finding.measure}: {finding.reason}", "likely")
