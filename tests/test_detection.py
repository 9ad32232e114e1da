"""What is found of planted faults: cards are functions of their seeds, counts, bounds and tables are exact."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from gpucert import diagnosis
from gpucert.catalogue import shelf
from gpucert.cli import main
from gpucert.cli.bench_detection import detection as detection_command
from gpucert.cli.matching import match
from gpucert.device.simulated import scenario
from gpucert.outcome import ExitCode
from gpucert.stress.memory_scan import PROFILES
from gpucert.trials import (
    ablation,
    detection,
    detection_table,
    drawn,
    in_process,
    memory_faults,
    memory_peers,
    memory_suite,
    pool,
)
from gpucert.trials.detection import HEALTHY, Method, Row, Told, Wanted
from gpucert.trials.rate import bounded
from tests.test_scenarios import EXPECTED

PAGE = Path(__file__).parent.parent / "docs" / "detection.md"
A100, RTX_3090, T4 = "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 3090", "Tesla T4"
every_suite = pytest.mark.parametrize("suite", detection.SUITES)
every_kind = pytest.mark.parametrize("kind", memory_faults.KINDS)


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", "detection", *arguments])


def wanted(suite: str = "memory", **asked: Any) -> Wanted:
    """All kinds and profiles of a suite, and what is asked for instead."""
    offered = detection.SUITES[suite]
    return Wanted(**{"suite": suite, "kinds": tuple(offered.KINDS), "profiles": offered.PROFILES, **asked})


def run(suite: str = "memory", **asked: Any) -> Told:
    return detection.run(wanted(suite, **asked), match, lambda _done, _of: None)


def row_of(told: Told, planted: str, method: str) -> Row:
    (row,) = (row for row in told.rows if (row.planted, row.method.name) == (planted, method))
    return row


# Cards


@every_kind
def test_a_kind_and_a_seed_are_one_card_that_anyone_can_have(kind: str) -> None:
    texts = [memory_faults.planted(kind, seed) for seed in range(60)]
    assert texts == [memory_faults.planted(kind, seed) for seed in range(60)]
    assert len(set(texts)) == 60
    assert bench("--show", kind, "17").stdout == texts[17]
    for seed, text in enumerate(texts):
        card = scenario.parse(text, kind)
        assert [fault.kind for fault in card.faults] == [memory_faults.KINDS[kind].fault]
        assert shelf.get(card.model).memory.type.startswith("HBM") == (seed % 2 == 0)


@pytest.mark.parametrize(("ending", "allowed"), [("_ecc", {True}), ("_path", {True, None}), ("", {False, None})])
def test_ecc_is_as_the_kind_says(ending: str, allowed: set[bool | None]) -> None:
    kinds = [kind for kind in memory_faults.KINDS if kind.endswith(ending) and (ending or "_" not in kind)]
    cards = [scenario.parse(memory_faults.planted(kind, seed), kind) for kind in kinds for seed in range(14)]
    assert {card.ecc_on for card in cards} == allowed


def test_faults_lie_everywhere_and_at_the_edges() -> None:
    cards = [scenario.parse(memory_faults.planted("stuck_bit", seed), "test") for seed in range(2000)]
    offsets = [fault.offset for card in cards for fault in card.of(scenario.StuckBit)]
    last = cards[0].tested_bytes - 8
    assert 50 < offsets.count(0) < 160 > offsets.count(last) > 50
    inside = [offset for offset in offsets if offset not in (0, last)]
    eighths = [sum(part * last <= 8 * offset < (part + 1) * last for offset in inside) for part in range(8)]
    assert min(eighths) > 170
    assert {fault.bit for card in cards for fault in card.of(scenario.StuckBit)} == set(range(64))


def test_cells_couple_near_and_far_in_both_directions() -> None:
    cards = [scenario.parse(memory_faults.planted("coupling", seed), "test") for seed in range(1000)]
    apart = [(fault.victim - fault.aggressor) // 8 for card in cards for fault in card.of(scenario.Coupling)]
    for direction in (1, -1):
        distances = [direction * words for words in apart if direction * words > 0]
        assert distances.count(1) > 60
        assert distances.count(4) > 60
        assert sum(32 <= words < 8192 for words in distances) > 60
        assert max(distances) > 60_000


# What is right


def test_the_right_diagnoses_are_those_that_the_built_in_scenarios_must_end_with() -> None:
    checked = set()
    kinds = {kind.fault for kind in memory_faults.KINDS.values()}
    for name, ending in EXPECTED.items():
        card = scenario.load(name)
        if len(card.faults) == 1 and card.faults[0].kind in kinds:
            assert ending.codes - memory_faults.besides(card) <= memory_faults.expected(card), name
            checked.add(card.faults[0].kind)
    assert checked >= {"stuck_bit", "transition", "dq", "alias", "fake_memory"}


@every_kind
def test_the_right_diagnoses_are_those_of_the_page(kind: str) -> None:
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    (told,) = ([row[2].strip(), row[3]] for row in rows if f"`{kind}`" in row[1])
    cards = [scenario.parse(memory_faults.planted(kind, seed), kind) for seed in range(40)]
    right = set().union(*map(memory_faults.expected, cards))
    assert right == set(re.findall(r"`([a-z]+\.\w+)`", told[1]))
    assert right <= set(diagnosis.TABLE)
    if memory_faults.KINDS[kind].ecc is False:
        said = memory_faults.KINDS[kind].says.replace("0.1%", "0.1 %").replace("2%", "2 %").replace("0%", "0 %")
        assert told[0].startswith(said)


def test_what_else_is_true_of_a_card_is_no_wrong_diagnosis() -> None:
    off = scenario.parse(f'model = "{A100}"\necc = false\n', "test")
    without = scenario.parse(f'model = "{RTX_3090}"\n', "test")
    assert memory_faults.besides(off) == {"config.ecc"}
    assert memory_faults.besides(without) == set()


# Counting


def test_found_right_and_foreign_are_counted_card_by_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four cards one is found and told right, one is told wrong, one is told to be another part, one passes."""
    good = memory_faults.planted("stuck_bit", 0)
    texts = {
        0: good,
        1: good.replace('stuck_bit"\noffset', 'stuck_bit"\nabove_ecc = true\noffset').replace(
            "ecc = false", "ecc = true"
        ),
        2: good + '\n[[fault]]\nkind = "xid"\ncode = 62\nat_s = 0\n',
        3: drawn.healthy(0),
    }
    besides = memory_faults.besides(scenario.parse(good, "test"))
    monkeypatch.setattr(pool, "each", map)
    monkeypatch.setattr(memory_faults, "planted", lambda _kind, seed: texts[seed])
    monkeypatch.setattr(memory_faults, "expected", lambda _card: frozenset({"memory.hard"}))
    monkeypatch.setattr(memory_faults, "besides", lambda _card: besides)
    row = row_of(
        run(kinds=("stuck_bit",), profiles=("quick",), seeds=4, slow=2, healthy=1, peers=False), "stuck_bit", "quick"
    )
    assert (row.found.hits, row.found.trials) == (3, 4)
    assert row.right is not None
    assert row.foreign is not None
    assert (row.right.hits, row.right.trials) == (1, 3)
    assert (row.foreign.hits, row.foreign.trials) == (1, 4)
    assert (row.missed, row.misnamed) == ((3,), (1, 2))
    assert (row.beside.hits, row.beside.trials) == (2, 2)


