"""The first-run wrapper, driven for real with a Python and a pip that are quick to pretend."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = [
    "bash",
    "readlink",
    "dirname",
    "cat",
    "find",
    "sort",
    "sha256sum",
    "cut",
    "mkdir",
    "rm",
    "df",
    "awk",
    "grep",
    "tail",
    "sleep",
]
"""All programs that the wrapper may need: coreutils, findutils, grep and awk."""

FAKE_PYTHON = f"""#!/bin/bash
# Acts as Python: `-m venv` and `-m pip` are played, after what $FAKE_VENV and $FAKE_PIP say; all else is real.
case "$1 $2" in
"-m venv")
  echo "venv $3" >>"$FAKE_LOG"
  mkdir -p "$3/bin"
  eval "${{FAKE_VENV:-}}"
  cp "$0" "$3/bin/python"
  ;;
"-m pip")
  echo "pip $*" >>"$FAKE_LOG"
  eval "${{FAKE_PIP:-}}"
  case "$*" in *--editable*) ;; *) exit 0 ;; esac
  mkdir -p build/__editable__.gpucert-0/gpucert
  : >build/__editable__.gpucert-0/gpucert/__init__.py
  printf '#!/bin/sh\\necho "gpucert got $*"\\nexit 10\\n' >"${{0%/*}}/gpucert"
  chmod +x "${{0%/*}}/gpucert"
  ;;
