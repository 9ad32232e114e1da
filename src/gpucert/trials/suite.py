"""What a suite of `gpucert bench detection` offers: kinds of faults, ways to look for them, and what is right.

memory_suite.py and compute_suite.py are the suites: modules, because a suite has no state.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Protocol

from msgspec import Struct

from gpucert.baselines.limit import Baseline
from gpucert.device.simulated.scenario import Scenario
from gpucert.diagnosis import kind_of
from gpucert.outcome import VerdictOutcome
from gpucert.record import Record
from gpucert.trials.cards import Matcher
from gpucert.trials.drawn import Kind
from gpucert.verdict.verdict import Verdict


class Seen(Struct, frozen=True):
    """What one method made of one card."""

    found: bool
    right: bool = False
    """The right diagnosis and no wrong one; without a verdict, named right."""
    foreign: bool = False
    """A diagnosis of another family."""
    sm: bool | None = None
    """The right multiprocessor and no other one; None where the fault is of none, or nobody was asked."""
    unit: bool | None = None
    """The right unit and no other one."""
    failed: tuple[str, ...] = ()
    """Measures of heat whose limit the card failed."""
    off: dict[str, float] = {}
    """By how much a measure of heat is off its truth, as a share of it."""


Judges = Callable[[str, Scenario], Baseline | None]
"""By what a card is judged: the baseline for a profile and the card."""


def nobody(_profile: str, _card: Scenario) -> None:
    """No baseline: what is right is known whatever the model."""


class Suite(Protocol):
    """Planted faults of one sort, our own ways to look for them, and those of other tools."""

    KINDS: Mapping[str, Kind]
    PROFILES: tuple[str, ...]
    """Our own ways, shortest first."""
    SLOW: tuple[str, ...]
    """Profiles that take so long that they are given fewer cards."""
    ABLATED: tuple[str, ...]
    """Profiles whose phases are left out in turn."""
    PEERS: tuple[str, ...]
    LOST: str
    """What the table of profiles without a phase counts, in words."""

    FOREIGN: str
    """What a diagnosis is that speaks of something else, in words."""

    def planted(self, name: str, seed: int) -> str:
        """The scenario of a card with one fault of a kind."""

    def healthy(self, seed: int) -> str:
        """The scenario of a card without a fault."""

    def judges(self, profiles: tuple[str, ...], models: Set[str], match: Matcher, /) -> Judges:
        """Measure what cards of these models are judged by."""

    def run(self, card: Scenario, profile: str, /) -> Record:
        """The run of a profile."""

    def phases(self, profile: str, /) -> tuple[str, ...]:
        """The phases of a profile, in order."""

    def seen(self, card: Scenario, record: Record, verdict: Verdict, /) -> Seen:
        """What a run of a profile made of a card with a fault."""

    def alarmed(self, card: Scenario, record: Record, verdict: Verdict, /) -> Seen:
        """What a run of a profile made of a healthy card: anything found is a false alarm."""

    def without(self, card: Scenario, profile: str, phase: str, /) -> Seen:
        """What a profile makes of a card without one of its phases; of all phases if none is named."""

    def peer_finds(self, peer: str, card: Scenario, /) -> bool:
        """Whether another tool finds anything on a card, new and cold."""


def judged(verdict: Verdict, right: Iterable[str], besides: Iterable[str] = ()) -> Seen:
    """How right the diagnoses of a verdict are, less those that are true `besides`."""
    codes = {one.code for one in verdict.diagnoses} - set(besides)
    return Seen(
        found=verdict.outcome is VerdictOutcome.NOT_CERTIFIED,
        right=bool(codes) and codes <= set(right),
        foreign=not _families(codes) <= _families(right),
    )


def anything(_card: Scenario, _record: Record, verdict: Verdict) -> Seen:
    """Whether a verdict says anything at all of a healthy card."""
    told = bool(verdict.diagnoses)
    return Seen(told or verdict.outcome is not VerdictOutcome.REPORTED, foreign=told)


def _families(codes: Iterable[str]) -> set[str]:
    return {kind_of(code).family for code in codes}
