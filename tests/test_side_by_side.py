"""gpucert beside plain CUDA: turns, medians, ratios and units, on a fake card whose speeds are known."""

import json
import math
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpucert.probes import gemm_sustained
from gpucert.reading import NOT_ASKED, Absence, Absent
from gpucert.record import Identity
from gpucert.stress import kernels, patterns
from gpucert.stress.backend import (
    Compared,
    DType,
    OutOfMemoryError,
    Pattern,
    Product,
    Properties,
    Region,
    Sweep,
    UnitNotOfferedError,
)
from tests import host_compiler, nvml_stub
from tests.host_compiler import HostKernels
from tests.host_compiler.cupy import FakeCuda

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "scripts"))

import sampler  # noqa: E402
import side_by_side  # noqa: E402
import turns  # noqa: E402
from nameless import nameless  # noqa: E402
from plain_cuda import PlainCuda  # noqa: E402

MIB = 1 << 20
UUID = "GPU-44444444-aaaa-4bbb-8ccc-000000000005"


# --- the arithmetic


def test_a_spread_is_median_and_quartiles() -> None:
    assert turns.spread([5.0, 1.0, 4.0, 2.0, 3.0]) == turns.Spread(n=5, median=3.0, q1=2.0, q3=4.0)
    assert turns.spread([1.0, 3.0]) == turns.Spread(n=2, median=2.0, q1=1.5, q3=2.5)
    with pytest.raises(ValueError, match="no spread"):
        turns.spread([1.0])


def test_a_ratio_is_taken_between_neighbours_and_not_between_medians() -> None:
    """A card that slows down tenfold meanwhile is still as fast as itself."""
    found = [(100.0, 100.0), (10.0, 20.0), (10.0, 10.0), (4.0, 4.0), (1.0, 1.0)]
    row = turns.compared("x", "GB/s", found, "plain", peak=40.0)
    assert row.ratio == turns.Spread(5, 1.0, 1.0, 1.0)
    assert (row.ours, row.plain) == (turns.Spread(5, 10.0, 4.0, 10.0), turns.Spread(5, 10.0, 4.0, 20.0))
    assert (row.of_peak, turns.compared("x", "GB/s", found, "plain").of_peak) == (0.25, None)


def pair(calls: list[str], name: str) -> turns.Pair:
    def ours() -> dict[str, float]:
        calls.append(f"{name} ours")
        return {name: 1.0}

    def plain() -> float:
        calls.append(f"{name} plain")
        return 2.0

    return turns.Pair(ours, plain)


def test_sides_take_turns_and_the_first_round_is_dropped() -> None:
    calls: list[str] = []
    found = turns.take([pair(calls, "a"), pair(calls, "b")], 0.0, lambda: 0.0)
    assert calls == ["a ours", "a plain", "b ours", "b plain"] * (turns.LEAST + 1)
    assert found == {"a": [(1.0, 2.0)] * turns.LEAST, "b": [(1.0, 2.0)] * turns.LEAST}


def test_turns_go_on_while_there_is_time_but_not_for_ever() -> None:
    clock = iter(range(1000))
    assert len(turns.take([pair([], "a")], 9.0, lambda: float(next(clock)))["a"]) == 13
    assert len(turns.take([pair([], "a")], math.inf, lambda: 0.0)["a"]) == turns.MOST


# --- a card whose speeds are known


