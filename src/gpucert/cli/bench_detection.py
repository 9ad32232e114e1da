"""`gpucert bench detection`: what is found of faults that were planted in virtual cards."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpucert.cli.console import ProblemError, counting
from gpucert.outcome import ExitCode

if TYPE_CHECKING:
    from gpucert.trials.detection import Told

MOST = click.IntRange(1, 100_000)
SLOW_SHARE = 20
"""One in so many cards also by what is slow, where nothing else is asked for."""


@click.command("detection", short_help="What is found of planted faults.")
@click.option(
    "--suite",
    type=click.Choice(["memory", "compute", "cycles", "heat"]),
    help="Faults of memory, wrong answers, joints that heat cycles open, or faults of cooling.  "
    "[default: of the kinds that are named, else memory]",
)
@click.option("--seeds", default=600, show_default=True, type=MOST, help="Cards of each kind of fault.")
@click.option(
    "--slow-seeds", type=MOST, help="Of these, for what is slow: deep scans and peers.  [default: a twentieth]"
)
@click.option("--healthy", default=2000, show_default=True, type=MOST, help="Cards without a fault.")
@click.option("--sample", type=MOST, help="A quick look: so many cards of each kind, healthy ones too.")
@click.option("--profile", "profiles", multiple=True, help="Ours, instead of all; repeatable.")
@click.option("--kind", "kinds", multiple=True, help="Of planted fault, instead of all; repeatable.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="The algorithms of other tools as well.")
@click.option("--ablate", is_flag=True, help="Quick and standard without each of their phases or steps as well.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31), help="Other cards.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the tables into a page (.md) or a file of their own (.json) as well.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
@click.option(
    "--show",
    type=(str, click.IntRange(0, 2**63 - 1)),
    metavar="KIND SEED",
    help="Print the scenario of one card alone.",
)
def detection(
    suite: str | None,
    seeds: int,
    slow_seeds: int | None,
    healthy: int,
    sample: int | None,
    profiles: tuple[str, ...],
    kinds: tuple[str, ...],
    seed: int,
    out: Path | None,
    show: tuple[str, int] | None,
    *,
    peers: bool,
    ablate: bool,
    as_json: bool,
) -> None:
    """What is found of faults planted in virtual cards, and told right, beside other algorithms.

    Faults of memory are looked for by the memory scan, wrong answers by the steps of a plan that check arithmetic,
    joints that part with the heat by heat cycles and the steps that ask the same before.
    Every card is drawn from its kind of fault and its seed; docs/detection.md says how. Recall on planted virtual
    faults, with exact bounds: nothing here was measured on silicon. Uses all cores.

    \b
    Exit codes: 0; 20 where something was found on a healthy card.
    \b
    Examples:
      gpucert bench detection --sample 5
      gpucert bench detection --suite compute --sample 5
      gpucert bench detection --kind coupling --profile standard --no-peers --ablate
      gpucert bench detection --show coupling 17 > coupling.toml
    """
    from concurrent.futures.process import BrokenProcessPool

    from gpucert.cli.matching import match
    from gpucert.trials.detection import (
        SUITES,
        TwoSuitesError,
        UnknownKindError,
        UnknownProfileError,
        Wanted,
        run,
        scenario,
        suite_of,
    )

    try:
        if show:
            click.echo(scenario(*show, suite), nl=False)
            return
        some = sample or seeds
        chosen = suite or suite_of(kinds)
        wanted = Wanted(
            suite=chosen,
            kinds=tuple(dict.fromkeys(kinds or SUITES[chosen].KINDS)),
            profiles=tuple(dict.fromkeys(profiles or SUITES[chosen].PROFILES)),
            peers=peers,
            ablate=ablate,
            seeds=some,
            slow=min(some, slow_seeds or sample or -(-some // SLOW_SHARE)),
            healthy=sample or healthy,
            seed=seed,
        )
        page = _page(out, chosen)
        told = run(wanted, match, counting)
    except (UnknownKindError, TwoSuitesError) as error:
        raise ProblemError(f"{'--show' if show else '--kind'}: {error}") from error
    except UnknownProfileError as error:
        raise ProblemError(f"--profile: {error}") from error
    except BrokenProcessPool as error:
        raise ProblemError(f"a process of this bench was killed: {error}", ExitCode.INCOMPLETE) from error
    _tell(told, out, page, as_json=as_json)
    sys.exit(told.exit_code)


def _page(out: Path | None, suite: str) -> str:
    """What the page holds that the tables go into. Raises ProblemError now rather than after half an hour."""
    from gpucert.trials.detection_table import NoPlaceError, place

    if out is None or out.suffix == ".json":
        return ""
    if out.suffix != ".md":
        raise ProblemError(f"--out {out}: must end in .md or .json")
    try:
        page = out.read_text(encoding="utf-8") if out.exists() else ""
        place(page, suite)
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"--out {out}: cannot be read: {error}") from error
    except NoPlaceError as error:
        raise ProblemError(f"--out {out}: {error}") from error
    return page


def _tell(told: "Told", out: Path | None, page: str, *, as_json: bool) -> None:
    import msgspec

    from gpucert.run import whole_file
    from gpucert.trials.detection_table import lines, placed

    json = msgspec.json.format(msgspec.json.encode(told)) + b"\n"
    if as_json:
        click.echo(json, nl=False)
    else:
        for line in lines(told):
            click.echo(line)
    if out is not None:
        whole_file.write(out, json if out.suffix == ".json" else placed(page, told).encode())
