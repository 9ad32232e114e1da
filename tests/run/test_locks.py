"""Two runs exclude each other on one card and in one folder, and no dead process keeps a lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpucert.run import locks, supervisor, telemetry
from gpucert.run.journal import FolderInUseError
from tests.run.runs import RIG, children, in_process, kill, lines, until, virtual


def test_a_second_holder_is_told_the_first_ones_process() -> None:
    fd = locks.lock_card("GPU-1")
    with pytest.raises(locks.BusyError, match=rf"card GPU-1 is in use by another gpucert \(process {os.getpid()}\)"):
        locks.lock_card("GPU-1")
    os.close(locks.lock_card("GPU-2"))
    os.close(fd)
    os.close(locks.lock_card("GPU-1"))


def test_a_child_that_inherited_the_lock_keeps_others_out_when_its_parent_is_dead() -> None:
    script = (
        "import subprocess, sys; from gpucert.run import locks; fd = locks.lock_card('GPU-1');"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], pass_fds=[fd], stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); child.stdin = None; import os; os._exit(0)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
    try:
        os.close(locks.lock_card("GPU-1"))  # its standard input ended with its parent, and so did the child
    except locks.BusyError:
        kill(orphan)
        raise


def test_lock_files_serve_every_user_of_the_station(tmp_path: Path) -> None:
    os.close(locks.lock_card("GPU-1"))
    place = tmp_path / "locks"
    assert place.stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o666}


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    os.close(locks.lock_card("GPU-1"))
    (path,) = (tmp_path / "locks").iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(locks.LockFolderError, match="GPUCERT_LOCK_DIR"):
        locks.lock_card("GPU-1")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_folder_that_cannot_be_made_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/gpucert")):
        monkeypatch.setenv("GPUCERT_LOCK_DIR", str(bad))
        with pytest.raises(locks.LockFolderError, match="set GPUCERT_LOCK_DIR"):
            locks.lock_card("GPU-1")


def test_two_runs_in_one_folder_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv("TOY_SLOW", str(gate))
    folder = tmp_path / "card"
    process = in_process(virtual(folder, "slow"))
    until(lambda: lines(folder) >= 2)
    for attempt in (
        lambda: supervisor.run_card(virtual(folder, "slow"), parts=RIG),
        lambda: supervisor.resume(folder, parts=RIG),
    ):
        with pytest.raises(locks.BusyError, match=rf"in use by another gpucert \(process {process.pid}\)"):
            attempt()
    assert children(process.pid, "worker"), "the first run goes on"
    gate.unlink()
    assert process.wait(20) == 0
    process.communicate()


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    supervisor.run_card(virtual(folder, "good"), parts=RIG)
    before = (folder / "journal.jsonl").read_bytes()
    with pytest.raises(FolderInUseError, match="already holds a run; continue it with `gpucert certify --resume"):
        supervisor.run_card(virtual(folder, "good"), parts=RIG)
    assert (folder / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("journal_text", [None, b"", b'{"n":0,"crc":"00'])
def test_what_a_run_leaves_that_was_killed_before_its_first_entry_is_no_run(
    tmp_path: Path, journal_text: bytes | None
) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / telemetry.NAME).write_text(telemetry.HEADER)
    if journal_text is not None:
        (folder / "journal.jsonl").write_bytes(journal_text)
    assert not supervisor.run_card(virtual(folder, "good"), parts=RIG).interrupted


@pytest.mark.parametrize("name", ["record.json", telemetry.NAME])
def test_a_run_whose_journal_is_missing_is_not_overwritten(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "card"
    supervisor.run_card(virtual(folder, "good"), parts=RIG)
    for path in folder.iterdir():
        if path.name != name:
            path.unlink()
    with pytest.raises(FolderInUseError, match="missing; choose another --out"):
        supervisor.run_card(virtual(folder, "good"), parts=RIG)
