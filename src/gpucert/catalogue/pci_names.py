"""The names that NVIDIA's own driver gives to PCI ids, from Turing on, for cards that the catalogue has no model of."""

from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from gpucert.catalogue.model import PciId


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    names: dict[str, str]
    """`device`, or `device:subvendor:subdevice` where the name holds for one subsystem only."""


def name_of(pci: PciId) -> str | None:
    """The name of just this PCI id, with its subsystem where it has one; None where the driver does not list it."""
    return _names().get(pci.device if pci.subdevice is None else f"{pci.device}:{pci.subvendor}:{pci.subdevice}")


@cache
def _names() -> dict[str, str]:
    text = (files("gpucert.catalogue") / "pci_names.toml").read_text("utf-8")
    return msgspec.toml.decode(text, type=_Table).names
