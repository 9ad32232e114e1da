"""Lint: what cannot be true in the catalogue, found by formulas, by units, by sources, and beside sibling models.

Tables of GPU facts are copied from one another with their mistakes: swapped rows, a factor of 1000, the figure of a
whole board, a rate no datasheet allows. Every rule here is a formula or a physical bound, so that it needs no second
table to compare with. Formulas: models.md §0; each is repeated where it is used.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, pairwise

from msgspec import Struct, structs

from gpucert.catalogue import sources
from gpucert.catalogue.matching import FIRST_TURING_DEVICE, is_mining, memory_agrees
from gpucert.catalogue.model import Model

GROUPS = frozenset({"identity", "structure", "memory", "peak", "achieved", "power", "thermal", "links"})
"""Every group of facts needs sources of its own."""


class Defect(Struct, frozen=True, order=True):
    """One thing that cannot be true."""

    key: str
    """The model; two of them, joined by “ and ”, where they contradict each other."""
    field: str
    """The fact, as it is called in the model's file: `memory.peak_gb_s`."""
    said: str
    """What is wrong, and what would be right where a formula tells."""

    def __str__(self) -> str:
        """One line that names model and field."""
        return f"{self.key}: {self.field}: {self.said}"


def lint(models: Iterable[Model]) -> tuple[Defect, ...]:
    """Every defect of these models, alone and beside each other, ordered."""
    shelf = tuple(models)
    void = [Defect(model.key, field, said) for model in shelf for field, said in _void(model)]
    sound = [model for model in shelf if model.key not in {one.key for one in void}]
    alone = (Defect(model.key, field, said) for model in sound for rule in _RULES for field, said in rule(model))
    return tuple(sorted((*void, *alone, *_together(tuple(sound)))))


_Complaints = Iterator[tuple[str, str]]

_BELOW_ZERO = {"tlimit_slowdown_c", "tlimit_shutdown_c", "nvlinks"}


