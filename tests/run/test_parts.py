"""The small parts of a run: messages, pulse, patience, deaths, telemetry, guard, children."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpucert.outcome import StepStatus
from gpucert.reading import Absence, Absent
from gpucert.record import Counters, Sample, Settings
from gpucert.run import deaths, processes, pulse, telemetry, wire
from gpucert.run.cards import UNKNOWN_LIMIT_C, Guard, limit_c
from gpucert.run.interrupts import InterruptedBySignal, Interrupts
from gpucert.run.pulse import Abort, Patience, Pulse
from gpucert.run.request import step_seed
from gpucert.stress import backend

# wire


def test_messages_arrive_whole_however_they_are_cut() -> None:
    one, other = socket.socketpair()
    sender = wire.Channel(one)
    message = wire.StepBegun(began_s=1.5, before=Counters(energy_mj=7))
    sender.send(message)
    frame = other.recv(1 << 16)
    third, fourth = socket.socketpair()
    receiver = wire.Channel(fourth)
    for byte in frame[:-1]:
        third.send(bytes([byte]))
        assert receiver.arrived() == ()  # taken at once, because a kernel holds only so many small pieces
    third.send(frame[-1:])
    assert receiver.receive(wire.StepBegun) == message
    third.close()
    with pytest.raises(wire.ClosedError):
        receiver.receive(wire.StepBegun)
    for end in (sender, receiver):
        end.close()
    other.close()


def test_descriptors_travel_with_their_message() -> None:
    one, other = wire.pair()
    reading, writing = os.pipe()
    one.send(wire.BeginStep(index=3, attempt=1), (writing,))
    os.close(writing)
    assert wire.read(other.arrived()[0], wire.TO_MONITOR) == wire.BeginStep(index=3, attempt=1)
    travelled = other.fds.popleft()
    os.write(travelled, b"x")
    assert os.read(reading, 1) == b"x"
    for fd in (reading, travelled):
        os.close(fd)
    one.close()
    other.close()


def test_a_stranger_on_the_line_is_no_message() -> None:
    one, other = socket.socketpair()
    channel = wire.Channel(other)
    one.send(b"\xff\xff\xff\xffGET / HTTP/1.0")
    with pytest.raises(wire.ClosedError, match="does not speak this language"):
        channel.arrived()
    with pytest.raises(wire.ClosedError, match="not a message"):
        wire.read(b"\x93\x01\x02\x03", wire.FROM_WORKER)
    one.close()
    channel.close()


# pulse


def test_the_pulse_is_seen_through_every_view() -> None:
    fd = Pulse.create()
    ours, theirs = Pulse(fd), Pulse(fd)
    ours.beat(fresh=False)
    ours.beat(fresh=True)
    theirs.worked()
    ours.set_abort(Abort.LOST)
    assert (theirs.beats, theirs.readings, ours.works, theirs.abort) == (2, 1, 1, Abort.LOST)
    for view in (ours, theirs):
        view.close()
    os.close(fd)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_patience_counts_only_the_time_in_which_this_process_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(pulse, "time", clock)
    patience = Patience(2.0)
    assert not patience.over("a")
    clock.now += 3600  # the host slept, or everybody was stopped
    assert not patience.over("a")
    for _ in range(3):
        clock.now += 0.5
        assert not patience.over("a")
    clock.now += 0.5
    assert patience.over("a")
    clock.now += 0.5
    assert not patience.over("b"), "a new mark starts anew"
    clock.now -= 50
    assert not patience.over("b")


# deaths


def test_every_error_of_the_backend_has_its_row() -> None:
    for error, kind in (
        (backend.DeviceLostError(), "lost"),
        (backend.UncorrectableEccError(), "ecc_uncorrected"),
        (backend.IllegalAddressError(), "illegal_address"),
        (backend.LaunchFailedError(), "launch_failed"),
        (backend.OutOfMemoryError(), "no_room"),
        (MemoryError(), "host_memory"),
    ):
        rule = deaths.of_error(error)
        assert rule is not None
        assert rule.kind == kind
    assert deaths.of_error(ValueError()) is None


def test_a_subclass_dies_like_its_base() -> None:
    class OddLossError(backend.DeviceLostError):
        pass

    rule = deaths.of_error(OddLossError())
    assert rule is not None
    assert rule.kind == "lost"


@pytest.mark.parametrize(
    ("code", "kind", "subject"),
    [
        (-signal.SIGSEGV, "crash", "card"),
        (-signal.SIGBUS, "crash", "card"),
        (-signal.SIGKILL, "killed", "station"),
        (-signal.SIGTERM, "killed", "station"),
        (-64, "killed", "station"),
        (0, "no_answer", "station"),
        (1, "no_answer", "station"),
        (deaths.EXIT_UNWATCHED, "silence", "station"),
        (deaths.EXIT_ORPHANED, "silence", "station"),
    ],
)
def test_exit_codes_and_signals(code: int, kind: str, subject: str) -> None:
    rule, death = deaths.of_exit(code)
    assert (rule.kind, death.kind, death.subject) == (kind, kind, subject)
    assert rule.status is not StepStatus.RAN


def test_no_row_of_the_table_ends_in_a_step_that_ran() -> None:
    kinds = [rule.kind for rule in deaths.table()]
    assert len(kinds) == len(set(kinds))
    for rule in deaths.table():
        assert rule.status in (StepStatus.CRASHED, StepStatus.TIMED_OUT, StepStatus.ABORTED, StepStatus.ERROR)
        assert rule.text
        assert all(name in signal.Signals.__members__ for name in rule.signals)
    with pytest.raises(LookupError):
        deaths.of_kind("old age")


# telemetry


def test_an_absent_reading_prints_its_reason() -> None:
    sample = Sample(at_s=1.25, temperature_c=41.0, power_w=Absent(Absence.NO_PERMISSION), fan_percent=float("nan"))
    heading = telemetry.HEADER.strip().split(",")
    told = dict(zip(heading, telemetry.row(4, 2, sample).strip().split(","), strict=True))
    assert (told["step"], told["attempt"], told["at_s"]) == ("4", "2", "1.250")
    assert told["temperature_c"] == "41"
    assert told["power_w"] == "no_permission"
    assert told["fan_percent"] == "absurd"
    assert "" not in told.values()


def samples(count: int) -> list[Sample]:
    return [Sample(at_s=n / 10, temperature_c=float(n)) for n in range(count)]


def test_a_step_of_seven_minutes_is_kept_in_full_and_a_longer_one_by_the_second() -> None:
    short, long = telemetry.StepTelemetry(), telemetry.StepTelemetry()
    short.add(samples(4200))
    long.add(samples(4201))
    full, thinned = short.trace(), long.trace()
    assert full is not None
    assert thinned is not None
    assert len(full.at_s) == 4200
    assert thinned.at_s == tuple(float(second) for second in range(421))
    assert {len(thinned.column(name)) for name in telemetry.CHANNELS} == {421}
    assert full.column("power_w")[0] is Absence.UNKNOWN
    assert telemetry.StepTelemetry().trace() is None


def test_a_probe_can_ask_for_the_last_samples() -> None:
    kept = telemetry.StepTelemetry()
    kept.add(samples(50))
    assert [sample.at_s for sample in kept.since(4.8)] == [4.8, 4.9]


# the guard of a real card


def test_the_limit_is_the_lowest_that_the_card_names() -> None:
    at_40 = Sample(at_s=0, temperature_c=40.0)
    assert limit_c(Settings(slowdown_c=90.0, shutdown_c=95.0), at_40) == 90.0
    assert limit_c(Settings(shutdown_c=95.0), at_40) == 95.0
    assert limit_c(Settings(margin_c=47.0), at_40) == 89.0
    assert limit_c(Settings(margin_c=47.0), Sample(at_s=0)) == UNKNOWN_LIMIT_C
    assert limit_c(Settings(), at_40) == UNKNOWN_LIMIT_C


def look(guard: Guard, *temperatures: float | Absent, every_s: float = 0.125) -> list[Abort]:
    return [guard.look(Sample(at_s=n * every_s, temperature_c=one))[0] for n, one in enumerate(temperatures)]


def test_the_guard_acts_on_heat_that_stays_and_on_loss_at_once() -> None:
    none, limit = Abort.NONE, Abort.LIMIT
    guard = Guard(90.0)
    assert look(guard, 90.0, 91.0, 60.0, 90.0, 90.0) == [none] * 5
    assert look(guard, 90.0) == [limit]
    guard.reset()
    assert look(guard, 89.0) == [none]
    assert look(guard, Absent(Absence.LOST)) == [Abort.LOST]


def test_the_guard_does_not_load_a_card_without_a_thermometer() -> None:
    guard = Guard(90.0)
    blind = Absent(Absence.UNKNOWN)
    assert look(guard, *[blind] * 16, 40.0, *[blind] * 16) == [Abort.NONE] * 33
    guard.reset()
    assert look(guard, *[blind] * 17) == [*[Abort.NONE] * 16, Abort.BLIND]
    guard.reset()
    slow = look(guard, blind, blind, blind, every_s=1.0)
    assert slow == [Abort.NONE, Abort.NONE, Abort.BLIND], "two seconds are two seconds, however slow the driver is"


# children


def test_variables_that_change_the_arithmetic_do_not_reach_a_worker() -> None:
    inherited = {
        "HOME": "/root",
        "CUDA_HOME": "/usr/local/cuda",
        "CUDA_VISIBLE_DEVICES": "3",
        "NVIDIA_TF32_OVERRIDE": "1",
        "CUPY_TF32": "1",
        "CUPY_CACHE_DIR": "/var/cache",
        "OMP_NUM_THREADS": "64",
        "CUBLAS_WORKSPACE_CONFIG": ":0:0",
    }
    given = processes.environment(inherited)
    assert given.keys() >= {"HOME", "CUDA_HOME", "CUPY_CACHE_DIR"}
    assert not given.keys() & {"CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "CUPY_TF32", "CUBLAS_WORKSPACE_CONFIG"}
    assert given["OMP_NUM_THREADS"] == "1"


class Undying:
    """A process that the driver holds."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def poll(self) -> int | None:
        return None

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)


