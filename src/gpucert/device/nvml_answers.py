"""What NVML's answers mean: C values and return codes turned into readings, without the library itself."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from gpucert.device import bus_id
from gpucert.device.bounds import Bounds, within
from gpucert.reading import Absence, Absent, Reading

A = TypeVar("A")
B = TypeVar("B")


class UnexpectedAnswerError(ValueError):
    """The binding gave a value of another kind than its documentation says."""


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

_NO_SUCH_GPU = {2, 6, 28}
"""Invalid argument, not found, GPU not found: what lookups answer for a card that is not there."""

_UNKNOWN = 999
_VALUE_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
"""nvmlValueType_t → the member of the union that holds the value; the wrong one reads −5 as 4294967291."""


def absence(code: int, call: str, words: str) -> Absent:
    """The reason behind a return code. 999 is also what a lost card answers, so it says so."""
    hint = "; may be a lost card" if code == _UNKNOWN else ""
    return Absent(_CODES.get(code, Absence.UNKNOWN), f"{call}: {words}{hint}")


def is_no_such_gpu(code: int) -> bool:
    """Whether a failed lookup means that no such card exists, rather than that it does not answer."""
    return code in _NO_SUCH_GPU


def then(reading: Reading[A], convert: Callable[[A], Reading[B]]) -> Reading[B]:
    """Convert a value; an absent reading stays what it is."""
    return reading if isinstance(reading, Absent) else convert(reading)


def whole(value: object) -> int:
    """An integer as it stands."""
    if isinstance(value, int):
        return value
    raise UnexpectedAnswerError(f"a {type(value).__name__} instead of an integer")


def word(value: object) -> str:
    """Text; some getters answer bytes."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return value.strip()
    raise UnexpectedAnswerError(f"a {type(value).__name__} instead of text")


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


def length(value: object) -> int:
    """How many items a list holds."""
    if isinstance(value, list | tuple):
        return len(value)
    raise UnexpectedAnswerError(f"a {type(value).__name__} instead of a list")


def flag(value: object) -> Reading[bool]:
    """0 and 1; anything else is absurd."""
    number = whole(value)
    return bool(number) if number in (0, 1) else Absent(Absence.ABSURD, f"a flag answered {number}")


def bounded(limits: Bounds, what: str) -> Callable[[int], Reading[int]]:
    """Hold an integer against what can be."""
    return lambda value: within(value, limits, what)


def real(limits: Bounds, what: str, *, per: float = 1.0) -> Callable[[float], Reading[float]]:
    """Hold a number against what can be, after division by `per` (1000 for milliwatts)."""
    return lambda value: within(value / per, limits, what)


class Pci(NamedTuple):
    """What identifies a card on the bus; hexadecimal, lower case."""

    bus_id: str
    device: str
    subvendor: str
    subdevice: str


def pci(value: object) -> Pci:
    """The device word is device << 16 | vendor, the subsystem word subdevice << 16 | subvendor."""
    spelled = word(getattr(value, "busId", None))
    device, subsystem = member("pciDeviceId")(value), member("pciSubSystemId")(value)
    return Pci(
        bus_id=bus_id.normal(spelled) or spelled,
        device=f"{device >> 16:04x}",
        subvendor=f"{subsystem & 0xFFFF:04x}",
        subdevice=f"{subsystem >> 16:04x}",
    )


def histogram(value: object) -> tuple[int, int, int, int, int]:
    """Banks by spare rows left: max, high, partial, low, none."""
    return (
        member("max")(value),
        member("high")(value),
        member("partial")(value),
        member("low")(value),
        member("none")(value),
    )


def fields(value: object) -> dict[int, Reading[float]]:
    """Field values by id. Each has a return code and a type of its own."""
    if not hasattr(value, "__getitem__") or not hasattr(value, "__len__"):
        raise UnexpectedAnswerError("no array of field values")
    items: list[object] = [value[index] for index in range(len(value))]
    return {member("fieldId")(item): _field(item) for item in items}


def _field(item: object) -> Reading[float]:
    number, code = member("fieldId")(item), member("nvmlReturn")(item)
    if code != 0:
        return absence(code, f"field {number}", f"code {code}")
    kind = member("valueType")(item)
    name = _VALUE_MEMBERS.get(kind)
    found = getattr(getattr(item, "value", None), name, None) if name else None
    if not isinstance(found, int | float):
        return Absent(Absence.UNKNOWN, f"field {number} answered a value of unknown type {kind}")
    return found
