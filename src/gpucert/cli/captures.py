"""Where `gpucert inspect` gets its captures: files, standard input, or the cards of this station."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gpucert.capture import Capture
from gpucert.certificate.inspection import Source
from gpucert.cli.console import ProblemError
from gpucert.outcome import ExitCode
from gpucert.reading import Absent
from gpucert.record import Identity, Sample

STATION = "this station"


@dataclass
class Gathered:
    """What was found, and one line for each place where nothing was."""

    captures: list[Capture] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def from_files(files: tuple[Path, ...]) -> Gathered:
    """The captures of all files; one bad file does not hide the others."""
    from gpucert.device import smi

    found = Gathered()
    for file in dict.fromkeys(files):
        try:
            if str(file) == "-":
                data = _standard_input()
                captures, source = smi.from_bytes(data, "standard input"), _source("standard input", data)
            else:
                captures, source = smi.load(file), _source(str(file), file.read_bytes())
        except (smi.UnreadableCaptureError, OSError) as error:
            found.unreadable.append(str(error))
        else:
            found.captures += captures
            found.sources.append(source)
    return found


def _source(name: str, data: bytes) -> Source:
    return Source(name, hashlib.sha256(data).hexdigest(), len(data))


def _standard_input() -> bytes:
    import sys

    from gpucert.device.smi import UnreadableCaptureError
    from gpucert.device.text_file import MAX_BYTES

    if sys.stdin is None:
        raise UnreadableCaptureError("standard input: closed; name a file")
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def from_station(wanted: str | None) -> Gathered:
    """The cards of this station as they are now, without load. Raises ProblemError where there is no driver or card."""
    from gpucert.device import apart
    from gpucert.device.gpu import NoDriverError, NoSuchGpuError

    found = Gathered(sources=[Source(STATION, "", 0)])
    try:
        names = wanted.split(",") if wanted is not None else _every(apart.list_gpus(), found)
    except NoDriverError as error:
        raise ProblemError(
            f"{error}\ngpucert: a file is read without a driver: gpucert inspect FILE", ExitCode.INCOMPLETE
        ) from error
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        looks = [(name, pool.submit(apart.look, name.strip())) for name in names]
    for name, look in looks:
        try:
            found.captures.append(look.result())
        except NoSuchGpuError as error:
            raise ProblemError(f"--gpu {name}: {error}") from error
        except NoDriverError as error:
            found.unreadable.append(str(error))
    return found


def _every(cards: tuple[Identity, ...], found: Gathered) -> list[str]:
    """What to ask each card by. One that has neither UUID nor bus id is a capture all the same: of its silence."""
    names = []
    for index, card in enumerate(cards):
        name = next((one for one in (card.uuid, card.bus_id) if isinstance(one, str)), None)
        if name is None:
            reason = card.name if isinstance(card.name, Absent) else "no UUID and no bus id"
            note = f"GPU {index} of this station answers nothing to hold on to: {reason}"
            found.captures.append(Capture(source=STATION, identity=card, sample=Sample(at_s=0.0), notes=(note,)))
        else:
            names.append(name)
    if not cards:
        raise ProblemError("the driver shows no GPU; see `gpucert devices`", ExitCode.INCOMPLETE)
    return names
