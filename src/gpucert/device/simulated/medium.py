"""The virtual medium: what the host backend loads in place of silicon, in the worker; the card itself is elsewhere."""

import signal
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated import answers
from gpucert.device.simulated.arithmetic import Arithmetic
from gpucert.device.simulated.faults import CopyEngine, Crash, Hang, OtherProcess
from gpucert.device.simulated.memory import CardMemory
from gpucert.device.simulated.scenario import MIB, Scenario
from gpucert.device.simulated.silicon import silicon
from gpucert.device.simulated.wire import Advance, Load
from gpucert.stress.backend import (
    ArithmeticUnit,
    DeviceLostError,
    DType,
    Properties,
    UncorrectableEccError,
    UnitNotOfferedError,
)
from gpucert.stress.medium import COPY_ENGINE, Words, Work
from gpucert.stress.offers import answered

TIMER_STEP_NS = 1000
"""By how much the global timer moves at once: about a microsecond on many cards, less on some."""
CYCLES_APART = 1 << 40
"""Between the counts of two multiprocessors, because nobody sets them to zero together."""
SLICE_S = 2.0
"""The longest single advance: the monitor's heartbeat must be seen between two of them."""


def hang_for_ever() -> None:
    """What a hung kernel looks like to its process."""
    while True:
        time.sleep(3600)


def crash_hard() -> None:
    """End this process by a segmentation fault."""
    signal.raise_signal(signal.SIGSEGV)


