"""What a card answers: a value, or the reason why there is none.

An absent value is never 0, "OK" or an empty cell: those would let a silent sensor pass. The unit of a value stands in
the name of the field that holds it (`memory_mib`, `power_w`).
"""

import math
from enum import StrEnum
from typing import TypeAlias, TypeVar

from msgspec import Struct


class Absence(StrEnum):
    """Why a card gave no value."""

    NOT_SUPPORTED = "not_supported"
    DRIVER_TOO_OLD = "driver_too_old"
    NO_PERMISSION = "no_permission"
    LOST = "lost"
    RESET_REQUIRED = "reset_required"
    ABSURD = "absurd"
    UNKNOWN = "unknown"


class Absent(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """No value, because of `absent`; `detail` keeps what the driver or file said, for a technician."""

    absent: Absence
    detail: str = ""

    def __str__(self) -> str:
        """The words a person reads instead of a number."""
        words = self.absent.value.replace("_", " ")
        return f"{words} ({self.detail})" if self.detail else words


T = TypeVar("T")
Reading: TypeAlias = T | Absent

NOT_ASKED = Absent(Absence.UNKNOWN, "not asked")


def number(value: Reading[float]) -> float | None:
    """The value of a numeric reading, or None; for arithmetic that says itself what absence means there."""
    return None if isinstance(value, Absent) else value


def plausible(value: float, low: float, high: float, detail: str) -> Reading[float]:
    """The value if it is finite and in [low, high], else `absurd`: 255 °C, 2⁶⁴−1 or negative watts are no readings."""
    if math.isfinite(value) and low <= value <= high:
        return value
    return Absent(Absence.ABSURD, f"{detail} answered {value}")