def _void(model: Model) -> _Complaints:
    """Numbers that are none: every formula below would divide by them or take them for true."""
    groups = {"": model, "memory.": model.memory, "peak.": model.peak, "power.": model.power}
    groups |= {"thermal.": model.thermal, "links.": model.links, "achieved.": model.achieved}
    for prefix, group in groups.items():
        for name in group.__struct_fields__:
            value = getattr(group, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and (not math.isfinite(value) or (value <= 0 and name not in _BELOW_ZERO)):
                yield f"{prefix}{name}", f"{value} is no such number"


# --- structure

_CORES_PER_SM_64 = {"GP100", "GV100", "TU102", "TU104", "TU106", "TU116", "TU117", "GA100"}
"""The other chips from Pascal on have 128."""
_SM_OF_CHIP = {
    "GP100": 60, "GP102": 30, "GP104": 20, "GP106": 10, "GV100": 84, "TU102": 72, "TU104": 48, "TU106": 36,
    "GA100": 128, "GA102": 84, "GA103": 60, "GA104": 48, "GA106": 30, "GA107": 20, "AD102": 144, "AD103": 80,
    "AD104": 60, "AD106": 36, "AD107": 24, "GH100": 144, "GB202": 192, "GB203": 84, "GB205": 50,
}  # fmt: skip
"""SMs of the full die: NVIDIA's architecture white papers. A product has so many or fewer."""


def _structure(model: Model) -> _Complaints:
    per_sm = 64 if model.chip in _CORES_PER_SM_64 else 128
    cores = model.sm_count * per_sm
    if model.cuda_cores != cores:
        yield "cuda_cores", f"{model.cuda_cores}, where {model.sm_count} SMs × {per_sm} give {cores}"
    most = _SM_OF_CHIP.get(model.chip)
    if most is not None and model.sm_count > most:
        yield "sm_count", f"{model.sm_count}, more than the {most} of a full {model.chip}"
    if model.l2_mib is not None and not 1 <= model.l2_mib <= 256:
        yield "l2_mib", f"{model.l2_mib} MiB, where GPUs have 1 to 256"
    if not 2016 <= model.release_year <= 2040:
        yield "release_year", f"{model.release_year}, before Pascal or not a year"
    if not re.fullmatch(r"\d{1,2}\.\d", model.compute_capability):
        yield "compute_capability", f"{model.compute_capability!r} is not MAJOR.MINOR"


# --- memory

_BUSES_OF_CHIP = {
    "GP100": {3072, 4096}, "GP102": {352, 384}, "GP104": {256}, "GP106": {192}, "GV100": {3072, 4096},
    "TU102": {320, 352, 384}, "TU104": {256}, "TU106": {192, 256}, "GA100": {3072, 4096, 5120}, "GA102": {320, 384},
    "GA104": {256}, "GA106": {128, 192}, "GA107": {128}, "AD102": {256, 384}, "AD103": {256}, "AD104": {160, 192},
    "GH100": {5120, 6016, 6144}, "GB100": {8192}, "GB202": {384, 512}, "GB203": {256}, "GB205": {192},
}  # fmt: skip
"""Bits of memory bus that products of a chip have; half a package or a modified card falls outside."""
_DATA_RATES = {
    "GDDR5": (5, 9), "GDDR5X": (9, 12), "GDDR6": (10, 21), "GDDR6X": (18, 24), "GDDR7": (25, 33),
    "HBM2": (1.3, 2.5), "HBM2e": (2.3, 3.3), "HBM3": (4.9, 5.5), "HBM3e": (6, 9.3),
}  # fmt: skip
"""Gbit/s a pin of each memory type in products (JEDEC ranges as sold); a factor of 2 or 1000 falls outside of all."""


def _memory(model: Model) -> _Complaints:
    memory = model.memory
    exact = memory.clock_mhz * memory.bytes_per_clock / 1000  # GB/s = 2 × MHz × bits / 8 / 1000
    if not math.isclose(memory.peak_gb_s, exact, rel_tol=0.02):
        yield "memory.peak_gb_s", f"{memory.peak_gb_s} GB/s, where 2 × clock × bus / 8 gives {exact:.0f}"
    rate = memory.peak_gb_s * 8 / memory.bus_bits
    known = next((bounds for name, bounds in _DATA_RATES.items() if name.lower() == memory.type.lower()), None)
    if known is None:
        yield "memory.type", f"{memory.type!r} is none of {', '.join(_DATA_RATES)}"
    elif not known[0] <= rate <= known[1]:
        yield "memory.peak_gb_s", f"{rate:.1f} Gbit/s a pin, where {memory.type} runs at {known[0]} to {known[1]}"
    stacked = memory.type.upper().startswith("HBM")
    if memory.bus_bits % 32 or not (1024 <= memory.bus_bits <= 8192 if stacked else 64 <= memory.bus_bits <= 512):
        yield "memory.bus_bits", f"{memory.bus_bits} bits, which no {memory.type} card has"
    elif memory.bus_bits not in _BUSES_OF_CHIP.get(model.chip, {memory.bus_bits}):
        sold = " or ".join(map(str, sorted(_BUSES_OF_CHIP[model.chip])))
        yield "memory.bus_bits", f"{memory.bus_bits} bits, where products of {model.chip} have {sold}"
    if memory.driver_mib is not None and not memory_agrees(model, memory.driver_mib):
        yield "memory.driver_mib", f"{memory.driver_mib} MiB does not fit {memory.size_gib} GiB"
    yield from _ecc(model)


def _ecc(model: Model) -> _Complaints:
    memory = model.memory
    stacked = memory.type.upper().startswith("HBM")
    if memory.ecc == "hbm_sideband" and not stacked:
        yield "memory.ecc", f"hbm_sideband on {memory.type}"
    if memory.ecc == "gddr_inline" and stacked:
        yield "memory.ecc", f"gddr_inline on {memory.type}"
    if memory.ecc == "hbm_sideband" and not memory.ecc_as_shipped:
        yield "memory.ecc_as_shipped", "false, though ECC beside HBM costs nothing and ships on"
    if memory.ecc in ("none", "unknown") and memory.ecc_as_shipped:
        yield "memory.ecc_as_shipped", f"true with ecc = {memory.ecc!r}"
    if memory.ecc_as_shipped and any(word in model.key for word in ("GeForce", "TITAN", "Quadro", "RTX A")):
        yield "memory.ecc_as_shipped", "true on a card of a line that ships with ECC off"
    if memory.row_remapping and memory.page_retirement:
        yield "memory.page_retirement", "true beside row_remapping, which replaced it"


# --- peak rates

_FP64_HALF = {"GP100", "GV100", "GA100", "GH100", "GB100"}
_FP64_CUT = {"NVIDIA H20", "NVIDIA H800", "NVIDIA H800 PCIe"}
_HALF_RATE_TENSOR = {"NVIDIA A10G", "NVIDIA L20", "NVIDIA L40"}
_CUT_TENSOR = {"NVIDIA H20"}
_FMA_PER_CLOCK = {
    "Volta": 512, "Turing": 512, "Ada Lovelace": 512, "Ampere": 512, "Hopper": 2048, "Blackwell": 512
}  # fmt: skip
"""Dense FP16 multiply-adds a clock and SM with FP32 accumulation; GA100 has 1024, GeForce half, GB100 is two dies."""


_BESIDE_FP16 = {"tf32": (0.5,), "int8": (2, 4), "fp8": (2,)}
"""Dense rates beside FP16 with FP32 accumulation, which GeForce cards run at half rate and INT8 at full."""


def _rates(model: Model) -> _Complaints:
    peak = model.peak
    for name, value in structs.asdict(peak).items():
        if isinstance(value, float) and not 0 < value < 20_000:
            yield f"peak.{name}", f"{value} TFLOP/s is no rate of one GPU"
    if peak.fp32 is None:
        if not is_mining(model.key):
            yield "peak.fp32", "missing; only mining cards have no known rate"
        return
    exact = 2e-6 * model.cuda_cores * peak.clock_mhz  # TFLOP/s = 2 × cores × MHz / 10⁶
    if not math.isclose(peak.fp32, exact, rel_tol=0.005):
        yield "peak.fp32", f"{peak.fp32} TFLOP/s, where 2 × cores × clock gives {exact:.2f}"
    yield from _fp64(model, peak.fp32)
    yield from _tensor(model)


def _fp64(model: Model, fp32: float) -> _Complaints:
    peak = model.peak
    if peak.fp64 is None or model.key in _FP64_CUT:
        return
    older = model.architecture in ("Pascal", "Turing")
    share, words = (1 / 2, "1/2") if model.chip in _FP64_HALF else (1 / 32, "1/32") if older else (1 / 64, "1/64")
    vector = peak.fp64_vector or peak.fp64
    if not math.isclose(vector, fp32 * share, rel_tol=0.01):
        yield "peak.fp64", f"{vector} TFLOP/s, where {model.chip} has {words} of FP32, {fp32 * share:.3g}"
    if peak.fp64_vector is not None and not math.isclose(peak.fp64, 2 * peak.fp64_vector, rel_tol=0.01):
        yield "peak.fp64", f"{peak.fp64} TFLOP/s, where tensor cores double {peak.fp64_vector}"
    if peak.fp64_vector is not None and model.chip not in {"GA100", "GH100"}:
        yield "peak.fp64_vector", f"stated, though {model.chip} has no FP64 tensor cores"


def _tensor(model: Model) -> _Complaints:
    peak = model.peak
    if peak.fp16 is None:
        if model.architecture != "Pascal" and not is_mining(model.key):
            yield "peak.fp16", f"missing, though {model.architecture} has tensor cores"
        return
    if model.key not in _CUT_TENSOR and model.chip != "GB100":
        fma = 1024 if model.chip == "GA100" else _FMA_PER_CLOCK.get(model.architecture, 512)
        if "GeForce" in model.key or model.key in _HALF_RATE_TENSOR:
            fma //= 2
        clock = peak.tensor_clock_mhz or peak.clock_mhz
        exact = 2e-6 * fma * model.sm_count * clock  # TFLOP/s = 2 × FMA/clock/SM × SMs × MHz / 10⁶
        if not math.isclose(peak.fp16, exact, rel_tol=0.01):
            yield "peak.fp16", f"{peak.fp16} TFLOP/s, where {fma} FMA a clock and SM give {exact:.1f}"
    for name, ratios in _BESIDE_FP16.items():
        rate = getattr(peak, name)
        if rate is not None and not any(math.isclose(rate, ratio * peak.fp16, rel_tol=0.01) for ratio in ratios):
            yield (
                f"peak.{name}",
                f"{rate}, where tensor cores give {' or '.join(f'{ratio:g}' for ratio in ratios)} × FP16",
            )
    if peak.bf16 not in (None, peak.fp16):
        yield "peak.bf16", f"{peak.bf16} TFLOP/s beside FP16 at {peak.fp16}"
    if (peak.bf16 is None) != (model.architecture in ("Volta", "Turing")):
        yield "peak.bf16", f"{'missing' if peak.bf16 is None else 'stated'} on {model.architecture}"


def _clocks(model: Model) -> _Complaints:
    clock, highest, tensor = model.peak.clock_mhz, model.max_sm_clock_mhz, model.peak.tensor_clock_mhz
    if not 500 <= clock <= 3_500:
        yield "peak.clock_mhz", f"{clock} MHz is no clock of an SM"
    if highest is not None and not clock <= highest <= 2.1 * clock:
        yield "max_sm_clock_mhz", f"{highest} MHz beside rates at {clock} MHz"
    if tensor is not None and not 0.7 * clock <= tensor <= clock:
        yield "peak.tensor_clock_mhz", f"{tensor} MHz beside {clock} MHz"


def _achieved(model: Model) -> _Complaints:
    shares = structs.asdict(model.achieved)
    for name in ("u_gemm", "u_tf32", "u_int8", "u_memory"):
        u = shares.pop(name)
        if u is not None and not 0.002 <= u < 0.1:
            yield f"achieved.{name}", f"{u}, where a relative uncertainty lies between 0.002 and 0.1"
    for name, share in shares.items():
        if share is not None and not 0.3 < share <= 1.0:
            yield f"achieved.{name}", f"{share}: no card sustains more than its peak, or less than 0.3 of it"
    for dtype in ("fp64", "fp32", "tf32", "fp16", "bf16", "int8"):
        if (shares[dtype] is None) != (getattr(model.peak, dtype) is None):
            yield f"achieved.{dtype}", "share and peak must be stated together"
    if shares["memory_copy"] > min(shares["memory_read"], shares["memory_write"]):
        yield "achieved.memory_copy", "above reading or writing alone"


# --- power, heat, links


_POWER_SHARES = {"min_w": (0.15, 1.0), "max_w": (1.0, 1.5), "idle_w": (0.005, 0.4)}
"""Of the default power: what boards allow and take at rest."""


def _power(model: Model) -> _Complaints:
    power = model.power
    if not 20 <= power.default_w <= 2_000:
        yield "power.default_w", f"{power.default_w} W is no board's power"
    for name, (low, high) in _POWER_SHARES.items():
        watts = getattr(power, name)
        if watts is not None and not low * power.default_w <= watts <= high * power.default_w:
            yield f"power.{name}", f"{watts} W beside a default of {power.default_w} W"


_INLET_C = 30.0


def _heat(model: Model) -> _Complaints:
    thermal = model.thermal
    order = (
        ("max_operating_c", thermal.max_operating_c),
        ("slowdown_c", thermal.slowdown_c),
        ("shutdown_c", thermal.shutdown_c),
    )
    known = [(name, limit) for name, limit in order if limit is not None]
    for (lower, one), (upper, other) in pairwise(known):
        if one > other:
            yield f"thermal.{upper}", f"{other} °C, below {lower} at {one}"
    for name, limit in known:
        if not 75 <= limit <= 110:
            yield f"thermal.{name}", f"{limit} °C is no limit of a GPU"
    if thermal.memory_max_c is not None and not 75 <= thermal.memory_max_c <= 125:
        yield "thermal.memory_max_c", f"{thermal.memory_max_c} °C is no limit of a memory"
    for name in ("tlimit_slowdown_c", "tlimit_shutdown_c"):
        margin = getattr(thermal, name)
        if margin is not None and not -20 <= margin <= -1:
            yield f"thermal.{name}", f"{margin} °C: margins beyond the limit are −1 to −20"
    if thermal.tlimit_zero_c is not None and not 75 <= thermal.tlimit_zero_c <= 110:
        yield "thermal.tlimit_zero_c", f"{thermal.tlimit_zero_c} °C is no limit of a GPU"
    hottest = _INLET_C + thermal.total_c_per_w * model.power.default_w
    limits = [
        limit for limit in (thermal.max_operating_c, thermal.slowdown_c, thermal.tlimit_zero_c) if limit is not None
    ]
    if not 60 < hottest < min([95.0, *limits]):
        yield "thermal.total_c_per_w", f"a healthy card at {_INLET_C:.0f} °C inlet would run at {hottest:.0f} °C"
    if not thermal.total_c_per_w / 6.1 <= thermal.fast_c_per_w <= 0.52 * thermal.total_c_per_w:
        yield "thermal.fast_c_per_w", f"{thermal.fast_c_per_w} °C/W of {thermal.total_c_per_w} in all"


_GB_S_PER_NVLINK = (28.125, 40, 50, 100)
"""Both directions: RTX 3090 and A40, NVLink 1, NVLink 2 to 4, NVLink 5."""


def _links(model: Model) -> _Complaints:
    links = model.links
    if links.pcie_gen not in range(1, 7):
        yield "links.pcie_gen", f"{links.pcie_gen} is no generation of PCIe"
    if links.pcie_width not in (4, 8, 16):
        yield "links.pcie_width", f"x{links.pcie_width} is no width of a GPU"
    if (links.nvlinks == 0) != (links.nvlink_gb_s is None):
        yield "links.nvlink_gb_s", f"{links.nvlink_gb_s} beside {links.nvlinks} NVLinks"
    elif links.nvlink_gb_s is not None and links.nvlink_gb_s / links.nvlinks not in _GB_S_PER_NVLINK:
        yield "links.nvlink_gb_s", f"{links.nvlink_gb_s / links.nvlinks:.4g} GB/s a link, which no NVLink has"


# --- identity and sources


def _identity(model: Model) -> _Complaints:
    if not model.pci:
        yield "pci", "empty: nothing but a name would tell this model"
    for pci in model.pci:
        parts = [pci.device] if pci.subdevice is None else [pci.device, str(pci.subvendor), pci.subdevice]
        if not all(re.fullmatch("[0-9a-f]{4}", part) for part in parts):
            yield "pci", f"{':'.join(parts)} is not of four lower-case hexadecimal digits each"
        elif (int(pci.device, 16) < FIRST_TURING_DEVICE) != (
            model.architecture in ("Pascal", "Volta")
        ) and model.chip != "GV100":
            yield "pci", f"device {pci.device} is not of {model.architecture}"
    if not model.names:
        yield "names", "empty"
    for name in model.names:
        if name != " ".join(name.split()):
            yield "names", f"{name!r} has blanks too many"


def _sources(model: Model) -> _Complaints:
    for group in sorted(GROUPS - model.sources.keys()):
        yield f"sources.{group}", "missing"
    for group in sorted(model.sources.keys() - GROUPS):
        yield f"sources.{group}", f"no such group of facts; there are {', '.join(sorted(GROUPS))}"
    for group, texts in model.sources.items():
        codes = {sources.code(text) for text in texts}
        if not codes:
            yield f"sources.{group}", "empty"
        for unknown in sorted(codes - sources.explained().keys()):
            yield f"sources.{group}", f"{unknown} is not explained in sources.toml"
        if codes == {"TPU-check"}:
            yield f"sources.{group}", "TPU-check alone, which is only a check"


_RULES: tuple[Callable[[Model], _Complaints], ...] = (
    _structure, _memory, _rates, _clocks, _achieved, _power, _heat, _links, _identity, _sources
)  # fmt: skip


# --- beside each other


def _together(models: tuple[Model, ...]) -> Iterator[Defect]:
    yield from _keys(models)
    yield from _shared_ids(models)
    for one, other in combinations(models, 2):
        if one.chip == other.chip:
            for field, said in _siblings(one, other):
                yield Defect(f"{one.key} and {other.key}", field, said)


def _keys(models: tuple[Model, ...]) -> Iterator[Defect]:
    seen: set[str] = set()
    for model in models:
        if model.key in seen:
            yield Defect(model.key, "key", "is the key of two models")
        seen.add(model.key)


def _shared_ids(models: tuple[Model, ...]) -> Iterator[Defect]:
    """A PCI id, a memory size and a number of cores tell one model, because nothing else is left to tell it by."""
    seen: dict[tuple[object, ...], str] = {}
    for model in models:
        for pci in model.pci:
            identity = (pci, model.memory.size_gib, model.cuda_cores)
            other = seen.setdefault(identity, model.key)
            if other != model.key or model.pci.count(pci) > 1:
                yield Defect(f"{other} and {model.key}", "pci", f"both are {pci.device} with this memory and cores")


_MOST_SIBLING_RATIO = 2.6
"""Bandwidth of two products of one chip; the largest true one is below it, a swapped row or a factor of 10 above."""


def _siblings(one: Model, other: Model) -> _Complaints:
    if one.compute_capability != other.compute_capability:
        yield "compute_capability", f"{one.compute_capability} and {other.compute_capability} on one {one.chip}"
    if one.architecture != other.architecture:
        yield "architecture", f"{one.architecture} and {other.architecture} on one {one.chip}"
    if abs(one.release_year - other.release_year) > 4:
        yield "release_year", f"{one.release_year} and {other.release_year} on one {one.chip}"
    per_bit = (one.memory.peak_gb_s / one.memory.bus_bits, other.memory.peak_gb_s / other.memory.bus_bits)
    if max(per_bit) > _MOST_SIBLING_RATIO * min(per_bit):
        yield "memory.peak_gb_s", f"{one.memory.peak_gb_s} and {other.memory.peak_gb_s} GB/s on one {one.chip}"
    same = one.sm_count == other.sm_count and one.memory.bus_bits == other.memory.bus_bits
    if same and None not in (one.l2_mib, other.l2_mib) and one.l2_mib != other.l2_mib:
        yield "l2_mib", f"{one.l2_mib} and {other.l2_mib} MiB with the same SMs and bus"
    yield from _board_beside_card(one, other)
    yield from _board_beside_card(other, one)


def _board_beside_card(board: Model, card: Model) -> _Complaints:
    """SXM boards are there to draw more than a slot allows."""
    both = board.form_factor.startswith("SXM") and card.form_factor.startswith("PCIe")
    watts = board.power.default_w, card.power.default_w
    if both and board.sm_count == card.sm_count and watts[0] < watts[1]:
        yield "power.default_w", f"{watts[0]:g} W on {board.form_factor}, {watts[1]:g} W on PCIe: rows swapped?"
