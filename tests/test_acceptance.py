"""Acceptance on a GPU, without one: it says so, goes on after a failure, keeps its time and changes no card."""

import ensurepip
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from pathlib import Path

import pytest

from gpucert.run import plan

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "tests" / "captures" / "v100-retired.xml"
sys.path.append(str(ROOT / "scripts"))

import acceptance  # noqa: E402
import acceptance_environment as making  # noqa: E402
import acceptance_table  # noqa: E402


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


NOWHERE = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": ""}


def start(folder: Path, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the script for real, without a package index, and with what lies in `shims` first on its PATH."""
    return subprocess.run(
        [root / "scripts" / "gpu-acceptance", "--out", folder / "out", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{folder / 'shims'}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder), **NOWHERE},
    )


def test_without_a_driver_one_line_says_so(tmp_path: Path) -> None:
    done = start(tmp_path)
    assert (done.returncode, done.stdout) == (30, "")
    (line,) = done.stderr.splitlines()
    assert "no NVIDIA driver" in line
    assert not (tmp_path / "out").exists()


DRIVERS = {
    "broken driver": ("echo 'NVIDIA-SMI has failed because it could not communicate'; exit 9", "could not communicate"),
    "no such card": ("echo 'No devices were found'; exit 6", "No devices were found"),
    "nonsense": ("echo hello", "no XML"),
    "no card in it": ("echo '<nvidia_smi_log></nvidia_smi_log>'", "0 GPUs"),
}


@pytest.mark.parametrize(("answer", "told"), DRIVERS.values(), ids=DRIVERS.keys())
def test_a_driver_that_does_not_answer_is_one_line(tmp_path: Path, answer: str, told: str) -> None:
    executable(tmp_path / "shims" / "nvidia-smi", f"#!/bin/sh\n{answer}\n")
    done = start(tmp_path)
    assert (done.returncode, done.stdout) == (30, "")
    (line,) = done.stderr.splitlines()
    assert told in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--minutes", "0"], ["nowhere"], ["--out", "/etc"], ["--gpus", "1"]])
def test_wrong_usage_is_exit_code_2(tmp_path: Path, wrong: list[str]) -> None:
    assert start(tmp_path, *wrong).returncode == 2


@pytest.mark.parametrize(
    ("capability", "cuda", "extra"),
    [
        ((6, 0), (13, 0), "cuda12"),
        ((7, 0), (12, 9), "cuda12"),
        ((7, 0), (13, 0), "cuda12"),
        ((7, 5), (12, 9), "cuda12"),
        ((7, 5), (13, 0), "cuda13"),
        ((9, 0), (13, 1), "cuda13"),
        ((10, 0), (13, 0), "cuda13"),
        (None, (13, 0), "cuda12"),
        ((9, 0), None, "cuda12"),
    ],
)
def test_the_build_of_cupy_fits_card_and_driver(
    capability: tuple[int, int] | None, cuda: tuple[int, int] | None, extra: str
) -> None:
    card = acceptance.Card(name="", driver="", cuda=cuda, capability=capability)
    assert card.extra == extra
    source = making.find_source(ROOT, ROOT / "nowhere")
    assert [one for one in source.requirements(extra) if "cupy" in one] == [f"cupy-{extra}x>=14"]
    assert not any("cupy" in one for one in source.requirements(""))


STATION = """#!/bin/bash
# Acts as the Python of the environment: notes what is asked, and fails where $FAKE_FAILS says so.
echo "$*" >>"$FAKE_LOG"
case "$*" in
*single_probe.py) echo '{"pcie_link": 1, "memory_bandwidth": 1, "sm_answers": 1, "gemm_exact": 9999, "thermal_soak": 1,
  "memory_scan": 1, "gemm_sustained": 1, "sm_clock": 1}' ;;
*--junitxml=*)
  words="$*"
  report=${words##*--junitxml=}
  echo "<testsuites><testsuite tests='3' skipped='${FAKE_SKIPPED:-1}'/></testsuites>" >"${report%% *}" ;;
*"gpucert doctor"*) echo "$FAKE_DOCTOR"; code=30 ;;
*"gpucert devices"*) echo '{"devices": []}' ;;
*"gpucert inspect"*)
  words="$*"
  [[ -n "${FAKE_NO_PAGE:-}" ]] || echo "<html></html>" >"${words##*--report }"
  echo '{"cards": []}'
  code=10 ;;
