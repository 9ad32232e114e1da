"""What `nvidia-smi nvlink` prints: the state (`-s`) and the error counters (`-e`) of each link of each card."""

import re
from typing import NamedTuple

from msgspec import structs

from gpucert.capture import NOT_STATED, Capture, NvLink
from gpucert.device import bounds
from gpucert.device.mention import ADVICE
from gpucert.device.smi_words import count, quantity, total
from gpucert.reading import NOT_ASKED, Absence, Absent, Reading
from gpucert.record import Counters, Identity, Sample

_CARD = re.compile(r"^GPU \d{1,4}: (?P<name>\S.{0,100}?) \(UUID: (?P<uuid>GPU-[0-9A-Za-z-]{1,60})\)\s*$")
_LINK = re.compile(r"^\s+Link (?P<link>\d{1,3}):\s+(?P<said>\S.{0,100}?)\s*$")
_ERRORS = re.compile(r"^[A-Za-z][A-Za-z ]{0,40} Errors:\s*(?P<value>\S{1,30})$")
_ALL_DOWN = re.compile(r"Unable to retrieve NVLink information as all links are inActive", re.IGNORECASE)
_NO_LINKS = re.compile(r"Device does not have or support NVLink", re.IGNORECASE)
_INACTIVE = "<inactive>"
NOTE = f"Only the NVLink status shows this card: no other counters were read. {ADVICE}"


class _Card(NamedTuple):
    """What the listing says of one card; `up` is the number of links only where it names no link."""

    name: str
    links: dict[int, NvLink]
    up: Reading[int]


def captures(text: str, source: str) -> tuple[Capture, ...]:
    """Every card whose links a text speaks of; one that is only listed by name (`nvidia-smi -L`) is none."""
    return tuple(
        Capture(
            source=source,
            taken_at=NOT_STATED,
            identity=Identity(name=card.name, uuid=uuid),
            counters=Counters(
                nvlinks_up=sum(link.up for link in card.links.values()) if card.links else card.up,
                nvlink_errors=total(link.errors for link in card.links.values() if link.errors != NOT_ASKED),
            ),
            processes=NOT_STATED,
            sample=Sample(at_s=0.0),
            nvlinks=tuple(link for _, link in sorted(card.links.items())),
            notes=(NOTE,),
        )
        for uuid, card in _cards(text.splitlines()).items()
        if card.links or card.up != NOT_STATED
    )


def _cards(lines: list[str]) -> dict[str, _Card]:
    """UUID → the card. The state and the errors of one card may stand in two listings: they join."""
    cards: dict[str, _Card] = {}
    uuid = None
    for line in lines:
        heading, link = _CARD.match(line), _LINK.match(line)
        if heading:
            uuid = heading["uuid"]
            cards.setdefault(uuid, _Card(heading["name"], {}, NOT_STATED))
        elif uuid is None or not line.strip():
            continue
        elif link:
            number = int(link["link"])
            cards[uuid].links[number] = _with(cards[uuid].links.get(number), number, link["said"])
        else:
            cards[uuid] = cards[uuid]._replace(up=_no_links(line, cards[uuid].up))
            uuid = uuid if line[:1] in {" ", "\t"} else None
    return cards


def _no_links(line: str, known: Reading[int]) -> Reading[int]:
    if _ALL_DOWN.search(line):
        return 0
    return Absent(Absence.NOT_SUPPORTED, line.strip()) if _NO_LINKS.search(line) else known


def _with(known: NvLink | None, number: int, said: str) -> NvLink:
    """The link with what one more line says of it: a rate, `<inactive>`, or one error counter."""
    errors = _ERRORS.match(said)
    if errors:
        link = known or NvLink(link=number, up=True)  # because counters are shown of active links alone
        counted = count(errors["value"], "NVLink errors")
        return structs.replace(link, errors=counted if link.errors == NOT_ASKED else total((link.errors, counted)))
    up = said.lower() != _INACTIVE and (known is None or known.up)
    rate = quantity(said, "GB/s", bounds.GIGABYTES_PER_S, "NVLink rate") if up else NOT_STATED
    return NvLink(link=number, up=up, gigabytes_per_s=rate, errors=NOT_ASKED if known is None else known.errors)
