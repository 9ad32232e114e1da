"""What a workload may ask of the card that it runs on, whether that is a GPU (CUDA) or a host medium (NumPy).

A word is 64 bits; words of the tested memory are numbered from 0 across all its regions, so that a pattern can tell one
address from every other. Every call is synchronous: when it returns, the work is done and checked for errors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

WORD_BYTES = 8


PARTITIONS = 4
"""Sub-partitions of a multiprocessor, each with a scheduler, registers and cores of its own: since Maxwell."""


class ArithmeticUnit(StrEnum):
    """What a streaming multiprocessor is asked to answer with: a unit, a store or a path of it."""

    INT32 = "int32"
    FP32 = "fp32"
    FP64 = "fp64"
    SFU = "sfu"
    SHARED = "shared"
    REGISTERS = "registers"
    SHUFFLE = "shuffle"
    ATOMICS = "atomics"
    BRANCHES = "branches"
    TENSOR = "tensor"
    """The tensor cores, which here multiply FP16."""
    TENSOR_BF16 = "tensor_bf16"
    TENSOR_TF32 = "tensor_tf32"
    TENSOR_INT8 = "tensor_int8"
    TENSOR_FP64 = "tensor_fp64"

    @property
    def part(self) -> "ArithmeticUnit":
        """The part of the multiprocessor that does the work: one kind of core multiplies all tensor types."""
        return ArithmeticUnit.TENSOR if self.value.startswith("tensor") else self

    @property
    def first_capability(self) -> int:
        """The compute capability, times ten, from which on there are answers of it (PTX ISA, wmma.mma)."""
        return _FIRST_CAPABILITY.get(self.value, 0)


_FIRST_CAPABILITY = {"tensor": 70, "tensor_int8": 72, "tensor_bf16": 80, "tensor_tf32": 80, "tensor_fp64": 80}


class DType(StrEnum):
    """Type of the inputs of a matrix product.

    FP64 and FP32 accumulate in themselves, TF32, FP16 and BF16 in FP32, INT8 in INT32. FP8 is named so that its absence
    is told: no backend multiplies it yet.
    """

    FP64 = "fp64"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


UNIT_OF: Mapping[DType, ArithmeticUnit] = {
    DType.FP64: ArithmeticUnit.FP64,
    DType.FP32: ArithmeticUnit.FP32,
    **dict.fromkeys((DType.TF32, DType.FP16, DType.BF16, DType.INT8, DType.FP8), ArithmeticUnit.TENSOR),
}
"""Which unit multiplies: a card without tensor cores refuses what these do."""


class PatternKind(IntEnum):
    """The families of test data; the numbers are shared with the kernels."""

    OWN = 0
    """An invertible mix of the word's own index: a wrong value tells which address it came from."""
    RANDOM = 1
    """A counter-based generator of (index, seed)."""
    BACKGROUND = 2
    """A bit background; `seed` is its number, see `patterns.BACKGROUNDS`."""
    WALKING = 3
    """One bit of every 32 is set, one place further from each half of a word to the next; `seed` is the first place."""
    MODULO_SECTOR = 4
    """Every fifth sector of 32 bytes holds a word, all others its inverse; `seed` as `patterns.modulo` makes it."""
    MODULO_HALF = 5
    """The same for every twentieth half of a word."""


@dataclass(frozen=True)
class Pattern:
    """Test data as a pure function of the word index."""

    kind: PatternKind
    seed: int = 0
    inverted: bool = False
    shift: int = 0
    """How many words the data were moved up since they were written: word i holds what word i − shift was given."""


@dataclass(frozen=True)
class Properties:
    """The card as its compute driver describes it (CUDA device attributes)."""

    name: str
    compute_capability: str
    sm_count: int
    l2_bytes: int
    bus_bits: int
    memory_clock_mhz: float
    total_bytes: int
    """All memory that can exist for programs, the driver's own share included."""
    free_bytes: int


