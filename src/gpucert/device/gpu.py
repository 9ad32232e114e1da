"""The one way in which the rest of gpucert reads a card: a Protocol that NVML, captures and virtual cards satisfy."""

from enum import IntFlag
from typing import Protocol

from gpucert.reading import Reading
from gpucert.record import Counters, Event, Identity, Process, Sample, Settings


class EventReason(IntFlag):
    """Why clocks are below their maximum, numbered as NVML does (nvml.h, nvmlClocksEventReason*)."""

    IDLE = 0x001
    APPLICATIONS_CLOCKS = 0x002
    SW_POWER_CAP = 0x004
    HW_SLOWDOWN = 0x008
    SYNC_BOOST = 0x010
    SW_THERMAL = 0x020
    HW_THERMAL = 0x040
    HW_POWER_BRAKE = 0x080
    DISPLAY_CLOCKS = 0x100
    BOARD_LIMIT = 0x200
    RELIABILITY = 0x400


THERMAL_REASONS = EventReason.SW_THERMAL | EventReason.HW_THERMAL


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
