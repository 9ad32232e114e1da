"""The cards of a station: those that NVML lists and those on the PCI bus, joined; and why one cannot be seen."""

import re
from collections.abc import Callable

from msgspec import Struct

from gpucert.device import bus_id
from gpucert.device.pci_bus import PciGpu
from gpucert.diagnosis import kind_of
from gpucert.reading import Absence, Absent
from gpucert.record import Identity
from gpucert.station import support
from gpucert.station.driver import trouble
from gpucert.station.facts import Sight

LOST, NOT_INITIALISED, RESET, STATION = (
    "device.lost",
    "device.not_initialised",
    "device.reset_required",
    "station.driver",
)
_REFUSED = re.compile(r"The NVIDIA GPU (?P<bus>[0-9a-fA-F:.]{7,20}) \(PCI ID")
_FAILED = re.compile(r"NVRM: GPU (?P<bus>[0-9a-fA-F:.]{7,20}): (?P<text>RmInitAdapter failed.*|GPU has fallen off.*)")
_BESIDE_THE_TEXT = re.compile(r"^\[[^]]*\]\s*|NVRM:\s*")
_WORDS_AT_MOST = 200


class Unseen(Struct, frozen=True, kw_only=True):
    """Why a card cannot be used."""

    code: str
    """Of the diagnosis; `gpucert explain` knows it."""
    why: str
    remedy: str
    hidden: bool = False
    """Kept from this container on purpose: nothing is wrong with it as far as anybody knows."""


class Card(Struct, frozen=True, kw_only=True):
    """One card of the station."""

    index: int | None
    """What `--gpu` takes; None for a card that NVML does not list."""
    identity: Identity | None
    place: PciGpu | None
    """None where the bus does not show it."""
    unseen: Unseen | None = None
    """None where NVML reads it."""

    @property
    def name(self) -> str:
        """What the card calls itself, else what its PCI id stands for."""
        told = None if self.identity is None else self.identity.name
        if isinstance(told, str):
            return told
        named = None if self.place is None else self.place.name
        return named if isinstance(named, str) else "NVIDIA GPU of unknown model"

    @property
    def bus_id(self) -> str | None:
        """Where it stands, as records spell it."""
        if self.place is not None:
            return self.place.bus_id
        told = None if self.identity is None else self.identity.bus_id
        return told if isinstance(told, str) else None

    @property
    def key(self) -> str:
        """Its UUID, else its bus id, else its index."""
        uuid = None if self.identity is None else self.identity.uuid
        return uuid if isinstance(uuid, str) else self.bus_id or f"index {self.index}"


def every(sight: Sight) -> tuple[Card, ...]:
    """Every whole card: first those that NVML lists, in its order, then the others, in the order of bus ids."""
    places = {} if isinstance(sight.bus, Absent) else {gpu.bus_id: gpu for gpu in sight.bus.gpus if _whole(gpu)}
    silent = [index for index, card in enumerate(sight.listed) if not isinstance(card.bus_id, str)]
    free = set(places) - {str(card.bus_id) for card in sight.listed}
    last = next(iter(free)) if len(free) == 1 and len(silent) == 1 else None
    cards: list[Card] = []
    for index, identity in enumerate(sight.listed):
        where = last if index in silent else str(identity.bus_id)
        place = places.pop(where, None) if where else None
        unseen = None if isinstance(identity.name, str) else _does_not_answer(identity.name, place)
        cards.append(Card(index=index, identity=identity, place=place, unseen=unseen))
    cards += [Card(index=None, identity=None, place=gpu, unseen=_why(gpu, sight)) for gpu in places.values()]
    return tuple(cards)


def _whole(gpu: PciGpu) -> bool:
    return gpu.virtual_function_of is None


def shares(sight: Sight) -> int:
    """How many virtual functions the bus shows beside the whole cards."""
    return 0 if isinstance(sight.bus, Absent) else sum(not _whole(gpu) for gpu in sight.bus.gpus)


def _does_not_answer(reason: Absent, place: PciGpu | None) -> Unseen:
    """A card that NVML counts and that answers nothing."""
    if place is not None and place.answers is False:
        return _fallen()
    code = {Absence.LOST: LOST, Absence.RESET_REQUIRED: RESET}.get(reason.absent, NOT_INITIALISED)
    return Unseen(code=code, why=f"the driver lists it and it does not answer: {reason}", remedy=kind_of(code).action)


def _fallen() -> Unseen:
    why = "it fell off the bus: its configuration space reads all ones"
    return Unseen(code=LOST, why=why, remedy=kind_of(LOST).action)


_Reason = Callable[[PciGpu, Sight], Unseen | None]


def _why(gpu: PciGpu, sight: Sight) -> Unseen:
    """Why NVML does not list a card that stands on the bus: the first reason that holds."""
    return next(one for one in (reason(gpu, sight) for reason in _REASONS) if one is not None)