@dataclass(frozen=True)
class Region:
    """A piece of tested memory: `words` words from number `first_word`. `handle` is the backend's own."""

    handle: int
    first_word: int
    words: int


@dataclass(frozen=True)
class WrongWord:
    """A compare that failed; `sm` is the multiprocessor that read it."""

    word: int
    expected: int
    actual: int
    sm: int


@dataclass(frozen=True)
class Sweep:
    """What one pass over a region found. `total` is the wrapping 64-bit sum of the words that were loaded."""

    words: int
    total: int
    bad_words: int
    bad_bits: int
    first_wrong: tuple[WrongWord, ...]
    seconds: float


@dataclass(frozen=True)
class Product:
    """A timed repetition of one matrix product. `wrong` counts elements that differ from the reference, bit for bit."""

    runs: int
    flop: float
    """Of all runs together; integer operations where the type is INT8."""
    seconds: float
    compared: int
    wrong: int
    first_wrong: tuple[WrongWord, ...]


@dataclass(frozen=True)
class Compared:
    """What a compare of matrices found; those of the right operand are numbered on from those of the left one."""

    elements: int
    wrong: int
    first_wrong: tuple[WrongWord, ...]


@dataclass(frozen=True)
class Answer:
    """Known-answer work of one SM: whether its signature was right in each of the repeats."""

    sm: int
    unit: ArithmeticUnit
    repeats: int
    wrong: int
    partitions: tuple[int, ...] = ()
    """Sub-partitions (0 to 3) whose threads were wrong."""
    first_wrong: WrongWord | None = None
    """A thread of the block that was wrong, by its number, and the signatures."""


@dataclass(frozen=True)
class SmCycles:
    """Cycles that one SM counted, and nanoseconds of the card's global timer meanwhile, of all launches together."""

    sm: int
    cycles: int
    nanoseconds: int

    @property
    def mhz(self) -> float:
        """The clock at which it ran."""
        return 1000 * self.cycles / self.nanoseconds


@dataclass(frozen=True)
class ClockCount:
    """The clock of every SM that was reached, counted while all of them were busy with arithmetic."""

    sms: tuple[SmCycles, ...]
    """In the order of their numbers; none where the timer stood still."""
    launches: int
    """Stretches of which each SM's count consists at most; between them the card rested for a moment."""
    timer_step_ns: int
    """By how much the global timer was seen to move at once; 0 where it stood still."""
    timer_seconds: float
    """From the first start to the last end by the global timer."""
    seconds: float
    """The same by the backend's clock, with what starting and ending took."""


@dataclass(frozen=True)
class Copy:
    """Timed copies of the same data between host and card, one after another.

    `bytes` and `seconds` are those of all of them together, `wrong` counts words that arrived differently at the last.
    """

    bytes: int
    seconds: float
    wrong: int
    began_s: float
    ended_s: float
    """On the backend's clock: data moved all the time in between, so that the link was not idle."""


class OutOfMemoryError(RuntimeError):
    """The card has no room for this allocation."""


class UnitNotOfferedError(RuntimeError):
    """This card has no such arithmetic unit."""


class UnitOutOfReachError(UnitNotOfferedError):
    """The card may have the unit, but the libraries at hand cannot reach it: nothing is known of it."""


class DeviceLostError(RuntimeError):
    """The card fell off the bus while it was working."""


class UncorrectableEccError(RuntimeError):
    """ECC met an error that it could not correct; the context is dead (CUDA error 214)."""


class IllegalAddressError(RuntimeError):
    """A known-good kernel was told that its address is illegal; the context is dead (CUDA error 700)."""


class LaunchFailedError(RuntimeError):
    """A known-good kernel failed in another way (CUDA errors 702, 719 and the like)."""


