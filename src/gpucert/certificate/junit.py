"""JUnit XML of judged cards, for continuous integration and burn-in racks: a suite per card, a case per finding."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from gpucert.certificate.harmless import harmless
from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.record import Record
from gpucert.verdict.verdict import Finding, Verdict

_CHILD = {
    Outcome.FAIL: "failure",
    Outcome.MARGINAL: "failure",
    Outcome.ERROR: "error",
    Outcome.SKIPPED: "skipped",
    Outcome.NOT_OFFERED: "skipped",
}
_VERDICT_CHILD = {VerdictOutcome.NOT_CERTIFIED: "failure", VerdictOutcome.INCOMPLETE: "error"}


def junit(cards: Sequence[tuple[Record, Verdict]], unjudged: Sequence[str] = ()) -> str:
    """The document, with one suite for each card; its first case is the verdict itself.

    `unjudged` names cards that were not run to their end: each is a suite with one error, never an empty success.
    """
    root = ET.Element("testsuites", name="gpucert")
    for record, verdict in cards:
        root.append(_suite(record, verdict))
    for card in unjudged:
        suite = ET.SubElement(root, "testsuite", name=_text(card), tests="1", failures="0", errors="1", skipped="0")
        case = ET.SubElement(suite, "testcase", classname="verdict", name=VerdictOutcome.INCOMPLETE.value)
        ET.SubElement(case, "error", message="the run did not come to its end, so nothing is said about the card")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(record: Record, verdict: Verdict) -> ET.Element:
    suite = ET.Element("testsuite", name=_text(f"{record.card.name} {record.card.card_id}"))
    suite.append(_verdict_case(verdict))
    for finding in verdict.findings:
        suite.append(_case(finding))
    suite.set("tests", str(len(suite)))
    for attribute, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{child}"))))
    suite.set("timestamp", _text(record.started_at))
    return suite


def _verdict_case(verdict: Verdict) -> ET.Element:
    case = ET.Element("testcase", classname="verdict", name=verdict.outcome.value)
    child = _VERDICT_CHILD.get(verdict.outcome)
    if child:
        words = [verdict.sentence, *(f"{one.code}: {one.action}" for one in verdict.diagnoses)]
        ET.SubElement(case, child, message=_text(verdict.sentence)).text = "\n".join(map(_text, words))
    return case


def _case(finding: Finding) -> ET.Element:
    step = "" if finding.step is None else f" (step {finding.step + 1})"
    case = ET.Element("testcase", classname=_text(finding.probe), name=_text(f"{finding.measure}{step}"))
    child = _child(finding)
    message = _text(f"{finding.outcome.value}: {finding.reason}")
    if child == "system-out":
        ET.SubElement(case, child).text = f"{_whose(finding)}: {message}"
    elif child:
        element = ET.SubElement(case, child, message=message)
        element.text = _text(f"value {finding.value} {finding.unit}, limit {finding.limit}; {finding.authority}")
    return case


def _child(finding: Finding) -> str | None:
    """What costs the card nothing must not turn a rack's board red: it is told beside a case that passed."""
    child = _CHILD.get(finding.outcome)
    if child in {None, "skipped"}:
        return child
    if finding.subject == "station":
        return "error" if finding.hides else "system-out"
    return "system-out" if finding.advisory else child


def _whose(finding: Finding) -> str:
    return "about the station" if finding.subject == "station" else "advice"


def _text(value: str) -> str:
    return harmless(value, 1000)
