"""Everything around the measures: deaths, Xids, ECC, links, the power brake, the air, the card's own history."""

import pytest
from msgspec import structs

from gpucert.catalogue import shelf, xid
from gpucert.cli import jobs
from gpucert.diagnosis import TABLE, kind_of
from gpucert.outcome import Outcome, StepStatus, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Death, Event, Record, StepRecord
from gpucert.run import deaths
from gpucert.verdict.during import DIAGNOSIS_OF_DEATH
from gpucert.verdict.judge import EXPLAINED_BY
from tests.verdict.judging import changed, codes, judged, with_value

CERTIFIED, INCOMPLETE = VerdictOutcome.CERTIFIED, VerdictOutcome.INCOMPLETE
NOT_CERTIFIED = VerdictOutcome.NOT_CERTIFIED


def counting(record: Record, **after: object) -> Record:
    """The record with counters changed from the sixth step on."""

    def later(step: StepRecord) -> StepRecord:
        before = structs.replace(step.before, **after) if step.index > 5 else step.before
        return structs.replace(step, before=before, after=structs.replace(step.after, **after))

    return structs.replace(record, steps=tuple(later(step) if step.index >= 5 else step for step in record.steps))


# How steps end


def test_every_death_of_the_table_has_its_diagnosis() -> None:
    assert set(DIAGNOSIS_OF_DEATH) == {rule.kind for rule in deaths.table()}
    assert all(kind_of(code) for code in DIAGNOSIS_OF_DEATH.values())


def test_what_explains_and_what_is_explained_are_diagnoses() -> None:
    assert {*EXPLAINED_BY, *(code for other in EXPLAINED_BY.values() for code in other)} <= set(TABLE)


@pytest.mark.parametrize("rule", deaths.table(), ids=lambda rule: rule.kind)
def test_a_death_tells_of_card_or_station(healthy: Record, rule: deaths.Rule) -> None:
    def died(step: StepRecord) -> StepRecord:
        return structs.replace(step, status=rule.status, reason=rule.text, death=rule.death(), measurements=())

    verdict = judged(changed(healthy, 4, died))
    assert verdict.outcome is (NOT_CERTIFIED if rule.subject == "card" else INCOMPLETE)
    assert codes(verdict) == {DIAGNOSIS_OF_DEATH[rule.kind]}


# Xids

_OUTCOME = {"FAIL": NOT_CERTIFIED, "HOLD": INCOMPLETE, "DECODE": INCOMPLETE}


@pytest.mark.parametrize("code", [*xid.codes()[::7], 31, 43, 45, 48, 62, 63, 79, 94, 119, 999])
def test_an_xid_weighs_what_the_catalogue_says(healthy: Record, code: int) -> None:
    verdict = judged(structs.replace(healthy, events=(Event(3.0, "xid", str(code), f"NVRM: Xid: {code}"),)))
    assert verdict.outcome is _OUTCOME.get(xid.describe(code).in_run, CERTIFIED)
    told = {one.partition(".")[0] for one in codes(verdict)}
    assert bool(told) is (xid.describe(code).in_run in ("FAIL", "HOLD", "DECODE", "WARN"))


# ECC


def test_one_corrected_error_is_chance_and_disclosed(healthy: Record) -> None:
    verdict = judged(counting(healthy, ecc_corrected_volatile=1))
    assert (verdict.outcome, codes(verdict)) == (CERTIFIED, set())
    assert [one.outcome for one in verdict.findings if one.measure == "ecc_corrected"] == [Outcome.PASS]


def test_corrected_errors_in_two_steps_are_a_defect(healthy: Record) -> None:
    twice = counting(healthy, ecc_corrected_volatile=1)
    last = twice.steps[-1]
    risen = structs.replace(last, after=structs.replace(last.after, ecc_corrected_volatile=2))
    verdict = judged(structs.replace(twice, steps=(*twice.steps[:-1], risen)))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"memory.ecc_corrected"})


def test_corrected_errors_in_two_phases_of_one_scan_are_a_defect(healthy: Record) -> None:
    def risen(step: StepRecord) -> StepRecord:
        return structs.replace(step, after=structs.replace(step.after, ecc_corrected_volatile=2))

    scan = next(step.index for step in healthy.steps if step.probe == "memory_scan")
    phased = with_value(changed(healthy, scan, risen), "memory_scan", "ecc_phases", value=2)
    steps = tuple(
        structs.replace(step, before=two(step.before), after=two(step.after)) if step.index > scan else step
        for step in phased.steps
    )
    assert codes(judged(structs.replace(phased, steps=steps))) == {"memory.ecc_corrected"}


