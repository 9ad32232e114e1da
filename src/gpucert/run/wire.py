"""What the processes of a run say to each other: length-prefixed msgpack of tagged structs over a socket pair."""

import array
import os
import socket
from collections import deque
from typing import TypeVar

import msgspec
from msgspec import Struct

from gpucert.device.simulated.wire import Load
from gpucert.outcome import StepStatus
from gpucert.reading import NOT_ASKED, Reading
from gpucert.record import (
    Counters,
    Declared,
    Event,
    Identity,
    Measurement,
    Mismatch,
    Process,
    Sample,
    Settings,
    Trace,
)
from gpucert.run.plan import Option

LENGTH_BYTES = 4
LARGEST_FRAME = 1 << 28
CHUNK_BYTES = 1 << 16
FDS_AT_ONCE = 4

T = TypeVar("T")


class Message(Struct, frozen=True, kw_only=True, tag=True):
    """One message; its tag is the name of its class."""


# Supervisor to monitor


class Attach(Message, frozen=True, kw_only=True):
    """Take hold of a card: a real one by index, UUID or bus id, or the virtual one that a scenario describes."""

    gpu: str = ""
    scenario: str | None = None
    source: str = ""
    """What errors call the scenario."""
    clock_s: float = 0.0
    """Where the run's clock goes on, for a real card."""


class BeginStep(Message, frozen=True, kw_only=True):
    """A worker begins; the monitor's end of its socket travels with this message."""

    index: int
    attempt: int
    state: str = ""
    """Virtual cards: the state that the card is thawed from, empty for a card fresh from its scenario."""


class EndStep(Message, frozen=True, kw_only=True):
    """The worker is gone."""


class Close(Message, frozen=True, kw_only=True):
    """The run is over."""


class Hold(Message, frozen=True, kw_only=True):
    """Keep the card's lock, which travels with this message, for as long as this process lives."""


ToMonitor = Attach | Hold | BeginStep | EndStep | Close


# Monitor to supervisor


class Attached(Message, frozen=True, kw_only=True):
    """The card as it answers before the run."""

    identity: Identity
    settings: Settings
    processes: Reading[tuple[Process, ...]] = NOT_ASKED
    zero_s: float
    """The host's monotonic clock when the run's clock read 0; a virtual card does not use it."""


class Refused(Message, frozen=True, kw_only=True):
    """The card could not be had: the class of the error and its text."""

    error: str
    text: str


class StepBegun(Message, frozen=True, kw_only=True):
    """The card is watched."""

    began_s: float
    before: Counters


class StepEnded(Message, frozen=True, kw_only=True):
    """What the monitor saw during the step."""

    ended_s: float
    after: Counters
    telemetry: Trace | None
    state: str = ""


class Seen(Message, frozen=True, kw_only=True):
    """A sample for the person who waits, at most four a second."""

    sample: Sample


class Happened(Message, frozen=True, kw_only=True):
    """An event, as soon as it is known."""

    event: Event


class Trouble(Message, frozen=True, kw_only=True):
    """telemetry.csv cannot be written: the operating system's number and words for it."""

    errno: int
    text: str


ToSupervisor = Attached | Refused | StepBegun | StepEnded | Seen | Happened | Trouble


# Supervisor to worker


class StepSpec(Message, frozen=True, kw_only=True):
    """Everything that a worker is told about its step."""

    index: int
    probe: str
    seconds: float
    seed: int
    options: dict[str, Option] = {}
    card: str
    """UUID or bus id; for a virtual card its UUID, which nothing looks up."""
    scenario: str | None = None
    source: str = ""
    began_s: float
    zero_s: float


# Worker to supervisor


class Ready(Message, frozen=True, kw_only=True):
    """The probe is loaded; these are its promises."""

    declared: tuple[Declared, ...]


class Uses(Message, frozen=True, kw_only=True):
    """The libraries that take part, once the probe asked for its backend."""

    versions: dict[str, str]


class Measured(Message, frozen=True, kw_only=True):
    """A promise kept."""

    measurement: Measurement


class Mismatched(Message, frozen=True, kw_only=True):
    """One located error."""

    mismatch: Mismatch


class Traced(Message, frozen=True, kw_only=True):
    """A series of the probe's own."""

    name: str
    trace: Trace


class Progressed(Message, frozen=True, kw_only=True):
    """How far the step is."""

    fraction: float
    text: str


