"""What a record is judged by: the shipped policy and baseline, or someone's own, kept beside the run from its start."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from gpucert.baselines import defaults, lint, reference
from gpucert.baselines.reference import References
from gpucert.catalogue import shelf
from gpucert.cli.console import ProblemError
from gpucert.verdict import policy as policies
from gpucert.verdict.policy import Policy, PolicyError

KEPT_POLICY = "policy.toml"
KEPT_BASELINE = "baseline.toml"

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class RuleFiles:
    """The files that were named on the command line; None stands for the shipped."""

    policy: Path | None = None
    baseline: Path | None = None


@dataclass(frozen=True)
class Rules:
    """Ready for judging. `references` is None where the baselines of this version are meant."""

    policy: Policy
    references: References | None = None


def rule_options(command: Command) -> Command:
    """Add the options that name rules to a command."""
    existing = click.Path(path_type=Path, dir_okay=False)
    own = click.option("--policy", type=existing, help="A policy of your own (then tiers are “custom”).")
    learned = click.option(
        "--baseline", type=existing, help="What `gpucert baseline learn` wrote (then tiers are “custom”)."
    )
    return own(learned(command))


def load(files: RuleFiles) -> Rules:
    """The rules of these files. Raises ProblemError."""
    return Rules(_policy(files.policy), None if files.baseline is None else references(files.baseline))


def of_run(folder: Path, files: RuleFiles) -> Rules:
    """The rules that are asked for, else those that the run was begun with, else the shipped. Raises ProblemError."""
    return load(
        RuleFiles(
            files.policy or _existing(folder / KEPT_POLICY),
            files.baseline or _existing(folder / KEPT_BASELINE),
        )
    )


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def kept(files: RuleFiles) -> dict[str, bytes]:
    """What to put beside a run, by file name, so that a run that goes on is judged by the same rules."""
    named = {KEPT_POLICY: files.policy, KEPT_BASELINE: files.baseline}
    return {name: path.read_bytes() for name, path in named.items() if path is not None}


def _policy(path: Path | None) -> Policy:
    if path is None:
        return policies.shipped()
    try:
        return policies.parse(_read(path), str(path))
    except PolicyError as error:
        raise ProblemError(str(error)) from error


def references(path: Path) -> References:
    """The reference cards of a file, of a model of the catalogue that can have measured them. Raises ProblemError."""
    found = unlinted(path)
    if defects := defects_of(found):
        more = f" (and {len(defects) - 1} more: `gpucert baseline lint FILE` tells all)" if len(defects) > 1 else ""
        raise ProblemError(f"{path}: {defects[0]}{more}")
    return found


def unlinted(path: Path) -> References:
    """The reference cards of a file, whether or not they can be. Raises ProblemError for one that cannot be read."""
    text = _read(path)
    try:
        found = reference.parse(text, str(path), None, defaults.shipped())
        shelf.get(found.model)
    except defaults.BaselineDataError as error:
        raise ProblemError(str(error)) from error
    except shelf.UnknownModelError as error:
        raise ProblemError(f"{path}: model: {error}") from error
    return found


def defects_of(found: References) -> tuple[lint.Defect, ...]:
    """What in these reference cards cannot be true of their model."""
    return lint.lint(shelf.get(found.model), found, defaults.shipped(), shelf.every())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProblemError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}") from error
