"""Two runs of one card: what changed is told, what did not is not, and nothing is claimed of what was not alike."""

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gpucert import record as records
from gpucert.certificate.comparison import view
from gpucert.device.simulated.scenario import ScenarioError, parse
from gpucert.outcome import ExitCode
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Event, Inspection, Process, Record, StepRecord, Trace
from gpucert.verdict.circumstances import Run
from gpucert.verdict.compare import NotComparableError, compare
from gpucert.verdict.comparison import LOOKS, Change, Comparison, Standing
from gpucert.verdict.facts import diagnosed as diagnose
from gpucert.verdict.pairs import guard_of
from tests.comparisons import BAD_CELL, CARD, DUST, NARROW, PASTE, changes, measure, of, record, run
from tests.verdict.judging import with_value

TELLING = {Change.WORSE, Change.BETTER, Change.CHANGED}
RATE, PER_CLOCK = "gemm_sustained.fp16_rate", "gemm_sustained.fp16_per_clock"


def with_card(told: Record, **fields: object) -> Record:
    return structs.replace(told, card=structs.replace(told.card, **fields))


def with_settings(told: Record, **fields: object) -> Record:
    return structs.replace(told, settings=structs.replace(told.settings, **fields))


def with_counters(told: Record, **fields: object) -> Record:
    """The same answers of the card throughout the run."""
    return with_steps(told, before=structs.replace(Counters(), **fields), after=structs.replace(Counters(), **fields))


def with_steps(told: Record, **fields: object) -> Record:
    return structs.replace(told, steps=tuple(structs.replace(step, **fields) for step in told.steps))


def with_fan(told: Record, percent: float) -> Record:
    """As if the fan had turned at one speed all the time."""

    def one(step: StepRecord) -> StepRecord:
        if step.probe != "thermal_soak":
            return step
        trace = step.traces["telemetry"]
        return structs.replace(
            step, traces={"telemetry": Trace(trace.at_s, {**trace.channels, "fan_percent": percent})}
        )

    return structs.replace(told, steps=tuple(map(one, told.steps)))


def told(comparison: Comparison) -> dict[str, Standing]:
    return {f"{one.probe}.{one.measure}": one.standing for one in comparison.findings}


def diagnosed(comparison: Comparison) -> dict[str, Standing]:
    return {one.code: one.standing for one in comparison.diagnoses}


# The same card again


def test_another_run_of_a_virtual_card_is_the_same_silicon_with_other_noise() -> None:
    one, other = record(), record(number=1)
    assert one.card == other.card
    rates = [step.number("read") for told in (one, other) for step in told.steps if step.probe == "memory_bandwidth"]
    assert rates[0] != rates[1]
    with pytest.raises(ScenarioError, match="run"):
        parse(CARD + "run = -1\n", "test")


@pytest.mark.parametrize("number", [1, 2])
def test_of_an_unchanged_card_no_change_is_told(number: int) -> None:
    found = compare(run(), run(number=number))
    assert not TELLING & set(changes(found).values())
    assert (found.findings, found.diagnoses, found.exit_code) == ((), (), ExitCode.CERTIFIED)
    assert found.judged > 20
    for name in ("thermal.fast", "thermal.slow", PER_CLOCK, "memory_bandwidth.read"):
        one = measure(found, name)
        assert one.difference
        assert abs(one.difference) < float(one.least or 0) < 0.25 * float(one.before or 0)


def test_the_budget_is_shared_by_all_measures() -> None:
    """Šidák: with every measure at its uncertainty, two of a hundred comparisons tell anything at all."""
    source = random.Random(4)
    guard = guard_of(20)
    wrong = sum(any(abs(source.gauss(0, 1)) > guard for _ in range(20)) for _ in range(5000))
    assert 0.014 < wrong / 5000 < 0.026
    assert guard_of(1) == pytest.approx(NormalDist().inv_cdf(0.99))
    assert guard_of(40) > guard_of(20)


