"""Circumstances: what was not the same in two runs of one card, and which measures can therefore not be compared.

A difference of two numbers says something about the card only where all else was alike. What was not is named with
its consequence; a measure that rests on it is shown and claims nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from gpucert.reading import Absent, Reading
from gpucert.record import Record, StepRecord
from gpucert.verdict.candidate import kernel_of
from gpucert.verdict.comparison import Circumstance
from gpucert.verdict.judge import DISTURBED, PER_CLOCK, SLOWING
from gpucert.verdict.verdict import Finding, Verdict

NOT_TOLD = "not told"
SAME_LENGTH = 0.1
"""Loads whose lengths differ by more than this share heat the card differently; engineering choice."""
SAME_AIR_C = 3.0
"""Inlet air that differs by more leaves other clocks to a card that heat or power holds; engineering choice, as large
as the uncertainty of an inlet temperature that nobody stated."""

_PRODUCTS, _MEMORY = "gemm_sustained.", "memory_bandwidth."
_SWEEP = "memory_scan.sweep_rate"
_RATES = (_PRODUCTS, _MEMORY, _SWEEP)
_AT_CLOCKS = (
    *(name for name in PER_CLOCK if name.startswith(_PRODUCTS)),
    *(f"sm_clock.{name}" for name in ("reported", "real", "slowest", "fastest")),
)
"""What depends on the SM clocks that power and heat leave."""
_OF_LONG_HEAT = ("thermal.slow", "thermal.total")


@dataclass(frozen=True)
class Run:
    """A record with its verdict by today's rules."""

    record: Record
    verdict: Verdict

    @cached_property
    def codes(self) -> frozenset[str]:
        """What was diagnosed."""
        return frozenset(one.code for one in self.verdict.diagnoses)

    @cached_property
    def findings(self) -> dict[str, tuple[Finding, ...]]:
        """What was judged, by `probe.measure`."""
        found: dict[str, tuple[Finding, ...]] = {}
        for one in self.verdict.findings:
            name = f"{one.probe}.{one.measure}"
            found[name] = (*found.get(name, ()), one)
        return found

    def steps_of(self, probe: str) -> tuple[StepRecord, ...]:
        """The steps of one probe in order, repeats included."""
        return tuple(step for step in self.record.steps if step.probe == probe)


@dataclass(frozen=True)
class _Kind:
    """A circumstance that both records tell; `hinders` are beginnings of the measures that rest on it."""

    name: str
    of: Callable[[Run], str]
    means: str
    hinders: tuple[str, ...] = ()


def _reading(value: Reading[object], unit: str = "") -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Absent):
        return NOT_TOLD if value.detail == "not asked" else str(value)
    return f"{value:g} {unit}".rstrip() if isinstance(value, float) else f"{value} {unit}".rstrip()


def _version(name: str) -> Callable[[Run], str]:
    return lambda run: run.record.versions.get(name, NOT_TOLD)


def _card(name: str, unit: str = "") -> Callable[[Run], str]:
    return lambda run: _reading(getattr(run.record.card, name), unit)


def _setting(name: str, unit: str = "") -> Callable[[Run], str]:
    return lambda run: _reading(getattr(run.record.settings, name), unit)


def _plan(run: Run) -> str:
    plan = run.record.plan
    hours = "" if plan.hours is None else f", {plan.hours:g} h"
    return f"{plan.name}, version {plan.version}{hours} ({plan.sha256[:8]})"


def _air(run: Run) -> str:
    return NOT_TOLD if run.record.inlet_c is None else f"{run.record.inlet_c:g} °C"


def _host(run: Run) -> str:
    station = run.record.station
    return f"{station.os}, {station.cpu_count} CPUs"


_OTHER_CARD = "A repair does not change this: the firmware was rewritten, parts were exchanged, or it is another card."
_FIRMWARE = "Other firmware may set other clocks, limits and fan curves: what follows from these is no repair."

