"""The host, read from its own files: driver module, device files, container, memory, clock. `root` stands for /.

Nothing is opened that belongs to a card: a device file is only asked for its permissions.
"""

import ctypes
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gpucert.device import bus_id, kernel_file
from gpucert.reading import Absence, Absent, Reading
from gpucert.station.facts import Container, Host, Module, Node, Variable

ROOT: Final = Path("/")

_VERSION = re.compile(r"Kernel Module\S*(?: for \S+)?\s+(\d{2,4}(?:\.\d+)+)")
"""Of /proc/driver/nvidia/version: `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release …`, or
`NVIDIA UNIX x86_64 Kernel Module  535.183.01 …`."""
_MODULE = re.compile(r"/nvidia(?:-current|-legacy-\w+|-tesla(?:-\d+)?)?(?:-open)?\.ko(?:\.\w+)?:")
"""In modules.dep; Debian's packages name the module after the branch."""
_NODE = re.compile(r"nvidia(?:ctl|-uvm|\d{1,3})")
_LIBRARY = re.compile(r"libnvidia-ml\.so\.(\d{2,4}(?:\.\d+)+)")
_LIBRARY_FOLDERS = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/nvidia",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "usr/lib/wsl/lib",
)
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_MODULES_DEP_BYTES = 16 * 2**20
_MPS = "nvidia-cuda-mps"
"""What the kernel keeps of `nvidia-cuda-mps-control` and `nvidia-cuda-mps-server`: fifteen letters."""

_CHANGES = re.compile(r"(?:CUBLAS|CUDA_|CUPY_|CUTENSOR|NVRTC_|NVBLAS_)\w*|NVIDIA_TF32_OVERRIDE|LD_PRELOAD|LD_AUDIT")
"""Names that change arithmetic, order or timing of what a card does, or put code between gpucert and its libraries."""
_ONLY_PLACES = frozenset({"CUDA_PATH", "CUDA_HOME", "CUDA_CACHE_PATH", "CUPY_CACHE_DIR", "CUDA_VERSION"})
"""Where things lie; what lies there is tried, not guessed."""

_TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""


def module(root: Path = ROOT) -> Module:
    """The part of the driver that lives in the kernel, and what would be there after a restart."""
    version = kernel_file.text(root / "proc/driver/nvidia/version")
    kernel = _text(root / "proc/sys/kernel/osrelease")
    known = kernel_file.names(root / "proc/driver/nvidia/gpus")
    return Module(
        loaded=_exists(root / "sys/module/nvidia", root / "sys/module"),
        version=_module_version(version, kernel_file.text(root / "sys/module/nvidia/version")),
        open=version if isinstance(version, Absent) else "Open Kernel Module" in version,
        nouveau=_exists(root / "sys/module/nouveau", root / "sys/module"),
        built=_built(root / "lib/modules" / kernel),
        kernel=kernel,
        secure_boot=_secure_boot(root / _SECURE_BOOT),
        known=known if isinstance(known, Absent) else _bus_ids(known),
        excluded=() if isinstance(known, Absent) else _excluded(root / "proc/driver/nvidia/gpus", known),
        libraries=tuple(_libraries(root)),
    )


def _text(path: Path) -> str:
    found = kernel_file.text(path)
    return "" if isinstance(found, Absent) else found


def _exists(path: Path, folder: Path) -> Reading[bool]:
    """False only where the folder that would hold it can be listed."""
    names = kernel_file.names(folder)
    return names if isinstance(names, Absent) else path.name in names


def _module_version(told: Reading[str], module: Reading[str]) -> Reading[str]:
    match = None if isinstance(told, Absent) else _VERSION.search(told)
    return match[1] if match else module


def _built(folder: Path) -> Reading[bool]:
    listing = kernel_file.data(folder / "modules.dep", _MODULES_DEP_BYTES)
    if isinstance(listing, Absent):
        return listing
    return _MODULE.search(listing.decode("utf-8", errors="replace")) is not None


def _secure_boot(path: Path) -> Reading[bool]:
    """The last byte of the firmware's variable; the four before it are its attributes."""
    content = kernel_file.data(path)
    if isinstance(content, Absent):
        return content
    return content[4] == 1 if len(content) == 5 else Absent(Absence.ABSURD, f"{path} holds {len(content)} bytes")


