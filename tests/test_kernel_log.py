"""Kernel logs: every format that drivers have used, tied to cards, counted once, and the catalogue of codes."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.catalogue import xid
from gpucert.device import kernel_log
from gpucert.device.kernel_log import LostLine, NamedLine, SxidLine, XidLine

LINES: list[tuple[str, str, int]] = [
    # line, bus id, code
    ("[...] NVRM: Xid (0000:03:00): 14, Channel 00000001", "00000000:03:00.0", 14),
    ("NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.", "00000000:3b:00.0", 79),
    ("[155044.078590] NVRM: Xid (PCI:0000:06:00): 79, GPU has fallen off the bus.", "00000000:06:00.0", 79),
    ("[6781741.54] NVRM: Xid (PCI:0000:91:00): 79, pid='<unknown>', name=<unknown>, GPU …", "00000000:91:00.0", 79),
    (
        "[Sun Feb 23 16:24:18 2025] NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=nvidia-smi, Timeout after 6s",
        "00000000:9b:00.0",
        119,
    ),
    (
        "kern  :warn  : 2025-01-21T04:41:44,283302+00:00 NVRM: Xid (PCI:0000:38:00): 13, pid='<unknown>', name=x, SM",
        "00000000:38:00.0",
        13,
    ),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9).", "00000000:01:00.0", 94),
    ("NVRM: Xid (PCI:0000:01:00 GPU-I:05 GPU-CI:01): 94, pid=7194, Contained", "00000000:01:00.0", 94),
    ("NVRM: Xid (PCI:0000:10:1c): 63, pid=1896, Row Remapper: New row marked for remapping", "00000000:10:1c.0", 63),
    ("Feb 01 14:25:31 archbox kernel: NVRM: Xid (PCI:0000:01:00): 38, pid=1659,", "00000000:01:00.0", 38),
    ("NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action changed from 0x0 (None)", "00000009:01:00.0", 154),
    ("NVRM: Xid (PCI:0018:01:00): 145, pid=8, name=ray::WorkerDict, RLW_RXPIPE Nonfatal", "00000018:01:00.0", 145),
    ("kernel: NVRM: Xid (PCI:0000:DC:00): 45, pid=1, name=python3, Ch 00000001", "00000000:dc:00.0", 45),
    ("NVRM: Xid (PCI:0000:dc:00.0): 45, pid=1, name=python3, Ch 00000001", "00000000:dc:00.0", 45),
]


@pytest.mark.parametrize(("line", "where", "code"), LINES)
def test_an_xid_is_read_in_every_format(line: str, where: str, code: int) -> None:
    parsed = kernel_log.parse(line)
    assert isinstance(parsed, XidLine)
    assert (parsed.bus_id, parsed.code) == (where, code)


def test_real_lines_of_the_research_corpus() -> None:
    corpus = Path(__file__).parent.parent.parent / "shared" / "data" / "xid_lines.tsv"
    if not corpus.exists():
        pytest.skip("../shared/data/xid_lines.tsv is not beside this checkout")
    rows = [line.split("\t") for line in corpus.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 24
    for code, text, _source in rows:
        parsed = kernel_log.parse(text)
        if code == "SXID":
            assert isinstance(parsed, SxidLine), text
        else:
            assert isinstance(parsed, XidLine), text
            assert parsed.code == int(code)


def test_what_an_xid_line_says_beside_its_code() -> None:
    head = "[ 130.456250] [ T1946] NVRM: Xid (PCI:0000:2b:00 GPU-I:05): 45"
    line = f"{head}, pid=1942, name=a b, Ch 1 caused by previous Xid 149"
    parsed = kernel_log.parse(line)
    assert parsed == XidLine(
        bus_id="00000000:2b:00.0",
        code=45,
        text="Ch 1 caused by previous Xid 149",
        pid=1942,
        gpu_instance=5,
        caused_by=149,
        boot_s=130.45625,
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  560.35.03",
        "Xid (PCI:0000:01:00): 79, without the driver's name",
        "NVRM: Xid (PCI:zz00:01:00): 79, no bus id",
        "NVRM: Xid (PCI:0000:01:00): seventy-nine",
        "nvidia-nvswitch0: SXid (PCI:0000:05:00): none",
        "audit: name=NVRM: Xid",
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    assert kernel_log.parse(line) is None


def test_an_sxid_is_counted_once_with_its_details() -> None:
    bus = "(PCI:0000:a9:00.0)"
    lines = [
        f"[131453.740743] nvidia-nvswitch0: SXid {bus}: 20034, Fatal, Link 30 LTSSM Fault Up",
        f"[131453.740754] nvidia-nvswitch0: SXid {bus}: 20034, Severity 1 Engine instance 60 Sub-engine instance 00",
        f"[131453.740758] nvidia-nvswitch0: SXid {bus}: 20034, Data {{0x50610002, 0x10100030}}",
        f"[131460.000001] nvidia-nvswitch0: SXid {bus}: 12028, Non-fatal, Link 32 egress non-posted PRIV error",
    ]
    found = [line for line in kernel_log.scan(lines) if isinstance(line, SxidLine)]
    assert [(line.code, line.severity) for line in found] == [(20034, "fatal"), (12028, "non_fatal")]
    assert kernel_log.by_card(found) == {}, "a switch is no card"


def test_a_loss_without_an_xid_is_told_as_79_and_told_once() -> None:
    lost = "[1.5] NVRM: GPU 0000:91:00.0: GPU has fallen off the bus."
    assert isinstance(kernel_log.parse(lost), LostLine)
    alone = kernel_log.by_card(kernel_log.scan([lost]))
    assert [(one.code, one.times) for one in alone["00000000:91:00.0"]] == [(79, 1)]
    both = kernel_log.by_card(kernel_log.scan(["NVRM: Xid (PCI:0000:91:00): 79, GPU has fallen off the bus.", lost]))
    assert [(one.code, one.times) for one in both["00000000:91:00.0"]] == [(79, 1)]


def test_a_card_that_does_not_start_is_noted() -> None:
    line = "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2477)"
    assert "RmInitAdapter failed" in kernel_log.not_initialised(kernel_log.scan([line]))["00000000:3b:00.0"]


def test_a_bus_id_is_tied_to_a_uuid() -> None:
    line = "NVRM: GPU at PCI:0000:b3:00: GPU-33333333-aaaa-4bbb-8ccc-000000000004"
    assert kernel_log.parse(line) == NamedLine(
        bus_id="00000000:b3:00.0", uuid="GPU-33333333-aaaa-4bbb-8ccc-000000000004"
    )


@given(st.text(max_size=300), st.sampled_from(LINES), st.integers(0, 200))
def test_no_line_raises(noise: str, known: tuple[str, str, int], at: int) -> None:
    for line in (
        noise,
        known[0][:at] + noise + known[0][at:],
        f"NVRM: Xid ({noise}",
        f"nvidia-nvswitch1: SXid ({noise}",
    ):
        kernel_log.parse(line)


def test_long_lines_take_no_more_than_their_length() -> None:
    for seed in (
        "NVRM:" + " " * 100_000,
        "NVRM: Xid (" * 50_000,
        "[1.1]" * 100_000 + "NVRM: Xid (PCI:0000:01:00): 79, x",
    ):
        kernel_log.parse(seed)


def test_the_catalogue_is_complete_and_describes_unknown_codes() -> None:
    assert xid.codes() == tuple(range(1, 177))
    assert xid.describe(79).in_history == "FAIL"
    assert xid.describe(79).blame == "hardware"
    assert xid.describe(43).in_history == "IGNORE"
    assert xid.describe(13).mnemonic.startswith("ROBUST_CHANNEL_GR_EXCEPTION")
    assert xid.describe(9999).in_history == "HOLD"
    weights = set(get_args(xid.Weight))
    assert all({xid.describe(code).in_run, xid.describe(code).in_history} <= weights for code in xid.codes())
