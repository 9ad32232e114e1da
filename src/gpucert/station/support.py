"""What serves which card: driver branches, kernel modules and builds of CuPy, by the architecture of the GPU.

Sources: NVIDIA's Unix graphics feature deprecation schedule (580 is the last branch for Maxwell, Pascal and Volta) and
Arch Linux's notice on 590; "NVIDIA transitions fully towards open-source GPU kernel modules" and the data centre driver
installation guide, Kernel Modules (open: Turing and newer; Grace Hopper and Blackwell: open only); CUDA toolkit release
notes, table of driver versions (CUDA 12: 525, CUDA 13: 580, Blackwell: CUDA 12.8 with 570); device ids: pci.ids.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from gpucert.reading import Absent, Reading

Extra = Literal["cuda12", "cuda13"]
Modules = Literal["closed", "either", "open"]

FIRST_OF_CUDA_12: Final = 525
FIRST_OF_CUDA_13: Final = 580
_LAST_WITH_CLOSED_ONLY: Final = 580
ADVISED_BRANCH: Final = 580
"""The long-term branch that serves every architecture from Pascal on, and both builds of CuPy."""


class Architecture(Struct, frozen=True, kw_only=True):
    """What one architecture asks of the software around it."""

    name: str
    first_branch: int
    last_branch: int | None
    """The last driver branch that drives it, None where the newest does."""
    modules: Modules
    """Which flavour of NVIDIA's kernel modules drives it."""
    supported: bool = True
    """Whether gpucert has kernels for it."""

    @property
    def needs_cuda_12(self) -> bool:
        """Whether CUDA 13 compiles nothing for it any more."""
        return self.last_branch is not None


class Misfit(Struct, frozen=True):
    """Why a driver does not drive a card, and what to do."""

    why: str
    remedy: str


OLD: Final = Architecture(name="Maxwell or older", first_branch=340, last_branch=580, modules="closed", supported=False)
_PASCAL = Architecture(name="Pascal", first_branch=367, last_branch=580, modules="closed")
_VOLTA = Architecture(name="Volta", first_branch=384, last_branch=580, modules="closed")
_TURING = Architecture(name="Turing", first_branch=410, last_branch=None, modules="either")
_AMPERE = Architecture(name="Ampere", first_branch=450, last_branch=None, modules="either")
_HOPPER = Architecture(name="Hopper", first_branch=520, last_branch=None, modules="either")
_GRACE_HOPPER = Architecture(name="Hopper", first_branch=525, last_branch=None, modules="open")
_ADA = Architecture(name="Ada Lovelace", first_branch=520, last_branch=None, modules="either")
_BLACKWELL = Architecture(name="Blackwell", first_branch=570, last_branch=None, modules="open")

_BY_DEVICE: tuple[tuple[int, int, Architecture], ...] = (
    (0x0000, 0x15BF, OLD),
    (0x15C0, 0x15FF, _PASCAL),
    (0x1600, 0x1724, OLD),
    (0x1725, 0x172F, _PASCAL),
    (0x1730, 0x1AFF, OLD),
    (0x1B00, 0x1D7F, _PASCAL),
    (0x1D80, 0x1DFF, _VOLTA),
    (0x1E00, 0x1FFF, _TURING),
    (0x2080, 0x20FF, _AMPERE),
    (0x2180, 0x21FF, _TURING),
    (0x2200, 0x227F, _AMPERE),
    (0x2300, 0x233F, _HOPPER),
    (0x2340, 0x234F, _GRACE_HOPPER),
    (0x2350, 0x23FF, _HOPPER),
    (0x2400, 0x25FF, _AMPERE),
    (0x2600, 0x28FF, _ADA),
    (0x2900, 0x2F7F, _BLACKWELL),
    (0x3180, 0x33FF, _BLACKWELL),
)
"""First and last device id. What lies between the ranges is not known, and nothing is claimed of it."""


def architecture_of(device: Reading[str]) -> Architecture | None:
    """The architecture of a device id of four hexadecimal digits; None where nobody knows."""
    if isinstance(device, Absent) or not re.fullmatch(r"[0-9a-f]{4}", device):
        return None
    number = int(device, 16)
    return next((found for first, last, found in _BY_DEVICE if first <= number <= last), None)


def branch_of(version: Reading[str]) -> int | None:
    """580 of `580.65.06`."""
    match = None if isinstance(version, Absent) else re.match(r"(\d{2,4})\.\d", version)
    return int(match[1]) if match else None


def misfit(card: Architecture, version: Reading[str], open_modules: Reading[bool]) -> Misfit | None:
    """Why this driver does not drive cards of this architecture; None where it does, or where nobody knows."""
    branch = branch_of(version)
    if branch is not None and card.last_branch is not None and branch > card.last_branch:
        return Misfit(
            f"driver {version} has dropped {card.name}; {card.last_branch} was the last branch for it",
            f"Install driver branch {card.last_branch} with the proprietary kernel modules.",
        )
    if branch is not None and branch < card.first_branch:
        return Misfit(
            f"driver {version} is older than {card.name}, which needs {card.first_branch} or newer",
            f"Install driver {max(card.first_branch, ADVISED_BRANCH)} or newer.",
        )
    if open_modules is True and card.modules == "closed":
        return Misfit(
            f"the open kernel modules do not drive {card.name}, only Turing and newer",
            f"Install driver branch {card.last_branch} with the proprietary kernel modules.",
        )
    if open_modules is False and card.modules == "open":
        return Misfit(
            f"{card.name} needs the open kernel modules, and the proprietary ones are loaded",
            "Install the same driver with the open kernel modules (packages named -open).",
        )
    return None


def conflict(cards: Iterable[Architecture]) -> Misfit | None:
    """Why no single driver can serve all of these cards."""
    present = {card.modules: card.name for card in cards}
    if {"open", "closed"} <= present.keys():
        return Misfit(
            f"no driver serves {present['closed']} and {present['open']} at once: one needs the proprietary kernel "
            "modules, the other the open ones",
            "Test them in different stations.",
        )
    return None


def driver_for(cards: Iterable[Architecture]) -> str:
    """Which driver to install for these cards, in words."""
    supported = [card for card in cards if card.supported]
    if any(card.last_branch is not None for card in supported):
        return f"NVIDIA driver {_LAST_WITH_CLOSED_ONLY} (the last branch for Pascal and Volta), proprietary modules"
    if any(card.modules == "open" for card in supported):
        return f"NVIDIA driver {ADVISED_BRANCH} or newer with the open kernel modules"
    return f"NVIDIA driver {ADVISED_BRANCH} or newer"


def extra_for(cards: Iterable[Architecture], cuda: tuple[int, int] | None, branch: int | None) -> Extra:
    """Which build of CuPy serves these cards under this driver.

    `cuda` is the newest CUDA that the driver says it supports; without it the branch decides. Without either, the
    driver that ought to be installed is assumed.
    """
    if any(card.needs_cuda_12 for card in cards):
        return "cuda12"
    old = cuda < (13, 0) if cuda is not None else branch is not None and branch < FIRST_OF_CUDA_13
    return "cuda12" if old else "cuda13"
