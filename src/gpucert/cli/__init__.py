"""The door: one file per command, imported only when that command runs, so that `gpucert --help` stays quick."""

import contextlib
import errno
import importlib
import io
import os
import sys

import click

COMMANDS = {
    "certify": "Test a card, judge it and write its certificate: the main job.",
    "run": "Test a card and write the record, without judging it.",
    "judge": "Judge a record by today's limits and policy; the card is not needed.",
    "compare": "Say what changed between two records of one card.",
    "issue": "Write the certificate of a judged record.",
    "inspect": "Read what cards say of themselves, live or from files, without load.",
    "devices": "List the GPUs of this station, those that no driver shows too.",
    "doctor": "Say what stands between this station and a certificate.",
    "history": "List the attempts that this issuer knows of.",
    "explain": "Say what a diagnosis means, what it rests on and how to repair it.",
    "simulate": "List and show the virtual cards that --simulate takes.",
    "plan": "List and show the plans that --plan takes.",
    "catalogue": "List, show and check the GPU models that gpucert knows.",
    "baseline": "Learn, show, compare and check what healthy cards of a model measure.",
    "bench": "Measure what gpucert's own methods are worth.",
    "schema": "Print the JSON Schema of a file that gpucert writes.",
    "completion": "Print the script that completes gpucert's words in your shell.",
}
"""Every command with its one line of help; `tests/test_cli.py` compares them with the commands themselves."""


INCOMPLETE, INTERRUPTED = 30, 130
"""As in `outcome.ExitCode`; a test holds them together, because the door imports nothing by itself."""


class _Door(click.Group):
    """A group that knows its commands' summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"gpucert.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a locale without ✔ must not end a run
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("gpucert: interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package == "gpucert":
                raise
            click.echo(f"gpucert: the package {package} is missing: install gpucert again, with all it needs", err=True)
            ctx.exit(INCOMPLETE)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click knows what a closed pipe means
            with contextlib.suppress(OSError):
                click.echo(f"gpucert: {error.strerror or error}", err=True)
            _let_go_of_standard_output()
            ctx.exit(INCOMPLETE)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _let_go_of_standard_output() -> None:
    """What is left in its buffer would fail once more when Python ends, with an exit code of Python's own."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from gpucert import installed_version

        click.echo(f"gpucert {installed_version()}")
        ctx.exit()


@click.group(cls=_Door, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Find out what a used GPU is good for, and prove it.

    gpucert loads a card with work whose right answers are known, watches it, compares it with healthy cards of its
    model, says which second life it is fit for, and writes that into a page that a buyer can read.

    \b
    Try it without a GPU:
      gpucert certify --simulate healthy-a100-sxm4-80gb

    \b
    Exit codes: 0 certified, 10 nothing found but restricted or only a report, 20 not certified,
    30 incomplete or station error, 2 usage or unreadable input, 130 interrupted.
    """