*) exec {sys.executable} "$@" ;;
esac
"""


@dataclass
class Checkout:
    """A small copy of the project with a fake Python first on its PATH."""

    root: Path
    shims: Path
    log: Path
    variables: dict[str, str] = field(default_factory=dict)

    def begin(self, *arguments: str, script: Path | None = None, **variables: str) -> subprocess.Popen[str]:
        """Start the wrapper in a session of its own, where Ctrl-C is heard."""
        return subprocess.Popen(
            [script or self.root / "scripts" / "gpucert", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env={"PATH": f"{self.shims}:/usr/bin:/bin", "FAKE_LOG": str(self.log), **self.variables, **variables},
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
        )

    def start(self, *arguments: str, script: Path | None = None, **variables: str) -> "Done":
        """Run the wrapper to its end."""
        child = self.begin(*arguments, script=script, **variables)
        out, err = child.communicate(timeout=30)
        return Done(child.returncode, out, err.splitlines())

    def made(self, what: str) -> list[str]:
        """The calls of `venv` or `pip` so far."""
        calls = self.log.read_text().splitlines() if self.log.exists() else []
        return [call for call in calls if call.startswith(what)]

    def wait_for(self, what: str, times: int = 1) -> None:
        """Wait until the fake Python was called so often."""
        until = time.monotonic() + 10
        while len(self.made(what)) < times:
            assert time.monotonic() < until, f"{what} was not called"
            time.sleep(0.01)


@dataclass
class Done:
    """How a start ended."""

    code: int
    out: str
    said: list[str]


WORKED = Done(10, "gpucert got --version\n", [])


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def checkout(folder: Path) -> Checkout:
    root = folder / "gpucert"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for room in ("src/gpucert", "stress", "reports"):
        (root / room).mkdir(parents=True)
        (root / room / "__init__.py").touch()
    shims = folder / "shims"
    shims.mkdir()
    executable(shims / "python3", FAKE_PYTHON)
    return Checkout(root, shims, folder / "calls")


@pytest.fixture
def tree(tmp_path: Path) -> Checkout:
    return checkout(tmp_path)


def test_the_first_use_makes_an_environment_and_later_ones_start_at_once(tree: Checkout) -> None:
    first = tree.start("--version")
    assert (first.code, first.out) == (10, "gpucert got --version\n")
    assert len(first.said) == 1
    assert "first use" in first.said[0]
    calls = tree.log.read_text()
    began = time.monotonic()
    assert tree.start("--version") == WORKED
    assert time.monotonic() - began < 3
    assert tree.log.read_text() == calls


NETWORK = (
    "echo \"WARNING: Retrying after connection broken by 'NewConnectionError'\";"
    "echo 'ERROR: Could not find a version that satisfies the requirement pip>=25.1 (from versions: none)'; exit 1"
)
FAILURES = {
    "no venv module": ({"FAKE_VENV": 'echo "$0: No module named venv"; exit 1'}, "python3-venv"),
    "no ensurepip": ({"FAKE_VENV": "echo 'because ensurepip is not available.'; exit 1"}, "python3-venv"),
    "full disk under venv": ({"FAKE_VENV": "echo 'Error: [Errno 28] No space left on device'; exit 1"}, "disk is full"),
    "full disk under pip": ({"FAKE_PIP": "echo 'OSError: [Errno 28] No space left on device'; exit 1"}, "disk is full"),
    "no network": ({"FAKE_PIP": NETWORK}, "PIP_INDEX_URL"),
    "another reason": ({"FAKE_PIP": "echo 'ERROR: the wheel is of straw'; exit 1"}, "the wheel is of straw"),
    "no reason": ({"FAKE_PIP": "exit 1"}, "no reason was given"),
    "killed pip": ({"FAKE_PIP": "kill -9 $$"}, "start again"),
}


@pytest.mark.parametrize(("fault", "remedy"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_is_one_line_with_its_remedy_and_the_next_start_recovers(
    tree: Checkout, fault: dict[str, str], remedy: str
) -> None:
    failed = tree.start("--version", **fault)
    assert (failed.code, failed.out) == (30, "")
    (_, line) = failed.said
    assert remedy in line
    assert not (tree.root / ".venv" / "bin").exists(), "a half-made environment keeps a full disk full"
    again = tree.start("--version")
    assert (again.code, again.out) == (10, WORKED.out)


@pytest.mark.parametrize("during", ["venv", "pip"])
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_first_use_is_begun_again(tree: Checkout, during: str, by: signal.Signals) -> None:
    child = tree.begin("--version", **{f"FAKE_{during.upper()}": 'echo asleep >>"$FAKE_LOG"; exec sleep 30'})
    tree.wait_for("asleep")
    os.killpg(child.pid, by)
    out, err = child.communicate(timeout=10)
    if by is signal.SIGINT:
        assert child.returncode == 130
        assert "start again" in err.splitlines()[-1]
    assert out == ""
    again = tree.start("--version")
    assert (again.code, again.out) == (10, WORKED.out)
    assert len(tree.made("venv")) == 2
    assert tree.start("--version") == WORKED


def test_a_pip_that_outlives_its_killed_start_keeps_others_waiting(tree: Checkout) -> None:
    child = tree.begin("--version", FAKE_PIP='[ -e "$FAKE_LOG.slept" ] || { touch "$FAKE_LOG.slept"; sleep 1; }')
    tree.wait_for("pip")
    child.kill()
    began = time.monotonic()
    again = tree.start("--version")
    assert time.monotonic() - began > 0.5
    assert "waiting" in again.said[0]
    assert (again.code, again.out) == (10, WORKED.out)
    child.communicate()


def test_two_first_starts_at_once_make_one_environment(tree: Checkout) -> None:
    children = [tree.begin("--version", FAKE_PIP="sleep 0.6") for _ in range(2)]
    said = [child.communicate(timeout=20) for child in children]
    assert [child.returncode for child in children] == [10, 10]
    assert [out for out, _ in said] == [WORKED.out] * 2
    assert sum("waiting" in err for _, err in said) == 1
    assert (len(tree.made("venv")), len(tree.made("pip"))) == (1, 2)


@pytest.fixture
def anyone() -> Iterator[Path]:
    """A folder that other users may enter, which pytest's are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_said_in_one_line(anyone: Path) -> None:
    tree = checkout(anyone)
    subprocess.run(["chmod", "-R", "a-w,a+rX", tree.root], check=True)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*as_nobody, tree.root / "scripts" / "gpucert"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tree.shims}:/usr/bin:/bin", "FAKE_LOG": str(tree.log)},
    )
    assert (done.returncode, done.stdout) == (30, "")
    (line,) = done.stderr.splitlines()
    assert "Permission denied" in line
    assert "copy the project" in line


def test_a_file_in_the_way_is_named(tree: Checkout) -> None:
    (tree.root / ".venv").touch()
    done = tree.start()
    assert done.code == 30
    (line,) = done.said
    assert "File exists" in line


def test_spaces_and_a_symbolic_link_from_elsewhere_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a place").mkdir()
    tree = checkout(tmp_path / "a place")
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "gpucert"
    link.symlink_to(tree.root / "scripts" / "gpucert")
    done = tree.start("a b", "*", script=link)
    assert (done.code, done.out) == (10, "gpucert got a b *\n")
    assert (tree.root / ".venv" / ".ready").exists()


