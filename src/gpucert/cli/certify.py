"""`gpucert certify`: run, judge, repeat what is undecided, issue; the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from gpucert.cli.console import ProblemError
from gpucert.cli.rules import RuleFiles, load, of_run, rule_options
from gpucert.cli.targets import Wanted, target_options
from gpucert.outcome import ExitCode, worst

if TYPE_CHECKING:
    from gpucert.cli.jobs import Judged
    from gpucert.cli.measuring import Job
    from gpucert.store.ledger import Ledger


@click.command(short_help="Test a card, judge it and write its certificate: the main job.")
@target_options
@click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Go on with an interrupted run.")
@rule_options
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="The ledger's file.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit file as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
def command(
    resume: Path | None,
    policy: Path | None,
    baseline: Path | None,
    store: Path | None,
    junit: Path | None,
    *,
    as_json: bool,
    **target: object,
) -> None:
    """Test a card, judge it and write its certificate.

    Clocks, limits and modes of the card are read and never changed. Ctrl-C ends cleanly; --resume goes on.

    \b
    Examples:
      gpucert certify --simulate healthy-a100-sxm4-80gb
      gpucert certify --gpu 0 --inlet-c 24
      gpucert certify --all --plan burnin --hours 8 --out /srv/burnin --json
    \b
    Example: go on after a power cut
      gpucert certify --resume gpucert-runs/2026-11-23T08-16-36Z
    """
    from gpucert.cli import jobs
    from gpucert.cli.ending import show_verdict
    from gpucert.cli.measuring import new, resumed
    from gpucert.cli.summary import CardSummary, print_json

    files = RuleFiles(policy, baseline)
    load(files)
    if junit and not junit.absolute().parent.is_dir():
        raise ProblemError(f"{junit}: there is no folder {junit.absolute().parent}; make it first")
    if resume:
        _refuse_more_than_resume(click.get_current_context())
    ledger = jobs.open_store(store)
    wanted = Wanted(**target)  # type: ignore[arg-type]  # click hands over exactly these options
    done: list[Judged] = []
    cards: list[CardSummary] = []
    unjudged: list[str] = []
    for job in resumed(resume) if resume else new(wanted):
        try:
            judged = _certify(job, files, ledger)
        except ProblemError as problem:
            if problem.exit_code == ExitCode.USAGE:
                raise
            problem.show()
            cards.append(CardSummary.unjudged(job.folder, ExitCode(problem.exit_code)))
            unjudged.append(cards[-1].card)
            if problem.exit_code == ExitCode.INTERRUPTED:
                break
        else:
            show_verdict(judged.verdict, job.folder, stderr=as_json)
            cards.append(CardSummary.of(judged, job.folder))
            done.append(judged)
    if junit:
        from gpucert.certificate.junit import junit as as_junit

        jobs.write(junit, as_junit([(judged.record, judged.verdict) for judged in done], unjudged).encode())
    if as_json:
        print_json(cards)
    sys.exit(worst(card.exit_code for card in cards))


def _refuse_more_than_resume(ctx: click.Context) -> None:
    """A run goes on as it was begun: what is said differently now would be ignored without a word."""
    begun_with = ("simulate", "gpu", "every", "plan", "hours", "out", "seed", "inlet_c")
    for option in ctx.command.params:
        if option.name in begun_with and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise ProblemError(f"--resume goes on with the run as it was begun: leave {option.opts[0]} out")


def _certify(job: "Job", files: RuleFiles, ledger: "Ledger") -> "Judged":
    """Run one card, judge it, measure again what is undecided, and issue the page. Raises ProblemError."""
    from gpucert import record as records
    from gpucert.cli import issue, jobs
    from gpucert.run import supervisor

    record = job.measure(ledger, files)
    rules = of_run(job.folder.path, files)
    judged = jobs.judge_file(job.folder.record, rules)
    while again := supervisor.repeatable(record, judged.verdict.undecided):
        record = job.measure_again(again, ledger)
        judged = jobs.judge_file(job.folder.record, rules)
    jobs.write(job.folder.verdict, records.encode(judged.verdict))
    standing = jobs.note_in_ledger(ledger, job.folder, judged)
    issue.write_page(job.folder, judged, standing)
    return judged
