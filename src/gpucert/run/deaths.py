"""What the end of a worker means: the table that splits card from station, and how to look an end up in it."""

import signal
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
from msgspec import Struct

from gpucert.outcome import StepStatus
from gpucert.record import Death

EXIT_ORPHANED = 91
"""The worker's watchdog found that the supervisor is gone."""
EXIT_UNWATCHED = 92
"""The worker's watchdog missed the monitor's heartbeat or a fresh temperature."""
EXIT_ABORTED = 93
"""The worker's watchdog saw the abort flag."""

Then = Literal["go_on", "skip_rest", "stop"]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table."""

    kind: str
    subject: Literal["card", "station"]
    status: StepStatus
    then: Then
    text: str
    errors: tuple[str, ...] = ()
    """Names of exception classes, those of base classes included."""
    signals: tuple[str, ...] = ()
    exits: tuple[int, ...] = ()

    def death(self, detail: str = "", *, signal_number: int | None = None, exit_code: int | None = None) -> Death:
        """The fact for the record."""
        text = f"{self.text}: {detail}" if detail else self.text
        return Death(kind=self.kind, subject=self.subject, text=text, signal=signal_number, exit_code=exit_code)


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    death: tuple[Rule, ...]


@cache
def table() -> tuple[Rule, ...]:
    """Every row, in the order of the file."""
    text = files("gpucert.run").joinpath("deaths.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=_Table).death


def of_kind(kind: str) -> Rule:
    """The row of this name. Raises LookupError."""
    row = next((rule for rule in table() if rule.kind == kind), None)
    if row is None:
        raise LookupError(f"no death is called {kind!r}")
    return row


def of_error(error: BaseException) -> Rule | None:
    """The row for an exception, None where it is nobody's fault but the probe's."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return next((rule for rule in table() if names & set(rule.errors)), None)


def of_exit(returncode: int) -> tuple[Rule, Death]:
    """The row and the fact for a worker that ended without its last words; negative codes are signals."""
    if returncode < 0:
        number = -returncode
        name = _signal_name(number)
        rule = next((rule for rule in table() if name in rule.signals), of_kind("killed"))
        return rule, rule.death(name, signal_number=number)
    rule = next((rule for rule in table() if returncode in rule.exits), of_kind("no_answer"))
    return rule, rule.death(f"exit code {returncode}", exit_code=returncode)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
