"""What one virtual card truly is: rates, watts, heat and limits, worked out from its scenario and the catalogue."""

import math

from msgspec import Struct, structs

from gpucert.catalogue.model import PCIE_LANE_GB_S, Memory, Model, Peak
from gpucert.device.simulated import thermal
from gpucert.device.simulated.faults import (
    FANS,
    Airflow,
    EffectiveClock,
    Fan,
    HotInlet,
    Hotspot,
    Interface,
    MemoryPads,
    PcieGen,
    PcieWidth,
    PowerLimit,
    SensorGain,
    SlowCompute,
    SlowMemory,
)
from gpucert.device.simulated.lottery import Draw, draw
from gpucert.device.simulated.scenario import MIB, Scenario

FP64_OF_FP32 = 1 / 32
INT32_OF_FP32 = 0.5
SFU_OF_FP32 = 0.125
"""Rates that the catalogue does not hold, as shares of FP32; the CUDA guide's table of throughput has them per SM."""

DEMAND = {
    "fp64": 1.0,
    "fp32": 1.0,
    "tf32": 1.08,
    "fp16": 1.08,
    "bf16": 1.08,
    "int8": 1.08,
    "tensor": 1.08,
    "int32": 0.8,
    "sfu": 0.6,
    "memory": 0.72,
    "pcie": 0.3,
}
"""Board power that a load would draw at the model's stated clock and 60 °C, over the default limit."""

PCIE_ACHIEVED = 0.82
"""Share of the link's raw rate that large pinned copies reach."""

_DEFAULT_MAX_OPERATING_C = 87.0
HOTSPOT_C = 12.0
"""10 to 15 °C on good cards (thermal_stats.md §1.6)."""
_HBM_MAX_C, _GDDR_MAX_C = 95.0, 105.0
"""Where the model publishes none: Micron's nominal 95 °C, and the 105 °C from which GDDR6X is seen to slow down."""
_DEFAULT_L2_MIB = 4.0
_IDLE_CLOCK_MHZ = 210.0
_IDLE_OF_DEFAULT = 0.12
_TENSOR_TYPES = ("tf32", "fp16", "bf16", "int8")
_UNIT_RATES = {"tensor": (*_TENSOR_TYPES, "tensor")}


class Limits(Struct, frozen=True, kw_only=True):
    """Temperatures at which the card acts: of the die, and of the memory."""

    max_operating_c: float
    memory_c: float
    slowdown_c: float
    shutdown_c: float


class Silicon(Struct, frozen=True, kw_only=True):
    """The truth about one virtual card, whatever it answers."""

    model: Model
    """Of the chip that is really there."""
    draw: Draw
    noise_seed: int
    """What this run's noise is drawn from."""
    sm_count: int
    """Multiprocessors that work."""
    clock_share: float
    """Of the reported clock, at which they really run."""
    flop_per_clock: dict[str, float]
    """FLOP (of INT8, operations) per SM clock of the whole card, by DType or ArithmeticUnit; only what is offered."""
    read_b_s: float
    write_b_s: float
    copy_b_s: float
    pcie_b_s: float
    pcie_gen: int
    pcie_width: int
    network: thermal.Network
    has_fan: bool
    """Of its own."""
    fan_shares: tuple[float, ...]
    """Of the speed that is asked of it, at which each fan turns."""
    pads_c: float
    """By which memory under load is hotter than it should be."""
    hotspot_c: float
    """The hottest part of the die over its sensor, at the power limit."""
    inlet_c: float
    inlet_drift_c_per_min: float
    limits: Limits
    idle_w: float
    limit_w: float
    demand_w: dict[str, float]
    """By DType, ArithmeticUnit, `memory` or `pcie`."""
    rated_clock_mhz: float
    """The SM clock that the demands are stated for."""
    max_clock_mhz: float
    idle_clock_mhz: float
    memory_clock_mhz: float
    bus_bits: int
    """Of the memory channels that work."""
    memory_mib: int
    """What the driver answers for the whole card; the window stands for all of it."""
    window_mib: int
    """As the scenario gives it, for a card with all its channels."""
    present: float
    """Share of the memory channels that work."""

    @property
    def window_scale(self) -> float:
        """Bytes of the model's memory for one byte of the simulated window."""
        return self.memory_mib / (self.window_mib * self.present)

    def inlet_at(self, at_s: float) -> float:
        """The air at a moment of the run, °C."""
        return self.inlet_c + self.inlet_drift_c_per_min * at_s / 60

    def network_at(self, fan_percent: float) -> thermal.Network:
        """How heat leaves the die while the card's own fan is asked for this speed; without one always alike."""
        if not self.has_fan:
            return self.network
        speeds = [fan_percent * share for share in self.fan_shares]
        return thermal.at_speeds(self.network, speeds, self.draw.fan_exponent)

    @property
    def l2_bytes(self) -> int:
        """As the compute driver answers it."""
        return int((self.model.l2_mib or _DEFAULT_L2_MIB) * MIB)


