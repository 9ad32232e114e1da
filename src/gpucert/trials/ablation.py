"""What each phase of the scan is worth: what is still found, and named for what it is, where it is left out.

The scan runs by itself, because a verdict asks for phases of its own (corrected errors in two of them). Found means a
wrong word, an error that ECC met, or a context that died of one; named right means that every wrong word which was
looked into is of the kind that belongs to the fault. ECC names nothing.
"""

from gpucert.device.simulated.medium import VirtualMedium
from gpucert.device.simulated.scenario import Scenario
from gpucert.reading import Reading
from gpucert.record import Counters
from gpucert.stress.backend import UncorrectableEccError
from gpucert.stress.host import HostBackend
from gpucert.stress.memory_scan import PROFILES, scan
from gpucert.trials import memory_faults
from gpucert.trials.in_process import InProcessCard


def finds(card: Scenario, profile: str, without: str) -> tuple[bool, bool]:
    """Whether the scan finds anything on a card, new and cold, and names it rightly; all phases if none is left out."""
    bench = InProcessCard(card)
    memory = bytearray(bench.virtual.memory_bytes)
    backend = HostBackend(VirtualMedium(card, memory, bench.advance, "", bench.now_s()))
    before = _met(bench.counters())
    try:
        done = scan(backend, PROFILES[profile].without(without), card.seed, lambda: 0.0, _nobody, _nobody)
    except UncorrectableEccError:
        return True, True
    if not done.wrong_words:
        met = _met(bench.counters()) != before
        return met, met
    kinds = {one.kind for one in done.located} - {"unclassified"}
    return True, bool(kinds) and kinds <= memory_faults.expected_kinds(card)


def _met(counters: Counters) -> tuple[Reading[int], Reading[int]]:
    """The errors that ECC met."""
    return counters.ecc_corrected_volatile, counters.ecc_uncorrected_volatile


def _nobody(*_told: object) -> None:
    """Hears how far the scan is, and what it finds."""
