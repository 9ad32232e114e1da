"""Which captures are of one card: a query, a kernel log and an NVLink listing of it, perhaps from different days.

A UUID or a per-device identifier (PDI) joins. A bus id joins only what contradicts nothing, and says that it did so,
because the same place in another station, or after a swap, is another card.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct, structs

from gpucert.capture import Capture
from gpucert.device.mention import ADVICE
from gpucert.reading import Absent, Reading
from gpucert.record import Identity


class Joined(Struct, frozen=True, kw_only=True):
    """One card, with every capture of it; the oldest first where all of them say when they were taken."""

    identity: Identity
    """Each answer from the first capture that has it; full queries before mentions."""
    captures: tuple[Capture, ...]
    in_order: bool
    """Whether the times of all full queries are known, so that what changed between them can be told."""
    notes: tuple[str, ...] = ()
    """How they were joined."""
    contradictions: tuple[str, ...] = ()
    """Where they tell of one card what cannot be true of one."""


_MASKED = re.compile(r"(?:GPU-|0x)?[0xX*?#-]*")
_FORMS = ("%a %b %d %H:%M:%S %Y", "%Y-%m-%dT%H:%M:%S%z", "%Y/%m/%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S")
_CLAIMS = ("serial", "board_part_number", "pci_device", "pci_subdevice", "memory_mib")
"""What cannot change on one card. Names may: drivers spell them differently."""
_MEMORY_MAY_DIFFER = 0.1
"""Because ECC takes a sixteenth of GDDR memory, and drivers before 510 left out what they reserve."""


class _Group(NamedTuple):
    captures: list[Capture]
    by_place: list[Capture]
    """Those that only their bus id joined to the others from another file."""


def join(captures: Sequence[Capture]) -> tuple[Joined, ...]:
    """Sort captures into cards, in the order in which each card was first seen."""
    groups: list[_Group] = []
    nameless: list[Capture] = []
    for capture in captures:
        own = _ids(capture.identity)
        if not own:
            nameless.append(capture)
            continue
        same = next((group for group in groups if any(own & _ids(one.identity) for one in group.captures)), None)
        if same is None:
            groups.append(_Group([capture], []))
        else:
            same.captures.append(capture)
    for capture in nameless:
        _place(capture, groups)
    place = {id(capture): number for number, capture in enumerate(captures)}
    groups.sort(key=lambda group: min(place[id(one)] for one in group.captures))
    return tuple(_joined(group) for group in groups)


def _place(capture: Capture, groups: list[_Group]) -> None:
    """Put a capture without an id of its own to the one card that it can be of; else it is a card by itself."""
    here = [group for group in groups if _may_be(capture, group)]
    beside = [group for group in here if any(one.source == capture.source for one in group.captures)]
    fits = beside or here
    if len(fits) != 1:
        groups.append(_Group([capture], []))
        return
    fits[0].captures.append(capture)
    if not beside:
        fits[0].by_place.append(capture)


def _may_be(capture: Capture, group: _Group) -> bool:
    where = _real(capture.identity.bus_id)
    if where is None or any(_contradiction(capture.identity, one.identity) for one in group.captures):
        return False
    queries = {one.source for one in (capture, *group.captures) if _is_query(one)}
    return len(queries) < 2 and any(_real(one.identity.bus_id) == where for one in group.captures)


def _is_query(capture: Capture) -> bool:
    """Whether this is the card's own full answer rather than a line about it: two of those need an id to join."""
    return _real(capture.identity.vbios) is not None


def _ids(identity: Identity) -> set[str]:
    return {value for value in map(_real, (identity.uuid, identity.pdi)) if value is not None}


def _real(value: Reading[str]) -> str | None:
    """A text that tells something: collectors mask serials and UUIDs with zeros, x or stars."""
    return None if isinstance(value, Absent) or _MASKED.fullmatch(value) else value


def _contradiction(one: Identity, other: Identity) -> str | None:
    """The first claim in which two identities differ."""
    for field in _CLAIMS:
        mine, theirs = getattr(one, field), getattr(other, field)
        known = not isinstance(mine, Absent) and not isinstance(theirs, Absent)
        if known and _differ(mine, theirs):
            return field
    return None


def _differ(one: str | int, other: str | int) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other) > _MEMORY_MAY_DIFFER * max(one, other)
    return one != other and not (_MASKED.fullmatch(str(one)) or _MASKED.fullmatch(str(other)))


# --- one card of several captures


def _joined(group: _Group) -> Joined:
    queries = [one for one in group.captures if _is_query(one)]
    forms = {stamp and stamp.form for stamp in (_stamp(one.taken_at) for one in queries)}
    ordered = len(forms) == 1 and None not in forms
    captures = sorted(group.captures, key=_age) if ordered else group.captures
    ranked = sorted(captures, key=lambda one: not _is_query(one))
    return Joined(
        identity=_merged([one.identity for one in ranked]),
        captures=tuple(_without_advice(one) if queries else one for one in captures),
        in_order=ordered,
        notes=tuple(dict.fromkeys(_notes(ranked, group.by_place))),
        contradictions=tuple(dict.fromkeys(_contradictions(ranked))),
    )


def _without_advice(capture: Capture) -> Capture:
    return structs.replace(capture, notes=tuple(note for note in capture.notes if not note.endswith(ADVICE)))


class _Stamp(NamedTuple):
    form: str
    at: datetime


def _stamp(said: Reading[str]) -> _Stamp | None:
    """The time of a capture, where its words can be read. A zone that is not named is taken for UTC, to sort by."""
    words = "" if isinstance(said, Absent) else " ".join(said.split())
    for form in _FORMS:
        with suppress(ValueError):
            at = datetime.strptime(words, form)  # noqa: DTZ007  # the zone is set in the next line where none is named
            return _Stamp(form, at if at.tzinfo else at.replace(tzinfo=UTC))
    return None


def _age(capture: Capture) -> tuple[bool, float]:
    """Mentions without a time come last."""
    stamp = _stamp(capture.taken_at)
    return (True, 0.0) if stamp is None else (False, stamp.at.timestamp())


def _merged(identities: list[Identity]) -> Identity:
    first = identities[0]
    known = {
        name: next(
            (value for value in (getattr(one, name) for one in identities) if not isinstance(value, Absent)), None
        )
        for name in first.__struct_fields__
    }
    return structs.replace(first, **{name: value for name, value in known.items() if value is not None})


def _notes(captures: list[Capture], by_place: list[Capture]) -> Iterator[str]:
    for capture in by_place:
        yield f"Only its bus id ties {capture.label} to this card; a station's slots may have held other cards."
    uuid = captures[0].identity.uuid
    if not isinstance(uuid, Absent) and not any(_ids(one.identity) for one in captures):
        yield "The UUID is masked: nothing ties what was read to one card."


def _contradictions(captures: list[Capture]) -> Iterator[str]:
    for capture in captures[1:]:
        field = _contradiction(captures[0].identity, capture.identity)
        if field is not None:
            mine, theirs = getattr(captures[0].identity, field), getattr(capture.identity, field)
            what = field.replace("_", " ")
            names = captures[0].label, capture.label
            yield f"The captures contradict each other: {what} {mine} in {names[0]}, {theirs} in {names[1]}."
