"""A memory channel that is missing and an error that was contained, told apart from what looks like them."""

import pytest
from msgspec import structs

from gpucert.catalogue import shelf
from gpucert.outcome import StepStatus, VerdictOutcome
from gpucert.record import Death, Event, Record
from tests.verdict.judging import changed, codes, judged, with_value
from tests.verdict.test_run_level import counting

NOT_CERTIFIED = VerdictOutcome.NOT_CERTIFIED


def narrower(record: Record, channels: int, share: float | None = None) -> Record:
    """The record of the same card with fewer channels, as NVML and the compute driver would tell it."""
    assert isinstance(record.card.memory_mib, int)
    memory = shelf.get("NVIDIA A100-SXM4-80GB").memory
    bits = memory.bus_bits - channels * memory.channel_bits
    left = bits / memory.bus_bits if share is None else share
    card = structs.replace(record.card, bus_bits=bits, memory_mib=int(record.card.memory_mib * left))
    return with_value(structs.replace(record, card=card), "identity", "bus_width", value=bits)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_a_bus_that_lacks_whole_channels_lacks_channels(healthy: Record, channels: int) -> None:
    verdict = judged(narrower(healthy, channels))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"memory.channel"})
    (found,) = [one for one in verdict.findings if one.measure == "bus_bits"]
    assert f"{channels} of its channels" in found.reason


def test_a_bus_that_lacks_a_quarter_is_another_model(healthy: Record) -> None:
    assert codes(judged(narrower(healthy, 20))) >= {"identity.mismatch", "identity.memory"}


def test_a_narrow_bus_with_all_the_memory_is_no_missing_channel(healthy: Record) -> None:
    assert codes(judged(narrower(healthy, 2, share=1.0))) == {"identity.mismatch"}


def test_a_missing_channel_hides_no_foreign_chip(healthy: Record) -> None:
    fewer = with_value(narrower(healthy, 1), "identity", "sm_count", value=100)
    assert codes(judged(fewer)) == {"memory.channel", "identity.mismatch"}
    other = narrower(healthy, 1)
    other = structs.replace(other, card=structs.replace(other.card, cuda_cores=6400))
    assert "memory.channel" not in codes(judged(other))
    assert "identity.mismatch" in codes(judged(other))


def logged(record: Record, *xids: int) -> Record:
    return structs.replace(record, events=tuple(Event(3.0, "xid", str(one), f"NVRM: Xid: {one}") for one in xids))


def test_a_contained_error_is_told_as_one_also_by_its_counter(healthy: Record) -> None:
    verdict = judged(logged(counting(healthy, ecc_uncorrected_volatile=1), 94))
    assert (verdict.outcome, codes(verdict)) == (NOT_CERTIFIED, {"memory.contained"})


@pytest.mark.parametrize("other", [48, 95, 140, 171, 172])
def test_a_contained_error_hides_none_that_was_not(healthy: Record, other: int) -> None:
    verdict = judged(logged(counting(healthy, ecc_uncorrected_volatile=2), 94, other))
    assert codes(verdict) == {"memory.contained", "memory.ecc_uncorrected"}


@pytest.mark.parametrize(("xids", "code"), [((94,), "memory.contained"), ((94, 48), "memory.ecc_uncorrected")])
def test_the_death_of_a_step_is_told_as_the_worst_that_was_logged(
    healthy: Record, xids: tuple[int, ...], code: str
) -> None:
    death = Death(kind="ecc_uncorrected", subject="card", text="it died")
    died = changed(healthy, 4, lambda step: structs.replace(step, death=death, status=StepStatus.CRASHED))
    told = [one.code for one in judged(logged(died, *xids)).diagnoses if "it died" in one.evidence]
    assert told == [code]


def test_a_counter_alone_says_nothing_of_containment(healthy: Record) -> None:
    assert codes(judged(counting(healthy, ecc_uncorrected_volatile=1))) == {"memory.ecc_uncorrected"}
