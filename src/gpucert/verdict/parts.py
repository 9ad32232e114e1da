"""Parts of a chip that are missing: memory channels and pairs of multiprocessors that are dead or were fused off.

Only where nothing but these contradicts the model: a card that is short of more is another one.
"""

from dataclasses import dataclass

from gpucert.catalogue.matching import MIB_PER_GIB, Match
from gpucert.catalogue.model import Model
from gpucert.reading import Absent
from gpucert.record import Identity

CHANNELS_AT_MOST = 1 / 8
"""Of the bus: models of one chip and as many cores differ by more (a quarter, two P100), so that more is another."""
TPCS_AT_MOST = 1 / 16
"""Of the SMs, or one TPC where that is more: most models of one chip with the same memory differ by more (RTX 4090 and
4090 D by 11 %). Some differ by less (RTX 3090 and 3090 Ti), and those look alike from here."""


@dataclass(frozen=True)
class Missing:
    """Whole parts that a card lacks."""

    channels: int = 0
    tpcs: int = 0


def missing(identity: Identity, match: Match) -> Missing:
    """What is missing by what the card's driver answers; either may be missing beside the other."""
    if match.model is None or match.name_agrees is False:
        return Missing()
    channels, tpcs = _channels(identity, match.model), _tpcs(identity, match.model)
    return Missing(
        channels if match.cores_agree or tpcs else 0, tpcs if match.memory_agrees is not False or channels else 0
    )


def missing_tpcs(model: Model, sm_count: float) -> int:
    """TPCs that a chip with so many SMs lacks; 0 where that is no whole number of them, or too many."""
    fewer = model.sm_count - sm_count
    most = max(TPCS_AT_MOST * model.sm_count, model.sms_per_tpc)
    return int(fewer // model.sms_per_tpc) if 0 < fewer <= most and fewer % model.sms_per_tpc == 0 else 0


def _tpcs(identity: Identity, model: Model) -> int:
    """By the cores that NVML counts, which are those of the SMs that are there."""
    cores = identity.cuda_cores
    return 0 if isinstance(cores, Absent) else missing_tpcs(model, cores * model.sm_count / model.cuda_cores)


def _channels(identity: Identity, model: Model) -> int:
    """By which the bus is narrower than the model's, with the memory that is left then."""
    memory, bits = model.memory, identity.bus_bits
    if isinstance(bits, Absent) or not 0 < memory.bus_bits - bits <= CHANNELS_AT_MOST * memory.bus_bits:
        return 0
    channels, odd = divmod(memory.bus_bits - bits, memory.channel_bits)
    shrunk = isinstance(identity.memory_mib, int) and identity.memory_mib <= MIB_PER_GIB * memory.size_gib * (
        bits / memory.bus_bits
    )
    return channels if shrunk and not odd else 0
