"""The faults that a virtual card can have: one struct for each kind, with its fields and their ranges."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, field

from gpucert.stress.backend import DType

Seconds = Annotated[float, Meta(ge=0)]
PerMinute = Annotated[float, Meta(gt=0)]
PerSecond = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
Bit = Annotated[int, Meta(ge=0, le=63)]
Scale = Annotated[float, Meta(gt=0, le=20)]
Share = Annotated[float, Meta(gt=0, le=1)]
Celsius = Annotated[float, Meta(ge=-50, le=150)]
Millis = Annotated[float, Meta(gt=0)]
Unit = Literal["int32", "fp32", "fp64", "tensor", "sfu"]
Part = Literal[Unit, "shared", "registers", "shuffle", "atomics", "branches"]
"""Of a multiprocessor: a unit that computes at a rate of its own, or what keeps, moves and steers values."""

FANS = 2
"""Of a card that has its own."""
REFRESH_MS = 32.0
"""Every row is refreshed within it: 8192 commands, one each 3.9 µs (JESD235 for HBM; gem5's model has the same)."""


class _Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every fault has: its kind, which is the tag."""

    @property
    def kind(self) -> str:
        """The word that a scenario uses for it."""
        return str(self.__struct_config__.tag)


class StuckBit(_Fault, frozen=True, kw_only=True, tag="stuck_bit"):
    """A cell that holds one value whatever is written."""

    offset: Count
    """Bytes from the start of the tested memory; the bit is counted within the aligned 64-bit word that holds it."""
    bit: Bit
    value: Literal[0, 1]
    above_ecc: bool = False
    """True: in the path behind ECC (L2, crossbar, load-store), seen by compares on any card."""


class Transition(_Fault, frozen=True, kw_only=True, tag="transition"):
    """A cell that cannot rise from 0 to 1 (`up`), or cannot fall (`down`)."""

    offset: Count
    bit: Bit
    direction: Literal["up", "down"]
    above_ecc: bool = False


class Dq(_Fault, frozen=True, kw_only=True, tag="dq"):
    """A data wire of one memory channel that reads one value, always or now and then.

    The card's seed says which channel, for each such fault another draw.
    """

    line: Count
    """Below the width of a channel: 64 for HBM, 32 for GDDR5 and GDDR5X, 16 for newer GDDR."""
    value: Literal[0, 1]
    probability: Share = 1.0
    """Of each beat that the wire carries."""


class Coupling(_Fault, frozen=True, kw_only=True, tag="coupling"):
    """A cell that inverts another one whenever a store changes it."""

    aggressor: Count
    """Bytes from the start of the tested memory, like `victim`: of the word that must change."""
    victim: Count
    """Of the word that is damaged."""
    bit: Bit
    """Of both words."""
    changes: Annotated[int, Meta(ge=1, le=16)] = 1
    """So many changes in a row do it, while nobody stores the victim."""


class Neighbourhood(_Fault, frozen=True, kw_only=True, tag="neighbourhood"):
    """A cell that is read wrongly while the bits on either side of it all hold the opposite."""

    offset: Count
    bit: Bit
    reach: Annotated[int, Meta(ge=1, le=31)]
    """Bits on each side that must be opposite, as far as the word has any."""


class Stripes(_Fault, frozen=True, kw_only=True, tag="stripes"):
    """A cell that is read wrongly while it and its neighbours on a line alternate, which is hardest on its sense line.

    Which bits are neighbours in the array is nowhere published; they are taken to be a power of two apart.
    """

    offset: Count
    bit: Bit
    apart: Literal[1, 2, 4, 16, 32, 64, 128, 256]
    """Bits from one neighbour to the next, within and beyond the word."""
    reach: Annotated[int, Meta(ge=1, le=31)] = 3
    """Neighbours on each side that must alternate, as far as the memory has any."""


class Intermittent(_Fault, frozen=True, kw_only=True, tag="intermittent"):
    """A cell that is read wrongly now and then; what it holds stays right."""

    offset: Count
    bit: Bit
    probability: Share
    """Of each load that reaches the cells."""
    above_c: Celsius | None = None
    """Only while the memory is at least this warm."""


class Retention(_Fault, frozen=True, kw_only=True, tag="retention"):
    """A cell that loses its charge, and reads 0, before refresh comes by."""

    offset: Count
    bit: Bit
    hold_ms: Millis
    """How long it keeps its charge: less than REFRESH_MS."""
    above_c: Celsius | None = None
    """Only while the memory is at least this warm; below, refresh comes in time."""


class RefreshLost(_Fault, frozen=True, kw_only=True, tag="refresh_lost"):
    """A range that is not refreshed any more: words that nobody loads or stores read 0 after a while."""

    offset: Count
    bytes: Annotated[int, Meta(ge=8)]
    seconds: Annotated[float, Meta(gt=0)]
    above_c: Celsius | None = None
    """Only while the memory is at least this warm; below, it is refreshed."""
    idle: bool = False
    """Only while the card idles and its memory refreshes itself."""


class EdrReplay(_Fault, frozen=True, kw_only=True, tag="edr_replay"):
    """A memory bus whose transfers are repeated until their checksums agree: right data, less bandwidth."""

    per_second: PerSecond
    above_c: Celsius | None = None
    """Only while the memory is at least this warm."""


class ChannelMissing(_Fault, frozen=True, kw_only=True, tag="channel_missing"):
    """Memory channels that are dead or fused off: a narrower bus, less memory, less bandwidth."""

    count: Annotated[int, Meta(ge=1)] = 1


class CopyEngine(_Fault, frozen=True, kw_only=True, tag="copy_engine"):
    """An engine for copies that inverts a bit of some of the words that it copies within the card."""

    bit: Bit
    every: Annotated[int, Meta(ge=1)]
    """Of each so many-th word."""


class Alias(_Fault, frozen=True, kw_only=True, tag="alias"):
    """A decoder that sends one range of addresses to the cells of another."""

    source: Count = field(name="from")
    to: Count
    bytes: Annotated[int, Meta(ge=8)]


class FakeMemory(_Fault, frozen=True, kw_only=True, tag="fake_memory"):
    """Fewer chips than the card says: addresses beyond the real ones wrap."""

    real_mib: Annotated[int, Meta(ge=1)]


class EccCorrected(_Fault, frozen=True, kw_only=True, tag="ecc_corrected"):
    """Memory whose errors ECC corrects at a steady rate, without an address."""

    per_minute: PerMinute


class EccUncorrected(_Fault, frozen=True, kw_only=True, tag="ecc_uncorrected"):
    """One error that ECC cannot correct; the context that is running dies of it."""

    at_s: Seconds


class Contained(_Fault, frozen=True, kw_only=True, tag="contained"):
    """An error that ECC cannot correct and the driver contains: Xid 94, and a row waits to be remapped."""

    at_s: Seconds


class SramThreshold(_Fault, frozen=True, kw_only=True, tag="sram_threshold"):
    """On-chip memory (SRAM) that has passed NVIDIA's threshold of errors: the driver's flag is set."""


class RowRemap(_Fault, frozen=True, kw_only=True, tag="row_remap"):
    """Rows that were remapped, wait for it, or could not be."""

    uncorrectable: Count = 0
    pending: bool = False
    failure: bool = False


class RemapExhausted(_Fault, frozen=True, kw_only=True, tag="remap_exhausted"):
    """Banks whose spare rows are nearly or wholly used up."""


class RetiredPages(_Fault, frozen=True, kw_only=True, tag="retired_pages"):
    """Pages that the driver no longer hands out."""

    dbe: Count = 0
    sbe: Count = 0
    pending: bool = False


class SmArithmetic(_Fault, frozen=True, kw_only=True, tag="sm_arithmetic"):
    """One multiprocessor that computes every Nth answer of one of its parts wrongly."""

    sm: Count
    unit: Part
    partition: Annotated[int, Meta(ge=0, le=3)] | None = None
    """Only in the threads of this sub-partition."""
    every: Annotated[int, Meta(ge=1)] = 1
    above_c: Celsius | None = None
    """Only while the die is at least this hot."""
    dtype: DType | None = None
    """Only in matrix products of this type; the unit is right in all its other work."""
    burst: bool = False
    """Only in work that begins just after a rest (arithmetic.py), which a steady load never does."""


class WrongEveryTime(_Fault, frozen=True, kw_only=True, tag="wrong_every_time"):
    """A part that gives the same wrong answer on every multiprocessor, every time."""

    unit: Part
    dtype: DType | None = None
    """Only in matrix products of this type; the unit is right in all its other work."""


class SlowCompute(_Fault, frozen=True, kw_only=True, tag="slow_compute"):
    """Arithmetic that takes longer at the same clock; all units where none is named."""

    unit: Unit | None = None
    factor: Share


class TpcMissing(_Fault, frozen=True, kw_only=True, tag="tpc_missing"):
    """Pairs of multiprocessors (TPCs) that are dead or fused off: fewer SMs and less arithmetic than the model has."""

    count: Annotated[int, Meta(ge=1)] = 1


class EffectiveClock(_Fault, frozen=True, kw_only=True, tag="effective_clock"):
    """A clock that sags: the multiprocessors run at this share of what the driver reports."""

    factor: Share


class SlowMemory(_Fault, frozen=True, kw_only=True, tag="slow_memory"):
    """Memory that moves fewer bytes at the same clock."""

    factor: Share


class Interface(_Fault, frozen=True, kw_only=True, tag="interface"):
    """Paste or contact between die and cooler: the fast part of the thermal resistance, scaled."""

    scale: Scale


class Airflow(_Fault, frozen=True, kw_only=True, tag="airflow"):
    """Dust, a weak fan or a weak chassis: the slow part of the thermal resistance, scaled."""

    scale: Scale


class Fan(_Fault, frozen=True, kw_only=True, tag="fan"):
    """A fan of the card's own that turns slower than asked, or not at all; the sensors answer what was asked."""

    index: Annotated[int, Meta(ge=0, le=FANS - 1)]
    rpm_fraction: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class MemoryPads(_Fault, frozen=True, kw_only=True, tag="memory_pads"):
    """Pads between memory and cooler that no longer conduct: it is hotter by so much under a load of its own."""

    extra_c: Annotated[float, Meta(gt=0, le=80)]


class Hotspot(_Fault, frozen=True, kw_only=True, tag="hotspot"):
    """A part of the die that the cooler hardly touches: hotter by so much at full power."""

    extra_c: Annotated[float, Meta(gt=0, le=60)]


class SensorGain(_Fault, frozen=True, kw_only=True, tag="sensor_gain"):
    """A power sensor that answers so many watts for one, as after a shunt was changed."""

    factor: Annotated[float, Meta(ge=0.3, le=3)]


class HotInlet(_Fault, frozen=True, kw_only=True, tag="hot_inlet"):
    """Warm air from the room."""

    inlet_c: Celsius


class PowerLimit(_Fault, frozen=True, kw_only=True, tag="power_limit"):
    """A power limit that somebody lowered."""

    watts: Annotated[float, Meta(gt=0)]


class PowerBrake(_Fault, frozen=True, kw_only=True, tag="power_brake"):
    """The host pulls the power brake, from `at_s` on."""

    at_s: Seconds = 0.0


class ThermalIntermittent(_Fault, frozen=True, kw_only=True, tag="thermal_intermittent"):
    """A joint of solder or package that heat cycles have cracked: it opens hot and closes cold (joints.py)."""

    above_c: Celsius
    """The cracked joint opens when the die is at least this hot."""
    below_c: Celsius
    """It closes when the die is at most this cool again, below `above_c`."""
    cycles: Annotated[int, Meta(ge=1)]
    """It is cracked once the die has been as hot as `above_c` and then as cool as `below_c` so often."""
    effect: Literal["memory", "link", "lost"] = "memory"
    """Of the open joint: a data wire of the memory, half of the PCIe lanes, or the card's place on the bus is gone."""
    line: Count = 0
    """For `memory`: which data wire of its channel, as for `dq`. Open, it reads 1."""


class PcieWidth(_Fault, frozen=True, kw_only=True, tag="pcie_width"):
    """A slot or contact that leaves fewer lanes."""

    width: Literal[1, 2, 4, 8, 16]


class PcieGen(_Fault, frozen=True, kw_only=True, tag="pcie_gen"):
    """A link that trains no higher than this generation."""

    gen: Annotated[int, Meta(ge=1, le=6)]


class PcieReplays(_Fault, frozen=True, kw_only=True, tag="pcie_replays"):
    """A link that repeats packets."""

    per_minute: PerMinute


class NvlinkDown(_Fault, frozen=True, kw_only=True, tag="nvlink_down"):
    """One NVLink that did not train."""

    link: Count


class Inforom(_Fault, frozen=True, kw_only=True, tag="inforom"):
    """The card's own record, whose checksum is wrong."""

    corrupt: Literal[True] = True


class Counterfeit(_Fault, frozen=True, kw_only=True, tag="counterfeit"):
    """A card that answers the name and ids of the scenario's model with the silicon of another."""

    actual_model: str


class EccOff(_Fault, frozen=True, kw_only=True, tag="ecc_off"):
    """ECC switched off on a card that has it."""


class PendingMode(_Fault, frozen=True, kw_only=True, tag="pending_mode"):
    """A mode change that waits for a restart."""

    mode: Literal["ecc", "mig"] = "ecc"


class MigOn(_Fault, frozen=True, kw_only=True, tag="mig_on"):
    """The card is split into instances."""


class Xid(_Fault, frozen=True, kw_only=True, tag="xid"):
    """The driver logs this Xid."""

    code: Annotated[int, Meta(ge=1, le=999)]
    at_s: Seconds


class Lost(_Fault, frozen=True, kw_only=True, tag="lost"):
    """The card falls off the bus."""

    at_s: Seconds


class Hang(_Fault, frozen=True, kw_only=True, tag="hang"):
    """Work of this probe never returns."""

    probe: str


class Crash(_Fault, frozen=True, kw_only=True, tag="crash"):
    """Work of this probe ends in a segmentation fault."""

    probe: str


class Gsp(_Fault, frozen=True, kw_only=True, tag="gsp"):
    """The card's management processor stops answering for a while: Xid 119."""

    at_s: Seconds


class Absurd(_Fault, frozen=True, kw_only=True, tag="absurd"):
    """A sensor that answers what cannot be; `reading` is a field of the telemetry."""

    reading: Literal["temperature_c", "memory_temperature_c", "power_w", "sm_clock_mhz", "memory_clock_mhz"]
    value: float


class OtherProcess(_Fault, frozen=True, kw_only=True, tag="other_process"):
    """Somebody else's process on the card, which holds a part of the simulated window."""

    mib: Annotated[int, Meta(ge=1)]


Fault: TypeAlias = (
    StuckBit
    | Transition
    | Dq
    | Coupling
    | Neighbourhood
    | Stripes
    | Intermittent
    | Retention
    | RefreshLost
    | EdrReplay
    | ChannelMissing
    | CopyEngine
    | Alias
    | FakeMemory
    | EccCorrected
    | EccUncorrected
    | Contained
    | SramThreshold
    | RowRemap
    | RemapExhausted
    | RetiredPages
    | SmArithmetic
    | WrongEveryTime
    | SlowCompute
    | TpcMissing
    | EffectiveClock
    | SlowMemory
    | Interface
    | Airflow
    | Fan
    | MemoryPads
    | Hotspot
    | SensorGain
    | HotInlet
    | PowerLimit
    | PowerBrake
    | ThermalIntermittent
    | PcieWidth
    | PcieGen
    | PcieReplays
    | NvlinkDown
    | Inforom
    | Counterfeit
    | EccOff
    | PendingMode
    | MigOn
    | Xid
    | Lost
    | Hang
    | Crash
    | Gsp
    | Absurd
    | OtherProcess
)

KINDS: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in Fault.__args__)
"""Every kind that this version simulates."""

NOT_YET: tuple[str, ...] = (
    "load_step",
    "aux_power",
    "pcie_slow",
    "nvlink_errors",
    "nvlink_absent",
    "vbios",
    "clocks_locked",
    "not_initialised",
    "technician",
)
"""Kinds that are planned, so that a scenario which uses one is told so rather than that it is misspelt."""