def silicon(scenario: Scenario) -> Silicon:
    """Work out the card of a scenario."""
    model, answered = scenario.silicon, scenario.answers_as
    chance = _metered(scenario, draw(model.key, scenario.seed))
    slow_memory = math.prod(fault.factor for fault in scenario.of(SlowMemory))
    bandwidth = model.memory.peak_gb_s * 1e9 * chance.bandwidth * slow_memory * scenario.present
    width = min([model.links.pcie_width, *(fault.width for fault in scenario.of(PcieWidth))])
    gen = min([model.links.pcie_gen, *(fault.gen for fault in scenario.of(PcieGen))])
    return Silicon(
        model=model,
        draw=chance,
        noise_seed=scenario.noise_seed,
        sm_count=scenario.sm_count,
        clock_share=math.prod(fault.factor for fault in scenario.of(EffectiveClock)),
        flop_per_clock=_flop_per_clock(scenario, model, chance.compute),
        read_b_s=bandwidth * model.achieved.memory_read,
        write_b_s=bandwidth * model.achieved.memory_write,
        copy_b_s=bandwidth * model.achieved.memory_copy,
        pcie_b_s=PCIE_LANE_GB_S.get(gen, PCIE_LANE_GB_S[6]) * 1e9 * width * PCIE_ACHIEVED,
        pcie_gen=gen,
        pcie_width=width,
        network=_network(scenario, model, chance),
        has_fan=model.thermal.cooling == "own_fan",
        fan_shares=_fan_shares(scenario),
        pads_c=sum(fault.extra_c for fault in scenario.of(MemoryPads)),
        hotspot_c=HOTSPOT_C + sum(fault.extra_c for fault in scenario.of(Hotspot)),
        inlet_c=max([scenario.inlet_c, *(fault.inlet_c for fault in scenario.of(HotInlet))]),
        inlet_drift_c_per_min=scenario.inlet_drift_c_per_min,
        limits=limits(model),
        idle_w=model.power.idle_w or _IDLE_OF_DEFAULT * model.power.default_w,
        limit_w=min([answered.power.default_w, *(fault.watts for fault in scenario.of(PowerLimit))]),
        demand_w={load: share * model.power.default_w for load, share in DEMAND.items()},
        rated_clock_mhz=float(model.peak.clock_mhz),
        max_clock_mhz=max_clock_mhz(model),
        idle_clock_mhz=_IDLE_CLOCK_MHZ,
        memory_clock_mhz=float(round(model.memory.clock_mhz)),
        bus_bits=scenario.channels * model.memory.channel_bits,
        memory_mib=int(driver_mib(answered.memory, ecc=scenario.ecc_on) * scenario.present),
        window_mib=scenario.vram_mib,
        present=scenario.present,
    )


def _metered(scenario: Scenario, chance: Draw) -> Draw:
    """The draw with the gain of a power sensor that somebody changed."""
    gain = math.prod(fault.factor for fault in scenario.of(SensorGain))
    return structs.replace(chance, power_gain=chance.power_gain * gain)


def _fan_shares(scenario: Scenario) -> tuple[float, ...]:
    slow = {fault.index: fault.rpm_fraction for fault in scenario.of(Fan)}
    return tuple(slow.get(index, 1.0) for index in range(FANS))


