"""The memory of a virtual card: a host buffer behind a decoder, faulty cells, ECC, an L2 and the path to the SMs.

From the cells up: a store passes the path, stays for a while in the L2, is sent by the decoder to its cells, and the
cells keep what they can. A load comes from the L2 while it is held there, else from the cells through ECC, then along
the path. Faults act at their own place in this order, which is why ECC hides the one and not the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated.cells import CellFault, Decoder, by_word, kept
from gpucert.device.simulated.faults import StuckBit, Transition
from gpucert.device.simulated.recent import RecentWrites
from gpucert.device.simulated.scenario import Scenario
from gpucert.device.simulated.silicon import Silicon
from gpucert.stress.backend import WORD_BYTES

Words = NDArray[np.uint64]
_SMALLEST_L2_WORDS = 64
_WHOLE_WORD = (1 << 64) - 1


class WindowSizeError(ValueError):
    """The shared memory is not as large as the scenario's window."""


@dataclass(frozen=True)
class Loaded:
    """What a load yields: the words, and what ECC met on the way."""

    words: Words
    corrected: int
    uncorrected: int


class CardMemory:
    """The simulated window. Words are numbered from the start of the tested memory."""

    def __init__(self, scenario: Scenario, silicon: Silicon, buffer: memoryview | bytearray) -> None:
        if len(buffer) < scenario.window_bytes:
            raise WindowSizeError(
                f"{len(buffer)} bytes were given, the window of the scenario has {scenario.window_bytes}"
            )
        self._cells: Words = np.frombuffer(buffer, dtype=np.uint64, count=scenario.window_bytes // WORD_BYTES)
        self._ecc = bool(scenario.ecc_on)
        self._decoder = Decoder(scenario)
        self._recent = RecentWrites(_l2_words(scenario, silicon))
        faults: tuple[CellFault, ...] = (*scenario.of(StuckBit), *scenario.of(Transition))
        self._faulty = by_word(fault for fault in faults if not fault.above_ecc)
        self._path = by_word(fault for fault in faults if fault.above_ecc)
        self._meant = {word: int(self._cells[word]) for word in self._faulty}
        """What ECC's check bits stand for: the last value stored in a faulty word."""
        self._passed: dict[int, int] = {}
        """The last value that went along a faulty path."""
        for word, damage in self._faulty.items():
            self._cells[word] = kept(damage, self._meant[word], self._meant[word])

    def store(self, first_word: int, words: Words, keep: Words | None = None) -> None:
        """Write words; bits set in `keep` stay as they are in the cells."""
        words = self._along_the_path(first_word, words)
        if keep is None:
            self._recent.wrote(first_word, words)
        else:
            self._recent.flush()  # a simplification: what is stored in part is not held
        for offset, physical, length in self._decoder.stretches(first_word, len(words)):
            cells = self._cells[physical : physical + length]
            before = {word: int(self._cells[word]) for word, _ in self._faulty_within(physical, length)}
            if keep is None:
                cells[:] = words[offset : offset + length]
            else:
                part = keep[offset : offset + length]
                cells[:] = words[offset : offset + length] & ~part | cells & part
            for word, damage in self._faulty_within(physical, length):
                part_of_word = 0 if keep is None else int(keep[offset + word - physical])
                if part_of_word == _WHOLE_WORD:
                    continue
                stored = int(words[offset + word - physical])
                self._meant[word] = stored & ~part_of_word | self._meant[word] & part_of_word
                self._cells[word] = kept(damage, before[word], int(self._cells[word]))

    def _along_the_path(self, first_word: int, words: Words) -> Words:
        """What arrives of stored words where the path itself is faulty."""
        concerned = [word for word in self._path if first_word <= word < first_word + len(words)]
        arrived = words.copy() if concerned else words
        for word in concerned:
            value = kept(self._path[word], self._passed.get(word, 0), int(words[word - first_word]))
            self._passed[word] = value
            arrived[word - first_word] = value
        return arrived

    def load(self, first_word: int, count: int) -> Loaded:
        """Read words, and what ECC had to do for them."""
        words = np.empty(count, dtype=np.uint64)
        corrected = uncorrected = 0
        for offset, physical, length in self._decoder.stretches(first_word, count):
            words[offset : offset + length] = self._cells[physical : physical + length]
            for word, _ in self._faulty_within(physical, length):
                at = offset + word - physical
                if self._ecc and not self._recent.holds(first_word + at, at):
                    flipped = (int(self._cells[word]) ^ self._meant[word]).bit_count()
                    corrected += flipped == 1
                    uncorrected += flipped > 1
                    words[at] = self._meant[word] if flipped == 1 else words[at]
        self._recent.overlay(first_word, words)
        self._recent.read(first_word, count)
        for word, damage in self._path.items():
            if first_word <= word < first_word + count:
                value = int(words[word - first_word])
                words[word - first_word] = kept(damage, value, value)
        return Loaded(words, corrected, uncorrected)

    def flush(self) -> None:
        """Empty the L2."""
        self._recent.flush()

    def _faulty_within(self, physical: int, length: int) -> Iterator[tuple[int, tuple[CellFault, ...]]]:
        return ((word, damage) for word, damage in self._faulty.items() if physical <= word < physical + length)


def _l2_words(scenario: Scenario, silicon: Silicon) -> int:
    """The L2's share of the window: as large against it as the real one is against the model's memory."""
    share = silicon.l2_bytes / silicon.window_scale
    return max(_SMALLEST_L2_WORDS, min(int(share), scenario.window_bytes // 4) // WORD_BYTES)