# What a repair does


def test_new_paste_is_better_in_the_first_second_and_nowhere_in_the_cooler() -> None:
    found = compare(run(PASTE), run(number=1))
    became = changes(found)
    assert became["thermal.fast"] is became["thermal.total"] is Change.BETTER
    assert became["thermal.slow"] is Change.SAME
    assert became[PER_CLOCK] is Change.SAME
    assert diagnosed(found)["thermal.interface"] is Standing.WENT
    assert found.exit_code is ExitCode.CERTIFIED
    assert "better" in found.sentence


def test_a_small_change_of_the_paste_is_seen_within_one_card() -> None:
    """The gain of the card's own power sensor is the same in both runs, so that it is no part of the uncertainty."""
    found = compare(run('[[fault]]\nkind = "interface"\nscale = 1.1'), run(number=1))
    fast = measure(found, "thermal.fast")
    assert fast.change is Change.BETTER
    assert abs(float(fast.difference or 0)) < 0.1 * float(fast.before or 0)


def test_what_got_worse_is_told_by_the_other_order() -> None:
    found = compare(run(number=1), run(PASTE))
    assert changes(found)["thermal.fast"] is Change.WORSE
    assert diagnosed(found)["thermal.interface"] is Standing.CAME
    assert found.exit_code is ExitCode.NOT_CERTIFIED


def test_a_narrow_slot_is_told_and_costs_the_card_nothing() -> None:
    found = compare(run(), run(NARROW, number=1))
    width = measure(found, "pcie_link.width")
    assert (width.change, width.subject) == (Change.WORSE, "station")
    assert diagnosed(found)["link.pcie_width"] is Standing.CAME
    assert found.exit_code is ExitCode.CERTIFIED


def test_a_cell_that_broke_since_is_worse_and_one_that_was_repaired_is_gone() -> None:
    broke, mended = compare(run(), run(BAD_CELL, number=1)), compare(run(BAD_CELL, number=1), run())
    assert changes(broke)["memory_scan.wrong_words"] is Change.WORSE
    assert diagnosed(broke)["memory.hard"] is Standing.CAME
    assert broke.exit_code is ExitCode.NOT_CERTIFIED
    assert changes(mended)["memory_scan.wrong_words"] is Change.BETTER
    assert (diagnosed(mended)["memory.hard"], mended.exit_code) == (Standing.WENT, ExitCode.CERTIFIED)


def test_what_is_broken_in_both_runs_stays_and_its_count_tells_nothing() -> None:
    found = compare(run(BAD_CELL), of(with_value(record(BAD_CELL, number=1), "memory_scan", "wrong_words", value=7)))
    assert changes(found)["memory_scan.wrong_words"] is Change.NOT_JUDGED
    assert (told(found)["memory_scan.wrong_words"], diagnosed(found)["memory.hard"]) == (Standing.STAYED,) * 2
    assert "NOT CERTIFIED, tier G, as before" in found.sentence
    assert view(found).answer.colour != "green"


# What was not tested again


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_fault_is_not_gone_because_the_test_that_found_it_was_left_out_or_shorter(seconds: float) -> None:
    found = compare(run(BAD_CELL), run(number=1, memory_scan=seconds))
    assert told(found)["memory_scan.wrong_words"] is Standing.NOT_AGAIN
    assert diagnosed(found)["memory.hard"] is Standing.NOT_AGAIN
    expected = Change.NOT_JUDGED if seconds else Change.NOT_AGAIN
    assert changes(found)["memory_scan.wrong_words"] is expected
    assert found.exit_code is ExitCode.RESTRICTED


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_fault_is_not_new_where_it_was_not_looked_for(seconds: float) -> None:
    found = compare(run(memory_scan=seconds), run(BAD_CELL, number=1))
    assert told(found)["memory_scan.wrong_words"] is Standing.FIRST_SEEN
    assert diagnosed(found)["memory.hard"] is Standing.FIRST_SEEN
    assert found.exit_code is ExitCode.RESTRICTED