def test_an_incomplete_run_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "each", map)
    incomplete = drawn.healthy(0) + "ecc = false\n"
    monkeypatch.setattr(memory_faults, "planted", lambda _kind, _seed: incomplete)
    monkeypatch.setattr(memory_faults, "expected", lambda _card: frozenset({"memory.hard"}))
    told = run(kinds=("stuck_bit",), profiles=("quick",), seeds=1, slow=1, healthy=1, peers=False)
    assert row_of(told, "stuck_bit", "quick").found.hits == 0


def test_anything_on_a_healthy_card_is_a_false_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "each", map)
    sick = drawn.healthy(1) + '[[fault]]\nkind = "pcie_replays"\nper_minute = 600\n'
    texts = [
        drawn.healthy(0),
        sick + '[[fault]]\nkind = "xid"\ncode = 62\nat_s = 0\n',
        drawn.healthy(2),
    ]
    monkeypatch.setattr(memory_suite, "healthy", lambda seed: texts[seed])
    told = run(kinds=(), profiles=("quick",), healthy=3, peers=False)
    row = row_of(told, HEALTHY, "quick")
    assert (row.found.hits, row.found.trials, row.missed) == (1, 3, (1,))
    assert told.exit_code is ExitCode.NOT_CERTIFIED


def test_bounds_are_exact() -> None:
    assert bounded(0, 0).high == 1.0
    assert bounded(60, 60).low == pytest.approx(0.025 ** (1 / 60))
    assert bounded(0, 600).high == pytest.approx(1 - 0.025 ** (1 / 600))


