"""What NVML would answer for a virtual card: identity, settings, counters and one row of telemetry."""

import math
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from gpucert.catalogue.model import Model
from gpucert.device.simulated import joints, lottery
from gpucert.device.simulated.faults import (
    FANS,
    Absurd,
    Contained,
    EccCorrected,
    Inforom,
    MigOn,
    NvlinkDown,
    OtherProcess,
    PcieReplays,
    PendingMode,
    RemapExhausted,
    RetiredPages,
    RowRemap,
    SramThreshold,
)
from gpucert.device.simulated.scenario import MIG_CHIPS, PLAUSIBLE, Scenario
from gpucert.device.simulated.silicon import Silicon, limits
from gpucert.device.simulated.state import State
from gpucert.reading import Absence, Absent, Reading, plausible
from gpucert.record import Counters, EventReason, Identity, Process, Sample, Settings

DRIVER = "580.95.05"
"""The branch that still serves every architecture of the catalogue."""
BUS_ID = "00000000:65:00.0"
NOT_SUPPORTED = Absent(Absence.NOT_SUPPORTED)
LOST = Absent(Absence.LOST, "GPU is lost")

POWER_NOISE = 0.003
_BANKS = 192
"""Of a model whose number of remappable banks nobody has seen: what most cards with GDDR6 answer."""
_HOTSPOT_FROM = (8, 0)
"""Which cards answer the hot spot nobody has published yet; that those before Ampere do not is a guess."""
_SRAM_ERRORS = 5
"""Of a card whose SRAM threshold flag is set: more than four in one bank set it (NVIDIA, RMA policy)."""
_REASONS = EventReason(0x1FF)
"""What all cards of today can tell: board limit and reliability are in the header alone."""
_QUIET_ERRORS = (
    "pcie_correctable",
    "pcie_nonfatal",
    "pcie_fatal",
    "pcie_unsupported_requests",
    "pcie_receiver_errors",
    "pcie_naks_sent",
    "pcie_bad_tlps",
    "pcie_bad_dllps",
    "pcie_lcrc_errors",
    "pcie_lane_errors",
)
"""Counters of Advanced Error Reporting that no fault of a virtual card moves."""
_OTHER_PID = 4711
_VBIOS = {
    "GP100": "86.00",
    "GP102": "86.02",
    "GP104": "86.04",
    "GP106": "86.06",
    "GV100": "88.00",
    "TU102": "90.02",
    "TU104": "90.04",
    "GA100": "92.00",
    "GA102": "94.02",
    "GA104": "94.04",
    "GA106": "94.06",
    "GA107": "94.07",
    "AD102": "95.02",
    "AD103": "95.03",
    "AD104": "95.04",
    "GH100": "96.00",
}
"""First two fields of the VBIOS version by chip, as real captures show them."""


def is_geforce(model: Model) -> bool:
    """GeForce boards have no serial, board part number or page retirement."""
    return "GeForce" in model.key


def generation(model: Model) -> tuple[int, int]:
    """The compute capability as numbers, which orders architectures."""
    major, _, minor = model.compute_capability.partition(".")
    return int(major), int(minor)


def identity(scenario: Scenario, silicon: Silicon) -> Identity:
    """Who the card says it is: names and ids of the scenario's model, silicon facts of the chip that is there."""
    model, chip = scenario.answers_as, silicon.model
    pci = model.pci[0]
    text = _label(model.key, scenario.seed, "uuid")
    told = Identity(
        name=model.names[0],
        uuid=f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}",
        pdi=f"0x{_label(model.key, scenario.seed, 'pdi')[:16]}",
        serial=_professional(model, _serial(model.key, scenario.seed)),
        board_part_number=_professional(model, "900-2VIRT-0000-000"),
        vbios=f"{_VBIOS.get(model.chip, '00.00')}.00.00.01",
        inforom_image=_professional(model, "VIRT.0200.00.01", "G001.0000.00.01"),
        bus_id=BUS_ID,
        pci_device=pci.device,
        pci_subvendor=pci.subvendor or "10de",
        pci_subdevice=pci.subdevice or "0000",
        compute_capability=chip.compute_capability,
        cuda_cores=chip.cuda_cores * silicon.sm_count // chip.sm_count,
        memory_mib=silicon.memory_mib,
        bus_bits=silicon.bus_bits,
        max_sm_clock_mhz=round(silicon.max_clock_mhz),
        max_memory_clock_mhz=round(silicon.memory_clock_mhz),
        driver=DRIVER,
        gsp_firmware=DRIVER if generation(model) >= (7, 5) else NOT_SUPPORTED,
        window_mib=silicon.window_mib,
    )
    return msgspec.structs.replace(told, **scenario.identity)


