"""`gpucert doctor`: each cause is named with its remedy, nothing unread is called ok, and nothing holds it up."""

import importlib.metadata
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import gpucert
from gpucert.capture import Capture
from gpucert.cli import main
from gpucert.device.kernel_log import Book
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Process
from gpucert.run import locks
from gpucert.run.processes import environment
from gpucert.station import doctor, gather, host, log, packages, places, trial
from gpucert.station.facts import Clock, Host, Package, Packages, Place, Places, Sight, Station, Tried, Variable
from gpucert.station.on_cupy import OLDEST_BINDING, OLDEST_CUPY, extra
from gpucert.station.remark import Remark, State, closing, report
from gpucert.store.ledger import NewAttempt, open_ledger
from tests import nvml_stub, stations, sysfs

ROOT = Path(__file__).parent.parent
A100, OTHER = "0000:65:00.0", "0000:b3:00.0"
UNREAD = Absent(Absence.UNKNOWN, "not read")
needs_compiler = pytest.mark.skipif(nvml_stub.COMPILER is None, reason="no C compiler on this station")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a user who is not root cannot take on another one")
without_driver = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this station has a driver")


# ---- the judging part, on facts alone ----


def healthy(folder: Path, **changes: Any) -> Sight:
    """A station with one A100 that the driver reads."""
    root = stations.root(folder)
    sysfs.device(root / "sys", A100)
    return stations.sight(root, listed=(stations.identity(),), **changes)


def remarks(station: Station) -> dict[str, Remark]:
    """By name; a later one of the same name wins, which no test leans on."""
    return {one.name: one for one in doctor.examine(station)}


def states(station: Station) -> set[tuple[str, State]]:
    return {(one.name, one.state) for one in doctor.examine(station) if one.state is not State.OK}


def test_a_healthy_station_is_ready_and_every_remark_was_looked_at(tmp_path: Path) -> None:
    told = report(doctor.examine(stations.station(healthy(tmp_path))))
    assert [one for one in told.remarks if one.state is not State.OK] == []
    assert (told.ready, told.exit_code) == (True, 0)
    assert closing(told) == "Ready: nothing stands between this station and a certificate."
    assert {one.topic for one in told.remarks} == {
        "GPUs",
        "Driver",
        "GPU 0 NVIDIA A100-SXM4-80GB 00000000:65:00.0",
        "CuPy and libraries",
        "Station",
    }
    assert len({(one.topic, one.name) for one in told.remarks}) == len(told.remarks)


DRIVERS: dict[str, tuple[dict[str, Any], str, Tried, dict[str, str], str, str]] = {
    # case: (station, NVML's failure, its library, environment, words found, words of the remedy)
    "none": (
        {"driver": None, "nodes": ()},
        stations.NO_LIBRARY,
        stations.MISSING,
        {},
        "no NVIDIA driver is installed",
        "Install NVIDIA driver 580 or newer",
    ),
    "module not loaded": (
        {"driver": None, "nodes": (), "dkms": True},
        stations.NOT_LOADED,
        stations.LOADED,
        {},
        "NVIDIA's kernel module is not loaded",
        "sudo modprobe nvidia",
    ),
    "nouveau in its place": (
        {"driver": None, "nodes": (), "nouveau": True, "dkms": True},
        stations.NOT_LOADED,
        stations.LOADED,
        {},
        "nouveau is in its place",
        "blacklist nouveau",
    ),
    "not built for this kernel": (
        {"driver": None, "nodes": (), "dkms": False},
        stations.NOT_LOADED,
        stations.LOADED,
        {},
        "no kernel module for kernel 6.8.0-45-generic",
        "dkms autoinstall",
    ),
    "secure boot": (
        {"driver": None, "nodes": (), "dkms": True, "secure_boot": True},
        stations.NOT_LOADED,
        stations.LOADED,
        {},
        "Secure Boot is on",
        "mokutil --import",
    ),
    "no secure boot": (
        {"driver": None, "nodes": (), "dkms": True, "secure_boot": False},
        stations.NOT_LOADED,
        stations.LOADED,
        {},
        "is not loaded",
        "sudo modprobe nvidia",
    ),
    "mismatch": (
        {"driver": "535.183.01", "library": "580.65.06"},
        "the NVIDIA driver was updated while it was running; restart the station",
        stations.LOADED,
        {},
        "different versions (module 535.183.01, library 580.65.06)",
        "Restart the station",
    ),
    "hangs": (
        {},
        "the NVIDIA driver does not answer within 3.4 s: the card or the driver hangs; restart the station",
        Tried(end="no answer within 3.4 s"),
        {},
        "does not answer within 3.4 s",
        "restart the station",
    ),
    "crashes": (
        {},
        "the process that asked the NVIDIA driver died of SIGSEGV: broken; install the driver again",
        stations.LOADED,
        {},
        "died of SIGSEGV",
        "Install the driver again",
    ),
    "is stopped": (
        {},
        "the process that asked the NVIDIA driver died of SIGKILL: try again",
        stations.LOADED,
        {},
        "died of SIGKILL",
        "see who stops it",
    ),
    "crashes at once": (
        {},
        stations.NO_LIBRARY,
        Tried(end="crashed (SIGSEGV)"),
        {},
        "library crashed (SIGSEGV) while it was loaded",
        "Install the driver again",
    ),
    "no ELF file": (
        {},
        stations.NO_LIBRARY,
        Tried(troubles={"library": "/x/libnvidia-ml.so.1: invalid ELF header"}),
        {},
        "cannot be loaded: /x/libnvidia-ml.so.1: invalid ELF header",
        "LD_LIBRARY_PATH",
    ),
    "container without library": (
        {"container": True, "nodes": ()},
        stations.NO_LIBRARY,
        stations.MISSING,
        {},
        "the station has driver 580.65.06, and this container has no library of it",
        "docker run --gpus all",
    ),
    "libraries missing": (
        {},
        stations.NO_LIBRARY,
        stations.MISSING,
        {},
        "its library libnvidia-ml.so.1 is missing",
        "of version 580.65.06",
    ),
    "container without device files": (
        {"container": True, "nodes": ()},
        "NVML could not be started: Unknown Error (code 999)",
        stations.LOADED,
        {},
        "no device files of the driver",
        "docker run --gpus all",
    ),
    "device files missing": (
        {"nodes": ("nvidia0",)},
        "NVML could not be started: Unknown Error (code 999)",
        stations.LOADED,
        {},
        "there is no /dev/nvidiactl",
        "nvidia-modprobe -c 0 -u",
    ),
    "no binding": (
        {},
        "nvidia-ml-py cannot be imported (No module named 'pynvml'): `pip install nvidia-ml-py`",
        stations.LOADED,
        {},
        "nvidia-ml-py cannot be imported (No module named 'pynvml')",
        "pip install --force-reinstall nvidia-ml-py",
    ),
    "something else": (
        {},
        "NVML could not be started: Unknown Error (code 999)",
        stations.LOADED,
        {},
        "Unknown Error (code 999)",
        "dmesg",
    ),
}


