"""Comparing: two runs of one card, judged by the same rules, side by side: a pure function of their facts.

It tells what changed beyond uncertainty, and claims nothing of what was not measured in both or not under the same
conditions. Records of two cards, or of a virtual and a real one, are refused.
"""

from collections.abc import Iterable, Iterator

from gpucert.baselines import defaults
from gpucert.outcome import LOOKS as OUTCOMES
from gpucert.outcome import ExitCode, Outcome, VerdictOutcome
from gpucert.record import Identity, Record
from gpucert.verdict import grown, standing
from gpucert.verdict.circumstances import Run, circumstances
from gpucert.verdict.comparison import (
    Change,
    Comparison,
    Counted,
    Diagnosis,
    Found,
    Measured,
    Side,
    Standing,
)
from gpucert.verdict.pairs import pairs

_Part = Measured | Counted | Found | Diagnosis
_WORSE: set[Change | Standing] = {Change.WORSE, Standing.CAME}
_BETTER: set[Change | Standing] = {Change.BETTER, Standing.WENT}
_OPEN: set[Change | Standing] = {
    Change.NOT_AGAIN,
    Change.NOT_COMPARABLE,
    Standing.NOT_AGAIN,
    Standing.FIRST_SEEN,
    Standing.OTHERWISE,
}
"""Whatever has one of these leaves the answer open."""


class NotComparableError(ValueError):
    """Two records are not of one card, or are judged by other rules; the text says why in one sentence."""


def compare(before: Run, after: Run) -> Comparison:
    """What changed from one run of a card to another. Raises NotComparableError."""
    known_by = _same_card(before.record, after.record)
    if before.verdict.policy != after.verdict.policy:
        raise NotComparableError("the two were judged by different policies; judge both by the same one")
    measured = pairs(before, after)
    counters = grown.grown(before, after)
    findings = standing.found(before, after, {one.measure: one.change for one in measured.measures})
    diagnoses = standing.diagnoses(before, after, findings)
    parts: tuple[_Part, ...] = (*measured.measures, *counters, *findings, *diagnoses)
    notes = tuple(_notes(before, after, counters))
    exit_code = _exit_code(after, parts)
    return Comparison(
        simulated=after.record.simulated,
        card=after.record.card.card_id,
        known_by=known_by,
        serial=_told(after.record.card, "serial"),
        name=str(after.record.card.name),
        model=after.verdict.model,
        before=_side(before),
        after=_side(after),
        sentence=f"{_sentence(parts, exit_code)} {_verdicts(before, after)}",
        notes=notes,
        circumstances=circumstances(before, after),
        measures=measured.measures,
        counters=counters,
        findings=findings,
        diagnoses=diagnoses,
        budget=defaults.shipped().budget,
        judged=measured.judged,
        guard=measured.guard,
        policy=after.verdict.policy,
        exit_code=exit_code,
    )


def _same_card(before: Record, after: Record) -> str:
    """By which identity both are one card. Raises NotComparableError."""
    if before.simulated != after.simulated:
        raise NotComparableError(
            "one record is of a virtual card and the other of a real one; they have no card in common"
        )
    for name in ("uuid", "pdi"):
        one, other = _told(before.card, name), _told(after.card, name)
        if one and other:
            if one != other:
                raise NotComparableError(f"these are two cards: {name.upper()} {one} before and {other} after")
            return name.upper()
    raise NotComparableError(
        "whether these are of one card cannot be known: no UUID and no per-device identifier is told by both; "
        "a serial is a label, and a place on the bus is any card's"
    )


def _told(card: Identity, name: str) -> str:
    value = getattr(card, name)
    return value if isinstance(value, str) else ""


def _side(run: Run) -> Side:
    record, verdict = run.record, run.verdict
    return Side(
        started_at=record.started_at,
        plan=record.plan.name,
        interrupted=record.interrupted,
        outcome=verdict.outcome,
        tier=verdict.tier,
        sentence=verdict.sentence,
        gpucert=record.versions.get("gpucert", "not told"),
        record_sha256=verdict.record_sha256,
    )


def _notes(before: Run, after: Run, counters: Iterable[Counted]) -> Iterator[str]:
    """What must be said before any number."""
    if before.verdict.record_sha256 == after.verdict.record_sha256:
        yield "Both are the same record, so that nothing can have changed."
    elif before.record.started_at > after.record.started_at:
        yield "The first one was measured after the second one: what is called before here came later."
    for run, when in ((before, "before"), (after, "after")):
        if run.record.interrupted:
            yield f"The run {when} was interrupted: what it left out is not compared."
    if any(one.fell for one in counters):
        yield "A counter of the card's life fell: somebody reset it, or it is not the card that it says it is."


# The answer


def _exit_code(after: Run, parts: Iterable[_Part]) -> ExitCode:
    """Against the card first, then what is open; what is about the station counts for neither."""
    of_card = tuple(one for one in parts if one.subject == "card")
    if any(_way(one) in _WORSE for one in of_card):
        return ExitCode.NOT_CERTIFIED
    open_run = after.record.interrupted or after.verdict.outcome is VerdictOutcome.INCOMPLETE
    return ExitCode.RESTRICTED if open_run or any(map(_is_open, of_card)) else ExitCode.CERTIFIED


def _is_open(part: _Part) -> bool:
    """Whether it leaves the answer open: something that was judged before, or a count that cannot be."""
    if isinstance(part, Counted) and part.fell:
        return True
    nothing_judged = isinstance(part, Measured) and part.before_u is None and not part.limited
    return _way(part) in _OPEN and not nothing_judged


def _way(part: _Part) -> Change | Standing:
    """What became of it. That a measurement went wrong is no word about the card: it leaves the answer open."""
    if isinstance(part, Found) and part.standing is Standing.CAME and part.after is Outcome.ERROR:
        return Standing.FIRST_SEEN
    return part.change if isinstance(part, Measured | Counted) else part.standing


def _sentence(parts: Iterable[_Part], exit_code: ExitCode) -> str:
    """The answer in one sentence. A measure and the finding about it are one thing, and diagnoses follow from both."""
    told = [(_name(one), _way(one)) for one in parts if one.subject == "card" and not isinstance(one, Diagnosis)]
    worse, improved = (len({name for name, way in told if way in ways}) for ways in (_WORSE, _BETTER))
    gain = f"{_things(improved)} got better" if improved else ""
    if exit_code is ExitCode.NOT_CERTIFIED:
        return f"{_things(worse)} of the card got worse{f', and {gain}' if gain else ''}.".capitalize()
    gain = f"; {gain}" if gain else ""
    if exit_code is ExitCode.CERTIFIED:
        return f"All that was judged before was judged again, and nothing got worse{gain}."
    return f"Nothing is known to have got worse{gain}. Not everything was tested again, or under the same conditions."


def _verdicts(before: Run, after: Run) -> str:
    """What both verdicts were, because a card that got no worse may still be no good."""
    one, other = (_verdict(run) for run in (before, after))
    return f"The verdict is {other}, as before." if one == other else f"The verdict was {one} and is {other}."


def _verdict(run: Run) -> str:
    tier = f", tier {run.verdict.tier}" if run.verdict.tier else ""
    return f"{OUTCOMES[run.verdict.outcome].word}{tier}"


def _name(part: Measured | Counted | Found) -> str:
    match part:
        case Measured():
            return part.measure
        case Counted():
            return part.counter
        case Found():
            return f"{part.probe}.{part.measure}"


def _things(count: int) -> str:
    return "one thing" if count == 1 else f"{count} things"
