"""Measures gpucert's own work beside plain CUDA calls for the same work, turn by turn on one GPU: GPU FILE [SECONDS].

Ours and plain take turns in one process (ours, plain, ours, plain, …), because clocks, heat and neighbours drift. A
ratio is taken between two turns that stand side by side; of all of them the median and the quartiles are told. The
card is loaded and read; nothing of it is set.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from nameless import nameless
from plain_cuda import Plain, PlainCuda
from sampler import SAMPLES_PER_S, Sampler
from turns import Pair, Row, compared, spread, take

from gpucert import installed_version
from gpucert.probes.gemm_sustained import STAY_S, WORTH
from gpucert.reading import Absent, number
from gpucert.stress.backend import (
    WORD_BYTES,
    Backend,
    DType,
    Matrices,
    OutOfMemoryError,
    Pattern,
    PatternKind,
    Product,
    Properties,
    Region,
    UnitNotOfferedError,
)
from gpucert.stress.deep import inner_sizes
from gpucert.stress.memory_scan import HEADROOM_BYTES, PROFILES
from gpucert.stress.sweeper import Books, Sweeper

if TYPE_CHECKING:
    from gpucert.device.gpu import Gpu
    from gpucert.record import Identity

SCHEMA = "gpucert.side_by_side/1"
SECONDS = 60.0
"""For all parts together, without starting CUDA."""
TURN_S = 0.2
"""Long beside a launch, short beside the drift of a clock."""
WATCHED_TURN_S = 0.5
"""A turn with telemetry: ten samples."""
SIZES = (8192, 4096, 2048, 1024)
"""Matrices as large as the probes', smaller where memory or patience is short; sustained ones are deeper, as there."""
LONGEST_PRODUCT_S = 0.25
SEED = 20_251
USAGE, INCOMPLETE = 2, 30


class CannotMeasureError(RuntimeError):
    """Nothing can be measured here; the text says why and what to do."""


class WrongAnswerError(RuntimeError):
    """The card computed or kept something wrong: its speed is of no interest."""


# --- what is compared


@dataclass(frozen=True)
class Bench:
    """The card with everything that a part needs."""

    backend: Backend
    plain: Plain
    gpu: "Gpu | None"
    """The card through NVML, None where there is none."""
    sampler: Sequence[str]
    """The command that samples the card."""
    results: "Results"


@dataclass
class Results:
    """What was found so far; written after every part, so that it survives the end of the next."""

    file: Path
    about: dict[str, object] = field(default_factory=dict)
    peak: dict[str, object] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    coverage: dict[str, int] = field(default_factory=dict)
    clocks_mhz: list[float] = field(default_factory=list)
    """Memory clock under load, as NVML reads it."""

    def write(self) -> None:
        """Write all of it as JSON, whole or not at all, without the names of the card."""
        clock = {"memory_clock_under_load_mhz": statistics.median(self.clocks_mhz)} if self.clocks_mhz else {}
        told = {
            "schema": SCHEMA,
            **self.about,
            "peak": {**self.peak, **clock},
            "coverage": self.coverage,
            "rows": [asdict(row) for row in self.rows],
        }
        partial = self.file.with_name(self.file.name + ".partial")
        partial.write_text(nameless(json.dumps(told, indent=1, ensure_ascii=False)) + "\n", encoding="utf-8")
        partial.replace(self.file)

    @property
    def peak_gb_s(self) -> float | None:
        """Peak bandwidth by the best source that there is."""
        value = self.peak.get("gb_s")
        return value if isinstance(value, float) else None


COPY_IS = "device-to-device copy of CUDA, bytes read and written"
GEMM_IS = "the same cublasGemmEx in a plain loop"
QUIET_IS = "the same load, nobody sampling"


def memory(bench: Bench, seconds: float) -> list[Row]:
    """Bandwidth probe and memory scan, each beside a plain copy of the same memory."""
    backend = bench.backend
    regions = reserved(backend)
    try:
        moved = sum(region.words for region in regions) * WORD_BYTES
        copy = _copying(bench, regions, moved)
        kinds = [Pair(_touching(backend, regions, kind, moved), copy) for kind in ("read", "write", "copy")]
        scans = [Pair(lambda one=one: one(bench, regions, moved), copy) for one in (_scan_pass, _scan_profile)]
        turns = take([*kinds, *scans], seconds, backend.seconds)
    finally:
        backend.release(regions)
    peak = bench.results.peak_gb_s
    rows = [compared(what, "GB/s", found, COPY_IS, peak=peak) for what, found in turns.items()]
    plain = spread([one for _, one in next(iter(turns.values()))])
    return [*rows, Row("plain copy alone", "GB/s", plain=plain, of_peak=plain.median / peak if peak else None)]


