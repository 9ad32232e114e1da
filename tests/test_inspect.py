"""`gpucert inspect`: the right model, driver and diagnoses for every capture; one line for every file without one."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gpucert.cli import main

HERE = Path(__file__).parent / "captures"
SHARED = Path(__file__).parent.parent.parent / "shared" / "captures"

CLOSING = "A read-only look: nothing was loaded, nothing is certified."


def inspect(*arguments: str | Path, **options: Any) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)], **options)


def cards(*files: Path) -> list[dict[str, Any]]:
    result = inspect("--json", *files)
    told = json.loads(result.stdout)
    assert result.exit_code == told["exit_code"]
    found: list[dict[str, Any]] = told["cards"]
    return found


def codes(card: dict[str, Any]) -> set[str]:
    return {diagnosis["code"] for diagnosis in card["diagnoses"]}


OWN: dict[str, list[tuple[str | None, str | None, set[str]]]] = {
    "a10-and-h100.txt": [
        ("NVIDIA A10", "535.161.08", {"memory.row_remap"}),
        ("NVIDIA H100 80GB HBM3", "535.161.08", {"station.power", "device.reset_required"}),
    ],
    "idle-and-load.txt": [
        ("NVIDIA GeForce RTX 4090", "610.57.04", {"config.pending"}),
    ],
    "v100-retired.xml": [
        ("Tesla V100-SXM3-32GB", "410.104", {"memory.retired_pages", "memory.ecc_uncorrected"}),
    ],
    "a100-mig.xml": [("NVIDIA A100-SXM4-80GB", "535.54.03", {"config.mig"})],
    "bug-report.txt": [
        ("NVIDIA L40S", "560.35.03", {"identity.inforom", "device.reset_required", "memory.contained"}),
        (None, "560.35.03", {"device.lost"}),
    ],
}
"""Our own captures: model, driver, diagnoses of each card."""


@pytest.mark.parametrize("name", OWN)
def test_own_captures(name: str) -> None:
    told = [(card["model"], card["driver"], codes(card)) for card in cards(HERE / name)]
    assert told == OWN[name]


NOTHING: set[str] = set()
REAL: dict[str, list[tuple[str | None, str | None, set[str]]]] = {
    "azhpc__nvidia-smi-inforom.out": [
        *[(None, "460.32.03", NOTHING)] * 7,
        (None, "460.32.03", {"identity.inforom"}),
    ],
    "azhpc__nvlink.bad.out": [
        *[("Tesla V100-SXM2-32GB", None, NOTHING)] * 3,
        *[("Tesla V100-SXM2-32GB", None, {"link.nvlink_down"})] * 4,
    ],
    "gpud__nvidia-smi-query.535.129.03.out.0.valid.a10": [("NVIDIA A10", "535.129.03", {"memory.row_remap"})],
    "gpud__nvidia-smi-query.535.154.05.out.0.valid.4090": [("NVIDIA GeForce RTX 4090", "535.154.05", NOTHING)] * 8,
    "gpud__nvidia-smi-query.535.154.05.out.1.valid": [("NVIDIA GeForce RTX 4090", "535.154.05", NOTHING)] * 8,
    "gpud__nvidia-smi.525.125.06.out.0.valid": [(None, "525.125.06", {"sensor.absurd"})],
    "gpud__nvidia-smi.550.90.07.out.0.valid": [("NVIDIA H100 80GB HBM3", "550.90.07", NOTHING)] * 8,
    "gpud__nvidia-smi.nvlink.status.a100": [("NVIDIA A100-SXM4-80GB", None, NOTHING)] * 8,
    "gpud__nvidia-smi-query.535.161.08.out.0.valid": [("NVIDIA H100 80GB HBM3", "535.161.08", {"station.power"})] * 8,
    "pai__nvidia_smi_out_of_order.xml": [("Tesla K80", "430.26", NOTHING)] * 4,
    "pai__nvidia_smi_sample.xml": [("GeForce GTX 1070", "384.66", NOTHING)] * 2,
    "telegraf__a100-sxm4-v12.xml": [("NVIDIA A100-SXM4-80GB", "535.54.03", {"config.mig"})],
    "telegraf__gtx-1070-ti.xml": [("GeForce GTX 1070 Ti", None, {"identity.capture"})],
    "telegraf__quadro-p2000-v12.xml": [("Quadro P2000", "525.125.06", NOTHING)],
    "telegraf__quadro-p400.xml": [("Quadro P400", "418.43", NOTHING)],
    "telegraf__rtx-3060-v12.xml": [("NVIDIA GeForce RTX 3060 12GB", "570.124.04", NOTHING)],
    "telegraf__rtx-3080-v12.xml": [("NVIDIA GeForce RTX 3080 10GB", "536.40", NOTHING)],
    "telegraf__rtx-3080-v13.xml": [("NVIDIA GeForce RTX 3080 10GB", "595.58.03", NOTHING)],
    "telegraf__rtx-3090-v12.xml": [("NVIDIA GeForce RTX 3090", "525.147.05", {"power.limit"})],
    "utku__linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05.txt": [
        ("NVIDIA GeForce RTX 2080 SUPER", "595.71.05", NOTHING)
    ],
    "utku__linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt": [("NVIDIA H100 80GB HBM3", "590.48.01", NOTHING)],
    "utku__linux-x86_64__nvidia-h100-mig__590.48.01.txt": [("NVIDIA H100 80GB HBM3", "590.48.01", {"config.mig"})],
    "utku__windows-x86_64__nvidia-geforce-rtx-2080-super__591.86.txt": [
        ("NVIDIA GeForce RTX 2080 SUPER", "591.86", NOTHING)
    ],
    "utku__windows-x86_64__nvidia-geforce-rtx-2080-super__610.62.txt": [
        ("NVIDIA GeForce RTX 2080 SUPER", "610.62", NOTHING)
    ],
}
"""Real captures: model, driver, diagnoses of each card. What is only disclosed (old errors, few pages) is none."""


def without_mig() -> str:
    """The A100 of our captures as it answers without MIG, which hides its row remapper."""
    rows = "<remapped_row_corr>0</remapped_row_corr><remapped_row_unc>0</remapped_row_unc>"
    flags = "<remapped_row_pending>No</remapped_row_pending><remapped_row_failure>No</remapped_row_failure>"
    text = (HERE / "a100-mig.xml").read_text(encoding="utf-8")
    for mode in ("current_mig", "pending_mig"):
        text = text.replace(f"Enabled</{mode}>", f"Disabled</{mode}>")
    return text.replace(
        "<remapped_rows>N/A<", f"<remapped_rows>{rows}{flags}<row_remapper_histogram>N/A</row_remapper_histogram><"
    )


def test_something_found_exits_20_and_nothing_found_10(tmp_path: Path) -> None:
    path = tmp_path / "healthy.xml"
    path.write_text(without_mig(), encoding="utf-8")
    assert inspect(path).exit_code == 10
    assert inspect(HERE / "a100-mig.xml").exit_code == 20
    assert inspect(path, HERE / "a100-mig.xml").exit_code == 20
    (card,) = cards(path)
    assert (card["outcome"], card["exit_code"], card["diagnoses"]) == ("reported", 10, [])


def test_the_text_says_what_was_read_what_was_not_and_what_to_do() -> None:
    result = inspect(HERE / "a10-and-h100.txt", env={"COLUMNS": "200"})
    assert result.exit_code == 20
    for words in (
        "NVIDIA A10 at 00000000:07:00.0",
        "driver 535.161.08, serial 1320000000001",
        "a remap is PENDING",
        "InfoROM checksum: unknown (not in this capture)",
        "memory.row_remap",
        "→ Pending: reset the card",
        "station.power, certain (station)",
        CLOSING,
    ):
        assert words in result.stdout


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("hello")
    result = inspect(bad, HERE / "a100-mig.xml", tmp_path / "nothing")
    assert result.exit_code == 2
    assert "config.mig" in result.stdout
    assert result.stderr.splitlines() == [
        f"gpucert: {bad}: not a capture of nvidia-smi; give the output of `nvidia-smi -q`, or of `nvidia-smi -q -x`",
        f"gpucert: {tmp_path / 'nothing'}: No such file or directory",
    ]
    told = json.loads(inspect("--json", bad, HERE / "a100-mig.xml").stdout)
    assert (told["exit_code"], len(told["cards"]), len(told["unreadable"])) == (2, 1, 1)


def test_a_report_never_overwrites_what_it_is_made_of(tmp_path: Path) -> None:
    path, name = tmp_path / "card.txt", tmp_path / "report.html"
    path.write_bytes((HERE / "a10-and-h100.txt").read_bytes())
    name.symlink_to(path)
    for report in (path, name):
        result = inspect("--report", report, path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "is one of the files to read" in result.stderr
    assert path.read_bytes() == (HERE / "a10-and-h100.txt").read_bytes()


def test_wrapped_lines_of_a_diagnosis_keep_its_indent() -> None:
    lines = inspect(HERE / "a10-and-h100.txt", env={"COLUMNS": "60"}).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if "→ Pending: reset" in line)
    assert lines[at + 1].startswith("    ")


def test_what_a_diagnosis_tells_is_told_once(tmp_path: Path) -> None:
    again = tmp_path / "clean.txt"
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    again.write_text(text.replace("Pending                           : Yes", "Pending : No"), encoding="utf-8")
    for files in ((HERE / "a10-and-h100.txt",), (HERE / "a10-and-h100.txt", again)):
        shown = inspect(*files, env={"COLUMNS": "200"}).stdout
        assert shown.count("A row remap is pending") == 1
        assert "FAIL" not in shown


def test_standard_input_is_a_file_too() -> None:
    result = inspect("--json", "-", input=(HERE / "a100-mig.xml").read_bytes())
    (card,) = json.loads(result.stdout)["cards"]
    assert (card["captures"][0]["source"], card["model"]) == ("standard input", "NVIDIA A100-SXM4-80GB")


@pytest.mark.parametrize("evil", ["\x1b[31mred\x1b[0m", "\u202eGPJ.exe", "[bold red]x[/]", "\x07\x08", "a\u2066b"])
def test_hostile_names_are_shown_escaped(tmp_path: Path, evil: str) -> None:
    path = tmp_path / "evil.txt"
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    path.write_text(text.replace("NVIDIA A10", f"NVIDIA {evil}", 1), encoding="utf-8")
    shown = inspect(path, env={"COLUMNS": "300"}, color=True).stdout
    assert evil in shown if evil.startswith("[") else evil not in shown
    assert "\u202e" not in shown
    assert "\x1b[31mred" not in shown


def test_no_colour_where_nobody_asked_for_it() -> None:
    assert "\x1b" not in inspect(HERE / "a10-and-h100.txt").stdout
    assert "\x1b" not in inspect(HERE / "a10-and-h100.txt", env={"NO_COLOR": "1", "FORCE_COLOR": "1"}).stdout.replace(
        "\x1b[1m", ""
    ).replace("\x1b[0m", "").replace("\x1b[2m", "")


def test_narrow_terminals_cut_no_word() -> None:
    for columns in ("20", "40", "80"):
        shown = inspect(HERE / "bug-report.txt", env={"COLUMNS": columns}).stdout
        assert "CORRUPTED" in shown
        assert "…" not in shown


def test_a_repeated_xid_is_told_once_with_its_count() -> None:
    (l40s, _) = cards(HERE / "bug-report.txt")
    (told,) = [one for one in l40s["diagnoses"] if one["code"] == "memory.contained"]
    assert "2 times" in told["evidence"]


@pytest.mark.parametrize(
    ("code", "diagnosis"),
    [
        (79, "device.lost"),
        (119, "device.firmware"),
        (48, "memory.ecc_uncorrected"),
        (94, "memory.contained"),
        (74, "xid.74"),
        (64, "xid.64"),
        (43, None),
        (13, None),
        (45, None),
        (9999, "xid.9999"),
    ],
)
def test_xids_of_a_log_weigh_what_the_catalogue_says(tmp_path: Path, code: int, diagnosis: str | None) -> None:
    log = tmp_path / "dmesg.txt"
    log.write_text(f"NVRM: Xid (PCI:0000:01:00): {code}, pid=1, name=x, words\n")
    (card,) = cards(log)
    assert codes(card) == ({diagnosis} if diagnosis else set())
    assert card["exit_code"] == (20 if diagnosis else 10)


@pytest.mark.parametrize(
    ("severity", "diagnosis"),
    [
        ("Corrected", set()),
        ("Uncorrected (Non-Fatal)", {"link.pcie_errors"}),
        ("Uncorrected (Fatal)", {"link.pcie_errors"}),
    ],
)
def test_pcie_errors_of_a_log_are_found_where_the_link_could_not_correct_them(
    tmp_path: Path, severity: str, diagnosis: set[str]
) -> None:
    log = tmp_path / "dmesg.txt"
    log.write_text(f"[1.1] nvidia 0000:3b:00.0: PCIe Bus Error: severity={severity}, type=Data Link Layer\n" * 3)
    (card,) = cards(log)
    assert codes(card) == diagnosis
    assert any("counts 3 PCIe errors of this card" in note for note in card["notes"])


def test_a_remap_that_only_waits_for_a_reset_is_no_failed_one(tmp_path: Path) -> None:
    log = tmp_path / "dmesg.txt"
    head = "NVRM: Xid (PCI:0000:01:00): 64, pid=1, name=x, Row Remapper"
    waits = f"{head}: (0x18f31d80) - Attempting to remap a row that is already pending remapping.\n"
    log.write_text(waits * 2)
    (card,) = cards(log)
    assert codes(card) == {"memory.row_remap"}
    log.write_text(f"{waits}{head} Error: (0x18f31d80) - Row Remapping table is full\n{waits}")
    (card,) = cards(log)
    assert codes(card) == {"memory.row_remap", "xid.64"}, "one that failed is not hidden among them"


@pytest.mark.parametrize(
    ("words", "diagnosis"),
    [("[GPU is lost]", "device.lost"), ("[GPU requires reset]", "device.reset_required"), ("255 C", "sensor.absurd")],
)
def test_readings_that_say_why_they_are_none_are_found(tmp_path: Path, words: str, diagnosis: str) -> None:
    path = tmp_path / "card.txt"
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    path.write_text(text.replace("Current Temp                  : 33 C", f"Current Temp                  : {words}"))
    assert diagnosis in codes(cards(path)[0])


def test_json_carries_the_readings_themselves() -> None:
    a10, h100 = cards(HERE / "a10-and-h100.txt")
    assert a10["captures"][0]["counters"]["remapped_uncorrectable"] == 4
    assert a10["captures"][0]["counters"]["inforom_valid"] == {"absent": "unknown", "detail": "not in this capture"}
    assert a10["identity"]["serial"] == "1320000000001"
    assert h100["captures"][0]["sample"]["event_reasons"] == 0x88


def test_a_name_that_its_ids_belie_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "fake.txt"
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    path.write_text(text.replace(": NVIDIA A10\n", ": NVIDIA H100 80GB HBM3\n", 1), encoding="utf-8")
    fake = cards(path)[0]
    assert "identity.mismatch" in codes(fake)
    assert fake["model"] != "NVIDIA H100 80GB HBM3"


def test_what_is_no_fault_is_disclosed_all_the_same() -> None:
    shown = inspect(HERE / "v100-retired.xml", env={"COLUMNS": "200"}).stdout
    assert "2 memory pages are retired: disclosed." in shown
    assert "7627 uncorrectable errors in the card's life: disclosed." in shown


# --- real captures

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not beside this checkout")


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_real_captures(name: str) -> None:
    told = [(card["model"], card["driver"], codes(card)) for card in cards(SHARED / name)]
    assert told == REAL[name]


@needs_shared
def test_every_real_file_is_judged_or_named() -> None:
    result = inspect("--json", *sorted(SHARED.iterdir()))
    told = json.loads(result.stdout)
    assert {Path(one["source"]).name for card in told["cards"] for one in card["captures"]} == REAL.keys()
    assert len(told["unreadable"]) == len(list(SHARED.iterdir())) - len(REAL)
    assert result.exit_code == 2
