"""One card of a capture: which label of which driver holds which reading, from drivers 384 to 610.

Paths are labels of the text in lower case with underscores, or tags of the XML, whichever spelling a file has; newer
drivers come first. Sections: identity, settings, counters, what the card is doing, processes. What is not asked here is
not stated by nvidia-smi.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from gpucert.capture import NOT_STATED
from gpucert.device import bounds, bus_id
from gpucert.device.bounds import within
from gpucert.device.smi_document import Card
from gpucert.device.smi_words import ACTIVE, ENABLED, YES_NO, Answers, absence, count, flag, quantity, total, unclear
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, EventReason, Identity, Process, Sample, Settings

# --- identity

_ONE_PER_CARD = ("product_name", "gpu_uuid", "uuid", "gpu_pdi", "pdi", "serial_number", "serial", "minor_number")


def is_spliced(card: Card) -> bool:
    """Whether lines between two cards are missing, so that the answers of both stand under one heading.

    Two different answers to one of these questions may be a damaged line; to several they are two cards.
    """
    told = [set(card.answers.stated.get(path, ())) for path in (*_ONE_PER_CARD, *_BUS_ID)]
    places = {bus_id.normal(text) for path in _BUS_ID for text in card.answers.stated.get(path, ())}
    return sum(len(texts) > 1 for texts in told) > 1 or bool(places - {None, bus_id.normal(card.bus_id)})


_BUS_ID = ("pci/bus_id", "pci/pci_bus_id")


def driver(head: Answers) -> Reading[str]:
    """From 610 on, the driver version carries a notice in brackets and the KMD version is the one to use."""
    said = head.say("kmd_version", "driver_version")
    if isinstance(said, Absent):
        return said
    version = re.match(r"\d+\.\d+(\.\d+)?(?=\s|\[|$)", said)
    return version[0] if version else unclear(said)


def identity(card: Card, driver_version: Reading[str]) -> Identity:
    """Who the card says it is. A capture tells neither compute capability nor cores nor bus width."""
    say = card.answers.say
    device = _device(say("pci/device_id", "pci/pci_device_id"))
    subdevice, subvendor = _pci_pair(say("pci/sub_system_id", "pci/pci_sub_system_id"))
    return Identity(
        name=say("product_name"),
        uuid=say("gpu_uuid", "uuid"),
        pdi=say("gpu_pdi", "pdi"),
        serial=say("serial_number", "serial"),
        board_part_number=_board_part_number(card.answers),
        vbios=say("vbios_version"),
        inforom_image=say("inforom_version/image_version", "inforom_version/img_version"),
        bus_id=_bus_id(card),
        pci_device=device,
        pci_subvendor=subvendor,
        pci_subdevice=subdevice,
        memory_mib=count(say("fb_memory_usage/total"), "total memory", unit="MiB", bounds=bounds.MEMORY_MIB),
        max_sm_clock_mhz=_max_clock(say("max_clocks/sm", "max_clocks/sm_clock")),
        max_memory_clock_mhz=_max_clock(say("max_clocks/memory", "max_clocks/mem_clock")),
        driver=driver_version,
        gsp_firmware=say("gsp_firmware_version"),
    )


def _board_part_number(answers: Answers) -> Reading[str]:
    """Drivers before 510 printed it under the label that now holds the chip's own number (2330-885-A1)."""
    if answers.has("board_part_number"):
        return answers.say("board_part_number")
    said = answers.say("gpu_part_number")
    return said if isinstance(said, Absent) or re.match(r"\d{3}-", said) else NOT_STATED


def _max_clock(said: Reading[str]) -> Reading[int]:
    return count(said, "maximum clock", unit="MHz", bounds=bounds.MAX_MEGAHERTZ)


def _bus_id(card: Card) -> Reading[str]:
    said = card.answers.say(*_BUS_ID)
    spelled = card.bus_id if isinstance(said, Absent) else said
    return bus_id.normal(spelled) or unclear(spelled)


_NVIDIA = "10de"


def _device(said: Reading[str]) -> Reading[str]:
    """The device id. Of another vendor it is none: collectors mask ids, `000000DE` for one."""
    device, vendor = _pci_pair(said)
    return device if isinstance(said, Absent) or vendor == _NVIDIA else unclear(said)


