"""Learning a baseline from records, showing it, comparing it, and judging by it, through the doors a person uses."""

import json
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
    cards = made["measure"]["memory_bandwidth.read_per_clock"]["cards"]
    assert len(cards) == 6
    assert (made["model"], made["simulated"]) == (MODEL, True)
    latest = json.loads(again.read_bytes())
    value = next(
        one["value"] for step in latest["steps"] for one in step["measurements"] if one["name"] == "read_per_clock"
    )
    assert next(card["value"] for card in cards if card["card"].endswith("0")) == pytest.approx(value)


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
    assert len(made["measure"]["memory_bandwidth.read_per_clock"]["cards"]) == 6
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
    assert len(made["measure"]["memory_bandwidth.read_per_clock"]["cards"]) == 6
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


def test_diff_tells_what_moves_and_whose_verdict_changes(fleet: Path, tmp_path: Path, record: dict[str, Any]) -> None:
    out = tmp_path / "a100.toml"
    learned(fleet, out)
    write(fleet, record, 66, 0.94)
    told = gpucert("baseline", "diff", out, fleet).output
    assert "n 0 → 6" in told
    assert "certified → not_certified (performance.memory)" in told
    assert "6 records of this model are judged as before" in told


def test_the_same_records_make_the_same_file(fleet: Path, tmp_path: Path) -> None:
    learned(fleet, tmp_path / "one.toml")
    learned(fleet, tmp_path / "two.toml")
    assert (tmp_path / "one.toml").read_bytes() == (tmp_path / "two.toml").read_bytes()


WRONG_UNIT = """
[measure."thermal.fast"]
unit = "W"
kernel = ""
source = ""
cards = []
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('model = "NVIDIA A101"\nversion = 1\n', "model: no model 'NVIDIA A101'"),
        ('model = "Tesla T4"\n', "version"),
        ("[", "toml"),
        (f'model = "{MODEL}"\nversion = 1\n{WRONG_UNIT}', "measure.thermal.fast.unit is 'W', but limits are in '°C/W'"),
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
