"""The record: everything that was measured in one run, as facts, without any judgement.

A record is written by the measuring wing and read by the judging wing; the two meet nowhere else. Schema history:

1  first release
"""

import math
import re
from collections.abc import Iterable, Mapping
from enum import IntFlag
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import msgspec
from msgspec import Struct, structs

from gpucert.outcome import StepStatus
from gpucert.reading import NOT_ASKED, Absence, Absent, Reading
from gpucert.units import Unit

SCHEMA = "gpucert.record/1"

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of 64 bits, because a longer one overflows in the arithmetic of judging; no card counts so far."""
SEED_BITS = 64
"""A seed may use them all, for which msgspec has no bound."""


class Identity(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the card answers about itself. Hexadecimal ids are lower-case, four digits."""

    name: Reading[str] = NOT_ASKED
    uuid: Reading[str] = NOT_ASKED
    pdi: Reading[str] = NOT_ASKED
    serial: Reading[str] = NOT_ASKED
    board_part_number: Reading[str] = NOT_ASKED
    vbios: Reading[str] = NOT_ASKED
    inforom_image: Reading[str] = NOT_ASKED
    bus_id: Reading[str] = NOT_ASKED
    """PCI address as `00000000:65:00.0`, lower case."""
    pci_device: Reading[str] = NOT_ASKED
    pci_subvendor: Reading[str] = NOT_ASKED
    pci_subdevice: Reading[str] = NOT_ASKED
    compute_capability: Reading[str] = NOT_ASKED
    cuda_cores: Reading[Whole] = NOT_ASKED
    memory_mib: Reading[Whole] = NOT_ASKED
    """Total memory as the driver states it for the whole card."""
    bus_bits: Reading[Whole] = NOT_ASKED
    max_sm_clock_mhz: Reading[Whole] = NOT_ASKED
    max_memory_clock_mhz: Reading[Whole] = NOT_ASKED
    driver: Reading[str] = NOT_ASKED
    gsp_firmware: Reading[str] = NOT_ASKED
    """Version of the firmware of the GPU's own system processor; the driver's version where both belong together."""
    window_mib: Whole | None = None
    """Virtual cards only: the size of the simulated window of memory, which is what is tested and counted."""

    @property
    def card_id(self) -> str:
        """UUID, else the per-device identifier, else the bus id marked as unstable."""
        for value in (self.uuid, self.pdi):
            if isinstance(value, str) and value:
                return value
        return f"unstable-{self.bus_id}" if isinstance(self.bus_id, str) else "unidentified"


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Modes and limits that someone can set; gpucert reads them and changes none."""

    ecc: Reading[bool] = NOT_ASKED
    ecc_pending: Reading[bool] = NOT_ASKED
    mig: Reading[bool] = NOT_ASKED
    mig_pending: Reading[bool] = NOT_ASKED
    persistence: Reading[bool] = NOT_ASKED
    virtualization: Reading[str] = NOT_ASKED
    confidential_compute: Reading[bool] = NOT_ASKED
    """Of the whole station; counters and speed differ while it is on."""
    compute_mode: Reading[str] = NOT_ASKED
    """`default`, `exclusive-process`, `exclusive-thread` or `prohibited`: how often CUDA may open the card."""
    display_active: Reading[bool] = NOT_ASKED
    """Whether something is shown through the card, which takes memory and time from a test."""
    fabric: Reading[str] = NOT_ASKED
    """`not-started`, `in-progress`, `completed` or `failed`: joining an NVSwitch, before which CUDA does not start."""
    power_source: Reading[str] = NOT_ASKED
    """`ac`, `battery` or `undersized`: the last is a supply that cannot feed the card."""
    power_limit_w: Reading[float] = NOT_ASKED
    """The enforced limit, out-of-band limits included."""
    power_requested_w: Reading[float] = NOT_ASKED
    """The limit that software of this station asked for; above the enforced one where something else holds it down."""
    power_default_w: Reading[float] = NOT_ASKED
    power_min_w: Reading[float] = NOT_ASKED
    power_max_w: Reading[float] = NOT_ASKED
    slowdown_c: Reading[float] = NOT_ASKED
    shutdown_c: Reading[float] = NOT_ASKED
    max_operating_c: Reading[float] = NOT_ASKED
    memory_max_c: Reading[float] = NOT_ASKED
    """Memory temperature from which software slows the card down."""
    margin_c: Reading[float] = NOT_ASKED
    """Degrees below the nearest slowdown at the moment of reading (T.Limit)."""
    tlimit_shutdown_c: Reading[float] = NOT_ASKED
    """Margin at which the hardware may shut down, −8 on most; like the next three, where thresholds in °C are gone."""
    tlimit_slowdown_c: Reading[float] = NOT_ASKED
    """Margin at which the hardware may slow down, −2 on most."""
    tlimit_memory_c: Reading[float] = NOT_ASKED
    """Margin at which software may slow down because of the memory's temperature."""
    tlimit_max_c: Reading[float] = NOT_ASKED
    """Margin at which software may hold clocks below the base clock, 0 on most."""
    fans: Reading[Whole] = NOT_ASKED
    pcie_gen_max: Reading[Whole] = NOT_ASKED
    """What the GPU supports, whatever the slot does."""
    pcie_gen_max_slot: Reading[Whole] = NOT_ASKED
    """The smaller of GPU and slot."""
    pcie_width_max: Reading[Whole] = NOT_ASKED
    """The smaller of GPU and slot."""
    event_reasons_supported: Reading[Whole] = NOT_ASKED
    """Bits of the clock-event reasons that the card can tell: a clear bit that is not among them says nothing."""
    memory_used_mib: Reading[Whole] = NOT_ASKED
    """Memory in use at the moment of reading, without what the driver keeps for itself."""
    memory_reserved_mib: Reading[Whole] = NOT_ASKED
    """Memory that driver and firmware keep for themselves."""
    utilization_percent: Reading[Whole] = NOT_ASKED
    """Share of the last moments in which the card was computing; high right after start while ECC scrubs memory."""


