"""The templates of all pages: where they lie, how text from outside gets into them, and how large a page may be."""

import re
from functools import cache
from typing import TYPE_CHECKING

from gpucert.certificate import fold, words
from gpucert.certificate.harmless import harmless
from gpucert.reading import Absent, Reading
from gpucert.units import Unit

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

LARGEST_BYTES = 1_000_000

_NUMBER = r"(?:[≥≤=] )?-?[\d.,\u202f]+(?:e[+-]?\d+)?\u202f"
_STROKED = "|".join(re.escape(unit.value) for unit in Unit if "/" in unit.value)
_WHOLE = re.compile(rf"{_NUMBER}(?:{_STROKED})\b|\b\d{{4}}-\d\d-\d\d\b")
"""What browsers would break at a stroke or a hyphen: quantities and dates."""
_CODE = re.compile("`([^`<>]+)`")


class PageTooLargeError(ValueError):
    """The page would be larger than a buyer can be asked to keep."""


def template(name: str) -> "Template":
    """A template by its file name."""
    return _environment().get_template(name)


def whole_page(page: str) -> str:
    """The page as it is. Raises PageTooLargeError beyond 1 MB."""
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
        "stamp": _stamp,
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


def _stamp(said: Reading[str]) -> str:
    """A time or place in someone's own words, where it is told."""
    return "not told" if isinstance(said, Absent) else harmless(said, 60)


def _measured(name: str) -> str:
    """`memory_scan.coverage` with what the probe is called."""
    probe, _, measure = name.partition(".")
    return f"{words.probe_name(probe)}: {words.measure_name(probe, measure)}"
