"""Takes UUIDs and bus ids out of a text, also those of a card that nobody has told of. Standard library only."""

import re

_NAMES = re.compile(
    r"(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b",
    re.IGNORECASE,
)


def nameless(text: str) -> str:
    """The text with a word in place of every UUID and every bus id."""
    return _NAMES.sub("(name of a card)", text)
