"""What is found of joints that heat cycles open: which are drawn, that each can open, and what counts as told right."""

import re

import pytest
from msgspec import structs

from gpucert import diagnosis
from gpucert.device.simulated import scenario
from gpucert.device.simulated.faults import ThermalIntermittent
from gpucert.device.simulated.scenario import Scenario
from gpucert.device.simulated.silicon import silicon
from gpucert.run import plan
from gpucert.trials import cycles_faults, cycles_suite, drawn, of_plan
from tests.test_detection import PAGE, bench
from tests.test_scenarios import EXPECTED
from tests.verdict.judging import judged

every_kind = pytest.mark.parametrize("kind", cycles_faults.KINDS)


def card(kind: str, seed: int) -> Scenario:
    return scenario.parse(cycles_faults.planted(kind, seed), kind)


@every_kind
def test_a_joint_opens_and_closes_between_rest_and_load(kind: str) -> None:
    opens_within_two = set()
    for seed in range(100):
        one, truth = card(kind, seed), silicon(card(kind, seed))
        (joint,) = one.of(ThermalIntermittent)
        idle_c, hot_c = (
            truth.inlet_c + truth.network.total_c_per_w * watts
            for watts in (truth.idle_w, min(truth.demand_w["fp32"], truth.limit_w))
        )
        assert idle_c < joint.below_c < joint.above_c < hot_c
        assert joint.effect == kind.split("_")[1]
        opens_within_two.add(joint.cycles)
    assert opens_within_two == {1, 2}
    assert bench("--show", kind, "17").stdout == cycles_faults.planted(kind, 17)
    assert {card(kind, seed).model for seed in range(20)} == {*drawn.HBM, *drawn.GDDR} - (
        {"NVIDIA GeForce RTX 3090"} if kind.endswith("_ecc") else set()
    )


@every_kind
def test_the_right_diagnoses_are_those_of_the_page(kind: str) -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    ((_, _, says, right, _),) = (row for row in rows if row[1:2] == [f" `{kind}` "])
    assert says.strip() == cycles_faults.KINDS[kind].says
    codes = set[str]().union(*(cycles_faults.expected(card(kind, seed)) for seed in range(40)))
    assert codes == set(re.findall(r"`([a-z]+\.\w+)`", right))
    assert codes <= set(diagnosis.TABLE)


def test_the_built_in_scenario_must_end_as_its_kind_does() -> None:
    assert EXPECTED["thermal-intermittent"].codes == cycles_faults.expected(scenario.load("thermal-intermittent"))


def test_the_steps_are_those_of_the_standard_plan() -> None:
    steps = of_plan.planned("standard", cycles_suite.PROBES).steps
    assert [step.probe for step in steps] == list(cycles_suite.PROBES) == list(cycles_suite.phases("standard"))
    assert all(step in plan.load("standard").step for step in steps)


def test_a_joint_is_found_by_heat_cycles_alone() -> None:
    one = card("joint_lost", 1)
    whole, less = (cycles_suite.without(one, "standard", phase) for phase in ("", "heat_cycles"))
    assert (whole.found, whole.right, less.found) == (True, True, False)


def test_a_joint_is_told_right_by_its_name() -> None:
    one = card("joint_lost", 2)
    record = cycles_suite.run(one, "standard")
    verdict = judged(record)
    seen = cycles_suite.seen(one, record, verdict)
    assert (seen.found, seen.right, seen.foreign) == (True, True, False)
    lost_alone = tuple(diagnosed for diagnosed in verdict.diagnoses if diagnosed.code == "device.lost")
    seen = cycles_suite.seen(one, record, structs.replace(verdict, diagnoses=lost_alone))
    assert (seen.found, seen.right, seen.foreign) == (True, False, False)
