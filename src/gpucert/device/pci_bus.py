"""The PCI bus as the kernel shows it: every NVIDIA GPU on it, also those that no driver holds or that answer no more.

Read from sysfs (kernel documentation: ABI/testing/sysfs-bus-pci and sysfs-bus-pci-devices-aer). Ids, class and revision
are what the kernel noted when it found the card; only `config` asks the card itself, and a card that fell off the bus
answers all ones there. Reading it may wake a sleeping card, as `lspci` does; nothing is written.
"""

import re
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct

from gpucert.catalogue import pci_names, shelf
from gpucert.catalogue.model import PciId
from gpucert.device import bounds, bus_id, kernel_file
from gpucert.device.bounds import Bounds, within
from gpucert.device.nvml_answers import then
from gpucert.reading import Absence, Absent, Reading

SYSFS: Final = Path("/sys")
NVIDIA: Final = "10de"

_GPU_CLASSES = ("0300", "0302", "0380")
"""VGA controller, 3D controller, other display controller (PCI code and id assignment, base class 03h)."""
_SWITCH_CLASS = "0680"
"""Other bridge: what an NVSwitch is."""
GENERATIONS: Final = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}
"""PCIe generation by its GT/s on one lane (PCI-SIG)."""
_POWER_STATES = frozenset({"D0", "D1", "D2", "D3hot", "D3cold"})
_CONFIG_BYTES = 64
"""What a user who is not root may read."""
_ALL_ONES = b"\xff" * 4

_AER_TOTAL = re.compile(r"^TOTAL_ERR_\w+\s+(\d{1,20})$", re.MULTILINE)


class Link(Struct, frozen=True, kw_only=True):
    """One end of a PCIe link. The current speed of a card at rest is low by design; its width is not."""

    gt_s: Reading[float]
    """Gigatransfers a second on one lane, now."""
    max_gt_s: Reading[float]
    width: Reading[int]
    """Lanes, now."""
    max_width: Reading[int]


class Aer(Struct, frozen=True, kw_only=True):
    """Errors that one end of the link reported since the station started (advanced error reporting)."""

    correctable: Reading[int]
    nonfatal: Reading[int]
    fatal: Reading[int]


class Port(Struct, frozen=True, kw_only=True):
    """The other end of a card's link: the root port or switch port above it, which is the slot."""

    bus_id: str
    link: Link
    aer: Aer


class PciGpu(Struct, frozen=True, kw_only=True):
    """One NVIDIA GPU on the bus. Ids are lower-case hexadecimal, four digits each."""

    bus_id: str
    """As records hold it: `00000000:65:00.0`."""
    device: Reading[str]
    subvendor: Reading[str]
    subdevice: Reading[str]
    name: Reading[str]
    """What NVIDIA's driver or the catalogue calls this id; nothing that the card itself says."""
    driver: Reading[str | None]
    """The kernel driver that holds it (`nvidia`, `nouveau`, `vfio-pci`), None where none does."""
    answers: Reading[bool]
    """Whether the card answers on the bus; False where all that comes back is ones: it fell off."""
    enabled: Reading[bool]
    power_state: Reading[str]
    numa_node: Reading[int]
    link: Link
    port: Reading[Port]
    aer: Aer
    virtual_function_of: str | None = None
    """The bus id of the whole card, where this is only a share of it (SR-IOV)."""


class Bus(Struct, frozen=True, kw_only=True):
    """What stands on the bus of NVIDIA, in the order of bus ids."""

    gpus: tuple[PciGpu, ...]
    nvswitches: tuple[str, ...] = ()
    """Bus ids."""
    unreadable: tuple[str, ...] = ()
    """Places of which not even the vendor can be read: anything may be there."""


def scan(root: Path | None = None) -> Reading[Bus]:
    """Every NVIDIA GPU below `root`, by default /sys. An absence where this station shows no PCI bus at all."""
    folder = (root or SYSFS) / "bus" / "pci" / "devices"
    places = kernel_file.names(folder)
    if isinstance(places, Absent):
        return places
    gpus: list[PciGpu] = []
    switches: list[str] = []
    unreadable: list[str] = []
    for name in places:
        where, place = bus_id.normal(name), folder / name
        if where is None:
            continue
        vendor, kind = _hex(place / "vendor", 4), _hex(place / "class", 6)
        if isinstance(vendor, Absent) or (vendor == NVIDIA and isinstance(kind, Absent)):
            unreadable.append(where)
        elif vendor == NVIDIA and isinstance(kind, str):
            if kind[:4] in _GPU_CLASSES:
                gpus.append(_gpu(place, where))
            elif kind[:4] == _SWITCH_CLASS:
                switches.append(where)
    gpus.sort(key=lambda gpu: gpu.bus_id)
    return Bus(gpus=tuple(gpus), nvswitches=tuple(sorted(switches)), unreadable=tuple(sorted(unreadable)))


def _gpu(place: Path, where: str) -> PciGpu:
    ids = [_hex(place / file, 4) for file in ("device", "subsystem_vendor", "subsystem_device")]
    return PciGpu(
        bus_id=where,
        device=ids[0],
        subvendor=ids[1],
        subdevice=ids[2],
        name=_name(*ids),
        driver=_driver(place),
        answers=_answers(place),
        enabled=then(_whole(place / "enable", bounds.COUNTER), lambda count: count > 0),
        power_state=then(kernel_file.text(place / "power_state"), _power_state),
        numa_node=_numa_node(place / "numa_node"),
        link=_link(place),
        port=_port(place),
        aer=_aer(place),
        virtual_function_of=_target(place / "physfn"),
    )


