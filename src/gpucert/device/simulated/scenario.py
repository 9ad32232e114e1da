"""Scenarios: which virtual card there is and what is wrong with it, read from TOML without mercy for a slip."""

import math
import tomllib
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from gpucert.catalogue import shelf
from gpucert.catalogue.model import Model
from gpucert.device.simulated import lottery
from gpucert.device.simulated.faults import (
    KINDS,
    NOT_YET,
    REFRESH_MS,
    Absurd,
    Alias,
    ChannelMissing,
    Contained,
    Counterfeit,
    Coupling,
    Dq,
    EccCorrected,
    EccOff,
    EccUncorrected,
    FakeMemory,
    Fan,
    Fault,
    Intermittent,
    MigOn,
    Neighbourhood,
    NvlinkDown,
    OtherProcess,
    PcieGen,
    PcieWidth,
    PendingMode,
    PowerLimit,
    RefreshLost,
    RemapExhausted,
    Retention,
    RetiredPages,
    RowRemap,
    SmArithmetic,
    SramThreshold,
    Stripes,
    StuckBit,
    ThermalIntermittent,
    TpcMissing,
    Transition,
    WrongEveryTime,
)
from gpucert.reading import Absent
from gpucert.record import Identity
from gpucert.stress.backend import UNIT_OF

MIB = 1 << 20
DRIVER_SHARE = 0.01
"""What the driver keeps of the simulated window for itself."""
PAGE_BYTES = 4096
MIG_CHIPS = ("GA100", "GH100", "GB100", "GB202")
CONTAINING_CHIPS = ("GA100", "GH100", "GB100")
"""Chips that contain an uncorrectable error in the process that met it (NVIDIA, GPU memory error management)."""
SRAM_COUNTED_FROM = 8.0
"""Compute capability from which the driver tells of SRAM errors by themselves (nvml.h)."""

FaultT = TypeVar("FaultT")


class ScenarioError(ValueError):
    """A scenario cannot be used; the text names the file, the field and the remedy."""


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One virtual card and its faults, as its file gives them."""

    model: str
    """Key of the catalogue."""
    summary: str = ""
    vram_mib: Annotated[int, Meta(ge=1, le=4096)] = 8
    """Size of the simulated window of memory: what is really filled and compared."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Which card of the model it is: draws its place in the healthy spread, its serial and its UUID."""
    run: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """Which run of that card it is: the silicon stays the same, the noise of its sensors and rates does not."""
    inlet_c: Annotated[float, Meta(ge=-20, le=60)] = 24.0
    inlet_drift_c_per_min: Annotated[float, Meta(ge=-3, le=3)] = 0.0
    """By which the air warms while the run lasts."""
    fan_mode: Literal["automatic", "fixed", "stops"] = "automatic"
    """Of a card with its own fan: follows the die, turns at one speed, or follows and stands while the die is cool."""
    ecc: bool | None = None
    """Where the model can switch it; as shipped by default."""
    identity: dict[str, str] = {}
    """What the card answers instead of its model's truth, by field."""
    faults: tuple[Fault, ...] = field(name="fault", default=())
    text: str = ""
    """The TOML it was read from, which goes on the record; no field of the file."""

    def of(self, kind: type[FaultT]) -> tuple[FaultT, ...]:
        """The faults of one kind, in the order of the file."""
        return tuple(fault for fault in self.faults if isinstance(fault, kind))

    def first(self, kind: type[FaultT]) -> FaultT | None:
        """The first fault of one kind, None without any."""
        return next(iter(self.of(kind)), None)

    @property
    def answers_as(self) -> Model:
        """The model whose name and ids the card answers."""
        return shelf.get(self.model)

    @property
    def silicon(self) -> Model:
        """The model that the card really is: another one where it is counterfeit."""
        fake = self.first(Counterfeit)
        return shelf.get(fake.actual_model) if fake else self.answers_as

    @property
    def ecc_on(self) -> bool | None:
        """Whether ECC is on; None where the model has none to switch."""
        memory = self.answers_as.memory
        if memory.ecc not in ("gddr_inline", "hbm_sideband"):
            return None
        if self.first(EccOff):
            return False
        return memory.ecc_as_shipped if self.ecc is None else self.ecc

    @property
    def noise_seed(self) -> int:
        """What noise, and faults that come and go, are drawn from."""
        return lottery.of_run(self.seed, self.run)

    @property
    def window_bytes(self) -> int:
        """Bytes of the simulated window."""
        return self.vram_mib * MIB

    @property
    def sm_count(self) -> int:
        """Multiprocessors that work."""
        model = self.silicon
        return model.sm_count - model.sms_per_tpc * sum(fault.count for fault in self.of(TpcMissing))

    @property
    def channels(self) -> int:
        """Memory channels that work."""
        return self.silicon.memory.channels - sum(fault.count for fault in self.of(ChannelMissing))

    @property
    def present(self) -> float:
        """Share of the memory channels that work: of what the card should have, it has no more than this."""
        return self.channels / self.silicon.memory.channels

    @property
    def total_bytes(self) -> int:
        """Bytes of the window that have a channel."""
        return int(self.window_bytes * self.present) // PAGE_BYTES * PAGE_BYTES

    @property
    def tested_bytes(self) -> int:
        """Bytes that programs can have when nobody else is on the card: all there are less the driver's share."""
        return int(self.total_bytes * (1 - DRIVER_SHARE)) // PAGE_BYTES * PAGE_BYTES


