"""NVML through the real ctypes path: a small driver library of our own answers nvidia-ml-py in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpucert.device import nvml
from gpucert.device.gpu import NoDriverError

STUB = Path(__file__).parent / "nvml_stub" / "nvml_stub.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
UUID = "GPU-513536b6-7d19-9063-b049-1e69664bb298"

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this station")

READ_ALL = """
import msgspec, sys
from gpucert.device import nvml
gpu = nvml.attach(sys.argv[1])
told = {"identity": gpu.identity(), "settings": gpu.settings(), "counters": gpu.counters(), "sample": gpu.sample(1.5),
        "processes": gpu.processes(), "events": gpu.events(), "events_again": gpu.events()}
gpu.close()
gpu.close()
print(msgspec.json.encode(told).decode())
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with a library of today and one of an old driver."""
    assert COMPILER is not None
    folders = {}
    for age, flags in (("new", []), ("old", ["-DOLD_DRIVER"])):
        folders[age] = tmp_path_factory.mktemp(age)
        target = folders[age] / "libnvidia-ml.so.1"
        subprocess.run([COMPILER, "-shared", "-fPIC", "-Wall", "-Werror", *flags, "-o", target, STUB], check=True)
    return folders


def python(code: str, *arguments: str, library: Path | None, **script: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | script
    if library is not None:
        environment["LD_LIBRARY_PATH"] = str(library)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def read(library: Path, which: str = "0", **script: str) -> Any:
    done = python(READ_ALL, which, library=library, **script)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_compiler
def test_a_healthy_card_is_read_in_full(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"])
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
        "window_mib": None,
    }
    settings = told["settings"]
    assert settings["ecc"] is True
    assert settings["mig"] is False
    assert settings["virtualization"] == "pass-through"
    assert (settings["power_limit_w"], settings["power_min_w"], settings["power_max_w"]) == (400.0, 100.0, 500.0)
    assert settings["margin_c"] == -3.0
    counters = told["counters"]
    assert counters["remapped_uncorrectable"] == 4
    assert counters["remap_pending"] is True
    assert counters["remap_failure"] is False
    assert counters["remap_banks"] == [639, 1, 0, 0, 0]
    assert counters["sram_uncorrected_aggregate"] == 5
    assert counters["sram_threshold_exceeded"] is False
    assert counters["retired_dbe"] == 2
    assert counters["inforom_valid"] is True
    assert counters["recovery_action"] == 0
    assert (counters["nvlinks_up"], counters["nvlink_errors"]) == (11, 9)
    assert counters["throttle_thermal_ns"] == 2 * 10_000_000_000 + 269 + 270
    assert counters["throttle_power_brake_ns"] == 10_000_000_271


@needs_compiler
def test_a_sample_takes_instantaneous_power_and_signed_temperatures(libraries: dict[str, Path]) -> None:
    sample = read(libraries["new"])["sample"]
    assert sample["at_s"] == 1.5
    assert sample["power_w"] == 69.62
    assert sample["memory_temperature_c"] == -5.0
    assert sample["temperature_c"] == 42.0
    assert sample["event_reasons"] == 4


@needs_compiler
def test_an_old_driver_is_asked_in_its_own_words(libraries: dict[str, Path]) -> None:
    told = read(libraries["old"], NVML_STUB_FIELDS="186=3")
    assert told["sample"]["temperature_c"] == 41.0
    assert told["sample"]["event_reasons"] == 1
    assert told["sample"]["power_w"] == 60.0
    assert told["identity"]["pdi"]["absent"] == "driver_too_old"
    assert told["settings"]["margin_c"]["absent"] == "driver_too_old"
    assert told["counters"]["memory_unrepairable"]["absent"] == "driver_too_old"


CODES = {
    1: "unknown",
    2: "unknown",
    3: "not_supported",
    4: "no_permission",
    6: "unknown",
    8: "unknown",
    10: "unknown",
    11: "unknown",
    13: "driver_too_old",
    14: "unknown",
    15: "lost",
    16: "reset_required",
    25: "driver_too_old",
    26: "not_supported",
    27: "unknown",
    30: "unknown",
    999: "unknown",
    4711: "unknown",
}


@needs_compiler
@pytest.mark.parametrize("code", CODES)
def test_every_failure_code_is_an_absent_reading(libraries: dict[str, Path], code: int) -> None:
    calls = "nvmlDeviceGetName nvmlDeviceGetEccMode nvmlDeviceGetRemappedRows nvmlDeviceGetClockInfo"
    script = " ".join(f"{call}={code}" for call in calls.split())
    told = read(libraries["new"], NVML_STUB_CODES=script, NVML_STUB_FIELDS=f"82={code} 230={code}")
    absent = [
        told["identity"]["name"],
        told["settings"]["ecc"],
        told["settings"]["ecc_pending"],
        told["counters"]["remap_pending"],
        told["counters"]["remapped_uncorrectable"],
        told["counters"]["recovery_action"],
        told["sample"]["sm_clock_mhz"],
        told["sample"]["memory_temperature_c"],
    ]
    assert [reading["absent"] for reading in absent] == [CODES[code]] * len(absent)
    if code == 999:
        assert "may be a lost card" in absent[0]["detail"]
    assert told["sample"]["power_w"] == 69.62, "one failure must not take its neighbours with it"


@needs_compiler
@pytest.mark.parametrize(
    ("script", "part", "field"),
    [
        ("temperature=255", "sample", "temperature_c"),
        ("temperature=-60", "sample", "temperature_c"),
        ("power_instant=4294967295", "sample", "power_w"),
        ("sm_clock=4294967295", "sample", "sm_clock_mhz"),
        ("uncorrected_aggregate=-1", "counters", "ecc_uncorrected_aggregate"),
        ("replays=4294967295", "counters", "pcie_replays"),
        ("remap_pending=7", "counters", "remap_pending"),
        ("memory=0", "identity", "memory_mib"),
        ("pcie_width=0", "sample", "pcie_width"),
        ("ecc=3", "settings", "ecc"),
    ],
)
def test_impossible_values_are_absurd(libraries: dict[str, Path], script: str, part: str, field: str) -> None:
    assert read(libraries["new"], NVML_STUB_VALUES=script)[part][field]["absent"] == "absurd"


@needs_compiler
def test_a_corrupted_inforom_is_an_answer_and_anything_else_is_not(libraries: dict[str, Path]) -> None:
    def valid(code: int) -> object:
        told = read(libraries["new"], NVML_STUB_CODES=f"nvmlDeviceValidateInforom={code}")
        return told["counters"]["inforom_valid"]

    assert valid(14) is False
    assert valid(3) == {"absent": "not_supported", "detail": "nvmlDeviceValidateInforom: Not Supported"}


@needs_compiler
def test_unrepairable_memory_is_seen_although_the_binding_reads_another_word(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"], NVML_STUB_VALUES="unrepairable=1 tpc_repair=1")
    assert told["counters"]["memory_unrepairable"] is True
    assert told["counters"]["repair_pending"] is True
    assert read(libraries["new"])["counters"]["memory_unrepairable"] is False


@needs_compiler
def test_an_unreadable_part_makes_a_sum_unreadable(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"], NVML_STUB_FIELDS="270=4")
    assert told["counters"]["throttle_thermal_ns"]["absent"] == "no_permission"


@needs_compiler
def test_a_card_without_nvlink_says_not_supported(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"], NVML_STUB_CODES="nvmlDeviceGetNvLinkState=3")
    assert told["counters"]["nvlinks_up"]["absent"] == "not_supported"
    assert told["counters"]["nvlink_errors"]["absent"] == "not_supported"


@needs_compiler
@pytest.mark.parametrize("after", [0, 1, 5, 30, 60])
def test_a_card_that_is_lost_half_way_never_answers_again(libraries: dict[str, Path], after: int) -> None:
    told = read(libraries["new"], NVML_STUB_LOST_AFTER=str(after))
    assert told["sample"]["temperature_c"]["absent"] == "lost"
    assert told["sample"]["power_w"]["absent"] == "lost"
    assert told["processes"]["absent"] == "lost"


@needs_compiler
def test_xids_are_told_once_with_the_clock_of_the_run(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"], NVML_STUB_XIDS="79 48")
    assert [(event["code"], event["at_s"]) for event in told["events"]] == [("79", 1.5), ("48", 1.5)]
    assert told["events_again"] == []


@needs_compiler
def test_xids_that_cannot_be_watched_are_said_once(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"], NVML_STUB_CODES="nvmlDeviceRegisterEvents=3")
    assert [(event["kind"], event["code"]) for event in told["events"]] == [("note", "xids_not_watched")]
    assert told["events_again"] == []


@needs_compiler
def test_a_watch_that_breaks_later_is_said_once(libraries: dict[str, Path]) -> None:
    told = read(libraries["new"], NVML_STUB_CODES="nvmlEventSetWait_v2=999")
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


@needs_compiler
@pytest.mark.parametrize("which", ["0", UUID, UUID.upper(), "0000:65:00.0", "00000000:65:00.0", "65:00.0"])
def test_a_card_is_found_by_index_uuid_and_bus_id(libraries: dict[str, Path], which: str) -> None:
    assert read(libraries["new"], which)["identity"]["uuid"] == UUID


@needs_compiler
@pytest.mark.parametrize("which", ["1", "0000:a5:00.0"])
def test_a_card_that_the_driver_cannot_reach_is_opened_and_says_lost(libraries: dict[str, Path], which: str) -> None:
    told = read(libraries["new"], which)
    assert told["identity"]["name"]["absent"] == "lost"
    assert told["counters"]["ecc_uncorrected_aggregate"]["absent"] == "lost"
    assert told["events"][0]["code"] == "xids_not_watched"


@needs_compiler
def test_an_unknown_error_at_the_handle_may_be_a_lost_card(libraries: dict[str, Path]) -> None:
    name = read(libraries["new"], "1", NVML_STUB_VALUES="handle_of_1=999")["identity"]["name"]
    assert name["absent"] == "unknown"
    assert "may be a lost card" in name["detail"]


@needs_compiler
@pytest.mark.parametrize("which", ["2", "99999999999", "GPU-nobody", "1234:56:00.0", "", "\u0663", "-1"])
def test_a_card_that_is_not_there_is_named_with_those_that_are(libraries: dict[str, Path], which: str) -> None:
    done = python(READ_ALL, which, library=libraries["new"])
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gpucert.device.gpu.NoSuchGpuError: no GPU ")
    assert f"0: NVIDIA A100-SXM4-80GB, {UUID}, 00000000:65:00.0; 1: does not answer" in last


@needs_compiler
def test_every_card_is_listed_the_lost_one_too(libraries: dict[str, Path]) -> None:
    code = "from gpucert.device import nvml\nprint([str(card.name)[:6] for card in nvml.list_gpus()])"
    assert python(code, library=libraries["new"]).stdout.strip() == "['NVIDIA', 'lost (']"


@needs_compiler
@pytest.mark.parametrize(
    ("code", "words"),
    [(9, "kernel module is not loaded"), (18, "updated while it was running"), (4, "permissions"), (999, "code 999")],
)
def test_a_driver_that_does_not_start_says_what_to_do(libraries: dict[str, Path], code: int, words: str) -> None:
    done = python(READ_ALL, "0", library=libraries["new"], NVML_STUB_CODES=f"nvmlInitWithFlags={code}")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("gpucert.device.gpu.NoDriverError")
    assert words in last


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this station has a driver")
def test_without_a_driver_both_doors_say_so_at_once() -> None:
    for door in (nvml.list_gpus, lambda: nvml.attach("0")):
        with pytest.raises(NoDriverError, match=r"no NVIDIA driver is installed.*install one"):
            door()


def test_nothing_is_called_at_import() -> None:
    code = "import sys, gpucert.device.nvml\nprint('pynvml' in sys.modules)"
    assert python(code, library=None).stdout.strip() == "False"


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
        gpu.settings(), gpu.counters(), gpu.processes(), gpu.events()
    finally:
        gpu.close()
