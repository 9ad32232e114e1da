"""Telemetry: samples as rows of telemetry.csv, as a window that probes may ask for, and as a trace on the record."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Sample, Trace

CHANNELS = tuple(one.name for one in structs.fields(Sample) if one.name != "at_s")
NAME = "telemetry.csv"
HEADER = ",".join(("step", "attempt", "at_s", *CHANNELS)) + "\n"
FULL_TRACE = 4200
"""Samples that a trace keeps in full: seven minutes at 10 Hz. A longer step is thinned to one a second."""
WINDOW = 36_000
"""Samples that a probe can ask back for: an hour at 10 Hz."""


def has_rows(path: Path) -> bool:
    """Whether a file holds more than the heading: a run that was killed before its first entry leaves that much."""
    return path.is_file() and path.stat().st_size > len(HEADER.encode())


def row(step: int, attempt: int, sample: Sample) -> str:
    """One line of telemetry.csv; a reading that is absent prints its reason."""
    words = (_word(getattr(sample, name)) for name in CHANNELS)
    return f"{step},{attempt},{sample.at_s:.3f},{','.join(words)}\n"


def _word(value: Reading[float]) -> str:
    kept = _value(value)
    return kept.value if isinstance(kept, Absence) else f"{kept:g}" if isinstance(kept, float) else str(kept)


def _value(value: Reading[float]) -> float | Absence:
    if isinstance(value, Absent):
        return value.absent
    return value if math.isfinite(value) else Absence.ABSURD


@dataclass
class StepTelemetry:
    """What the monitor keeps of one step."""

    _full: list[Sample] = field(default_factory=list)
    _thin: list[Sample] = field(default_factory=list)
    _window: deque[Sample] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, samples: Iterable[Sample]) -> None:
        """Keep samples, oldest first."""
        for sample in samples:
            self._window.append(sample)
            if len(self._full) <= FULL_TRACE:
                self._full.append(sample)
            if not self._thin or math.floor(sample.at_s) > math.floor(self._thin[-1].at_s):
                self._thin.append(sample)

    def since(self, since_s: float) -> tuple[Sample, ...]:
        """The samples from `since_s` on, as far back as the window reaches."""
        return tuple(sample for sample in self._window if sample.at_s >= since_s)

    def trace(self) -> Trace | None:
        """The step's trace, None without samples: in full, or the first sample of each second of a long step."""
        kept = self._full if len(self._full) <= FULL_TRACE else self._thin
        return trace(kept) if kept else None


def trace(samples: Sequence[Sample]) -> Trace:
    """Samples as columns."""
    columns = {name: tuple(_value(getattr(sample, name)) for sample in samples) for name in CHANNELS}
    return Trace.of(tuple(sample.at_s for sample in samples), columns)
