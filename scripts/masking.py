"""Masking: replaces what names one card or one host in saved files by pseudonyms, the same ones every time.

Standard library only, because it runs on stations that have nothing else.
"""

import argparse
import hashlib
import hmac
import json
import os
import re
import secrets
import socket
import string
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

BOUNDED_BELOW = 8
"""Forms shorter than this are found only between other letters' ends, because they occur by chance inside others."""
SHORTEST = 5
"""Letters and digits that a name must have; "0" or "N/A" names nobody."""
_ROLLS = 10_000
_PASSES = 5
_KEY_BYTES = 32
_TEXTS = {".txt", ".csv", ".log", ".xml"}

HEX = "0123456789abcdef"
PREFIXES = ("gpu-", "mig-", "0x")
"""Beginnings of a UUID or a PDI that say nothing about the card; a serial that looks so keeps them too."""
CARD_FIELDS = {"uuid": "uuid", "pdi": "pdi", "serial": "serial", "bus_id": "bus"}
"""The fields of a record's card that name it, and the kind of name that they hold."""

_SMI = (
    ("uuid", r"<uuid>([^<]+)</uuid>|(?:GPU|MIG) UUID\s*: (\S+)|^UUID\s*: (\S+)"),
    ("serial", r"<(?:chassis_)?serial(?:_number)?>([^<]+)<|Serial Number\s*: (\S+)"),
    ("pdi", r"<(?:gpu_)?pdi>([^<]+)<|GPU PDI\s*: (\S+)"),
    ("bus", r'<gpu id="([^"]+)"|<pci_bus_id>([^<]+)<|Bus Id\s*: (\S+)|^GPU ([0-9A-Fa-f]{8}:\S+)'),
    ("guid", r"<(?:gpu_fabric_guid|cluster_?uuid)>([^<]+)<|(?:GPU Fabric GUID|Cluster ?UUID)\s*: (\S+)"),
)
"""Where nvidia-smi -q, as XML or text, says names."""

_SMI_FIELDS = (
    r"(<(?:board_id|pci_bus|process_name|slot_number|tray_index|host_id|module_id)>)[^<]*(<)",
    r"(^\s+(?:Board ID|Bus|Slot Number|Tray Index|Host ID|Module ID)\s*: )\S.*?()$",
    r"(^\s+Process ID.*\n(?:\s+(?:Type|GPU instance ID|Compute instance ID)\s*:.*\n)*\s+Name\s*: ).*?()$",
)
"""Values of nvidia-smi -q that are part of a name, place a card in a host, or tell what else runs there."""


class IdentifierLeftError(RuntimeError):
    """A name is still to be found after masking; nothing may be written."""


@dataclass(frozen=True)
class Name:
    """One thing that names a card or host."""

    kind: str
    value: str


def names_something(value: str) -> bool:
    """Whether a value can be a name at all: long enough, and not one character again and again."""
    letters = re.sub(r"[\W_]", "", value).casefold().removeprefix("0x")
    return len(letters) >= SHORTEST and len(set(letters)) > 1


def names_of_record(tree: object) -> Iterator[Name]:
    """The names in a record's `card`."""
    card = tree.get("card") if isinstance(tree, dict) else None
    for field, kind in CARD_FIELDS.items():
        value = card.get(field) if isinstance(card, dict) else None
        if isinstance(value, str) and names_something(value):
            yield Name(kind, value)


def names_of_smi(text: str) -> Iterator[Name]:
    """The names in the output of nvidia-smi -q, XML or text."""
    for kind, pattern in _SMI:
        for found in re.finditer(pattern, text, re.MULTILINE):
            value = next(group for group in found.groups() if group).strip()
            if names_something(value) and not value.casefold().startswith(("n/a", "unknown")):
                yield Name("uuid" if kind == "guid" and value.count("-") == 4 else kind.replace("guid", "pdi"), value)


def names_of_host(hostname: str) -> Iterator[Name]:
    """The host's name with and without its domain, where it is more than "localhost"."""
    for value in {hostname, hostname.partition(".")[0]}:
        if names_something(value) and not value.startswith("localhost"):
            yield Name("host", value)


