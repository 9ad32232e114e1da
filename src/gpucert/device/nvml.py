"""A real card, read through NVML: the only file that imports pynvml.

Every call goes through `ask`, which turns failures into absent readings and never lets an untyped value out. Names,
units and traps of the calls: nvml.h of CUDA 13.5 and nvidia-ml-py 13.615. Nothing here changes a card.
"""

import ctypes
import os
from collections.abc import Callable, Container
from functools import partial
from threading import Thread
from types import ModuleType
from typing import TypeVar

from gpucert.capture import NvLink
from gpucert.catalogue import xid
from gpucert.device import bounds, bus_id
from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.device.nvml_answers import (
    CORRUPTED_INFOROM,
    UnexpectedAnswerError,
    absence,
    anything,
    bounded,
    done,
    fields,
    flag,
    histogram,
    is_no_such_gpu,
    length,
    member,
    numbers,
    pci,
    real,
    then,
    whole,
    word,
)
from gpucert.reading import NOT_ASKED, Absence, Absent, Reading
from gpucert.record import Counters, Event, Identity, Process, Sample, Settings

T = TypeVar("T")

_SM, _MEMORY = 1, 2  # nvmlClockType_t
_SHUTDOWN, _SLOWDOWN, _MAX_OPERATING = 0, 1, 3  # nvmlTemperatureThresholds_t
_CORRECTED, _UNCORRECTED = 0, 1  # nvmlMemoryErrorType_t
_VOLATILE, _AGGREGATE = 0, 1  # nvmlEccCounterType_t
_MULTIPLE_SBE, _DBE = 0, 1  # nvmlPageRetirementCause_t
_LINK_ERRORS = range(5)  # nvmlNvLinkErrorCounter_t: replay, recovery, CRC flit, CRC data, ECC data
_XID_EVENT = 8  # nvmlEventTypeXidCriticalError
_TIMEOUT = 10  # nvmlReturn_t of a wait in which nothing happened
_VIRTUALIZATION = {0: "none", 1: "pass-through", 2: "vgpu", 3: "host-vgpu", 4: "host-vsga"}

_MEMORY_TEMPERATURE, _POWER_INSTANT, _RECOVERY_ACTION = 82, 186, 230  # nvmlFieldValue_t ids
_SW_THERMAL_NS, _HW_THERMAL_NS, _POWER_BRAKE_NS = 269, 270, 271
_MIB = 2**20
_MAX_EVENTS = 256
"""Xids taken at one poll: a storm must not hold up the monitor."""


# --- the door to pynvml


def ask(call: str, convert: Callable[[object], T], *arguments: object) -> Reading[T]:
    """Call one function of pynvml by name; every way to get no value is an absent reading with its reason."""
    binding = _binding()
    function = getattr(binding, call, None)
    if function is None:
        return Absent(Absence.DRIVER_TOO_OLD, f"the installed nvidia-ml-py has no {call}")
    try:
        return convert(function(*arguments))
    except binding.NVMLError as error:
        return absence(error.value, call, str(error))
    except (UnexpectedAnswerError, UnicodeDecodeError) as error:
        return Absent(Absence.UNKNOWN, f"{call} answered {error}")


def _binding() -> ModuleType:
    import pynvml

    assert isinstance(pynvml, ModuleType)
    return pynvml


def _first(*attempts: Callable[[], Reading[T]]) -> Reading[T]:
    """The first value; without one, the first reason that is not merely the age of driver or binding."""
    reasons: list[Absent] = []
    for attempt in attempts:
        reading = attempt()
        if not isinstance(reading, Absent):
            return reading
        if reading.absent in (Absence.LOST, Absence.RESET_REQUIRED):
            return reading
        reasons.append(reading)
    telling = (reason for reason in reasons if reason.absent is not Absence.DRIVER_TOO_OLD)
    return next(telling, reasons[0])


