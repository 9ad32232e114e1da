"""The model of a card, from what it answers about itself: the one way in which every command asks the catalogue."""

from gpucert.catalogue import shelf
from gpucert.record import Identity


def match(card: Identity) -> shelf.Match:
    """The model of a card, by ids and sizes; an answer that is absent says nothing."""
    return shelf.match(
        name=_text(card.name),
        device=_text(card.pci_device),
        subvendor=_text(card.pci_subvendor),
        subdevice=_text(card.pci_subdevice),
        memory_mib=_number(card.memory_mib),
        cuda_cores=_number(card.cuda_cores),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
