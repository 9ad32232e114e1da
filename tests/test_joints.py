"""Joints that heat cycles crack: when they open and close, what hangs on them, and that a card goes on where it was."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.device.simulated import joints, scenario
from gpucert.device.simulated.card import VirtualCard
from gpucert.device.simulated.faults import ThermalIntermittent
from gpucert.device.simulated.joints import Joint
from gpucert.device.simulated.wire import Load
from gpucert.stress.backend import UncorrectableEccError
from gpucert.stress.medium import Work
from tests.virtual import Bench, fault

A100, RTX_3090, T4 = "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 3090", "Tesla T4"
GEMM = Load(kind="arithmetic", rate="fp32")
OPENS_C, CLOSES_C = 55.0, 40.0


def joint(cycles=1, **fields):
    return fault("thermal_intermittent", above_c=OPENS_C, below_c=CLOSES_C, cycles=cycles, **fields)


def card(effect, cycles=1, model=RTX_3090, state=None):
    text = f'model = "{model}"\nvram_mib = 1\n' + joint(cycles, effect=f'"{effect}"')
    return VirtualCard(scenario.parse(text, "test"), state)


def lanes_and_heat(card, load, until):
    """The card under a load until its temperature is as told: each row's temperature and lanes."""
    rows = []
    while not rows or not until(rows[-1][0]):
        card.advance(0.5, load)
        rows += [(row.temperature_c, row.pcie_width) for row in card.drain()]
    return rows


def heated(card):
    return lanes_and_heat(card, GEMM, lambda degrees: degrees >= OPENS_C + 2)


def cooled(card):
    return lanes_and_heat(card, Load(), lambda degrees: degrees <= CLOSES_C - 2)


# ---- when ----


@pytest.mark.parametrize("cycles", [1, 2])
def test_a_joint_is_sound_until_it_was_bent_often_enough(cycles):
    one = card("link", cycles)
    for _ in range(cycles):
        assert {lanes for _, lanes in heated(one) + cooled(one)} == {16}
    assert heated(one)[-1][1] == 8


def test_an_open_joint_stays_open_until_it_is_cold_and_opens_in_the_heat_again():
    one = card("link")
    heated(one), cooled(one)
    for _ in range(2):
        up, down = heated(one), cooled(one)
        assert {lanes for degrees, lanes in up if degrees < OPENS_C - 1} == {16}
        assert {lanes for degrees, lanes in down if degrees > CLOSES_C + 1} == {8}
        assert down[-1][1] == 16


@given(st.lists(st.floats(0, 100)), st.floats(1, 50), st.floats(51, 99))
def test_a_cycle_is_hot_and_then_cold_whatever_lies_between(course, closes, opens):
    suspect = ThermalIntermittent(above_c=opens, below_c=closes, cycles=1)
    now = Joint()
    for degrees in course:
        now = joints.warmed(suspect, now, degrees)
    told = "".join("H" if degrees >= opens else "c" if degrees <= closes else "" for degrees in course)
    assert now == Joint(hot=told.endswith("H"), cycles=len(re.findall("H+c", told)))


# ---- what ----


def test_an_open_lane_costs_half_of_the_link_and_packets_are_sent_again():
    one = card("link")
    copy = Load(kind="pcie", bytes_read=1 << 30)
    sound, before = one.advance(60, copy).seconds, one.counters().pcie_replays
    heated(one), cooled(one)
    assert one.counters().pcie_replays == before
    heated(one)
    assert one.counters().pcie_replays > before
    assert one.advance(60, copy).seconds == pytest.approx(2 * sound, rel=0.02)


def test_a_card_that_loses_its_place_on_the_bus_is_lost_at_once():
    one = card("lost")
    heated(one), cooled(one)
    assert not one.events()
    one.advance(60, GEMM)
    assert [event.code for event in one.events()] == ["79"]
    assert one.advance(1, Load()).lost


class Warmed(Bench):
    """A card whose joint of a data wire was bent once, and which can be heated and cooled."""

    def __init__(self, model, *lines):
        super().__init__(model, "vram_mib = 1", *lines, joint(line=5))
        self.heat(), self.cool()

    def heat(self):
        while self.medium._card.temperature_c < OPENS_C + 1:
            self.medium.spend(Work("arithmetic", flop=1e12, rate="fp32"))

    def cool(self):
        while self.medium._card.temperature_c > CLOSES_C - 1:
            self.medium.spend(Work("idle", seconds=1.0))


def test_an_open_wire_reads_one_in_its_lanes_of_one_channel():
    bench, stored = Warmed(RTX_3090), np.zeros(1 << 14, np.uint64)
    assert not bench.again(stored).any()
    bench.heat()
    read = bench.again(stored)
    assert set(np.unique(read)) == {0, 1 << 5 | 1 << 21 | 1 << 37 | 1 << 53}
    assert 0 < np.count_nonzero(read) < len(read) / 4
    bench.cool()
    assert not bench.again(stored).any()


def test_an_open_wire_acts_below_ecc():
    hbm, gddr = Warmed(A100, "ecc = true"), Warmed(T4, "ecc = true")
    for bench in (hbm, gddr):
        bench.again(np.zeros(1 << 14, np.uint64))
        assert bench.card.counters().ecc_corrected_volatile == 0
        bench.heat()
    assert not hbm.again(np.zeros(1 << 14, np.uint64)).any()
    assert hbm.card.counters().ecc_corrected_volatile > 100
    with pytest.raises(UncorrectableEccError):
        gddr.again(np.zeros(1 << 14, np.uint64))


# ---- going on ----


@pytest.mark.parametrize("effect", ["link", "lost", "memory"])
def test_a_card_that_is_frozen_on_any_way_goes_on_as_one_that_was_not(effect):
    whole, frozen = card(effect), card(effect)
    for load, seconds in ((GEMM, 30), (Load(), 9), (Load(), 80), (GEMM, 30)):
        assert whole.advance(seconds, load) == frozen.advance(seconds, load)
        frozen = card(effect, state=frozen.freeze())
        assert frozen.freeze() == whole.freeze()
    assert whole.advance(0, Load()).lost == (effect == "lost")
    assert bool(whole.advance(0, Load()).open_lines) == (effect == "memory")
