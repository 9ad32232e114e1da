"""How other tools check arithmetic: our re-implementations of their comparisons, for virtual cards.

Written from what their authors publish, over the same products as our own probes. Each compares products with other
ones of the same card, so that a wrong answer which is always the same is right to all of them. They are kinder than the
tools: every bug of those that is known to us is left out, what a tool only logs counts as found, and each is given as
much time as our sustained load, in every type that it offers. Our operands stand in for theirs.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gpucert.device.simulated.medium import VirtualMedium
from gpucert.device.simulated.scenario import Scenario
from gpucert.stress.backend import DType, UnitNotOfferedError
from gpucert.stress.host import HostMatrices
from gpucert.stress.medium import Work
from gpucert.trials.in_process import bare_medium

Product = NDArray[np.float64]

SIZE = 8192
SECONDS = 600.0
"""Of load, among the types of a tool."""
PIECE_S = 1.0
"""Of so much load one product is worked out and compared; the others take their time and heat."""
RING = 16
"""Products that are compared with the first of them, before a tool begins with a new first one."""
EPSILON, EPSILON_OF_DOUBLES = 1e-3, 1e-7
"""Absolute, however large the product."""
SEED = 10
"""Of the operands: always the same ones."""


class _Products:
    """Products of the same two matrices, one after another."""

    def __init__(self, medium: VirtualMedium, dtype: DType) -> None:
        self._medium = medium
        self._matrices = HostMatrices(medium, dtype, (SIZE, SIZE, SIZE), SEED, exact=False)
        self._flop = 2.0 * SIZE**3

    def next(self) -> Product:
        """One product, after about PIECE_S of them."""
        product = self._matrices.multiply().astype(np.float64)
        seconds = self._medium.spend(Work("arithmetic", flop=self._flop, rate=self._matrices.dtype.value))
        self._flop *= PIECE_S / seconds
        return product


def gpu_burn_differs(one: Product, other: Product, dtype: DType) -> bool:
    """An element that is further off than an absolute epsilon; what is no number is never further off."""
    epsilon = EPSILON_OF_DOUBLES if dtype is DType.FP64 else EPSILON
    return bool((np.abs(one - other) > epsilon).any())


def dcgm_differs(one: Product, other: Product, dtype: DType) -> bool:
    """The same, and any element that is no number."""
    return gpu_burn_differs(one, other, dtype) or bool(np.isnan(other).any())


def norm_differs(one: Product, other: Product, _dtype: DType) -> bool:
    """The Frobenius norm of the difference over that of the product, which what is no number leaves undefined."""
    off, whole = (float(np.square(elements).sum()) for elements in (one - other, one))
    return math.sqrt(off / whole) > 0


def _with_the_first(products: _Products) -> Iterator[tuple[Product, Product]]:
    while True:
        first = products.next()
        for _ in range(RING - 1):
            yield first, products.next()


def _with_the_one_before(products: _Products) -> Iterator[tuple[Product, Product]]:
    before = products.next()
    while True:
        after = products.next()
        yield before, after
        before = after


class Peer(Struct, frozen=True):
    """How a tool checks products."""

    types: tuple[DType, ...]
    pairs: Callable[[_Products], Iterator[tuple[Product, Product]]]
    """Which products it compares."""
    differs: Callable[[Product, Product, DType], bool]
    """What it calls a difference."""


PEERS: Mapping[str, Peer] = {
    # From its README, with its doubles (-d) and tensor cores (-tc) beside its singles, and from the epsilons that it
    # publishes: all products of a ring that fills the memory are compared with the first of it.
    "gpu-burn": Peer((DType.FP32, DType.FP64, DType.FP16), _with_the_first, gpu_burn_differs),
    # From NVIDIA's page on the plugin: the same design in 16, 32 and 64 bits; elements that are no numbers are counted.
    "DCGM diagnostic": Peer((DType.FP16, DType.FP32, DType.FP64), _with_the_first, dcgm_differs),
    # From what AMD publishes of its self-check: the relative norm of the difference from the product before. It is
    # for cards of another maker; its comparison is what is set beside ours.
    "RVS gst": Peer((DType.FP32, DType.FP64, DType.FP16, DType.BF16), _with_the_one_before, norm_differs),
}
"""By the name of the tool."""


def finds(peer: str, card: Scenario) -> bool:
    """Whether this tool finds that products differ on a card, new and cold, in any type that it offers."""
    tool, medium = PEERS[peer], bare_medium(card)
    return any(_differ(tool, medium, dtype) for dtype in tool.types)


def _differ(tool: Peer, medium: VirtualMedium, dtype: DType) -> bool:
    try:
        products = _Products(medium, dtype)
    except UnitNotOfferedError:
        return False
    until = medium.now_s() + SECONDS / len(tool.types)
    for one, other in tool.pairs(products):
        if tool.differs(one, other, dtype):
            return True
        if medium.now_s() >= until:
            break
    return False
