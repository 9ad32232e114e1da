"""What a probe declares, and the bench that it is handed: these two are all that a probe needs to know of the house."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from gpucert.reading import Absence, Absent, Reading, number
from gpucert.record import THERMAL_REASONS, Counters, EventReason, Identity, Mismatch, Sample, Settings
from gpucert.stress.backend import WORD_BYTES, Backend, UnitNotOfferedError, UnitOutOfReachError, WrongWord
from gpucert.units import Unit

if TYPE_CHECKING:
    from gpucert.stress.wrong_words import Located


@dataclass(frozen=True)
class Measure:
    """A promise: this probe measures `name` in `unit`. A promise left unset is never a pass."""

    name: str
    unit: Unit
    sentence: str


class Card(Protocol):
    """The card's own words, asked of the monitor: a probe has no other way to the driver."""

    def identity(self) -> Identity:
        """Who the card says it is."""

    def settings(self) -> Settings:
        """Its modes and limits."""

    def counters(self) -> Counters:
        """Its counters now."""

    def samples(self, since_s: float) -> tuple[Sample, ...]:
        """Telemetry from `since_s` on, oldest first."""

    def now_s(self) -> float:
        """The run's clock, which telemetry is stamped with."""


class Bench(Protocol):
    """Everything that a running probe may touch."""

    @property
    def card(self) -> Card:
        """The card's own words."""

    @property
    def backend(self) -> Backend:
        """The card to be loaded."""

    seed: int
    options: Mapping[str, str | float | bool]
    """From the step in the plan, for example `profile = "quick"`."""

    def time_left(self) -> float:
        """Seconds of the step's budget that remain, on the card's clock."""

    def measure(
        self, name: str, value: Reading[float | int], *, u: float | None = None, n: int = 1, where: str = ""
    ) -> None:
        """Keep the promise `name`. A float that is not finite becomes an absurd reading.

        Raises UndeclaredMeasureError or SetTwiceError.
        """

    def mismatch(self, mismatch: Mismatch) -> None:
        """Put one located error on the record (the first 4096 are kept)."""

    def trace(self, name: str, at_s: tuple[float, ...], channels: Mapping[str, tuple[float, ...]]) -> None:
        """Put a series of the probe's own on the record."""

    def progress(self, fraction: float, text: str) -> None:
        """Tell the person who waits; `fraction` of the step is done."""


class UndeclaredMeasureError(LookupError):
    """A probe set a measure that it never declared."""


class SetTwiceError(RuntimeError):
    """A probe set a measure a second time."""


class SkipError(Exception):
    """Raised by a probe that cannot run here; its text is the reason on the record. Never a pass."""


@dataclass(frozen=True)
class Probe:
    """The declaration at the bottom of a probe's file. `name` never changes once a record holds it."""

    name: str
    summary: str
    measures: tuple[Measure, ...]
    run: Callable[[Bench], None]
    loads_card: bool = True
    """False for probes that only read: they run without a compute library."""


def wrong_word(located: "Located") -> Mismatch:
    """A wrong word of the memory that was looked into, for the record."""
    return Mismatch(
        phase=located.phase,
        offset=located.word * WORD_BYTES,
        expected=f"{located.expected:016x}",
        actual=f"{located.actual:016x}",
        flips=(located.expected ^ located.actual).bit_count(),
        kind=located.kind,
        owner=None if located.owner is None else located.owner * WORD_BYTES,
        reader_sm=located.sm,
        at_s=located.at_s,
        again=located.wrong_again,
        tries=located.tries,
    )


def wrong_value(wrong: WrongWord, phase: str, at_s: float) -> Mismatch:
    """A wrong answer of the arithmetic, for the record; an SM that nobody knows is below 0."""
    return Mismatch(
        phase=phase,
        offset=wrong.word,
        expected=f"{wrong.expected:016x}",
        actual=f"{wrong.actual:016x}",
        flips=(wrong.expected ^ wrong.actual).bit_count(),
        kind="compute",
        reader_sm=wrong.sm if wrong.sm >= 0 else None,
        at_s=at_s,
    )


def absence(reason: UnitNotOfferedError) -> Absent:
    """Why there is no value of a unit: the card has none, or has one that nobody could ask."""
    unknown = isinstance(reason, UnitOutOfReachError)
    return Absent(Absence.UNKNOWN if unknown else Absence.NOT_SUPPORTED, str(reason))


def mean(samples: Sequence[Sample], channel: str) -> Reading[float]:
    """Mean of one channel over the samples that have it; where none has, the reason that the last one gives."""
    readings: list[Reading[float]] = [getattr(sample, channel) for sample in samples]
    values = [value for value in map(number, readings) if value is not None]
    if values:
        return fmean(values)
    absent = [one for one in readings if isinstance(one, Absent)]
    return absent[-1] if absent else Absent(Absence.UNKNOWN, "no sample was taken")


def over_core(samples: Sequence[Sample], channel: str) -> Reading[float]:
    """By how much another sensor shows more than that of the die, in °C; where it shows nothing, why."""
    other, core = mean(samples, channel), mean(samples, "temperature_c")
    if isinstance(other, Absent):
        return other
    return core if isinstance(core, Absent) else other - core


def held_by_heat(bits: int) -> bool:
    """Older cards give hardware slowdown without its cause; where it is not the power brake, it is heat."""
    unexplained = bits & EventReason.HW_SLOWDOWN and not bits & EventReason.HW_POWER_BRAKE
    return bool(bits & THERMAL_REASONS or unexplained)


def share_held(samples: Sequence[Sample], held: Callable[[int], bool]) -> Reading[float]:
    """Percent of the samples in which the clocks were held down so."""
    readings = [sample.event_reasons for sample in samples]
    known = [bits for bits in readings if not isinstance(bits, Absent)]
    if known:
        return 100 * sum(held(bits) for bits in known) / len(known)
    absent = [one for one in readings if isinstance(one, Absent)]
    return absent[-1] if absent else Absent(Absence.UNKNOWN, "no sample was taken under load")
