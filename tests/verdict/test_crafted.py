"""Records as a dishonest seller, a broken probe or an odd station would leave them: none of them is certified."""

import pytest
from msgspec import structs

from gpucert import record as records
from gpucert.outcome import Outcome, StepStatus, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Death, Declared, Event, Inspection, Measurement, Mismatch, Process, Record, StepRecord
from gpucert.units import Unit
from tests.verdict.judging import changed, codes, judged, with_value, without

CERTIFIED, INCOMPLETE = VerdictOutcome.CERTIFIED, VerdictOutcome.INCOMPLETE
NOT_CERTIFIED = VerdictOutcome.NOT_CERTIFIED
SCAN = 4


def with_steps(record: Record, *steps: StepRecord) -> Record:
    return structs.replace(record, steps=(*record.steps, *steps))


# Steps that do not fit together


@pytest.mark.parametrize("probe", ["memory_scan", "sm_answers", "gemm_exact"])
def test_a_probe_that_is_only_there_as_a_repeat_was_not_run(healthy: Record, probe: str) -> None:
    def only_repeated(step: StepRecord) -> StepRecord:
        if step.probe != probe:
            return step
        return structs.replace(step, repeat_of=0, status=StepStatus.SKIPPED, declared=(), measurements=())

    assert judged(structs.replace(healthy, steps=tuple(map(only_repeated, healthy.steps)))).outcome is INCOMPLETE


@pytest.mark.parametrize("repeat_of", [0, 99, 11])
def test_a_repeat_of_nothing_is_an_error(healthy: Record, repeat_of: int) -> None:
    stray = structs.replace(healthy.steps[SCAN], index=11, repeat_of=repeat_of)
    assert judged(with_steps(healthy, stray)).outcome is INCOMPLETE


def test_two_steps_of_one_index_are_an_error(healthy: Record) -> None:
    assert judged(with_steps(healthy, healthy.steps[SCAN])).outcome is INCOMPLETE


def test_a_repeat_of_another_probe_or_unit_is_not_pooled(healthy: Record) -> None:
    slow = with_value(healthy, "memory_bandwidth", "read_per_clock", value=900.0)
    first = next(step for step in slow.steps if step.probe == "memory_bandwidth")
    fast = Measurement(name="read_per_clock", unit=Unit.GBYTE_PER_SECOND, value=2000.0, u=0.1)
    again = structs.replace(first, index=11, repeat_of=first.index, measurements=(fast,))
    assert judged(with_steps(slow, again)).outcome is NOT_CERTIFIED


def test_repeats_that_disagree_decide_nothing(healthy: Record) -> None:
    first = next(step for step in healthy.steps if step.probe == "memory_bandwidth")
    low = with_value(healthy, "memory_bandwidth", "read_per_clock", value=1000.0, u=0.01)
    high = next(m for m in first.measurements if m.name == "read_per_clock")
    others = without(first, "read_per_clock").measurements
    again = structs.replace(
        first, index=11, repeat_of=first.index, measurements=(*others, structs.replace(high, value=1120.0, u=0.01))
    )
    outcomes = [one.outcome for one in judged(with_steps(low, again)).findings if one.measure == "read_per_clock"]
    assert outcomes == [Outcome.MARGINAL]


# Measures that are not what they must be


@pytest.mark.parametrize("kept", ["rounds", "coverage"])
def test_a_probe_that_promises_less_than_it_must_proves_nothing(healthy: Record, kept: str) -> None:
    def less(step: StepRecord) -> StepRecord:
        return structs.replace(
            step,
            declared=tuple(one for one in step.declared if one.name == kept),
            measurements=tuple(one for one in step.measurements if one.name == kept),
        )

    assert judged(changed(healthy, SCAN, less)).outcome is INCOMPLETE


def test_a_measure_without_a_promise_or_given_twice_proves_nothing(healthy: Record) -> None:
    wrong = Measurement(name="wrong_words", unit=Unit.COUNT, value=7)
    twice = changed(healthy, SCAN, lambda step: structs.replace(step, measurements=(*step.measurements, wrong)))
    assert judged(twice).outcome is not CERTIFIED
    odd = structs.replace(wrong, name="bad_words")
    assert (
        judged(
            changed(healthy, SCAN, lambda step: structs.replace(step, measurements=(*step.measurements, odd)))
        ).outcome
        is INCOMPLETE
    )