def _label(key: str, seed: int, purpose: str) -> str:
    return lottery.digits(key, seed, purpose)


def _serial(key: str, seed: int) -> str:
    """Thirteen digits, as on the sticker of a data-centre board."""
    return f"1{int(_label(key, seed, 'serial')[:12], 16) % 10**12:012d}"


def _professional(model: Model, value: str, otherwise: Reading[str] = NOT_SUPPORTED) -> Reading[str]:
    return otherwise if is_geforce(model) else value


def settings(scenario: Scenario, silicon: Silicon, state: State) -> Settings:
    """Modes and limits."""
    model, power, heat = scenario.answers_as, scenario.answers_as.power, scenario.answers_as.thermal
    pending = {fault.mode for fault in scenario.of(PendingMode)}
    ecc, mig = scenario.ecc_on, scenario.first(MigOn) is not None
    has_mig = model.chip in MIG_CHIPS
    newer, top = generation(model) >= (8, 9), limits(model)
    return Settings(
        ecc=_offered(ecc),
        ecc_pending=_offered(None if ecc is None else ecc != ("ecc" in pending)),
        mig=mig if has_mig else NOT_SUPPORTED,
        mig_pending=mig != ("mig" in pending) if has_mig else NOT_SUPPORTED,
        persistence=True,
        virtualization="none",
        confidential_compute=False,
        compute_mode="default",
        display_active=False,
        fabric=NOT_SUPPORTED,
        power_source="ac",
        power_limit_w=silicon.limit_w,
        power_requested_w=silicon.limit_w,
        power_default_w=power.default_w,
        power_min_w=_offered(power.min_w),
        power_max_w=_offered(power.max_w),
        slowdown_c=_offered(heat.slowdown_c),
        shutdown_c=_offered(heat.shutdown_c),
        max_operating_c=_offered(heat.max_operating_c),
        memory_max_c=_offered(heat.memory_max_c),
        margin_c=_margin(model, silicon, state),
        tlimit_shutdown_c=_if(newer, top.max_operating_c - top.shutdown_c),
        tlimit_slowdown_c=_if(newer, top.max_operating_c - top.slowdown_c),
        tlimit_memory_c=_if(newer and _is_hbm(silicon.model), 0.0),
        tlimit_max_c=_if(newer, 0.0),
        fans=FANS if heat.cooling == "own_fan" else 0,
        pcie_gen_max=silicon.model.links.pcie_gen,
        pcie_gen_max_slot=silicon.pcie_gen,
        pcie_width_max=silicon.pcie_width,
        event_reasons_supported=int(_REASONS),
        memory_used_mib=sum(one.memory_mib for one in processes(scenario, silicon) if isinstance(one.memory_mib, int)),
        memory_reserved_mib=0,
        utilization_percent=0 if state.reasons & EventReason.IDLE else 100,
    )


Value = TypeVar("Value")


def _offered(value: Value | None) -> Reading[Value]:
    return NOT_SUPPORTED if value is None else value


def _margin(model: Model, silicon: Silicon, state: State) -> Reading[float]:
    """Whole degrees to the nearest slowdown; Ada, Hopper and newer have it."""
    if generation(model) < (8, 9):
        return NOT_SUPPORTED
    return float(math.floor(limits(model).max_operating_c - silicon.inlet_at(state.at_s) - state.rise_c))


