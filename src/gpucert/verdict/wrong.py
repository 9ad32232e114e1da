"""Wrong data and slow work: which part of the card is behind what the probes found."""

from collections.abc import Iterable, Iterator, Sequence

from gpucert.outcome import Outcome
from gpucert.record import Mismatch, StepRecord
from gpucert.verdict.case import Case
from gpucert.verdict.clock import explained_by_clock
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding
from gpucert.verdict.wrong_memory import wrong_memory

ALIKE_ABOVE = 0.9
"""Share of SMs that must be wrong alike for a fault that is not of one SM."""
SOME_SMS = 8
"""At most so many wrong SMs are named."""
PRODUCTS = ("gemm_exact", "gemm_sustained", "load_swings", "memory_under_load", "heat_cycles")
_TYPES = ("fp64", "fp32", "tf32", "fp16", "bf16", "int8", "fp8")
PARTITIONS = 4
SURE_AFTER = 3
"""So many wrong answers name an SM for certain."""

_FOR_PERFORMANCE = {"gemm_sustained": "performance.compute", "memory_bandwidth": "performance.memory"}


def diagnose_wrong(case: Case, findings: Iterable[Finding]) -> Iterator[Diagnosed]:
    """Diagnoses of memory, arithmetic and performance."""
    yield from _memory(case)
    yield from _compute(case)
    yield from _performance(case, tuple(findings))


def _count(step: StepRecord, measure: str) -> int:
    return int(step.number(measure) or 0)


def _memory(case: Case) -> Iterator[Diagnosed]:
    """What the scans found, which look into it best; of words beside other work only what no scan met."""
    scanned = [one for step in case.steps_of("memory_scan") for one in wrong_memory(case, step)]
    yield from scanned
    if not scanned:
        for step in case.record.steps:
            if step.probe in ("memory_under_load", "heat_cycles"):
                yield from wrong_memory(case, step)


# Arithmetic


def _compute(case: Case) -> Iterator[Diagnosed]:
    """An SM by name where known answers point to it; of wrong products what they do not explain."""
    blamed: set[str] = set()
    for step in case.steps_of("sm_answers"):
        yield from _answers(step)
        blamed |= {_core(part) for part in _parts(step) if _count(step, f"{part}_wrong")}
    for step in case.steps_of("heat_cycles"):
        yield from _in_the_heat(step)
        blamed |= {_core(_part(one)) for one in _of_an_sm(step)}
    for step in case.record.steps:
        if step.probe in PRODUCTS:
            yield from _products(step, blamed)


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


def _in_the_heat(step: StepRecord) -> Iterator[Diagnosed]:
    """SMs that gave wrong answers in heat cycles."""
    if located := _of_an_sm(step):
        evidence = f"known answers were wrong in step {step.index + 1}, {len(located)} times"
        confidence: Confidence = "certain" if len(located) >= SURE_AFTER else "likely"
        yield diagnosed("compute.sm", evidence, confidence, _places(step, located))


def _of_an_sm(step: StepRecord) -> list[Mismatch]:
    """Wrong values that one SM gave, as answers are; which of them made an output of a product nobody is told."""
    return [one for one in step.mismatches if one.kind == "compute" and one.reader_sm is not None]


def _parts(step: StepRecord) -> list[str]:
    """The parts that answered, in their order."""
    asked = (one.name.removesuffix("_wrong") for one in step.measurements if one.name.endswith("_wrong"))
    return [part for part in asked if part != "sms" and step.number(f"{part}_wrong") is not None]


def _core(name: str) -> str:
    """The part of an SM that works out a type of products, or answers under this name."""
    return name if name in ("fp64", "fp32") or not name.startswith(("tensor", *_TYPES)) else "tensor"


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


def _products(step: StepRecord, blamed: set[str]) -> Iterator[Diagnosed]:
    """Of the cores, unless the inputs had changed: a wrong product of wrong inputs is the memory's fault.

    Nothing where every type that is wrong is worked out by a unit that is `blamed` already.
    """
    if changed := _count(step, "inputs_wrong"):
        evidence = f"{changed} inputs of matrix products changed in memory in step {step.index + 1}, not looked into"
        yield diagnosed("memory.hard", evidence, "possible")
        return
    wrong = sum(_count(step, one.name) for one in step.measurements if _of_products(one.name))
    located = [one for one in step.mismatches if one.kind == "compute" and one.reader_sm is None]
    if not wrong and not located:
        return
    types = {dtype for dtype in _TYPES if _count(step, f"{dtype}_wrong")}
    types |= {word for one in located for word in one.phase.split() if word in _TYPES}
    cores = {_core(dtype) for dtype in types or _TYPES}
    if blamed >= cores or (not types and blamed & cores):
        return
    evidence = f"{max(wrong, len(located))} outputs of matrix products were wrong in step {step.index + 1}"
    yield diagnosed("compute.wrong", evidence, "certain", ", ".join(sorted(types)))


def _of_products(measure: str) -> bool:
    """Whether a measure counts wrong outputs of matrix products."""
    return measure.endswith("wrong") and measure not in ("sms_wrong", "copied_wrong")


# Performance


def _performance(case: Case, findings: Sequence[Finding]) -> Iterator[Diagnosed]:
    """Slow work for each clock, but where the clock was lower than reported: that is diagnosed by itself."""
    for finding in findings:
        code = _FOR_PERFORMANCE.get(finding.probe)
        slow = finding.outcome is Outcome.FAIL and finding.measure.endswith("_per_clock")
        if code and slow and not explained_by_clock(case, findings, finding):
            confidence: Confidence = "possible" if finding.advisory else "likely"
            yield diagnosed(code, f"{finding.measure}: {finding.reason}", confidence, advisory=finding.advisory)
