"""A whole run: its record, what it refuses, what it repeats, and what a full disk does to it."""

import errno
import os
import resource
import time
from pathlib import Path

import pytest

from gpucert.device.gpu import NoDriverError, NoSuchGpuError
from gpucert.outcome import StepStatus
from gpucert.record import PlanRun
from gpucert.run import journal, link, supervisor
from gpucert.run.journal import DiskError, FolderError, Journal
from gpucert.run.request import RequestError, RunRequest, step_seed
from tests.run.runs import RIG, entries, in_process, lines, planned, text_of, timeless, until, virtual


def test_identical_seeds_give_identical_records(tmp_path: Path) -> None:
    one, other = (
        supervisor.run_card(virtual(tmp_path / name, "good", "crash", "reads"), parts=RIG) for name in ("a", "b")
    )
    assert timeless(one) == timeless(other)
    rows = [(tmp_path / name / "telemetry.csv").read_bytes() for name in ("a", "b")]
    assert rows[0] == rows[1]
    assert rows[0].startswith(b"step,attempt,at_s,temperature_c")


def test_another_seed_reaches_the_probe(tmp_path: Path) -> None:
    import msgspec

    request = virtual(tmp_path / "a", "good")
    other = msgspec.structs.replace(request, folder=tmp_path / "b", seed=7)
    answers = [supervisor.run_card(one, parts=RIG).steps[0].value("answer") for one in (request, other)]
    assert answers[1] == step_seed(7, 0) % 1000
    assert answers[0] != answers[1]


def test_the_record_says_what_was_run(tmp_path: Path) -> None:
    record = supervisor.run_card(virtual(tmp_path / "card", "good", "reads"), parts=RIG)
    assert record.simulated
    assert record.scenario == "{}"
    assert record.versions.keys() >= {"gpucert", "python", "driver", "toy"}
    good, reads = record.steps
    assert (good.began_s, good.ended_s, reads.began_s) == (0.0, 2.5, 2.5)
    assert good.before.energy_mj == 0
    assert good.after.energy_mj == 5
    assert len(good.traces["telemetry"].at_s) == 25
    assert good.traces["turns"].column("value") == (1.0, "absurd")
    assert "telemetry" not in reads.traces, "no time passed, so nothing was sampled"
    assert record.station.os
    assert "HOSTNAME" not in os.environ or os.environ["HOSTNAME"] not in (tmp_path / "card/record.json").read_text()


def test_events_of_the_card_are_on_the_record(tmp_path: Path) -> None:
    record = supervisor.run_card(virtual(tmp_path / "card", "good", scenario='{"xid_at_s": 1.0}'), parts=RIG)
    assert [(event.kind, event.code, event.at_s) for event in record.events] == [("xid", "31", 1.0)]


def test_no_process_and_no_file_descriptor_is_left(tmp_path: Path) -> None:
    supervisor.run_card(virtual(tmp_path / "a", "good"), parts=RIG)
    before = len(os.listdir("/proc/self/fd"))
    supervisor.run_card(virtual(tmp_path / "b", "good", "hang"), parts=RIG)
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def real(folder: Path, gpu: str) -> RunRequest:
    return RunRequest(plan=planned("good"), folder=folder, gpu=gpu)


@pytest.mark.parametrize(("gpu", "error"), [("no-driver", NoDriverError), ("7", NoSuchGpuError)])
def test_a_card_that_cannot_be_had_leaves_nothing_behind(tmp_path: Path, gpu: str, error: type[Exception]) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(error):
        supervisor.run_card(real(tmp_path / "mine" / "run" / "card", gpu), parts=RIG)
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [
        RunRequest(plan=planned("good"), folder=Path("x")),
        RunRequest(plan=planned("good"), folder=Path("x"), gpu="0", scenario="{}"),
        RunRequest(plan=planned(), folder=Path("x"), gpu="0"),
        RunRequest(plan=planned("good"), folder=Path("x"), gpu="0", seed=-1),
        RunRequest(plan=planned("good"), folder=Path("x"), gpu="0", seed=2**53),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(bad: RunRequest) -> None:
    with pytest.raises(RequestError):
        supervisor.run_card(bad, parts=RIG)


@pytest.mark.parametrize("where", ["file/card", "/proc/gpucert/card"])
def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="choose another --out"):
        supervisor.run_card(virtual(tmp_path / where, "good"), parts=RIG)


