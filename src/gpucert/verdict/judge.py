"""The judgement: a pure function from a record, its model, a baseline and a policy to a verdict."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import structs

from gpucert.baselines.baseline import DTYPES, STREAMS
from gpucert.baselines.limit import Baseline
from gpucert.catalogue.matching import Match
from gpucert.diagnosis import kind_of
from gpucert.outcome import ExitCode, Outcome, VerdictOutcome
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import SCHEMA as RECORD_SCHEMA
from gpucert.record import Record
from gpucert.verdict.case import Case
from gpucert.verdict.clock import judge_clock
from gpucert.verdict.cooling import HEAT, judge_cooling
from gpucert.verdict.cycles import judge_cycles, parted
from gpucert.verdict.during import judge_run
from gpucert.verdict.facts import diagnosed, judge_facts, judge_inspection
from gpucert.verdict.links import judge_links
from gpucert.verdict.parts import missing_tpcs
from gpucert.verdict.policy import Policy
from gpucert.verdict.rules import OWN
from gpucert.verdict.steps import STEP, judge_steps
from gpucert.verdict.tiers import Rank, rank
from gpucert.verdict.verdict import Diagnosed, Finding, NotTested, Source, TierLetter, Unmet, Verdict
from gpucert.verdict.wrong import diagnose_wrong

VOID = ("identity.mismatch", "identity.memory")
"""Diagnoses after which the card is not what it is sold as: nothing of its model applies to it."""

SPLIT = ("config.mig", "config.vgpu")
"""Only a share of the card was seen: what it is and how fast it is cannot be told."""

DISTURBED = (*SPLIT, "station.contention", "station.power")
"""Somebody else held the card back: how fast and how warm it is cannot be told, but wrong is wrong."""

SLOWING = ("power.limit", "station.inlet", "station.airflow")
"""The station keeps the clocks down: what a card does a second cannot be told, what it does a clock can."""

PER_CLOCK = {f"gemm_sustained.{dtype}_rate": f"{dtype}_per_clock" for dtype in DTYPES}
PER_CLOCK |= {f"memory_bandwidth.{stream}": f"{stream}_per_clock" for stream in STREAMS}
"""Of each rate per second the measure of the same step that is the same rate per clock."""

EXPLAINED_BY = {
    "compute.units_missing": (*SPLIT, "identity.mismatch"),
    "compute.wrong": ("compute.sm", "compute.repeatable"),
    "device.crash": ("device.lost", "memory.ecc_uncorrected", "memory.contained"),
    "device.hang": ("device.lost",),
    "identity.memory": SPLIT,
    "identity.mismatch": SPLIT,
    "memory.coverage": ("station.contention", "identity.memory", *SPLIT),
    "memory.ecc_corrected": ("memory.ecc_uncorrected",),
    "performance.compute": DISTURBED,
    "performance.memory": (*DISTURBED, "memory.channel"),
    "performance.clocks": (
        *DISTURBED,
        *SLOWING,
        "compute.units_missing",
        "power.droop",
        "thermal.interface",
        "thermal.airflow",
        "thermal.memory_pads",
        "thermal.throttle",
    ),
    "power.droop": DISTURBED,
    "sensor.absurd": ("device.lost",),
    "station.worker": ("device.lost",),
    "thermal.hotspot": ("thermal.interface",),
    "thermal.memory_pads": ("station.inlet",),
    "thermal.throttle": (
        *DISTURBED,
        "station.inlet",
        "station.airflow",
        "thermal.interface",
        "thermal.airflow",
        "thermal.memory_pads",
    ),
}
"""What one diagnosis makes of another: the left one is a consequence where one of the right ones was made."""

OF_A_CHANNEL = ("bus_bits", "bus_width", "memory_mib", "memory_total")
"""Measures of identity that a missing memory channel makes smaller."""

OF_SMS = ("cuda_cores", "sm_count", "sms_present")
"""Measures of identity that a missing TPC makes smaller."""

NEVER_HIDING = "link."
"""Diagnoses of the station that hide nothing of the card, whatever else is unknown."""

_UNKNOWN = {Outcome.SKIPPED, Outcome.ERROR}

ALWAYS_UNTESTED = (
    NotTested("graphics, encoders, decoders and displays (tier E)", "no probe for them exists yet"),
    NotTested("operation under a lower power cap (tier F)", "no re-test under a cap exists yet"),
    NotTested("heat of connectors, cracks, liquid, corrosion", "software cannot see them"),
    NotTested("clearing of the memory", "it is no step of this plan"),
)


class UnjudgeableRecordError(ValueError):
    """A record is of another schema than this version judges."""


def judge(record: Record, *, record_sha256: str, match: Match, baseline: Baseline | None, policy: Policy) -> Verdict:
    """Judge a record. `match` is the model that the card was matched with, `baseline` that model's.

    Raises UnjudgeableRecordError for a record of another schema.
    """
    if record.schema != RECORD_SCHEMA:
        raise UnjudgeableRecordError(f"schema is {record.schema!r}, this version judges {RECORD_SCHEMA!r}")
    case = Case(record, match, baseline, policy)
    facts = judge_facts(record.card, record.settings, case.counters, match, record.processes)
    if any(one.code in VOID for one in _each_once(facts[1])):
        case = Case(record, match, None, policy)
    return _verdict(case, *_judged(case, *facts), record_sha256)


def _judged(
    case: Case, facts: Sequence[Finding], told: Sequence[Diagnosed]
) -> tuple[tuple[Finding, ...], tuple[Diagnosed, ...]]:
    steps = tuple(judge_steps(case))
    run = tuple(judge_run(case))
    shown = (*steps, *(one for one in run if isinstance(one, Finding)))
    items = [*judge_inspection(case.record), *run, *judge_links(case), *judge_cooling(case, shown)]
    items += judge_clock(case, steps)
    joints = parted(case)
    items += judge_cycles(case, joints)
    findings = [*facts, *steps, *(one for one in items if isinstance(one, Finding))]
    diagnoses = [*told, *(one for one in items if isinstance(one, Diagnosed)), *diagnose_wrong(case, findings)]
    diagnoses += _of_units(case, findings, diagnoses)
    diagnoses += _of_identity(findings, diagnoses) + _of_coverage(findings) + _of_clocks(findings)
    consequences = {code for joint in joints for code in joint.explains}
    kept = _each_once(one for one in diagnoses if one.code not in consequences)
    return tuple(_excused(findings, kept)), kept


def _of_identity(findings: Iterable[Finding], told: Iterable[Diagnosed]) -> list[Diagnosed]:
    """What the compute driver counts, against the catalogue; less of it for which a missing part is the reason."""
    reasons = [one.reason for one in _unexplained(findings, told)]
    return [diagnosed("identity.mismatch", " ".join(dict.fromkeys(reasons)))] if reasons else []


def _of_units(case: Case, findings: Iterable[Finding], told: Sequence[Diagnosed]) -> list[Diagnosed]:
    """SMs that the compute driver misses although NVML counts all cores, or does not tell of any."""
    failed = _unexplained(findings, told)
    counts = {int(one.value) for one in failed if one.measure in OF_SMS and isinstance(one.value, int | float)}
    model = case.model
    if model is None or len(counts) != 1 or any(one.measure not in OF_SMS for one in failed):
        return []
    (count,) = counts
    if not missing_tpcs(model, count) or any(one.code in VOID for one in told):
        return []
    return [diagnosed("compute.units_missing", f"The compute driver counts {count} of {model.sm_count} SMs.", "likely")]


def _unexplained(findings: Iterable[Finding], told: Iterable[Diagnosed]) -> list[Finding]:
    """What of the silicon is other than the model's, and no missing part is the reason."""
    parts = {"memory.channel": OF_A_CHANNEL, "compute.units_missing": OF_SMS}
    explained = {measure for one in told for measure in parts.get(one.code, ())}
    failed = (one for one in findings if one.outcome is Outcome.FAIL and _of_silicon(one))
    return [one for one in failed if one.measure not in explained]


