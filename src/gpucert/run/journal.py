"""The journal: what happened in a run, appended and synced event by event, from which the record is folded.

Each line is one JSON object `{"n", "crc", "entry"}`: the number of the line, the CRC-32 of the entry's bytes as they
stand in the line, and the entry. A line that was cut short by a power cut can only be the last one and is dropped; any
other damage is refused, because a record must not be folded from an incomplete story.
"""

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from gpucert.outcome import StepStatus
from gpucert.reading import NOT_ASKED, Reading
from gpucert.record import (
    Counters,
    Death,
    Event,
    Identity,
    Inspection,
    Measurement,
    Mismatch,
    Process,
    Record,
    Settings,
    Station,
    StepRecord,
)
from gpucert.run import locks, telemetry, whole_file
from gpucert.run.plan import PlannedRun, Step
from gpucert.run.request import RequestError

SCHEMA = "gpucert.journal/1"
NAME = "journal.jsonl"


class Entry(Struct, frozen=True, kw_only=True, tag=True):
    """One event. `at` is the host's clock in UTC: a label for people, which nothing is computed from."""

    at: str


class RunStarted(Entry, frozen=True, kw_only=True, tag="run_started"):
    """Everything that is needed to go on without the one who asked."""

    schema: str = SCHEMA
    gpucert: str
    pid: int
    boot: str
    """The kernel's boot id: it tells whether the whole station went down."""
    simulated: bool
    seed: int
    plan: PlannedRun
    scenario: str = ""
    source: str = ""
    card: Identity
    settings: Settings
    processes: Reading[tuple[Process, ...]] = NOT_ASKED
    station: Station
    versions: dict[str, str]
    inlet_c: float | None = None
    inspection: tuple[Inspection, ...] = ()


class StepStarted(Entry, frozen=True, kw_only=True, tag="step_started"):
    """A worker is about to start."""

    index: int
    probe: str
    attempt: int
    repeat_of: int | None = None
    began_s: float
    before: Counters


class Measured(Entry, frozen=True, kw_only=True, tag="measured"):
    """A measurement, as soon as the worker sent it."""

    index: int
    measurement: Measurement


class Mismatched(Entry, frozen=True, kw_only=True, tag="mismatched"):
    """One of the first wrong words of a step, as soon as the worker sent it."""

    index: int
    mismatch: Mismatch


class Noticed(Entry, frozen=True, kw_only=True, tag="noticed"):
    """An event that the monitor saw."""

    event: Event


class StepFinished(Entry, frozen=True, kw_only=True, tag="step_finished"):
    """A step ended in a way that the plan goes on from, or was skipped."""

    step: StepRecord
    state: str = ""
    """Virtual cards: the card as the next step finds it."""
    versions: dict[str, str] = {}
    stderr: str = ""
    """The end of what the worker printed; for a technician, never on the record."""


class Stopped(Entry, frozen=True, kw_only=True, tag="run_stopped"):
    """The run ended before its plan, in order: it can be resumed."""

    why: str
    death: Death | None = None


class Resumed(Entry, frozen=True, kw_only=True, tag="resumed"):
    """The run goes on."""

    pid: int
    boot: str
    event: Event


class RunFinished(Entry, frozen=True, kw_only=True, tag="run_finished"):
    """Every step of the plan has ended."""


AnyEntry = RunStarted | StepStarted | Measured | Mismatched | Noticed | StepFinished | Stopped | Resumed | RunFinished


_ENTRIES: msgspec.json.Decoder[AnyEntry] = msgspec.json.Decoder(AnyEntry)


class JournalError(ValueError):
    """A journal cannot be read; the text names the file, the line and what to do."""


class FolderError(RequestError):
    """The folder for the files of a run cannot be used; the text says which and why."""


class FolderInUseError(FolderError):
    """The folder already holds a run."""


class DiskError(RuntimeError):
    """A file of the run cannot be written; the text names it and says how to go on."""

    def __init__(self, path: Path, error: OSError) -> None:
        remedy = f"make room or give access, then `gpucert certify --resume {path.parent}`"
        super().__init__(f"{path}: {error.strerror or error}; {remedy}")


