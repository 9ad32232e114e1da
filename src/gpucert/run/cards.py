"""A card as the monitor drives it: a real one lives in the host's time, a virtual one only by `advance`."""

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from gpucert.device.gpu import Gpu
from gpucert.device.simulated.wire import Advance, Load
from gpucert.reading import Absence, Absent, number
from gpucert.record import Event, Sample, Settings
from gpucert.run.pulse import Abort, Pulse

SAMPLE_EVERY_S = 0.1
BEAT_EVERY_S = 0.1
UNKNOWN_LIMIT_C = 95.0
"""Where neither thresholds nor a margin are offered: the highest shutdown temperature below which no NVIDIA card that
publishes one shuts down by itself."""
SLOWDOWN_BEYOND_MARGIN_C = 2.0
"""Where the margin is zero a card begins to slow down gently, which is to be measured; its hardware slowdown, where the
load must end, comes two degrees later (NVML field 194 is −2 on every card whose margins are known)."""
HOT_SAMPLES = 3
"""In a row, because a single sample may be a glitch of the sensor."""
BLIND_S = 2.0
"""For so long without a temperature the card was loaded unwatched, however few samples a slow driver gave meanwhile."""


class SteppedCard(Gpu, Protocol):
    """A virtual card: it can be moved through time and frozen."""

    @property
    def memory_bytes(self) -> int:
        """Bytes that the worker must share with the medium."""

    def now_s(self) -> float:
        """The card's clock."""

    def advance(self, seconds: float, load: Load) -> Advance:
        """Let time pass under a load."""

    def drain(self) -> tuple[Sample, ...]:
        """The telemetry since the last drain."""

    def freeze(self) -> bytes:
        """Everything needed to go on from here."""


class DrivenCard(Protocol):
    """What the monitor needs of either kind of card."""

    @property
    def gpu(self) -> Gpu:
        """The card, to be asked."""

    @property
    def zero_s(self) -> float:
        """The host's monotonic clock when the run's clock read 0."""

    def now_s(self) -> float:
        """The run's clock."""

    def begin(self, state: str) -> None:
        """A step begins."""

    def advance(self, seconds: float, load: Load) -> Advance:
        """Virtual cards only: let time pass. Raises NotVirtualError."""

    def collect(self) -> tuple[Sample, ...]:
        """The telemetry since this was last called."""

    def events(self) -> tuple[Event, ...]:
        """What happened since this was last called, aborts included."""

    def freeze(self) -> str:
        """Virtual cards: everything needed to go on from here; empty for a real card."""

    def close(self) -> None:
        """Let go of the card."""


class NotVirtualError(RuntimeError):
    """Only a virtual card can be moved through time."""


class VirtualDriven:
    """A virtual card, thawed anew for each step.

    Every step starts from the frozen state, also in a run that nothing interrupts, because then a resumed step cannot
    differ from an undisturbed one.
    """

    zero_s = 0.0

    def __init__(self, thaw: Callable[[bytes | None], SteppedCard], pulse: Pulse, memory_fd: int) -> None:
        self._thaw = thaw
        self._pulse = pulse
        self._memory_fd = memory_fd
        self._card = thaw(None)
        self._blank_memory()
        self._events: list[Event] = []
        self._end = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True, name="heart")
        self._heart.start()

    @property
    def gpu(self) -> Gpu:
        """The card as it answers now."""
        return self._card

    def now_s(self) -> float:
        """The card's own clock."""
        return self._card.now_s()

    def begin(self, state: str) -> None:
        """Thaw the card and blank its memory."""
        self._pulse.set_abort(Abort.NONE)
        self._card = self._thaw(state.encode() if state else None)
        self._blank_memory()

    def _blank_memory(self) -> None:
        os.ftruncate(self._memory_fd, 0)
        os.ftruncate(self._memory_fd, self._card.memory_bytes)

    def advance(self, seconds: float, load: Load) -> Advance:
        """Let time pass. The worker ends by itself when the answer says `abort`, so that identical runs stay so."""
        advance = self._card.advance(seconds, load)
        self._pulse.advanced()
        if advance.abort:
            self._events.append(Event(advance.at_s, "abort", "limit", advance.abort))
        return advance

    def collect(self) -> tuple[Sample, ...]:
        """The telemetry of the virtual time since the last call."""
        return self._card.drain()

    def events(self) -> tuple[Event, ...]:
        """Xids and aborts."""
        aborts, self._events = tuple(self._events), []
        return (*self._card.events(), *aborts)

    def freeze(self) -> str:
        """The state as JSON text."""
        return self._card.freeze().decode()

    def close(self) -> None:
        """Stop the heart."""
        self._end.set()
        self._heart.join()
        self._card.close()

    def _beat(self) -> None:
        while not self._end.wait(BEAT_EVERY_S):
            self._pulse.beat(fresh=True)


