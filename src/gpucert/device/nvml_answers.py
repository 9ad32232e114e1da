"""What NVML's answers mean: C values and return codes turned into readings, without the library itself."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

from gpucert.device import bus_id
from gpucert.device.bounds import BANKS, COUNTER, PROCESS_MIB, Bounds, within
from gpucert.reading import Absence, Absent, Reading

A = TypeVar("A")
B = TypeVar("B")


class UnexpectedAnswerError(ValueError):
    """The binding gave a value of another kind than its documentation says."""


INVALID_ARGUMENT = 2
TIMEOUT = 10
CORRUPTED_INFOROM = 14

_CODES = {
    3: Absence.NOT_SUPPORTED,
    4: Absence.NO_PERMISSION,
    13: Absence.DRIVER_TOO_OLD,
    15: Absence.LOST,
    16: Absence.RESET_REQUIRED,
    25: Absence.DRIVER_TOO_OLD,
    26: Absence.NOT_SUPPORTED,
}
"""nvmlReturn_t of nvml.h. 25 is a structure version that the driver does not know, 26 a function that it dropped."""

NO_SUCH_GPU = (INVALID_ARGUMENT, 6, 28)
"""Invalid argument, not found, GPU not found: what lookups answer for a card that is not there."""

NO_VALUE = 2**64 - 1
"""NVML_VALUE_NOT_AVAILABLE: what 64-bit members hold where the driver does not know."""

_UNKNOWN = 999
_VALUE_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
"""nvmlValueType_t → the member of the union that holds the value; the wrong one reads −5 as 4294967291."""


def absence(code: int, call: str, words: str) -> Absent:
    """The reason behind a return code. 999 is also what a lost card answers, so it says so."""
    hint = "; may be a lost card" if code == _UNKNOWN else ""
    return Absent(_CODES.get(code, Absence.UNKNOWN), f"{call}: {words}{hint}")


def then(reading: Reading[A], convert: Callable[[A], Reading[B]]) -> Reading[B]:
    """Convert a value; an absent reading stays what it is."""
    return reading if isinstance(reading, Absent) else convert(reading)


def whole(value: object) -> int:
    """An integer as it stands."""
    if isinstance(value, int):
        return value
    raise UnexpectedAnswerError(f"a {type(value).__name__} instead of an integer")


def word(value: object) -> str:
    """Text that says something; some getters answer bytes."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        raise UnexpectedAnswerError(f"a {type(value).__name__} instead of text")
    text = value.strip()
    if text in ("", "N/A"):
        raise UnexpectedAnswerError(f"an empty text {text!r}")
    return text


def anything(value: object) -> object:
    """A handle, whose inside is nobody's business."""
    return value


def done(_value: object) -> bool:
    """True, because the call did not fail."""
    return True


def member(name: str) -> Callable[[object], int]:
    """The integer in one member of a structure."""
    return lambda value: whole(getattr(value, name, None))


def numbers(count: int) -> Callable[[object], tuple[int, ...]]:
    """A list or tuple of exactly so many integers."""

    def convert(value: object) -> tuple[int, ...]:
        if isinstance(value, list | tuple) and len(value) == count:
            return tuple(whole(item) for item in value)
        raise UnexpectedAnswerError(f"not {count} integers")

    return convert


def flag(value: object) -> Reading[bool]:
    """0 and 1; anything else is absurd."""
    number = whole(value)
    return bool(number) if number in (0, 1) else Absent(Absence.ABSURD, f"a flag answered {number}")


def bounded(limits: Bounds, what: str) -> Callable[[int], Reading[int]]:
    """Hold an integer against what can be."""
    return lambda value: within(value, limits, what)


def counted(value: float) -> Reading[int]:
    """A count, whatever C type it came in."""
    if math.isfinite(value) and value == int(value):
        return within(int(value), COUNTER, "counter")
    return Absent(Absence.ABSURD, f"a counter answered {value}")


def total(*parts: Reading[int]) -> Reading[int]:
    """The sum of readings, or the first absence among them: a part that is not known is not zero."""
    whole_sum = 0
    for part in parts:
        if isinstance(part, Absent):
            return part
        whole_sum += part
    return counted(whole_sum)


def not_offered(reading: Reading[A]) -> bool:
    """Whether there is no value because card or driver has no such thing, rather than because it failed to answer."""
    return isinstance(reading, Absent) and reading.absent in (Absence.NOT_SUPPORTED, Absence.DRIVER_TOO_OLD)


def named(words: Mapping[int, str], what: str) -> Callable[[int], Reading[str]]:
    """The word for a number; one that nobody knows is told as it is."""
    return lambda number: words.get(number, f"{what} {number}")