@pytest.mark.parametrize("case", DRIVERS)
def test_a_driver_that_does_not_answer_is_told_apart(tmp_path: Path, case: str) -> None:
    of_station, failure, library, variables, words, remedy = DRIVERS[case]
    root = stations.root(tmp_path, **of_station)
    sysfs.device(root / "sys", A100, driver="nvidia" if of_station.get("driver", "x") else None)
    seen = stations.sight(root, failure=failure, nvml=library, environment=variables)
    found = [one for one in doctor.examine(stations.station(seen)) if one.name == "driver"]
    assert [one.state for one in found] == [State.PROBLEM]
    assert words in found[0].found
    assert remedy in found[0].remedy


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (sysfs.V100, "driver 580 (the last branch for Pascal and Volta), proprietary modules"),
        (sysfs.GTX_1060, "driver 580 (the last branch for Pascal and Volta), proprietary modules"),
        (sysfs.RTX_5090, "driver 580 or newer with the open kernel modules"),
        (sysfs.A100, "driver 580 or newer."),
    ],
)
def test_the_driver_to_install_is_that_of_the_card(tmp_path: Path, card: dict[str, str], words: str) -> None:
    root = stations.root(tmp_path, driver=None, nodes=())
    sysfs.device(root / "sys", A100, driver=None, **card)
    seen = stations.sight(root, failure=stations.NO_LIBRARY, nvml=stations.MISSING)
    assert words in remarks(stations.station(seen))["driver"].remedy


def test_cards_that_no_driver_serves_together_are_told(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100, driver=None, **sysfs.V100)
    sysfs.device(root / "sys", OTHER, **sysfs.RTX_5090)
    told = remarks(stations.station(stations.sight(root)))["driver_fits_all"]
    assert told.state is State.PROBLEM
    assert "Volta and Blackwell" in told.found


def test_a_driver_older_than_every_build_of_cupy_is_told(tmp_path: Path) -> None:
    root = stations.root(tmp_path, driver="470.256.02")
    sysfs.device(root / "sys", A100)
    seen = stations.sight(root, listed=(stations.identity(driver="470.256.02"),))
    assert "older than 525" in remarks(stations.station(seen))["driver"].found


def test_an_empty_bus_and_an_unreadable_one_are_not_the_same(tmp_path: Path) -> None:
    empty = remarks(stations.station(stations.sight(stations.root(tmp_path / "a"))))["gpus"]
    none = remarks(stations.station(stations.sight(tmp_path / "b")))["gpus"]
    root = stations.root(tmp_path / "c")
    (sysfs.device(root / "sys", A100) / "vendor").unlink()
    closed = remarks(stations.station(stations.sight(root)))["gpus"]
    assert (empty.state, none.state, closed.state) == (State.PROBLEM, State.UNKNOWN, State.UNKNOWN)
    assert none.decides
    assert closed.decides
    assert "lspci" in empty.remedy


def test_one_reason_for_all_cards_is_said_once(tmp_path: Path) -> None:
    root = stations.root(tmp_path, driver=None, nodes=())
    for where in (A100, OTHER):
        sysfs.device(root / "sys", where, driver=None)
    seen = stations.sight(root, failure=stations.NO_LIBRARY, nvml=stations.MISSING)
    told = [one for one in doctor.examine(stations.station(seen)) if "no NVIDIA driver" in one.found]
    assert len(told) == 1


def test_a_card_that_cannot_be_seen_stands_in_the_way_and_a_hidden_one_does_not(tmp_path: Path) -> None:
    for place, case in ((tmp_path / "a", "nvidia"), (tmp_path / "b", "vfio-pci")):
        root = stations.root(place, container=True)
        sysfs.device(root / "sys", A100)
        sysfs.device(root / "sys", OTHER, driver=case)
        told = doctor.examine(stations.station(stations.sight(root, listed=(stations.identity(),))))
        (unseen,) = [one for one in told if one.name == "station.driver"]
        assert unseen.state is (State.WARNING if case == "nvidia" else State.PROBLEM)
        assert unseen.card == "00000000:b3:00.0"
        assert unseen.remedy


# CuPy and the libraries


def cupy(tmp_path: Path, device: dict[str, str] | None = None, **changes: Any) -> Remark:
    root = stations.root(tmp_path)
    ids = device or sysfs.A100
    sysfs.device(root / "sys", A100, **ids)
    capability = {"1db1": "7.0", "1c03": "6.1", "2b85": "12.0"}.get(ids["device"], "8.0")
    card = stations.identity(pci_device=ids["device"], compute_capability=capability)
    seen = stations.sight(root, listed=(card,))
    told = doctor.examine(stations.station(seen, **changes))
    order = list(State)
    return min((one for one in told if one.name in {"cupy", "cuda_libraries"}), key=lambda one: order.index(one.state))


def builds(*names: str) -> Packages:
    return structs.replace(stations.PACKAGES_13, cupy=tuple(Package(name, "14.2.0") for name in names))


CUDA_12_DRIVER = Tried(parts={"library": "loaded", "cuda": "12.8"})
NOTHING = Tried(troubles={"cupy": "ModuleNotFoundError: No module named 'cupy'"})
CUPY: dict[str, tuple[dict[str, str] | None, dict[str, Any], State, str, str]] = {
    # case: (card, changes, state, words found, words of the remedy)
    "right": (None, {}, State.OK, "cupy-cuda13x 14.2.0, built for CUDA 13.2", ""),
    "twelve on a new driver": (
        None,
        {"packages": stations.PACKAGES_12, "cupy": stations.CUPY_12},
        State.OK,
        "built for CUDA 12.9",
        "",
    ),
    "missing": (None, {"packages": builds(), "cupy": NOTHING}, State.PROBLEM, "not installed", "gpucert[cuda13]"),
    "missing, Volta": (
        sysfs.V100,
        {"packages": builds(), "cupy": NOTHING},
        State.PROBLEM,
        "not installed",
        "gpucert[cuda12]",
    ),
    "missing, old driver": (
        None,
        {"packages": builds(), "cupy": NOTHING, "cuda": CUDA_12_DRIVER},
        State.PROBLEM,
        "not installed",
        "gpucert[cuda12]",
    ),
    "both": (
        None,
        {"packages": builds("cupy-cuda12x", "cupy-cuda13x")},
        State.PROBLEM,
        "write over each other: cupy-cuda12x 14.2.0, cupy-cuda13x 14.2.0",
        "pip uninstall -y cupy-cuda12x cupy-cuda13x",
    ),
    "wheel and source": (None, {"packages": builds("cupy", "cupy-cuda13x")}, State.PROBLEM, "several", "uninstall"),
    "newer than the driver": (
        None,
        {"cuda": CUDA_12_DRIVER},
        State.PROBLEM,
        "built for CUDA 13.2, and the driver supports CUDA 12.8",
        "gpucert[cuda12]",
    ),
    "thirteen for Volta": (sysfs.V100, {}, State.PROBLEM, "compiles nothing for Volta", "gpucert[cuda12]"),
    "thirteen for Pascal": (sysfs.GTX_1060, {}, State.PROBLEM, "compiles nothing for Pascal", "gpucert[cuda12]"),
    "twelve for Pascal": (
        sysfs.GTX_1060,
        {"packages": stations.PACKAGES_12, "cupy": stations.CUPY_12},
        State.OK,
        "",
        "",
    ),
    "old NVRTC for Blackwell": (
        sysfs.RTX_5090,
        {
            "packages": stations.PACKAGES_12,
            "cupy": Tried(parts=stations.CUPY_12.parts | {"nvrtc": "12.4", "architectures": "50 60 75 80 90"}),
        },
        State.PROBLEM,
        "NVRTC 12.4 compiles nothing for compute capability 12.0",
        "--upgrade",
    ),
    "from source": (None, {"packages": builds("cupy")}, State.WARNING, "was built on this station", "gpucert[cuda13]"),
    "for AMD": (None, {"packages": builds("cupy-rocm-5-0")}, State.PROBLEM, "for AMD's cards", "gpucert[cuda13]"),
    "old": (
        None,
        {
            "packages": structs.replace(stations.PACKAGES_13, cupy=(Package("cupy-cuda12x", "13.6.0"),)),
            "cupy": Tried(parts=stations.CUPY_12.parts | {"cupy": "13.6.0"}),
        },
        State.WARNING,
        "older than what gpucert is made for",
        "gpucert[cuda13]",
    ),
    "broken": (
        None,
        {"cupy": Tried(troubles={"cupy": "ImportError: numpy.core.multiarray failed to import"})},
        State.PROBLEM,
        "cannot be imported: ImportError: numpy",
        "pip uninstall -y cupy-cuda13x",
    ),
    "crashes": (None, {"cupy": Tried(end="crashed (SIGSEGV)")}, State.PROBLEM, "the import crashed (SIGSEGV)", "pip"),
    "hangs": (None, {"cupy": Tried(end="no answer within 3.4 s")}, State.UNKNOWN, "no answer within 3.4 s", "again"),
    "no NVRTC": (
        None,
        {"cupy": Tried(parts={"cupy": "14.2.0", "cuda": "13.2"}, troubles={"nvrtc": "no libnvrtc.so.13"})},
        State.PROBLEM,
        "NVRTC: no libnvrtc.so.13",
        "cuda-toolkit[cublas,cudart,nvrtc]==13.*",
    ),
    "no cuBLAS": (
        None,
        {"cupy": Tried(parts=stations.CUPY_12.parts, troubles={"cublas": "no libcublas.so.12"})},
        State.PROBLEM,
        "cuBLAS: no libcublas.so.12",
        "cuda-toolkit[cublas,cudart,nvrtc]==12.*",
    ),
    "is stopped": (None, {"cupy": Tried(end="was stopped (SIGKILL)")}, State.UNKNOWN, "was stopped (SIGKILL)", "again"),
    "NVRTC crashes": (
        None,
        {"cupy": Tried(parts={"cupy": "14.2.0", "cuda": "13.2"}, end="crashed (SIGABRT)")},
        State.PROBLEM,
        "trying NVRTC and cuBLAS: crashed (SIGABRT)",
        "reinstall",
    ),
    "packages unread": (None, {"packages": UNREAD}, State.UNKNOWN, "could not be read", "again"),
}


