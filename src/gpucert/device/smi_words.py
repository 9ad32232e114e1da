"""The words in which nvidia-smi answers, as readings: a value in its unit, or why there is none."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gpucert.capture import NOT_STATED
from gpucert.device.bounds import COUNTER, Bounds, within
from gpucert.reading import Absence, Absent, Reading

MAX_TEXT = 200
_MAX_QUOTE = 60

_ABSENCES = {
    "n/a": Absence.NOT_SUPPORTED,
    "not supported": Absence.NOT_SUPPORTED,
    "not available": Absence.NOT_SUPPORTED,
    "not available in wddm driver model": Absence.NOT_SUPPORTED,
    "requested functionality has been deprecated": Absence.NOT_SUPPORTED,
    "function not found": Absence.DRIVER_TOO_OLD,
    "insufficient permissions": Absence.NO_PERMISSION,
    "gpu is lost": Absence.LOST,
    "gpu requires reset": Absence.RESET_REQUIRED,
    "gpu requires restart": Absence.RESET_REQUIRED,
    "unknown error": Absence.UNKNOWN,
    "unknown": Absence.UNKNOWN,
    "err!": Absence.UNKNOWN,
    "error": Absence.UNKNOWN,
    "not found": Absence.UNKNOWN,
    "": Absence.UNKNOWN,
}
"""What nvidia-smi prints in place of a value: the texts of nvmlErrorString and its own, without brackets."""

_YES = {"enabled", "yes", "active", "on"}
_NO = {"disabled", "no", "not active", "off"}
_NUMBER = re.compile(r"(-?\d{1,30}(?:\.\d{1,10})?)\s*(\S*)", re.ASCII)
"""Of ASCII alone, because nvidia-smi prints no other digits."""


class Answers(NamedTuple):
    """Everything that one card (or the head of a document) states: path of labels → the texts found there."""

    stated: Mapping[str, list[str]]

    def say(self, *paths: str) -> Reading[str]:
        """What the first path that holds a value says; else why the first stated one holds none.

        Two different texts at one path contradict each other, which a damaged or stitched file can do: unknown.
        """
        reasons = []
        for path in paths:
            said = self._at(path)
            if not isinstance(said, Absent):
                return said
            reasons.append(said)
        return next((reason for reason in reasons if reason != NOT_STATED), NOT_STATED)

    def _at(self, path: str) -> Reading[str]:
        texts = self.stated.get(path)
        if texts is None:
            return self._above(path)
        if len(set(texts)) > 1:
            return Absent(Absence.UNKNOWN, f"the file says both {quote(texts[0])} and {quote(texts[1])}")
        return absence(texts[0]) or texts[0][:MAX_TEXT]

    def _above(self, path: str) -> Absent:
        """A section that is N/A as a whole answers for everything in it."""
        section, _, leaf = path.rpartition("/")
        if not leaf or not section:
            return NOT_STATED
        texts = self.stated.get(section)
        return (absence(texts[0]) if texts else None) or self._above(section)

    def has(self, path: str) -> bool:
        """Whether the path is stated, with a value or without."""
        return path in self.stated


def quote(text: str) -> str:
    """A text from outside, short enough for one line."""
    return f'"{text[:_MAX_QUOTE]}…"' if len(text) > _MAX_QUOTE else f'"{text}"'


def absence(text: str) -> Absent | None:
    """The reason that a text stands for, or None when it is a value."""
    words = text.strip().strip("[]").rstrip(".").strip().lower()
    reason = _ABSENCES.get(words)
    if reason is None:
        return None
    return Absent(reason) if words == "n/a" else Absent(reason, text.strip()[:_MAX_QUOTE])


def unclear(said: str) -> Absent:
    """A text that should be a value of some kind and is not."""
    return Absent(Absence.UNKNOWN, f"the file says {quote(said)}")


def quantity(said: Reading[str], unit: str, bounds: Bounds, what: str) -> Reading[float]:
    """A number in exactly this unit (`""` for none): 41 C, 69.85 W, 100.00%."""
    if isinstance(said, Absent):
        return said
    match = _NUMBER.fullmatch(said.strip())
    if match is None or match[2] != unit:
        return unclear(said)
    return within(float(match[1]), bounds, what)


def count(said: Reading[str], what: str, *, unit: str = "", bounds: Bounds = COUNTER) -> Reading[int]:
    """A whole number in exactly this unit: 81559 MiB, 16x."""
    if isinstance(said, Absent):
        return said
    match = _NUMBER.fullmatch(said.strip())
    if match is None or match[2] != unit or "." in match[1]:
        return unclear(said)
    return within(int(match[1]), bounds, what)


def flag(said: Reading[str], *words: str) -> Reading[bool]:
    """Enabled, Yes, Active or On is true; Disabled, No, Not Active or Off is false.

    Where `words` are given, those alone: the word of another question is none of this one's answers.
    """
    if isinstance(said, Absent):
        return said
    word = said.strip().lower()
    if word in _YES | _NO and (not words or word in words):
        return word in _YES
    return unclear(said)


YES_NO = ("yes", "no")
ENABLED = ("enabled", "disabled")
ACTIVE = ("active", "not active")


def total(parts: Iterable[Reading[int]]) -> Reading[int]:
    """The sum of counts, where parts that the card does not have (not_supported) are left out.

    A part that could not be read makes the sum unreadable, with what is known of it as detail.
    """
    known, unread, missing = [], [], []
    for part in parts:
        if not isinstance(part, Absent):
            known.append(part)
        elif part.absent is Absence.NOT_SUPPORTED:
            missing.append(part)
        else:
            unread.append(part)
    if unread:
        return Absent(unread[0].absent, f"at least {sum(known)}: {unread[0].detail}" if known else unread[0].detail)
    return sum(known) if known else next(iter(missing), NOT_STATED)