*side_by_side.py*) cp "$FAKE_COMPARED" "$3" ;;
*"gpucert certify"*)
  folder=$(echo "$*" | sed 's/.*--out \\([^ ]*\\).*/\\1/')/GPU-44444444-aaaa-4bbb-8ccc-000000000005
  mkdir -p "$folder"
  cp "$FAKE_RECORD" "$folder/record.json"
  code=10 ;;
esac
[[ -n "${FAKE_FAILS:-}" && "$*" == *$FAKE_FAILS* ]] && { echo "it broke" >&2; exit 3; }
exit ${code:-0}
"""
ALL = ["environment", "versions", "devices", "doctor", "inspect", "gpu-tests", "quick", "side-by-side"]
ALL += ["probe-memory_scan", "probe-sm_clock", "probe-pcie_link", "probe-memory_bandwidth", "probe-sm_answers"]
ALL += ["probe-thermal_soak", "probe-gemm_sustained", "mask", "judge-masked", "issue-masked", "table"]


@pytest.fixture
def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a fake driver and a fake environment, both of which note what is asked of them."""
    driver = (
        f'#!/bin/sh\necho "$*" >>{tmp_path}/driver\ncase "$*" in *compute_cap*) echo 7.0 ;; *) cat {CAPTURE} ;; esac\n'
    )
    executable(tmp_path / "shims" / "nvidia-smi", driver)
    executable(tmp_path / "environment" / "bin" / "python", STATION)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "asked"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(acceptance, "ENVIRONMENT", tmp_path / "environment")
    monkeypatch.setenv("FAKE_DOCTOR", "{}")
    for name, tree in {"compared": COMPARED, "record": RECORD}.items():
        monkeypatch.setenv(f"FAKE_{name.upper()}", str(tmp_path / f"{name}.json"))
        (tmp_path / f"{name}.json").write_text(json.dumps(tree))
    monkeypatch.setattr(acceptance, "make_environment", lambda *_: making.Made())
    return tmp_path


def spread(median: float) -> dict[str, float]:
    return {"n": 9, "median": median, "q1": median * 0.75, "q3": median * 1.25}


def compared(what: str, unit: str, **said: object) -> dict[str, object]:
    """A row as side_by_side.py writes it."""
    empty = dict.fromkeys(("ours", "plain", "ratio", "of_peak"))
    return {"what": what, "unit": unit, "outcome": "measured", "why": "", "plain_is": "", "note": "", **empty, **said}


def record(coverage: float, expected: int, compared: int, rounds: int) -> dict[str, object]:
    """What the table reads of a record."""
    said = {"coverage": coverage, "words_expected": expected, "words_compared": compared, "rounds": rounds}
    measurements = [{"name": name, "value": value} for name, value in said.items()]
    return {
        "card": {"uuid": "GPU-44444444-aaaa-4bbb-8ccc-000000000005", "serial": "0325000000001"},
        "steps": [{"probe": "memory_scan", "status": "ran", "measurements": measurements}, CLOCK],
    }


def clock(**said: object) -> dict[str, object]:
    """The step of the clock, as a record holds it."""
    measurements = [{"name": name, "value": value, "u": 0.0031, "n": 5} for name, value in said.items()]
    return {"probe": "sm_clock", "status": "ran", "measurements": measurements}


CLOCK = clock(sms=80, real=1382.4, reported=1380.0, ratio=1.0017)


