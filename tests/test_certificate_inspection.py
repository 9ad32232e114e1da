"""The inspection report: what was read, what speaks against the card, and what none of it proves."""

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.capture import LoggedBusErrors
from gpucert.certificate import proofs, readings
from gpucert.record import Counters, EventReason, Identity, Sample
from tests import inspections

CAPTURES = Path(__file__).parent / "captures"


def text_of(page: str) -> str:
    body = page.partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_one_card_of_two_captures() -> None:
    told = text_of(inspections.one())
    for words in (
        "NVIDIA A100-SXM4-80GB: something found",
        "3 diagnoses speak against the card",
        "A row remap is pending: after the next reset other rows are in use (in card.txt).",
        "1 of 12 NVLinks are inactive",
        "7 uncorrectable errors in the card's life: disclosed",
        "Zero proves no clean past: one public command clears these counts.",
        "Only a run loads the card: gpucert certify",
        "card.txt Mon Mar 3 09:30:00 2025 later.txt Mon Mar 10 09:30:00 2025",
        "ab" * 32,
        "Nothing was loaded, nothing is certified",
    ):
        assert words in told, words


def test_what_differs_between_captures_is_in_bold() -> None:
    page = inspections.one()
    assert "<strong>a remap is PENDING</strong>" in page
    assert "<strong>no remap pending</strong>" in page
    assert "<strong>81920" not in page


def test_a_rack_lists_every_card_first() -> None:
    told = text_of(inspections.rack())
    assert "8 cards" in told
    assert told.count("Nothing that was read speaks against this card. What could not be read may.") == 7
    assert len(re.findall(r'href="#card-\d"', inspections.rack())) == 8


def test_a_page_is_a_function_of_what_it_is_given() -> None:
    assert inspections.one() == inspections.one()


def test_what_was_not_read_proves_nothing() -> None:
    bare = inspections.a100(
        identity=Identity(), settings=inspections.Settings(), counters=Counters(), sample=Sample(at_s=0.0), log=()
    )
    for one in proofs.shown([bare]):
        assert one.proves == proofs.NOTHING
    full = proofs.shown([inspections.a100()])
    assert any("one public command" in one.leaves_open for one in full)
    assert all(one.proves == proofs.NOTHING for one in full if not one.read)


def test_a_count_of_sram_errors_is_no_answer_to_nvidia_s_criterion() -> None:
    counted = inspections.a100(counters=Counters(sram_uncorrected_aggregate=0), log=())
    told = {one.topic: one.proves for one in proofs.shown([counted])}
    assert told["Uncorrectable errors of its life"] == "At least so many happened."
    assert any("criterion" in topic and proves == proofs.NOTHING for topic, proves in told.items())


def test_a_bus_error_in_a_log_is_an_error_that_the_driver_logged() -> None:
    error = LoggedBusErrors(severity="fatal", times=1, first="PCIe Bus Error")
    (logged,) = [one for one in proofs.shown([inspections.a100(log=(), bus_errors=(error,))]) if "logged" in one.topic]
    assert logged.proves != proofs.NOTHING


def test_a_card_whose_station_alone_is_spoken_against_is_told_so() -> None:
    brake = Sample(at_s=0.0, event_reasons=int(EventReason.HW_POWER_BRAKE))
    card = inspections.looked(inspections.a100(counters=Counters(), nvlinks=(), log=(), sample=brake))
    assert "1 diagnosis is about the station that held it." in text_of(inspections.page(card))


def test_every_name_that_a_proof_rests_on_is_a_reading() -> None:
    names = {item.name for item in readings.items(inspections.a100())}
    for proof in proofs._PROOFS:
        assert set(proof.names) <= names, proof.topic


TAGS = set(re.findall(r"<(\w+)", inspections.one() + inspections.rack())) | {"code"}


@given(st.text(max_size=200))
def test_no_text_from_outside_becomes_markup(text: str) -> None:
    page = inspections.hostile(text)
    assert set(re.findall(r"<(\w+)", page)) <= TAGS
    assert "\u202e" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_long_texts_are_cut(size: int) -> None:
    assert len(inspections.hostile("x" * size)) < 100_000
