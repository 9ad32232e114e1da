"""The virtual card: one GPU with physics, which answers as NVML would and whose only way through time is `advance`."""

import math

from msgspec import Struct

from gpucert.device.simulated import answers, clocks, fans, joints, lottery, thermal
from gpucert.device.simulated.faults import (
    Contained,
    EccUncorrected,
    EdrReplay,
    Fault,
    Gsp,
    Lost,
    PowerBrake,
    ThermalIntermittent,
    Xid,
)
from gpucert.device.simulated.scenario import Scenario
from gpucert.device.simulated.silicon import Silicon, silicon
from gpucert.device.simulated.state import State, at_rest, decode, encode
from gpucert.device.simulated.wire import Advance, Load
from gpucert.reading import Reading
from gpucert.record import THERMAL_REASONS, Counters, Event, EventReason, Identity, Process, Sample, Settings

TICK_S = 0.1
"""Telemetry has ten rows a second of virtual time."""
TICKS_PER_S = 10

_XID_UNCORRECTABLE, _XID_LOST, _XID_CONTAINED, _XID_GSP = 48, 79, 94, 119
_RETRY_S = 1e-6
"""What one repeated transfer of the memory bus costs: an engineering choice, for retraining is nowhere published."""
_RETRIES_AT_MOST = 0.5
"""Share of the time that retries can take."""
_RATE_NOISE = 0.003
_RATE_BLOCK_TICKS = 50
"""Repeatability of a rate: up to 0.3 %, drawn anew every five seconds, because a card's speed wanders slowly."""
_MEMORY_TAU_S = 15.0
_MEMORY_RISE_C = {"idle": 2.0, "pcie": 2.0, "arithmetic": 4.0, "memory": 9.0}
"""Of HBM over the die, by load; the workload decides it (16 against 7 °C on two V100)."""
_PADS_SHARE = {"idle": 0.05, "pcie": 0.05, "arithmetic": 0.25, "memory": 1.0}
"""Of what bad pads add under a load of the memory: its power decides."""
_MEMORY_SHARE_STEP, _LEAST_MEMORY_SHARE = 0.01, 0.3
"""Of its clock, by which memory that is too hot is slowed down each tick, and at most."""


_SW_THERMAL = int(EventReason.SW_THERMAL)
_THERMAL, _HW_THERMAL, _BRAKE = int(THERMAL_REASONS), int(EventReason.HW_THERMAL), int(EventReason.HW_POWER_BRAKE)
"""As plain numbers, because flags of an enumeration are slow and each stretch of time asks for these."""

_TIMED = (EccUncorrected, Contained, Lost, Gsp, Xid)


class _Timed(Struct, frozen=True):
    """A fault that waits for its second."""

    at_s: float
    fault: Fault


