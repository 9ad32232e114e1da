"""`gpucert judge`: facts in, verdict out; the card is not needed."""

from pathlib import Path

import click

from gpucert.cli.rules import RuleFiles, of_run, rule_options


@click.command(short_help="Judge a record by today's limits and policy; the card is not needed.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@rule_options
@click.option("--store", type=click.Path(path_type=Path, dir_okay=False), help="The ledger's file.")
@click.option("--explain", "explained", is_flag=True, help="Walk through every gate: measured, limit, whose, how sure.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    policy: Path | None,
    baseline: Path | None,
    store: Path | None,
    *,
    explained: bool,
    as_json: bool,
) -> None:
    """Judge the record in FOLDER again, and write verdict.json beside it.

    What was undecided stays marginal here: only `gpucert certify` can measure again.

    \b
    Example:
      gpucert judge gpucert-runs/2026-11-23T08-16-36Z/GPU-1234
      gpucert judge --explain gpucert-runs/2026-11-23T08-16-36Z/GPU-1234
    """
    from gpucert import record as records
    from gpucert.cli import jobs
    from gpucert.cli.ending import show_verdict
    from gpucert.cli.summary import CardSummary, print_json

    card = jobs.card_folder(folder)
    judged = jobs.judge_file(card.record, of_run(card.path, RuleFiles(policy, baseline)))
    jobs.write(card.verdict, records.encode(judged.verdict))
    jobs.note_in_ledger(jobs.open_store(store), card, judged)
    if as_json:
        print_json([CardSummary.of(judged, card)])
    else:
        if explained:
            from gpucert.cli.walk import explain

            explain(judged.verdict, judged.baseline)
        show_verdict(judged.verdict, None, stderr=False)
    ctx.exit(judged.verdict.exit_code)
