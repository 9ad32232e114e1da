"""The children of a run: how they are started, bound to their parent's life, and ended."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

_PR_SET_PDEATHSIG = 1
TERM_GRACE_S = 1.0
KILL_GRACE_S = 10.0
STDERR_KEPT = 4000

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
"""One thread for host arithmetic, because a worker's speed and its sums must not depend on the station's cores."""

_SCRUBBED = ("CUDA_", "CUBLAS", "CUPY_", "CUTENSOR", "NVIDIA_TF32", "NVRTC_", "OMP_", "OPENBLAS_", "MKL_", "GOMP_")
_KEPT = frozenset({"CUDA_PATH", "CUDA_HOME", "CUDA_CACHE_PATH", "CUPY_CACHE_DIR"})
"""Where things lie may be said; how the card computes may not."""


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: without variables that change what CUDA, BLAS or CuPy compute, or which card."""
    kept = {name: value for name, value in inherited.items() if name in _KEPT or not name.startswith(_SCRUBBED)}
    return kept | THREADS


class Child:
    """A running child and what it prints, which goes to nameless memory so that it can neither block nor be lost."""

    def __init__(self, module: str, arguments: tuple[str, ...], fds: tuple[int, ...]) -> None:
        self._printed = os.memfd_create("gpucert-output")
        self.process = subprocess.Popen(
            # -P: the folder that a person stands in must not lend modules to the children.
            [sys.executable, "-P", "-X", "faulthandler", "-m", module, str(os.getpid()), *arguments],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=self._printed,
            env=environment(os.environ),
        )

    def printed(self) -> str:
        """The end of what it printed."""
        size = os.fstat(self._printed).st_size
        return os.pread(self._printed, STDERR_KEPT, max(0, size - STDERR_KEPT)).decode(errors="replace")

    def close(self) -> None:
        """Forget what it printed."""
        os.close(self._printed)


class Killable(Protocol):
    """The part of subprocess.Popen that ending a child needs."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""


def end(process: Killable, *, term_s: float = TERM_GRACE_S, kill_s: float = KILL_GRACE_S) -> bool:
    """SIGTERM, then SIGKILL. False when the process outlives both: then the kernel's driver holds it."""
    for number, patience in ((signal.SIGTERM, term_s), (signal.SIGKILL, kill_s)):
        if process.poll() is None:
            process.send_signal(number)
        if gone(process, patience):
            return True
    return False


def gone(process: Killable, patience_s: float) -> bool:
    """Wait for a process to end, for a while."""
    until = time.monotonic() + patience_s
    pause = 0.001
    while process.poll() is None:
        if time.monotonic() >= until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    return True


def awake_seconds(pid: int) -> int:
    """Whole seconds that a process has computed or its first thread has waited for a processor, 0 once it is gone.

    Waiting counts, because on a station with more to do than processors a process that computes is not idle (proc(5):
    utime and stime of `stat`; the second number of `schedstat`, in nanoseconds, where the kernel counts it).
    """
    return int(_used_s(pid) + _waited_s(pid))


def _used_s(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _waited_s(pid: int) -> float:
    try:
        words = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return int(words[1]) / 1e9 if len(words) > 1 else 0.0


def live_and_die_with(parent: int) -> None:
    """Called first in a child: the kernel kills it when its parent dies, and Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # the parent died before the kernel was told
