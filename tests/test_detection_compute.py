"""What is found of wrong answers: cards are functions of their seeds, SM and unit are counted, peers compare."""

import re
import shlex
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert import diagnosis
from gpucert.device.simulated import scenario
from gpucert.device.simulated.faults import SmArithmetic, WrongEveryTime
from gpucert.device.simulated.scenario import Scenario
from gpucert.device.simulated.silicon import silicon
from gpucert.outcome import ExitCode
from gpucert.run import plan
from gpucert.stress import offers
from gpucert.stress.backend import UNIT_OF, ArithmeticUnit, DType
from gpucert.trials import (
    compute_faults,
    compute_peers,
    compute_suite,
    detection,
    detection_table,
    drawn,
    of_plan,
    pool,
)
from gpucert.trials.detection import HEALTHY, Told
from tests.test_detection import PAGE, bench, row_of, run
from tests.test_scenarios import EXPECTED

every_kind = pytest.mark.parametrize("kind", compute_faults.KINDS)


def card(kind: str, seed: int) -> Scenario:
    return scenario.parse(compute_faults.planted(kind, seed), kind)


def described(*faults: str, model: str = "NVIDIA A100-SXM4-80GB") -> str:
    return f'model = "{model}"\nvram_mib = 1\n' + "".join(f"[[fault]]\n{fault}\n" for fault in faults)


# Cards


@every_kind
def test_a_kind_and_a_seed_are_one_card_that_anyone_can_have(kind: str) -> None:
    texts = [compute_faults.planted(kind, seed) for seed in range(60)]
    assert texts == [compute_faults.planted(kind, seed) for seed in range(60)]
    assert len(set(texts)) == 60
    assert bench("--show", kind, "17").stdout == texts[17]
    cards = [scenario.parse(text, kind) for text in texts]
    assert {one.model for one in cards} == {*drawn.HBM, *drawn.GDDR}
    assert all([fault.kind for fault in one.faults] == [compute_faults.KINDS[kind].fault] for one in cards)


def test_no_kind_is_in_two_suites() -> None:
    kinds = Counter(kind for suite in detection.SUITES.values() for kind in suite.KINDS)
    assert set(kinds.values()) == {1}
    assert HEALTHY not in kinds


def test_faults_are_of_any_multiprocessor_and_any_unit_often_and_seldom() -> None:
    faults = [
        (one, fault) for one in map(card, ["sm_arithmetic"] * 2000, range(2000)) for fault in one.of(SmArithmetic)
    ]
    shares = [fault.sm / one.silicon.sm_count for one, fault in faults]
    assert min(sum(part <= 8 * share < part + 1 for share in shares) for part in range(8)) > 170
    assert {fault.sm for one, fault in faults if one.model == "Tesla T4"} == set(range(40))
    assert min(Counter(fault.unit for _, fault in faults)[unit.part] for unit in ArithmeticUnit) > 150
    for low, high in ((1, 10), (10, 100), (100, 1000)):
        assert 550 < sum(low <= fault.every < high for _, fault in faults) < 800
    assert max(fault.every for _, fault in faults) <= 1000


@every_kind
def test_a_card_has_the_unit_and_the_type_that_is_wrong(kind: str) -> None:
    types = set()
    for seed in range(200):
        one = card(kind, seed)
        offered = silicon(one).flop_per_clock
        (fault,) = one.of(WrongEveryTime) or one.of(SmArithmetic)
        types.add(fault.dtype)
        assert fault.unit != "tensor" or "tensor" in offered
        if fault.dtype:
            assert fault.dtype in offered
            assert UNIT_OF[fault.dtype] == fault.unit
    assert types == (set(DType) - offers.OUT_OF_REACH if kind.endswith("_type") else {None})


# What is right


def test_the_right_diagnoses_are_those_that_the_built_in_scenarios_must_end_with() -> None:
    checked = set()
    for name, ending in EXPECTED.items():
        one = scenario.load(name)
        if (
            [fault for fault in one.faults if isinstance(fault, SmArithmetic | WrongEveryTime)]
            == list(one.faults)
            != []
        ):
            assert ending.codes <= compute_faults.expected(one), name
            checked.add(name)
    assert checked >= {"sm-arithmetic", "sm-arithmetic-hot", "wrong-every-time"}


