"""The memory of a virtual card: a host buffer behind a decoder, faulty cells, ECC, an L2 and the path to the SMs.

From the cells up: a store passes the path, stays for a while in the L2, is sent by the decoder to its cells, and the
cells keep what they can, for as long as they can. A load comes from the L2 while it is held there, else from the
cells over the data wires through ECC, then along the path. Faults act at their own place in this order, which is why
ECC hides the one and not the other.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated.cells import CellFault, Decoder, by_word, kept
from gpucert.device.simulated.faults import Coupling, StuckBit, Transition
from gpucert.device.simulated.leaks import Leaks
from gpucert.device.simulated.readout import Readout
from gpucert.device.simulated.recent import RecentWrites
from gpucert.device.simulated.scenario import Scenario
from gpucert.device.simulated.silicon import Silicon
from gpucert.stress.backend import WORD_BYTES

Words = NDArray[np.uint64]
_SMALLEST_L2_WORDS = 64
_WHOLE_WORD = (1 << 64) - 1
_ONE = np.uint64(1)


class WindowSizeError(ValueError):
    """The shared memory is not as large as the scenario's window."""


@dataclass(frozen=True)
class Loaded:
    """What a load yields: the words, and what ECC met on the way."""

    words: Words
    corrected: int
    uncorrected: int


