"""What one look at a card shows beside its counters: a slowdown at that moment, Xids in a log, a card that is gone.

A run judges all of these over time; a capture has only the moment, so confidence stays low where time would decide.
"""

from collections import Counter as Tally
from collections.abc import Iterable

from gpucert.catalogue import xid
from gpucert.device.gpu import THERMAL_REASONS, EventReason
from gpucert.device.kernel_log import FELL_OFF_THE_BUS
from gpucert.device.smi import Capture
from gpucert.diagnosis import kind_of
from gpucert.outcome import Outcome
from gpucert.reading import Absence, Absent
from gpucert.record import Event
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding

PROBE = "inspect"

_OWN_DIAGNOSIS = {
    48: "memory.ecc_uncorrected",
    79: "device.lost",
    94: "memory.ecc_uncorrected",
    95: "memory.ecc_uncorrected",
    119: "device.firmware",
    120: "device.firmware",
    140: "memory.ecc_uncorrected",
    171: "memory.ecc_uncorrected",
}
"""Xids that other diagnoses account for; the rest are `xid.N`."""

_CONFIDENCE: dict[str, Confidence] = {"FAIL": "likely", "HOLD": "possible", "WARN": "possible"}
"""By what the catalogue says of an Xid in a card's history; weights that are not here say nothing about the card."""

_MAX_QUOTE = 160
"""Characters of a log line that evidence repeats."""

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
    yield from _xids(capture.events)


def _presence(capture: Capture) -> Iterable[_Observation]:
    fallen = any(event.code == FELL_OFF_THE_BUS for event in capture.events)
    unread = {reason.absent: reason for reason in _unread(capture)}
    if Absence.LOST in unread and not fallen:
        said = unread[Absence.LOST].detail
        yield "device.lost", "presence", f"The driver knows this card and cannot reach it: {said}", "likely"
    if any(event.code == "not_initialised" for event in capture.events):
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


def _xids(events: tuple[Event, ...]) -> Iterable[_Observation]:
    tally = Tally(int(event.code) for event in events if event.kind == "xid")
    for number, times in sorted(tally.items()):
        row = xid.describe(number)
        confidence = _CONFIDENCE.get(row.in_history)
        if confidence is not None:
            text = next(event.text for event in events if event.code == str(number))
            often = "once" if times == 1 else f"{times} times"
            evidence = f"The kernel log has Xid {number} ({row.meaning}) {often}: {text[:_MAX_QUOTE]}"
            yield _OWN_DIAGNOSIS.get(number, f"xid.{number}"), f"xid_{number}", evidence, confidence