def test_only_common_tools_are_needed_so_no_flock(tree: Checkout) -> None:
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tree.shims / tool).symlink_to(found)
    for tool in ("cp", "chmod"):  # for the fake Python alone
        (tree.shims / tool).symlink_to(shutil.which(tool) or "")
    done = tree.start("--version", PATH=str(tree.shims))
    assert (done.code, done.out, len(done.said)) == (10, WORKED.out, 1)


TOO_OLD = "#!/bin/sh\nexit 1\n"


def test_an_old_python_first_on_the_path_is_passed_over(tree: Checkout) -> None:
    (tree.shims / "python3").rename(tree.shims / "python3.12")
    executable(tree.shims / "python3", TOO_OLD)
    assert tree.start("--version").code == 10


def test_without_a_python_that_is_new_enough_one_line_says_so(tree: Checkout) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        executable(tree.shims / name, TOO_OLD)
    done = tree.start()
    assert done.code == 30
    (line,) = done.said
    assert "Python 3.11 or newer" in line


def test_a_named_python_is_refused_rather_than_replaced(tree: Checkout) -> None:
    executable(tree.shims / "old", TOO_OLD)
    done = tree.start(PYTHON="old")
    assert done.code == 2
    (line,) = done.said
    assert "PYTHON=old" in line
    assert tree.made("venv") == []


def test_a_tree_that_was_moved_gets_a_new_environment(tree: Checkout) -> None:
    tree.start()
    tree.root = tree.root.rename(tree.root.with_name("moved"))
    assert tree.start("--version").code == 10
    assert len(tree.made("venv")) == 2
    assert tree.start("--version") == WORKED


def test_a_python_that_was_removed_gets_a_new_environment(tree: Checkout) -> None:
    tree.start()
    python = tree.root / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert tree.start("--version").code == 10
    assert len(tree.made("venv")) == 2


@pytest.mark.parametrize("change", ["pyproject.toml", "src/gpucert/new.py", "stress/new.cu"])
def test_a_changed_project_is_renewed_without_a_new_environment(tree: Checkout, change: str) -> None:
    tree.start()
    with (tree.root / change).open("a") as file:
        file.write("# changed\n")
    done = tree.start("--version")
    assert (done.code, done.out) == (10, WORKED.out)
    (line,) = done.said
    assert "renewing" in line
    assert len(tree.made("venv")) == 1
    assert tree.start("--version") == WORKED


def test_links_that_were_cleaned_away_are_renewed(tree: Checkout) -> None:
    tree.start()
    shutil.rmtree(tree.root / "build")
    assert "renewing" in tree.start("--version").said[0]
    assert tree.start("--version") == WORKED


@pytest.mark.parametrize(
    "litter",
    ["src/gpucert/__pycache__/x.pyc", "src/gpucert.egg-info/PKG-INFO", "stress/.x.swp", "src/gpucert/__init__.py~"],
)
def test_what_tools_leave_behind_renews_nothing(tree: Checkout, litter: str) -> None:
    tree.start()
    (tree.root / litter).parent.mkdir(exist_ok=True)
    (tree.root / litter).touch()
    (tree.root / "src/gpucert/__init__.py").write_text("changed = True\n")
    assert tree.start("--version") == WORKED


def test_a_renewal_that_fails_is_tried_again_and_keeps_the_environment(tree: Checkout) -> None:
    tree.start()
    (tree.root / "src/gpucert/new.py").touch()
    failed = tree.start("--version", FAKE_PIP=NETWORK)
    assert failed.code == 30
    assert "PIP_INDEX_URL" in failed.said[-1]
    assert "straw" in tree.start("--version", FAKE_PIP="echo 'ERROR: straw'; exit 1").said[-1]
    assert tree.start("--version").code == 10
    assert len(tree.made("venv")) == 1


def test_cupy_is_asked_for_once_and_stays(tree: Checkout) -> None:
    tree.start()
    tree.start(GPUCERT_EXTRA="cuda13")
    assert ".[cuda13]" in tree.made("pip")[-1]
    assert tree.start("--version") == WORKED
    tree.start(GPUCERT_EXTRA="cuda12")
    assert ".[cuda12]" in tree.made("pip")[-1]
    assert len(tree.made("venv")) == 3, "two builds of CuPy in one environment disturb each other"


def test_a_misspelt_extra_is_wrong_usage(tree: Checkout) -> None:
    done = tree.start(GPUCERT_EXTRA="cuda11")
    assert done.code == 2
    (line,) = done.said
    assert "cuda12" in line
    assert not (tree.root / ".venv").exists()