def two(counters: Counters) -> Counters:
    return structs.replace(counters, ecc_corrected_volatile=2)


# Links


@pytest.mark.parametrize(("measure", "value", "code"), [
    ("width", 8, "link.pcie_width"), ("generation", 3, "link.pcie_gen"),
    ("to_card", 6.0, "link.pcie_bandwidth"), ("to_host", 6.0, "link.pcie_bandwidth"),
])  # fmt: skip
def test_a_bad_slot_costs_the_card_no_tier(healthy: Record, measure: str, value: float, code: str) -> None:
    verdict = judged(with_value(healthy, "pcie_link", measure, value=value))
    assert (verdict.outcome, verdict.tier, codes(verdict)) == (CERTIFIED, "D", {code})
    assert {one.subject for one in verdict.diagnoses} == {"station"}


@pytest.mark.parametrize(("more", "found"), [(1, set()), (4000, {"link.pcie_errors"})])
def test_replays_are_judged_over_the_whole_run(healthy: Record, more: int, found: set[str]) -> None:
    before = healthy.steps[0].before.pcie_replays
    assert isinstance(before, int)
    verdict = judged(counting(healthy, pcie_replays=before + more))
    assert (verdict.outcome, codes(verdict)) == (CERTIFIED, found)


def test_data_that_arrives_damaged_is_against_the_card(healthy: Record) -> None:
    verdict = judged(with_value(healthy, "pcie_link", "wrong_words", value=3))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"link.pcie_data"})
    assert verdict.diagnoses[0].subject == "card"


# Power and air


def test_the_hosts_power_brake_hides_the_answer(healthy: Record) -> None:
    verdict = judged(counting(healthy, throttle_power_brake_ns=50_000_000))
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"station.power"})


@pytest.mark.parametrize("counter", ["throttle_power_brake_ns", "throttle_thermal_ns"])
def test_a_nanosecond_is_no_event(healthy: Record, counter: str) -> None:
    verdict = judged(counting(healthy, **{counter: 1}))
    assert (verdict.outcome, codes(verdict)) == (judged(healthy).outcome, codes(judged(healthy)))


@pytest.mark.parametrize(("inlet_c", "hot"), [(24.0, False), (30.0, False), (30.5, True), (45.0, True)])
def test_a_warm_inlet_is_the_rooms_fault(healthy: Record, inlet_c: float, hot: bool) -> None:
    verdict = judged(structs.replace(healthy, inlet_c=inlet_c))
    assert verdict.outcome is CERTIFIED
    assert codes(verdict) == ({"station.inlet"} if hot else set())


@pytest.fixture
def with_a_fan(healthy: Record, monkeypatch: pytest.MonkeyPatch) -> Record:
    """The same card, as if its model had a fan of its own."""
    model = shelf.get("NVIDIA A100-SXM4-80GB")
    fanned = structs.replace(model, thermal=structs.replace(model.thermal, cooling="own_fan"))
    match = jobs.match(healthy.card)
    monkeypatch.setattr(jobs, "match", lambda _card: structs.replace(match, model=fanned))
    return structs.replace(healthy, inlet_c=24.0)


def slowed(record: Record, percent: float) -> Record:
    return with_value(record, "thermal_soak", "thermal_throttle", value=percent)


def test_a_card_that_heat_holds_back_fails_by_that_fact(with_a_fan: Record) -> None:
    verdict = judged(slowed(with_a_fan, 60.0))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"thermal.throttle"})
    assert judged(slowed(with_a_fan, 9.0)).outcome is CERTIFIED


def test_where_nobody_knows_the_air_the_card_is_not_blamed(with_a_fan: Record) -> None:
    verdict = judged(slowed(structs.replace(with_a_fan, inlet_c=None), 60.0))
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"station.inlet"})
    assert "--inlet-c" in verdict.diagnoses[0].evidence


def test_a_lowered_power_limit_hides_how_the_card_does_at_full_power(with_a_fan: Record) -> None:
    capped = structs.replace(with_a_fan, settings=structs.replace(with_a_fan.settings, power_limit_w=200.0))
    verdict = judged(capped)
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"power.limit"})


def test_in_warm_air_nobody_knows_what_the_card_would_do(with_a_fan: Record) -> None:
    warm = judged(structs.replace(slowed(with_a_fan, 60.0), inlet_c=40.0))
    assert (warm.outcome, codes(warm)) == (INCOMPLETE, {"station.inlet"})


