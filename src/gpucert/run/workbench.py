"""The bench as a worker offers it: what a probe says goes to the supervisor, what it asks to the monitor."""

import math
import mmap
import operator
import time
from collections.abc import Mapping
from typing import Protocol, TypeVar

from gpucert.device.simulated.wire import Advance, Load
from gpucert.probes.bench import Card, Probe, SetTwiceError, UndeclaredMeasureError
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Identity, Measurement, Mismatch, Sample, Settings, Trace
from gpucert.run import rig
from gpucert.run.plan import Option
from gpucert.run.pulse import Pulse
from gpucert.run.wire import (
    Ask,
    AskAdvance,
    AskCounters,
    AskIdentity,
    AskSamples,
    AskSettings,
    Channel,
    FromWorker,
    Measured,
    Mismatched,
    Progressed,
    StepSpec,
    Traced,
    Uses,
)
from gpucert.stress.backend import Backend
from gpucert.units import Unit

MISMATCHES_KEPT = 4096
TELL_EVERY_S = 0.1

T = TypeVar("T")


class AbortedError(BaseException):
    """The monitor wants the step to end. Not an Exception, because no probe may catch it."""


class LoadRefusedError(RuntimeError):
    """A probe that declared `loads_card = False` asked for the backend."""


class Desk(Card, Protocol):
    """The card's own words, and the only way through a virtual card's time."""

    def advance(self, seconds: float, load: Load) -> Advance:
        """Let a virtual card's time pass."""


class Listener(Protocol):
    """Who hears what a probe says."""

    def send(self, message: FromWorker) -> None:
        """Take one message."""


