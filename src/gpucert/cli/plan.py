"""`gpucert plan`: what the plans are made of."""

import click

from gpucert.cli.console import ProblemError


@click.group(short_help="List and show the plans that --plan takes.")
def command() -> None:
    """List and show the plans that --plan takes.

    \b
    Example:
      gpucert plan show standard
    """


@command.command("list")
def list_plans() -> None:
    """List the plans with their length.

    \b
    Example:
      gpucert plan list
    """
    from gpucert.run import plan

    for name in plan.names():
        click.echo(f"{name:<10} {plan.load(name).summary}")


@command.command("show")
@click.argument("name")
@click.option("--hours", type=float, help="Length of a plan of hours.")
def show(name: str, hours: float | None) -> None:
    """Show the steps of a plan: probe, seconds, and whether a certificate needs it.

    \b
    Example:
      gpucert plan show burnin --hours 8
    """
    from gpucert import probes
    from gpucert.run import plan

    try:
        chosen = plan.load(name)
        planned = plan.ready(chosen, hours)
    except plan.PlanError as error:
        raise ProblemError(str(error)) from error
    minutes = sum(step.seconds for step in planned.steps) / 60
    click.echo(f"{chosen.name} (version {chosen.version}): {chosen.summary}")
    click.echo(f"{len(planned.steps)} steps, at most {minutes:.0f} min; * a certificate needs this step\n")
    for number, step in enumerate(planned.steps, 1):
        summary = probes.load(step.probe).summary
        click.echo(f"{number:>3} {'*' if step.blocker else ' '} {step.probe:<17} {step.seconds:>5.0f} s  {summary}")
