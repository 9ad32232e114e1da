"""A look: one card judged by what its captures state, without any load. It finds faults; it can certify nothing."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct, structs

from gpucert.capture import Capture
from gpucert.catalogue.matching import Match
from gpucert.outcome import ExitCode, Outcome, VerdictOutcome
from gpucert.record import Identity
from gpucert.verdict.facts import diagnosed, judge_facts
from gpucert.verdict.glance import judge_glance
from gpucert.verdict.verdict import Diagnosed, Finding

_NEVER_FALL = (
    "ecc_corrected_aggregate",
    "ecc_uncorrected_aggregate",
    "sram_uncorrected_aggregate",
    "remapped_correctable",
    "remapped_uncorrectable",
    "retired_sbe",
    "retired_dbe",
)
"""What a card counts over its life, in its InfoROM. Correctable remaps may give way to uncorrectable ones: summed."""
_REMAPS = {"remapped_correctable", "remapped_uncorrectable"}


class Look(Struct, frozen=True, kw_only=True):
    """One card, judged by what it says of itself."""

    card: str
    bus_id: str
    model: str | None
    """Key of the catalogue; else the name that the card answers, unless its ids belie it."""
    graded: bool
    """Whether the catalogue has the model: without it there is no performance to expect."""
    model_reason: str
    driver: str | None
    outcome: VerdictOutcome
    """`reported` when nothing was found, `not_certified` when something was."""
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosed, ...]
    notes: tuple[str, ...]
    exit_code: ExitCode
    identity: Identity
    """What all captures together state, the full queries first."""
    captures: tuple[Capture, ...]

    @property
    def found(self) -> bool:
        """Whether anything speaks against the card or its station."""
        return self.exit_code is ExitCode.NOT_CERTIFIED


def judge_look(
    identity: Identity,
    captures: tuple[Capture, ...],
    match: Match,
    notes: tuple[str, ...],
    *,
    in_order: bool,
    contradictions: tuple[str, ...] = (),
) -> Look:
    """Judge one card by its captures. What any of them shows counts; where not all do, the evidence names the file.

    `in_order` says that the captures are sorted by time, so that a counter that fell between two of them is one;
    `contradictions` are sentences on what the captures claim of one card and cannot all be true.
    """
    told = [(capture, _judge_one(identity, capture, match)) for capture in captures]
    findings = tuple(dict.fromkeys(one for _, (found, _) in told for one in found))
    apart = (diagnosed("identity.mismatch", words, "likely", "between captures") for words in contradictions)
    diagnoses = (*_each_once(told), *apart, *(_fallen(captures) if in_order else ()))
    found = _speaks_against(findings, diagnoses)
    return Look(
        card=identity.card_id,
        bus_id=str(identity.bus_id),
        model=_model(match, identity),
        graded=match.model is not None,
        model_reason=match.reason,
        driver=identity.driver if isinstance(identity.driver, str) else None,
        outcome=VerdictOutcome.NOT_CERTIFIED if found else VerdictOutcome.REPORTED,
        findings=findings,
        diagnoses=diagnoses,
        notes=tuple(dict.fromkeys((*notes, *_notes(captures)))),
        exit_code=ExitCode.NOT_CERTIFIED if found else ExitCode.RESTRICTED,
        identity=identity,
        captures=captures,
    )


def _notes(captures: tuple[Capture, ...]) -> Iterator[str]:
    """The notes of the captures; one that is not of all of them with the name of its file."""
    for capture in captures:
        for note in capture.notes:
            shared = all(note in one.notes for one in captures)
            yield note if shared else f"{capture.label}: {note}"


_Judged = tuple[tuple[Finding, ...], tuple[Diagnosed, ...]]


def _judge_one(identity: Identity, capture: Capture, match: Match) -> _Judged:
    facts = judge_facts(identity, capture.settings, capture.counters, match)
    glance = judge_glance(capture, match)
    codes = {one.code for one in facts[1]}
    return (*facts[0], *glance[0]), (*facts[1], *(one for one in glance[1] if one.code not in codes))


def _each_once(told: list[tuple[Capture, _Judged]]) -> Iterator[Diagnosed]:
    """Every diagnosis once, as its first capture gave it; where others do not show it, with the name of that one."""
    seen: dict[tuple[str, str, int], list[tuple[Capture, Diagnosed]]] = {}
    for capture, (_, diagnoses) in told:
        alike = Counter[tuple[str, str]]()  # because one capture may have two reasons for one diagnosis
        for one in diagnoses:
            what = one.code, one.where
            alike[what] += 1
            seen.setdefault((*what, alike[what]), []).append((capture, one))
    for shown in seen.values():
        capture, first = shown[0]
        if len({id(one) for one, _ in shown}) == len(told):
            yield first
        else:
            yield _with_source(first, capture)


def _with_source(one: Diagnosed, capture: Capture) -> Diagnosed:
    return structs.replace(one, evidence=f"{one.evidence.rstrip('.')} (in {capture.label}).")


def _fallen(captures: tuple[Capture, ...]) -> Iterator[Diagnosed]:
    """Counters of a life that are lower later, or differ in one second: cleared, edited, or not of one card."""
    for earlier, later in pairwise(captures):
        before, after = _life(earlier), _life(later)
        for name in before.keys() & after.keys():
            same = isinstance(earlier.taken_at, str) and earlier.taken_at == later.taken_at
            if after[name] < before[name] or (same and after[name] != before[name]):
                words = name.replace("_", " ")
                told = f"{before[name]} in {earlier.label} and {after[name]} in {later.label}"
                evidence = f"{words}: {told}, of one second" if same else f"{words} fell: {told}, which is later"
                yield diagnosed("identity.history", evidence, "likely")
                return


def _life(capture: Capture) -> dict[str, int]:
    counters = capture.counters
    known = {name: value for name in _NEVER_FALL if isinstance(value := getattr(counters, name), int)}
    remaps = known.keys() & _REMAPS
    if remaps == _REMAPS:
        known["remapped rows"] = sum(known[name] for name in _REMAPS)
    return {name: value for name, value in known.items() if name not in _REMAPS}


def _model(match: Match, identity: Identity) -> str | None:
    if match.model is not None:
        return match.model.key
    return None if match.name_agrees is False or not isinstance(identity.name, str) else identity.name


def _speaks_against(findings: tuple[Finding, ...], diagnoses: tuple[Diagnosed, ...]) -> bool:
    """A diagnosis that is more than a note, or a finding that failed and is more than advice."""
    failed = any(one.outcome in {Outcome.FAIL, Outcome.ERROR} and not one.advisory for one in findings)
    return failed or any(one.subject != "note" for one in diagnoses)
