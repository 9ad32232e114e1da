"""What a capture states, in words and by topic, for the terminal and for the page alike."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpucert.capture import Capture
from gpucert.reading import Absent, Reading
from gpucert.record import EventReason


class Item(NamedTuple):
    """One reading: its topic, its name, and what it says or why it says nothing."""

    topic: str
    name: str
    text: Reading[str]

    @property
    def known(self) -> bool:
        """Whether it has a value."""
        return isinstance(self.text, str)


def items(capture: Capture) -> tuple[Item, ...]:
    """Every reading of a capture that a person looks for, in one order for every card; none is left out in silence."""
    return (*_card(capture), *_modes(capture), *_errors(capture), *_repairs(capture), *_moment(capture))


_LONG = 12


def unread(captures: Sequence[Capture]) -> dict[str, str]:
    """Reason → the names of what none of these captures of one card could read; a long list is “everything else”."""
    known = {item.name for capture in captures for item in items(capture) if item.known}
    reasons: dict[str, list[str]] = {}
    for item in items(captures[0]):
        if item.name not in known:
            reasons.setdefault(str(item.text), []).append(item.name)
    most = max(reasons, key=lambda reason: len(reasons[reason]), default="")
    rest = [*(reason for reason in reasons if reason != most), *([most] if most else [])]
    return {
        reason: "everything else" if reason == most and len(reasons[reason]) > _LONG else ", ".join(reasons[reason])
        for reason in rest
    }


def _card(capture: Capture) -> Iterator[Item]:
    identity = capture.identity
    yield _item("card", "driver", identity.driver, "driver {}")
    yield _item("card", "serial", identity.serial, "serial {}")
    yield _item("card", "UUID", identity.uuid)
    yield _item("card", "board part number", identity.board_part_number, "board {}")
    yield _item("card", "VBIOS", identity.vbios, "VBIOS {}")
    yield _item("card", "InfoROM image", identity.inforom_image, "InfoROM {}")
    yield _item("memory", "memory size", identity.memory_mib, "{} MiB")


def _modes(capture: Capture) -> Iterator[Item]:
    settings = capture.settings
    yield _item("memory", "ECC mode", _word(settings.ecc, "ECC on", "ECC off"))
    yield _item("modes", "MIG", _word(settings.mig, "MIG ON", "MIG off"))
    yield _item("modes", "persistence", _word(settings.persistence, "persistence on", "persistence off"))
    yield _item("modes", "virtualization", settings.virtualization, "virtualization {}")


def _errors(capture: Capture) -> Iterator[Item]:
    counters = capture.counters
    yield _item("errors", "uncorrected errors ever", counters.ecc_uncorrected_aggregate, "{} uncorrected ever")
    yield _item("errors", "uncorrected errors", counters.ecc_uncorrected_volatile, "{} uncorrected since driver load")
    yield _item("errors", "corrected errors ever", counters.ecc_corrected_aggregate, "{} corrected ever")
    yield _item("errors", "corrected errors", counters.ecc_corrected_volatile, "{} corrected since driver load")
    yield _item("errors", "SRAM errors ever", counters.sram_uncorrected_aggregate, "{} uncorrected in SRAM ever")
    yield _item(
        "errors",
        "SRAM threshold",
        _word(counters.sram_threshold_exceeded, "SRAM threshold EXCEEDED", "SRAM below threshold"),
    )
    yield _item("links", "PCIe replays", counters.pcie_replays, "{} PCIe replays")
    yield _item("links", "NVLinks up", counters.nvlinks_up, "{} NVLinks up")
    yield _item("links", "NVLink errors", counters.nvlink_errors, "{} NVLink errors")


def _repairs(capture: Capture) -> Iterator[Item]:
    counters = capture.counters
    banks = counters.remap_banks
    yield _item("repairs", "remapped rows", counters.remapped_uncorrectable, "{} rows remapped as uncorrectable")
    yield _item("repairs", "rows remapped early", counters.remapped_correctable, "{} as correctable")
    yield _item("repairs", "remapping pending", _word(counters.remap_pending, "a remap is PENDING", "no remap pending"))
    yield _item("repairs", "remapping failed", _word(counters.remap_failure, "remapping FAILED", "none failed"))
    yield Item("repairs", "spare rows", banks if isinstance(banks, Absent) else _spare_rows(banks))
    yield _item("repairs", "retired pages", counters.retired_dbe, "pages retired for double-bit errors: {}")
    yield _item("repairs", "retired pages of single bits", counters.retired_sbe, "for single-bit errors: {}")
    yield _item(
        "repairs", "retirement pending", _word(counters.retired_pending, "a retirement is PENDING", "none pending")
    )
    yield _item("repairs", "repair pending", _word(counters.repair_pending, "a repair is PENDING", "no repair pending"))
    yield _item("InfoROM", "InfoROM checksum", _word(counters.inforom_valid, "valid", "CORRUPTED"))


def _spare_rows(banks: tuple[int, ...]) -> str:
    words = ("all", "all but one", "some", "one", "none")
    told = [f"{count} with {word}" for count, word in zip(banks, words, strict=True) if count]
    return f"spare rows left in {sum(banks)} banks: {', '.join(told) or 'not told'}"


def _moment(capture: Capture) -> Iterator[Item]:
    sample = capture.sample
    yield _item("moment", "temperature", sample.temperature_c, "{:g} °C")
    yield _item("moment", "memory temperature", sample.memory_temperature_c, "memory {:g} °C")
    yield _item("moment", "power", sample.power_w, "{:g} W")
    yield _item("moment", "power limit", capture.settings.power_limit_w, "limit {:g} W")
    yield _item("moment", "SM clock", sample.sm_clock_mhz, "SM {:g} MHz")
    yield _item("moment", "fan speed", sample.fan_percent, "fan at {:g} %")
    yield _item("moment", "PCIe generation", sample.pcie_gen, "PCIe generation {}")
    yield _item("moment", "PCIe width", sample.pcie_width, "x{}")
    reasons = sample.event_reasons
    yield Item("moment", "held back by", reasons if isinstance(reasons, Absent) else _held_back(reasons))


def _held_back(mask: int) -> str:
    names = [reason.name.lower().replace("_", " ") for reason in EventReason if mask & reason and reason.name]
    return f"held back by: {', '.join(names)}" if names else "not held back"


def _item(topic: str, name: str, value: Reading[str] | Reading[int] | Reading[float], form: str = "{}") -> Item:
    return Item(topic, name, value if isinstance(value, Absent) else form.format(value))


def _word(value: Reading[bool], yes: str, no: str) -> Reading[str]:
    return value if isinstance(value, Absent) else (yes if value else no)
