"""Files that hold no full query: what each is, what it still tells, and which command gives what is needed."""

import re

from gpucert.device import bus_id
from gpucert.device.smi_words import NOT_STATED, quote
from gpucert.reading import Absence, Absent, Reading

_REMEDY = "give the output of `nvidia-smi -q`, or of `nvidia-smi -q -x`"

_KINDS = (
    (re.compile(r"NVIDIA-SMI has failed"), "nvidia-smi could not reach the driver when this was written"),
    (re.compile(r"No devices were found"), "nvidia-smi found no GPU when this was written"),
    (re.compile(r"\| NVIDIA-SMI \d"), "the summary table of nvidia-smi, which holds no identity and no counters"),
    (re.compile(r"^\s*Link \d+:", re.MULTILINE), "the NVLink status of nvidia-smi, without the cards behind the links"),
    (
        re.compile(r"^GPU \d+: .*\(UUID: ", re.MULTILINE),
        "the list of `nvidia-smi -L`, which holds only names and UUIDs",
    ),
    (re.compile(r"NVRM: |nvidia-nvswitch\d+: "), "a kernel log without any Xid"),
    (
        re.compile(r"^[\w.]+( \[[^\]]+\])?, ?[\w.]+( \[[^\]]+\])?(, ?|\r?$)", re.MULTILINE),
        "a table of comma-separated values",
    ),
    (re.compile(r"^\s*[{\[]"), "JSON"),
    (re.compile(r"^\s*<"), "XML or HTML of another program"),
)
"""The first that fits names the file; the strings of nvidia-smi come first because logs quote them."""

_ROW = re.compile(r"^\|\s+\d{1,3}\s+(\S[^|]{0,60}?)\s+(?:On|Off|N/A)\s*\|\s*([0-9A-Fa-f:.]{12,16})\s", re.MULTILINE)
_DRIVER = re.compile(r"Driver Version: (\d+\.\d+(?:\.\d+)?)")
_LOOK = 200_000
"""Characters that are looked at: what a file is stands near its beginning."""


def why(text: str, source: str, *, empty_document: bool) -> str:
    """One line for a person: what this file is, and what to give instead."""
    if empty_document:
        return f"{source}: a query of nvidia-smi that lists no GPU; {_REMEDY} of a station whose driver sees the card"
    if not text.strip():
        return f"{source}: empty; {_REMEDY}"
    what = next((name for pattern, name in _KINDS if pattern.search(text[:_LOOK])), "not a capture of nvidia-smi")
    return f"{source}: {what}; {_REMEDY}"


def table_row(text: str, where: str) -> tuple[Reading[str], Reading[str]]:
    """Name and driver version of a card in the summary table. The table cuts long names, which then are no names."""
    driver = _DRIVER.search(text)
    name = next((row[1] for row in _ROW.finditer(text) if bus_id.normal(row[2]) == where), None)
    return _name(name), driver[1] if driver else NOT_STATED


def _name(name: str | None) -> Reading[str]:
    if name is None:
        return NOT_STATED
    return Absent(Absence.UNKNOWN, f"the table shows only {quote(name)}") if name.endswith("...") else name