def forms(name: Name) -> list[str]:
    """The ways in which a name is written, lower case; a pseudonym of the same shape has as many."""
    value = _lower(name.value)
    match name.kind:
        case "uuid":
            bare = value.partition("-")[2] if value.startswith(("gpu-", "mig-")) else value
            return [value, bare, bare.replace("-", "")]
        case "pdi":
            return [value, value.removeprefix("0x")]
        case "bus":
            domain, _, short = value.partition(":") if value.count(":") == 2 else ("", "", value)
            full = (value, f"{domain[-4:]}:{short}") if domain else (value,)
            written = [*full, *(one.rpartition(".")[0] for one in full if domain), *([short] if domain else [])]
            return [form for one in written for form in (one, one.replace(":", "-"))]
        case _:
            return [value]


def _lower(text: str) -> str:
    """Lower case in ASCII only, as the patterns ignore it: other alphabets change their length."""
    return text.translate(str.maketrans(string.ascii_uppercase, string.ascii_lowercase))


class Masker:
    """Replaces a known set of names. One key gives one name the same pseudonym in every file and on every day."""

    def __init__(self, key: bytes, names: Iterable[Name]) -> None:
        known = sorted(
            {Name(name.kind, _lower(name.value)) for name in names}, key=lambda name: (name.kind, name.value)
        )
        self._patterns = [(name.kind, _pattern(form)) for name in known for form in forms(name)]
        self._replacements: dict[str, str] = {}
        taken: set[str] = set()
        for name in known:
            pseudonym = self._pseudonym(key, name, taken)
            taken.add(pseudonym)
            written = forms(Name(name.kind, pseudonym))
            for form, instead in zip(forms(name), written, strict=True):
                self._replacements.setdefault(form, instead)
        by_length = sorted(self._replacements, key=len, reverse=True)
        self._any = re.compile("|".join(_pattern(form).pattern for form in by_length) or r"(?!)", _FLAGS)

    def text(self, text: str) -> str:
        """The text with every name replaced. Raises IdentifierLeftError."""
        for _ in range(_PASSES):  # because a replacement can put the two halves of a name side by side
            text = self._any.sub(lambda found: _as_written(found[0], self._replacements[_lower(found[0])]), text)
        for kind, pattern in self._patterns:
            if pattern.search(text):
                raise IdentifierLeftError(f"a {kind} is left after masking")
        return text

    def smi(self, text: str) -> str:
        """The output of nvidia-smi -q with names, places and other programs replaced."""
        for pattern in _SMI_FIELDS:
            text = re.sub(pattern, r"\1masked\2", text, flags=re.MULTILINE)
        return self.text(text)

    def tree(self, tree: object) -> object:
        """A JSON tree with every name replaced, in keys, texts and numbers."""
        match tree:
            case dict():
                return {self.text(str(key)): self.tree(value) for key, value in tree.items()}
            case list():
                return [self.tree(value) for value in tree]
            case str():
                return self.text(tree)
            case int() if not isinstance(tree, bool):
                masked = self.text(str(tree))
                return tree if masked == str(tree) else masked
            case _:
                return tree

    def json(self, text: str) -> str:
        """A JSON document, in the layout of a record."""
        masked = json.dumps(self.tree(json.loads(text)), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        return self.text(masked)

    def _pseudonym(self, key: bytes, name: Name, taken: set[str]) -> str:
        """A value of the same shape that neither is taken nor holds any of the names."""
        for roll in range(_ROLLS):
            told = f"{name.kind}:{name.value}:{roll}".encode()
            candidate = _shaped(name, hmac.new(key, told, hashlib.sha512).digest())
            written = forms(Name(name.kind, candidate))
            held = any(pattern.search(form) for _, pattern in self._patterns for form in written)
            if candidate not in taken and not held and len(written) == len(forms(name)):
                return candidate
        raise IdentifierLeftError(f"no pseudonym of the shape of this {name.kind} is free")


_FLAGS = re.IGNORECASE | re.ASCII


def _pattern(form: str) -> re.Pattern[str]:
    escaped = re.escape(form)
    bounded = len(form) < BOUNDED_BELOW
    return re.compile(rf"(?<![0-9A-Za-z]){escaped}(?![0-9A-Za-z])" if bounded else escaped, _FLAGS)


def _as_written(found: str, instead: str) -> str:
    """The pseudonym with the prefix and in the case of what it replaces."""
    length = next((len(prefix) for prefix in PREFIXES if _lower(found).startswith(prefix)), 0)
    rest = instead[length:]
    return found[:length] + (rest.upper() if found[length:].isupper() else rest)


def _shaped(name: Name, digest: bytes) -> str:
    """A value of the same shape from random bytes: a digit for a digit, a letter for a letter."""
    if name.kind == "host":
        return f"host-{digest.hex()[:8]}"
    value = name.value
    if name.kind == "bus":
        head, _, tail = value.rpartition(":")
        domain, separator, _ = head.rpartition(":")
        return f"{domain}{separator}{digest[0]:02x}:{tail}"
    kept = next((prefix for prefix in PREFIXES if value.startswith(prefix)), "")
    rest = value[len(kept) :]
    return kept + "".join(_instead(letter, digest[index % len(digest)], name.kind) for index, letter in enumerate(rest))


def _instead(letter: str, byte: int, kind: str) -> str:
    if kind in {"uuid", "pdi"} and letter in HEX:
        return HEX[byte % 16]
    if letter.isdecimal():
        return str(byte % 10)
    return string.ascii_lowercase[byte % 26] if letter.isalpha() else letter


def names_in(files: Iterable[Path], hostname: str) -> Iterator[Name]:
    """Every name that these files and this host tell."""
    yield from names_of_host(hostname)
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.name == "record.json":
            yield from names_of_record(json.loads(text))
        elif path.suffix in _TEXTS:
            yield from names_of_smi(text)


def masked_copy(masker: Masker, path: Path) -> str:
    """What one file says once it is masked."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return masker.json(text) if path.suffix == ".json" else masker.smi(text)


def key_of(path: Path) -> bytes:
    """The key in a file, made on first use and readable by its owner alone."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
    return path.read_bytes()


def mask_folder(source: Path, target: Path, masker: Masker, files: Iterable[Path]) -> list[Path]:
    """Write masked copies of the files below `source` to `target`, all or none. Raises IdentifierLeftError."""
    copies = {target / masker.text(path.relative_to(source).as_posix()): masked_copy(masker, path) for path in files}
    for path, text in copies.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(copies)


def default_key() -> Path:
    """Where the key of this user lies."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "gpucert" / "mask.key"


def arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(
        prog="mask-record",
        description="Write copies of a run's files in which serial, UUID, PDI, bus id and host are pseudonyms. "
        "Verdict, page and journal are left out, because they hold digests: judge and issue the masked record again.",
    )
    parser.add_argument("source", type=Path, help="folder with record.json, telemetry.csv, output of nvidia-smi -q")
    parser.add_argument("target", type=Path, help="folder for the copies, new or empty")
    parser.add_argument("--key", type=Path, default=default_key(), help="file of the secret that pseudonyms hang on")
    return parser.parse_args()


def to_be_masked(source: Path) -> list[Path]:
    """The files below a folder that can be masked, sorted."""
    named = {"record.json", "summary.json"}
    return sorted(
        path for path in source.rglob("*") if path.is_file() and (path.suffix in _TEXTS or path.name in named)
    )


def main() -> str | None:
    """Mask a folder; the problem in one line, or nothing."""
    wanted = arguments()
    if not wanted.source.is_dir():
        return f"{wanted.source}: no such folder"
    if wanted.target.exists() and (not wanted.target.is_dir() or any(wanted.target.iterdir())):
        return f"{wanted.target}: must be a new or an empty folder"
    files = to_be_masked(wanted.source)
    if not files:
        return f"{wanted.source}: nothing here that can be masked"
    try:
        masker = Masker(key_of(wanted.key), names_in(files, socket.gethostname()))
        written = mask_folder(wanted.source, wanted.target, masker, files)
    except (OSError, ValueError, IdentifierLeftError) as error:
        return f"{wanted.source}: {error}; nothing may leave this machine"
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return None


if __name__ == "__main__":
    problem = main()
    if problem:
        sys.stderr.write(f"mask-record: {problem}\n")
        sys.exit(2)
