"""Locks that keep two runs off one card and off one folder; they vanish with the last process that holds them."""

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from pathlib import Path

_SHARED = Path("/tmp")  # noqa: S108  # because TMPDIR differs between users, and all of them share the card
ORPHAN_GRACE_S = 5.0
"""How long to wait for the children of a run that is dead: the kernel is ending them."""


class BusyError(RuntimeError):
    """Another run holds the card or the folder; the text names its process."""


class LockFolderError(RuntimeError):
    """The folder of the locks cannot be used; the text says what to do."""


def folder() -> Path:
    """Where card locks lie: one place for all users of the station; `GPUCERT_LOCK_DIR` names another."""
    chosen = os.environ.get("GPUCERT_LOCK_DIR")
    return Path(chosen) if chosen else _SHARED / "gpucert-locks"


def lock_card(card_id: str) -> int:
    """Take the lock of a card and return its descriptor, to be handed to every process that touches the card.

    Closing the last copy of the descriptor lets go. Raises BusyError, LockFolderError.
    """
    place = folder()
    _make_shared(place)
    path = place / f"{hashlib.sha256(card_id.encode()).hexdigest()[:24]}.lock"
    fd = _hold_shared(path, f"card {card_id}")
    with contextlib.suppress(OSError):  # another user's lock file may be readable only: the lock holds all the same
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _hold_shared(path: Path, what: str) -> int:
    """Open and lock a file, again if a cleaner of old files took its name away in between."""
    while True:
        fd = _open_shared(path)
        try:
            hold(fd, what, _written_pid(fd))
        except BusyError:
            os.close(fd)
            raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(fd)):
                return fd
        os.close(fd)


def hold(fd: int, what: str, holder: int | None) -> None:
    """Lock an open file for this process and all that inherit it. Raises BusyError.

    A holder that is dead is an orphan's parent: its children are given a few seconds to end.
    """
    patience = time.monotonic() + (ORPHAN_GRACE_S if holder is not None and not _alive(holder) else 0)
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= patience:
                raise BusyError(_busy(what, holder)) from None
            time.sleep(0.05)
        else:
            return


def _busy(what: str, holder: int | None) -> str:
    if holder is None:
        return f"{what} is in use by another gpucert; wait for it or stop it"
    if _alive(holder):
        return f"{what} is in use by another gpucert (process {holder}); wait for it or stop it"
    return f"{what} is still held by a process that run {holder} left behind; if it does not end, reboot the station"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _written_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).split(b"\n")[0]
    return int(text) if text.isdigit() else None


def _make_shared(place: Path) -> None:
    try:
        place.mkdir(parents=True)
        place.chmod(0o1777)  # because every user of the station must be able to lock any card; mkdir obeys the umask
    except FileExistsError:
        pass
    except OSError as error:
        raise LockFolderError(f"{place}: {error.strerror}; set GPUCERT_LOCK_DIR to a folder that can be written") from (
            error
        )
    if not stat.S_ISDIR(place.lstat().st_mode):
        raise LockFolderError(f"{place}: not a folder; remove it or set GPUCERT_LOCK_DIR")


def _open_shared(path: Path) -> int:
    """Open a lock file, made by whichever user came first.

    First without O_CREAT, because Linux refuses it on another user's file in a sticky folder (fs.protected_regular).
    """
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    for attempt in (os.O_RDWR, os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        try:
            fd = os.open(path, flags | attempt, 0o666)
        except (FileNotFoundError, PermissionError):
            continue
        except OSError as error:
            raise LockFolderError(f"{path}: {error.strerror}; remove it or set GPUCERT_LOCK_DIR") from error
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o666)
        return fd
    raise LockFolderError(f"{path}: cannot be made; set GPUCERT_LOCK_DIR to a folder that can be written")
