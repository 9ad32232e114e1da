"""What kernels count and the wrong words that they log, in pinned host memory; the reader of tally.cuh."""

from dataclasses import dataclass

from gpucert.stress import kernels
from gpucert.stress.backend import WrongWord
from gpucert.stress.cuda_card import CudaCard, Pinned

SETS = 128
"""Launches whose counts can be kept apart until they are read."""


@dataclass(frozen=True)
class Counted:
    """Counts of one or more launches, all blocks together; `total` wraps at 2⁶⁴."""

    items: int
    total: int
    bad_items: int
    bad_bits: int
    first_wrong: tuple[WrongWord, ...]


class Tallies:
    """Rows for the counts of every block and a log for the first wrong words."""

    def __init__(self, card: CudaCard, blocks: int) -> None:
        self._card = card
        self._blocks = blocks
        self._rows = Pinned(SETS * blocks * kernels.ROW_WORDS)
        self._log = Pinned(kernels.LOG_CAPACITY * kernels.ROW_WORDS)
        self._ticket = card.allocate(256)
        self._stamp = 0
        self.begin()

    def begin(self, launches: int = 1) -> None:
        """Blank the rows of the next launches, because a block that never ran must count nothing; start a new log."""
        self._used = self._rows.words[: launches * self._blocks * kernels.ROW_WORDS]
        self._used[:] = 0
        self._stamp = (self._stamp + 1) & 0xFFFF_FFFF
        self._card.fill_bytes(self._ticket, 0, 8)

    def rows(self, index: int = 0) -> int:
        """Where launch number `index` since `begin` writes its counts."""
        return self._rows.address + index * self._blocks * kernels.ROW_WORDS * 8

    def log(self) -> tuple[int, int, int, int]:
        """What a kernel needs to log: records, capacity, ticket, stamp."""
        return self._log.address, kernels.LOG_CAPACITY, self._ticket, self._stamp

    def read(self) -> Counted:
        """Everything since `begin`; the card must be done."""
        items, total, bad_items, bad_bits = self._used.reshape(-1, kernels.ROW_WORDS).sum(axis=0).tolist()
        return Counted(items, total, bad_items, bad_bits, self.first_wrong() if bad_items else ())

    def read_each(self) -> tuple[Counted, ...]:
        """The same of each launch since `begin`, without what was logged."""
        sums = self._used.reshape(-1, self._blocks, kernels.ROW_WORDS).sum(axis=1)
        return tuple(Counted(items, total, bad, bits, ()) for items, total, bad, bits in sums.tolist())

    def first_wrong(self) -> tuple[WrongWord, ...]:
        """What was logged since `begin`."""
        lines = self._log.words.reshape(-1, kernels.ROW_WORDS).tolist()
        return tuple(
            WrongWord(item, expected, actual, sm=mark & 0xFFFF_FFFF)
            for item, expected, actual, mark in lines
            if mark >> 32 == self._stamp
        )
