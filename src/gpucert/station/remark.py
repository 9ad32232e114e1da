"""A remark: one thing about a station that was looked at, with what was found and what to do about it."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from gpucert.outcome import ExitCode

SCHEMA = "gpucert.doctor/1"


class State(StrEnum):
    """What a remark means for a certificate."""

    PROBLEM = "problem"
    """It stands between the station and a certificate."""
    UNKNOWN = "unknown"
    """It could not be looked at; the text says why."""
    WARNING = "warning"
    """A run goes on, and its answers may suffer."""
    OK = "ok"
    """It was looked at, and nothing was found."""


class Remark(Struct, frozen=True, kw_only=True):
    """One remark. Texts may quote drivers and files: they are escaped where they are printed."""

    topic: str
    """What it belongs to; a person reads the remarks of one topic together."""
    name: str
    """A stable word, or the code of a diagnosis."""
    state: State
    found: str
    remedy: str = ""
    card: str | UnsetType = UNSET
    """UUID, else bus id, of the card that it is about."""
    decides: bool = False
    """Whether a station may not be called ready while this is unknown."""


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a doctor says of a station."""

    schema: str = SCHEMA
    ready: bool
    """Nothing known stands in the way, and everything that decides was looked at."""
    remarks: tuple[Remark, ...]
    exit_code: ExitCode


def report(remarks: Iterable[Remark]) -> Report:
    """Topics in the order of their worst remark, and the worst first within each."""
    told = tuple(remarks)
    order = list(State)
    worst = {topic: min(order.index(one.state) for one in told if one.topic == topic) for topic in topics(told)}
    first = {topic: place for place, topic in enumerate(worst)}
    ready = not any(one.state is State.PROBLEM or _undecided(one) for one in told)
    return Report(
        ready=ready,
        remarks=tuple(sorted(told, key=lambda one: (worst[one.topic], first[one.topic], order.index(one.state)))),
        exit_code=ExitCode.CERTIFIED if ready else ExitCode.INCOMPLETE,
    )


def topics(remarks: Iterable[Remark]) -> tuple[str, ...]:
    """Each topic once, in the order of its first remark."""
    return tuple(dict.fromkeys(one.topic for one in remarks))


def closing(told: Report) -> str:
    """The one sentence that a person reads last."""
    problems = sum(one.state is State.PROBLEM for one in told.remarks)
    undecided = sum(map(_undecided, told.remarks))
    warnings = sum(one.state is State.WARNING for one in told.remarks)
    if problems:
        also = {0: "", 1: "; one that decides could not be looked at"}
        more = also.get(undecided, f"; {undecided} that decide could not be looked at")
        return f"{_things(problems)} between this station and a certificate{more}."
    if undecided:
        things = "One thing that decides" if undecided == 1 else f"{undecided} things that decide"
        return f"{things} could not be looked at: nobody knows whether this station is ready."
    if warnings:
        return f"Ready: nothing stands between this station and a certificate; {_warnings(warnings)}."
    return "Ready: nothing stands between this station and a certificate."


def _undecided(one: Remark) -> bool:
    return one.state is State.UNKNOWN and one.decides


def _things(count: int) -> str:
    return "One thing stands" if count == 1 else f"{count} things stand"


def _warnings(count: int) -> str:
    return "one warning" if count == 1 else f"{count} warnings"
