"""Captures of cards of which next to nothing is known: a warning names them, or a line of a log."""

from typing import TypeVar

from msgspec import structs

from gpucert.capture import Capture
from gpucert.device.smi_words import NOT_STATED
from gpucert.reading import NOT_ASKED, Absent
from gpucert.record import Counters, Identity, Sample, Settings

S = TypeVar("S", Identity, Settings, Counters, Sample)


def _fill(values: S, reason: Absent) -> S:
    """The same values, where everything not asked is absent for this reason."""
    unasked = (name for name in values.__struct_fields__ if getattr(values, name) == NOT_ASKED)
    return structs.replace(values, **dict.fromkeys(unasked, reason))


def mention(known: Identity, reason: Absent, source: str, note: str) -> Capture:
    """A capture of a card of which next to nothing is known; every other reading is absent for one reason."""
    return Capture(
        source=source,
        taken_at=NOT_STATED,
        identity=_fill(known, reason),
        settings=_fill(Settings(), reason),
        counters=_fill(Counters(), reason),
        processes=reason,
        sample=_fill(Sample(at_s=0.0), reason),
        notes=(note,),
    )
