"""NVML through the real ctypes path: a small driver library of our own answers nvidia-ml-py in a process of its own."""

import ast
import ctypes
import functools
import inspect
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pynvml
import pytest

from gpucert.device import nvml, nvml_answers
from gpucert.device.gpu import NoDriverError
from gpucert.record import EventReason
from tests.nvml_stub import COMPILER, KINDS, LIBRARY, UUID, Station, absent, build, header, readings

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this station")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a library of today, one of an old driver, and one that lacks nearly everything."""
    return {kind: build(tmp_path_factory.mktemp(kind), *flags) for kind, flags in KINDS.items()}


@pytest.fixture(scope="module")
def station(libraries: dict[str, Path]) -> Iterator[Station]:
    """A station with a driver of today."""
    one = Station(libraries["new"])
    yield one
    one.close()


@pytest.fixture(scope="module")
def old_station(libraries: dict[str, Path]) -> Iterator[Station]:
    """A station with a driver before 535."""
    one = Station(libraries["old"])
    yield one
    one.close()


# ---- what a card tells ----


@needs_compiler
def test_a_healthy_card_is_read_in_full(station: Station) -> None:
    told = station.read()
    assert told["identity"] == {
        "name": "NVIDIA A100-SXM4-80GB",
        "uuid": UUID,
        "pdi": "0xd52bae2e458244e2",
        "serial": "1324020001234",
        "board_part_number": "692-2G506-0212-002",
        "vbios": "92.00.36.00.02",
        "inforom_image": "G506.0212.00.01",
        "bus_id": "00000000:65:00.0",
        "pci_device": "20b2",
        "pci_subvendor": "10de",
        "pci_subdevice": "147f",
        "compute_capability": "8.0",
        "cuda_cores": 6912,
        "memory_mib": 81920,
        "bus_bits": 5120,
        "max_sm_clock_mhz": 1410,
        "max_memory_clock_mhz": 1593,
        "driver": "580.65.06",
        "gsp_firmware": "580.65.06",
        "window_mib": None,
    }
    assert told["settings"] == {
        "ecc": True,
        "ecc_pending": True,
        "mig": False,
        "mig_pending": False,
        "persistence": True,
        "virtualization": "pass-through",
        "confidential_compute": False,
        "compute_mode": "exclusive-process",
        "display_active": False,
        "fabric": "completed",
        "power_source": "ac",
        "power_limit_w": 400.0,
        "power_requested_w": 450.0,
        "power_default_w": 400.0,
        "power_min_w": 100.0,
        "power_max_w": 500.0,
        "shutdown_c": 92.0,
        "slowdown_c": 89.0,
        "memory_max_c": 95.0,
        "max_operating_c": 85.0,
        "margin_c": -3.0,
        "tlimit_shutdown_c": -8.0,
        "tlimit_slowdown_c": -2.0,
        "tlimit_memory_c": -1.0,
        "tlimit_max_c": 0.0,
        "fans": 0,
        "pcie_gen_max": 5,
        "pcie_gen_max_slot": 4,
        "pcie_width_max": 16,
        "event_reasons_supported": 511,
        "memory_used_mib": 512,
        "memory_reserved_mib": 660,
        "utilization_percent": 3,
    }
    assert told["counters"] == {
        "ecc_corrected_volatile": 0,
        "ecc_uncorrected_volatile": 0,
        "ecc_corrected_aggregate": 0,
        "ecc_uncorrected_aggregate": 0,
        "sram_uncorrected_aggregate": 5,
        "sram_threshold_exceeded": False,
        "remapped_correctable": 1,
        "remapped_uncorrectable": 4,
        "remap_pending": True,
        "remap_failure": False,
        "remap_banks": [639, 1, 0, 0, 0],
        "retired_sbe": 1,
        "retired_dbe": 2,
        "retired_dbe_7d": 0,
        "retired_pending": False,
        "repair_pending": False,
        "memory_unrepairable": False,
        "inforom_valid": True,
        "recovery_action": 0,
        "driver_loaded_s": 86400,
        "pcie_replays": 7,
        "pcie_replay_rollovers": 95,
        "pcie_recoveries": 169,
        "pcie_correctable": 173,
        "pcie_naks_received": 174,
        "pcie_receiver_errors": 175,
        "pcie_bad_tlps": 176,
        "pcie_naks_sent": 177,
        "pcie_bad_dllps": 178,
        "pcie_nonfatal": 179,
        "pcie_fatal": 180,
        "pcie_unsupported_requests": 181,
        "pcie_lcrc_errors": 182,
        "pcie_lane_errors": 183,
        "nvlinks_up": 11,
        "nvlink_errors": 9,
        "throttle_thermal_ns": 2 * 10_000_000_000 + 269 + 270,
        "throttle_sw_thermal_ns": 10_000_000_269,
        "throttle_hw_thermal_ns": 10_000_000_270,
        "throttle_power_brake_ns": 10_000_000_271,
        "energy_mj": 123456789,
    }
    assert told["nvlinks"][3] == {"link": 3, "up": True, "gigabytes_per_s": 25.0, "errors": 9}
    assert [link["link"] for link in told["nvlinks"] if not link["up"]] == [5]
    assert absent(told["nvlinks"][5]["gigabytes_per_s"]) == "not_supported"


@needs_compiler
def test_a_sample_takes_instantaneous_power_and_signed_temperatures_in_few_calls(station: Station) -> None:
    told = station.read()
    sample = told["sample"]
    assert sample["at_s"] == 1.5
    assert sample["power_w"] == 69.62
    assert sample["memory_temperature_c"] == -5.0
    assert sample["temperature_c"] == 42.0
    assert sample["event_reasons"] == 4
    assert sample["hotspot_c"] == 53.0
    assert told["calls_of_sample"] <= 9, "a sample is taken up to twenty times a second"


