"""Acceptance on a machine with an NVIDIA GPU: every stage is run, timed and written down, whatever the others did.

Standard library only, because it makes the environment that has the rest. It reads the card and changes nothing of it:
no clock, limit or mode is set, and nothing is reset.
"""

import argparse
import io
import itertools
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import masking
from acceptance_environment import Source, StationError, find_source, make_environment, python_of
from acceptance_table import COMPARED, TABLE, Ended, table

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-acceptance"
INCOMPLETE = 30
INTERRUPTED = 130
OURS = "gpucert: "
"""How gpucert's messages begin."""
GRACE_S = 20.0
"""Between an interrupt and harsher signals: a run closes its journal, a kernel ends."""
AFTERWARDS_S = 25.0
"""What masking, judging again and packing may take at the end."""
PROBE_OVERHEAD_S = 15.0
"""Starting the processes and CUDA of one probe."""
GPU_TESTS_S = 180.0
GPU_TESTS_LEAST_S = 50.0
QUICK_S = 405.0
"""What the quick plan takes on a card: 355 s of steps, and starting a process with CUDA for each."""
SIDE_BY_SIDE_S = 60.0
"""What the comparison is given, more where it is left."""
SIDE_BY_SIDE_LEAST_S, SIDE_BY_SIDE_MOST_S = 30.0, 120.0
SIDE_BY_SIDE_START_S = 25.0
"""Starting CUDA, and the turns of the part that is under way when time is up."""
PROBES = (
    "memory_scan", "sm_clock", "pcie_link", "memory_bandwidth", "sm_answers", "gemm_exact", "thermal_soak",
    "gemm_sustained",
)  # fmt: skip
"""Of the standard plan, run while time is left: the scan, which tells what is covered, then the quick ones."""
SCAN_S = 20.0
"""Several rounds of the standard plan's scan on any card, where the plan fills ten minutes with them."""
FIRST_OF_CUDA_13 = (7, 5)
"""Compute capability of Turing: CUDA 13 compiles for nothing older."""


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
            note = last_words(log) or last_words(output or log)
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


def last_words(path: Path) -> str:
    """The last line of a log that says something; of gpucert's own lines all at the end, because the last is a hint."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    spoken = [line.strip() for line in lines if line.strip()]
    ours = list(itertools.takewhile(lambda line: line.startswith(OURS), reversed(spoken)))[::-1]
    return "; ".join(line.removeprefix(OURS) for line in ours or spoken[-1:])[:300]


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


def tests_ran(report: Path) -> str:
    """What is wrong with the tests although pytest ended well: nothing but skipped tests prove nothing."""
    try:
        suites = list(ET.parse(report).iter("testsuite"))  # noqa: S314  # our own pytest wrote it
    except (OSError, ET.ParseError) as error:
        return f"pytest left no report ({error})"
    total, skipped = (sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "skipped"))
    return "" if total > skipped else f"all {total} tests were skipped (see the log)"


def json_came(path: Path) -> str:
    """What is wrong with what a command printed as JSON, although it ended well."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"it printed no JSON ({error})"
    return "" if isinstance(tree, dict) else "it printed no JSON object"


def stages(acceptance: Acceptance, wanted: argparse.Namespace, card: Card, source: Source) -> None:
    """Every stage after the driver, each whatever the one before it did; without an environment there are none."""
    began = time.monotonic()
    log = acceptance.out / "environment.log"
    try:
        made = make_environment(ENVIRONMENT, source, card.extra, wanted.wheels, log)
        problem, note = made.problem, made.note
    except (OSError, subprocess.SubprocessError) as error:
        problem, note = str(error), ""
    seconds = round(time.monotonic() - began, 1)
    if not acceptance.add(Stage("environment", INCOMPLETE if problem else 0, seconds, not problem, problem or note)):
        return
    python = python_of(ENVIRONMENT)
    looks(acceptance, wanted.gpu, python)
    gpu_tests(acceptance, python)
    files = ["--out", str(acceptance.out / "quick"), "--store", str(acceptance.out / "ledger.sqlite")]
    certify = [python, "-m", "gpucert", "certify", "--gpu", wanted.gpu, "--plan", "quick", "--json", *files]
    acceptance.run("quick", certify, good=(0, 10), output=acceptance.out / "quick.json")
    side_by_side(acceptance, wanted.gpu, python)
    single_probes(acceptance, wanted.gpu, python)
    masked(acceptance, python)


def looks(acceptance: Acceptance, gpu: str, python: str) -> None:
    """What is installed, and the commands that look at the station and its cards without loading them."""
    out, gpucert = acceptance.out, [python, "-m", "gpucert"]
    acceptance.run("versions", [python, "-m", "pip", "list", "--format=freeze"], output=out / "versions.txt")
    page = out / "inspect.html"
    commands: dict[str, tuple[list[str], tuple[int, ...]]] = {
        "devices": (["devices", "--json"], (0,)),
        "doctor": (["doctor", "--json"], (0, INCOMPLETE)),  # because it looks for more than an acceptance needs
        "inspect": (["inspect", "--gpu", gpu, "--json", "--report", str(page)], (10, 20)),
    }
    for name, (words, good) in commands.items():
        told = out / f"{name}.json"

        def verify(told: Path = told, name: str = name) -> str:
            page_is_missing = name == "inspect" and not page.is_file()
            return json_came(told) or ("it wrote no report" if page_is_missing else "")

        acceptance.run(
            name, [*gpucert, *words], good=good, seconds=min(60.0, acceptance.left()), output=told, verify=verify
        )


