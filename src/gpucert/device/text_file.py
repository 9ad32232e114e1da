"""Text files as people send them: plain, compressed, or in the UTF-16 of a Windows shell, up to a sane size."""

import codecs
import zlib
from pathlib import Path

MAX_BYTES = 64 * 2**20
"""A bug report of an eight-GPU server is about 20 MB; what is larger is no report."""

_GZIP = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class UnreadableTextError(ValueError):
    """A file holds no text that can be read; the text names the file and the remedy."""


def data(path: Path) -> bytes:
    """The bytes of a file, one more than is allowed where it is too long. Raises UnreadableTextError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableTextError(f"{path}: {error.strerror or error}") from error


def decode(data: bytes, source: str) -> str:
    """Text from bytes, unpacked first where they are gzip. Characters that cannot be are replaced, not guessed.

    Raises UnreadableTextError.
    """
    if data.startswith(_GZIP):
        data = _unpack(data, source)
    if len(data) > MAX_BYTES:
        raise UnreadableTextError(f"{source}: larger than {MAX_BYTES // 2**20} MiB; give the driver's output alone")
    if data.startswith(_UTF16):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise UnreadableTextError(f"{source}: a binary file; give the text that `nvidia-smi -q` prints")
    return data.decode("utf-8-sig", errors="replace")


def _unpack(data: bytes, source: str) -> bytes:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        return unpacker.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise UnreadableTextError(f"{source}: a damaged gzip file ({error}); copy it again") from error
