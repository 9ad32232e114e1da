"""Damaged captures: 2,000 of them are read or refused in one line, and no damage turns a fault into a clean answer.

Damage is drawn from seeds, so that every run meets the same files: those of `captures/` and, where they are beside this
checkout, real ones.
"""

import gzip
import io
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from gpucert.capture import Capture
from gpucert.device import smi
from gpucert.device.smi import UnreadableCaptureError
from gpucert.reading import Absent
from gpucert.record import THERMAL_REASONS, EventReason

HERE = Path(__file__).parent / "captures"
SHARED = Path(__file__).parent.parent.parent / "shared" / "captures"

LOG = "\n".join(
    [
        "[    0.000000] Linux version 6.1.0-18-amd64",
        "[    1.200000] pci 0000:3b:00.0: [10de:20b2] type 00 class 0x030200",
        "[   12.004211] NVRM: loading NVIDIA UNIX x86_64 Kernel Module  560.35.03  Fri Aug 16 21:39:15 UTC 2024",
        "[  801.114520] NVRM: GPU at PCI:0000:3b:00: GPU-33333333-aaaa-4bbb-8ccc-000000000004",
        "[  801.114525] NVRM: GPU Board Serial Number: 1320000000004",
        "[  801.114531] NVRM: Xid (PCI:0000:3b:00): 48, pid=1, name=x, DBE has been detected in the framebuffer",
        "[  801.200000] nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        '{"__REALTIME_TIMESTAMP":"1738416331123456","MESSAGE":"NVRM: Xid (PCI:0000:3b:00): 31, pid=2, name=y, MMU"}',
        "Feb 01 14:25:31 host kernel: NVRM: Xid (PCI:0000:5e:00): 79, GPU has fallen off the bus.",
        "Feb 01 14:25:31 host kernel: NVRM: GPU 0000:86:00.0: RmInitAdapter failed! (0x62:0x40:2477)",
        "",
    ]
)


def originals() -> dict[str, bytes]:
    """The files that damage is done to."""
    own = {path.name: path.read_bytes() for path in sorted(HERE.iterdir()) if path.suffix != ".md"}
    real = {path.name: path.read_bytes() for path in sorted(SHARED.iterdir())} if SHARED.is_dir() else {}
    real.pop("SOURCES.md", None)
    return {**own, "kern.log": LOG.encode(), **real}


FILES = originals()
NAMES = tuple(FILES)
OWN = tuple(name for name in NAMES if not (SHARED / name).exists())
DEADLINE_S = 20
"""Against a hang alone: a case takes some milliseconds."""


@contextmanager
def no_hang() -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {DEADLINE_S} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(DEADLINE_S)
    try:
        yield
    finally:
        signal.alarm(0)


def read(data: bytes) -> tuple[Capture, ...] | None:
    """The captures, None for a refusal; anything else fails the test."""
    words, captures = None, ()
    with no_hang():
        try:
            captures = smi.read_stream(io.BytesIO(data), "damaged")
        except UnreadableCaptureError as refused:
            words = str(refused)
    if words is None:
        assert captures
        return captures
    assert words.startswith("damaged: ")
    assert "\n" not in words
    return None


# --- damage