@pytest.mark.parametrize("case", CUPY)
def test_what_is_wrong_with_cupy_is_told(tmp_path: Path, case: str) -> None:
    device, changes, state, words, remedy = CUPY[case]
    told = cupy(tmp_path, device, **changes)
    assert told.state is state, told
    assert words in told.found
    assert remedy in told.remedy


def test_a_mixed_station_takes_the_build_that_serves_both(tmp_path: Path) -> None:
    root = stations.root(tmp_path, open_modules=False)
    sysfs.device(root / "sys", A100)
    sysfs.device(root / "sys", OTHER, **sysfs.V100)
    assert extra(stations.station(stations.sight(root))) == "cuda12"


@pytest.mark.parametrize(
    ("bindings", "file", "name", "state", "words"),
    [
        ((), "", "nvidia-ml-py", State.PROBLEM, "not installed"),
        (("pynvml 11.5.3",), "/x/pynvml/__init__.py", "nvidia-ml-py", State.PROBLEM, "/x/pynvml/__init__.py is not it"),
        (("nvidia-ml-py 12.535.133",), "/x/pynvml.py", "nvidia-ml-py", State.PROBLEM, "older than 12.575"),
        (
            ("nvidia-ml-py 13.615.71", "pynvml 11.5.3"),
            "/x/pynvml/__init__.py",
            "nvidia-ml-py",
            State.PROBLEM,
            "an old copy of the binding is imported in its place: /x/pynvml/__init__.py (pynvml 11.5.3)",
        ),
        (
            ("nvidia-ml-py 13.615.71", "pynvml 13.0.1"),
            "/x/pynvml.py",
            "pynvml",
            State.WARNING,
            "pynvml 13.0.1 is installed beside nvidia-ml-py; pynvml.py wins",
        ),
    ],
)
def test_the_binding_of_nvml_is_the_right_one(
    tmp_path: Path, bindings: tuple[str, ...], file: str, name: str, state: State, words: str
) -> None:
    found = tuple(Package(*one.split()) for one in bindings)
    packages = structs.replace(stations.PACKAGES_13, bindings=found, binding_file=file)
    told = remarks(stations.station(healthy(tmp_path), packages=packages))[name]
    assert told.state is state
    assert words in told.found
    assert told.remedy


def test_the_versions_that_are_demanded_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (binding,) = [one for one in project["dependencies"] if one.startswith("nvidia-ml-py")]
    assert binding == f"nvidia-ml-py>={'.'.join(map(str, OLDEST_BINDING))}"
    for name, major in (("cuda12", 12), ("cuda13", 13)):
        build, toolkit = project["optional-dependencies"][name]
        assert build == f"cupy-cuda{major}x>={'.'.join(map(str, OLDEST_CUPY))}"
        assert toolkit == f"cuda-toolkit[cublas,cudart,nvrtc]=={major}.*"


# CUDA's library and the device files


@pytest.mark.parametrize(
    ("tried", "of_station", "variables", "state", "words", "remedy"),
    [
        (
            Tried(troubles={"library": "libcuda.so.1: cannot open"}),
            {},
            {},
            State.PROBLEM,
            "cannot be loaded",
            "libcuda",
        ),
        (
            Tried(troubles={"library": "libcuda.so.1: cannot open"}),
            {"container": True},
            {"NVIDIA_DRIVER_CAPABILITIES": "utility"},
            State.PROBLEM,
            "cannot be loaded",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ),
        (Tried(end="crashed (SIGSEGV)"), {}, {}, State.PROBLEM, "crashed (SIGSEGV)", "Install the driver again"),
        (Tried(end="no answer within 3.4 s"), {}, {}, State.UNKNOWN, "no answer within 3.4 s", "restart"),
        (
            Tried(parts={"library": "loaded"}, troubles={"cuda": "cuDriverGetVersion answered code 3"}),
            {},
            {},
            State.UNKNOWN,
            "code 3",
            "restart",
        ),
    ],
)
def test_a_missing_cuda_library_is_told(
    tmp_path: Path,
    tried: Tried,
    of_station: dict[str, Any],
    variables: dict[str, str],
    state: State,
    words: str,
    remedy: str,
) -> None:
    root = stations.root(tmp_path, **of_station)
    sysfs.device(root / "sys", A100)
    seen = stations.sight(root, listed=(stations.identity(),), environment=variables)
    told = remarks(stations.station(seen, cuda=tried))["cuda"]
    assert (told.state, words in told.found, remedy in told.remedy) == (state, True, True), told
    assert not report(doctor.examine(stations.station(seen, cuda=tried))).ready


@pytest.mark.parametrize(("container", "state"), [(False, State.WARNING), (True, State.PROBLEM)])
def test_without_the_file_that_cuda_needs_a_container_cannot_make_it(
    tmp_path: Path, container: bool, state: State
) -> None:
    root = stations.root(tmp_path, nodes=("nvidiactl", "nvidia0"), container=container)
    sysfs.device(root / "sys", A100)
    told = remarks(stations.station(stations.sight(root, listed=(stations.identity(),))))["device_files"]
    assert (told.state, "nvidia-uvm" in told.found) == (state, True)