_KINDS = (
    _Kind("Plan", _plan, "Another plan tests other things for other lengths; only what both tested is compared."),
    _Kind(
        "gpucert",
        _version("gpucert"),
        "Another version may measure in another way; what changed stands in its changelog.",
    ),
    _Kind("Kernels", lambda run: kernel_of(run.record), "Rates of other kernels cannot be compared.", _RATES),
    _Kind(
        "cuBLAS",
        _version("cublas"),
        "Another library multiplies in another way: rates of products cannot be compared.",
        (_PRODUCTS,),
    ),
    _Kind(
        "CUDA",
        _version("cuda_runtime"),
        "Another compiler may make other code of the same kernels; rates may differ by it.",
    ),
    _Kind(
        "Driver", _card("driver"), "Another driver may hold other clocks: rates a second and power may differ by it."
    ),
    _Kind("Air at the inlet", _air, "Temperatures follow the air and are not compared; resistances do not."),
    _Kind(
        "Power limit",
        _setting("power_limit_w", "W"),
        "Rates a second and clocks follow the power limit.",
        (*_AT_CLOCKS, "thermal_soak.plateau_power"),
    ),
    _Kind(
        "ECC",
        _setting("ecc"),
        "ECC takes a share of memory and of its speed.",
        (_MEMORY, _SWEEP, "identity.memory_total"),
    ),
    _Kind("MIG", _setting("mig"), "A part of a card is not the card.", (*_RATES, "identity.", "sm_", "thermal.")),
    _Kind("Place on the bus", _card("bus_id"), "It was another slot: what is said of PCIe is said of that slot."),
    _Kind(
        "Host",
        _host,
        "It was another station, or one that was set up anew: its air, its power and its slot count as well.",
    ),
    _Kind("VBIOS", _card("vbios"), _FIRMWARE),
    _Kind("Default power limit", _setting("power_default_w", "W"), _FIRMWARE),
    _Kind("InfoROM image", _card("inforom_image"), _FIRMWARE),
    _Kind(
        "Serial", _card("serial"), "The serial is a label that a repair shop may write anew; the identity is the same."
    ),
    _Kind("Name", _card("name"), _OTHER_CARD),
    _Kind("Model", lambda run: run.verdict.model or "not in the catalogue", _OTHER_CARD),
    _Kind("PCI device", _card("pci_device"), _OTHER_CARD),
    _Kind("PCI subsystem", lambda run: f"{_card('pci_subvendor')(run)}:{_card('pci_subdevice')(run)}", _OTHER_CARD),
    _Kind("Board part number", _card("board_part_number"), _OTHER_CARD),
    _Kind(
        "Memory",
        _card("memory_mib", "MiB"),
        "The driver counts another size: ECC, a missing channel, or exchanged chips.",
    ),
    _Kind(
        "Memory bus",
        _card("bus_bits", "bit"),
        "Another width of the memory bus: a channel came or went, or it is another card.",
    ),
    _Kind("CUDA cores", _card("cuda_cores"), "Another number of cores: parts were fused off, or it is another card."),
    _Kind("Highest SM clock", _card("max_sm_clock_mhz", "MHz"), _FIRMWARE),
    _Kind("Highest memory clock", _card("max_memory_clock_mhz", "MHz"), _FIRMWARE),
    _Kind(
        "Tested window",
        _card("window_mib", "MiB"),
        "A virtual card of another window: counts of words cannot be compared.",
    ),
)


def circumstances(before: Run, after: Run) -> tuple[Circumstance, ...]:
    """Everything in which the runs differed, and air that nobody stated."""
    return tuple(
        Circumstance(name=kind.name, before=kind.of(before), after=kind.of(after), means=kind.means)
        for kind in _KINDS
        if kind.of(before) != kind.of(after) or (kind.of is _air and kind.of(before) == NOT_TOLD)
    )


class Hindrances:
    """Which measures cannot be compared, and why. The first reason of a measure is the one that is told."""

    def __init__(self, before: Run, after: Run) -> None:
        self._reasons = tuple(_reasons(before, after))

    def of(self, measure: str) -> str:
        """Why a measure cannot be compared, in one sentence; empty where nothing stands in the way."""
        return next((why for begins, why in self._reasons if measure.startswith(begins)), "")


def _reasons(before: Run, after: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """Beginnings of measures, each with what stands in their way."""
    for kind in _KINDS:
        if kind.hinders and kind.of(before) != kind.of(after):
            yield kind.hinders, f"{kind.name}: {kind.of(before)} before, {kind.of(after)} after. {kind.means}"
    yield from _held_back(before, after)
    one, other = before.record.inlet_c, after.record.inlet_c
    if one is not None and other is not None and abs(one - other) > SAME_AIR_C:
        yield _AT_CLOCKS, f"The air had {one:g} °C before and {other:g} °C after, and clocks follow it."
    yield from _other_lengths(before, after)


def _held_back(before: Run, after: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """What somebody else did to the card in one of the runs."""
    for run, when in ((before, "before"), (after, "after")):
        for code in DISTURBED:
            if code in run.codes:
                yield (*_RATES, "sm_clock."), f"The station held the card back {when}: {code}."
    for code in SLOWING:
        if (code in before.codes) != (code in after.codes):
            when = "before" if code in before.codes else "after"
            yield _AT_CLOCKS, f"The station kept the clocks down {when}: {code}."


def _other_lengths(before: Run, after: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """Loads of other lengths leave the card at other temperatures."""
    one, other = (_budget(run, "gemm_sustained") for run in (before, after))
    if one and other and not _alike(one, other):
        yield _AT_CLOCKS, f"Products had {one:g} s before and {other:g} s after, so that the card was not as warm."
    one, other = (_heated_s(run) for run in (before, after))
    if one and other and not _alike(one, other):
        yield _OF_LONG_HEAT, f"It was not the same soak: {one:.0f} s of heat before and {other:.0f} s after."


def _budget(run: Run, probe: str) -> float:
    return max((step.seconds for step in run.steps_of(probe)), default=0.0)


def _heated_s(run: Run) -> float:
    """The longest heat of a soak."""
    spans = ((step.number("heat_began"), step.number("heat_ended")) for step in run.steps_of("thermal_soak"))
    return max((ended - began for began, ended in spans if began is not None and ended is not None), default=0.0)


def as_thorough(probe: str, run: Run, than: Run) -> bool:
    """Whether a run gave a probe as much time as another one did: a shorter scan that finds nothing clears nothing."""
    one, other = (sum(step.seconds for step in each.steps_of(probe) if step.repeat_of is None) for each in (run, than))
    return one >= (1 - SAME_LENGTH) * other


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_LENGTH * max(one, other)
