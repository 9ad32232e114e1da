"""What a file does not state of a card: absent for one reason, which is its silence or the card's."""

from typing import TypeVar

from msgspec import structs

from gpucert.capture import NOT_STATED, Capture
from gpucert.reading import NOT_ASKED, Absent
from gpucert.record import Counters, Identity, Sample, Settings

ADVICE = "`nvidia-smi -q` gives them."
"""Ends the note of a capture that has no counters; where a full query is beside it, the note has nothing to say."""

S = TypeVar("S", Identity, Settings, Counters, Sample)


def filled(capture: Capture, reason: Absent = NOT_STATED) -> Capture:
    """The same capture, where every reading that nobody asked for is absent for this reason."""
    return structs.replace(
        capture,
        identity=_filled(capture.identity, reason),
        settings=_filled(capture.settings, reason),
        counters=_filled(capture.counters, reason),
        processes=reason if capture.processes == NOT_ASKED else capture.processes,
        sample=_filled(capture.sample, reason),
    )


def _filled(values: S, reason: Absent) -> S:
    unasked = (name for name in values.__struct_fields__ if getattr(values, name) == NOT_ASKED)
    return structs.replace(values, **dict.fromkeys(unasked, reason))


def mention(known: Identity, reason: Absent, source: str, note: str) -> Capture:
    """A capture of a card of which next to nothing is known; every other reading is absent for one reason."""
    bare = Capture(source=source, taken_at=NOT_STATED, identity=known, sample=Sample(at_s=0.0), notes=(note,))
    return filled(bare, reason)
