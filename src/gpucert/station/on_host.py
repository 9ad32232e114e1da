"""Remarks on the host around the cards: environment, other programs, kernel log, folders, memory and clock."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from gpucert.reading import Absence, Absent, Reading
from gpucert.station.facts import Clock, Place, Places, Sight, Station, Variable
from gpucert.station.remark import Remark, State

STATION: Final = "Station"
_remark = partial(Remark, topic=STATION)

FREE_MIB_AT_LEAST: Final = 500
"""A burn-in of twelve hours writes tens of megabytes a card; the rest is room for the journal of several."""
MEMORY_MIB_AT_LEAST: Final = 2048
"""A worker holds CUDA's context, CuPy, and for the exact product several matrices of 8192² doubles (512 MiB each)."""
_CLOCK_MAY_DIFFER: Final = timedelta(hours=1)
_VALUE_AT_MOST = 60


def remarks(station: Station) -> Iterator[Remark]:
    """Everything that is of the host and of no card."""
    yield from _environment(station.sight.variables)
    yield from _container(station.sight)
    yield from _mps(station.host if isinstance(station.host, Absent) else station.host.mps)
    yield _kernel_log(station.sight.log)
    yield from _places(station.places)
    yield _memory(station.host if isinstance(station.host, Absent) else station.host.memory_mib)
    yield from _clock(station.clock)


def _environment(variables: tuple[Variable, ...]) -> Iterator[Remark]:
    told = [f"{one.name}={one.value[:_VALUE_AT_MOST]}" for one in variables if one.reaches]
    removed = [f"{one.name}={one.value[:_VALUE_AT_MOST]}" for one in variables if not one.reaches]
    if told:
        yield _remark(
            name="environment",
            state=State.WARNING,
            found=f"{' '.join(told)} would reach the run and may change its answers",
            remedy=f"`unset {' '.join(dict.fromkeys(one.name for one in variables if one.reaches))}`",
        )
    if removed:
        yield _remark(
            name="environment", state=State.OK, found=f"{' '.join(removed)}: kept from a run, which ignores it"
        )
    if not variables:
        yield _remark(name="environment", state=State.OK, found="no variable that changes what a card computes")


def _container(sight: Sight) -> Iterator[Remark]:
    if sight.container.kind:
        given = sight.container.visible
        words = "" if given is None else f", NVIDIA_VISIBLE_DEVICES={given[:_VALUE_AT_MOST] or '(empty)'}"
        yield _remark(name="container", state=State.OK, found=f"{sight.container.kind[:_VALUE_AT_MOST]}{words}")


def _mps(running: Reading[tuple[int, ...]]) -> Iterator[Remark]:
    if isinstance(running, Absent):
        yield _remark(name="mps", state=State.UNKNOWN, found=f"processes cannot be listed: {running.detail}")
    elif running:
        yield _remark(
            name="mps",
            state=State.PROBLEM,
            found=f"CUDA's multi-process service runs (process {', '.join(map(str, running))}) and shares the cards",
            remedy="`echo quit | nvidia-cuda-mps-control`, as the user who started it.",
        )
    else:
        yield _remark(name="mps", state=State.OK, found="no multi-process service runs")


def _kernel_log(log: Reading[tuple[str, ...]]) -> Remark:
    if isinstance(log, Absent):
        return _remark(
            name="kernel_log",
            state=State.WARNING if log.absent is Absence.NO_PERMISSION else State.UNKNOWN,
            found=f"errors that the driver logged (Xid) before a run cannot be seen: {log.detail or log}",
            remedy="Run as root, or `sudo sysctl kernel.dmesg_restrict=0`; in a container give it /dev/kmsg.",
        )
    lines = "one line" if len(log) == 1 else f"{len(log)} lines"
    return _remark(name="kernel_log", state=State.OK, found=f"readable, {lines} about the driver since the start")


def _places(places: Reading[Places]) -> Iterator[Remark]:
    if isinstance(places, Absent):
        yield _remark(
            name="folders",
            state=State.UNKNOWN,
            found=f"the folders of a run: {places.detail}",
            remedy="See whether a network folder is gone (`mount`, `df`).",
            decides=True,
        )
        return
    yield _place("runs_folder", "where the runs are written", places.runs, "Choose another folder with --out.")
    yield _place("ledger_folder", "where the ledger lies", places.data, "Choose another ledger with --store.")
    yield _place(
        "lock_folder", "where cards are locked", places.locks, "Set GPUCERT_LOCK_DIR to a folder that can be written."
    )
    yield _place(
        "kernel_cache",
        "where CuPy keeps kernels",
        places.kernels,
        "Set HOME or CUPY_CACHE_DIR to a folder that can be written.",
    )


def _place(name: str, what: str, place: Place, remedy: str) -> Remark:
    writable, free = place.writable, place.free_mib
    if writable is not True:
        why = "may not be written" if writable is False else str(writable.detail or writable)
        return _remark(name=name, state=State.PROBLEM, found=f"{what}: {place.path} {why}", remedy=remedy)
    if isinstance(free, Absent):
        return _remark(name=name, state=State.UNKNOWN, found=f"{what}: free space of {free}", decides=True)
    if free < FREE_MIB_AT_LEAST and name != "lock_folder":
        found = f"{what}: {place.path} has {free} MiB free; a run needs {FREE_MIB_AT_LEAST}"
        return _remark(name=name, state=State.PROBLEM, found=found, remedy=f"Make room. {remedy}")
    return _remark(name=name, state=State.OK, found=f"{place.path}, {_size(free)} free")


def _size(mib: int) -> str:
    return f"{mib / 1024:.0f} GiB" if mib >= 10 * 1024 else f"{mib} MiB"


def _memory(mib: Reading[int]) -> Remark:
    if isinstance(mib, Absent):
        return _remark(name="memory", state=State.UNKNOWN, found=f"{mib.detail or mib}")
    if mib < MEMORY_MIB_AT_LEAST:
        return _remark(
            name="memory",
            state=State.WARNING if mib >= MEMORY_MIB_AT_LEAST // 2 else State.PROBLEM,
            found=f"{mib} MiB of host memory are free; a run takes up to {MEMORY_MIB_AT_LEAST}",
            remedy="Stop other programs, or give the container or machine more memory.",
        )
    return _remark(name="memory", state=State.OK, found=f"{_size(mib)} of host memory free")


def _clock(clock: Clock) -> Iterator[Remark]:
    wrong = [
        f"it is earlier than {what} ({_day(then)})"
        for what, then in (("gpucert's own files", clock.installed), ("the newest attempt", clock.last_attempt))
        if not isinstance(then, Absent) and clock.now + _CLOCK_MAY_DIFFER < then
    ]
    if wrong:
        yield _remark(
            name="clock",
            state=State.PROBLEM,
            found=f"the clock says {_day(clock.now)}: {' and '.join(wrong)}",
            remedy="Set it (`sudo timedatectl set-ntp true`): dates on a certificate must be true.",
        )
    elif clock.synchronised is False:
        yield _remark(
            name="clock",
            state=State.WARNING,
            found=f"it says {_day(clock.now)}, and nothing keeps it right",
            remedy="`sudo timedatectl set-ntp true`, or start chrony.",
        )
    elif isinstance(clock.synchronised, Absent):
        found = f"it says {_day(clock.now)}; whether something keeps it right: {clock.synchronised}"
        yield _remark(name="clock", state=State.UNKNOWN, found=found)
    else:
        yield _remark(name="clock", state=State.OK, found=f"{_day(clock.now)}, kept right by a time service")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
