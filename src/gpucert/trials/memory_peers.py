"""How other tools test memory: our re-implementations of their algorithms, for virtual cards.

Written from what their authors publish, over the same medium as our own scan, to set the coverage of an algorithm
beside that of ours on the same card. They are kinder than the tools: every bug of those that is known to us is left
out, so that each sees all of the memory and counts all that it sees. A context that dies of an uncorrectable error
counts as found. Tools that compare products are in compute_peers.py: they meet no cell that no operand lies in.
"""

import random
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gpucert.device.simulated.faults import RefreshLost, Retention
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.backend import WORD_BYTES, UncorrectableEccError
from gpucert.stress.host import TILE_WORDS
from gpucert.stress.medium import Work
from gpucert.trials.in_process import bare_medium

Words = NDArray[np.uint64]

ALL_ONES = (1 << 64) - 1
MODULUS = 20
BLOCKS = 16
"""Blocks of the window, where cuda_memtest and DCGM take blocks of 1 MiB of the card."""
SLOW = 99
"""Of its time, cuda_memtest's kernels of one thread a block leave the memory idle so many times longer than it moves
data: 17 to 22 GB/s of 1790 (an RTX PRO 6000, in an issue of its tracker)."""
STRESS_ROUNDS = 1000
"""Of test 10."""
VULKAN_S, VULKAN_REST_S = 300.0, 15.0
"""memtest_vulkan: its standard time, and its rest before the last report."""
STRESS_COMPARED, VULKAN_COMPARED = 5, 10
"""Of so many rounds that are all alike, one compares what it reads; the others take their time, load and heat."""


class _WrongWordError(Exception):
    """A word came back other than it was written: what is looked for is found."""


class _Memory:
    """The tested memory of a card as a tester sees it. Every sweep takes its time."""

    def __init__(self, scenario: Scenario) -> None:
        self._medium = bare_medium(scenario)
        self._leaks = bool(scenario.of(Retention) or scenario.of(RefreshLost))
        self.words = self._medium.properties().free_bytes // WORD_BYTES
        self.index = np.arange(self.words, dtype=np.uint64)

    def now_s(self) -> float:
        return self._medium.now_s()

    def rest(self, seconds: float) -> None:
        self._medium.spend(Work("idle", seconds=seconds))

    def write(self, data: Words, first: int = 0) -> None:
        self._medium.store(first, data, 0)
        self.charge(written=len(data))

    def read(self, data: Words, first: int = 0) -> None:
        """Compare with what is expected. Raises _WrongWordError."""
        self._compare(first, data)
        self.charge(read=len(data))

    def replace(self, data: Words, by: Words, *, descending: bool = False) -> None:
        """Compare and store something else in the same sweep, piece by piece. Raises _WrongWordError."""
        firsts = range(0, self.words, TILE_WORDS)
        for first in reversed(firsts) if descending else firsts:
            piece = slice(first, first + TILE_WORDS)
            self._compare(first, data[piece])
            self._medium.store(first, by[piece], 0, descending=descending)
        self.charge(read=self.words, written=self.words)

    def move(self, source: int, target: int, words: int) -> None:
        """Copy words, unseen."""
        self._medium.store(target, self._medium.load(source, words, 0), 0)
        self.charge(read=words, written=words)

    def put(self, data: Words, chosen: NDArray[np.bool_]) -> None:
        """Store the chosen words alone."""
        self._medium.store(0, data, 0, keep=np.where(chosen, np.uint64(0), np.uint64(ALL_ONES)))
        self.charge(written=int(chosen.sum()))

    def look(self, data: Words, chosen: NDArray[np.bool_]) -> None:
        """Compare the chosen words alone. Raises _WrongWordError."""
        loaded = self._medium.load(0, self.words, 0)
        self.charge(read=int(chosen.sum()))
        if (loaded != data)[chosen].any():
            raise _WrongWordError

    def unseen_rounds(self, rounds: int) -> None:
        """All memory read and written again as it was, so many times, without a look at it."""
        if not self._leaks:
            self.charge(read=rounds * self.words, written=rounds * self.words)
            return
        for _ in range(rounds):  # one by one, because each renews the charge of the cells
            self._medium.load(0, self.words, 0)
            self.charge(read=self.words, written=self.words)

    def charge(self, read: int = 0, written: int = 0) -> None:
        """Time and heat of a sweep."""
        self._medium.spend(Work("memory", bytes_read=read * WORD_BYTES, bytes_written=written * WORD_BYTES))

    def _compare(self, first: int, data: Words) -> None:
        if not np.array_equal(self._medium.load(first, len(data), 0), data):
            raise _WrongWordError


