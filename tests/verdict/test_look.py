"""A card judged by its captures: what any of them shows counts, and a count of a life that falls is told."""

import msgspec

from gpucert.capture import NOT_STATED, Capture, NvLink
from gpucert.catalogue import shelf
from gpucert.outcome import ExitCode
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, EventReason, Identity, Sample, Settings
from gpucert.verdict.look import Look, judge_look

CARD = Identity(name="NVIDIA A100-SXM4-80GB", uuid="GPU-1", pci_device="20b2", vbios="92.00.36.00.02")


def capture(source: str = "a", **parts: object) -> Capture:
    made = Capture(source=source, identity=CARD, sample=Sample(at_s=0.0))
    return msgspec.structs.replace(made, **parts)


def look(*captures: Capture, in_order: bool = True) -> Look:
    match = shelf.match(
        name=str(CARD.name), device="20b2", subvendor=None, subdevice=None, memory_mib=None, cuda_cores=None
    )
    return judge_look(CARD, captures, match, (), in_order=in_order)


def codes(card: Look) -> list[str]:
    return [one.code for one in card.diagnoses]


def test_nothing_found_is_a_report_and_no_certificate() -> None:
    card = look(capture())
    assert (codes(card), card.exit_code, card.outcome) == ([], ExitCode.RESTRICTED, "reported")


def test_a_fault_in_one_of_two_captures_names_its_file() -> None:
    card = look(capture("before.txt", counters=Counters(remap_pending=True)), capture("after.txt"))
    (found,) = card.diagnoses
    assert (found.code, card.exit_code) == ("memory.row_remap", ExitCode.NOT_CERTIFIED)
    assert found.evidence.endswith("(in before.txt).")


def test_a_fault_in_every_capture_is_told_once() -> None:
    brake = Sample(at_s=0.0, event_reasons=int(EventReason.HW_POWER_BRAKE))
    card = look(capture("a", sample=brake), capture("b", sample=brake))
    assert codes(card) == ["station.power"]
    assert "(in" not in card.diagnoses[0].evidence


def test_a_count_of_a_life_that_falls_was_cleared() -> None:
    before = capture("may.txt", counters=Counters(ecc_uncorrected_aggregate=7627))
    after = capture("june.txt", counters=Counters(ecc_uncorrected_aggregate=0))
    assert "identity.history" in codes(look(before, after))
    assert "identity.history" not in codes(look(after, before)), "counters may rise"
    assert "identity.history" not in codes(look(before, after, in_order=False)), "nobody knows which came first"


def test_two_captures_of_one_second_cannot_count_differently() -> None:
    one = capture("a.txt", taken_at="Mon Mar  3 09:30:00 2025", counters=Counters(retired_dbe=0))
    other = capture("b.txt", taken_at="Mon Mar  3 09:30:00 2025", counters=Counters(retired_dbe=4))
    (found,) = look(one, other).diagnoses
    assert (found.code, found.evidence) == ("identity.history", "retired dbe: 0 in a.txt and 4 in b.txt, of one second")


def test_a_correctable_remap_that_gave_way_is_no_cleared_counter() -> None:
    before = capture(counters=Counters(remapped_correctable=1, remapped_uncorrectable=0))
    after = capture(counters=Counters(remapped_correctable=0, remapped_uncorrectable=1))
    assert "identity.history" not in codes(look(before, after))


def test_links_that_are_down_while_others_run_are_named() -> None:
    links = tuple(NvLink(link=number, up=number not in {3, 5}) for number in range(12))
    (found,) = look(capture(nvlinks=links)).diagnoses
    assert (found.code, found.where) == ("link.nvlink_down", "link 3, link 5")


def test_a_baseboard_card_without_any_link_up_is_asked_about() -> None:
    assert codes(look(capture(counters=Counters(nvlinks_up=0)))) == ["link.nvlink_down"]
    assert codes(look(capture(counters=Counters(nvlinks_up=12)))) == []