@needs_compiler
def test_an_old_driver_is_asked_in_its_own_words(old_station: Station) -> None:
    told = old_station.read(NVML_STUB_FIELDS="186=3")
    assert told["sample"]["temperature_c"] == 41.0
    assert told["sample"]["event_reasons"] == 1
    assert told["sample"]["power_w"] == 60.0
    assert told["settings"]["event_reasons_supported"] == 255
    assert [one["pid"] for one in told["processes"]] == [17, 4242, 4343]
    missing = {name for name, value in readings(told).items() if absent(value) == "driver_too_old"}
    assert missing == {
        "identity.pdi",
        "settings.confidential_compute",
        "settings.fabric",
        "sample.hotspot_c",
        "settings.margin_c",
        "settings.memory_used_mib",
        "settings.memory_reserved_mib",
        "counters.sram_uncorrected_aggregate",
        "counters.sram_threshold_exceeded",
        "counters.repair_pending",
        "counters.memory_unrepairable",
        "counters.driver_loaded_s",
        "counters.recovery_action",
        "counters.throttle_thermal_ns",
        "counters.throttle_hw_thermal_ns",
        "counters.throttle_power_brake_ns",
    }


@needs_compiler
def test_software_slowdown_of_an_old_driver_is_its_thermal_policy(old_station: Station) -> None:
    def slowed(**script: str) -> object:
        return old_station.read(**script)["counters"]["throttle_sw_thermal_ns"]

    assert slowed() == 75
    assert slowed(NVML_STUB_FIELDS="75=3") == 77
    assert absent(slowed(NVML_STUB_FIELDS="75=3", NVML_STUB_CODES="nvmlDeviceGetViolationStatus=26")) == "not_supported"


@needs_compiler
def test_a_failing_field_is_not_replaced_by_an_older_one(station: Station) -> None:
    counters = station.read(NVML_STUB_FIELDS="269=4")["counters"]
    assert absent(counters["throttle_sw_thermal_ns"]) == "no_permission"
    assert absent(counters["throttle_thermal_ns"]) == "no_permission"
    assert counters["throttle_hw_thermal_ns"] == 10_000_000_270


# ---- failures ----

KNOWN = {
    3: "not_supported",
    4: "no_permission",
    13: "driver_too_old",
    15: "lost",
    16: "reset_required",
    25: "driver_too_old",
    26: "not_supported",
}
CODES = (*range(1, 31), 31, 99, 999, 4711)
"""Every return code of nvml.h, and numbers that it does not have."""

