"""Heat cycles: what was right in every step before and fails in them, because a joint parts with the heat.

One bad cell or one multiprocessor that errs for the first time there is no joint: it is diagnosed by itself. A joint
carries much: a wire of many words, lanes of the link, the supply of many multiprocessors. What it makes of steps after
it is its consequence and no fault of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpucert.outcome import Outcome
from gpucert.reading import Absence
from gpucert.record import StepRecord
from gpucert.verdict.case import Case
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.links import REPLAYS_PER_MINUTE
from gpucert.verdict.rules import OWN
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding
from gpucert.verdict.wrong_memory import wrong_memory

PROBE = "heat_cycles"
FEW = 4
"""So many wrong words or fewer are cells, whatever heated them."""
FEWEST_SMS = 2
"""So many multiprocessors that are wrong at once share something."""
TREND_S, TREND_C = 10.0, 2.0
"""A card whose temperature moved by more in so long was warming or cooling."""
_OF_CELLS = {"memory.retention", "memory.coupling", "memory.alias", "identity.memory"}


@dataclass(frozen=True)
class Parted:
    """A joint that parted in a step, as far as one sort of trouble shows it."""

    step: StepRecord
    what: str
    """The trouble, in numbers."""
    shown_by: tuple[str, ...] = ()
    """Columns of the probe's own trace that tell when it began."""
    explains: frozenset[str] = frozenset()
    """Diagnoses of the run that are its consequences, because nothing of the sort happened before."""
    confidence: Confidence = "likely"
    alone: bool = False
    """No measure of a step speaks against the card for it, so that it needs a finding of its own."""


def parted(case: Case) -> tuple[Parted, ...]:
    """What the heat cycles parted, sort by sort; of each the first step that shows it."""
    steps, found = case.record.steps, dict[Callable[..., Parted | None], Parted]()
    for place, step in enumerate(steps):
        for look in (_memory, _compute, _link, _end) if step.probe == PROBE else ():
            one = None if look in found else look(case, step, steps[:place])
            if one is not None:
                found[look] = one
    return tuple(found.values())


def judge_cycles(case: Case, joints: Iterable[Parted]) -> Iterator[Finding | Diagnosed]:
    """Findings and diagnosis of the joints that parted."""
    for one in joints:
        before = case.record.steps[: case.record.steps.index(one.step)]
        if one.alone:
            yield _finding(one)
        where = f"step {one.step.index + 1} ({PROBE})"
        yield diagnosed("board.intermittent", f"{where}: {one.what}{_first(one)}; {_before(before)}", one.confidence)


def _finding(joint: Parted) -> Finding:
    return Finding(
        probe=PROBE, measure="link", outcome=Outcome.FAIL, value=joint.what, unit="", limit="as before the heat",
        reason=f"The link was right before the heat cycles and failed in them: {joint.what}.", authority=OWN,
        step=joint.step.index,
    )  # fmt: skip


# What can part


def _memory(case: Case, step: StepRecord, before: Sequence[StepRecord]) -> Parted | None:
    """Wrong words, or errors that ECC corrected, of more words than single cells."""
    if not _tested(before, "words_compared") or any(_memory_failed(case, one) for one in before):
        return None
    told = tuple(wrong_memory(case, step))
    words = {one.offset for one in step.mismatches if one.kind != "compute"}
    corrected = case.growth(step, "ecc_corrected_volatile")
    codes = {one.code for one in told}
    if codes & _OF_CELLS or max(len(words), _corrected_words(step, corrected)) <= FEW:
        return None
    what = told[0].evidence if told else f"ECC corrected {corrected} errors"
    also = {"memory.data_line", "memory.soft", "memory.transient", "memory.ecc_corrected"}
    return Parted(step, what, ("wrong", "ecc_corrected"), frozenset(codes | also))


def _corrected_words(step: StepRecord, corrected: int) -> int:
    """How many words must have been corrected at least: each is compared in both polarities of every round."""
    rounds = sum(int(step.number(f"asked_{state}") or 0) for state in ("cool", "moving", "hot"))
    return corrected // (2 * rounds) if rounds else 0


def _memory_failed(case: Case, step: StepRecord) -> bool:
    met = any(case.growth(step, name) for name in ("ecc_corrected_volatile", "ecc_uncorrected_volatile"))
    wrong = any(step.number(name) for name in ("wrong_words", "inputs_wrong"))
    return met or wrong or any(one.kind != "compute" for one in step.mismatches)


def _compute(case: Case, step: StepRecord, before: Sequence[StepRecord]) -> Parted | None:
    """Known answers of several multiprocessors."""
    del case
    sms = int(step.number("sms_wrong") or 0)
    if sms < FEWEST_SMS or not _tested(before, "sms_reached") or any(map(_compute_failed, before)):
        return None
    return Parted(step, f"{sms} SMs gave wrong answers", ("wrong",), frozenset({"compute.sm", "compute.wrong"}))


