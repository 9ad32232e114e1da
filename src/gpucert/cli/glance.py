"""What one look at a card shows beside its counters: a slowdown at that moment, Xids in a log, a card that is gone.

A run judges all of these over time; a capture has only the moment, so confidence stays low where time would decide.
"""

from collections.abc import Iterable

from gpucert.capture import Capture, LoggedXid
from gpucert.catalogue.xid import FELL_OFF_THE_BUS
from gpucert.diagnosis import kind_of
from gpucert.outcome import Outcome
from gpucert.reading import Absence, Absent
from gpucert.record import THERMAL_REASONS, EventReason
from gpucert.verdict import xids
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding

PROBE = "inspect"

_CONFIDENCE: dict[str, Confidence] = {"FAIL": "likely", "HOLD": "possible", "WARN": "possible"}
"""By what the catalogue says of an Xid in a card's history; weights that are not here say nothing about the card."""

Judged = tuple[tuple[Finding, ...], tuple[Diagnosed, ...]]


def judge_glance(capture: Capture) -> Judged:
    """Findings and diagnoses of what one capture shows beside its counters."""
    findings: list[Finding] = []
    diagnoses: list[Diagnosed] = []
    for code, measure, evidence, confidence in _observations(capture):
        kind = kind_of(code)
        diagnoses.append(
            Diagnosed(
                code=code,
                where="",
                confidence=confidence,
                action=kind.action,
                evidence=evidence,
                subject=kind.subject,
            )
        )
        findings.append(
            Finding(
                probe=PROBE,
                measure=measure,
                outcome=Outcome.FAIL,
                value=None,
                unit="",
                limit="",
                reason=evidence,
                authority="the driver's own words in this file",
                subject=kind.subject,
            )
        )
    return tuple(findings), tuple(diagnoses)


_Observation = tuple[str, str, str, Confidence]
"""Diagnosis code, measure, evidence in one sentence, confidence."""


def _observations(capture: Capture) -> Iterable[_Observation]:
    yield from _presence(capture)
    yield from _slowdowns(capture.sample.event_reasons)
    yield from _xids(capture.log)


def _presence(capture: Capture) -> Iterable[_Observation]:
    fallen = any(one.code == FELL_OFF_THE_BUS for one in capture.log)
    unread = {reason.absent: reason for reason in _unread(capture)}
    if Absence.LOST in unread and not fallen:
        said = unread[Absence.LOST].detail
        yield "device.lost", "presence", f"The driver knows this card and cannot reach it: {said}", "likely"
    if capture.not_initialised:
        yield "device.lost", "presence", "The driver could not start this card (RmInitAdapter failed).", "possible"
    if Absence.RESET_REQUIRED in unread:
        yield "device.reset_required", "presence", "The driver answers that the card needs a reset.", "certain"
    if Absence.ABSURD in unread:
        yield "sensor.absurd", "readings", f"A reading that cannot be: {unread[Absence.ABSURD].detail}", "certain"


def _unread(capture: Capture) -> Iterable[Absent]:
    for part in (capture.identity, capture.settings, capture.counters, capture.sample):
        values = (getattr(part, name) for name in part.__struct_fields__)
        yield from (value for value in values if isinstance(value, Absent))


def _slowdowns(mask: object) -> Iterable[_Observation]:
    if not isinstance(mask, int):
        return
    reasons = EventReason(mask)
    if reasons & EventReason.HW_POWER_BRAKE:
        yield (
            "station.power",
            "power_brake",
            "The host's power brake was holding the card back when this was written.",
            "certain",
        )
    if reasons & THERMAL_REASONS:
        yield "thermal.throttle", "thermal_throttle", "The card was slowed by heat when this was written.", "possible"


def _xids(log: tuple[LoggedXid, ...]) -> Iterable[_Observation]:
    for one in (xids.weighed(told.code, told.times, told.first) for told in log):
        confidence = _CONFIDENCE.get(one.weight(in_run=False))
        if confidence is not None:
            evidence = f"The kernel log has Xid {one.code} ({one.row.meaning}) {one.often}: {one.quote}"
            yield one.diagnosis, f"xid_{one.code}", evidence, confidence
