"""Matching: which model a card is, decided from its answers in order of how hard they are to forge."""

import re
from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import Struct, structs

from gpucert.catalogue.model import Model, PciId

MIB_PER_GIB = 1024
DRIVER_SHARE = 0.97
"""A driver keeps up to 3 % of the nominal memory for itself."""
INLINE_ECC_SHARE = 15 / 16
"""ECC on GDDR keeps its check bits in the memory itself."""
NAMELESS = "graphics device"
"""What a driver answers that is older than the card: not a name that could contradict anything."""
FIRST_TURING_DEVICE = 0x1E00
"""Below it no new device id will be given out, so that an id that is not listed is the id of another model."""

MINING = re.compile(r"\b(CMP \d+HX|P10[246]-\d{3})\b", re.IGNORECASE)
"""Names of the lines that NVIDIA sold for mining: without displays, on a narrow link, with throttled arithmetic."""

By = Literal["subsystem", "device", "name", "nothing"]


class Answers(Struct, frozen=True, kw_only=True):
    """What a card answers about itself; None stands for an answer that is absent. PCI ids are lower-case hex."""

    name: str | None
    device: str | None
    subvendor: str | None
    subdevice: str | None
    memory_mib: int | None
    cuda_cores: int | None


class Match(Struct, frozen=True, kw_only=True):
    """Which model a card is, and which of its answers agree with that; None where nothing could be compared."""

    model: Model | None
    candidates: tuple[str, ...]
    """Keys of the models that were left at the end: one where `model` is decided."""
    reason: str
    """One sentence: what decided, and what contradicts it."""
    by: By
    name_agrees: bool | None = None
    memory_agrees: bool | None = None
    cores_agree: bool | None = None


NameOf = Callable[[PciId], str | None]
"""The name that NVIDIA's driver gives a PCI id, for ids that the catalogue has no model of."""


def identify(models: Iterable[Model], answers: Answers, name_of: NameOf) -> Match:
    """The model of these answers.

    PCI ids come first, then nominal memory size, then the number of cores, and the name only among what these leave.
    A name decides alone only where no device id could be read, and then the memory size must not contradict it.
    """
    shelf = tuple(models)
    if answers.device is None:
        return _by_name(shelf, answers)
    pci = PciId(answers.device, answers.subvendor, answers.subdevice)
    by, pool = _with_pci(shelf, pci, name_of)
    return _among(_narrow(pool, answers), by, pci, answers) if pool else _not_listed(shelf, pci, answers, name_of)


def memory_agrees(model: Model, memory_mib: int) -> bool:
    """Whether this model has what a driver states: never more than nominal, less only by what is kept back."""
    nominal = model.memory.size_gib * MIB_PER_GIB
    share = DRIVER_SHARE * (INLINE_ECC_SHARE if model.memory.ecc == "gddr_inline" else 1)
    return nominal * share <= memory_mib <= nominal


def name_agrees(model: Model, name: str) -> bool:
    """Whether drivers call this model so; old ones leave out the leading "NVIDIA"."""
    return _bare(name) in {_bare(known) for known in model.names}


def is_mining(name: str) -> bool:
    """Whether this is the name of a card that was made for mining alone."""
    return MINING.search(name) is not None


def _with_pci(models: tuple[Model, ...], pci: PciId, name_of: NameOf) -> tuple[By, tuple[Model, ...]]:
    """Models with just this subsystem; else those of the device, less those that NVIDIA gives another subsystem."""
    if pci.subdevice is not None and (exact := tuple(model for model in models if pci in model.pci)):
        return "subsystem", exact
    of_device = tuple(model for model in models if any(known.device == pci.device for known in model.pci))
    name = name_of(pci) if pci.subdevice is not None else None
    return "device", of_device if name is None else tuple(model for model in of_device if name_agrees(model, name))


def _narrow(pool: tuple[Model, ...], answers: Answers) -> tuple[Model, ...]:
    """Keep what agrees, one answer after the other; an answer with which nothing agrees narrows nothing."""
    memory, cores, name = answers.memory_mib, answers.cuda_cores, answers.name
    if memory is not None:
        pool = tuple(model for model in pool if memory_agrees(model, memory)) or pool
    if cores is not None:
        pool = tuple(model for model in pool if model.cuda_cores == cores) or pool
    if name is not None:
        pool = tuple(model for model in pool if name_agrees(model, name)) or pool
    return pool


def _among(pool: tuple[Model, ...], by: By, pci: PciId, answers: Answers) -> Match:
    keys = tuple(model.key for model in pool)
    if len(pool) > 1:
        return Match(model=None, candidates=keys, by=by, reason=f"{_id(by, pci)} could be {_or(keys)}")
    return _decided(pool[0], by, f"{_id(by, pci)} is {keys[0]}", answers)