class CardMemory:
    """The simulated window. Words are numbered from the start of the tested memory; `now_s` is the card's clock."""

    def __init__(
        self, scenario: Scenario, silicon: Silicon, buffer: memoryview | bytearray, now_s: float = 0.0
    ) -> None:
        if len(buffer) < scenario.window_bytes:
            raise WindowSizeError(
                f"{len(buffer)} bytes were given, the window of the scenario has {scenario.window_bytes}"
            )
        self._cells: Words = np.frombuffer(buffer, dtype=np.uint64, count=scenario.window_bytes // WORD_BYTES)
        self._ecc = bool(scenario.ecc_on)
        self._decoder = Decoder(scenario)
        self._recent = RecentWrites(_l2_words(scenario, silicon))
        self._readout = Readout(scenario, self._cells)
        self._leaks = Leaks(scenario, now_s)
        faults: tuple[CellFault, ...] = (*scenario.of(StuckBit), *scenario.of(Transition))
        self._damage = by_word(fault for fault in faults if not fault.above_ecc)
        self._path = by_word(fault for fault in faults if fault.above_ecc)
        self._aggressors: dict[int, list[Coupling]] = {}
        for fault in scenario.of(Coupling):
            self._aggressors.setdefault(fault.aggressor // WORD_BYTES, []).append(fault)
        self._changes: dict[Coupling, int] = {}
        """How often each aggressor has changed since its victim was stored."""
        victims = {fault.victim // WORD_BYTES for fault in scenario.of(Coupling)}
        self._singled = sorted({*self._damage, *self._aggressors, *victims})
        """Words that are stored one by one, because a fault of theirs depends on what they held, or on the order."""
        self._watched = _sorted([*self._damage, *victims], self._leaks.words())
        """Words whose cells may hold something else than was stored."""
        self._odd = _sorted(self._readout.words(), self._watched)
        """Words that may be read as something else than was stored, apart from what crosses a bad wire."""
        self._meant = self._cells[self._watched]
        """What ECC's check bits stand for in the watched words: the last value stored."""
        self._sound = not (self._singled or self._watched.size or self._readout)
        """Nothing is wrong below ECC, so that every store and load is a plain copy."""
        self._passed: dict[int, int] = {}
        """The last value that went along a faulty path."""
        self._hold(self._damage)

    def passed(self, now_s: float, memory_c: float, *, idle: bool) -> None:
        """The card's clock has moved on, while it idled or not, and its memory is this warm now."""
        self._readout.warmed(memory_c)
        if self._leaks:
            self._leaks.passed(self._cells, now_s, memory_c, idle=idle)
            self._hold(self._damage)  # because a cell that is stuck cannot lose its charge

    def opened(self, joints: tuple[int, ...]) -> None:
        """Which joints of data wires are open from now on, by their number."""
        self._readout.opened(joints)

    def store(self, first_word: int, words: Words, keep: Words | None = None, *, descending: bool = False) -> None:
        """Write words, the last of them first if `descending`; bits set in `keep` stay as they are in the cells."""
        words = self._along_the_path(first_word, words)
        if keep is None:
            self._recent.wrote(first_word, words)
        else:
            self._recent.flush()  # a simplification: what is stored in part is not held
        stretches = list(self._decoder.stretches(first_word, len(words)))
        for offset, physical, length in reversed(stretches) if descending else stretches:
            within = slice(offset, offset + length)
            self._store(physical, words[within], None if keep is None else keep[within], descending=descending)

    def _store(self, physical: int, words: Words, keep: Words | None, *, descending: bool) -> None:
        """Put words into the cells of one stretch."""
        cells = self._cells[physical : physical + len(words)]
        stored = words if keep is None else words & ~keep | cells & keep
        if self._sound:
            cells[:] = stored
            return
        end = physical + len(words)
        singled = self._singled[bisect_left(self._singled, physical) : bisect_left(self._singled, end)]
        held = {word: int(self._cells[word]) for word in singled}
        cells[:] = stored
        self._mean(physical, words, keep)
        if self._leaks:
            self._leaks.used(physical, len(words), None if keep is None else keep != np.uint64(_WHOLE_WORD))
        for word, before in held.items():
            self._cells[word] = before
        for word in reversed(singled) if descending else singled:
            at = word - physical
            self._store_one(word, int(words[at]), 0 if keep is None else int(keep[at]))

    def _mean(self, physical: int, words: Words, keep: Words | None) -> None:
        """ECC's check bits stand for what was stored; with `keep` a part of the word is read and written back."""
        watched = self._watched_within(physical, len(words))
        if watched.start == watched.stop:
            return
        at = self._watched[watched] - physical
        kept_bits = np.uint64(0) if keep is None else keep[at]
        self._meant[watched] = words[at] & ~kept_bits | self._meant[watched] & kept_bits

    def _store_one(self, word: int, value: int, keep: int) -> None:
        """Store one word, whose change may invert a bit elsewhere."""
        if keep == _WHOLE_WORD:
            return
        before = int(self._cells[word])
        after = kept(self._damage.get(word, ()), before, value & ~keep | before & keep)
        self._cells[word] = after
        for coupling in list(self._changes):
            if coupling.victim // WORD_BYTES == word:
                del self._changes[coupling]
        for coupling in self._aggressors.get(word, ()):
            bit = 1 << coupling.bit
            if (before ^ after) & bit:
                self._change(coupling)

    def _change(self, coupling: Coupling) -> None:
        """An aggressor has changed: if it has done so often enough in a row, its victim is inverted."""
        changes = self._changes.get(coupling, 0) + 1
        self._changes[coupling] = changes % coupling.changes
        if changes == coupling.changes:
            victim = coupling.victim // WORD_BYTES
            self._cells[victim] ^= np.uint64(1 << coupling.bit)
            self._hold([victim])

    def _hold(self, words: Iterable[int]) -> None:
        """Let stuck cells be what they are, whatever happened to their words."""
        for word in words:
            value = int(self._cells[word])
            self._cells[word] = kept(self._damage.get(word, ()), value, value)

    def _watched_within(self, physical: int, length: int) -> slice:
        """The watched words of a stretch, as places among them."""
        low, high = self._watched.searchsorted([physical, physical + length])
        return slice(int(low), int(high))

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
            stretch = words[offset : offset + length]
            stretch[:] = self._cells[physical : physical + length]
            if self._sound:
                continue
            low, high = self._odd_within(physical, length)
            if low < high:
                from_cells = ~self._recent.holds(first_word + offset + low, high - low, offset + low)
                single, several = self._sense(physical + low, stretch[low:high], from_cells)
                corrected, uncorrected = corrected + single, uncorrected + several
        self._recent.overlay(first_word, words)
        self._recent.read(first_word, count)
        for word, damage in self._path.items():
            if first_word <= word < first_word + count:
                value = int(words[word - first_word])
                words[word - first_word] = kept(damage, value, value)
        return Loaded(words, corrected, uncorrected)

    def _odd_within(self, physical: int, length: int) -> tuple[int, int]:
        """The part of a stretch outside of which nothing is odd, because looking at all of it takes its time."""
        if self._readout.has_lines:
            return 0, length
        low, high = self._odd.searchsorted([physical, physical + length])
        return (int(self._odd[low]) - physical, int(self._odd[high - 1]) + 1 - physical) if low < high else (0, 0)

    def _sense(self, physical: int, words: Words, from_cells: NDArray[np.bool_]) -> tuple[int, int]:
        """Turn what a stretch of cells holds into what leaves ECC, in place; the words corrected, and those beyond it.

        ECC is SEC-DED over each word: one wrong bit is put right, more are noticed and left.
        """
        watched = self._watched_within(physical, len(words))
        meant = words.copy()
        meant[self._watched[watched] - physical] = self._meant[watched]
        self._readout.disturb(physical, words)
        if self._leaks:
            self._leaks.used(physical, len(words), from_cells)
        if not self._ecc:
            return 0, 0
        flips = np.where(from_cells, words ^ meant, np.uint64(0))
        single = (flips != 0) & (flips & (flips - _ONE) == 0)
        words[single] = meant[single]
        corrected = int(np.count_nonzero(single))
        return corrected, int(np.count_nonzero(flips)) - corrected

    def flush(self) -> None:
        """Empty the L2."""
        self._recent.flush()


def _sorted(words: list[int], more: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every word once, in order."""
    return np.unique(np.concatenate([np.array(words, np.int64), more]))


def _l2_words(scenario: Scenario, silicon: Silicon) -> int:
    """The L2's share of the window: as large against it as the real one is against the model's memory."""
    share = silicon.l2_bytes / silicon.window_scale
    return max(_SMALLEST_L2_WORDS, min(int(share), scenario.window_bytes // 4) // WORD_BYTES)
