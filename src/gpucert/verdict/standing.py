"""Findings and diagnoses of two runs of one card: what came, what stayed, what went, and what was not tested again.

A fault that was found before counts as gone only where what had found it was tested after, and passed. A value that is
now on the other side of its limit and did not change beyond its uncertainty lies at the limit: it is judged otherwise.
"""

from collections.abc import Iterable, Mapping, Sequence

from gpucert.outcome import Outcome, StepStatus
from gpucert.reading import Absent
from gpucert.record import Record
from gpucert.verdict.case import last_counters
from gpucert.verdict.circumstances import Run, as_thorough
from gpucert.verdict.comparison import Change, Diagnosis, Found, Standing
from gpucert.verdict.verdict import Diagnosed, Finding

_AGAINST = (Outcome.MARGINAL, Outcome.ERROR, Outcome.FAIL)
"""The worst last."""
_TESTED = {Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL}
_READ_FROM = {
    "card.mig_pending": "mig",
    "card.ecc_pending": "ecc",
    "card.peak_bandwidth": "max_memory_clock_mhz",
    "card.power_limit": "power_limit_w",
    "card.retired_pages": "retired_dbe",
    "card.sram_threshold": "sram_threshold_exceeded",
    "nvlink.links_up": "nvlinks_up",
    "thermal.inlet": "inlet_c",
    "run.ecc_corrected": "ecc_corrected_volatile",
    "run.ecc_uncorrected": "ecc_uncorrected_volatile",
    "run.ecc_counters": "ecc_corrected_volatile",
    "run.thermal_slowdown": "throttle_thermal_ns",
}
"""The reading of findings that are only there where something is wrong, if it has another name than the finding."""
_READ_AT_ONCE = {"card", "identity", "settings"}
"""What needs no load: findings of these need the reading alone."""
_PROBES_OF = {
    "board": ("heat_cycles", "run"),
    "compute": (
        "sm_answers", "gemm_exact", "gemm_sustained", "load_swings", "memory_under_load", "heat_cycles", "identity",
        "card",
    ),
    "config": ("card",),
    "identity": ("identity", "card"),
    "link": ("pcie_link", "nvlink", "heat_cycles"),
    "memory": (
        "memory_scan", "memory_under_load", "memory_bandwidth", "gemm_exact", "heat_cycles", "counters", "identity",
        "card", "run",
    ),
    "performance": ("gemm_sustained", "memory_bandwidth"),
    "thermal": ("thermal", "thermal_soak", "gemm_sustained", "memory_bandwidth", "run"),
}  # fmt: skip
"""Which findings a diagnosis of a family can rest on; of any other family, on all of them."""


# Findings


def found(before: Run, after: Run, changes: Mapping[str, Change]) -> tuple[Found, ...]:
    """Every finding that speaks against something in either run; those of one measure are one.

    `changes` says what became of each measure that was compared, by `probe.measure`.
    """
    names = dict.fromkeys(name for run in (after, before) for name, some in run.findings.items() if _worst(some))
    return tuple(_found(name, before, after, changes.get(name)) for name in names)


def _worst(findings: Iterable[Finding]) -> Finding | None:
    against = [one for one in findings if one.outcome in _AGAINST]
    return max(against, key=_gravity, default=None)


def _gravity(finding: Finding) -> tuple[bool, int]:
    return not finding.advisory, _AGAINST.index(finding.outcome)


def _found(name: str, before: Run, after: Run, change: Change | None) -> Found:
    one, other = (_worst(run.findings.get(name, ())) for run in (before, after))
    told = other or one
    assert told is not None
    return Found(
        probe=told.probe,
        measure=told.measure,
        before=_outcome(name, before),
        after=_outcome(name, after),
        standing=_standing(name, before, after, change),
        subject=told.subject,
        advisory=told.advisory,
        reason=told.reason,
    )


def _outcome(name: str, run: Run) -> Outcome | None:
    """The worst of a measure; None where nothing was said of it."""
    findings = run.findings.get(name, ())
    worst = _worst(findings)
    return worst.outcome if worst else findings[0].outcome if findings else None


