"""Which cards a run is about, and where their files go: the options that certify and run share."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gpucert.cli.console import ProblemError
from gpucert.outcome import ExitCode

if TYPE_CHECKING:
    from gpucert.device.simulated.scenario import Scenario
    from gpucert.record import Identity
    from gpucert.run.plan import PlannedRun
    from gpucert.run.request import RunRequest

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True)
class Wanted:
    """What a person asked for on the command line."""

    simulate: str | None
    gpu: str | None
    every: bool
    plan: str
    hours: float | None
    out: Path | None
    seed: int | None
    inlet_c: float | None


def _finite(_ctx: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and -40 <= value <= 80):
        raise click.BadParameter(f"{value} is no temperature of inlet air; give degrees Celsius between -40 and 80")
    return value


_OPTIONS = (
    click.option("--simulate", metavar="NAME|FILE", help="A virtual card instead of a GPU: a scenario or its file."),
    click.option(
        "--gpu", metavar="LIST", help="Indices, UUIDs or bus ids, separated by commas. Default: the only GPU."
    ),
    click.option("--all", "every", is_flag=True, help="Every GPU of this station, one after another."),
    click.option("--plan", default="standard", show_default=True, metavar="NAME", help="quick, standard or burnin."),
    click.option("--hours", type=float, help="Length of a burn-in: 4, 8 or 12."),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where the files go, one folder per card. Default: gpucert-runs/ and the time.",
    ),
    click.option("--seed", type=click.IntRange(0, 2**53 - 1), help="Repeat a run with the data of another one."),
    click.option(
        "--inlet-c", type=float, callback=_finite, help="Temperature of the air that reaches the card, in °C."
    ),
)


def target_options(command: Command) -> Command:
    """Add the options that name cards, plan and place to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Unreachable:
    """A card that the driver lists and that answers nothing to hold on to."""

    folder: Path
    why: str


def requests(wanted: Wanted) -> "list[RunRequest | Unreachable]":
    """One request for each card. Raises ProblemError; without any card it says so in two lines, exit code 30."""
    from gpucert.run import plan

    if wanted.simulate is not None and (wanted.gpu is not None or wanted.every):
        raise ProblemError("--simulate stands instead of a GPU: leave out --gpu and --all")
    if wanted.gpu is not None and wanted.every:
        raise ProblemError("--gpu and --all exclude each other")
    try:
        planned = plan.ready(plan.load(wanted.plan), wanted.hours)
    except plan.PlanError as error:
        raise ProblemError(str(error)) from error
    root = wanted.out or Path("gpucert-runs") / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    if wanted.simulate is not None:
        return [_virtual(wanted, wanted.simulate, planned, root)]
    asked = [_real(wanted, index, card, planned, root) for index, card in _cards(wanted)]
    return [*asked, *_unseen(root)] if wanted.every else asked


def _virtual(wanted: Wanted, name: str, planned: "PlannedRun", root: Path) -> "RunRequest":
    from gpucert.device.simulated import scenario
    from gpucert.run.request import RunRequest

    try:
        text, source = scenario.find(name)
        _refuse_unknown_probes(scenario.parse(text, source), source)
    except scenario.ScenarioError as error:
        raise ProblemError(str(error)) from error
    return RunRequest(
        plan=planned,
        folder=root / f"simulated-{Path(name).stem}",
        scenario=text,
        source=source,
        seed=wanted.seed,
        inlet_c=wanted.inlet_c,
    )


def _refuse_unknown_probes(card: "Scenario", source: str) -> None:
    """A fault of a probe that does not exist would leave the card healthy without a word."""
    from gpucert import probes

    for number, fault in enumerate(card.faults):
        probe = getattr(fault, "probe", None)
        if probe is not None and probe not in probes.names():
            raise ProblemError(
                f"{source}: fault[{number}].probe: no probe is called {probe!r}; there are {', '.join(probes.names())}"
            )


def _real(
    wanted: Wanted, index: int, card: "Identity", planned: "PlannedRun", root: Path
) -> "RunRequest | Unreachable":
    from gpucert.run.request import RunRequest

    which = next((str(one) for one in (card.uuid, card.bus_id) if isinstance(one, str)), None)
    if which is None:
        return Unreachable(root / f"gpu-{index}", f"GPU {index} answers neither UUID nor bus id: {card.name}")
    safe = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in card.card_id)
    return RunRequest(plan=planned, folder=root / safe, gpu=which, seed=wanted.seed, inlet_c=wanted.inlet_c)


def _cards(wanted: Wanted) -> "list[tuple[int, Identity]]":
    """The cards that were asked for, with the driver's index of each. Raises ProblemError."""
    from gpucert.device import apart
    from gpucert.device.gpu import NoDriverError

    try:
        present = apart.list_gpus()
    except NoDriverError as error:
        raise ProblemError(
            f"{error}\ngpucert: try it without a GPU: gpucert certify --simulate healthy-a100-sxm4-80gb",
            ExitCode.INCOMPLETE,
        ) from error
    if not present:
        raise ProblemError("the driver shows no GPU; see `gpucert devices`", ExitCode.INCOMPLETE)
    if wanted.gpu is not None:
        return [_pick(present, one.strip()) for one in wanted.gpu.split(",")]
    if wanted.every or len(present) == 1:
        return list(enumerate(present))
    raise ProblemError(f"this station has {len(present)} GPUs: choose with --gpu 0,… or take --all")


def _unseen(root: Path) -> Iterator[Unreachable]:
    """The cards of this station that no driver shows: `--all` must not end well without them."""
    from gpucert.run.processes import environment
    from gpucert.station import cards, gather

    sight = gather.sight(os.environ, environment(os.environ), limit_s=gather.time_left())
    for card in cards.every(sight):
        if card.index is None and card.unseen is not None and not card.unseen.hidden:
            where = (card.bus_id or "unknown").replace(":", "-")
            why = f"{card.name} at {card.bus_id}: {card.unseen.why}; {card.unseen.remedy}"
            yield Unreachable(root / f"unseen-{where}", why)


def _pick(present: "tuple[Identity, ...]", which: str) -> "tuple[int, Identity]":
    if which.isdecimal() and int(which) < len(present):
        return int(which), present[int(which)]
    for index, card in enumerate(present):
        if which.lower() in {str(card.uuid).lower(), str(card.bus_id).lower()}:
            return index, card
    raise ProblemError(f"--gpu {which}: no such card here; there are 0 to {len(present) - 1}, see `gpucert devices`")
