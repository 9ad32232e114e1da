"""A rig for tests: a tiny card that counts time, and probes that behave badly on purpose."""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.device.simulated.wire import Advance, Load
from gpucert.probes.bench import Bench, Measure, Probe, SkipError
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Event, Identity, Mismatch, Process, Sample, Settings
from gpucert.run.rig import AdvanceCall
from gpucert.run.wire import StepSpec
from gpucert.stress.backend import (
    Backend,
    DeviceLostError,
    IllegalAddressError,
    LaunchFailedError,
    OutOfMemoryError,
    UncorrectableEccError,
)
from gpucert.units import Unit

SILENCE_S = 1.0
UUID = "GPU-00000000-0000-0000-0000-00000000toy0"


class ToyCard:
    """Keeps a clock, a temperature that follows it, and counts advances as energy."""

    memory_bytes = 1 << 16

    def __init__(self, scenario: dict[str, float], state: bytes | None) -> None:
        self._scenario = scenario
        kept = json.loads(state) if state else {"at_s": 0.0, "energy": 0, "told": False}
        self._at_s, self._energy, self._told = kept["at_s"], kept["energy"], kept["told"]
        self._rows: list[Sample] = []

    def now_s(self) -> float:
        return float(self._at_s)

    def identity(self) -> Identity:
        return Identity(name="Toy", uuid=UUID, driver=os.environ.get("TOY_DRIVER", "1.0"), window_mib=0)

    def settings(self) -> Settings:
        return Settings(slowdown_c=90.0)

    def counters(self) -> Counters:
        return Counters(energy_mj=self._energy)

    def processes(self) -> Reading[tuple[Process, ...]]:
        return ()

    def sample(self, at_s: float) -> Sample:
        return Sample(at_s=at_s, temperature_c=30.0 + at_s % 7, power_w=Absent(Absence.NOT_SUPPORTED))

    def events(self) -> tuple[Event, ...]:
        due = self._scenario.get("xid_at_s", float("inf"))
        if self._told or self._at_s < due:
            return ()
        self._told = True
        return (Event(due, "xid", "31", "as the scenario says"),)

    def advance(self, seconds: float, load: Load) -> Advance:
        until = self._at_s + seconds
        while self._at_s + 0.1 <= until + 1e-9:
            self._at_s = round(self._at_s + 0.1, 6)
            self._rows.append(self.sample(self._at_s))
        self._at_s = until
        self._energy += 1
        hot = self._at_s >= self._scenario.get("abort_at_s", float("inf"))
        return Advance(
            at_s=self._at_s,
            seconds=seconds,
            done=1.0,
            sm_clock_mhz=1000.0,
            cycles=0.0,
            memory_clock_mhz=1000.0,
            temperature_c=30.0,
            memory_temperature_c=40.0,
            uncorrected=0,
            abort="91 °C has reached the limit" if hot else "",
        )

    def drain(self) -> tuple[Sample, ...]:
        rows, self._rows = tuple(self._rows), []
        return rows

    def freeze(self) -> bytes:
        return json.dumps({"at_s": self._at_s, "energy": self._energy, "told": self._told}).encode()

    def close(self) -> None:
        pass


class ToyGpu(ToyCard):
    """The same as a real card: it lives in the host's time, and does what the file that TOY_GPU names says."""

    def __init__(self) -> None:
        super().__init__({}, None)

    def sample(self, at_s: float) -> Sample:
        told = Path(os.environ["TOY_GPU"]).read_text(encoding="utf-8").split()
        match told:
            case ["lost"]:
                return Sample(at_s=at_s, temperature_c=Absent(Absence.LOST))
            case ["blind"]:
                return Sample(at_s=at_s, temperature_c=Absent(Absence.UNKNOWN, "no answer"))
            case ["stuck"]:
                time.sleep(3600)
        return Sample(at_s=at_s, temperature_c=float(told[0]))


def gpu(which: str) -> ToyGpu:
    if which == "no-driver":
        raise NoDriverError("no driver here")
    if which not in ("0", UUID):
        raise NoSuchGpuError(f"no GPU answers to {which!r}; there is 0")
    return ToyGpu()


def virtual_card(scenario: str, source: str) -> Callable[[bytes | None], ToyCard]:
    described = json.loads(scenario)
    return lambda state: ToyCard(described, state)


class ToyBackend:
    """Only idles: that is all that the probes here need."""

    name = "toy"
    fills_time = False

    def __init__(self, memory: memoryview, advance: AdvanceCall) -> None:
        self.memory = memory
        self._advance = advance

    def versions(self) -> dict[str, str]:
        return {"toy": "1"}

    def idle(self, seconds: float) -> None:
        self._advance(seconds, Load())


class RealBackend:
    name = "toy"
    fills_time = True

    def versions(self) -> dict[str, str]:
        return {"toy": "1"}

    def idle(self, seconds: float) -> None:
        time.sleep(seconds)