def _pci_pair(said: Reading[str]) -> tuple[Reading[str], Reading[str]]:
    """`0x233010DE` is device 2330 of vendor 10de; a subsystem is written in the same order."""
    if isinstance(said, Absent):
        return said, said
    match = re.fullmatch(r"(?:0x)?([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})", said.strip())
    return (match[1].lower(), match[2].lower()) if match else (unclear(said), unclear(said))


# --- settings

_POWER = ("gpu_power_readings", "power_readings")
_CEILING = "gpu_power_readings/gpu_ceiling_power_limit"  # 610 and newer


def settings(answers: Answers) -> Settings:
    """Its modes and limits. Cards that state limits as margins (T.Limit) have no absolute ones."""
    say = answers.say
    return Settings(
        ecc=flag(say("ecc_mode/current", "ecc_mode/current_ecc"), *ENABLED),
        ecc_pending=flag(say("ecc_mode/pending", "ecc_mode/pending_ecc"), *ENABLED),
        mig=flag(say("mig_mode/current", "mig_mode/current_mig"), *ENABLED),
        mig_pending=flag(say("mig_mode/pending", "mig_mode/pending_mig"), *ENABLED),
        persistence=flag(say("persistence_mode")),
        virtualization=_lower(say("gpu_virtualization_mode/virtualization_mode")),
        compute_mode=_compute_mode(say("compute_mode")),
        display_active=flag(say("display_active")),
        fabric=_fabric(answers),
        power_limit_w=_limit(answers, "current_power_limit", "enforced_power_limit"),
        power_requested_w=_limit(answers, "requested_power_limit", "power_limit"),
        power_default_w=_limit(answers, "default_power_limit"),
        power_min_w=_limit(answers, "min_power_limit"),
        power_max_w=_limit(answers, "max_power_limit"),
        slowdown_c=_degrees(say("temperature/gpu_slowdown_temp", "temperature/gpu_temp_slow_threshold")),
        shutdown_c=_degrees(say("temperature/gpu_shutdown_temp", "temperature/gpu_temp_max_threshold")),
        max_operating_c=_degrees(say("temperature/gpu_max_operating_temp", "temperature/gpu_temp_max_gpu_threshold")),
        memory_max_c=_degrees(say("temperature/memory_max_operating_temp", "temperature/gpu_temp_max_mem_threshold")),
        margin_c=_margin(answers, "gpu_t_limit_temp", "gpu_current_t_limit_temp", "gpu_temp_tlimit"),
        tlimit_shutdown_c=_margin(answers, "gpu_shutdown_t_limit_temp", "gpu_temp_max_tlimit_threshold"),
        tlimit_slowdown_c=_margin(answers, "gpu_slowdown_t_limit_temp", "gpu_temp_slow_tlimit_threshold"),
        tlimit_memory_c=_margin(answers, "memory_max_operating_t_limit_temp", "gpu_temp_max_mem_tlimit_threshold"),
        tlimit_max_c=_margin(answers, "gpu_max_operating_t_limit_temp", "gpu_temp_max_gpu_tlimit_threshold"),
        pcie_gen_max=_generation(
            say(f"{_TEXT_LINK}/pcie_generation/device_max", f"{_XML_LINK}/pcie_gen/max_device_link_gen")
        ),
        pcie_gen_max_slot=_generation(say(f"{_TEXT_LINK}/pcie_generation/max", f"{_XML_LINK}/pcie_gen/max_link_gen")),
        pcie_width_max=_width(say(f"{_TEXT_LINK}/link_width/max", f"{_XML_LINK}/link_widths/max_link_width")),
        memory_used_mib=_memory_used(answers),
        memory_reserved_mib=_mebibytes(say("fb_memory_usage/reserved"), "reserved memory"),
        utilization_percent=_utilization(say("utilization/gpu", "utilization/gpu_util")),
    )


_TEXT_LINK = "pci/gpu_link_info"
_XML_LINK = "pci/pci_gpu_link_info"


def _lower(said: Reading[str]) -> Reading[str]:
    return said if isinstance(said, Absent) else said.strip().lower()


def _limit(answers: Answers, *labels: str) -> Reading[float]:
    paths = (f"{section}/{label}" for section in (_CEILING, *_POWER) for label in labels)
    return quantity(answers.say(*paths), "W", bounds.POWER_LIMIT_WATTS, "power limit")


def _degrees(said: Reading[str]) -> Reading[float]:
    return quantity(said, "C", bounds.CELSIUS, "temperature")


