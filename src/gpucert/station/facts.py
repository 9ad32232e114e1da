"""The facts of a station, as they are gathered: nothing here is judged, and what could not be read says why."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from gpucert.capture import Capture
from gpucert.device.pci_bus import Bus
from gpucert.reading import Reading
from gpucert.record import Identity


class Module(Struct, frozen=True, kw_only=True):
    """The part of the driver that lives in the kernel."""

    loaded: Reading[bool]
    version: Reading[str]
    """`580.65.06`, of the module that is loaded."""
    open: Reading[bool]
    """Whether the open flavour of NVIDIA's modules is loaded."""
    nouveau: Reading[bool]
    """Whether the kernel's own driver for NVIDIA cards is loaded."""
    built: Reading[bool]
    """Whether a module of NVIDIA lies ready for the kernel that runs."""
    kernel: str
    secure_boot: Reading[bool]
    known: Reading[tuple[str, ...]]
    """Bus ids of the cards that the module shows to this process; a container may see fewer."""
    excluded: tuple[str, ...] = ()
    """Bus ids of the cards that the module was told to leave alone."""
    libraries: tuple[str, ...] = ()
    """Versions of the driver's NVML library that lie in the usual folders."""


class Node(Struct, frozen=True):
    """One device file of the driver."""

    path: str
    usable: bool
    """Whether this user may read and write it."""


class Container(Struct, frozen=True, kw_only=True):
    """Whether this is a container, and what it was given."""

    kind: str
    """`docker`, `podman`, `kubernetes`, … or empty where nothing says that this is one."""
    visible: str | None = None
    """NVIDIA_VISIBLE_DEVICES, which container runtimes obey."""
    capabilities: str | None = None
    """NVIDIA_DRIVER_CAPABILITIES."""


class Variable(Struct, frozen=True):
    """A variable of the environment that changes what a card computes, or how."""

    name: str
    value: str
    reaches: bool
    """Whether the processes of a run would see it; most are taken out for them."""


class Tried(Struct, frozen=True, kw_only=True):
    """What a process said that tried to use a library, and how it ended."""

    parts: Mapping[str, str] = {}
    """Name → version."""
    troubles: Mapping[str, str] = {}
    """Name → what is wrong."""
    end: str = ""
    """Empty where it came to its end; else how it was stopped."""


class Sight(Struct, frozen=True, kw_only=True):
    """What of the station's cards can be seen, and by whom."""

    bus: Reading[Bus]
    listed: tuple[Identity, ...]
    """What NVML counts, in its order."""
    failure: str
    """Why NVML counts nothing; empty where it answered."""
    nvml: Tried
    """Whether the library of NVML can be loaded at all."""
    module: Module
    nodes: tuple[Node, ...]
    container: Container
    variables: tuple[Variable, ...]
    log: Reading[tuple[str, ...]]
    """Lines of the kernel log about NVIDIA's driver since the station started."""


class Package(Struct, frozen=True):
    """An installed Python distribution."""

    name: str
    version: str


class Packages(Struct, frozen=True, kw_only=True):
    """The Python packages that decide what a run uses."""

    cupy: tuple[Package, ...]
    """Every build of CuPy that is installed."""
    bindings: tuple[Package, ...]
    """`nvidia-ml-py` and `pynvml`, which share one module name."""
    binding_file: str
    """The file that `import pynvml` takes; empty where there is none."""


class Place(Struct, frozen=True, kw_only=True):
    """A folder that a run writes to, or the nearest one above it that exists."""

    path: Path
    writable: Reading[bool]
    free_mib: Reading[int]


class Places(Struct, frozen=True, kw_only=True):
    """Where a run writes."""

    runs: Place
    data: Place
    locks: Place
    kernels: Place
    """Where CuPy keeps what it compiled."""


class Clock(Struct, frozen=True, kw_only=True):
    """The station's idea of the time."""

    now: datetime
    installed: Reading[datetime]
    """When gpucert's own files were written."""
    last_attempt: Reading[datetime]
    """The start of the newest attempt in the ledger."""
    synchronised: Reading[bool]
    """Whether the kernel says that something keeps its clock right."""


class Host(Struct, frozen=True, kw_only=True):
    """What else a run needs of the host."""

    memory_mib: Reading[int]
    """What a new process could take."""
    mps: Reading[tuple[int, ...]]
    """Process ids of CUDA's multi-process service."""


class Station(Struct, frozen=True, kw_only=True):
    """Everything that is known of a station."""

    sight: Sight
    captures: tuple[Capture, ...]
    """One for each card that answered."""
    silent: Mapping[str, str]
    """Bus id or UUID → why a card that was asked gave no capture."""
    cuda: Tried
    cupy: Tried
    packages: Reading[Packages]
    places: Reading[Places]
    clock: Clock
    host: Reading[Host]
