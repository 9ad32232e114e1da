"""Text from cards, drivers, files and people, made harmless for a page: no control or direction marks, not too long."""

import unicodedata

LONGEST = 200
"""Characters that are kept of any one text; a name of a megabyte is no name."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def harmless(text: str, longest: int = LONGEST) -> str:
    """The text with what cannot be seen escaped, cut to `longest` characters; markup is for the template to escape."""
    shown = "".join(_visible(character) for character in text[: longest + 1])
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _visible(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode("ascii")
    return character
