"""Acceptance on a machine with an NVIDIA GPU: every stage is run, timed and written down, whatever the others did.

Standard library only, because it makes the environment that has the rest. It reads the card and changes nothing of it:
no clock, limit or mode is set, and nothing is reset.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-acceptance"
INCOMPLETE = 30
INTERRUPTED = 130
GRACE_S = 20.0
"""Between an interrupt and harsher signals: a run closes its journal, a kernel ends."""
AFTERWARDS_S = 25.0
"""What masking, judging again and packing may take at the end."""
PROBE_OVERHEAD_S = 15.0
"""Starting the processes and CUDA of one probe."""
CALL_S = 240.0
"""One step of making the environment: enough for gigabytes of packages over a good network."""
PROBES = ("pcie_link", "memory_bandwidth", "sm_answers", "gemm_exact", "thermal_soak", "memory_scan", "gemm_sustained")
"""Of the standard plan, the quick ones first, because they are run while time is left."""
FIRST_OF_CUDA_13 = (7, 5)
"""Compute capability of Turing: CUDA 13 compiles for nothing older."""


class StationError(RuntimeError):
    """This machine cannot be used for an acceptance; the text says why and what to do."""


@dataclass(frozen=True)
class Card:
    """What nvidia-smi says of the card; versions are pairs, None where it does not tell."""

    name: str
    driver: str
    cuda: tuple[int, int] | None
    capability: tuple[int, int] | None

    @property
    def extra(self) -> str:
        """Which build of CuPy serves this card under this driver."""
        new_card = self.capability is not None and self.capability >= FIRST_OF_CUDA_13
        new_driver = self.cuda is not None and self.cuda >= (13, 0)
        return "cuda13" if new_card and new_driver else "cuda12"


@dataclass(frozen=True)
class Stage:
    """How one stage ended."""

    name: str
    exit_code: int
    seconds: float
    passed: bool
    note: str = ""


@dataclass
class Acceptance:
    """The folder of results, the time that is left, and the stages so far."""

    out: Path
    ends: float
    stages: list[Stage] = field(default_factory=list)
    about: dict[str, object] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    """Probes for which no time was left; a longer `--minutes` runs them."""

    def left(self) -> float:
        """Seconds until the end, less what is done afterwards."""
        return self.ends - AFTERWARDS_S - time.monotonic()

    def run(
        self,
        name: str,
        command: list[str],
        *,
        good: Iterable[int] = (0,),
        seconds: float | None = None,
        output: Path | None = None,
        verify: Callable[[], str] = lambda: "",
    ) -> bool:
        """Run one stage; its output goes to a log, or to `output`. `verify` finds what is wrong after a good end."""
        began = time.monotonic()
        limit = self.left() if seconds is None else seconds
        say(f"{name} …")
        log = self.out / f"{name}.log"
        code, note = run_limited(command, output or log, log, limit)
        if code in good:
            note = note or verify()
            code = code or int(bool(note))
        elif not note:
            note = last_line(log) or last_line(output or log)
        return self.add(Stage(name, code, round(time.monotonic() - began, 1), code in good and not note, note))

    def add(self, stage: Stage) -> bool:
        """Note a stage, tell how it ended, and write the summary, so that it survives what comes next."""
        self.stages.append(stage)
        word = "ok" if stage.passed else f"FAILED with exit code {stage.exit_code}"
        say(f"{stage.name}: {word} in {stage.seconds:.0f} s{f': {stage.note}' if stage.note else ''}")
        self.write()
        return stage.passed

    def write(self) -> None:
        """Write summary.json."""
        stages = [vars(one) for one in self.stages]
        told = {"about": self.about, "passed": self.passed, "stages": stages, "not_run": self.not_run}
        write_json(self.out / "summary.json", told)

    @property
    def passed(self) -> bool:
        """Whether every stage did."""
        return bool(self.stages) and all(stage.passed for stage in self.stages)


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stderr.write(f"gpu-acceptance: {text}\n")


def write_json(path: Path, tree: object) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def last_line(path: Path) -> str:
    """The last line of a log that says something."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def run_limited(command: list[str], output: Path, log: Path, seconds: float) -> tuple[int, str]:
    """Run a command in a process group of its own; its exit code, and a note where time was up."""
    if seconds <= 0:
        return INCOMPLETE, "no time was left for it"
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as out, log.open("ab") as err:
        try:
            child = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, start_new_session=True)
        except OSError as error:
            return INCOMPLETE, f"{command[0]}: {error.strerror}"
        try:
            return child.wait(seconds), ""
        except subprocess.TimeoutExpired:
            return stop(child), f"stopped after {seconds:.0f} s, because time was up"
        except KeyboardInterrupt:
            stop(child)
            raise