def gpu_tests(acceptance: Acceptance, python: str) -> None:
    """The tests marked `gpu`, no longer than leaves time for what follows."""
    report = acceptance.out / "gpu-tests.xml"
    spare = acceptance.left() - QUICK_S - SIDE_BY_SIDE_START_S - SIDE_BY_SIDE_LEAST_S
    acceptance.run(
        "gpu-tests",
        [python, "-m", "pytest", "-m", "gpu", "-rs", "-p", "no:cacheprovider", f"--junitxml={report}", "tests/gpu"],
        seconds=min(GPU_TESTS_S, max(spare, GPU_TESTS_LEAST_S), acceptance.left()),
        verify=lambda: tests_ran(report),
    )


def side_by_side(acceptance: Acceptance, gpu: str, python: str) -> None:
    """gpucert beside plain CUDA, in the time that is left; too little of it is a failure."""
    spare = acceptance.left() - SIDE_BY_SIDE_START_S
    seconds = min(max(spare - SCAN_S - PROBE_OVERHEAD_S, SIDE_BY_SIDE_S), spare, SIDE_BY_SIDE_MOST_S)
    if seconds < SIDE_BY_SIDE_LEAST_S:
        why = f"no time was left for it: it needs {SIDE_BY_SIDE_LEAST_S + SIDE_BY_SIDE_START_S:.0f} s"
        acceptance.add(Stage("side-by-side", INCOMPLETE, 0.0, passed=False, note=why))
        return
    program = str(ROOT / "scripts" / "side_by_side.py")
    command = [python, program, gpu, str(acceptance.out / COMPARED), f"{seconds:.0f}"]
    acceptance.run("side-by-side", command, seconds=seconds + SIDE_BY_SIDE_START_S)


def single_probes(acceptance: Acceptance, gpu: str, python: str) -> None:
    """Probes of the standard plan, one after another, as long as each has its full time; a scan needs less."""
    program = str(ROOT / "scripts" / "single_probe.py")
    told = subprocess.run([python, program], capture_output=True, text=True, check=False)
    if told.returncode:
        acceptance.add(Stage("probes", told.returncode, 0.0, passed=False, note=told.stderr.strip()[-300:]))
        return
    seconds = {**json.loads(told.stdout), "memory_scan": SCAN_S}
    for probe in PROBES:
        if acceptance.left() > seconds[probe] + PROBE_OVERHEAD_S:
            folder = acceptance.out / f"probe-{probe}"
            acceptance.run(folder.name, [python, program, gpu, probe, str(folder), str(seconds[probe])])
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


def short_table(acceptance: Acceptance) -> None:
    """Write table.md, print it, and lay it masked beside the other masked files."""
    out, ended = acceptance.out, [Ended(one.name, one.passed, one.note) for one in acceptance.stages]
    began = time.monotonic()
    try:
        text = table(out, acceptance.about, ended, acceptance.not_run)
        (out / TABLE).write_text(text, encoding="utf-8")
        also_masked(out, [out / TABLE, out / COMPARED])
        problem = ""
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the results, what was found must be packed
        problem = f"{type(error).__name__}: {error}"
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        sys.stdout.write(text)
    acceptance.add(Stage("table", int(bool(problem)), round(time.monotonic() - began, 1), not problem, problem))


def also_masked(out: Path, files: Iterable[Path]) -> None:
    """Copies of these files among the masked ones, where there are any. Raises masking.IdentifierLeftError."""
    target = out / "masked"
    if not target.is_dir():
        return
    sources = [path for path in masking.to_be_masked(out) if target not in path.parents]
    names = masking.names_in(sources, socket.gethostname())
    masker = masking.Masker(masking.key_of(masking.default_key()), names)
    for path in files:
        if path.is_file():
            (target / path.name).write_text(masker.text(path.read_text(encoding="utf-8")), encoding="utf-8")


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
        source = find_source(ROOT, wanted.wheels)
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
    acceptance.about = {
        **vars(card),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "extra": card.extra,
        "gpucert_from": "this Python"
        if source.path is None
        else source.path.name
        if source.path.is_file()
        else "checkout",
        "python": sys.version,
        "kernel": platform.release(),
    }
    try:
        stages(acceptance, wanted, card, source)
    except KeyboardInterrupt:
        say(f"interrupted; what was found so far is in {wanted.out}")
        return INTERRUPTED
    short_table(acceptance)
    archive = wanted.out.with_name(wanted.out.name + ".tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(wanted.out, wanted.out.name)
    say(f"{'all stages passed' if acceptance.passed else 'stages FAILED'}; everything is in {wanted.out} and {archive}")
    return 0 if acceptance.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
