"""Counters: passed on as they are, absences with their reason."""

from gpucert.reading import Absence, Absent
from tests.fakes import HEALTHY, faulty, run_probe


def test_a_healthy_card_has_counted_nothing() -> None:
    bench = run_probe("counters", HEALTHY.replace("ecc = false\n", ""))
    assert bench.number("ecc_uncorrected") == 0
    assert bench.number("inforom_valid") == 1
    assert not bench.unset


def test_remap_flags_and_counts_arrive() -> None:
    bench = run_probe("counters", faulty('kind = "row_remap"\nuncorrectable = 4\npending = true\nfailure = true'))
    assert bench.number("remapped_uncorrectable") == 4
    assert bench.number("remap_pending") == bench.number("remap_failure") == 1


def test_a_geforce_says_why_it_has_no_counter() -> None:
    bench = run_probe("counters", 'model = "NVIDIA GeForce RTX 3090"\n')
    value = bench.values["ecc_corrected"]
    assert isinstance(value, Absent)
    assert value.absent is Absence.NOT_SUPPORTED
