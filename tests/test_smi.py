"""Captures: what nvidia-smi printed is read right, whatever the driver; what it did not print is never a zero."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpucert.capture import Capture
from gpucert.device import bus_id, smi, smi_sieve, text_file
from gpucert.device.smi import UnreadableCaptureError
from gpucert.reading import Absence, Absent
from gpucert.record import EventReason, Process

HERE = Path(__file__).parent / "captures"
SHARED = Path(__file__).parent.parent.parent / "shared" / "captures"


def own(name: str) -> tuple[Capture, ...]:
    return smi.load(HERE / name)


def absence(value: object) -> Absence | None:
    return value.absent if isinstance(value, Absent) else None


# --- text


def test_a_text_document_is_read_card_by_card() -> None:
    a10, h100 = own("a10-and-h100.txt")
    assert (a10.identity.name, a10.identity.driver) == ("NVIDIA A10", "535.161.08")
    assert (a10.identity.pci_device, a10.identity.pci_subvendor, a10.identity.pci_subdevice) == ("2236", "10de", "1482")
    assert a10.identity.bus_id == "00000000:07:00.0"
    assert a10.identity.memory_mib == 23028
    assert a10.identity.serial == "1320000000001"
    assert (a10.counters.remapped_uncorrectable, a10.counters.remap_pending) == (4, True)
    assert a10.counters.remap_failure is False
    assert a10.counters.remap_banks == (192, 0, 0, 0, 0)
    assert (a10.settings.slowdown_c, a10.settings.shutdown_c, a10.settings.max_operating_c) == (98.0, 101.0, 91.0)
    assert (h100.settings.margin_c, absence(h100.settings.slowdown_c)) == (56.0, Absence.UNKNOWN)
    assert h100.sample.event_reasons == EventReason.HW_SLOWDOWN | EventReason.HW_POWER_BRAKE
    assert h100.sample.memory_temperature_c == 39.0
    assert h100.counters.repair_pending is True
    assert h100.counters.memory_unrepairable is False
    assert a10.processes == ()


def test_a_file_with_two_documents_gives_the_card_twice() -> None:
    idle, load = own("idle-and-load.txt")
    assert [(one.document, one.documents) for one in (idle, load)] == [(1, 2), (2, 2)]
    assert idle.identity == load.identity
    assert (idle.sample.pcie_gen, load.sample.pcie_gen) == (1, 4)
    assert (idle.sample.power_w, load.sample.power_w) == (18.9, 449.12)


def test_the_notice_in_the_driver_version_of_610_is_not_part_of_it() -> None:
    assert own("idle-and-load.txt")[0].identity.driver == "610.57.04"


def test_the_power_limit_of_610_stands_in_a_section_of_its_own() -> None:
    told = own("idle-and-load.txt")[0].settings
    assert (told.power_limit_w, told.power_default_w) == (450.0, 450.0)
    assert (told.power_min_w, told.power_max_w) == (150.0, 600.0)


def test_ecc_that_waits_for_a_restart() -> None:
    told = own("idle-and-load.txt")[0].settings
    assert (told.ecc, told.ecc_pending) == (False, True)


def test_processes_with_and_without_their_memory() -> None:
    _, load = own("idle-and-load.txt")
    assert isinstance(load.processes, tuple)
    first, second = load.processes
    assert first == Process(4711, 15922)
    assert (second.pid, absence(second.memory_mib)) == (2140, Absence.NOT_SUPPORTED)


def test_margins_memory_and_modes_of_a_text_document() -> None:
    a10, h100 = own("a10-and-h100.txt")
    assert (h100.settings.tlimit_shutdown_c, h100.settings.tlimit_slowdown_c) == (-8.0, -2.0)
    assert (h100.settings.tlimit_memory_c, h100.settings.tlimit_max_c) == (0.0, 0.0)
    assert absence(a10.settings.tlimit_slowdown_c) is Absence.UNKNOWN
    assert (a10.settings.memory_used_mib, a10.settings.memory_reserved_mib) == (4, 512)
    assert (a10.settings.compute_mode, a10.settings.power_requested_w) == ("default", 150.0)
    assert (a10.settings.pcie_gen_max, a10.settings.pcie_gen_max_slot) == (4, 4)
    assert (a10.counters.pcie_replay_rollovers, a10.settings.display_active) == (0, False)
    assert absence(a10.identity.gsp_firmware) is Absence.UNKNOWN


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        ("N/A", "N/A", Absence.NOT_SUPPORTED),
        ("Not Started", "N/A", "not-started"),
        ("In Progress", "N/A", "in-progress"),
        ("Completed", "Success", "completed"),
        ("Completed", "Invalid State", "failed"),
        ("Completed", "N/A", Absence.UNKNOWN),
        ("Perhaps", "Success", Absence.UNKNOWN),
    ],
)
def test_the_state_of_the_fabric(state: str, status: str, expected: object) -> None:
    line = "    Processes                             : None\n"
    card = a10_saying(line, f"    Fabric\n        State : {state}\n        Status : {status}\n{line}")
    told = card.settings.fabric
    assert (told.absent if isinstance(told, Absent) else told) == expected


def test_used_memory_that_counts_in_the_drivers_own_is_not_stated() -> None:
    card = a10_saying("        Reserved                          : 512 MiB\n", "")
    assert absence(card.settings.memory_used_mib) is Absence.UNKNOWN


# --- XML


def test_an_old_xml_document_with_retired_pages() -> None:
    (v100,) = own("v100-retired.xml")
    assert (v100.identity.name, v100.identity.driver) == ("Tesla V100-SXM3-32GB", "410.104")
    assert v100.identity.board_part_number == "699-2G504-0200-100"
    counters = v100.counters
    assert (counters.ecc_uncorrected_aggregate, counters.ecc_uncorrected_volatile) == (7627, 3)
    assert (counters.ecc_corrected_aggregate, counters.ecc_corrected_volatile) == (12, 0)
    assert (counters.retired_dbe, counters.retired_sbe, counters.retired_pending) == (2, 0, True)
    assert absence(counters.remap_pending) is Absence.UNKNOWN
    assert v100.settings.power_limit_w == 350.0
    assert v100.notes == ("The document says that 16 GPUs are attached and shows 1.",)


def test_pages_that_were_retired_lately_are_counted_by_the_documents_own_clock() -> None:
    text = (HERE / "v100-retired.xml").read_text(encoding="utf-8")
    assert absence(smi.read(text, "undated")[0].counters.retired_dbe_7d) is Absence.UNKNOWN
    pages = "".join(
        f"<retired_page><retired_page_timestamp>{when}</retired_page_timestamp></retired_page>"
        for when in ("Fri May 01 23:34:06 2020", "Tue May 12 15:32:43 2020")
    )
    count = "<retired_count>2</retired_count>"
    dated = text.replace(count, f"{count}<retired_pagelist>{pages}</retired_pagelist>")
    assert smi.read(dated, "now")[0].counters.retired_dbe_7d == 1
    assert smi.read(dated.replace("May 14 10", "May 08 10"), "before")[0].counters.retired_dbe_7d == 2
    assert absence(smi.read(dated.replace("Fri May", "Some"), "damaged")[0].counters.retired_dbe_7d) is Absence.UNKNOWN


def test_mig_instances_lend_nothing_to_the_card() -> None:
    (a100,) = own("a100-mig.xml")
    assert a100.settings.mig is True
    assert a100.identity.memory_mib == 81920
    assert a100.counters.ecc_uncorrected_volatile == 0
    assert absence(a100.counters.remap_pending) is Absence.NOT_SUPPORTED
    assert absence(a100.counters.remap_banks) is Absence.NOT_SUPPORTED
    assert a100.processes == ()


def test_xml_in_a_single_line_and_two_documents_in_one() -> None:
    text = (HERE / "v100-retired.xml").read_text(encoding="utf-8")
    (v100,) = own("v100-retired.xml")
    line = "".join(part.strip() for part in text.splitlines())
    (one,) = smi.read(line, "minified.xml")
    assert (one.identity, one.counters) == (v100.identity, v100.counters)
    both = smi.read(line + line[line.index("<nvidia_smi_log>") :], "two.xml")
    assert [(one.document, one.documents, one.counters) for one in both] == [
        (1, 2, v100.counters),
        (2, 2, v100.counters),
    ]


@pytest.mark.parametrize(
    ("bomb", "words"),
    [
        ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><nvidia_smi_log>&b;</nvidia_smi_log>', "entities"),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><nvidia_smi_log>&e;</nvidia_smi_log>', "entities"),
        ("<nvidia_smi_log>&undefined;</nvidia_smi_log>", "broken XML"),
        ("<nvidia_smi_log>" + "<a>" * 50_000 + "</nvidia_smi_log>", "nested deeper"),
        ("<nvidia_smi_log><gpu></nvidia_smi_log>", "broken XML"),
        ("<nvidia_smi_log>" * 10_000, "broken XML"),
        ("<nvidia_smi_log></nvidia_smi_log>", "lists no GPU"),
        ('<nvidia_smi_log><gpu id="00000000:01:00.0"></gpu></nvidia_smi_log>', "no product name"),
    ],
)
def test_hostile_xml_is_refused_in_one_line(bomb: str, words: str) -> None:
    with pytest.raises(UnreadableCaptureError, match=words) as caught:
        smi.read(f'<?xml version="1.0" ?>\n{bomb}', "bomb.xml")
    assert str(caught.value).startswith("bomb.xml: ")
    assert "\n" not in str(caught.value)


# --- words


def a10_saying(old: str, new: str) -> Capture:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    assert old in text
    return smi.read(text.replace(old, new, 1), "changed")[0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("N/A", Absence.NOT_SUPPORTED),
        ("[N/A]", Absence.NOT_SUPPORTED),
        ("[Not Supported]", Absence.NOT_SUPPORTED),
        ("Requested functionality has been deprecated", Absence.NOT_SUPPORTED),
        ("[Unknown Error]", Absence.UNKNOWN),
        ("Unknown Error", Absence.UNKNOWN),
        ("ERR!", Absence.UNKNOWN),
        ("", Absence.UNKNOWN),
        ("perhaps", Absence.UNKNOWN),
        ("33 F", Absence.UNKNOWN),
        ("33", Absence.UNKNOWN),
        ("33 C 34 C", Absence.UNKNOWN),
        ("nan C", Absence.UNKNOWN),
        ("[GPU is lost]", Absence.LOST),
        ("GPU is lost.", Absence.LOST),
        ("[GPU requires reset]", Absence.RESET_REQUIRED),
        ("[Insufficient Permissions]", Absence.NO_PERMISSION),
        ("Function Not Found", Absence.DRIVER_TOO_OLD),
        ("255 C", Absence.ABSURD),
        ("99999999999999999999 C", Absence.ABSURD),
    ],
)
def test_every_way_to_say_nothing_keeps_its_reason(words: str, reason: Absence) -> None:
    card = a10_saying("GPU Current Temp                  : 33 C", f"GPU Current Temp                  : {words}")
    assert absence(card.sample.temperature_c) is reason


def test_a_count_of_all_ones_is_absurd() -> None:
    card = a10_saying("Uncorrectable Error               : 4", f"Uncorrectable Error               : {2**64 - 1}")
    assert absence(card.counters.remapped_uncorrectable) is Absence.ABSURD


def test_a_value_stated_twice_differently_is_unknown() -> None:
    line = "        Uncorrectable Error               : 4\n"
    card = a10_saying(line, line + line.replace("4", "0"))
    assert absence(card.counters.remapped_uncorrectable) is Absence.UNKNOWN
    twice = a10_saying(line, line + line)
    assert twice.counters.remapped_uncorrectable == 4


def test_a_total_without_one_of_its_parts_is_unknown() -> None:
    card = a10_saying("            DRAM Uncorrectable            : 0\n", "")
    assert absence(card.counters.ecc_uncorrected_volatile) is Absence.UNKNOWN
    assert card.counters.ecc_uncorrected_aggregate == 0


def test_errors_split_into_parity_and_sec_ded_are_added_up() -> None:
    card = a10_saying(
        "            SRAM Uncorrectable            : 0\n",
        "            SRAM Uncorrectable Parity     : 2\n            SRAM Uncorrectable SEC-DED    : 3\n",
    )
    assert card.counters.ecc_uncorrected_volatile == 5


def test_an_unreadable_part_keeps_what_is_known_of_the_sum() -> None:
    card = a10_saying("DRAM Uncorrectable            : 0", "DRAM Uncorrectable            : [Unknown Error]")
    assert card.counters.ecc_uncorrected_volatile == Absent(Absence.UNKNOWN, "at least 0: [Unknown Error]")


@pytest.mark.parametrize(
    ("words", "action"),
    [("None", 0), ("Reset", 1), ("Reboot", 2), ("Drain P2P", 3), ("Drain and Reset", 4), ("Dance", None)],
)
def test_the_recovery_action_of_newer_drivers(words: str, action: int | None) -> None:
    text = (HERE / "idle-and-load.txt").read_text(encoding="utf-8")
    changed = text.replace(
        "GPU Recovery Action                   : None", f"GPU Recovery Action                   : {words}"
    )
    told = smi.read(changed, "changed")[0].counters.recovery_action
    assert told == action if action is not None else absence(told) is Absence.UNKNOWN


@pytest.mark.parametrize(
    ("required", "drain", "action"), [("No", "N/A", 0), ("No", "No", 0), ("Yes", "No", 1), ("No", "Yes", 4)]
)
def test_the_reset_status_of_older_drivers(required: str, drain: str, action: int) -> None:
    card = a10_saying(
        "Reset Required                    : No\n        Drain and Reset Recommended       : N/A",
        f"Reset Required                    : {required}\n        Drain and Reset Recommended       : {drain}",
    )
    assert card.counters.recovery_action == action


def test_half_of_the_reset_status_is_no_answer() -> None:
    for line in (
        "        Reset Required                    : No\n",
        "        Drain and Reset Recommended       : N/A\n",
    ):
        assert absence(a10_saying(line, "").counters.recovery_action) is Absence.UNKNOWN


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        ("            HW Power Brake Slowdown       : Active\n", None),
        ("            HW Thermal Slowdown           : Not Active\n", 0x88),
        ("        SW Thermal Slowdown               : Not Active\n", 0x88),
        ("        Sync Boost                        : Not Active\n", 0x88),
    ],
)
def test_a_reason_that_is_missing_makes_the_others_unknown_unless_one_is_active(line: str, reasons: int | None) -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    begin = text.index("GPU 00000000:19:00.0")
    assert line in text[begin:]
    _, h100 = smi.read(text[:begin] + text[begin:].replace(line, "", 1), "changed")
    told = h100.sample.event_reasons
    assert told == reasons if reasons is not None else absence(told) is Absence.UNKNOWN


def test_a_section_that_is_absent_as_a_whole_answers_for_its_lines() -> None:
    (a100,) = own("a100-mig.xml")
    assert absence(a100.counters.remapped_uncorrectable) is Absence.NOT_SUPPORTED


def test_a_masked_device_id_is_none_and_contradicts_no_name() -> None:
    assert absence(a10_saying("0x223610DE", "0x000000DE").identity.pci_device) is Absence.UNKNOWN


def test_masked_serials_stay_as_they_are() -> None:
    assert a10_saying("1320000000001", "0000000000000").identity.serial == "0000000000000"


# --- the rest of the file


def test_a_bug_report_tells_of_cards_beyond_its_query() -> None:
    l40s, gone = own("bug-report.txt")
    assert (l40s.identity.name, l40s.counters.inforom_valid) == ("NVIDIA L40S", False)
    assert l40s.counters.recovery_action == 1
    assert [(one.code, one.times) for one in l40s.log] == [(43, 1), (94, 2)]
    assert gone.identity.bus_id == "00000000:b3:00.0"
    assert gone.identity.uuid == "GPU-33333333-aaaa-4bbb-8ccc-000000000004"
    assert absence(gone.counters.ecc_uncorrected_aggregate) is Absence.LOST
    assert [one.code for one in gone.log] == [79]


def test_no_warning_is_no_proof_of_a_valid_inforom() -> None:
    assert all(absence(card.counters.inforom_valid) is Absence.UNKNOWN for card in own("a10-and-h100.txt"))


@pytest.mark.parametrize(
    "line",
    [
        "Unable to determine the device handle for GPU0000:91:00.0: Unknown Error",
        "Unable to determine the device handle for GPU 0000:91:00.0: GPU is lost.  Reboot the system",
        "Unable to determine the device handle for GPU2: 0000:91:00.0: Unknown Error",
    ],
)
def test_a_card_without_a_handle_is_lost(line: str) -> None:
    (lost,) = smi.read(line + "\nNo devices were found\n", "lost.txt")
    assert lost.identity.bus_id == "00000000:91:00.0"
    assert absence(lost.identity.name) is Absence.LOST
    assert absence(lost.counters.inforom_valid) is Absence.LOST


TABLE = (
    "| NVIDIA-SMI 460.32.03    Driver Version: 460.32.03    CUDA Version: 11.2     |\n"
    "|   0  NVIDIA T4           Off  | 00000001:00:00.0 Off |                    0 |\n"
    "|   1  Tesla V100-SXM2...  Off  | 00000002:00:00.0 Off |                    0 |\n"
)


def test_a_warning_beside_the_summary_table_is_read() -> None:
    t4, v100 = smi.read(TABLE + "WARNING: infoROM is corrupted at gpu 0001:00:00.0\n", "table")
    assert (t4.identity.name, t4.identity.driver, t4.counters.inforom_valid) == ("NVIDIA T4", "460.32.03", False)
    assert absence(v100.counters.inforom_valid) is Absence.UNKNOWN
    t4, v100 = smi.read(TABLE + "WARNING: infoROM is corrupted at gpu 0002:00:00.0\n", "table")
    assert (absence(t4.counters.inforom_valid), v100.counters.inforom_valid) == (Absence.UNKNOWN, False)
    assert absence(v100.identity.name) is Absence.UNKNOWN, "the table cuts this name"
    assert absence(v100.counters.ecc_uncorrected_aggregate) is Absence.UNKNOWN


def test_a_warning_about_a_card_that_nothing_else_shows_makes_it_known() -> None:
    (card,) = smi.read("WARNING: infoROM is corrupted at gpu 0008:00:00.0\n", "warning")
    assert (card.identity.bus_id, card.counters.inforom_valid) == ("00000008:00:00.0", False)


def test_the_table_adds_nothing_to_a_card_that_a_query_shows() -> None:
    query = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    row = TABLE.replace("00000001:00:00.0", "00000000:07:00.0")
    *queried, from_table = smi.read(f"{row}\n{query}", "both")
    assert queried == list(smi.read(query, "both"))
    assert from_table.identity.bus_id == "00000002:00:00.0"


def test_a_handle_that_is_lost_after_the_query_is_told_beside_it() -> None:
    query = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    line = "Unable to determine the device handle for GPU 0000:07:00.0: Unknown Error\n"
    *queried, lost = smi.read(query + line, "both")
    assert len(queried) == 2
    assert (lost.identity.bus_id, absence(lost.identity.name)) == ("00000000:07:00.0", Absence.LOST)


LINKS = (
    "GPU 0: NVIDIA A10 (UUID: {})\n"
    "         Link 0: 25.781 GB/s\n"
    "         Link 1: <inactive>\n"
    "GPU 1: NVIDIA A10 (UUID: GPU-99999999-aaaa-4bbb-8ccc-000000000009)\n"
    "         Link 0: 25.781 GB/s\n"
)


def test_links_are_tied_to_the_card_by_its_uuid() -> None:
    query = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    uuid = own("a10-and-h100.txt")[0].identity.uuid
    a10, h100, other = smi.read(f"{query}\n{LINKS.format(uuid)}", "both")
    assert [link.up for link in a10.nvlinks] == [True, False]
    assert a10.counters.nvlinks_up == 1
    assert (h100.nvlinks, absence(h100.counters.nvlinks_up)) == ((), Absence.UNKNOWN)
    assert [link.up for link in other.nvlinks] == [True]


# --- files as people send them


def test_gzip_utf16_and_windows_lines_are_read(tmp_path: Path) -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    half = len(text) // 2
    plain = [capture.identity for capture in own("a10-and-h100.txt")]
    for name, data in {
        "card.txt.gz": gzip.compress(text.encode()),
        "rotated.gz": gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode()),
        "tape.gz": gzip.compress(text.encode()) + bytes(512),
        "powershell.txt": text.encode("utf-16"),
        "powershell.txt.gz": gzip.compress(text.encode("utf-16")),
        "big-endian.txt": b"\xfe\xff" + text.encode("utf-16-be"),
        "no-mark.txt": text.encode("utf-16-le"),
        "windows.txt": text.replace("\n", "\r\n").encode("utf-8-sig"),
        "old-mac.txt": text.replace("\n", "\r").encode(),
        "no-end.txt": text.rstrip("\n").encode(),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert [capture.identity for capture in smi.load(path)] == plain, name


def test_a_stream_may_come_in_drops() -> None:
    class Drops(io.RawIOBase):
        """A pipe whose writer is slow."""

        def __init__(self, data: bytes) -> None:
            self._data = data

        def read(self, size: int = -1, /) -> bytes:
            drop, self._data = self._data[:7], self._data[7:]
            return drop

    data = (HERE / "a10-and-h100.txt").read_bytes()
    for one in (data, gzip.compress(data)):
        assert smi.read_stream(Drops(one), "pipe") == smi.read(data.decode(), "pipe")


def test_a_pasted_and_indented_document_is_read() -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    pasted = "".join(f"    {line}\n" for line in text.splitlines())
    assert [card.identity for card in smi.read(pasted, "paste")] == [card.identity for card in own("a10-and-h100.txt")]


def test_a_paste_without_the_title_is_read_and_lacks_the_driver() -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    cards = smi.read(text[text.index("GPU 00000000:07:00.0") :], "paste")
    assert [card.identity.name for card in cards] == ["NVIDIA A10", "NVIDIA H100 80GB HBM3"]
    assert {absence(card.identity.driver) for card in cards} == {Absence.UNKNOWN}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\x7fELF\0\0\0", "a binary file"),
        (bytes(1_000_000), "nothing but NUL bytes"),
        (bytes(range(256)) * 40, "a binary file"),
        (b"\x1f\x8b\x08broken", "a damaged gzip file"),
        (gzip.compress(b"x" * 1000)[:-9], "a gzip file that was cut off"),
        (gzip.compress(b"x" * 1000) + b"yyyy", "a damaged gzip file"),
        (gzip.compress(gzip.compress(b"x" * 100)), "a gzip file within another; unpack it first"),
        (gzip.compress(b"") * 10_001, "gzip of more than 10000 parts"),
        (lzma.compress(b"NVRM: "), "an xz file; unpack it first"),
        (bz2.compress(b"NVRM: "), "a bzip2 file; unpack it first"),
        (b"\x28\xb5\x2f\xfd\x24", "a zstd file; unpack it first"),
        (b"PK\x03\x04\x14\x00", "a zip archive; unpack it first"),
        (b"report.log".ljust(257, b"\0") + b"ustar", "a tar archive; unpack it first"),
        (gzip.compress(b"report.log".ljust(257, b"\0") + b"ustar"), "a tar archive; unpack it first"),
        (b"LPKSHHRH\0\0\0\0", "a binary systemd journal; give what `journalctl -k --file FILE` prints"),
        (b"\xff\xfe\xff\xd8", "not a capture"),
        (b"| NVIDIA-SMI 535.0  Driver Version: 535.0 |", "the summary table of nvidia-smi, without a card"),
        (b"         Link 0: 25 GB/s\n", "the NVLink status"),
        (b"GPU 0: NVIDIA A10 (UUID: GPU-1)\n", "the list of `nvidia-smi -L`"),
        (
            b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "could not reach the driver",
        ),
        (b"No devices were found\n", "found no GPU"),
        (b"[1.0] NVRM: objClInitPcieChipset\n", "a kernel log without any Xid"),
        (
            b"6,3964,206764307,-;eth0: link up\n",
            r"a log without a line of the NVIDIA driver, 1 line from \[206.764307\]",
        ),
        (b"<6>[  201.650687] sysrq: x\n", "a log without a line of the NVIDIA driver"),
        (b"index, name, temperature.gpu\n0, NVIDIA A10, 33\n", "comma-separated"),
        (b'{"gpu": []}', "JSON"),
        (b"<html><body>404</body></html>", "XML or HTML of another program"),
        (b"==============NVSMI LOG==============\n\nTimestamp : now\n", "lists no GPU"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(UnreadableCaptureError, match=words) as caught:
        smi.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_what_would_unpack_to_more_than_it_may_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "MAX_UNPACKED", 2**24)
    with pytest.raises(UnreadableCaptureError, match=r"bomb\.gz: unpacks to more than 16 MiB; give the lines of the"):
        smi.read_stream(io.BytesIO(gzip.compress(bytes(2**25))), "bomb.gz")
    monkeypatch.setattr(text_file, "MAX_BYTES", 2**20)  # of what is not compressed
    with pytest.raises(UnreadableCaptureError, match="endless: larger than"):
        smi.read_stream(io.BytesIO(b"y\n" * 2**20), "endless")


def test_more_output_of_nvidia_smi_than_a_rack_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smi_sieve, "MAX_KEPT", 2**20)
    with pytest.raises(UnreadableCaptureError, match="more than 1 MiB of nvidia-smi's output"):
        smi.read((HERE / "a10-and-h100.txt").read_text(encoding="utf-8") * 200, "rack")
    with pytest.raises(UnreadableCaptureError, match="or a document without an end"):
        smi.read("<nvidia_smi_log>" + "words\n" * 300_000, "endless.xml")


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UnreadableCaptureError, match=str(path)):
            smi.load(path)


def test_a_digest_is_taken_while_a_file_is_read() -> None:
    data = (HERE / "a10-and-h100.txt").read_bytes()
    stream = text_file.Digested(io.BytesIO(data))
    smi.read_stream(stream, "file")
    assert (stream.length, stream.sha256) == (len(data), hashlib.sha256(data).hexdigest())


# --- kernel logs of any length

XID = "[  902.500001] NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
NOISE = "[  902.500001] eth0: link up, 1000Mbps, full duplex, lpa 0xFFFF\n"


def only_log(text: str) -> list[tuple[int, int]]:
    (card,) = smi.read(text, "kern.log")
    return [(one.code, one.times) for one in card.log]


def test_what_a_power_cut_leaves_in_a_log_is_left_out() -> None:
    nul = "\0" * 70_000
    assert only_log(nul + XID + nul + XID + NOISE[:20] + nul + XID) == [(79, 3)]
    cut = XID[: XID.index("79") + 1]
    (card,) = smi.read(f"{XID}{cut}{nul}{XID}", "kern.log")
    assert [(one.code, one.times) for one in card.log] == [(79, 2)], "the half of a number is no number"
    assert any("cannot be read" in note for note in card.notes)


def test_a_log_that_ends_within_a_number_says_so() -> None:
    (card,) = smi.read(XID + XID[: XID.index("79") + 1], "kern.log")
    assert [(one.code, one.times) for one in card.log] == [(79, 1)]
    assert any("cannot be read" in note for note in card.notes)


def test_lines_of_any_length_are_read() -> None:
    assert only_log("x" * 3_000_000 + "\n" + XID + "y" * 9_000_000 + "\n" + XID) == [(79, 2)]
    assert only_log("z" * 1_000_000 + XID) == [(79, 1)]
    assert only_log(XID.replace("\n", " ") * 20_000) == [(79, 20_000)]


def test_an_endless_line_breaks_no_number() -> None:
    (card,) = smi.read(XID.replace("\n", " ") * 200_000, "kern.log")
    (told,) = card.log
    assert (told.code, 200_000 - told.times < 10) == (79, True)
    (card,) = smi.read(XID + (XID.replace("\n", "").replace(" ", "") + "x" * 3) * 200_000, "kern.log")
    assert {one.code for one in card.log} == {79}


def test_binary_garbage_within_a_log_hides_nothing_behind_it() -> None:
    garbage = bytes(range(256)) * 400
    (card,) = smi.read_stream(io.BytesIO(NOISE.encode() * 100 + garbage + b"\n" + XID.encode()), "kern.log")
    assert [(one.code, one.times) for one in card.log] == [(79, 1)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_log_is_counted_the_same_however_it_was_written(encoding: str, packed: bool, end: str) -> None:
    data = ((NOISE * 7 + XID) * 5_000).replace("\n", end).encode(encoding)
    (card,) = smi.read_stream(io.BytesIO(gzip.compress(data) if packed else data), "kern.log")
    assert [(one.code, one.times) for one in card.log] == [(79, 5_000)]
    assert "40000 lines from [902.500001] to [902.500001]" in card.notes[0]


MEASURE = """
import os, sys
process = os.posix_spawn(sys.executable, [sys.executable, "-m", "gpucert", "inspect", *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(process, 0)
print("ru_maxrss", usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""
"""A small process between this one and the command, because what its parent holds counts as a new process's peak."""


@pytest.mark.parametrize("kind", ["xids", "noise", "gzip", "utf-16", "one line", "nul"])
def test_a_long_log_is_read_in_less_than_100_mb_of_memory(tmp_path: Path, kind: str) -> None:
    unlike = (XID.replace("902.5", f"{n}.5").replace("3b:00", f"{n % 8:02x}:00") for n in range(200_000))
    text = NOISE * 320_000 + XID if kind == "noise" else "".join(unlike)
    assert len(text) >= 20_000_000
    data = {
        "gzip": lambda: gzip.compress(text.encode(), 1),
        "utf-16": lambda: text.encode("utf-16"),
        "one line": lambda: text.replace("\n", " ").encode(),
        "nul": lambda: text.encode() + bytes(20_000_000) + b"\n" + XID.encode(),
    }.get(kind, text.encode)()
    path = tmp_path / "kern.log"
    path.write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    words, kib, code = told[-1].split()
    assert (words, code) == ("ru_maxrss", "20")
    assert int(kib) * 1024 < 100_000_000, "the interpreter and its imports included"


def test_a_log_between_documents_belongs_to_neither() -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    captures = smi.read(text + XID * 1_000 + text, "both")
    assert [capture.document for capture in captures] == [1, 1, 2, 2, 1]
    assert [len(capture.log) for capture in captures] == [0, 0, 0, 0, 1]


# --- cards of a kernel log

UUID_OF_A10 = "GPU-11111111-aaaa-4bbb-8ccc-000000000001"
OTHER = "GPU-77777777-aaaa-4bbb-8ccc-000000000007"


def query_and(log: str) -> tuple[Capture, ...]:
    return smi.read((HERE / "a10-and-h100.txt").read_text(encoding="utf-8") + "\n" + log, "both")


def named(where: str, uuid: str, serial: str = "1320000000009") -> str:
    return f"NVRM: GPU at PCI:0000:{where}:00: {uuid}\nNVRM: GPU Board Serial Number: {serial}\n"


def test_a_log_alone_gives_a_card_with_all_that_it_ties_to_it() -> None:
    loading = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024\n"
    found = "pci 0000:3b:00.0: [10de:20b2] type 00 class 0x030200\n"
    (card,) = smi.read(found + loading + named("3b", OTHER) + XID, "kern.log")
    identity = card.identity
    assert (identity.bus_id, identity.uuid, identity.serial) == ("00000000:3b:00.0", OTHER, "1320000000009")
    assert (identity.pci_device, identity.driver) == ("20b2", "560.35.03")
    assert absence(identity.name) is Absence.LOST
    assert card.notes == ("Only a kernel log shows this card: 5 lines from [902.500001] to [902.500001].",)


def test_a_log_without_any_xid_is_a_statement_about_the_cards_that_it_shows() -> None:
    found = "[    1.200000] pci 0000:3b:00.0: [10de:20b2] type 00 class 0x030200\n"
    (card,) = smi.read(found + NOISE, "dmesg")
    (note,) = card.notes
    assert note.startswith(
        "Only a kernel log shows this card: 2 lines from [1.200000] to [902.500001], without any Xid"
    )
    assert (card.log, absence(card.counters.ecc_uncorrected_aggregate)) == ((), Absence.UNKNOWN)
    (card,) = smi.read(named("3b", OTHER), "dmesg")
    assert "without any Xid" in card.notes[0]


def test_a_card_that_a_log_shows_beside_a_query_is_no_further_one() -> None:
    assert len(query_and("pci 0000:3b:00.0: [10de:20b2] type 00 class 0x030200\n")) == 2


def test_an_xid_is_the_cards_whose_uuid_the_log_names_wherever_it_stands_now() -> None:
    a10, h100 = query_and(named("3b", UUID_OF_A10) + XID)
    assert ([one.code for one in a10.log], h100.log) == ([79], ())


def test_an_xid_of_another_card_in_the_same_place_is_not_this_cards() -> None:
    a10, h100, other = query_and(named("07", OTHER) + XID.replace("3b:00", "07:00"))
    assert (a10.log, h100.log) == ((), ())
    assert (other.identity.uuid, [one.code for one in other.log]) == (OTHER, [79])
    boot = "Linux version 6.1.0\n"
    log = boot + named("07", OTHER) + XID.replace("3b:00", "07:00") + boot + XID.replace("3b:00", "07:00")
    a10, h100, other, unknown = query_and(log)
    assert (a10.log, h100.log) == ((), ()), "two cards stood there, and the log does not say which one it means"
    assert [one.code for one in unknown.log] == [79]


def test_an_xid_that_only_a_bus_id_ties_to_a_card_says_so() -> None:
    a10, _ = query_and(XID.replace("3b:00", "07:00"))
    assert [one.code for one in a10.log] == [79]
    assert "Only its bus id ties some lines of the kernel log to this card." in a10.notes


def test_a_serial_in_the_log_that_is_not_the_cards_is_told() -> None:
    a10, _ = query_and(named("07", UUID_OF_A10) + XID.replace("3b:00", "07:00"))
    assert "The kernel log names another serial for this card: 1320000000009." in a10.notes


def test_two_boots_between_which_cards_swapped_slots_give_each_card_its_own() -> None:
    boot = "Linux version 6.1.0\n"
    first = boot + named("3b", UUID_OF_A10, "1") + XID + named("5e", OTHER, "2")
    second = boot + named("3b", OTHER, "2") + named("5e", UUID_OF_A10, "1") + XID.replace("3b:00", "5e:00")
    a10, h100, *others = query_and(first + second)
    assert [(one.code, one.times) for one in a10.log] == [(79, 2)], "once in each slot"
    assert h100.log == ()
    assert [(one.identity.uuid, one.log) for one in others] == [(OTHER, ()), (OTHER, ())]


def test_what_old_drivers_say_without_naming_a_card_is_the_only_cards_or_nobodys() -> None:
    dead = "NVRM: RmInitAdapter failed! (0x26:0xffff:1096)\n"
    (card,) = smi.read("nvidia 0000:01:00.0: enabling device (0006 -> 0007)\n" + dead, "dmesg")
    assert (card.identity.bus_id, card.not_initialised) == (
        "00000000:01:00.0",
        "RmInitAdapter failed! (0x26:0xffff:1096)",
    )
    a10, h100 = query_and(dead)
    assert (a10.not_initialised, h100.not_initialised) == ("", "")
    assert all(
        any("could not start a card that the log does not name" in note for note in c.notes) for c in (a10, h100)
    )
    with pytest.raises(UnreadableCaptureError, match="could not start a card that the log does not name"):
        smi.read(dead, "dmesg")


SXID = "[1.0] nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up\n"


def test_an_sxid_is_told_and_counts_against_no_card() -> None:
    a10, h100 = query_and(SXID * 3)
    words = "NVSwitch 0 logged SXid 20034 (fatal) 3 times: a matter of the baseboard."
    assert words in a10.notes
    assert words in h100.notes
    assert (a10.log, h100.log) == ((), ())
    with pytest.raises(UnreadableCaptureError, match=r"a kernel log without any Xid of a GPU, .* SXid 20034 \(fatal\)"):
        smi.read(SXID, "dmesg")


def test_pcie_errors_of_a_card_are_told() -> None:
    line = "nvidia 0000:07:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)\n"
    a10, _ = query_and(line * 2)
    assert [(one.severity, one.times) for one in a10.bus_errors] == [("corrected", 2)]
    assert any("2 PCIe errors of this card (corrected)" in note for note in a10.notes)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_a_cut_text_is_refused(share: float) -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    with pytest.raises(UnreadableCaptureError):
        smi.read(text[: int(len(text) * share)], "cut.txt")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_xml_is_refused(share: float) -> None:
    text = (HERE / "v100-retired.xml").read_text(encoding="utf-8")
    with pytest.raises(UnreadableCaptureError, match="perhaps cut off"):
        smi.read(text[: int(len(text) * share)], "cut.xml")


def test_a_display_filter_is_refused_with_the_command_that_helps() -> None:
    text = "==============NVSMI LOG==============\n\nGPU 00000000:01:00.0\n    ECC Mode\n        Current : Enabled\n"
    with pytest.raises(UnreadableCaptureError, match="nvidia-smi -q > FILE"):
        smi.read(text, "filtered.txt")


# --- damage

OWN = [(HERE / name).read_text(encoding="utf-8") for name in ("a10-and-h100.txt", "v100-retired.xml", "bug-report.txt")]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """One of our captures, cut, with characters changed, lines shuffled, dropped or doubled."""
    text = draw(st.sampled_from(OWN))
    for _ in range(draw(st.integers(1, 4))):
        lines = text.splitlines(keepends=True) or [""]
        at, to = sorted((draw(st.integers(0, len(lines))), draw(st.integers(0, len(lines)))))
        match draw(st.sampled_from(["cut", "change", "shuffle", "drop", "double", "splice"])):
            case "cut":
                text = text[: draw(st.integers(0, len(text)))]
            case "change":
                place = draw(st.integers(0, len(text)))
                text = text[:place] + draw(st.text(string.printable + "\u202e\x1b\0é", max_size=8)) + text[place + 1 :]
            case "shuffle":
                text = "".join(lines[:at] + lines[at:to][::-1] + lines[to:])
            case "drop":
                text = "".join(lines[:at] + lines[to:])
            case "double":
                text = "".join(lines[:to] + lines[at:])
            case "splice":
                text += draw(st.sampled_from(OWN))
    return text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(damaged())
def test_damage_is_read_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(UnreadableCaptureError):
        captures = smi.read(text, "damaged")
        assert captures
        assert all(isinstance(capture.identity.bus_id, str | Absent) for capture in captures)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(UnreadableCaptureError):
        smi.read_stream(io.BytesIO(data), "bytes")


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 255), st.integers(0, 31), st.integers(0, 7))
def test_bus_ids_have_one_spelling(domain: int, bus: int, device: int, function: int) -> None:
    once = bus_id.normal(f"{domain:04X}:{bus:02X}:{device:02x}.{function}")
    assert once is not None
    assert bus_id.normal(once) == once
    assert bus_id.normal(f"PCI:{domain:x}:{bus:02x}:{device:02x}.{function}") == once


# --- real captures

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/captures is not beside this checkout")

REAL = {
    "gpud__nvidia-smi-query.535.129.03.out.0.valid.a10": ("NVIDIA A10", "535.129.03", 1, 1),
    "gpud__nvidia-smi-query.535.154.05.out.0.valid.4090": ("NVIDIA GeForce RTX 4090", "535.154.05", 8, 1),
    "gpud__nvidia-smi-query.535.154.05.out.1.valid": ("NVIDIA GeForce RTX 4090", "535.154.05", 8, 1),
    "gpud__nvidia-smi-query.535.161.08.out.0.valid": ("NVIDIA H100 80GB HBM3", "535.161.08", 8, 1),
    "pai__nvidia_smi_out_of_order.xml": ("Tesla K80", "430.26", 4, 1),
    "pai__nvidia_smi_sample.xml": ("GeForce GTX 1070", "384.66", 2, 1),
    "telegraf__a100-sxm4-v12.xml": ("NVIDIA A100-SXM4-80GB", "535.54.03", 1, 1),
    "telegraf__gtx-1070-ti.xml": ("GeForce GTX 1070 Ti", None, 1, 1),
    "telegraf__quadro-p2000-v12.xml": ("Quadro P2000", "525.125.06", 1, 1),
    "telegraf__quadro-p400.xml": ("Quadro P400", "418.43", 1, 1),
    "telegraf__rtx-3060-v12.xml": ("NVIDIA GeForce RTX 3060", "570.124.04", 1, 1),
    "telegraf__rtx-3080-v12.xml": ("NVIDIA GeForce RTX 3080", "536.40", 1, 1),
    "telegraf__rtx-3080-v13.xml": ("NVIDIA GeForce RTX 3080", "595.58.03", 1, 1),
    "telegraf__rtx-3090-v12.xml": ("NVIDIA GeForce RTX 3090", "525.147.05", 1, 1),
    "utku__linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05.txt": (
        "NVIDIA GeForce RTX 2080 SUPER",
        "595.71.05",
        2,
        2,
    ),
    "utku__linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.txt": ("NVIDIA H100 80GB HBM3", "590.48.01", 2, 2),
    "utku__linux-x86_64__nvidia-h100-mig__590.48.01.txt": ("NVIDIA H100 80GB HBM3", "590.48.01", 2, 2),
    "utku__windows-x86_64__nvidia-geforce-rtx-2080-super__591.86.txt": (
        "NVIDIA GeForce RTX 2080 SUPER",
        "591.86",
        2,
        2,
    ),
    "utku__windows-x86_64__nvidia-geforce-rtx-2080-super__610.62.txt": (
        "NVIDIA GeForce RTX 2080 SUPER",
        "610.62",
        2,
        2,
    ),
}
"""File: name, driver, captures, documents."""

LISTED = {
    "azhpc__nvidia-smi-inforom.out": 8,
    "azhpc__nvlink.bad.out": 7,
    "gpud__nvidia-smi.525.125.06.out.0.valid": 1,
    "gpud__nvidia-smi.550.90.07.out.0.valid": 8,
    "gpud__nvidia-smi.nvlink.status.a100": 8,
}
"""Files without a full query: how many cards their table or their listing of links shows."""


@needs_shared
def test_every_shared_capture_is_expected_here() -> None:
    present = {path.name for path in SHARED.iterdir()} - {"SOURCES.md"}
    assert present == REAL.keys() | LISTED.keys()


@needs_shared
@pytest.mark.parametrize("name", REAL)
def test_a_real_capture_has_the_right_cards(name: str) -> None:
    model, driver, cards, documents = REAL[name]
    captures = smi.load(SHARED / name)
    assert len(captures) == cards
    assert {capture.identity.name for capture in captures} == {model}
    assert {capture.documents for capture in captures} == {documents}
    if driver is not None:
        assert {capture.identity.driver for capture in captures} == {driver}
        assert all(isinstance(capture.sample.temperature_c, float) for capture in captures)
        states_all = name != "pai__nvidia_smi_sample.xml"  # its authors cut it
        assert all(isinstance(capture.sample.event_reasons, int) is states_all for capture in captures)
        assert all(isinstance(capture.identity.memory_mib, int) for capture in captures)


@needs_shared
@pytest.mark.parametrize("name", LISTED)
def test_a_real_file_without_a_query_shows_the_cards_of_its_listing(name: str) -> None:
    captures = smi.load(SHARED / name)
    assert len(captures) == LISTED[name]
    assert {absence(card.counters.ecc_uncorrected_aggregate) for card in captures} == {Absence.UNKNOWN}


@needs_shared
def test_counters_of_real_captures() -> None:
    (a10,) = smi.load(SHARED / "gpud__nvidia-smi-query.535.129.03.out.0.valid.a10")
    assert (a10.counters.remapped_uncorrectable, a10.counters.remap_pending) == (4, True)
    first, second, *_ = smi.load(SHARED / "pai__nvidia_smi_out_of_order.xml")
    assert (first.counters.ecc_uncorrected_aggregate, first.counters.retired_dbe) == (7, 1)
    assert (second.counters.ecc_corrected_aggregate, second.counters.ecc_uncorrected_aggregate) == (34, 4)
    h100s = smi.load(SHARED / "gpud__nvidia-smi-query.535.161.08.out.0.valid")
    assert {card.sample.event_reasons for card in h100s} == {EventReason.HW_SLOWDOWN | EventReason.HW_POWER_BRAKE}
    assert {card.counters.remap_banks for card in h100s} == {(2560, 0, 0, 0, 0)}
    *others, inforom = smi.load(SHARED / "azhpc__nvidia-smi-inforom.out")
    assert (inforom.identity.bus_id, inforom.counters.inforom_valid) == ("00000008:00:00.0", False)
    assert {absence(card.counters.inforom_valid) for card in others} == {Absence.UNKNOWN}