def _all(memory: _Memory, value: int) -> Words:
    return np.full(memory.words, value, np.uint64)


def _moving_inversion(memory: _Memory, data: Words, pause: Callable[[], None]) -> None:
    """Write; read and write the inverse; read the inverse."""
    memory.write(data)
    pause()
    memory.replace(data, ~data)
    pause()
    memory.read(~data)


def _twice(byte: int) -> int:
    """A byte in all eight places of a word."""
    return byte * 0x0101010101010101


def _cuda_memtest(memory: _Memory, luck: random.Random) -> None:
    """cuda_memtest 1.2.3, tests 1 to 8, in their order, one pass.

    From its README. Own address; moving inversions of ones and zeros, of one 8-bit pattern and of one random word;
    block moves; moving inversions of 32-bit walking ones and zeros; random words repeated by the block; modulo 20 with
    random words. Left out: test 0, which writes a word for each address wire; the bit fade of test 9, which is off by
    default; test 10, which stands with DCGM. Its second read of a wrong word follows at once, from the cache, and
    decides nothing. It is slow, which gives cells that leak their time; the 64 passes of test 6, the block moves and
    test 8 are charged at full speed, so that they end.
    """

    def pause() -> None:
        memory.rest(SLOW * _sweep_s(memory))

    own = memory.index * np.uint64(WORD_BYTES)
    memory.write(own)
    pause()
    memory.read(own)
    for value in (0, ALL_ONES, _twice(0x80), ~_twice(0x80) & ALL_ONES, luck.getrandbits(32) * 0x100000001):
        _moving_inversion(memory, _all(memory, value), pause)
    _block_moves(memory)
    for first in range(32):
        walking = _walking(memory, first)
        _moving_inversion(memory, walking, lambda: None)
        _moving_inversion(memory, ~walking, lambda: None)
    _random_blocks(memory, luck, pause)
    _modulo(memory, luck)


def _sweep_s(memory: _Memory) -> float:
    """How long one sweep takes on this card, by taking the time of one."""
    began = memory.now_s()
    memory.charge(read=memory.words)
    return memory.now_s() - began