@pytest.mark.parametrize(("probe", "measure", "value"), [
    ("memory_scan", "wrong_words", -1), ("memory_scan", "coverage", 5000.0), ("sm_answers", "sms_wrong", -3),
    ("memory_bandwidth", "read_per_clock", 9999.0), ("gemm_sustained", "fp64_per_clock", 1200.0),
    ("gemm_sustained", "fp32_per_clock", 1e300), ("identity", "memory_total", 1000),
])  # fmt: skip
def test_what_cannot_be_is_not_believed(healthy: Record, probe: str, measure: str, value: float) -> None:
    window = structs.replace(healthy, card=structs.replace(healthy.card, window_mib=None))
    record = window if measure == "memory_total" else healthy
    assert judged(with_value(record, probe, measure, value=value, u=0.1)).outcome is not CERTIFIED


def test_a_death_of_the_card_counts_whatever_the_step_says(healthy: Record) -> None:
    death = Death(kind="lost", subject="card", text="the card fell off the bus")
    verdict = judged(changed(healthy, 6, lambda step: structs.replace(step, death=death)))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"device.lost"})


# What people, drivers and counters say


def test_what_the_technician_found_bad_counts(healthy: Record) -> None:
    verdict = judged(structs.replace(healthy, inspection=(Inspection("connector", "bad", "melted"),)))
    assert verdict.outcome is NOT_CERTIFIED
    assert "melted" in verdict.sentence


def test_a_checklist_that_nobody_touched_is_not_inspected(healthy: Record) -> None:
    untouched = (Inspection("connector"), Inspection("pins"))
    verdict = judged(structs.replace(healthy, inspection=untouched))
    assert "the card by eye" in {one.what for one in verdict.not_tested}
    looked = judged(structs.replace(healthy, inspection=(Inspection("connector", "good"),)))
    assert "the card by eye" not in {one.what for one in looked.not_tested}


@pytest.mark.parametrize("code", ["79 ", "²", "x", "", "9" * 5000])
def test_an_xid_that_cannot_be_read_is_no_clean_log(healthy: Record, code: str) -> None:
    assert judged(structs.replace(healthy, events=(Event(1.0, "xid", code, "NVRM: Xid"),))).outcome is INCOMPLETE


@pytest.mark.parametrize(("flag", "raised"), [("remap_failure", True), ("inforom_valid", False)])
def test_a_flag_that_was_raised_once_stays_raised(healthy: Record, flag: str, raised: bool) -> None:
    def once(step: StepRecord) -> StepRecord:
        return structs.replace(step, after=structs.replace(step.after, **{flag: raised}))

    assert judged(changed(healthy, 3, once)).outcome is NOT_CERTIFIED


def test_corrected_errors_between_two_steps_are_disclosed(healthy: Record) -> None:
    def later(step: StepRecord) -> StepRecord:
        if step.index < 6:
            return step
        counted = {"ecc_corrected_volatile": 10_000}
        return structs.replace(
            step, before=structs.replace(step.before, **counted), after=structs.replace(step.after, **counted)
        )

    verdict = judged(structs.replace(healthy, steps=tuple(map(later, healthy.steps))))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"memory.ecc_corrected"})


# Stations that disturb, and healthy cards in them


@pytest.mark.parametrize("share", [{"mig": True}, {"virtualization": "vgpu"}])
def test_a_share_of_a_card_is_not_called_counterfeit(healthy: Record, share: dict[str, object]) -> None:
    split = structs.replace(healthy, settings=structs.replace(healthy.settings, **share))
    for probe, measure, value in (("identity", "sm_count", 14), ("sm_answers", "sms_present", 14)):
        split = with_value(split, probe, measure, value=value)
    split = with_value(split, "sm_answers", "sms_reached", value=14)
    split = with_value(split, "gemm_sustained", "fp32_per_clock", value=60.0)
    card = structs.replace(split.card, memory_mib=10240, cuda_cores=896)
    verdict = judged(structs.replace(split, card=card))
    assert (verdict.outcome, verdict.tier) == (INCOMPLETE, None)
    assert codes(verdict) <= {"config.mig", "config.pending", "config.vgpu"}


