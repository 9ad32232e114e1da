"""Remarks on the driver and on the cards that it does not show."""

from collections.abc import Iterator
from functools import partial

from gpucert.reading import Absent, Reading
from gpucert.station import cards, support
from gpucert.station.cards import Card
from gpucert.station.driver import RUNTIME, architectures, trouble
from gpucert.station.facts import Sight, Station, Tried
from gpucert.station.remark import Remark, State

GPUS, DRIVER = "GPUs", "Driver"
_driver = partial(Remark, topic=DRIVER)
_gpus = partial(Remark, topic=GPUS)


def heading(card: Card) -> str:
    """The topic of one card."""
    number = "GPU" if card.index is None else f"GPU {card.index}"
    return " ".join(word for word in (number, card.name, card.bus_id) if word)


def remarks(station: Station) -> Iterator[Remark]:
    """What stands between the cards and NVML."""
    sight = station.sight
    present = cards.every(sight)
    yield from _of_the_driver(sight, bool(present))
    if not sight.failure:
        yield from _nodes(sight)
        yield from _cuda(station.cuda, sight)
    yield from _presence(sight, present)


def _presence(sight: Sight, present: tuple[Card, ...]) -> Iterator[Remark]:
    if not present:
        yield _nothing(sight)
    whole_driver = trouble(sight)
    unseen = [card for card in present if card.unseen is not None]
    for card in unseen:
        assert card.unseen is not None
        if whole_driver is not None and card.unseen.why == whole_driver.found:
            continue  # because the remark on the driver says it for all
        yield Remark(
            topic=heading(card),
            name=card.unseen.code,
            state=State.WARNING if card.unseen.hidden else State.PROBLEM,
            found=card.unseen.why,
            remedy=card.unseen.remedy,
            card=card.key,
        )
    if present and not unseen:
        number = "one, and the driver reads it" if len(present) == 1 else f"{len(present)}, and the driver reads them"
        yield _gpus(name="gpus", state=State.OK, found=number)
    elif whole_driver is not None and present:
        names = ", ".join(dict.fromkeys(card.name for card in present))
        number = "one, which" if len(present) == 1 else f"{len(present)}, which"
        yield _gpus(name="gpus", state=State.WARNING, found=f"{number} no driver reads: {names}")
    if shared := cards.shares(sight):
        yield _gpus(name="virtual_functions", state=State.OK, found=f"{shared} beside the whole cards, left out")
    if not isinstance(sight.bus, Absent) and sight.bus.unreadable and present:
        where = ", ".join(sight.bus.unreadable[:4])
        yield _gpus(name="pci_bus", state=State.UNKNOWN, found=f"what stands at {where} cannot be read")


def _nothing(sight: Sight) -> Remark:
    if isinstance(sight.bus, Absent):
        return _gpus(
            name="gpus",
            state=State.UNKNOWN,
            found=f"this station shows no PCI bus ({sight.bus})",
            remedy="Run on a Linux host with /sys, or give it to the container.",
            decides=True,
        )
    if sight.bus.unreadable:
        return _gpus(
            name="gpus",
            state=State.UNKNOWN,
            found=f"{len(sight.bus.unreadable)} places on the PCI bus cannot be read; no other has an NVIDIA GPU",
            remedy="Run as root.",
            decides=True,
        )
    return _gpus(
        name="gpus",
        state=State.PROBLEM,
        found="no NVIDIA GPU on the PCI bus",
        remedy="Switch off, seat the card and its power cables, and allow Above 4G Decoding in the firmware; "
        "`lspci -d 10de:` must list it.",
    )


def _of_the_driver(sight: Sight, any_card: bool) -> Iterator[Remark]:
    problem = trouble(sight)
    present = architectures(sight)
    if problem is not None:
        yield _driver(name="driver", state=State.PROBLEM, found=problem.found, remedy=problem.remedy)
    else:
        yield _version(sight, any_card)
    clash = support.conflict(present)
    if clash is not None:
        yield _driver(name="driver_fits_all", state=State.PROBLEM, found=clash.why, remedy=clash.remedy)


def _version(sight: Sight, any_card: bool) -> Remark:
    version = driver_version(sight)
    branch = support.branch_of(version)
    if isinstance(version, Absent):
        return _driver(name="driver", state=State.UNKNOWN, found=f"it answers, but not its version ({version})")
    if branch is not None and branch < support.FIRST_OF_CUDA_12:
        return _driver(
            name="driver",
            state=State.PROBLEM,
            found=f"driver {version} is older than {support.FIRST_OF_CUDA_12}: no build of CuPy runs on it",
            remedy=f"Install {support.driver_for(architectures(sight))}.",
        )
    flavour = {True: ", open kernel modules", False: ", proprietary kernel modules"}
    kind = "" if isinstance(sight.module.open, Absent) else flavour[sight.module.open]
    return _driver(name="driver", state=State.OK, found=f"{version}{kind}{'' if any_card else ', without a card'}")


def driver_version(sight: Sight) -> Reading[str]:
    """What NVML says, else the module."""
    told = next((card.driver for card in sight.listed if isinstance(card.driver, str)), None)
    return told or sight.module.version


def _nodes(sight: Sight) -> Iterator[Remark]:
    names = {node.path for node in sight.nodes}
    refused = [node.path for node in sight.nodes if not node.usable]
    if not names:
        found = "the driver answers, and there are no /dev/nvidia* files to look at"
        yield _driver(name="device_files", state=State.UNKNOWN, found=found)
    elif refused:
        yield _driver(
            name="station.permission",
            state=State.PROBLEM,
            found=f"this user may not use {', '.join(refused)}",
            remedy="Run as root, or join the group that owns them (`ls -l /dev/nvidia*`).",
        )
    elif "/dev/nvidia-uvm" not in names:
        yield _driver(
            name="device_files",
            state=State.PROBLEM if sight.container.kind else State.WARNING,
            found="there is no /dev/nvidia-uvm, which CUDA needs",
            remedy=RUNTIME
            if sight.container.kind
            else "`sudo nvidia-modprobe -c 0 -u`, or `sudo modprobe nvidia-uvm`.",
        )
    else:
        yield _driver(name="device_files", state=State.OK, found=f"{len(names)}, and this user may use them")


def _cuda(tried: Tried, sight: Sight) -> Iterator[Remark]:
    if "cuda" in tried.parts:
        yield _driver(name="cuda", state=State.OK, found=f"the driver supports CUDA up to {tried.parts['cuda']}")
    elif "library" in tried.troubles:
        given = sight.container.capabilities
        yield _driver(
            name="cuda",
            state=State.PROBLEM,
            found=f"CUDA's driver library cannot be loaded: {tried.troubles['library']}",
            remedy="Start the container with NVIDIA_DRIVER_CAPABILITIES=compute,utility."
            if sight.container.kind and given not in (None, "all")
            else "Install the driver's compute libraries (libcuda.so.1; Debian libcuda1, Ubuntu libnvidia-compute-…).",
        )
    elif "crashed" in tried.end:
        yield _driver(
            name="cuda",
            state=State.PROBLEM,
            found=f"the process that asked libcuda.so.1 for its version {tried.end}",
            remedy="Install the driver again, library and kernel module of one version.",
        )
    else:
        why = tried.troubles.get("cuda") or tried.end or "it said nothing"
        yield _driver(
            name="cuda",
            state=State.UNKNOWN,
            found=f"which CUDA the driver supports could not be asked: {why}",
            remedy="Run gpucert doctor again; restart the station if this stays.",
            decides=True,
        )