def _standing(name: str, before: Run, after: Run, change: Change | None) -> Standing:
    was, now = bool(_worst(before.findings.get(name, ()))), bool(_worst(after.findings.get(name, ())))
    if was and now:
        return Standing.STAYED
    if change in {Change.SAME, Change.NOT_COMPARABLE}:
        return Standing.OTHERWISE
    if now:
        return Standing.CAME if _tested(name, before, as_in=after) else Standing.FIRST_SEEN
    return Standing.WENT if _tested(name, after, as_in=before) else Standing.NOT_AGAIN


def _tested(name: str, run: Run, *, as_in: Run) -> bool:
    """Whether a run would have said so, had it been as in the other one."""
    probe, _, measure = name.partition(".")
    findings = run.findings.get(name, ())
    if findings:
        sure = all(one.u is not None for one in findings) or as_thorough(probe, run, as_in)
        return sure and all(one.outcome in _TESTED for one in findings)
    if probe == "inspection":
        return any(one.item == measure and one.state == "good" for one in run.record.inspection)
    if as_in.steps_of(probe):
        return probe in _ran(run) and as_thorough(probe, run, as_in)
    answered = _answered(run.record, _READ_FROM.get(name, measure))
    return answered is not False and (probe in _READ_AT_ONCE or _as_whole(run, as_in))


def _as_whole(run: Run, as_in: Run) -> bool:
    """Whether a run did, to its end and watched, all that another one did."""
    probes = _ran(as_in)
    thorough = probes <= _ran(run) and all(as_thorough(probe, run, as_in) for probe in probes)
    return thorough and not run.record.interrupted and not _blind(run)


def _ran(run: Run) -> frozenset[str]:
    """The probes of which every step ran to its end."""
    ended = {step.probe for step in run.record.steps if step.status is not StepStatus.RAN or step.death is not None}
    return frozenset(step.probe for step in run.record.steps) - ended


def _answered(record: Record, field: str) -> bool | None:
    """Whether the card answered a reading; None where a record knows none of that name."""
    places = (record.card, record.settings, last_counters(record), record)
    readings = [getattr(place, field) for place in places if field in place.__struct_fields__]
    return readings[0] is not None and not isinstance(readings[0], Absent) if readings else None


def _blind(run: Run) -> bool:
    """Whether nobody watched the driver's log."""
    return any(event.kind == "note" and event.code == "xids_not_watched" for event in run.record.events)


# Diagnoses


def diagnoses(before: Run, after: Run, findings: Iterable[Found]) -> tuple[Diagnosis, ...]:
    """Every diagnosis of either run, those of the later one first; `findings` are those of both."""
    standing = {f"{one.probe}.{one.measure}": one.standing for one in findings}
    whole = _as_whole(after, before)
    one, other = (_by_code(run.verdict.diagnoses) for run in (before, after))
    return tuple(
        _told(other.get(code) or one[code], _of_diagnosis(code in one, code in other, _under(code, standing), whole))
        for code in dict.fromkeys((*other, *one))
    )


def _by_code(diagnosed: Iterable[Diagnosed]) -> dict[str, Diagnosed]:
    return {one.code: one for one in reversed(tuple(diagnosed))}


def _under(code: str, standing: Mapping[str, Standing]) -> frozenset[Standing]:
    """How the findings stand that a diagnosis can rest on."""
    probes = _PROBES_OF.get(code.partition(".")[0])
    return frozenset(one for name, one in standing.items() if probes is None or name.partition(".")[0] in probes)


def _of_diagnosis(was: bool, now: bool, findings: frozenset[Standing], whole: bool) -> Standing:
    """As the findings under it stand: it went where one went, or all was tested again, and none is left."""
    if was and now:
        return Standing.STAYED
    if now:
        return _first(findings, (Standing.CAME, Standing.OTHERWISE, Standing.FIRST_SEEN), Standing.CAME)
    left = findings & {Standing.STAYED, Standing.NOT_AGAIN}
    gone = Standing.WENT if whole else Standing.NOT_AGAIN
    return Standing.NOT_AGAIN if left else _first(findings, (Standing.WENT, Standing.OTHERWISE), gone)


def _first(findings: frozenset[Standing], order: Sequence[Standing], otherwise: Standing) -> Standing:
    return next((one for one in order if one in findings), otherwise)


def _told(one: Diagnosed, standing: Standing) -> Diagnosis:
    return Diagnosis(
        code=one.code, where=one.where, standing=standing, subject=one.subject, advisory=one.advisory,
        evidence=one.evidence, action=one.action,
    )  # fmt: skip
