"""What one look at a card shows beside its counters: a slowdown at that moment, Xids in a log, a card that is gone.

A run judges all of these over time; a capture has only the moment, so confidence stays low where time would decide.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gpucert.capture import NOT_STATED, Capture, LoggedBusErrors, LoggedXid
from gpucert.catalogue.matching import Match
from gpucert.catalogue.model import Model
from gpucert.catalogue.xid import FELL_OFF_THE_BUS
from gpucert.diagnosis import kind_of
from gpucert.outcome import Outcome
from gpucert.reading import Absence, Absent
from gpucert.record import THERMAL_REASONS, Counters, EventReason
from gpucert.verdict import xids
from gpucert.verdict.facts import diagnosed
from gpucert.verdict.verdict import Confidence, Diagnosed, Finding

PROBE = "inspect"

_CONFIDENCE: dict[str, Confidence] = {"FAIL": "likely", "HOLD": "possible", "WARN": "possible"}
"""By what the catalogue says of an Xid in a card's history; weights that are not here say nothing about the card."""

Judged = tuple[tuple[Finding, ...], tuple[Diagnosed, ...]]


class _Seen(NamedTuple):
    """One thing that a capture shows."""

    code: str
    """Of the diagnosis that it is told as."""
    measure: str
    evidence: str
    """One sentence."""
    confidence: Confidence
    where: str = ""


def judge_glance(capture: Capture, match: Match) -> Judged:
    """Findings and diagnoses of what one capture shows beside its counters."""
    seen = tuple(_observations(capture, match))
    findings = tuple(
        Finding(
            probe=PROBE,
            measure=one.measure,
            outcome=Outcome.FAIL,
            value=None,
            unit="",
            limit="",
            reason=one.evidence,
            authority="the driver's own words",
            subject=kind_of(one.code).subject,
        )
        for one in seen
    )
    return findings, tuple(diagnosed(one.code, one.evidence, one.confidence, one.where) for one in seen)


def _observations(capture: Capture, match: Match) -> Iterator[_Seen]:
    yield from _whole(capture, match)
    yield from _presence(capture)
    yield from _sensors(capture)
    yield from _slowdowns(capture.sample.event_reasons)
    yield from _errors_now(capture)
    yield from _links(capture, match)
    yield from _xids(capture.log)
    yield from _bus_errors(capture.bus_errors)


def _whole(capture: Capture, match: Match) -> Iterator[_Seen]:
    """What an edited capture gives away: lines that are gone, and N/A where the model has the part."""
    if capture.left_out:
        words = f"This query does not state, as its driver does of every card: {', '.join(capture.left_out)}."
        yield _Seen("identity.capture", "left_out", words, "likely", "left out")
    if match.model is None:
        return
    denied = tuple(_denied(capture, match.model))
    if denied:
        words = f"It does not answer for parts that every {match.model.key} has: {', '.join(denied)}."
        yield _Seen("identity.capture", "denied", words, "likely", "denied")


def _denied(capture: Capture, model: Model) -> Iterator[str]:
    """Parts of the model that the card does not answer for. MIG, a virtual GPU and switched-off ECC do hide them."""
    settings, counters, memory = capture.settings, capture.counters, model.memory
    if settings.virtualization == "vgpu" or settings.mig is True or isinstance(capture.identity.vbios, Absent):
        return
    if memory.ecc_as_shipped and _is_denied(settings.ecc):
        yield "ECC"
    if memory.ecc_as_shipped and settings.ecc is True and _is_denied(counters.ecc_uncorrected_aggregate):
        yield "error counters"
    if memory.page_retirement and settings.ecc is True and _is_denied(counters.retired_pending):
        yield "page retirement"
    if memory.remap_banks and settings.ecc is not False:
        flags = (counters.remap_pending, counters.remap_failure, counters.remapped_uncorrectable)
        # a line that its driver would have stated is told as left out, and not again
        if any(_is_denied(one) or (one == NOT_STATED and not capture.left_out) for one in flags):
            yield "row remapper"


_DENIALS = {Absence.NOT_SUPPORTED, Absence.NO_PERMISSION, Absence.DRIVER_TOO_OLD}
"""Because these counters need no permission, and every driver of a model with such a part knows it."""


def _is_denied(value: object) -> bool:
    return isinstance(value, Absent) and value.absent in _DENIALS


def _presence(capture: Capture) -> Iterator[_Seen]:
    fallen = any(one.code == FELL_OFF_THE_BUS for one in capture.log)
    unread = {reason.absent: reason for _, reason in _unread(capture)}
    if Absence.LOST in unread and not fallen:
        said = unread[Absence.LOST].detail
        yield _Seen("device.lost", "presence", f"The driver knows this card and cannot reach it: {said}", "likely")
    if capture.not_initialised:
        words = f"The driver could not start this card: {capture.not_initialised[: xids.MAX_QUOTE]}"
        yield _Seen("device.not_initialised", "presence", words, "possible")
    if Absence.RESET_REQUIRED in unread:
        yield _Seen("device.reset_required", "presence", "The driver answers that the card needs a reset.", "certain")


