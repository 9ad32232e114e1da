"""Files that are there whole or not at all, whatever the power does."""

import contextlib
import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write a file in one move: its name points to the old content or to the new one. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
