"""A driver that hangs, crashes or lacks what it needs holds up no command: NVML is asked in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpucert.capture import Capture
from gpucert.device import apart
from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.reading import Absence, Absent
from gpucert.record import Identity
from tests.nvml_stub import COMPILER, KINDS, LIBRARY, UUID, build

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this station")

SHORT_S = 1.5
"""A limit for tests: long enough to start a Python in."""
COMMAND_S = 5.0
"""How long a command may hang on a driver that hangs: a promise of the product."""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: build(tmp_path_factory.mktemp(kind), *flags) for kind, flags in KINDS.items()}


@pytest.fixture
def driver(libraries: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the station's driver be this one, scripted so."""

    def use(kind: str | Path = "new", **script: str) -> None:
        monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries[kind] if isinstance(kind, str) else kind))
        for name, value in script.items():
            monkeypatch.setenv(f"NVML_STUB_{name}", value)

    return use


def children() -> set[int]:
    """The processes that this one has started and that are still there."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def silent(card: Identity) -> bool:
    """Whether nothing was read of a card, and the reason names the time that was waited."""
    values = [getattr(card, name) for name in card.__struct_fields__ if name != "window_mib"]
    return all(
        isinstance(value, Absent) and value.absent is Absence.UNKNOWN and "within 1.5 s" in value.detail
        for value in values
    )


# ---- a driver that answers ----


def test_every_card_is_listed_the_lost_one_too(driver: Callable[..., None]) -> None:
    driver()
    healthy, lost = apart.list_gpus()
    assert (healthy.name, healthy.uuid, healthy.memory_mib) == ("NVIDIA A100-SXM4-80GB", UUID, 81920)
    assert isinstance(lost.name, Absent)
    assert lost.name.absent is Absence.LOST


def test_no_card_at_all_is_an_empty_list(driver: Callable[..., None]) -> None:
    driver(VALUES="count=0")
    assert apart.list_gpus() == ()


def test_a_card_is_looked_at_in_full(driver: Callable[..., None]) -> None:
    driver()
    capture = apart.look(UUID)
    assert isinstance(capture, Capture)
    assert (capture.source, capture.identity.uuid) == ("this station", UUID)
    assert isinstance(capture.taken_at, str)
    assert capture.taken_at.endswith("+00:00")
    assert capture.settings.tlimit_slowdown_c == -2.0
    assert capture.counters.nvlinks_up == 11
    assert capture.sample.temperature_c == 42.0
    assert [process.pid for process in capture.processes] == [17, 4242, 4343]  # type: ignore[union-attr]
    assert [link.gigabytes_per_s for link in capture.nvlinks][:4] == [26.562, 26.562, 26.562, 25.0]


def test_a_lost_card_can_be_looked_at(driver: Callable[..., None]) -> None:
    driver()
    capture = apart.look("1")
    assert isinstance(capture.counters.recovery_action, Absent)
    assert capture.counters.recovery_action.absent is Absence.LOST
    assert capture.nvlinks == ()


def test_a_card_that_is_not_there_is_named_with_those_that_are(driver: Callable[..., None]) -> None:
    driver()
    with pytest.raises(NoSuchGpuError, match=f"no GPU '7'; this station has 0: NVIDIA A100-SXM4-80GB, {UUID}"):
        apart.look("7")


def test_what_a_library_prints_confuses_nobody(driver: Callable[..., None]) -> None:
    driver(PRINT="nvmlInitWithFlags=1 nvmlDeviceGetName=1")
    assert apart.list_gpus()[0].uuid == UUID
    assert apart.look("0").identity.uuid == UUID


def test_modules_in_the_folder_that_a_person_stands_in_are_not_asked(
    driver: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver()
    (tmp_path / "pynvml.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    assert apart.list_gpus()[0].uuid == UUID


# ---- a driver that hangs ----


@pytest.mark.parametrize("signals", ["1", "2"], ids=["dies of signals", "deaf to all but SIGKILL"])
@pytest.mark.parametrize("function", ["nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetName"])
def test_a_driver_that_hangs_is_no_driver(driver: Callable[..., None], function: str, signals: str) -> None:
    driver(BLOCK=f"{function}={signals}", VALUES="count=1")
    began = time.monotonic()
    with pytest.raises(NoDriverError, match=r"the NVIDIA driver does not answer within 1.5 s: .*restart the station"):
        apart.list_gpus(SHORT_S)
    assert time.monotonic() - began < SHORT_S + 1


@pytest.mark.parametrize(
    ("function", "part"),
    [
        ("nvmlInitWithFlags", "handle"),
        ("nvmlDeviceGetHandleByIndex_v2", "handle"),
        ("nvmlDeviceGetSerial", "identity"),
        ("nvmlDeviceGetEccMode", "settings"),
        ("nvmlDeviceValidateInforom", "counters"),
        ("nvmlDeviceGetComputeRunningProcesses_v3", "processes"),
        ("nvmlDeviceGetClockInfo", "sensors"),
    ],
)
def test_a_hang_is_told_with_its_place(driver: Callable[..., None], function: str, part: str) -> None:
    driver(BLOCK=f"{function}=2")
    with pytest.raises(NoDriverError, match=f"GPU 0, asked for its {part}, does not answer within 1.5 s"):
        apart.look("0", SHORT_S)


def test_a_card_that_hangs_keeps_its_place_beside_those_that_answer(driver: Callable[..., None]) -> None:
    driver(BLOCK="nvmlDeviceGetSerial=1")
    hanging, lost = apart.list_gpus(SHORT_S)
    assert silent(hanging)
    assert isinstance(lost.name, Absent)
    assert lost.name.absent is Absence.LOST


def test_a_child_that_outlives_its_kill_is_not_waited_for(
    driver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one in uninterruptible sleep does, which no test can bring about."""
    started: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda child: started.append(child))
    driver(BLOCK="nvmlInitWithFlags=1")
    began = time.monotonic()
    with pytest.raises(NoDriverError, match="does not answer"):
        apart.list_gpus(SHORT_S)
    assert time.monotonic() - began < SHORT_S + 1
    monkeypatch.undo()
    (child,) = started
    child.kill()
    child.wait(10)


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (["devices"], "nvmlInitWithFlags"),
        (["devices"], "nvmlDeviceGetName"),
        (["certify", "--plan", "quick", "--out", "run"], "nvmlDeviceGetHandleByIndex_v2"),
    ],
)
def test_a_command_ends_in_time_with_one_line_and_30(
    driver: Callable[..., None], tmp_path: Path, command: list[str], function: str
) -> None:
    driver(CODES="nvmlInitWithFlags=999", VALUES="count=1")
    _, ready = run(command, tmp_path)
    driver(CODES="", BLOCK=f"{function}=2")
    done, lasted = run(command, tmp_path)
    assert done.returncode == 30, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "does not answer within" in line]) == 1, done.stderr
    assert lasted - ready < COMMAND_S, "beyond what the same command takes with a driver that refuses at once"


