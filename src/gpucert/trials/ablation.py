"""What each phase of the scan is worth: what is still found where it is left out.

The scan runs by itself, because a verdict asks for phases of its own (corrected errors in two of them). Found means a
wrong word, an error that ECC met, or a context that died of one.
"""

from gpucert.device.simulated.medium import VirtualMedium
from gpucert.device.simulated.scenario import Scenario
from gpucert.reading import Reading
from gpucert.record import Counters
from gpucert.stress.backend import UncorrectableEccError
from gpucert.stress.host import HostBackend
from gpucert.stress.memory_scan import PROFILES, scan
from gpucert.trials.in_process import InProcessCard

PROFILE = "standard"


def phases() -> tuple[str, ...]:
    """The phases of the profile whose phases are left out in turn."""
    return tuple(phase.name for phase in PROFILES[PROFILE].phases)


def finds(card: Scenario, without: str) -> bool:
    """Whether the scan finds anything on a card, new and cold, without one phase; with all where that is empty."""
    bench = InProcessCard(card)
    memory = bytearray(bench.virtual.memory_bytes)
    backend = HostBackend(VirtualMedium(card, memory, bench.advance, "", bench.now_s()))
    before = _met(bench.counters())
    try:
        done = scan(backend, PROFILES[PROFILE].without(without), card.seed, lambda: 0.0, _nobody, _nobody)
    except UncorrectableEccError:
        return True
    return done.wrong_words > 0 or _met(bench.counters()) != before


def _met(counters: Counters) -> tuple[Reading[int], Reading[int]]:
    """The errors that ECC met."""
    return counters.ecc_corrected_volatile, counters.ecc_uncorrected_volatile


def _nobody(*_told: object) -> None:
    """Hears how far the scan is, and what it finds."""