RECORD = record(98.75, 1 << 30, 1 << 30, 4)
COMPARED = {
    "made_at": "2026-11-25T02:23:27+00:00",
    "card": {"name": "Tesla V100"},
    "versions": {"driver": "580.95.05", "cupy": "14.2.0", "kernels": "0123456789abcdef"},
    "peak": {
        "gb_s": 898.0,
        "sources_gb_s": {"attributes": 898.0, "catalogue": 897.5},
        "memory_clock_mhz": 877.0,
        "bus_bits": 4096,
        "memory_clock_under_load_mhz": 876.0,
    },
    "coverage": {"compared_bytes": 31 << 30, "total_bytes": 32 << 30},
    "rows": [
        compared(
            "memory read",
            "GB/s",
            plain_is="a copy",
            ours=spread(800.0),
            plain=spread(1600.0),
            ratio=spread(0.5),
            of_peak=0.891,
        ),
        compared("plain copy alone", "GB/s", plain=spread(1600.0), of_peak=1.782),
        compared("matmul bf16, sustained", "TFLOP/s", outcome="not_offered", why="bf16 starts with 8.0"),
        compared("matmul fp64, exact", "TFLOP/s", outcome="failed", why="12 | 13 wrong"),
    ],
}


def told(folder: Path) -> dict[str, dict[str, object]]:
    """The stages of a summary by name."""
    return {one["name"]: one for one in json.loads((folder / "out" / "summary.json").read_text())["stages"]}


def test_every_stage_runs_is_timed_and_packed(station: Path) -> None:
    assert acceptance.main(["--out", str(station / "out")]) == 0
    assert list(told(station)) == ALL
    assert all(isinstance(stage["seconds"], float) for stage in told(station).values())
    summary = json.loads((station / "out" / "summary.json").read_text())
    assert (summary["passed"], summary["not_run"], summary["about"]["extra"]) == (True, ["gemm_exact"], "cuda12")
    with tarfile.open(station / "out.tar.gz") as packed:
        wanted = {"summary.json", "nvidia-smi.xml", "table.md", "devices.json", "doctor.json", "inspect.html"}
        masked = {f"masked/{name}" for name in ("nvidia-smi.xml", "table.md", "side_by_side.json")}
        assert {f"out/{name}" for name in wanted | masked} <= set(packed.getnames())


