"""`gpucert compare` as a person and a script meet it: targets, exit codes, text at any width, JSON, page, bad input."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec import structs

from gpucert import record as records
from gpucert.certificate.comparison import view
from gpucert.cli import main
from gpucert.record import Record
from gpucert.verdict.comparison import LOOKS, Comparison
from tests import comparisons
from tests.comparisons import BAD_CELL, PASTE, hostile, hostile_record, record, repaired

NASTY = "</title><script>window.broken = 1</script>\x1b[31m\u202e{{ 7 * 7 }}"


def gpucert(*words: str | Path, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"}).invoke(main, list(map(str, words)))


def put(folder: Path, told: Record) -> Path:
    """The folder of a card with this record."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(records.encode(told))
    return folder


@pytest.fixture
def worn(tmp_path: Path) -> Path:
    return put(tmp_path / "worn" / "GPU-1", record(PASTE))


@pytest.fixture
def mended(tmp_path: Path) -> Path:
    return put(tmp_path / "mended" / "GPU-1", record(number=1))


def test_a_record_a_card_and_a_run_are_taken_alike(worn: Path, mended: Path, tmp_path: Path) -> None:
    copy = tmp_path / "july.json"
    copy.write_bytes((mended / "record.json").read_bytes())
    told = {
        gpucert("compare", one, other, "--json").stdout
        for one, other in ((worn, mended), (worn.parent, mended / "record.json"), (worn / "record.json", copy))
    }
    assert len(told) == 1


def test_nothing_of_the_runs_is_written(worn: Path, mended: Path, tmp_path: Path) -> None:
    before = sorted(path for path in tmp_path.rglob("*"))
    assert gpucert("compare", worn, mended).exit_code == 0
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_exit_codes_are_for_scripts(worn: Path, mended: Path, tmp_path: Path) -> None:
    other = structs.replace(record(number=1), card=structs.replace(record().card, uuid="GPU-2"))
    foreign = put(tmp_path / "foreign", other)
    short = put(tmp_path / "short", record(number=1, thermal_soak=0.0))
    assert gpucert("compare", worn, mended).exit_code == 0
    assert gpucert("compare", worn, short).exit_code == 10
    assert gpucert("compare", mended, worn).exit_code == 20
    refused = gpucert("compare", worn, foreign)
    assert refused.exit_code == 30
    assert "two cards" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def _damaged(worn: Path, tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "damaged.json"
    text = (worn / "record.json").read_text(encoding="utf-8")
    match kind:
        case "no JSON":
            path.write_text("hello", encoding="utf-8")
        case "another schema":
            path.write_text(text.replace("gpucert.record/1", "gpucert.record/9"), encoding="utf-8")
        case "a field of another type":
            path.write_text(text.replace('"simulated": true', '"simulated": "yes"'), encoding="utf-8")
        case "cut short":
            path.write_text(text[: len(text) // 2], encoding="utf-8")
        case "two cards":
            path = tmp_path / "rack"
            put(path / "one", record())
            put(path / "two", record(number=1))
        case _:
            path = tmp_path / "empty"
            path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("no JSON", "not a gpucert record"),
        ("another schema", "gpucert.record/9"),
        ("a field of another type", "simulated"),
        ("cut short", "damaged.json"),
        ("two cards", "name the folder of one of them"),
        ("an empty folder", "no record.json here"),
    ],
)
def test_bad_input_is_one_line_that_names_the_file(worn: Path, tmp_path: Path, kind: str, named: str) -> None:
    done = gpucert("compare", worn, _damaged(worn, tmp_path, kind))
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpucert: ")
    assert named in line


def test_json_is_what_its_schema_says_and_holds_every_measure(worn: Path, mended: Path) -> None:
    found = json.loads(gpucert("compare", worn, mended, "--json").stdout)
    jsonschema.validate(found, msgspec.json.schema(Comparison))
    (fast,) = (one for one in found["measures"] if one["measure"] == "thermal.fast")
    assert fast["change"] == "better"
    assert fast["difference"] == pytest.approx(fast["after"] - fast["before"])
    assert abs(fast["difference"]) > fast["least"] > fast["difference_u"] > 0
    assert found["exit_code"] == 0
    assert found["before"]["outcome"] == "reported"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_text_fits_and_says_in_words_what_colour_says(worn: Path, tmp_path: Path, columns: int) -> None:
    broken = put(tmp_path / "broken", record(BAD_CELL, number=1))
    text = gpucert("compare", worn, broken, columns=columns).stdout
    assert [line for line in text.splitlines() if len(line) > columns] == []
    for words in ("Something got worse", "SIMULATED", "worse", "better", "alike", "memory.hard", "came", "went"):
        assert words in text
    assert "Wrong words" in text
    assert not re.search(r"\bnan\b|\binf\b|None", text)


def test_the_page_is_written_and_evidence_is_not_overwritten(worn: Path, mended: Path, tmp_path: Path) -> None:
    page = tmp_path / "repair.html"
    done = gpucert("compare", worn, mended, "--page", page)
    assert str(page) in done.stderr
    assert "Die to cooler, first second" in page.read_text(encoding="utf-8")
    kept = (worn / "record.json").read_bytes()
    refused = gpucert("compare", worn, mended, "--page", worn / "record.json")
    assert refused.exit_code == 2
    assert (worn / "record.json").read_bytes() == kept


def test_names_the_policy_that_both_are_judged_by(worn: Path, mended: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    docs = Path(__file__).parent.parent / "docs" / "judgement.md"
    own.write_text(re.findall(r"^```toml\n(.*?)^```", docs.read_text("utf-8"), re.M | re.S)[0], encoding="utf-8")
    found = json.loads(gpucert("compare", worn, mended, "--json", "--policy", own).stdout)
    assert found["policy"]["name"] == "custom house rules"


# The page


def test_text_from_cards_is_harmless_on_the_page_and_in_the_terminal(tmp_path: Path) -> None:
    text = comparisons.page(hostile(NASTY))
    assert "<script" not in text
    assert "\x1b" not in text
    assert "{{ 7 * 7 }}" in text
    one, other = (put(tmp_path / str(number), hostile_record(NASTY, number)) for number in (0, 1))
    said = gpucert("compare", one, other).stdout
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_the_page_says_what_the_text_says() -> None:
    text, found = comparisons.page(repaired()), view(repaired())
    rows = [row for panel in (found.changed, found.same) if panel for row in panel.rows]
    assert rows
    for row in rows:
        assert row.name in text
        assert row.difference in text
    for gap in found.gaps:
        assert gap.look.word in text
    assert comparisons.page(repaired()) == text


def test_marks_stand_where_their_numbers_say() -> None:
    found = view(repaired())
    for panel in (found.changed, found.same):
        assert panel is not None
        assert any(tick.label == "0" and tick.at == 50.0 for tick in panel.ticks)
        for row in panel.rows:
            if row.places is None:
                continue
            left, width = row.places.band
            assert 0 <= row.places.difference <= 100
            assert left + width / 2 == pytest.approx(50, abs=0.2)
            inside = left - 0.1 <= row.places.difference <= left + width + 0.1
            assert inside == (row.look is LOOKS["same"])


def test_a_comparison_without_anything_in_common_is_still_a_page() -> None:
    found: dict[str, Any] = {"measures": (), "counters": (), "findings": (), "diagnoses": (), "circumstances": ()}
    assert "Plan, versions, station" in comparisons.page(structs.replace(repaired(), **found))