def virtual_backend(spec: StepSpec, memory: memoryview, advance: AdvanceCall) -> Backend:
    return ToyBackend(memory, advance)  # type: ignore[return-value]


def cuda_backend(card: str) -> Backend:
    assert card == UUID
    return RealBackend()  # type: ignore[return-value]


MEASURES = (Measure("answer", Unit.COUNT, "What came out."), Measure("seconds", Unit.SECOND, "How long it took."))


def good(bench: Bench) -> None:
    began = bench.card.now_s()
    for turn in range(5):
        bench.backend.idle(0.5)
        bench.progress((turn + 1) / 5, f"turn {turn + 1}")
    bench.measure("answer", bench.seed % 1000, u=0.5, n=5)
    bench.measure("seconds", bench.card.now_s() - began)
    bench.trace("turns", (0.0, 1.0), {"value": (1.0, float("nan"))})


def reads(bench: Bench) -> None:
    counters = bench.card.counters()
    bench.measure("answer", counters.energy_mj)
    bench.measure("seconds", float(len(bench.card.samples(0.0))))


def slow(bench: Bench) -> None:
    """Goes on for as long as the file that TOY_SLOW names exists, then measures."""
    while Path(os.environ["TOY_SLOW"]).exists():
        bench.progress(0.5, "waiting")
        time.sleep(0.02)
    good(bench)


def half(bench: Bench) -> None:
    """Measures, finds something, then behaves as `end` says."""
    bench.measure("answer", 42)
    bench.mismatch(Mismatch(phase="own", offset=8, expected="0", actual="1", flips=1))


def hang(bench: Bench) -> None:
    half(bench)
    time.sleep(3600)


def spins(bench: Bench) -> None:
    """Computes for ever without a sign of work."""
    half(bench)
    while True:
        pass


def deaf(bench: Bench) -> None:
    """Is held by a call that keeps even its own watchdog from running."""
    bench.progress(0.5, "held")
    ctypes.PyDLL(None).sleep(60)


def stubborn(bench: Bench) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang(bench)


def crash(bench: Bench) -> None:
    half(bench)
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(bench: Bench) -> None:
    half(bench)
    os._exit(0)


def system_exit(bench: Bench) -> None:
    half(bench)
    sys.exit(0)


def forks(bench: Bench) -> None:
    """Leaves a child behind that keeps every line open."""
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    os._exit(0)


def dies(error: BaseException) -> Callable[[Bench], None]:
    def run(bench: Bench) -> None:
        half(bench)
        raise error

    return run


def undeclared(bench: Bench) -> None:
    bench.measure("something_else", 1)


def twice(bench: Bench) -> None:
    bench.measure("answer", 1)
    bench.measure("answer", 2)


def not_a_number(bench: Bench) -> None:
    bench.measure("answer", float("nan"))
    bench.measure("seconds", 1.0, u=float("inf"))


def forgets(bench: Bench) -> None:
    bench.measure("answer", 1)


def skips(bench: Bench) -> None:
    raise SkipError("this card has no such part")


def prints(bench: Bench) -> None:
    print("noise on standard output")
    good(bench)


def reaches(bench: Bench) -> None:
    bench.backend.idle(1.0)


def swallows(bench: Bench) -> None:
    """Tries to go on after the monitor has had enough."""
    try:
        bench.backend.idle(1.0)
    except Exception:  # noqa: BLE001  # that is what makes it a bad probe
        bench.measure("answer", 1)


def dirties(bench: Bench) -> None:
    """Measures the first byte of its memory, and leaves another there."""
    memory = bench.backend.memory  # type: ignore[attr-defined]
    bench.measure("answer", memory[0])
    memory[0] = 7
    bench.measure("seconds", 0.0)


RUNS: dict[str, Callable[[Bench], None]] = {
    "good": good,
    "reads": reads,
    "slow": slow,
    "hang": hang,
    "spins": spins,
    "stubborn": stubborn,
    "deaf": deaf,
    "crash": crash,
    "leave": leave,
    "system_exit": system_exit,
    "forks": forks,
    "lost": dies(DeviceLostError("Xid 79")),
    "ecc": dies(UncorrectableEccError("CUDA error 214")),
    "illegal": dies(IllegalAddressError("CUDA error 700")),
    "launch": dies(LaunchFailedError("CUDA error 719")),
    "no_room": dies(OutOfMemoryError("3 MiB free")),
    "host_memory": dies(MemoryError()),
    "mistake": dies(ZeroDivisionError("division by zero")),
    "undeclared": undeclared,
    "twice": twice,
    "not_a_number": not_a_number,
    "forgets": forgets,
    "skips": skips,
    "prints": prints,
    "reaches": reaches,
    "swallows": swallows,
    "dirties": dirties,
}
ONLY_READS = {"reads", "reaches"}


def probe(name: str) -> Probe:
    if name == "broken":
        raise ImportError("no module named 'not_there'")
    return Probe(name, f"the {name} probe", MEASURES, RUNS[name], loads_card=name not in ONLY_READS)