def reserved(backend: Backend) -> tuple[Region, ...]:
    """Nearly all memory, as the scan takes it. Raises OutOfMemoryError where that is nothing."""
    free = backend.properties().free_bytes
    regions = backend.reserve(HEADROOM_BYTES if free > 64 * HEADROOM_BYTES else 0)
    if not regions:
        raise OutOfMemoryError(f"{free >> 20} MiB are free, too few to take any: end what else uses the card")
    return regions


def _touching(backend: Backend, regions: tuple[Region, ...], kind: str, moved: int) -> Callable[[], dict[str, float]]:
    passes = passes_for(backend.touch(regions, kind, 1), TURN_S)
    return lambda: {f"memory {kind}": moved * passes / backend.touch(regions, kind, passes) / 1e9}


def _copying(bench: Bench, regions: tuple[Region, ...], moved: int) -> Callable[[], float]:
    passes = passes_for(bench.plain.copy(regions, 1), TURN_S)

    def turn() -> float:
        rate = moved * passes / bench.plain.copy(regions, passes) / 1e9
        clock = None if bench.gpu is None else number(bench.gpu.sample(0.0).memory_clock_mhz)
        if clock is not None:  # read at once after the load, while the clock still stands
            bench.results.clocks_mhz.append(clock)
        return rate

    return turn


def _scan_pass(bench: Bench, regions: tuple[Region, ...], moved: int) -> dict[str, float]:
    """One pass as `gpucert.stress.memory_scan` makes it: write everything, flush, compare everything."""
    backend, pattern = bench.backend, Pattern(PatternKind.OWN, SEED)
    began = backend.seconds()
    written = [backend.write(region, pattern) for region in regions]
    backend.flush()
    verified = [backend.verify(region, pattern) for region in regions]
    wall = backend.seconds() - began
    words = sum(region.words for region in regions)
    compared_words, wrong = sum(one.words for one in verified), sum(one.bad_words for one in verified)
    if wrong or compared_words != words:
        raise WrongAnswerError(f"{wrong} of {compared_words} words were wrong, {words} were to be compared")
    bench.results.coverage = {
        "compared_bytes": compared_words * WORD_BYTES,
        "total_bytes": backend.properties().total_bytes,
    }
    return {
        "scan, writing": moved / sum(one.seconds for one in written) / 1e9,
        "scan, comparing": moved / sum(one.seconds for one in verified) / 1e9,
        "scan, a whole pass": 2 * moved / wall / 1e9,
    }


def _scan_profile(bench: Bench, regions: tuple[Region, ...], moved: int) -> dict[str, float]:
    """The quick profile by the clock on the wall, in the touches that it is made of; waits are left out."""
    backend, books = bench.backend, Books()
    sweeper = Sweeper(backend, regions, regions, books)
    phases = [phase for phase in PROFILES["quick"].phases if not phase.waits_s]
    began = backend.seconds()
    for phase in phases:
        sweeper.begin(phase.name)
        phase.run(sweeper, SEED)
    wall = backend.seconds() - began
    if books.wrong_words or books.words_compared != books.words_expected:
        raise WrongAnswerError(
            f"of {books.words_expected} words {books.wrong_words} were wrong, {books.words_compared} proven"
        )
    return {"scan, the quick profile": sum(phase.touches for phase in phases) * moved / wall / 1e9}


def passes_for(once_s: float, turn_s: float) -> int:
    """How often something is done in a turn."""
    return max(1, round(turn_s / max(once_s, 1e-6)))


def products(bench: Bench, dtype: DType, seconds: float, *, exact: bool) -> list[Row]:
    """A product with every output compared, beside the same product in a plain loop that compares nothing.

    `checked` counts all the time that passes: digests, the host, and of sustained products the share of new numbers
    and of the look at the old ones. `products alone` is the rate that a record holds, and is told of sustained
    products only, as there.
    """
    kind = "exact" if exact else "sustained"
    matrices = prepared(bench.backend, dtype, exact=exact)
    flop = _flop(matrices.shape)
    what = f"matmul {dtype.value} {_named(matrices.shape)}, {kind}"
    try:
        once_s = _checked_once(bench.backend, matrices)
        runs = passes_for(once_s, TURN_S)
        renewed = 0.0 if exact else _renewed(bench.backend, matrices) / max(STAY_S, WORTH * once_s)

        def ours() -> dict[str, float]:
            product, wall = _checked(bench.backend, matrices, runs)
            alone = {} if exact else {"products alone": product.flop / product.seconds / 1e12}
            return {"checked": flop * runs / (wall * (1 + renewed)) / 1e12, **alone}

        def plain() -> float:
            return flop * runs / bench.plain.multiply(matrices, runs) / 1e12

        turns = take([Pair(ours, plain)], seconds, bench.backend.seconds)
    finally:
        matrices.free()
    return [compared(f"{what}, {name}", rate_unit(dtype), found, GEMM_IS) for name, found in turns.items()]


