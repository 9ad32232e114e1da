"""The suite of joints that open with heat cycles: the steps of a plan that ask the same before and in the cycles."""

from collections.abc import Set

from msgspec import structs

from gpucert.device.simulated.scenario import Scenario
from gpucert.reading import Absent
from gpucert.record import Record, StepRecord
from gpucert.trials import cycles_faults, drawn, memory_faults, of_plan
from gpucert.trials.cards import Matcher
from gpucert.trials.suite import Judges, Seen, anything, judged, nobody
from gpucert.verdict.verdict import Verdict

KINDS = cycles_faults.KINDS
PROFILES: tuple[str, ...] = ("standard",)
"""Of the plans with heat cycles the shortest."""
SLOW: tuple[str, ...] = ()
ABLATED = PROFILES
PEERS: tuple[str, ...] = ()
"""No other tool has a card cool and heat again."""
FOREIGN = "diagnosis of another family"
LOST = "Anything wrong, corrected, sent again or lost, and whether that was so in the cycles first, without one step"
PROBES = ("pcie_link", "sm_answers", "memory_under_load", "heat_cycles")
"""The steps before the cycles that ask what they ask."""
_COUNTERS = ("ecc_corrected_volatile", "ecc_uncorrected_volatile", "pcie_replays")


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one joint that opens."""
    return cycles_faults.planted(name, seed)


healthy, alarmed = drawn.healthy, anything


def judges(_profiles: tuple[str, ...], _models: Set[str], _match: Matcher) -> Judges:
    """Nobody: what was right before the cycles is right in them."""
    return nobody


def phases(profile: str) -> tuple[str, ...]:
    """The probes of the steps."""
    return of_plan.phases(profile, PROBES)


def run(card: Scenario, profile: str) -> Record:
    """The steps of a profile on a card."""
    return of_plan.run(card, profile, PROBES)


def seen(card: Scenario, _record: Record, verdict: Verdict) -> Seen:
    """By its diagnoses, among which the joint itself must be."""
    made = judged(verdict, cycles_faults.expected(card), memory_faults.besides(card))
    named = any(one.code == cycles_faults.DIAGNOSIS for one in verdict.diagnoses)
    return structs.replace(made, right=made.right and named)


def without(card: Scenario, profile: str, phase: str) -> Seen:
    """The run by its record, without a verdict."""
    record = of_plan.run(card, profile, PROBES, without=phase)
    troubled = [step.probe for step in record.steps if _trouble(step)]
    return Seen(bool(troubled), right=troubled[:1] == ["heat_cycles"])


def peer_finds(peer: str, card: Scenario) -> bool:
    """No other tool is asked."""
    raise AssertionError(f"{peer} was asked about {card.summary}, and there is no such tool")


def _trouble(step: StepRecord) -> bool:
    return step.death is not None or bool(step.mismatches) or any(_grew(step, name) for name in _COUNTERS)


def _grew(step: StepRecord, counter: str) -> bool:
    before, after = getattr(step.before, counter), getattr(step.after, counter)
    return not isinstance(before, Absent) and not isinstance(after, Absent) and after > before
