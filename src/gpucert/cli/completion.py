"""`gpucert completion`: shell completion, as click makes it."""

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print the script that completes gpucert's words in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes gpucert's words in your shell.

    \b
    Example:
      gpucert completion bash > ~/.local/share/bash-completion/completions/gpucert
    """
    from gpucert.cli import main

    maker = get_completion_class(shell)
    assert maker is not None
    click.echo(maker(main, {}, "gpucert", "_GPUCERT_COMPLETE").source())
