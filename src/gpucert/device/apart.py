"""NVML asked in a process of its own with a time limit, because a driver that hangs holds its caller beyond any signal.

The child is this module, run as `python -m gpucert.device.apart list` or `… look WHICH`. It writes a JSON message a
line as soon as it knows it, so that what was read before a hang is kept. A child in uninterruptible sleep outlives even
SIGKILL: it is left to the kernel, and nobody waits for it.
"""

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final, NoReturn, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from gpucert.capture import Capture
from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.reading import Absence, Absent
from gpucert.record import Identity

LIMIT_S: Final = 4.0
"""How long the driver may stay silent. Waking one card without persistence mode takes up to about three seconds."""

_CORPSE_S = 0.2
"""How long a killed child may take to go: one that hangs in the driver never goes."""
_ORPHAN_S = 600
"""When a child ends by itself, because a parent that was killed ends nobody."""
THIS_STATION: Final = "this station"
"""The source of a capture that `look` takes."""


# --- what the child says


class Counted(Struct, frozen=True, tag="counted"):
    """How many cards the driver counts."""

    cards: int


class Named(Struct, frozen=True, tag="named"):
    """One card of the list."""

    index: int
    identity: Identity


class Begun(Struct, frozen=True, tag="begun"):
    """What is asked next, so that a silence has a place."""

    part: str


class Seen(Struct, frozen=True, tag="seen"):
    """A card, read in full."""

    capture: Capture


class Failed(Struct, frozen=True, tag="failed"):
    """Why nothing more comes."""

    kind: str
    """`no_driver` or `no_such_gpu`."""
    text: str


Message: TypeAlias = Counted | Named | Begun | Seen | Failed
A = TypeVar("A")
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


# --- the side that waits


def list_gpus(limit_s: float = LIMIT_S) -> tuple[Identity, ...]:
    """The identity of every card that the driver counts, in its order.

    A card that stays silent for `limit_s` keeps its place in the list, with every reading absent. Raises NoDriverError,
    also where no card at all answers in that time.
    """
    cards = 0
    named: dict[int, Identity] = {}
    try:
        for message in _ask("list", limit_s=limit_s):
            match message:
                case Counted():
                    cards = message.cards
                case Named():
                    named[message.index] = message.identity
                case _:
                    pass
    except _SilentError as error:
        if not named:
            raise NoDriverError(error.advice("the NVIDIA driver")) from error
    silent = _nothing_but(Absent(Absence.UNKNOWN, f"the driver did not answer within {limit_s:g} s"))
    return tuple(named.get(index, silent) for index in range(cards))


def look(which: str, limit_s: float = LIMIT_S) -> Capture:
    """One card of this station by index, UUID or bus id, read once and without load.

    `limit_s` holds for each part (identity, settings, counters …). Raises NoDriverError, also where the driver stays
    silent for longer, and NoSuchGpuError with the cards that there are.
    """
    part = "handle"
    try:
        for message in _ask("look", which, limit_s=limit_s):
            match message:
                case Begun():
                    part = message.part
                case Seen():
                    return message.capture
                case _:
                    pass
    except _SilentError as error:
        raise NoDriverError(error.advice(f"GPU {which}, asked for its {part},")) from error
    raise NoDriverError(f"the driver told nothing about GPU {which}")


class _SilentError(Exception):
    """The child said nothing for so long."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s

    def advice(self, who: str) -> str:
        return (
            f"{who} does not answer within {self._limit_s:g} s: the card or the driver hangs; restart the station (or, "
            "where cards are only slow to wake, start nvidia-persistenced)"
        )


def _ask(*arguments: str, limit_s: float) -> Iterator[Message]:
    """What the child says, until it ends. Raises its failures, NoDriverError for a crash, _SilentError."""
    with _child(*arguments) as process:
        for line in _lines(process, limit_s):
            message = _understood(line)
            if isinstance(message, Failed):
                raise (NoSuchGpuError if message.kind == "no_such_gpu" else NoDriverError)(message.text)
            yield message
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise _SilentError(limit_s) from None
        if code < 0:
            raise NoDriverError(_death(-code))
        if code > 0:
            raise NoDriverError(f"the process that asks the NVIDIA driver ended with code {code} and no reason")


@contextmanager
def _child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The child, killed at the end. One that does not die is left to the kernel."""
    process = subprocess.Popen(  # -P: the folder that a person stands in must not lend modules
        [sys.executable, "-P", "-m", "gpucert.device.apart", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    try:
        yield process
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_CORPSE_S)


def _lines(process: subprocess.Popen[bytes], limit_s: float) -> Iterator[bytes]:
    """Whole lines as they come. Raises _SilentError after `limit_s` without one."""
    assert process.stdout is not None
    held = b""
    until = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, until - time.monotonic())):
                raise _SilentError(limit_s)
            piece = os.read(process.stdout.fileno(), 65_536)
            if not piece:
                return
            *lines, held = (held + piece).split(b"\n")
            yield from lines
            if lines:
                until = time.monotonic() + limit_s


def _understood(line: bytes) -> Message:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError as error:
        raise NoDriverError(f"the process that asks the NVIDIA driver said what nobody understands: {error}") from error


_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


def _death(number: int) -> str:
    """What it means that a signal ended the child."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    remedy = "a broken driver library does that; install the driver again" if number in _CRASHES else "try again"
    return f"the process that asked the NVIDIA driver died of {name}: {remedy}"


def _nothing_but(reason: Absent) -> Identity:
    """An identity of which every reading is absent for this reason."""
    return msgspec.structs.replace(
        Identity(), **{name: reason for name in Identity.__struct_fields__ if name != "window_mib"}
    )


# --- the child


def _main(arguments: list[str]) -> NoReturn:
    """Answer one question on standard output; leave without cleaning up, which a driver that hangs would hold."""
    signal.alarm(_ORPHAN_S)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # because Ctrl-C is the parent's to handle
    say = _mouth()
    try:
        match arguments:
            case ["list"]:
                _list(say)
            case ["look", which]:
                _look(which, say)
            case _:
                raise NoDriverError(f"nobody can ask the driver for {arguments}")
    except NoDriverError as error:
        say(Failed("no_driver", str(error)))
    except NoSuchGpuError as error:
        say(Failed("no_such_gpu", str(error)))
    os._exit(0)


def _mouth() -> Callable[[Message], None]:
    """How to say a message on the first standard output; what libraries print goes where errors go."""
    told = os.dup(1)
    os.dup2(2, 1)
    turn = threading.Lock()

    def say(message: Message) -> None:
        left = msgspec.json.encode(message) + b"\n"
        with turn:
            while left:
                left = left[os.write(told, left) :]

    return say


def _list(say: Callable[[Message], None]) -> None:
    from gpucert.device import nvml

    nvml.survey(lambda cards: say(Counted(cards)), lambda index, identity: say(Named(index, identity)))


def _look(which: str, say: Callable[[Message], None]) -> None:
    from gpucert.device import nvml

    def asked(part: str, ask: Callable[[], A]) -> A:
        say(Begun(part))
        return ask()

    gpu = nvml.attach(which, watch=False)
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    capture = Capture(
        source=THIS_STATION,
        taken_at=taken_at,
        identity=asked("identity", gpu.identity),
        settings=asked("settings", gpu.settings),
        counters=asked("counters", gpu.counters),
        processes=asked("processes", gpu.processes),
        sample=asked("sensors", lambda: gpu.sample(0.0)),
        nvlinks=asked("NVLinks", gpu.nvlinks),
    )
    say(Seen(capture))


if __name__ == "__main__":
    _main(sys.argv[1:])