class VirtualCard:
    """A `Gpu` (device/gpu.py) that can also be moved through time and frozen."""

    def __init__(self, scenario: Scenario, state: bytes | None = None) -> None:
        self._scenario = scenario
        self._silicon = silicon(scenario)
        self._timed = _timed(scenario)
        self._brake_from_s = min((fault.at_s for fault in scenario.of(PowerBrake)), default=math.inf)
        self._retries = scenario.of(EdrReplay)
        self._tick_decay = thermal.decay(TICK_S)
        self._block = -1, 1.0
        self._state = decode(state) if state is not None else self._fresh()
        self._network = self._silicon.network_at(self._state.fan_percent)

    def _fresh(self) -> State:
        fresh = at_rest(self._silicon, int(EventReason.IDLE), fans.at_rest(self._silicon, self._scenario.fan_mode))
        fresh.memory_rise_c = _MEMORY_RISE_C["idle"]
        fresh.joints = joints.at_rest(self._scenario)
        self._state = fresh
        self._fire_due()
        return fresh

    @property
    def memory_bytes(self) -> int:
        """Bytes that the worker must share with the medium: the simulated window."""
        return self._scenario.window_bytes

    def now_s(self) -> float:
        """The card's clock: seconds since the run began."""
        return self._state.at_s

    def identity(self) -> Identity:
        """Who the card says it is."""
        return self._unless_lost(answers.identity(self._scenario, self._silicon))

    def settings(self) -> Settings:
        """Its modes and limits."""
        return self._unless_lost(answers.settings(self._scenario, self._silicon, self._state))

    def counters(self) -> Counters:
        """Its counters now."""
        return self._unless_lost(answers.counters(self._scenario, self._state))

    def processes(self) -> Reading[tuple[Process, ...]]:
        """Other processes on the card."""
        return answers.LOST if self._state.lost else answers.processes(self._scenario, self._silicon)

    def sample(self, at_s: float) -> Sample:
        """One row of telemetry now, stamped with the caller's clock."""
        return answers.sample(self._scenario, self._silicon, self._state, at_s)

    def drain(self) -> tuple[Sample, ...]:
        """The rows of telemetry since the last drain, ten for each virtual second."""
        rows, self._state.samples = tuple(self._state.samples), []
        return rows

    def events(self) -> tuple[Event, ...]:
        """Events since this was last called."""
        happened, self._state.events = tuple(self._state.events), []
        return happened

    def freeze(self) -> bytes:
        """Everything needed to go on from here, as JSON; memory is not part of it."""
        return encode(self._state)

    def close(self) -> None:
        """Nothing to let go of."""

    def advance(self, seconds: float, load: Load) -> Advance:
        """Let at most `seconds` pass under a load; work that the load carries ends it earlier.

        This alone moves clock, heat, counters, telemetry and timed faults. Raises ValueError for a time that is
        negative or no number.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a virtual card cannot advance by {seconds} s")
        now = self._state
        began, end = now.at_s, now.at_s + seconds
        self._count(load)
        left = 1.0
        while now.at_s < end and left > 0:
            left = self._pass(end, load, left)
        has_work = load.flop > 0 or load.bytes_read > 0 or load.bytes_written > 0
        return self._advanced(now.at_s - began, 1 - left if has_work else 1.0)

    def _advanced(self, seconds: float, done: float) -> Advance:
        now = self._state
        return Advance(
            at_s=now.at_s,
            seconds=seconds,
            done=0.0 if now.lost else done,
            sm_clock_mhz=now.sm_clock_mhz,
            cycles=now.cycles,
            memory_clock_mhz=now.memory_clock_mhz,
            temperature_c=self._core_c,
            memory_temperature_c=self._memory_c,
            uncorrected=now.uncorrected,
            open_lines=joints.open_lines(self._scenario, now.joints) if now.joints else (),
            lost=now.lost,
        )

    def _count(self, load: Load) -> None:
        """Take over the errors that ECC met in the medium."""
        self._state.corrected += load.corrected
        for _ in range(load.uncorrected):
            self._uncorrectable()

    def _pass(self, end: float, load: Load, left: float) -> float:
        """One stretch under constant conditions, to the next tick, timed fault or end of work; the share still left."""
        now = self._state
        tick_at = (now.ticks + 1) / TICKS_PER_S
        stop = min(end, tick_at, self._next_fault_s())
        whole = 0.0
        if not now.lost:
            watts = self._govern(load)
            whole = self._seconds_of(load)
            if 0 < left * whole <= stop - now.at_s:
                stop, left = now.at_s + left * whole, 0.0
            elif whole > 0:
                left -= (stop - now.at_s) / whole
            self._heat(watts, stop - now.at_s, load)
            now.cycles += (stop - now.at_s) * self._real_clock_hz
        now.at_s = stop
        if stop >= tick_at:
            self._tick()
        self._fire_due()
        return left

    def _govern(self, load: Load) -> float:
        """Set clocks and reasons for this stretch; the true watts."""
        now = self._state
        chosen = clocks.govern(
            self._silicon,
            load,
            self._core_c,
            now.thermal_cap_mhz,
            brake=now.at_s >= self._brake_from_s,
        )
        now.sm_clock_mhz, now.reasons = chosen.sm_clock_mhz, chosen.reasons
        if now.memory_share < 1:
            now.reasons |= _SW_THERMAL
        now.link_busy = load.kind != "idle"
        return chosen.watts

    def _seconds_of(self, load: Load) -> float:
        """How long the whole work of a load takes at the clocks of now; 0 without work."""
        card, now = self._silicon, self._state
        jitter = self._jitter(now.ticks // _RATE_BLOCK_TICKS)
        match load.kind:
            case "arithmetic" if load.flop > 0:
                return load.flop / (card.flop_per_clock[load.rate] * self._real_clock_hz * jitter)
            case "pcie":
                lanes = answers.lanes(self._scenario, card, self._state) / card.pcie_width
                return (load.bytes_read + load.bytes_written) / (card.pcie_b_s * lanes * jitter)
            case "memory":
                return _memory_seconds(card, load) / (jitter * now.memory_share * (1 - self._retrying()))
            case _:
                return 0.0

    @property
    def _real_clock_hz(self) -> float:
        """What the multiprocessors run at, whatever is reported."""
        return self._state.sm_clock_mhz * 1e6 * self._silicon.clock_share

    def _jitter(self, block: int) -> float:
        """The factor of a block of time; kept, because many short loads lie in one."""
        if block != self._block[0]:
            self._block = block, 1 + _RATE_NOISE * lottery.noise(~self._silicon.noise_seed, block)
        return self._block[1]

    @property
    def _core_c(self) -> float:
        return self._silicon.inlet_at(self._state.at_s) + self._state.rise_c

    @property
    def _memory_c(self) -> float:
        return self._core_c + self._state.memory_rise_c

    def _retrying(self) -> float:
        """Share of the time that the memory bus spends on repeating transfers."""
        if not self._retries:
            return 0.0
        active = (one for one in self._retries if one.above_c is None or self._memory_c >= one.above_c)
        return min(_RETRIES_AT_MOST, _RETRY_S * sum(one.per_second for one in active))

    def _heat(self, watts: float, seconds: float, load: Load) -> None:
        """Warm the card by constant power, and count what time counts."""
        now = self._state
        remaining = self._tick_decay if seconds == TICK_S else thermal.decay(seconds)
        now.rises = thermal.warmed(now.rises, watts, self._network, remaining)
        hot = _MEMORY_RISE_C[load.kind] + self._silicon.pads_c * _PADS_SHARE[load.kind] * now.memory_share
        now.memory_rise_c += (hot - now.memory_rise_c) * -math.expm1(-seconds / _MEMORY_TAU_S)
        now.tick_energy_j += watts * seconds
        now.energy_j += watts * seconds
        if now.reasons & _THERMAL:
            now.thermal_s += seconds
        if now.reasons & _HW_THERMAL:
            now.hw_thermal_s += seconds
        if now.reasons & _BRAKE:
            now.brake_s += seconds

    def _tick(self) -> None:
        """End a tenth of a second: a row of telemetry, then fan and thermal ceiling answer to it."""
        now = self._state
        now.ticks += 1
        now.at_s = now.ticks / TICKS_PER_S
        if not now.lost:
            core = self._core_c
            now.power_w = now.tick_energy_j / TICK_S * self._silicon.draw.power_gain
            now.tick_energy_j = 0.0
            if self._silicon.has_fan:
                now.fan_percent = fans.followed(now.fan_percent, core, self._scenario.fan_mode, TICK_S)
                self._network = self._silicon.network_at(now.fan_percent)
            now.thermal_cap_mhz = clocks.next_cap_mhz(self._silicon, now.thermal_cap_mhz, core)
            now.memory_share = _next_memory_share(now.memory_share, self._memory_c - self._silicon.limits.memory_c)
            now.memory_clock_mhz = float(round(self._silicon.memory_clock_mhz * now.memory_share))
            if core >= self._silicon.limits.shutdown_c:
                self._lose("thermal shutdown")
            if now.joints:
                self._bend(core)
        now.samples.append(answers.sample(self._scenario, self._silicon, now, now.at_s))

    def _bend(self, core_c: float) -> None:
        """Joints follow the heat of the die, and what hangs on one that is open follows at once."""
        now = self._state
        suspects = self._scenario.of(ThermalIntermittent)
        now.joints = [joints.warmed(fault, joint, core_c) for fault, joint in zip(suspects, now.joints, strict=True)]
        effects = joints.open_effects(self._scenario, now.joints)
        if "link" in effects:
            now.replays += round(joints.REPLAYS_PER_S * TICK_S)
        if "lost" in effects:
            self._lose("GPU has fallen off the bus")

    def _next_fault_s(self) -> float:
        fired = self._state.fired
        return self._timed[fired].at_s if fired < len(self._timed) else math.inf

    def _fire_due(self) -> None:
        while self._next_fault_s() <= self._state.at_s:
            fault = self._timed[self._state.fired].fault
            self._state.fired += 1
            if not self._state.lost:
                self._fire(fault)

    def _fire(self, fault: Fault) -> None:
        match fault:
            case EccUncorrected():
                self._uncorrectable()
            case Contained():
                self._state.uncorrected += 1
                self._log(_XID_CONTAINED, "pid=4242, name=python, Contained: SM (0x1). RST: No, D-RST: No")
            case Lost():
                self._lose("GPU has fallen off the bus")
            case Gsp():
                self._log(_XID_GSP, "Timeout waiting for RPC from GSP")
            case Xid():
                self._log(fault.code, "as the scenario says")
            case _:
                raise AssertionError(f"{fault.kind} is not a timed fault")

    def _uncorrectable(self) -> None:
        self._state.uncorrected += 1
        self._log(
            _XID_UNCORRECTABLE, "an uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer"
        )

    def _lose(self, why: str) -> None:
        self._state.lost = True
        self._log(_XID_LOST, why)

    def _log(self, code: int, text: str) -> None:
        line = f"NVRM: Xid (PCI:0000:65:00): {code}, {text}"
        self._state.events.append(Event(self._state.at_s, "xid", str(code), line))

    def _unless_lost(self, answer: answers.Answer) -> answers.Answer:
        return answers.lost(answer) if self._state.lost else answer


def _timed(scenario: Scenario) -> tuple[_Timed, ...]:
    """The faults that happen at a moment, in their order."""
    waiting = (_Timed(f.at_s, f) for f in scenario.faults if isinstance(f, _TIMED))
    return tuple(sorted(waiting, key=lambda timed: timed.at_s))


def _next_memory_share(share: float, excess_c: float) -> float:
    """One tick later: down in proportion to the excess, up when it is cooler, as the clock of the multiprocessors."""
    if excess_c > 0:
        return max(_LEAST_MEMORY_SHARE, share - _MEMORY_SHARE_STEP * math.ceil(excess_c))
    return min(1.0, share + _MEMORY_SHARE_STEP) if excess_c < -1 else share


def _memory_seconds(card: Silicon, load: Load) -> float:
    if load.bytes_read and load.bytes_written:
        return (load.bytes_read + load.bytes_written) / card.copy_b_s
    return load.bytes_read / card.read_b_s + load.bytes_written / card.write_b_s
