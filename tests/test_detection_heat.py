"""What is found of faults of cooling: cards are functions of their seeds, references are a draw, tables say it."""

import re
from collections import Counter

import pytest

from gpucert import diagnosis
from gpucert.baselines import baseline as baselines
from gpucert.catalogue import shelf
from gpucert.cli.matching import match
from gpucert.device.simulated import scenario
from gpucert.device.simulated.silicon import silicon
from gpucert.trials import detection_table, heat_faults, heat_suite, off_truth, pool
from gpucert.trials.detection import HEALTHY
from gpucert.trials.suite import Seen
from tests.test_detection import PAGE, bench, row_of, run

every_kind = pytest.mark.parametrize("kind", heat_faults.KINDS)


@every_kind
def test_a_kind_and_a_seed_are_one_card_that_anyone_can_have(kind: str) -> None:
    texts = [heat_faults.planted(kind, seed) for seed in range(18)]
    assert texts == [heat_faults.planted(kind, seed) for seed in range(18)]
    assert len(set(texts)) == 18
    assert bench("--show", kind, "17").stdout == texts[17]
    cards = [scenario.parse(text, kind) for text in texts]
    own_fan = {*heat_faults.OWN_FAN}
    assert {one.model for one in cards} == (own_fan if kind == "fan" else {*heat_faults.PASSIVE, *own_fan})
    assert {one.fan_mode for one in cards} == {*heat_faults.FAN_MODES}
    assert all([fault.kind for fault in one.faults] == [heat_faults.KINDS[kind].fault] for one in cards)


def test_healthy_cards_of_this_suite_stand_in_rooms() -> None:
    text = bench("--suite", "heat", "--show", HEALTHY, "3").stdout
    assert text == heat_faults.healthy(3)
    room = scenario.parse(text, HEALTHY)
    assert 18 <= room.inlet_c <= 27
    assert room.inlet_drift_c_per_min != 0
    assert not room.faults


@every_kind
def test_the_right_diagnoses_are_those_of_the_page(kind: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    ((_, _, says, right, _),) = [line.split("|") for line in lines if line.startswith(f"| `{kind}` ")]
    assert says.strip() == heat_faults.KINDS[kind].says
    cards = [scenario.parse(heat_faults.planted(kind, seed), kind) for seed in range(6)]
    codes = set().union(*map(heat_faults.expected, cards))
    assert codes == set(re.findall(r"`([a-z]+\.\w+)`", right))
    assert codes <= set(diagnosis.TABLE)


def test_reference_cards_are_no_cards_under_test() -> None:
    under_test = {scenario.parse(heat_faults.healthy(seed), HEALTHY).seed for seed in range(60)}
    references = {scenario.parse(heat_faults.reference("Tesla T4", number), "reference").seed for number in range(40)}
    assert not under_test & references


def test_each_card_is_judged_by_a_draw_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference cards of 1, 2, … m°C/W: which ones were drawn can be read off the centre."""
    monkeypatch.setattr(pool, "each", lambda _work, asked: ({"thermal.total": 0.1 + one.number / 1e3} for one in asked))
    cards = [scenario.parse(heat_faults.healthy(seed), HEALTHY) for seed in (0, 6, 12, 18)]
    assert {one.model for one in cards} == {"NVIDIA A100-SXM4-80GB"}
    judges = heat_suite.judges(("0 cards", "5 cards"), {cards[0].model}, match)
    five = [judges("5 cards", one).find("thermal.total") for one in cards]
    assert {limit.n for limit in five if limit} == {5}
    assert len({limit.centre for limit in five if limit}) == 4
    shipped = baselines.for_model(shelf.get(cards[0].model))
    none = judges("0 cards", cards[0]).find("thermal.total")
    assert none == shipped.find("thermal.total")


def test_false_alarms_and_errors_are_counted_by_measure() -> None:
    def healthy(sort: str, failed: tuple[str, ...], **off: float) -> off_truth.Healthy:
        return off_truth.Healthy(sort, {"5 cards": Seen(bool(failed), failed=failed, off=off)})

    cards = [healthy("passive", (), fast=0.01, slow=-0.03), healthy("passive", ("slow",), slow=0.05)]
    cards += [healthy("own fan, stops", (), fast=0.02)]
    alarms = {one.measure: (one.cards.hits, one.cards.trials) for one in off_truth.alarms(cards)}
    assert alarms == {"fast": (0, 2), "slow": (1, 2)}
    errors = {(one.sort, one.measure): (one.cards, one.of, one.p95) for one in off_truth.errors(cards)}
    assert errors == {
        ("passive", "fast"): (1, 2, 0.01),
        ("passive", "slow"): (2, 2, 0.05),
        ("own fan, stops", "fast"): (1, 1, 0.02),
    }


def test_cards_through_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "each", map)
    told = run("heat", kinds=("interface_x2.5",), profiles=("0 cards",), seeds=2, slow=2, healthy=2)
    row = row_of(told, "interface_x2.5", "0 cards")
    assert row.right
    assert (row.found.hits, row.right.hits, row.missed) == (2, 2, ())
    assert row_of(told, HEALTHY, "0 cards").found.hits == 0
    assert Counter(one.measure for one in told.errors) == {"fast": 2, "slow": 2, "total": 2}
    assert all(one.p95 < 0.15 for one in told.errors)
    text = "\n".join(detection_table.lines(told))
    assert "taken for another" in text
    assert re.search(r"\| passive +\| total +\| \d", text)


def test_the_truth_is_that_of_the_virtual_card() -> None:
    network = silicon(scenario.parse(heat_faults.healthy(0), HEALTHY)).network
    true = heat_suite._true(network)
    assert true["total"] == network.total_c_per_w
    assert 0 < true["slow"] < true["total"] - true["fast"]