def run(command: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """A command of gpucert, and how long it took."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gpucert", *command],
        cwd=folder,
        env=os.environ | {"XDG_DATA_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, time.monotonic() - began


# ---- a driver that crashes, or is none ----


@pytest.mark.parametrize("function", ["nvmlInitWithFlags", "nvmlDeviceGetName", "nvmlShutdown"])
def test_a_library_that_crashes_takes_only_its_own_process_with_it(driver: Callable[..., None], function: str) -> None:
    driver(CRASH=f"{function}=1")
    with pytest.raises(
        NoDriverError, match="died of SIGSEGV: a broken driver library does that; install the driver again"
    ):
        apart.list_gpus()


def test_a_library_that_crashes_while_a_card_is_looked_at(driver: Callable[..., None]) -> None:
    driver(CRASH="nvmlDeviceGetEccMode=1")
    with pytest.raises(NoDriverError, match="SIGSEGV"):
        apart.look("0")


def test_a_library_without_most_functions_lists_what_it_can(driver: Callable[..., None]) -> None:
    driver("bare")
    first, _ = apart.list_gpus()
    assert first.name == "NVIDIA A100-SXM4-80GB"
    assert isinstance(first.uuid, Absent)
    assert first.uuid.absent is Absence.DRIVER_TOO_OLD


def test_a_library_that_is_none(driver: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "empty.c").write_text("int nothing;\n")
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", tmp_path / LIBRARY, tmp_path / "empty.c"], check=True)
    driver(tmp_path)
    with pytest.raises(NoDriverError, match="could not be started: Function Not Found"):
        apart.list_gpus()


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this station has a driver")
@pytest.mark.parametrize("door", [apart.list_gpus, lambda: apart.look("0")])
def test_without_a_driver_both_doors_say_so(door: Callable[[], object]) -> None:
    with pytest.raises(NoDriverError, match=r"no NVIDIA driver is installed.*install one"):
        door()


def test_without_the_binding_both_doors_say_so(
    driver: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text("raise ImportError('no such module')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    driver()
    with pytest.raises(NoDriverError, match="nvidia-ml-py cannot be imported"):
        apart.list_gpus()


def test_a_child_that_breaks_says_so(
    driver: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text("raise RuntimeError('odd')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    driver()
    with pytest.raises(NoDriverError, match="ended with code 1"):
        apart.look("0")


def test_a_driver_that_does_not_start_says_what_to_do(driver: Callable[..., None]) -> None:
    driver(CODES="nvmlInitWithFlags=18")
    with pytest.raises(NoDriverError, match="updated while it was running; restart the station"):
        apart.list_gpus()