@needs_root
def test_device_files_that_a_user_may_not_use_are_told(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100)
    (root / "dev/nvidiactl").chmod(0o600)
    (root / "dev/nvidia0").chmod(0o666)
    (root / "dev/nvidia-uvm").chmod(0o666)
    seen = as_nobody(tmp_path, lambda: stations.sight(root, failure="NVML could not be started: code 4"))
    told = remarks(stations.station(seen))["driver"]
    assert told.found == "this user may not use /dev/nvidiactl"
    assert "ls -l /dev/nvidia*" in told.remedy


# the cards


@pytest.mark.parametrize(
    ("changes", "name", "state", "words"),
    [
        ({"confidential_compute": True}, "confidential_compute", State.PROBLEM, "confidential computing is on"),
        ({"compute_mode": "prohibited"}, "compute_mode", State.PROBLEM, "CUDA may not open it"),
        ({"power_source": "undersized"}, "station.power", State.PROBLEM, "cannot feed it"),
        ({"display_active": True}, "display", State.WARNING, "a display is shown"),
        ({"persistence": False}, "persistence", State.WARNING, "persistence mode is off"),
        ({"virtualization": "pass-through"}, "pass_through", State.WARNING, "passed through"),
        ({"mig": Absent(Absence.NO_PERMISSION, "x")}, "station.permission", State.PROBLEM, "no permission to read mig"),
        ({"ecc": UNREAD, "mig": UNREAD}, "settings", State.UNKNOWN, "ecc: unknown (not read); mig"),
        ({"processes": UNREAD}, "settings", State.UNKNOWN, "processes: unknown (not read)"),
        ({"ecc": Absent(Absence.NOT_SUPPORTED)}, "settings", State.OK, "MIG off"),
    ],
)
def test_what_would_spoil_a_run_on_a_card_is_told(
    tmp_path: Path, changes: dict[str, Any], name: str, state: State, words: str
) -> None:
    seen = healthy(tmp_path)
    station = stations.station(seen, captures=(stations.capture(seen.listed[0], **changes),))
    told = remarks(station)[name]
    assert told.state is state
    assert words in told.found
    assert told.card == seen.listed[0].uuid
    assert told.topic.startswith("GPU 0 ")
    assert report(doctor.examine(station)).ready == (state in {State.WARNING, State.OK})


def test_a_card_that_gave_no_capture_is_not_called_ready(tmp_path: Path) -> None:
    station = stations.station(healthy(tmp_path), captures=(), silent={"00000000:65:00.0": "it hangs"})
    told = remarks(station)["settings"]
    assert (told.state, told.decides, "it hangs" in told.found) == (State.UNKNOWN, True, True)
    assert not report(doctor.examine(station)).ready


@pytest.mark.parametrize(
    ("width", "slot", "state", "words"),
    [
        (16, 16, State.OK, "16 lanes"),
        (8, 16, State.WARNING, "runs on 8 of 16 lanes"),
        (8, 8, State.WARNING, "its slot has 8 lanes, the card has 16"),
        (4, 8, State.WARNING, "runs on 4 of 8 lanes"),
    ],
)
def test_a_narrow_link_is_a_warning(tmp_path: Path, width: int, slot: int, state: State, words: str) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100, width=width, port_width=slot)
    told = remarks(stations.station(stations.sight(root, listed=(stations.identity(),))))["link.pcie_width"]
    assert (told.state, words in told.found) == (state, True), told


def test_an_architecture_without_kernels_is_told(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    sysfs.device(root / "sys", A100, device="13c2")
    seen = stations.sight(root, listed=(stations.identity(pci_device="13c2", compute_capability="5.2"),))
    assert "Pascal and newer" in remarks(stations.station(seen))["architecture"].found


# the host


@pytest.mark.parametrize(
    ("own", "state", "words"),
    [
        ({}, State.OK, "no variable"),
        ({"CUPY_TF32": "1"}, State.OK, "CUPY_TF32=1: kept from a run"),
        ({"NVIDIA_TF32_OVERRIDE": "1"}, State.OK, "kept from a run"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, State.OK, "kept from a run"),
        ({"CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps"}, State.OK, "kept from a run"),
        ({"CUBLAS_WORKSPACE_CONFIG": ":16:8"}, State.OK, "kept from a run"),
        ({"CUDA_LAUNCH_BLOCKING": "1", "CUDA_DEVICE_MAX_CONNECTIONS": "1"}, State.OK, "kept from a run"),
        ({"LD_PRELOAD": "/x/libjemalloc.so"}, State.WARNING, "LD_PRELOAD=/x/libjemalloc.so would reach the run"),
        ({"LD_LIBRARY_PATH": "/usr/local/cuda/lib64/stubs"}, State.WARNING, "stubs would reach the run"),
        ({"CUDA_PATH": "/usr/local/cuda", "CUPY_CACHE_DIR": "/x", "HOME": "/root"}, State.OK, "no variable"),
    ],
)
def test_variables_are_judged_by_what_reaches_a_run(own: dict[str, str], state: State, words: str) -> None:
    told = [one for one in by_environment(own) if one.name == "environment"]
    assert [one.state for one in told] == [state]
    assert words in told[0].found
    assert bool(told[0].remedy) == (state is State.WARNING)


def by_environment(own: dict[str, str]) -> tuple[Remark, ...]:
    seen = stations.sight(Path("/nowhere"), environment=own, of_a_run=environment(own))
    return doctor.examine(stations.station(seen))


GOOD = Place(path=Path("/srv"), writable=True, free_mib=90_000)
FULL = structs.replace(GOOD, free_mib=120)
CLOSED = structs.replace(GOOD, writable=False)
HOSTS: dict[str, tuple[dict[str, Any], str, State, str]] = {
    "disk full": ({"places": {"runs": FULL}}, "runs_folder", State.PROBLEM, "/srv has 120 MiB free"),
    "ledger full": ({"places": {"data": FULL}}, "ledger_folder", State.PROBLEM, "120 MiB free"),
    "ledger closed": ({"places": {"data": CLOSED}}, "ledger_folder", State.PROBLEM, "/srv may not be written"),
    "locks closed": ({"places": {"locks": CLOSED}}, "lock_folder", State.PROBLEM, "may not be written"),
    "locks small": ({"places": {"locks": FULL}}, "lock_folder", State.OK, "120 MiB free"),
    "cache closed": ({"places": {"kernels": CLOSED}}, "kernel_cache", State.PROBLEM, "may not be written"),
    "disk unread": (
        {"places": {"runs": structs.replace(GOOD, free_mib=UNREAD)}},
        "runs_folder",
        State.UNKNOWN,
        "not read",
    ),
    "folders hang": ({"places": UNREAD}, "folders", State.UNKNOWN, "not read"),
    "memory low": ({"host": Host(memory_mib=1500, mps=())}, "memory", State.WARNING, "1500 MiB"),
    "memory gone": ({"host": Host(memory_mib=300, mps=())}, "memory", State.PROBLEM, "300 MiB"),
    "memory unread": ({"host": Host(memory_mib=UNREAD, mps=())}, "memory", State.UNKNOWN, "not read"),
    "mps": ({"host": Host(memory_mib=60_000, mps=(77,))}, "mps", State.PROBLEM, "process 77"),
    "processes unread": ({"host": Host(memory_mib=60_000, mps=UNREAD)}, "mps", State.UNKNOWN, "not read"),
    "host late": ({"host": UNREAD}, "memory", State.UNKNOWN, "not read"),
    "clock behind": ({"clock": {"now": datetime(2020, 1, 1, tzinfo=UTC)}}, "clock", State.PROBLEM, "gpucert's own"),
    "clock behind the ledger": (
        {"clock": {"last_attempt": stations.NOW + timedelta(days=2)}},
        "clock",
        State.PROBLEM,
        "earlier than the newest attempt (2026-11-27 12:00 UTC)",
    ),
    "clock an instant behind": (
        {"clock": {"last_attempt": stations.NOW + timedelta(minutes=2)}},
        "clock",
        State.OK,
        "kept right",
    ),
    "clock loose": ({"clock": {"synchronised": False}}, "clock", State.WARNING, "nothing keeps it right"),
    "clock unread": ({"clock": {"synchronised": UNREAD}}, "clock", State.UNKNOWN, "not read"),
}


@pytest.mark.parametrize("case", HOSTS)
def test_what_the_host_lacks_is_told(tmp_path: Path, case: str) -> None:
    changes, name, state, words = HOSTS[case]
    facts: dict[str, Any] = dict(changes)
    ready = stations.station(healthy(tmp_path))
    for part in ("places", "clock"):
        if isinstance(facts.get(part), dict):
            facts[part] = structs.replace(getattr(ready, part), **facts[part])
    told = remarks(structs.replace(ready, **facts))[name]
    assert told.state is state, told
    assert words in told.found
    assert told.remedy or state in {State.OK, State.UNKNOWN}


@pytest.mark.parametrize(
    ("kmsg", "state"),
    [("", State.OK), (None, State.UNKNOWN)],
)
def test_a_kernel_log_that_cannot_be_read_is_not_called_clean(tmp_path: Path, kmsg: str | None, state: State) -> None:
    told = remarks(stations.station(stations.sight(stations.root(tmp_path, kmsg=kmsg))))["kernel_log"]
    assert told.state is state
    assert bool(told.remedy) == (state is not State.OK)


# ---- nothing that was not looked at is ok ----


def test_a_station_of_which_nothing_can_be_read_has_no_ok_and_is_not_ready(tmp_path: Path) -> None:
    late = Tried(end="no answer within 3.4 s")
    nowhere = tmp_path / "nowhere"
    place = Place(path=nowhere, writable=UNREAD, free_mib=UNREAD)
    station = Station(
        sight=structs.replace(
            stations.sight(nowhere, failure="the NVIDIA driver does not answer within 3.4 s", nvml=late),
            log=UNREAD,
            variables=(Variable("LD_PRELOAD", "x", True),),
        ),
        captures=(),
        silent={},
        cuda=late,
        cupy=late,
        packages=UNREAD,
        places=Places(runs=place, data=place, locks=place, kernels=place),
        clock=Clock(now=stations.NOW, installed=UNREAD, last_attempt=UNREAD, synchronised=UNREAD),
        host=UNREAD,
    )
    told = report(doctor.examine(station))
    assert [one for one in told.remarks if one.state is State.OK] == []
    assert (told.ready, told.exit_code) == (False, 30)


absences = st.builds(Absent, st.sampled_from(list(Absence)), st.just("x"))
flags = st.one_of(st.booleans(), absences)


@given(
    settings=st.fixed_dictionaries(
        dict.fromkeys(("ecc", "ecc_pending", "mig", "mig_pending", "persistence", "confidential_compute"), flags)
    ),
    processes=st.one_of(st.just(()), absences),
    answers=flags,
)
def test_whatever_a_card_answers_ok_names_only_what_was_read(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any], processes: Any, answers: Any
) -> None:
    card = stations.identity()
    capture = stations.capture(card, processes=processes, **settings)
    seen = stations.sight(Path("/nowhere"), listed=(card,))
    station = stations.station(structs.replace(seen, module=seen.module), captures=(capture,))
    told = [one for one in doctor.examine(station) if one.name == "settings" and one.state is State.OK]
    kept = [
        value
        for name in ("ecc", "ecc_pending", "mig", "mig_pending")
        if isinstance(value := settings[name], Absent) and value.absent is not Absence.NOT_SUPPORTED
    ]
    if isinstance(processes, Absent) and processes.absent is not Absence.NOT_SUPPORTED:
        kept.append(processes)
    assert bool(told) == (not kept)
    for one in told:
        assert ("ECC" in one.found) == isinstance(settings["ecc"], bool)
        assert ("process" in one.found) == (processes == ())