def test_slow_methods_are_given_the_first_cards_and_rare_faults_one_profile_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "each", map)
    told = run(kinds=("stuck_bit",), profiles=("quick",), seeds=4, slow=2, healthy=3)
    assert row_of(told, "stuck_bit", "quick").found.trials == 4
    assert row_of(told, "stuck_bit", "March C−").found.trials == 2
    assert row_of(told, HEALTHY, "March C−").found.trials == 2
    assert {one.name for one in detection.methods(wanted(profiles=("quick",)), "intermittent_rare")} == set()
    few = wanted(seeds=100, slow=3)
    assert Method("profile", "quick").cards(few, 100) == 100
    assert Method("profile", "deep").cards(few, 100) == Method("ablation", "standard", "own").cards(few, 100) == 3
    assert [Method("ablation", "quick", "own").cards(few, of) for of in (100, 20)] == [30, 20]


# Peers


@pytest.mark.parametrize("peer", memory_peers.PEERS)
def test_a_peer_finds_a_stuck_bit_and_nothing_on_a_healthy_card(peer: str) -> None:
    assert memory_peers.finds(peer, scenario.parse(memory_faults.planted("stuck_bit", 1), "test"))
    for seed in (0, 1):
        assert not memory_peers.finds(peer, scenario.parse(drawn.healthy(seed), "test"))


def test_each_peer_sees_what_its_algorithm_can_see() -> None:
    """Constant data tell no address from another; a rest finds lost refresh; corrected errors are seen by nobody."""
    found = {
        kind: {
            peer
            for peer in memory_peers.PEERS
            if memory_peers.finds(peer, scenario.parse(memory_faults.planted(kind, 3), kind))
        }
        for kind in ("fake_memory", "stuck_bit_ecc", "refresh_lost")
    }
    assert found["stuck_bit_ecc"] == set()
    assert found["fake_memory"] == set(memory_peers.PEERS) - {"DCGM memory"}
    assert found["refresh_lost"] <= {"cuda_memtest"}


def test_march_c_finds_coupling_in_both_orders_and_memory_patterns_in_one() -> None:
    ends = {}
    for aggressor, victim in ((800, 800_000), (800_000, 800)):
        lines = f'[[fault]]\nkind = "coupling"\naggressor = {aggressor}\nvictim = {victim}\nbit = 5\n'
        card = scenario.parse(f'model = "{RTX_3090}"\nvram_mib = 1\n{lines}', "test")
        ends[aggressor < victim] = [memory_peers.finds(peer, card) for peer in ("March C−", "DCGM memory")]
    assert ends == {True: [True, False], False: [True, True]}


# Phases


