"""Products on the card compared by a digest each, and element by element where that is not the right one.

A digest reads a product once, where a compare reads it and its reference. The card decides by itself whether the second
is needed, because a product that is wrong is gone as soon as the next one is made and the host would come too late. Nor
is its decision trusted: the host has the counts of both and takes nothing for right that it cannot explain.
"""

from dataclasses import dataclass, replace

from gpucert.stress import kernels
from gpucert.stress.backend import Compared, WrongWord
from gpucert.stress.cuda_card import CudaCard
from gpucert.stress.cuda_tallies import SETS, Counted, Tallies

RUNS = SETS // 2
"""Products whose counts can be kept apart until they are read."""
SUM_BYTES = 16
"""Two counters on the card for each product: words that were taken, and what they came to."""
PAIR_BYTES = 16
_WORD_BITS = 64


@dataclass(frozen=True)
class Output:
    """A product as it lies on the card: `pairs` of words, the matrix from number `shift` on, then its beginning."""

    address: int
    pairs: int
    shift: int
    width: int
    """Bits of an element."""

    @property
    def words(self) -> int:
        """64-bit words of it."""
        return 2 * self.pairs

    @property
    def elements(self) -> int:
        """Elements of it."""
        return self.words * _WORD_BITS // self.width


@dataclass(frozen=True)
class Right:
    """The right answer: where it lies on the card, from its beginning on, and its digest."""

    reference: int
    digest: int


class Digests:
    """Digests and compares of the next products, in the order of `take`."""

    def __init__(self, card: CudaCard, tallies: Tallies) -> None:
        self._card, self._tallies = card, tallies
        self._blocks = kernels.blocks(card.sm_count)
        self._sums = card.allocate(RUNS * SUM_BYTES)
        self._taken: list[tuple[Output, Right]] = []

    def begin(self, runs: int) -> None:
        """Make ready for so many products, RUNS at most."""
        self._tallies.begin(2 * runs)
        self._card.fill_bytes(self._sums, 0, runs * SUM_BYTES)
        self._taken = []

    def take(self, output: Output, right: Right) -> None:
        """Queue the digest of a product that was queued before, and the compare in full for where it is not right."""
        number = len(self._taken)
        self._digest(number, output)
        self._card.launch(
            "matrix_compare", output.address, right.reference, output.pairs, output.shift, output.width,
            self._sums_of(number), right.digest, self._tallies.rows(2 * number + 1), *self._tallies.log(),
            blocks=self._blocks,
        )  # fmt: skip
        self._taken.append((output, right))

    def read(self) -> Compared:
        """What was found of all products since `begin`; the card must be done."""
        counts = self._tallies.read_each()
        found = [
            _found(output, right, *counts[2 * number : 2 * number + 2])
            for number, (output, right) in enumerate(self._taken)
        ]
        logged = self._tallies.first_wrong() if any(one.wrong for one in found) else ()
        return Compared(sum(one.elements for one in found), sum(one.wrong for one in found), unplaced(logged))

    def of(self, output: Output) -> int:
        """The digest of a product that was queued before, by the card itself."""
        self.begin(1)
        self._digest(0, output)
        self._card.finish()
        return self._tallies.read().total

    def _digest(self, number: int, output: Output) -> None:
        self._card.launch(
            "matrix_digest", output.address, output.pairs, output.shift, self._sums_of(number),
            self._tallies.rows(2 * number), blocks=self._blocks,
        )  # fmt: skip

    def _sums_of(self, number: int) -> int:
        return self._sums + number * SUM_BYTES


def _found(output: Output, right: Right, digest: Counted, full: Counted) -> Compared:
    """What the digest of a product and its compare in full say together.

    Wrong is, besides every element that differs, every one that nobody compared, and one at least where the two do not
    fit together: a digest that is not the right one although no element differs, or a card that compared in full
    although the digest, by the host's own reading, was right. One of its SMs counts or adds wrongly then.
    """
    is_right = digest.items == output.words and digest.total == right.digest
    if is_right and not full.items:
        return Compared(output.elements, 0, ())
    never_compared = 0 if is_right else output.elements - full.items
    elements = output.elements if is_right else full.items
    return Compared(elements, max(full.bad_items + never_compared, 1), ())


def unplaced(wrong: tuple[WrongWord, ...], before: int = 0) -> tuple[WrongWord, ...]:
    """Without an SM: that of the log compared a number, and nobody tells which one made it; `before` are counted on."""
    return tuple(replace(one, word=one.word + before, sm=-1) for one in wrong)
