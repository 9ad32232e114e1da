"""The suite of wrong answers: the steps of a plan that check arithmetic, beside tools that compare products."""

import re
from collections.abc import Iterable, Iterator, Set

from msgspec import structs

from gpucert.device.simulated.scenario import Scenario
from gpucert.record import Mismatch, Record, StepRecord
from gpucert.stress.backend import UNIT_OF, ArithmeticUnit, DType
from gpucert.trials import compute_faults, compute_peers, drawn, of_plan
from gpucert.trials.cards import Matcher
from gpucert.trials.suite import Judges, Seen, anything, judged, nobody
from gpucert.verdict.verdict import Verdict

KINDS = compute_faults.KINDS
PROFILES: tuple[str, ...] = ("quick", "standard")
"""The plans of these names, of which the steps that check arithmetic are taken."""
SLOW: tuple[str, ...] = ()
ABLATED = PROFILES
PEERS = tuple(compute_peers.PEERS)
FOREIGN = "diagnosis of another family"
LOST = "A wrong answer, and whether its SM and unit were named, without one of the steps"
PROBES = ("sm_answers", "gemm_exact", "gemm_sustained", "load_swings", "memory_under_load")
"""The probes that check answers: known ones, and products."""

_SM = re.compile(r"\bSM (\d+)")


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one arithmetic fault."""
    return compute_faults.planted(name, seed)


healthy, alarmed = drawn.healthy, anything


def judges(_profiles: tuple[str, ...], _models: Set[str], _match: Matcher) -> Judges:
    """Nobody: which answers are right is known."""
    return nobody


def phases(profile: str) -> tuple[str, ...]:
    """The probes of the steps."""
    return of_plan.phases(profile, PROBES)


def run(card: Scenario, profile: str) -> Record:
    """The steps of a profile on a card."""
    return of_plan.run(card, profile, PROBES)


def seen(card: Scenario, record: Record, verdict: Verdict) -> Seen:
    """By its diagnoses, which name the SM; the unit is that of the answers which were wrong."""
    named = _sms(one.where for one in verdict.diagnoses)
    return _placed(judged(verdict, compute_faults.expected(card)), card, record, named)


def without(card: Scenario, profile: str, phase: str) -> Seen:
    """The run by its record, without a verdict."""
    record = of_plan.run(card, profile, PROBES, without=phase)
    placed = _placed(Seen(_any_wrong(record)), card, record, _sms_of_record(record))
    return structs.replace(placed, right=placed.sm is not False and bool(placed.unit))


def peer_finds(peer: str, card: Scenario) -> bool:
    """Whether another tool finds a product that differs."""
    return compute_peers.finds(peer, card)


def _placed(seen: Seen, card: Scenario, record: Record, named: set[int]) -> Seen:
    sm = compute_faults.sm(card)
    return structs.replace(
        seen,
        sm=None if sm is None else named == {sm},
        unit=_units(record) == {compute_faults.unit(card)},
    )


def _sms(places: Iterable[str]) -> set[int]:
    """The SMs that are named in words."""
    return {int(number) for place in places for number in _SM.findall(place)}


def _sms_of_record(record: Record) -> set[int]:
    """The SMs that gave wrong answers."""
    return {one.reader_sm for step in record.steps for one in _wrong_answers(step) if one.reader_sm is not None}


def _units(record: Record) -> set[str]:
    """The parts with wrong answers: known ones by their measure, products by the type that their phase names."""
    answers = (step for step in record.steps if step.probe == "sm_answers")
    asked = {unit.part for step in answers for unit in ArithmeticUnit if step.number(f"{unit}_wrong")}
    products = (step for step in record.steps if step.probe != "sm_answers")
    words = {word for step in products for one in _wrong_answers(step) for word in one.phase.split()}
    return {unit.value for unit in asked | {UNIT_OF[dtype] for dtype in DType if dtype in words}}


def _wrong_answers(step: StepRecord) -> Iterator[Mismatch]:
    return (one for one in step.mismatches if one.kind == "compute")


def _any_wrong(record: Record) -> bool:
    return any(
        step.number(one.name) for step in record.steps for one in step.measurements if one.name.endswith("wrong")
    )
