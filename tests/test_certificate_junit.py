"""JUnit: the document parses, counts right, and is red only where the exit code is."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gpucert.certificate.junit import junit
from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.record import Identity
from gpucert.verdict.verdict import Finding
from tests.certificates import finding
from tests.test_certificate_payload import TEXT, record, verdict


def suite(*findings: Finding, outcome: VerdictOutcome = VerdictOutcome.CERTIFIED) -> ET.Element:
    card = structs.replace(verdict(*findings), outcome=outcome)
    (found,) = ET.fromstring(junit([(record(), card)]))
    return found


def counts(suite: ET.Element) -> tuple[str | None, ...]:
    return tuple(suite.get(name) for name in ("tests", "failures", "errors", "skipped"))


def test_every_finding_is_a_case_and_the_verdict_another() -> None:
    found = suite(finding("a", "fine"), *(finding("a", one.value, one) for one in Outcome))
    assert counts(found) == ("8", "2", "1", "2")
    assert [case.get("name") for case in found][:2] == ["certified", "fine (step 5)"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (VerdictOutcome.CERTIFIED, ("1", "0", "0", "0")),
        (VerdictOutcome.REPORTED, ("1", "0", "0", "0")),
        (VerdictOutcome.NOT_CERTIFIED, ("1", "1", "0", "0")),
        (VerdictOutcome.INCOMPLETE, ("1", "0", "1", "0")),
    ],
)
def test_the_verdict_is_a_case(outcome: VerdictOutcome, expected: tuple[str, ...]) -> None:
    assert counts(suite(outcome=outcome)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"advisory": True}, ("2", "0", "0", "0")),
        ({"subject": "station"}, ("2", "0", "0", "0")),
        ({"subject": "station", "hides": True}, ("2", "0", "1", "0")),
        ({}, ("2", "1", "0", "0")),
    ],
)
def test_only_what_costs_the_card_something_is_red(fields: dict[str, object], expected: tuple[str, ...]) -> None:
    found = suite(finding("thermal", "slow", Outcome.FAIL, reason="Warm.", **fields))
    assert counts(found) == expected
    assert "Warm." in ET.tostring(found, encoding="unicode")


@given(TEXT)
def test_hostile_text_stays_text(text: str) -> None:
    card = structs.replace(record(), card=Identity(name=text, uuid=text), started_at=text)
    found = finding(text, text, Outcome.FAIL, value=text, unit=text, limit=text, reason=text)
    (one,) = ET.fromstring(junit([(card, verdict(found))]))
    assert counts(one) == ("2", "1", "0", "0")


@given(st.integers(0, 5))
def test_each_card_is_a_suite(cards: int) -> None:
    assert len(ET.fromstring(junit([(record(), verdict())] * cards))) == cards