def test_a_soak_that_was_left_out_leaves_the_cooler_open() -> None:
    found = compare(run(PASTE), run(number=1, thermal_soak=0.0))
    fast = measure(found, "thermal.fast")
    assert (fast.change, fast.after, fast.difference) == (Change.NOT_AGAIN, None, None)
    assert "no step of thermal_soak" in fast.why
    assert diagnosed(found)["thermal.interface"] is Standing.NOT_AGAIN


def test_what_a_person_saw_is_gone_when_a_person_looked_again() -> None:
    bad = of(structs.replace(record(), inspection=(Inspection("connector", "bad", "burnt"),)))
    again = of(structs.replace(record(number=1), inspection=(Inspection("connector", "good"),)))
    assert told(compare(bad, again)) == {"inspection.connector": Standing.WENT}
    assert told(compare(bad, run(number=1))) == {"inspection.connector": Standing.NOT_AGAIN}


def test_an_interrupted_run_answers_nothing_of_what_it_left_out() -> None:
    found = compare(run(), of(structs.replace(record(number=1), interrupted=True)))
    assert found.exit_code is ExitCode.RESTRICTED
    assert any("interrupted" in note for note in found.notes)


def test_a_setting_that_was_wrong_and_cannot_be_read_any_more_is_not_mended() -> None:
    low = of(with_settings(record(), power_limit_w=200.0))
    blind = of(with_settings(record(number=1), power_limit_w=Absent(Absence.NO_PERMISSION)))
    assert told(compare(low, run(number=1)))["card.power_limit"] is Standing.WENT
    assert told(compare(low, blind))["card.power_limit"] is Standing.NOT_AGAIN


def test_a_value_at_its_limit_that_did_not_change_is_judged_otherwise_and_no_worse() -> None:
    name = "memory_bandwidth.read_per_clock"
    limit = next(float(one.limit.split()[1].split("\u202f")[0]) for one in run().findings[name])
    inside, outside = (
        of(with_value(record(number=number), "memory_bandwidth", "read_per_clock", value=limit * by, u=0.01))
        for number, by in ((0, 1.004), (1, 0.996))
    )
    for pair in ((inside, outside), (outside, inside)):
        found = compare(*pair)
        assert changes(found)[name] is Change.SAME
        assert told(found)[name] is Standing.OTHERWISE
        assert diagnosed(found)["performance.memory"] is Standing.OTHERWISE
        assert found.exit_code is ExitCode.RESTRICTED


def test_a_measurement_that_went_wrong_is_no_word_about_the_card() -> None:
    broken = of(with_value(record(number=1), "memory_bandwidth", "read_per_clock", value=-1.0))
    found = compare(run(), broken)
    assert told(found)["memory_bandwidth.read_per_clock"] is Standing.CAME
    assert changes(found)["memory_bandwidth.read_per_clock"] is Change.NOT_AGAIN
    assert found.exit_code is ExitCode.RESTRICTED


def test_an_xid_is_gone_only_where_the_log_was_watched_again_to_the_end() -> None:
    logged = of(structs.replace(record(), events=(Event(1.0, "xid", "79", "GPU has fallen off the bus"),)))
    note = Event(0.0, "note", "xids_not_watched", "The log cannot be read.")
    blind = of(structs.replace(record(number=1), events=(note,)))
    ended = of(structs.replace(record(number=1), interrupted=True))
    standing = [told(compare(logged, after))["run.xid_79"] for after in (run(number=1), blind, ended)]
    assert standing == [Standing.WENT, Standing.NOT_AGAIN, Standing.NOT_AGAIN]


def test_a_diagnosis_without_a_finding_is_gone_only_after_a_whole_run() -> None:
    low = of(with_counters(record(), remap_banks=(5, 0, 0, 1, 0)))
    full = with_counters(record(number=1), remap_banks=(6, 0, 0, 0, 0))
    assert diagnosed(compare(low, of(full)))["memory.remap_reserve"] is Standing.WENT
    part = structs.replace(full, interrupted=True)
    assert diagnosed(compare(low, of(part)))["memory.remap_reserve"] is Standing.NOT_AGAIN