class Matrices(Protocol):
    """Inputs and right answers of one matrix product, resident on the card."""

    dtype: DType
    shape: tuple[int, int, int]
    """m, n, k."""

    def run(self, runs: int, *, check: bool, first_column: int = 0) -> Product:
        """Multiply `runs` times; with `check` every output of every run is compared on the card with the right answer.

        The columns of the product are made from `first_column` on, and then those before it, so that another launch
        has other multiprocessors make the same outputs; on a card a little further on where the product before began
        there, so that an output that was never written is found. Raises ValueError where a product of anything but
        whole numbers is to begin elsewhere than at 0.
        """

    def renew(self, seed: int, *, toggling: bool = False) -> None:
        """Put other numbers into the operands, and take the card's own first answers to them as right.

        Full mantissas again, or `toggling` ones: bits that all flip from one number to the next, exponents next to the
        subnormals. An answer that is always wrong in the same way is not found so: exact products and known answers
        are there for that. Raises ValueError for whole numbers.
        """

    def inputs(self) -> Compared:
        """Compare both operands with their definition, because a product of changed inputs is not the core's fault."""

    def free(self) -> None:
        """Give the memory back."""


class Backend(Protocol):
    """A card that can be loaded."""

    name: str
    """`cuda` or `host`."""
    fills_time: bool
    """True where spare time is worth filling with more rounds; a host medium repeats a fixed number instead."""
    memory_scale: float
    """Bytes of the card's memory that each tested byte stands for, in time and so in rates; 1 on a real card."""

    def versions(self) -> dict[str, str]:
        """Versions of every library that takes part, by name."""

    def properties(self) -> Properties:
        """The card, and its free memory now."""

    def seconds(self) -> float:
        """The clock that work is timed by: the host's monotonic clock, or the virtual one."""

    def idle(self, seconds: float) -> None:
        """Let the card rest."""

    def reserve(self, headroom_bytes: int) -> tuple[Region, ...]:
        """Allocate nearly all free memory in many chunks, numbered as one memory, leaving `headroom_bytes`."""

    def release(self, regions: tuple[Region, ...]) -> None:
        """Give regions back."""

    def write(self, region: Region, pattern: Pattern, *, descending: bool = False, others: bool = False) -> Sweep:
        """Store a pattern, from the last word to the first if `descending`.

        With `others` the targets of a modulo pattern are left as they are. Only `words` and `seconds` of the answer
        mean anything.
        """

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        """Load and compare every word, and replace it by `then_write` in the same pass if that is given.

        `beside` is other work for the same card: it is called until the sweep is done, once at least.
        """

    def move(self, source: Region, target: Region) -> float:
        """Copy one region to another of the same size by the card's copy engine: seconds taken."""

    def peek(self, region: Region, word: int) -> int:
        """Load one word (by its number across all regions), past L2."""

    def poke(self, region: Region, word: int, value: int) -> None:
        """Store one word."""

    def flush(self) -> None:
        """Push everything else out of L2, so that the next load comes from memory."""

    def burn(self, seconds: float) -> None:
        """Keep the arithmetic of every SM busy for so long without any traffic to memory."""

    def clock(self, seconds: float) -> ClockCount:
        """Keep the arithmetic of every SM busy for so long, and count its cycles against the global timer meanwhile."""

    def touch(self, regions: tuple[Region, ...], kind: str, passes: int) -> float:
        """Plain `read`, `write` or `copy` of the regions, `passes` times, no checking: seconds taken."""

    def matrices(self, dtype: DType, size: int, seed: int, *, exact: bool, inner: int | None = None) -> Matrices:
        """Prepare a size × size × inner product; without `inner` that is the size, too.

        `exact` draws small integers, whose products every type holds exactly, and takes a reference that the card did
        not make (Freivalds on the host); else full-mantissa data with the card's own first runs as reference.
        Raises UnitNotOfferedError and OutOfMemoryError.
        """

    def answers(self, unit: ArithmeticUnit, repeats: int, seed: int) -> tuple[Answer, ...]:
        """Known-answer chains on every SM that can be reached; one Answer per SM. Raises UnitNotOfferedError."""

    def copy(self, size_bytes: int, direction: str, seed: int) -> Copy:
        """Copy verified data `to_card` or `to_host` through pinned memory, on a real card for a quarter of a second."""