def stop(child: subprocess.Popen[bytes]) -> int:
    """End a process group, gently first: a card is left in order by a program that may clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            return child.wait(GRACE_S)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            continue
    return child.poll() or INCOMPLETE


def ask_driver(gpu: str) -> tuple[Card, str]:
    """The card and the whole XML of `nvidia-smi -q -x`. Raises StationError."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise StationError("no NVIDIA driver here (nvidia-smi is not found): run this on a machine with a GPU")
    xml = answer([program, "-q", "-x", "-i", gpu])
    capability = answer([program, "--query-gpu=compute_cap", "--format=csv,noheader", "-i", gpu], required=False)
    try:
        tree = ET.fromstring(xml)  # noqa: S314  # the driver of this machine is no stranger
    except ET.ParseError as error:
        raise StationError(f"nvidia-smi -q -x answers no XML ({error}): is the driver whole?") from error
    cards = tree.findall("gpu")
    if len(cards) != 1:
        raise StationError(f"nvidia-smi shows {len(cards)} GPUs for --gpu {gpu}: name one by index or UUID")
    return card_of(tree, cards[0], capability), xml


def card_of(tree: ET.Element, card: ET.Element, capability: str) -> Card:
    """What the XML says of driver and card."""
    cuda = next((tree.findtext(tag) for tag in ("cuda_version", "cuda_umd_version") if tree.findtext(tag)), "") or ""
    return Card(
        name=card.findtext("product_name") or "unknown",
        driver=tree.findtext("driver_version") or "unknown",
        cuda=pair(cuda),
        capability=pair(capability),
    )


