"""The one way in which the rest of gpucert reads a card: a Protocol that NVML, captures and virtual cards satisfy."""

from typing import Protocol

from gpucert.reading import Reading
from gpucert.record import Counters, Event, Identity, Process, Sample, Settings


class Gpu(Protocol):
    """A card that can be read. No method raises for what a card cannot answer: that is an absent reading."""

    def identity(self) -> Identity:
        """Who the card says it is."""

    def settings(self) -> Settings:
        """Its modes and limits."""

    def counters(self) -> Counters:
        """Its counters now."""

    def processes(self) -> Reading[tuple[Process, ...]]:
        """Other processes on the card; those of gpucert itself are left out."""

    def sample(self, at_s: float) -> Sample:
        """One row of telemetry, stamped with the caller's run clock."""

    def events(self) -> tuple[Event, ...]:
        """Events (Xids) since this was last called."""

    def close(self) -> None:
        """Let go of the driver."""


class NoDriverError(RuntimeError):
    """No NVIDIA driver can be reached; the text says what was tried and what to do."""


class NoSuchGpuError(LookupError):
    """No card answers to this index, UUID or bus id; the text lists those that do."""
