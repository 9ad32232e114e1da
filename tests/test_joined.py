"""Which captures are of one card: an id joins, a place joins only what contradicts nothing, and says so."""

from gpucert.capture import Capture
from gpucert.device import smi
from gpucert.device.joined import join
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Identity, Sample

ONE, TWO = "GPU-11111111-aaaa-4bbb-8ccc-000000000001", "GPU-22222222-aaaa-4bbb-8ccc-000000000002"
MASKED = "GPU-00000000-0000-0000-0000-000000000000"
SLOT = "00000000:65:00.0"
NONE = Absent(Absence.UNKNOWN, "not in this capture")


def query(source: str, uuid: str = ONE, at: str = "", **identity: Reading[str] | int) -> Capture:
    known: dict[str, Reading[str] | int] = {"vbios": "92.00.36.00.02", "bus_id": SLOT, **identity}
    return Capture(
        source=source, taken_at=at or NONE, identity=Identity(uuid=uuid, **known), sample=Sample(at_s=0.0)
    )  # fmt: skip


def mention(source: str, bus_id: str = SLOT, uuid: Reading[str] = NONE) -> Capture:
    return Capture(source=source, identity=Identity(uuid=uuid, bus_id=bus_id), sample=Sample(at_s=0.0))


def sources(*captures: Capture) -> list[list[str]]:
    return [[one.source for one in card.captures] for card in join(captures)]


def test_a_uuid_joins_across_files_and_places() -> None:
    assert sources(query("a"), query("b", bus_id="00000000:17:00.0")) == [["a", "b"]]


def test_two_uuids_in_one_slot_are_two_cards() -> None:
    assert sources(query("a"), query("b", TWO)) == [["a"], ["b"]]


def test_a_log_is_of_the_card_in_its_slot_and_the_join_is_told() -> None:
    (card,) = join((query("card.txt"), mention("dmesg.txt")))
    assert [one.source for one in card.captures] == ["card.txt", "dmesg.txt"]
    assert "Only its bus id ties dmesg.txt" in card.notes[0]


def test_a_log_that_names_the_card_needs_no_place() -> None:
    (card,) = join((mention("dmesg.txt", "00000000:01:00.0", ONE), query("card.txt")))
    assert card.notes == ()
    assert card.identity.vbios == "92.00.36.00.02"


def test_a_log_of_a_slot_in_which_two_cards_were_is_of_neither() -> None:
    assert sources(query("a"), query("b", TWO), mention("dmesg.txt")) == [["a"], ["b"], ["dmesg.txt"]]


def test_a_log_in_the_same_file_is_of_that_file_s_card() -> None:
    assert sources(query("a"), query("b", TWO), mention("b")) == [["a"], ["b", "b"]]


def test_masked_cards_of_two_files_are_not_taken_for_one() -> None:
    assert sources(query("a", MASKED), query("b", MASKED)) == [["a"], ["b"]]


def test_masked_documents_of_one_file_are_one_card_and_say_that_nothing_ties_them() -> None:
    (card,) = join((query("a", MASKED), query("a", MASKED)))
    assert any("masked" in note for note in card.notes)


def test_a_per_device_identifier_joins_where_the_uuid_is_masked() -> None:
    pdi = "0x7f8d3a5e11223344"
    (card,) = join((query("a", MASKED, pdi=pdi), query("b", MASKED, pdi=pdi)))
    assert card.notes == ()


def test_a_contradiction_is_told_and_a_masked_serial_is_none() -> None:
    (card,) = join((query("a", serial="1320000000001"), query("b", serial="1320000000002")))
    assert card.contradictions == (
        "The captures contradict each other: serial 1320000000001 in a, 1320000000002 in b.",
    )
    (card,) = join((query("a", serial="1320000000001"), query("b", serial="0000000000000")))
    assert card.contradictions == ()


def test_captures_are_sorted_by_time_only_where_all_of_them_tell_it() -> None:
    march, june = "Mon Mar  3 09:30:00 2025", "Wed Jun 24 10:26:34 2026"
    (card,) = join((query("late", at=june), query("early", at=march)))
    assert ([one.source for one in card.captures], card.in_order) == (["early", "late"], True)
    (card,) = join((query("late", at=june), query("unknown")))
    assert ([one.source for one in card.captures], card.in_order) == (["late", "unknown"], False)
    (card,) = join((query("late", at=june), query("live", at="2026-06-24T10:26:34+00:00")))
    assert not card.in_order, "one time has a zone and the other has none"


def test_memory_that_ecc_or_an_older_driver_takes_is_no_contradiction() -> None:
    (card,) = join((query("a", memory_mib=24564), query("b", memory_mib=23028), query("c", memory_mib=81920)))
    assert card.contradictions == ("The captures contradict each other: memory mib 24564 in a, 81920 in c.",)


def test_a_listing_beside_a_full_query_asks_for_none() -> None:
    uuids = f"GPU 0: NVIDIA A100-SXM4-80GB (UUID: {ONE})\n\t Link 0: 25 GB/s\n"
    (alone,) = smi.read(uuids, "nvlink.txt")
    assert alone.notes[0].endswith("`nvidia-smi -q` gives them.")
    (card,) = join((query("card.txt"), alone))
    assert [one.notes for one in card.captures] == [(), ()]
