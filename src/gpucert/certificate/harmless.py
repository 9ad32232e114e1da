"""Text from cards, drivers, files and people, made harmless for a page: no control or direction marks, not too long."""

import unicodedata

LONGEST = 200
"""Characters that are kept of any one text; a name of a megabyte is no name."""
MARKS_ON_ONE = 3
"""Combining marks on one character; more are no script, and would pile up over the lines above."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_COMBINING = {"Mn", "Me"}


def harmless(text: str, longest: int = LONGEST) -> str:
    """The text with what cannot be seen escaped, cut to `longest` characters; markup is for the template to escape."""
    parts: list[str] = []
    marks = 0
    for character in text[: longest + 1]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in _COMBINING else 0
        parts.append(_escaped(character) if category in _HIDDEN or marks > MARKS_ON_ONE else character)
    shown = "".join(parts)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
