"""Counters of two runs of one card: only growth tells something, and a count of its life that fell is told itself.

Counts of a card's life go on from one run to the next, so the ends of both runs are compared. Counts since the driver
was loaded begin anew with the station, so what each run added is compared.
"""

import math
from collections.abc import Iterator

from gpucert.diagnosis import Subject
from gpucert.record import Counters, Record
from gpucert.verdict.case import changes, is_good, last_counters
from gpucert.verdict.circumstances import SAME_LENGTH, Run
from gpucert.verdict.comparison import Change, Counted

OF_LIFE = (
    "ecc_uncorrected_aggregate",
    "ecc_corrected_aggregate",
    "sram_uncorrected_aggregate",
    "remapped_uncorrectable",
    "remapped_correctable",
    "retired_dbe",
    "retired_sbe",
)
"""The InfoROM keeps them across resets and stations."""
NEVER_CLEARED = OF_LIFE[3:]
"""No tool of NVIDIA's takes these back."""
IN_A_RUN = (
    "ecc_uncorrected_volatile",
    "ecc_corrected_volatile",
    "throttle_thermal_ns",
    "nvlink_errors",
    "pcie_replays",
    "pcie_replay_rollovers",
    "pcie_recoveries",
    "pcie_nonfatal",
    "pcie_fatal",
)
FLAGS = (
    "sram_threshold_exceeded",
    "remap_pending",
    "remap_failure",
    "retired_pending",
    "repair_pending",
    "memory_unrepairable",
    "inforom_valid",
)
_EXPECTED_TO_GROW = ("ecc_corrected_aggregate", "ecc_corrected_volatile")
"""ECC is there to correct: how many an hour are too many is judged in each run by itself."""
_OF_STATION = ("pcie_", "nvlink_", "throttle_")
"""Beginnings of counters that slot, air and cables have a share in."""


def grown(before: Run, after: Run) -> tuple[Counted, ...]:
    """Every counter that either run could read."""
    return (*_flags(before, after), *_of_life(before, after), *_in_a_run(before, after))


def _flags(before: Run, after: Run) -> Iterator[Counted]:
    one, other = last_counters(before.record), last_counters(after.record)
    for name in FLAGS:
        was, now = _flag(one, name), _flag(other, name)
        if was is not None or now is not None:
            yield _counted(name, was, now, *_turned(was, now, good=is_good(name)))


def _flag(counters: Counters, name: str) -> bool | None:
    value = getattr(counters, name)
    return value if isinstance(value, bool) else None


def _turned(was: bool | None, now: bool | None, *, good: bool) -> tuple[Change, str]:
    if was is None or now is None:
        return _unread(now)
    if was is now:
        return Change.SAME, "The same answer."
    return (Change.BETTER, "It was raised and is not any more.") if now is good else (Change.WORSE, "It was raised.")


def _unread(now: int | None) -> tuple[Change, str]:
    return (Change.NOT_AGAIN, "The card did not answer after.") if now is None else (Change.NEW, "Not answered before.")


def _of_life(before: Run, after: Run) -> Iterator[Counted]:
    one, other = last_counters(before.record), last_counters(after.record)
    for name in OF_LIFE:
        was, now = _count(one, name), _count(other, name)
        if was is None and now is None:
            continue
        if was is None or now is None:
            yield _counted(name, was, now, *_unread(now))
        elif now < was:
            whose = "it is never cleared, so is this the same card?" if name in NEVER_CLEARED else "somebody reset it."
            yield _counted(name, was, now, Change.CHANGED, f"A count of the card's life fell: {whose}", fell=True)
        elif now > was:
            expected = name in _EXPECTED_TO_GROW
            why = "ECC corrects; how many are too many is judged in each run." if expected else "It may only stay."
            yield _counted(name, was, now, Change.CHANGED if expected else Change.WORSE, why)
        else:
            yield _counted(name, was, now, Change.SAME, "The same count.")


def _count(counters: Counters, name: str) -> int | None:
    value = getattr(counters, name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _in_a_run(before: Run, after: Run) -> Iterator[Counted]:
    for name in IN_A_RUN:
        was, now = _added(before.record, name), _added(after.record, name)
        if was is None and now is None:
            continue
        change, why = _unread(now) if was is None or now is None else _during(name, was, now, _longer(before, after))
        yield _counted(name, was, now, change, why, during=True)


def _added(record: Record, name: str) -> int | None:
    """What a run added to a counter, resets left out; None where it was not read twice."""
    steps = changes(record, name)
    return sum(step for step in steps if step > 0) if steps else None


def _longer(before: Run, after: Run) -> float:
    """How many times as long the run after was."""
    one, other = (sum(step.ended_s - step.began_s for step in run.record.steps) for run in (before, after))
    return other / one if one > 0 else math.inf


def _during(name: str, was: int, now: int, longer: float) -> tuple[Change, str]:
    """None against some is a change, where the shorter run is not the one with none; some against some may be luck."""
    if was == now:
        return Change.SAME, "The same count in both runs."
    if name in _EXPECTED_TO_GROW:
        return Change.NOT_JUDGED, "How many are too many is judged in each run by itself."
    if was and now:
        return Change.NOT_JUDGED, "It counted in both runs."
    if longer < 1 - SAME_LENGTH if was else longer > 1 + SAME_LENGTH:
        return Change.NOT_JUDGED, "It counted in the longer run alone."
    return (Change.BETTER, "It counted before, and not after.") if was else (Change.WORSE, "It counted after alone.")


def _counted(
    name: str, was: int | None, now: int | None, change: Change, why: str, *, during: bool = False, fell: bool = False
) -> Counted:
    subject: Subject = "station" if name.startswith(_OF_STATION) else "card"
    return Counted(
        counter=name, before=was, after=now, during=during, change=change, fell=fell, why=why, subject=subject
    )
