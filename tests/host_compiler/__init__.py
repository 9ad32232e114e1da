"""Kernels of the card, built by the host's C++ compiler and called from NumPy."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpucert.stress import kernels

COMPILER = shutil.which("g++") or shutil.which("c++")
HERE = Path(__file__).parent
ALL_ONES = (1 << 64) - 1

_CALL = 'extern "C" void call_{name}(u64 blocks, const u64 *arguments) {{ host::launch<{name}>(blocks, arguments); }}\n'


class HostKernels:
    """The kernels of one .cu file as host functions, with faults below their loads and stores."""

    def __init__(self, name: str, folder: Path) -> None:
        source = folder / f"{name}.cpp"
        library = folder / f"{name}.so"
        calls = "".join(_CALL.format(name=entry) for entry in kernels.ENTRIES[name])
        source.write_text(self._for_host(kernels.source(name)) + calls, encoding="utf-8")
        options = [option for option in kernels.OPTIONS if not option.startswith("-std")]
        strict = ["-ffp-contract=off", "-fno-strict-aliasing", "-Wall", "-Wno-unused-function", "-Wno-unknown-pragmas"]
        command = [str(COMPILER), "-std=c++20", "-O2", "-shared", "-fPIC", *strict, *options]
        done = subprocess.run([*command, str(source), "-o", str(library)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        self._library = ctypes.CDLL(str(library))

    @staticmethod
    def _for_host(text: str) -> str:
        """The source with the functions of the host in place of those of the hardware."""
        before, separator, after = text.partition("\n#endif  // GPUCERT_DEVICE\n")
        assert separator, "device.cuh should end in `#endif  // GPUCERT_DEVICE`"
        head, mark, _ = before.partition("#ifndef GPUCERT_DEVICE\n")
        assert mark
        return head + (HERE / "device.cuh").read_text(encoding="utf-8") + after

    def call(self, name: str, *arguments: int, blocks: int) -> None:
        """Run one kernel."""
        words = (ctypes.c_uint64 * max(1, len(arguments)))(*(argument & ALL_ONES for argument in arguments))
        getattr(self._library, f"call_{name}")(ctypes.c_uint64(blocks), words)

    def plant(self, address: int, *, keep: int = ALL_ONES, set_bits: int = 0, drops_stores: bool = False) -> None:
        """Make the word at an address come out as (word & keep) | set_bits, or never take a store."""
        unsigned = (ctypes.c_uint64(value) for value in (address, keep, set_bits, int(drops_stores)))
        self._library.plant_fault(*unsigned)

    def set_sms(self, count: int, wrong: int = ALL_ONES) -> None:
        """How many SMs blocks are spread over, and which of them has wrong products."""
        self._library.set_sms(ctypes.c_uint64(count), ctypes.c_uint64(wrong))

    def set_clock(self, mhz: int, step_ns: int = 1000, slow_sm: int = ALL_ONES, slow_mhz: int = 0) -> None:
        """At which clock every SM runs, one of them at another, and by how much the timer of all moves at once."""
        self._library.set_clock(*(ctypes.c_uint64(value) for value in (mhz, step_ns, slow_sm, slow_mhz)))

    def repair(self) -> None:
        """Take all faults away."""
        self._library.repair()


def words(count: int, fill: int = 0) -> NDArray[np.uint64]:
    """Memory for a kernel, aligned to 32 bytes."""
    raw = np.full(count + 4, fill, np.uint64)
    first = (-raw.ctypes.data % 32) // 8
    return raw[first : first + count]