def _flop(shape: tuple[int, int, int]) -> float:
    rows, columns, inner = shape
    return 2.0 * rows * columns * inner


def _named(shape: tuple[int, int, int]) -> str:
    """The size of a cube, else all three."""
    return str(shape[0]) if len(set(shape)) == 1 else " × ".join(map(str, shape))


def _renewed(backend: Backend, matrices: Matrices) -> float:
    """Seconds from one set of numbers to the next, as the probe has it: a look at the operands, then others."""
    taken = []
    for seed in (SEED + 1, SEED + 2):  # because the first time everything is new
        began = backend.seconds()
        inputs = matrices.inputs()
        matrices.renew(seed)
        taken.append(backend.seconds() - began)
        if inputs.wrong:
            raise WrongAnswerError(f"{inputs.wrong} of {inputs.elements} inputs were wrong")
    return taken[-1]


def rate_unit(dtype: DType) -> str:
    """Operations of INT8 are none of floating point."""
    return "TOP/s" if dtype is DType.INT8 else "TFLOP/s"


def _checked(backend: Backend, matrices: Matrices, runs: int) -> tuple[Product, float]:
    began = backend.seconds()
    product = matrices.run(runs, check=True)
    wall = backend.seconds() - began
    if product.wrong:
        raise WrongAnswerError(f"{product.wrong} of {product.compared} outputs were wrong")
    return product, wall


def _once(matrices: Matrices) -> float:
    """Seconds of one product, the best of three: the first loads its kernel."""
    return min(matrices.run(1, check=False).seconds for _ in range(3))


def _checked_once(backend: Backend, matrices: Matrices) -> float:
    """Seconds of one product with everything that belongs to checking it."""
    return min(_checked(backend, matrices, 1)[1] for _ in range(3))


def prepared(backend: Backend, dtype: DType, *, exact: bool) -> Matrices:
    """The largest product that the probes would run and that fits memory and patience.

    Raises UnitNotOfferedError, and OutOfMemoryError where not even the smallest fits.
    """
    smallest = backend.matrices(dtype, SIZES[-1], SEED, exact=False)
    try:
        once = _once(smallest)
    finally:
        smallest.free()
    patience = LONGEST_PRODUCT_S / once * _flop((SIZES[-1], SIZES[-1], SIZES[-1]))
    for size, inner in _shapes(backend, dtype, exact=exact):
        if _flop((size, size, inner)) > patience:
            continue
        try:
            return backend.matrices(dtype, size, SEED, exact=exact, inner=inner)
        except OutOfMemoryError:
            continue
    return backend.matrices(dtype, SIZES[-1], SEED, exact=exact)


def _shapes(backend: Backend, dtype: DType, *, exact: bool) -> list[tuple[int, int]]:
    """Width and depth of the products to be tried, the largest first."""
    capability = int(backend.properties().compute_capability.replace(".", ""))
    deep = [] if exact else [(SIZES[0], inner) for inner in inner_sizes(dtype, capability)[:-1]]
    return [*deep, *((size, size) for size in SIZES[:-1])]


def telemetry_beside_products(bench: Bench, seconds: float) -> list[Row]:
    """A checked product while the card is sampled from another process, beside the same while nobody samples."""
    matrices = prepared(bench.backend, DType.FP32, exact=False)
    what = f"matmul {matrices.dtype.value} {_named(matrices.shape)}, checked, while sampled"
    try:
        runs = passes_for(_checked_once(bench.backend, matrices), WATCHED_TURN_S)

        def load() -> float:
            product, wall = _checked(bench.backend, matrices, runs)
            return product.flop / wall / 1e12

        return _watched(bench, what, "TFLOP/s", load, seconds)
    finally:
        matrices.free()


