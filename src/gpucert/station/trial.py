"""Libraries tried in a process of their own with a time limit, because loading one may crash or hang whoever does it.

The child is this module, run as `python -m gpucert.station.trial nvml`, `… cuda` or `… cupy`. It writes a JSON message
a line as soon as it knows it, so that what came before a crash is kept. It makes no context and runs nothing on a card.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, NoReturn

import msgspec
from msgspec import Struct

from gpucert.station.facts import Tried

NVML: Final = "libnvidia-ml.so.1"
CUDA: Final = "libcuda.so.1"
_ORPHAN_S = 60
"""When a child ends by itself, because a parent that was killed ends nobody."""
_CORPSE_S = 0.2
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
_SAID_AT_MOST = 300


class _Said(Struct, frozen=True):
    part: str
    version: str = ""
    trouble: str = ""


# --- the side that waits


def attempt(what: str, environment: Mapping[str, str], limit_s: float) -> Tried:
    """Try `nvml`, `cuda` or `cupy` in a child, with the environment that a run's own processes would have."""
    process = subprocess.Popen(  # -P: the folder that a person stands in must not lend modules
        [sys.executable, "-P", "-m", "gpucert.station.trial", what],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
    )
    try:
        printed, _ = process.communicate(timeout=limit_s)
        end = _how(process.returncode)
    except subprocess.TimeoutExpired as late:
        printed, end = late.output or b"", f"no answer within {limit_s:.1f} s"
    finally:
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_CORPSE_S)
    said = tuple(_understood(printed))
    return Tried(
        parts={one.part: one.version for one in said if not one.trouble},
        troubles={one.part: one.trouble for one in said if one.trouble},
        end=end,
    )


def _how(code: int) -> str:
    """Empty for a good end. Only signals of a program's own doing are a crash: SIGKILL comes from elsewhere."""
    if code >= 0:
        return f"ended with code {code}" if code else ""
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"crashed ({name})" if -code in _CRASHES else f"was stopped ({name})"


def _understood(printed: bytes) -> Iterator[_Said]:
    for line in printed.splitlines():
        with suppress(msgspec.DecodeError):  # a line that was cut off by a crash
            yield msgspec.json.decode(line, type=_Said)


# --- the child


def _main(what: str) -> NoReturn:
    """Say what is known, line by line; leave without cleaning up, which a library might hold."""
    signal.alarm(_ORPHAN_S)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # because Ctrl-C is the parent's to handle
    told = os.dup(1)
    os.dup2(2, 1)  # because what libraries print is no message
    for said in {"nvml": _nvml, "cuda": _cuda, "cupy": _cupy}[what]():
        os.write(told, msgspec.json.encode(said) + b"\n")
    os._exit(0)


def _nvml() -> Iterator[_Said]:
    """Only loaded, to tell a library that is missing from one that is broken; `apart` asks it."""
    try:
        ctypes.CDLL(NVML)
    except OSError as error:
        yield _Said("library", trouble=str(error)[:_SAID_AT_MOST])
    else:
        yield _Said("library", "loaded")


def _cuda() -> Iterator[_Said]:
    """The newest CUDA that the driver supports, which it tells without being started."""
    try:
        library = ctypes.CDLL(CUDA)
        ask = library.cuDriverGetVersion
    except (OSError, AttributeError) as error:
        yield _Said("library", trouble=str(error)[:_SAID_AT_MOST])
        return
    yield _Said("library", "loaded")
    version = ctypes.c_int()
    code = ask(ctypes.byref(version))
    if code or version.value <= 0:
        yield _Said("cuda", trouble=f"cuDriverGetVersion answered code {code} and version {version.value}")
    else:
        yield _Said("cuda", f"{version.value // 1000}.{version.value % 1000 // 10}")


def _cupy() -> Iterator[_Said]:
    from gpucert.stress import toolkit

    for part in toolkit.parts():
        yield _Said(part.name, part.version, part.trouble[:_SAID_AT_MOST])


if __name__ == "__main__":
    _main(sys.argv[1])
