"""`gpucert judge --explain`: one verdict gate by gate, in plain words: measured, limit, whose limit, how sure."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gpucert.baselines.limit import Baseline, Limit
from gpucert.certificate import words
from gpucert.cli.console import console, printable
from gpucert.outcome import LOOKS, Outcome
from gpucert.units import Unit, show
from gpucert.verdict.decision import GUARD
from gpucert.verdict.verdict import Finding, Verdict

if TYPE_CHECKING:
    from rich.console import Console

_DECIDED = {Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL}
_GRADES = {
    "prior": "no card of this model has been measured, the limit follows from its specification",
    "thin": "fewer than five reference cards",
    "developing": "five to nineteen reference cards",
    "established": "twenty or more reference cards",
}


def explain(verdict: Verdict, baseline: Baseline | None) -> None:
    """Print every finding with what it rests on, then every gate of a better tier, then what nothing is said about."""
    out = console()
    by_probe: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        by_probe.setdefault(finding.probe, []).append(finding)
    for probe, findings in by_probe.items():
        _say(out, f"\n{words.probe_name(probe)}", "bold")
        for finding in findings:
            look = words.look_of(finding)
            _say(out, f"  {look.symbol} {_named(finding)}: {look.word}", look.colour)
            limit = None if baseline is None else baseline.find(f"{probe}.{finding.measure}")
            for line in _reasons(finding, limit):
                _say(out, line, indent=6)
    _say(out, "\nWhy not a better tier", "bold")
    for unmet in verdict.why_not_higher:
        look = LOOKS[unmet.outcome]
        _say(out, f"  {look.symbol} {unmet.tier}, {words.gate_name(unmet.gate)}: {unmet.reason}", look.colour)
    if not verdict.why_not_higher:
        _say(out, "  No better tier exists.")
    _say(out, "\nNothing is said about", "bold")
    for gap in verdict.not_tested:
        _say(out, f"  – {gap.what}: {gap.why}")


def _say(out: "Console", text: str, style: str = "", indent: int = 0) -> None:
    from rich.padding import Padding
    from rich.text import Text

    out.print(Padding.indent(Text(printable(text), style=style, overflow="fold"), indent))


def _named(finding: Finding) -> str:
    step = "" if finding.step is None else f", step {finding.step + 1}"
    return f"{words.capitalised(words.measure_name(finding.probe, finding.measure))}{step}"


def _reasons(finding: Finding, limit: Limit | None) -> Iterator[str]:
    measured = _value(finding)
    whose = "" if limit is not None else f", set by {finding.authority}"
    if measured and finding.limit:
        yield f"Measured {measured}; the limit is {finding.limit}{whose}."
    elif measured:
        yield f"Answered {measured}, by {finding.authority}."
    if finding.reason.rstrip(".") not in {measured, ""}:
        yield finding.reason
    if limit is not None:
        yield from _surety(finding, limit)
    if finding.subject == "station" and finding.outcome is not Outcome.PASS:
        yield "About the station, not the card." + (" It hides the card's answer." if finding.hides else "")
    elif finding.advisory:
        yield "Advice only: it costs no certificate."


def _value(finding: Finding) -> str:
    if isinstance(finding.value, bool) or not isinstance(finding.value, int | float):
        return "" if finding.value is None else str(finding.value)
    known = finding.unit in {unit.value for unit in Unit}
    text = show(finding.value, Unit(finding.unit)) if known else f"{finding.value:g}"
    return text if finding.u is None else f"{text} ± {finding.u:.2g} (one standard uncertainty)"


def _surety(finding: Finding, limit: Limit) -> Iterator[str]:
    """Where a limit of the baseline comes from, and by how many uncertainties the value stands off it."""
    yield f"The limit rests on n = {limit.n}, {limit.grade}: {_GRADES[limit.grade.value]}. {limit.source}."
    if finding.outcome in _DECIDED and finding.u and isinstance(finding.value, int | float):
        side = 1 if limit.better == "higher" else -1
        reserve = side * (finding.value - limit.limit) / finding.u
        where = "inside" if reserve >= 0 else "outside"
        yield f"It lies {abs(reserve):.1f} u {where}; within {GUARD} u of the limit it would be undecided."