def _hex(path: Path, digits: int) -> Reading[str]:
    return then(kernel_file.text(path, 64), partial(_as_hex, digits=digits, path=path))


def _as_hex(word: str, digits: int, path: Path) -> Reading[str]:
    match = re.fullmatch(rf"0x([0-9a-fA-F]{{{digits}}})", word, re.ASCII)
    return match[1].lower() if match else Absent(Absence.ABSURD, f"{path} answered {word!r}")


def _name(device: Reading[str], subvendor: Reading[str], subdevice: Reading[str]) -> Reading[str]:
    if isinstance(device, Absent):
        return device
    vendor, board = (None if isinstance(one, Absent) else one for one in (subvendor, subdevice))
    told = pci_names.name_of(PciId(device, vendor, board)) or pci_names.name_of(PciId(device))
    if told is not None:
        return told
    match = shelf.match(name=None, device=device, subvendor=vendor, subdevice=board, memory_mib=None, cuda_cores=None)
    return " or ".join(match.candidates) or Absent(Absence.UNKNOWN, f"device {device} is in no list of models")


def _driver(place: Path) -> Reading[str | None]:
    try:
        return (place / "driver").readlink().name
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = Absence.NO_PERMISSION if isinstance(error, PermissionError) else Absence.UNKNOWN
        return Absent(reason, f"{place / 'driver'}: {error.strerror or error}")


def _target(link: Path) -> str | None:
    try:
        return bus_id.normal(link.readlink().name)
    except OSError:
        return None


def _answers(place: Path) -> Reading[bool]:
    """From the first bytes of the configuration space; without them, from a revision that was all ones at once."""
    head = kernel_file.data(place / "config", _CONFIG_BYTES)
    if isinstance(head, Absent):
        return False if _hex(place / "revision", 2) == "ff" else head
    if len(head) < len(_ALL_ONES):
        return Absent(Absence.UNKNOWN, f"{place / 'config'} holds {len(head)} bytes")
    if head.startswith(_ALL_ONES):
        return False
    vendor = f"{int.from_bytes(head[:2], 'little'):04x}"
    return True if vendor == NVIDIA else Absent(Absence.ABSURD, f"{place / 'config'} names vendor {vendor}")


def _power_state(word: str) -> Reading[str]:
    return word if word in _POWER_STATES else Absent(Absence.UNKNOWN, f"the power state is {word!r}")


def _numa_node(path: Path) -> Reading[int]:
    if kernel_file.text(path, 64) == "-1":
        return Absent(Absence.NOT_SUPPORTED, "the station names no NUMA node for it")
    return _whole(path, Bounds(0, 2**16))


def _whole(path: Path, limits: Bounds) -> Reading[int]:
    return then(kernel_file.text(path, 64), partial(_as_whole, limits=limits, path=path))


def _as_whole(word: str, limits: Bounds, path: Path) -> Reading[int]:
    if not re.fullmatch(r"\d{1,20}", word, re.ASCII):
        return Absent(Absence.ABSURD, f"{path} answered {word!r}")
    return within(int(word), limits, str(path))


def _link(place: Path) -> Link:
    return Link(
        gt_s=_speed(place / "current_link_speed"),
        max_gt_s=_speed(place / "max_link_speed"),
        width=_width(place / "current_link_width"),
        max_width=_width(place / "max_link_width"),
    )


def _speed(path: Path) -> Reading[float]:
    return then(kernel_file.text(path, 64), partial(_as_speed, path=path))


def _as_speed(word: str, path: Path) -> Reading[float]:
    """`16.0 GT/s PCIe`, without the last word from older kernels, and `Unknown` where there is no link."""
    if word.startswith("Unknown"):
        return Absent(Absence.UNKNOWN, f"{path} answered {word!r}")
    match = re.fullmatch(r"(\d{1,3}(?:\.\d)?) GT/s(?: PCIe)?", word, re.ASCII)
    if match is None or float(match[1]) not in GENERATIONS:
        return Absent(Absence.ABSURD, f"{path} answered {word!r}")
    return float(match[1])


def _width(path: Path) -> Reading[int]:
    if kernel_file.text(path, 64) == "0":
        return Absent(Absence.UNKNOWN, f"{path} answered 0: there is no link")
    return _whole(path, bounds.PCIE_WIDTH)


def _port(place: Path) -> Reading[Port]:
    try:
        above = place.resolve().parent
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
        return Absent(Absence.UNKNOWN, f"{place}: {error}")
    where = bus_id.normal(above.name)
    if where is None:
        return Absent(Absence.NOT_SUPPORTED, "the station shows no port above it, as in many virtual machines")
    return Port(bus_id=where, link=_link(above), aer=_aer(above))


def _aer(place: Path) -> Aer:
    return Aer(
        correctable=_aer_total(place / "aer_dev_correctable"),
        nonfatal=_aer_total(place / "aer_dev_nonfatal"),
        fatal=_aer_total(place / "aer_dev_fatal"),
    )


def _aer_total(path: Path) -> Reading[int]:
    return then(kernel_file.text(path), partial(_as_aer_total, path=path))


def _as_aer_total(text: str, path: Path) -> Reading[int]:
    """The last line, which counts messages; kernels older than 4.19 have no such file."""
    match = _AER_TOTAL.search(text)
    if match is None:
        return Absent(Absence.UNKNOWN, f"{path} states no total")
    return within(int(match[1]), bounds.COUNTER, str(path))