def _of_silicon(finding: Finding) -> bool:
    return finding.probe == "identity" or finding.measure == "sms_present"


def _of_coverage(findings: Iterable[Finding]) -> list[Diagnosed]:
    short = [one for one in findings if one.measure == "coverage" and one.outcome is Outcome.FAIL]
    return [diagnosed("memory.coverage", short[0].reason)] if short else []


def _of_clocks(findings: Iterable[Finding]) -> list[Diagnosed]:
    """A rate per second that fails while the same per clock does not: no fault of the arithmetic or of the memory."""
    every = tuple(findings)
    outcomes = {(one.step, one.measure): one.outcome for one in every}
    low = (one for one in every if one.outcome is Outcome.FAIL and f"{one.probe}.{one.measure}" in PER_CLOCK)
    return [
        diagnosed("performance.clocks", f"{one.measure}: {one.reason}", "likely")
        for one in low
        if outcomes.get((one.step, PER_CLOCK[f"{one.probe}.{one.measure}"])) in {Outcome.PASS, Outcome.MARGINAL}
    ]


def _each_once(diagnoses: Iterable[Diagnosed]) -> tuple[Diagnosed, ...]:
    """One of each code with every place that was named, without those that another explains."""
    first: dict[str, Diagnosed] = {}
    for one in diagnoses:
        known = first.get(one.code)
        first[one.code] = one if known is None else _merged(known, one)
    return tuple(one for code, one in first.items() if not any(other in first for other in EXPLAINED_BY.get(code, ())))