def telemetry_beside_memory(bench: Bench, seconds: float) -> list[Row]:
    """Reading memory while the card is sampled from another process, beside the same while nobody samples."""
    backend = bench.backend
    regions = reserved(backend)
    try:
        moved = sum(region.words for region in regions) * WORD_BYTES
        passes = passes_for(backend.touch(regions, "read", 1), WATCHED_TURN_S)

        def load() -> float:
            began = backend.seconds()
            backend.touch(regions, "read", passes)
            return moved * passes / (backend.seconds() - began) / 1e9

        return _watched(bench, "memory read, while sampled", "GB/s", load, seconds)
    finally:
        backend.release(regions)


def _watched(bench: Bench, what: str, unit: str, load: Callable[[], float], seconds: float) -> list[Row]:
    with Sampler(bench.sampler) as sampler:
        turns = take([Pair(lambda: {what: sampler.during(load)}, load)], seconds, bench.backend.seconds)
        taken, each = statistics.median(sampler.samples), statistics.median(sampler.milliseconds)
    note = f"{taken:g} samples a turn at {SAMPLES_PER_S} Hz, {each:.1f} ms each"
    return [compared(what, unit, turns[what], QUIET_IS, note=note)]


@dataclass(frozen=True)
class Part:
    """A share of the time, and what is done in it."""

    what: str
    unit: str
    weight: float
    measure: Callable[[Bench, float], list[Row]]


def parts() -> list[Part]:
    """Everything that is compared, the most telling first, because time may run out."""

    def product(dtype: DType, weight: float, *, exact: bool) -> Part:
        kind = "exact" if exact else "sustained"
        return Part(
            f"matmul {dtype.value}, {kind}",
            rate_unit(dtype),
            weight,
            lambda bench, seconds: products(bench, dtype, seconds, exact=exact),
        )

    return [
        Part("memory", "GB/s", 3.0, memory),
        *(product(dtype, 1.5, exact=False) for dtype in DType),
        Part("matmul while sampled", "TFLOP/s", 1.5, telemetry_beside_products),
        Part("memory read while sampled", "GB/s", 1.5, telemetry_beside_memory),
        *(product(dtype, 1.0, exact=True) for dtype in DType),
    ]


def measure(bench: Bench, wanted: Sequence[Part], seconds: float) -> None:
    """Every part whatever the others did, each with its share of the time that is left."""
    ends = time.monotonic() + seconds
    for position, part in enumerate(wanted):
        left = ends - time.monotonic()
        share = left * part.weight / sum(one.weight for one in wanted[position:])
        began = time.monotonic()
        rows = _rows(bench, part, share) if left > 0 else [_no_row(part, "failed", "no time was left for it")]
        bench.results.rows.extend(rows)
        bench.results.write()
        for row in rows:
            sys.stdout.write(f"{row.what}: {row.outcome}{f', {nameless(row.why)}' if row.why else ''}\n")
        sys.stdout.write(f"{part.what} took {time.monotonic() - began:.1f} s\n")
        sys.stdout.flush()


def _rows(bench: Bench, part: Part, seconds: float) -> list[Row]:
    try:
        return part.measure(bench, seconds)
    except UnitNotOfferedError as error:
        return [_no_row(part, "not_offered", str(error))]
    except Exception as error:  # noqa: BLE001  # because one part that fails must not take the others along
        return [_no_row(part, "failed", f"{type(error).__name__}: {error}")]


def _no_row(part: Part, outcome: Literal["not_offered", "failed"], why: str) -> Row:
    return Row(part.what, part.unit, outcome=outcome, why=nameless(why))


# --- the card


def peak_of(card: Properties, identity: "Identity | None", catalogue_gb_s: float | None) -> dict[str, object]:
    """Peak bandwidth by every source, in GB/s, and the one that is used.

    2 × memory clock × bus width / 8, with the clock as CUDA and NVML state it: two transfers for each of its cycles.
    That holds for every type of memory from HBM2 and GDDR5X to GDDR7, because both state the clock accordingly;
    checked against 17 captures of known models. An attribute that a driver answers with 0 is no clock.
    """
    said: dict[str, float] = {}
    if card.memory_clock_mhz > 0 and card.bus_bits > 0:
        said["attributes"] = 2 * card.memory_clock_mhz * card.bus_bits / 8 / 1000
    if identity is not None:
        clock, bus = number(identity.max_memory_clock_mhz), number(identity.bus_bits)
        if clock and bus:
            said["nvml"] = 2 * clock * bus / 8 / 1000
    if catalogue_gb_s:
        said["catalogue"] = catalogue_gb_s
    by = next(iter(said), None)
    return {
        "gb_s": said[by] if by else None,
        "by": by,
        "sources_gb_s": said,
        "memory_clock_mhz": card.memory_clock_mhz or None,
        "bus_bits": card.bus_bits or None,
    }


