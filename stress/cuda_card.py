"""One GPU through CuPy: which one, its kernels, its clock, its memory and its errors in words.

CuPy is imported inside, because importing this module must cost nothing where there is no GPU. Everything runs on the
default stream, because cuBLAS promises identical bits only while a single stream is active; only sweeps of the memory
that shall run beside products have one of their own.
"""

import ctypes
import os
import re
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpucert.stress import kernels
from gpucert.stress.answers import THREADS
from gpucert.stress.backend import (
    ArithmeticUnit,
    DeviceLostError,
    IllegalAddressError,
    LaunchFailedError,
    OutOfMemoryError,
    UncorrectableEccError,
)

Words = NDArray[np.uint64]

_NOT_READY = 600
_SPIN_SECONDS = 0.002
"""A kernel is polled without rest for so long, because a nap would cost more than a short one takes."""
_NAP_SECONDS = 0.001
AHEAD_SECONDS = 0.1
"""Work is queued no further ahead than this, so that an interrupt or a hot card is answered at once."""

_FORCED = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
_SCRUBBED = re.compile(
    r"CUPY_TF32|CUPY_ACCELERATORS|CUPY_COMPILE_WITH_PTX|CUPY_CUDA_COMPILE_WITH_DEBUG"
    r"|NVIDIA_TF32_OVERRIDE|CUDA_LAUNCH_BLOCKING|CUBLAS_EMULAT\w+|CUBLAS_FIXEDPOINT_EMULATION\w*"
)


class NoCudaError(RuntimeError):
    """This station cannot run CUDA work; nothing is known of the card. The text says what to do."""


_FATES: dict[int, type[RuntimeError]] = {
    2: OutOfMemoryError,
    214: UncorrectableEccError,
    700: IllegalAddressError,
    46: DeviceLostError,
    100: DeviceLostError,
    101: DeviceLostError,
    999: DeviceLostError,
    **dict.fromkeys((220, 226, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721), LaunchFailedError),
}
"""What a CUDA error says (driver_types.h). The driver calls a card that fell off the bus by any of four names."""
_STATION = {3, 34, 35, 36, 46, 100, 101, 209, 222, 801, 802, 803, 804, 999}
"""Errors that, before anything ran, may speak of driver, library, permission or another process: not of the card."""
_CUBLAS_ALLOC_FAILED = 3
_CUBLAS_CANNOT = {8, 15}


