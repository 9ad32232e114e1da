"""A real card, read through NVML: the only file that imports pynvml.

Every call goes through `ask`, which turns failures into absent readings and never lets an untyped value out. Names,
units and traps of the calls: nvml.h of CUDA 13.5 and nvidia-ml-py 13.615. Nothing here changes a card.
"""

import ctypes
import os
import time
from collections.abc import Callable, Container, Iterable, Mapping
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
    INVALID_ARGUMENT,
    NO_SUCH_GPU,
    TIMEOUT,
    FieldId,
    UnexpectedAnswerError,
    absence,
    anything,
    bounded,
    counted,
    done,
    fields,
    flag,
    histogram,
    mebibytes,
    member,
    named,
    not_offered,
    numbers,
    pci,
    real,
    retired_within,
    retirements,
    then,
    total,
    whole,
    word,
)
from gpucert.reading import NOT_ASKED, Absence, Absent, Reading
from gpucert.record import Counters, Event, Identity, Process, Sample, Settings

T = TypeVar("T")

_SM, _MEMORY = 1, 2  # nvmlClockType_t
_DIE, _HOTTEST = 0, 1  # nvmlTemperatureSensors_t; the second since driver 615
_SHUTDOWN, _SLOWDOWN, _MEMORY_MAX, _MAX_OPERATING = 0, 1, 2, 3  # nvmlTemperatureThresholds_t
_CORRECTED, _UNCORRECTED = 0, 1  # nvmlMemoryErrorType_t
_VOLATILE, _AGGREGATE = 0, 1  # nvmlEccCounterType_t
_MULTIPLE_SBE, _DBE = 0, 1  # nvmlPageRetirementCause_t
_LINK_ERRORS = range(5)  # nvmlNvLinkErrorCounter_t: replay, recovery, CRC flit, CRC data, ECC data
_MAX_LINKS = 36  # NVML_NVLINK_MAX_LINKS of driver 615; older bindings say 18
_THERMAL_POLICY = 1  # nvmlPerfPolicyType_t
_XID_EVENT = 8  # nvmlEventTypeXidCriticalError
_MEMORY_V2 = 0x02000028  # nvmlMemory_v2, a version word: size of the structure, and 2 << 24
_VIRTUALIZATION = {0: "none", 1: "pass-through", 2: "vgpu", 3: "host-vgpu", 4: "host-vsga"}
_COMPUTE_MODES = {0: "default", 1: "exclusive-thread", 2: "prohibited", 3: "exclusive-process"}
_POWER_SOURCES = {0: "ac", 1: "battery", 2: "undersized"}
_NO_FABRIC, _FABRIC_COMPLETED = 0, 3
_FABRIC = {1: "not-started", 2: "in-progress", _FABRIC_COMPLETED: "completed"}
_CONFIDENTIAL = {0: False, 1: True, 2: True}  # 2: for bare-metal use

# Numbers of field values, NVML_FI_DEV_* of nvml.h
_THERMAL_POLICY_NS = 75
_MEMORY_TEMPERATURE, _POWER_INSTANT, _RECOVERY_ACTION = 82, 186, 230
_PCIE_REPLAYS, _PCIE_ROLLOVERS, _PCIE_RECOVERIES = 94, 95, 169
_LINK_SPEED = 164
_PCIE_ERRORS = {
    173: "pcie_correctable",
    174: "pcie_naks_received",
    175: "pcie_receiver_errors",
    176: "pcie_bad_tlps",
    177: "pcie_naks_sent",
    178: "pcie_bad_dllps",
    179: "pcie_nonfatal",
    180: "pcie_fatal",
    181: "pcie_unsupported_requests",
    182: "pcie_lcrc_errors",
    183: "pcie_lane_errors",
}
_TLIMIT_SHUTDOWN, _TLIMIT_SLOWDOWN, _TLIMIT_MEMORY, _TLIMIT_MAX = 193, 194, 195, 196
_LINK5_ERRORS = (208, 211, 215)
"""Packets received with errors, lapses of link integrity, recoveries: NVLink 5 counts these and not the older five."""
_SW_THERMAL_NS, _HW_THERMAL_NS, _POWER_BRAKE_NS = 269, 270, 271
_COUNTED = (
    _RECOVERY_ACTION,
    _SW_THERMAL_NS,
    _HW_THERMAL_NS,
    _POWER_BRAKE_NS,
    _THERMAL_POLICY_NS,
    _PCIE_REPLAYS,
    _PCIE_ROLLOVERS,
    _PCIE_RECOVERIES,
    *_PCIE_ERRORS,
)

