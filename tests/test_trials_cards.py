"""Many virtual cards: records are those of any run, healthy cards pass, planted faults are found, all are counted."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec import structs

from gpucert.baselines import baseline as baselines
from gpucert.baselines import defaults
from gpucert.baselines.learn import as_toml
from gpucert.baselines.reference import Card, Conditions, Measured, References
from gpucert.catalogue import shelf
from gpucert.catalogue.matching import Match
from gpucert.cli import main
from gpucert.cli.matching import match
from gpucert.device.simulated.scenario import ScenarioError, find
from gpucert.outcome import ExitCode, StepStatus
from gpucert.record import Identity
from gpucert.run import plan, supervisor
from gpucert.run.request import RunRequest
from gpucert.trials import cards, in_process, pool
from gpucert.trials.cards import Told, Wanted
from gpucert.trials.planted import planted, scenario
from gpucert.units import Unit

T4, A100 = "Tesla T4", "NVIDIA A100-SXM4-80GB"
READ = "memory_bandwidth.read_per_clock"


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", "cards", *arguments])


def told(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    done = bench(*arguments, "--json")
    assert done.exit_code == exit_code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# The run


def short() -> plan.PlannedRun:
    """Few seconds of a probe of each kind: one that reads, one that scans, and the three that have limits."""
    wanted = {"counters": {}, "memory_scan": {"profile": "quick"}, "memory_bandwidth": {}, "gemm_sustained": {}}
    wanted["thermal_soak"] = {"idle_s": 2.0, "pulses": 1.0, "gap_s": 2.0, "heat_s": 5.0, "cool_s": 1.0}
    steps = tuple(plan.Step(probe=probe, seconds=8, options=options) for probe, options in wanted.items())
    return plan.ready(structs.replace(plan.load("quick"), step=steps))


@pytest.mark.parametrize("name", ["healthy-a100-sxm4-80gb", "stuck-bits-ecc"])
def test_without_processes_the_record_is_the_same_to_the_last_bit(tmp_path: Path, name: str) -> None:
    """With everything in it: seeds, traces, events, wrong words, and the steps that a dead context leaves out."""
    text, source = find(name)
    alone = in_process.run(text, source, short())
    usual = supervisor.run_card(RunRequest(plan=short(), folder=tmp_path / "card", scenario=text, source=source))
    dates = {"started_at": usual.started_at, "ended_at": usual.ended_at, "station": usual.station}
    assert structs.replace(alone, **dates) == usual
    assert (StepStatus.CRASHED in {step.status for step in usual.steps}) == (name == "stuck-bits-ecc")


def test_the_steps_are_those_of_the_standard_plan() -> None:
    steps = cards.planned().steps
    assert {step.probe for step in steps} == {"gemm_sustained", "memory_bandwidth", "thermal_soak"}
    assert set(map(str, steps)) <= set(map(str, plan.load("standard").step))


# Healthy cards


def test_healthy_cards_of_five_models_pass_and_it_is_said_that_they_are_virtual() -> None:
    done = bench("--cards", "1")
    assert done.exit_code == 0
    assert "Virtual cards; nothing here was measured on silicon." in done.stdout
    for model in cards.MODELS:
        assert f"\n{model}\n  rejected 0 of 1: 0.0 (0.0–97.5); promised at most 2 %: not refuted" in done.stdout
    assert "\nall models\n  rejected 0 of 5: 0.0 (0.0–52.2); promised at most 2 %: not refuted" in done.stdout


def test_the_same_seed_gives_the_same_bytes_on_every_run() -> None:
    arguments = ("--cards", "2", "--model", T4, "--seed", "5", "--json")
    first = bench(*arguments)
    assert first.exit_code == 0
    assert first.stdout_bytes == bench(*arguments).stdout_bytes
    found = json.loads(first.stdout)
    assert found["simulated"] is True
    assert found["promised"] == defaults.shipped().budget
    (group,) = found["groups"]
    assert (group["model"], group["rejected"]["hits"], group["rejected"]["trials"]) == (T4, 0, 2)
    assert {one["measure"] for one in group["limits"]} == {
        one.measure for one in baselines.for_model(shelf.get(T4)).limits
    }
    assert all(sum(one[end] for end in ENDS) == 2 for one in group["limits"])


ENDS = ("passed", "undecided", "failed", "error", "not_tested")


def condition(number: int) -> Conditions:
    return Conditions(
        tested_at=datetime(2026, 11, 2, tzinfo=UTC),
        driver="580.95.05",
        cuda="not stated",
        cublas="not stated",
        gpucert="0.1.0",
        inlet_c=24.0,
        record_sha256=f"{number:064x}",
    )


def better_than_any(path: Path) -> Path:
    """A baseline of T4 whose cards read 6 % more than healthy virtual cards do, and differ by nothing."""
    found = baselines.for_model(shelf.get(T4)).find(READ)
    assert found is not None
    names = [f"GPU-{number}" for number in range(20)]
    measured = Measured(Unit.BYTE_PER_CLOCK, "a test", tuple(Card(name, 1.06 * found.centre) for name in names))
    conditions = {name: condition(number) for number, name in enumerate(names)}
    references = References(T4, 1, {READ: measured}, simulated=True, kernel="host", conditions=conditions)
    path.write_text(as_toml(references), encoding="utf-8")
    return path


def test_a_limit_that_healthy_cards_cannot_meet_is_refuted(tmp_path: Path) -> None:
    learned = str(better_than_any(tmp_path / "t4.toml"))
    found = told("--cards", "2", "--model", T4, "--baseline", learned, "--seed", "1", exit_code=20)
    (group,) = found["groups"]
    assert (group["rejected"]["hits"], group["promise"], found["exit_code"]) == (2, "refuted", 20)
    assert group["wrong"] == [100_000, 100_001], "the seeds of the cards, which --simulate takes"
    assert [one["measure"] for one in group["limits"] if one["failed"]] == [READ]
    assert "REFUTED: at least 2.5 % are rejected" in bench("--cards", "1", "--model", T4, "--baseline", learned).stdout


def test_a_baseline_of_a_model_that_is_not_drawn_is_refused(tmp_path: Path) -> None:
    done = bench("--model", A100, "--baseline", str(better_than_any(tmp_path / "t4.toml")))
    assert done.exit_code == 2
    assert "is of 'Tesla T4', of which no card is drawn; name it with --model" in done.stderr


# Planted faults


def test_planted_faults_are_found_in_every_card_by_the_measures_that_they_concern() -> None:
    faults = ("slow_compute:factor=0.85", "slow_memory:factor=0.8")
    found = told("--cards", "2", "--model", A100, "--fault", faults[0], "--fault", faults[1])
    assert [group["fault"] for group in found["groups"]] == list(faults)
    for group, probe in zip(found["groups"], ("gemm_sustained", "memory_bandwidth"), strict=True):
        assert (group["rejected"]["hits"], group["rejected"]["trials"]) == (2, 2)
        assert round(group["rejected"]["low"], 3) == 0.158, "exact: 0.025 to the power of a half"
        assert group["promise"] == "none"
        assert {one["measure"].partition(".")[0] for one in group["limits"] if one["failed"] == 2} == {probe}


@pytest.mark.parametrize("fault", ["crash:probe=gemm_sustained", "hang:probe=gemm_sustained", "lost:at_s=5"])
def test_a_fault_that_ends_a_process_is_refused(fault: str) -> None:
    done = bench("--cards", "1", "--fault", fault)
    assert done.exit_code == 2
    assert done.stdout == ""
    kind = fault.partition(":")[0]
    assert f"--fault {kind}: ends the process that tests the card" in done.stderr


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("slow_memory:factor", "'factor' is no field=value"),
        ("slow_memory:factor=2", "fault[0].factor: Expected `float` <= 1.0"),
        ("slow_memry:factor=0.9", "did you mean slow_memory or"),
        ("sm_arithmetic:sm=108,unit=fp32", f"sm must be below 108, the multiprocessors of {A100}"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(fault: str, says: str) -> None:
    done = bench("--cards", "1", "--fault", fault)
    assert done.exit_code == 2
    assert f"--fault {fault}: " in done.stderr
    assert says in done.stderr


def test_a_fault_is_planted_as_it_was_named() -> None:
    text = scenario(T4, 7, planted("slow_compute:factor=0.85,unit=tensor"))
    assert text.endswith('\n[[fault]]\nkind = "slow_compute"\nfactor = 0.85\nunit = "tensor"\n')
    with pytest.raises(ScenarioError, match="unknown field `surprise`"):
        scenario(T4, 7, planted("slow_memory:factor=0.5,surprise=1\n[[fault]]"))


# Doubt


def test_doubt_counts_against_gpucert_whatever_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit exactly at what a card measures: the healthy card counts as rejected, the faulty one as not found."""
    monkeypatch.setattr(pool, "each", map)
    value = in_process.run(scenario(T4, 0), "test", cards.planned()).steps[-1].number("read_per_clock")
    assert value is not None
    shipped = baselines.for_model(shelf.get(T4))
    limits = tuple(structs.replace(one, limit=value) if one.measure == READ else one for one in shipped.limits)
    at_the_limit = structs.replace(shipped, limits=limits)
    healthy = run(Wanted(baselines=(at_the_limit,), cards=1))
    faulty = run(Wanted(baselines=(at_the_limit,), cards=1, faults=(planted("pcie_replays:per_minute=1"),)))
    for group in (*healthy.groups, *faulty.groups):
        assert [one.measure for one in group.limits if one.undecided] == [READ]
    assert (healthy.groups[0].rejected.hits, healthy.groups[0].promise) == (1, "refuted")
    assert (faulty.groups[0].rejected.hits, faulty.groups[0].wrong) == (0, (0,))


def test_a_healthy_card_that_nothing_tested_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "each", map)
    found = run(Wanted(baselines=(baselines.for_model(shelf.get(T4)),), cards=1), unknown)
    (group,) = found.groups
    assert (group.rejected.trials, group.not_tested, group.wrong) == (0, 1, (0,))
    assert (group.rejected.low, group.rejected.high) == (0.0, 1.0)
    assert found.exit_code is ExitCode.INCOMPLETE


def unknown(card: Identity) -> Match:
    return structs.replace(match(card), model=None)


def run(wanted: Wanted, matcher: cards.Matcher = match) -> Told:
    heard: list[tuple[int, int]] = []
    found = cards.run(wanted, matcher, lambda done, of: heard.append((done, of)))
    assert heard == [(1, 1)]
    return found