def test_a_passive_card_that_heat_holds_back_lacks_air_or_is_not_told(healthy: Record) -> None:
    verdict = judged(slowed(healthy, 60.0))
    assert (verdict.outcome, codes(verdict)) == (INCOMPLETE, {"station.airflow"})


@pytest.mark.parametrize(("seconds", "outcome"), [(1.0, CERTIFIED), (100.0, NOT_CERTIFIED)])
def test_the_cards_own_count_of_slowdown_is_judged_over_the_whole_run(
    with_a_fan: Record, seconds: float, outcome: VerdictOutcome
) -> None:
    assert judged(counting(with_a_fan, throttle_thermal_ns=round(seconds * 1e9))).outcome is outcome


def test_a_load_that_ended_at_the_cards_limit_is_against_it_and_a_blind_one_is_not(with_a_fan: Record) -> None:
    def ended(step: StepRecord) -> StepRecord:
        return structs.replace(step, status=StepStatus.ABORTED, reason="ended", measurements=())

    torn = changed(with_a_fan, 7, ended)
    hot = judged(structs.replace(torn, events=(Event(9.0, "abort", "limit", "95 °C has reached 93 °C"),)))
    assert (hot.outcome, codes(hot)) == (NOT_CERTIFIED, {"thermal.throttle"})
    blind = judged(structs.replace(torn, events=(Event(9.0, "abort", "blind", "no temperature for two seconds"),)))
    assert (blind.outcome, codes(blind)) == (INCOMPLETE, set())


def test_the_inlet_of_a_passive_card_is_worked_out_from_its_rest(soaked: Record) -> None:
    assert codes(judged(soaked)) == set()
    soak = next(step for step in soaked.steps if step.probe == "thermal_soak")

    def warmer(step: StepRecord) -> StepRecord:
        trace = step.traces["telemetry"]
        raised = tuple(value + 15 for value in trace.column("temperature_c") if isinstance(value, float))
        channels = dict(trace.channels) | {"temperature_c": raised}
        return structs.replace(step, traces={"telemetry": structs.replace(trace, channels=channels)})

    assert codes(judged(changed(soaked, soak.index, warmer))) == {"station.inlet"}


# The card's own history


@pytest.mark.parametrize(("fields", "outcome", "code"), [
    ({"remapped_uncorrectable": 511}, CERTIFIED, None),
    ({"remapped_uncorrectable": 512}, NOT_CERTIFIED, "memory.row_remap"),
    ({"remap_failure": True}, NOT_CERTIFIED, "memory.row_remap"),
    ({"remap_pending": True}, INCOMPLETE, "memory.row_remap"),
    ({"sram_threshold_exceeded": True}, NOT_CERTIFIED, "memory.sram"),
    ({"memory_unrepairable": True}, NOT_CERTIFIED, "memory.row_remap"),
    ({"repair_pending": True}, INCOMPLETE, "device.reset_required"),
    ({"recovery_action": 1}, INCOMPLETE, "device.reset_required"),
    ({"inforom_valid": False}, NOT_CERTIFIED, "identity.inforom"),
    ({"retired_sbe": 30, "retired_dbe": 29}, CERTIFIED, None),
    ({"retired_sbe": 30, "retired_dbe": 30}, NOT_CERTIFIED, "memory.retired_pages"),
    ({"retired_pending": True}, INCOMPLETE, "memory.retired_pages"),
    ({"remap_banks": (600, 0, 0, 0, 0)}, NOT_CERTIFIED, "identity.mismatch"),
    ({"ecc_uncorrected_aggregate": 7}, CERTIFIED, None),
])  # fmt: skip
def test_what_the_card_counted_in_its_life(
    healthy: Record, fields: dict[str, object], outcome: VerdictOutcome, code: str | None
) -> None:
    steps = tuple(
        structs.replace(
            step, before=structs.replace(step.before, **fields), after=structs.replace(step.after, **fields)
        )
        for step in healthy.steps
    )
    verdict = judged(structs.replace(healthy, steps=steps))
    assert verdict.outcome is outcome
    assert codes(verdict) == ({code} if code else set())


def test_a_card_that_was_lost_is_judged_by_its_last_answers(healthy: Record) -> None:
    gone = Counters(**{name: Absent(Absence.LOST) for name in Counters.__struct_fields__})
    death = Death(kind="lost", subject="card", text="the card fell off the bus")
    lost = structs.replace(healthy.steps[-1], after=gone, death=death, status=StepStatus.CRASHED)
    verdict = judged(structs.replace(healthy, steps=(*healthy.steps[:-1], lost)))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"device.lost"})