def test_a_card_that_somebody_else_used_is_not_called_slow(healthy: Record) -> None:
    shared = structs.replace(healthy, processes=(Process(4711, 4096),))
    verdict = judged(with_value(shared, "gemm_sustained", "fp32_per_clock", value=60.0))
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"station.contention"})
    wrong = judged(with_value(shared, "gemm_exact", "fp32_wrong", value=1))
    assert wrong.outcome is NOT_CERTIFIED, "wrong is wrong, whoever else was there"


@pytest.mark.parametrize(("mib", "outcome"), [(4, CERTIFIED), (64, CERTIFIED), (65, INCOMPLETE)])
def test_a_display_server_is_no_contention(healthy: Record, mib: int, outcome: VerdictOutcome) -> None:
    assert judged(structs.replace(healthy, processes=(Process(1, mib),))).outcome is outcome


def test_links_that_nobody_wired_are_no_fault(healthy: Record) -> None:
    steps = tuple(
        structs.replace(
            step, before=structs.replace(step.before, nvlinks_up=0), after=structs.replace(step.after, nvlinks_up=0)
        )
        for step in healthy.steps
    )
    assert codes(judged(structs.replace(healthy, steps=steps))) == set()


# The sentence names the cause


def test_a_narrow_slot_is_not_named_for_what_the_card_did(healthy: Record) -> None:
    narrow = with_value(healthy, "pcie_link", "width", value=8)
    last = narrow.steps[-1]
    banks = structs.replace(last, after=structs.replace(last.after, remap_banks=(639, 0, 0, 0, 1)))
    verdict = judged(structs.replace(narrow, steps=(*narrow.steps[:-1], banks)))
    assert verdict.outcome is NOT_CERTIFIED
    assert "PCIe" not in verdict.sentence
    reached = judged(with_value(narrow, "sm_answers", "sms_reached", value=100))
    assert reached.outcome is INCOMPLETE
    assert "PCIe" not in reached.sentence


def test_every_wrong_sm_is_named(healthy: Record) -> None:
    def wrong(sm: int, part: str, *partitions: int, again: int = 3) -> Mismatch:
        return Mismatch(
            phase=f"{part}, round 1", offset=40, expected="00", actual="01", flips=1, kind="compute", reader_sm=sm,
            partitions=partitions, again=again, tries=13,
        )  # fmt: skip

    step = next(step for step in healthy.steps if step.probe == "sm_answers")
    tensor = ("tensor", "tensor_bf16", "tensor_tf32", "tensor_int8", "tensor_fp64")
    first = structs.replace(step, mismatches=(wrong(3, "fp32", 1), wrong(3, "sfu", 1, 2)))
    again = structs.replace(step, index=11, mismatches=tuple(wrong(77, part, 0, 1, 2, 3) for part in tensor))
    one_type = structs.replace(step, index=12, mismatches=(wrong(5, "tensor_bf16", again=1),))
    told = [
        [
            (one.where, one.confidence)
            for one in judged(with_steps(healthy, *steps)).diagnoses
            if one.code == "compute.sm"
        ]
        for steps in ((first,), (again,), (one_type,), (first, again))
    ]
    assert told == [
        [("SM 3 partition 1 and 2 (fp32, sfu)", "certain")],
        [("SM 77 (tensor)", "certain")],
        [("SM 5 (tensor_bf16)", "likely")],
        [("SM 3 partition 1 and 2 (fp32, sfu), SM 77 (tensor)", "certain")],
    ]


