"""Types of matrix product in a verdict: what nobody asked of a card is told in words, and is never a pass."""

import pytest
from msgspec import structs

from gpucert.baselines.baseline import for_model
from gpucert.catalogue import shelf
from gpucert.certificate.payload import Attempt, Payload, build
from gpucert.certificate.tiles import Tile, tiles
from gpucert.outcome import LOOKS, Outcome, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Record, StepRecord
from gpucert.stress.backend import PARTITIONS, UNIT_OF, ArithmeticUnit, DType
from gpucert.verdict import rules, wrong
from gpucert.verdict.verdict import Finding, Verdict
from tests import alone
from tests.verdict.conftest import short
from tests.verdict.judging import codes, judged, with_value

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(scope="module")
def hopper() -> Record:
    """A healthy card with a unit for FP8."""
    record = alone.tested(f'model = "{H100}"\nseed = 3\n', "test", short())
    return structs.replace(record, steps=tuple(structs.replace(step, traces={}) for step in record.steps))


def about(verdict: Verdict, dtype: str) -> dict[str, Finding]:
    return {one.measure: one for one in verdict.findings if one.measure.startswith(f"{dtype}_")}


def without_type(record: Record, dtype: str) -> Record:
    """The record of probes that did not know this type."""

    def cut(step: StepRecord) -> StepRecord:
        return structs.replace(
            step,
            declared=tuple(one for one in step.declared if not one.name.startswith(f"{dtype}_")),
            measurements=tuple(one for one in step.measurements if not one.name.startswith(f"{dtype}_")),
        )

    return structs.replace(record, steps=tuple(map(cut, record.steps)))


def compute_tile(record: Record, verdict: Verdict, key: str) -> Tile:
    model = shelf.get(key)
    payload: Payload = build(
        record, verdict, model=model, baseline=for_model(model), attempt=Attempt(1, ""), issued_at="", verdict_sha256=""
    )
    return next(one for one in tiles(payload) if one.title == "Compute")


def test_what_a_model_has_is_what_the_kernels_ask_of_it() -> None:
    """The judge may not look into the kernels, so it has their list once more."""
    assert {
        unit.value: unit.first_capability / 10 for unit in ArithmeticUnit if unit.first_capability
    } == rules.FIRST_CAPABILITY
    assert set(wrong._TYPES) == {dtype.value for dtype in DType}
    assert all(wrong._core(dtype.value) == unit.value for dtype, unit in UNIT_OF.items())
    assert all(wrong._core(unit.value) == unit.part.value for unit in ArithmeticUnit)
    assert wrong.PARTITIONS == PARTITIONS


def test_every_type_of_a_healthy_card_passes_and_int8_is_counted_in_operations(healthy: Record) -> None:
    verdict = judged(healthy)
    for dtype in ("fp64", "fp32", "tf32", "fp16", "bf16", "int8"):
        found = about(verdict, dtype)
        names = {f"{dtype}_elements", f"{dtype}_wrong", f"{dtype}_per_clock"}
        assert {name for name, one in found.items() if one.outcome is Outcome.PASS} == names
    assert about(verdict, "int8")["int8_per_clock"].unit == "OP/clk/SM"
    assert about(verdict, "tf32")["tf32_per_clock"].unit == "FLOP/clk/SM"


def test_a_card_without_fp8_is_not_offered_it(healthy: Record) -> None:
    found = about(judged(healthy), "fp8")
    assert set(found) >= {"fp8_elements", "fp8_wrong"}
    assert {one.outcome for one in found.values()} == {Outcome.NOT_OFFERED}


def test_fp8_that_nobody_could_ask_for_is_not_tested_in_words_and_costs_nothing(hopper: Record) -> None:
    verdict = judged(hopper)
    assert (verdict.outcome, verdict.tier, codes(verdict)) == (VerdictOutcome.CERTIFIED, "D", set())
    found = about(verdict, "fp8")
    assert set(found) == {"fp8_elements", "fp8_wrong"}
    assert {(one.outcome, one.blocker) for one in found.values()} == {(Outcome.SKIPPED, False)}
    told = {one.what: one.why for one in verdict.not_tested}
    for name in found:
        assert "the libraries at hand give no FP8 product" in told[f"gemm_exact.{name}"]


def test_the_tile_counts_what_passed_and_fp8_is_not_of_it(hopper: Record) -> None:
    verdict = judged(hopper)
    tile = compute_tile(hopper, verdict, H100)
    passed = [
        one
        for one in verdict.findings
        if one.probe in {"sm_answers", "gemm_exact", "gemm_sustained", "load_swings"} and one.outcome is Outcome.PASS
    ]
    assert not any("fp8" in one.measure for one in passed)
    assert tile.look == LOOKS[Outcome.PASS]
    counting = sum(not one.advisory for one in passed)
    assert tile.words == f"132 SMs gave the known answers; {counting} findings, all passed."


@pytest.mark.parametrize("dtype", ["tf32", "int8"])
def test_a_needed_type_that_was_not_multiplied_leaves_the_run_incomplete(hopper: Record, dtype: str) -> None:
    unreachable = Absent(Absence.UNKNOWN, "this cuBLAS cannot multiply it")
    for value in (0, unreachable):
        damaged = with_value(hopper, "gemm_exact", f"{dtype}_elements", value=value)
        assert judged(damaged).outcome is VerdictOutcome.INCOMPLETE
    assert judged(with_value(hopper, "gemm_exact", f"{dtype}_wrong", value=1)).outcome is VerdictOutcome.NOT_CERTIFIED


def test_wrong_fp8_would_count_although_nothing_needs_it(hopper: Record) -> None:
    assert judged(with_value(hopper, "gemm_exact", "fp8_wrong", value=3)).outcome is VerdictOutcome.NOT_CERTIFIED


def test_int8_that_is_slow_by_a_prior_is_advice(healthy: Record) -> None:
    slow = judged(with_value(healthy, "gemm_sustained", "int8_per_clock", value=1000.0, u=1.0))
    found = about(slow, "int8")["int8_per_clock"]
    assert (found.outcome, found.advisory, slow.outcome) == (Outcome.FAIL, True, VerdictOutcome.CERTIFIED)
    assert [(one.code, one.confidence, one.advisory) for one in slow.diagnoses] == [
        ("performance.compute", "possible", True)
    ]
    tf32 = judged(with_value(healthy, "gemm_sustained", "tf32_per_clock", value=500.0, u=1.0))
    assert (tf32.outcome, codes(tf32)) == (VerdictOutcome.NOT_CERTIFIED, {"performance.compute"})


@pytest.mark.parametrize("dtype", ["tf32", "int8"])
def test_a_probe_that_promises_nothing_of_a_type_leaves_the_run_incomplete(healthy: Record, dtype: str) -> None:
    verdict = judged(without_type(healthy, dtype))
    assert verdict.outcome is VerdictOutcome.INCOMPLETE
    assert f"gemm_exact.{dtype}_wrong" in {one.what for one in verdict.not_tested}