_START_FAILURES = {
    9: "the NVIDIA kernel module is not loaded; `sudo modprobe nvidia`, or restart after installing the driver",
    12: "no NVIDIA driver is installed (libnvidia-ml.so.1 not found): install one",
    18: "the NVIDIA driver was updated while it was running; restart the station",
    4: "this user may not reach the NVIDIA driver; check the permissions of /dev/nvidia* or of the container",
}


def _start() -> None:
    binding = _binding()
    try:
        binding.nvmlInit()
    except binding.NVMLError as error:
        reason = _START_FAILURES.get(error.value, f"NVML could not be started: {error} (code {error.value})")
        raise NoDriverError(reason) from error


def _stop() -> None:
    ask("nvmlShutdown", done)


# --- finding cards


def survey(counted: Callable[[int], None], told: Callable[[int, Identity], None]) -> None:
    """Tell how many cards the driver counts, then index and identity of each as it answers. Raises NoDriverError.

    A card that the driver counts but cannot reach is told with every reading absent. Each card is asked in a thread of
    its own (NVML allows that), so that one that hangs, or takes seconds to wake, holds up no other.
    """
    _start()
    try:
        cards = _count()
        counted(cards)
        threads = [Thread(target=_introduce_to, args=(told, index), daemon=True) for index in range(cards)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        _stop()


def _introduce_to(told: Callable[[int, Identity], None], index: int) -> None:
    told(index, NvmlGpu(_by_index(index)).identity())


def list_gpus() -> tuple[Identity, ...]:
    """What `survey` tells, in the driver's order. It may hang with the driver: `apart.list_gpus` does not."""
    found: dict[int, Identity] = {}
    survey(lambda _cards: None, found.__setitem__)
    return tuple(found[index] for index in sorted(found))


def attach(which: str, *, ours: Callable[[], Container[int]] | None = None, watch: bool = True) -> "NvmlGpu":
    """Open a card by index, UUID or bus id. `ours` gives the process ids that are not foreign, by default only our own.

    A card that the driver knows but cannot reach is opened all the same: its readings say lost. With `watch`, Xids from
    this moment on are told by `events`. Raises NoDriverError, and NoSuchGpuError with the cards that there are.
    """
    _start()
    try:
        handle = _find(which.strip())
        if handle is None:
            raise NoSuchGpuError(f"no GPU {which!r}; this station has {_inventory()}")
    except (NoDriverError, NoSuchGpuError):
        _stop()
        raise
    return NvmlGpu(handle, ours=ours, watch=watch, stop=_stop)


def _count() -> int:
    count = ask("nvmlDeviceGetCount", whole)
    if isinstance(count, Absent):
        raise NoDriverError(f"the driver does not say how many GPUs there are: {count}")
    return count


def _inventory() -> str:
    cards = (NvmlGpu(_by_index(index)).identity() for index in range(_count()))
    return "; ".join(f"{index}: {_introduce(card)}" for index, card in enumerate(cards)) or "none"


def _introduce(card: Identity) -> str:
    if isinstance(card.name, Absent):
        return f"does not answer, {card.name}"
    return f"{card.name}, {card.uuid}, {card.bus_id}"


def _find(which: str) -> object | None:
    """A handle, the reason why a known card gives none, or None when there is no such card."""
    if which.isascii() and which.isdigit():
        return _by_index(int(which)) if len(which) < 6 and int(which) < _count() else None
    if which.upper().startswith("GPU-"):
        return _lookup("nvmlDeviceGetHandleByUUID", "GPU-" + which[4:].lower())
    spelled = bus_id.normal(which) or bus_id.normal(f"0:{which}")  # lspci leaves the domain out
    return _lookup("nvmlDeviceGetHandleByPciBusId", spelled.upper()) if spelled else None


def _by_index(index: int) -> object:
    handle = _lookup("nvmlDeviceGetHandleByIndex", index)
    return Absent(Absence.UNKNOWN, f"the driver counts GPU {index} but does not know it") if handle is None else handle


def _lookup(call: str, argument: object) -> object | None:
    binding = _binding()
    try:
        return anything(getattr(binding, call)(argument))
    except binding.NVMLError as error:
        return None if is_no_such_gpu(error.value) else absence(error.value, call, str(error))


# --- one card


class NvmlGpu:
    """A real card. `handle` is NVML's, or the absence that every reading then repeats."""

    def __init__(
        self,
        handle: object,
        *,
        ours: Callable[[], Container[int]] | None = None,
        watch: bool = False,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self._handle = handle
        self._ours = ours or (lambda: (os.getpid(),))
        self._stop = stop
        self._at_s = 0.0
        self._events: Reading[object] = self._watch() if watch else NOT_ASKED
        self._told_unwatched = False

    def _ask(self, call: str, convert: Callable[[object], T], *arguments: object) -> Reading[T]:
        if isinstance(self._handle, Absent):
            return self._handle
        return ask(call, convert, self._handle, *arguments)

    def _fields(self, *ids: int) -> dict[int, Reading[float]]:
        """Field values; all of them carry the reason when the call as a whole fails."""
        found = self._ask("nvmlDeviceGetFieldValues", fields, list(ids))
        if isinstance(found, Absent):
            return dict.fromkeys(ids, found)
        silent = Absent(Absence.UNKNOWN, "the driver left this field out")
        return {number: found.get(number, silent) for number in ids}

    # --- identity

    def identity(self) -> Identity:
        """Who the card says it is."""
        place = self._ask("nvmlDeviceGetPciInfo", pci)
        return Identity(
            name=self._ask("nvmlDeviceGetName", word),
            uuid=self._ask("nvmlDeviceGetUUID", word),
            pdi=then(self._ask("nvmlDeviceGetPdi", whole), lambda number: f"0x{number:016x}"),
            serial=self._ask("nvmlDeviceGetSerial", word),
            board_part_number=self._ask("nvmlDeviceGetBoardPartNumber", word),
            vbios=self._ask("nvmlDeviceGetVbiosVersion", word),
            inforom_image=self._ask("nvmlDeviceGetInforomImageVersion", word),
            bus_id=then(place, lambda found: found.bus_id),
            pci_device=then(place, lambda found: found.device),
            pci_subvendor=then(place, lambda found: found.subvendor),
            pci_subdevice=then(place, lambda found: found.subdevice),
            compute_capability=then(
                self._ask("nvmlDeviceGetCudaComputeCapability", numbers(2)), lambda pair: f"{pair[0]}.{pair[1]}"
            ),
            cuda_cores=then(self._ask("nvmlDeviceGetNumGpuCores", whole), bounded(bounds.CUDA_CORES, "CUDA cores")),
            memory_mib=self._memory_mib(),
            bus_bits=then(self._ask("nvmlDeviceGetMemoryBusWidth", whole), bounded(bounds.BUS_BITS, "memory bus")),
            max_sm_clock_mhz=self._max_clock(_SM),
            max_memory_clock_mhz=self._max_clock(_MEMORY),
            driver=ask("nvmlSystemGetDriverVersion", word),
        )

    def _memory_mib(self) -> Reading[int]:
        total = self._ask("nvmlDeviceGetMemoryInfo", member("total"))
        return then(then(total, lambda size: size // _MIB), bounded(bounds.MEMORY_MIB, "total memory"))

    def _max_clock(self, domain: int) -> Reading[int]:
        limits = bounded(bounds.MAX_MEGAHERTZ, "maximum clock")
        return then(self._ask("nvmlDeviceGetMaxClockInfo", whole, domain), limits)

    # --- settings

    def settings(self) -> Settings:
        """Its modes and limits."""
        ecc = self._ask("nvmlDeviceGetEccMode", numbers(2))
        mig = self._ask("nvmlDeviceGetMigMode", numbers(2))
        power = self._ask("nvmlDeviceGetPowerManagementLimitConstraints", numbers(2))
        return Settings(
            ecc=then(ecc, lambda pair: flag(pair[0])),
            ecc_pending=then(ecc, lambda pair: flag(pair[1])),
            mig=then(mig, lambda pair: flag(pair[0])),
            mig_pending=then(mig, lambda pair: flag(pair[1])),
            persistence=then(self._ask("nvmlDeviceGetPersistenceMode", whole), flag),
            virtualization=then(self._ask("nvmlDeviceGetVirtualizationMode", whole), _virtualization),
            power_limit_w=then(self._ask("nvmlDeviceGetEnforcedPowerLimit", whole), _power_limit),
            power_default_w=then(self._ask("nvmlDeviceGetPowerManagementDefaultLimit", whole), _power_limit),
            power_min_w=then(then(power, lambda pair: pair[0]), _power_limit),
            power_max_w=then(then(power, lambda pair: pair[1]), _power_limit),
            slowdown_c=self._threshold(_SLOWDOWN),
            shutdown_c=self._threshold(_SHUTDOWN),
            max_operating_c=self._threshold(_MAX_OPERATING),
            margin_c=then(
                self._ask("nvmlDeviceGetMarginTemperature", whole), real(bounds.MARGIN_CELSIUS, "temperature margin")
            ),
            fans=then(self._ask("nvmlDeviceGetNumFans", whole), bounded(bounds.FANS, "number of fans")),
            pcie_gen_max=self._pcie("nvmlDeviceGetGpuMaxPcieLinkGeneration", bounds.PCIE_GENERATION),
            pcie_width_max=self._pcie("nvmlDeviceGetMaxPcieLinkWidth", bounds.PCIE_WIDTH),
        )

    def _threshold(self, which: int) -> Reading[float]:
        """Ada and newer answer a margin instead, and this with not_supported."""
        return then(self._ask("nvmlDeviceGetTemperatureThreshold", whole, which), real(bounds.CELSIUS, "threshold"))

    def _pcie(self, call: str, limits: bounds.Bounds) -> Reading[int]:
        return then(self._ask(call, whole), bounded(limits, call))

    # --- counters

    def counters(self) -> Counters:
        """Its counters now."""
        rows = self._ask("nvmlDeviceGetRemappedRows", numbers(4))
        parity, secded, exceeded = self._sram()
        values = self._fields(_RECOVERY_ACTION, _SW_THERMAL_NS, _HW_THERMAL_NS, _POWER_BRAKE_NS)
        up, errors = self._nvlinks()
        return Counters(
            ecc_corrected_volatile=self._ecc(_CORRECTED, _VOLATILE),
            ecc_uncorrected_volatile=self._ecc(_UNCORRECTED, _VOLATILE),
            ecc_corrected_aggregate=self._ecc(_CORRECTED, _AGGREGATE),
            ecc_uncorrected_aggregate=self._ecc(_UNCORRECTED, _AGGREGATE),
            sram_uncorrected_aggregate=_sum(parity, secded),
            sram_threshold_exceeded=then(exceeded, flag),
            remapped_correctable=then(then(rows, lambda found: found[0]), _counter),
            remapped_uncorrectable=then(then(rows, lambda found: found[1]), _counter),
            remap_pending=then(rows, lambda found: flag(found[2])),
            remap_failure=then(rows, lambda found: flag(found[3])),
            remap_banks=self._ask("nvmlDeviceGetRowRemapperHistogram", histogram),
            retired_sbe=self._retired(_MULTIPLE_SBE),
            retired_dbe=self._retired(_DBE),
            retired_pending=then(self._ask("nvmlDeviceGetRetiredPagesPendingStatus", whole), flag),
            repair_pending=then(self._ask("nvmlDeviceGetRepairStatus", numbers(2)), lambda pair: flag(max(pair))),
            memory_unrepairable=self._unrepairable(),
            inforom_valid=self._inforom_valid(),
            recovery_action=then(then(values[_RECOVERY_ACTION], int), _counter),
            pcie_replays=then(self._ask("nvmlDeviceGetPcieReplayCounter", whole), _counter),
            nvlinks_up=up,
            nvlink_errors=errors,
            throttle_thermal_ns=_sum(then(values[_SW_THERMAL_NS], int), then(values[_HW_THERMAL_NS], int)),
            throttle_power_brake_ns=then(then(values[_POWER_BRAKE_NS], int), _counter),
            energy_mj=then(self._ask("nvmlDeviceGetTotalEnergyConsumption", whole), _counter),
        )

    def _ecc(self, kind: int, life: int) -> Reading[int]:
        return then(self._ask("nvmlDeviceGetTotalEccErrors", whole, kind, life), _counter)

    def _sram(self) -> tuple[Reading[int], Reading[int], Reading[int]]:
        """Aggregate parity and SEC-DED errors, and the threshold flag.

        The structure goes by reference and carries its own version, because a bare one would be passed by value.
        """
        status = _structure("c_nvmlEccSramErrorStatus_v1_t")
        answered = (
            status
            if isinstance(status, Absent)
            else self._ask("nvmlDeviceGetSramEccErrorStatus", done, ctypes.byref(status))
        )
        if isinstance(answered, Absent):
            return answered, answered, answered
        names = ("aggregateUncParity", "aggregateUncSecDed", "bThresholdExceeded")
        parity, secded, exceeded = (member(name)(status) for name in names)
        return parity, secded, exceeded

    def _retired(self, cause: int) -> Reading[int]:
        return self._ask("nvmlDeviceGetRetiredPages_v2", length, cause)

    def _unrepairable(self) -> Reading[bool]:
        """The flag, read past nvidia-ml-py, whose structure is twice as long as that of nvml.h.

        Both words are read, because which one the driver writes depends on which layout it follows.
        """
        version = 0x1000008
        words = (ctypes.c_uint * 2)(version, 0)
        reading = self._ask_library("nvmlDeviceGetUnrepairableMemoryFlag_v1", ctypes.byref(words))
        return then(reading, lambda _: flag(int(words[1] if words[0] == version else words[0])))

    def _ask_library(self, call: str, *arguments: object) -> Reading[bool]:
        if isinstance(self._handle, Absent):
            return self._handle
        function = getattr(_binding().nvmlLib, call, None)
        if function is None:
            return Absent(Absence.DRIVER_TOO_OLD, f"{call}: not in this driver")
        code = whole(function(self._handle, *arguments))
        return absence(code, call, f"code {code}") if code else True

    def _inforom_valid(self) -> Reading[bool]:
        """Whether the checksums of the InfoROM hold; the one call whose failure with code 14 is an answer."""
        if isinstance(self._handle, Absent):
            return self._handle
        binding = _binding()
        try:
            binding.nvmlDeviceValidateInforom(self._handle)
        except binding.NVMLError as error:
            corrupted = error.value == CORRUPTED_INFOROM
            return False if corrupted else absence(error.value, "nvmlDeviceValidateInforom", str(error))
        return True

    def _nvlinks(self) -> tuple[Reading[int], Reading[int]]:
        """Links that are up, and their errors since reset. A card without NVLink answers not_supported."""
        up = []
        for link in range(int(_binding().NVML_NVLINK_MAX_LINKS)):
            state = self._ask("nvmlDeviceGetNvLinkState", whole, link)
            if isinstance(state, Absent):
                if link == 0 or state.absent in (Absence.LOST, Absence.RESET_REQUIRED):
                    return state, state
                break
            if state:
                up.append(link)
        return len(up), self._nvlink_errors(up)

    def nvlinks(self) -> tuple[NvLink, ...]:
        """Link by link. A card without NVLink has none; a link whose state nobody can read is left out."""
        found = []
        for link in range(int(_binding().NVML_NVLINK_MAX_LINKS)):
            state = self._ask("nvmlDeviceGetNvLinkState", whole, link)
            if isinstance(state, Absent):
                break
            found.append(NvLink(link=link, up=bool(state), errors=self._nvlink_errors([link])))
        return tuple(found)

    def _nvlink_errors(self, links: list[int]) -> Reading[int]:
        readings = [
            self._ask("nvmlDeviceGetNvLinkErrorCounter", whole, link, kind) for link in links for kind in _LINK_ERRORS
        ]
        offered = [r for r in readings if not (isinstance(r, Absent) and r.absent is Absence.NOT_SUPPORTED)]
        return _sum(*offered) if offered or not links else readings[0]

    # --- processes

    def processes(self) -> Reading[tuple[Process, ...]]:
        """Other processes on the card. In a container the list may be empty although others use the card."""
        found: dict[int, Process] = {}
        for kind in ("Compute", "Graphics"):
            call = f"nvmlDeviceGet{kind}RunningProcesses"
            listed = _first(partial(self._ask, f"{call}_v3", _processes), partial(self._ask, f"{call}_v2", _processes))
            if isinstance(listed, Absent):
                if found and listed.absent is Absence.NOT_SUPPORTED:
                    continue
                return listed
            found |= {process.pid: process for process in listed}
        ours = self._ours()
        return tuple(process for pid, process in sorted(found.items()) if pid not in ours)

    # --- telemetry

    def sample(self, at_s: float) -> Sample:
        """One row of telemetry, stamped with the caller's run clock."""
        self._at_s = at_s
        values = self._fields(_MEMORY_TEMPERATURE, _POWER_INSTANT)
        return Sample(
            at_s=at_s,
            temperature_c=self._temperature(),
            memory_temperature_c=then(values[_MEMORY_TEMPERATURE], real(bounds.CELSIUS, "memory temperature")),
            hotspot_c=Absent(Absence.NOT_SUPPORTED, "NVML shows no hotspot sensor"),
            power_w=self._power(values[_POWER_INSTANT]),
            sm_clock_mhz=self._clock(_SM),
            memory_clock_mhz=self._clock(_MEMORY),
            fan_percent=then(self._ask("nvmlDeviceGetFanSpeed", whole), real(bounds.FAN_PERCENT, "fan speed")),
            event_reasons=self._event_reasons(),
            pcie_gen=self._pcie("nvmlDeviceGetCurrPcieLinkGeneration", bounds.PCIE_GENERATION),
            pcie_width=self._pcie("nvmlDeviceGetCurrPcieLinkWidth", bounds.PCIE_WIDTH),
        )

    def _temperature(self) -> Reading[float]:
        """The new call first: the old one goes with CUDA 14."""
        sensor = 0
        degrees = _first(
            partial(self._ask, "nvmlDeviceGetTemperatureV", whole, sensor),
            partial(self._ask, "nvmlDeviceGetTemperature", whole, sensor),
        )
        return then(degrees, real(bounds.CELSIUS, "temperature"))

    def _power(self, instant: Reading[float]) -> Reading[float]:
        """Instantaneous power, because the other call averages over a second on newer boards."""
        milliwatts = _first(lambda: instant, partial(self._ask, "nvmlDeviceGetPowerUsage", whole))
        return then(milliwatts, real(bounds.WATTS, "power", per=1000))

    def _clock(self, domain: int) -> Reading[float]:
        return then(self._ask("nvmlDeviceGetClockInfo", whole, domain), real(bounds.MEGAHERTZ, "clock"))

    def _event_reasons(self) -> Reading[int]:
        """Renamed in driver 535."""
        mask = _first(
            partial(self._ask, "nvmlDeviceGetCurrentClocksEventReasons", whole),
            partial(self._ask, "nvmlDeviceGetCurrentClocksThrottleReasons", whole),
        )
        return then(mask, bounded(bounds.MASK, "clock event reasons"))

    # --- events

    def _watch(self) -> Reading[object]:
        """Ask for Xids. Only those after this moment are told; those before stand in the kernel log."""
        events = ask("nvmlEventSetCreate", anything)
        if isinstance(events, Absent):
            return events
        registered = self._ask("nvmlDeviceRegisterEvents", done, _XID_EVENT, events)
        if isinstance(registered, Absent):
            ask("nvmlEventSetFree", done, events)
            return registered
        return events

    def events(self) -> tuple[Event, ...]:
        """Xids since this was last called, stamped with the clock of the last sample.

        Where the driver does not tell Xids, one note says so once: silence would look like health.
        """
        if isinstance(self._events, Absent):
            return self._unwatched(self._events)
        told: list[Event] = []
        while len(told) < _MAX_EVENTS:
            event = _next_event(self._events)
            if event is None:
                break
            if isinstance(event, Absent):
                return (*told, *self._unwatched(event))
            kind, code = event
            if kind & _XID_EVENT:
                told.append(Event(self._at_s, "xid", str(code), xid.describe(code).meaning))
        return tuple(told)

    def _unwatched(self, reason: Absent) -> tuple[Event, ...]:
        if self._told_unwatched:
            return ()
        self._told_unwatched = True
        return (Event(self._at_s, "note", "xids_not_watched", f"Xids cannot be watched: {reason}"),)

    def close(self) -> None:
        """Let go of the driver. A second call does nothing."""
        if not isinstance(self._events, Absent):
            ask("nvmlEventSetFree", done, self._events)
        self._events = NOT_ASKED
        self._told_unwatched = True
        if self._stop is not None:
            self._stop()
            self._stop = None


def _structure(name: str) -> Reading[ctypes.Structure]:
    kind = getattr(_binding(), name, None)
    if kind is None:
        return Absent(Absence.DRIVER_TOO_OLD, f"the installed nvidia-ml-py has no {name}")
    made = kind()
    assert isinstance(made, ctypes.Structure)
    return made


def _next_event(events: object) -> Reading[tuple[int, int]] | None:
    """Kind and code of an event that waits, None where none does; an absence where nobody can know."""
    binding = _binding()
    try:
        value = binding.nvmlEventSetWait_v2(events, 0)
        return member("eventType")(value), member("eventData")(value)
    except binding.NVMLError as error:
        timeout = error.value == _TIMEOUT
        return None if timeout else absence(error.value, "nvmlEventSetWait_v2", str(error))
    except UnexpectedAnswerError as error:
        return Absent(Absence.UNKNOWN, f"nvmlEventSetWait_v2 answered {error}")


def _processes(value: object) -> tuple[Process, ...]:
    if not isinstance(value, list):
        raise UnexpectedAnswerError("no list of processes")
    return tuple(Process(member("pid")(item), _process_mib(getattr(item, "usedGpuMemory", None))) for item in value)


def _process_mib(used: object) -> Reading[int]:
    if not isinstance(used, int):
        return Absent(Absence.NOT_SUPPORTED, "the driver does not say how much memory the process uses")
    return bounded(bounds.PROCESS_MIB, "memory of a process")(used // _MIB)


def _virtualization(mode: int) -> Reading[str]:
    return _VIRTUALIZATION.get(mode, f"mode {mode}")


_power_limit = real(bounds.POWER_LIMIT_WATTS, "power limit", per=1000)
_counter = bounded(bounds.COUNTER, "counter")


def _sum(*parts: Reading[int]) -> Reading[int]:
    """The sum of readings, or the first absence among them: a part that is not known is not zero."""
    total = 0
    for part in parts:
        if isinstance(part, Absent):
            return part
        total += part
    return _counter(total)