def names() -> tuple[str, ...]:
    """The built-in scenarios, sorted."""
    folder = files("gpucert.device.simulated") / "scenarios"
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load(name: str) -> Scenario:
    """A built-in scenario. Raises ScenarioError."""
    return parse(*find(name))


def find(word: str) -> tuple[str, str]:
    """The text of a built-in scenario or of a TOML file, and the name that errors give it. Raises ScenarioError."""
    if word.endswith(".toml"):
        return _file_text(Path(word)), word
    if word not in names():
        nearest = get_close_matches(word, names(), n=3, cutoff=0.4)
        offer = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        raise ScenarioError(f"no scenario is called {word!r}: {offer}`gpucert simulate list` shows all of them")
    path = files("gpucert.device.simulated") / "scenarios" / f"{word}.toml"
    return path.read_text(encoding="utf-8"), f"scenarios/{word}.toml"


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error


def parse(text: str, source: str) -> Scenario:
    """Read a scenario from TOML text; `source` names it in errors. Raises ScenarioError."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source}: not TOML: {error}") from error
    for problem in (*_own_words(tree), *_kind_problems(tree), *_not_finite(tree, "")):
        raise ScenarioError(f"{source}: {problem}")
    try:
        scenario = msgspec.convert({**tree, "text": text}, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{source}: {_in_words(error)}") from error
    for problem in _misfits(scenario):
        raise ScenarioError(f"{source}: {problem}")
    return scenario


def _in_words(error: msgspec.ValidationError) -> str:
    """The complaint with its path in front, as a reader of the file would write it."""
    complaint, _, path = str(error).partition(" - at `")
    where = path.rstrip("`").removeprefix("$").lstrip(".").removeprefix("[...]")
    return f"{where}: {complaint}" if where else complaint


def _own_words(tree: dict[str, object]) -> list[str]:
    """Fields that only this module may set."""
    return ["Object contains unknown field `text`"] if "text" in tree else []


def _kind_problems(tree: dict[str, object]) -> list[str]:
    """What is wrong with the kinds of faults; found here because the decoder would not say what there is."""
    listed = tree.get("fault", [])
    if not isinstance(listed, list):
        return ["fault: write each fault under its own [[fault]]"]
    kinds = [entry.get("kind") if isinstance(entry, dict) else None for entry in listed]
    problems = (_kind_problem(kind) for kind in kinds)
    return [f"fault[{index}]: {problem}" for index, problem in enumerate(problems) if problem]


def _kind_problem(kind: object) -> str:
    if kind in KINDS:
        return ""
    if kind in NOT_YET:
        return f"this version does not simulate {kind!r} yet; `gpucert simulate list` shows what it does"
    if not isinstance(kind, str):
        return f"a fault needs a kind, one of {', '.join(KINDS)}"
    nearest = get_close_matches(kind, KINDS, n=2)
    offer = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(KINDS)}"
    return f"no kind of fault is called {kind!r}; {offer}"


def _not_finite(tree: object, path: str) -> list[str]:
    """Numbers that are none, which TOML allows; only an absurd reading may be one."""
    if isinstance(tree, float) and not math.isfinite(tree):
        return [f"{path.lstrip('.')} is {tree}: it must be a number"]
    if isinstance(tree, list):
        return [problem for index, item in enumerate(tree) for problem in _not_finite(item, f"{path}[{index}]")]
    if isinstance(tree, dict):
        absurd = tree.get("kind") == "absurd"
        items = [(key, item) for key, item in tree.items() if not (absurd and key == "value")]
        return [problem for key, item in items for problem in _not_finite(item, f"{path}.{key}")]
    return []


_TEXT_READINGS = tuple(name for name, hint in get_type_hints(Identity).items() if hint == str | Absent)
"""The fields that `[identity]` may set."""

PLAUSIBLE: dict[str, tuple[float, float]] = {
    "temperature_c": (-20, 130),
    "memory_temperature_c": (-20, 130),
    "power_w": (0, 2000),
    "sm_clock_mhz": (0, 5000),
    "memory_clock_mhz": (0, 20_000),
}
"""What a sensor of a working card can answer, field by field."""


def _misfits(scenario: Scenario) -> list[str]:
    """What cannot be, given the model: each names the field and the remedy."""
    problems = [*_identity_misfits(scenario), *_unknown_models(scenario)]
    if problems:
        return problems
    if scenario.ecc is not None and scenario.ecc_on is None:
        problems.append(f"ecc: {scenario.model} has no ECC to switch; leave the line out")
    for index, fault in enumerate(scenario.faults):
        misfit = _misfit(scenario, fault)
        if misfit:
            problems.append(f"fault[{index}] ({fault.kind}): {misfit}")
    return problems


def _identity_misfits(scenario: Scenario) -> list[str]:
    return [
        f"identity.{name}: no such text reading; there are {', '.join(_TEXT_READINGS)}"
        for name in scenario.identity
        if name not in _TEXT_READINGS
    ]


def _unknown_models(scenario: Scenario) -> list[str]:
    wanted = [("model", scenario.model)]
    wanted += [("fault.actual_model", fake.actual_model) for fake in scenario.of(Counterfeit)]
    return [f"{where}: {problem}" for where, key in wanted if (problem := _unknown_model(key))]


def _unknown_model(key: str) -> str:
    try:
        shelf.get(key)
    except shelf.UnknownModelError as error:
        return str(error.args[0])
    return ""


def _misfit(scenario: Scenario, fault: Fault) -> str:
    """Why this fault cannot be on this card; empty when it can."""
    model, silicon = scenario.answers_as, scenario.silicon
    match fault:
        case StuckBit() | Transition() | Intermittent() | Neighbourhood() | Stripes():
            return _beyond(scenario, "offset", fault.offset, 1)
        case Retention() if fault.hold_ms >= REFRESH_MS:
            return f"hold_ms: refresh comes every {REFRESH_MS:g} ms, so this cell would never be seen to fail"
        case Retention():
            return _beyond(scenario, "offset", fault.offset, 1)
        case RefreshLost():
            aligned = fault.offset % 8 == fault.bytes % 8 == 0
            shape = "" if aligned else "offset and bytes must be multiples of 8"
            return shape or _beyond(scenario, "bytes", fault.offset, fault.bytes)
        case Coupling() if fault.aggressor // 8 == fault.victim // 8:
            return "aggressor and victim are in the same word; move one of them by 8 bytes"
        case Coupling():
            beyond = _beyond(scenario, "aggressor", fault.aggressor, 1)
            return beyond or _beyond(scenario, "victim", fault.victim, 1)
        case Dq() if fault.line >= silicon.memory.channel_bits:
            return _no_such_wire(silicon)
        case ThermalIntermittent() if fault.below_c >= fault.above_c:
            return "below_c must be below above_c: a joint closes cooler than it opens"
        case ThermalIntermittent() if fault.effect != "memory" and fault.line:
            return 'line is for effect = "memory" alone; leave it out'
        case ThermalIntermittent(effect="memory") if fault.line >= silicon.memory.channel_bits:
            return _no_such_wire(silicon)
        case ChannelMissing() if scenario.channels < 1:
            return f"count must leave a channel; {silicon.key} has {silicon.memory.channels}"
        case Contained() if silicon.chip not in CONTAINING_CHIPS:
            return f"{silicon.key} contains no errors; models with {', '.join(CONTAINING_CHIPS)} do"
        case SramThreshold() if float(silicon.compute_capability) < SRAM_COUNTED_FROM:
            return f"{silicon.key} does not count errors of its SRAM"
        case Alias():
            apart = fault.source + fault.bytes <= fault.to or fault.to + fault.bytes <= fault.source
            aligned = fault.source % 8 == fault.to % 8 == fault.bytes % 8 == 0
            overlap = "" if apart else "from and to overlap; move one of them"
            shape = overlap if aligned else "from, to and bytes must be multiples of 8"
            reach = max(fault.source, fault.to)
            return shape or _beyond(scenario, "bytes", reach, fault.bytes)
        case FakeMemory() if fault.real_mib >= scenario.vram_mib:
            return f"real_mib must be less than vram_mib, which is {scenario.vram_mib}"
        case OtherProcess() if fault.mib >= scenario.vram_mib:
            return f"mib must be less than vram_mib, which is {scenario.vram_mib}"
        case TpcMissing() if scenario.sm_count < 1:
            return f"count must leave a TPC; {silicon.key} has {silicon.sm_count // silicon.sms_per_tpc}"
        case SmArithmetic() if fault.sm >= scenario.sm_count:
            return f"sm must be below {scenario.sm_count}, the multiprocessors of {silicon.key}"
        case SmArithmetic() | WrongEveryTime() if fault.dtype and UNIT_OF[fault.dtype] != fault.unit:
            return f'products of {fault.dtype.value} are worked out by unit = "{UNIT_OF[fault.dtype].value}"'
        case EccCorrected() | EccUncorrected() | Contained() | SramThreshold() if not scenario.ecc_on:
            return f"ECC is off or absent on this {model.key}; choose a model with ECC, or set ecc = true"
        case EccOff() if scenario.ecc_on is None:
            return f"{model.key} has no ECC to switch off"
        case EccOff() if scenario.ecc:
            return "ecc = true contradicts it; leave that line out"
        case RowRemap() | RemapExhausted() if not model.memory.row_remapping:
            return f"{model.key} does not remap rows"
        case RemapExhausted() if not model.memory.remap_banks:
            return f"the number of banks of {model.key} is not known"
        case RetiredPages() if not model.memory.page_retirement:
            return f"{model.key} does not retire pages"
        case PendingMode(mode="ecc") if scenario.ecc_on is None:
            return f"{model.key} has no ECC mode"
        case PendingMode(mode="mig") | MigOn() if model.chip not in MIG_CHIPS:
            return f"{model.key} has no MIG"
        case NvlinkDown() if fault.link >= model.links.nvlinks:
            return f"link must be below {model.links.nvlinks}, the NVLinks of {model.key}"
        case Fan() if silicon.thermal.cooling != "own_fan":
            return f"{silicon.key} has no fan of its own"
        case PcieWidth() if fault.width >= model.links.pcie_width:
            return f"width must be below {model.links.pcie_width}, the lanes of {model.key}"
        case PcieGen() if fault.gen >= model.links.pcie_gen:
            return f"gen must be below {model.links.pcie_gen}, the generation of {model.key}"
        case PowerLimit() if fault.watts >= model.power.default_w:
            return f"watts must be below {model.power.default_w:g}, the default of {model.key}"
        case Absurd() if _possible(fault):
            low, high = PLAUSIBLE[fault.reading]
            return f"{fault.value:g} is a value that a working sensor gives; choose one outside {low:g} to {high:g}"
        case _:
            return ""


def _no_such_wire(silicon: Model) -> str:
    return f"line must be below {silicon.memory.channel_bits}, the data wires of a channel of {silicon.memory.type}"


def _beyond(scenario: Scenario, name: str, offset: int, length: int) -> str:
    if offset + length <= scenario.tested_bytes:
        return ""
    return f"{name} reaches beyond the tested memory, which ends at byte {scenario.tested_bytes}; raise vram_mib"


def _possible(fault: Absurd) -> bool:
    low, high = PLAUSIBLE[fault.reading]
    return low <= fault.value <= high