class RealDriven:
    """A real card with a thread that samples it; the thread is the heart: when the driver blocks, it stops."""

    def __init__(self, gpu: Gpu, pulse: Pulse, clock_s: float) -> None:
        self.gpu = gpu
        self.zero_s = time.monotonic() - clock_s
        self._pulse = pulse
        self._guard = Guard(limit_c(gpu.settings(), gpu.sample(clock_s)))
        self._lock = threading.Lock()
        self._samples: list[Sample] = []
        self._events: list[Event] = []
        self._end = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True, name="sampler")
        self._sampler.start()

    def now_s(self) -> float:
        """The host's monotonic clock, from the start of the run."""
        return time.monotonic() - self.zero_s

    def begin(self, state: str) -> None:
        """Forget what was sampled between the steps."""
        assert not state, "a real card cannot be thawed"
        self.collect()
        self._guard.reset()
        self._pulse.set_abort(Abort.NONE)

    def advance(self, seconds: float, load: Load) -> Advance:
        """A real card lives in real time. Raises NotVirtualError."""
        raise NotVirtualError(f"a real card cannot be advanced by {seconds} s of {load.kind}")

    def collect(self) -> tuple[Sample, ...]:
        """The samples since the last call."""
        with self._lock:
            samples, self._samples = tuple(self._samples), []
        return samples

    def events(self) -> tuple[Event, ...]:
        """Xids and aborts since the last call."""
        happened = self.gpu.events()
        with self._lock:
            aborts, self._events = tuple(self._events), []
        return (*happened, *aborts)

    def freeze(self) -> str:
        """A real card cannot be frozen."""
        return ""

    def close(self) -> None:
        """Stop sampling and let go of the driver, unless it is blocked."""
        self._end.set()
        self._sampler.join(timeout=1.0)
        if not self._sampler.is_alive():
            self.gpu.close()

    def _sample(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + SAMPLE_EVERY_S, time.monotonic())
            sample = self.gpu.sample(self.now_s())
            self._pulse.beat(fresh=number(sample.temperature_c) is not None)
            abort, why = self._guard.look(sample)
            with self._lock:
                self._samples.append(sample)
                if why:
                    self._events.append(Event(sample.at_s, "abort", abort.name.lower(), why))
            if abort is not Abort.NONE:
                self._pulse.set_abort(abort)


def limit_c(settings: Settings, sample: Sample) -> float:
    """The temperature at which the card must not be loaded any more: the lowest that the card itself names.

    Newer cards publish the margin to their slowdown instead of thresholds: then margin plus temperature, read together.
    """
    named = [number(one) for one in (settings.slowdown_c, settings.shutdown_c)]
    margin, now = number(settings.margin_c), number(sample.temperature_c)
    if margin is not None and now is not None:
        named.append(now + margin + SLOWDOWN_BEYOND_MARGIN_C)
    return min((one for one in named if one is not None), default=UNKNOWN_LIMIT_C)


class Guard:
    """Watches temperatures for the moment when the worker must end."""

    def __init__(self, limit_c: float) -> None:
        self._limit_c = limit_c
        self.reset()

    def reset(self) -> None:
        """Start anew with a new step."""
        self._hot = 0
        self._blind_from_s: float | None = None
        self._told = False

    def look(self, sample: Sample) -> tuple[Abort, str]:
        """What to do about this sample; the reason is given once."""
        abort, why = self._judge(sample)
        if abort is Abort.NONE or self._told:
            return abort, ""
        self._told = True
        return abort, why

    def _judge(self, sample: Sample) -> tuple[Abort, str]:
        temperature = sample.temperature_c
        if isinstance(temperature, Absent):
            if temperature.absent is Absence.LOST:
                return Abort.LOST, "the driver answers that the card is lost"
            self._blind_from_s = sample.at_s if self._blind_from_s is None else self._blind_from_s
            blind = sample.at_s - self._blind_from_s >= BLIND_S
            return (Abort.BLIND, f"no temperature for two seconds: {temperature}") if blind else (Abort.NONE, "")
        self._blind_from_s = None
        self._hot = self._hot + 1 if temperature >= self._limit_c else 0
        if self._hot < HOT_SAMPLES:
            return Abort.NONE, ""
        return Abort.LIMIT, f"{temperature:g} °C has reached the card's own limit of {self._limit_c:g} °C"
