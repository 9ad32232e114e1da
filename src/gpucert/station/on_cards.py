"""Remarks on each card that the driver reads: what would spoil a run on it, beside what the verdict itself judges."""

from collections.abc import Iterator
from functools import partial

from gpucert.capture import Capture
from gpucert.device.pci_bus import PciGpu, Port
from gpucert.diagnosis import kind_of
from gpucert.reading import NOT_ASKED, Absence, Absent
from gpucert.record import Settings
from gpucert.station import cards, support
from gpucert.station.cards import Card
from gpucert.station.facts import Station
from gpucert.station.on_driver import heading
from gpucert.station.remark import Remark, State

_DECIDING = ("ecc", "ecc_pending", "mig", "mig_pending", "virtualization", "power_limit_w", "power_default_w")
"""Settings by which the verdict tells a station's fault from a card's."""


def remarks(station: Station) -> Iterator[Remark]:
    """Everything about the cards that NVML lists."""
    for card in cards.every(station.sight):
        if card.unseen is None:
            yield from _one(card, capture_of(card, station), station)


def capture_of(card: Card, station: Station) -> Capture | None:
    """What was read of a card; None where it gave nothing."""
    return next((one for one in station.captures if _same(one, card)), None)


def _same(capture: Capture, card: Card) -> bool:
    uuid, where = capture.identity.uuid, capture.identity.bus_id
    return card.key == uuid if isinstance(uuid, str) else card.bus_id is not None and card.bus_id == where


def _one(card: Card, capture: Capture | None, station: Station) -> Iterator[Remark]:
    remark = partial(Remark, topic=heading(card), card=card.key)
    yield from _served(card, remark)
    if capture is None:
        asked = [station.silent[key] for key in (card.bus_id or "", card.key) if key in station.silent]
        why = asked[0] if asked else "it was not asked"
        yield remark(
            name="settings",
            state=State.UNKNOWN,
            found=f"its settings could not be read: {why}",
            remedy="Run gpucert doctor again; restart the station if this stays.",
            decides=True,
        )
    else:
        yield from _settings(capture, remark)
    if card.place is not None:
        yield from _slot(card.place, remark)


_Make = partial[Remark]


def _served(card: Card, remark: _Make) -> Iterator[Remark]:
    """Whether gpucert has kernels for it."""
    device = NOT_ASKED if card.identity is None else card.identity.pci_device
    found = support.architecture_of(device)
    if found is not None and not found.supported:
        yield remark(
            name="architecture",
            state=State.PROBLEM,
            found=f"{found.name}: gpucert has kernels for Pascal and newer",
            remedy="This card cannot be tested with gpucert.",
        )


def _settings(capture: Capture, remark: _Make) -> Iterator[Remark]:
    settings = capture.settings
    yield from _unread(capture, remark)
    if settings.confidential_compute is True:
        yield remark(
            name="confidential_compute",
            state=State.PROBLEM,
            found="confidential computing is on, which encrypts transfers and hides counters",
            remedy="Switch it off (`nvidia-smi conf-compute -f`, firmware) and restart the station.",
        )
    if settings.compute_mode == "prohibited":
        yield remark(
            name="compute_mode",
            state=State.PROBLEM,
            found="its compute mode is prohibited: CUDA may not open it",
            remedy="`sudo nvidia-smi -c 0`.",
        )
    if settings.power_source == "undersized":
        yield remark(
            name="station.power",
            state=State.PROBLEM,
            found="the driver says that the power supply cannot feed it",
            remedy=kind_of("station.power").action,
        )
    if settings.display_active is True:
        yield remark(
            name="display",
            state=State.WARNING,
            found="a display is shown through it, which takes memory and time",
            remedy="Stop the display (`sudo systemctl isolate multi-user.target`), or drive it by another card.",
        )
    if settings.persistence is False:
        yield remark(
            name="persistence",
            state=State.WARNING,
            found="persistence mode is off: counters and clocks start anew whenever nobody uses it",
            remedy="`sudo nvidia-smi -pm 1`, or start nvidia-persistenced.",
        )
    if settings.virtualization == "pass-through":
        yield remark(
            name="pass_through",
            state=State.WARNING,
            found="it is passed through to this virtual machine, which hides its slot and some readings",
            remedy="For a certificate without gaps, test it on the host.",
        )


def _unread(capture: Capture, remark: _Make) -> Iterator[Remark]:
    """What the card does not offer is no gap; what it keeps to itself is one."""
    kept = {name: value for name in _DECIDING if (value := _gap(capture.settings, name)) is not None}
    if isinstance(capture.processes, Absent) and capture.processes.absent is not Absence.NOT_SUPPORTED:
        kept["processes"] = capture.processes
    refused = [name for name, value in kept.items() if value.absent is Absence.NO_PERMISSION]
    others = {name: value for name, value in kept.items() if name not in refused}
    if refused:
        yield remark(
            name="station.permission",
            state=State.PROBLEM,
            found=f"no permission to read {', '.join(refused)}",
            remedy=kind_of("station.permission").action,
        )
    if others:
        yield remark(
            name="settings",
            state=State.UNKNOWN,
            found="; ".join(f"{name}: {value}" for name, value in others.items()),
            remedy="Run gpucert doctor again; restart the station if this stays.",
            decides=True,
        )
    if not kept:
        yield remark(name="settings", state=State.OK, found=_told(capture))


def _gap(settings: Settings, name: str) -> Absent | None:
    value = getattr(settings, name)
    return value if isinstance(value, Absent) and value.absent is not Absence.NOT_SUPPORTED else None


def _told(capture: Capture) -> str:
    """The modes that were read, as they are."""
    settings = capture.settings
    modes = [
        f"{word} {'on' if value else 'off'}"
        for word, value in (("ECC", settings.ecc), ("MIG", settings.mig))
        if isinstance(value, bool)
    ]
    if not isinstance(settings.power_limit_w, Absent):
        modes.append(f"power limit {settings.power_limit_w:.0f} W")
    if not isinstance(capture.processes, Absent):
        count = len(capture.processes)
        modes.append({0: "no other process", 1: "one other process"}.get(count, f"{count} other processes"))
    return ", ".join(modes) or "it offers none of the modes that decide"


def _slot(place: PciGpu, remark: _Make) -> Iterator[Remark]:
    """The link's width, which does not rest with the card; its speed does, so only a load tells that."""
    width, most = place.link.width, place.link.max_width
    if isinstance(width, Absent) or isinstance(most, Absent):
        why = width if isinstance(width, Absent) else most
        yield remark(name="link.pcie_width", state=State.UNKNOWN, found=f"the width of its link: {why}")
        return
    slot = place.port.link.max_width if isinstance(place.port, Port) else most
    offered = most if isinstance(slot, Absent) else min(slot, most)
    action = kind_of("link.pcie_width").action
    if width < offered:
        found = f"its link runs on {width} of {offered} lanes"
        yield remark(name="link.pcie_width", state=State.WARNING, found=found, remedy=action)
    elif offered < most:
        found = f"its slot has {offered} lanes, the card has {most}"
        remedy = "For its transfers to be judged, test it in a slot with all lanes."
        yield remark(name="link.pcie_width", state=State.WARNING, found=found, remedy=remedy)
    else:
        yield remark(name="link.pcie_width", state=State.OK, found=f"{width} lanes, all that card and slot have")