class Finished(Message, frozen=True, kw_only=True):
    """The worker's last words. `death` names a row of the table of deaths."""

    status: StepStatus
    reason: str = ""
    death: str = ""


FromWorker = Ready | Uses | Measured | Mismatched | Traced | Progressed | Finished


# Worker to monitor


class AskIdentity(Message, frozen=True, kw_only=True):
    """Who are you?"""


class AskSettings(Message, frozen=True, kw_only=True):
    """How are you set?"""


class AskCounters(Message, frozen=True, kw_only=True):
    """What have you counted?"""


class AskSamples(Message, frozen=True, kw_only=True):
    """What did the sensors say from `since_s` on?"""

    since_s: float


class AskAdvance(Message, frozen=True, kw_only=True):
    """Virtual cards: let time pass under this load."""

    seconds: float
    load: Load


Ask = AskIdentity | AskSettings | AskCounters | AskSamples | AskAdvance


class ClosedError(ConnectionError):
    """The other end is gone."""


class Channel:
    """One end of a socket pair that speaks in messages, and can hand over file descriptors with them."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._bytes = bytearray()
        self._frames: deque[bytes] = deque()
        self.fds: deque[int] = deque()
        """Descriptors that arrived, oldest first; whoever takes one closes it."""

    @classmethod
    def of_fd(cls, fd: int) -> "Channel":
        """The end that a parent left at this number."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def send(self, message: Struct | tuple[Struct, ...], fds: tuple[int, ...] = ()) -> None:
        """Send one message whole. Raises ClosedError."""
        body = msgspec.msgpack.encode(message)
        frame = len(body).to_bytes(LENGTH_BYTES, "little") + body
        try:
            sent = socket.send_fds(self._socket, [frame], fds) if fds else 0
            self._socket.sendall(memoryview(frame)[sent:])
        except OSError as error:
            raise ClosedError(str(error)) from error

    def receive(self, kind: type[T]) -> T:
        """Wait for the next message. Raises ClosedError."""
        while not self._frames:
            self._read()
        return msgspec.msgpack.decode(self._frames.popleft(), type=kind)

    def arrived(self) -> tuple[bytes, ...]:
        """The frames that one read brought, once a selector says that it will not block. Raises ClosedError.

        After the other end is gone, frames that it sent before come first.
        """
        if not self._frames:
            self._read()
        frames = tuple(self._frames)
        self._frames.clear()
        return frames

    def close(self) -> None:
        """Close this end and every descriptor that nobody took."""
        self._socket.close()
        while self.fds:
            os.close(self.fds.popleft())

    def _read(self) -> None:
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(
                CHUNK_BYTES, socket.CMSG_SPACE(FDS_AT_ONCE * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise ClosedError(str(error)) from error
        self._keep_fds(ancillary)
        if not data:
            raise ClosedError("the other end closed")
        self._bytes += data
        self._cut_frames()

    def _keep_fds(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, payload in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                self.fds.extend(numbers)

    def _cut_frames(self) -> None:
        while len(self._bytes) >= LENGTH_BYTES:
            length = int.from_bytes(self._bytes[:LENGTH_BYTES], "little")
            if length > LARGEST_FRAME:
                raise ClosedError(f"a frame of {length} bytes: the other end does not speak this language")
            if len(self._bytes) < LENGTH_BYTES + length:
                return
            self._frames.append(bytes(self._bytes[LENGTH_BYTES : LENGTH_BYTES + length]))
            del self._bytes[: LENGTH_BYTES + length]


TO_MONITOR: msgspec.msgpack.Decoder[ToMonitor] = msgspec.msgpack.Decoder(ToMonitor)
TO_SUPERVISOR: msgspec.msgpack.Decoder[ToSupervisor] = msgspec.msgpack.Decoder(ToSupervisor)
FROM_WORKER: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
ASKED: msgspec.msgpack.Decoder[Ask] = msgspec.msgpack.Decoder(Ask)


def read(frame: bytes, way: msgspec.msgpack.Decoder[T]) -> T:
    """Read a frame as one of the messages that may come this way. Raises ClosedError for anything else."""
    try:
        return way.decode(frame)
    except msgspec.DecodeError as error:
        raise ClosedError(f"not a message of this kind: {error}") from error


def pair() -> tuple[Channel, Channel]:
    """Two ends that hear each other."""
    one, other = socket.socketpair()
    return Channel(one), Channel(other)
