"""Kernel logs: every format that drivers have used, tied to cards across boots, counted once, and weighed."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.catalogue import xid
from gpucert.device.kernel_line import (
    BootLine,
    BusErrorLine,
    DamagedLine,
    DriverLine,
    LostLine,
    NamedLine,
    PresentLine,
    SerialLine,
    SxidLine,
    XidLine,
    parse,
    split,
    stamp,
)
from gpucert.device.kernel_log import MAX_CARDS, Book, KernelLog, LoggedCard
from gpucert.reading import Absent
from gpucert.record import Event
from gpucert.verdict import xids


def read(lines: Iterable[str]) -> KernelLog:
    book = Book()
    told = list(lines)
    book.skim("\n".join(told))
    for line in told:
        book.add(line)
    return book.close()


def counted(card: LoggedCard) -> list[tuple[int, str, int]]:
    return [(one.code, one.detail, one.times) for one in card.xids]


# --- single lines

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
    ("NVRM: Xid (PCI:0000:dc:00): 79", "00000000:dc:00.0", 79),
    ("<idle>-0 [003] d.h. 77.1: nvidia_dev_xid: Xid (PCI:0000:3b:00): 79, GPU has …", "00000000:3b:00.0", 79),
    ("Xid (PCI:0000:3b:00.0): 48, DBE", "00000000:3b:00.0", 48),
    ("\x1b[32m[  77.1] \x1b[33mNVRM: \x1b[0mXid (PCI:0000:3b:00): 79, GPU has fallen …", "00000000:3b:00.0", 79),
]


@pytest.mark.parametrize(("line", "where", "code"), LINES)
def test_an_xid_is_read_in_every_format(line: str, where: str, code: int) -> None:
    parsed = parse(line)
    assert isinstance(parsed, XidLine)
    assert (parsed.bus_id, parsed.code) == (where, code)


def test_real_lines_of_the_research_corpus() -> None:
    corpus = Path(__file__).parent.parent.parent / "shared" / "data" / "xid_lines.tsv"
    if not corpus.exists():
        pytest.skip("../shared/data/xid_lines.tsv is not beside this checkout")
    rows = [line.split("\t") for line in corpus.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 24
    for code, text, _source in rows:
        parsed = parse(text)
        if code == "SXID":
            assert isinstance(parsed, SxidLine), text
        else:
            assert isinstance(parsed, XidLine), text
            assert parsed.code == int(code)


def test_what_an_xid_line_says_beside_its_code() -> None:
    head = "[ 130.456250] [ T1946] NVRM: Xid (PCI:0000:2b:00 GPU-I:05): 45"
    found = split(f"{head}, pid=1942, name=a b, Ch 1 caused by previous Xid 149")
    assert found is not None
    assert found.said == XidLine(
        bus_id="00000000:2b:00.0",
        code=45,
        text="Ch 1 caused by previous Xid 149",
        detail="caused by an earlier Xid",
        caused_by=149,
    )
    assert stamp(found.before) == "[130.456250]"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "NVRM: objClInitPcieChipset: *** Chipset has not been setup for PCI-E",
        "nvidia: module license 'NVIDIA' taints kernel.",
        "nvidia-nvlink: Nvlink Core is being initialized, major device number 235",
        "nvidia-modeset: Loading NVIDIA Kernel Mode Setting Driver for UNIX platforms  560.35.03",
        "nvidia-nvswitch0: SXid (PCI:0000:05:00): none",
        "dcgm: counted Xid (79) twice",
        "audit: name=NVRM: Xid",
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:zz00:01:00): 79, no bus id",
        "NVRM: Xid (PCI:0000:01:00): seventy-nine",
        "NVRM: Xid (PCI:0000:01:00): 7\0",
        "NVRM: Xid (PCI:0000:01",
    ],
)
def test_an_xid_that_cannot_be_read_is_counted_as_such(line: str) -> None:
    assert isinstance(parse(line), DamagedLine)
    log = read([line, line])
    assert (log.cards, log.damaged) == ((), 2)
    assert log.damaged_line.startswith("NVRM: Xid (PCI:")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "NVRM: GPU at PCI:0000:b3:00: GPU-33333333-aaaa-4bbb-8ccc-000000000004",
            NamedLine(bus_id="00000000:b3:00.0", uuid="GPU-33333333-aaaa-4bbb-8ccc-000000000004"),
        ),
        (
            "NVRM: GPU at 0000:b3:00: GPU-33333333-aaaa-4bbb-8ccc-000000000004",
            NamedLine(bus_id="00000000:b3:00.0", uuid="GPU-33333333-aaaa-4bbb-8ccc-000000000004"),
        ),
        ("NVRM: GPU Board Serial Number: 1320000000004", SerialLine(bus_id=None, serial="1320000000004")),
        (
            "NVRM: GPU 0000:91:00.0: GPU serial number is 1653723052734.",
            SerialLine(bus_id="00000000:91:00.0", serial="1653723052734"),
        ),
        ("NVRM: GPU is on Board 0324713035283.", SerialLine(bus_id=None, serial="0324713035283")),
        (
            "NVRM: GPU 0000:91:00.0: GPU has fallen off the bus.",
            LostLine(bus_id="00000000:91:00.0", kind="lost", text="GPU has fallen off the bus."),
        ),
        (
            "NVRM: GPU at 0000:06:00.0 has fallen off the bus.",
            LostLine(bus_id="00000000:06:00.0", kind="lost", text="has fallen off the bus."),
        ),
        (
            "NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2477)",
            LostLine(bus_id="00000000:3b:00.0", kind="not_initialised", text="RmInitAdapter failed! (0x62:0x40:2477)"),
        ),
        (
            "NVRM: RmInitAdapter failed! (0x26:0xffff:1096)",
            LostLine(bus_id=None, kind="not_initialised", text="RmInitAdapter failed! (0x26:0xffff:1096)"),
        ),
        (
            "NVRM: rm_init_adapter(0) failed",
            LostLine(bus_id=None, kind="not_initialised", text="rm_init_adapter(0) failed"),
        ),
        (
            "NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:20b2)",
            PresentLine(bus_id="00000000:3b:00.0", pci_device="20b2", opens=True),
        ),
        (
            "pci 0000:3b:00.0: [10de:20b2] type 00 class 0x030200 PCIe Endpoint",
            PresentLine(bus_id="00000000:3b:00.0", pci_device="20b2"),
        ),
        ("pci 0000:07:00.0: [10de:1af1] type 00 class 0x068000", None),
        ("pci 0000:01:00.1: [10de:10f0] type 00 class 0x040300", None),
        (
            "[drm] Initialized nvidia-drm 0.0.0 20160202 for 0000:3b:00.0 on minor 1",
            PresentLine(bus_id="00000000:3b:00.0"),
        ),
        ("nvidia 0000:3b:00.0: enabling device (0140 -> 0142)", PresentLine(bus_id="00000000:3b:00.0")),
        (
            "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024",
            DriverLine(version="560.35.03", loads=True),
        ),
        (
            "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  595.45.04  Release Build  (dvs-builder)",
            DriverLine(version="595.45.04", loads=True),
        ),
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  384.66  Tue Aug  1 16:02:12 PDT 2017",
            DriverLine(version="384.66", loads=False),
        ),
        ("[    0.000000] Linux version 6.1.0-18-amd64 (debian-kernel@lists.debian.org)", BootLine()),
        ("-- Boot 2f8a6c1e5b7d4f0c9a3e8d7b6c5a4f3e --", BootLine()),
        ("-- Reboot --", BootLine()),
        (
            "nvidia 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
            BusErrorLine(
                bus_id="00000000:3b:00.0",
                severity="corrected",
                text="nvidia 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
            ),
        ),
        (
            "pcieport 0000:3a:00.0: AER: Uncorrected (Non-Fatal) error received: 0000:3b:00.0",
            BusErrorLine(
                bus_id="00000000:3b:00.0",
                severity="non_fatal",
                text="AER: Uncorrected (Non-Fatal) error received: 0000:3b:00.0",
                relayed=True,
            ),
        ),
    ],
)
def test_what_other_lines_say_of_a_card(line: str, expected: object) -> None:
    assert parse(line) == expected


# --- where logs come from

MESSAGE = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."

PREFIXES = [
    # what stands before the message, the stamp in the log's own words
    ("", None),  # dmesg -t, journalctl -o cat
    ("[  902.500001] ", "[902.500001]"),
    ("<4>[  902.500001] ", "[902.500001]"),  # dmesg -r
    ("[  902.500001] [ T1946] ", "[902.500001]"),
    ("[  902.500001 <    0.000014>] ", "[902.500001]"),  # dmesg -d
    ("[Feb23 16:24] ", "Feb23 16:24"),  # dmesg -e
    ("[Sun Feb 23 16:24:18 2025] ", "Sun Feb 23 16:24:18 2025"),  # dmesg -T
    ("[Fri Aug  9 13:32:56 2024] ", "Fri Aug  9 13:32:56 2024"),
    ("2025-01-21T04:41:44,283302+00:00 ", "2025-01-21T04:41:44,283302+00:00"),  # dmesg --time-format iso
    ("kern  :warn  : 2025-01-21T04:41:44,283302+00:00 ", "2025-01-21T04:41:44,283302+00:00"),  # and -x
    ("Feb 01 14:25:31 archbox kernel: ", "Feb 01 14:25:31"),  # journalctl -k
    ("Feb 01 14:25:31.123456 archbox kernel: ", "Feb 01 14:25:31.123456"),  # -o short-precise
    ("2025-02-01T14:25:31+0100 archbox kernel: ", "2025-02-01T14:25:31+0100"),  # -o short-iso
    ("Sat 2025-02-01 14:25:31 UTC archbox kernel: ", "Sat 2025-02-01 14:25:31 UTC"),  # -o short-full
    ("1738416331.123456 archbox kernel: ", "1738416331.123456"),  # -o short-unix
    ("[  902.500001] archbox kernel: ", "[902.500001]"),  # -o short-monotonic
    ("Mar  3 09:45:02 gpu-01 kernel: [  902.500001] ", "Mar  3 09:45:02 [902.500001]"),  # syslog, RFC 3164
    ("<4>1 2025-03-03T09:45:02.5Z gpu-01 kernel - - - ", "2025-03-03T09:45:02.5Z"),  # RFC 5424
    ("2025-03-03T09:45:02.512345+01:00 gpu-01 kernel: ", "2025-03-03T09:45:02.512345+01:00"),  # RFC 3339
    ("4,1234,902500001,-;", "[902.500001]"),  # /dev/kmsg
    ("2025-01-21T04:41:44.283302837Z stdout F [  902.500001] ", "2025-01-21T04:41:44.283302837Z [902.500001]"),  # k8s
    ("[pod/kmsg-x7/kmsg] 2025-01-21T04:41:44Z ", "2025-01-21T04:41:44Z"),  # kubectl logs --prefix
    ("kmsg-1  | [  902.500001] ", "[902.500001]"),  # docker compose logs
    ("    MESSAGE=", None),  # journalctl -o export, verbose
]


@pytest.mark.parametrize(("before", "expected"), PREFIXES)
def test_the_stamp_of_every_kind_of_log_is_kept_in_its_own_words(before: str, expected: str | None) -> None:
    (card,) = read([before + MESSAGE]).cards
    (told,) = card.xids
    assert (told.code, told.first) == (79, "GPU has fallen off the bus.")
    assert told.first_at == told.last_at
    assert told.first_at == expected if expected else isinstance(told.first_at, Absent)


@pytest.mark.parametrize(
    ("entry", "at"),
    [
        ({"__REALTIME_TIMESTAMP": "1738416331123456", "PRIORITY": "4", "MESSAGE": MESSAGE}, "1738416331123456"),
        ({"MESSAGE": MESSAGE, "_BOOT_ID": "2f8a6c1e"}, None),
        (
            {"log": f"[  902.500001] {MESSAGE}\n", "stream": "stdout", "time": "2025-01-21T04:41:44.28Z"},
            "2025-01-21T04:41:44.28Z [902.500001]",
        ),
        ({"timestamp": "2025-01-21T04:41:44Z", "message": MESSAGE}, "2025-01-21T04:41:44Z"),
    ],
)
@pytest.mark.parametrize("spaces", [(",", ":"), (", ", " : ")])
def test_a_message_in_json_ends_with_its_string(entry: dict[str, str], at: str | None, spaces: tuple[str, str]) -> None:
    line = json.dumps(entry, separators=spaces).replace("<", "\\u003c").replace(">", "\\u003e")
    (card,) = read([line]).cards
    (told,) = card.xids
    assert told.first == "GPU has fallen off the bus."
    assert told.first_at == at if at else isinstance(told.first_at, Absent)


def test_a_whole_log_in_one_line_is_read_message_by_message() -> None:
    log = read([json.dumps([f"[ {n}.5] {MESSAGE}" for n in range(5)] + ["NVRM: Xid (PCI:0000:5e:00): 48, x"])])
    assert [(card.bus_id, counted(card)) for card in log.cards] == [
        ("00000000:3b:00.0", [(79, "", 5)]),
        ("00000000:5e:00.0", [(48, "", 1)]),
    ]


# --- counting

BUS = "(PCI:0000:a9:00.0)"


def test_the_first_and_the_last_of_many_are_kept_with_their_times() -> None:
    lines = [f"[ {n}.000001] NVRM: Xid (PCI:0000:3b:00): 13, pid={n}, name=x, SM {n}" for n in range(1, 1001)]
    (card,) = read(lines).cards
    (told,) = card.xids
    assert (told.code, told.times, told.first, told.last) == (13, 1000, "SM 1", "SM 1000")
    assert (told.first_at, told.last_at) == ("[1.000001]", "[1000.000001]")


def test_the_quick_way_through_a_log_counts_as_the_slow_one_does() -> None:
    texts = [
        "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
        "NVRM: Xid (PCI:0000:3b:00): 7",
        "NVRM: Xid (PCI:0000:3b:00): 79",
        "NVRM: Xid (PCI:0000:3b:00): 794",
        "NVRM: Xid (PCI:0000:3B:00): 94, pid=1, name=Fatal, Contained: SM (0x1). RST: No, D-RST: No",
        "NVRM: Xid (PCI:0000:3b:00): 94, pid=2, name=RST: Yes, Contained: SM (0x1). RST: No, D-RST: No",
        "NVRM: Xid (PCI:0000:3b:00): 94, Contained: SM (0x1). RST: Yes, D-RST: No",
        "NVRM: Xid (PCI:0000:3b:00): 64, Row Remapper: (0x1) - Attempting to remap a row that is already pending …",
        "NVRM: Xid (PCI:0000:3b:00): 64, Row Remapper Error: (0x1) - Row Remapping table is full",
        "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)",
        '{"MESSAGE":"NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."}',
    ]
    (many,) = read(texts * 3).cards
    one_by_one: dict[tuple[int, str], int] = {}
    for text in texts * 3:
        said = parse(text)
        assert isinstance(said, XidLine)
        one_by_one[said.code, said.detail] = one_by_one.get((said.code, said.detail), 0) + 1
    assert {(code, detail): times for code, detail, times in counted(many)} == one_by_one


def test_an_sxid_is_counted_once_with_its_details() -> None:
    lines = [
        f"[131453.740743] nvidia-nvswitch0: SXid {BUS}: 20034, Fatal, Link 30 LTSSM Fault Up",
        f"[131453.740754] nvidia-nvswitch0: SXid {BUS}: 20034, Severity 1 Engine instance 60 Sub-engine instance 00",
        f"[131453.740758] nvidia-nvswitch0: SXid {BUS}: 20034, Data {{0x50610002, 0x10100030}}",
        f"[131460.000001] nvidia-nvswitch0: SXid {BUS}: 12028, Non-fatal, Link 32 egress non-posted PRIV error",
        f"[131461.000001] nvidia-nvswitch0: SXid {BUS}: 20034, Fatal, Link 30 LTSSM Fault Up",
    ]
    log = read(lines)
    assert [(one.switch, one.code, one.severity, one.times) for one in log.switches] == [
        (0, 20034, "fatal", 2),
        (0, 12028, "non_fatal", 1),
    ]
    assert log.cards == (), "a switch is no card"


LOST = "[1.5] NVRM: GPU 0000:91:00.0: GPU has fallen off the bus."
XID_79 = "NVRM: Xid (PCI:0000:91:00): 79, GPU has fallen off the bus."


@pytest.mark.parametrize("lines", [[LOST], [LOST, XID_79], [XID_79, LOST]])
def test_a_loss_without_an_xid_is_told_as_79_and_told_once(lines: list[str]) -> None:
    (card,) = read(lines).cards
    assert (card.bus_id, counted(card)) == ("00000000:91:00.0", [(79, "", 1)])


def test_a_loss_that_is_told_in_three_lines() -> None:
    lines = [
        "[    9.000001] NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:20b2)",
        "[    9.000002] NVRM: installed in this system has",
        "[    9.000003] NVRM: fallen off the bus and is not responding to commands.",
    ]
    (card,) = read(lines).cards
    assert (card.bus_id, counted(card), card.pci_device) == ("00000000:3b:00.0", [(79, "", 1)], "20b2")
    (whole,) = read(
        ["NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:20b2) has fallen off the bus and is not responding"]
    ).cards
    assert counted(whole) == [(79, "", 1)]
    other = "NVRM: installed in this system is not supported by the NVIDIA 560.35.03 driver release."
    (unsupported,) = read([lines[0], other]).cards
    assert (counted(unsupported), unsupported.not_initialised) == ([], "")


def test_a_card_that_does_not_start_is_noted() -> None:
    (card,) = read(["NVRM: GPU 0000:3b:00.0: RmInitAdapter failed! (0x62:0x40:2477)"]).cards
    assert card.not_initialised == "RmInitAdapter failed! (0x62:0x40:2477)"
    log = read(["NVRM: RmInitAdapter failed! (0x26:0xffff:1096)", "NVRM: rm_init_adapter(0) failed"])
    assert (log.cards, len(log.homeless)) == ((), 2), "old drivers name no card"


def test_pcie_errors_are_counted_once_though_the_port_relays_them() -> None:
    own = "nvidia 0000:3b:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)"
    relayed = "pcieport 0000:3a:00.0: AER: Multiple Corrected error received: 0000:3b:00.0"
    disk = "pcieport 0000:00:01.0: AER: Corrected error received: 0000:02:00.0"
    (card,) = read([f"[ 1.1] {own}", relayed, f"[ 2.2] {own}", disk]).cards
    (told,) = card.bus_errors
    assert (card.bus_id, told.severity, told.times) == ("00000000:3b:00.0", "corrected", 2)
    assert (told.first_at, told.last_at) == ("[1.1]", "[2.2]")
    found = "pci 0000:3b:00.0: [10de:20b2] type 00 class 0x030200"
    (card,) = read([found, relayed]).cards
    assert [one.times for one in card.bus_errors] == [1]


def test_one_xid_that_is_spelled_in_many_ways_is_one_and_takes_no_room() -> None:
    lines = [f"NVRM: Xid (PCI:0000:3b:00 GPU-I:{n % 10_000} GPU-CI:{n // 10_000}): 79, x" for n in range(45_000)]
    (card,) = read(lines).cards
    assert counted(card) == [(79, "", 45_000)]


def test_a_log_of_more_cards_than_there_can_be_is_not_kept() -> None:
    lines = [f"NVRM: Xid (PCI:{n:04x}:01:00): 13, x" for n in range(MAX_CARDS + 1)]
    assert not read(lines[:-1]).overflow
    assert read(lines).overflow
    kinds = [f"NVRM: Xid (PCI:{n:04x}:01:00): {code}, x" for n in range(100) for code in range(1, 102)]
    assert read(kinds).overflow


# --- cards and boots

A, B = "GPU-aaaaaaaa-0000-4000-8000-000000000001", "GPU-bbbbbbbb-0000-4000-8000-000000000002"
BOOT = "[    0.000000] Linux version 6.1.0-18-amd64"
LOADING = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024"


def named(where: str, uuid: str, serial: str) -> list[str]:
    return [f"NVRM: GPU at PCI:0000:{where}:00: {uuid}", f"NVRM: GPU Board Serial Number: {serial}"]


def bad(where: str, code: int) -> str:
    return f"NVRM: Xid (PCI:0000:{where}:00): {code}, pid=1, name=x, words"


def test_two_cards_that_swapped_slots_between_two_boots_keep_their_own_xids() -> None:
    log = read(
        [
            *(BOOT, LOADING, *named("3b", A, "1111111111111"), bad("3b", 79)),
            *(*named("5e", B, "2222222222222"), bad("5e", 13)),
            *(BOOT, LOADING, *named("3b", B, "2222222222222"), bad("3b", 79)),
            *(*named("5e", A, "1111111111111"), bad("5e", 13)),
        ]
    )
    told = {(card.uuid, card.bus_id): (card.serial, counted(card)) for card in log.cards}
    assert told == {
        (A, "00000000:3b:00.0"): ("1111111111111", [(79, "", 1)]),
        (B, "00000000:5e:00.0"): ("2222222222222", [(13, "", 1)]),
        (B, "00000000:3b:00.0"): ("2222222222222", [(79, "", 1)]),
        (A, "00000000:5e:00.0"): ("1111111111111", [(13, "", 1)]),
    }


def test_another_uuid_at_the_same_place_is_another_card_even_without_a_boot() -> None:
    for code in (79, 94):
        log = read([*named("3b", A, "1"), bad("3b", code), *named("3b", B, "2"), bad("3b", code), bad("3b", code)])
        assert [(card.uuid, counted(card)) for card in log.cards] == [(A, [(code, "", 1)]), (B, [(code, "", 2)])]


@pytest.mark.parametrize("new", [BOOT, LOADING, "-- Boot 2f8a6c1e5b7d4f0c9a3e8d7b6c5a4f3e --"])
def test_an_xid_that_no_name_precedes_since_the_boot_is_known_of_its_place_alone(new: str) -> None:
    log = read([bad("3b", 13), *named("3b", A, "1111111111111"), bad("3b", 79), new, bad("3b", 79)])
    assert [(card.uuid, counted(card)) for card in log.cards] == [
        (None, [(13, "", 1), (79, "", 1)]),
        (A, [(79, "", 1)]),
    ]


def test_a_place_whose_pci_device_changed_held_two_cards() -> None:
    found = "pci 0000:3b:00.0: [10de:{}] type 00 class 0x030200"
    log = read([BOOT, found.format("20b2"), bad("3b", 79), BOOT, found.format("2330"), bad("3b", 31)])
    assert [(card.pci_device, counted(card)) for card in log.cards] == [
        ("20b2", [(79, "", 1)]),
        ("2330", [(31, "", 1)]),
    ]


def test_a_serial_is_tied_to_the_card_that_was_named_or_lost_before_it() -> None:
    log = read([*named("3b", A, "1111111111111"), "NVRM: GPU 0000:5e:00.0: GPU serial number is 1653723052734."])
    assert [(card.bus_id, card.serial) for card in log.cards] == [
        ("00000000:3b:00.0", "1111111111111"),
        ("00000000:5e:00.0", "1653723052734"),
    ]
    old = read(["NVRM: GPU at 0000:06:00.0 has fallen off the bus.", "NVRM: GPU is on Board 0324713035283."])
    assert [(card.bus_id, card.serial) for card in old.cards] == [("00000000:06:00.0", "0324713035283")]
    both = read([*named("3b", A, "1111111111111"), "NVRM: GPU 0000:3b:00.0: GPU serial number is 9."])
    assert isinstance(both.cards[0].serial, Absent)


def test_a_log_says_how_far_it_reaches_and_which_driver_wrote_it() -> None:
    log = read(["Feb 01 14:25:31 h kernel: x", LOADING, "Feb 02 09:00:00 h kernel: eth0: link up", "no stamp at all"])
    assert (log.lines, log.of_driver, log.drivers) == (4, True, ("560.35.03",))
    assert (log.first_at, log.last_at) == ("Feb 01 14:25:31", "Feb 02 09:00:00")


# --- hostile lines


@given(st.text(max_size=300), st.sampled_from(LINES), st.integers(0, 200))
def test_no_line_raises(noise: str, known: tuple[str, str, int], at: int) -> None:
    lines = [
        noise,
        known[0][:at] + noise + known[0][at:],
        f"NVRM: Xid ({noise}",
        f"nvidia-nvswitch1: SXid ({noise}",
        f'{{"MESSAGE":"NVRM: {noise}',
    ]
    read(lines * 2)


def test_long_lines_take_no_more_than_their_length() -> None:
    for seed in (
        "NVRM:" + " " * 100_000,
        "NVRM: Xid (" * 50_000,
        "[1.1]" * 100_000 + "NVRM: Xid (PCI:0000:01:00): 79, x",
        '"' * 100_000 + "NVRM: Xid (PCI:0000:01:00): 79, x",
        "nvidia " * 50_000,
        "Xid (" * 50_000,
    ):
        read([seed])


# --- what Xids mean


def test_the_catalogue_is_complete_and_describes_unknown_codes() -> None:
    assert xid.codes() == tuple(range(1, 177))
    assert xid.describe(79).in_history == "FAIL"
    assert xid.describe(79).blame == "hardware"
    assert xid.describe(43).in_history == "IGNORE"
    assert xid.describe(13).mnemonic.startswith("ROBUST_CHANNEL_GR_EXCEPTION")
    assert xid.describe(9999).in_history == "HOLD"
    weights = set(get_args(xid.Weight))
    assert all({xid.describe(code).in_run, xid.describe(code).in_history} <= weights for code in xid.codes())


@pytest.mark.parametrize("code", [13, 31, 43, 45, 68, 109])
def test_what_applications_cause_says_nothing_of_a_card(code: int) -> None:
    assert xid.describe(code).in_history in {"INFO", "IGNORE"}
    assert xid.describe(code).blame != "hardware"


PENDING_ROW = "Row Remapper: (0x18f31d80) - Attempting to remap a row that is already pending remapping."
PENDING_PAGE = "Dynamic Page Retirement: Page is already pending retirement, reload the driver to activate. (0x1f)"
TABLE_FULL = "Row Remapper Error: (0x0000000018f31d80) - Row Remapping table is full"


@pytest.mark.parametrize(
    ("code", "text", "in_run", "in_history", "diagnosis"),
    [
        (64, TABLE_FULL, "FAIL", "FAIL", "xid.64"),
        (64, "Row Remapper Error: (0x1) - All reserved rows for bank are remapped", "FAIL", "FAIL", "xid.64"),
        (64, "DRAM Retirement failed due to an error", "FAIL", "FAIL", "xid.64"),
        (64, "", "FAIL", "FAIL", "xid.64"),
        (64, PENDING_ROW, "HOLD", "WARN", "memory.row_remap"),
        (64, PENDING_PAGE, "HOLD", "WARN", "memory.retired_pages"),
        (149, "NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x00000000)", "FAIL", "HOLD", "xid.149"),
        (145, "RLW_RXPIPE Nonfatal XC0 i0 Link 13 (0x0409a0c2 0x00000008)", "WARN", "WARN", "xid.145"),
        (145, "cut", "DECODE", "HOLD", "xid.145"),
        (45, "Ch 00000001 caused by previous Xid 149", "IGNORE", "IGNORE", "xid.45"),
    ],
)
def test_the_text_behind_a_code_decides_what_it_weighs(
    code: int, text: str, in_run: str, in_history: str, diagnosis: str
) -> None:
    one = xids.weighed(code, 1, text)
    assert (one.weight(in_run=True), one.weight(in_run=False), one.diagnosis) == (in_run, in_history, diagnosis)


def test_in_a_run_the_heaviest_text_of_a_code_counts() -> None:
    head = "NVRM: Xid (PCI:0000:65:00): 64, "
    events = [Event(at, "xid", "64", head + text) for at, text in enumerate((PENDING_ROW, TABLE_FULL, PENDING_ROW))]
    (one,) = xids.logged(events)
    assert (one.times, one.weight(in_run=True)) == (3, "FAIL")
    assert "table is full" in one.quote
    (waits,) = xids.logged(events[:1])
    assert waits.weight(in_run=True) == "HOLD"


def test_a_log_keeps_failed_remaps_apart_from_those_that_only_wait() -> None:
    head = "NVRM: Xid (PCI:0000:65:00): 64, "
    (card,) = read([head + PENDING_ROW, head + TABLE_FULL, head + PENDING_ROW]).cards
    assert counted(card) == [
        (64, "already waiting for a reset", 2),
        (64, "the table of remapped rows is full", 1),
    ]


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        (48, "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at physAddr", "DRAM"),
        (48, "DBE (double bit error) ECC Error in SRAM", "SRAM"),
        (63, "Row Remapper: New row (0x18f31d80) marked for remapping, reset gpu to activate.", "a row is remapped"),
        (63, "Dynamic Page Retirement: New retired page, reload the driver to activate. (0x1f)", "a page is retired"),
        (94, "Contained: CE User Channel (0x9). RST: No, D-RST: No", "no reset"),
        (95, "Uncontained: LTC TAG (0x2, 0x1). RST: Yes, D-RST: No", "reset"),
        (95, "Uncontained: FBHUB. RST: Yes, D-RST: Yes", "drain and reset"),
        (154, "GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)", "drain and reset"),
        (154, "GPU recovery action changed from 0x2 (Node Reboot Required) to 0x0 (None)", "none"),
        (79, "GPU has fallen off the bus.", ""),
    ],
)
def test_what_a_text_adds_to_its_number(code: int, text: str, words: str) -> None:
    assert xid.decode(code, text).words.startswith(words)
    assert bool(xid.decode(code, text).words) == bool(words)


def test_an_nvlink_error_is_taken_apart() -> None:
    text = "RLW_RXPIPE Nonfatal XC0 i0 Link 13 (0x0409a0c2 0x00000008 0x00000001 0x00000000 0x00100000 0x00000004)"
    assert xid.nvlink_error(145, text) == xid.NvlinkError(
        unit="RLW_RXPIPE", fatal=False, link=13, words=(0x0409A0C2, 8, 1, 0, 0x100000, 4)
    )
    (card,) = read([f"NVRM: Xid (PCI:0018:01:00): 145, pid=876767, name=ray::WorkerDict, {text}"]).cards
    (told,) = card.xids
    assert (told.detail, told.words) == ("not fatal", (0x0409A0C2, 8, 1, 0, 0x100000, 4))
    none = xid.nvlink_error(149, "NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x00000000)")
    assert none is not None
    assert (none.fatal, none.link) == (True, None)
    assert xid.nvlink_error(145, text[:-20]) is None
    assert xid.nvlink_error(74, text) is None