@dataclass
class FakeCard:
    """A backend and a plain side over one clock; speeds in bytes or operations per second."""

    total_bytes: int = 8 << 30
    free_bytes: int = 6 << 30
    slowed: float = 1.0
    """Ours takes so many times as long as plain."""
    checking: float = 0.25
    """Seconds of compares for each second of products."""
    bandwidth: float = 1e12
    speed: float = 5e12
    wrong: int = 0
    lacks: tuple[DType, ...] = ()
    largest: int = 8192
    """Matrices beyond this do not fit."""
    deepest: int = 8192
    """Nor do inner sizes beyond this."""
    renewing: float = 0.0
    """Seconds from one set of numbers to the next."""
    now: float = 0.0
    calls: list[str] = field(default_factory=list)
    attributes: tuple[int, float] = (5120, 1000.0)

    fills_time = True

    def spend(self, seconds: float, call: str) -> float:
        self.now += seconds
        self.calls.append(call)
        return seconds

    def seconds(self) -> float:
        return self.now

    def versions(self) -> dict[str, str]:
        return {"cuda_driver": "13.0", "cupy": "14.2.0"}

    def properties(self) -> Properties:
        bus, clock = self.attributes
        return Properties("Fake GPU", "9.0", 132, 50 * MIB, bus, clock, self.total_bytes, self.free_bytes)

    def reserve(self, headroom_bytes: int) -> tuple[Region, ...]:
        words = (self.free_bytes - headroom_bytes) // 8
        return (Region(1, 0, words // 2), Region(2, words // 2, words - words // 2)) if words > 0 else ()

    def release(self, regions: tuple[Region, ...]) -> None:
        self.calls.append("release")

    def _pass(self, regions: Sequence[Region]) -> float:
        return self.slowed * sum(region.words for region in regions) * 8 / self.bandwidth

    def touch(self, regions: tuple[Region, ...], kind: str, passes: int) -> float:
        return self.spend(passes * self._pass(regions), kind)

    def write(self, region: Region, pattern: Pattern, *, descending: bool = False, others: bool = False) -> Sweep:
        share = 1 - 1 / patterns.MODULI[pattern.kind] if others else 1.0
        return Sweep(region.words, 0, 0, 0, (), self.spend(share * self._pass([region]), "fill"))

    def verify(
        self,
        region: Region,
        pattern: Pattern,
        then_write: Pattern | None = None,
        *,
        descending: bool = False,
        beside: Callable[[], None] | None = None,
    ) -> Sweep:
        assert beside is None
        total = patterns.known_total(pattern, region.first_word, region.words)
        if total is None:
            total = patterns.pair_total(region.words) if pattern.inverted else 0
        seconds = self.spend((2 if then_write else 1) * self._pass([region]), "verify")
        return Sweep(region.words, total, self.wrong, self.wrong, (), seconds)

    def flush(self) -> None:
        self.calls.append("flush")

    def matrices(self, dtype: DType, size: int, seed: int, *, exact: bool, inner: int | None = None) -> "FakeMatrices":
        if dtype in self.lacks:
            raise UnitNotOfferedError(f"{dtype.value} products start elsewhere")
        if size > self.largest or (inner or size) > self.deepest:
            raise OutOfMemoryError("no room")
        return FakeMatrices(self, dtype, (size, size, inner or size))

    def copy(self, regions: Sequence[Region], passes: int) -> float:
        return self.spend(passes * self._pass(regions) / self.slowed, "plain copy")

    def multiply(self, matrices: "FakeMatrices", runs: int) -> float:
        return self.spend(runs * matrices.flop / self.speed, "plain product")


@dataclass
class FakeMatrices:
    card: FakeCard
    dtype: DType
    shape: tuple[int, int, int]

    @property
    def flop(self) -> float:
        rows, columns, inner = self.shape
        return 2.0 * rows * columns * inner

    def renew(self, seed: int, *, toggling: bool = False) -> None:
        self.card.spend(self.card.renewing, "renew")

    def inputs(self) -> Compared:
        return Compared(1, 0, ())

    def run(self, runs: int, *, check: bool) -> Product:
        products = runs * self.card.slowed * self.flop / self.card.speed
        self.card.spend(products * (1 + self.card.checking * check), "product")
        compared = runs * self.shape[0] ** 2 if check else 0
        return Product(runs, self.flop * runs, products, compared, self.card.wrong, ())

    def free(self) -> None:
        self.card.calls.append("free")


SAMPLER = """
import sys
print("ready", flush=True)
for word in sys.stdin:
    if word == "stop\\n":
        print('{"samples": 10, "milliseconds": 2.5}', flush=True)
"""


def bench(card: FakeCard, folder: Path, program: str = SAMPLER) -> side_by_side.Bench:
    command = [sys.executable, "-c", program]
    made = side_by_side.Bench(card, card, None, command, side_by_side.Results(folder / "side_by_side.json"))
    side_by_side.describe(made, None)
    return made


def measured(card: FakeCard, folder: Path, program: str = SAMPLER) -> dict[str, dict[str, object]]:
    """The rows of the file, by name."""
    side_by_side.measure(bench(card, folder, program), side_by_side.parts(), 600.0)
    told = json.loads((folder / "side_by_side.json").read_text())
    assert told["schema"] == side_by_side.SCHEMA
    return {row["what"]: row for row in told["rows"]}


def middle(row: dict[str, object], side: str) -> float:
    return row[side]["median"]  # type: ignore[index]


def test_equal_speeds_are_told_as_equal_in_the_right_units(tmp_path: Path) -> None:
    rows = measured(FakeCard(checking=0.0), tmp_path)
    assert {row["outcome"] for row in rows.values()} == {"measured"}
    assert all(middle(row, "ratio") == pytest.approx(1.0) for row in rows.values() if row["ratio"])
    for name in ("memory read", "memory write", "memory copy", "scan, writing", "scan, comparing"):
        assert (rows[name]["unit"], middle(rows[name], "ours")) == ("GB/s", pytest.approx(1000.0))
        assert rows[name]["of_peak"] == pytest.approx(1000.0 / (2 * 1000.0 * 5120 / 8 / 1000))
    assert middle(rows["plain copy alone"], "plain") == pytest.approx(1000.0)
    assert rows["plain copy alone"]["ours"] is None
    for dtype in DType:
        for kind in ("sustained, checked", "sustained, products alone", "exact, checked"):
            row = rows[f"matmul {dtype.value} 8192, {kind}"]
            unit = "TOP/s" if dtype is DType.INT8 else "TFLOP/s"
            assert (row["unit"], middle(row, "ours")) == (unit, pytest.approx(5.0))
    assert rows["memory read, while sampled"]["note"] == "10 samples a turn at 20 Hz, 2.5 ms each"
    assert min(row["ratio"]["n"] for row in rows.values() if row["ratio"]) >= turns.LEAST  # type: ignore[index]


def test_ours_at_half_speed_is_a_ratio_of_one_half(tmp_path: Path) -> None:
    rows = measured(FakeCard(slowed=2.0, checking=0.0), tmp_path)
    beside_plain = [row for name, row in rows.items() if row["ratio"] and "sampled" not in name]
    assert len(beside_plain) == 7 + len(DType) * 3
    assert [middle(row, "ratio") for row in beside_plain] == pytest.approx([0.5] * len(beside_plain))


def test_the_time_of_compares_counts_against_the_checked_rate_alone(tmp_path: Path) -> None:
    rows = measured(FakeCard(checking=0.25), tmp_path)
    assert middle(rows["matmul fp32 8192, sustained, checked"], "ratio") == pytest.approx(0.8)
    assert middle(rows["matmul fp32 8192, sustained, products alone"], "ratio") == pytest.approx(1.0)


def test_new_numbers_count_against_the_checked_rate_as_often_as_they_come(tmp_path: Path) -> None:
    rows = measured(FakeCard(checking=0.0, renewing=0.25), tmp_path)
    every_s = max(gemm_sustained.STAY_S, gemm_sustained.WORTH * 2.0 * 8192**3 / FakeCard.speed)
    ratio = pytest.approx(1 / (1 + 0.25 / every_s))
    assert middle(rows["matmul fp32 8192, sustained, checked"], "ratio") == ratio
    assert middle(rows["matmul fp32 8192, sustained, products alone"], "ratio") == pytest.approx(1.0)
    assert middle(rows["matmul fp32 8192, exact, checked"], "ratio") == pytest.approx(1.0)


def test_sustained_products_are_as_deep_as_the_probe_has_them(tmp_path: Path) -> None:
    fast = FakeCard(speed=1e15, deepest=1 << 20)
    rows = measured(fast, tmp_path)
    assert [name for name in rows if "products alone" in name and " × " in name] == [
        f"matmul {dtype} 8192 × 8192 × {inner}, sustained, products alone"
        for dtype, inner in {"tf32": 32768, "fp16": 32768, "bf16": 32768, "int8": 65536, "fp8": 32768}.items()
    ]
    less = replace(fast, deepest=16384, calls=[])
    assert side_by_side.prepared(less, DType.BF16, exact=False).shape == (8192, 8192, 16384)
    assert side_by_side.prepared(less, DType.BF16, exact=True).shape == (8192, 8192, 8192)


def test_every_turn_of_ours_stands_beside_a_plain_one(tmp_path: Path) -> None:
    card = FakeCard()
    side_by_side.memory(bench(card, tmp_path), 0.0)
    calls = [call for call in card.calls if call in ("read", "write", "copy", "flush", "plain copy")]
    sides = [call for call, _ in groupby(calls)]  # a profile of the scan flushes many times
    turn = ["read", "plain copy", "write", "plain copy", "copy", "plain copy", *["flush", "plain copy"] * 2]
    assert sides[-len(turn) * (turns.LEAST + 1) :] == turn * (turns.LEAST + 1)
    assert card.calls[-1] == "release"


def test_what_a_pass_of_the_scan_covered_is_counted_in_bytes(tmp_path: Path) -> None:
    measured(FakeCard(free_bytes=6 << 30), tmp_path)
    told = json.loads((tmp_path / "side_by_side.json").read_text())["coverage"]
    assert told == {"compared_bytes": (6 << 30) - (64 << 20), "total_bytes": 8 << 30}


def test_wrong_answers_have_no_speed(tmp_path: Path) -> None:
    rows = measured(FakeCard(wrong=3), tmp_path)
    assert rows["memory"]["outcome"] == "failed"
    assert "6 of 796917760 words were wrong" in str(rows["memory"]["why"]), "3 in each of two regions"
    assert rows["matmul fp64, exact"]["ours"] is None
    assert {row["outcome"] for name, row in rows.items() if "matmul" in name} == {"failed"}
    assert rows["memory read, while sampled"]["outcome"] == "measured"


def test_a_type_that_the_card_lacks_is_not_offered_and_no_failure(tmp_path: Path) -> None:
    rows = measured(FakeCard(lacks=(DType.BF16,)), tmp_path)
    row = rows["matmul bf16, sustained"]
    assert (row["outcome"], row["why"], row["ours"]) == ("not_offered", "bf16 products start elsewhere", None)
    assert {row["outcome"] for name, row in rows.items() if "bf16" not in name} == {"measured"}


def test_a_card_without_free_memory_says_so(tmp_path: Path) -> None:
    rows = measured(FakeCard(free_bytes=0, largest=1024), tmp_path)
    assert (rows["memory"]["outcome"], "0 MiB are free" in str(rows["memory"]["why"])) == ("failed", True)
    assert rows["matmul fp16 1024, sustained, checked"]["outcome"] == "measured"


def test_slow_types_are_multiplied_in_smaller_matrices(tmp_path: Path) -> None:
    slow = FakeCard(speed=2e11)
    assert side_by_side.prepared(slow, DType.FP64, exact=True).shape == (2048, 2048, 2048)
    assert side_by_side.prepared(replace(slow, speed=1e9), DType.FP64, exact=True).shape[0] == 1024
    assert side_by_side.prepared(replace(slow, speed=1e15, largest=4096), DType.FP64, exact=True).shape[0] == 4096


def test_without_time_the_rest_is_not_measured_and_says_so(tmp_path: Path) -> None:
    made = bench(FakeCard(), tmp_path)
    side_by_side.measure(made, side_by_side.parts(), 0.0)
    assert {(row.outcome, row.why) for row in made.results.rows} == {("failed", "no time was left for it")}
    assert len(made.results.rows) == len(side_by_side.parts())


def test_results_survive_the_end_of_a_later_part(tmp_path: Path) -> None:
    def dies(*_: object) -> list[turns.Row]:
        raise KeyboardInterrupt

    first, *_ = side_by_side.parts()
    with pytest.raises(KeyboardInterrupt):
        side_by_side.measure(bench(FakeCard(), tmp_path), [first, replace(first, measure=dies)], 60.0)
    rows = json.loads((tmp_path / "side_by_side.json").read_text())["rows"]
    assert "memory read" in {row["what"] for row in rows}


def test_no_name_of_a_card_is_in_the_file(tmp_path: Path) -> None:
    def fails(*_: object) -> list[turns.Row]:
        raise RuntimeError(f"0 cards have {UUID}, 00000000:65:00.0, 65:00.0 or {UUID.lower()}")

    first, *_ = side_by_side.parts()
    side_by_side.measure(bench(FakeCard(), tmp_path), [replace(first, measure=fails)], 60.0)
    text = (tmp_path / "side_by_side.json").read_text()
    assert "RuntimeError: 0 cards have (name of a card)" in text
    assert [name for name in ("44444444", "65:00") if name in text] == []
    assert nameless("2026-11-25T02:23:27+00:00 12.5") == "2026-11-25T02:23:27+00:00 12.5"


# --- the peak


CARD = FakeCard().properties()


def test_the_peak_is_two_transfers_of_the_bus_for_each_clock() -> None:
    known = Identity(max_memory_clock_mhz=1000, bus_bits=5120)
    peak = side_by_side.peak_of(CARD, known, 1280.0)
    assert (peak["gb_s"], peak["by"]) == (1280.0, "attributes")
    assert peak["sources_gb_s"] == {"attributes": 1280.0, "nvml": 1280.0, "catalogue": 1280.0}


def test_a_clock_that_cuda_does_not_tell_is_no_peak_of_zero() -> None:
    silent = replace(CARD, memory_clock_mhz=0.0)
    assert side_by_side.peak_of(silent, None, 1555.0)["by"] == "catalogue"
    unknown = side_by_side.peak_of(silent, Identity(), None)
    assert (unknown["gb_s"], unknown["by"], unknown["memory_clock_mhz"]) == (None, None, None)


# --- telemetry


def test_a_load_is_sampled_while_it_runs_and_only_then() -> None:
    with sampler.Sampler([sys.executable, "-c", SAMPLER]) as one:
        assert [one.during(lambda: 5.0) for _ in range(3)] == [5.0] * 3
    assert (one.samples, one.milliseconds) == ([10] * 3, [2.5] * 3)


SAMPLERS = {
    "no driver": ("print('no NVIDIA driver is installed', flush=True)", "no NVIDIA driver is installed"),
    "dies at once": ("raise SystemExit(1)", "ended early"),
    "dies later": ("print('ready', flush=True); input()", "ended early"),
    "silent": ("import time; time.sleep(60)", "silent"),
    "silent later": ("import time; print('ready', flush=True); time.sleep(60)", "silent"),
}


@pytest.mark.parametrize(("program", "told"), SAMPLERS.values(), ids=SAMPLERS.keys())
def test_without_telemetry_its_cost_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    monkeypatch.setattr(sampler, "ANSWER_S", 0.5 if "silent" in told else 10.0)
    made = bench(FakeCard(), tmp_path, program)
    parts = [part for part in side_by_side.parts() if "sampled" in part.what]
    side_by_side.measure(made, parts, 600.0)
    assert [row.outcome for row in made.results.rows] == ["failed"] * 2
    assert all(told in row.why and row.ratio is None for row in made.results.rows)


def test_the_sampling_process_samples_between_two_words() -> None:
    program = f"""
        import sys
        sys.path.append({str(ROOT / "scripts")!r})
        import sampler
        class Card:
            def sample(self, at_s): pass
        sampler.say("ready")
        sampler.obey(Card(), sys.stdin.fileno(), sampler.say)
        """
    with sampler.Sampler([sys.executable, "-c", textwrap.dedent(program)]) as one:

        def load() -> float:
            subprocess.run(["sleep", "0.5"], check=True)
            return 1.0

        one.during(load)
        one.during(lambda: 1.0)
    assert 2 <= one.samples[0] <= 12
    assert 1 <= one.samples[1] <= one.samples[0]
    assert one._process.returncode == 0


@pytest.mark.skipif(nvml_stub.COMPILER is None, reason="no C compiler on this machine")
def test_a_card_is_sampled_through_the_real_binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(nvml_stub.build(tmp_path)))
    program = [sys.executable, str(ROOT / "scripts" / "sampler.py")]
    with sampler.Sampler([*program, "0"]) as one:
        assert one.during(lambda: 2.0) == 2.0
    assert one.samples[0] >= 1
    assert one.milliseconds[0] > 0
    with pytest.raises(sampler.NotSampledError, match="no GPU '7'") as refused, sampler.Sampler([*program, "7"]):
        pass
    assert nvml_stub.UUID not in str(refused.value)


# --- the whole program, over a CuPy that is none


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HostKernels]:
    if host_compiler.COMPILER is None:
        pytest.skip("no C++ compiler on this machine")
    return {name: HostKernels(name, tmp_path_factory.mktemp(name)) for name in kernels.ENTRIES}


