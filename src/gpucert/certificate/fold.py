"""Folding: equal findings of several steps become one row, so that a night of burn-in stays readable."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpucert.certificate.harmless import harmless
from gpucert.certificate.words import ADVICE, STATION, look_of, measure_name
from gpucert.outcome import Look, Outcome
from gpucert.units import Unit, show
from gpucert.verdict.verdict import Finding

STEPS_NAMED = 3
"""Up to so many steps a row names each; beyond, it counts them."""

_BOUNDS = ("≥", "≤")
_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL, Outcome.SKIPPED)


@dataclass(frozen=True)
class Row:
    """One line of the table of findings: a finding, or several that say the same."""

    name: str
    steps: str
    value: str
    limit: str
    look: Look
    note: str
    reason: str
    authority: str


@dataclass(frozen=True)
class Group:
    """The rows of one probe."""

    probe: str
    rows: tuple[Row, ...]


def groups(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """All findings by probe in the order of the run; within a probe what speaks against something comes first."""
    by_probe: dict[str, list[Finding]] = {}
    for finding in findings:
        by_probe.setdefault(finding.probe, []).append(finding)
    return tuple(Group(probe, _rows(group)) for probe, group in by_probe.items())


def _rows(findings: Iterable[Finding]) -> tuple[Row, ...]:
    same: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        same.setdefault(_key(finding), []).append(finding)
    ranked = sorted(same.values(), key=lambda group: _place(group[0].outcome))
    return tuple(_row(group) for group in ranked)


def _place(outcome: Outcome) -> int:
    return _FIRST.index(outcome) if outcome in _FIRST else len(_FIRST)


def _key(finding: Finding) -> tuple[object, ...]:
    """What must be equal for two findings to share a row; only passes may differ in value and reason."""
    passed = finding.outcome is Outcome.PASS
    own = () if passed else (finding.value, finding.reason)
    limit = "=" if passed and finding.limit.startswith("=") else finding.limit
    return (
        finding.measure, finding.outcome, finding.subject, finding.advisory, finding.hides, limit,
        finding.unit, finding.authority, *own,
    )  # fmt: skip


def _row(group: Sequence[Finding]) -> Row:
    closest = nearest(group)
    reason = harmless(closest.reason, 600)
    if closest.limit.startswith(_BOUNDS) and any(one.reason != closest.reason for one in group):
        reason = f"Nearest to the limit, in step {(closest.step or 0) + 1}: {reason}"
    return Row(
        name=measure_name(closest.probe, closest.measure),
        steps=_steps(group),
        value=_values(group),
        limit=_limit(group),
        look=look_of(closest),
        note=_note(closest),
        reason=reason,
        authority=harmless(closest.authority, 300),
    )


def nearest(group: Sequence[Finding]) -> Finding:
    """Of findings with one limit, the one that is nearest to it or farthest beyond."""
    if any(not isinstance(one.value, int | float) for one in group):
        return group[0]
    if group[0].limit.startswith("≥"):
        return min(group, key=lambda one: one.value)  # type: ignore[arg-type, return-value]  # all are numbers
    if group[0].limit.startswith("≤"):
        return max(group, key=lambda one: one.value)  # type: ignore[arg-type, return-value]  # all are numbers
    return group[0]


def _limit(group: Sequence[Finding]) -> str:
    """The one limit of all; of passes that each had to equal another number, that they did."""
    limits = {one.limit for one in group}
    return "equal in each step" if len(limits) > 1 else harmless(group[0].limit) or "–"


def _note(finding: Finding) -> str:
    if look_of(finding) == STATION:
        return "hides the card's answer" if finding.hides else "not the card"
    return "advisory" if finding.advisory and look_of(finding) != ADVICE else ""


def _steps(group: Sequence[Finding]) -> str:
    steps = sorted({one.step + 1 for one in group if one.step is not None})
    if not steps:
        return ""
    if len(steps) == 1:
        return f"step {steps[0]}"
    return f"{len(steps)} steps" if len(steps) > STEPS_NAMED else "steps " + ", ".join(map(str, steps))


def _values(group: Sequence[Finding]) -> str:
    """The one value of all, or from the smallest to the largest."""
    values = {one.value for one in group}
    if len(values) == 1:
        return shown(group[0].value, group[0].unit)
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values):
        return f"{shown(min(numbers))} to {shown(max(numbers), group[0].unit)}"
    return "; ".join(sorted(shown(value, group[0].unit) for value in values))[:200]


def shown(value: object, unit: str = "") -> str:
    """A value with its unit; text as it is, harmless; a dash for none."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float() if math.isfinite(value):
            known = unit in {one.value for one in Unit}
            return show(value, Unit(unit)) if known else show(value, Unit.COUNT)
        case _:
            return harmless(str(value))