def _merged(known: Diagnosed, other: Diagnosed) -> Diagnosed:
    places = [known.where] if known.where else []
    if other.where and other.where not in known.where:
        places.append(other.where)
    return structs.replace(known, where=", ".join(places), advisory=known.advisory and other.advisory)


def _excused(findings: Iterable[Finding], diagnoses: Sequence[Diagnosed]) -> Iterable[Finding]:
    """What the station is to blame for loses nothing of what it says; it hides the card's answer instead."""
    codes = {one.code for one in diagnoses}
    for one in findings:
        hidden = one.outcome is Outcome.FAIL and not one.advisory and _station_hides(one, codes)
        yield structs.replace(one, subject="station", hides=True) if hidden else one


def _station_hides(finding: Finding, codes: Container[str]) -> bool:
    """Whether a failed finding says nothing about the card, because of what is known of its station."""
    split = any(code in codes for code in SPLIT)
    disturbed = any(code in codes for code in DISTURBED)
    if finding.measure == "coverage":
        return "identity.memory" not in codes
    if finding.measure in HEAT:
        return disturbed or "station.inlet" in codes or "station.airflow" in codes
    if finding.measure.endswith("_per_clock"):
        return disturbed
    if f"{finding.probe}.{finding.measure}" in PER_CLOCK:
        return disturbed or any(code in codes for code in SLOWING)
    return split and (_of_silicon(finding) or finding.measure in {"memory_mib", "cuda_cores", "name"})


# The verdict


@dataclass(frozen=True)
class _Award:
    """How the card ends, and which of the policy's tiers it is given; `place` counts the tiers that are better."""

    outcome: VerdictOutcome
    tier: TierLetter | None
    exit_code: ExitCode
    place: int
    also: tuple[TierLetter, ...] = ()


def _verdict(
    case: Case, findings: tuple[Finding, ...], diagnoses: tuple[Diagnosed, ...], record_sha256: str
) -> Verdict:
    ranks = rank(case)
    findings += _unbacked(findings, diagnoses)
    award = _award(case, findings, diagnoses, ranks)
    return Verdict(
        outcome=award.outcome,
        tier=award.tier,
        exit_code=award.exit_code,
        sentence=_sentence(case, award, findings, diagnoses, ranks),
        simulated=case.record.simulated,
        model=case.model.key if case.model else None,
        findings=findings,
        diagnoses=diagnoses,
        why_not_higher=_why_not_higher(award, findings, ranks),
        not_tested=_not_tested(case, findings),
        also_qualifies=award.also,
        undecided=_undecided(award, findings, ranks),
        policy=case.policy.source,
        baseline=_source(case.baseline),
        record_sha256=record_sha256,
    )


def _unbacked(findings: Sequence[Finding], diagnoses: Iterable[Diagnosed]) -> tuple[Finding, ...]:
    """The last net: a diagnosis against the card that no finding holds against it leaves the run incomplete."""
    against = [one for one in diagnoses if one.subject == "card" and not one.advisory]
    if not against or _failed(findings) or _hidden(findings):
        return ()
    return (
        Finding(
            probe="verdict",
            measure=against[0].code,
            outcome=Outcome.ERROR,
            value=None,
            unit="",
            limit="",
            reason=f"{against[0].code} was diagnosed, and no finding holds it against the card.",
            authority=OWN,
            blocker=True,
        ),
    )


