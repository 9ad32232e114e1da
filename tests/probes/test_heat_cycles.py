"""Heat cycles: how far a card swings, what it is asked on the way, and what parts with the heat."""

from functools import cache

import pytest

from gpucert.probes import heat_cycles
from gpucert.probes.bench import SkipError
from gpucert.reading import Absence, Absent
from gpucert.stress.asking import COPY_BYTES
from gpucert.stress.backend import WORD_BYTES, Copy
from gpucert.stress.host import HostBackend
from tests.fakes import FakeBench, InProcessCard, faulty, run_probe

RTX_3090 = 'model = "NVIDIA GeForce RTX 3090"\nvram_mib = 1\n'


@cache
def healthy(seconds: float) -> FakeBench:
    return run_probe("heat_cycles", RTX_3090, seconds)


def cracked(effect: str, cycles: int = 1) -> str:
    lines = f'kind = "thermal_intermittent"\nabove_c = 55\nbelow_c = 40\ncycles = {cycles}\neffect = "{effect}"'
    return faulty(lines, RTX_3090)


def states(bench: FakeBench) -> set[str]:
    """Cycle and state in which something was wrong."""
    return {one.phase for one in bench.mismatches}


# How far, and what is asked


def test_a_healthy_card_swings_as_far_as_it_can_and_stays_right() -> None:
    bench = healthy(400)
    assert bench.number("cycles") == bench.number("planned") == heat_cycles.CYCLES
    assert bench.number("swing") > 30
    assert bench.number("hottest") - bench.number("coolest") >= bench.number("swing")
    assert bench.number("asked_hot") == bench.number("asked_cool") == 2
    assert bench.number("asked_moving") == 2 * 2 * len(heat_cycles.ON_THE_WAY_S)
    assert bench.number("sms_reached") == bench.number("sms_present") == 82
    assert bench.number("words_compared") == bench.number("words_expected") > 4 * 2 * 128_000
    assert bench.number("copied") == 2 * 12 * COPY_BYTES // WORD_BYTES
    wrong = ("sms_wrong", "wrong", "wrong_words", "copied_wrong", "replays")
    assert [bench.number(name) for name in wrong] == [0] * 5
    assert bench.number("width") == 16
    assert set(bench.traces["asked"].column("wrong")) == {0.0}
    assert bench.traces["asked"].column("cycle") == (1.0,) * 6 + (2.0,) * 6
    assert not bench.unset
    assert not bench.mismatches


def test_a_way_ends_when_its_time_is_over() -> None:
    """A step that is too short to get anywhere says how short it fell, and is no longer than it may be."""
    bench = healthy(60)
    assert bench.number("cycles") == 2
    assert bench.number("swing") < healthy(400).number("swing")
    assert -2 < bench.time_left() < 10
    assert run_probe("heat_cycles", RTX_3090, 0.0).number("cycles") == 0


def test_the_plan_says_how_many() -> None:
    bench = run_probe("heat_cycles", RTX_3090, 60, cycles=3)
    assert (bench.number("planned"), bench.number("cycles"), bench.number("asked_hot")) == (3, 3, 3)


# What cannot be read


def test_a_card_without_a_thermometer_is_not_tested() -> None:
    with pytest.raises(SkipError, match=r"tells no temperature .*nobody knows whether it was hot or cool"):
        run_probe("heat_cycles", faulty('kind = "absurd"\nreading = "temperature_c"\nvalue = 255', RTX_3090))


def test_an_error_counter_that_is_not_told_is_no_clean_one() -> None:
    assert "ecc_corrected" not in healthy(400).traces["asked"].channels
    assert set(healthy(400).traces["asked"].channels) == {"cycle", "wrong", "pcie_replays"}


def test_lanes_that_nobody_tells_are_not_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat_cycles._Cycles, "_heat", lambda cycles: cycles._load.run(1, check=False))
    width = run_probe("heat_cycles", RTX_3090, 10, cycles=1).values["width"]
    assert isinstance(width, Absent)
    assert width.absent is Absence.UNKNOWN


# What parts


def test_a_wire_that_parts_is_wrong_in_the_heat_after_the_cycle_that_cracked_it() -> None:
    card = InProcessCard(cracked("memory", cycles=2))
    card.backend().burn(60)
    bench = run_probe("heat_cycles", card=card, seconds=400)
    assert states(bench) == {"cycle 2, heating", "cycle 2, hot"}
    assert {one.kind for one in bench.mismatches} == {"data_line"}
    assert bench.number("wrong_words") > 100
    assert bench.number("wrong") == bench.number("sms_wrong") == bench.number("copied_wrong") == 0
    by_cycle = zip(bench.traces["asked"].column("cycle"), bench.traces["asked"].column("wrong"), strict=True)
    assert {cycle for cycle, wrong in by_cycle if wrong} == {2.0}


def test_a_lane_that_parts_shows_in_width_and_replays() -> None:
    bench = run_probe("heat_cycles", cracked("link"), 400)
    assert bench.number("width") == 8
    assert bench.number("replays") > 100
    assert not bench.mismatches


def test_a_multiprocessor_that_errs_in_the_heat_is_named() -> None:
    hot = faulty('kind = "sm_arithmetic"\nsm = 7\nunit = "int32"\nabove_c = 60', RTX_3090)
    bench = run_probe("heat_cycles", hot, 400, cycles=1)
    assert bench.number("sms_wrong") == 1
    assert {one.reader_sm for one in bench.mismatches} == {7}
    assert {one.phase.partition(", ")[0] for one in bench.mismatches} == {"int32"}
    assert {one.phase.rpartition(", ")[2] for one in bench.mismatches} <= {heat_cycles.HEATING, heat_cycles.HOT}


def test_data_that_arrives_damaged_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostBackend, "copy", lambda *_: Copy(COPY_BYTES, 1.0, 3, 0.0, 1.0))
    bench = run_probe("heat_cycles", RTX_3090, 10, cycles=1)
    assert bench.number("copied_wrong") == 3 * 2 * len(bench.traces["asked"].column("wrong"))
    assert set(bench.traces["asked"].column("wrong")) == {6.0}