def counters(scenario: Scenario, state: State) -> Counters:
    """What the card has counted so far."""
    model, memory = scenario.answers_as, scenario.answers_as.memory
    ecc = bool(scenario.ecc_on)
    sram = ecc and generation(model) >= (8, 0)
    corrected, uncorrected = _if(ecc, corrected_errors(scenario, state)), _if(ecc, state.uncorrected)
    remaps = tuple(scenario.of(RowRemap))
    remapping, retiring = bool(memory.row_remapping), bool(memory.page_retirement)
    pages = tuple(scenario.of(RetiredPages))
    contained = any(fault.at_s <= state.at_s for fault in scenario.of(Contained))
    worn = scenario.first(SramThreshold) is not None
    sram_errors = _SRAM_ERRORS if worn else 0
    return Counters(
        ecc_corrected_volatile=corrected,
        ecc_uncorrected_volatile=uncorrected,
        ecc_corrected_aggregate=corrected,
        ecc_uncorrected_aggregate=_if(ecc, state.uncorrected + sram_errors),
        sram_uncorrected_aggregate=_if(sram, sram_errors),
        sram_threshold_exceeded=_if(sram, worn),
        remapped_correctable=_if(remapping, 0),
        remapped_uncorrectable=_if(remapping, sum(fault.uncorrectable for fault in remaps)),
        remap_pending=_if(remapping, contained or any(fault.pending for fault in remaps)),
        remap_failure=_if(remapping, any(fault.failure for fault in remaps)),
        remap_banks=_banks(scenario, (memory.remap_banks or _BANKS) if remapping else None),
        retired_sbe=_if(retiring, sum(fault.sbe for fault in pages)),
        retired_dbe=_if(retiring, sum(fault.dbe for fault in pages)),
        retired_dbe_7d=_if(retiring, 0),
        retired_pending=_if(retiring, any(fault.pending for fault in pages)),
        repair_pending=_if(generation(model) >= (8, 0), False),
        memory_unrepairable=_if(generation(model) >= (9, 0), False),
        inforom_valid=scenario.first(Inforom) is None,
        recovery_action=_if(generation(model) >= (8, 0), 0),
        driver_loaded_s=Absent(Absence.DRIVER_TOO_OLD, "drivers before 615 do not tell it"),
        pcie_replays=_replays(scenario, state),
        pcie_replay_rollovers=0,
        pcie_recoveries=0,
        pcie_naks_received=_if(generation(model) >= (9, 0), _replayed(scenario, state)),
        **dict.fromkeys(_QUIET_ERRORS, _if(generation(model) >= (9, 0), 0)),
        nvlinks_up=_nvlinks_up(scenario, model),
        nvlink_errors=_if(model.links.nvlinks > 0, 0),
        throttle_thermal_ns=round(state.thermal_s * 1e9),
        throttle_sw_thermal_ns=round(state.thermal_s * 1e9) - round(state.hw_thermal_s * 1e9),
        throttle_hw_thermal_ns=round(state.hw_thermal_s * 1e9),
        throttle_power_brake_ns=round(state.brake_s * 1e9),
        energy_mj=_if(generation(model) >= (7, 0), round(state.energy_j * 1000)),
    )


def _if(offered: bool, value: Value) -> Reading[Value]:
    return value if offered else NOT_SUPPORTED


def corrected_errors(scenario: Scenario, state: State) -> int:
    """Those that the medium met, and those of a steady rate."""
    return state.corrected + sum(int(fault.per_minute * state.at_s / 60) for fault in scenario.of(EccCorrected))


def _replays(scenario: Scenario, state: State) -> int:
    """Healthy cards start anywhere below a hundred and a half: only the difference tells."""
    start = int(_label(scenario.model, scenario.seed, "replays")[:4], 16) % 150
    return start + _replayed(scenario, state)


def _replayed(scenario: Scenario, state: State) -> int:
    """Packets that the other end refused since the run began, each of which was sent again."""
    return state.replays + sum(int(fault.per_minute * state.at_s / 60) for fault in scenario.of(PcieReplays))


