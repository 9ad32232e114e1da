"""What two runs of one card show side by side: frozen values with everything that text, JSON and page say."""

from enum import StrEnum

from msgspec import Struct

from gpucert.diagnosis import Subject
from gpucert.outcome import ExitCode, Look, Outcome, VerdictOutcome
from gpucert.verdict.verdict import Source, TierLetter

SCHEMA = "gpucert.comparison/1"


class Change(StrEnum):
    """What became of one measure or counter from the run before to the run after."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    SAME = "same"
    NOT_JUDGED = "not_judged"
    NOT_COMPARABLE = "not_comparable"
    NOT_AGAIN = "not_measured_again"
    NEW = "new"


class Standing(StrEnum):
    """What became of a finding or a diagnosis that speaks against card or station."""

    CAME = "came"
    FIRST_SEEN = "first_seen"
    OTHERWISE = "judged_otherwise"
    STAYED = "stayed"
    NOT_AGAIN = "not_tested_again"
    WENT = "went"


LOOKS: dict[Change | Standing, Look] = {
    Change.WORSE: Look("worse", "▼", "red", "changed beyond uncertainty, away from what is wanted"),
    Change.BETTER: Look("better", "▲", "green", "changed beyond uncertainty, towards what is wanted"),
    Change.CHANGED: Look("changed", "◆", "yellow", "changed beyond uncertainty; neither side is better"),
    Change.SAME: Look("alike", "=", "blue", "no difference beyond what the uncertainty allows"),
    Change.NOT_JUDGED: Look("not judged", "·", "blue", "side by side; nothing tells what a difference means"),
    Change.NOT_COMPARABLE: Look("not comparable", "≠", "magenta", "under other conditions: nothing is claimed"),
    Change.NOT_AGAIN: Look("not measured again", "–", "magenta", "measured before and not after: nothing is claimed"),
    Change.NEW: Look("first measured", "+", "blue", "measured after and not before: nothing is claimed"),
    Standing.CAME: Look("came", "▼", "red", "tested before without it, and found after"),
    Standing.FIRST_SEEN: Look("first seen", "!", "magenta", "found after; before, it was not tested"),
    Standing.OTHERWISE: Look("judged otherwise", "≈", "magenta", "no change beyond uncertainty, or not comparable"),
    Standing.STAYED: Look("stayed", "✘", "yellow", "found before and after"),
    Standing.NOT_AGAIN: Look("not tested again", "–", "magenta", "found before; not tested after, or hidden"),
    Standing.WENT: Look("went", "▲", "green", "found before, tested after, and not found again"),
}  # fmt: skip
"""How each is shown; text and page take it from here so that no two differ."""


class Side(Struct, frozen=True, kw_only=True):
    """One of the two runs."""

    started_at: str
    """UTC, ISO 8601."""
    plan: str
    interrupted: bool
    outcome: VerdictOutcome
    tier: TierLetter | None
    sentence: str
    """The verdict by today's rules, in one sentence."""
    gpucert: str
    """The version that measured."""
    record_sha256: str


class Circumstance(Struct, frozen=True, kw_only=True):
    """Something that was not the same in both runs, and what therefore cannot be compared."""

    name: str
    before: str
    after: str
    means: str
    """One sentence."""


class Measured(Struct, frozen=True, kw_only=True):
    """One measure before and after. Numbers are None where that run has none."""

    measure: str
    """`probe.measure`; heat resistances are `thermal.fast`, `thermal.slow` and `thermal.total`."""
    unit: str
    before: float | int | None
    before_u: float | None
    """Standard uncertainty within one card, in the unit; None where there is none."""
    after: float | int | None
    after_u: float | None
    difference: float | int | None
    difference_u: float | None
    least: float | None
    """The least difference that this comparison would have told as a change, in the unit."""
    change: Change
    why: str
    """One sentence: what the change is judged by, or why nothing is claimed."""
    limited: bool
    """Whether a verdict of the run before says something about it."""
    subject: Subject = "card"


class Counted(Struct, frozen=True, kw_only=True):
    """One counter or flag of the card. `during` counters say how much each run added, others where each run ended."""

    counter: str
    before: int | bool | None
    after: int | bool | None
    during: bool
    change: Change
    fell: bool
    """A count of the card's life that is lower than before."""
    why: str
    subject: Subject = "card"


class Found(Struct, frozen=True, kw_only=True):
    """A finding against card or station in at least one of the runs."""

    probe: str
    measure: str
    before: Outcome | None
    after: Outcome | None
    standing: Standing
    subject: Subject
    advisory: bool
    reason: str
    """As the run says it in which it was found, the later one where both did."""


class Diagnosis(Struct, frozen=True, kw_only=True):
    """A diagnosis of at least one of the runs."""

    code: str
    where: str
    standing: Standing
    subject: Subject
    advisory: bool
    evidence: str
    action: str


class Comparison(Struct, frozen=True, kw_only=True):
    """Two runs of one card side by side."""

    schema: str = SCHEMA
    simulated: bool
    card: str
    known_by: str
    """Why both runs are taken for one card: `UUID` or `PDI`."""
    serial: str
    """A label, empty where none is told: boards with several GPUs share one."""
    name: str
    model: str | None
    before: Side
    after: Side
    sentence: str
    notes: tuple[str, ...]
    circumstances: tuple[Circumstance, ...]
    measures: tuple[Measured, ...]
    counters: tuple[Counted, ...]
    findings: tuple[Found, ...]
    diagnoses: tuple[Diagnosis, ...]
    budget: float
    """The share of comparisons of an unchanged card in which anything at all may be told as changed."""
    judged: int
    """Measures that share it."""
    guard: float
    """Standard uncertainties of a difference from which it is told as a change."""
    policy: Source
    exit_code: ExitCode