@dataclass(frozen=True)
class Story:
    """What a journal tells."""

    entries: tuple[AnyEntry, ...]
    sound_bytes: int
    """Length of the lines that were read; what follows is a torn line."""
    torn: bool

    @property
    def start(self) -> RunStarted:
        """The first entry."""
        first = self.entries[0]
        assert isinstance(first, RunStarted)
        return first


class _Line(Struct, frozen=True):
    n: int
    crc: str
    entry: msgspec.Raw


class _Head(Struct, frozen=True):
    type: str
    schema: str


def now() -> str:
    """The present in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def encode(number: int, entry: AnyEntry) -> bytes:
    """One line, its newline included."""
    body = msgspec.json.encode(entry)
    return b'{"n":%d,"crc":"%08x","entry":%s}\n' % (number, zlib.crc32(body), body)


def parse(data: bytes, source: str) -> Story:
    """Read a journal's bytes; `source` names them in errors. Raises JournalError."""
    lines = data.split(b"\n")
    tail = lines.pop()
    entries: list[AnyEntry] = []
    sound = 0
    for number, line in enumerate(lines):
        try:
            entries.append(_entry(number, line, source))
        except msgspec.DecodeError as error:
            if number == len(lines) - 1 and not tail:
                return _story(entries, sound, source, torn=True)
            raise JournalError(f"{source}: line {number + 1} is damaged ({error}); start the run again") from error
        sound += len(line) + 1
    return _story(entries, sound, source, torn=bool(tail))


def _story(entries: list[AnyEntry], sound: int, source: str, *, torn: bool) -> Story:
    if not entries:
        raise JournalError(f"{source}: holds no complete line; start the run again")
    if not isinstance(entries[0], RunStarted):
        raise JournalError(f"{source}: line 1 does not start a run; start the run again")
    return Story(tuple(entries), sound, torn)


def _entry(number: int, line: bytes, source: str) -> AnyEntry:
    envelope = msgspec.json.decode(line, type=_Line)
    body = bytes(envelope.entry)
    if envelope.crc != f"{zlib.crc32(body):08x}":
        raise msgspec.DecodeError("its checksum differs")
    if envelope.n != number:
        raise msgspec.DecodeError(f"it says that it is line {envelope.n + 1}")
    if number == 0:
        _refuse_other_schema(body, source)
    return _ENTRIES.decode(body)


def _refuse_other_schema(body: bytes, source: str) -> None:
    head = msgspec.json.decode(body, type=_Head)
    if head.schema != SCHEMA:
        raise JournalError(f"{source}: schema is {head.schema!r}, this version reads {SCHEMA!r}")


class Journal:
    """The journal of a run that goes on, locked against others."""

    def __init__(
        self, path: Path, fd: int, entries: Iterable[AnyEntry], length: int, made: tuple[Path, ...] = ()
    ) -> None:
        self.path = path
        self.fd = fd
        self.entries = list(entries)
        self._length = length
        self._made = made

    @classmethod
    def create(cls, folder: Path) -> "Journal":
        """An empty journal in a folder that holds none, made when missing. Raises FolderError, BusyError."""
        path = folder / NAME
        made = tuple(place for place in (folder, *folder.parents) if not place.exists())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            whole_file.sync_folder(folder)
        except OSError as error:
            raise FolderError(f"{folder}: {error.strerror}; choose another --out") from error
        with _closing_on_error(fd):
            locks.hold(fd, str(folder), _holder(_read(fd)))
            _refuse_a_run(folder, _read(fd))
            os.ftruncate(fd, 0)
        return cls(path, fd, (), 0, made)

    @classmethod
    def reopen(cls, folder: Path) -> "Journal":
        """The journal of a run that shall go on, without its torn line. Raises JournalError, BusyError, DiskError."""
        path = folder / NAME
        if not path.is_file():
            raise JournalError(f"{path}: no journal here; name the folder of a run")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DiskError(path, error) from error
        with _closing_on_error(fd):
            data = _read(fd)
            locks.hold(fd, str(folder), _holder(data))
            story = parse(_read(fd), str(path))
            os.ftruncate(fd, story.sound_bytes)
        return cls(path, fd, story.entries, story.sound_bytes)

    def append(self, entry: AnyEntry, *, sync: bool = True) -> None:
        """Write one entry; with `sync` it is on the disk when this returns. Raises DiskError, leaving no torn line."""
        line = encode(len(self.entries), entry)
        try:
            _write_all(self.fd, line, self._length)
            if sync:
                os.fsync(self.fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self._length)
            raise DiskError(self.path, error) from error
        self._length += len(line)
        # As it will be read back, so that the record of this run and of one that is resumed are alike to the last byte.
        self.entries.append(_entry(len(self.entries), line, str(self.path)))

    def close(self) -> None:
        """Let go of the file and, when no child is left, of its lock."""
        os.close(self.fd)

    def discard(self) -> None:
        """Take away a journal in which nothing was written, and the folders that were made for it."""
        if self.entries:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
            self.path.with_name(telemetry.NAME).unlink(missing_ok=True)
            for place in self._made:
                place.rmdir()