def _source(baseline: Baseline | None) -> Source:
    if baseline is None:
        return Source("none", 0, "")
    name = baseline.model if baseline.shipped else f"custom {baseline.model}"
    return Source(name, baseline.version, baseline.sha256)


def _against_card(finding: Finding) -> bool:
    return finding.outcome is Outcome.FAIL and finding.subject == "card" and not finding.advisory


def _failed(findings: Iterable[Finding]) -> list[Finding]:
    """What speaks against the card itself."""
    return [one for one in findings if _against_card(one)]


def _hidden(findings: Iterable[Finding]) -> list[Finding]:
    """What a certificate needs and nobody knows."""
    return [one for one in findings if not one.advisory and (one.hides or (one.blocker and one.outcome in _UNKNOWN))]


def _marginal(findings: Iterable[Finding]) -> list[Finding]:
    return [one for one in findings if one.outcome is Outcome.MARGINAL and not one.advisory]


def _award(case: Case, findings: Sequence[Finding], diagnoses: Sequence[Diagnosed], ranks: Sequence[Rank]) -> _Award:
    """Against the card first, then what is not known, then the tiers; a marginal finding costs the best of these."""
    none = len(ranks)
    if _failed(findings):
        letter: TierLetter = "H" if any(one.code in VOID for one in diagnoses) else "G"
        return _Award(VerdictOutcome.NOT_CERTIFIED, _lettered(case, letter), ExitCode.NOT_CERTIFIED, none)
    if _hidden(findings) or case.record.interrupted:
        return _Award(VerdictOutcome.INCOMPLETE, None, ExitCode.INCOMPLETE, none)
    if case.record.plan.yields == "report":
        return _Award(VerdictOutcome.REPORTED, None, ExitCode.RESTRICTED, none)
    marginal = bool(_marginal(findings))
    met = [place for place, one in enumerate(ranks) if not one.unmet][marginal:]
    if met:
        code = ExitCode.RESTRICTED if marginal else ExitCode.CERTIFIED
        first, *also = met
        labels = tuple(ranks[place].label for place in also)
        return _Award(VerdictOutcome.CERTIFIED, ranks[first].label, code, first, labels)
    if any(unmet.outcome is Outcome.FAIL for unmet in ranks[-1].unmet):
        return _Award(VerdictOutcome.NOT_CERTIFIED, _lettered(case, "G"), ExitCode.NOT_CERTIFIED, none)
    return _Award(VerdictOutcome.REPORTED, None, ExitCode.RESTRICTED, none)


def _lettered(case: Case, letter: TierLetter) -> TierLetter:
    return letter if case.official else "custom"


def _why_not_higher(award: _Award, findings: Iterable[Finding], ranks: Sequence[Rank]) -> tuple[Unmet, ...]:
    """The gates that better tiers ask for and that are not met; what every tier asks for stands under the last."""
    unmet = [gate for one in ranks[: award.place] for gate in one.unmet]
    if award.outcome is VerdictOutcome.CERTIFIED:
        unmet += [_gate(one, ranks[award.place - 1].label) for one in _marginal(findings) if award.place]
    else:
        unmet += [_gate(one, ranks[-1].label) for one in (*_failed(findings), *_hidden(findings), *_marginal(findings))]
    return tuple(unmet)


def _gate(finding: Finding, label: TierLetter) -> Unmet:
    return Unmet(
        tier=label,
        gate=f"{finding.probe}.{finding.measure}",
        outcome=finding.outcome,
        value="–" if finding.value is None else str(finding.value),
        limit=finding.limit,
        reason=finding.reason,
        subject=finding.subject,
    )


def _undecided(award: _Award, findings: Iterable[Finding], ranks: Sequence[Rank]) -> tuple[int, ...]:
    """Steps whose repetition could decide something that matters."""
    if award.outcome in {VerdictOutcome.NOT_CERTIFIED, VerdictOutcome.INCOMPLETE}:
        return ()
    steps = {one.step for one in _marginal(findings) if one.step is not None}
    return tuple(sorted(steps.union(*(one.undecided for one in ranks[: award.place]))))


