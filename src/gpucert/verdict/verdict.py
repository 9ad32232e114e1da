"""What judging yields: findings, diagnoses and a tier, with the reasons for each."""

from typing import Literal

from msgspec import Struct

from gpucert.diagnosis import Subject
from gpucert.outcome import ExitCode, Outcome, VerdictOutcome

SCHEMA = "gpucert.verdict/1"

TierLetter = Literal["A", "B", "C", "D", "E", "F", "G", "H", "custom"]
"""Letters stand for the shipped policy alone; a tier of any other policy is “custom”."""
Confidence = Literal["certain", "likely", "possible"]


class Finding(Struct, frozen=True, kw_only=True):
    """One judged measurement or fact."""

    probe: str
    measure: str
    outcome: Outcome
    value: float | int | str | None
    u: float | None = None
    """Standard uncertainty of the value as it was judged, in its unit; repeats are pooled."""
    unit: str
    limit: str
    """The limit in words and numbers, for example "≥ 1834 GB/s"; empty where there is none."""
    reason: str
    """One sentence that a person can read on its own."""
    authority: str
    """Who says so: a named, sourced rule, or a baseline with its n and evidence grade."""
    step: int | None = None
    blocker: bool = False
    subject: Subject = "card"
    advisory: bool = False
    """True where it costs no certificate: too little is known, or only better tiers ask for it."""
    hides: bool = False
    """True where the station hid the card's answer: the run is incomplete, whatever else passed."""


class Diagnosed(Struct, frozen=True, kw_only=True):
    """What is probably wrong, where, how sure that is, and what to do."""

    code: str
    where: str
    confidence: Confidence
    action: str
    evidence: str
    """The numbers of this card that it rests on."""
    subject: Subject = "card"
    advisory: bool = False
    """True where every finding that it rests on only advises."""


class Unmet(Struct, frozen=True, kw_only=True):
    """A gate of a better tier that failed or was not tested."""

    tier: TierLetter
    gate: str
    outcome: Outcome
    value: str
    limit: str
    reason: str
    subject: Subject = "card"


class NotTested(Struct, frozen=True):
    """Something that this verdict says nothing about, and why."""

    what: str
    why: str


class Source(Struct, frozen=True):
    """The policy or baseline that was used, frozen by hash."""

    name: str
    version: int
    sha256: str


class Verdict(Struct, frozen=True, kw_only=True):
    """The judgement of one record."""

    schema: str = SCHEMA
    outcome: VerdictOutcome
    tier: TierLetter | None
    """None for a report and for an incomplete run."""
    exit_code: ExitCode
    sentence: str
    """The verdict in one plain sentence, for the end of the run and the top of the page."""
    simulated: bool
    model: str | None
    """Key of the catalogue; None for an unknown model, which is UNGRADED."""
    findings: tuple[Finding, ...]
    diagnoses: tuple[Diagnosed, ...]
    why_not_higher: tuple[Unmet, ...]
    not_tested: tuple[NotTested, ...]
    also_qualifies: tuple[TierLetter, ...]
    undecided: tuple[int, ...] = ()
    """Indices of steps whose repetition could decide a marginal finding."""
    policy: Source
    baseline: Source
    record_sha256: str