@every_kind
def test_the_right_diagnoses_are_those_of_the_page(kind: str) -> None:
    rows = [
        line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{kind}` ")
    ]
    ((_, _, says, right, _),) = rows
    assert says.strip() == compute_faults.KINDS[kind].says
    codes = set().union(*(compute_faults.expected(card(kind, seed)) for seed in range(40)))
    assert codes == set(re.findall(r"`([a-z]+\.\w+)`", right))
    assert codes <= set(diagnosis.TABLE)


# Counting


def test_sm_and_unit_are_counted_card_by_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five cards one is told right; one has another SM, one another unit, one another fault as well; one passes."""
    planted = 'kind = "sm_arithmetic"\nsm = 3\nunit = "fp32"'
    texts = [
        described(planted),
        described(planted, 'kind = "sm_arithmetic"\nsm = 4\nunit = "fp32"'),
        described(planted, 'kind = "sm_arithmetic"\nsm = 3\nunit = "int32"'),
        described(planted, 'kind = "wrong_every_time"\nunit = "sfu"'),
        described(),
    ]
    monkeypatch.setattr(pool, "each", map)
    monkeypatch.setattr(compute_faults, "planted", lambda _kind, seed: texts[seed])
    monkeypatch.setattr(compute_faults, "expected", lambda _card: frozenset({"compute.sm"}))
    monkeypatch.setattr(compute_faults, "sm", lambda _card: 3)
    monkeypatch.setattr(compute_faults, "unit", lambda _card: "fp32")
    told = run("compute", kinds=("sm_arithmetic",), profiles=("quick",), seeds=5, slow=1, healthy=1, peers=False)
    row = row_of(told, "sm_arithmetic", "quick")
    rates = (row.found, row.right, row.sm, row.unit, row.foreign)
    assert [(rate.hits, rate.trials) for rate in rates if rate] == [(4, 5), (3, 4), (3, 4), (2, 4), (0, 5)]
    assert (row.missed, row.misnamed) == ((4,), (1, 2, 3))
    healthy = row_of(told, HEALTHY, "quick")
    assert (healthy.found.hits, healthy.sm, healthy.unit, told.exit_code) == (0, None, None, ExitCode.CERTIFIED)


def test_what_is_wrong_everywhere_has_no_sm_to_be_named() -> None:
    told = run("compute", kinds=("wrong_every_time",), profiles=("quick",), seeds=1, slow=1, healthy=1, peers=False)
    row = row_of(told, "wrong_every_time", "quick")
    assert row.sm is None
    assert row.unit
    assert (row.unit.hits, row.unit.trials) == (1, 1)


# Profiles and steps


@pytest.mark.parametrize("profile", compute_suite.PROFILES)
def test_a_profile_is_what_its_plan_checks(profile: str) -> None:
    whole = {step.probe: step for step in plan.load(profile).step}
    assert of_plan.planned(profile, compute_suite.PROBES).steps == tuple(whole[probe] for probe in compute_suite.PROBES)
    others = [probe for probe in compute_suite.PROBES if probe != "gemm_exact"]
    assert [step.probe for step in of_plan.planned(profile, compute_suite.PROBES, "gemm_exact").steps] == others


def test_what_a_step_is_worth_shows_where_it_is_left_out() -> None:
    """Only known answers ask integers and name an SM, only load that swings begins bursts; several steps multiply."""
    planted = 'kind = "sm_arithmetic"\nsm = 3\nunit = '
    faults = ('"int32"', '"tensor"\ndtype = "bf16"', '"tensor"\nburst = true')
    cards = [scenario.parse(described(planted + fault), "test") for fault in faults]
    found = {
        step: [(seen.found, seen.right) for seen in (compute_suite.without(one, "quick", step) for one in cards)]
        for step in ("", *compute_suite.phases("quick"))
    }
    named, found_only, missed = (True, True), (True, False), (False, False)
    alone = {"sm_answers": [missed, found_only, found_only], "load_swings": [named, found_only, missed]}
    assert found == {step: alone.get(step, [named, found_only, found_only]) for step in ("", *compute_suite.PROBES)}


# Peers


@pytest.mark.parametrize("peer", compute_peers.PEERS)
def test_a_comparison_with_itself_finds_one_multiprocessor_and_nothing_that_is_wrong_every_time(peer: str) -> None:
    for text, found in (
        (described('kind = "sm_arithmetic"\nsm = 3\nunit = "fp32"\nevery = 90'), True),
        (described('kind = "sm_arithmetic"\nsm = 3\nunit = "fp64"\nabove_c = 45'), True),
        (described('kind = "sm_arithmetic"\nsm = 3\nunit = "int32"'), False),
        (described('kind = "sm_arithmetic"\nsm = 3\nunit = "fp32"\nburst = true'), False),
        (described('kind = "wrong_every_time"\nunit = "fp32"'), False),
        (described(model="Tesla T4"), False),
    ):
        assert compute_peers.finds(peer, scenario.parse(text, "test")) == found, text


def test_a_type_that_a_peer_does_not_use_is_not_seen_by_it() -> None:
    bf16 = scenario.parse(described('kind = "sm_arithmetic"\nsm = 3\nunit = "tensor"\ndtype = "bf16"'), "test")
    found = {peer for peer in compute_peers.PEERS if compute_peers.finds(peer, bf16)}
    assert found == {peer for peer, tool in compute_peers.PEERS.items() if DType.BF16 in tool.types} == {"RVS gst"}


@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 15))
def test_what_is_no_number_is_equal_to_gpu_burn_and_to_a_norm_and_counted_by_dcgm(value: float, place: int) -> None:
    right = np.arange(1.0, 17.0).reshape(4, 4)
    wrong = right.copy()
    wrong.flat[place] = value
    with np.errstate(invalid="ignore"):
        seen = [
            differs(right, wrong, DType.FP32)
            for differs in (compute_peers.gpu_burn_differs, compute_peers.dcgm_differs, compute_peers.norm_differs)
        ]
    assert seen == ([False, True, False] if np.isnan(value) else [True, True, True])


@given(st.floats(1e-9, 1.0), st.sampled_from(DType))
def test_epsilons_are_absolute_and_a_norm_has_none(off: float, dtype: DType) -> None:
    right = np.full((4, 4), 100.0)
    wrong = right.copy()
    wrong[1, 2] += off
    gone = abs(wrong[1, 2] - 100.0)
    assert compute_peers.gpu_burn_differs(right, wrong, dtype) == (gone > (1e-7 if dtype is DType.FP64 else 1e-3))
    assert compute_peers.norm_differs(right, wrong, dtype) == (gone > 0)


# The command


def test_wrong_answers_through_the_command_in_words_and_in_json(tmp_path: Path) -> None:
    asked = ("--sample", "1", "--kind", "wrong_every_time", "--profile", "quick")
    page = tmp_path / "page.md"
    begin = detection_table.begin("compute")
    page.write_text(f"before\n{begin}\n{detection_table.END}\n", encoding="utf-8")
    words = bench(*asked)
    assert words.exit_code == 0, words.output
    ours, beside = (line for line in words.stdout.splitlines() if line.startswith("| wrong_every_time "))
    one = "100.0 (2.5–100.0) of 1"
    assert [cell.strip() for cell in ours.split("|")[2:-1]] == ["quick", one, one, "–", one, "0.0 (0.0–97.5) of 1"]
    assert [cell.strip() for cell in beside.split("|")[3:-1]] == ["100.0 (2.5–100.0)", *["0.0 (0.0–97.5)"] * 3]
    command = words.stdout.splitlines()[0].strip("`")
    told = bench(*shlex.split(command)[3:], "--json", "--out", str(page))
    found = msgspec.json.decode(told.stdout, type=Told)
    assert (found.simulated, found.suite, found.command) == (True, "compute", command)
    assert len(found.rows) == 2 * (1 + len(compute_peers.PEERS))
    assert "\n".join(detection_table.lines(found)) + "\n" == words.stdout
    assert page.read_text(encoding="utf-8") == f"before\n{begin}\n{words.stdout}{detection_table.END}\n"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            ("--kind", "stuck_bit", "--kind", "sm_arithmetic"),
            "--kind: stuck_bit of memory and sm_arithmetic of compute h",
        ),
        (
            ("--suite", "compute", "--kind", "stuck_bit"),
            "--kind: no kind of planted fault is called 'stuck_bit'; there a",
        ),
        (
            ("--suite", "compute", "--profile", "deep"),
            "--profile: no profile is called 'deep'; there are quick, standar",
        ),
        (
            ("--suite", "compute", "--out", "README.md"),
            "--out README.md: has no place for the tables: write the lines <",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(asked: tuple[str, ...], says: str) -> None:
    done = bench("--sample", "1", *asked)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gpucert: {says}")
    assert done.stderr.count("\n") == 1


def test_the_steps_of_the_page_are_those_of_the_suite() -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [row[1].strip(" `") for row in rows if len(row) == 6] == list(compute_suite.PROBES)
