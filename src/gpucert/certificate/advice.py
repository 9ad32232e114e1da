"""Diagnoses sorted by what they are about: the card, the station, or nothing that counts against either."""

from collections.abc import Iterable
from dataclasses import dataclass

from gpucert.certificate.payload import Payload
from gpucert.diagnosis import UnknownDiagnosisError, kind_of
from gpucert.outcome import VerdictOutcome
from gpucert.verdict.verdict import Diagnosed


@dataclass(frozen=True)
class Told:
    """A diagnosis with what its code means."""

    diagnosed: Diagnosed
    meaning: str


@dataclass(frozen=True)
class Section:
    """Diagnoses about the same, under one heading; `style` is the class that marks them."""

    heading: str
    style: str
    told: tuple[Told, ...]


def sections(payload: Payload) -> tuple[Section, ...]:
    """The diagnoses of a run; nothing counts against a card that has its tier or report all the same."""
    passed = payload.verdict in {VerdictOutcome.CERTIFIED, VerdictOutcome.REPORTED}
    return sorted_by_subject(payload.diagnoses, only_advise=passed)


def sorted_by_subject(diagnoses: Iterable[Diagnosed], *, only_advise: bool) -> tuple[Section, ...]:
    """What is wrong with the card, then what is about the station, then advice."""
    told = tuple(diagnoses)
    faults = [one for one in told if one.subject == "card" and not (one.advisory or only_advise)]
    station = [one for one in told if one.subject == "station"]
    notes = [one for one in told if one not in (*faults, *station)]
    parts = (
        ("What is wrong with the card, and what to do", "fault", faults),
        ("About the station, not the card", "station", station),
        ("Advice: nothing that counts against the card", "advice", notes),
    )
    return tuple(Section(heading, style, _told(some)) for heading, style, some in parts if some)


def _told(diagnoses: Iterable[Diagnosed]) -> tuple[Told, ...]:
    return tuple(Told(one, meaning(one.code)) for one in diagnoses)


def meaning(code: str) -> str:
    """What a code means; a code that the table has not is its own meaning."""
    try:
        return kind_of(code).meaning
    except UnknownDiagnosisError:
        return code
