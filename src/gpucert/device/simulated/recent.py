"""The L2 in so far as it matters to a memory test: what was written last is read back from here, not from the cells."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


class RecentWrites:
    """The last `capacity` words that passed, by address; those that were stored are kept as they were meant.

    Reads push older writes out as well, because they fill lines too.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lines: deque[tuple[int, int, Words | None]] = deque()
        self._held = 0

    def wrote(self, first_word: int, words: Words) -> None:
        """Words were stored: the last of them stay."""
        tail = words[-self._capacity :] if self._capacity else words[:0]
        self._push(first_word + len(words) - len(tail), len(tail), tail.copy())

    def read(self, first_word: int, count: int) -> None:
        """Words were loaded; that matters only while something stored can be pushed out."""
        if not self._lines:
            return
        self._push(first_word, min(count, self._capacity), None)

    def _push(self, first_word: int, count: int, words: Words | None) -> None:
        if count:
            self._lines.append((first_word, count, words))
            self._held += count
        while self._held > self._capacity:
            self._held -= self._lines.popleft()[1]

    def overlay(self, first_word: int, words: Words) -> None:
        """Put what is held over what the cells gave, newest last.

        Only the first `capacity` words of a load can come from here: they push the rest out before it is reached.
        """
        end = first_word + min(len(words), self._capacity)
        for held_first, count, held in self._lines:
            low, high = max(first_word, held_first), min(end, held_first + count)
            if held is not None and low < high:
                words[low - first_word : high - first_word] = held[low - held_first : high - held_first]

    def holds(self, word: int, already_read: int) -> bool:
        """Whether a word comes from here in a load that has read so many words before it."""
        return already_read < self._capacity and any(
            held is not None and first <= word < first + count for first, count, held in self._lines
        )

    def flush(self) -> None:
        """Push everything out."""
        self._lines.clear()
        self._held = 0