def test_a_unit_that_is_wrong_everywhere_hides_no_other(healthy: Record) -> None:
    answers = with_value(healthy, "sm_answers", "int32_wrong", value=108)
    answers = with_value(answers, "sm_answers", "fp32_wrong", value=1)
    answers = with_value(answers, "sm_answers", "sms_wrong", value=108, where="SM 0 (int32), SM 1 (int32)")
    told = {one.code: one.where for one in judged(answers).diagnoses}
    assert told == {"compute.repeatable": "int32", "compute.sm": "fp32"}, "also from counts alone"


def test_wrong_products_of_inputs_that_changed_are_the_memory_s_fault(healthy: Record) -> None:
    wrong = with_value(healthy, "gemm_exact", "fp32_wrong", value=8192)
    assert codes(judged(wrong)) == {"compute.wrong"}
    assert codes(judged(with_value(wrong, "gemm_exact", "inputs_wrong", value=1))) == {"memory.hard"}


def test_a_load_that_hardly_swung_proves_nothing(healthy: Record) -> None:
    assert judged(with_value(healthy, "load_swings", "fastest", value=5.0)).outcome is INCOMPLETE


def test_words_that_were_wrong_beside_products_are_diagnosed_where_no_scan_met_them(healthy: Record) -> None:
    beside = with_value(healthy, "memory_under_load", "wrong_words", value=2)
    assert codes(judged(beside)) == {"memory.path"}
    off = structs.replace(beside, settings=structs.replace(healthy.settings, ecc=Absent(Absence.NOT_SUPPORTED)))
    assert codes(judged(off)) == {"memory.hard"}
    data_line = Mismatch(phase="own", offset=8, expected="00", actual="01", flips=1, kind="data_line")
    scanned = changed(off, SCAN, lambda step: structs.replace(step, mismatches=(data_line,)))
    assert codes(judged(scanned)) == {"memory.data_line"}, "the scan looked into it best"


def test_an_alias_hides_no_bad_cell(healthy: Record) -> None:
    off = structs.replace(healthy, settings=structs.replace(healthy.settings, ecc=Absent(Absence.NOT_SUPPORTED)))
    wrong = with_value(off, "memory_scan", "wrong_words", value=9)
    alias = Mismatch(phase="own", offset=8, expected="00", actual="01", flips=1, kind="alias", owner=800)
    cell = Mismatch(phase="random", offset=9000, expected="00", actual="08", flips=1, kind="hard")
    both = changed(wrong, SCAN, lambda step: structs.replace(step, mismatches=(alias, cell)))
    assert {"memory.alias", "memory.hard"} <= codes(judged(both))


def test_counters_that_were_not_read_did_not_stand_still(healthy: Record) -> None:
    wrong = with_value(healthy, "memory_scan", "wrong_words", value=2)
    assert codes(judged(wrong)) == {"memory.path"}
    absent = Absent(Absence.NO_PERMISSION)
    steps = tuple(
        structs.replace(
            step,
            before=structs.replace(step.before, ecc_corrected_volatile=absent),
            after=structs.replace(step.after, ecc_corrected_volatile=absent),
        )
        for step in wrong.steps
    )
    assert "memory.path" not in codes(judged(structs.replace(wrong, steps=steps)))


# Files that are no records


@pytest.mark.parametrize(("old", "new", "told"), [
    (b'"best_tier": "D"', b'"best_tier": "E"', "best_tier"),
    (b'"n": 1,', b'"n": 1' + b"0" * 400 + b",", "`int` <= 9223372036854775807"),
])  # fmt: skip
def test_values_that_no_version_writes_are_refused(healthy: Record, old: bytes, new: bytes, told: str) -> None:
    data = records.encode(healthy)
    assert old in data
    with pytest.raises(records.UnreadableRecordError, match=told):
        records.decode(data.replace(old, new, 1), "test")


def test_a_declared_measure_of_nobody_is_not_told(healthy: Record) -> None:
    extra = Declared("mood", Unit.COUNT)
    happy = Measurement(name="mood", unit=Unit.COUNT, value=1)
    odd = changed(
        healthy,
        SCAN,
        lambda step: structs.replace(step, declared=(*step.declared, extra), measurements=(*step.measurements, happy)),
    )
    assert judged(odd).outcome is INCOMPLETE
