"""The rig: the few places where a run takes hold of the other rooms. Tests give a rig of their own."""

import importlib
from collections.abc import Callable
from typing import Protocol, cast

from gpucert import probes
from gpucert.device.gpu import Gpu
from gpucert.device.simulated.wire import Advance, Load
from gpucert.probes.bench import Probe
from gpucert.run.cards import SteppedCard
from gpucert.run.wire import StepSpec
from gpucert.stress.backend import Backend

SHIPPED = "gpucert.run.rig"
"""The name of this module, which monitor and worker load their rig by."""

SILENCE_S = 5.0
"""Real seconds without any work after which a virtual card is called hung."""

AdvanceCall = Callable[[float, Load], Advance]


class Rig(Protocol):
    """What this module offers, as a type."""

    SILENCE_S: float

    def gpu(self, which: str) -> Gpu:
        """A real card by index, UUID or bus id. Raises NoDriverError, NoSuchGpuError."""

    def virtual_card(self, scenario: str, source: str) -> Callable[[bytes | None], SteppedCard]:
        """How to make the card of a scenario, fresh (None) or from a frozen state."""

    def virtual_backend(self, spec: StepSpec, memory: memoryview, advance: AdvanceCall) -> Backend:
        """The backend on a virtual card."""

    def cuda_backend(self, card: str) -> Backend:
        """The backend on a real card."""

    def probe(self, name: str) -> Probe:
        """A probe by name. Raises UnknownProbeError."""


def load(name: str) -> Rig:
    """The rig in this module."""
    return cast(Rig, importlib.import_module(name))


def gpu(which: str) -> Gpu:
    """A real card."""
    from gpucert.device import nvml

    return nvml.attach(which)


def virtual_card(scenario: str, source: str) -> Callable[[bytes | None], SteppedCard]:
    """A virtual card."""
    from gpucert.device.simulated.card import VirtualCard
    from gpucert.device.simulated.scenario import parse

    described = parse(scenario, source)
    return lambda state: VirtualCard(described, state)


def virtual_backend(spec: StepSpec, memory: memoryview, advance: AdvanceCall) -> Backend:
    """NumPy on a virtual medium."""
    from gpucert.device.simulated.medium import VirtualMedium
    from gpucert.device.simulated.scenario import parse
    from gpucert.stress.host import HostBackend

    described = parse(spec.scenario or "", spec.source)
    return HostBackend(VirtualMedium(described, memory, advance, spec.probe, spec.began_s))


def cuda_backend(card: str) -> Backend:
    """CuPy."""
    from gpucert.stress.cuda import CudaBackend, scrub_environment

    scrub_environment()
    return CudaBackend(card)


def probe(name: str) -> Probe:
    """A probe of this package."""
    return probes.load(name)