def _decided(model: Model, by: By, because: str, answers: Answers) -> Match:
    if is_mining(model.key):
        because += " (a mining card: its firmware throttles arithmetic, so that no rate of arithmetic is judged)"
    match = Match(
        model=model,
        candidates=(model.key,),
        reason=because,
        by=by,
        name_agrees=None if _nameless(answers.name) else name_agrees(model, answers.name or ""),
        memory_agrees=None if answers.memory_mib is None else memory_agrees(model, answers.memory_mib),
        cores_agree=None if answers.cuda_cores is None else answers.cuda_cores == model.cuda_cores,
    )
    objections = _objections(match, model, answers)
    return structs.replace(match, reason=f"{because}, but {' and '.join(objections)}") if objections else match


def _objections(match: Match, model: Model, answers: Answers) -> list[str]:
    said = (
        (match.name_agrees, f"the name says {answers.name!r}"),
        (match.memory_agrees, _other_memory(model, answers.memory_mib)),
        (match.cores_agree, f"it has {answers.cuda_cores} CUDA cores instead of {model.cuda_cores}"),
    )
    return [text for agrees, text in said if agrees is False]


def _other_memory(model: Model, memory_mib: int | None) -> str:
    """Right device id, wrong size: more than any such card was sold with was soldered on later, or is a lie."""
    said = f"it has {memory_mib} MiB of memory instead of {model.memory.size_gib} GiB"
    more = memory_mib is not None and memory_mib > model.memory.size_gib * MIB_PER_GIB
    return f"{said} (modified cards with more memory are on the market, and this may be one)" if more else said


def _not_listed(models: tuple[Model, ...], pci: PciId, answers: Answers, name_of: NameOf) -> Match:
    """No model of the catalogue; the name may still contradict what is known of the device id."""
    namesakes = _namesakes(models, answers.name)
    official = name_of(pci) or name_of(PciId(pci.device))
    agrees = _unlisted_name_agrees(pci, answers.name, official, namesakes)
    mining = is_mining(official or answers.name or "")
    known = f" is {official}{' (a mining card)' if mining else ''}, which" if official else ""
    reason = f"{_id('subsystem', pci)}{known} is not in the catalogue"
    if mining and not official:
        reason += " and has the name of a mining card"
    if agrees and namesakes:
        reason += " in this variant"
    elif agrees is False or namesakes:
        reason += f", but the name says {answers.name!r}"
    keys = tuple(model.key for model in namesakes)
    return Match(model=None, candidates=keys, reason=reason, by="nothing", name_agrees=agrees)


def _unlisted_name_agrees(
    pci: PciId, name: str | None, official: str | None, namesakes: tuple[Model, ...]
) -> bool | None:
    if name is None or _nameless(name):
        return None
    if official is not None:
        return _bare(name) == _bare(official)
    return False if namesakes and _before_turing(pci.device) else None


def _before_turing(device: str) -> bool:
    """Whether the id is of a card older than Turing; what is no hexadecimal number is not."""
    return re.fullmatch("[0-9a-f]{1,4}", device) is not None and int(device, 16) < FIRST_TURING_DEVICE


def _by_name(models: tuple[Model, ...], answers: Answers) -> Match:
    """Without a device id: the models of this name that have the stated memory."""
    namesakes, memory = _namesakes(models, answers.name), answers.memory_mib
    keys = tuple(model.key for model in namesakes)
    if not namesakes:
        said = "no name either" if answers.name is None else f"the name {answers.name!r} is not in the catalogue"
        return Match(model=None, candidates=(), reason=f"no PCI id could be read, {said}", by="nothing")
    left = tuple(model for model in namesakes if memory is None or memory_agrees(model, memory))
    if len(left) == 1:
        return _decided(left[0], "name", f"by name only, {left[0].key}: no PCI id could be read", answers)
    size = "no memory size could be read" if memory is None else f"{memory} MiB of memory decide nothing"
    reason = f"by name only it could be {_or(keys)}, and {size}"
    return Match(
        model=None, candidates=keys, reason=reason, by="name", memory_agrees=False if memory and not left else None
    )


def _namesakes(models: tuple[Model, ...], name: str | None) -> tuple[Model, ...]:
    return () if name is None else tuple(model for model in models if name_agrees(model, name))


def _bare(name: str) -> str:
    return " ".join(name.casefold().split()).removeprefix("nvidia ")


def _nameless(name: str | None) -> bool:
    return name is None or _bare(name) == NAMELESS


def _id(by: By, pci: PciId) -> str:
    if pci.subdevice is None:
        return f"device {pci.device}"
    subsystem = f"{pci.subvendor or '?'}:{pci.subdevice}"
    return f"device {pci.device} with subsystem {subsystem}" if by == "subsystem" else f"device {pci.device}"


def _or(keys: tuple[str, ...]) -> str:
    return keys[0] if len(keys) == 1 else f"{', '.join(keys[:-1])} or {keys[-1]}"
