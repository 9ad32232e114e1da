"""Where a run writes, and what the clock says: looked at without making, changing or locking anything."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from msgspec import Struct, structs

from gpucert.reading import Absence, Absent, Reading
from gpucert.station.facts import Clock, Place, Places
from gpucert.station.host import synchronised


class Wanted(Struct, frozen=True, kw_only=True):
    """Where a run would write; the commands know."""

    runs: Path
    ledger: Path
    locks: Path


def places(wanted: Wanted, environment: Mapping[str, str]) -> Places:
    """Each place, or the nearest folder above it that exists."""
    return Places(
        runs=_place(wanted.runs),
        data=_place(wanted.ledger.parent),
        locks=_lock_folder(wanted.locks),
        kernels=_place(_kernel_cache(environment)),
    )


def _kernel_cache(environment: Mapping[str, str]) -> Path:
    """As CuPy chooses it (cupy/cuda/compiler.py)."""
    chosen = environment.get("CUPY_CACHE_DIR")
    return Path(chosen) if chosen else Path(environment.get("HOME") or "/") / ".cupy" / "kernel_cache"


def _place(wanted: Path) -> Place:
    path = wanted.absolute()
    while not _there(path) and path != path.parent:
        path = path.parent
    return Place(path=path, writable=_writable(path), free_mib=_free_mib(path))


def _there(path: Path) -> bool:
    """Whether this user can see that there is something, be it a link that leads nowhere."""
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _writable(path: Path) -> Reading[bool]:
    try:
        if not path.is_dir():
            return Absent(Absence.NOT_SUPPORTED, f"{path} is no folder")
    except OSError as error:
        return Absent(Absence.UNKNOWN, f"{path}: {error.strerror or error}")
    return os.access(path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _lock_folder(wanted: Path) -> Place:
    """As a run demands it: a folder itself, because a link would lead anywhere."""
    place = _place(wanted)
    if place.path.is_symlink():
        return structs.replace(place, writable=Absent(Absence.NOT_SUPPORTED, f"{place.path} is a link, no folder"))
    return place


def _free_mib(path: Path) -> Reading[int]:
    try:
        state = os.statvfs(path)
    except OSError as error:
        return Absent(Absence.UNKNOWN, f"{path}: {error.strerror or error}")
    return state.f_bavail * state.f_frsize // 2**20


def clock(ledger: Path | None) -> Clock:
    """The time, and what it must not be earlier than. Without a ledger no attempt is known."""
    return Clock(
        now=datetime.now(UTC),
        installed=_installed(),
        last_attempt=Absent(Absence.UNKNOWN, "no ledger was read") if ledger is None else _last_attempt(ledger),
        synchronised=synchronised(),
    )


def _installed() -> Reading[datetime]:
    with_times = [Path(str(one)) for one in files("gpucert").iterdir() if one.name.endswith(".py")]
    try:
        return datetime.fromtimestamp(max(path.stat().st_mtime for path in with_times), UTC)
    except (OSError, ValueError) as error:
        return Absent(Absence.UNKNOWN, f"the age of gpucert's files: {error}")


def _last_attempt(ledger: Path) -> Reading[datetime]:
    """Read as a file that nobody changes, because opening it as a ledger would make, lock or upgrade it."""
    if not ledger.is_file():
        return Absent(Absence.NOT_SUPPORTED, f"no {ledger}")
    try:
        with closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            (told,) = connection.execute("SELECT max(started_at) FROM attempt").fetchone()
        if told is None:
            return Absent(Absence.NOT_SUPPORTED, f"{ledger} knows no attempt")
        began = datetime.fromisoformat(str(told))
    except (sqlite3.Error, ValueError, OSError) as error:
        return Absent(Absence.UNKNOWN, f"{ledger}: {error}")
    return began if began.tzinfo else began.replace(tzinfo=UTC)