def _compute_mode(said: Reading[str]) -> Reading[str]:
    """NVML's words: `Exclusive_Process` is what drivers print, `E. Process` in the summary table."""
    return said if isinstance(said, Absent) else said.strip().lower().replace("_", "-")


def _fabric(answers: Answers) -> Reading[str]:
    """The state in NVML's words; where that is completed, the status says whether it went well."""
    said, status = answers.say("fabric/state"), answers.say("fabric/status")
    if isinstance(said, Absent):
        return said
    state = said.strip().lower().replace(" ", "-")
    if state in {"not-started", "in-progress"}:
        return state
    if state != "completed" or isinstance(status, Absent):
        return unclear(said)
    return state if status.strip().lower() == "success" else "failed"


def _memory_used(answers: Answers) -> Reading[int]:
    """Without what the driver keeps for itself, which drivers before 510 counted in and did not state."""
    if not answers.has("fb_memory_usage/reserved"):
        return NOT_STATED
    return _mebibytes(answers.say("fb_memory_usage/used"), "used memory")


def _mebibytes(said: Reading[str], what: str) -> Reading[int]:
    return count(said, what, unit="MiB", bounds=bounds.PROCESS_MIB)


def _utilization(said: Reading[str]) -> Reading[int]:
    return count(said, "utilization", unit="%", bounds=bounds.PERCENT)


def _margin(answers: Answers, *labels: str) -> Reading[float]:
    said = answers.say(*(f"temperature/{label}" for label in labels))
    return quantity(said, "C", bounds.MARGIN_CELSIUS, "temperature margin")


def _generation(said: Reading[str]) -> Reading[int]:
    return count(said, "PCIe generation", bounds=bounds.PCIE_GENERATION)


def _width(said: Reading[str]) -> Reading[int]:
    return count(said, "PCIe width", unit="x", bounds=bounds.PCIE_WIDTH)


# --- counters


def counters(answers: Answers, taken_at: Reading[str]) -> Counters:
    """Its counters at the time that the document states. No warning of the InfoROM is no proof that it is whole."""
    say = answers.say
    rows = "remapped_rows"
    return Counters(
        ecc_corrected_volatile=_ecc(answers, "volatile", _CORRECTED),
        ecc_uncorrected_volatile=_ecc(answers, "volatile", _UNCORRECTED),
        ecc_corrected_aggregate=_ecc(answers, "aggregate", _CORRECTED),
        ecc_uncorrected_aggregate=_ecc(answers, "aggregate", _UNCORRECTED),
        sram_uncorrected_aggregate=_ecc_part(answers, "aggregate", _SRAM_UNCORRECTED),
        sram_threshold_exceeded=flag(say("ecc_errors/aggregate/sram_threshold_exceeded"), *YES_NO),
        remapped_correctable=count(say(f"{rows}/correctable_error", f"{rows}/remapped_row_corr"), "remapped rows"),
        remapped_uncorrectable=count(say(f"{rows}/uncorrectable_error", f"{rows}/remapped_row_unc"), "remapped rows"),
        remap_pending=flag(say(f"{rows}/pending", f"{rows}/remapped_row_pending"), *YES_NO),
        remap_failure=flag(say(f"{rows}/remapping_failure_occurred", f"{rows}/remapped_row_failure"), *YES_NO),
        remap_banks=_banks(answers),
        retired_sbe=_retired(answers, "single_bit_ecc", "multiple_single_bit_retirement"),
        retired_dbe=_retired(answers, "double_bit_ecc", "double_bit_retirement"),
        retired_dbe_7d=_retired_lately(answers, taken_at),
        retired_pending=_retirement_pending(answers),
        repair_pending=_repair_pending(answers),
        memory_unrepairable=flag(say("ecc_errors/unrepairable_memory"), *YES_NO),
        recovery_action=_recovery(answers),
        driver_loaded_s=_seconds(say("inforom_time_data/time_run", "inforom_bbx_time_data/time_run")),
        pcie_replays=count(say("pci/replays_since_reset", "pci/replay_counter"), "PCIe replays"),
        pcie_replay_rollovers=count(
            say("pci/replay_number_rollovers", "pci/replay_rollover_counter"), "PCIe replay rollovers"
        ),
        throttle_thermal_ns=_throttle(answers, (_SW_THERMAL, _HW_THERMAL)),
        throttle_sw_thermal_ns=_throttle(answers, (_SW_THERMAL,)),
        throttle_hw_thermal_ns=_throttle(answers, (_HW_THERMAL,)),
        throttle_power_brake_ns=_throttle(answers, _BRAKE_COUNTERS),
    )