def _off_the_bus(gpu: PciGpu, _sight: Sight) -> Unseen | None:
    return _fallen() if gpu.answers is False else None


def _held_by_another(gpu: PciGpu, sight: Sight) -> Unseen | None:
    if gpu.driver == "vfio-pci":
        return _station(
            "vfio-pci holds it, to pass it through to a virtual machine",
            "Test it inside that machine, or stop the machine and give the card back: "
            f"`sudo driverctl unset-override {_short(gpu.bus_id)}`.",
        )
    if gpu.driver == "nouveau":
        return _station("nouveau holds it, the kernel's own driver", _why_not_nvidia(sight))
    if isinstance(gpu.driver, str) and gpu.driver != "nvidia":
        return _station(f"the driver {gpu.driver} holds it", f"Unbind it from {gpu.driver} and bind it to nvidia.")
    return None


def _why_not_nvidia(sight: Sight) -> str:
    problem = trouble(sight)
    if problem is not None:
        return problem.remedy
    return "Keep nouveau out (blacklist it in /etc/modprobe.d, renew the initramfs) and restart the station."


def _excluded(gpu: PciGpu, sight: Sight) -> Unseen | None:
    if gpu.bus_id not in sight.module.excluded:
        return None
    return _station(
        "the driver was told to leave it alone (NVreg_ExcludedGpus)",
        "Take it out of NVreg_ExcludedGpus in /etc/modprobe.d and restart the station.",
    )


def _unfit(gpu: PciGpu, sight: Sight) -> Unseen | None:
    """A driver that does not serve the architecture: with the version of its library where no module is loaded."""
    card = support.architecture_of(gpu.device)
    version = sight.module.version
    if isinstance(version, Absent) and len(sight.module.libraries) == 1:
        version = sight.module.libraries[0]
    found = None if card is None else support.misfit(card, version, sight.module.open)
    return None if found is None else _station(found.why, found.remedy)


def _no_driver(_gpu: PciGpu, sight: Sight) -> Unseen | None:
    problem = trouble(sight)
    return None if problem is None else _station(problem.found, problem.remedy)


def _hidden(gpu: PciGpu, sight: Sight) -> Unseen | None:
    """Held by the driver, in a container that was given other cards."""
    if gpu.driver != "nvidia":
        return None
    visible, known = sight.container.visible, sight.module.known
    if visible is not None and visible != "all":
        why = f"NVIDIA_VISIBLE_DEVICES={visible or '(empty)'} hides it from this container"
    elif sight.container.kind and not isinstance(known, Absent) and gpu.bus_id not in known:
        why = "this container was not given it"
    else:
        return None
    remedy = "Give the card to the container (`--gpus`, NVIDIA_VISIBLE_DEVICES), or test it on the host."
    return Unseen(code=STATION, why=why, remedy=remedy, hidden=True)


def _not_initialised(gpu: PciGpu, sight: Sight) -> Unseen:
    if isinstance(gpu.driver, Absent):
        why = f"NVML does not list it, and nobody knows which driver holds it: {gpu.driver}"
    elif gpu.driver is None:
        why = "no driver holds it, although NVIDIA's kernel module is loaded"
    else:
        why = "the driver holds it and could not start it"
    words = in_the_log(gpu.bus_id, sight)
    said = f"; the kernel log says: {words}" if words else ""
    return Unseen(code=NOT_INITIALISED, why=f"{why}{said}", remedy=kind_of(NOT_INITIALISED).action)


_REASONS: tuple[_Reason, ...] = (
    _off_the_bus,
    _held_by_another,
    _excluded,
    _unfit,
    _no_driver,
    _hidden,
    _not_initialised,
)


def _station(why: str, remedy: str) -> Unseen:
    return Unseen(code=STATION, why=why, remedy=remedy)


def _short(where: str) -> str:
    """As Linux spells it: a domain of four digits."""
    return where.removeprefix("0000")


def in_the_log(where: str, sight: Sight) -> str:
    """What the driver said in the kernel log about a card that it could not start; empty where it said nothing."""
    lines = () if isinstance(sight.log, Absent) else sight.log
    told = [words for number in range(len(lines)) if (words := _complaint(where, lines[number : number + 4]))]
    return told[-1][:_WORDS_AT_MOST] if told else ""


def _complaint(where: str, lines: tuple[str, ...]) -> str:
    """The driver's sentence that begins in the first line, where it is about this card.

    `The NVIDIA GPU … (PCI ID: …) installed in this system is not supported by …` goes over three lines.
    """
    refused, failed = _REFUSED.search(lines[0]), _FAILED.search(lines[0])
    if refused and bus_id.normal(refused["bus"]) == where:
        words = " ".join(_BESIDE_THE_TEXT.sub("", one).strip() for one in lines)
        return words.partition(" Please")[0].strip()
    return failed["text"].strip() if failed and bus_id.normal(failed["bus"]) == where else ""
