"""All cores for work that falls into pieces. Workers compute with one thread each and die with their parent."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from gpucert.run import processes

Piece = TypeVar("Piece")
Done = TypeVar("Done")


def each(work: Callable[[Piece], Done], pieces: Sequence[Piece]) -> Iterator[Done]:
    """The work of every piece, in their order. `work` is a function of a module, pieces and results can be pickled.

    Raises what `work` raises, and concurrent.futures.process.BrokenProcessPool where a worker was killed.
    """
    cores = min(len(os.sched_getaffinity(0)), len(pieces))
    # Spawned, because a forked copy of a process that has computed before keeps the threads of its BLAS.
    context = get_context("spawn")
    with ProcessPoolExecutor(max(cores, 1), context, _begin, (os.getpid(),)) as pool:
        yield from pool.map(work, pieces)


def _begin(parent: int) -> None:
    """Before this process imports anything that computes."""
    processes.live_and_die_with(parent)
    os.environ.update(processes.THREADS)
