"""Text files as people send them, line by line: plain, gzip or the UTF-16 of a Windows shell, of any length.

A file is never held in memory as a whole: a kernel log of weeks is read like one of minutes. What a power cut leaves in
a log (blocks of NUL) is left out, and the line that it cut is marked as cut.
"""

import codecs
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

MAX_BYTES = 4 * 2**30
"""Of text that is not compressed. What is larger never ends, or is better cut by its owner."""
MAX_UNPACKED = 2**29
"""Of what a compressed file may hold: gzip can pack a thousand bytes into one."""
MAX_LINE = 4 * 2**20
"""Characters; what is longer is read as several lines. The XML of a rack may stand in a single line."""
_MAX_MEMBERS = 10_000
CUT = "\0"
"""Ends a line that was cut: by NUL bytes, or by the end of the file. No other NUL is left in a line."""

_BLOCK = 2**18
_GZIP = b"\x1f\x8b"
_ENOUGH = 4_096
"""Bytes from the first that is no NUL, by which binary data is told from text."""

_PACKED = (
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"BZh", "a bzip2 file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x04\x22\x4d\x18", "an lz4 file"),
)
_TAR_AT, _TAR = 257, b"ustar"
_JOURNAL = b"LPKSHHRH"
_PRINTED = b"\t\n\f\r\x1b" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


