"""Every built-in virtual card: outcome, exit code and diagnosis, and no other family's.

All of them are tested and judged without the processes of a run, where they end none; some of each ending, and those
that do, through the whole main job. `GPUCERT_TEST_SCENARIOS=all` takes every one through it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpucert.device.simulated import scenario
from gpucert.run import plan as plans
from gpucert.trials import heat_suite, in_process
from tests import alone
from tests.verdict.judging import codes, judged


@dataclass(frozen=True)
class Expected:
    """How a scenario must end. `plan` is the shortest one that can show it."""

    outcome: str
    codes: frozenset[str]
    exit_code: int
    plan: str = "quick"

    @property
    def ended(self) -> tuple[str, frozenset[str], int]:
        """All but the plan."""
        return self.outcome, self.codes, self.exit_code


def certified(plan: str = "standard") -> Expected:
    return Expected("certified", frozenset(), 0, plan)


def failed(*codes: str, plan: str = "quick") -> Expected:
    return Expected("not_certified", frozenset(codes), 20, plan)


def incomplete(*codes: str, plan: str = "quick") -> Expected:
    return Expected("incomplete", frozenset(codes), 30, plan)


def reported(*codes: str) -> Expected:
    """A short plan that found nothing against the card; what it found is about the station, or disclosed."""
    return Expected("reported", frozenset(codes), 10)


EXPECTED = {
    "absurd": incomplete("sensor.absurd"),
    "airflow": Expected("certified", frozenset({"thermal.airflow"}), 0, "standard"),
    "airflow-passive": Expected("certified", frozenset({"station.airflow"}), 0, "standard"),
    "alias": failed("memory.alias"),
    "channel-missing": failed("memory.channel"),
    "contained": failed("memory.contained", "memory.row_remap"),
    "copy-engine": failed("memory.path", plan="standard"),
    "counterfeit": failed("identity.mismatch"),
    "coupling": failed("memory.coupling"),
    "crash": failed("device.crash"),
    "dq": failed("memory.data_line"),
    "dq-ecc": failed("memory.ecc_corrected"),
    "ecc-corrected": failed("memory.ecc_corrected"),
    "ecc-off": incomplete("config.ecc"),
    "ecc-uncorrected": failed("memory.ecc_uncorrected"),
    "edr-replay": failed("performance.memory"),
    "effective-clock": failed("power.droop"),
    "effective-clock-mild": reported("power.droop"),
    "fake-memory": failed("identity.memory"),
    "gsp": incomplete("device.firmware"),
    "hang": failed("device.hang"),
    "hot-inlet": reported("station.inlet"),
    "inforom": failed("identity.inforom"),
    "intermittent": failed("memory.intermittent", plan="standard"),
    "interface": failed("thermal.interface", plan="standard"),
    "lost": failed("device.lost"),
    "mig-on": incomplete("config.mig"),
    "neighbourhood": failed("memory.hard", plan="standard"),
    "stripes": failed("memory.hard", plan="standard"),
    "nvlink-down": reported("link.nvlink_down"),
    "other-process": incomplete("station.contention"),
    "pcie-gen": reported("link.pcie_gen"),
    "pcie-replays": reported("link.pcie_errors"),
    "pcie-width": reported("link.pcie_width"),
    "pending-mode": incomplete("config.pending"),
    "power-brake": incomplete("station.power"),
    "power-limit": incomplete("power.limit"),
    "refresh-lost": failed("memory.retention", plan="standard"),
    "remap-exhausted": reported("memory.remap_reserve"),
    "retention": failed("memory.retention", plan="standard"),
    "retired-pages": failed("memory.retired_pages"),
    "row-remap": failed("memory.row_remap"),
    "row-remap-pending": incomplete("memory.row_remap"),
    "slow-compute": failed("performance.compute"),
    "slow-memory": failed("performance.memory"),
    "sm-arithmetic": failed("compute.sm"),
    "sm-arithmetic-hot": failed("compute.sm", plan="standard"),
    "sram-threshold": failed("memory.sram"),
    "stuck-bit": failed("memory.hard"),
    "stuck-bit-ecc": failed("memory.ecc_corrected"),
    "stuck-bit-path": failed("memory.path"),
    "stuck-bits-ecc": failed("memory.ecc_uncorrected"),
    "thermal-intermittent": failed("board.intermittent", plan="standard"),
    "tpc-missing": failed("compute.units_missing"),
    "transition": failed("memory.hard"),
    "transition-ecc": failed("memory.ecc_corrected"),
    "wrong-every-time": failed("compute.repeatable"),
    "xid": failed("xid.62"),
}
OF_COOLING = {
    "fans": "thermal.airflow",
    "hotspot": "thermal.hotspot",
    "interface-early": "thermal.interface",
    "memory-pads": "thermal.memory_pads",
    "sensor-gain": "power.sensor",
}
"""Faults that only the steps that show heat can see, so that these alone are run."""
HEALTHY = [name for name in scenario.names() if name.startswith("healthy-")]
ENDING_PROCESSES = {
    name
    for name in scenario.names()
    if any(isinstance(one, in_process.ENDS_A_PROCESS) for one in scenario.load(name).faults)
}
EACH_ENDING = {
    "healthy-a100-sxm4-80gb",
    "interface-early",
    "stuck-bit",
    "ecc-off",
    "gsp",
    "hot-inlet",
    "ecc-uncorrected",
}
THROUGH_THE_DOOR = (
    set(scenario.names()) if os.environ.get("GPUCERT_TEST_SCENARIOS") == "all" else ENDING_PROCESSES | EACH_ENDING
)


def certify(name: str, plan: str, folder: Path) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "gpucert", "certify", "--simulate", name, "--plan", plan, "--json", "--out", folder],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_DATA_HOME": str(folder / "data")},
        check=False,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    (card,) = json.loads(done.stdout)["cards"]
    return done.returncode, card


def ended(exit_code: int, card: dict[str, object]) -> tuple[object, frozenset[str], int]:
    return card["outcome"], frozenset(card["diagnoses"]), exit_code  # type: ignore[arg-type]


def test_every_built_in_scenario_is_expected_to_end_somehow() -> None:
    assert set(EXPECTED) | set(OF_COOLING) | set(HEALTHY) == set(scenario.names())
    assert len(HEALTHY) >= 12


def without_processes(name: str, plan: str) -> tuple[int, dict[str, object]]:
    """The same of a card that is tested in this process, its undecided steps only once."""
    verdict = judged(alone.tested(*scenario.find(name), plans.ready(plans.load(plan))))
    told = {"outcome": verdict.outcome, "tier": verdict.tier, "diagnoses": [one.code for one in verdict.diagnoses]}
    return int(verdict.exit_code), told


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - THROUGH_THE_DOOR))
def test_a_faulty_card_ends_as_it_must(name: str) -> None:
    assert ended(*without_processes(name, EXPECTED[name].plan)) == EXPECTED[name].ended


@pytest.mark.parametrize("name", sorted(set(EXPECTED) & THROUGH_THE_DOOR))
def test_a_faulty_card_ends_so_through_the_door(name: str, tmp_path: Path) -> None:
    exit_code, card = certify(name, EXPECTED[name].plan, tmp_path)
    assert ended(exit_code, card) == EXPECTED[name].ended
    assert Path(card["files"]["certificate"]).stat().st_size < 300_000  # type: ignore[index]


@pytest.mark.parametrize("name", OF_COOLING)
def test_a_fault_of_cooling_is_told_by_the_steps_that_show_heat(name: str) -> None:
    record = in_process.run(*scenario.find(name), heat_suite.planned())
    assert codes(judged(record)) == {OF_COOLING[name]}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_card_is_certified_for_tier_d(name: str, tmp_path: Path) -> None:
    through = name in THROUGH_THE_DOOR
    exit_code, card = certify(name, "standard", tmp_path) if through else without_processes(name, "standard")
    assert (card["outcome"], card["tier"], card["diagnoses"], exit_code) == ("certified", "D", [], 0)
