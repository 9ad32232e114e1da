"""The one promise: nothing unread, unset, skipped, unknown or not a number ever counts as a pass."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from gpucert import probes
from gpucert import record as records
from gpucert.baselines import defaults
from gpucert.outcome import ExitCode, Outcome, StepStatus, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Death, Declared, Event, Measurement, Mismatch, Process, Record, StepRecord
from gpucert.units import Unit
from gpucert.verdict import policy as policies
from gpucert.verdict import rules
from gpucert.verdict.judge import UnjudgeableRecordError
from tests.verdict.judging import changed, codes, judged, with_value, without

CERTIFIED, INCOMPLETE = VerdictOutcome.CERTIFIED, VerdictOutcome.INCOMPLETE
NOT_CERTIFIED, REPORTED = VerdictOutcome.NOT_CERTIFIED, VerdictOutcome.REPORTED
MAY_BE_ABSENT = {name for name, rule in rules.shipped().items() if not rule.needed}
"""Measures that no certificate rests on."""


def needed(record: Record) -> list[tuple[int, str]]:
    """Every measure of a healthy record that a certificate rests on."""
    return [
        (step.index, declared.name)
        for step in record.steps
        for declared in step.declared
        if f"{step.probe}.{declared.name}" not in MAY_BE_ABSENT
    ]


def test_the_healthy_record_itself_is_certified(healthy: Record) -> None:
    verdict = judged(healthy)
    assert (verdict.outcome, verdict.tier, verdict.exit_code) == (CERTIFIED, "D", ExitCode.CERTIFIED)
    assert verdict.diagnoses == ()
    assert len(needed(healthy)) > 60


def test_the_same_record_gives_the_same_verdict(healthy: Record) -> None:
    again = records.decode(records.encode(healthy), "test")
    assert records.encode(judged(again)) == records.encode(judged(healthy))


def test_a_declared_measure_that_is_unset_is_never_a_pass(healthy: Record) -> None:
    for index, measure in needed(healthy):
        damaged = changed(healthy, index, lambda step, name=measure: without(step, name))
        assert judged(damaged).outcome is INCOMPLETE, (index, measure)


@pytest.mark.parametrize("reason", list(Absence))
def test_an_absent_reading_is_never_a_pass(healthy: Record, reason: Absence) -> None:
    not_offered = {"retired_pages", "retired_pending"}  # an A100 remaps rows and retires no pages
    for index, measure in needed(healthy):
        if measure in not_offered or (measure == "inforom_valid" and reason is Absence.NOT_SUPPORTED):
            continue

        def gone(step: StepRecord, name: str = measure) -> StepRecord:
            kept = without(step, name).measurements
            unit = next(one.unit for one in step.declared if one.name == name)
            return structs.replace(step, measurements=(*kept, Measurement(name=name, unit=unit, value=Absent(reason))))

        assert judged(changed(healthy, index, gone)).outcome is INCOMPLETE, (index, measure, reason)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_never_a_pass(healthy: Record, odd: float) -> None:
    for index, measure in needed(healthy):

        def spoilt(step: StepRecord, name: str = measure) -> StepRecord:
            one = next(one for one in step.measurements if one.name == name)
            if isinstance(one.value, Absent):
                return without(step, name)
            return structs.replace(
                step, measurements=(*without(step, name).measurements, structs.replace(one, value=odd))
            )

        assert judged(changed(healthy, index, spoilt)).outcome is not CERTIFIED, (index, measure)


def test_another_unit_is_never_a_pass(healthy: Record) -> None:
    for index, measure in needed(healthy):

        def other(step: StepRecord, name: str = measure) -> StepRecord:
            one = next(one for one in step.measurements if one.name == name)
            kept = without(step, name).measurements
            return structs.replace(step, measurements=(*kept, structs.replace(one, unit=Unit.JOULE)))

        assert judged(changed(healthy, index, other)).outcome is INCOMPLETE, (index, measure)


def test_a_measurement_without_uncertainty_decides_nothing(healthy: Record) -> None:
    damaged = with_value(healthy, "memory_bandwidth", "read_per_clock", u=None)
    assert judged(damaged).outcome is INCOMPLETE


def test_a_plan_without_steps_is_incomplete(healthy: Record) -> None:
    verdict = judged(structs.replace(healthy, steps=()))
    assert (verdict.outcome, verdict.exit_code) == (INCOMPLETE, ExitCode.INCOMPLETE)


@pytest.mark.parametrize("status", [one for one in StepStatus if one is not StepStatus.RAN])
def test_a_step_that_did_not_run_is_never_a_pass(healthy: Record, status: StepStatus) -> None:
    for step in healthy.steps:
        damaged = changed(healthy, step.index, lambda one: structs.replace(one, status=status, reason="because"))
        verdict = judged(damaged)
        assert verdict.outcome is INCOMPLETE, step.probe
        assert any(one.reason.startswith("Because") for one in verdict.findings)


def test_every_step_skipped_is_incomplete(healthy: Record) -> None:
    steps = tuple(
        structs.replace(one, status=StepStatus.SKIPPED, measurements=(), declared=()) for one in healthy.steps
    )
    assert judged(structs.replace(healthy, steps=steps)).outcome is INCOMPLETE


def test_a_probe_that_declares_nothing_measured_nothing(healthy: Record) -> None:
    for step in healthy.steps:
        bare = changed(healthy, step.index, lambda one: structs.replace(one, declared=(), measurements=()))
        assert judged(bare).outcome is INCOMPLETE


@pytest.mark.parametrize("probe", policies.shipped().gates.probes)
def test_no_certificate_without_a_probe_that_the_policy_names(healthy: Record, probe: str) -> None:
    left_out = structs.replace(healthy, steps=tuple(step for step in healthy.steps if step.probe != probe))
    verdict = judged(left_out)
    assert (verdict.outcome, verdict.tier) == (REPORTED, None)
    assert any(one.gate == probe and one.tier == "D" for one in verdict.why_not_higher)


def test_a_plan_that_calls_nothing_a_blocker_certifies_nothing_untested(healthy: Record) -> None:
    steps = tuple(structs.replace(step, blocker=False) for step in healthy.steps)
    lax = structs.replace(healthy, steps=steps)
    assert judged(lax).outcome is CERTIFIED
    unset = changed(lax, 4, lambda step: without(step, "wrong_words"))
    assert unset.steps[4].probe == "memory_scan"
    assert judged(unset).outcome is INCOMPLETE


def test_a_measure_that_nobody_limits_keeps_its_step_from_passing(healthy: Record) -> None:
    new = Measurement(name="lost", unit=Unit.COUNT, value=0)

    def more(step: StepRecord) -> StepRecord:
        declared = (*step.declared, Declared("lost", Unit.COUNT))
        return structs.replace(step, declared=declared, measurements=(*step.measurements, new))

    assert judged(changed(healthy, 5, more)).outcome is INCOMPLETE


def test_every_measure_of_every_probe_has_a_rule_or_a_baseline() -> None:
    limited = set(rules.shipped()) | set(defaults.shipped().measures)
    declared = {f"{probe.name}.{measure.name}": measure.unit for probe in probes.every() for measure in probe.measures}
    assert set(declared) <= limited
    for name, rule in rules.shipped().items():
        assert declared[name] == rule.unit, name
    for name, measure in defaults.shipped().measures.items():
        if not name.startswith("thermal."):  # fitted from the telemetry, not measured by a probe
            assert declared[name] == measure.unit, name


def test_coverage_below_its_target_hides_the_answer(healthy: Record) -> None:
    verdict = judged(with_value(healthy, "memory_scan", "coverage", value=96.9))
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"memory.coverage"})


@pytest.mark.parametrize(
    ("memory_mib", "percent", "enough"), [(8192, 93.8, True), (8192, 93.7, False), (81920, 96.9, False)]
)
def test_a_small_card_may_keep_what_its_driver_needs(
    healthy: Record, memory_mib: int, percent: float, enough: bool
) -> None:
    small = structs.replace(healthy, card=structs.replace(healthy.card, memory_mib=memory_mib))
    verdict = judged(with_value(small, "memory_scan", "coverage", value=percent))
    short = [one for one in verdict.findings if one.measure == "coverage" and one.outcome is Outcome.FAIL]
    assert bool(short) is not enough


@pytest.mark.parametrize(("measure", "value"), [("self_test_found", 99), ("self_test_planted", 0)])
def test_a_scan_that_misses_its_own_planted_faults_proves_nothing(healthy: Record, measure: str, value: int) -> None:
    assert judged(with_value(healthy, "memory_scan", measure, value=value)).outcome is INCOMPLETE


def test_compares_that_are_not_proven_are_never_a_pass(healthy: Record) -> None:
    assert judged(with_value(healthy, "memory_scan", "words_compared", value=1)).outcome is INCOMPLETE
    zero = with_value(
        with_value(healthy, "memory_scan", "words_compared", value=0), "memory_scan", "words_expected", value=0
    )
    assert judged(zero).outcome is INCOMPLETE


def test_a_record_of_another_schema_is_refused(healthy: Record) -> None:
    with pytest.raises(UnjudgeableRecordError, match=r"gpucert.record/0"):
        judged(structs.replace(healthy, schema="gpucert.record/0"))


def test_an_interrupted_run_is_incomplete(healthy: Record) -> None:
    assert judged(structs.replace(healthy, interrupted=True)).outcome is INCOMPLETE


def test_a_short_plan_certifies_nothing(healthy: Record) -> None:
    plan = structs.replace(healthy.plan, yields="report", best_tier=None)
    verdict = judged(structs.replace(healthy, plan=plan))
    assert (verdict.outcome, verdict.tier, verdict.exit_code) == (REPORTED, None, ExitCode.RESTRICTED)


def test_an_unknown_model_is_ungraded_in_words(healthy: Record) -> None:
    card = structs.replace(healthy.card, pci_device="2fff", name="NVIDIA Something New")
    verdict = judged(structs.replace(healthy, card=card))
    assert (verdict.outcome, verdict.tier, verdict.exit_code) == (REPORTED, None, ExitCode.RESTRICTED)
    assert "UNGRADED" in verdict.sentence
    assert verdict.baseline.name == "none"


def test_an_unknown_model_is_still_rejected_for_wrong_answers(healthy: Record) -> None:
    card = structs.replace(healthy.card, pci_device="2fff", name="NVIDIA Something New")
    wrong = with_value(structs.replace(healthy, card=card), "gemm_exact", "fp32_wrong", value=1)
    assert judged(wrong).outcome is NOT_CERTIFIED


def test_wrong_words_of_a_step_that_died_are_not_forgotten(faulty: Record) -> None:
    scan = next(step for step in faulty.steps if step.probe == "memory_scan")
    assert scan.mismatches
    death = Death(kind="killed", subject="station", text="killed")
    torn = changed(
        structs.replace(faulty, steps=(*faulty.steps[: scan.index + 1],)),
        scan.index,
        lambda step: structs.replace(step, status=StepStatus.ABORTED, measurements=(), death=death),
    )
    verdict = judged(torn)
    assert verdict.outcome is NOT_CERTIFIED
    assert "memory.hard" in codes(verdict)


def test_wrong_words_of_an_earlier_attempt_are_not_forgotten(healthy: Record) -> None:
    wrong = Mismatch(phase="own", offset=4096, expected="00", actual="08", flips=1, kind="hard")
    for index in (4, 6):
        verdict = judged(changed(healthy, index, lambda step: structs.replace(step, mismatches=(wrong,))))
        assert verdict.outcome is NOT_CERTIFIED
        assert verdict.tier == "G"


# Around the steps


def test_a_counter_that_was_reset_during_the_run_hides_errors(healthy: Record) -> None:
    before = structs.replace(healthy.steps[5].before, ecc_uncorrected_volatile=3)
    damaged = changed(healthy, 5, lambda step: structs.replace(step, before=before))
    assert judged(damaged).outcome is not CERTIFIED


def test_errors_between_two_steps_are_seen(healthy: Record) -> None:
    def later(step: StepRecord, errors: int) -> StepRecord:
        def up(counters: Counters) -> Counters:
            return structs.replace(counters, ecc_uncorrected_volatile=errors)

        return structs.replace(step, before=up(step.before), after=up(step.after))

    steps = tuple(later(step, 1 if step.index > 5 else 0) for step in healthy.steps)
    verdict = judged(structs.replace(healthy, steps=steps))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"memory.ecc_uncorrected"})


def test_xids_that_nobody_could_watch_are_named_as_not_tested(healthy: Record) -> None:
    note = Event(0.0, "note", "xids_not_watched", "Xids cannot be watched: not supported")
    verdict = judged(structs.replace(healthy, events=(note,)))
    assert "run.xids" in {one.what for one in verdict.not_tested}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ecc": False}, "config.ecc"),
        ({"mig": True}, "config.mig"),
        ({"ecc_pending": False}, "config.pending"),
        ({"virtualization": "vgpu"}, "config.vgpu"),
    ],
)
def test_modes_that_hide_the_card_leave_the_run_incomplete(
    healthy: Record, fields: dict[str, object], code: str
) -> None:
    verdict = judged(structs.replace(healthy, settings=structs.replace(healthy.settings, **fields)))
    assert verdict.outcome is INCOMPLETE
    assert code in codes(verdict)


def test_another_process_hides_the_answer(healthy: Record) -> None:
    verdict = judged(structs.replace(healthy, processes=(Process(4711, 512),)))
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"station.contention"})


# Nothing that is taken away makes a verdict better

_RANK = {NOT_CERTIFIED: 0, INCOMPLETE: 1, REPORTED: 2, CERTIFIED: 3}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_evidence_taken_away_never_certifies(healthy: Record, data: st.DataObject) -> None:
    whole = judged(healthy)
    taken = data.draw(st.sets(st.sampled_from(needed(healthy)), min_size=1, max_size=6))
    damaged = healthy
    for index, measure in taken:
        damaged = changed(damaged, index, lambda step, name=measure: without(step, name))
    assert _RANK[judged(damaged).outcome] < _RANK[whole.outcome]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_faulty_card_is_certified_by_no_damage_to_its_record(faulty: Record, data: st.DataObject) -> None:
    damaged = faulty
    for step in faulty.steps:
        fate = data.draw(st.sampled_from(["kept", "skipped", "emptied", "unset"]))
        if fate == "skipped":
            damaged = changed(damaged, step.index, lambda one: structs.replace(one, status=StepStatus.SKIPPED))
        elif fate == "emptied":
            damaged = changed(damaged, step.index, lambda one: structs.replace(one, measurements=(), mismatches=()))
        elif fate == "unset" and step.declared:
            name = data.draw(st.sampled_from([one.name for one in step.declared]))
            damaged = changed(damaged, step.index, lambda one, name=name: without(one, name))
    assert judged(damaged).outcome is not CERTIFIED


def test_a_custom_policy_gives_no_letters(healthy: Record) -> None:
    own = replace_policy(shipped=False)
    verdict = judged(healthy, policy=own)
    assert (verdict.outcome, verdict.tier) == (CERTIFIED, "custom")
    assert verdict.policy.name == "custom standard"
    assert {one.tier for one in verdict.why_not_higher} == {"custom"}
    assert judged(with_value(healthy, "gemm_exact", "fp32_wrong", value=1), policy=own).tier == "custom"


def replace_policy(**fields: object) -> policies.Policy:
    return structs.replace(policies.shipped(), **fields)


def test_no_finding_passes_without_a_value_and_an_authority(healthy: Record) -> None:
    for one in judged(healthy).findings:
        if one.outcome is Outcome.PASS:
            assert one.value is not None
            assert one.authority
            assert one.reason
