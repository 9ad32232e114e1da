"""What a full query states of every card, by driver: a query that leaves it out was edited, or lines of it are lost.

Seen in output of drivers 352 to 610, from GeForce to H200, on Windows and under MIG: where a card has no such thing,
nvidia-smi says N/A. It leaves no line out.
"""

from collections.abc import Iterator

from gpucert.capture import NOT_STATED, Capture
from gpucert.device.smi_words import Answers
from gpucert.reading import Absence, Absent, Reading

NEWEST = 610
"""The newest driver whose labels are known: in output of later ones a label may have a new name."""

_OLDEST = 352
_STATED = (
    (_OLDEST, "identity", "serial", "serial"),
    (_OLDEST, "identity", "uuid", "UUID"),
    (_OLDEST, "identity", "vbios", "VBIOS"),
    (_OLDEST, "identity", "inforom_image", "InfoROM image"),
    (_OLDEST, "identity", "pci_device", "device id"),
    (_OLDEST, "identity", "pci_subdevice", "subsystem id"),
    (_OLDEST, "identity", "memory_mib", "memory size"),
    (_OLDEST, "settings", "ecc", "ECC mode"),
    (_OLDEST, "settings", "ecc_pending", "pending ECC mode"),
    (_OLDEST, "settings", "power_limit_w", "power limit"),
    (_OLDEST, "settings", "power_default_w", "default power limit"),
    (_OLDEST, "counters", "ecc_uncorrected_aggregate", "uncorrected errors ever"),
    (_OLDEST, "counters", "ecc_uncorrected_volatile", "uncorrected errors"),
    (_OLDEST, "counters", "ecc_corrected_aggregate", "corrected errors ever"),
    (_OLDEST, "counters", "ecc_corrected_volatile", "corrected errors"),
    (_OLDEST, "counters", "retired_dbe", "retired pages"),
    (_OLDEST, "counters", "retired_sbe", "retired pages of single bits"),
    (_OLDEST, "counters", "retired_pending", "retirement pending"),
    (_OLDEST, "sample", "temperature_c", "temperature"),
    (_OLDEST, "sample", "power_w", "power"),
    (_OLDEST, "sample", "fan_percent", "fan speed"),
    (_OLDEST, "sample", "pcie_width", "PCIe width"),
    (384, "settings", "virtualization", "virtualization"),
    (410, "sample", "event_reasons", "reasons for slow clocks"),
    (460, "settings", "mig", "MIG"),
    (460, "counters", "remapped_uncorrectable", "remapped rows"),
    (460, "counters", "remapped_correctable", "rows remapped early"),
    (460, "counters", "remap_pending", "remapping pending"),
    (460, "counters", "remap_failure", "remapping failed"),
    (460, "counters", "remap_banks", "spare rows"),
    (535, "counters", "recovery_action", "whether a reset is needed"),
)
"""First driver that is known to state it, where it stands in a capture, and its name."""
_HEAD = (("timestamp", "time of the query"), ("attached_gpus", "number of GPUs"))
_FORMAT = "ecc_errors/aggregate/sram_uncorrectable_parity"
_WITH_FORMAT = (
    (535, "sram_threshold_exceeded", "SRAM threshold"),
    (590, "repair_pending", "repair pending"),
    (590, "memory_unrepairable", "whether memory can be repaired"),
)
"""What is stated of cards that count parity errors of SRAM apart."""
_ERRORS = {"unknown error", "err!"}
"""What nvidia-smi prints in place of a reading that the driver could not give."""


def left_out(capture: Capture, head: Answers, answers: Answers) -> tuple[str, ...]:
    """The names of what is left out, or said in words that nvidia-smi has not.

    Of a driver that is newer than those known nothing can be told: none.
    """
    known = major(capture.identity.driver)
    if known is not None and known > NEWEST:
        return ()
    told = _told(capture, head, answers, known or _OLDEST)
    return tuple(f"{name}{why}" for name, value in told if (why := _silence(value)) is not None)


def major(driver: Reading[str]) -> int | None:
    """The branch of a driver, None where no version is known."""
    return None if isinstance(driver, Absent) else int(driver.partition(".")[0])


def _told(capture: Capture, head: Answers, answers: Answers, driver: int) -> Iterator[tuple[str, object]]:
    yield "driver", capture.identity.driver
    yield from ((name, head.say(label)) for label, name in _HEAD)
    for since, part, field, name in _STATED:
        value = getattr(getattr(capture, part), field)
        if driver >= since and (part != "identity" or value == NOT_STATED):  # because people mask identities
            yield name, value
    if answers.has(_FORMAT):
        yield from ((name, getattr(capture.counters, field)) for since, field, name in _WITH_FORMAT if driver >= since)


def _silence(value: object) -> str | None:
    """What to add to the name of a reading that is no answer of nvidia-smi; None for answers, its errors included.

    A sum without one of its parts names what is known before it says why.
    """
    if not isinstance(value, Absent) or value.absent is not Absence.UNKNOWN:
        return None
    said = value.detail.rpartition(": ")[2]
    if said.strip("[]").lower() in _ERRORS:
        return None
    return "" if said in {"", NOT_STATED.detail} else f" ({said})"