def test_a_process_that_waits_for_a_processor_is_awake() -> None:
    """Of three that compute on one processor each waits twice as long as it computes; one that sleeps does neither."""
    core = min(os.sched_getaffinity(0))
    compute = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    asleep = subprocess.Popen(["sleep", "600"])
    hogs = [subprocess.Popen([sys.executable, "-c", compute]) for _ in range(3)]
    try:
        while _state(asleep.pid) != "S":
            time.sleep(0.05)
        slept = processes.awake_seconds(asleep.pid)
        while processes.awake_seconds(hogs[0].pid) < 3:
            time.sleep(0.05)
        assert sum(map(int, _stat(hogs[0].pid)[11:13])) / os.sysconf("SC_CLK_TCK") < 2
        assert processes.awake_seconds(asleep.pid) == slept
    finally:
        for one in (*hogs, asleep):
            one.kill()
            one.wait()
    assert processes.awake_seconds(hogs[0].pid) == 0


def _stat(pid: int) -> list[str]:
    """What proc(5) tells after the name of the program."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _state(pid: int) -> str:
    return _stat(pid)[0]


def test_a_process_that_outlives_sigkill_is_left_behind() -> None:
    undying = Undying()
    assert not processes.end(undying, term_s=0.01, kill_s=0.01)
    assert undying.signals == [signal.SIGTERM, signal.SIGKILL]


def test_signals_set_a_flag_and_leave_no_trace() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts() as interrupts:
        interrupts.look()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(InterruptedBySignal):
            interrupts.look()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            interrupts.look()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_step_seeds_differ_and_stay() -> None:
    assert len({step_seed(seed, index) for seed in range(20) for index in range(20)}) == 400
    assert step_seed(7, 3) == step_seed(7, 3)


def test_the_worker_starts_without_heavy_imports() -> None:
    import subprocess
    import sys

    script = "import sys, gpucert.run.worker; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True).stdout
    heavy = {
        "numpy",
        "scipy",
        "cupy",
        "pynvml",
        "asyncio",
        "multiprocessing",
        "rich",
        "click",
        "matplotlib",
        "sqlalchemy",
    }
    assert not heavy & set(loaded.split())


def test_the_supervisor_loads_neither_nvml_nor_cuda() -> None:
    import subprocess
    import sys

    script = "import sys, gpucert.run.supervisor; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "cupy", "pynvml", "asyncio", "multiprocessing"} & set(loaded.split())


def test_nothing_is_left_in_shared_memory(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    fd = Pulse.create()
    assert set(Path("/dev/shm").iterdir()) == before
    os.close(fd)
