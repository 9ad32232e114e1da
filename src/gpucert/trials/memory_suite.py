"""The suite of memory faults: the memory scan in its profiles, beside other testers of memory."""

from collections.abc import Set
from functools import cache

from msgspec import structs

from gpucert.device.simulated.scenario import Scenario
from gpucert.record import Record
from gpucert.run import plan
from gpucert.run.plan import PlannedRun, Step
from gpucert.stress import memory_scan
from gpucert.trials import ablation, drawn, in_process, memory_faults, memory_peers
from gpucert.trials.cards import Matcher
from gpucert.trials.suite import Judges, Seen, anything, judged, nobody
from gpucert.verdict.verdict import Verdict

KINDS = memory_faults.KINDS
PROFILES = tuple(memory_scan.PROFILES)
SLOW: tuple[str, ...] = ("deep",)
ABLATED: tuple[str, ...] = ("quick", "standard")
"""Deep does the same at greater length."""
PEERS = tuple(memory_peers.PEERS)
FOREIGN = "diagnosis of another family"
LOST = "A wrong word, or an error that ECC met, and whether it was named for what it is, in scans without one phase"
SCAN_S = 600.0
"""Of the step, as in the standard plan; a virtual card repeats nothing to fill it."""


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one memory fault."""
    return memory_faults.planted(name, seed)


healthy, alarmed = drawn.healthy, anything


def judges(_profiles: tuple[str, ...], _models: Set[str], _match: Matcher) -> Judges:
    """Nobody: which answers are right is known."""
    return nobody


@cache
def planned(profile: str) -> PlannedRun:
    """The plan whose only step is the scan."""
    step = Step(probe="memory_scan", seconds=SCAN_S, blocker=True, options={"profile": profile})
    return plan.ready(structs.replace(plan.load("quick"), name=f"bench-detection-{profile}", step=(step,)))


def phases(profile: str) -> tuple[str, ...]:
    """The phases of the scan."""
    return tuple(phase.name for phase in memory_scan.PROFILES[profile].phases)


def run(card: Scenario, profile: str) -> Record:
    """The steps of a profile on a card."""
    return in_process.run(card.text, profile, planned(profile))


def seen(card: Scenario, _record: Record, verdict: Verdict) -> Seen:
    """By its diagnoses."""
    return judged(verdict, memory_faults.expected(card), memory_faults.besides(card))


def without(card: Scenario, profile: str, phase: str) -> Seen:
    """The scan by itself, without a verdict."""
    return Seen(*ablation.finds(card, profile, phase))


def peer_finds(peer: str, card: Scenario) -> bool:
    """Whether another tester of memory finds anything."""
    return memory_peers.finds(peer, card)
