"""The CUDA sources as they are compiled, with what they include put in place, and how they are launched."""

import hashlib
import re
from importlib.resources import files

from gpucert.stress.answers import THREADS, WARP
from gpucert.stress.backend import ArithmeticUnit

ENTRIES: dict[str, tuple[str, ...]] = {
    "memory_scan": ("memory_write", "memory_verify", "memory_peek", "memory_poke"),
    "bandwidth": ("stream_read", "stream_write", "stream_copy"),
    "burn": ("burn",),
    "clock": ("clock_count",),
    "gemm": ("matrix_fill", "matrix_inputs", "matrix_digest", "matrix_compare"),
    "sm_answers": ("answers_int32", "answers_fp32", "answers_fp64", "answers_sfu"),
    "sm_answers_moves": (
        "answers_shared",
        "answers_registers",
        "answers_shuffle",
        "answers_atomics",
        "answers_branches",
    ),
    "sm_answers_tensor": (
        "answers_tensor",
        "answers_tensor_bf16",
        "answers_tensor_tf32",
        "answers_tensor_int8",
        "answers_tensor_fp64",
    ),
}
"""The kernels of each .cu file."""

OPTIONS = ("-std=c++17", f"-DTHREADS={THREADS}")
"""What every file is compiled with, besides what CuPy adds: the architecture and -ftz=true."""

ARCHITECTURES = (60, 61, 70, 75, 80, 86, 89, 90, 100, 103, 120)
"""Compute capabilities that gpucert supports, times ten; the first three need CUDA 12."""
FIRST_OF_CUDA_13 = 75

BLOCKS_PER_SM = 8
"""256 threads each fill an SM of 2048 threads, and smaller ones take turns."""
ROW_WORDS = 4
"""Words of a block's row of counts, and of one line of the log: see tally.cuh."""
LOG_CAPACITY = 4096
"""Wrong words that are kept of one launch, the first ones."""
WARPS = THREADS // WARP
ANSWER_WORDS = 2 + WARPS + THREADS
"""Words of a block's known answer: SM at the start, SM at the end, the slot of each warp, the signatures."""
CLOCK_WORDS = 8
"""Words of a block's count of cycles: SM, cycles, nanoseconds and step of the timer, at the start and at the end."""

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)


def source(name: str) -> str:
    """The text of `name`.cu with every file that it includes put in place, each once."""
    return _inlined(f"{name}.cu", set())


def _inlined(filename: str, seen: set[str]) -> str:
    if filename in seen:
        return ""
    seen.add(filename)
    text = files("gpucert.stress").joinpath(filename).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: _inlined(match[1], seen), text)


def version() -> str:
    """Twelve hexadecimal digits that change whenever a kernel does."""
    text = "".join(source(name) for name in sorted(ENTRIES)) + " ".join(OPTIONS)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def entry(unit: ArithmeticUnit) -> str:
    """The kernel of a unit's answers."""
    return f"answers_{unit.value}"


def blocks(sm_count: int) -> int:
    """Blocks of the persistent grid that walks memory."""
    return sm_count * BLOCKS_PER_SM