# What was not alike


def circumstances(found: Comparison) -> set[str]:
    return {one.name for one in found.circumstances}


def test_rates_of_other_kernels_are_not_compared_and_resistances_are() -> None:
    found = compare(run(), of(structs.replace(record(number=1), versions={**record().versions, "kernels": "2"})))
    became = changes(found)
    assert became[PER_CLOCK] is became["memory_bandwidth.read_per_clock"] is Change.NOT_COMPARABLE
    assert became["thermal.fast"] is Change.SAME
    assert "Kernels" in circumstances(found)
    assert found.exit_code is ExitCode.RESTRICTED


def test_another_power_limit_moves_rates_a_second_and_not_those_a_clock() -> None:
    found = compare(run(), of(with_settings(record(number=1), power_limit_w=300.0)))
    became = changes(found)
    assert (became[RATE], became[PER_CLOCK]) == (Change.NOT_COMPARABLE, Change.SAME)
    assert became["memory_bandwidth.read"] is Change.SAME
    assert "300 W after" in measure(found, RATE).why


def test_rates_beside_another_process_are_nobody_s_and_heat_is_the_card_s() -> None:
    busy = structs.replace(record(number=1), processes=(Process(4242, 3000),))
    for pair in ((run(), of(busy)), (of(busy), run())):
        became = changes(compare(*pair))
        assert became[PER_CLOCK] is became["memory_bandwidth.read"] is Change.NOT_COMPARABLE
        assert became["thermal.fast"] is Change.SAME


def test_a_chassis_that_starved_the_card_in_one_run_moved_its_clocks() -> None:
    starved = run(number=1)
    starved = Run(starved.record, structs.replace(starved.verdict, diagnoses=(diagnose("station.airflow", "hot"),)))
    for one, other in ((run(), starved), (starved, run())):
        became = changes(compare(one, other))
        assert (became[RATE], became[PER_CLOCK]) == (Change.NOT_COMPARABLE, Change.SAME)
    assert changes(compare(starved, starved))[RATE] is Change.SAME


def test_ecc_takes_its_share_of_bandwidth() -> None:
    found = compare(of(with_settings(record(), ecc=True)), of(with_settings(record(number=1), ecc=False)))
    assert changes(found)["memory_bandwidth.read_per_clock"] is Change.NOT_COMPARABLE
    assert "ECC" in circumstances(found)


def test_loads_of_other_lengths_leave_other_clocks_and_no_other_arithmetic() -> None:
    found = compare(run(), run(number=1, gemm_sustained=12.0))
    assert (changes(found)[RATE], changes(found)[PER_CLOCK]) == (Change.NOT_COMPARABLE, Change.SAME)
    assert "Plan" in circumstances(found)


def test_another_soak_is_another_way_into_the_air() -> None:
    found = compare(run(), run(number=1, thermal_soak=400.0))
    assert changes(found)["thermal.total"] is changes(found)["thermal.slow"] is Change.NOT_COMPARABLE
    assert changes(found)["thermal.fast"] is Change.SAME
    assert "not the same soak" in measure(found, "thermal.slow").why


@pytest.mark.parametrize(("air", "compared"), [((20.0, 21.0), True), ((18.0, 30.0), False), ((None, 30.0), True)])
def test_clocks_follow_the_air(air: tuple[float | None, float], compared: bool) -> None:
    one, other = (structs.replace(told, inlet_c=c) for told, c in zip((record(), record(number=1)), air, strict=True))
    found = compare(of(one), of(other))
    assert (changes(found)[RATE] is Change.SAME) == compared
    assert "Air at the inlet" in circumstances(found)
    assert changes(found)["thermal.slow"] is Change.SAME