STARTS = {"nvmlInit", "nvmlShutdown", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"}
FREES = {"nvmlEventSetFree"}
OTHER_DOORS = {"nvmlDeviceGetHandleByUUID", "nvmlDeviceGetHandleByPciBusId"}
"""They are asked where a card is named by UUID or bus id; the tests further down do that."""


def asked_names() -> list[str]:
    """Every function of NVML that the adapter names, found in its text."""
    tree = ast.parse(Path(inspect.getsourcefile(nvml) or "").read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return sorted(word for word in words if re.fullmatch(r"nvml[A-Z]\w+", word) and word != "nvmlLib")


NAMES = asked_names()


@functools.cache
def symbols(name: str) -> frozenset[str]:
    """The functions of the library that a function of the binding may call."""
    source = inspect.getsource(getattr(pynvml, name))
    found = set(re.findall(r'_nvmlGetFunctionPointer\("(\w+)"\)', source))
    inner = set(re.findall(r"\b(nvml[A-Z]\w+)\(", source)) - {name}
    return frozenset(found.union(*(symbols(one) for one in inner if inspect.isfunction(getattr(pynvml, one, None)))))


@needs_compiler
def test_the_library_has_every_function_that_the_adapter_asks_for(libraries: dict[str, Path]) -> None:
    table = subprocess.run(["nm", "-D", libraries["new"] / LIBRARY], capture_output=True, text=True, check=True).stdout
    offered = set(re.findall(r" T (\w+)", table))
    assert len(NAMES) > 60
    assert {symbol for name in NAMES for symbol in symbols(name)} - offered == set()


@needs_compiler
@pytest.mark.parametrize("name", [name for name in NAMES if name not in STARTS | FREES | OTHER_DOORS])
def test_a_failing_function_takes_its_own_readings_and_nothing_else(station: Station, name: str) -> None:
    healthy = readings(station.read())
    for code in CODES:
        script = " ".join(f"{symbol}={code}" for symbol in symbols(name))
        told = station.read(NVML_STUB_CODES=script)
        changed = {field: value for field, value in readings(told).items() if value != healthy[field]}
        events = [(event["kind"], event["code"]) for event in told["events"]]
        if name.startswith(("nvmlEvent", "nvmlDeviceRegisterEvents")):
            silent = name == "nvmlEventSetWait_v2" and code == nvml_answers.TIMEOUT
            assert (changed, events) == ({}, [] if silent else [("note", "xids_not_watched")])
            continue
        assert events == []
        for field, value in changed.items():
            assert acceptable(name, code, field, value), (code, field, value)
        wanted = name not in SECOND_CHOICES and (name, code) not in NO_FAILURES
        assert bool(changed) == wanted, (code, changed)


def acceptable(name: str, code: int, field: str, value: Any) -> bool:
    """Whether a reading may be this when a function fails with this code."""
    if field == "nvlinks":
        return value == [] or all(absent(link["errors"]) or absent(link["gigabytes_per_s"]) for link in value)
    if (name, code) == ("nvmlDeviceValidateInforom", nvml_answers.CORRUPTED_INFOROM):
        return value is False
    if absent(value) is None:
        return field in INSTEAD.get(name, {}) and INSTEAD[name][field] == value and code not in (15, 16)
    if (name, code) == ("nvmlDeviceGetNvLinkState", nvml_answers.INVALID_ARGUMENT):
        return absent(value) == "not_supported"
    if (field, code) == ("sample.hotspot_c", nvml_answers.INVALID_ARGUMENT):
        return absent(value) == "not_supported"
    if code == 999:
        return "may be a lost card" in value["detail"]
    return absent(value) == KNOWN.get(code, "unknown")


INSTEAD = {
    "nvmlDeviceGetTemperatureV": {"sample.temperature_c": 41.0},
    "nvmlDeviceGetCurrentClocksEventReasons": {"sample.event_reasons": 1},
    "nvmlDeviceGetSupportedClocksEventReasons": {"settings.event_reasons_supported": 255},
    "nvmlDeviceGetPcieReplayCounter": {"counters.pcie_replays": 94},
    "nvmlDeviceGetFieldValues": {"sample.power_w": 60.0, "counters.throttle_sw_thermal_ns": 77},
}
"""What a second choice answers in place of the first."""

SECOND_CHOICES = {
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetViolationStatus",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
    "nvmlDeviceGetSupportedClocksThrottleReasons",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetGraphicsRunningProcesses_v2",
}
"""A driver of today is not asked for them while it answers the first choice."""

NO_FAILURES = {
    (f"nvmlDeviceGet{kind}RunningProcesses_v3", code) for kind in ("Compute", "Graphics") for code in CODES
} - {(f"nvmlDeviceGet{kind}RunningProcesses_v3", code) for kind in ("Compute", "Graphics") for code in (15, 16)}
"""The older call answers the same."""


@needs_compiler
@pytest.mark.parametrize("name", sorted(SECOND_CHOICES))
def test_a_failing_second_choice_is_an_absent_reading_too(old_station: Station, name: str) -> None:
    first = {"nvmlDeviceGetPowerUsage": "186=3", "nvmlDeviceGetViolationStatus": "75=3"}.get(name, "")
    healthy = readings(old_station.read(NVML_STUB_FIELDS=first))
    for code in CODES:
        script = " ".join(f"{symbol}={code}" for symbol in symbols(name))
        told = readings(old_station.read(NVML_STUB_CODES=script, NVML_STUB_FIELDS=first))
        changed = {field: value for field, value in told.items() if value != healthy[field]}
        assert changed, code
        if name == "nvmlDeviceGetGraphicsRunningProcesses_v2" and code in (3, 26):
            assert [one["pid"] for one in changed["processes"]] == [4242, 4343], "a card without graphics has no list"
            continue
        for value in changed.values():
            kind = KNOWN.get(code, "unknown")
            assert absent(value) == ("not_supported" if first and kind == "driver_too_old" else kind), (code, value)


@needs_compiler
def test_a_failing_field_takes_its_own_readings_and_nothing_else(station: Station) -> None:
    healthy = readings(station.read())
    numbers = sorted({number for number, _ in HEADER_FIELDS})
    for number in numbers:
        for code in CODES:
            told = station.read(NVML_STUB_FIELDS=f"{number}={code}")
            changed = {name: value for name, value in readings(told).items() if value != healthy[name]}
            for name, value in changed.items():
                if name == "nvlinks":
                    assert {absent(link["gigabytes_per_s"]) for link in value} == {
                        "driver_too_old" if code == 2 else KNOWN.get(code, "unknown"),
                        "not_supported",
                    }
                elif absent(value) is None:
                    assert value == SECOND_FIELDS[name]
                else:
                    assert absent(value) == ("driver_too_old" if code == 2 else KNOWN.get(code, "unknown")), name
            spared = {75, 94, 208, 211, 215}  # a second choice each
            assert bool(changed) == (number not in spared), (number, code)


SECOND_FIELDS = {
    "sample.power_w": 60.0,
    "counters.throttle_sw_thermal_ns": 75,
    "counters.throttle_thermal_ns": 75 + 10_000_000_270,
}
"""What is answered in place of a field that card or driver do not have."""


@needs_compiler
def test_everything_may_fail_at_once(station: Station) -> None:
    for code in CODES:
        told = station.read(NVML_STUB_FIELDS=f"*={code}")
        assert isinstance(told["sample"]["temperature_c"], float)
        answer = station.ask(NVML_STUB_CODES=f"*={code}")
        assert answer["raised"] == "NoDriverError", "a driver that does not start"
        told = station.read(NVML_STUB_CODES=f"nvmlInitWithFlags=0 nvmlDeviceGetCount_v2=0 *={code}")
        present = {name: value for name, value in readings(told).items() if absent(value) is None}
        assert present == {"nvlinks": []}, code


@needs_compiler
def test_a_card_that_is_lost_after_any_number_of_calls_never_answers_again(station: Station) -> None:
    told = station.read(NVML_STUB_LOST_AFTER="100000")
    healthy, calls = readings(told), told["calls"]
    of_the_station = {"identity.driver", "settings.confidential_compute"}
    lost_before: set[str] = set(healthy) - of_the_station
    for after in range(calls + 1):
        told = station.read(NVML_STUB_LOST_AFTER=str(after))
        now = readings(told)
        lost = {name for name, value in now.items() if absent(value) == "lost"}
        changed = {name for name in now if now[name] != healthy[name]}
        if changed - lost:
            assert changed - lost == {"nvlinks"}
            assert now["nvlinks"] == [] or [absent(one["errors"]) for one in now["nvlinks"]][-1] == "lost"
        assert lost | {"nvlinks"} <= lost_before | {"nvlinks"}, "what was read before the loss stays"
        lost_before = lost
        assert (absent(now["processes"]) == "lost") == (after < calls), "the last that is asked for"
    assert lost_before == set()


@needs_compiler
@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("temperature=255", "sample.temperature_c"),
        ("temperature=-60", "sample.temperature_c"),
        ("power_instant=4294967295", "sample.power_w"),
        ("sm_clock=4294967295", "sample.sm_clock_mhz"),
        ("reasons=-1", "sample.event_reasons"),
        ("pcie_width=0", "sample.pcie_width"),
        ("uncorrected_aggregate=-1", "counters.ecc_uncorrected_aggregate"),
        ("replays=4294967295", "counters.pcie_replays"),
        ("remap_pending=7", "counters.remap_pending"),
        ("banks=-1", "counters.remap_banks"),
        ("sram_exceeded=2", "counters.sram_threshold_exceeded"),
        ("sram_parity=-1", "counters.sram_uncorrected_aggregate"),
        ("unrepairable=9", "counters.memory_unrepairable"),
        ("channel_repair=9", "counters.repair_pending"),
        ("time_run=-1", "counters.driver_loaded_s"),
        ("retired_first=17", "counters.retired_dbe_7d"),
        ("retired_later=9999999999000000", "counters.retired_dbe_7d"),
        ("recovery_type=0", "counters.recovery_action"),
        ("recovery_type=0 recovery=-1", "counters.recovery_action"),
        ("memory=0", "identity.memory_mib"),
        ("pdi=0", "identity.pdi"),
        ("pdi=-1", "identity.pdi"),
        ("pci_device=0xFFFFFFFF", "identity.pci_device"),
        ("pci_subsystem=0xFFFFFFFF", "identity.pci_subdevice identity.pci_subvendor"),
        ("ecc=3", "settings.ecc"),
        ("confidential=9", "settings.confidential_compute"),
        ("fabric=17", "settings.fabric"),
        ("utilization=101", "settings.utilization_percent"),
        ("power_requested=0", "settings.power_requested_w"),
    ],
)
def test_impossible_values_are_absurd(station: Station, script: str, names: str) -> None:
    healthy, told = readings(station.read()), readings(station.read(NVML_STUB_VALUES=script))
    assert {name: absent(value) for name, value in told.items() if value != healthy[name]} == dict.fromkeys(
        names.split(), "absurd"
    )


