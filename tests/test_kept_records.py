"""Old records: each stays readable, is judged as someone accepted it, and can be shown."""

import gzip
from pathlib import Path

import pytest

from gpucert import record
from tests import kept_records

OUTCOMES = {
    "counterfeit-quick": ("not_certified", "H", "identity.mismatch"),
    "healthy-a100-sxm4-80gb-standard": ("certified", "D", None),
    "healthy-rtx-3090-quick": ("reported", None, None),
    "healthy-t4-standard": ("certified", "D", None),
    "hot-inlet-standard": ("certified", "D", "station.inlet"),
    "interface-standard": ("not_certified", "G", "thermal.interface"),
    "lost-quick": ("not_certified", "G", "device.lost"),
    "power-limit-quick": ("incomplete", None, "power.limit"),
    "row-remap-quick": ("not_certified", "G", "memory.row_remap"),
    "slow-memory-standard": ("not_certified", "G", "performance.memory"),
    "sm-arithmetic-quick": ("not_certified", "G", "compute.sm"),
    "stuck-bit-ecc-quick": ("not_certified", "G", "memory.ecc_corrected"),
}
"""How virtual cards with these faults must end, whatever file lies beside their record."""

every_record = pytest.mark.parametrize("folder", kept_records.FOLDERS, ids=lambda folder: folder.name)


@every_record
def test_a_kept_record_is_judged_as_was_accepted(folder: Path) -> None:
    """After a change that is meant: `python -m tests.kept_records`, and look at what changed."""
    assert kept_records.told(folder).decode() == kept_records.accepted(folder).read_text("utf-8")


@every_record
def test_a_kept_record_is_read_and_written_without_loss(folder: Path) -> None:
    first = record.decode(gzip.decompress((folder / "record.json.gz").read_bytes()), folder.name)
    assert record.decode(record.encode(first), folder.name) == first


@pytest.mark.parametrize("name", OUTCOMES)
def test_virtual_cards_end_as_their_fault_asks(name: str) -> None:
    outcome, tier, code = OUTCOMES[name]
    (folder,) = (one for one in kept_records.FOLDERS if one.name == name)
    verdict = kept_records.judged(folder).verdict
    assert (verdict.outcome.value, verdict.tier) == (outcome, tier)
    assert [one.code for one in verdict.diagnoses if not one.advisory] == ([] if code is None else [code])


def test_the_same_record_gives_the_same_bytes() -> None:
    folder = kept_records.FOLDERS[0]
    assert record.encode(kept_records.judged(folder).verdict) == record.encode(kept_records.judged(folder).verdict)
