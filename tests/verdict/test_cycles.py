"""Joints that part with the heat: told where only the heat was new, and never in place of another fault."""

from collections.abc import Callable
from functools import cache

import pytest
from msgspec import structs

from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Death, Mismatch, Record, StepRecord, Trace
from gpucert.trials import cycles_suite, in_process, of_plan
from gpucert.verdict.verdict import Verdict
from tests.verdict.judging import changed, codes, judged, with_value

A100, RTX_3090, T4 = "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 3090", "Tesla T4"
LINK, ANSWERS, BESIDE, CYCLES = range(4)
"""The steps of the suite."""
JOINT = "board.intermittent"


@cache
def record_of(model: str, effect: str) -> Record:
    """A card without a fault, or with a joint that opens in the second cycle."""
    text = f'model = "{model}"\nvram_mib = 1\n'
    if effect:
        heat = "above_c = 55\nbelow_c = 45\ncycles = 2"
        text += f'[[fault]]\nkind = "thermal_intermittent"\n{heat}\neffect = "{effect}"\n'
    return in_process.run(text, "test", of_plan.planned("standard", cycles_suite.PROBES), 1)


def healthy() -> Record:
    return record_of(RTX_3090, "")


def evidence(verdict: Verdict, code: str = JOINT) -> str:
    (one,) = (one for one in verdict.diagnoses if one.code == code)
    return one.evidence


def located(kind: str, *offsets: int) -> tuple[Mismatch, ...]:
    return tuple(
        Mismatch(phase="cycle 1, hot", offset=8 * offset, expected="00", actual="20", flips=1, kind=kind)
        for offset in offsets
    )


def with_words(record: Record, kind: str, count: int, index: int = CYCLES) -> Record:
    """The record with wrong words of memory in a step."""

    def wrong(step: StepRecord) -> StepRecord:
        return structs.replace(step, mismatches=located(kind, *range(count)))

    probe = record.steps[index].probe
    return changed(with_value(record, probe, "wrong_words", value=count), index, wrong)


def with_heat(step: StepRecord, *degrees: float) -> StepRecord:
    """The step with these temperatures, a second apart, at its end."""
    times = tuple(step.ended_s - len(degrees) + number for number in range(len(degrees)))
    return structs.replace(step, traces={"telemetry": Trace(times, {"temperature_c": degrees})})


# What is told of a joint


def test_a_healthy_card_has_none() -> None:
    verdict = judged(healthy())
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.REPORTED, set())


@pytest.mark.parametrize(
    ("model", "effect", "beside", "told"),
    [
        (RTX_3090, "memory", set(), "failed compares"),
        (A100, "memory", set(), "ECC corrected"),
        (T4, "memory", {"memory.ecc_uncorrected"}, "ECC met an error that it could not correct: "),
        (RTX_3090, "link", set(), "8 PCIe lanes in use, and 16 before, "),
        (RTX_3090, "lost", {"device.lost"}, "the card fell off the bus: "),
    ],
)
def test_what_parts_is_told_with_its_cycle_and_its_heat(model: str, effect: str, beside: set[str], told: str) -> None:
    verdict = judged(record_of(model, effect))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.NOT_CERTIFIED, {JOINT, *beside})
    assert evidence(verdict).startswith(f"step {CYCLES + 1} (heat_cycles): ")
    assert told in evidence(verdict)
    assert "first in cycle 2 at " in evidence(verdict) or beside, "a step that dies tells no cycles"
    assert f"; in the {CYCLES} steps before it was right, at up to " in evidence(verdict)
    assert all("°C" in evidence(verdict, code) for code in {JOINT, *beside})


def test_what_comes_of_an_open_joint_in_later_steps_is_not_told_twice() -> None:
    def again(kind: str) -> Record:
        record = record_of(RTX_3090, "memory")
        later = structs.replace(record.steps[BESIDE], index=CYCLES + 1, mismatches=located(kind, *range(40)))
        return structs.replace(record, steps=(*record.steps, later))

    assert codes(judged(again("data_line"))) == {JOINT}
    assert codes(judged(again("coupling"))) == {JOINT, "memory.coupling"}, "no joint does that"


# What is no joint


@pytest.mark.parametrize(
    ("kind", "count", "expected"),
    [
        ("hard", 4, "memory.hard"),
        ("hard", 5, JOINT),
        ("transient", 4, "memory.transient"),
        ("transient", 5, JOINT),
        ("retention", 900, "memory.retention"),
        ("alias", 900, "memory.alias"),
    ],
)
def test_cells_that_fail_in_the_heat_are_cells(kind: str, count: int, expected: str) -> None:
    assert codes(judged(with_words(healthy(), kind, count))) == {expected}


@pytest.mark.parametrize(("sms", "expected"), [(1, set[str]()), (2, {JOINT})])
def test_one_multiprocessor_is_no_joint(sms: int, expected: set[str]) -> None:
    verdict = judged(with_value(healthy(), "heat_cycles", "sms_wrong", value=sms))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.NOT_CERTIFIED, expected)