def _not_tested(case: Case, findings: Iterable[Finding]) -> tuple[NotTested, ...]:
    """Everything that was skipped or went wrong, by name, then what no plan tests."""
    unknown = [one for one in findings if one.outcome in _UNKNOWN]
    skipped = {one.probe if one.measure == STEP else f"{one.probe}.{one.measure}": one.reason for one in unknown}
    own = [NotTested(what, why) for what, why in skipped.items()]
    own += [NotTested("a part of the memory", part) for part in _uncovered(case)]
    if all(one.state == "not_inspected" for one in case.record.inspection):
        own.append(NotTested("the card by eye", "not inspected: nobody filled in the checklist"))
    if isinstance(case.record.processes, Absent):
        own.append(NotTested("other processes on the card", str(case.record.processes)))
    return (*own, *ALWAYS_UNTESTED)


def _uncovered(case: Case) -> Iterator[str]:
    """What driver, context and test keep of the memory while it is scanned."""
    covered = [share for step in case.steps_of("memory_scan") if (share := step.number("coverage")) is not None]
    if covered and min(covered) < 100:
        yield f"{100 - min(covered):.1f} % of it was held by the driver, by the test or by others, and was not scanned"


def _sentence(
    case: Case,
    award: _Award,
    findings: Sequence[Finding],
    diagnoses: Sequence[Diagnosed],
    ranks: Sequence[Rank],
) -> str:
    date = case.record.ended_at[:10]
    match award.outcome:
        case VerdictOutcome.CERTIFIED:
            title = ranks[award.place].gates.title + _ecc(case.record.settings.ecc)
            policy = case.policy.source
            return f"Met the gates of policy {policy.name} {policy.version} for class {award.tier} ({title}) on {date}."
        case VerdictOutcome.NOT_CERTIFIED:
            return f"Not certified on {date}: {_because(_failed(findings), diagnoses, ranks)}"
        case VerdictOutcome.INCOMPLETE:
            because = _because(_hidden(findings), diagnoses, ()) if _hidden(findings) else "the run was interrupted."
            return f"Incomplete on {date}, so nothing is said about the card: {because}"
        case VerdictOutcome.REPORTED:
            return _reported(case, findings, date)


def _ecc(mode: Reading[bool]) -> str:
    """What a class says of a card that was not protected."""
    if isinstance(mode, Absent) and mode.absent is not Absence.NOT_SUPPORTED:
        return ", ECC not known"
    return "" if mode is True else ", no ECC"


def _because(findings: Sequence[Finding], diagnoses: Sequence[Diagnosed], ranks: Sequence[Rank]) -> str:
    """The diagnosis in the table's words where one was made, else the reason of the first finding or gate."""
    subject = "card" if any(_against_card(one) for one in findings) else "station"
    telling = [one for one in diagnoses if not one.advisory and not one.code.startswith(NEVER_HIDING)]
    named = [one for one in telling if one.subject == subject] or telling if findings else []
    if named:
        return _uncapitalised(kind_of(named[0].code).meaning)
    reasons = [f"{one.probe}, {one.measure}: {one.reason}" if one.measure != STEP else one.reason for one in findings]
    reasons += [unmet.reason for unmet in (ranks[-1].unmet if ranks else ()) if unmet.outcome is Outcome.FAIL]
    return _uncapitalised(reasons[0])


def _uncapitalised(text: str) -> str:
    """As it stands inside a sentence; an abbreviation keeps its capitals."""
    abbreviation = text[:2].isalpha() and text[:2].isupper()
    return text if abbreviation else text[:1].lower() + text[1:]


def _reported(case: Case, findings: Sequence[Finding], date: str) -> str:
    if case.record.plan.yields == "report":
        return f"A short plan found nothing against the card on {date}; it proves no health and certifies nothing."
    if case.model is None:
        return (
            f"Nothing was found against the card on {date}, but its model is not in the catalogue: UNGRADED, no tier."
        )
    if _marginal(findings):
        return f"Nothing was found against the card on {date}, but it is too close to a limit for any tier."
    return f"Nothing was found against the card on {date}, but no tier's gates were all tested and met."
