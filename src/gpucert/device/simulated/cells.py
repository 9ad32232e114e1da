"""Memory cells below the L2: which physical word an address reaches, and what its cells make of what is stored.

Faulty cells are few, so only the words that hold one are looked after one by one; everything else is a plain copy.
"""

from collections.abc import Iterable, Iterator

from gpucert.device.simulated.faults import Alias, FakeMemory, StuckBit, Transition
from gpucert.device.simulated.scenario import MIB, Scenario
from gpucert.stress.backend import WORD_BYTES

CellFault = StuckBit | Transition
Stretch = tuple[int, int, int]
"""Offset into the request, first physical word, number of words."""


class Decoder:
    """From the address that a program uses to the word that is reached: aliases and missing chips act here."""

    def __init__(self, scenario: Scenario) -> None:
        self._aliases = tuple(
            (fault.source // WORD_BYTES, fault.to // WORD_BYTES, fault.bytes // WORD_BYTES)
            for fault in scenario.of(Alias)
        )
        fake = min((fault.real_mib for fault in scenario.of(FakeMemory)), default=scenario.vram_mib)
        self._real_words = fake * MIB // WORD_BYTES

    def stretches(self, first_word: int, count: int) -> Iterator[Stretch]:
        """The request as stretches that are contiguous in the cells, in ascending order of address."""
        word, end = first_word, first_word + count
        if not self._aliases and end <= self._real_words:
            yield 0, first_word, count
            return
        while word < end:
            target, room = self._target(word)
            physical = target % self._real_words
            length = min(end - word, room, self._real_words - physical)
            yield word - first_word, physical, length
            word += length

    def _target(self, word: int) -> tuple[int, int]:
        """Where an address leads before missing chips wrap it, and for how many words that goes on."""
        room = 1 << 62
        for source, to, length in self._aliases:
            if to <= word < to + length:
                return source + word - to, to + length - word
            if word < to:
                room = min(room, to - word)
        return word, room


def kept(faults: tuple[CellFault, ...], before: int, value: int) -> int:
    """What a word with these faults holds after `value` is stored over `before`."""
    for fault in faults:
        bit = 1 << fault.bit
        match fault:
            case StuckBit():
                value = value | bit if fault.value else value & ~bit
            case Transition(direction="up") if not before & bit:
                value &= ~bit
            case Transition(direction="down") if before & bit:
                value |= bit
            case _:
                pass
    return value


def by_word(faults: Iterable[CellFault]) -> dict[int, tuple[CellFault, ...]]:
    """Cell faults by the word that holds them."""
    grouped: dict[int, tuple[CellFault, ...]] = {}
    for fault in faults:
        word = fault.offset // WORD_BYTES
        grouped[word] = (*grouped.get(word, ()), fault)
    return grouped
