"""What every command shares: errors in one line, text from outside made harmless, tables that fit the terminal."""

import shutil
import sys
import textwrap
import unicodedata
from typing import IO, TYPE_CHECKING

import click

from gpucert.outcome import ExitCode

if TYPE_CHECKING:
    from rich.console import Console


class ProblemError(click.ClickException):
    """Ends a command with one line on standard error. The text names the file, field or card and the remedy."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click reads it off the error that was raised

    def show(self, file: IO[str] | None = None) -> None:
        """Print the line; control characters in names of files and cards are escaped."""
        click.echo(f"gpucert: {printable(self.message)}", file=file or sys.stderr)


def printable(text: str) -> str:
    """Text from a card, file or driver with everything escaped that could steer a terminal or turn writing around."""
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character == "\n" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return character
    return character.encode("unicode_escape").decode("ascii")


def say(line: str) -> None:
    """Print a line: on a terminal that is narrower, broken between words and set in; whole in a pipe or a file."""
    width = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and len(line) > width:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        line = textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    click.echo(line)


def console(*, stderr: bool = False) -> "Console":
    """A rich console on standard output or error; it honours NO_COLOR, pipes and narrow terminals by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def counting(done: int, of: int) -> None:
    """One line on standard error, for a person who waits."""
    if sys.stderr.isatty():
        click.echo(f"\r{done} of {of} virtual cards" + ("\n" if done == of else ""), err=True, nl=False)