def _compute_failed(step: StepRecord) -> bool:
    return any(one.kind == "compute" for one in step.mismatches) or bool(step.number("sms_wrong"))


def _link(case: Case, step: StepRecord, before: Sequence[StepRecord]) -> Parted | None:
    """Lanes that were lost, or packets that had to be repeated. In one slot, at one traffic, only the heat was new."""
    trained = [lanes for one in before if one.probe == "pcie_link" and (lanes := one.number("width")) is not None]
    if not trained or any(_repeats(case, one) for one in before):
        return None
    lanes, what = step.number("width"), list[str]()
    if lanes is not None and lanes < min(trained):
        what.append(f"{lanes:.0f} PCIe lanes in use, and {min(trained):.0f} before")
    if _repeats(case, step):
        what.append(f"{case.growth(step, 'pcie_replays')} packets sent again over PCIe")
    explains = frozenset({"link.pcie_errors", "link.pcie_width", "link.pcie_bandwidth"})
    return Parted(step, ", ".join(what), ("pcie_replays",), explains, alone=True) if what else None


def _repeats(case: Case, step: StepRecord) -> bool:
    """Whether the link repeated more packets in a step than DCGM allows in its time, and in a minute."""
    allowed = REPLAYS_PER_MINUTE * max(1.0, (step.ended_s - step.began_s) / 60)
    return case.growth(step, "pcie_replays") > allowed


def _end(case: Case, step: StepRecord, before: Sequence[StepRecord]) -> Parted | None:
    """A loss or an error beyond ECC that came with the heat; it may be chance, because it happens once."""
    kind = step.death.kind if step.death else ""
    fresh = kind == "lost" or (kind == "ecc_uncorrected" and not any(_memory_failed(case, one) for one in before))
    if step.death is None or not fresh or not _came_with_heat(step):
        return None
    return Parted(step, f"{step.death.text}{heat_at_the_end(step)}", confidence="possible")


def _tested(steps: Iterable[StepRecord], measure: str) -> bool:
    return any(one.number(measure) for one in steps)


# In words


def _before(steps: Sequence[StepRecord]) -> str:
    """That the steps before were right, and how hot the card had been in them."""
    hottest = max((degrees for one in steps for _, degrees in _temperatures(one)), default=None)
    heat = "" if hottest is None else f", at up to {hottest:.0f} °C"
    return f"in the {len(steps)} steps before it was right{heat}"


def _first(joint: Parted) -> str:
    """In which cycle, and how hot, the trouble was met first."""
    step, trace = joint.step, joint.step.traces.get("asked")
    if trace is None:
        return ""
    at_first = {
        "wrong": 0,
        "ecc_corrected": step.before.ecc_corrected_volatile,
        "pcie_replays": step.before.pcie_replays,
    }
    shown = [name for name in joint.shown_by if trace.column(name)]
    for at_s, cycle, *told in zip(trace.at_s, trace.column("cycle"), *map(trace.column, shown), strict=True):
        risen = any(value != at_first[name] for name, value in zip(shown, told, strict=True))
        if risen and not isinstance(cycle, Absence):
            heat = [degrees for moment, degrees in _temperatures(step) if moment <= at_s]
            return f", first in cycle {cycle:.0f}" + (f" at {heat[-1]:.0f} °C" if heat else "")
    return ""


def heat_at_the_end(step: StepRecord) -> str:
    """How warm the card was when a step of heat cycles ended, and where that went, as the end of a sentence."""
    read = _temperatures(step) if step.probe == PROBE else []
    if not read:
        return ""
    moved = _moved(read)
    trend = " and warming" if moved > TREND_C else " and cooling" if moved < -TREND_C else ""
    return f", at {read[-1][1]:.0f} °C{trend}"


def _came_with_heat(step: StepRecord) -> bool:
    """Whether the card was moving, or nearer to the hottest than to the coolest that it had been."""
    read = _temperatures(step)
    degrees = [one for _, one in read]
    return bool(read) and (abs(_moved(read)) > TREND_C or degrees[-1] > (min(degrees) + max(degrees)) / 2)


def _moved(read: Sequence[tuple[float, float]]) -> float:
    """By how many degrees the temperature moved in the last TREND_S."""
    at_s, degrees = read[-1]
    earlier = [one for moment, one in read if moment <= at_s - TREND_S]
    return degrees - earlier[-1] if earlier else 0.0


def _temperatures(step: StepRecord) -> list[tuple[float, float]]:
    """Every moment of a step at which the temperature was read, with what was read."""
    trace = step.traces.get("telemetry")
    if trace is None:
        return []
    read = zip(trace.at_s, trace.column("temperature_c"), strict=False)
    return [(at_s, degrees) for at_s, degrees in read if isinstance(degrees, int | float)]
