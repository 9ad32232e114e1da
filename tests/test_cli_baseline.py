"""Learning a baseline from records, showing it, comparing it, and judging by it, through the doors a person uses."""

import hashlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpucert.cli import main

MODEL = "NVIDIA A100-SXM4-80GB"


def gpucert(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of one healthy virtual card."""
    folder = tmp_path_factory.mktemp("healthy")
    store = folder / "ledger.sqlite"
    done = gpucert("certify", "--simulate", "healthy-a100-sxm4-80gb", "--out", folder / "run", "--store", store)
    assert done.exit_code == 0, done.output
    (file,) = folder.glob("run/*/record.json")
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


def write(folder: Path, record: dict[str, Any], number: int, memory: float = 1.0, **changes: Any) -> Path:
    """The same card under another name, with another rate of its memory."""
    text = json.loads(json.dumps(record)) | changes
    text["card"]["uuid"] = f"GPU-00000000-aaaa-4bbb-8ccc-{number:012}"
    for step in text["steps"]:
        for one in step["measurements"]:
            if step["probe"] == "memory_bandwidth" and one["name"].endswith("_per_clock"):
                one["value"] *= memory
    path = folder / f"card-{number}" / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text), encoding="utf-8")
    return path


@pytest.fixture
def fleet(tmp_path: Path, record: dict[str, Any]) -> Path:
    """Six cards whose memories differ by half a percent from one to the next."""
    for number, rate in enumerate((0.99, 0.995, 1.0, 1.0, 1.005, 1.01)):
        write(tmp_path / "fleet", record, number, rate)
    return tmp_path / "fleet"


def learned(fleet: Path, out: Path) -> tuple[dict[str, Any], Result]:
    done = gpucert("baseline", "learn", fleet, "--out", out)
    assert done.exit_code == 0, done.output
    return tomllib.loads(out.read_text(encoding="utf-8")), done


def test_clean_cards_make_a_baseline_and_each_counts_once(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    again = write(fleet / "later", record, 0, 1.02, started_at="2030-01-01T00:00:00+00:00")
    made, _ = learned(fleet, tmp_path / "a100.toml")
    cards = made["measure"]["memory_bandwidth.read_per_clock"]["value"]
    assert len(cards) == 6
    assert (made["model"], made["simulated"], made["kernel"]) == (MODEL, True, "host")
    latest = json.loads(again.read_bytes())
    value = next(
        one["value"] for step in latest["steps"] for one in step["measurements"] if one["name"] == "read_per_clock"
    )
    (card,) = (card for card in cards if card.endswith("0"))
    assert cards[card] == pytest.approx(value)
    conditions = made["card"][card]
    assert conditions["tested_at"].isoformat() == latest["started_at"]
    assert conditions["record_sha256"] == hashlib.sha256(again.read_bytes()).hexdigest()
    assert conditions["driver"] == latest["versions"]["driver"]
    assert (conditions["cuda"], conditions["inlet_c"]) == ("not stated", "not stated"), "a virtual card has neither"
    assert conditions.keys() == {"tested_at", "driver", "cuda", "cublas", "gpucert", "inlet_c", "record_sha256"}


def test_a_learned_baseline_judges_and_is_called_custom(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    out, store = tmp_path / "a100.toml", tmp_path / "ledger.sqlite"
    learned(fleet, out)
    card = write(tmp_path / "own", record, 77, 0.94)
    judge = ("judge", card.parent, "--store", store, "--json")
    assert json.loads(gpucert(*judge).stdout)["cards"][0]["tier"] == "D", "six percent down pass the prior"
    told = json.loads(gpucert(*judge, "--baseline", out).stdout)["cards"][0]
    assert (told["outcome"], told["tier"], told["diagnoses"]) == ("not_certified", "custom", ["performance.memory"])
    refused = gpucert("issue", card.parent, "--store", store)
    assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1)
    assert "--baseline" in refused.output
    assert gpucert("issue", card.parent, "--store", store, "--baseline", out).exit_code == 0
    assert "custom NVIDIA A100" in (card.parent / "certificate.html").read_text(encoding="utf-8")


def test_a_verdict_is_walked_gate_by_gate(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    out, store = tmp_path / "a100.toml", tmp_path / "ledger.sqlite"
    learned(fleet, out)
    card = write(tmp_path / "own", record, 79, 0.94)
    judge = ("judge", "--explain", card.parent, "--store", store)
    by_prior = " ".join(gpucert(*judge).output.split())
    assert "The limit rests on n = 0, prior: no card of this model has been measured" in by_prior
    assert "Why not a better tier" in by_prior
    walked = " ".join(gpucert(*judge, "--baseline", out).output.split())
    for words in ("n = 6, developing: five to nineteen reference cards", "u outside", "NOT CERTIFIED"):
        assert words in walked
    findings = json.loads((card.parent / "verdict.json").read_bytes())["findings"]
    told = [one for one in findings if one["value"] is not None]
    assert walked.count("Measured ") + walked.count("Answered ") >= len(told), "no gate is left out"


def test_a_card_off_its_siblings_weighs_little_and_is_no_evidence(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    write(fleet, record, 66, 0.85)
    out = tmp_path / "a100.toml"
    _, done = learned(fleet, out)
    assert "off its siblings: GPU-00000000-aaaa-4bbb-8ccc-000000000066 in memory_bandwidth.read" in done.output
    shown = gpucert("baseline", "show", MODEL, "--baseline", out).output
    memory = shown.partition("memory_bandwidth.read_per_clock")[2].splitlines()
    assert "x" in memory[1]
    assert memory[2].startswith("  n = 6 (developing)")


def test_a_card_that_failed_another_gate_is_left_out(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    bad = json.loads(json.dumps(record))
    for step in bad["steps"]:
        for when in ("before", "after"):
            step[when]["remap_failure"] = True
    write(fleet, bad, 55)
    made, done = learned(fleet, tmp_path / "a100.toml")
    assert len(made["measure"]["memory_bandwidth.read_per_clock"]["value"]) == 6
    assert "left out" in done.output
    assert "could not be remapped" in done.output


def test_what_cannot_be_or_was_not_tested_is_no_reference(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    write(fleet, record, 56, 1.5)
    short = write(fleet, record, 57)
    text = json.loads(short.read_bytes())
    text["plan"]["yields"] = "report"
    short.write_text(json.dumps(text), encoding="utf-8")
    skipped = json.loads(json.dumps(record))
    for step in skipped["steps"]:
        if step["probe"] == "memory_scan":
            step |= {"status": "skipped", "measurements": [], "reason": "no time"}
    write(fleet, skipped, 58)
    made, done = learned(fleet, tmp_path / "a100.toml")
    assert len(made["measure"]["memory_bandwidth.read_per_clock"]["value"]) == 6
    assert done.output.count("left out") == 3


def test_what_must_not_be_mixed_is_refused_with_both_places(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    write(fleet, record, 44, versions=record["versions"] | {"kernels": "0123456789ab"})
    done = gpucert("baseline", "learn", fleet)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert "kernels of version" in done.output
    assert "card-44" in done.output


def test_a_baseline_of_virtual_cards_judges_no_real_one(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    out = tmp_path / "a100.toml"
    learned(fleet, out)
    real = write(tmp_path / "own", record, 78, simulated=False)
    done = gpucert("judge", real.parent, "--baseline", out, "--store", tmp_path / "ledger.sqlite")
    assert done.exit_code == 2
    assert "virtual cards judges no real one" in done.output


def test_a_baseline_of_other_kernels_judges_no_record_of_these(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    out = tmp_path / "a100.toml"
    learned(fleet, out)
    other = write(tmp_path / "own", record, 80, versions=record["versions"] | {"kernels": "0123456789ab"})
    done = gpucert("judge", other.parent, "--baseline", out, "--store", tmp_path / "ledger.sqlite")
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert f"kernels of version 0123456789ab, the baseline of {MODEL} with host" in done.output
    assert gpucert("judge", other.parent, "--store", tmp_path / "ledger.sqlite").exit_code == 0


def test_one_card_under_its_uuid_and_its_pdi_counts_once(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    card = record["card"] | {"pdi": "PDI-1", "uuid": "GPU-00000000-aaaa-4bbb-8ccc-000000000070"}
    uuid = write(fleet, record, 70)
    nameless = write(fleet, record, 71, started_at="2030-01-01T00:00:00+00:00")
    for path, told in ((uuid, card), (nameless, card | {"uuid": {"absent": "not_supported"}})):
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"card": told}), encoding="utf-8")
    made, _ = learned(fleet, tmp_path / "a100.toml")
    assert [name for name in made["card"] if name.endswith(("70", "PDI-1"))] == [card["uuid"]]
    assert made["card"][card["uuid"]]["tested_at"].year == 2030


def test_a_card_whose_value_cannot_be_is_left_out_and_a_row_that_cannot_be_too(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    write(fleet, record, 72, 0.4)
    made, done = learned(fleet, tmp_path / "a100.toml")
    assert "left out GPU-00000000-aaaa-4bbb-8ccc-000000000072: measure.memory_bandwidth" in done.output
    assert len(made["card"]) == 6
    slow = tmp_path / "slow"
    for number in range(3):
        write(slow, record, number, 0.4)
    made, done = learned(slow, tmp_path / "slow.toml")
    assert "left out memory_bandwidth.read_per_clock of every card: " in done.output
    assert "memory_bandwidth.read_per_clock" not in made["measure"]
    assert len(made["measure"]["gemm_sustained.fp32_per_clock"]["value"]) == 3


def test_an_odd_inlet_is_no_reference(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    write(fleet, record, 73, inlet_c=-5.0)
    write(fleet, record, 74, inlet_c=27)
    made, done = learned(fleet, tmp_path / "a100.toml")
    assert len(made["card"]) == 7
    assert "conditions" in done.output
    assert {one["inlet_c"] for one in made["card"].values()} == {"not stated", 27.0}


def test_the_cards_behind_a_limit_are_shown_with_their_conditions(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    out = tmp_path / "a100.toml"
    made, _ = learned(fleet, out)
    shown = gpucert("baseline", "show", MODEL, "--baseline", out).output
    assert re.search(r"sha256 [0-9a-f]{64}\n", shown)
    assert "6 reference cards, measured with kernels of version host" in shown
    for card, one in made["card"].items():
        assert card in shown
        assert one["record_sha256"] in shown
    for words in ("s0 = 1.0%", "t0 = 2.0%", "× 0.88 achieved", "inlet not stated", "driver 5", "RRZE A100 80 GB: read"):
        assert words in shown, words


def test_lint_tells_every_mistake_and_diff_and_judge_refuse_it(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    out, wrong = tmp_path / "a100.toml", tmp_path / "wrong.toml"
    made, _ = learned(fleet, out)
    done = gpucert("baseline", "lint", out)
    assert (done.exit_code, done.output) == (0, "1 file, nothing wrong\n")
    values = made["measure"]["memory_bandwidth.read_per_clock"]["value"].items()
    (card, value), (other, next_value), *_ = values
    text = out.read_text(encoding="utf-8").replace(f"{card} = {value!r}", f"{card} = {value * 1000!r}", 1)
    wrong.write_text(text.replace(f"{other} = {next_value!r}", f"{other} = {next_value / 10!r}", 1), encoding="utf-8")
    told = gpucert("baseline", "lint", out, wrong)
    assert told.exit_code == 2
    place = "measure.memory_bandwidth.read_per_clock.value"
    assert f"{wrong}: {place}.{card}: {value * 1000:g} is more than the silicon can" in told.output
    assert f"{wrong}: {place}.{other}: " in told.output
    assert "2 defects in 2 files" in told.output
    for door in (
        ("baseline", "diff", wrong),
        ("baseline", "show", MODEL, "--baseline", wrong),
        ("judge", fleet / "card-1", "--baseline", wrong, "--store", tmp_path / "ledger.sqlite"),
    ):
        refused = gpucert(*door)
        assert (refused.exit_code, len(refused.output.splitlines())) == (2, 1), door
        assert f"{wrong}: {place}" in refused.output
        assert "and 1 more: `gpucert baseline lint FILE` tells all" in refused.output


def test_lint_warns_of_kernels_that_this_version_does_not_have(
    fleet: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    old = tmp_path / "old.toml"
    learned(fleet, old)
    old.write_text(old.read_text(encoding="utf-8").replace('kernel = "host"', 'kernel = "0123456789ab"'), "utf-8")
    done = gpucert("baseline", "lint", old)
    assert done.exit_code == 0
    assert f"{old}: kernel is 0123456789ab, this version measures with host" in done.output


def test_diff_tells_what_moves_and_whose_verdict_changes(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    out = tmp_path / "a100.toml"
    learned(fleet, out)
    write(fleet, record, 66, 0.94)
    told = gpucert("baseline", "diff", out, fleet).output
    assert re.search(r"gemm_sustained\.fp16_rate +first limit \d", told), "a rate per second has none before"
    assert "n 0 → 6" in told
    assert "certified → not_certified (performance.memory)" in told
    assert "6 records of this model are judged as before" in told


def test_the_same_records_make_the_same_file(fleet: Path, tmp_path: Path) -> None:
    learned(fleet, tmp_path / "one.toml")
    learned(fleet, tmp_path / "two.toml")
    assert (tmp_path / "one.toml").read_bytes() == (tmp_path / "two.toml").read_bytes()


HEAD = f'model = "{MODEL}"\nversion = 1\nkernel = "host"\n'
NOTHING = "[card]\n[measure]\n"
WRONG_UNIT = '[card]\n[measure."thermal.fast"]\nunit = "W"\nvalue = {}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD.replace("A100-SXM4-80GB", "A101") + NOTHING, "model: no model 'NVIDIA A101'"),
        ('model = "Tesla T4"\n', "version"),
        ("[", "toml"),
        (HEAD + WRONG_UNIT, "measure.thermal.fast.unit is 'W', but limits are in '°C/W'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    done = gpucert("baseline", "diff", file)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert said in done.output
    assert str(file) in done.output


def test_the_shipped_baseline_of_any_model_is_shown() -> None:
    shown = gpucert("baseline", "show", "Tesla T4")
    assert shown.exit_code == 0
    assert "n = 0 (prior)" in shown.output
    assert gpucert("baseline", "show", "T4").exit_code == 2
