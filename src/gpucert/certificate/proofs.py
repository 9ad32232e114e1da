"""What a card's own words prove and what they do not, topic by topic: the heart of an inspection report."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gpucert.capture import Capture
from gpucert.certificate import readings


class Proof(NamedTuple):
    """One topic. `names` are the readings that it rests on; a topic without any rests on nothing that can be read."""

    topic: str
    names: tuple[str, ...]
    proves: str
    leaves_open: str


class Shown(NamedTuple):
    """A topic as one card's captures bear it out."""

    topic: str
    read: str
    """What was read, in a few words; empty where nothing was."""
    proves: str
    leaves_open: str


NOTHING = "nothing"

_PROOFS = (
    Proof(
        "Who it is",
        ("UUID", "serial", "VBIOS", "memory size"),
        "What the card, or whoever wrote the file, says of its identity; whether it fits one model is said above.",
        "That the card in the box is this card. A file can be written by hand: compare the serial with the sticker.",
    ),
    Proof(
        "Uncorrectable errors of its life",
        ("uncorrected errors ever", "SRAM errors ever"),
        "At least so many happened.",
        "Zero proves no clean past: one public command clears these counts.",
    ),
    Proof(
        "Errors since the driver was loaded",
        ("uncorrected errors", "corrected errors"),
        "What happened since then.",
        "Everything before it: a restart sets these counts to zero.",
    ),
    Proof(
        "Repairs of memory",
        ("remapped rows", "retired pages", "spare rows"),
        "Remapped rows and retired pages stay in the card's InfoROM, and no public command clears them.",
        "That cells nobody read are sound: a row is repaired only after software met its error.",
    ),
    Proof(
        "Repairs that wait",
        ("remapping pending", "retirement pending", "repair pending"),
        "Whether a repair takes effect only after a reset.",
        "What the memory is like after that reset.",
    ),
    Proof(
        "The card's own record",
        ("InfoROM checksum",),
        "Whether the driver finds its checksums right.",
        "That nobody wrote it anew.",
    ),
    Proof(
        "NVIDIA's criterion for on-chip memory",
        ("SRAM threshold",),
        "Whether errors of SRAM alone are enough for a return.",
        "Errors that no ECC sees.",
    ),
    Proof(
        "Links",
        ("PCIe width", "PCIe replays", "NVLinks up"),
        "Width, generation and state at that moment.",
        "Rate and data: nothing was copied, and a link at rest runs slower than it can.",
    ),
    Proof(
        "Temperature, power and clocks",
        ("temperature", "power", "SM clock"),
        "One moment, seldom under a known load.",
        "Whether its cooler, paste and power supply hold under load.",
    ),
)
_LOG = "Errors that the driver logged"
_LOGGED = Shown(
    _LOG,
    "named on this page",
    "The errors named, in the time that the log covers.",
    "Silence: logs are rotated and can be cut, and an error without a driver to see it leaves no line.",
)
_NOT_LOGGED = Shown(_LOG, "", NOTHING, "Everything: no log here names an error of this card.")
_NEVER = Shown(
    "Arithmetic, memory cells, bandwidth, cooling under load, connectors",
    "",
    NOTHING,
    "All of it. Only a run loads the card: `gpucert certify`.",
)


def shown(captures: Iterable[Capture]) -> tuple[Shown, ...]:
    """Every topic, with what these captures have of it."""
    known: dict[str, str] = {}
    logged = False
    for capture in captures:
        known |= {item.name: str(item.text) for item in readings.items(capture) if item.known}
        logged = logged or bool(capture.log or capture.bus_errors or capture.not_initialised)
    read = [(proof, ", ".join(known[name] for name in proof.names if name in known)) for proof in _PROOFS]
    topics = (Shown(proof.topic, text, proof.proves, proof.leaves_open) for proof, text in read if text)
    return (*topics, _LOGGED if logged else _NOT_LOGGED, *_unread([proof for proof, text in read if not text]), _NEVER)


def _unread(missing: list[Proof]) -> Iterator[Shown]:
    """One row for all topics of which nothing was read: a row for each would bury the others."""
    if missing:
        yield Shown("; ".join(proof.topic for proof in missing), "", NOTHING, "Everything: it was not read.")
