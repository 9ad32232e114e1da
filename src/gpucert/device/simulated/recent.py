"""The L2 in so far as it matters to a memory test: what was written last is read back from here, not from the cells."""

from collections import deque
from collections.abc import Iterator

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
        """Put what is held over what the cells gave, newest last."""
        for low, high, held in self._held_of(first_word, len(words), 0):
            words[low:high] = held

    def holds(self, first_word: int, count: int, already_read: int) -> NDArray[np.bool_]:
        """Which of these words come from here in a load that has read so many words before them."""
        answer = np.zeros(count, np.bool_)
        for low, high, _ in self._held_of(first_word, count, already_read):
            answer[low:high] = True
        return answer

    def _held_of(self, first_word: int, count: int, already_read: int) -> Iterator[tuple[int, int, Words]]:
        """What is held of these words, as places among them and values.

        Only the first `capacity` words of a load can come from here: they push the rest out before it is reached.
        """
        end = first_word + min(count, self._capacity - already_read)
        for held_first, length, held in self._lines:
            low, high = max(first_word, held_first), min(end, held_first + length)
            if held is not None and low < high:
                yield low - first_word, high - first_word, held[low - held_first : high - held_first]

    def flush(self) -> None:
        """Push everything out."""
        self._lines.clear()
        self._held = 0
