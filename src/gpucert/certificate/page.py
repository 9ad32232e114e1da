"""The page: one self-contained HTML file, a function of the payload alone."""

from gpucert.certificate import advice, bullets, charts, fold, places, reasons, tiles, words
from gpucert.certificate.payload import Payload, number
from gpucert.certificate.templates import template, whole_page
from gpucert.outcome import LOOKS, StepStatus

EVENTS_SHOWN = 60
"""Rows of the table of events; a log that was made up can name any number of codes."""
STEPS_OPEN = 20
"""Steps that are listed openly; of a longer plan, those alone that did not run to their end."""
DIAGNOSES_SHOWN = 4
"""Diagnoses of one kind that are told in full; of more, only what each means."""


def render(payload: Payload) -> str:
    """The page of a payload: the same payload gives the same text. Raises PageTooLargeError beyond 1 MB."""
    from markupsafe import Markup

    chart = charts.timeline(payload)
    return whole_page(
        template("certificate.html.j2").render(
            p=payload,
            number=number(payload),
            look=LOOKS[payload.verdict],
            tiles=tiles.tiles(payload),
            sections=advice.sections(payload),
            diagnoses_shown=DIAGNOSES_SHOWN,
            reasons=reasons.why_not_higher(payload),
            gaps=reasons.not_tested(payload.not_tested),
            panels=bullets.panels(payload),
            chart=None if chart is None else Markup(chart),  # noqa: S704  # drawn by charts.py; its labels are our own words
            wrong=places.drawing(payload),
            steps_open=STEPS_OPEN,
            stopped=[phase for phase in payload.phases if phase.status != StepStatus.RAN],
            events=payload.events[:EVENTS_SHOWN],
            more_events=len(payload.events) - EVENTS_SHOWN,
            groups=fold.groups(payload.findings),
            glossary=words.GLOSSARY,
        )
    )
