"""`gpucert certify` on a virtual card, hurt at any moment as a station would, and continued through the door."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpucert import record as records
from tests.run.runs import alive, children, kill, timeless, until

CARD = "stuck-bit"
LONGEST_S = 6.0
"""About as long as the whole run takes on two busy cores: a moment drawn after its end is a good test, too."""


@dataclass(frozen=True)
class Ended:
    """How the door closed, and what it left."""

    code: int
    record: object
    verdict: dict[str, object]


class Door:
    """`gpucert certify` with locks and a ledger of its own, by which its processes are known."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = f"GPUCERT_LOCK_DIR={folder / 'locks'}"

    def open(self, *arguments: str) -> "subprocess.Popen[str]":
        name, _, value = self._mark.partition("=")
        return subprocess.Popen(
            [sys.executable, "-m", "gpucert", "certify", *arguments, "--store", str(self._folder / "ledger.sqlite")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {name: value},
        )

    def to_the_end(self, out: Path) -> Ended:
        """Begin, or go on if anything was journalled; the run is not disturbed."""
        process = self.open(*how_to_go_on(out))
        _, complaint = process.communicate(timeout=120)
        folder = next(out.iterdir())
        assert (folder / "certificate.html").is_file(), complaint
        verdict = json.loads((folder / "verdict.json").read_bytes())
        del verdict["record_sha256"]  # because the record tells that it was resumed
        return Ended(process.returncode, timeless(records.load(folder / "record.json")), verdict)

    def left_over(self) -> list[int]:
        """Processes of this door that still run."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid) and alive(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            return self._mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False


def how_to_go_on(out: Path) -> tuple[str, ...]:
    begun = any(b"\n" in path.read_bytes() for path in out.glob("*/journal.jsonl"))
    return ("--resume", str(out)) if begun else ("--plan", "quick", "--simulate", CARD, "--out", str(out))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("undisturbed")
    return Door(folder).to_the_end(folder / "out")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    for pid in door.left_over():
        kill(pid)


def power_cut(process: "subprocess.Popen[str]") -> None:
    os.killpg(process.pid, signal.SIGKILL)


def a_child(module: str) -> Callable[["subprocess.Popen[str]"], None]:
    def hurt(process: "subprocess.Popen[str]") -> None:
        for pid in children(process.pid, module)[:1]:
            kill(pid)

    return hurt


HURTS: dict[str, Callable[["subprocess.Popen[str]"], None]] = {
    "supervisor": lambda process: kill(process.pid),
    "monitor": a_child("monitor"),
    "worker": a_child("worker"),
    "power cut": power_cut,
}


@pytest.mark.parametrize("seed", range(int(os.environ.get("GPUCERT_TEST_KILLS", len(HURTS)))))
def test_a_run_hurt_at_random_moments_ends_like_an_undisturbed_one(
    tmp_path: Path, door: Door, undisturbed: Ended, seed: int
) -> None:
    """`GPUCERT_TEST_KILLS=60` tries more moments than there is time for each day."""
    chance, out = random.Random(seed), tmp_path / "out"
    victims = sorted(HURTS)
    for victim in (victims[seed % len(victims)], *victims[: seed // len(victims) % 3]):
        process = door.open(*how_to_go_on(out))
        time.sleep(chance.uniform(0, LONGEST_S))
        if process.poll() is None:
            HURTS[victim](process)
        _, complaint = process.communicate(timeout=60)
        assert "Traceback" not in complaint
        until(lambda: not door.left_over(), 3)
    assert door.to_the_end(out) == undisturbed


def test_ctrl_c_ends_the_run_within_two_seconds_and_it_can_be_resumed(
    tmp_path: Path, door: Door, undisturbed: Ended
) -> None:
    out = tmp_path / "out"
    process = door.open(*how_to_go_on(out))
    until(lambda: any(b'"index":4' in path.read_bytes() for path in out.glob("*/journal.jsonl")), 60)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process in the foreground
    _, complaint = process.communicate(timeout=60)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert f"--resume {next(out.iterdir())}" in complaint
    assert not door.left_over()
    assert door.to_the_end(out) == undisturbed
