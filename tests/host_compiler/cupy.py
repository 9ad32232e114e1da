"""CuPy as far as gpucert uses it, over host memory and host-compiled kernels: a GPU that is none."""

import contextlib
import ctypes
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from gpucert.stress import kernels
from tests.host_compiler import HostKernels

MIB = 1 << 20
UUID = bytes.fromhex("0123456789ab00ef0123456789abcdef")
NUMBERS = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.int8, 10: np.int32}
SCALARS = {68: np.float32, 69: np.float32, 70: np.float64, 72: np.int32, 77: np.float32}
"""Of each compute type, the type of the two factors."""
ROUNDS_TO_TF32 = 77
IN_INTEGERS = 72


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"cudaError {status}")


class CUBLASError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"CUBLAS_STATUS {status}")


class FakeCuda:
    """Its state: memory that is left, the error that is stuck, faults of products, and what was launched."""

    def __init__(self, built: Mapping[str, HostKernels], *, sm_count: int = 2, memory_mib: int = 12) -> None:
        self.built = built
        self.sm_count = sm_count
        self.total = self.left = memory_mib * MIB
        self.capability = (9, 0)
        self.l2_bytes = MIB // 4
        self.stuck = 0
        self.held: dict[int, Any] = {}
        self.sizes: dict[int, int] = {}
        self.launched: list[tuple[str, int, int]] = []
        self.products = 0
        self.wrong_products: dict[int, int] = {}
        """Element to spoil, by the number of the product."""
        self.never_written: int | None = None
        """Element that keeps what it held, in every product."""
        self.silent: set[str] = set()
        """Kernels that do nothing and say nothing of it."""
        self.refused: set[int] = set()
        """Compute types that cuBLAS does not know."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Put the modules where `import cupy` finds them."""
        runtime = types.SimpleNamespace(**{name: getattr(self, name) for name in RUNTIME}, **CONSTANTS)
        cuda = module("cupy.cuda", runtime=runtime, Event=self.event, Stream=FakeStream, set_allocator=lambda _: None)
        libs = module("cupy_backends.cuda.libs", cublas=self, nvrtc=types.SimpleNamespace(getVersion=lambda: (13, 0)))
        cupy = module("cupy", __version__="0", cuda=cuda, RawModule=self.raw_module)
        backends = {"cupy_backends": module("cupy_backends"), "cupy_backends.cuda": module("cupy_backends.cuda")}
        for name, made in {"cupy": cupy, "cupy.cuda": cuda, **backends, "cupy_backends.cuda.libs": libs}.items():
            patch.setitem(sys.modules, name, made)

    def raw_module(self, *, code: str, options: tuple[str, ...]) -> "FakeModule":
        name = next(name for name in kernels.ENTRIES if kernels.source(name) == code)
        return FakeModule(self, self.built[name])

    def event(self) -> types.SimpleNamespace:
        self.times = getattr(self, "times", [])
        self.times.append(0.0)
        return types.SimpleNamespace(ptr=len(self.times) - 1)

    def eventRecord(self, event: int, stream: int) -> None:  # noqa: N802
        self.times[event] = time.perf_counter()

    def eventQuery(self, event: int) -> int:  # noqa: N802
        return self.stuck

    def eventElapsedTime(self, start: int, end: int) -> float:  # noqa: N802
        return (self.times[end] - self.times[start]) * 1000

    def malloc(self, size: int) -> int:
        if size > self.left:
            raise CUDARuntimeError(2)
        memory = np.full(size // 8 + 4, 0xCDCD, np.uint64)
        address = memory.ctypes.data + (-memory.ctypes.data % 32)
        self.held[address], self.sizes[address] = memory, size
        self.left -= size
        return int(address)

    def free(self, address: int) -> None:
        if address:
            del self.held[address]
            self.left += self.sizes.pop(address)

    def memGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.left, self.total

    def hostAlloc(self, size: int, flags: int) -> int:  # noqa: N802
        memory = np.zeros(size // 8 + 1, np.uint64)
        self.held[memory.ctypes.data] = memory
        return int(memory.ctypes.data)

    def freeHost(self, address: int) -> None:  # noqa: N802
        del self.held[address]

    def pointerGetAttributes(self, address: int) -> types.SimpleNamespace:  # noqa: N802
        return types.SimpleNamespace(devicePointer=address)

    def memsetAsync(self, address: int, value: int, size: int, stream: int) -> None:  # noqa: N802
        ctypes.memset(address, value, size)

    def memcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> None:  # noqa: N802
        ctypes.memmove(to, source, size)

    def setDevice(self, device: int) -> None:  # noqa: N802
        if self.stuck:
            raise CUDARuntimeError(self.stuck)

    def getDeviceCount(self) -> int:  # noqa: N802
        return 2

    def getDeviceProperties(self, device: int) -> dict[str, bytes]:  # noqa: N802
        uuid = UUID.split(b"\0")[0] if device == 1 else bytes(range(1, 17))
        return {"uuid": uuid, "name": b"Fake GPU"}

    def deviceGetByPCIBusId(self, bus_id: str) -> int:  # noqa: N802
        if bus_id != "0000:65:00.0":
            raise CUDARuntimeError(101)
        return 0

    def deviceGetAttribute(self, number: int, device: int) -> int:  # noqa: N802
        major, minor = self.capability
        return {16: self.sm_count, 36: 1_593_000, 37: 5120, 38: self.l2_bytes, 75: major, 76: minor, 97: 99_000}[number]

    def driverGetVersion(self) -> int:  # noqa: N802
        return 13010

    def runtimeGetVersion(self) -> int:  # noqa: N802
        return 12090

    def create(self) -> int:
        return 1

    def getVersion(self, handle: int) -> int:  # noqa: N802
        return 130203

    def gemmEx(  # noqa: N802
        self, handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, a_type: int, lda: int, b: int,
        b_type: int, ldb: int, beta: int, c: int, c_type: int, ldc: int, compute: int, algorithm: int,
    ) -> None:  # fmt: skip
        assert (tb, lda, ldb, ldc, algorithm) == (0, k if ta else m, k, m, -1)
        assert [matrix_view(one, None, 1, SCALARS[compute])[0] for one in (alpha, beta)] == [1, 0]
        if compute in self.refused:
            raise CUBLASError(15)
        if compute == IN_INTEGERS:
            assert ta == 1, "only so does it run on tensor cores"
            assert not any(size % 4 for size in (m, n, k, a, b, c))
        left = matrix(a, a_type, k, m).T if ta else matrix(a, a_type, m, k)
        right = matrix(b, b_type, k, n)
        if compute == ROUNDS_TO_TF32:
            left, right = as_tf32(left), as_tf32(right)
        result = matrix_view(c, c_type, m * n)
        kept = result.copy()
        result[:] = (left @ right).T.ravel()
        if self.never_written is not None and self.never_written < m * n:
            result[self.never_written] = kept[self.never_written]
        spoiled = self.wrong_products.get(self.products)
        if spoiled is not None:
            result[spoiled] += 1
        self.products += 1


class FakeStream(contextlib.nullcontext[None]):
    """A stream of its own: what is queued is done at once."""

    ptr = 7

    def __init__(self, *, non_blocking: bool) -> None:
        assert non_blocking
        super().__init__()


class FakeModule:
    def __init__(self, cuda: FakeCuda, built: HostKernels) -> None:
        self.cuda, self.built = cuda, built

    def get_function(self, name: str) -> "FakeKernel":
        return FakeKernel(self.cuda, self.built, name)


class FakeKernel:
    shared_size_bytes = 1000
    max_dynamic_shared_size_bytes = 0

    def __init__(self, cuda: FakeCuda, built: HostKernels, name: str) -> None:
        self.cuda, self.built, self.name = cuda, built, name

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[np.uint64, ...], *, shared_mem: int) -> None:
        assert all(isinstance(argument, np.uint64) for argument in args)
        assert shared_mem <= self.max_dynamic_shared_size_bytes
        assert block == (kernels.THREADS,)
        self.cuda.launched.append((self.name, grid[0], shared_mem))
        if self.name not in self.cuda.silent:
            self.built.call(self.name, *(int(argument) for argument in args), blocks=grid[0])


def module(name: str, **content: object) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(content)
    return made


def as_tf32(numbers: Any) -> Any:
    """Towards zero, to the ten bits of fraction that the tensor cores look at."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32) & np.uint32(0xFFFF_E000)
    return bits.view(np.float32).astype(np.float64)


def matrix_view(address: int, kind: int | None, count: int, number_type: type[np.generic] = np.uint16) -> Any:
    number = np.dtype(number_type if kind is None else NUMBERS.get(kind, np.uint16))
    raw = (ctypes.c_char * (count * number.itemsize)).from_address(address)
    return np.frombuffer(raw, number)


def matrix(address: int, kind: int, rows: int, columns: int) -> Any:
    flat = matrix_view(address, kind, rows * columns)
    if kind == 14:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.astype(np.float64).reshape(columns, rows).T


RUNTIME = [name for name in vars(FakeCuda) if name[0] != "_" and name not in {"install", "raw_module", "event"}]
CONSTANTS = {"hostAllocMapped": 2, "hostAllocPortable": 1, "memcpyDefault": 4, "CUDARuntimeError": CUDARuntimeError}