# gc=False here and below, because thousands of them would make the collector look through every column again and again
class Counters(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """What the card counts over its life or since the driver was loaded; only differences are judged for the latter."""

    ecc_corrected_volatile: Reading[Whole] = NOT_ASKED
    ecc_uncorrected_volatile: Reading[Whole] = NOT_ASKED
    ecc_corrected_aggregate: Reading[Whole] = NOT_ASKED
    ecc_uncorrected_aggregate: Reading[Whole] = NOT_ASKED
    sram_uncorrected_aggregate: Reading[Whole] = NOT_ASKED
    sram_threshold_exceeded: Reading[bool] = NOT_ASKED
    remapped_correctable: Reading[Whole] = NOT_ASKED
    remapped_uncorrectable: Reading[Whole] = NOT_ASKED
    remap_pending: Reading[bool] = NOT_ASKED
    remap_failure: Reading[bool] = NOT_ASKED
    remap_banks: Reading[tuple[Whole, Whole, Whole, Whole, Whole]] = NOT_ASKED
    """Banks whose spare rows are max, high, partial, low, none."""
    retired_sbe: Reading[Whole] = NOT_ASKED
    retired_dbe: Reading[Whole] = NOT_ASKED
    retired_dbe_7d: Reading[Whole] = NOT_ASKED
    """Pages retired for a double-bit error in the seven days before this reading, by the clock of this station."""
    retired_pending: Reading[bool] = NOT_ASKED
    repair_pending: Reading[bool] = NOT_ASKED
    """A repair of a memory channel or a TPC waits for a reset (driver 580 and newer)."""
    memory_unrepairable: Reading[bool] = NOT_ASKED
    """The card says that its memory cannot be repaired any more (Hopper and newer)."""
    inforom_valid: Reading[bool] = NOT_ASKED
    recovery_action: Reading[Whole] = NOT_ASKED
    """0 none; anything else is an action that the driver asks for (NVML field 230)."""
    driver_loaded_s: Reading[Whole] = NOT_ASKED
    """Seconds of the card's life with a driver loaded, as the InfoROM counts them (driver 615 and newer)."""
    pcie_replays: Reading[Whole] = NOT_ASKED
    pcie_replay_rollovers: Reading[Whole] = NOT_ASKED
    """Replays that had to start over: the link was retrained."""
    pcie_recoveries: Reading[Whole] = NOT_ASKED
    """Times that the link left L0 for recovery."""
    pcie_correctable: Reading[Whole] = NOT_ASKED
    """This and the next ten are Advanced Error Reporting, which Hopper and newer tell (NVML fields 173 to 183)."""
    pcie_nonfatal: Reading[Whole] = NOT_ASKED
    pcie_fatal: Reading[Whole] = NOT_ASKED
    pcie_unsupported_requests: Reading[Whole] = NOT_ASKED
    pcie_receiver_errors: Reading[Whole] = NOT_ASKED
    pcie_naks_received: Reading[Whole] = NOT_ASKED
    pcie_naks_sent: Reading[Whole] = NOT_ASKED
    pcie_bad_tlps: Reading[Whole] = NOT_ASKED
    pcie_bad_dllps: Reading[Whole] = NOT_ASKED
    pcie_lcrc_errors: Reading[Whole] = NOT_ASKED
    pcie_lane_errors: Reading[Whole] = NOT_ASKED
    nvlinks_up: Reading[Whole] = NOT_ASKED
    nvlink_errors: Reading[Whole] = NOT_ASKED
    throttle_thermal_ns: Reading[Whole] = NOT_ASKED
    """Software and hardware thermal slowdown since driver load, added up; the next two are its parts."""
    throttle_sw_thermal_ns: Reading[Whole] = NOT_ASKED
    """Clocks lowered by software to keep core and memory below their highest operating temperatures."""
    throttle_hw_thermal_ns: Reading[Whole] = NOT_ASKED
    """Clocks halved, or worse, by hardware because of heat."""
    throttle_power_brake_ns: Reading[Whole] = NOT_ASKED
    energy_mj: Reading[Whole] = NOT_ASKED


class EventReason(IntFlag):
    """Why clocks are below their maximum, numbered as NVML does (nvml.h, nvmlClocksEventReason*)."""

    IDLE = 0x001
    APPLICATIONS_CLOCKS = 0x002
    SW_POWER_CAP = 0x004
    HW_SLOWDOWN = 0x008
    SYNC_BOOST = 0x010
    SW_THERMAL = 0x020
    HW_THERMAL = 0x040
    HW_POWER_BRAKE = 0x080
    DISPLAY_CLOCKS = 0x100
    BOARD_LIMIT = 0x200
    RELIABILITY = 0x400


THERMAL_REASONS = EventReason.SW_THERMAL | EventReason.HW_THERMAL


class Sample(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of telemetry. `at_s` counts from the start of the run, on the virtual clock for a virtual card."""

    at_s: float
    temperature_c: Reading[float] = NOT_ASKED
    memory_temperature_c: Reading[float] = NOT_ASKED
    hotspot_c: Reading[float] = NOT_ASKED
    power_w: Reading[float] = NOT_ASKED
    """Instantaneous where the driver offers it, else averaged over a second."""
    sm_clock_mhz: Reading[float] = NOT_ASKED
    memory_clock_mhz: Reading[float] = NOT_ASKED
    fan_percent: Reading[float] = NOT_ASKED
    """The commanded speed: a blocked fan still answers it."""
    event_reasons: Reading[Whole] = NOT_ASKED
    """Bits of the clock-event reasons, as NVML numbers them."""
    pcie_gen: Reading[Whole] = NOT_ASKED
    pcie_width: Reading[Whole] = NOT_ASKED


class Process(Struct, frozen=True, forbid_unknown_fields=True):
    """A foreign process on the card; its name never leaves the station, so it is not recorded."""

    pid: Whole
    memory_mib: Reading[Whole]


class Event(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened once: an Xid, an abort, a note. `kind` is `xid`, `abort`, `resumed` or `note`."""

    at_s: float
    kind: Literal["xid", "abort", "resumed", "note"]
    code: str
    text: str


Column: TypeAlias = tuple[float | Absence, ...]


class Trace(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Telemetry or a probe's own series over one step; `column` reads it, `of` makes it."""

    at_s: tuple[float, ...]
    channels: dict[str, Column | float | Absence]
    """Of each channel one value for each time, or a single one where it never changed."""

    @classmethod
    def of(cls, at_s: tuple[float, ...], columns: Mapping[str, Column]) -> Self:
        """A trace of whole columns; one that holds the same value throughout is kept as that value."""
        return cls(at_s, {name: column[0] if len(set(column)) == 1 else column for name, column in columns.items()})

    def column(self, channel: str) -> Column:
        """The values of a channel, one for each time; none where the channel was not recorded."""
        kept = self.channels.get(channel, ())
        return kept if isinstance(kept, tuple) else (kept,) * len(self.at_s)

    def times(self, channel: str, absence: Absence) -> int:
        """How many values of a channel are absent for this reason."""
        kept = self.channels.get(channel, ())
        if not isinstance(kept, tuple):
            return len(self.at_s) if kept is absence else 0
        return 0 if _all_numbers(kept) else kept.count(absence)


def _all_numbers(column: Column) -> bool:
    """Whether no word stands among them: a sum takes a tenth of the time of looking at each, and fails at a word."""
    try:
        sum(column)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return False
    return True


class Declared(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A measure that the step's probe promised; one without a measurement was left unset."""

    name: str
    unit: Unit


class Measurement(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """The value of one measure, or why there is none. `u` is its standard uncertainty (k = 1) in the same unit."""

    name: str
    unit: Unit
    value: Reading[float | Whole]
    u: float | None = None
    n: Whole = 1
    where: str = ""


Word = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,16}$")]
"""Up to 64 bits in hexadecimal."""


class Mismatch(Struct, frozen=True, gc=False, forbid_unknown_fields=True, kw_only=True):
    """One wrong word or element, located. Values are hexadecimal so that JSON keeps all 64 bits."""

    phase: str
    offset: Whole
    """Bytes from the start of the tested memory, the element's index for a matrix, the thread of an SM's answer."""
    expected: Word
    actual: Word
    flips: Whole
    kind: str = "unclassified"
    owner: Whole | None = None
    """For an alias: the offset, in bytes, of the memory that the wrong value belongs to."""
    reader_sm: Whole | None = None
    partitions: tuple[Whole, ...] = ()
    """Of a wrong answer: the sub-partitions of the SM, 0 to 3, whose threads were wrong."""
    at_s: float = 0.0
    again: Whole = 0
    """How often it was wrong again."""
    tries: Whole = 0
    """In so many experiments; none were made with a word of kind `unclassified`."""


class Death(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a worker ended other than by finishing; `subject` says whether card or station is to blame."""

    kind: str
    subject: Literal["card", "station"]
    text: str
    signal: Whole | None = None
    exit_code: Whole | None = None


class StepRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one step of the plan yielded."""

    index: Whole
    probe: str
    blocker: bool
    seconds: float
    """The budget from the plan."""
    status: StepStatus
    reason: str = ""
    repeat_of: Whole | None = None
    """Index of the step that this one repeats, because its finding was undecided."""
    began_s: float
    ended_s: float
    declared: tuple[Declared, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    traces: dict[str, Trace] = {}
    """`telemetry` is always there when the monitor had samples; probes add their own."""
    before: Counters = Counters()
    after: Counters = Counters()
    death: Death | None = None

    def value(self, measure: str) -> Reading[float | int] | None:
        """The value of a measure by name, None when the step has none of that name."""
        for one in self.measurements:
            if one.name == measure:
                return one.value
        return None

    def number(self, measure: str) -> float | int | None:
        """The value of a measure where it is a finite number, else None."""
        value = self.value(measure)
        return None if value is None or isinstance(value, Absent) or not math.isfinite(value) else value


class PlanRun(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan as it was run."""

    name: str
    version: Whole
    yields: Literal["report", "certificate"]
    best_tier: Literal["A", "B", "C", "D"] | None
    hours: float | None = None
    sha256: str


class Station(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The host, without anything that names its owner."""

    os: str
    python: str
    cpu_count: Whole
    clock_utc: str


class Inspection(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the technician's checklist before power. Items that nobody touched read "not inspected"."""

    item: str
    state: Literal["good", "bad", "not_inspected"] = "not_inspected"
    note: str = ""


class Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The facts of one run on one card."""

    schema: str = SCHEMA
    simulated: bool
    started_at: str
    """UTC, ISO 8601."""
    ended_at: str
    interrupted: bool = False
    seed: int
    card: Identity
    settings: Settings
    processes: Reading[tuple[Process, ...]] = NOT_ASKED
    station: Station
    plan: PlanRun
    versions: dict[str, str]
    scenario: str = ""
    """The text of the scenario of a virtual card."""
    inlet_c: float | None = None
    """Inlet temperature as a person stated it."""
    inspection: tuple[Inspection, ...] = ()
    steps: tuple[StepRecord, ...]
    events: tuple[Event, ...] = ()


class UnreadableRecordError(ValueError):
    """A file is not a record that this version can read; the text names the file, the field and the remedy."""


_COLUMN = re.compile(rb"\[\n((?:[^][{}\"]++|\"[a-z_]*+\")*+)\]")
"""A list of numbers and plain words, indented. No string holds a line feed, so none is taken for one."""


def encode(value: object) -> bytes:
    """Canonical JSON of any of these structs: sorted keys, indented, columns on one line, a newline at the end.

    Raises ValueError for a float that is not finite, because msgspec would write NaN as null in silence.
    """
    tree = msgspec.to_builtins(value)
    if not _is_finite(tree):
        raise ValueError(f"{_not_finite(tree)}: a value that is not a number must be an absent reading")
    text = msgspec.json.format(msgspec.json.encode(tree, order="sorted"), indent=1)
    return _COLUMN.sub(lambda found: b"[%b]" % b" ".join(found[1].split()), text) + b"\n"


def _is_finite(tree: object) -> bool:
    """Whether no float in it is NaN or infinite. A loop over types, because a verdict has a thousand leaves."""
    branches: list[Iterable[object]] = [(tree,)]
    while branches:
        for item in branches.pop():
            if type(item) is float:
                if not math.isfinite(item):
                    return False
            elif type(item) is dict:
                branches.append(item.values())
            elif type(item) is tuple or type(item) is list:
                branches.append(item)
    return True


def _not_finite(tree: object) -> str:
    """The path to the first value that is not finite, and that value; empty where there is none."""
    if isinstance(tree, dict):
        inside = ((f".{key}", item) for key, item in tree.items())
    elif isinstance(tree, list | tuple):
        inside = ((f"[{place}]", item) for place, item in enumerate(tree))
    else:
        return "" if _is_finite(tree) else f" is {tree}"
    return next((f"{step}{found}" for step, item in inside if (found := _not_finite(item))), "")


class _Stored(Record, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record as it stands in a file, which must say its schema."""

    schema: str


class _SchemaOnly(Struct):
    schema: str


def decode(data: bytes, source: str) -> Record:
    """Read a record from its JSON bytes; `source` names them in errors. Raises UnreadableRecordError."""
    try:
        stored = msgspec.json.decode(data, type=_Stored)
    except msgspec.DecodeError as error:
        _refuse_other_schemas(data, source)
        raise UnreadableRecordError(f"{source}: {error}") from error
    _refuse_schema(stored.schema, source)
    if stored.seed.bit_length() > SEED_BITS:
        raise UnreadableRecordError(f"{source}: the seed has more than {SEED_BITS} bits")
    return Record(**structs.asdict(stored))


def _refuse_other_schemas(data: bytes, source: str) -> None:
    try:
        schema = msgspec.json.decode(data, type=_SchemaOnly, strict=True).schema
    except msgspec.DecodeError as error:
        raise UnreadableRecordError(f"{source}: not a gpucert record: {error}") from error
    _refuse_schema(schema, source)


def _refuse_schema(schema: str, source: str) -> None:
    if schema != SCHEMA:
        raise UnreadableRecordError(f"{source}: schema is {schema!r}, this version reads {SCHEMA!r}")


def load(path: Path) -> Record:
    """Read a record from a file. Raises UnreadableRecordError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableRecordError(f"{path}: {error.strerror}") from error
    return decode(data, str(path))


def absent(value: Reading[float | int]) -> Absence | None:
    """The reason when a value is absent, else None."""
    return value.absent if isinstance(value, Absent) else None
