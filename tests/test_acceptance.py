"""Acceptance on a GPU, without one: it says so, goes on after a failure, keeps its time and changes no card."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
CAPTURE = ROOT / "tests" / "captures" / "v100-retired.xml"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


acceptance = load("acceptance")


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script for real, with what lies in `shims` first on its PATH."""
    return subprocess.run(
        [ROOT / "scripts" / "gpu-acceptance", "--out", folder / "out", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{folder / 'shims'}:{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder)},
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
    assert any("cupy" in one for one in acceptance.requirements(extra))
    assert not any("cupy" in one for one in acceptance.requirements(""))


STATION = """#!/bin/bash
# Acts as the Python of the environment: notes what is asked, and fails where $FAKE_FAILS says so.
echo "$*" >>"$FAKE_LOG"
case "$*" in
*single_probe.py) echo '{"pcie_link": 1, "memory_bandwidth": 1, "sm_answers": 1, "gemm_exact": 9999, "thermal_soak": 1,
  "memory_scan": 1, "gemm_sustained": 1}' ;;
*--junitxml=*)
  words="$*"
  report=${words##*--junitxml=}
  echo "<testsuites><testsuite tests='3' skipped='${FAKE_SKIPPED:-1}'/></testsuites>" >"${report%% *}" ;;
*certify*)
  uuid=GPU-44444444-aaaa-4bbb-8ccc-000000000005
  folder=$(echo "$*" | sed 's/.*--out \\([^ ]*\\).*/\\1/')/$uuid
  mkdir -p "$folder"
  echo "{\\"card\\": {\\"uuid\\": \\"$uuid\\", \\"serial\\": \\"0325000000001\\"}}" >"$folder/record.json"
  exit 10 ;;
esac
[[ -n "${FAKE_FAILS:-}" && "$*" == *$FAKE_FAILS* ]] && { echo "it broke" >&2; exit 3; }
exit 0
"""
ALL = ["environment", "versions", "gpu-tests", "quick", "probe-pcie_link", "probe-memory_bandwidth", "probe-sm_answers"]
ALL += ["probe-thermal_soak", "probe-memory_scan", "probe-gemm_sustained", "mask", "judge-masked", "issue-masked"]


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
    monkeypatch.setattr(acceptance, "make_environment", lambda *_: "")
    return tmp_path


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
        assert {"out/summary.json", "out/nvidia-smi.xml", "out/masked/nvidia-smi.xml"} <= set(packed.getnames())


@pytest.mark.parametrize("fault", ["-m pytest", "single_probe.py 0 pcie_link", "gpucert judge", "pip list"])
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
    monkeypatch.setattr(acceptance, "make_environment", lambda *_: "no wheels")
    assert acceptance.main(["--out", str(station / "out")]) == 1
    assert [(name, stage["note"]) for name, stage in told(station).items()] == [("environment", "no wheels")]


def test_the_card_is_only_read(station: Path) -> None:
    acceptance.main(["--out", str(station / "out")])
    asked = (station / "driver").read_text().split()
    assert set(asked) == {"-q", "-x", "-i", "0", "--query-gpu=compute_cap", "--format=csv,noheader"}
    source = (ROOT / "scripts" / "acceptance.py").read_text() + (ROOT / "scripts" / "single_probe.py").read_text()
    assert re.findall(r"--gpu-reset|-pl\b|-lgc|-lmc|-pm\b|-mig|--ecc-config|nvmlDeviceSet|\bsudo\b", source) == []


def test_nothing_masked_names_the_card(station: Path) -> None:
    acceptance.main(["--out", str(station / "out")])
    files = [path for path in (station / "out" / "masked").rglob("*") if path.is_file()]
    assert {"record.json", "nvidia-smi.xml", "summary.json"} <= {path.name for path in files}
    text = "".join(f"{path} {path.read_text()}" for path in files).lower()
    assert [name for name in ("0325000000001", "44444444-aaaa", "00000000:34:00") if name in text] == []


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
    done = subprocess.run([*program, "healthy-a10", "pcie_link", str(tmp_path / "one")], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "pcie_link: ran")
    assert (tmp_path / "one" / "record.json").exists()
