"""Samples a card from a process of its own, while it is told to, as the monitor of a run does: GPU."""

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol, Self

from nameless import nameless

SAMPLES_PER_S = 20
"""Twice as often as the monitor, which is the most that is planned for it."""
ANSWER_S = 15.0
"""How long the process may stay silent. Waking a card takes up to about three seconds."""
INCOMPLETE = 30


class NotSampledError(RuntimeError):
    """The card was not sampled; the text says why."""


class Sampler:
    """The process, from outside. It says `ready`, then obeys `go` and `stop`, and ends when its input closes."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.samples: list[int] = []
        """How many were taken, turn by turn."""
        self.milliseconds: list[float] = []
        """How long one took, the median of each turn."""

    def __enter__(self) -> Self:
        """Wait until it is ready. Raises NotSampledError."""
        try:
            said = self._hear()
            if said != "ready":
                raise NotSampledError(f"telemetry cannot be taken: {said}")
        except NotSampledError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(1.0)

    def during(self, load: Callable[[], float]) -> float:
        """What the load answers while the card is sampled. Raises NotSampledError where it was not."""
        self._tell("go")
        rate = load()
        self._tell("stop")
        told = json.loads(self._hear())
        self.samples.append(told["samples"])
        self.milliseconds.append(told["milliseconds"])
        return rate

    def _tell(self, word: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(f"{word}\n".encode())
        except BrokenPipeError as error:
            raise NotSampledError("the sampling process ended early") from error

    def _hear(self) -> str:
        assert self._process.stdout
        heard, _, _ = select.select([self._process.stdout], [], [], ANSWER_S)
        if not heard:
            raise NotSampledError(f"the sampling process was silent for {ANSWER_S:.0f} s")
        if not (line := self._process.stdout.readline()):
            raise NotSampledError("the sampling process ended early")
        return line.decode(errors="replace").strip()


class Sampled(Protocol):
    """What is used of `gpucert.device.gpu.Gpu`."""

    def sample(self, at_s: float) -> object:
        """One row of telemetry."""


def obey(card: Sampled, words: int, say: Callable[[str], None]) -> None:
    """Read words from a descriptor until it closes; sample between `go` and `stop`, and then say what was taken."""
    while _word(words):
        took, began = list[float](), time.monotonic()
        due = began
        while not took or not select.select([words], [], [], max(0.0, due - time.monotonic()))[0]:
            due = max(due + 1 / SAMPLES_PER_S, time.monotonic())
            asked = time.perf_counter()
            card.sample(time.monotonic() - began)
            took.append(time.perf_counter() - asked)
        if not _word(words):
            return
        say(json.dumps({"samples": len(took), "milliseconds": 1000 * statistics.median(took)}))


def _word(fd: int) -> bytes:
    """One line, byte by byte: what a buffer held back, `select` would not see."""
    word = b""
    while (letter := os.read(fd, 1)) not in (b"", b"\n"):
        word += letter
    return word


def say(text: str) -> None:
    """One line to the process that asks."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(which: str) -> int:
    """Attach, say so, and obey; 30 where the card cannot be attached."""
    from gpucert.device import nvml

    try:
        card = nvml.attach(which)
    except (RuntimeError, LookupError) as error:
        say(nameless(str(error)))
        return INCOMPLETE
    say("ready")
    obey(card, sys.stdin.fileno(), say)
    card.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