def test_resume_refuses_another_driver_plan_seed_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "card"
    supervisor.run_card(virtual(folder, "good", "good"), parts=RIG)
    path = folder / journal.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    before = path.read_bytes()
    with pytest.raises(supervisor.ResumeRefusedError, match="another plan"):
        supervisor.resume(folder, plan=PlanRun(name="x", version=1, yields="report", best_tier=None, sha256="1"))
    with pytest.raises(supervisor.ResumeRefusedError, match="has the seed"):
        supervisor.resume(folder, seed=12345, parts=RIG)
    with monkeypatch.context() as patch:
        patch.setattr(supervisor, "installed_version", lambda: "99.0")
        with pytest.raises(supervisor.ResumeRefusedError, match=r"this is 99\.0; start the run again"):
            supervisor.resume(folder, parts=RIG)
    with monkeypatch.context() as patch:
        patch.setenv("TOY_DRIVER", "2.0")
        with pytest.raises(supervisor.ResumeRefusedError, match=r"the driver was 1\.0 and is now 2\.0"):
            supervisor.resume(folder, parts=RIG)
    assert path.read_bytes() == before, "a refused run stays as it was"
    assert not supervisor.resume(folder, parts=RIG).interrupted


def test_a_step_is_repeated_three_times_at_most(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    first = supervisor.run_card(virtual(folder, "reads", "good"), parts=RIG)
    record = first
    for times in range(1, 4):
        assert supervisor.repeatable(record, [1]) == (1,)
        record = supervisor.repeat(folder, [1], parts=RIG)
        assert [step.repeat_of for step in record.steps] == [None, None, *[1] * times]
        assert record.steps[:2] == first.steps
        assert not record.interrupted
    seeds = {step.value("answer") for step in record.steps[1:]}
    assert len(seeds) == 4, "each repetition has a seed of its own"
    assert record.steps[2].began_s == record.steps[1].ended_s
    assert supervisor.repeatable(record, [1, 2]) == ()
    with pytest.raises(supervisor.RepeatRefusedError, match="repeated 3 times already"):
        supervisor.repeat(folder, [1], parts=RIG)
    with pytest.raises(supervisor.RepeatRefusedError, match="no step 10"):
        supervisor.repeat(folder, [9], parts=RIG)


def test_a_repetition_that_is_torn_off_is_forgotten_by_resume(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    first = supervisor.run_card(virtual(folder, "good"), parts=RIG)
    supervisor.repeat(folder, [0], parts=RIG)
    path = folder / journal.NAME
    kept = path.read_bytes().splitlines(keepends=True)
    begun = max(n for n, entry in enumerate(entries(folder)) if isinstance(entry, journal.StepStarted))
    path.write_bytes(b"".join(kept[: begun + 2]))
    assert journal.fold(entries(folder)).interrupted
    assert timeless(supervisor.resume(folder, parts=RIG)) == timeless(first)


# A full disk


def test_a_journal_that_cannot_be_written_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "card"
    supervisor.run_card(virtual(folder, "good"), parts=RIG)
    story = Journal.reopen(folder)
    before = (folder / journal.NAME).read_bytes()

    def half_then_full(fd: int, data: bytes, offset: int) -> int:
        os.lseek(fd, offset, os.SEEK_SET)
        os.write(fd, bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", half_then_full)
    with pytest.raises(DiskError, match=r"journal\.jsonl: No space left on device; make room .* --resume"):
        story.append(journal.RunFinished(at="now"))
    story.close()
    assert (folder / journal.NAME).read_bytes() == before


@pytest.mark.parametrize("spare", [200, 3000])
def test_a_disk_that_fills_up_in_the_middle_stops_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv("TOY_SLOW", str(gate))
    folder = tmp_path / "card"
    process = in_process(virtual(folder, "good", "slow", "good"))
    until(lambda: '"index":1' in text_of(folder))
    room = (folder / journal.NAME).stat().st_size + spare
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, room))
    gate.unlink()
    _, complaint = process.communicate(timeout=30)
    assert "DiskError" in complaint
    assert f"--resume {folder}" in complaint
    assert lines(folder) >= 5
    record = supervisor.resume(folder, parts=RIG)
    assert timeless(record) == timeless(supervisor.run_card(virtual(tmp_path / "b", "good", "slow", "good"), parts=RIG))


def test_telemetry_that_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "telemetry.csv").symlink_to("/dev/full")
    with pytest.raises(DiskError, match=r"telemetry\.csv: .*--resume"):
        supervisor.run_card(virtual(folder, "good"), parts=RIG)
    assert not (folder / "record.json").exists()


