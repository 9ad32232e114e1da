"""Multiprocessors that are missing, told apart from another chip and from a slice of one."""

import pytest
from msgspec import structs

from gpucert.catalogue import shelf
from gpucert.outcome import VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Record
from gpucert.verdict.parts import missing_tpcs
from tests.verdict.judging import codes, judged, with_value
from tests.verdict.test_memory_parts import narrower

NOT_CERTIFIED = VerdictOutcome.NOT_CERTIFIED
CORES_PER_SM = 64


def fewer(record: Record, sms: int, cores: int | Absent | None = None) -> Record:
    """The record of the same A100 with so many of its 108 SMs; NVML tells their cores unless told otherwise."""
    record = with_value(record, "identity", "sm_count", value=sms)
    record = with_value(record, "sm_answers", "sms_present", value=sms)
    record = with_value(record, "sm_answers", "sms_reached", value=sms)
    told = sms * CORES_PER_SM if cores is None else cores
    return structs.replace(record, card=structs.replace(record.card, cuda_cores=told))


@pytest.mark.parametrize("sms", [106, 104, 102])
@pytest.mark.parametrize("cores", [None, 6912, Absent(Absence.NOT_SUPPORTED)])
def test_whole_tpcs_that_lack_are_missing_whoever_counts_them(
    healthy: Record, sms: int, cores: int | Absent | None
) -> None:
    verdict = judged(fewer(healthy, sms, cores))
    assert (verdict.outcome, verdict.tier, codes(verdict)) == (NOT_CERTIFIED, "G", {"compute.units_missing"})
    (told,) = verdict.diagnoses
    assert str(sms) in told.evidence or f"{108 - sms} of its SMs" in told.evidence


@pytest.mark.parametrize("sms", [107, 105, 100, 70, 110])
@pytest.mark.parametrize("cores", [None, 6912])
def test_half_a_tpc_too_many_or_more_than_the_model_has_is_another_chip(
    healthy: Record, sms: int, cores: int | None
) -> None:
    assert codes(judged(fewer(healthy, sms, cores))) == {"identity.mismatch"}


def test_another_name_or_bus_is_another_card(healthy: Record) -> None:
    short = fewer(healthy, 106)
    renamed = structs.replace(short, card=structs.replace(short.card, name="NVIDIA H100 PCIe"))
    assert "identity.mismatch" in codes(judged(renamed))
    assert "compute.units_missing" not in codes(judged(renamed))
    assert codes(judged(with_value(short, "identity", "bus_width", value=4096))) == {"identity.mismatch"}
    assert codes(judged(with_value(fewer(healthy, 106, 6912), "identity", "bus_width", value=4096))) == {
        "identity.mismatch"
    }


def test_counts_that_contradict_each_other_are_no_missing_part(healthy: Record) -> None:
    odd = with_value(fewer(healthy, 106, 6912), "sm_answers", "sms_present", value=104)
    assert "identity.mismatch" in codes(judged(odd))


def test_less_memory_beside_it_is_a_missing_channel_or_another_card(healthy: Record) -> None:
    both = narrower(fewer(healthy, 106), 1)
    assert codes(judged(both)) == {"compute.units_missing", "memory.channel"}
    short = fewer(healthy, 106)
    half = structs.replace(short, card=structs.replace(short.card, memory_mib=40960))
    assert codes(judged(half)) == {"identity.mismatch"}


def test_a_slice_has_fewer_and_none_is_missing(healthy: Record) -> None:
    sliced = fewer(healthy, 104, Absent(Absence.NOT_SUPPORTED))
    sliced = structs.replace(sliced, settings=structs.replace(sliced.settings, mig=True, mig_pending=True))
    assert codes(judged(sliced)) == {"config.mig"}


def test_a_tpc_is_two_sms_and_one_on_the_smaller_chips_of_pascal() -> None:
    a100, p40, a2000 = (shelf.get(key) for key in ("NVIDIA A100-SXM4-80GB", "Tesla P40", "NVIDIA RTX A2000"))
    assert [missing_tpcs(a100, count) for count in (108, 107, 106, 102, 100)] == [0, 0, 1, 3, 0]
    assert [missing_tpcs(p40, count) for count in (31, 30, 29, 28)] == [0, 0, 1, 0]
    assert missing_tpcs(a2000, a2000.sm_count - 2) == 1, "one TPC, though it is more than a sixteenth"
    assert [missing_tpcs(a100, odd) for odd in (106.5, 0, -2)] == [0, 0, 0]