Damage = Callable[[bytes, random.Random], bytes]


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def beheaded(data: bytes, draw: random.Random) -> bytes:
    return data[draw.randrange(len(data)) :]


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 3, 30))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def shuffled(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    begin = draw.randrange(len(lines))
    end = min(len(lines), begin + draw.choice((3, 20, len(lines))))
    block = lines[begin:end]
    draw.shuffle(block)
    return b"".join([*lines[:begin], *block, *lines[end:]])


def doubled(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    begin = draw.randrange(len(lines))
    end = min(len(lines), begin + draw.choice((1, 5, 100)))
    return b"".join([*lines[:end], *lines[begin:]])


def thinned(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    gone = {draw.randrange(len(lines)) for _ in range(draw.choice((1, 2, 10)))}
    return b"".join(line for number, line in enumerate(lines) if number not in gone)


def exchanged(data: bytes, draw: random.Random) -> bytes:
    """Values of two lines change places."""
    lines = data.splitlines(keepends=True)
    with_value = [number for number, line in enumerate(lines) if b" : " in line] or range(len(lines))
    one, two = draw.choice(with_value), draw.choice(with_value)
    first, second = (lines[number].partition(b" : ") for number in (one, two))
    lines[one], lines[two] = b"".join((*first[:2], second[2])), b"".join((*second[:2], first[2]))
    return b"".join(lines)


def interleaved(data: bytes, draw: random.Random) -> bytes:
    """Blocks of two files in turns, as two programs leave them that write into one file."""
    queues = [data.splitlines(keepends=True), FILES[draw.choice(NAMES)].splitlines(keepends=True)]
    size, told = draw.choice((1, 7, 60, 400)), []
    while any(queues):
        for queue in queues:
            told += queue[:size]
            del queue[:size]
    return b"".join(told)


def spliced(data: bytes, draw: random.Random) -> bytes:
    other = FILES[draw.choice(NAMES)]
    return data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]


def in_utf16(data: bytes, draw: random.Random) -> bytes:
    text = data.decode("utf-8", errors="replace").encode(draw.choice(("utf-16", "utf-16-le", "utf-16-be")))
    return draw.choice((text, cut(text, draw), flipped(text, draw)))


def packed(data: bytes, draw: random.Random) -> bytes:
    damage = draw.choice((cut, flipped, doubled, beheaded))
    if draw.random() < 0.5:
        return damage(gzip.compress(data, 1, mtime=0), draw)
    return gzip.compress(damage(data, draw), 1, mtime=0)


def powerless(data: bytes, draw: random.Random) -> bytes:
    """Blocks of NUL over some of the file."""
    changed = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        begin, size = draw.randrange(len(changed)), draw.choice((1, 64, 4096))
        end = min(len(changed), begin + size)
        changed[begin:end] = bytes(end - begin)
    return bytes(changed)


def twice(data: bytes, draw: random.Random) -> bytes:
    first, second = (draw.choice(EVERY_KIND) for _ in range(2))
    return second(first(data, draw) or b" ", draw)


EVERY_KIND: tuple[Damage, ...] = (
    cut,
    beheaded,
    flipped,
    shuffled,
    doubled,
    thinned,
    exchanged,
    interleaved,
    spliced,
    in_utf16,
    packed,
    powerless,
)
CASES = 154
"""Of each kind: with `twice` 2,002 in all."""


@pytest.mark.parametrize("damage", [*EVERY_KIND, twice], ids=lambda damage: str(damage.__name__))
def test_two_thousand_damaged_captures_are_read_or_refused(damage: Damage) -> None:
    refused = 0
    for case in range(CASES):
        draw = random.Random(f"{damage.__name__} {case}")
        name = NAMES[case % len(NAMES)] if case % 2 else OWN[case // 2 % len(OWN)]
        refused += read(damage(FILES[name], draw)) is None
    assert refused < CASES, "not everything is refused"


# --- safety

_COUNTS = (
    "ecc_uncorrected_volatile",
    "ecc_uncorrected_aggregate",
    "sram_uncorrected_aggregate",
    "remapped_uncorrectable",
    "retired_dbe",
    "recovery_action",
)
_FLAGS = (
    "sram_threshold_exceeded",
    "remap_pending",
    "remap_failure",
    "retired_pending",
    "repair_pending",
    "memory_unrepairable",
)


def faults(card: Capture) -> dict[str, bool | None]:
    """What speaks against a card, by question: True, False where it is answered clean, None where it is not known."""
    counters, settings, reasons = card.counters, card.settings, card.sample.event_reasons
    told: dict[str, bool | None] = {}
    for name in (*_COUNTS, *_FLAGS):
        value = getattr(counters, name)
        told[name] = None if isinstance(value, Absent) else bool(value)
    valid = counters.inforom_valid
    told["inforom"] = None if isinstance(valid, Absent) else not valid
    told["mig"] = None if isinstance(settings.mig, Absent) else settings.mig
    for bits in (THERMAL_REASONS, EventReason.HW_POWER_BRAKE):
        told[f"reasons {bits:x}"] = None if isinstance(reasons, Absent) else bool(reasons & bits)
    known = isinstance(settings.ecc, bool) and isinstance(settings.ecc_pending, bool)
    told["ecc change"] = settings.ecc != settings.ecc_pending if known else None
    return told


def key(card: Capture) -> tuple[object, object]:
    return card.identity.bus_id, card.document


def says_that_cards_are_missing(card: Capture) -> bool:
    return any("GPUs are attached and shows" in note for note in card.notes)


def whitewashed(before: tuple[Capture, ...], after: tuple[Capture, ...]) -> list[str]:
    """Faults that are answered clean after the damage."""
    originals = {key(card): faults(card) for card in before}
    return [
        f"{card.identity.bus_id}: {question}"
        for card in after
        if key(card) in originals
        for question, answer in faults(card).items()
        if originals[key(card)][question] is True and answer is False
    ]


DOCUMENTS = tuple(name for name in NAMES if b"NVSMI LOG" in FILES[name] or b"<nvidia_smi_log" in FILES[name])


def whole(name: str) -> tuple[Capture, ...]:
    """The captures of a file without damage."""
    captures = read(FILES[name])
    assert captures is not None
    return captures


def of_documents(captures: tuple[Capture, ...], number: int) -> list[Capture]:
    """The cards that a document shows, without those that only the rest of its file speaks of."""
    return [card for card in captures if card.document == number and isinstance(card.identity.name, str)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_cut_document_is_refused_or_says_what_is_missing(name: str) -> None:
    data, before, draw = FILES[name], whole(name), random.Random(f"cut {name}")
    for at in sorted(draw.sample(range(len(data)), 25)):
        after = read(data[:at])
        if after is None:
            continue
        assert whitewashed(before, after) == []
        for number in {card.document for card in after}:
            cards = of_documents(after, number)
            missing = len(cards) < len(of_documents(before, number))
            assert not missing or any(map(says_that_cards_are_missing, cards)), f"cut at {at}"


@pytest.mark.parametrize("name", OWN)
def test_a_document_cut_at_any_byte_whitewashes_nothing(name: str) -> None:
    data, before = FILES[name], whole(name)
    for at in range(0, len(data), 37):
        after = read(data[:at])
        assert after is None or whitewashed(before, after) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_that_are_missing_whitewash_nothing(name: str) -> None:
    lines, before = FILES[name].splitlines(keepends=True), whole(name)
    numbers = range(len(lines)) if name in OWN else random.Random(f"line {name}").sample(range(len(lines)), 40)
    for number in numbers:
        after = read(b"".join(lines[:number] + lines[number + 1 :]))
        assert after is None or whitewashed(before, after) == [], lines[number]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_blocks_that_are_missing_whitewash_nothing_or_are_told(name: str) -> None:
    """Half of one card and the other half of the next look like one whole card: then the document counts too few."""
    lines, before, draw = FILES[name].splitlines(keepends=True), whole(name), random.Random(f"block {name}")
    for _ in range(60 if name in OWN else 15):
        begin = draw.randrange(len(lines))
        end = begin + draw.choice((2, 5, 20, 130))
        after = read(b"".join(lines[:begin] + lines[end:])) or ()
        silent = tuple(card for card in after if not says_that_cards_are_missing(card))
        assert whitewashed(before, silent) == [], (begin, end)


_WORDS = {
    b"Yes": b"No",
    b"No": b"Yes",
    b"Not Active": b"Active",
    b"Active": b"Not Active",
    b"Enabled": b"Disabled",
    b"Disabled": b"Enabled",
    b"None": b"Reset",
}


def contradicted(line: bytes) -> bytes | None:
    """The line with another value of the same kind."""
    label, colon, value = line.rstrip(b"\n").rpartition(b": ")
    value = value.strip()
    if not colon or b"<" in line:
        return None
    other = _WORDS.get(value) or (re.sub(rb"^\d+", b"7", value) if re.match(rb"\d+( |$)", value) else None)
    return None if other in {None, value} else label + colon + (other or b"") + b"\n"


@pytest.mark.parametrize("name", [name for name in OWN if b"NVSMI LOG" in FILES[name]])
def test_a_line_that_contradicts_another_makes_its_answer_unknown(name: str) -> None:
    lines, before = FILES[name].splitlines(keepends=True), whole(name)
    for number, line in enumerate(lines):
        other = contradicted(line)
        if other is None:
            continue
        for pair in ([line, other], [other, line]):
            after = read(b"".join([*lines[:number], *pair, *lines[number + 1 :]]))
            assert after is None or whitewashed(before, after) == [], line


@pytest.mark.parametrize("size", [1, 5, 60, 120])
@pytest.mark.parametrize("first", OWN)
def test_two_files_in_turns_whitewash_no_card_of_either(first: str, size: int) -> None:
    for second in OWN:
        queues = [FILES[name].splitlines(keepends=True) for name in (first, second)]
        wholes = [whole(name) for name in (first, second)]
        told: list[bytes] = []
        while any(queues):
            for queue in queues:
                told += queue[:size]
                del queue[:size]
        after = read(b"".join(told))
        if after is None:
            continue
        for card in after:
            known = [one for captures in wholes for one in captures if one.identity.bus_id == card.identity.bus_id]
            for question, answer in faults(card).items():
                clean = known and all(faults(one)[question] is True for one in known) and answer is False
                assert not clean, f"{first} and {second}: {question} of {card.identity.bus_id}"


def test_a_kernel_log_cut_within_a_number_names_no_other_xid() -> None:
    lines = LOG.encode()
    known = {(str(card.identity.bus_id), one.code) for card in whole("kern.log") for one in card.log}
    for at in range(len(lines)):
        for card in read(lines[:at]) or ():
            assert {(str(card.identity.bus_id), one.code) for one in card.log} <= known, lines[:at][-60:]


def test_an_orphan_of_an_xml_document_is_no_clean_file() -> None:
    text = (HERE / "v100-retired.xml").read_text(encoding="utf-8")
    beside = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    with pytest.raises(UnreadableCaptureError, match="without the beginning of its document"):
        smi.read(beside + text.replace("<nvidia_smi_log>", "<nvidia_smi_1og>"), "damaged")
    with pytest.raises(UnreadableCaptureError, match="a text document of nvidia-smi within an XML document"):
        smi.read(text.replace("</gpu>", f"{beside}</gpu>"), "damaged")


@pytest.mark.parametrize(
    "gone",
    [
        "GPU 00000000:19:00.0\n",
        "==============NVSMI LOG==============\n",
        "    Processes                             : None\n",
    ],
)
def test_a_lost_heading_hides_no_card(gone: str) -> None:
    text = (HERE / "a10-and-h100.txt").read_text(encoding="utf-8")
    assert gone in text
    try:
        captures = smi.read(text.replace(gone, "", 1), "damaged")
    except UnreadableCaptureError:
        return
    assert len(captures) == 2


def test_the_guard_against_hangs_rings() -> None:
    with pytest.raises(TimeoutError, match="no answer within"):
        hang()


def hang() -> None:
    with no_hang():
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(DEADLINE_S)
