"""Why NVML does not answer on this station, told apart by what the kernel shows of the driver."""

from collections.abc import Callable

from msgspec import Struct

from gpucert.reading import Absent
from gpucert.station import support
from gpucert.station.facts import Sight
from gpucert.station.support import Architecture

_NOT_FOUND = "cannot open shared object file"
"""What the loader says of a library that is not there; anything else is a library that is broken."""
_SILENT, _DIED, _UPDATED, _NO_BINDING = (
    "does not answer",
    " died of ",
    "updated while it was running",
    "nvidia-ml-py cannot be imported",
)
"""Words of `device.apart` and `device.nvml`; tests/test_doctor.py holds them against drivers that do so."""
_BLACKLIST = (
    "Keep nouveau out (`echo 'blacklist nouveau' | sudo tee /etc/modprobe.d/no-nouveau.conf`, then "
    "`sudo update-initramfs -u` or `sudo dracut -f`) and restart the station."
)
RUNTIME = "Start the container with the NVIDIA runtime, for example `docker run --gpus all …`."


class Trouble(Struct, frozen=True):
    """What is wrong with a driver, in one sentence, and what to do."""

    found: str
    remedy: str


def architectures(sight: Sight) -> tuple[Architecture, ...]:
    """Those of the cards on the bus, and of those that only NVML shows, as far as their device ids are known."""
    devices = [card.pci_device for card in sight.listed]
    if not isinstance(sight.bus, Absent):
        devices += [gpu.device for gpu in sight.bus.gpus]
    found = dict.fromkeys(support.architecture_of(device) for device in devices)
    return tuple(one for one in found if one is not None)


def trouble(sight: Sight) -> Trouble | None:
    """Why NVML counts nothing; None where it answers."""
    if not sight.failure:
        return None
    told = (ask(sight) for ask in _ASKED)
    return next((one for one in told if one is not None), Trouble(sight.failure, _LOOK))


_LOOK = "See what the driver says: `sudo dmesg | grep NVRM`; install it again if nothing there helps."


def _hang(sight: Sight) -> Trouble | None:
    if _SILENT not in sight.failure:
        return None
    return Trouble(
        sight.failure.partition(":")[0],
        "A card or the driver hangs: restart the station. If it is only slow, start nvidia-persistenced and try again.",
    )


def _crash(sight: Sight) -> Trouble | None:
    if "crashed" in sight.nvml.end:
        return Trouble(f"the driver's library {sight.nvml.end} while it was loaded", _AGAIN)
    if _DIED not in sight.failure:
        return None
    found, _, advice = sight.failure.partition(": ")
    own = "install the driver again" in advice
    return Trouble(found, _AGAIN if own else "Try again; if it stays, see who stops it: `sudo dmesg | grep -i kill`.")


_AGAIN = "Install the driver again, library and kernel module of one version, and restart the station."


def _no_binding(sight: Sight) -> Trouble | None:
    if _NO_BINDING not in sight.failure:
        return None
    return Trouble(sight.failure.partition(":")[0], "`pip install --force-reinstall nvidia-ml-py`.")


def _broken_library(sight: Sight) -> Trouble | None:
    said = sight.nvml.troubles.get("library", "")
    if not said or _NOT_FOUND in said:
        return None
    return Trouble(
        f"the driver's library cannot be loaded: {said}", f"{_AGAIN} See that LD_LIBRARY_PATH names no other."
    )


def _mismatch(sight: Sight) -> Trouble | None:
    if _UPDATED not in sight.failure:
        return None
    module, libraries = sight.module.version, " and ".join(sight.module.libraries)
    known = "" if isinstance(module, Absent) else f" (module {module}{f', library {libraries}' if libraries else ''})"
    return Trouble(
        f"the driver's library and its kernel module are of different versions{known}",
        "Restart the station, so that the module of the new version is loaded.",
    )


def _not_loaded(sight: Sight) -> Trouble | None:
    module = sight.module
    if module.loaded is True or not isinstance(module.version, Absent):
        return None
    cards = architectures(sight)
    if not _has_library(sight):
        return Trouble("no NVIDIA driver is installed", f"Install {support.driver_for(cards)}.")
    if module.nouveau is True:
        return Trouble("NVIDIA's kernel module is not loaded, and nouveau is in its place", _BLACKLIST)
    if module.built is False:
        return Trouble(
            f"the driver is installed, but it has no kernel module for kernel {module.kernel}",
            "Build it (`sudo dkms autoinstall`, with the kernel's headers installed) and restart the station.",
        )
    if module.secure_boot is True:
        return Trouble(
            "NVIDIA's kernel module is not loaded, and Secure Boot is on, which refuses unsigned modules",
            "Enrol the key that signs the module (`sudo mokutil --import`), or switch Secure Boot off in the firmware.",
        )
    return Trouble("NVIDIA's kernel module is not loaded", f"`sudo modprobe nvidia`. If that fails: {_LOOK}")


def _has_library(sight: Sight) -> bool:
    return "library" in sight.nvml.parts or bool(sight.module.libraries)


def _no_library(sight: Sight) -> Trouble | None:
    if "library" in sight.nvml.parts or not sight.nvml.troubles:
        return None
    loaded = sight.module.version
    version = "" if isinstance(loaded, Absent) else f" {loaded}"
    if sight.container.kind:
        return Trouble(f"the station has driver{version}, and this container has no library of it", RUNTIME)
    return Trouble(
        f"the kernel module of driver{version} is loaded, and its library libnvidia-ml.so.1 is missing",
        f"Install the driver's libraries of version{version or ' of the module'}, with nvidia-smi.",
    )


def _no_nodes(sight: Sight) -> Trouble | None:
    refused = [node.path for node in sight.nodes if not node.usable]
    if any(node.path == "/dev/nvidiactl" for node in sight.nodes) and not refused:
        return None
    if refused:
        return Trouble(
            f"this user may not use {', '.join(refused)}",
            "Run as root, or join the group that owns them (`ls -l /dev/nvidia*`).",
        )
    if sight.container.kind:
        return Trouble("this container has no device files of the driver (/dev/nvidia*)", RUNTIME)
    return Trouble("there is no /dev/nvidiactl", "`sudo nvidia-modprobe -c 0 -u` makes the driver's device files.")


_ASKED: tuple[Callable[[Sight], Trouble | None], ...] = (
    _hang,
    _crash,
    _no_binding,
    _broken_library,
    _mismatch,
    _not_loaded,
    _no_library,
    _no_nodes,
)
"""In this order: what is certain first."""
