"""Where `gpucert inspect` gets its captures: files, standard input, or the cards of this station."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from msgspec import structs

from gpucert.capture import Capture
from gpucert.certificate.inspection import Source
from gpucert.cli.console import ProblemError
from gpucert.outcome import ExitCode
from gpucert.reading import Absent, Reading
from gpucert.record import Identity, Sample

STATION = "this station"
LOG_LIMIT_S = 3.0


@dataclass
class Gathered:
    """What was found, and one line for each place where nothing was."""

    captures: list[Capture] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def from_files(files: tuple[Path, ...]) -> Gathered:
    """The captures of all files; one bad file does not hide the others."""
    from gpucert.device import smi, text_file

    found = Gathered()
    for file in dict.fromkeys(files):
        try:
            captures, source = _read(file)
        except (smi.UnreadableCaptureError, text_file.UnreadableTextError) as error:
            found.unreadable.append(str(error))
        else:
            found.captures += captures
            found.sources.append(source)
    return found


def _read(file: Path) -> tuple[tuple[Capture, ...], Source]:
    """The captures of one file with its length and digest; it is read once, and never held as a whole."""
    import sys

    from gpucert.device import smi, text_file

    if str(file) != "-":
        with text_file.open_file(file) as stream:
            return _read_stream(stream, str(file))
    if sys.stdin is None:
        raise smi.UnreadableCaptureError("standard input: closed; name a file")
    return _read_stream(sys.stdin.buffer, "standard input")


def _read_stream(stream: BinaryIO, name: str) -> tuple[tuple[Capture, ...], Source]:
    from gpucert.device import smi, text_file

    digested = text_file.Digested(stream)
    captures = smi.read_stream(digested, name)
    return captures, Source(name, digested.sha256, digested.length)


def from_station(wanted: str | None) -> Gathered:
    """The cards of this station as they are now, without load. Raises ProblemError where there is no driver or card."""
    from gpucert.device import apart
    from gpucert.device.gpu import NoDriverError, NoSuchGpuError

    found = Gathered(sources=[Source(STATION, "", 0)])
    try:
        names = [one.strip() for one in wanted.split(",")] if wanted is not None else _every(apart.list_gpus())
    except NoDriverError as error:
        raise ProblemError(
            f"{error}\ngpucert: a file is read without a driver: gpucert inspect FILE", ExitCode.INCOMPLETE
        ) from error
    with ThreadPoolExecutor(max_workers=len(names) + 1) as pool:
        looks = [(name, pool.submit(_look, name)) for name in names]
        log = pool.submit(_own_log)
    for name, look in looks:
        try:
            found.captures.append(look.result())
        except NoSuchGpuError as error:
            raise ProblemError(f"--gpu {name}: {error}") from error
        except NoDriverError as error:
            found.unreadable.append(str(error))
    _add_log(found, log.result(), every=wanted is None)
    return found


def _look(card: str | Capture) -> Capture:
    from gpucert.device import apart

    return card if isinstance(card, Capture) else apart.look(card)


def _own_log() -> Reading[tuple[Capture, ...]]:
    """What the kernel log of this station says of its cards since it started."""
    from gpucert.device import smi
    from gpucert.station import log

    lines = log.read(Path("/"), LOG_LIMIT_S)
    if isinstance(lines, Absent):
        return lines
    try:
        return smi.read("\n".join(lines), STATION)
    except smi.UnreadableCaptureError:
        return ()


def _add_log(found: Gathered, log: Reading[tuple[Capture, ...]], *, every: bool) -> None:
    """Add what the log says of the cards that were read, or of all: one that fell off the bus is read no more.

    Where nobody may read the log, every card says so.
    """
    if isinstance(log, Absent):
        note = f"The kernel log of this station was not read: {log}"
        found.captures = [structs.replace(one, notes=(*one.notes, note)) for one in found.captures]
        return
    places = {str(one.identity.bus_id) for one in found.captures}
    found.captures += (one for one in log if every or str(one.identity.bus_id) in places)


def _every(cards: tuple[Identity, ...]) -> list[str | Capture]:
    """What to ask each card by; of one without UUID and bus id, a capture of its silence. Raises ProblemError."""
    if not cards:
        raise ProblemError("the driver shows no GPU; see `gpucert devices`", ExitCode.INCOMPLETE)
    return [
        next((one for one in (card.uuid, card.bus_id) if isinstance(one, str)), None) or _silence(index, card)
        for index, card in enumerate(cards)
    ]


def _silence(index: int, card: Identity) -> Capture:
    reason = card.name if isinstance(card.name, Absent) else "no UUID and no bus id"
    note = f"GPU {index} of this station answers nothing to hold on to: {reason}"
    return Capture(source=STATION, identity=card, sample=Sample(at_s=0.0), notes=(note,))