_Part = tuple[tuple[str, ...], ...]
"""Spellings of one number: each is a set of labels whose counts are added up."""

_SRAM_CORRECTED: _Part = (("sram_correctable",),)
_SRAM_UNCORRECTED: _Part = (
    ("sram_uncorrectable",),
    ("sram_uncorrectable_parity", "sram_uncorrectable_sec_ded"),
    ("sram_uncorrectable_parity", "sram_uncorrectable_secded"),
)
_CORRECTED: tuple[str, tuple[_Part, ...]] = ("single_bit", (_SRAM_CORRECTED, (("dram_correctable",),)))
_UNCORRECTED: tuple[str, tuple[_Part, ...]] = ("double_bit", (_SRAM_UNCORRECTED, (("dram_uncorrectable",),)))


def _ecc(answers: Answers, life: str, kind: tuple[str, tuple[_Part, ...]]) -> Reading[int]:
    """Until Turing's drivers one total of single or double bits; since then SRAM and DRAM, both needed for a total."""
    bits, parts = kind
    old = f"ecc_errors/{life}/{bits}/total"
    if answers.has(old):
        return count(answers.say(old), "ECC errors")
    return total(_ecc_part(answers, life, part) for part in parts)


def _ecc_part(answers: Answers, life: str, part: _Part) -> Reading[int]:
    section = f"ecc_errors/{life}"
    spelling = next((s for s in part if all(answers.has(f"{section}/{label}") for label in s)), part[0])
    return total(count(answers.say(f"{section}/{label}"), "ECC errors") for label in spelling)


def _banks(answers: Answers) -> Reading[tuple[int, int, int, int, int]]:
    levels = ("max", "high", "partial", "low", "none")
    rows = "remapped_rows"
    said = (
        answers.say(
            f"{rows}/bank_remap_availability_histogram/{level}",
            f"{rows}/row_remapper_histogram/row_remapper_histogram_{level}",
        )
        for level in levels
    )
    counts = [count(text, "remap banks", unit="bank(s)", bounds=bounds.BANKS) for text in said]
    absent = next((item for item in counts if isinstance(item, Absent)), None)
    if absent is not None:
        return absent
    first, second, third, fourth, fifth = (item for item in counts if not isinstance(item, Absent))
    return first, second, third, fourth, fifth


def _retired(answers: Answers, text_label: str, xml_label: str) -> Reading[int]:
    return count(
        answers.say(f"retired_pages/{text_label}", f"retired_pages/{xml_label}/retired_count"), "retired pages"
    )


_LATELY = timedelta(days=7)


def _retired_lately(answers: Answers, taken_at: Reading[str]) -> Reading[int]:
    """Pages retired for double-bit errors in the week before; only the XML tells when each was."""
    known = _retired(answers, "double_bit_ecc", "double_bit_retirement")
    if isinstance(known, Absent) or known == 0:
        return known
    pages = "retired_pages/double_bit_retirement/retired_pagelist/retired_page/retired_page_timestamp"
    stamps = [_time(text) for text in answers.stated.get(pages, ())]
    now = None if isinstance(taken_at, Absent) else _time(taken_at)
    if now is None or len(stamps) != known:
        return NOT_STATED
    days = [now - stamp for stamp in stamps if stamp is not None]
    return sum(age <= _LATELY for age in days) if len(days) == known else NOT_STATED


