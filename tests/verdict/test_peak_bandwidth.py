"""What the memory of a card could do at its highest clock: computed on the card, and held against its model."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import structs

from gpucert.capture import Capture
from gpucert.catalogue import shelf
from gpucert.catalogue.model import Model
from gpucert.cli.matching import match
from gpucert.device import smi
from gpucert.outcome import Outcome
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Identity, Record, Settings
from gpucert.verdict.facts import judge_facts
from gpucert.verdict.verdict import Finding
from tests.verdict.judging import codes, judged

CAPTURES = (Path(__file__).parents[1] / "captures", Path(__file__).parents[3] / "shared" / "captures")
A100 = shelf.get("NVIDIA A100-SXM4-80GB")


def told(card: Identity) -> list[Finding]:
    found, diagnoses = judge_facts(card, Settings(), Counters(), match(card))
    assert not diagnoses
    return [one for one in found if one.measure == "peak_bandwidth"]


def a_card(model: Model, clock_mhz: Reading[int], bits: Reading[int]) -> Identity:
    pci = model.pci[0]
    return Identity(
        name=model.names[0], memory_mib=model.memory.driver_mib or model.memory.size_gib * 1024,
        pci_device=pci.device, pci_subvendor=pci.subvendor or "10de", pci_subdevice=pci.subdevice or "ffff",
        max_memory_clock_mhz=clock_mhz, bus_bits=bits,
    )  # fmt: skip


@pytest.mark.parametrize("model", shelf.every(), ids=lambda model: model.key)
def test_a_card_as_its_model_passes_whatever_its_memory(model: Model) -> None:
    """Drivers state a clock as a whole number, often one above the data rate's: 6251 for 12.5 Gbit/s."""
    for clock in (round(model.memory.clock_mhz), round(model.memory.clock_mhz) + 1):
        (found,) = told(a_card(model, clock, model.memory.bus_bits))
        assert (found.outcome, found.advisory, found.unit) == (Outcome.PASS, True, "GB/s")
        assert found.value == pytest.approx(model.memory.peak_gb_s, rel=0.02)


def test_no_real_card_of_the_captures_is_held_below_its_model() -> None:
    """GDDR6, GDDR6X, HBM2, HBM2e and HBM3, as their drivers stated them."""
    compared = set()
    for capture in captures():
        model = match(capture.identity).model
        for found in judge_facts(capture.identity, capture.settings, capture.counters, match(capture.identity))[0]:
            if found.measure == "peak_bandwidth" and model is not None:
                assert found.outcome is Outcome.PASS, (capture.source, found.reason)
                compared.add(model.memory.type)
    assert compared >= {"GDDR6", "GDDR6X", "HBM2", "HBM2e", "HBM3"}


def captures() -> Iterator[Capture]:
    for file in (one for folder in CAPTURES if folder.is_dir() for one in sorted(folder.iterdir())):
        with file.open("rb") as stream, suppress(smi.UnreadableCaptureError):
            yield from smi.read_stream(stream, file.name)


@pytest.mark.parametrize(("clock_mhz", "bits", "says"), [
    (1512, 5120, "1512 MHz and 5120 bits"),
    (1593, 4096, "1593 MHz and 4096 bits"),
    (1512, Absent(Absence.NOT_SUPPORTED), "1512 MHz and the model's 5120 bits"),
])  # fmt: skip
def test_less_than_the_model_has_is_told_and_only_advises(clock_mhz: int, bits: Reading[int], says: str) -> None:
    (found,) = told(a_card(A100, clock_mhz, bits))
    assert (found.outcome, found.advisory, found.limit) == (Outcome.FAIL, True, "≥ 1\u202f998\u202fGB/s")
    assert says in found.reason
    assert found.reason.endswith("the model has 2\u202f039\u202fGB/s.")


def test_a_faster_memory_than_the_models_is_no_fault() -> None:
    (found,) = told(a_card(A100, 1700, 5120))
    assert (found.outcome, found.value) == (Outcome.PASS, 2176.0)


@pytest.mark.parametrize("card", [
    a_card(A100, Absent(Absence.NOT_SUPPORTED), 5120),
    structs.replace(a_card(A100, 1593, 5120), pci_device="ffff", name="NVIDIA Unheard Of"),
])  # fmt: skip
def test_a_clock_or_a_model_that_is_not_known_passes_nothing(card: Identity) -> None:
    assert told(card) == []


def test_it_costs_a_run_neither_tier_nor_diagnosis(healthy: Record) -> None:
    slowed = structs.replace(healthy, card=structs.replace(healthy.card, max_memory_clock_mhz=1215))
    before, after = judged(healthy), judged(slowed)
    assert (after.outcome, after.tier, codes(after)) == (before.outcome, before.tier, codes(before))
    (found,) = (one for one in after.findings if one.measure == "peak_bandwidth" and one.probe == "card")
    assert found.outcome is Outcome.FAIL
