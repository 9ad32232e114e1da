"""Small files that the kernel makes up (sysfs, procfs): their text, or the reason why there is none."""

import os
from pathlib import Path

from gpucert.reading import Absence, Absent, Reading

_MOST_BYTES = 65_536


def data(path: Path, most: int = _MOST_BYTES) -> Reading[bytes]:
    """The first `most` bytes of a file. Never waits: a pipe that nobody writes to is empty."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(fd, most)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return Absent(Absence.NOT_SUPPORTED, f"no {path}")
    except PermissionError:
        return Absent(Absence.NO_PERMISSION, f"{path} may not be read")
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        return Absent(Absence.UNKNOWN, f"{path}: {getattr(error, 'strerror', None) or error}")


def text(path: Path, most: int = _MOST_BYTES) -> Reading[str]:
    """The text of a file without the white space around it; bytes that are no UTF-8 are replaced."""
    found = data(path, most)
    return found if isinstance(found, Absent) else found.decode("utf-8", errors="replace").strip()


def names(folder: Path) -> Reading[tuple[str, ...]]:
    """What lies in a folder, sorted."""
    try:
        return tuple(sorted(one.name for one in folder.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return Absent(Absence.NOT_SUPPORTED, f"no {folder}")
    except PermissionError:
        return Absent(Absence.NO_PERMISSION, f"{folder} may not be read")
    except OSError as error:
        return Absent(Absence.UNKNOWN, f"{folder}: {error.strerror or error}")