@pytest.mark.parametrize(("percent", "change"), [(30.0, Change.NOT_COMPARABLE), (95.0, Change.WORSE)])
def test_a_slower_fan_explains_a_longer_way_into_the_air_and_a_faster_one_does_not(
    percent: float, change: Change
) -> None:
    found = compare(of(with_fan(record(), 60.0)), of(with_fan(record(DUST, number=1), percent)))
    assert measure(found, "thermal.slow").change is change


def test_everything_that_was_not_alike_is_named() -> None:
    other = with_card(
        record(number=1), vbios="94.02", bus_id="00000000:b3:00.0", driver="610.1", serial="2", memory_mib=1
    )
    other = structs.replace(other, station=structs.replace(other.station, os="Another OS"))
    named = circumstances(compare(run(), of(other)))
    assert {"VBIOS", "Place on the bus", "Driver", "Serial", "Memory", "Host"} <= named
    assert all(one.means.endswith(".") for one in compare(run(), of(other)).circumstances)


# Which card


def test_two_cards_are_refused() -> None:
    with pytest.raises(NotComparableError, match="two cards: UUID"):
        compare(run(), of(with_card(record(number=1), uuid="GPU-2")))


def test_without_a_uuid_the_per_device_identifier_tells_and_a_serial_never_does() -> None:
    gone = Absent(Absence.NOT_SUPPORTED)
    one, other = with_card(record(), uuid=gone), with_card(record(number=1), uuid=gone)
    assert compare(of(one), of(other)).known_by == "PDI"
    assert compare(run(), run(number=1)).known_by == "UUID"
    with pytest.raises(NotComparableError, match="PDI"):
        compare(of(one), of(with_card(other, pdi="0x2")))
    alone = [of(with_card(told, pdi=gone, serial="1")) for told in (one, other)]
    with pytest.raises(NotComparableError, match="a serial is a label"):
        compare(*alone)


def test_a_virtual_card_is_no_real_one() -> None:
    with pytest.raises(NotComparableError, match="virtual"):
        compare(run(), of(structs.replace(record(number=1), simulated=False)))


def test_one_policy_judges_both() -> None:
    after = run(number=1)
    other = structs.replace(after.verdict, policy=structs.replace(after.verdict.policy, sha256="1"))
    with pytest.raises(NotComparableError, match="policies"):
        compare(run(), Run(after.record, other))


# Counters


def counted(one: Record, other: Record, name: str) -> tuple[Change, bool]:
    (found,) = (each for each in compare(of(one), of(other)).counters if each.counter == name)
    return found.change, found.fell


@pytest.mark.parametrize(
    ("name", "before", "after", "change"),
    [
        ("ecc_uncorrected_aggregate", 3, 3, Change.SAME),
        ("ecc_uncorrected_aggregate", 3, 4, Change.WORSE),
        ("ecc_corrected_aggregate", 3, 4, Change.CHANGED),
        ("remapped_uncorrectable", 4, 0, Change.CHANGED),
        ("retired_dbe", 0, Absent(Absence.NO_PERMISSION), Change.NOT_AGAIN),
        ("retired_dbe", Absent(Absence.NO_PERMISSION), 0, Change.NEW),
        ("remap_pending", True, False, Change.BETTER),
        ("remap_failure", False, True, Change.WORSE),
        ("inforom_valid", True, False, Change.WORSE),
    ],
)
def test_counters_of_a_life_may_only_stay(name: str, before: object, after: object, change: Change) -> None:
    one, other = with_counters(record(), **{name: before}), with_counters(record(number=1), **{name: after})
    fell = name == "remapped_uncorrectable"
    assert counted(one, other, name) == (change, fell)


def test_a_count_that_fell_is_told_and_leaves_the_answer_open() -> None:
    one, other = (with_counters(told, retired_dbe=count) for told, count in ((record(), 5), (record(number=1), 2)))
    found = compare(of(one), of(other))
    assert any("fell" in note for note in found.notes)
    assert found.exit_code is ExitCode.RESTRICTED


