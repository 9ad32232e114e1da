"""`gpucert run`: the facts, without a judgement."""

import sys
from pathlib import Path

import click

from gpucert.cli.console import ProblemError
from gpucert.cli.targets import Wanted, target_options
from gpucert.outcome import ExitCode, worst


@click.command(short_help="Test a card and write the record, without judging it.")
@target_options
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="The ledger's file.")
def command(store: Path | None, **target: object) -> None:
    """Test a card and write record.json, without judging it. Exit code 0 says that the plan was run, and nothing else.

    \b
    Example:
      gpucert run --simulate healthy-a10 --plan quick
    """
    from gpucert.cli import jobs
    from gpucert.cli.measuring import new

    ledger = jobs.open_store(store)
    codes: list[ExitCode] = []
    for job in new(Wanted(**target)):  # type: ignore[arg-type]  # click hands over exactly these options
        try:
            job.measure(ledger)
        except ProblemError as problem:
            if problem.exit_code in {ExitCode.USAGE, ExitCode.INTERRUPTED}:
                raise
            problem.show()
            codes.append(ExitCode(problem.exit_code))
        else:
            click.echo(str(job.folder.record))
            codes.append(ExitCode.CERTIFIED)
    sys.exit(worst(codes))