def _bus_ids(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(where for where in map(bus_id.normal, names) if where is not None)


def _excluded(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    told = (name for name in names if re.search(r"GPU Excluded:\s*Yes", _text(folder / name / "information")))
    return _bus_ids(tuple(told))


def _libraries(root: Path) -> list[str]:
    found: set[str] = set()
    for folder in _LIBRARY_FOLDERS:
        names = kernel_file.names(root / folder)
        if not isinstance(names, Absent):
            found |= {match[1] for match in map(_LIBRARY.fullmatch, names) if match}
    return sorted(found)


def nodes(root: Path = ROOT) -> tuple[Node, ...]:
    """The driver's device files, and which of them this user may use."""
    names = kernel_file.names(root / "dev")
    if isinstance(names, Absent):
        return ()
    paths = [root / "dev" / name for name in names if _NODE.fullmatch(name)]
    return tuple(Node(f"/dev/{path.name}", _usable(path)) for path in paths)


def _usable(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def container(root: Path, environment: Mapping[str, str]) -> Container:
    """What says that this is a container, and what it was given of the driver."""
    return Container(
        kind=_container_kind(root, environment),
        visible=environment.get("NVIDIA_VISIBLE_DEVICES"),
        capabilities=environment.get("NVIDIA_DRIVER_CAPABILITIES"),
    )


def _container_kind(root: Path, environment: Mapping[str, str]) -> str:
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if environment.get("container"):
        return environment["container"]
    for mark, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (root / mark).exists():
            return kind
    told = _text(root / "run/systemd/container")
    return told.split()[0][:40] if told else ""


def variables(own: Mapping[str, str], of_a_run: Mapping[str, str]) -> tuple[Variable, ...]:
    """What in this environment changes how a card computes; `of_a_run` is what a run's processes are given."""
    named = [Variable(name, own[name], name in of_a_run) for name in sorted(own) if _changes(name) and own[name]]
    stubs = [part for part in own.get("LD_LIBRARY_PATH", "").split(":") if Path(part).name == "stubs"]
    return (*named, *(Variable("LD_LIBRARY_PATH", part, "LD_LIBRARY_PATH" in of_a_run) for part in stubs))


def _changes(name: str) -> bool:
    return _CHANGES.fullmatch(name) is not None and name not in _ONLY_PLACES


def host(root: Path = ROOT) -> Host:
    """Memory, and other programs that share the cards."""
    return Host(memory_mib=_memory(root), mps=_mps(root / "proc"))


def _memory(root: Path) -> Reading[int]:
    """What the kernel could give, or what the control group allows where that is less."""
    match = re.search(r"^MemAvailable:\s+(\d{1,15}) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    if match is None:
        return Absent(Absence.UNKNOWN, "/proc/meminfo does not tell the memory that is available")
    limit = _text(root / "sys/fs/cgroup/memory.max")
    allowed = int(limit) // 2**20 if re.fullmatch(r"\d{1,18}", limit, re.ASCII) else None
    available = int(match[1]) // 1024
    return available if allowed is None else min(available, allowed)


def _mps(proc: Path) -> Reading[tuple[int, ...]]:
    names = kernel_file.names(proc)
    if isinstance(names, Absent):
        return names
    pids = (int(name) for name in names if name.isascii() and name.isdigit())
    return tuple(sorted(pid for pid in pids if _text(proc / str(pid) / "comm").startswith(_MPS[:15])))


class _Timex(ctypes.Structure):
    """The head of `struct timex` (adjtimex(2)); `modes` 0 asks and sets nothing."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_char * 508))


def synchronised() -> Reading[bool]:
    """Whether the kernel holds its clock for right, which chrony, ntpd and systemd-timesyncd tell it."""
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return Absent(Absence.NOT_SUPPORTED, "this system has no adjtimex")
    state = int(adjtimex(ctypes.byref(_Timex())))
    if state < 0:
        return Absent(Absence.NO_PERMISSION, f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return state != _TIME_ERROR