_BROKEN = "ERR!"
"""What nvidia-smi prints where the driver answers an error of no name, for example in place of a dead fan's speed."""
_UNKNOWN = "Unknown Error"


def _sensors(capture: Capture) -> Iterator[_Seen]:
    absurd = [reason.detail for _, reason in _unread(capture) if reason.absent is Absence.ABSURD]
    if absurd:
        yield _Seen("sensor.absurd", "readings", f"A reading that cannot be: {absurd[0]}", "certain")
    for error in (_BROKEN, _UNKNOWN):
        broken = [name for name, reason in _unread(capture) if _said(reason) == error and _counts(name, error)]
        if broken:
            what = ", ".join(name.removesuffix("_c").removesuffix("_w").replace("_", " ") for name in broken)
            yield _Seen("sensor.absurd", "sensors", f"The driver prints {error} in place of: {what}.", "likely", what)


def _said(reason: Absent) -> str:
    """The driver's own words: a sum tells what is known of it first."""
    return reason.detail.rpartition(": ")[2].strip("[]")


def _counts(name: str, error: str) -> bool:
    """Because drivers answer an unknown error for sensors of healthy laptops, but for no counter of a healthy card."""
    return error == _BROKEN or name in Counters.__struct_fields__


def _unread(capture: Capture) -> Iterator[tuple[str, Absent]]:
    for part in (capture.identity, capture.settings, capture.counters, capture.sample):
        values = ((name, getattr(part, name)) for name in part.__struct_fields__)
        yield from ((name, value) for name, value in values if isinstance(value, Absent))


def _slowdowns(mask: object) -> Iterator[_Seen]:
    if not isinstance(mask, int):
        return
    reasons = EventReason(mask)
    if reasons & EventReason.HW_POWER_BRAKE:
        words = "The host's power brake was holding the card back when this was written."
        yield _Seen("station.power", "power_brake", words, "certain")
    if reasons & THERMAL_REASONS:
        words = "The card was slowed by heat when this was written."
        yield _Seen("thermal.throttle", "thermal_throttle", words, "possible")


def _errors_now(capture: Capture) -> Iterator[_Seen]:
    """Errors since the driver was loaded: the pages or rows behind them are not yet out of use."""
    count = capture.counters.ecc_uncorrected_volatile
    if isinstance(count, int) and count > 0:
        words = f"{count} uncorrectable errors since the driver was loaded, and no reset after them."
        yield _Seen("memory.ecc_uncorrected", "ecc_uncorrected_volatile", words, "likely")


def _links(capture: Capture, match: Match) -> Iterator[_Seen]:
    down = [link.link for link in capture.nvlinks if not link.up]
    if down and len(down) < len(capture.nvlinks):
        where = ", ".join(f"link {number}" for number in down)
        yield _Seen(
            "link.nvlink_down",
            "nvlinks_up",
            f"{len(down)} of {len(capture.nvlinks)} NVLinks are inactive while others run.",
            "likely",
            where,
        )
    elif match.model is not None and match.model.links.nvlinks and _on_a_baseboard(match.model):
        up = capture.counters.nvlinks_up
        if isinstance(up, int) and up < match.model.links.nvlinks:
            words = f"{up} of the model's {match.model.links.nvlinks} NVLinks were up when this was written."
            yield _Seen("link.nvlink_down", "nvlinks_up", words, "possible")
    if match.model is not None:
        width = capture.sample.pcie_width
        if isinstance(width, int) and width < match.model.links.pcie_width:
            words = (
                f"The PCIe link had {width} of the card's {match.model.links.pcie_width} lanes when this was written."
            )
            yield _Seen("link.pcie_width", "pcie_width", words, "possible")


def _bus_errors(told: tuple[LoggedBusErrors, ...]) -> Iterator[_Seen]:
    """PCIe errors that the link corrected itself are told in a note; what it could not correct is found."""
    for one in told:
        if one.severity != "corrected":
            fatal = "fatal" if one.severity == "fatal" else "not fatal"
            often = "once" if one.times == 1 else f"{one.times} times"
            words = f"The kernel log has an uncorrected PCIe error of this card ({fatal}) {often}: {one.first}"
            yield _Seen("link.pcie_errors", f"pcie_{one.severity}", words, "possible")


def _on_a_baseboard(model: Model) -> bool:
    """Whether its links must be up: a PCIe card without its bridge shows all of them down and is healthy."""
    return model.form_factor.startswith("SXM")


def _xids(log: tuple[LoggedXid, ...]) -> Iterator[_Seen]:
    for one in (xids.weighed(told.code, told.times, told.first) for told in log):
        confidence = _CONFIDENCE.get(one.weight(in_run=False))
        if confidence is not None:
            evidence = f"The kernel log has Xid {one.code} ({one.row.meaning}) {one.often}: {one.quote}"
            yield _Seen(one.diagnosis, f"xid_{one.code}", evidence, confidence)
