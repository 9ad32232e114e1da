"""The words for how things ended, each with its symbol, colour and exit code, in one table."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import NamedTuple


class ExitCode(IntEnum):
    """What a gpucert process tells the shell or the burn-in rack."""

    CERTIFIED = 0
    USAGE = 2
    RESTRICTED = 10
    NOT_CERTIFIED = 20
    INCOMPLETE = 30
    INTERRUPTED = 130


class Outcome(StrEnum):
    """How one measurement was judged."""

    PASS = "pass"
    MARGINAL = "marginal"
    FAIL = "fail"
    SKIPPED = "skipped"
    NOT_OFFERED = "not_offered"
    ERROR = "error"


class VerdictOutcome(StrEnum):
    """How a whole card was judged."""

    CERTIFIED = "certified"
    REPORTED = "reported"
    NOT_CERTIFIED = "not_certified"
    INCOMPLETE = "incomplete"


class StepStatus(StrEnum):
    """How a step ended: a fact of the record, never a judgement."""

    RAN = "ran"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    ABORTED = "aborted"
    ERROR = "error"


class Look(NamedTuple):
    """How an outcome is shown; every output takes it from here so that no two differ."""

    word: str
    symbol: str
    colour: str
    """A colour name that both rich and the style sheet's classes know."""
    meaning: str


LOOKS: dict[Outcome | VerdictOutcome, Look] = {
    Outcome.PASS: Look("pass", "✔", "green", "measured, and within its limit beyond doubt"),
    Outcome.MARGINAL: Look("marginal", "≈", "yellow", "too close to its limit to decide; costs a tier"),
    Outcome.FAIL: Look("FAIL", "✘", "red", "measured, and outside its limit beyond doubt"),
    Outcome.SKIPPED: Look("not tested", "–", "magenta", "nothing was measured, so nothing is claimed"),
    Outcome.NOT_OFFERED: Look("not offered", "∅", "blue", "this model has no such part"),
    Outcome.ERROR: Look("error", "!", "red", "the measurement itself went wrong"),
    VerdictOutcome.CERTIFIED: Look("CERTIFIED", "✔", "green", "every gate of the stated tier was tested and met"),
    VerdictOutcome.REPORTED: Look("REPORTED", "◐", "blue", "a short plan found nothing; it is no certificate"),
    VerdictOutcome.NOT_CERTIFIED: Look("NOT CERTIFIED", "✘", "red", "a gate failed"),
    VerdictOutcome.INCOMPLETE: Look("INCOMPLETE", "!", "magenta", "something that decides was not tested"),
}

_WORST_FIRST = (
    ExitCode.INTERRUPTED,
    ExitCode.INCOMPLETE,
    ExitCode.NOT_CERTIFIED,
    ExitCode.RESTRICTED,
    ExitCode.CERTIFIED,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of several cards: the worst of 130, 30, 20, 10, 0. No card at all is INCOMPLETE."""
    present = set(codes)
    return next((code for code in _WORST_FIRST if code in present), ExitCode.INCOMPLETE)