def test_what_a_phase_is_worth_shows_where_it_is_left_out() -> None:
    """Words that only an idle card loses are found by the one phase that idles; a healthy card is found by none."""
    lines = '[[fault]]\nkind = "refresh_lost"\noffset = 4096\nbytes = 4096\nseconds = 5\n'
    head = f'model = "{RTX_3090}"\nvram_mib = 1\n{lines}'
    always, idle = (scenario.parse(head + more, "test") for more in ("", "idle = true\n"))
    for card, lost in ((always, (True, True)), (idle, (False, False))):
        assert ablation.finds(card, "standard", "") == (True, True)
        assert ablation.finds(card, "standard", "fading") == (True, True)
        assert ablation.finds(card, "standard", "idle dip") == lost
    assert ablation.finds(scenario.parse(drawn.healthy(0), "test"), "standard", "") == (False, False)


def test_an_alias_is_found_but_not_named_without_own_addresses() -> None:
    card = scenario.parse(memory_faults.planted("alias", 3), "test")
    assert ablation.finds(card, "quick", "") == (True, True)
    assert ablation.finds(card, "quick", "own") == (True, False)


def test_scans_without_a_phase_stand_in_a_table_of_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "each", map)
    found = {("standard", "march"): (False, False), ("quick", "own"): (True, False)}
    monkeypatch.setattr(ablation, "finds", lambda _card, *scanned: found.get(scanned, (True, True)))
    told = run(kinds=("stuck_bit",), profiles=(), seeds=12, slow=1, healthy=1, peers=False, ablate=True)
    assert len(told.rows) == 2 + len(memory_suite.phases("quick")) + len(memory_suite.phases("standard"))
    text = "\n".join(detection_table.lines(told))
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if "| stuck_bit" in line]
    one, ten = "100.0 (2.5–100.0) of 1", "100.0 (69.2–100.0) of 10"
    assert rows == [
        ["quick", "own", ten, ten, "0.0 (0.0–30.8) of 10", ten],
        ["standard", "march", "0.0 (0.0–97.5) of 1", one, "–", one],
    ]
    assert "Nothing is lost without random, modulo, backgrounds, " in text


# The command


