"""What both spellings of `nvidia-smi -q` are turned into before anything in them is understood."""

from typing import NamedTuple

from gpucert.device.smi_words import Answers


class UnreadableCaptureError(ValueError):
    """A file holds no capture that can be read; the text names the file, what it is, and which command gives one."""


class Card(NamedTuple):
    """What one document states of one card."""

    bus_id: str
    answers: Answers


class Document(NamedTuple):
    """One output of `nvidia-smi -q`: its head (time, driver) and its cards."""

    head: Answers
    cards: tuple[Card, ...]