# Calls of which older drivers know only the second
_REASONS_NOW = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
_REASONS_SUPPORTED = ("nvmlDeviceGetSupportedClocksEventReasons", "nvmlDeviceGetSupportedClocksThrottleReasons")
_TEMPERATURE = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
_PROCESSES = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"),
)

_MIB = 2**20
_WEEK_S = 7 * 86_400
_MAX_EVENTS = 256
"""Xids taken at one poll: a storm must not hold up the monitor."""


# --- the door to pynvml


def ask(
    call: str, convert: Callable[[object], T], *arguments: object, answers: Mapping[int, T] | None = None
) -> Reading[T]:
    """Call one function of pynvml by name; every way to get no value is an absent reading with its reason.

    `answers` are return codes that are no failures of this call, with what they mean.
    """
    binding = _binding()
    function = getattr(binding, call, None)
    if function is None:
        return Absent(Absence.DRIVER_TOO_OLD, f"the installed nvidia-ml-py has no {call}")
    try:
        value = function(*arguments)
    except binding.NVMLError as error:
        if answers is not None and error.value in answers:
            return answers[error.value]
        return absence(error.value, call, _words(error))
    except Exception as error:  # noqa: BLE001  # a binding of another age raises what it likes; a run must go on
        return _unasked(call, error)
    return _converted(call, convert, value)


def _converted(call: str, convert: Callable[[object], T], value: object) -> Reading[T]:
    try:
        return convert(value)
    except UnexpectedAnswerError as error:
        return Absent(Absence.UNKNOWN, f"{call} answered {error}")


def _words(error: Exception) -> str:
    """What a failure says. The words come from the library, which may lack them or write them in no known letters."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # whatever is wrong with the words, the code is kept
        return f"code {getattr(error, 'value', 'unknown')}"


def _unasked(call: str, error: Exception) -> Absent:
    """The call or its answer did not come through, most likely because the binding is of another age."""
    if type(error).__name__ == "NVMLLibraryMismatchError":
        return Absent(Absence.DRIVER_TOO_OLD, f"{call}: {error}")
    return Absent(Absence.UNKNOWN, f"{call}: the installed nvidia-ml-py fails: {type(error).__name__}: {_words(error)}")


def _binding() -> ModuleType:
    import pynvml

    assert isinstance(pynvml, ModuleType)
    return pynvml


def _structure(name: str) -> Reading[ctypes.Structure]:
    """A structure of the binding with its version word, else all ones, so that what nobody fills in is absurd."""
    kind = getattr(_binding(), name, None)
    if kind is None:
        return Absent(Absence.DRIVER_TOO_OLD, f"the installed nvidia-ml-py has no {name}")
    made = kind()
    assert isinstance(made, ctypes.Structure)
    version = getattr(made, "version", None)
    ctypes.memset(ctypes.byref(made), 0xFF, ctypes.sizeof(made))
    if version is not None:
        made.version = version
    return made


def _first(*attempts: Callable[[], Reading[T]]) -> Reading[T]:
    """The first value; without one, the most telling reason: a failure before a lack, and the driver's age last."""
    reasons: list[Absent] = []
    for attempt in attempts:
        reading = attempt()
        if not isinstance(reading, Absent):
            return reading
        if reading.absent in _FINAL:
            return reading
        reasons.append(reading)
    return min(reasons, key=lambda reason: _LACKS.index(reason.absent) if reason.absent in _LACKS else -1)


_LACKS = (Absence.NOT_SUPPORTED, Absence.DRIVER_TOO_OLD)
_FINAL = (Absence.LOST, Absence.RESET_REQUIRED)
"""Whatever else is asked after one of these, the answer will be the same."""

