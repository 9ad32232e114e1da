"""The door: every command is documented, answers bad input in one line, and opens quickly."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner

from gpucert.cli import COMMANDS, main
from gpucert.cli.console import printable

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
    assert "Example:\n" in command.help
    assert f"gpucert {name}" in command.help.partition("Example:")[2]


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
    "gpu and simulate": ("certify", "--simulate", "healthy-a10", "--gpu", "0"),
    "record that is none": ("judge", "/etc"),
    "issue without record": ("issue", "/etc"),
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


@pytest.mark.parametrize("name", ["record", "verdict", "payload"])
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


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lists_fit_the_terminal(columns: int) -> None:
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "gpucert", "history"],
        stdout=follower,
        stderr=follower,
        env=os.environ | {"COLUMNS": str(columns), "TERM": "xterm"},
    )
    os.close(follower)
    child.wait(timeout=60)
    text = os.read(leader, 100_000).decode()
    os.close(leader)
    assert child.returncode == 0
    assert all(len(line) <= columns for line in text.splitlines())
