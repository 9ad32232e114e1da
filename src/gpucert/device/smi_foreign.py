"""Files that hold no full query: what each is, what it still tells, and which command gives what is needed."""

import re

from gpucert.device import smi_log
from gpucert.device.kernel_log import KernelLog
from gpucert.reading import Absent

_REMEDY = "give the output of `nvidia-smi -q`, or of `nvidia-smi -q -x`"

_OF_NVIDIA = (
    (re.compile(r"NVIDIA-SMI has failed"), "nvidia-smi could not reach the driver when this was written"),
    (re.compile(r"No devices were found"), "nvidia-smi found no GPU when this was written"),
    (re.compile(r"\| NVIDIA-SMI \d"), "the summary table of nvidia-smi, without a card that can be read"),
    (re.compile(r"^\s*Link \d+:", re.MULTILINE), "the NVLink status of nvidia-smi, without the cards behind the links"),
    (
        re.compile(r"^GPU \d+: .*\(UUID: ", re.MULTILINE),
        "the list of `nvidia-smi -L`, which holds only names and UUIDs",
    ),
    (re.compile(r"NVRM: |nvidia-nvswitch\d+: "), "a kernel log without any Xid of a GPU, and without any GPU"),
)
_OF_OTHERS = (
    (
        re.compile(r"^[\w.]+( \[[^\]]+\])?, ?[\w.]+( \[[^\]]+\])?(, ?|\r?$)", re.MULTILINE),
        "a table of comma-separated values",
    ),
    (re.compile(r"^\s*[{\[]"), "JSON"),
    (re.compile(r"^\s*<[A-Za-z?!]"), "XML or HTML of another program"),
)
"""The first that fits names the file; what nvidia-smi prints comes first because logs quote it."""


def why(beginning: str, source: str, log: KernelLog, *, empty_document: bool) -> str:
    """One line for a person: what this file is, and what to give instead."""
    if empty_document:
        return f"{source}: a query of nvidia-smi that lists no GPU; {_REMEDY} of a station whose driver sees the card"
    if not beginning.strip():
        return f"{source}: empty; {_REMEDY}"
    if log.of_driver and (log.drivers or log.switches or log.homeless or log.damaged):
        told = "; ".join(smi_log.of_file(log))
        return f"{source}: a kernel log without any Xid of a GPU, {smi_log.span(log)}; {told or _REMEDY}"
    what = _kind(beginning, _OF_NVIDIA)
    if what is None and not isinstance(log.first_at, Absent):
        what = f"a log without a line of the NVIDIA driver, {smi_log.span(log)}"
    return f"{source}: {what or _kind(beginning, _OF_OTHERS) or 'not a capture of nvidia-smi'}; {_REMEDY}"


def _kind(beginning: str, kinds: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    return next((name for pattern, name in kinds if pattern.search(beginning)), None)