@needs_compiler
def test_a_value_of_unknown_type_is_no_value(station: Station) -> None:
    action = station.read(NVML_STUB_VALUES="recovery_type=77")["counters"]["recovery_action"]
    assert action == {"absent": "unknown", "detail": "field 230 answered a value of unknown type 77"}


@needs_compiler
@pytest.mark.parametrize("name", ["name", "serial", "board", "vbios", "inforom", "gsp"])
@pytest.mark.parametrize("words", [0, 1])
def test_an_empty_text_and_bytes_that_are_none_are_no_texts(station: Station, name: str, words: int) -> None:
    healthy, told = readings(station.read()), readings(station.read(NVML_STUB_VALUES=f"{name}={words}"))
    changed = {field: value for field, value in told.items() if value != healthy[field]}
    assert len(changed) == 1
    (value,) = changed.values()
    if (name, words) == ("gsp", 1):
        assert value == "\ufffd\ufffd\ufffd", "the binding hands its bytes over"
    else:
        assert absent(value) == "unknown"


@needs_compiler
def test_failures_whose_words_cannot_be_read_keep_their_code(station: Station) -> None:
    told = station.read(NVML_STUB_CODES="nvmlDeviceGetName=77", NVML_STUB_VALUES="error_words=1")
    assert told["identity"]["name"] == {"absent": "unknown", "detail": "nvmlDeviceGetName: code 77"}


# ---- single calls and their traps ----


@needs_compiler
def test_a_corrupted_inforom_is_an_answer_and_anything_else_is_not(station: Station) -> None:
    def valid(code: int) -> object:
        return station.read(NVML_STUB_CODES=f"nvmlDeviceValidateInforom={code}")["counters"]["inforom_valid"]

    assert valid(14) is False
    assert valid(3) == {"absent": "not_supported", "detail": "nvmlDeviceValidateInforom: Not Supported"}


@needs_compiler
def test_unrepairable_memory_is_seen_although_the_binding_reads_another_word(station: Station) -> None:
    told = station.read(NVML_STUB_VALUES="unrepairable=1 tpc_repair=1")
    assert told["counters"]["memory_unrepairable"] is True
    assert told["counters"]["repair_pending"] is True
    assert station.read()["counters"]["memory_unrepairable"] is False


@needs_compiler
def test_an_unreadable_part_makes_a_sum_unreadable(station: Station) -> None:
    told = station.read(NVML_STUB_FIELDS="270=4")
    assert absent(told["counters"]["throttle_thermal_ns"]) == "no_permission"


@needs_compiler
@pytest.mark.parametrize(("code", "kind"), [(3, "not_supported"), (13, "driver_too_old")])
def test_a_card_without_nvlink_says_so(station: Station, code: int, kind: str) -> None:
    told = station.read(NVML_STUB_CODES=f"nvmlDeviceGetNvLinkState={code}")
    assert absent(told["counters"]["nvlinks_up"]) == kind
    assert absent(told["counters"]["nvlink_errors"]) == kind
    assert told["nvlinks"] == []


@needs_compiler
def test_a_number_without_a_link_ends_no_list_and_a_link_that_fails_makes_the_sum_unknown(station: Station) -> None:
    told = station.read(NVML_STUB_VALUES="link0=-3 link2=-3")
    assert told["counters"]["nvlinks_up"] == 9
    assert [link["link"] for link in told["nvlinks"]] == [1, *range(3, 12)]
    told = station.read(NVML_STUB_VALUES="link7=-999")
    assert absent(told["counters"]["nvlinks_up"]) == "unknown"
    assert absent(told["counters"]["nvlink_errors"]) == "unknown"
    assert [link["link"] for link in told["nvlinks"]] == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]


@needs_compiler
def test_links_that_are_all_down_are_none_up_and_no_errors(station: Station) -> None:
    told = station.read(NVML_STUB_VALUES=" ".join(f"link{link}=0" for link in range(12)))
    assert told["counters"]["nvlinks_up"] == 0
    assert {link["up"] for link in told["nvlinks"]} == {False}


@needs_compiler
def test_nvlink_5_counts_other_errors(station: Station) -> None:
    told = station.read(NVML_STUB_VALUES="nvlink5=1")
    each = 211 + 215
    assert told["nvlinks"][2]["errors"] == 2**33 + each
    assert told["counters"]["nvlink_errors"] == 2**33 + 11 * each
    told = station.read(NVML_STUB_VALUES="nvlink5=1", NVML_STUB_FIELDS="208=3 211=3 215=3")
    assert absent(told["nvlinks"][2]["errors"]) == "not_supported"


@needs_compiler
def test_pages_retired_in_the_last_week_are_told_apart(station: Station) -> None:
    def recent(first: float, later: float) -> object:
        now = time.time()
        script = f"retired_first={(now - first) * 1e6:.0f} retired_later={(now - later) * 1e6:.0f}"
        return station.read(NVML_STUB_VALUES=script)["counters"]["retired_dbe_7d"]

    day = 86_400.0
    assert recent(3 * day, 30 * day) == 1
    assert recent(6.9 * day, 3600) == 2
    assert recent(7.1 * day, 400 * day) == 0
    told = station.read(NVML_STUB_VALUES="retired_first=0 retired_later=0")["counters"]
    assert absent(told["retired_dbe_7d"]) == "not_supported", "cards before Pascal keep no times"
    assert told["retired_dbe"] == 2


