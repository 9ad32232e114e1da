"""The door: every command is documented, answers bad input in one line, and opens quickly."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner

from gpucert.baselines.baseline import for_model
from gpucert.catalogue import shelf
from gpucert.cli import COMMANDS, INCOMPLETE, INTERRUPTED, main
from gpucert.cli.console import printable
from gpucert.outcome import ExitCode
from gpucert.run.plan import load, ready
from gpucert.trials import in_process
from tests import nvml_stub

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def every_command() -> list[tuple[str, click.Command]]:
    found = []
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found.extend((f"{name} {sub}", one) for sub, one in command.commands.items())
    return found


def gpucert(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gpucert", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "command"), every_command(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_with_an_example(name: str, command: click.Command) -> None:
    assert command.help
    assert re.search("^ *Examples?:$", command.help, re.MULTILINE)
    assert f"gpucert {name}" in command.help.partition("Example")[2]


def test_the_summaries_shown_without_importing_are_the_commands_own() -> None:
    for name, summary in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.short_help == summary


def test_every_command_is_in_the_readme() -> None:
    assert [name for name in COMMANDS if name != "completion" and f"gpucert {name}" not in README] == []


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from gpucert.cli import main; main(['--help'], standalone_mode=False);"
        "heavy = {'numpy', 'scipy', 'rich', 'sqlalchemy', 'msgspec', 'matplotlib', 'jinja2', 'cupy', 'pynvml'};"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_gpu_and_without_simulate_two_lines_name_the_remedy() -> None:
    done = gpucert("certify")
    assert done.returncode == 30
    assert len(done.stderr.strip().splitlines()) == 2
    assert "--simulate" in done.stderr
    assert done.stdout == ""


BAD = {
    "unknown scenario": ("certify", "--simulate", "healty-a100"),
    "missing scenario file": ("certify", "--simulate", "missing.toml"),
    "unknown plan": ("certify", "--simulate", "healthy-a10", "--plan", "quik"),
    "hours of a fixed plan": ("certify", "--simulate", "healthy-a10", "--plan", "quick", "--hours", "4"),
    "negative inlet": ("certify", "--simulate", "healthy-a10", "--inlet-c", "-300"),
    "inlet that is no number": ("certify", "--simulate", "healthy-a10", "--inlet-c", "nan"),
    "negative seed": ("certify", "--simulate", "healthy-a10", "--seed", "-1"),
    "unwritable out": ("certify", "--simulate", "healthy-a10", "--out", "/proc/nowhere"),
    "nothing to resume": ("certify", "--resume", "/tmp"),
    "empty scenario": ("certify", "--simulate", ""),
    "junit nowhere": ("certify", "--simulate", "healthy-a10", "--junit", "nowhere/junit.xml"),
    "gpu and simulate": ("certify", "--simulate", "healthy-a10", "--gpu", "0"),
    "record that is none": ("judge", "/etc"),
    "issue without record": ("issue", "/etc"),
    "nothing to compare": ("compare", "/etc", "/etc"),
    "unknown diagnosis": ("explain", "memory.gone"),
    "unknown plan to show": ("plan", "show", "long"),
    "unknown scenario to show": ("simulate", "show", "perfect"),
    "capture that is none": ("inspect", "/etc/hostname"),
    "unknown command": ("certfy",),
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpucert", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line and not line.startswith(("Usage:", "Try "))]
    assert len(said) == 1, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["record", "verdict", "payload", "comparison"])
def test_schemas_are_valid_json_schemas(name: str) -> None:
    done = CliRunner().invoke(main, ["schema", name])
    assert done.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_gpucert(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert "_GPUCERT_COMPLETE" in done.stdout


def test_completion_knows_the_commands() -> None:
    done = gpucert(_GPUCERT_COMPLETE="bash_complete", COMP_WORDS="gpucert cer", COMP_CWORD="1")
    assert "certify" in done.stdout


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    assert printable("\x1b[31mred\x07 \u202egnp.exe") == "\\x1b[31mred\\x07 \\u202egnp.exe"
    assert printable("NVIDIA H100 80GB HBM3 – größer") == "NVIDIA H100 80GB HBM3 – größer"


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one attempt on record, and the folder of its run."""
    home = tmp_path_factory.mktemp("home")
    done = gpucert(
        "certify", "--simulate", "alias", "--plan", "quick", "--out", str(home / "run"), XDG_DATA_HOME=str(home)
    )
    assert done.returncode == 20, done.stderr
    return home


