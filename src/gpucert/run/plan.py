"""Plans: which probes run, for how long, in which order, and which of them a certificate cannot do without."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from gpucert import probes
from gpucert.record import PlanRun

Option = str | float | bool
Letter = Literal["A", "B", "C", "D"]


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One probe with its seconds; a `blocker` that does not pass keeps the card from being certified."""

    probe: str
    seconds: float
    blocker: bool = False
    cycle: bool = False
    """True for the steps that a plan of hours repeats until they are over."""
    options: dict[str, Option] = {}


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan as its file gives it."""

    name: str
    version: int
    summary: str
    yields: Literal["report", "certificate"]
    best_tier: Letter | None = None
    hours: tuple[float, ...] = ()
    """The durations that may be asked for, the first is the default; none for a plan of fixed length."""
    step: tuple[Step, ...]


class PlannedRun(Struct, frozen=True, kw_only=True):
    """A plan made ready to run: every cycle written out."""

    run: PlanRun
    steps: tuple[Step, ...]


class PlanError(ValueError):
    """A plan cannot be used; the text names the file, the field and the remedy."""


def names() -> tuple[str, ...]:
    """The built-in plans, sorted."""
    folder = files("gpucert.run.plans")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load(name: str) -> Plan:
    """A built-in plan. Raises PlanError."""
    if name not in names():
        raise PlanError(f"no plan is called {name!r}; there are {', '.join(names())}")
    return parse(files("gpucert.run.plans").joinpath(f"{name}.toml").read_text(encoding="utf-8"), f"plans/{name}.toml")


def parse(text: str, source: str) -> Plan:
    """Read a plan from TOML text; `source` names it in errors. Raises PlanError."""
    try:
        plan = msgspec.toml.decode(text, type=Plan)
    except msgspec.DecodeError as error:
        raise PlanError(f"{source}: {error}") from error
    for position, step in enumerate(plan.step):
        where = f"{source}: step[{position}] ({step.probe})"
        if step.probe not in probes.names():
            raise PlanError(f"{where}: no such probe; there are {', '.join(probes.names())}")
        if not 0 < step.seconds <= 86_400:
            raise PlanError(f"{where}: seconds must be between 0 and 86400, not {step.seconds}")
    if not plan.step:
        raise PlanError(f"{source}: a plan without steps tests nothing")
    if plan.hours and not any(step.cycle for step in plan.step):
        raise PlanError(f"{source}: hours need at least one step with cycle = true")
    return plan


def ready(plan: Plan, hours: float | None = None) -> PlannedRun:
    """Write out the cycles of a plan for the hours asked for. Raises PlanError."""
    if hours is not None and hours not in plan.hours:
        allowed = ", ".join(f"{choice:g}" for choice in plan.hours) or "none: its length is fixed"
        raise PlanError(f"plan {plan.name}: --hours {hours:g} is not offered ({allowed})")
    chosen = hours if hours is not None else (plan.hours[0] if plan.hours else None)
    steps = plan.step if chosen is None else _with_cycles(plan.step, chosen * 3600)
    text = msgspec.json.encode(msgspec.to_builtins(plan), order="sorted")
    run = PlanRun(
        name=plan.name,
        version=plan.version,
        yields=plan.yields,
        best_tier=_best_tier(plan, chosen),
        hours=chosen,
        sha256=hashlib.sha256(text).hexdigest(),
    )
    return PlannedRun(run=run, steps=steps)


def _with_cycles(steps: tuple[Step, ...], seconds: float) -> tuple[Step, ...]:
    cycle = tuple(step for step in steps if step.cycle)
    first = steps.index(cycle[0])
    before, after = steps[:first], tuple(step for step in steps[first:] if not step.cycle)
    once = sum(step.seconds for step in before + after)
    times = max(1, round((seconds - once) / sum(step.seconds for step in cycle)))
    return before + cycle * times + after


_TIER_BY_HOURS: Mapping[float, Letter] = {4.0: "C", 8.0: "B", 12.0: "A"}


def _best_tier(plan: Plan, hours: float | None) -> Letter | None:
    """The best tier that a plan of this length can yield."""
    return plan.best_tier if hours is None else _TIER_BY_HOURS.get(hours, plan.best_tier)
