"""`gpucert simulate`: the virtual cards that can stand in for a GPU."""

import click

from gpucert.cli.console import ProblemError


@click.group(short_help="List and show the virtual cards that --simulate takes.")
def command() -> None:
    """List and show the virtual cards that --simulate takes.

    \b
    Example:
      gpucert simulate show stuck-bit
    """


@command.command("list")
def list_scenarios() -> None:
    """List the built-in scenarios.

    \b
    Example:
      gpucert simulate list
    """
    from gpucert.device.simulated import scenario

    names = scenario.names()
    width = max(len(name) for name in names)
    for name in names:
        click.echo(f"{name:<{width}}  {scenario.load(name).summary}")


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Print a built-in scenario: a file to start your own from.

    \b
    Example:
      gpucert simulate show stuck-bit > mine.toml
      gpucert certify --simulate mine.toml
    """
    from gpucert.device.simulated import scenario

    try:
        click.echo(scenario.load(name).text, nl=False)
    except scenario.ScenarioError as error:
        raise ProblemError(str(error)) from error
