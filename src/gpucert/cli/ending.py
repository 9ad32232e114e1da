"""The end of a run, for a person: one clear word, the tier, what to do next and where the page is."""

from collections import Counter
from collections.abc import Iterable

from gpucert.cli.console import console, printable
from gpucert.cli.jobs import CardFolder
from gpucert.outcome import LOOKS, Outcome
from gpucert.verdict.verdict import Diagnosed, Finding, Verdict

MOST_SHOWN = 8
"""Findings that a person is shown at the end; all of them are in verdict.json."""

_AGAINST = {Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL}


def show_verdict(verdict: Verdict, folder: CardFolder | None, *, stderr: bool) -> None:
    """Print a verdict; on standard error when standard output belongs to `--json`."""
    from rich.markup import escape

    out = console(stderr=stderr)
    look = LOOKS[verdict.outcome]
    tier = f"  tier {verdict.tier}" if verdict.tier else ""
    simulated = "  [bold]SIMULATED[/]" if verdict.simulated else ""
    out.print(f"\n[bold {look.colour}]{look.symbol} {look.word}{tier}[/]{simulated}")
    out.print(escape(printable(verdict.sentence)))
    for diagnosis in verdict.diagnoses:
        out.print(_diagnosis(diagnosis))
    against = _unsaid(verdict)
    for finding, times in against[:MOST_SHOWN]:
        out.print(_finding(finding, times))
    if len(against) > MOST_SHOWN:
        out.print(f"  … and {len(against) - MOST_SHOWN} more findings, all in verdict.json")
    if verdict.not_tested:
        out.print(f"[dim]Not tested: {escape(printable(_list(one.what for one in verdict.not_tested)))}[/]")
    if folder is not None and folder.certificate.exists():
        out.print(f"\n{escape(str(folder.certificate))}", soft_wrap=True)


def _diagnosis(diagnosis: Diagnosed) -> str:
    from rich.markup import escape

    where = f" at {diagnosis.where}" if diagnosis.where else ""
    about = "" if diagnosis.subject == "card" else f" [dim]({diagnosis.subject})[/]"
    about += " [dim](advice)[/]" if diagnosis.advisory else ""
    return (
        f"\n  [bold]{escape(diagnosis.code)}[/]{escape(printable(where))}, {diagnosis.confidence}{about}\n"
        f"  {escape(printable(diagnosis.evidence))}\n"
        f"  [bold]→[/] {escape(printable(diagnosis.action))}"
    )


def _unsaid(verdict: Verdict) -> list[tuple[Finding, int]]:
    """What speaks against the card or hides it, each reason once with how often, less what a diagnosis has told."""
    told = " ".join(one.evidence for one in verdict.diagnoses)
    against = [one for one in verdict.findings if one.outcome in _AGAINST and not one.advisory]
    unsaid = [one for one in against if one.reason.rstrip(".") not in told]
    times = Counter(one.reason for one in unsaid)
    first = {one.reason: one for one in reversed(unsaid)}
    return [(first[reason], count) for reason, count in times.items()]


def _finding(finding: Finding, times: int) -> str:
    from rich.markup import escape

    look = LOOKS[finding.outcome]
    often = f" [dim]({times} times)[/]" if times > 1 else ""
    what = escape(printable(f"{finding.probe}: {finding.reason}"))
    return f"  [{look.colour}]{look.symbol} {look.word}[/] {what}{often}"


def _list(words: Iterable[str]) -> str:
    return "; ".join(words)