def test_one_multiprocessor_is_named_and_products_are_told_without_one() -> None:
    def wrong(sm: int | None, phase: str) -> Record:
        one = Mismatch(phase=phase, offset=0, expected="0", actual="1", flips=1, kind="compute", reader_sm=sm)
        measure = "wrong" if sm is None else "sms_wrong"
        record = with_value(healthy(), "heat_cycles", measure, value=1)
        return changed(record, CYCLES, lambda step: structs.replace(step, mismatches=(one,)))

    (named,) = judged(wrong(7, "int32, cycle 1, hot")).diagnoses
    (unnamed,) = judged(wrong(None, "bf16 in cycle 1, hot")).diagnoses
    assert (named.code, named.where) == ("compute.sm", "SM 7 (int32)")
    assert (unnamed.code, unnamed.where) == ("compute.wrong", "bf16")


def _words_before(record: Record) -> Record:
    return with_words(record, "data_line", 9, BESIDE)


def _corrected_before(record: Record) -> Record:
    def grew(step: StepRecord) -> StepRecord:
        return structs.replace(step, after=structs.replace(step.after, ecc_corrected_volatile=900))

    return changed(record, BESIDE, grew)


def _narrow_before(record: Record) -> Record:
    return with_value(record, "pcie_link", "width", value=8)


def _replays_before(record: Record) -> Record:
    def grew(step: StepRecord) -> StepRecord:
        return structs.replace(step, before=structs.replace(step.before, pcie_replays=0))

    return changed(_narrow_before(record), BESIDE, grew)


@pytest.mark.parametrize(
    ("model", "effect", "before", "expected"),
    [
        (RTX_3090, "memory", _words_before, {"memory.data_line"}),
        (A100, "memory", _corrected_before, {"memory.ecc_corrected"}),
        (RTX_3090, "link", _replays_before, {"link.pcie_errors", "link.pcie_width"}),
    ],
)
def test_what_failed_before_did_not_come_with_the_cycles(
    model: str, effect: str, before: Callable[[Record], Record], expected: set[str]
) -> None:
    assert codes(judged(before(record_of(model, effect)))) == expected


def test_where_nothing_was_tested_before_nothing_is_known_to_be_new() -> None:
    record = record_of(RTX_3090, "memory")
    alone = structs.replace(record, steps=record.steps[CYCLES:])
    assert codes(judged(alone)) == {"memory.data_line"}


@pytest.mark.parametrize(
    ("degrees", "with_the_heat", "told"),
    [
        ((30.0, *[70.0] * 20), True, ", at 70 °C"),
        ((30.0, 70.0, *[31.0] * 20), False, ", at 31 °C"),
        ((30.0, 70.0, *[31.0] * 20, 40.0), True, ", at 40 °C and warming"),
        ((30.0, 90.0, *[50.0] * 20, 41.0), True, ", at 41 °C and cooling"),
        ((), False, "the virtual card fell off the bus"),
    ],
)
def test_a_loss_is_a_joint_only_where_the_card_was_hot_or_moving(
    degrees: tuple[float, ...], with_the_heat: bool, told: str
) -> None:
    record = changed(record_of(RTX_3090, "lost"), CYCLES, lambda step: with_heat(step, *degrees))
    verdict = judged(record)
    assert codes(verdict) == {"device.lost", *({JOINT} if with_the_heat else ())}
    assert evidence(verdict, "device.lost").endswith(told)


def test_a_hang_says_how_hot_the_card_was_and_blames_no_joint() -> None:
    def hung(step: StepRecord) -> StepRecord:
        return structs.replace(step, death=Death(kind="hang", subject="card", text="the step made no progress"))

    verdict = judged(changed(healthy(), CYCLES, lambda step: hung(with_heat(step, 30.0, 70.0))))
    assert codes(verdict) == {"device.hang"}
    assert evidence(verdict, "device.hang").endswith(", at 70 °C")


# Never a pass


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        *(("swing", 14.9), ("cycles", 1), ("planned", 0), ("asked_hot", 0), ("asked_moving", 0), ("asked_cool", 0)),
        *(("copied", 0), ("words_compared", 1), ("elements", 0), ("sms_reached", 81)),
    ],
)
def test_cycles_that_prove_nothing_are_told_and_are_no_pass(measure: str, value: float) -> None:
    verdict = judged(with_value(healthy(), "heat_cycles", measure, value=value))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.INCOMPLETE, set())
    found = [one for one in verdict.findings if one.outcome is Outcome.ERROR]
    assert {one.measure for one in found} >= {measure}
    assert all(one.reason.count(". Measured") == 1 for one in found)


def test_a_swing_that_nobody_read_is_not_healthy() -> None:
    absent = Absent(Absence.UNKNOWN, "no temperature was read throughout a cycle")
    verdict = judged(with_value(healthy(), "heat_cycles", "swing", value=absent))
    assert verdict.outcome is VerdictOutcome.INCOMPLETE
    assert "heat_cycles.swing" in {one.what for one in verdict.not_tested}


def test_copies_that_arrive_damaged_are_told_as_such() -> None:
    verdict = judged(with_value(healthy(), "heat_cycles", "copied_wrong", value=1))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.NOT_CERTIFIED, {"link.pcie_data"})