def test_a_sample_through_the_command_in_words_and_in_json(tmp_path: Path) -> None:
    asked = ("--sample", "2", "--kind", "stuck_bit", "--kind", "coupling_ecc", "--profile", "quick")
    words, page = bench(*asked), tmp_path / "page.md"
    begin = detection_table.begin("memory")
    page.write_text(f"before\n{begin}\nold\n{detection_table.END}\nafter\n", encoding="utf-8")
    assert words.exit_code == 0, words.output
    assert "Recall on planted virtual faults." in words.stdout
    stuck, *_ = (line for line in words.stdout.splitlines() if line.startswith("| stuck_bit "))
    assert stuck.split("|")[2:5] == [" quick   ", " 100.0 (15.8–100.0) of 2 ", " 100.0 (15.8–100.0) of 2         "]
    told = bench(*asked, "--json", "--out", str(page))
    found = msgspec.json.decode(told.stdout, type=Told)
    assert (found.simulated, found.title) == (True, "recall on planted virtual faults")
    assert len(found.rows) == 3 * (1 + len(memory_peers.PEERS))
    assert "\n".join(detection_table.lines(found)) + "\n" == words.stdout
    assert page.read_text(encoding="utf-8").split(words.stdout) == [
        f"before\n{begin}\n",
        f"{detection_table.END}\nafter\n",
    ]
    again = shlex.split(found.command)[3:]
    assert bench(*again, "--json").stdout == told.stdout


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--kind", "stuck"), "--kind: no kind of planted fault is called 'stuck'; there are stuck_bit, "),
        (("--profile", "fast"), f"--profile: no profile is called 'fast'; there are {', '.join(PROFILES)}"),
        (("--show", "stuck", "1"), "--show: no kind of planted fault is called 'stuck'"),
        (("--out", "table.txt"), "--out table.txt: must end in .md or .json"),
        (("--out", "README.md"), "--out README.md: has no place for the tables: write the lines <!-- table"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(asked: tuple[str, ...], says: str) -> None:
    done = bench("--sample", "1", *asked)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gpucert: {says}")
    assert done.stderr.count("\n") == 1


def test_tables_go_into_files_of_their_own(tmp_path: Path) -> None:
    for name in ("new.md", "new.json"):
        asked = ("--sample", "1", "--kind", "alias", "--profile", "quick", "--no-peers", "--out", str(tmp_path / name))
        assert bench(*asked).exit_code == 0
    assert detection_table.begin("memory") in (tmp_path / "new.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "new.json").read_bytes())["simulated"] is True


# The page


@every_suite
def test_the_tables_of_the_page_were_made_by_the_command_that_they_name(suite: str) -> None:
    _, begun, text = PAGE.read_text(encoding="utf-8").partition(detection_table.begin(suite))
    text = text.partition(detection_table.END)[0]
    command = re.search(r"`(gpucert bench detection [^`]*)`", text)
    assert begun
    assert command
    asked = detection_command.make_context("detection", shlex.split(command[1])[3:]).params
    assert (asked["suite"] or detection.suite_of(asked["kinds"])) == suite
    those = wanted(
        suite,
        **{name: asked[name] for name in ("kinds", "profiles") if asked[name]},
        **{name: asked[name] for name in ("peers", "ablate", "seeds", "healthy", "seed")},
        slow=asked["slow_seeds"],
    )
    assert detection.command(those) == command[1]
    methods = {kind: detection.methods(those, kind) for kind in (*those.kinds, HEALTHY)}
    ours = rows_below(text, ["planted", "profile", "found", "diagnosis right"])
    assert [(row[0].partition(":")[0], row[1], row[2].rpartition(" of ")[2]) for row in ours] == [
        (kind, one.name, str(cards_of(those, kind, one)))
        for kind, used in methods.items()
        for one in used
        if one.sort == "profile"
    ]
    if detection.SUITES[suite].PEERS:
        assert [row[0].partition(":")[0] for row in rows_below(text, BESIDE)] == list(methods)
    told = [int(seed) for line in text.splitlines() if line.startswith("- ") for seed in re.findall(r" (\d+)", line)]
    assert all(seed < max(those.seeds, those.healthy) for seed in told)


BESIDE = ["planted", "cards"]


def rows_below(text: str, head: list[str]) -> list[list[str]]:
    """The rows of the one table whose first columns have these heads, or begin with them."""
    tables = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    cells = [[[cell.strip() for cell in line.split("|")[1:-1]] for line in table] for table in tables]
    (found,) = [table for table in cells if all(one.startswith(two) for one, two in zip(table[0], head, strict=False))]
    return found[2:]


def cards_of(those: Wanted, kind: str, method: Method) -> int:
    """How many cards a method was given: all of what only one profile looks for."""
    if kind == HEALTHY:
        return method.cards(those, those.healthy)
    only = detection.SUITES[those.suite].KINDS[kind].only
    return those.seeds if only else method.cards(those, those.seeds)


def test_a_seed_of_the_page_can_be_run_again() -> None:
    """The scan of a card that is shown ends as it did in the bench."""
    text = bench("--show", "transition", "5").stdout
    record = in_process.run(text, "test", memory_suite.planned("quick"))
    assert record.steps[0].number("wrong_words")


def test_the_phases_of_the_page_are_those_of_the_profiles() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {row[0].strip().strip("`"): [cell.strip() for cell in row[2:5]] for row in rows if len(row) == 6}
    touches = {name: {one.name: f"{one.touches:.0f}" for one in profile.phases} for name, profile in PROFILES.items()}
    names = {name for by in touches.values() for name in by}
    assert told == {name: [touches[profile].get(name, "–") for profile in PROFILES] for name in names}
