"""Bandwidth: of the model's memory, per memory clock, with its scatter."""

import pytest

from tests.fakes import HEALTHY, faulty, run_probe


def test_an_a100_moves_what_an_a100_moves() -> None:
    bench = run_probe("memory_bandwidth")
    assert not bench.unset
    assert 1600 < bench.number("read") < 2039
    assert bench.number("read_per_clock") == pytest.approx(bench.number("read") * 1000 / 1593, rel=0.001)
    assert bench.u["read_per_clock"] is not None


def test_slow_memory_is_slow_per_clock() -> None:
    slow = run_probe("memory_bandwidth", faulty('kind = "slow_memory"\nfactor = 0.8'))
    healthy = run_probe("memory_bandwidth", HEALTHY)
    for kind in ("read", "write", "copy"):
        assert slow.number(f"{kind}_per_clock") == pytest.approx(0.8 * healthy.number(f"{kind}_per_clock"), rel=0.02)