def _block_moves(memory: _Memory) -> None:
    """Within each block: its lower half to its upper one, then back by one word; neighbours must still be alike."""
    size = memory.words // BLOCKS // 2 * 2
    half = size // 2
    shifting = np.uint64(1) << (memory.index[:half] // np.uint64(2) % np.uint64(64))
    shifting[1::2] = ~shifting[1::2]
    for block in range(BLOCKS):
        memory.write(np.tile(shifting, 2), block * size)
    for block in range(BLOCKS):
        memory.move(block * size, block * size + half, half)
        memory.move(block * size + half, block * size + 1, half - 1)
        memory.move(block * size + size - 1, block * size, 1)
    for block in range(BLOCKS):
        memory.read(np.concatenate([np.roll(shifting, 1), shifting]), block * size)


def _walking(memory: _Memory, first: int) -> Words:
    """One bit of every 32, one place further from each half of a word to the next."""
    halves = 1 << np.roll(np.arange(32, dtype=np.uint32), -first)
    return np.resize(halves.astype(np.uint32).view(np.uint64), memory.words)


def _random_blocks(memory: _Memory, luck: random.Random, pause: Callable[[], None]) -> None:
    """Random words in the first block, the same in every other."""
    size = -(-memory.words // BLOCKS)
    block = np.array([luck.getrandbits(64) for _ in range(size)], np.uint64)
    _moving_inversion(memory, np.resize(block, memory.words), pause)


def _modulo(memory: _Memory, luck: random.Random) -> None:
    """Every twentieth 32-bit word holds a random one; the rest is written with its inverse twice."""
    for offset in range(MODULUS):
        pattern = luck.getrandbits(32)
        inverse = ~pattern & 0xFFFFFFFF
        halves = np.full(MODULUS, inverse, np.uint32)
        halves[offset] = pattern
        data = np.resize(halves.view(np.uint64), memory.words)
        chosen = memory.index % np.uint64(MODULUS // 2) == offset // 2
        memory.put(data, chosen)
        memory.put(data, ~chosen)
        memory.put(data, ~chosen)
        memory.look(data, chosen)


def _dcgm_memtest(memory: _Memory, luck: random.Random) -> None:
    """DCGM's plugin memtest with its defaults: tests 7 and 10 of cuda_memtest, ported.

    From the description of the tests in cuda_memtest's README and DCGM's user guide. Test 7 as above, at full speed;
    test 10: one random word everywhere, then a thousand times read, compare and write its inverse. DCGM looks at the
    counters of ECC as well, and lets corrected errors pass by default.
    """
    _random_blocks(memory, luck, lambda: None)
    data = _all(memory, luck.getrandbits(32) * 0x100000001)
    memory.write(data)
    for _ in range(STRESS_ROUNDS // STRESS_COMPARED):
        memory.replace(data, ~data)
        data = ~data
        memory.unseen_rounds(STRESS_COMPARED - 1)


def _dcgm_memory(memory: _Memory, _luck: random.Random) -> None:
    """DCGM's plugin memory: bytes 00, AA, 55, FF and 00, each written and read.

    From DCGM's user guide. The plugin skips cards without ECC or with ECC off; here it does not. Left out: its test of
    the tags of L1.
    """
    for byte in (0x00, 0xAA, 0x55, 0xFF, 0x00):
        data = _all(memory, _twice(byte))
        memory.write(data)
        memory.read(data)


def _memtest_vulkan(memory: _Memory, luck: random.Random) -> None:
    """memtest_vulkan 0.6, its standard five minutes.

    From a published description of its pattern. A word made of its own address and rotated by the address modulo 31,
    with another salt in each round: written, and read in the next sweep. The first part is written once, and read again
    in every round; at the end the card rests, and that part is read once more. Left out: the order in which the shader
    reads, and windows of several GiB, each of which is read sooner after it was written.
    """
    resident = memory.words // 8
    address = memory.index * np.uint64(2) + np.uint64(1)
    turn = memory.index % np.uint64(31) + np.uint64(1)
    plain = address << turn | address >> (np.uint64(64) - turn)
    kept = plain[:resident] ^ np.uint64(luck.getrandbits(64))
    memory.write(kept)
    began = memory.now_s()
    while memory.now_s() - began < VULKAN_S:
        data = plain[resident:] ^ np.uint64(luck.getrandbits(64))
        memory.write(data, resident)
        memory.read(data, resident)
        memory.read(kept)
        memory.unseen_rounds(VULKAN_COMPARED - 1)
    memory.rest(VULKAN_REST_S)
    memory.read(kept)


def _march_c(memory: _Memory, _luck: random.Random) -> None:
    """March C−: ⇕(w0) ⇑(r0,w1) ⇑(r1,w0) ⇓(r0,w1) ⇓(r1,w0) ⇕(r0) (van de Goor 1993), with words of zeros and ones.

    In sweeps of pieces, because the two operations on one word meet in the cache of a GPU.
    """
    zeros, ones = _all(memory, 0), _all(memory, ALL_ONES)
    memory.write(zeros)
    memory.replace(zeros, ones)
    memory.replace(ones, zeros)
    memory.replace(zeros, ones, descending=True)
    memory.replace(ones, zeros, descending=True)
    memory.read(zeros)


PEERS: Mapping[str, Callable[[_Memory, random.Random], None]] = {
    "cuda_memtest": _cuda_memtest,
    "DCGM memtest": _dcgm_memtest,
    "DCGM memory": _dcgm_memory,
    "memtest_vulkan": _memtest_vulkan,
    "March C−": _march_c,
}
"""By the name of the tool or algorithm."""


def finds(peer: str, card: Scenario) -> bool:
    """Whether this tester finds anything on a card, new and cold."""
    luck = random.Random(f"{peer}/{card.seed}")  # noqa: S311  # test data
    try:
        PEERS[peer](_Memory(card), luck)
    except (_WrongWordError, UncorrectableEccError):
        return True
    return False