def test_a_torn_row_of_telemetry_is_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    supervisor.run_card(virtual(folder, "good", "good"), parts=RIG)
    path, rows = folder / journal.NAME, folder / "telemetry.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    whole = rows.read_bytes()
    rows.write_bytes(whole[:-7])
    supervisor.resume(folder, parts=RIG)
    told = rows.read_text().splitlines()
    assert {row.count(",") for row in told} == {told[0].count(",")}


# A real card, played by a toy


@pytest.fixture
def sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the toy's thermometer answers."""
    path = tmp_path / "sensor"
    path.write_text("40")
    monkeypatch.setenv("TOY_GPU", str(path))
    monkeypatch.setenv("TOY_SLOW", str(path))  # the probe `slow` goes on until it is stopped
    return path


def real_run(folder: Path, *probes: str) -> RunRequest:
    return RunRequest(plan=planned(*probes), folder=folder, gpu="0")


def test_a_real_card_lives_in_the_hosts_time(tmp_path: Path, sensor: Path) -> None:
    record = supervisor.run_card(real_run(tmp_path / "card", "good", "reads"), parts=RIG)
    good, reads = record.steps
    assert (good.status, reads.status) == (StepStatus.RAN, StepStatus.RAN)
    assert not record.simulated
    assert record.scenario == ""
    assert set(good.traces["telemetry"].column("temperature_c")) == {40.0}
    assert 0 <= good.began_s < good.ended_s <= reads.began_s


class Turning:
    """A progress that changes what the sensor says as soon as a step works."""

    def __init__(self, sensor: Path, word: str) -> None:
        self._sensor, self._word = sensor, word

    def __getattr__(self, _name: str):
        return lambda *_: None

    def step_progress(self, index: int, fraction: float, text: str) -> None:
        fresh = self._sensor.with_suffix(".fresh")
        fresh.write_text(self._word)
        fresh.replace(self._sensor)  # whole, because the thermometer may be read at any moment


def test_a_card_at_its_own_limit_is_let_go_at_once(tmp_path: Path, sensor: Path) -> None:
    record = supervisor.run_card(real_run(tmp_path / "card", "slow"), Turning(sensor, "90"), parts=RIG)
    step = record.steps[0]
    assert step.status is StepStatus.ABORTED
    assert step.reason == "90 °C has reached the card's own limit of 90 °C"
    assert step.death is None
    assert [(event.kind, event.code) for event in record.events] == [("abort", "limit")]


def test_a_hot_card_is_let_go_even_where_a_call_holds_the_worker(tmp_path: Path, sensor: Path) -> None:
    began = time.monotonic()
    record = supervisor.run_card(real_run(tmp_path / "card", "deaf"), Turning(sensor, "90"), parts=RIG)
    assert time.monotonic() - began < 30
    step = record.steps[0]
    assert (step.status, step.death) == (StepStatus.ABORTED, None)
    assert step.reason == "90 °C has reached the card's own limit of 90 °C"


def test_a_card_whose_temperature_cannot_be_read_is_let_go(tmp_path: Path, sensor: Path) -> None:
    record = supervisor.run_card(real_run(tmp_path / "card", "slow"), Turning(sensor, "blind"), parts=RIG)
    assert record.steps[0].status is StepStatus.ABORTED
    assert "no temperature for two seconds" in record.steps[0].reason


def test_a_card_that_the_driver_calls_lost_is_lost(tmp_path: Path, sensor: Path) -> None:
    record = supervisor.run_card(real_run(tmp_path / "card", "slow", "good"), Turning(sensor, "lost"), parts=RIG)
    slow, good = record.steps
    assert slow.death is not None
    assert (slow.death.kind, slow.death.subject) == ("lost", "card")
    assert good.status is StepStatus.SKIPPED


def test_two_runs_on_one_real_card_exclude_each_other(tmp_path: Path, sensor: Path) -> None:
    process = in_process(real_run(tmp_path / "a", "slow"))
    until(lambda: lines(tmp_path / "a") >= 2)
    with pytest.raises(supervisor.locks.BusyError, match="card GPU-"):
        supervisor.run_card(real_run(tmp_path / "b", "good"), parts=RIG)
    process.terminate()
    process.communicate()
    supervisor.run_card(real_run(tmp_path / "b", "good"), parts=RIG)


def test_a_driver_that_blocks_costs_the_worker_its_life_and_the_run_its_rest(
    tmp_path: Path, sensor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "ANSWER_S", 1.0)
    with pytest.raises(supervisor.RunStoppedError, match="nobody watched the card"):
        supervisor.run_card(real_run(tmp_path / "card", "slow"), Turning(sensor, "stuck"), parts=RIG)
