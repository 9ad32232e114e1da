"""Retired pages: how many there may be, and how fast they may come."""

import pytest

from gpucert.catalogue import shelf
from gpucert.reading import Absence, Absent, Reading
from gpucert.record import Counters, Identity, Settings
from gpucert.verdict.facts import judge_facts

NOT_READ = Absent(Absence.DRIVER_TOO_OLD)


@pytest.mark.parametrize(
    ("sbe", "dbe", "lately", "failed"),
    [
        (0, 0, 0, False),
        (40, 19, 0, False),
        (41, 19, 0, True),
        (0, 16, 1, False),
        (0, 16, 2, True),
        (0, 15, 15, False),
        (0, 16, NOT_READ, False),
    ],
)
def test_sixty_pages_or_more_than_one_a_week_above_fifteen(
    sbe: int, dbe: int, lately: Reading[int], failed: bool
) -> None:
    match = shelf.match(
        name="Tesla V100-SXM2-16GB", device=None, subvendor=None, subdevice=None, memory_mib=16160, cuda_cores=None
    )
    counters = Counters(retired_sbe=sbe, retired_dbe=dbe, retired_dbe_7d=lately)
    _, diagnoses = judge_facts(Identity(name="Tesla V100-SXM2-16GB"), Settings(), counters, match)
    assert ("memory.retired_pages" in {one.code for one in diagnoses}) is failed