def _banks(scenario: Scenario, banks: int | None) -> Reading[tuple[int, int, int, int, int]]:
    if banks is None:
        return NOT_SUPPORTED
    used = (1, 2) if scenario.first(RemapExhausted) else (0, 0)
    remapped = min(banks, sum(fault.uncorrectable for fault in scenario.of(RowRemap)))
    return (banks - sum(used) - remapped, remapped, 0, *used)


def _nvlinks_up(scenario: Scenario, model: Model) -> Reading[int]:
    """All links of a module are wired; those of a card need a bridge, which only a scenario that breaks one has."""
    down = {fault.link for fault in scenario.of(NvlinkDown)}
    if not model.links.nvlinks:
        return NOT_SUPPORTED
    wired = down or "SXM" in model.form_factor or "module" in model.form_factor
    return model.links.nvlinks - len(down) if wired else 0


def processes(scenario: Scenario, silicon: Silicon) -> tuple[Process, ...]:
    """Foreign processes; what they hold of the window stands for as large a share of the card."""
    held = (round(fault.mib * silicon.window_scale) for fault in scenario.of(OtherProcess))
    return tuple(Process(_OTHER_PID + index, mib) for index, mib in enumerate(held))


def sample(scenario: Scenario, silicon: Silicon, state: State, at_s: float) -> Sample:
    """One row of telemetry: whole degrees without dither, watts of the last tick with a little noise."""
    if state.lost:
        return lost_sample(at_s)
    model = silicon.model
    core = silicon.inlet_at(state.at_s) + state.rise_c
    watts = state.power_w * (1 + POWER_NOISE * lottery.noise(silicon.noise_seed, state.ticks))
    row = Sample(
        at_s=at_s,
        temperature_c=float(round(core)),
        memory_temperature_c=float(round(core + state.memory_rise_c)) if _is_hbm(model) else NOT_SUPPORTED,
        hotspot_c=_if(
            generation(model) >= _HOTSPOT_FROM, float(round(core + silicon.hotspot_c * watts / silicon.limit_w))
        ),
        power_w=round(watts, 2),
        sm_clock_mhz=state.sm_clock_mhz,
        memory_clock_mhz=state.memory_clock_mhz,
        fan_percent=float(round(state.fan_percent)) if model.thermal.cooling == "own_fan" else NOT_SUPPORTED,
        event_reasons=state.reasons,
        pcie_gen=silicon.pcie_gen if state.link_busy or not is_geforce(model) else 1,
        pcie_width=lanes(scenario, silicon, state),
    )
    absurd = scenario.of(Absurd)
    return msgspec.structs.replace(row, **_absurd(absurd)) if absurd else row


def lanes(scenario: Scenario, silicon: Silicon, state: State) -> int:
    """Lanes of the PCIe link in use: half of them where a joint is open, because a link trains in powers of two."""
    halved = bool(state.joints) and "link" in joints.open_effects(scenario, state.joints)
    return max(1, silicon.pcie_width // 2) if halved else silicon.pcie_width


def _is_hbm(model: Model) -> bool:
    """Only HBM answers a memory temperature through NVML."""
    return model.memory.type.startswith("HBM")


def _absurd(faults: Iterable[Absurd]) -> dict[str, Reading[float]]:
    return {fault.reading: plausible(fault.value, *PLAUSIBLE[fault.reading], fault.reading) for fault in faults}


def lost_sample(at_s: float) -> Sample:
    """A row of a card that is off the bus."""
    return msgspec.structs.replace(_LOST_SAMPLE, at_s=at_s)


Answer = TypeVar("Answer", bound=msgspec.Struct)


def lost(answer: Answer) -> Answer:
    """The same answer with every reading lost; what is no reading stays."""
    readings = {name: LOST for name in answer.__struct_fields__ if name not in ("at_s", "window_mib")}
    return msgspec.structs.replace(answer, **readings)


_LOST_SAMPLE = lost(Sample(at_s=0.0))