def describe(bench: Bench, identity: "Identity | None") -> None:
    """Put into the results what the card is, with which versions it is driven, and what its memory could give."""
    from gpucert.cli.matching import match

    card = bench.backend.properties()
    model = None if identity is None else match(identity).model
    driver = None if identity is None or isinstance(identity.driver, Absent) else identity.driver
    bench.results.about |= {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "card": {
            "name": card.name,
            "model": None if model is None else model.key,
            "compute_capability": card.compute_capability,
            "sm_count": card.sm_count,
            "total_bytes": card.total_bytes,
        },
        "versions": {
            "gpucert": installed_version(),
            "driver": driver,
            "python": ".".join(map(str, sys.version_info[:3])),
            **bench.backend.versions(),
        },
        "others_on_the_card": _others(bench.gpu),
    }
    bench.results.peak = peak_of(card, identity, None if model is None else model.memory.peak_gb_s)


def _others(gpu: "Gpu | None") -> int | str:
    """How many other processes use the card, or why nobody knows."""
    if gpu is None:
        return "NVML does not answer"
    found = gpu.processes()
    return str(found) if isinstance(found, Absent) else len(found)


def attached(which: str) -> "tuple[Gpu | None, str]":
    """The card through NVML, and how CUDA is told of it. Raises CannotMeasureError."""
    from gpucert.device import nvml
    from gpucert.device.gpu import NoDriverError, NoSuchGpuError

    try:
        gpu = nvml.attach(which)
    except NoSuchGpuError as error:
        raise CannotMeasureError(str(error)) from error
    except NoDriverError as error:
        sys.stderr.write(f"gpucert: {error}; going on without NVML\n")
        return None, _by_cuda(which)
    if gpu.settings().mig is True:
        raise CannotMeasureError("MIG mode is on: a slice of a card says nothing of the card; turn it off first")
    identity = gpu.identity()
    name = next((one for one in (identity.uuid, identity.bus_id) if isinstance(one, str)), None)
    if name is None:
        raise CannotMeasureError(f"the card tells neither UUID nor bus id: {identity.uuid}")
    return gpu, name


def _by_cuda(which: str) -> str:
    """Without NVML, an index is CUDA's, which goes by bus id as NVML's does."""
    if not which.isdecimal():
        return which
    from gpucert.stress.cuda_card import import_cupy, scrub_environment

    scrub_environment()
    import_cupy()
    from cupy.cuda import runtime

    return str(runtime.deviceGetPCIBusId(int(which)))


def start(which: str, file: Path) -> tuple[Bench, int]:
    """Lock the card and make everything ready; the lock's descriptor holds as long as it is kept.

    Raises CannotMeasureError, and RuntimeError of CUDA or of the lock.
    """
    from gpucert.run.locks import lock_card
    from gpucert.stress.cuda import CudaBackend

    gpu, name = attached(which)
    identity = None if gpu is None else gpu.identity()
    lock = lock_card(name if identity is None else identity.card_id)
    sampler = [sys.executable, str(Path(__file__).with_name("sampler.py")), which]
    bench = Bench(CudaBackend(name), PlainCuda(), gpu, sampler, Results(file))
    describe(bench, identity)
    return bench, lock


def tidy_environment() -> None:
    """Take out what would choose another card or other arithmetic, as a run does for its workers."""
    from gpucert.run.processes import environment

    kept = environment(os.environ)
    for name in [name for name in os.environ if name not in kept]:
        del os.environ[name]


def main(words: list[str], out: IO[str] = sys.stderr) -> int:
    """Measure; 0 when every part was measured or is not offered, 1 when one was not, 30 when none can be."""
    if len(words) not in (2, 3):
        out.write(f"{__doc__}\n")
        return USAGE
    tidy_environment()
    which, results, seconds = words[0], Path(words[1]), float(words[2]) if words[2:] else SECONDS
    try:
        bench, lock = start(which, results)
    except Exception as error:  # noqa: BLE001  # a CuPy that is broken raises anything; it must be told in one line
        why = nameless(str(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}")
        Results(results, about={"cannot_measure": why}).write()
        out.write(f"gpucert: {why}\n")
        return INCOMPLETE
    bench.results.write()
    measure(bench, parts(), seconds)
    os.close(lock)
    failed = [row.what for row in bench.results.rows if row.outcome == "failed"]
    if failed:
        out.write(f"gpucert: not measured: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