def scrub_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take out what would change the arithmetic behind our back; call it before CuPy is imported."""
    for name in [name for name in environment if _SCRUBBED.fullmatch(name)]:
        del environment[name]
    environment.update(_FORCED)


def named(error: RuntimeError, *, working: bool) -> RuntimeError:
    """The error of the contract that a CUDA or cuBLAS error stands for; the error itself if it stands for none.

    `working` is True once the card has run something: before that a missing driver is the station's fault.
    """
    status = getattr(error, "status", None)
    if not isinstance(status, int):
        return error
    match type(error).__name__:
        case "CUBLASError":
            return _named_cublas(error, status)
        case "NVRTCError":
            return NoCudaError(f"NVRTC cannot compile for this card ({error}): install the CuPy of its CUDA release")
    if not working and status in _STATION:
        return NoCudaError(f"CUDA cannot start ({error}, code {status}): check driver, permissions and container")
    fate = _FATES.get(status)
    return fate(f"{error} (CUDA error {status})") if fate else error


def _named_cublas(error: RuntimeError, status: int) -> RuntimeError:
    if status == _CUBLAS_ALLOC_FAILED:
        return OutOfMemoryError(f"cuBLAS: {error}")
    if status in _CUBLAS_CANNOT:
        return NoCudaError(f"this cuBLAS cannot multiply matrices of this type on this card ({error}): update it")
    return LaunchFailedError(f"cuBLAS: {error}")


class Kernel(Protocol):
    """What is used of cupy.RawKernel."""

    shared_size_bytes: int
    max_dynamic_shared_size_bytes: int

    def __call__(self, grid: tuple[int], block: tuple[int], args: tuple[np.uint64, ...], *, shared_mem: int) -> None:
        """Queue it."""


class Pinned:
    """Pinned host memory that kernels write to directly; `words` is its view as 64-bit numbers."""

    def __init__(self, words: int) -> None:
        from cupy.cuda import runtime

        flags = runtime.hostAllocMapped | runtime.hostAllocPortable
        self._pointer = int(runtime.hostAlloc(words * 8, flags))
        self.address = int(runtime.pointerGetAttributes(self._pointer).devicePointer)
        self.words: Words = np.ctypeslib.as_array((ctypes.c_uint64 * words).from_address(self._pointer))

    def free(self) -> None:
        """Give the memory back; `words` must not be used again."""
        from cupy.cuda import runtime

        self.words = np.empty(0, np.uint64)
        runtime.freeHost(self._pointer)


class CudaCard:
    """A GPU with a live context. Raises NoCudaError, or any error of the contract, from every method."""

    def __init__(self, which: str) -> None:
        self._working = False
        scrub_environment()
        with self.errors():
            import_cupy()
            from cupy.cuda import Stream, runtime

            self.device = find_device(which)
            runtime.setDevice(self.device)
            runtime.free(0)  # because that alone makes the context
            self.capability = self.attribute("ComputeCapabilityMajor") * 10 + self.attribute("ComputeCapabilityMinor")
            self.sm_count = self.attribute("MultiProcessorCount")
            self.l2_bytes = self.attribute("L2CacheSize")
            self._functions = self._loaded()
            self._start, self._end = self.event(), self.event()
            self._side, self._side_start, self._side_end = Stream(non_blocking=True), self.event(), self.event()
            self._working = True

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of CUDA and cuBLAS into those of the contract."""
        try:
            yield
        except RuntimeError as error:
            told = named(error, working=self._working)
            if told is error:
                raise
            raise told from error

    def attribute(self, name: str) -> int:
        """A device attribute by its name in CUDA, without `cudaDevAttr`."""
        from cupy.cuda import runtime

        number = _ATTRIBUTES[name]
        with self.errors():
            return int(runtime.deviceGetAttribute(number, self.device))

    def allow_shared(self, name: str) -> int:
        """Let a kernel take all the shared memory that a block may have; the bytes left beyond its own."""
        kernel = self._functions[name]
        with self.errors():
            spare = self.attribute("MaxSharedMemoryPerBlockOptin") - int(kernel.shared_size_bytes)
            kernel.max_dynamic_shared_size_bytes = spare
        return spare

    def launch(self, name: str, *arguments: int, blocks: int, shared: int = 0) -> None:
        """Queue a kernel. Arguments are taken modulo 2⁶⁴."""
        passed = tuple(np.uint64(argument & 0xFFFF_FFFF_FFFF_FFFF) for argument in arguments)
        with self.errors():
            self._functions[name]((blocks,), (THREADS,), passed, shared_mem=shared)

    def event(self) -> "Event":
        """A point in the queue whose time can be asked for."""
        from cupy.cuda import Event as CupyEvent

        return Event(self, CupyEvent())

    def timed(self, enqueue: Callable[[], None]) -> float:
        """Queue work, wait until it is done, and answer the seconds that it took on the card."""
        self._start.record()
        enqueue()
        self._end.record()
        self._end.wait()
        return self._end.seconds_since(self._start)

    def timed_beside(self, enqueue: Callable[[], None], beside: Callable[[], None]) -> float:
        """Queue kernels on a stream of their own and do other work until they are done, once at least; their seconds.

        Products stay on the default stream, alone there: cuBLAS promises identical bits for as long as no other stream
        is active, which whole numbers do not need.
        """
        self.finish()
        with self._side:
            self._side_start.record(self._side.ptr)
            enqueue()
            self._side_end.record(self._side.ptr)
        while True:
            beside()
            if self._side_end.passed():
                return self._side_end.seconds_since(self._side_start)

    def timed_repeats(self, times: int, enqueue: Callable[[], None]) -> float:
        """The same for work repeated `times` times, queued in batches of `AHEAD_SECONDS`."""
        seconds, done, batch = 0.0, 0, 1
        while done < times:
            count = min(batch, times - done)

            def several(count: int = count) -> None:
                for _ in range(count):
                    enqueue()

            took = self.timed(several)
            seconds, done = seconds + took, done + count
            batch = max(1, int(AHEAD_SECONDS * count / max(took, 1e-6)))
        return seconds

    def free_bytes(self) -> int:
        """Memory that nobody has allocated now."""
        return self.memory()[0]

    def memory(self) -> tuple[int, int]:
        """Free and total bytes."""
        from cupy.cuda import runtime

        with self.errors():
            free, total = runtime.memGetInfo()
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> int:
        """Device memory, straight from the driver: a pool would hide what is free. Raises OutOfMemoryError."""
        from cupy.cuda import runtime

        with self.errors():
            return int(runtime.malloc(size_bytes))

    def free(self, address: int) -> None:
        """Give device memory back."""
        from cupy.cuda import runtime

        with self.errors():
            runtime.free(address)

    def fill_bytes(self, address: int, value: int, size_bytes: int) -> None:
        """Queue a fill of device memory with one byte."""
        from cupy.cuda import runtime

        with self.errors():
            runtime.memsetAsync(address, value, size_bytes, 0)

    def copy(self, to: int, source: int, size_bytes: int) -> None:
        """Queue a copy between any two places, pinned host memory included."""
        from cupy.cuda import runtime

        with self.errors():
            runtime.memcpyAsync(to, source, size_bytes, runtime.memcpyDefault, 0)

    def finish(self) -> None:
        """Wait until the card has nothing to do."""
        self._end.record()
        self._end.wait()

    def _loaded(self) -> dict[str, Kernel]:
        try:
            return self._compiled()
        except (ImportError, RuntimeError) as error:
            if hasattr(error, "status"):
                raise
            raise NoCudaError(f"NVRTC cannot be loaded ({error}): install nvidia-cuda-nvrtc of CuPy's CUDA") from error

    def _compiled(self) -> dict[str, Kernel]:
        import cupy

        functions: dict[str, Kernel] = {}
        for file, entries in kernels.ENTRIES.items():
            if file == "sm_answers_tensor" and self.capability < ArithmeticUnit.TENSOR.first_capability:
                continue
            module = cupy.RawModule(code=kernels.source(file), options=kernels.OPTIONS)
            functions.update({name: module.get_function(name) for name in entries})
        return functions