def counting(told: Record, *counts: int) -> Record:
    """PCIe replays as they were read, one count after another."""
    steps = [structs.replace(step, before=counted_so(counts[0]), after=counted_so(counts[0])) for step in told.steps]
    for place, count in enumerate(counts[1:]):
        steps[place] = structs.replace(steps[place], after=counted_so(count))
        for later in range(place + 1, len(steps)):
            steps[later] = structs.replace(steps[later], before=counted_so(count), after=counted_so(count))
    return structs.replace(told, steps=tuple(steps))


def counted_so(count: int) -> Counters:
    return structs.replace(Counters(), pcie_replays=count)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ((5000, 5000), (10, 10), Change.SAME),
        ((5000, 5000), (10, 19), Change.WORSE),
        ((5000, 5009), (10, 10), Change.BETTER),
        ((5000, 5009), (10, 17), Change.NOT_JUDGED),
        ((5000, 0, 3), (10, 13), Change.SAME),
    ],
    ids=["none", "some after", "some before", "both", "reset in between"],
)
def test_of_counts_since_the_driver_was_loaded_a_run_tells_only_its_own(
    before: tuple[int, ...], after: tuple[int, ...], change: Change
) -> None:
    one, other = counting(record(), *before), counting(record(number=1), *after)
    assert counted(one, other, "pcie_replays") == (change, False)


def test_a_count_of_the_longer_run_alone_tells_nothing() -> None:
    longer = counting(record(number=1), 10, 19)
    last = longer.steps[-1]
    longer = structs.replace(longer, steps=(*longer.steps[:-1], structs.replace(last, ended_s=last.ended_s + 999)))
    quiet = counting(record(), 0, 0)
    assert counted(quiet, longer, "pcie_replays") == counted(longer, quiet, "pcie_replays")
    assert counted(quiet, longer, "pcie_replays") == (Change.NOT_JUDGED, False)


# Any numbers


@pytest.fixture(scope="module")
def cool() -> Record:
    """A record without telemetry, because fitting a soak forty times over shows nothing more."""
    return with_steps(record(), traces={})


numbers = st.one_of(st.floats(), st.integers(min_value=-(2**63), max_value=2**63 - 1))
uncertainties = st.one_of(st.none(), st.floats())


@settings(max_examples=40, deadline=None)
@given(value=numbers, u=uncertainties, other=numbers, other_u=uncertainties)
def test_whatever_was_measured_no_number_is_none_and_equal_records_tell_nothing(
    cool: Record, value: float, u: float | None, other: float, other_u: float | None
) -> None:
    before, after = (
        Run(with_value(cool, "memory_bandwidth", "read", value=v, u=w), run().verdict)
        for v, w in ((value, u), (other, other_u))
    )
    found = compare(before, after)
    assert records.encode(found)
    for one in found.measures:
        told = (one.before, one.after, one.difference, one.difference_u, one.least)
        assert all(number is None or math.isfinite(number) for number in told)
    assert set(changes(compare(before, before)).values()) <= {Change.SAME}
    forth, back = changes(found), changes(compare(after, before))
    mirrored = {Change.BETTER: Change.WORSE, Change.WORSE: Change.BETTER, Change.NEW: Change.NOT_AGAIN}
    mirrored |= {Change.NOT_AGAIN: Change.NEW}
    assert back == {name: mirrored.get(change, change) for name, change in forth.items()}


def test_a_record_and_itself_are_said_to_be_one() -> None:
    found = compare(run(PASTE), run(PASTE))
    assert not TELLING & set(changes(found).values())
    assert set(told(found).values()) == set(diagnosed(found).values()) == {Standing.STAYED}
    assert any("same record" in note for note in found.notes)


def test_every_change_and_standing_has_a_look_of_its_own() -> None:
    assert set(LOOKS) == {*Change, *Standing}
    assert len(LOOKS) == len(Change) + len(Standing)