def test_errors_since_the_driver_was_loaded_are_found() -> None:
    assert codes(look(capture(counters=Counters(ecc_uncorrected_volatile=1)))) == ["memory.ecc_uncorrected"]


def test_a_query_that_leaves_lines_out_is_no_clean_card() -> None:
    card = look(capture(left_out=("remapping pending",)))
    (found,) = card.diagnoses
    assert (found.code, card.exit_code) == ("identity.capture", ExitCode.NOT_CERTIFIED)
    assert found.evidence.endswith("of every card: remapping pending.")


NOT_SUPPORTED = Absent(Absence.NOT_SUPPORTED)
DENIED = Counters(remap_pending=NOT_SUPPORTED)


def test_a_card_that_denies_a_part_of_its_model_is_asked_about() -> None:
    (found,) = look(capture(counters=DENIED)).diagnoses
    assert found.evidence == "It does not answer for parts that every NVIDIA A100-SXM4-80GB has: row remapper."
    (silent,) = look(capture(counters=Counters(remap_pending=NOT_STATED))).diagnoses
    assert silent.evidence == found.evidence, "no driver of this model leaves it out"
    told = capture(counters=Counters(remap_pending=NOT_STATED), left_out=("remapping pending",))
    assert [one.where for one in look(told).diagnoses] == ["left out"]
    assert codes(look(capture(settings=Settings(ecc=NOT_SUPPORTED)))) == ["identity.capture"]
    assert codes(look(capture(counters=Counters(remap_failure=Absent(Absence.NO_PERMISSION))))) == ["identity.capture"]
    errors = Counters(ecc_uncorrected_aggregate=NOT_SUPPORTED)
    assert codes(look(capture(settings=Settings(ecc=True), counters=errors))) == ["identity.capture"]


def test_mig_a_virtual_gpu_and_a_log_do_not_deny() -> None:
    assert codes(look(capture(settings=Settings(mig=True), counters=DENIED))) == ["config.mig"]
    assert codes(look(capture(settings=Settings(virtualization="vgpu"), counters=DENIED))) == ["config.vgpu"]
    mention = msgspec.structs.replace(CARD, vbios=NOT_STATED)
    assert codes(look(capture(identity=mention, counters=Counters(remap_pending=NOT_STATED)))) == []


def test_an_error_in_place_of_a_counter_is_found_and_of_a_sensor_is_not() -> None:
    error = Absent(Absence.UNKNOWN, "[Unknown Error]")
    (found,) = look(capture(counters=Counters(remap_pending=error))).diagnoses
    assert (found.code, found.where) == ("sensor.absurd", "remap pending")
    assert codes(look(capture(sample=Sample(at_s=0.0, power_w=error)))) == [], "laptops answer so"


def test_captures_that_cannot_all_be_true_speak_against_the_card() -> None:
    match = shelf.match(
        name=str(CARD.name), device="20b2", subvendor=None, subdevice=None, memory_mib=None, cuda_cores=None
    )
    words = "The captures contradict each other: serial 1 in a, 2 in b."
    card = judge_look(CARD, (capture(),), match, (), in_order=True, contradictions=(words,))
    assert [(one.code, one.evidence) for one in card.diagnoses] == [("identity.mismatch", words)]
    assert card.exit_code is ExitCode.NOT_CERTIFIED


def test_a_note_of_one_file_names_it_and_one_of_all_stands_once() -> None:
    card = look(capture("a.txt", notes=("Of a log.", "Of both.")), capture("b.txt", notes=("Of both.",)))
    assert card.notes == ("a.txt: Of a log.", "Of both.")


def test_two_reasons_for_one_diagnosis_are_both_told() -> None:
    worn = Counters(retired_pending=True, retired_sbe=0, retired_dbe=63)
    for captures in ((capture(counters=worn),), (capture("a", counters=worn), capture("b", counters=worn))):
        told = look(*captures).diagnoses
        assert [one.code for one in told] == ["memory.retired_pages"] * 2
        assert not any("(in " in one.evidence for one in told)