class Event:
    """A point in the queue of a card."""

    def __init__(self, card: CudaCard, event: object) -> None:
        self._card = card
        self._event = event
        self._pointer: int = event.ptr  # type: ignore[attr-defined]  # CuPy has no types

    def record(self, stream: int = 0) -> None:
        """Put the point at the end of the queue, or of another stream."""
        from cupy.cuda import runtime

        with self._card.errors():
            runtime.eventRecord(self._pointer, stream)

    def passed(self) -> bool:
        """Whether the card has come here.

        Asks `eventQuery` itself, because `Event.done` of CuPy takes a dead context for one that is not done yet.
        """
        from cupy.cuda import runtime

        status = runtime.eventQuery(self._pointer)
        if status not in (0, _NOT_READY):
            with self._card.errors():
                raise runtime.CUDARuntimeError(status)
        return bool(status == 0)

    def wait(self) -> None:
        """Wait until the card has come here, letting Python answer signals meanwhile."""
        began = time.monotonic()
        while not self.passed():
            if time.monotonic() - began > _SPIN_SECONDS:
                time.sleep(_NAP_SECONDS)

    def seconds_since(self, earlier: "Event") -> float:
        """Time on the card between two points that it has passed."""
        from cupy.cuda import runtime

        with self._card.errors():
            return float(runtime.eventElapsedTime(earlier._pointer, self._pointer)) / 1000


def import_cupy() -> None:
    """Import CuPy and take its memory pool out of the way. Raises NoCudaError."""
    try:
        import cupy
    except ImportError as error:
        raise NoCudaError(
            f"CuPy cannot be imported ({error}): install gpucert[cuda13], or gpucert[cuda12] for Pascal and Volta"
        ) from error
    cupy.cuda.set_allocator(None)


def find_device(which: str) -> int:
    """CUDA's number of the card with this UUID (`GPU-…`) or PCI bus id. Raises NoCudaError.

    Never the number that NVML or a person uses: CUDA numbers cards in an order of its own.
    """
    from cupy.cuda import runtime

    if not which.upper().startswith("GPU-"):
        return int(runtime.deviceGetByPCIBusId(short_bus_id(which)))
    wanted = uuid_bytes(which)
    found = [
        number
        for number in range(int(runtime.getDeviceCount()))
        if same_uuid(runtime.getDeviceProperties(number)["uuid"], wanted)
    ]
    if len(found) != 1:
        raise NoCudaError(f"{len(found)} cards that CUDA sees have UUID {which}: check CUDA_VISIBLE_DEVICES")
    return found[0]


def short_bus_id(bus_id: str) -> str:
    """The bus id with the domain that CUDA reads: NVML's `00000000:65:00.0` as `0000:65:00.0`."""
    domain, separator, rest = bus_id.partition(":")
    return f"{domain[-4:]}:{rest}" if separator and len(domain) == 8 and domain.startswith("0000") else bus_id


def uuid_bytes(uuid: str) -> bytes:
    """The 16 bytes of `GPU-xxxxxxxx-…`. Raises NoCudaError for anything else."""
    digits = uuid[4:].replace("-", "")
    if not re.fullmatch(r"[0-9a-fA-F]{32}", digits):
        raise NoCudaError(f"{uuid!r} is no UUID of a GPU; it should look like GPU-01234567-89ab-cdef-0123-456789abcdef")
    return bytes.fromhex(digits)


def same_uuid(told: bytes, wanted: bytes) -> bool:
    """Whether CuPy's answer is this UUID; CuPy cuts it off at the first zero byte, as if it were text."""
    return wanted == told or (len(told) < len(wanted) and wanted.startswith(told + b"\0"))


_ATTRIBUTES = {
    "MemoryClockRate": 36,
    "GlobalMemoryBusWidth": 37,
    "L2CacheSize": 38,
    "MultiProcessorCount": 16,
    "ComputeCapabilityMajor": 75,
    "ComputeCapabilityMinor": 76,
    "MaxSharedMemoryPerBlockOptin": 97,
}
"""Numbers of cudaDeviceAttr (driver_types.h); CuPy has no names for all of them."""