@needs_compiler
@pytest.mark.parametrize(
    ("script", "field", "word"),
    [
        ("fabric=1", "fabric", "not-started"),
        ("fabric=2 fabric_status=999", "fabric", "in-progress"),
        ("fabric_status=999", "fabric", "failed"),
        ("fabric=0", "fabric", {"absent": "not_supported", "detail": "no NVSwitch fabric"}),
        ("power_source=2", "power_source", "undersized"),
        ("power_source=9", "power_source", "source 9"),
        ("compute_mode=2", "compute_mode", "prohibited"),
        ("virtualization=2", "virtualization", "vgpu"),
        ("virtualization=9", "virtualization", "mode 9"),
        ("confidential=2", "confidential_compute", True),
        ("mig_pending=1", "mig_pending", True),
    ],
)
def test_modes_have_words(station: Station, script: str, field: str, word: object) -> None:
    assert station.read(NVML_STUB_VALUES=script)["settings"][field] == word


# ---- events, processes, finding a card ----


@needs_compiler
def test_xids_are_told_once_with_the_clock_of_the_run(station: Station) -> None:
    told = station.read(NVML_STUB_XIDS="79 48")
    assert [(event["code"], event["at_s"]) for event in told["events"]] == [("79", 1.5), ("48", 1.5)]
    assert told["events_again"] == []


@needs_compiler
def test_a_storm_of_xids_does_not_hold_up_the_monitor(station: Station) -> None:
    told = station.read(NVML_STUB_XIDS=" ".join(["31"] * 300))
    assert (len(told["events"]), len(told["events_again"])) == (256, 44)


@needs_compiler
@pytest.mark.parametrize("call", ["nvmlEventSetCreate=13", "nvmlDeviceRegisterEvents=3", "nvmlEventSetWait_v2=999"])
def test_xids_that_cannot_be_watched_are_said_once(station: Station, call: str) -> None:
    told = station.read(NVML_STUB_CODES=call)
    assert [(event["kind"], event["code"]) for event in told["events"]] == [("note", "xids_not_watched")]
    assert told["events_again"] == []


@needs_compiler
def test_own_processes_are_left_out(libraries: dict[str, Path]) -> None:
    code = """
import os
from gpucert.device import nvml
os.environ["NVML_STUB_VALUES"] = f"own_pid={os.getpid()}"
gpu = nvml.attach("0")
print(gpu.processes() == nvml.attach("0", ours=lambda: {os.getpid()}).processes())
print([process.pid for process in gpu.processes()])
print([process.pid for process in nvml.attach("0", ours=lambda: {17, os.getpid()}).processes()])
"""
    done = python(code, library=libraries["new"])
    assert done.stdout.splitlines() == ["True", "[17, 4242]", "[4242]"], done.stderr


