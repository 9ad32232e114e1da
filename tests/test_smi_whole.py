"""What a query leaves out is told: every line of one that a full query states, and no line of real output."""

import re
from pathlib import Path

import pytest

from gpucert.capture import Capture
from gpucert.device import smi

HERE = Path(__file__).parent / "captures"
SHARED = Path(__file__).parent.parent.parent / "shared" / "captures"
TEXT = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
STRIPPED = {"telegraf__gtx-1070-ti.xml"}
"""Real output of which its collectors kept a few lines."""


def a10(text: str) -> Capture:
    return smi.read(text, "card.txt")[0]


def real() -> list[Path]:
    files = [*HERE.iterdir(), *(SHARED.iterdir() if SHARED.is_dir() else ())]
    return sorted(path for path in files if path.suffix != ".md")


@pytest.mark.parametrize("path", real(), ids=lambda path: str(path.name))
def test_whole_queries_of_every_driver_leave_nothing_out(path: Path) -> None:
    left_out = [one.left_out for one in smi.load(path) if one.left_out]
    assert bool(left_out) == (path.name in STRIPPED), left_out


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("        Pending                           : Yes\n", ("remapping pending",)),
        ("        Remapping Failure Occurred        : No\n", ("remapping failed",)),
        ("Driver Version                            : 535.161.08\n", ("driver",)),
        ("Attached GPUs                             : 2\n", ("number of GPUs",)),
    ],
)
def test_a_line_that_is_gone_is_named(line: str, names: tuple[str, ...]) -> None:
    assert line in TEXT
    assert a10(TEXT.replace(line, "", 1)).left_out == names


def test_a_section_that_is_gone_is_named() -> None:
    cut = re.sub(r"    Remapped Rows\n(?:        .*\n)+", "", TEXT, count=1)
    assert a10(cut).left_out == (
        "remapped rows", "rows remapped early", "remapping pending", "remapping failed", "spare rows",
    )  # fmt: skip


def test_lines_that_belong_to_the_newer_sram_counters_are_missed_beside_them_alone() -> None:
    cut = re.sub(r" +SRAM Threshold Exceeded +: No\n", "", TEXT)
    assert [one.left_out for one in smi.read(cut, "card.txt")] == [(), ()]
    apart = cut.replace(
        "SRAM Uncorrectable            : 0", "SRAM Uncorrectable Parity : 0\n            SRAM Uncorrectable SEC-DED : 0"
    )
    assert [one.left_out for one in smi.read(apart, "card.txt")] == [("SRAM threshold",)] * 2


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Y\u0435s", 'remapping pending (the file says "Y\u0435s")'),  # a Cyrillic letter
        ("maybe", 'remapping pending (the file says "maybe")'),
        ("", "remapping pending"),
        ("Not Found", "remapping pending (Not Found)"),
    ],
)
def test_an_answer_that_is_none_of_nvidia_smi_s_is_no_answer(said: str, told: str) -> None:
    assert a10(TEXT.replace("Pending                           : Yes", f"Pending : {said}", 1)).left_out == (told,)


@pytest.mark.parametrize("four", ["\uff14", "\u0664", "\U0001d7d2", "4 k", "4.0", "four"])
def test_a_number_that_nvidia_smi_would_not_write_is_no_number(four: str) -> None:
    text = re.sub(r"(Uncorrectable Error +: )4\n", lambda line: f"{line[1]}{four}\n", TEXT, count=1)
    assert text != TEXT
    assert a10(text).left_out == (f'remapped rows (the file says "{four}")',)


def test_a_line_that_stands_twice_with_two_answers_is_told() -> None:
    line = "        Pending                           : Yes\n"
    twice = TEXT.replace(line, line + line.replace("Yes", "No"), 1)
    assert a10(twice).left_out == ('remapping pending (the file says both "Yes" and "No")',)


@pytest.mark.parametrize("said", ["N/A", "[N/A]", "[Unknown Error]", "[GPU is lost]", "[Insufficient Permissions]"])
def test_an_error_of_the_driver_is_an_answer(said: str) -> None:
    assert a10(TEXT.replace("Pending                           : Yes", f"Pending : {said}", 1)).left_out == ()


def test_a_masked_identity_is_no_lost_line() -> None:
    masked = TEXT.replace("223610DE", "[REDACTED]").replace("1320000000001", "XXXXXXXXXXXXX")
    assert masked != TEXT
    assert a10(masked).left_out == ()


def test_of_a_newer_driver_nothing_is_told_and_that_is_said() -> None:
    card = a10(TEXT.replace("535.161.08", "700.10").replace("        Pending                           : Yes\n", "", 1))
    assert card.left_out == ()
    assert any("newer than those known here" in note for note in card.notes)
