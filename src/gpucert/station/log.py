"""The kernel log since the station started, as far as NVIDIA's driver wrote it and this user may read it."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from gpucert.device.kernel_log import Book, LoggedCard
from gpucert.reading import Absence, Absent, Reading

_OF_THE_DRIVER = re.compile(r"NVRM|nvidia|nouveau", re.IGNORECASE)
_RECORD = re.compile(r"\d+,\d+,(?P<micros>\d{1,18}),[^;]*;(?P<text>.*)", re.DOTALL)
"""Priority, sequence, microseconds, flags; text (kernel documentation, ABI/testing/dev-kmsg)."""
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_PIECE = 65_536
_AT_MOST = 32 * 2**20


def read(root: Path, limit_s: float) -> Reading[tuple[str, ...]]:
    """Lines about the driver, from /dev/kmsg or else from the journal; an absence where neither may be read."""
    ends = time.monotonic() + limit_s
    raw = _kmsg(root / "dev" / "kmsg", ends)
    if not isinstance(raw, Absent):
        return tuple(line for record in raw.split("\n") for line in _lines(record) if _OF_THE_DRIVER.search(line))
    told = _journal(ends - time.monotonic()) if root == Path("/") else ""
    if not told:
        return raw
    return tuple(line for line in told.splitlines() if _OF_THE_DRIVER.search(line))


def of_cards(lines: Reading[tuple[str, ...]]) -> tuple[LoggedCard, ...]:
    """What the driver logged of each card since the station started."""
    book = Book()
    for line in () if isinstance(lines, Absent) else lines:
        book.add(line)
    return book.close().cards


def _kmsg(path: Path, ends: float) -> Reading[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Absent(Absence.NOT_SUPPORTED, f"no {path}")
    except OSError as error:
        return Absent(Absence.NO_PERMISSION, f"{path}: {error.strerror}")
    try:
        return _drained(fd, ends)
    except PermissionError as error:
        return Absent(Absence.NO_PERMISSION, f"{path}: {error.strerror}")
    except OSError as error:
        return Absent(Absence.UNKNOWN, f"{path}: {error.strerror}")
    finally:
        os.close(fd)


def _drained(fd: int, ends: float) -> str:
    """All that is there now: each read gives a record, and fails with EAGAIN after the last."""
    pieces: list[bytes] = []
    size = 0
    while time.monotonic() < ends and size < _AT_MOST:
        try:
            piece = os.read(fd, _PIECE)
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue  # older records were overwritten meanwhile
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces).decode("utf-8", errors="replace")


def _lines(record: str) -> list[str]:
    """The lines of one record with the stamp that `dmesg` prints; lines that describe a record begin with a space."""
    match = _RECORD.fullmatch(record)
    if match is None:
        return []
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), match["text"])
    stamp = f"[{int(match['micros']) / 1e6:12.6f}] "
    return [stamp + line for line in text.splitlines()]


def _journal(limit_s: float) -> str:
    """Empty where there is no journal, or where it shows this user nothing: it does not tell the two apart."""
    program = shutil.which("journalctl")
    if program is None or limit_s <= 0:
        return ""
    command = [program, "-k", "-b", "-q", "--no-pager", "-o", "short-monotonic", "-n", "20000"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit_s, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", errors="replace")