FAULTS = ["-m pytest", "single_probe.py 0 pcie_link", "gpucert judge", "pip list", "gpucert devices", "gpucert doctor"]
FAULTS += ["gpucert inspect", "side_by_side.py"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stage_that_fails_stops_no_other_and_is_told(
    station: Path, monkeypatch: pytest.MonkeyPatch, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_FAILS", fault)
    assert acceptance.main(["--out", str(station / "out")]) == 1
    failed = [stage for stage in told(station).values() if not stage["passed"]]
    assert list(told(station)) == ALL
    assert [(stage["exit_code"], stage["note"]) for stage in failed] == [(3, "it broke")]
    assert "FAILED with exit code 3" in capsys.readouterr().err


def test_tests_that_were_all_skipped_are_a_failure(station: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SKIPPED", "3")
    assert acceptance.main(["--out", str(station / "out")]) == 1
    assert "all 3 tests were skipped" in str(told(station)["gpu-tests"]["note"])
    assert told(station)["gpu-tests"]["exit_code"] == 1


def test_a_report_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    assert "no report" in acceptance.tests_ran(tmp_path / "nowhere.xml")


def test_without_an_environment_the_reason_is_told(station: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "make_environment", lambda *_: making.Made("no wheels"))
    assert acceptance.main(["--out", str(station / "out")]) == 1
    assert [(name, stage["note"]) for name, stage in told(station).items()] == [
        ("environment", "no wheels"),
        ("table", ""),
    ]
    assert "not measured: the stage left no results" in (station / "out" / "table.md").read_text()


def test_the_card_is_only_read(station: Path) -> None:
    acceptance.main(["--out", str(station / "out")])
    asked = (station / "driver").read_text().split()
    assert set(asked) == {"-q", "-x", "-i", "0", "--query-gpu=compute_cap", "--format=csv,noheader"}
    programs = ("acceptance", "single_probe", "side_by_side", "plain_cuda", "sampler")
    source = "".join((ROOT / "scripts" / f"{name}.py").read_text() for name in programs)
    assert re.findall(r"--gpu-reset|-pl\b|-lgc|-lmc|-pm\b|-mig|--ecc-config|nvmlDeviceSet|\bsudo\b", source) == []


def test_nothing_masked_names_the_card(station: Path) -> None:
    row = compared("memory", "GB/s", outcome="failed", why="GPU-44444444-aaaa-4bbb-8ccc-000000000005 0325000000001")
    (station / "compared.json").write_text(json.dumps({**COMPARED, "rows": [row]}))
    acceptance.main(["--out", str(station / "out")])
    files = [path for path in (station / "out" / "masked").rglob("*") if path.is_file()]
    named = {"record.json", "nvidia-smi.xml", "summary.json", "table.md", "side_by_side.json"}
    assert named <= {path.name for path in files}
    text = "".join(f"{path} {path.read_text()}" for path in files).lower()
    assert [name for name in ("0325000000001", "44444444-aaaa", "00000000:34:00") if name in text] == []


@pytest.mark.parametrize("printed", ["Traceback", "[]", "{"])
def test_a_command_that_prints_no_json_has_failed(station: Path, monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    monkeypatch.setenv("FAKE_DOCTOR", printed)
    assert acceptance.main(["--out", str(station / "out")]) == 1
    assert [name for name, stage in told(station).items() if not stage["passed"]] == ["doctor"]
    assert "no JSON" in str(told(station)["doctor"]["note"])
    assert told(station)["doctor"]["exit_code"] == 30


def test_an_inspection_without_its_page_has_failed(station: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NO_PAGE", "1")
    assert acceptance.main(["--out", str(station / "out")]) == 1
    assert told(station)["inspect"]["note"] == "it wrote no report"


# --- the table


def cells(text: str) -> dict[str, list[str]]:
    """The rows of the table by their first cell, in plain spaces."""
    rows = [line.strip("| ").split(" | ") for line in text.replace("\u202f", " ").splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def test_the_table_is_written_and_printed(station: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acceptance.main(["--out", str(station / "out")])
    text = (station / "out" / "table.md").read_text()
    assert capsys.readouterr().out == text
    assert text.startswith("# gpucert on Tesla V100\n\n2026-11-25 · cupy 14.2.0 · driver 580.95.05\n")
    assert cells(text) == {
        "what": ["ours", "plain", "ours / plain", "of peak", "repeats"],
        "memory read": ["800 GB/s", "1 600 GB/s", "0.500 (0.375–0.625)", "0.891", "9"],
        "plain copy alone": ["–", "1 600 GB/s", "–", "1.782", "9"],
        "matmul bf16, sustained": ["not offered: bf16 starts with 8.0", "–", "–", "–", "–"],
        "matmul fp64, exact": ["NOT MEASURED: 12 / 13 wrong", "–", "–", "–", "–"],
        "VRAM covered by a pass here": ["31.00 GiB of 32.00 GiB", "–", "–", "0.9688", "–"],
        "VRAM covered by the quick plan": ["8.00 GiB compared", "–", "–", "0.9875", "4"],
        "VRAM covered by memory_scan alone": ["not measured: no memory scan is on record", "–", "–", "–", "–"],
        "SM clock under load": ["1 382 MHz", "1 380 MHz", "1.0017 (± 0.0031)", "–", "5"],
    }
    plain = text.replace("\u202f", " ")
    assert "898 by attributes, 897.5 by catalogue (2 × 877.0 MHz × 4096 bit / 8 by CUDA's attributes); NVML" in plain
    assert f"stages: {len(ALL) - 1} of {len(ALL) - 1} passed" in plain
    assert "not run, because no time was left: gemm_exact" in plain


def test_compares_that_are_not_proven_cover_nothing(station: Path) -> None:
    (station / "record.json").write_text(json.dumps(record(98.75, 1 << 30, 7, 4)))
    acceptance.main(["--out", str(station / "out")])
    row = cells((station / "out" / "table.md").read_text())["VRAM covered by the quick plan"]
    assert row == ["NOT PROVEN: 7 of 1073741824 compares", "–", "–", "–", "–"]


SILENT = {"absent": "not_supported", "detail": "no clock on this driver"}
COARSE = {"absent": "absurd", "detail": "the timer stands still"}


@pytest.mark.parametrize(
    ("step", "row"),
    [
        (
            clock(real=1382.4, reported=SILENT, ratio=SILENT),
            ["1 382 MHz (not compared: no clock on this driver)", "–", "–", "–", "5"],
        ),
        (
            clock(reported=1380.0, real=COARSE, slowest=COARSE, ratio=COARSE),
            ["– (not compared: the timer stands still)", "1 380 MHz", "–", "–", "5"],
        ),
        (
            {"probe": "sm_clock", "status": "crashed", "reason": "it died", "measurements": []},
            ["NOT MEASURED: the step crashed it died", "–", "–", "–", "–"],
        ),
        (None, ["not measured: no step of sm_clock is on record", "–", "–", "–", "–"]),
    ],
)
def test_a_clock_that_was_not_compared_says_why(station: Path, step: dict[str, object] | None, row: list[str]) -> None:
    (station / "record.json").write_text(json.dumps({**RECORD, "steps": [step] if step else []}))
    acceptance.main(["--out", str(station / "out")])
    assert cells((station / "out" / "table.md").read_text())["SM clock under load"] == row


def test_failed_stages_stand_in_the_table(station: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAILS", "side_by_side.py")
    acceptance.main(["--out", str(station / "out")])
    text = (station / "out" / "table.md").read_text()
    assert "FAILED: side-by-side: it broke" in text


def test_a_reason_for_measuring_nothing_stands_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "side_by_side.json").write_text('{"cannot_measure": "MIG mode is on"}')
    text = acceptance_table.table(tmp_path, {"name": "Tesla V100", "driver": "535"}, [], [])
    assert cells(text)["beside plain CUDA"][0] == "not measured: MIG mode is on"
    assert "driver 535" in text


def test_results_that_cannot_be_read_fail_the_table_and_stop_nothing(station: Path) -> None:
    (station / "compared.json").write_text('{"rows": [7]}')
    assert acceptance.main(["--out", str(station / "out")]) == 1
    assert "TypeError" in str(told(station)["table"]["note"])
    assert (station / "out.tar.gz").is_file()


# --- time


def asked_seconds(station: Path) -> float:
    """How long side_by_side.py was told to measure."""
    (line,) = [one for one in (station / "asked").read_text().splitlines() if "side_by_side.py" in one]
    return float(line.split()[-1])


def test_the_quick_plan_has_time_for_all_its_steps() -> None:
    steps = plan.load("quick").step
    loading = [step for step in steps if step.probe not in ("identity", "counters")]
    assert sum(step.seconds for step in steps) + 5 * len(loading) <= acceptance.QUICK_S
    spent = acceptance.QUICK_S + acceptance.SIDE_BY_SIDE_S + acceptance.SIDE_BY_SIDE_START_S + acceptance.AFTERWARDS_S
    assert spent + acceptance.GPU_TESTS_LEAST_S < 9.5 * 60
    assert {step.seconds for step in plan.load("standard").step if step.probe == "memory_scan"} == {600}
    assert acceptance.SCAN_S < 600


def test_the_comparison_fills_what_is_left_within_its_bounds(station: Path) -> None:
    acceptance.main(["--out", str(station / "out"), "--minutes", "60"])
    assert asked_seconds(station) == acceptance.SIDE_BY_SIDE_MOST_S


def test_the_comparison_leaves_room_for_a_scan(station: Path) -> None:
    acceptance.main(["--out", str(station / "out"), "--minutes", "2.5"])
    assert 50 < asked_seconds(station) <= acceptance.SIDE_BY_SIDE_S + 30
    assert told(station)["probe-memory_scan"]["passed"]


def test_a_comparison_without_time_has_failed_and_is_not_begun(station: Path) -> None:
    assert acceptance.main(["--out", str(station / "out"), "--minutes", "1"]) == 1
    assert "no time was left" in str(told(station)["side-by-side"]["note"])
    assert "side_by_side.py" not in (station / "asked").read_text()
    assert "NOT" not in str(told(station)["quick"]["note"])


def test_time_that_is_up_ends_a_stage_gently(tmp_path: Path) -> None:
    gentle = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('closed', flush=True), sys.exit(130)))\n"
        "print('open', flush=True); time.sleep(30)"
    )
    began = time.monotonic()
    code, note = acceptance.run_limited([sys.executable, "-c", gentle], tmp_path / "out", tmp_path / "log", 2.0)
    assert time.monotonic() - began < 10
    assert (code, "time was up" in note) == (130, True)
    assert (tmp_path / "out").read_text().split() == ["open", "closed"]


def test_a_stage_that_ignores_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "GRACE_S", 0.2)
    deaf = "trap '' INT TERM; sleep 30 & wait; sleep 30"
    code, _ = acceptance.run_limited(["bash", "-c", deaf], tmp_path / "out", tmp_path / "log", 1.0)
    assert code == -signal.SIGKILL


def test_a_stage_without_time_is_not_begun(tmp_path: Path) -> None:
    assert acceptance.run_limited(["false"], tmp_path / "out", tmp_path / "log", -1.0)[1] == "no time was left for it"


def test_one_probe_of_the_standard_plan_runs_alone(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "scripts" / "single_probe.py")]
    seconds = json.loads(subprocess.check_output(program, text=True))
    assert set(acceptance.PROBES) <= set(seconds)
    done = subprocess.run(
        [*program, "healthy-a10", "memory_scan", str(tmp_path / "one"), "7"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "memory_scan: ran")
    record = json.loads((tmp_path / "one" / "record.json").read_text())
    assert [step["seconds"] for step in record["steps"]] == [7.0]
    row = acceptance_table._coverage("x", tmp_path / "one" / "record.json")
    assert re.fullmatch(r"\| x \| [\d.]+.GiB compared \| – \| – \| 0\.9\d+ \| \d+ \|", row)


# --- the environment, made for real


def wheel(folder: Path, name: str, version: str, files: dict[str, str], metadata: str = "") -> Path:
    """Make a wheel; `files` by their place in it."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": tag}
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for place, text in files.items():
            packed.writestr(place, text)
    return path


def wheel_of_gpucert(folder: Path) -> Path:
    """gpucert as pip would pack it, with the metadata of the one that is installed here."""
    places = {
        ROOT / "src" / "gpucert": "gpucert",
        ROOT / "stress": "gpucert/stress",
        ROOT / "reports": "gpucert/reports",
    }
    kinds = {".py", ".toml", ".tsv", ".cu", ".cuh", ".j2", ".css", ".mako", ".typed"}
    files = {
        f"{place}/{path.relative_to(source).as_posix()}": path.read_text(encoding="utf-8")
        for source, place in places.items()
        for path in source.rglob("*")
        if path.suffix in kinds
    }
    found = importlib.metadata.distribution("gpucert")
    return wheel(folder, "gpucert", found.version, files, found.read_text("METADATA") or "")


CUPY = {
    "cupy/__init__.py": "from cupy import cuda",
    "cupy/cuda/__init__.py": "from cupy.cuda import runtime\ndef set_allocator(pool): pass",
    "cupy/cuda/nvrtc.py": "def getVersion(): return (12, 9)",
    "cupy/cuda/runtime.py": "def runtimeGetVersion(): return 12090\n"
    "def deviceGetPCIBusId(number): raise RuntimeError('no CUDA-capable device is detected')",
    "cupy_backends/__init__.py": "",
    "cupy_backends/cuda/__init__.py": "",
    "cupy_backends/cuda/libs/__init__.py": "",
    "cupy_backends/cuda/libs/cublas.py": "def getVersion(handle): return 120900",
}
TOOLKIT = "Metadata-Version: 2.1\nName: cuda-toolkit\nVersion: 12.9.0\n"
TOOLKIT += "".join(f"Provides-Extra: {part}\n" for part in ("cublas", "cudart", "nvrtc"))


def test_scripts_tests_and_wheels_are_enough_to_run_without_a_checkout(tmp_path: Path) -> None:
    """All stages are tried from a folder without sources; they fail for the one thing that is missing, a driver."""
    root = tmp_path / "carried"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "gpu", root / "tests" / "gpu", ignore=shutil.ignore_patterns("__pycache__"))
    own = wheel_of_gpucert(root / "wheels")
    wheel(root / "wheels", "cupy_cuda12x", "14.2.0", CUPY)
    wheel(root / "wheels", "cuda_toolkit", "12.9.0", {}, TOOLKIT)
    answers = f"#!/bin/sh\ncase $* in *compute_cap*) echo 7.0 ;; *) cat {CAPTURE} ;; esac\n"
    executable(tmp_path / "shims" / "nvidia-smi", answers)
    done = start(tmp_path, "--minutes", "2", root=root)
    stages = told(tmp_path)
    assert done.returncode == 1, done.stderr
    assert stages["environment"]["passed"], done.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["about"]["gpucert_from"] == own.name
    versions = (tmp_path / "out" / "versions.txt").read_text()
    assert re.search(r"^gpucert @ file:.*\.whl|^gpucert==", versions, re.MULTILINE)
    assert (root / ".venv-acceptance" / "lib").is_dir()
    assert stages["doctor"]["passed"]
    assert json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert "skipped" in str(stages["gpu-tests"]["note"])
    for name in ("devices", "inspect", "quick", "side-by-side", "probe-memory_scan"):
        assert not stages[name]["passed"]
        reason = "no CUDA-capable device" if name == "side-by-side" else "no NVIDIA driver is installed"
        assert reason in str(stages[name]["note"]), name
    assert stages["mask"]["passed"]
    assert "FAILED: quick" in done.stdout


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Python of an environment that has no pip and no ensurepip either, and of a station without an index."""
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    venv.EnvBuilder(symlinks=True, with_pip=False).create(tmp_path / "bare")
    script = f'#!/bin/sh\ncase "$1 $2" in "-m ensurepip") exit 1 ;; esac\nexec {tmp_path}/bare/bin/real "$@"\n'
    (tmp_path / "bare" / "bin" / "python").rename(tmp_path / "bare" / "bin" / "real")
    executable(tmp_path / "bare" / "bin" / "python", script)
    (tmp_path / "wheels").mkdir()
    return str(tmp_path / "bare" / "bin" / "python")


def carry_pip(folder: Path) -> None:
    (bundled,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(bundled, folder)


def test_without_pip_and_ensurepip_a_wheel_of_pip_serves(bare: str, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    with (tmp_path / "log").open("ab") as log:
        assert making.pip_of(bare, wheels, log) == []
        carry_pip(wheels)
        wheel(wheels, "tiny", "1.0", {"tiny.py": "here = True"})
        pip = making.pip_of(bare, wheels, log)
        assert making.Installer([*pip, "install"], wheels, log).packages(["tiny>=1"])
    assert subprocess.run([bare, "-c", "import tiny"], check=False).returncode == 0


def test_without_pip_at_all_the_remedy_is_told(bare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "python_of", lambda _: bare)
    monkeypatch.setattr(making, "cupy_of", lambda _: "cuda12")
    monkeypatch.setattr(making, "inherit", lambda *_, cuda: None)
    source = making.Source(ROOT, ())
    made = making.make_environment(tmp_path / "made", source, "cuda12", tmp_path / "wheels", tmp_path / "log")
    assert re.search(
        r"neither pip nor ensurepip: install python3-pip or python3-venv, or put pip's wheel", made.problem
    )


def test_the_two_largest_packages_may_be_missing_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    out_of_reach = {"scipy>=1.11"}

    def call(command: list[str], out: object) -> int:
        asked.append(command)
        return int(bool(out_of_reach & set(command)))

    monkeypatch.setattr(making, "call", call)
    with (tmp_path / "log").open("ab") as log:
        installer = making.Installer(["pip", "install"], tmp_path, log)
        assert installer.packages(["tiny", "scipy>=1.11", "matplotlib[all]>=3.8"])
        links = ["--find-links", str(tmp_path)]
        assert asked[0] == ["pip", "install", "--no-index", *links, "tiny", "scipy>=1.11", "matplotlib[all]>=3.8"]
        assert "--no-index" not in asked[1]
        assert [one[5:] for one in asked[2:]] == [["tiny", "scipy>=1.11"], ["tiny", "matplotlib[all]>=3.8"]]
        out_of_reach.add("matplotlib[all]>=3.8")
        assert installer.packages(["tiny", "scipy>=1.11", "matplotlib[all]>=3.8"])
        assert asked[-1] == ["pip", "install", "--no-index", *links, "tiny"]
        out_of_reach.add("tiny")
        assert not installer.packages(["tiny", "scipy>=1.11"])


def test_what_is_lost_without_a_package_is_known(bare: str) -> None:
    assert making.missing(bare) == {"matplotlib": "no page", "scipy": "neither verdict nor page"}


def test_what_the_environment_does_without_is_told_but_is_no_failure(
    station: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(acceptance, "make_environment", lambda *_: making.Made(note="without scipy: no verdict"))
    assert acceptance.main(["--out", str(station / "out")]) == 0
    assert "environment: ok in 0 s: without scipy: no verdict" in capsys.readouterr().err


# --- where gpucert comes from


def test_a_checkout_comes_before_a_wheel(tmp_path: Path) -> None:
    wheel(tmp_path, "gpucert", "9.9", {})
    source = making.find_source(ROOT, tmp_path)
    assert source.path == ROOT
    assert "setuptools>=77" in source.requirements("")


def test_a_wheel_tells_what_it_needs(tmp_path: Path) -> None:
    needs = ("click>=8.1", "numpy", 'cupy-cuda12x>=14 ; extra == "cuda12"', "cupy-cuda13x>=14; extra == 'cuda13'")
    metadata = "Name: gpucert\n" + "".join(f"Requires-Dist: {need}\n" for need in needs) + "\nRequires-Dist: prose\n"
    own = wheel(tmp_path / "wheels", "gpucert", "9.9", {}, metadata)
    source = making.find_source(tmp_path, tmp_path / "wheels")
    assert source.path == own
    assert source.requirements("") == ["click>=8.1", "numpy", "pytest>=8"]
    assert source.requirements("cuda13") == ["click>=8.1", "numpy", "cupy-cuda13x>=14", "pytest>=8"]


def test_checkout_and_wheel_need_the_same(tmp_path: Path) -> None:
    wheel_of_gpucert(tmp_path)
    carried, here = making.find_source(tmp_path / "nowhere", tmp_path), making.find_source(ROOT, tmp_path)

    def bare(needs: list[str]) -> set[str]:
        return {re.sub(r"[\s\"']", "", need) for need in needs} - {"setuptools>=77"}

    def parts(needs: set[str]) -> set[tuple[str, ...]]:
        return {tuple(sorted(re.split(r"[\[\],]", need))) for need in needs}

    for extra in ("", "cuda12", "cuda13"):
        assert parts(bare(carried.requirements(extra))) == parts(bare(here.requirements(extra)))


def test_a_gpucert_that_is_installed_serves_where_nothing_is_carried(tmp_path: Path) -> None:
    source = making.find_source(tmp_path, tmp_path / "wheels")
    assert (source.path, "pytest>=8" in source.requirements("")) == (None, True)


def test_an_installed_gpucert_is_of_no_use_beside_another_cupy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "cupy_of", lambda _: "cuda13")
    source = making.find_source(tmp_path, tmp_path)
    made = making.make_environment(tmp_path / "made", source, "cuda12", tmp_path, tmp_path / "log")
    assert "beside CuPy of cuda13, and the card needs cuda12: put the wheels of gpucert" in made.problem


def test_no_gpucert_two_of_them_or_a_broken_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gpucert-1.0-py3-none-any.whl").write_text("cut off")
    with pytest.raises(making.StationError, match="no wheel that can be read"):
        making.find_source(tmp_path, tmp_path)
    wheel(tmp_path, "gpucert", "2.0", {})
    with pytest.raises(making.StationError, match="2 wheels of gpucert"):
        making.find_source(tmp_path, tmp_path)

    def none(_: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "requires", none)
    with pytest.raises(
        making.StationError, match=r"is no checkout, .* holds no gpucert-\*\.whl, and .* none installed"
    ):
        making.find_source(tmp_path, tmp_path / "nowhere")