def _refuse_a_run(folder: Path, told: bytes) -> None:
    """Raise FolderInUseError where a run began; one that was killed before its first entry never did."""
    if b"\n" in told:
        raise FolderInUseError(
            f"{folder}: already holds a run; continue it with `gpucert certify --resume {folder}` "
            "or choose another --out"
        )
    if (folder / "record.json").is_file() or telemetry.has_rows(folder / telemetry.NAME):
        raise FolderInUseError(f"{folder}: already holds a run, whose {NAME} is missing; choose another --out")


@contextlib.contextmanager
def _closing_on_error(fd: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def _read(fd: int) -> bytes:
    pieces, offset = [], 0
    while piece := os.pread(fd, 1 << 22, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _holder(data: bytes) -> int | None:
    """The process that last wrote its number into the journal, as far as it can be read."""
    try:
        entries = parse(data, "").entries
    except JournalError:
        return None
    return next((one.pid for one in reversed(entries) if isinstance(one, RunStarted | Resumed)), None)


# Folding


@dataclass
class _Torn:
    """A step that has begun and not ended."""

    start: StepStarted
    measurements: list[Measurement] = field(default_factory=list)
    mismatches: list[Mismatch] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    stopped: Stopped | None = None


@dataclass
class _Tale:
    """What is known after some entries."""

    steps: list[StepRecord] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    torn: _Torn | None = None
    carried: dict[int, tuple[Mismatch, ...]] = field(default_factory=dict)
    """Wrong words of torn attempts, by step."""


def fold(entries: Iterable[AnyEntry]) -> Record:
    """The record that a journal tells: pure, and defined after any entry but none. Raises JournalError.

    Steps that were not reached are skipped steps with that reason, so that an unfinished run can never look complete.
    """
    told = tuple(entries)
    if not told or not isinstance(told[0], RunStarted):
        raise JournalError("a journal begins with the start of a run")
    start = told[0]
    tale = _Tale(versions=dict(start.versions))
    for entry in told[1:]:
        _tell(tale, entry, simulated=start.simulated)
    return Record(
        simulated=start.simulated,
        started_at=start.at,
        ended_at=told[-1].at,
        interrupted=not isinstance(told[-1], RunFinished),
        seed=start.seed,
        card=start.card,
        settings=start.settings,
        processes=start.processes,
        station=start.station,
        plan=start.plan.run,
        versions=tale.versions,
        scenario=start.scenario,
        inlet_c=start.inlet_c,
        inspection=start.inspection,
        steps=_all_steps(start.plan.steps, tale),
        events=(*tale.events, *(tale.torn.events if tale.torn else ())),
    )


def _tell(tale: _Tale, entry: AnyEntry, *, simulated: bool) -> None:
    match entry:
        case StepStarted():
            tale.torn = _Torn(entry)
        case Measured() if tale.torn:
            tale.torn.measurements.append(entry.measurement)
        case Mismatched() if tale.torn:
            tale.torn.mismatches.append(entry.mismatch)
        case Noticed():
            (tale.torn.events if tale.torn else tale.events).append(entry.event)
        case StepFinished():
            tale.events += tale.torn.events if tale.torn else []
            tale.torn = None
            tale.steps.append(_with_carried(tale, entry.step))
            tale.versions |= entry.versions
        case Stopped() if tale.torn:
            tale.torn.stopped = entry
        case Resumed():
            # A virtual card goes back to the state before the step and repeats what happened; a real one does not.
            if tale.torn and not simulated:
                tale.events += tale.torn.events
                index = tale.torn.start.index
                tale.carried[index] = (*tale.carried.get(index, ()), *tale.torn.mismatches)
            tale.torn = None
            tale.events.append(entry.event)
        case _:
            pass


def _with_carried(tale: _Tale, step: StepRecord) -> StepRecord:
    """A step with the wrong words of its torn attempts, because a later attempt that finds none does not undo them."""
    carried = tale.carried.get(step.index, ())
    return structs.replace(step, mismatches=(*carried, *step.mismatches)) if carried else step


def _all_steps(planned: tuple[Step, ...], tale: _Tale) -> tuple[StepRecord, ...]:
    known = {step.index: step for step in tale.steps}
    if tale.torn:
        torn = _with_carried(tale, _torn_step(planned, tale.torn))
        known[torn.index] = torn
    at_s = max((step.ended_s for step in known.values()), default=0.0)
    for index, step in enumerate(planned):
        if index not in known:
            known[index] = skipped(index, step, at_s, "not reached: the run was interrupted")
    return tuple(known[index] for index in sorted(known))


def skipped(index: int, step: Step, at_s: float, reason: str) -> StepRecord:
    """A step that did not run, and why."""
    return StepRecord(
        index=index,
        probe=step.probe,
        blocker=step.blocker,
        seconds=step.seconds,
        status=StepStatus.SKIPPED,
        reason=reason,
        began_s=at_s,
        ended_s=at_s,
    )


def _torn_step(planned: tuple[Step, ...], torn: _Torn) -> StepRecord:
    start = torn.start
    step = planned[start.index if start.repeat_of is None else start.repeat_of]
    return StepRecord(
        index=start.index,
        probe=start.probe,
        blocker=step.blocker,
        seconds=step.seconds,
        status=StepStatus.ABORTED,
        reason=torn.stopped.why if torn.stopped else "the run was interrupted in this step",
        repeat_of=start.repeat_of,
        began_s=start.began_s,
        ended_s=start.began_s,
        measurements=tuple(torn.measurements),
        mismatches=tuple(torn.mismatches),
        before=start.before,
        death=torn.stopped.death if torn.stopped else None,
    )


# Questions that a run that goes on asks its journal


def finished_steps(entries: Iterable[AnyEntry]) -> dict[int, StepFinished]:
    """The steps that have ended, by index."""
    return {entry.step.index: entry for entry in entries if isinstance(entry, StepFinished)}


def attempts(entries: Iterable[AnyEntry], index: int) -> int:
    """How often a step has begun."""
    return sum(1 for entry in entries if isinstance(entry, StepStarted) and entry.index == index)


def open_step(entries: Iterable[AnyEntry]) -> StepStarted | None:
    """The step that has begun and not ended."""
    begun: StepStarted | None = None
    for entry in entries:
        if isinstance(entry, StepStarted):
            begun = entry
        elif isinstance(entry, StepFinished):
            begun = None
    return begun


def station_deaths(entries: Iterable[AnyEntry], index: int) -> int:
    """How often the whole station went down while this step ran: another boot, and nothing that ended it in order."""
    boot, inside, count = "", False, 0
    for entry in entries:
        match entry:
            case StepStarted():
                inside = entry.index == index
            case StepFinished() | Stopped():
                inside = False
            case RunStarted():
                boot = entry.boot
            case Resumed():
                count += inside and entry.boot != boot
                boot, inside = entry.boot, False
            case _:
                pass
    return count
