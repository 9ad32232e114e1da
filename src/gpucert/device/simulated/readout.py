"""What a load makes of the cells before ECC sees it: cells that are read wrongly at times, and data wires gone bad."""

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated import lottery
from gpucert.device.simulated.faults import Dq, Intermittent, Neighbourhood, Stripes, ThermalIntermittent
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.answers import mix
from gpucert.stress.backend import WORD_BYTES

Words = NDArray[np.uint64]

WORD_BITS = 64
INTERLEAVE_BYTES = 256
"""How much stays together in one channel. Nobody publishes how addresses are spread over channels: real cards hash
them, in pieces of a few hundred bytes, so that no stride of a program meets one channel alone; so does this one."""
_BLOCK_WORDS = INTERLEAVE_BYTES // WORD_BYTES


def channels_of(first_block: int, count: int, channels: int) -> NDArray[np.uint64]:
    """The channel, counted from 0, of each of `count` pieces of INTERLEAVE_BYTES from `first_block` on."""
    return mix(np.arange(first_block, first_block + count, dtype=np.uint64)) % np.uint64(channels)


class DataLine:
    """One bad wire: the same bits of every word that its channel carries, because 64 is a multiple of its stride."""

    def __init__(self, scenario: Scenario, fault: Dq, number: int) -> None:
        stride = scenario.silicon.memory.channel_bits
        self._value = fault.value
        self._probability = fault.probability
        self._bits = np.arange(fault.line, WORD_BITS, stride, dtype=np.uint64)
        self._channels = scenario.channels
        self._channel = int(lottery.digits(scenario.model, scenario.seed, f"channel {number}"), 16) % scenario.channels
        self._chance = np.random.default_rng([scenario.noise_seed, number])

    def disturb(self, physical: int, words: Words) -> None:
        """Put what the wire reads into a stretch of words, in place."""
        places = self._carried(physical, len(words))
        if not places.size:
            return
        read = self._beats(places.size)
        words[places] = words[places] | read if self._value else words[places] & ~read

    def _carried(self, physical: int, length: int) -> NDArray[np.intp]:
        """Which words of a stretch cross the wire's channel."""
        first, skipped = divmod(physical, _BLOCK_WORDS)
        blocks = (skipped + length - 1) // _BLOCK_WORDS + 1
        mine = channels_of(first, blocks, self._channels) == np.uint64(self._channel)
        return np.flatnonzero(np.repeat(mine, _BLOCK_WORDS)[skipped : skipped + length])

    def _beats(self, count: int) -> Words:
        """The bits of each word that the wire gets wrong this time."""
        beats = np.uint64(1) << self._bits
        if self._probability == 1:
            return np.full(count, np.bitwise_or.reduce(beats))
        struck = self._chance.random((count, len(beats))) < self._probability
        read: Words = np.bitwise_or.reduce(np.where(struck, beats, np.uint64(0)), axis=1)
        return read


class WeakRead:
    """One cell that is read wrongly now and then."""

    def __init__(self, scenario: Scenario, fault: Intermittent) -> None:
        self.word = fault.offset // WORD_BYTES
        self._bit = np.uint64(1 << fault.bit)
        self._fault = fault
        self._chance = np.random.default_rng([scenario.noise_seed, fault.offset, fault.bit])
        self.memory_c = 0.0

    def disturb(self, physical: int, words: Words) -> None:
        """Invert its bit in a stretch of words, in place, if it is read wrongly this time."""
        above_c = self._fault.above_c
        if not physical <= self.word < physical + len(words) or (above_c is not None and self.memory_c < above_c):
            return
        if self._chance.random() < self._fault.probability:
            words[self.word - physical] ^= self._bit


class CrowdedRead:
    """One cell that is read wrongly while its neighbours in the word all hold the opposite."""

    def __init__(self, fault: Neighbourhood) -> None:
        self.word = fault.offset // WORD_BYTES
        self._bit = 1 << fault.bit
        low, high = max(fault.bit - fault.reach, 0), min(fault.bit + fault.reach, WORD_BITS - 1)
        self._around = ((1 << high + 1) - (1 << low)) ^ self._bit

    def disturb(self, physical: int, words: Words) -> None:
        """Invert its bit in a stretch of words, in place, if its neighbours ask for it."""
        if not physical <= self.word < physical + len(words):
            return
        held = int(words[self.word - physical])
        if held & self._around == (0 if held & self._bit else self._around):
            words[self.word - physical] ^= np.uint64(self._bit)


class StripedRead:
    """One cell that is read wrongly while it and its neighbours alternate."""

    def __init__(self, fault: Stripes, cells: Words) -> None:
        self.word, self._bit = fault.offset // WORD_BYTES, fault.bit
        self._cells = cells
        here = self.word * WORD_BITS + fault.bit
        steps = [step for step in range(-fault.reach, fault.reach + 1) if step]
        places = [(here + step * fault.apart, step % 2) for step in steps]
        inside = [(place, odd) for place, odd in places if 0 <= place < len(cells) * WORD_BITS]
        self._words = np.array([place // WORD_BITS for place, _ in inside], np.intp)
        self._bits = np.array([place % WORD_BITS for place, _ in inside], np.uint64)
        self._opposite = np.array([odd for _, odd in inside], np.uint64)

    def disturb(self, physical: int, words: Words) -> None:
        """Invert its bit in a stretch of words, in place, if its neighbours ask for it."""
        if not physical <= self.word < physical + len(words):
            return
        held = self._cells[self.word] >> np.uint64(self._bit) & np.uint64(1)
        around = self._cells[self._words] >> self._bits & np.uint64(1)
        if ((around ^ held) == self._opposite).all():
            words[self.word - physical] ^= np.uint64(1 << self._bit)


class Readout:
    """Everything between the cells and ECC that a load passes."""

    def __init__(self, scenario: Scenario, cells: Words) -> None:
        self._rare = tuple(WeakRead(scenario, fault) for fault in scenario.of(Intermittent))
        self._weak: tuple[WeakRead | CrowdedRead | StripedRead, ...] = (
            *self._rare,
            *(CrowdedRead(fault) for fault in scenario.of(Neighbourhood)),
            *(StripedRead(fault, cells) for fault in scenario.of(Stripes)),
        )
        bad = scenario.of(Dq)
        self._lines = tuple(DataLine(scenario, fault, number) for number, fault in enumerate(bad))
        self._joints = {
            number: DataLine(scenario, Dq(line=fault.line, value=1), len(bad) + number)
            for number, fault in enumerate(scenario.of(ThermalIntermittent))
            if fault.effect == "memory"
        }
        self._open: tuple[DataLine, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._weak or self._lines or self._joints)

    @property
    def has_lines(self) -> bool:
        """Whether any word may be read wrongly, because a wire is bad."""
        return bool(self._lines or self._open)

    def opened(self, joints: tuple[int, ...]) -> None:
        """Which joints of data wires are open now, by their number."""
        self._open = tuple(self._joints[number] for number in joints)

    def warmed(self, memory_c: float) -> None:
        """The memory is this warm now."""
        for one in self._rare:
            one.memory_c = memory_c

    def words(self) -> list[int]:
        """The words of cells that are read wrongly at times."""
        return [one.word for one in self._weak]

    def disturb(self, physical: int, words: Words) -> None:
        """Turn what a stretch of cells holds into what arrives of it, in place."""
        for weak in self._weak:
            weak.disturb(physical, words)
        for line in (*self._lines, *self._open):
            line.disturb(physical, words)