def python(code: str, *, library: Path | None, **script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | script
    if library is not None:
        environment["LD_LIBRARY_PATH"] = str(library)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@needs_compiler
@pytest.mark.parametrize("which", ["0", UUID, UUID.upper(), "0000:65:00.0", "00000000:65:00.0", "65:00.0"])
def test_a_card_is_found_by_index_uuid_and_bus_id(station: Station, which: str) -> None:
    assert station.read(which)["identity"]["uuid"] == UUID


@needs_compiler
@pytest.mark.parametrize("which", ["1", "0000:a5:00.0"])
def test_a_card_that_the_driver_cannot_reach_is_opened_and_says_lost(station: Station, which: str) -> None:
    told = station.read(which)
    of_the_station = {"identity.driver", "settings.confidential_compute", "nvlinks"}
    assert {absent(value) for name, value in readings(told).items() if name not in of_the_station} == {"lost"}
    assert told["nvlinks"] == []
    assert told["events"][0]["code"] == "xids_not_watched"


@needs_compiler
@pytest.mark.parametrize(
    "door", ["nvmlDeviceGetHandleByUUID", "nvmlDeviceGetHandleByPciBusId_v2", "nvmlDeviceGetHandleByIndex_v2"]
)
def test_a_door_that_fails_opens_a_card_that_says_why(station: Station, door: str) -> None:
    which = {"nvmlDeviceGetHandleByUUID": UUID, "nvmlDeviceGetHandleByPciBusId_v2": "65:00.0"}.get(door, "0")
    for code in CODES:
        answer = station.ask(which, NVML_STUB_CODES=f"{door}={code}")
        if code in nvml_answers.NO_SUCH_GPU and which != "0":
            assert answer["raised"] == "NoSuchGpuError"
            continue
        kind = "unknown" if code in nvml_answers.NO_SUCH_GPU else KNOWN.get(code, "unknown")
        assert absent(answer["identity"]["name"]) == absent(answer["counters"]["recovery_action"]) == kind, code


@needs_compiler
def test_an_unknown_error_at_the_handle_may_be_a_lost_card(station: Station) -> None:
    name = station.read("1", NVML_STUB_VALUES="handle_of_1=999")["identity"]["name"]
    assert name["absent"] == "unknown"
    assert "may be a lost card" in name["detail"]


@needs_compiler
@pytest.mark.parametrize("which", ["2", "99999999999", "GPU-nobody", "1234:56:00.0", "", "\u0663", "-1"])
def test_a_card_that_is_not_there_is_named_with_those_that_are(station: Station, which: str) -> None:
    answer = station.ask(which)
    assert answer["raised"] == "NoSuchGpuError"
    assert answer["text"].startswith("no GPU ")
    assert f"0: NVIDIA A100-SXM4-80GB, {UUID}, 00000000:65:00.0; 1: does not answer" in answer["text"]


@needs_compiler
@pytest.mark.parametrize(
    ("code", "words"),
    [(9, "kernel module is not loaded"), (18, "updated while it was running"), (4, "permissions"), (999, "code 999")],
)
def test_a_driver_that_does_not_start_says_what_to_do(station: Station, code: int, words: str) -> None:
    answer = station.ask(NVML_STUB_CODES=f"nvmlInitWithFlags={code}")
    assert answer["raised"] == "NoDriverError"
    assert words in answer["text"]


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this station has a driver")
def test_without_a_driver_the_door_says_so_at_once() -> None:
    with pytest.raises(NoDriverError, match=r"no NVIDIA driver is installed.*install one"):
        nvml.attach("0")


def test_nothing_is_called_at_import() -> None:
    code = "import sys, gpucert.device.nvml\nprint('pynvml' in sys.modules)"
    assert python(code, library=None).stdout.strip() == "False"


# ---- bindings and libraries of another age ----

SINCE_11_525 = (
    "nvmlDeviceGetBBXTimeData_v1 nvmlDeviceGetComputeRunningProcesses_v2 nvmlDeviceGetCurrentClocksEventReasons "
    "nvmlDeviceGetGraphicsRunningProcesses_v2 nvmlDeviceGetMarginTemperature nvmlDeviceGetPdi "
    "nvmlDeviceGetRepairStatus nvmlDeviceGetSramEccErrorStatus nvmlDeviceGetSupportedClocksEventReasons "
    "nvmlDeviceGetTemperatureV nvmlDeviceGetUnrepairableMemoryFlag_v1 nvmlDeviceGetGpuFabricInfoV "
    "nvmlSystemGetConfComputeState c_nvmlEccSramErrorStatus_v1_t c_nvmlGpuFabricInfo_v2_t"
)
"""What nvidia-ml-py 11.525 lacks of all that is asked for, functions and structures."""

MISSING_IN_11_525 = {
    "identity.pdi",
    "settings.confidential_compute",
    "settings.fabric",
    "sample.hotspot_c",
    "settings.margin_c",
    "counters.sram_uncorrected_aggregate",
    "counters.sram_threshold_exceeded",
    "counters.repair_pending",
    "counters.driver_loaded_s",
}
MISSING_IN_12_535 = {
    "identity.pdi",
    "settings.fabric",
    "sample.hotspot_c",
    "settings.margin_c",
    "counters.repair_pending",
    "counters.driver_loaded_s",
}


def too_old(told: Any) -> set[str]:
    return {name for name, value in readings(told).items() if absent(value) == "driver_too_old"}


@needs_compiler
def test_an_old_binding_leaves_out_what_it_lacks(station: Station, old_station: Station) -> None:
    gone = dict.fromkeys(SINCE_11_525.split(), "gone")
    told = station.read(changes=gone)
    assert too_old(told) == MISSING_IN_11_525
    assert told["sample"]["temperature_c"] == 41.0
    assert told["counters"]["memory_unrepairable"] is False, "the library itself is asked"
    assert too_old(old_station.read(changes=gone)) == MISSING_IN_11_525 | too_old(old_station.read()) | {"processes"}


@pytest.fixture(scope="module", params=["11.525.150", "12.535.161"])
def old_binding(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Version and folder of a real old nvidia-ml-py, from the package index."""
    folder = tmp_path_factory.mktemp("binding")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    done = subprocess.run([*command, f"nvidia-ml-py=={request.param}"], capture_output=True, timeout=120, check=False)
    if done.returncode != 0:
        assert not os.environ.get("CI"), done.stderr.decode()
        pytest.skip("the package index cannot be reached")
    return request.param, folder


@needs_compiler
def test_a_real_old_binding_leaves_out_what_it_lacks(
    old_binding: tuple[str, Path], libraries: dict[str, Path], old_station: Station
) -> None:
    version, folder = old_binding
    lacks = MISSING_IN_11_525 if version == "11.525.150" else MISSING_IN_12_535
    for kind, expected in (("new", lacks), ("old", lacks | too_old(old_station.read()) | {"processes"})):
        one = Station(libraries[kind], folder)
        told, lost = one.read(), one.read(NVML_STUB_LOST_AFTER="0")
        one.close()
        assert too_old(told) == expected
        assert isinstance(told["sample"]["temperature_c"], float)
        assert told["identity"]["uuid"] == UUID
        assert absent(lost["counters"]["ecc_uncorrected_aggregate"]) == "lost"


FITTING = {
    f"identity.{name}": "fifty-one"
    for name in ("name", "uuid", "serial", "board_part_number", "vbios", "inforom_image", "driver", "gsp_firmware")
}
"""Readings that one of the odd answers fits."""


@needs_compiler
@pytest.mark.parametrize(
    "change",
    [
        {"takes_nothing": ""},
        *({"raises": error} for error in ("TypeError", "AttributeError", "ValueError", "OSError", "KeyError")),
        {"raises": "ArgumentError"},
        {"raises": "UnicodeDecodeError"},
        {"answers": None},
        {"answers": "fifty-one"},
        {"answers": [1, 2, 3, 4, 5, 6, 7]},
        {"answers": [None, None]},
        {"answers": 2.5},
    ],
)
def test_a_binding_that_behaves_otherwise_gives_absent_readings(station: Station, change: dict[str, Any]) -> None:
    healthy = readings(station.read())
    for name in NAMES:
        if name in STARTS | FREES | OTHER_DOORS or name.startswith(("nvmlEventSetCreate", "nvmlDeviceRegisterEvents")):
            continue
        told = readings(station.read(changes={name: change}))
        for field, value in told.items():
            if value == healthy[field] or field == "nvlinks":
                continue
            if absent(value) is None:
                assert value == INSTEAD.get(name, {}).get(field, FITTING.get(field)), (name, field, value)


@needs_compiler
def test_a_wrong_signature_says_so(station: Station) -> None:
    name = station.read(changes={"nvmlDeviceGetName": {"takes_nothing": ""}})["identity"]["name"]
    assert name["absent"] == "unknown"
    assert "the installed nvidia-ml-py fails: TypeError" in name["detail"]


@needs_compiler
@pytest.mark.parametrize(
    ("constant", "name"),
    [
        ("nvmlMarginTemperature_v1", "settings.margin_c"),
        ("nvmlEccSramErrorStatus_v1", "counters.sram_threshold_exceeded"),
        ("nvmlRepairStatus_v1", "counters.repair_pending"),
        ("nvmlPdi_v1", "identity.pdi"),
        ("nvmlGpuFabricInfo_v2", "settings.fabric"),
    ],
)
def test_a_structure_of_another_version_is_a_driver_too_old(station: Station, constant: str, name: str) -> None:
    assert isinstance(getattr(pynvml, constant), int)
    told = readings(station.read(changes={constant: 0x7000008}))
    assert absent(told[name]) == "driver_too_old"
    assert told[name]["detail"].startswith("nvmlDeviceGet")


@needs_compiler
def test_a_library_without_most_functions_gives_absent_readings(libraries: dict[str, Path]) -> None:
    one = Station(libraries["bare"])
    told = readings(one.read())
    one.close()
    assert told.pop("identity.name") == "NVIDIA A100-SXM4-80GB"
    assert told.pop("nvlinks") == []
    assert {absent(value) for value in told.values()} == {"driver_too_old"}


# ---- layouts and numbers, held against nvml.h ----
STRUCTURES = {
    "nvmlPciInfo_t": "nvmlPciInfo_t",
    "nvmlMemory_t": "c_nvmlMemory_t",
    "nvmlMemory_v2_t": "c_nvmlMemory_v2_t",
    "nvmlUtilization_t": "c_nvmlUtilization_t",
    "nvmlViolationTime_t": "c_nvmlViolationTime_t",
    "nvmlFieldValue_t": "c_nvmlFieldValue_t",
    "nvmlValue_t": "c_nvmlValue_t",
    "nvmlProcessInfo_t": "c_nvmlProcessInfo_v2_t",
    "nvmlProcessInfo_v2_t": "c_nvmlProcessInfo_v2_t",
    "nvmlEventData_t": "c_nvmlEventData_t",
    "nvmlRowRemapperHistogramValues_t": "c_nvmlRowRemapperHistogramValues",
    "nvmlRepairStatus_v1_t": "c_nvmlRepairStatus_t",
    "nvmlMarginTemperature_v1_t": "c_nvmlMarginTemperature_v1_t",
    "nvmlTemperature_v1_t": "c_nvmlTemperature_v1_t",
    "nvmlPdi_v1_t": "c_nvmlPdi_t",
    "nvmlEccSramErrorStatus_v1_t": "c_nvmlEccSramErrorStatus_v1_t",
    "nvmlGpuFabricInfo_v2_t": "c_nvmlGpuFabricInfo_v2_t",
    "nvmlConfComputeSystemState_t": "c_nvmlConfComputeSystemState_t",
    "nvmlBBXTimeData_v1_t": "c_nvmlBBXTimeData_v1_t",
}
"""nvml.h → nvidia-ml-py."""


def numbered(numbers: Iterable[int], prefix: str, words: str) -> Iterator[tuple[int, str]]:
    """Numbers of ours beside names of the header, in the same order."""
    return zip(numbers, (prefix + word for word in words.split()), strict=True)


HEADER_FIELDS = {
    (nvml._THERMAL_POLICY_NS, "NVML_FI_DEV_PERF_POLICY_THERMAL"),
    (nvml._MEMORY_TEMPERATURE, "NVML_FI_DEV_MEMORY_TEMP"),
    (nvml._POWER_INSTANT, "NVML_FI_DEV_POWER_INSTANT"),
    (nvml._RECOVERY_ACTION, "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION"),
    (nvml._PCIE_REPLAYS, "NVML_FI_DEV_PCIE_REPLAY_COUNTER"),
    (nvml._PCIE_ROLLOVERS, "NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER"),
    (nvml._PCIE_RECOVERIES, "NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER"),
    (nvml._LINK_SPEED, "NVML_FI_DEV_NVLINK_GET_SPEED"),
    (nvml._TLIMIT_SHUTDOWN, "NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT"),
    (nvml._TLIMIT_SLOWDOWN, "NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT"),
    (nvml._TLIMIT_MEMORY, "NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT"),
    (nvml._TLIMIT_MAX, "NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT"),
    (nvml._SW_THERMAL_NS, "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN"),
    (nvml._HW_THERMAL_NS, "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN"),
    (nvml._POWER_BRAKE_NS, "NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN"),
    (nvml._LINK5_ERRORS[0], "NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS"),
    (nvml._LINK5_ERRORS[1], "NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS"),
    (nvml._LINK5_ERRORS[2], "NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS"),
    *numbered(
        nvml._PCIE_ERRORS,
        "NVML_FI_DEV_PCIE_COUNT_",
        "CORRECTABLE_ERRORS NAKS_RECEIVED RECEIVER_ERROR BAD_TLP NAKS_SENT BAD_DLLP NON_FATAL_ERROR FATAL_ERROR "
        "UNSUPPORTED_REQ LCRC_ERROR LANE_ERROR",
    ),
}
HEADER_NUMBERS = {
    *HEADER_FIELDS,
    (nvml._SM, "NVML_CLOCK_SM"),
    (nvml._MEMORY, "NVML_CLOCK_MEM"),
    (nvml._DIE, "NVML_TEMPERATURE_GPU"),
    (nvml._SHUTDOWN, "NVML_TEMPERATURE_THRESHOLD_SHUTDOWN"),
    (nvml._SLOWDOWN, "NVML_TEMPERATURE_THRESHOLD_SLOWDOWN"),
    (nvml._MEMORY_MAX, "NVML_TEMPERATURE_THRESHOLD_MEM_MAX"),
    (nvml._MAX_OPERATING, "NVML_TEMPERATURE_THRESHOLD_GPU_MAX"),
    (nvml._CORRECTED, "NVML_MEMORY_ERROR_TYPE_CORRECTED"),
    (nvml._UNCORRECTED, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED"),
    (nvml._VOLATILE, "NVML_VOLATILE_ECC"),
    (nvml._AGGREGATE, "NVML_AGGREGATE_ECC"),
    (nvml._MULTIPLE_SBE, "NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS"),
    (nvml._DBE, "NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR"),
    (nvml._LINK_ERRORS.start, "NVML_NVLINK_ERROR_DL_REPLAY"),
    (nvml._LINK_ERRORS.stop, "NVML_NVLINK_ERROR_COUNT"),
    (nvml._MAX_LINKS, "NVML_NVLINK_MAX_LINKS"),
    (nvml._THERMAL_POLICY, "NVML_PERF_POLICY_THERMAL"),
    (nvml._XID_EVENT, "nvmlEventTypeXidCriticalError"),
    (nvml._MEMORY_V2, "nvmlMemory_v2"),
    *numbered(nvml._VIRTUALIZATION, "NVML_GPU_VIRTUALIZATION_MODE_", "NONE PASSTHROUGH VGPU HOST_VGPU HOST_VSGA"),
    *numbered(nvml._COMPUTE_MODES, "NVML_COMPUTEMODE_", "DEFAULT EXCLUSIVE_THREAD PROHIBITED EXCLUSIVE_PROCESS"),
    *numbered(nvml._POWER_SOURCES, "NVML_POWER_SOURCE_", "AC BATTERY UNDERSIZED"),
    *numbered(
        (nvml._NO_FABRIC, *nvml._FABRIC),
        "NVML_GPU_FABRIC_STATE_",
        "NOT_SUPPORTED NOT_STARTED IN_PROGRESS COMPLETED",
    ),
    *numbered(nvml._CONFIDENTIAL, "NVML_CC_SYSTEM_FEATURE_", "DISABLED ENABLED BMSAI_ENABLED"),
    *numbered(
        (2, 3, 4, 6, 9, 10, 12, 13, 14, 15, 16, 18, 25, 26, 28, 999),
        "NVML_ERROR_",
        "INVALID_ARGUMENT NOT_SUPPORTED NO_PERMISSION NOT_FOUND DRIVER_NOT_LOADED TIMEOUT LIBRARY_NOT_FOUND "
        "FUNCTION_NOT_FOUND CORRUPTED_INFOROM GPU_IS_LOST RESET_REQUIRED LIB_RM_VERSION_MISMATCH "
        "ARGUMENT_VERSION_MISMATCH DEPRECATED GPU_NOT_FOUND UNKNOWN",
    ),
    *numbered(
        nvml_answers._VALUE_MEMBERS,
        "NVML_VALUE_TYPE_",
        "DOUBLE UNSIGNED_INT UNSIGNED_LONG UNSIGNED_LONG_LONG SIGNED_LONG_LONG SIGNED_INT UNSIGNED_SHORT",
    ),
    (EventReason.IDLE, "nvmlClocksEventReasonGpuIdle"),
    (EventReason.APPLICATIONS_CLOCKS, "nvmlClocksEventReasonApplicationsClocksSetting"),
    (EventReason.SW_POWER_CAP, "nvmlClocksEventReasonSwPowerCap"),
    (EventReason.HW_SLOWDOWN, "nvmlClocksThrottleReasonHwSlowdown"),
    (EventReason.SYNC_BOOST, "nvmlClocksEventReasonSyncBoost"),
    (EventReason.SW_THERMAL, "nvmlClocksEventReasonSwThermalSlowdown"),
    (EventReason.HW_THERMAL, "nvmlClocksThrottleReasonHwThermalSlowdown"),
    (EventReason.HW_POWER_BRAKE, "nvmlClocksThrottleReasonHwPowerBrakeSlowdown"),
    (EventReason.DISPLAY_CLOCKS, "nvmlClocksEventReasonDisplayClockSetting"),
    (EventReason.BOARD_LIMIT, "nvmlClocksEventReasonBoardLimit"),
    (EventReason.RELIABILITY, "nvmlClocksEventReasonReliability"),
}
"""Number of ours, name in nvml.h."""


KNOWN_DRIFT = {"nvmlGpuFabricInfo_v2_t.state.size": (4, 1)}
"""Where binding and header differ, and the adapter allows for it."""


@needs_compiler
def test_structures_and_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    lines = [f'printf("{name} %llu\\n", (unsigned long long)({name}));' for _, name in HEADER_NUMBERS]
    for ours, theirs in STRUCTURES.items():
        lines.append(f'printf("{ours} %zu\\n", sizeof({ours}));')
        members = [member[0] for member in getattr(pynvml, theirs)._fields_]
        for one in members:
            lines.append(f'printf("{ours}.{one} %zu\\n", offsetof({ours}, {one}));')
            lines.append(f'printf("{ours}.{one}.size %zu\\n", sizeof((({ours} *)0)->{one}));')
    program = tmp_path / "layout.c"
    program.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <nvml.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n"
    )
    assert COMPILER is not None
    subprocess.run([COMPILER, "-I", header().parent, "-o", tmp_path / "layout", program], check=True)
    printed = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout
    there = {name: int(number) for name, number in (line.split() for line in printed.splitlines())}

    here = {name: int(number) for number, name in HEADER_NUMBERS}
    for ours, theirs in STRUCTURES.items():
        kind = getattr(pynvml, theirs)
        here[ours] = ctypes.sizeof(kind)
        for member in kind._fields_:
            here[f"{ours}.{member[0]}"] = getattr(kind, member[0]).offset
            here[f"{ours}.{member[0]}.size"] = getattr(kind, member[0]).size
    assert {name: (value, there[name]) for name, value in here.items() if value != there[name]} == KNOWN_DRIFT
    assert here.keys() == there.keys()


def test_no_number_of_the_adapter_is_left_out_of_the_comparison() -> None:
    own = {"_MIB", "_WEEK_S", "_MAX_EVENTS", "_COUNTED"}
    compared = {number for number, _ in HEADER_NUMBERS}
    for module in (nvml, nvml_answers):
        for name, value in vars(module).items():
            if not name.startswith("_") or name.startswith("__") or name in own:
                continue
            numbers = value if isinstance(value, dict | tuple) else (value,)
            for number in numbers:
                if isinstance(number, int) and name not in ("_CLOCKS_APART_S", "_MICROSECONDS", "_FIRST_RETIREMENT_S"):
                    assert number in compared, name


@pytest.mark.gpu
@pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="this station has no NVIDIA driver")
def test_a_real_card_is_read() -> None:
    gpu = nvml.attach("0")
    try:
        identity, sample = gpu.identity(), gpu.sample(0.0)
        assert isinstance(identity.name, str)
        assert isinstance(identity.uuid, str)
        assert isinstance(identity.memory_mib, int)
        assert isinstance(sample.temperature_c, float | int)
        assert isinstance(sample.power_w, float | int)
        gpu.settings(), gpu.counters(), gpu.processes(), gpu.events(), gpu.nvlinks()
    finally:
        gpu.close()