class VirtualMedium:
    """A `Medium` (stress/medium.py) made of a scenario, shared memory and a call that advances the card."""

    def __init__(
        self,
        scenario: Scenario,
        memory: memoryview | bytearray,
        advance: Callable[[float, Load], Advance],
        probe: str,
        now_s: float,
        *,
        hang: Callable[[], None] = hang_for_ever,
        crash: Callable[[], None] = crash_hard,
    ) -> None:
        self._scenario = scenario
        self._silicon = silicon(scenario)
        self.memory_scale = self._silicon.window_scale
        self.timer_step_ns = TIMER_STEP_NS
        self._arithmetic = Arithmetic(scenario)
        self._offered: set[ArithmeticUnit] = set()
        self._advance = advance
        self._hangs = hang if any(fault.probe == probe for fault in scenario.of(Hang)) else None
        self._crashes = crash if any(fault.probe == probe for fault in scenario.of(Crash)) else None
        self._card = advance(0.0, Load())
        self._now_s = max(now_s, self._card.at_s)
        self._memory = CardMemory(scenario, self._silicon, memory, self._now_s)
        self._memory.opened(self._card.open_lines)
        self._uncorrected_before = self._card.uncorrected

    def properties(self) -> Properties:
        """The card as its compute driver would describe it: the claimed name, the true chip, the simulated window."""
        self._stay_alive()
        model = self._silicon.model
        taken = sum(fault.mib for fault in self._scenario.of(OtherProcess)) * MIB
        name = answers.identity(self._scenario, self._silicon).name
        return Properties(
            name=str(name),
            compute_capability=model.compute_capability,
            sm_count=self._silicon.sm_count,
            l2_bytes=self._silicon.l2_bytes,
            bus_bits=self._silicon.bus_bits,
            memory_clock_mhz=self._silicon.memory_clock_mhz,
            total_bytes=self._scenario.total_bytes,
            free_bytes=max(0, self._scenario.tested_bytes - taken),
        )

    def load(self, first_word: int, count: int, sm: int) -> Words:  # all SMs share this path so far
        """What SM `sm` reads. Raises UncorrectableEccError or DeviceLostError."""
        self._stay_alive()
        loaded = self._memory.load(first_word, count)
        if loaded.corrected or loaded.uncorrected:
            self._move(0.0, Load(corrected=loaded.corrected, uncorrected=loaded.uncorrected))
        return self._copied(first_word, loaded.words) if sm == COPY_ENGINE else loaded.words

    def _copied(self, first_word: int, words: Words) -> Words:
        """Words as the engine for copies passes them on."""
        for fault in self._scenario.of(CopyEngine):
            words[-first_word % fault.every :: fault.every] ^= np.uint64(1 << fault.bit)
        return words

    def store(
        self, first_word: int, words: Words, sm: int, *, descending: bool = False, keep: Words | None = None
    ) -> None:  # all SMs share this path so far, and no fault yet depends on which word comes first
        """Write words from SM `sm`. Raises UncorrectableEccError or DeviceLostError."""
        self._stay_alive()
        self._memory.store(first_word, words, keep, descending=descending)

    def flush(self) -> None:
        """Empty the L2."""
        self._memory.flush()

    def compute(
        self, unit: ArithmeticUnit, sm: int, right: NDArray[np.generic], dtype: DType | None = None
    ) -> NDArray[np.generic]:
        """The answer that SM `sm` gives where `right` would be correct; `right` itself on a healthy one.

        `dtype` is the type of a matrix product, None for any other work of the unit. Raises UnitNotOfferedError.
        """
        self._stay_alive()
        if unit not in self._offered:  # because a sustained load asks for hundreds of thousands of tiles
            self._need_unit(unit)
        return self._arithmetic.answer(unit, sm, right, self._card.temperature_c, dtype)

    def transfer(self, words: Words, direction: str) -> Words:  # the link repeats until it is right
        """Words as they arrive over PCIe."""
        self._stay_alive()
        return words

    def counters(self, sm: int) -> tuple[int, int]:
        """The cycles that SM `sm` has counted and the nanoseconds of the global timer."""
        self._stay_alive()
        nanoseconds = int(self._card.at_s * 1e9)
        return int(self._card.cycles) + sm * CYCLES_APART, nanoseconds - nanoseconds % TIMER_STEP_NS

    def spend(self, work: Work) -> float:
        """Advance the card by this work; the seconds that it took.

        Bytes of memory are scaled from the window to the model's memory, those over PCIe are taken as they are.
        Raises UnitNotOfferedError, UncorrectableEccError or DeviceLostError.
        """
        self._stay_alive()
        for fatal in (self._hangs, self._crashes):
            if fatal is not None:
                fatal()
        return self._rest(work.seconds) if work.kind == "idle" else self._work(work)

    def _rest(self, seconds: float) -> float:
        end = self._now_s + seconds
        while self._now_s < end:
            self._move(min(end - self._now_s, SLICE_S), Load())
        return seconds

    def _work(self, work: Work) -> float:
        if work.kind == "arithmetic":
            self._need(work.rate)
        scale = self._silicon.window_scale if work.kind == "memory" else 1.0
        flop, read, written = work.flop, work.bytes_read * scale, work.bytes_written * scale
        seconds, left = 0.0, 1.0 if flop + read + written > 0 else 0.0
        while left > 0:
            load = Load(
                kind=work.kind, rate=work.rate, flop=flop * left, bytes_read=read * left, bytes_written=written * left
            )
            moved = self._move(SLICE_S, load)
            seconds += moved.seconds
            left *= 1 - moved.done
        return seconds

    def now_s(self) -> float:
        """The card's clock."""
        return self._now_s

    def _need_unit(self, unit: ArithmeticUnit) -> None:
        if unit.part is ArithmeticUnit.TENSOR:
            self._need(unit.part)
        answered(unit, int(10 * float(self._silicon.model.compute_capability)))
        self._offered.add(unit)

    def _need(self, rate: str) -> None:
        if rate not in self._silicon.flop_per_clock:
            raise UnitNotOfferedError(f"{self._silicon.model.key} has no {rate} arithmetic")

    def _move(self, seconds: float, load: Load) -> Advance:
        self._card = self._advance(seconds, load)
        self._now_s = self._card.at_s
        idle = load.kind == "idle"
        self._memory.passed(self._now_s, self._card.memory_temperature_c, idle=idle)
        self._memory.opened(self._card.open_lines)
        self._arithmetic.passed(self._card.seconds, idle=idle)
        self._stay_alive()
        return self._card

    def _stay_alive(self) -> None:
        """A card that is lost, or a context that met an uncorrectable error, serves nothing any more."""
        if self._card.lost:
            raise DeviceLostError("the virtual card fell off the bus")
        if self._card.uncorrected > self._uncorrected_before:
            raise UncorrectableEccError("uncorrectable ECC error encountered (CUDA error 214)")
