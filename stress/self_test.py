"""Faults of the scan's own, planted between write and verify: a scan that misses one of them proves nothing."""

import random
from dataclasses import dataclass

from gpucert.stress import patterns
from gpucert.stress.backend import Backend, Pattern, PatternKind, Region
from gpucert.stress.evidence import Evidence, classify, data_line, owner
from gpucert.stress.sweeper import Suspect
from gpucert.stress.wrong_words import rewritten

SPAN_WORDS = 256
"""Length of each of the two stretches that faults are planted in."""
LANE_SECTORS = 16


@dataclass(frozen=True)
class Plants:
    """What is put where: words with their damaged values, by what they shall be told to be."""

    bit: dict[int, int]
    """One word with one wrong bit."""
    sector: dict[int, int]
    """The four words of one sector with other data."""
    swapped: dict[int, int]
    """Two stretches with each other's data."""
    lane: dict[int, int]
    """Words of many sectors with one bit that reads 1."""
    lane_number: int

    @property
    def all(self) -> dict[int, int]:
        """Every word."""
        return self.bit | self.sector | self.swapped | self.lane


@dataclass(frozen=True)
class SelfTest:
    """Words that were damaged on purpose, and how many were found with their value and told to be what they are."""

    planted: int
    found: int


def self_test(backend: Backend, regions: tuple[Region, ...], seed: int) -> SelfTest:
    """Plant one bit, one sector of 32 bytes, two swapped stretches and a stuck lane; count those found and told apart.

    Planted where the tested memory is sound, because a word that is wrong by itself says nothing about the test. A
    compare that reports words which nobody damaged has found nothing.
    """
    chooser = random.Random(seed)  # noqa: S311  # places, not secrets
    region = chooser.choice([one for one in regions if one.words >= 4 * SPAN_WORDS] or list(regions))
    pattern = Pattern(PatternKind.OWN, chooser.getrandbits(63))
    backend.write(region, pattern)
    backend.flush()
    unsound = {wrong.word for wrong in backend.verify(region, pattern).first_wrong}
    plants = _plants(region, pattern, chooser, unsound)
    damaged = plants.all
    for word, value in damaged.items():
        backend.poke(region, word, value)
    backend.flush()
    seen = {wrong.word: wrong for wrong in backend.verify(region, pattern).first_wrong if wrong.word not in unsound}
    right = {word: wrong for word, wrong in seen.items() if damaged.get(word) == wrong.actual}
    if len(right) < len(seen):
        return SelfTest(len(damaged), 0)
    suspects = {word: Suspect("self-test", pattern, region, wrong, 0.0, 0.0) for word, wrong in right.items()}
    found = _damaged(backend, [suspects[word] for word in plants.bit | plants.sector if word in suspects])
    found += sum(
        owner(regions, suspects[word]) == patterns.owner(pattern, right[word].actual)
        for word in plants.swapped
        if word in suspects
    )
    found += _lane([suspects[word] for word in plants.lane if word in suspects], plants.lane_number)
    return SelfTest(len(damaged), found)


def _damaged(backend: Backend, suspects: list[Suspect]) -> int:
    """How many are told to be damage that stays until it is written over."""
    told = 0
    for one in suspects:
        wrong = backend.peek(one.region, one.wrong.word) != one.wrong.expected
        told += classify(Evidence(reread=(int(wrong), 1), rewritten=rewritten(backend, one))) == "soft"
    return told


def _lane(suspects: list[Suspect], number: int) -> int:
    """All of them if they are told to be one lane, the right one."""
    return len(suspects) if data_line(suspects) == number else 0


def _plants(region: Region, pattern: Pattern, chooser: random.Random, unsound: set[int]) -> Plants:
    """Words to damage, with the values to put there."""
    room = region.words - 2 * SPAN_WORDS
    first = region.first_word + chooser.randrange(room // 2) // 4 * 4
    second = region.first_word + room // 2 + chooser.randrange(room // 2) // 4 * 4
    starts = {first, second}
    data = {word: patterns.word(pattern, word) for start in starts for word in range(start, start + SPAN_WORDS)}
    lane = chooser.randrange(64)

    def sound(values: dict[int, int]) -> dict[int, int]:
        return {word: value for word, value in values.items() if value != data[word] and word not in unsound}

    swapped = {first + at: data[second + at] for at in range(16, 32)}
    swapped |= {second + at: data[first + at] for at in range(16, 32)}
    return Plants(
        bit=sound({first: data[first] ^ (1 << chooser.randrange(64))}),
        sector=sound({word: chooser.getrandbits(64) for word in range(first + 4, first + 8)}),
        swapped=sound(swapped),
        lane=sound({word: data[word] | (1 << lane) for word in range(second + 64, second + 64 + 4 * LANE_SECTORS)}),
        lane_number=lane,
    )