def _time(said: str) -> datetime | None:
    """A time of nvidia-smi, which names no zone: two of one document are of one clock."""
    try:
        return datetime.strptime(" ".join(said.split()), "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def _seconds(said: Reading[str]) -> Reading[int]:
    if isinstance(said, Absent):
        return said
    match = re.fullmatch(r"(\d{1,12}) ?s(?:ec|econds)?", said.strip())
    return within(int(match[1]), bounds.COUNTER, "time with a driver") if match else unclear(said)


def _retirement_pending(answers: Answers) -> Reading[bool]:
    """Newer XML states it twice, under the old name and the new one: one yes is enough."""
    labels = ("pending_page_blacklist", "pending_retirement", "pending_blacklist", "pending")
    paths = [f"retired_pages/{label}" for label in labels]
    stated = [flag(answers.say(path), *YES_NO) for path in paths if answers.has(path)]
    if True in stated:
        return True
    unread = (one for one in stated if isinstance(one, Absent))
    return next(unread, False if stated else flag(answers.say("retired_pages/pending"), *YES_NO))


def _repair_pending(answers: Answers) -> Reading[bool]:
    """A channel or a TPC: one yes is enough, and one no is not."""
    channel, tpc = (flag(answers.say(f"ecc_errors/{part}_repair_pending"), *YES_NO) for part in ("channel", "tpc"))
    if channel is True or tpc is True:
        return True
    return channel if isinstance(channel, Absent) else tpc


_RECOVERY = {
    "none": 0,
    "reset": 1,
    "gpu reset": 1,
    "reboot": 2,
    "node reboot": 2,
    "drain p2p": 3,
    "drain and reset": 4,
    "recover imex domain": 5,
    "imex": 5,
    "bus reset": 6,
    "system reboot": 7,
}
"""nvidia-smi's words for NVML field 230."""


def _recovery(answers: Answers) -> Reading[int]:
    """The recovery action; drivers before 560 answer two questions about a reset instead."""
    said = answers.say("gpu_recovery_action")
    if not isinstance(said, Absent):
        action = _RECOVERY.get(said.strip().lower())
        return unclear(said) if action is None else action
    if said != NOT_STATED:
        return said
    required = flag(answers.say("gpu_reset_status/reset_required"), *YES_NO)
    drain = flag(answers.say("gpu_reset_status/drain_and_reset_recommended"), *YES_NO)
    if required is True or drain is True:
        return _RECOVERY["reset" if required is True else "drain and reset"]
    if isinstance(required, Absent):
        return required
    return drain if drain == NOT_STATED else 0


_SW_THERMAL = ("sw_thermal_slowdown", "clocks_event_reasons_counters_sw_therm_slowdown")
_HW_THERMAL = ("hw_thermal_slowdown", "clocks_event_reasons_counters_hw_therm_slowdown")
_BRAKE_COUNTERS = (("hw_power_braking", "clocks_event_reasons_counters_hw_power_brake"),)


def _throttle(answers: Answers, labels: Iterable[tuple[str, str]]) -> Reading[int]:
    """Microseconds since driver load, as nanoseconds."""
    section = "clocks_event_reasons_counters"
    micros = total(
        count(answers.say(f"{section}/{text}", f"{section}/{xml}"), "throttle time", unit="us") for text, xml in labels
    )
    return micros if isinstance(micros, Absent) else micros * 1_000


# --- what the card is doing now


def sample(answers: Answers) -> Sample:
    """What the card was doing when the document was written, at time 0."""
    say = answers.say
    return Sample(
        at_s=0.0,
        temperature_c=_degrees(say("temperature/gpu_current_temp", "temperature/gpu_temp")),
        memory_temperature_c=_degrees(say("temperature/memory_current_temp", "temperature/memory_temp")),
        power_w=_power(answers),
        sm_clock_mhz=_clock(say("clocks/sm", "clocks/sm_clock")),
        memory_clock_mhz=_clock(say("clocks/memory", "clocks/mem_clock")),
        fan_percent=quantity(say("fan_speed"), "%", bounds.FAN_PERCENT, "fan speed"),
        event_reasons=_event_reasons(answers),
        pcie_gen=_generation(say(f"{_TEXT_LINK}/pcie_generation/current", f"{_XML_LINK}/pcie_gen/current_link_gen")),
        pcie_width=_width(say(f"{_TEXT_LINK}/link_width/current", f"{_XML_LINK}/link_widths/current_link_width")),
    )


def _clock(said: Reading[str]) -> Reading[float]:
    return quantity(said, "MHz", bounds.MEGAHERTZ, "clock")


def _power(answers: Answers) -> Reading[float]:
    """Instantaneous where it is stated, else whatever the driver calls the draw."""
    labels = ("instantaneous_power_draw", "instant_power_draw", "power_draw", "average_power_draw")
    said = answers.say(*(f"{section}/{label}" for label in labels for section in _POWER))
    return quantity(said, "W", bounds.WATTS, "power draw")


_REASONS = (
    (EventReason.IDLE, "idle", "gpu_idle"),
    (EventReason.APPLICATIONS_CLOCKS, "applications_clocks_setting", "applications_clocks_setting"),
    (EventReason.SW_POWER_CAP, "sw_power_cap", "sw_power_cap"),
    (EventReason.HW_SLOWDOWN, "hw_slowdown", "hw_slowdown"),
    (EventReason.HW_THERMAL, "hw_slowdown/hw_thermal_slowdown", "hw_thermal_slowdown"),
    (EventReason.HW_POWER_BRAKE, "hw_slowdown/hw_power_brake_slowdown", "hw_power_brake_slowdown"),
    (EventReason.SYNC_BOOST, "sync_boost", "sync_boost"),
    (EventReason.SW_THERMAL, "sw_thermal_slowdown", "sw_thermal_slowdown"),
    (EventReason.DISPLAY_CLOCKS, "display_clock_setting", "display_clocks_setting"),
)
"""Bit, label in text, label in XML after its prefix."""
_BEHIND = (EventReason.HW_THERMAL, EventReason.HW_POWER_BRAKE)
_NEEDED = (EventReason.HW_SLOWDOWN, EventReason.SW_THERMAL, *_BEHIND)
_SLOWDOWNS = EventReason.SW_THERMAL | EventReason.HW_THERMAL | EventReason.HW_POWER_BRAKE


def _event_reasons(answers: Answers) -> Reading[int]:
    """The mask of active reasons, where every reason that says something of the card can be read, or one is active.

    A reason that the card does not have is not active; one that is not stated may be. Without the two reasons behind a
    hardware slowdown it is enough that there is none.
    """
    said = {bit: flag(answers.say(*_reason_paths(text, xml)), *ACTIVE) for bit, text, xml in _REASONS}
    mask = EventReason(0)
    for bit, active in said.items():
        mask |= bit if active is True else EventReason(0)
    if mask & _SLOWDOWNS:
        return int(mask)
    needed = [bit for bit in _NEEDED if bit not in _BEHIND or said[EventReason.HW_SLOWDOWN] is not False]
    unread = [(bit, one) for bit in needed if isinstance(one := said[bit], Absent)]
    missing = next(((bit, one) for bit, one in unread if one.absent is not Absence.NOT_SUPPORTED), None)
    if missing is not None and any(isinstance(active, bool) for active in said.values()):
        bit, one = missing
        return Absent(one.absent, f"{str(bit.name).lower().replace('_', ' ')}: {one.detail}")
    return unread[0][1] if len(unread) == len(needed) else int(mask)


def _reason_paths(text: str, xml: str) -> tuple[str, ...]:
    new, old = "clocks_event_reasons", "clocks_throttle_reasons"  # renamed in driver 535
    return (f"{new}/{text}", f"{old}/{text}", f"{new}/clocks_event_reason_{xml}", f"{old}/clocks_throttle_reason_{xml}")


def processes(answers: Answers) -> Reading[tuple[Process, ...]]:
    """The processes on the card; one without a readable memory keeps the reason."""
    stated = answers.stated
    pids = stated.get("processes/process_id") or stated.get("processes/process_info/pid") or []
    memory = (
        stated.get("processes/process_id/used_gpu_memory") or stated.get("processes/process_info/used_memory") or []
    )
    if len(memory) > len(pids):
        return Absent(Absence.UNKNOWN, f"the file names {len(pids)} processes and the memory of {len(memory)}")
    if not pids:
        return _no_processes(answers)
    if len(memory) < len(pids):
        memory = [""] * len(pids)
    pairs = [(count(pid, "process id"), _process_mib(mib)) for pid, mib in zip(pids, memory, strict=True)]
    absent = next((pid for pid, _ in pairs if isinstance(pid, Absent)), None)
    return absent or tuple(Process(pid, mib) for pid, mib in pairs if not isinstance(pid, Absent))


def _process_mib(text: str) -> Reading[int]:
    return absence(text) or count(text, "memory of a process", unit="MiB", bounds=bounds.PROCESS_MIB)


def _no_processes(answers: Answers) -> Reading[tuple[Process, ...]]:
    """`None`, or an empty XML element, is an empty list; anything else is the reason why there is no list."""
    texts = answers.stated.get("processes")
    if texts is None:
        return NOT_STATED
    if all(text.lower() in ("", "none") for text in texts):
        return ()
    return absence(texts[0]) or unclear(texts[0])