_START_FAILURES = {
    9: "the NVIDIA kernel module is not loaded; `sudo modprobe nvidia`, or restart after installing the driver",
    12: "no NVIDIA driver is installed (libnvidia-ml.so.1 not found): install one",
    18: "the NVIDIA driver was updated while it was running; restart the station",
    4: "this user may not reach the NVIDIA driver; check the permissions of /dev/nvidia* or of the container",
}


def _start() -> None:
    try:
        binding = _binding()
    except ImportError as error:
        raise NoDriverError(f"nvidia-ml-py cannot be imported ({error}): `pip install nvidia-ml-py`") from error
    try:
        binding.nvmlInit()
    except binding.NVMLError as error:
        words = f"NVML could not be started: {_words(error)} (code {error.value})"
        raise NoDriverError(_START_FAILURES.get(error.value, words)) from error
    except Exception as error:
        raise NoDriverError(f"NVML could not be started: {type(error).__name__}: {_words(error)}") from error


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
    """A handle, the reason why there is none, or None where no such card exists."""
    return ask(call, anything, argument, answers=dict.fromkeys(NO_SUCH_GPU))


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

    def _ask(
        self, call: str, convert: Callable[[object], T], *arguments: object, answers: Mapping[int, T] | None = None
    ) -> Reading[T]:
        if isinstance(self._handle, Absent):
            return self._handle
        return ask(call, convert, self._handle, *arguments, answers=answers)

    def _fill(self, call: str, structure: str, convert: Callable[[object], T]) -> Reading[T]:
        """Have a structure filled. It goes by reference, because the binding would pass a bare one by value."""
        made = _structure(structure)
        if isinstance(made, Absent):
            return self._handle if isinstance(self._handle, Absent) else made
        return self._ask(call, lambda _done: convert(made), ctypes.byref(made))

    def _fields(self, *ids: FieldId) -> dict[FieldId, Reading[float]]:
        """Field values; all of them carry the reason when the call as a whole fails."""
        found = self._ask("nvmlDeviceGetFieldValues", fields, list(ids))
        if isinstance(found, Absent):
            return dict.fromkeys(ids, found)
        silent = Absent(Absence.UNKNOWN, "the driver left this field out")
        return {field: found.get(field, silent) for field in ids}

    def _card_fields(self, ids: Iterable[int]) -> dict[int, Reading[float]]:
        """Field values of the card as a whole, by number."""
        return {number: value for (number, _), value in self._fields(*((one, 0) for one in ids)).items()}

    # --- identity

    def identity(self) -> Identity:
        """Who the card says it is."""
        place = self._ask("nvmlDeviceGetPciInfo", pci)
        return Identity(
            name=self._ask("nvmlDeviceGetName", word),
            uuid=self._ask("nvmlDeviceGetUUID", word),
            pdi=then(self._ask("nvmlDeviceGetPdi", whole), _device_identifier),
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
            gsp_firmware=self._ask("nvmlDeviceGetGspFirmwareVersion", word),
        )

    def _memory_mib(self) -> Reading[int]:
        size = self._ask("nvmlDeviceGetMemoryInfo", member("total"))
        return then(then(size, lambda bytes_: bytes_ // _MIB), bounded(bounds.MEMORY_MIB, "total memory"))

    def _max_clock(self, domain: int) -> Reading[int]:
        limits = bounded(bounds.MAX_MEGAHERTZ, "maximum clock")
        return then(self._ask("nvmlDeviceGetMaxClockInfo", whole, domain), limits)

    # --- settings

    def settings(self) -> Settings:
        """Its modes and limits."""
        ecc = self._ask("nvmlDeviceGetEccMode", numbers(2))
        mig = self._ask("nvmlDeviceGetMigMode", numbers(2))
        power = self._ask("nvmlDeviceGetPowerManagementLimitConstraints", numbers(2))
        margins = self._card_fields((_TLIMIT_SHUTDOWN, _TLIMIT_SLOWDOWN, _TLIMIT_MEMORY, _TLIMIT_MAX))
        memory = self._ask("nvmlDeviceGetMemoryInfo", _memory_in_use, _MEMORY_V2)
        return Settings(
            ecc=then(ecc, lambda pair: flag(pair[0])),
            ecc_pending=then(ecc, lambda pair: flag(pair[1])),
            mig=then(mig, lambda pair: flag(pair[0])),
            mig_pending=then(mig, lambda pair: flag(pair[1])),
            persistence=then(self._ask("nvmlDeviceGetPersistenceMode", whole), flag),
            virtualization=then(self._ask("nvmlDeviceGetVirtualizationMode", whole), named(_VIRTUALIZATION, "mode")),
            confidential_compute=then(ask("nvmlSystemGetConfComputeState", member("ccFeature")), _confidential),
            compute_mode=then(self._ask("nvmlDeviceGetComputeMode", whole), named(_COMPUTE_MODES, "mode")),
            display_active=then(self._ask("nvmlDeviceGetDisplayActive", whole), flag),
            fabric=self._fill("nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v2_t", _fabric),
            power_source=then(self._ask("nvmlDeviceGetPowerSource", whole), named(_POWER_SOURCES, "source")),
            power_limit_w=then(self._ask("nvmlDeviceGetEnforcedPowerLimit", whole), _power_limit),
            power_requested_w=then(self._ask("nvmlDeviceGetPowerManagementLimit", whole), _power_limit),
            power_default_w=then(self._ask("nvmlDeviceGetPowerManagementDefaultLimit", whole), _power_limit),
            power_min_w=then(then(power, lambda pair: pair[0]), _power_limit),
            power_max_w=then(then(power, lambda pair: pair[1]), _power_limit),
            slowdown_c=self._threshold(_SLOWDOWN),
            shutdown_c=self._threshold(_SHUTDOWN),
            max_operating_c=self._threshold(_MAX_OPERATING),
            memory_max_c=self._threshold(_MEMORY_MAX),
            margin_c=then(self._ask("nvmlDeviceGetMarginTemperature", whole), _margin),
            tlimit_shutdown_c=then(margins[_TLIMIT_SHUTDOWN], _margin),
            tlimit_slowdown_c=then(margins[_TLIMIT_SLOWDOWN], _margin),
            tlimit_memory_c=then(margins[_TLIMIT_MEMORY], _margin),
            tlimit_max_c=then(margins[_TLIMIT_MAX], _margin),
            fans=then(self._ask("nvmlDeviceGetNumFans", whole), bounded(bounds.FANS, "number of fans")),
            pcie_gen_max=self._pcie("nvmlDeviceGetGpuMaxPcieLinkGeneration", bounds.PCIE_GENERATION),
            pcie_gen_max_slot=self._pcie("nvmlDeviceGetMaxPcieLinkGeneration", bounds.PCIE_GENERATION),
            pcie_width_max=self._pcie("nvmlDeviceGetMaxPcieLinkWidth", bounds.PCIE_WIDTH),
            event_reasons_supported=self._reasons(*_REASONS_SUPPORTED),
            memory_used_mib=then(memory, lambda pair: pair[0]),
            memory_reserved_mib=then(memory, lambda pair: pair[1]),
            utilization_percent=then(
                self._ask("nvmlDeviceGetUtilizationRates", member("gpu")), bounded(bounds.PERCENT, "utilization")
            ),
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
        sram, exceeded = self._sram()
        values = self._card_fields(_COUNTED)
        software, hardware = self._software_thermal(values), then(values[_HW_THERMAL_NS], counted)
        double, links = self._retired(_DBE), self._link_states()
        return Counters(
            ecc_corrected_volatile=self._ecc(_CORRECTED, _VOLATILE),
            ecc_uncorrected_volatile=self._ecc(_UNCORRECTED, _VOLATILE),
            ecc_corrected_aggregate=self._ecc(_CORRECTED, _AGGREGATE),
            ecc_uncorrected_aggregate=self._ecc(_UNCORRECTED, _AGGREGATE),
            sram_uncorrected_aggregate=sram,
            sram_threshold_exceeded=exceeded,
            remapped_correctable=then(then(rows, lambda found: found[0]), counted),
            remapped_uncorrectable=then(then(rows, lambda found: found[1]), counted),
            remap_pending=then(rows, lambda found: flag(found[2])),
            remap_failure=then(rows, lambda found: flag(found[3])),
            remap_banks=self._ask("nvmlDeviceGetRowRemapperHistogram", histogram),
            retired_sbe=then(self._retired(_MULTIPLE_SBE), len),
            retired_dbe=then(double, len),
            retired_dbe_7d=then(double, retired_within(_WEEK_S, time.time())),
            retired_pending=then(self._ask("nvmlDeviceGetRetiredPagesPendingStatus", whole), flag),
            repair_pending=then(self._ask("nvmlDeviceGetRepairStatus", numbers(2)), _any_flag),
            memory_unrepairable=self._unrepairable(),
            inforom_valid=self._ask("nvmlDeviceValidateInforom", done, answers={CORRUPTED_INFOROM: False}),
            recovery_action=then(values[_RECOVERY_ACTION], counted),
            driver_loaded_s=then(self._ask("nvmlDeviceGetBBXTimeData_v1", member("timeRun")), counted),
            pcie_replays=then(self._pcie_replays(values[_PCIE_REPLAYS]), counted),
            pcie_replay_rollovers=then(values[_PCIE_ROLLOVERS], counted),
            pcie_recoveries=then(values[_PCIE_RECOVERIES], counted),
            **{name: then(values[number], counted) for number, name in _PCIE_ERRORS.items()},
            nvlinks_up=then(links, lambda states: total(*(then(state, counted) for state in states.values()))),
            nvlink_errors=then(links, self._nvlink_errors),
            throttle_thermal_ns=total(software, hardware),
            throttle_sw_thermal_ns=software,
            throttle_hw_thermal_ns=hardware,
            throttle_power_brake_ns=then(values[_POWER_BRAKE_NS], counted),
            energy_mj=then(self._ask("nvmlDeviceGetTotalEnergyConsumption", whole), counted),
        )

    def _ecc(self, kind: int, life: int) -> Reading[int]:
        return then(self._ask("nvmlDeviceGetTotalEccErrors", whole, kind, life), counted)

    def _sram(self) -> tuple[Reading[int], Reading[bool]]:
        """Uncorrectable errors of a lifetime, under parity and under SEC-DED, and the flag that says too many."""
        status = self._fill("nvmlDeviceGetSramEccErrorStatus", "c_nvmlEccSramErrorStatus_v1_t", _sram_status)
        if isinstance(status, Absent):
            return status, status
        parity, secded, exceeded = status
        return total(counted(parity), counted(secded)), flag(exceeded)

    def _retired(self, cause: int) -> Reading[tuple[int, ...]]:
        """Pages taken out of use for good, which cards before Ampere do."""
        return self._ask("nvmlDeviceGetRetiredPages_v2", retirements, cause)

    def _unrepairable(self) -> Reading[bool]:
        """Asked of the library itself, with two words, because binding and header disagree about the structure.

        nvml.h has one word, the flag; nvidia-ml-py 13.615 has a version word before it, and would answer 0 for ever
        where the driver follows the header. The word that changes is the flag.
        """
        version = 0x1000008
        words = (ctypes.c_uint * 2)(version, 0)
        reading = self._ask_library("nvmlDeviceGetUnrepairableMemoryFlag_v1", ctypes.byref(words))
        return then(reading, lambda _: flag(int(words[1] if words[0] == version else words[0])))

    def _ask_library(self, call: str, *arguments: object) -> Reading[bool]:
        if isinstance(self._handle, Absent):
            return self._handle
        function = getattr(getattr(_binding(), "nvmlLib", None), call, None)
        if function is None:
            return Absent(Absence.DRIVER_TOO_OLD, f"{call}: not in this driver")
        try:
            code = whole(function(self._handle, *arguments))
        except Exception as error:  # noqa: BLE001  # as in ask
            return _unasked(call, error)
        return absence(code, call, f"code {code}") if code else True

    def _pcie_replays(self, field: Reading[float]) -> Reading[float]:
        return _first(partial(self._ask, "nvmlDeviceGetPcieReplayCounter", whole), lambda: field)

    def _software_thermal(self, values: dict[int, Reading[float]]) -> Reading[int]:
        """Drivers that lack the field have a policy for the same time (nvml.h at nvmlDeviceGetViolationStatus)."""
        field = then(values[_SW_THERMAL_NS], counted)
        if not not_offered(field):
            return field
        policy = "nvmlDeviceGetViolationStatus"
        return _first(
            lambda: then(values[_THERMAL_POLICY_NS], counted),
            lambda: then(self._ask(policy, member("violationTime"), _THERMAL_POLICY), counted),
            lambda: field,
        )

    # --- NVLinks

    def nvlinks(self) -> tuple[NvLink, ...]:
        """Link by link. A card without NVLink has none; a link whose state nobody can read is left out."""
        states = self._link_states()
        if isinstance(states, Absent):
            return ()
        known = {link: up for link, up in states.items() if not isinstance(up, Absent)}
        speeds = self._fields(*((_LINK_SPEED, link) for link, up in known.items() if up)) if any(known.values()) else {}
        down = Absent(Absence.NOT_SUPPORTED, "the link is down")
        return tuple(
            NvLink(
                link=link,
                up=up,
                gigabytes_per_s=then(speeds.get((_LINK_SPEED, link), down), _link_speed),
                errors=self._nvlink_errors({link: True}),
            )
            for link, up in known.items()
        )

    def _link_states(self) -> Reading[dict[int, Reading[bool]]]:
        """Link → whether it is up. A number without a link answers not_supported, one beyond all invalid argument."""
        states: dict[int, Reading[bool]] = {}
        without = Absent(Absence.NOT_SUPPORTED, "no NVLinks")
        for link in range(_MAX_LINKS):
            state = self._ask("nvmlDeviceGetNvLinkState", _optional, link, answers={INVALID_ARGUMENT: None})
            if state is None:
                break
            if not isinstance(state, Absent):
                states[link] = flag(state)
            elif state.absent in _FINAL:
                return state
            elif not_offered(state):
                without = state
            else:
                states[link] = state
        return states or without

    def _nvlink_errors(self, states: Mapping[int, Reading[bool]]) -> Reading[int]:
        """Errors of the links that are up, since reset. One link in an unknown state makes the sum unknown."""
        unknown = next((state for state in states.values() if isinstance(state, Absent)), None)
        if unknown is not None:
            return unknown
        return total(*(self._link_errors(link) for link, up in states.items() if up))

    def _link_errors(self, link: int) -> Reading[int]:
        """Kinds that a generation of NVLink does not count are left out, but not all of them."""
        old = [self._ask("nvmlDeviceGetNvLinkErrorCounter", whole, link, kind) for kind in _LINK_ERRORS]
        kinds = [kind for kind in old if not not_offered(kind)]
        if not kinds:
            fifth = self._fields(*((number, link) for number in _LINK5_ERRORS)).values()
            kinds = [then(kind, counted) for kind in fifth if not not_offered(kind)]
        return total(*kinds) if kinds else old[0]

    # --- processes

    def processes(self) -> Reading[tuple[Process, ...]]:
        """Other processes on the card. In a container the list may be empty although others use the card."""
        found: dict[int, Process] = {}
        for newer, older in _PROCESSES:
            listed = _first(partial(self._ask, newer, _processes), partial(self._ask, older, _processes))
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
        values = self._card_fields((_MEMORY_TEMPERATURE, _POWER_INSTANT))
        return Sample(
            at_s=at_s,
            temperature_c=self._temperature(),
            memory_temperature_c=then(values[_MEMORY_TEMPERATURE], real(bounds.CELSIUS, "memory temperature")),
            hotspot_c=self._hotspot(),
            power_w=self._power(values[_POWER_INSTANT]),
            sm_clock_mhz=self._clock(_SM),
            memory_clock_mhz=self._clock(_MEMORY),
            fan_percent=then(self._ask("nvmlDeviceGetFanSpeed", whole), real(bounds.FAN_PERCENT, "fan speed")),
            event_reasons=self._reasons(*_REASONS_NOW),
            pcie_gen=self._pcie("nvmlDeviceGetCurrPcieLinkGeneration", bounds.PCIE_GENERATION),
            pcie_width=self._pcie("nvmlDeviceGetCurrPcieLinkWidth", bounds.PCIE_WIDTH),
        )

    def _temperature(self) -> Reading[float]:
        """The new call first: the old one goes with CUDA 14."""
        degrees = _first(*(partial(self._ask, call, whole, _DIE) for call in _TEMPERATURE))
        return then(degrees, real(bounds.CELSIUS, "temperature"))

    def _hotspot(self) -> Reading[float]:
        """The hottest part of the die: a sensor of the new call alone, which drivers before 615 refuse as unknown."""
        degrees = self._ask(_TEMPERATURE[0], whole, _HOTTEST, answers={INVALID_ARGUMENT: None})
        if degrees is None:
            return Absent(Absence.NOT_SUPPORTED, "this driver knows no hot-spot sensor")
        return then(degrees, real(bounds.CELSIUS, "hot-spot temperature"))

    def _power(self, instant: Reading[float]) -> Reading[float]:
        """Instantaneous power, because the other call averages over a second on newer boards."""
        milliwatts = _first(lambda: instant, partial(self._ask, "nvmlDeviceGetPowerUsage", whole))
        return then(milliwatts, real(bounds.WATTS, "power", per=1000))

    def _clock(self, domain: int) -> Reading[float]:
        return then(self._ask("nvmlDeviceGetClockInfo", whole, domain), real(bounds.MEGAHERTZ, "clock"))

    def _reasons(self, newer: str, older: str) -> Reading[int]:
        """The calls were renamed in driver 535."""
        mask = _first(partial(self._ask, newer, whole), partial(self._ask, older, whole))
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
        for _ in range(_MAX_EVENTS):
            event = ask("nvmlEventSetWait_v2", _event, self._events, 0, answers={TIMEOUT: None})
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


def _event(value: object) -> tuple[int, int] | None:
    """Kind and code."""
    return member("eventType")(value), member("eventData")(value)


def _processes(value: object) -> tuple[Process, ...]:
    if not isinstance(value, list):
        raise UnexpectedAnswerError("no list of processes")
    return tuple(Process(member("pid")(item), _process_mib(getattr(item, "usedGpuMemory", None))) for item in value)


def _process_mib(used: object) -> Reading[int]:
    if used is None:
        return Absent(Absence.NOT_SUPPORTED, "the driver does not say how much memory the process uses")
    return mebibytes(used)


def _memory_in_use(value: object) -> tuple[Reading[int], Reading[int]]:
    """Used and reserved. The older structure counts the reserved part as used, and is not asked."""
    return mebibytes(member("used")(value)), mebibytes(member("reserved")(value))


def _sram_status(value: object) -> tuple[int, int, int]:
    return (
        member("aggregateUncParity")(value),
        member("aggregateUncSecDed")(value),
        member("bThresholdExceeded")(value),
    )


def _fabric(value: object) -> Reading[str]:
    """The state; where that is completed, the status says whether it went well.

    The state is one byte in nvml.h and four in nvidia-ml-py, of which three are padding.
    """
    state, status = member("state")(value) & 0xFF, member("status")(value)
    if state == _NO_FABRIC:
        return Absent(Absence.NOT_SUPPORTED, "no NVSwitch fabric")
    if state not in _FABRIC:
        return Absent(Absence.ABSURD, f"the state of the fabric answered {state}")
    return "failed" if state == _FABRIC_COMPLETED and status else _FABRIC[state]


def _device_identifier(number: int) -> Reading[str]:
    return then(bounded(bounds.DEVICE_IDENTIFIER, "per-device identifier")(number), lambda one: f"0x{one:016x}")


def _any_flag(pair: tuple[int, ...]) -> Reading[bool]:
    return flag(max(pair))


def _confidential(feature: int) -> Reading[bool]:
    on = _CONFIDENTIAL.get(feature)
    return Absent(Absence.ABSURD, f"confidential computing answered {feature}") if on is None else on


def _optional(value: object) -> int | None:
    return whole(value)


_margin = real(bounds.MARGIN_CELSIUS, "temperature margin")
_power_limit = real(bounds.POWER_LIMIT_WATTS, "power limit", per=1000)
_link_speed = real(bounds.GIGABYTES_PER_S, "NVLink speed", per=1000)