class CardDesk:
    """The card, asked of the monitor; a `Desk`."""

    def __init__(self, monitor: Channel, spec: StepSpec) -> None:
        self._monitor = monitor
        self._virtual = spec.scenario is not None
        self._zero_s = spec.zero_s
        self._virtual_now_s = spec.began_s

    def identity(self) -> Identity:
        """Who the card says it is."""
        return self._ask(AskIdentity(), Identity)

    def settings(self) -> Settings:
        """Its modes and limits."""
        return self._ask(AskSettings(), Settings)

    def counters(self) -> Counters:
        """Its counters now."""
        return self._ask(AskCounters(), Counters)

    def samples(self, since_s: float) -> tuple[Sample, ...]:
        """Telemetry from `since_s` on, oldest first; reaches back to the start of the step, an hour at most."""
        return self._ask(AskSamples(since_s=since_s), tuple[Sample, ...])

    def now_s(self) -> float:
        """The run's clock; only this worker moves a virtual one, so that nobody need be asked."""
        return self._virtual_now_s if self._virtual else time.monotonic() - self._zero_s

    def advance(self, seconds: float, load: Load) -> Advance:
        """Let a virtual card's time pass. Raises AbortedError when the monitor has had enough."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a card cannot advance by {seconds} s")
        advance = self._ask(AskAdvance(seconds=seconds, load=load), Advance)
        self._virtual_now_s = advance.at_s
        if advance.abort:
            raise AbortedError(advance.abort)
        return advance

    def _ask(self, ask: Ask, kind: type[T]) -> T:
        self._monitor.send(ask)
        return self._monitor.receive(kind)


class WorkBench:
    """Satisfies `gpucert.probes.bench.Bench`."""

    def __init__(
        self,
        spec: StepSpec,
        probe: Probe,
        supervisor: Listener,
        card: Desk,
        pulse: Pulse,
        parts: rig.Rig,
        memory: int,
    ) -> None:
        self.card = card
        self.seed = spec.seed
        self.options: Mapping[str, Option] = spec.options
        self._spec = spec
        self._probe = probe
        self._promised = {measure.name: measure.unit for measure in probe.measures}
        self._kept: set[str] = set()
        self._mismatches = 0
        self._supervisor = supervisor
        self._pulse = pulse
        self._rig = parts
        self._memory_fd = memory
        self._backend: Backend | None = None
        self._told = 0.0

    @property
    def backend(self) -> Backend:
        """The card to be loaded; made when it is first asked for, because probes that only read need no library."""
        if self._backend is None:
            if not self._probe.loads_card:
                raise LoadRefusedError(f"probe {self._probe.name} declares that it does not load the card")
            self._backend = self._make_backend()
            self._supervisor.send(Uses(versions=self._backend.versions()))
        return self._backend

    def _make_backend(self) -> Backend:
        if self._spec.scenario is None:
            return self._rig.cuda_backend(self._spec.card)
        memory = memoryview(mmap.mmap(self._memory_fd, 0))
        return self._rig.virtual_backend(self._spec, memory, self.card.advance)

    def time_left(self) -> float:
        """Seconds of the step's budget that remain, on the card's clock."""
        return self._spec.began_s + self._spec.seconds - self.card.now_s()

    def measure(
        self, name: str, value: Reading[float | int], *, u: float | None = None, n: int = 1, where: str = ""
    ) -> None:
        """Keep a promise. Raises UndeclaredMeasureError, SetTwiceError."""
        unit = self._unit(name)
        number, doubt = plain(value, name), None if u is None else plain(u, f"the uncertainty of {name}")
        if isinstance(doubt, Absent) or (doubt is not None and doubt < 0):
            number, doubt = Absent(Absence.ABSURD, f"the uncertainty of {name} was {u}"), None
        self._kept.add(name)
        self._pulse.worked()
        self._supervisor.send(
            Measured(measurement=Measurement(name=name, unit=unit, value=number, u=doubt, n=int(n), where=where))
        )

    def _unit(self, name: str) -> Unit:
        if name not in self._promised:
            known = ", ".join(self._promised) or "nothing"
            raise UndeclaredMeasureError(f"probe {self._probe.name} measured {name!r} but declares {known}")
        if name in self._kept:
            raise SetTwiceError(f"probe {self._probe.name} set {name!r} twice")
        return self._promised[name]

    def unset(self) -> tuple[str, ...]:
        """The promises that were not kept."""
        return tuple(name for name in self._promised if name not in self._kept)

    def mismatch(self, mismatch: Mismatch) -> None:
        """Put one located error on the record."""
        self._mismatches += 1
        self._pulse.worked()
        if self._mismatches <= MISMATCHES_KEPT:
            self._supervisor.send(Mismatched(mismatch=mismatch))

    def trace(self, name: str, at_s: tuple[float, ...], channels: Mapping[str, tuple[float, ...]]) -> None:
        """Put a series of the probe's own on the record. Raises ValueError for columns of unequal length."""
        columns = {channel: tuple(map(_finite, values)) for channel, values in channels.items()}
        if any(len(column) != len(at_s) for column in columns.values()):
            raise ValueError(f"trace {name!r}: every channel needs one value for each of the {len(at_s)} times")
        if name == "telemetry" or not all(map(math.isfinite, at_s)):
            raise ValueError(f"trace {name!r}: `telemetry` belongs to the monitor, and times must be numbers")
        self._pulse.worked()
        self._supervisor.send(Traced(name=name, trace=Trace.of(tuple(map(float, at_s)), columns)))

    def progress(self, fraction: float, text: str) -> None:
        """Tell the person who waits, at most ten times a second."""
        self._pulse.worked()
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told = now
            share = min(max(float(fraction), 0.0), 1.0) if math.isfinite(fraction) else 0.0
            self._supervisor.send(Progressed(fraction=share, text=text))


def plain(value: Reading[float | int], what: str) -> Reading[float | int]:
    """A value as JSON can hold it: NumPy's numbers become Python's, what is no number becomes an absurd reading."""
    if isinstance(value, Absent):
        return value
    if not math.isfinite(value):
        return Absent(Absence.ABSURD, f"{what} was {value}")
    return float(value) if isinstance(value, float) or not hasattr(value, "__index__") else operator.index(value)


def _finite(value: float) -> float | Absence:
    return float(value) if math.isfinite(value) else Absence.ABSURD
