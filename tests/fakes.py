"""A bench that shows what a probe said: a virtual card, its medium and a probe in one place, for tests of both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpucert import probes
from gpucert.device.simulated.medium import VirtualMedium
from gpucert.device.simulated.scenario import parse
from gpucert.probes.bench import SetTwiceError, UndeclaredMeasureError
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Mismatch, Trace
from gpucert.stress.backend import Backend
from gpucert.stress.host import HostBackend
from gpucert.trials import in_process

HEALTHY = 'model = "NVIDIA A100-SXM4-80GB"\nvram_mib = 4\nseed = 3\necc = false\n'


class InProcessCard(in_process.InProcessCard):
    """The card of a scenario's text, and the backend that loads it."""

    def __init__(self, scenario: str) -> None:
        super().__init__(parse(scenario, "test"))

    def medium(self, probe: str = "") -> VirtualMedium:
        memory = bytearray(self.virtual.memory_bytes)
        return VirtualMedium(self.scenario, memory, self.advance, probe, self.now_s())

    def backend(self, probe: str = "") -> HostBackend:
        return HostBackend(self.medium(probe))


@dataclass
class FakeBench:
    """Keeps what a probe measures, with the same refusals as the real one."""

    card: InProcessCard
    backend: Backend
    probe: str
    seed: int = 11
    seconds: float = 60.0
    options: Mapping[str, str | float | bool] = field(default_factory=dict)
    values: dict[str, Reading[float | int]] = field(default_factory=dict)
    u: dict[str, float | None] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)
    traces: dict[str, Trace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.card.now_s()
        self._declared = {measure.name for measure in probes.load(self.probe).measures}

    def time_left(self) -> float:
        return self.seconds - (self.card.now_s() - self._began)

    def measure(
        self, name: str, value: Reading[float | int], *, u: float | None = None, n: int = 1, where: str = ""
    ) -> None:
        if name not in self._declared:
            raise UndeclaredMeasureError(name)
        if name in self.values:
            raise SetTwiceError(name)
        if isinstance(value, float) and not math.isfinite(value):
            value = Absent(Absence.ABSURD, str(value))
        self.values[name], self.u[name], self.where[name] = value, u, where

    def mismatch(self, mismatch: Mismatch) -> None:
        self.mismatches.append(mismatch)

    def trace(self, name: str, at_s: tuple[float, ...], channels: Mapping[str, tuple[float, ...]]) -> None:
        assert name not in self.traces
        assert {len(column) for column in channels.values()} == {len(at_s)}
        self.traces[name] = Trace.of(at_s, channels)

    def progress(self, fraction: float, text: str) -> None:
        assert math.isfinite(fraction)

    @property
    def unset(self) -> set[str]:
        return self._declared - set(self.values)

    def number(self, name: str) -> float:
        value = self.values[name]
        assert not isinstance(value, Absent), f"{name} is {value}"
        return value


def run_probe(
    name: str,
    scenario: str = HEALTHY,
    seconds: float = 60.0,
    card: InProcessCard | None = None,
    **options: str | float | bool,
) -> FakeBench:
    """Run a probe on a virtual card, in this process."""
    card = card or InProcessCard(scenario)
    bench = FakeBench(card, card.backend(name), name, seconds=seconds, options=options)
    probes.load(name).run(bench)
    return bench


def faulty(fault: str, base: str = HEALTHY) -> str:
    """A scenario with one fault, given as the lines of its table."""
    return f"{base}[[fault]]\n{fault}\n"
