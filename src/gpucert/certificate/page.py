"""The page: one self-contained HTML file, a function of the payload alone."""

import re
from functools import cache
from typing import TYPE_CHECKING

from gpucert.certificate import advice, bullets, charts, fold, reasons, tiles, words
from gpucert.certificate.harmless import harmless
from gpucert.certificate.payload import Payload, number
from gpucert.outcome import LOOKS, StepStatus
from gpucert.units import Unit

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

LARGEST_BYTES = 1_000_000
EVENTS_SHOWN = 60
"""Rows of the table of events; a log that was made up can name any number of codes."""
STEPS_OPEN = 20
"""Steps that are listed openly; of a longer plan, those alone that did not run to their end."""
DIAGNOSES_SHOWN = 4
"""Diagnoses of one kind that are told in full; of more, only what each means."""

_NUMBER = r"(?:[≥≤=] )?-?[\d.,\u202f]+(?:e[+-]?\d+)?\u202f"
_STROKED = "|".join(re.escape(unit.value) for unit in Unit if "/" in unit.value)
_WHOLE = re.compile(rf"{_NUMBER}(?:{_STROKED})\b|\b\d{{4}}-\d\d-\d\d\b")
"""What browsers would break at a stroke or a hyphen: quantities and dates."""
_CODE = re.compile("`([^`<>]+)`")


class PageTooLargeError(ValueError):
    """The page would be larger than a buyer can be asked to keep."""


def render(payload: Payload) -> str:
    """The page of a payload: the same payload gives the same text. Raises PageTooLargeError beyond 1 MB."""
    from markupsafe import Markup

    chart = charts.timeline(payload)
    page = (
        _environment()
        .get_template("certificate.html.j2")
        .render(
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
            steps_open=STEPS_OPEN,
            stopped=[phase for phase in payload.phases if phase.status != StepStatus.RAN],
            events=payload.events[:EVENTS_SHOWN],
            more_events=len(payload.events) - EVENTS_SHOWN,
            groups=fold.groups(payload.findings),
            glossary=words.GLOSSARY,
        )
    )
    size = len(page.encode())
    if size > LARGEST_BYTES:
        raise PageTooLargeError(f"the page would have {size} bytes, more than {LARGEST_BYTES}")
    return page


@cache
def _environment() -> "Environment":
    """Made once, because compiling the template takes longer than filling it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gpucert.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "capitalised": words.capitalised,
        "clock": words.clock,
        "harmless": lambda text, longest=200: harmless(str(text), longest),
        "measured": _measured,
        "probe": words.probe_name,
        "prose": prose,
        "shown": fold.shown,
        "tier": words.tier_title,
        "words": words.words,
    }
    return environment


def prose(text: str, longest: int = 600) -> "Markup":
    """Text made harmless and escaped: no line breaks inside of a quantity or a date, and `words` are code."""
    from markupsafe import Markup, escape

    safe = str(escape(harmless(text, longest)))
    whole = _WHOLE.sub(r'<span class="keep">\g<0></span>', safe)
    return Markup(_CODE.sub(r"<code>\1</code>", whole))  # noqa: S704  # escaped before; these are our own tags


def _measured(name: str) -> str:
    """`memory_scan.coverage` with what the probe is called."""
    probe, _, measure = name.partition(".")
    return f"{words.probe_name(probe)}: {words.measure_name(probe, measure)}"
