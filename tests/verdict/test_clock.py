"""The real clock, judged: advice by itself, the reason where rates per clock fail with it, and never a pass unread."""

import pytest
from msgspec import structs

from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Record
from gpucert.verdict.verdict import Diagnosed, Finding, Verdict
from tests.verdict.judging import codes, judged, with_value

CERTIFIED, NOT_CERTIFIED = VerdictOutcome.CERTIFIED, VerdictOutcome.NOT_CERTIFIED
DTYPES = ("fp64", "fp32", "fp16", "bf16")


def sagging(record: Record, ratio: float, u: float = 0.003, *, rates: float = 1.0) -> Record:
    """The record of a card whose clock ratio is this, and whose rates per clock are this share of what they were."""
    record = with_value(record, "sm_clock", "ratio", value=ratio, u=u)
    for dtype in DTYPES:
        name = f"{dtype}_per_clock"
        value = next(step.number(name) for step in record.steps if step.probe == "gemm_sustained")
        record = with_value(record, "gemm_sustained", name, value=rates * (value or 0))
    return record


def clock(verdict: Verdict) -> Finding:
    (found,) = [one for one in verdict.findings if one.probe == "sm_clock" and one.measure == "ratio"]
    return found


def droop(verdict: Verdict) -> Diagnosed:
    (found,) = [one for one in verdict.diagnoses if one.code == "power.droop"]
    return found


@pytest.mark.parametrize(
    ("ratio", "u", "outcome"),
    [
        (1.0, 0.003, Outcome.PASS),
        (0.96, 0.003, Outcome.PASS),
        (0.952, 0.003, Outcome.MARGINAL),
        (0.94, 0.003, Outcome.FAIL),
        (0.94, 0.03, Outcome.MARGINAL),
        (1.052, 0.003, Outcome.MARGINAL),
        (1.10, 0.003, Outcome.FAIL),
    ],
)
def test_the_ratio_is_judged_with_its_doubt_and_costs_nothing_alone(
    healthy: Record, ratio: float, u: float, outcome: Outcome
) -> None:
    verdict = judged(sagging(healthy, ratio, u))
    found = clock(verdict)
    assert (found.outcome, found.advisory, found.limit, found.u) == (outcome, True, "0.95 to 1.05", u)
    assert (verdict.outcome, verdict.tier) == (CERTIFIED, "D")
    low = outcome is Outcome.FAIL and ratio < 1
    assert codes(verdict) == ({"power.droop"} if low else set())
    assert verdict.undecided == ()


def test_a_sag_alone_is_advice(healthy: Record) -> None:
    told = droop(judged(sagging(healthy, 0.9)))
    assert (told.advisory, told.confidence) == (True, "possible")
    assert "90.0 % of the clock that was reported" in told.evidence


def test_a_sag_that_costs_arithmetic_is_the_reason_and_costs_the_certificate(healthy: Record) -> None:
    verdict = judged(sagging(healthy, 0.8, rates=0.8))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"power.droop"})
    assert (droop(verdict).advisory, droop(verdict).confidence) == (False, "likely")
    assert "run slower under load than the clock that the card reports" in verdict.sentence


def test_slow_arithmetic_at_the_reported_clock_is_no_sag(healthy: Record) -> None:
    verdict = judged(sagging(healthy, 1.0, rates=0.7))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"performance.compute"})


def test_a_sag_hides_no_arithmetic_that_is_slower_still(healthy: Record) -> None:
    verdict = judged(sagging(healthy, 0.9, rates=0.6))
    assert codes(verdict) == {"performance.compute", "power.droop"}
    assert droop(verdict).advisory


def test_one_slow_unit_beside_a_sag_is_named_as_well(healthy: Record) -> None:
    record = sagging(healthy, 0.8, rates=0.8)
    value = next(step.number("fp16_per_clock") for step in record.steps if step.probe == "gemm_sustained")
    verdict = judged(with_value(record, "gemm_sustained", "fp16_per_clock", value=0.6 * (value or 0)))
    assert codes(verdict) == {"performance.compute", "power.droop"}
    assert not droop(verdict).advisory


def test_the_power_brake_is_no_sag(healthy: Record) -> None:
    braked = with_value(sagging(healthy, 0.5), "thermal_soak", "power_brake", value=50.0)
    assert codes(judged(braked)) == {"station.power"}


@pytest.mark.parametrize("absence", list(Absence))
def test_what_was_not_read_is_said_and_is_no_pass(healthy: Record, absence: Absence) -> None:
    record = with_value(healthy, "sm_clock", "ratio", value=Absent(absence, "nobody told"), u=None)
    verdict = judged(record)
    assert clock(verdict).outcome is Outcome.SKIPPED
    assert "nobody told" in clock(verdict).reason
    assert any("sm_clock.ratio" in one.what for one in verdict.not_tested)
    assert verdict.outcome is CERTIFIED


def test_a_record_without_the_step_is_judged_as_before(healthy: Record) -> None:
    older = structs.replace(healthy, steps=tuple(step for step in healthy.steps if step.probe != "sm_clock"))
    verdict = judged(older)
    assert verdict.outcome is CERTIFIED
    assert not any(one.probe == "sm_clock" for one in verdict.findings)


def test_without_a_baseline_the_ratio_still_speaks(healthy: Record) -> None:
    unknown = sagging(healthy, 0.8)
    unknown = structs.replace(unknown, card=structs.replace(unknown.card, name="Odd", pci_device="ffff"))
    assert droop(judged(unknown)).advisory