# ---- the report ----


def one(state: State, topic: str = "Driver", *, decides: bool = False) -> Remark:
    return Remark(topic=topic, name="x", state=state, found="y", decides=decides)


@pytest.mark.parametrize(
    ("told", "code", "sentence"),
    [
        ([one(State.OK)], 0, "Ready: nothing stands between this station and a certificate."),
        (
            [one(State.WARNING), one(State.WARNING), one(State.UNKNOWN)],
            0,
            "Ready: nothing stands between this station and a certificate; 2 warnings.",
        ),
        ([one(State.PROBLEM)], 30, "One thing stands between this station and a certificate."),
        (
            [one(State.PROBLEM), one(State.PROBLEM), one(State.UNKNOWN, decides=True)],
            30,
            "2 things stand between this station and a certificate; one that decides could not be looked at.",
        ),
        (
            [one(State.OK), one(State.UNKNOWN, decides=True)],
            30,
            "One thing that decides could not be looked at: nobody knows whether this station is ready.",
        ),
    ],
)
def test_a_report_ends_in_one_sentence_and_one_exit_code(told: list[Remark], code: int, sentence: str) -> None:
    made = report(told)
    assert (made.exit_code, made.ready, closing(made)) == (code, code == 0, sentence)


def test_topics_with_problems_come_first_and_problems_first_within_them() -> None:
    told = [one(State.OK, "A"), one(State.WARNING, "B"), one(State.OK, "C"), one(State.PROBLEM, "C")]
    assert [(remark.topic, remark.state.value) for remark in report(told).remarks] == [
        ("C", "problem"),
        ("C", "ok"),
        ("B", "warning"),
        ("A", "ok"),
    ]


# ---- gathering ----


@pytest.mark.parametrize(
    ("version", "open_modules"), [("580.65.06", True), ("535.183.01", False), ("470.256.02", False)]
)
def test_the_module_is_read_from_its_own_words(tmp_path: Path, version: str, open_modules: bool) -> None:
    module = host.module(stations.root(tmp_path, driver=version, open_modules=open_modules, nouveau=True))
    assert (module.loaded, module.version, module.open, module.nouveau) == (True, version, open_modules, True)
    assert module.known == ("00000000:65:00.0",)


def test_without_a_module_nothing_is_made_up(tmp_path: Path) -> None:
    module = host.module(stations.root(tmp_path, driver=None))
    assert module.loaded is False
    assert isinstance(module.version, Absent)
    assert isinstance(module.open, Absent)
    assert isinstance(module.built, Absent)
    nothing = host.module(tmp_path / "nowhere")
    assert isinstance(nothing.loaded, Absent)
    assert isinstance(nothing.nouveau, Absent)


@pytest.mark.parametrize(
    ("line", "built"),
    [
        ("updates/dkms/nvidia.ko:", True),
        ("updates/dkms/nvidia-current.ko.xz: kernel/x.ko", True),
        ("kernel/drivers/video/nvidia-open.ko:", True),
        ("updates/dkms/nvidia-drm.ko:", False),
        ("kernel/drivers/platform/x86/nvidia-wmi-ec-backlight.ko:", False),
        ("kernel/drivers/gpu/drm/nouveau/nouveau.ko:", False),
    ],
)
def test_a_module_for_this_kernel_is_known_by_its_file(tmp_path: Path, line: str, built: bool) -> None:
    root = stations.root(tmp_path, dkms=True)
    (root / "lib/modules/6.8.0-45-generic/modules.dep").write_text(f"{line}\n")
    assert host.module(root).built is built