def mebibytes(value: object) -> Reading[int]:
    """Bytes in use as whole MiB."""
    size = whole(value)
    if size == NO_VALUE:
        return Absent(Absence.NOT_SUPPORTED, "the driver does not say how much memory is in use")
    return within(size // 2**20, PROCESS_MIB, "memory in use")


def real(limits: Bounds, what: str, *, per: float = 1.0) -> Callable[[float], Reading[float]]:
    """Hold a number against what can be, after division by `per` (1000 for milliwatts)."""
    return lambda value: within(value / per, limits, what)


class Pci(NamedTuple):
    """What identifies a card on the bus; hexadecimal, lower case."""

    bus_id: str
    device: Reading[str]
    subvendor: Reading[str]
    subdevice: Reading[str]


def pci(value: object) -> Pci:
    """The device word is device << 16 | vendor, the subsystem word subdevice << 16 | subvendor."""
    spelled = word(getattr(value, "busId", None))
    device, subsystem = member("pciDeviceId")(value), member("pciSubSystemId")(value)
    return Pci(
        bus_id=bus_id.normal(spelled) or spelled,
        device=_id(device >> 16, device),
        subvendor=_id(subsystem & 0xFFFF, subsystem),
        subdevice=_id(subsystem >> 16, subsystem),
    )


def _id(half: int, register: int) -> Reading[str]:
    if 0 <= register < 2**32 - 1:
        return f"{half:04x}"
    return Absent(Absence.ABSURD, f"the id register of the card answered {register:#x}")


Banks: TypeAlias = tuple[int, int, int, int, int]


def histogram(value: object) -> Reading[Banks]:
    """Banks by spare rows left: max, high, partial, low, none."""
    banks = (
        member("max")(value),
        member("high")(value),
        member("partial")(value),
        member("low")(value),
        member("none")(value),
    )
    absurd = next((one for one in (within(count, BANKS, "banks") for count in banks) if isinstance(one, Absent)), None)
    return banks if absurd is None else absurd


_MICROSECONDS = 1_000_000
_FIRST_RETIREMENT_S = 1_262_304_000
"""The year 2010, before any driver kept the time of a retirement."""


def retirements(value: object) -> tuple[int, ...]:
    """When each page of a list was retired, in µs of Unix time; 0 where nobody noted it."""
    if not isinstance(value, list):
        raise UnexpectedAnswerError(f"a {type(value).__name__} instead of a list")
    return tuple(whole(page.get("timestamp") if isinstance(page, dict) else None) for page in value)


def retired_within(seconds: int, now_s: float) -> Callable[[tuple[int, ...]], Reading[int]]:
    """How many of the retirements are at most so many seconds old.

    Cards before Pascal note no times. A time in the future, or before such lists existed, makes the answer absurd: the
    clock of this station, or of the one where the page was retired, was wrong.
    """

    def convert(retired_us: tuple[int, ...]) -> Reading[int]:
        times = [time / _MICROSECONDS for time in retired_us]
        if times and not any(times):
            return Absent(Absence.NOT_SUPPORTED, "the card notes no times of retired pages")
        wrong = next((time for time in times if not _FIRST_RETIREMENT_S <= time <= now_s + _CLOCKS_APART_S), None)
        if wrong is not None:
            return Absent(Absence.ABSURD, f"a page was retired at Unix time {wrong:.0f}")
        return sum(time > now_s - seconds for time in times)

    return convert


_CLOCKS_APART_S = 86_400
"""How far the clocks of two stations, or their time zones, may differ."""


FieldId: TypeAlias = tuple[int, int]
"""Number and scope of a field; the scope is the link for fields of NVLinks, else 0."""


def fields(value: object) -> dict[FieldId, Reading[float]]:
    """Field values by id. Each has a return code and a type of its own."""
    if not hasattr(value, "__getitem__") or not hasattr(value, "__len__"):
        raise UnexpectedAnswerError("no array of field values")
    items: list[object] = [value[index] for index in range(len(value))]
    return {(member("fieldId")(item), member("scopeId")(item)): _field(item) for item in items}


def _field(item: object) -> Reading[float]:
    number, code = member("fieldId")(item), member("nvmlReturn")(item)
    if code == INVALID_ARGUMENT:
        return Absent(Absence.DRIVER_TOO_OLD, f"field {number}: unknown to this driver")
    if code != 0:
        return absence(code, f"field {number}", f"code {code}")
    kind = member("valueType")(item)
    name = _VALUE_MEMBERS.get(kind)
    found = getattr(getattr(item, "value", None), name, None) if name else None
    if not isinstance(found, int | float):
        return Absent(Absence.UNKNOWN, f"field {number} answered a value of unknown type {kind}")
    return found