def on_a_terminal(columns: int, *arguments: str, **environment: str) -> tuple[int, str]:
    """What a person reads on a terminal of this width."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "gpucert", *arguments],
        stdout=follower,
        stderr=follower,
        env=os.environ | {"COLUMNS": str(columns), "TERM": "xterm"} | environment,
    )
    os.close(follower)
    pieces = []
    with contextlib.suppress(OSError):  # the kernel's way to say that the other side is closed
        while piece := os.read(leader, 1 << 16):
            pieces.append(piece)
    os.close(leader)
    return child.wait(timeout=60), b"".join(pieces).decode()


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("arguments", [("history",), ("judge", "run/simulated-alias")], ids=lambda one: one[0])
def test_what_is_printed_fits_the_terminal(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, columns: int, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(ledger)
    _, text = on_a_terminal(columns, *arguments, XDG_DATA_HOME=str(ledger))
    lines = [ANSI.sub("", line) for line in text.splitlines()]
    assert any("memory.alias" in line for line in lines)
    assert [line for line in lines if len(line) > columns] == []


def test_a_baseline_is_shown_in_whole_words_and_in_whole_lines_to_a_pipe() -> None:
    words = ("baseline", "show", "Tesla T4")
    piped = gpucert(*words).stdout
    _, text = on_a_terminal(80, *words)
    assert max(map(len, piped.splitlines())) > 120
    assert max(map(len, text.splitlines())) <= 80
    assert text.split() == piped.split()


def test_no_color_is_honoured(ledger: Path) -> None:
    _, coloured = on_a_terminal(80, "history", XDG_DATA_HOME=str(ledger))
    _, plain = on_a_terminal(80, "history", XDG_DATA_HOME=str(ledger), NO_COLOR="1")
    assert "\x1b[31m" in coloured
    assert "\x1b[31m" not in plain


def test_json_is_all_that_stands_on_standard_output(ledger: Path, tmp_path: Path) -> None:
    folder = str(ledger / "run" / "simulated-alias")
    done = gpucert("judge", folder, "--json", XDG_DATA_HOME=str(ledger))
    (card,) = json.loads(done.stdout)["cards"]
    assert (card["outcome"], card["tier"], card["exit_code"]) == ("not_certified", "G", 20)
    assert set(card) == {"card", "model", "outcome", "tier", "diagnoses", "exit_code", "files"}
    assert json.loads(done.stdout)["exit_code"] == done.returncode == 20
    history = json.loads(gpucert("history", "--json", XDG_DATA_HOME=str(ledger)).stdout)
    assert history["attempts"][0]["outcome"] == "not_certified"


def test_a_record_that_was_changed_after_it_was_judged_gets_no_page(ledger: Path, tmp_path: Path) -> None:
    shutil.copytree(ledger / "run" / "simulated-alias", tmp_path / "card")
    record = tmp_path / "card" / "record.json"
    record.write_text(record.read_text().replace('"wrong_words"', '"wrong_word"'))
    done = gpucert("issue", str(tmp_path / "card"), XDG_DATA_HOME=str(ledger))
    assert done.returncode == 2
    assert "was changed after it was judged" in done.stderr


def test_a_verdict_that_was_changed_by_hand_gets_no_page(ledger: Path, tmp_path: Path) -> None:
    shutil.copytree(ledger / "run" / "simulated-alias", tmp_path / "card")
    (tmp_path / "card" / "certificate.html").unlink()
    file = tmp_path / "card" / "verdict.json"
    verdict = json.loads(file.read_text())
    file.write_text(json.dumps(verdict | {"outcome": "certified", "tier": "A", "exit_code": 0}))
    done = gpucert("issue", str(tmp_path / "card"), XDG_DATA_HOME=str(ledger))
    assert done.returncode == 2
    assert "is not what today's limits make of the record" in done.stderr
    assert not (tmp_path / "card" / "certificate.html").exists()


BAD_RECORDS = {
    "no json": (b"hello", "not a gpucert record"),
    "another schema": (b'{"schema": "gpucert.record/9"}', "gpucert.record/9"),
    "a field is missing": (b'{"schema": "gpucert.record/1"}', "simulated"),
    "nothing at all": (b"", "not a gpucert record"),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_bad_record_is_named_by_file_and_field(name: str, tmp_path: Path) -> None:
    text, told = BAD_RECORDS[name]
    (tmp_path / "record.json").write_bytes(text)
    done = gpucert("judge", str(tmp_path), XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "record.json") in done.stderr
    assert told in done.stderr
    assert not (tmp_path / "verdict.json").exists()


def test_an_unknown_field_is_named_with_its_path(ledger: Path, tmp_path: Path) -> None:
    record = json.loads((ledger / "run" / "simulated-alias" / "record.json").read_text())
    record["card"]["colour"] = "green"
    (tmp_path / "record.json").write_text(json.dumps(record))
    done = gpucert("judge", str(tmp_path), XDG_DATA_HOME=str(tmp_path))
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "colour" in done.stderr
    assert "card" in done.stderr


BAD_SCENARIOS = {
    "broken TOML": 'model = "NVIDIA A10',
    "unknown model": 'model = "NVIDIA A11"',
    "unknown field": 'model = "NVIDIA A10"\nfans = 3',
    "unknown fault": 'model = "NVIDIA A10"\n[[fault]]\nkind = "rust"',
    "not a number": 'model = "NVIDIA A10"\ninlet_c = nan',
    "negative seconds": 'model = "NVIDIA A10"\n[[fault]]\nkind = "lost"\nat_s = -1',
    "no such probe": 'model = "NVIDIA A10"\n[[fault]]\nkind = "hang"\nprobe = "memory_scam"',
    "empty": "",
}


@pytest.mark.parametrize("name", BAD_SCENARIOS)
def test_a_bad_scenario_is_one_line_that_names_the_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(BAD_SCENARIOS[name])
    done = gpucert("certify", "--simulate", str(file), "--out", str(tmp_path / "run"), XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "mine.toml" in done.stderr
    assert not (tmp_path / "run").exists()


def test_ctrl_c_outside_of_a_run_is_130_and_one_line() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "gpucert", "inspect", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    syscall = Path(f"/proc/{child.pid}/syscall")
    while not syscall.read_text().startswith("0 0x0 "):  # until it waits for its input
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=20)
    assert (child.returncode, told.strip()) == (130, "gpucert: interrupted")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_locale_without_the_symbols_ends_no_command(ledger: Path, encoding: str) -> None:
    folder = str(ledger / "run" / "simulated-alias")
    done = gpucert("judge", folder, XDG_DATA_HOME=str(ledger), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (20, "")
    assert "NOT CERTIFIED" in done.stdout


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpucert", "explain"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.strip()) == (30, "gpucert: No space left on device")


def test_a_package_that_is_missing_is_named_in_one_line() -> None:
    without = "import sys; sys.modules['scipy'] = None; from gpucert.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "baseline", "show", "Tesla T4"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 30
    assert done.stderr == "gpucert: the package scipy is missing: install gpucert again, with all it needs\n"


def test_standard_input_that_is_closed_is_named() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m gpucert inspect - <&-"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "standard input" in done.stderr


POLICY = """name = "mine"
version = 1
[global]
coverage_percent = 97.0
ecc_corrected_per_hour = 60.0
inlet_c = 30.0
probes = ["memory_scan"]
[[tier]]
letter = "D"
title = "mine"
within = 0.1
measures = ["memory_bandwidth.read_per_clock"]
"""


def interrupted(tmp_path: Path, *options: str) -> Path:
    """A standard run that was ended by Ctrl-C under load; the card's folder."""
    child = subprocess.Popen(
        [sys.executable, "-m", "gpucert", "certify", "--simulate", "healthy-a10", "--out", tmp_path / "run", *options],
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    journal = tmp_path / "run" / "simulated-healthy-a10" / "journal.jsonl"
    while not (journal.exists() and b'"memory_scan"' in journal.read_bytes().partition(b"\n")[2]):
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130
    return journal.parent


def test_a_run_that_goes_on_is_judged_by_the_policy_that_it_was_begun_with(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(POLICY)
    junit = tmp_path / "junit.xml"
    folder = interrupted(tmp_path, "--policy", str(tmp_path / "mine.toml"), "--junit", str(junit))
    assert 'errors="1"' in junit.read_text(), "an interrupted run is no empty success"
    (tmp_path / "mine.toml").unlink()
    done = gpucert("certify", "--resume", str(folder), "--json", XDG_DATA_HOME=str(tmp_path))
    (card,) = json.loads(done.stdout)["cards"]
    assert (card["outcome"], card["tier"], done.returncode) == ("certified", "custom", 0)
    again = gpucert("judge", str(folder), "--json", XDG_DATA_HOME=str(tmp_path))
    assert json.loads(again.stdout)["cards"][0]["tier"] == "custom"


@pytest.mark.parametrize("option", [("--seed", "4"), ("--plan", "standard"), ("--simulate", "alias"), ("--all",)])
def test_what_a_resumed_run_would_ignore_is_refused(ledger: Path, option: tuple[str, ...]) -> None:
    done = gpucert("certify", "--resume", str(ledger / "run"), *option, XDG_DATA_HOME=str(ledger))
    assert done.returncode == 2
    assert f"leave {option[0]} out" in done.stderr


def test_the_door_and_the_table_of_exit_codes_agree() -> None:
    assert (INCOMPLETE, INTERRUPTED) == (ExitCode.INCOMPLETE, ExitCode.INTERRUPTED)


# Repeats


def test_what_is_too_close_to_its_limit_is_measured_again_and_pooled(tmp_path: Path) -> None:
    """A card whose memory is as slow as its limit allows: only more measurements can tell the side."""
    slow = 'model = "NVIDIA A100-SXM4-80GB"\nseed = 7\n[[fault]]\nkind = "slow_memory"\nfactor = '
    near = 0.92  # because a run of another length meets other noise, which is wider than what cannot be decided
    (step,) = in_process.run(f"{slow}{near}\n", "near", ready(load("quick"))).steps[-1:]
    baseline = for_model(shelf.get("NVIDIA A100-SXM4-80GB"))
    kinds = [f"{kind}_per_clock" for kind in ("read", "write", "copy")]
    limits = {kind: baseline.find(f"memory_bandwidth.{kind}") for kind in kinds}
    share = near * max(limit.limit / (step.number(kind) or 1) for kind, limit in limits.items() if limit is not None)
    (tmp_path / "close.toml").write_text(f"{slow}{share:.5f}\n")
    done = gpucert(
        "certify", "--simulate", str(tmp_path / "close.toml"), "--plan", "quick", "--out", str(tmp_path / "run"),
        XDG_DATA_HOME=str(tmp_path),
    )  # fmt: skip
    assert done.stderr.count("measuring again") == done.stderr.count("(again)") >= 1, done.stderr
    record = json.loads((tmp_path / "run" / "simulated-close" / "record.json").read_text())
    repeats = [step for step in record["steps"] if step["repeat_of"] is not None]
    assert 1 <= len(repeats) <= 3
    assert {record["steps"][step["repeat_of"]]["probe"] for step in repeats} == {"memory_bandwidth"}
    verdict = json.loads((tmp_path / "run" / "simulated-close" / "verdict.json").read_text())
    assert verdict["undecided"] == [] or len(repeats) == 3, "decided at last, or left open after the third"


# Real cards, over a driver library of our own


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a libnvidia-ml.so.1 that knows two cards, one of them lost."""
    return str(nvml_stub.build(tmp_path_factory.mktemp("driver")))


def test_a_station_without_cupy_is_told_in_one_line_and_the_card_is_not_blamed(driver: str, tmp_path: Path) -> None:
    done = gpucert(
        "certify", "--gpu", "0", "--plan", "quick", "--out", str(tmp_path / "run"), "--json",
        LD_LIBRARY_PATH=driver, XDG_DATA_HOME=str(tmp_path), NVML_STUB_VALUES="margin=40",
    )  # fmt: skip
    assert done.returncode == 30
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("gpucert: ")]
    assert "gpucert[cuda13]" in last
    assert "--resume" in last
    (card,) = json.loads(done.stdout)["cards"]
    assert (card["outcome"], card["exit_code"]) == ("incomplete", 30)
    assert Path(card["files"]["record"]).is_file()


def test_one_card_that_is_gone_does_not_hide_the_others(driver: str, tmp_path: Path) -> None:
    done = gpucert(
        "certify", "--all", "--plan", "quick", "--out", str(tmp_path / "run"), "--json",
        LD_LIBRARY_PATH=driver, XDG_DATA_HOME=str(tmp_path), NVML_STUB_VALUES="margin=40",
    )  # fmt: skip
    cards = json.loads(done.stdout)["cards"]
    assert [one["card"].partition("-")[0] for one in cards] == ["GPU", "gpu"]
    assert "GPU 1 answers neither UUID nor bus id: lost" in done.stderr
    assert done.returncode == 30


def test_devices_names_what_a_card_does_not_answer(driver: str) -> None:
    done = gpucert("devices", LD_LIBRARY_PATH=driver)
    assert done.returncode == 30
    assert "0  NVIDIA A100-SXM4-80GB" in done.stdout
    assert "1  NVIDIA GPU of unknown model  NOT USABLE" in done.stdout
    assert "does not answer: lost" in done.stdout


@pytest.mark.parametrize("which", ["2", "GPU-0000", "0,7", "-1"])
def test_a_gpu_that_is_not_there_is_named(driver: str, which: str) -> None:
    done = gpucert("certify", f"--gpu={which}", LD_LIBRARY_PATH=driver)
    assert done.returncode == 2
    assert "no such card here; there are 0 to 1" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_with_several_cards_one_must_be_chosen(driver: str) -> None:
    done = gpucert("certify", LD_LIBRARY_PATH=driver)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert "choose with --gpu" in done.stderr