def test_memory_is_what_kernel_and_container_allow(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    assert host.host(root).memory_mib == 60_000_000 // 1024
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert host.host(root).memory_mib == 60_000_000 // 1024
    (root / "sys/fs/cgroup/memory.max").write_text(f"{2**30}\n")
    assert host.host(root).memory_mib == 1024
    assert isinstance(host.host(tmp_path / "nowhere").memory_mib, Absent)


def test_a_multi_process_service_is_found_by_the_name_that_the_kernel_keeps(tmp_path: Path) -> None:
    root = stations.root(tmp_path)
    (root / "proc/4242").mkdir()
    (root / "proc/4242/comm").write_text("nvidia-cuda-mps-control"[:15] + "\n")
    assert host.host(root).mps == (4242,)


@pytest.mark.parametrize(
    ("mark", "variables", "kind"),
    [
        (".dockerenv", {}, "docker"),
        ("run/.containerenv", {}, "podman"),
        ("run/systemd/container", {}, "lxc"),
        (None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        (None, {"container": "podman"}, "podman"),
        (None, {}, ""),
    ],
)
def test_a_container_is_known_by_its_marks(
    tmp_path: Path, mark: str | None, variables: dict[str, str], kind: str
) -> None:
    if mark:
        (tmp_path / mark).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / mark).write_text("lxc\n")
    assert host.container(tmp_path, variables).kind == kind


KMSG = (
    "6,100,1000000,-;Linux version 6.8.0-45-generic\n"
    "4,900,12345678,-;NVRM: Xid (PCI:0000:65:00): 48, pid=1234, name=secret, DBE (double bit error)\n"
    " SUBSYSTEM=pci\n"
    " DEVICE=+pci:0000:65:00.0\n"
    "4,901,12345679,-;NVRM: The NVIDIA GPU 0000:b3:00.0 (PCI ID: 10de:1db1)\\x0aNVRM: installed in this system\n"
    "6,902,12345680,-;usb 1-1: new device\n"
)


def test_the_kernel_log_keeps_what_the_driver_wrote(tmp_path: Path) -> None:
    lines = log.read(stations.root(tmp_path, kmsg=KMSG), 1.0)
    assert isinstance(lines, tuple)
    assert [line.partition("] ")[2][:30] for line in lines] == [
        "NVRM: Xid (PCI:0000:65:00): 48",
        "NVRM: The NVIDIA GPU 0000:b3:0",
        "NVRM: installed in this system",
    ]
    (card,) = [one for one in log.of_cards(lines) if one.xids]
    assert (card.bus_id, card.xids[0].code) == ("00000000:65:00.0", 48)
    assert log.of_cards(UNREAD) == Book().close().cards


def test_packages_are_read_from_metadata(tmp_path: Path) -> None:
    for name, version in (
        ("cupy_cuda12x", "13.6.0"),
        ("CuPy.CUDA13x", "14.2.0"),
        ("cupyish", "1"),
        ("pynvml", "13.0.1"),
    ):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (tmp_path / "broken-1.dist-info").mkdir()
    found = packages.installed(importlib.metadata.distributions(path=[str(tmp_path)]))
    assert found.cupy == (Package("cupy-cuda12x", "13.6.0"), Package("cupy-cuda13x", "14.2.0"))
    assert found.bindings == (Package("pynvml", "13.0.1"),)


def test_where_a_run_writes_is_found_without_making_it(tmp_path: Path) -> None:
    wanted = places.Wanted(
        runs=tmp_path / "a/b", ledger=tmp_path / "data/gpucert/ledger.sqlite3", locks=tmp_path / "locks"
    )
    found = places.places(wanted, {"HOME": str(tmp_path)})
    assert {found.runs.path, found.data.path, found.locks.path, found.kernels.path} == {tmp_path}
    assert found.runs.writable is True
    assert isinstance(found.runs.free_mib, int)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_locks_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locks").symlink_to(tmp_path)
    wanted = places.Wanted(runs=tmp_path, ledger=tmp_path / "l", locks=tmp_path / "locks")
    assert isinstance(places.places(wanted, {}).locks.writable, Absent)
    monkeypatch.setenv("GPUCERT_LOCK_DIR", str(tmp_path / "locks"))
    with pytest.raises(locks.LockFolderError):
        locks.lock_card("x")


def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wanted = places.Wanted(runs=tmp_path / "file" / "runs", ledger=tmp_path / "l", locks=tmp_path)
    assert isinstance(places.places(wanted, {}).runs.writable, Absent)


def test_the_newest_attempt_is_read_without_touching_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    for started in ("2026-03-01T10:00:00+00:00", "2026-05-01T10:00:00+00:00"):
        open_ledger(ledger).begin(
            NewAttempt(
                card_id="GPU-x",
                serial=None,
                name="x",
                simulated=False,
                plan="quick",
                started_at=started,
                folder=started,
                gpucert="0.1.0",
            )
        )
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    assert places.clock(ledger).last_attempt == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir()) == before
    assert isinstance(places.clock(tmp_path / "none").last_attempt, Absent)
    (tmp_path / "odd").write_text("no database")
    assert isinstance(places.clock(tmp_path / "odd").last_attempt, Absent)


