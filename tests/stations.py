"""Fake stations: a root folder with the files of /sys, /proc and /dev that a real host shows, and facts about it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpucert.capture import Capture
from gpucert.device import pci_bus
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Identity, Sample, Settings
from gpucert.station import host, log
from gpucert.station.facts import Clock, Host, Package, Packages, Place, Places, Sight, Station, Tried

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22)  Sep 10 2026\n"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu May  9 09:32:07 UTC 2024\n"
NOT_LOADED = "the NVIDIA kernel module is not loaded; `sudo modprobe nvidia`, or restart after installing the driver"
NO_LIBRARY = "no NVIDIA driver is installed (libnvidia-ml.so.1 not found): install one"
MISSING = Tried(troubles={"library": "libnvidia-ml.so.1: cannot open shared object file: No such file or directory"})
LOADED = Tried(parts={"library": "loaded"})
CUDA_13 = Tried(parts={"library": "loaded", "cuda": "13.0"})
CUPY_13 = Tried(
    parts={
        "cupy": "14.2.0",
        "cuda": "13.2",
        "nvrtc": "13.5",
        "architectures": "75 80 86 87 88 89 90 100 103 110 120 121",
        "compilation": "sm_121",
        "cublas": "loaded",
    }
)
CUPY_12 = Tried(
    parts=CUPY_13.parts | {"cuda": "12.9", "nvrtc": "12.9", "architectures": "50 52 60 61 70 75 80 86 89 90 100 120"}
)
PACKAGES_13 = Packages(
    cupy=(Package("cupy-cuda13x", "14.2.0"),),
    bindings=(Package("nvidia-ml-py", "13.615.71"),),
    binding_file="/site-packages/pynvml.py",
)
PACKAGES_12 = Packages(
    cupy=(Package("cupy-cuda12x", "14.2.0"),),
    bindings=PACKAGES_13.bindings,
    binding_file=PACKAGES_13.binding_file,
)
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def root(
    folder: Path,
    *,
    driver: str | None = "580.65.06",
    open_modules: bool = True,
    nouveau: bool = False,
    nodes: tuple[str, ...] = ("nvidiactl", "nvidia0", "nvidia-uvm"),
    known: tuple[str, ...] = ("0000:65:00.0",),
    excluded: tuple[str, ...] = (),
    library: str | None = None,
    dkms: bool | None = None,
    secure_boot: bool | None = None,
    kmsg: str | None = "",
    container: bool = False,
) -> Path:
    """Write the files of a station; PCI devices are added by `tests.sysfs` below `sys`."""
    files: dict[str, str | bytes] = {
        "proc/sys/kernel/osrelease": "6.8.0-45-generic\n",
        "proc/meminfo": "MemTotal:       65000000 kB\nMemAvailable:   60000000 kB\n",
        "proc/1/comm": "systemd\n",
        "sys/module/printk/version": "",
        **{f"dev/{name}": "" for name in nodes},
    }
    if driver is not None:
        files["proc/driver/nvidia/version"] = (OPEN if open_modules else CLOSED).format(driver)
        files["sys/module/nvidia/version"] = f"{driver}\n"
        for where in (*known, *excluded):
            told = "Yes" if where in excluded else "No"
            files[f"proc/driver/nvidia/gpus/{where}/information"] = f"Model: \t x\nGPU Excluded:\t {told}\n"
    if nouveau:
        files["sys/module/nouveau/version"] = ""
    if library is not None:
        files[f"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{library}"] = ""
    if dkms is not None:
        line = "updates/dkms/nvidia.ko.zst: kernel/drivers/acpi/video.ko.zst\n" if dkms else ""
        files["lib/modules/6.8.0-45-generic/modules.dep"] = f"kernel/drivers/gpu/drm/nouveau/nouveau.ko.zst:\n{line}"
    if secure_boot is not None:
        files[host._SECURE_BOOT] = b"\x06\x00\x00\x00" + bytes([secure_boot])
    if kmsg is not None:
        files["dev/kmsg"] = kmsg
    if container:
        files[".dockerenv"] = ""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "sys/bus/pci/devices").mkdir(parents=True, exist_ok=True)
    return folder


def identity(where: str = "00000000:65:00.0", **changes: Any) -> Identity:
    """What a healthy A100 answers, with changes."""
    answers: dict[str, Any] = {
        "name": "NVIDIA A100-SXM4-80GB",
        "uuid": "GPU-513536b6-7d19-9063-b049-1e69664bb298",
        "serial": "1324020001234",
        "bus_id": where,
        "pci_device": "20b2",
        "pci_subvendor": "10de",
        "pci_subdevice": "147f",
        "compute_capability": "8.0",
        "cuda_cores": 6912,
        "memory_mib": 81920,
        "driver": "580.65.06",
    }
    return Identity(**(answers | changes))


LOST = Absent(Absence.LOST, "nvmlDeviceGetHandleByIndex: GPU is lost")


def lost() -> Identity:
    """A card that the driver counts and that answers nothing."""
    return Identity(**{name: LOST for name in Identity.__struct_fields__ if name != "window_mib"})


def settings(**changes: Any) -> Settings:
    """The settings of a card that is ready for a run."""
    ready: dict[str, Any] = {
        "ecc": True,
        "ecc_pending": True,
        "mig": False,
        "mig_pending": False,
        "persistence": True,
        "virtualization": "none",
        "power_limit_w": 400.0,
        "power_default_w": 400.0,
        "confidential_compute": False,
        "compute_mode": "default",
        "display_active": False,
    }
    return Settings(**(ready | changes))


def capture(card: Identity, *, counters: Counters | None = None, **changes: Any) -> Capture:
    """One look at a card that is ready for a run, with changes to its settings; `processes` as well."""
    processes = changes.pop("processes", ())
    return Capture(
        source="this station",
        identity=card,
        settings=settings(**changes),
        counters=counters or Counters(),
        processes=processes,
        sample=Sample(at_s=0.0),
    )


def sight(
    folder: Path,
    *,
    listed: tuple[Identity, ...] = (),
    failure: str = "",
    nvml: Tried = LOADED,
    environment: Mapping[str, str] | None = None,
    of_a_run: Mapping[str, str] | None = None,
) -> Sight:
    """What can be seen of a fake station, where NVML would answer so."""
    own = {} if environment is None else environment
    return Sight(
        bus=pci_bus.scan(folder / "sys"),
        listed=listed,
        failure=failure,
        nvml=nvml,
        module=host.module(folder),
        nodes=host.nodes(folder),
        container=host.container(folder, own),
        variables=host.variables(own, own if of_a_run is None else of_a_run),
        log=log.read(folder, 1.0),
    )


def station(seen: Sight, **changes: Any) -> Station:
    """A station on which everything but `seen` and the changes is ready for a run."""
    place = Place(path=Path("/srv/runs"), writable=True, free_mib=90_000)
    ready: dict[str, Any] = {
        "captures": tuple(capture(card) for card in seen.listed if isinstance(card.uuid, str)),
        "silent": {},
        "cuda": CUDA_13,
        "cupy": CUPY_13,
        "packages": PACKAGES_13,
        "places": Places(runs=place, data=place, locks=place, kernels=place),
        "clock": Clock(now=NOW, installed=NOW, last_attempt=NOW, synchronised=True),
        "host": Host(memory_mib=60_000, mps=()),
    }
    return Station(sight=seen, **(ready | changes))