def pair(text: str) -> tuple[int, int] | None:
    """A version as two numbers: "13.0" as (13, 0)."""
    found = re.match(r"\s*(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def answer(command: list[str], *, required: bool = True) -> str:
    """Standard output of a question to the driver. Raises StationError where it is required and fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StationError(f"nvidia-smi does not answer ({error}): reboot, or mend the driver") from error
    if done.returncode == 0:
        return done.stdout
    if not required:
        return ""
    reason = next((line for line in (done.stdout + done.stderr).splitlines() if line.strip()), "no reason given")
    raise StationError(f"the NVIDIA driver does not answer (nvidia-smi: {reason.strip()}): mend the driver")


def requirements(extra: str) -> list[str]:
    """What gpucert and the tests on a GPU need, with CuPy from one extra, or none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cupy = project["optional-dependencies"][extra] if extra else []
    return [*project["dependencies"], "pytest>=8", "setuptools>=77", *cupy]


WHICH_CUPY = (
    "import cupy; from cupy.cuda import nvrtc, runtime; nvrtc.getVersion();"
    "from cupy_backends.cuda.libs import cublas; cublas.getVersion;"
    "print(runtime.runtimeGetVersion() // 1000)"
)


def cupy_of(python: str) -> str:
    """The extra that a Python's CuPy amounts to, empty where there is none that can compile."""
    done = subprocess.run([python, "-c", WHICH_CUPY], capture_output=True, text=True, timeout=120, check=False)
    return f"cuda{done.stdout.strip()}" if done.returncode == 0 else ""


def make_environment(extra: str, wheels: Path, log: Path) -> str:
    """An environment with gpucert and CuPy over the packages of this Python; what went wrong, or nothing."""
    try:
        import venv
    except ImportError:
        return "Python's venv module is missing: install it (Debian and Ubuntu: apt install python3-venv)"
    own = cupy_of(sys.executable)
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(ENVIRONMENT)
    python = str(ENVIRONMENT / "bin" / "python")
    if own in ("", extra):  # because two builds of CuPy in one environment disturb each other
        inherit(python, cuda=own == extra)
    with log.open("ab") as out:
        if call([python, "-m", "pip", "--version"], out) and call([python, "-m", "ensurepip"], out):
            return "this Python has no pip: install python3-pip, or python3-venv"
        install = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--quiet"]
        wanted = requirements("" if own == extra else extra)
        offline = ["--no-index", *(["--find-links", str(wheels)] if wheels.is_dir() else [])]
        online = ["--retries", "1", "--timeout", "15", *offline[1:]]
        if call([*install, *offline, *wanted], out) and call([*install, *online, *wanted], out):
            return f"packages are missing and no index answers: put their wheels into {wheels} (see {log.name})"
        project = ["--no-index", "--no-deps", "--no-build-isolation", "--config-settings", "editable_mode=strict"]
        if call([*install, *project, "--editable", str(ROOT)], out):
            return f"gpucert cannot be installed (see {log.name})"
    return "" if cupy_of(python) == extra else f"CuPy of {extra} cannot be imported (see {log.name})"


def inherit(python: str, *, cuda: bool) -> None:
    """Let the environment see the packages of this Python, also where this Python is an environment itself.

    `cuda` links its CUDA libraries too, because CuPy looks for them beside the environment's own packages only.
    """
    folders = [Path(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (own / "inherited.pth").write_text("".join(f"{folder}\n" for folder in folders), encoding="utf-8")
    libraries = next((folder / "nvidia" for folder in folders if (folder / "nvidia").is_dir()), None)
    if cuda and libraries:
        (own / "nvidia").symlink_to(libraries)


def call(command: list[str], out: IO[bytes]) -> int:
    """Run one command of the making; its exit code."""
    return subprocess.run(
        command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, check=False, timeout=CALL_S
    ).returncode


def tests_ran(report: Path) -> str:
    """What is wrong with the tests although pytest ended well: nothing but skipped tests prove nothing."""
    try:
        suites = list(ET.parse(report).iter("testsuite"))  # noqa: S314  # our own pytest wrote it
    except (OSError, ET.ParseError) as error:
        return f"pytest left no report ({error})"
    total, skipped = (sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped"))
    return "" if total > skipped else f"all {total} tests were skipped (see the log)"


def stages(acceptance: Acceptance, wanted: argparse.Namespace, card: Card) -> None:
    """Every stage after the driver, each whatever the one before it did; without an environment there are none."""
    began = time.monotonic()
    try:
        problem = make_environment(card.extra, wanted.wheels, acceptance.out / "environment.log")
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    done = Stage("environment", INCOMPLETE if problem else 0, round(time.monotonic() - began, 1), not problem, problem)
    if not acceptance.add(done):
        return
    python, out = str(ENVIRONMENT / "bin" / "python"), acceptance.out
    acceptance.run("versions", [python, "-m", "pip", "list", "--format=freeze"], output=out / "versions.txt")
    report = out / "gpu-tests.xml"
    acceptance.run(
        "gpu-tests",
        [python, "-m", "pytest", "-m", "gpu", "-rs", "-p", "no:cacheprovider", f"--junitxml={report}", "tests/gpu"],
        seconds=min(180.0, acceptance.left()),
        verify=lambda: tests_ran(report),
    )
    files = ["--out", str(out / "quick"), "--store", str(out / "ledger.sqlite")]
    certify = [python, "-m", "gpucert", "certify", "--gpu", wanted.gpu, "--plan", "quick", "--json", *files]
    acceptance.run("quick", certify, good=(0, 10), output=out / "quick.json")
    single_probes(acceptance, wanted.gpu, python)
    masked(acceptance, python)


def single_probes(acceptance: Acceptance, gpu: str, python: str) -> None:
    """Probes of the standard plan, one after another, as long as each has its full time."""
    program = str(ROOT / "scripts" / "single_probe.py")
    told = subprocess.run([python, program], capture_output=True, text=True, check=False)
    if told.returncode:
        acceptance.add(Stage("probes", told.returncode, 0.0, passed=False, note=told.stderr.strip()[-300:]))
        return
    seconds = json.loads(told.stdout)
    for probe in PROBES:
        if acceptance.left() > seconds[probe] + PROBE_OVERHEAD_S:
            folder = acceptance.out / f"probe-{probe}"
            acceptance.run(folder.name, [python, program, gpu, probe, str(folder)])
        else:
            acceptance.not_run.append(probe)
    acceptance.write()


def masked(acceptance: Acceptance, python: str) -> None:
    """Masked copies of what was found, judged and issued again, so that they can be shown to anybody."""
    out = acceptance.out
    acceptance.ends += AFTERWARDS_S
    target = out / "masked"
    if not acceptance.run("mask", [sys.executable, str(ROOT / "scripts" / "masking.py"), str(out), str(target)]):
        return
    for record in sorted(target.glob("quick/*/record.json")):
        gpucert, store = [python, "-m", "gpucert"], ["--store", str(target / "ledger.sqlite")]
        acceptance.run("judge-masked", [*gpucert, "judge", str(record.parent), *store], good=(0, 10))
        acceptance.run("issue-masked", [*gpucert, "issue", str(record.parent), *store])


def arguments(words: list[str]) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="gpu-acceptance",
        description="Run all that gpucert can do on one GPU and write it down. Nothing of the card is changed.",
    )
    wheels = "folder of wheels, for a machine without a network (default: wheels)"
    parser.add_argument("wheels", nargs="?", type=Path, default=ROOT / "wheels", help=wheels)
    parser.add_argument("--out", type=Path, default=Path("acceptance"), help="folder for the results, new or empty")
    parser.add_argument("--minutes", type=float, default=9.5, help="how long it may take (default: 9.5)")
    parser.add_argument("--gpu", default="0", help="index or UUID of the card (default: 0)")
    wanted = parser.parse_args(words)
    if wanted.wheels != ROOT / "wheels" and not wanted.wheels.is_dir():
        parser.error(f"{wanted.wheels}: no such folder of wheels")
    if not 1 <= wanted.minutes <= 600:
        parser.error("--minutes must be between 1 and 600")
    if wanted.out.exists() and (not wanted.out.is_dir() or any(wanted.out.iterdir())):
        parser.error(f"{wanted.out}: must be a new or an empty folder")
    wanted.out, wanted.wheels = wanted.out.resolve(), wanted.wheels.resolve()
    return wanted


def main(words: list[str]) -> int:
    """Run every stage; 0 when all passed, 1 when one failed, 30 when this machine cannot run any, 130 after Ctrl-C."""
    wanted = arguments(words)
    acceptance = Acceptance(wanted.out, time.monotonic() + wanted.minutes * 60)
    try:
        card, xml = ask_driver(wanted.gpu)
        wanted.out.mkdir(parents=True, exist_ok=True)
        (wanted.out / "nvidia-smi.xml").write_text(xml, encoding="utf-8")
    except StationError as error:
        say(str(error))
        return INCOMPLETE
    except OSError as error:
        say(f"{wanted.out}: {error.strerror}: name another folder with --out")
        return INCOMPLETE
    cuda = ".".join(map(str, card.cuda)) if card.cuda else "unknown"
    say(f"{card.name}, driver {card.driver}, CUDA {cuda}: CuPy of {card.extra}")
    acceptance.about = {**vars(card), "extra": card.extra, "python": sys.version, "kernel": platform.release()}
    try:
        stages(acceptance, wanted, card)
    except KeyboardInterrupt:
        say(f"interrupted; what was found so far is in {wanted.out}")
        return INTERRUPTED
    archive = wanted.out.with_name(wanted.out.name + ".tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(wanted.out, wanted.out.name)
    say(f"{'all stages passed' if acceptance.passed else 'stages FAILED'}; everything is in {wanted.out} and {archive}")
    return 0 if acceptance.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