def as_nobody(folder: Path, do: Callable[[], Any]) -> Any:
    """Do something as a user who owns nothing, in this process."""
    for above in (folder, *folder.parents):
        above.chmod(above.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        return do()
    finally:
        os.seteuid(0)


@needs_root
def test_folders_that_a_user_may_not_write_are_told(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wanted = places.Wanted(runs=closed / "runs", ledger=closed / "x" / "l", locks=closed)
    found = as_nobody(tmp_path, lambda: places.places(wanted, {"HOME": str(closed)}))
    assert [found.runs.writable, found.data.writable, found.locks.writable, found.kernels.writable] == [False] * 4


@needs_root
def test_a_kernel_log_that_a_user_may_not_read_is_no_permission(tmp_path: Path) -> None:
    root = stations.root(tmp_path, kmsg=KMSG)
    (root / "dev/kmsg").chmod(0o600)
    lines = as_nobody(tmp_path, lambda: log.read(root, 1.0))
    assert isinstance(lines, Absent)
    assert lines.absent is Absence.NO_PERMISSION
    seen = structs.replace(stations.sight(root), log=lines)
    assert remarks(stations.station(seen))["kernel_log"].state is State.WARNING


# ---- libraries tried in a child ----

CUDA_C = "int cuDriverGetVersion(int *version) { *version = VERSION; return CODE; }"


def build(folder: Path, name: str, source: str, *flags: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.c").write_text(source)
    command = [str(nvml_stub.COMPILER), "-shared", "-fPIC", *flags, "-o", str(folder / name), str(folder / "x.c")]
    subprocess.run(command, check=True)
    return folder


def tried(what: str, folder: Path, limit_s: float = 20.0, **variables: str) -> Tried:
    return trial.attempt(what, os.environ | {"LD_LIBRARY_PATH": str(folder)} | variables, limit_s)


@needs_compiler
def test_the_newest_cuda_of_a_driver_is_asked_without_starting_it(tmp_path: Path) -> None:
    good = tried("cuda", build(tmp_path / "a", "libcuda.so.1", CUDA_C, "-DVERSION=13020", "-DCODE=0"))
    assert (good.parts["cuda"], good.troubles, good.end) == ("13.2", {}, "")
    bad = tried("cuda", build(tmp_path / "b", "libcuda.so.1", CUDA_C, "-DVERSION=0", "-DCODE=34"))
    assert "code 34" in bad.troubles["cuda"]
    odd = tried("cuda", build(tmp_path / "c", "libcuda.so.1", "int odd;"))
    assert "cuDriverGetVersion" in odd.troubles["library"]


@needs_compiler
def test_a_library_that_is_broken_is_not_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/libnvidia-ml.so.1").write_bytes(b"\x7fELF" + bytes(600))
    assert "library" in tried("nvml", tmp_path / "a").troubles
    crash = "#include <signal.h>\n__attribute__((constructor)) void boom(void) { raise(SIGSEGV); }"
    assert tried("nvml", build(tmp_path / "b", "libnvidia-ml.so.1", crash)).end == "crashed (SIGSEGV)"
    hang = "#include <unistd.h>\n__attribute__((constructor)) void wait_for_ever(void) { for (;;) pause(); }"
    late = tried("nvml", build(tmp_path / "c", "libnvidia-ml.so.1", hang), 1.0)
    assert late.end == "no answer within 1.0 s"


FAKE = {
    "cupy/__init__.py": "__version__ = '14.2.0'\nprint('what a library prints')\n",
    "cupy/cuda/__init__.py": "",
    "cupy/cuda/runtime.py": "def runtimeGetVersion():\n    return 13020\n",
    "cupy/cuda/nvrtc.py": "def getVersion():\n    return (13, 5)\ndef getSupportedArchs():\n    return [75, 80]\n"
    "def createProgram(*_):\n    return 1\ndef destroyProgram(_):\n    pass\n"
    "def compileProgram(program, options):\n    assert options == ('-arch=sm_80',)\n",
    "cupy_backends/cuda/libs/__init__.py": "import importlib\nloaded = []\n\ndef __getattr__(name):\n"
    "    if name != 'cublas':\n        raise AttributeError(name)\n"
    "    loaded.append(name)\n    return importlib.import_module(__name__ + '.cublas')\n",
    "cupy_backends/cuda/libs/cublas.py": "from cupy_backends.cuda.libs import loaded\n"
    "if not loaded:\n    raise ImportError('its library was not loaded first, as CuPy 14 does')\n"
    "def create():\n    pass\n",
    "cupy_cuda13x-14.2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: cupy-cuda13x\nVersion: 14.2.0\n",
}


def fake_cupy(folder: Path, **changes: str) -> Path:
    for name, text in (FAKE | {key.replace("__", "/") + ".py": value for key, value in changes.items()}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def tried_cupy(folder: Path, limit_s: float = 20.0) -> Tried:
    return trial.attempt("cupy", os.environ | {"PYTHONPATH": str(folder)}, limit_s)


def test_cupy_is_tried_as_a_run_uses_it(tmp_path: Path) -> None:
    found = tried_cupy(fake_cupy(tmp_path))
    assert found.end == ""
    assert found.troubles == {}
    assert found.parts == {
        "cupy": "14.2.0",
        "cuda": "13.2",
        "nvrtc": "13.5",
        "architectures": "75 80",
        "compilation": "sm_80",
        "cublas": "loaded",
    }


def test_parts_of_cupy_that_fail_are_told_one_by_one(tmp_path: Path) -> None:
    no_nvrtc = tried_cupy(
        fake_cupy(
            tmp_path / "a",
            cupy__cuda__nvrtc="def getVersion():\n    raise RuntimeError('Failure finding libnvrtc\\nlong story')\n",
            cupy_backends__cuda__libs__cublas="raise ImportError('Failure finding libcublas')\n",
        )
    )
    assert no_nvrtc.troubles == {
        "nvrtc": "RuntimeError: Failure finding libnvrtc",
        "cublas": "ImportError: Failure finding libcublas",
    }
    slow = tried_cupy(fake_cupy(tmp_path / "b", cupy__cuda__nvrtc="import time\ntime.sleep(60)\n"), 4.0)
    assert slow.parts == {"cupy": "14.2.0", "cuda": "13.2"}, "what came before the silence is kept"
    assert slow.end == "no answer within 4.0 s"
    dead = tried_cupy(fake_cupy(tmp_path / "c", cupy__cuda__nvrtc="import os\nos.kill(os.getpid(), 11)\n"))
    assert (dead.parts["cupy"], dead.end) == ("14.2.0", "crashed (SIGSEGV)")
    stopped = tried_cupy(fake_cupy(tmp_path / "d", cupy__cuda__nvrtc="import os\nos.kill(os.getpid(), 9)\n"))
    assert stopped.end == "was stopped (SIGKILL)"


# ---- the command ----


def run_gpucert(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"NVIDIA_VISIBLE_DEVICES"}}
    return subprocess.run(
        [sys.executable, "-m", "gpucert", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=kept | {"XDG_DATA_HOME": str(cwd), "COLUMNS": "80"} | variables,
        timeout=60,
        check=False,
    )


@without_driver
def test_a_station_without_a_driver_is_told_what_to_install(tmp_path: Path) -> None:
    done = run_gpucert("doctor", cwd=tmp_path)
    assert done.returncode == 30
    words = " ".join(done.stdout.split())
    assert "no NVIDIA driver is installed → Install NVIDIA driver 580 or newer." in words
    assert re.search(r"(things stand|One thing stands) between this station and a certificate\.?", words)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == [], "doctor makes nothing"


@without_driver
def test_json_has_every_remark_with_its_state(tmp_path: Path) -> None:
    done = run_gpucert("doctor", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert done.stderr == ""
    assert (told["schema"], told["ready"], told["exit_code"], done.returncode) == ("gpucert.doctor/1", False, 30, 30)
    for remark in told["remarks"]:
        assert {"topic", "name", "state", "found", "remedy"} <= set(remark)
        assert remark["state"] in set(State)
        assert remark["remedy"] or remark["state"] != "problem"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's libraries as we play them: NVML with two cards, the second lost, and CUDA 13."""
    folder = nvml_stub.build(tmp_path_factory.mktemp("library"))
    return build(folder, "libcuda.so.1", CUDA_C, "-DVERSION=13000", "-DCODE=0")


PATIENT_S = 40.0
"""For tests on a machine that has other things to do; the one of a hang keeps the product's own limit."""
READY = {
    "NVML_STUB_VALUES": "count=1 remap_pending=0 virtualization=0",
    "NVML_STUB_CODES": " ".join(
        f"nvmlDeviceGet{kind}RunningProcesses_v{version}=3" for kind in ("Compute", "Graphics") for version in (2, 3)
    ),
}


def in_process(
    monkeypatch: pytest.MonkeyPatch, root: Path, library: Path, home: Path, **variables: str
) -> dict[str, Any]:
    """What the command says of a fake station with libraries of ours."""
    home.mkdir(exist_ok=True)
    fake_cupy(home / "packages")
    for name in ("NVIDIA_VISIBLE_DEVICES", "KUBERNETES_SERVICE_HOST", "container"):
        monkeypatch.delenv(name, raising=False)
    given = {"LD_LIBRARY_PATH": library, "XDG_DATA_HOME": home, "HOME": home, "PYTHONPATH": home / "packages"}
    for name, value in (given | READY | variables).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.syspath_prepend(str(home / "packages"))
    monkeypatch.chdir(home)
    monkeypatch.setattr(gather, "ROOT", root)
    monkeypatch.setattr(gather, "time_left", lambda: PATIENT_S)
    done = CliRunner().invoke(main, ["doctor", "--json"])
    told = json.loads(done.stdout)
    assert told["exit_code"] == done.exit_code
    assert isinstance(told, dict)
    return told


def found(told: dict[str, Any], *states: str) -> set[str]:
    return {remark["name"] for remark in told["remarks"] if remark["state"] in states}


@needs_compiler
def test_a_station_with_a_card_and_everything_installed_is_ready(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = stations.root(tmp_path / "root")
    sysfs.device(root / "sys", A100)
    told = in_process(monkeypatch, root, library, tmp_path / "home")
    assert found(told, "problem", "unknown") == set(), told
    assert (told["ready"], told["exit_code"]) == (True, 0)
    assert {"gpus", "driver", "cuda", "device_files", "cupy", "cuda_libraries", "settings"} <= found(told, "ok")


@needs_compiler
@pytest.mark.parametrize(
    ("values", "name", "state"),
    [
        ("ecc=0 ecc_pending=0", "config.ecc", "problem"),
        ("ecc_pending=0", "config.pending", "problem"),
        ("mig=1 mig_pending=1", "config.mig", "problem"),
        ("virtualization=2", "config.vgpu", "problem"),
        ("power_limit=300000", "power.limit", "problem"),
        ("recovery=1", "device.reset_required", "problem"),
        ("remap_pending=1", "memory.row_remap", "problem"),
        ("sram_exceeded=1", "memory.sram", "warning"),
    ],
)
def test_what_the_verdict_would_say_of_a_card_is_told_before_the_run(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch, values: str, name: str, state: str
) -> None:
    root = stations.root(tmp_path / "root")
    sysfs.device(root / "sys", A100)
    script = f"{values} {READY['NVML_STUB_VALUES']}"
    told = in_process(monkeypatch, root, library, tmp_path / "home", NVML_STUB_VALUES=script)
    assert name in found(told, state), told
    assert told["ready"] is (state == "warning")


@needs_compiler
def test_other_processes_and_past_errors_are_told(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kmsg = "4,900,12345678,-;NVRM: Xid (PCI:0000:65:00): 48, pid=1234, name=secret, DBE\n"
    root = stations.root(tmp_path / "root", kmsg=kmsg)
    sysfs.device(root / "sys", A100)
    told = in_process(monkeypatch, root, library, tmp_path / "home", NVML_STUB_CODES="")
    assert "station.contention" in found(told, "problem")
    assert any("Xid 48" in remark["found"] for remark in told["remarks"] if remark["state"] == "warning")
    assert "secret" not in json.dumps(told), "the name of a process never leaves the station"


@needs_compiler
@pytest.mark.parametrize(
    ("of_station", "script", "words"),
    [
        ({}, {"NVML_STUB_CODES": "nvmlInitWithFlags=18"}, "of different versions (module 580.65.06)"),
        ({"driver": None}, {"NVML_STUB_CODES": "nvmlInitWithFlags=9"}, "NVIDIA's kernel module is not loaded"),
        ({"nodes": ()}, {"NVML_STUB_CODES": "nvmlInitWithFlags=4"}, "there is no /dev/nvidiactl"),
        ({}, {"NVML_STUB_CRASH": "nvmlInitWithFlags=1"}, "the process that asked the NVIDIA driver died of SIGSEGV"),
        ({}, {"NVML_STUB_CODES": "nvmlInitWithFlags=999"}, "code 999"),
    ],
)
def test_a_broken_driver_is_told_with_its_cause(
    tmp_path: Path,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_station: dict[str, Any],
    script: dict[str, str],
    words: str,
) -> None:
    root = stations.root(tmp_path / "root", **of_station)
    sysfs.device(root / "sys", A100)
    told = in_process(monkeypatch, root, library, tmp_path / "home", **script)
    (driver,) = [remark for remark in told["remarks"] if remark["name"] == "driver"]
    assert (driver["state"], told["exit_code"]) == ("problem", 30)
    assert words in driver["found"]
    assert driver["remedy"]


def test_a_library_that_is_no_library_is_told(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("#!/bin/sh\n" * 200)
    done = run_gpucert("doctor", "--json", cwd=tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    driver = next(remark for remark in json.loads(done.stdout)["remarks"] if remark["name"] == "driver")
    assert "cannot be loaded" in driver["found"]
    assert "ELF" in driver["found"]


@needs_compiler
def test_a_driver_and_a_cupy_that_both_hang_hold_nobody_up(tmp_path: Path, library: Path) -> None:
    fake_cupy(tmp_path / "packages", cupy____init__="import time\ntime.sleep(60)\n")
    hang = {"LD_LIBRARY_PATH": str(library), "NVML_STUB_BLOCK": "nvmlInitWithFlags=2"}
    for command in ("doctor", "devices"):
        began = time.monotonic()
        done = run_gpucert(command, "--json", cwd=tmp_path, PYTHONPATH=str(tmp_path / "packages"), **hang)
        took = time.monotonic() - began
        assert done.returncode == 30
        assert "does not answer within" in done.stdout
        assert took < 5.0, f"{command} took {took:.1f} s"


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def python_of_anybody() -> str | None:
    """A Python of this version that other users may start; that of a developer often lies in a closed home."""
    ask = "import sys; print(sys.version_info[:2])"
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        command = [*NOBODY, "env", python, "-P", "-c", ask]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == str(sys.version_info[:2]):
            return python
    return None


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv on this station")
def test_a_user_without_rights_is_told_what_is_closed(tmp_path: Path) -> None:
    """The command itself, run by a user who owns nothing and may write nowhere."""
    python = python_of_anybody()
    if python is None:
        pytest.skip("every Python of this version is closed to other users")
    shutil.copytree(Path(gpucert.__file__).parent, tmp_path / "packages" / "gpucert")
    for path in (tmp_path / "packages").rglob("*"):
        path.chmod(path.stat().st_mode | 0o055)
    home = tmp_path / "closed"
    home.mkdir(mode=0o755)
    as_nobody(tmp_path, lambda: None)
    installed = Path(msgspec.__file__).parent.parent
    done = subprocess.run(
        [*NOBODY, "env", python, "-P", "-m", "gpucert", "doctor", "--json"],
        capture_output=True,
        text=True,
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "GPUCERT_LOCK_DIR": str(home / "locks"),
            "PYTHONPATH": f"{tmp_path / 'packages'}:{installed}",
        },
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    closed = {remark["name"] for remark in told["remarks"] if "may not be written" in remark["found"]}
    assert closed == {"runs_folder", "ledger_folder", "lock_folder", "kernel_cache"}
    assert done.returncode == 30


@needs_compiler
def test_text_from_outside_cannot_steer_a_terminal(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = stations.root(tmp_path / "root")
    place = sysfs.device(root / "sys", A100)
    (place / "driver").unlink()
    (place / "driver").symlink_to("/drivers/\x1b[2Jodd\u202e")
    monkeypatch.setattr(gather, "ROOT", root)
    monkeypatch.setattr(gather, "time_left", lambda: PATIENT_S)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("NVML_STUB_VALUES", "count=0")
    done = CliRunner().invoke(main, ["doctor"])
    assert "\\x1b[2Jodd" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_a_capture_without_processes_or_counters_breaks_nothing(tmp_path: Path) -> None:
    seen = healthy(tmp_path)
    bare: Capture = structs.replace(stations.capture(seen.listed[0]), processes=UNREAD, counters=Counters())
    with_one = structs.replace(bare, processes=(Process(7, 12),))
    for capture in (bare, with_one):
        assert doctor.examine(stations.station(seen, captures=(capture,)))
