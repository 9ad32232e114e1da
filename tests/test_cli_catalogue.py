"""`gpucert catalogue` as a person uses it: find a model, read its facts, check a file of one's own."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gpucert.catalogue import shelf
from gpucert.cli import main

FILE = Path(shelf.__file__).parent / "data" / "nvidia-a100-sxm4-80gb.toml"


def catalogue(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["catalogue", *map(str, words)])


def test_the_list_is_narrowed_by_words() -> None:
    assert len(catalogue("list").output.splitlines()) == len(shelf.keys())
    assert {"Ampere" in shelf.get(line.split("  ")[0]).architecture for line in
            catalogue("list", "AMPERE", "80gb").output.splitlines()} == {True}  # fmt: skip
    nothing = catalogue("list", "voodoo")
    assert (nothing.exit_code, len(nothing.output.splitlines())) == (2, 1)


@pytest.mark.parametrize("key", shelf.keys())
def test_every_model_can_be_shown(key: str) -> None:
    shown = catalogue("show", key)
    assert shown.exit_code == 0, shown.output
    assert "None" not in shown.output


def test_facts_have_units_and_sources() -> None:
    told = catalogue("show", "NVIDIA A100-SXM4-80GB").output
    for words in ("2039 GB/s", "1593 MHz", "400 W", "0.103 °C/W", "311.9 TFLOP/s", "623.7 TOP/s", "0.88 of the peak"):
        assert words in told, words
    assert "2 × 1593 MHz × 5120 bit / 8 = 2039 GB/s" in told
    assert "CALC" in told.partition("\nsources\n")[2]


def test_an_unknown_model_is_one_line_with_a_way_on() -> None:
    shown = catalogue("show", "NVIDIA A100 SXM4 80GB")
    assert (shown.exit_code, len(shown.output.splitlines())) == (2, 1)
    assert "'NVIDIA A100-SXM4-80GB'" in shown.output


def test_the_shipped_catalogue_is_clean() -> None:
    done = catalogue("lint")
    assert (done.exit_code, done.output) == (0, f"{len(shelf.keys())} models, nothing wrong\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sm_count = 108", "sm_count = 109", "NVIDIA A100-SXM4-80GB: cuda_cores: 6912, where 109 SMs × 64 give 6976"),
        ("peak_gb_s = 2039.0", "peak_gb_s = 2039000.0", "memory.peak_gb_s"),
        ("[memory]", "[memory]\nsize_gb = 80", "unknown field `size_gb`"),
        ('key = "NVIDIA A100-SXM4-80GB"', 'key = "My card"', "both are 20b2 with this memory and cores"),
        ("peak_gb_s = 2039.0", "peak_gb_s = nan", "memory.peak_gb_s"),
        ("peak_gb_s = 2039.0", "peak_gb_s = inf", "memory.peak_gb_s"),
    ],
)
def test_a_file_of_ones_own_is_checked_beside_the_others(tmp_path: Path, old: str, new: str, said: str) -> None:
    own = tmp_path / "mine.toml"
    own.write_text(FILE.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    done = catalogue("lint", own)
    assert done.exit_code == 2
    assert said in done.output


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "binary.toml", tmp_path / "missing.toml", tmp_path):
        done = catalogue("lint", path)
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert "key is of one model" in catalogue("lint", FILE, FILE).output