def max_clock_mhz(model: Model) -> float:
    """The highest SM clock, from NVML where it is known, else the highest that a rate is stated for."""
    return float(model.max_sm_clock_mhz or max(model.peak.clock_mhz, model.peak.tensor_clock_mhz or 0))


def driver_mib(memory: Memory, *, ecc: bool | None) -> int:
    """Total memory as a driver answers it: as it was seen, corrected for what inline ECC takes (one sixteenth)."""
    inline = memory.ecc == "gddr_inline"
    nominal = memory.size_gib * 1024
    if memory.driver_mib and not inline:
        return memory.driver_mib
    seen_with_ecc = "ECC on" in memory.driver_mib_with
    if memory.driver_mib and seen_with_ecc == bool(ecc):
        return memory.driver_mib
    reserve = 12
    return nominal * 15 // 16 - reserve if inline and ecc else nominal - reserve if inline else nominal


def limits(model: Model) -> Limits:
    """Absolute limits, worked out from the margins where a model publishes only those."""
    heat = model.thermal
    top = heat.max_operating_c or heat.tlimit_zero_c
    if top is None:
        top = heat.slowdown_c - 3 if heat.slowdown_c else _DEFAULT_MAX_OPERATING_C
    slowdown = heat.slowdown_c or top - (heat.tlimit_slowdown_c or -2)
    shutdown = heat.shutdown_c or top - (heat.tlimit_shutdown_c or -5)
    memory = heat.memory_max_c or (_HBM_MAX_C if model.memory.type.startswith("HBM") else _GDDR_MAX_C)
    return Limits(memory_c=memory, max_operating_c=top, slowdown_c=slowdown, shutdown_c=max(shutdown, slowdown + 1))


def _network(scenario: Scenario, model: Model, chance: Draw) -> thermal.Network:
    healthy = thermal.network(model.thermal.fast_c_per_w, model.thermal.total_c_per_w)
    fast = math.prod(fault.scale for fault in scenario.of(Interface))
    slow = math.prod(fault.scale for fault in scenario.of(Airflow))
    return thermal.scaled(healthy, fast * chance.fast_resistance, slow * chance.slow_resistance)


def _flop_per_clock(scenario: Scenario, model: Model, chance: float) -> dict[str, float]:
    healthy, present = _healthy_flop_per_clock(model), scenario.sm_count / model.sm_count
    return {rate: value * chance * present * _slowness(scenario, rate) for rate, value in healthy.items()}


def _slowness(scenario: Scenario, rate: str) -> float:
    slowed = (fault for fault in scenario.of(SlowCompute) if _concerns(fault, rate))
    return math.prod(fault.factor for fault in slowed)


def _concerns(fault: SlowCompute, rate: str) -> bool:
    return fault.unit is None or rate in _UNIT_RATES.get(fault.unit, (fault.unit,))


def _healthy_flop_per_clock(model: Model) -> dict[str, float]:
    peak, share = model.peak, model.achieved
    fp32 = _per_clock(peak.fp32, peak.clock_mhz, share.fp32)
    fp64 = _per_clock(peak.fp64, peak.clock_mhz, share.fp64) or fp32 * FP64_OF_FP32
    tensor = {
        name: _per_clock(getattr(peak, name), _tensor_clock(peak), getattr(share, name)) for name in _TENSOR_TYPES
    }
    rates = {
        "fp64": fp64,
        "fp32": fp32,
        **tensor,
        "tensor": tensor["fp16"] if model.has_tensor_cores else 0.0,
        "int32": fp32 * INT32_OF_FP32,
        "sfu": fp32 * SFU_OF_FP32,
    }
    return {rate: value for rate, value in rates.items() if value > 0}


def _tensor_clock(peak: Peak) -> int:
    return peak.tensor_clock_mhz or peak.clock_mhz


def _per_clock(tflop_s: float | None, clock_mhz: int, share: float | None) -> float:
    """FLOP per clock that is sustained; 0 where the model has no such unit."""
    return 0.0 if tflop_s is None else tflop_s * 1e12 / (clock_mhz * 1e6) * (0.8 if share is None else share)