class UnreadableTextError(ValueError):
    """A file holds no text that can be read; the text names the file and the remedy."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        ...


class Digested:
    """A stream that tells, once it has been read to its end, what it held."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.length = 0

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        chunk = self._stream.read(size)
        self._hash.update(chunk)
        self.length += len(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        """The digest of what has been read, in hexadecimal."""
        return self._hash.hexdigest()


def open_file(path: Path) -> BinaryIO:
    """Open a file to read its bytes. Raises UnreadableTextError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableTextError(f"{path}: {error.strerror or error}") from error


def blocks(stream: Readable, source: str) -> Iterator[str]:
    """The text of a stream of bytes, many whole lines at a time, divided by `\\n`; `source` names it in errors.

    Characters that cannot be are replaced, not guessed. Raises UnreadableTextError.
    """
    rest: list[str] = []
    length = 0
    for text in _texts(_chunks(stream, source), source):
        end = text.rfind("\n")
        if end >= 0:
            yield "".join((*rest, text[:end]))
            rest, length = [], 0
        rest.append(text[end + 1 :])
        length += len(rest[-1])
        if length > MAX_LINE:
            piece, remainder = _broken("".join(rest))
            yield piece
            rest, length = [remainder], len(remainder)
    if length:
        yield "".join(rest) + CUT


def _broken(line: str) -> tuple[str, str]:
    """An endless line in two, at a blank, so that no number is broken; without one it is cut."""
    at = line.rfind(" ", len(line) - _BLOCK)
    return (line[:at], line[at:]) if at > 0 else (line + CUT, "")


# --- bytes


def _chunks(stream: Readable, source: str) -> Iterator[bytes]:
    """The bytes of a stream, unpacked where they are gzip; the first chunk is long enough to tell what it is."""
    raw = _read(stream, source)
    first = next(raw, b"")
    while len(first) < _BLOCK and (more := next(raw, b"")):
        first += more
    if first.startswith(_GZIP):
        yield from _bounded(_unpacked(first, raw, source), MAX_UNPACKED, f"{source}: unpacks to more than")
    else:
        yield from _bounded(_joined(first, raw), MAX_BYTES, f"{source}: larger than")


def _read(stream: Readable, source: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read(_BLOCK):
            yield chunk
    except (OSError, ValueError) as error:  # ValueError: the stream was closed
        raise UnreadableTextError(f"{source}: {getattr(error, 'strerror', None) or error}") from error


def _joined(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _bounded(chunks: Iterator[bytes], most: int, words: str) -> Iterator[bytes]:
    read = 0
    for chunk in chunks:
        read += len(chunk)
        if read > most:
            raise UnreadableTextError(
                f"{words} {most // 2**20} MiB; give the lines of the driver alone (`zgrep -a -e NVRM -e SXid FILE`)"
            )
        yield chunk


def _unpacked(first: bytes, others: Iterator[bytes], source: str) -> Iterator[bytes]:
    """What a gzip file of one member or several holds. NUL bytes behind a member are padding of tapes and disks."""
    unpacker, members = _unpacker(), 1
    try:
        for chunk in _joined(first, others):
            packed = chunk
            while packed:
                if unpacker.eof:
                    packed = packed.lstrip(b"\0")
                    if not packed:
                        break
                    unpacker, members = _unpacker(), members + 1
                if members > _MAX_MEMBERS:
                    raise UnreadableTextError(f"{source}: gzip of more than {_MAX_MEMBERS} parts; unpack it first")
                out = unpacker.decompress(packed, _BLOCK)
                yield out
                packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
                while not packed and not unpacker.eof and len(out) == _BLOCK:
                    out = unpacker.decompress(b"", _BLOCK)  # because what is unpacked may wait for room
                    yield out
    except zlib.error as error:
        raise UnreadableTextError(f"{source}: a damaged gzip file ({error}); copy it again") from error
    if not unpacker.eof:
        raise UnreadableTextError(f"{source}: a gzip file that was cut off; copy it again")


def _unpacker() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


# --- characters

_NULS = re.compile(CUT + "+")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _texts(chunks: Iterator[bytes], source: str) -> Iterator[str]:
    """The text of the chunks, every line end as `\\n`, every run of NUL as one that ends a line."""
    head, held = b"", False
    for chunk in chunks:
        held = held or bool(chunk)
        head += chunk if head or _utf16(chunk) else chunk.lstrip(b"\0")
        if len(head) >= _ENOUGH:
            break
    if held and not head:
        raise UnreadableTextError(
            f"{source}: holds nothing but NUL bytes, as a power cut leaves them; give another copy"
        )
    _refuse_binary(head, source)
    characters = codecs.getincrementaldecoder(_utf16(head) or "utf-8-sig")("replace")
    decoder = io.IncrementalNewlineDecoder(characters, translate=True)
    for chunk in _joined(head, chunks):
        yield _cut_at_nuls(decoder.decode(chunk))
    yield _cut_at_nuls(decoder.decode(b"", final=True))


def _cut_at_nuls(text: str) -> str:
    return _NULS.sub(f"{CUT}\n", text) if CUT in text else text


def _utf16(head: bytes) -> str | None:
    """The name of the encoding where this is UTF-16, with its mark or as ASCII with a NUL in every other byte."""
    if head.startswith(_UTF16):
        return "utf-16"
    low, high = head[:_ENOUGH:2], head[1:_ENOUGH:2]
    if low.count(0) * 20 < len(low) and high.count(0) * 10 > len(high) * 9:
        return "utf-16-le"
    if high.count(0) * 20 < len(high) and low.count(0) * 10 > len(low) * 9:
        return "utf-16-be"
    return None


def _refuse_binary(head: bytes, source: str) -> None:
    what = next((name for magic, name in _PACKED if head.startswith(magic)), None)
    if head.startswith(_GZIP):
        what = "a gzip file within another"
    elif head[_TAR_AT:].startswith(_TAR):
        what = "a tar archive"
    if what is not None:
        raise UnreadableTextError(f"{source}: {what}; unpack it first and give the file that is in it")
    if head.startswith(_JOURNAL):
        raise UnreadableTextError(f"{source}: a binary systemd journal; give what `journalctl -k --file FILE` prints")
    if _is_binary(head):
        raise UnreadableTextError(f"{source}: a binary file; give the text that `nvidia-smi -q` prints")


def _is_binary(head: bytes) -> bool:
    """Text holds hardly any control characters, and most of it can be decoded. NUL is what a power cut leaves."""
    if _utf16(head):
        return False
    sample = head[:_BLOCK].replace(b"\0", b"")[:_ENOUGH]
    controls = len(sample.translate(None, _PRINTED))
    broken = sample.decode("utf-8", errors="replace").count("\ufffd")
    return controls * 50 > len(sample) or broken * 5 > len(sample)
