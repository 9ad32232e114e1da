"""The summary table of nvidia-smi: the little that it shows of each card, for files that hold no full query.

Layouts of drivers 384 to 610, with and without a row for MIG. Cells are found by the bars between them, because widths
differ from driver to driver.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gpucert.capture import NOT_STATED, Capture
from gpucert.device import bounds, bus_id
from gpucert.device.mention import ADVICE
from gpucert.device.smi_words import absence, count, flag, quantity, quote, unclear
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Identity, Sample, Settings

_VERSION = re.compile(r"^\| NVIDIA-SMI \S+\s+(?:KMD )?Driver Version: (\d+\.\d+(?:\.\d+)?)", re.MULTILINE)
_FIRST = re.compile(
    r"^\|\s{1,4}\d{1,4}\s+(?P<name>\S[^|]{0,80}?)\s+(?P<mode>On|Off|N/A|WDDM|TCC|MCDM|ERR!)\s*"
    r"\|\s*(?P<bus>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s[^|]{0,20}\|\s*(?P<ecc>[^|]{1,30}?)\s*\|\s*$"
)
_SECOND = re.compile(
    r"^\|\s*(?P<fan>N/A|ERR!|\d{1,3}%)\s+(?P<heat>N/A|ERR!|\d{1,3}C)\s+(?P<state>P\d{1,2}|N/A|ERR!|Unknown)\s+"
    r"(?P<power>[^/|]{1,20}|N/A)\s/\s*(?P<cap>[^|]{1,20}?)\s*\|\s*[^/|]{1,20}/\s*(?P<memory>[^|]{1,20}?)\s*"
    r"\|\s*[^|]{0,40}\|\s*$"
)
_THIRD = re.compile(r"^\|\s*\|\s*\|\s*(?P<mig>Enabled\*?|Disabled\*?|N/A)\s*\|\s*$")
NOTE = f"Only the summary table of nvidia-smi shows this card, without its counters. {ADVICE}"


class _Row(NamedTuple):
    """The cells of one card, as they stand."""

    first: re.Match[str]
    second: re.Match[str] | None
    mig: str | None


def captures(text: str, source: str) -> tuple[Capture, ...]:
    """Every card of the last table in a text, which shows the latest moment. None where there is no table."""
    starts = list(_VERSION.finditer(text))
    if not starts:
        return ()
    lines = text[starts[-1].start() :].splitlines()
    return tuple(_capture(row, starts[-1][1], source) for row in _rows(lines))


def _rows(lines: list[str]) -> Iterator[_Row]:
    for number, line in enumerate(lines):
        first = _FIRST.match(line)
        if first:
            rest = lines[number + 1 : number + 3]
            third = _THIRD.match(rest[1]) if len(rest) > 1 else None
            yield _Row(first, _SECOND.match(rest[0]) if rest else None, third["mig"] if third else None)


def _capture(row: _Row, driver: str, source: str) -> Capture:
    ecc = _said(row.first, "ecc")
    mig = NOT_STATED if row.mig is None else absence(row.mig) or row.mig.rstrip("*")
    return Capture(
        source=source,
        taken_at=NOT_STATED,
        identity=Identity(
            name=_name(row.first["name"]),
            bus_id=bus_id.normal(row.first["bus"]) or unclear(row.first["bus"]),
            memory_mib=count(_said(row.second, "memory"), "total memory", unit="MiB", bounds=bounds.MEMORY_MIB),
            driver=driver,
        ),
        settings=Settings(
            ecc=flag(ecc) if ecc in {"On", "Off"} else True if isinstance(ecc, str) and ecc.isdecimal() else NOT_STATED,
            mig=flag(mig),
            persistence=flag(row.first["mode"]) if row.first["mode"] in {"On", "Off"} else NOT_STATED,
            power_limit_w=quantity(_said(row.second, "cap"), "W", bounds.POWER_LIMIT_WATTS, "power limit"),
        ),
        counters=Counters(ecc_uncorrected_volatile=NOT_STATED if ecc in {"On", "Off"} else count(ecc, "ECC errors")),
        processes=NOT_STATED,
        sample=Sample(
            at_s=0.0,
            temperature_c=quantity(_said(row.second, "heat"), "C", bounds.CELSIUS, "temperature"),
            fan_percent=quantity(_said(row.second, "fan"), "%", bounds.FAN_PERCENT, "fan speed"),
            power_w=quantity(_said(row.second, "power"), "W", bounds.WATTS, "power"),
        ),
        notes=(NOTE,),
    )


def _said(row: re.Match[str] | None, cell: str) -> Reading[str]:
    """What a cell says. `ERR!` is what nvidia-smi prints when the driver could not read a sensor."""
    return NOT_STATED if row is None else absence(row[cell]) or row[cell].strip()


def _name(name: str) -> Reading[str]:
    """The table cuts long names, which then are no names."""
    return Absent(Absence.UNKNOWN, f"the table shows only {quote(name)}") if name.endswith("...") else name
