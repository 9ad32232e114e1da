"""Memory and products at once: what is wrong on either side is found, and neither is blamed for the other."""

from collections.abc import Callable

import pytest

from gpucert.stress.backend import Pattern, Region, Sweep
from gpucert.stress.host import HostBackend
from gpucert.stress.under_load import compare_under_load
from tests.fakes import HEALTHY, InProcessCard, faulty, run_probe


def test_both_sides_of_a_healthy_card_are_compared() -> None:
    bench = run_probe("memory_under_load")
    assert bench.number("words_compared") == bench.number("words_expected") > 4 * 500_000
    assert bench.number("elements") > 256 * 256
    assert bench.number("wrong_words") == bench.number("wrong") == 0
    assert bench.number("overlap") == 0, "a virtual card does one after the other"
    assert not bench.unset
    assert not bench.mismatches


def test_a_bad_cell_is_located_and_no_product_blamed() -> None:
    bench = run_probe("memory_under_load", faulty('kind = "stuck_bit"\noffset = 81920\nbit = 3\nvalue = 1'))
    assert bench.number("wrong_words") > 0
    assert bench.number("wrong") == 0
    assert [(one.kind, one.offset) for one in bench.mismatches] == [("hard", 81920)]


def test_a_bad_core_is_located_and_no_memory_blamed() -> None:
    bench = run_probe("memory_under_load", faulty('kind = "sm_arithmetic"\nsm = 9\nunit = "tensor"'))
    assert bench.number("wrong_words") == 0
    assert bench.number("wrong") > 0
    assert {(one.kind, one.phase) for one in bench.mismatches} == {("compute", "bf16 beside memory")}


@pytest.mark.parametrize("model", ["Tesla P100-PCIE-16GB", "Tesla T4", "NVIDIA GeForce RTX 3090"])
def test_any_card_multiplies_something(model: str) -> None:
    assert run_probe("memory_under_load", f'model = "{model}"\nvram_mib = 2\n').number("elements") > 0


class _AtOnce(HostBackend):
    """A backend whose sweeps take no time of their own while products run."""

    _free = False

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        self._free = beside is not None
        return super().verify(region, pattern, then_write, descending=descending, beside=beside)

    def _spend_memory(self, read_words: int, written_words: int) -> float:
        return 0.0 if self._free else super()._spend_memory(read_words, written_words)


def test_overlap_is_told_from_the_time_that_was_saved() -> None:
    from gpucert.stress.backend import DType

    backend = _AtOnce(InProcessCard(HEALTHY).medium())
    done = compare_under_load(backend, DType.BF16, 1, lambda: 0.0, lambda *_: None, lambda _: None)
    assert done.overlap_percent == pytest.approx(100, abs=1)