@pytest.fixture
def cuda(built: dict[str, HostKernels], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCuda]:
    """A card of 6 MiB behind CuPy, and NVML that knows it."""
    fake = FakeCuda(built, memory_mib=6)
    fake.install(monkeypatch)
    sys.modules["cupy.cuda"].runtime.eventSynchronize = lambda event: None
    for made in built.values():
        made.set_sms(fake.sm_count)
    monkeypatch.setenv("GPUCERT_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setattr(side_by_side, "tidy_environment", lambda: None)
    monkeypatch.setattr(side_by_side, "SIZES", (32, 16))
    monkeypatch.setattr(side_by_side, "inner_sizes", lambda dtype, capability: (64, 32))
    monkeypatch.setattr(side_by_side, "TURN_S", 0.002)
    monkeypatch.setattr(side_by_side, "WATCHED_TURN_S", 0.002)
    monkeypatch.setattr(turns, "MOST", turns.LEAST)
    yield fake
    for made in built.values():
        made.repair()


def nvml(monkeypatch: pytest.MonkeyPatch, **answers: object) -> None:
    """NVML that answers with a card; an answer that is an exception is raised by attaching."""
    identity = Identity(uuid=NOT_ASKED, bus_id="00000000:65:00.0", driver="580.95.05", max_memory_clock_mhz=1593)
    sample = SimpleNamespace(memory_clock_mhz=1593.0)
    card = SimpleNamespace(
        identity=lambda: identity,
        settings=lambda: SimpleNamespace(mig=answers.get("mig", Absent(Absence.NOT_SUPPORTED))),
        sample=lambda at_s: sample,
        processes=lambda: answers.get("processes", ()),
    )

    def attach(which: str) -> object:
        assert which == "0"
        if isinstance(error := answers.get("error"), Exception):
            raise error
        return card

    monkeypatch.setattr("gpucert.device.nvml.attach", attach)


def test_the_whole_program_measures_what_it_says(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvml(monkeypatch)
    original = sampler.Sampler
    monkeypatch.setattr(side_by_side, "Sampler", lambda _: original([sys.executable, "-c", SAMPLER]))
    assert side_by_side.main(["0", str(tmp_path / "out.json"), "600"]) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    outcomes = {row["what"]: row["outcome"] for row in told["rows"]}
    assert {outcomes.pop(f"matmul fp8, {kind}") for kind in ("sustained", "exact")} == {"not_offered"}
    assert set(outcomes.values()) == {"measured"}
    assert all(row["ratio"]["median"] > 0 for row in told["rows"] if row["ratio"])
    assert told["card"]["name"] == "Fake GPU"
    assert (told["versions"]["driver"], told["versions"]["cuda_runtime"]) == ("580.95.05", "12.9")
    assert told["peak"]["memory_clock_under_load_mhz"] == 1593.0
    assert 0 < told["coverage"]["compared_bytes"] <= told["coverage"]["total_bytes"] == 6 * MIB
    assert cuda.left > 5 * MIB, "all memory is given back"


@pytest.mark.parametrize(("dtype", "output"), [(DType.FP32, 0), (DType.INT8, 10)])
def test_plain_calls_do_the_work_that_they_are_timed_for(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, dtype: DType, output: int
) -> None:
    import numpy as np

    from gpucert.stress.cuda import CudaBackend
    from tests.host_compiler.cupy import matrix_view

    card, plain = CudaBackend("00000000:65:00.0"), PlainCuda()
    matrices = card.matrices(dtype, 64, 7, exact=True)
    result = matrix_view(matrices.result, output, 64 * 64)
    result[:] = 0
    before = cuda.products
    assert plain.multiply(matrices, 3) > 0
    assert cuda.products == before + 3
    assert np.array_equal(result, matrix_view(matrices.references[0], output, 64 * 64))
    matrices.free()
    (region, *_) = card.reserve(2 * MIB)
    halves = matrix_view(region.handle, 1, region.words)
    halves[:] = np.arange(region.words)
    assert plain.copy([region], 2) > 0
    assert np.array_equal(halves[region.words // 2 :], halves[: region.words // 2])


REFUSALS: dict[str, tuple[Callable[[], dict[str, object]], str]] = {
    "mig": (lambda: {"mig": True}, "MIG mode is on"),
    "no such card": (lambda: {"error": _no_such_gpu()}, "no GPU '0'"),
    "broken": (lambda: {"error": AttributeError("module 'cupy' has no attribute 'cuda'")}, "AttributeError: module"),
}


def _no_such_gpu() -> Exception:
    from gpucert.device.gpu import NoSuchGpuError

    return NoSuchGpuError(f"no GPU '0'; this station has 1: {UUID}")


@pytest.mark.parametrize(("answers", "told"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_card_that_cannot_be_measured_is_refused_in_one_line(
    cuda: FakeCuda,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answers: Callable[[], dict[str, object]],
    told: str,
) -> None:
    nvml(monkeypatch, **answers())
    assert side_by_side.main(["0", str(tmp_path / "out.json")], sys.stderr) == 30
    assert told in json.loads((tmp_path / "out.json").read_text())["cannot_measure"]
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert "44444444" not in line
    assert cuda.launched == []


def test_a_card_in_use_is_left_alone(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from gpucert.run.locks import lock_card

    nvml(monkeypatch)
    held = lock_card(Identity(bus_id="00000000:65:00.0").card_id)
    assert side_by_side.main(["0", str(tmp_path / "out.json")]) == 30
    assert "in use by another gpucert" in json.loads((tmp_path / "out.json").read_text())["cannot_measure"]
    import os

    os.close(held)


def test_without_nvml_the_rest_is_measured(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpucert.device.gpu import NoDriverError

    nvml(monkeypatch, error=NoDriverError("nvidia-ml-py cannot be imported"))
    sys.modules["cupy.cuda"].runtime.deviceGetPCIBusId = lambda index: "0000:65:00.0"
    assert side_by_side.main(["0", str(tmp_path / "out.json"), "600"]) == 1
    told = json.loads((tmp_path / "out.json").read_text())
    failed = [row["what"] for row in told["rows"] if row["outcome"] not in {"measured", "not_offered"}]
    assert failed == ["matmul while sampled", "memory read while sampled"]
    assert (told["others_on_the_card"], told["versions"]["driver"]) == ("NVML does not answer", None)
    assert "going on without NVML" in capsys.readouterr().err
