"""Kinds of joints that open with heat cycles: what is drawn of each, and what must be told of it."""

from collections.abc import Mapping

from gpucert.device.simulated.faults import ThermalIntermittent
from gpucert.device.simulated.scenario import Scenario
from gpucert.trials import drawn
from gpucert.trials.drawn import Fields, Ground, Kind

CYCLES = (1, 2)
"""After which a joint is cracked: the steps before leave the card hot, so that two heat cycles crack and open it."""
CLOSES = (0.2, 0.6)
"""Where a joint closes again, as a share of the way from where it opens down to the temperature of the idle card."""


def _joint(on: Ground) -> Fields:
    card, opens = on.silicon, on.only_warm()
    idle_c, above_c = card.inlet_c + card.network.total_c_per_w * card.idle_w, float(opens["above_c"])
    below_c = round(above_c - on.luck.uniform(*CLOSES) * (above_c - idle_c), 1)
    return {**opens, "below_c": below_c, "cycles": on.luck.choice(CYCLES)}


def _memory(on: Ground) -> Fields:
    line = on.luck.randrange(on.silicon.model.memory.channel_bits)
    return {**_joint(on), "effect": "memory", "line": line}


def _link(on: Ground) -> Fields:
    return {**_joint(on), "effect": "link"}


def _lost(on: Ground) -> Fields:
    return {**_joint(on), "effect": "lost"}


KINDS: Mapping[str, Kind] = {
    "joint_memory": Kind(
        fault="thermal_intermittent",
        says=f"any data wire of a channel: cracked after {CYCLES[0]} or {CYCLES[1]} cycles, it opens at a temperature "
        "as for retention_warm, and closes at another, 20 % to 60 % of the way down to the idle card's",
        draw=_memory,
    ),
    "joint_memory_ecc": Kind(
        fault="thermal_intermittent",
        says="the same under ECC",
        draw=_memory,
        ecc=True,
    ),
    "joint_link": Kind(
        fault="thermal_intermittent",
        says="the same of a lane: half of the PCIe lanes are lost, and packets are sent again",
        draw=_link,
        ecc=None,
    ),
    "joint_lost": Kind(
        fault="thermal_intermittent",
        says="the same of what keeps the card on its bus",
        draw=_lost,
        ecc=None,
    ),
}
"""Every kind of joints of this bench, by name."""

DIAGNOSIS = "board.intermittent"


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one joint of a kind."""
    return drawn.planted(name, KINDS[name], seed)


def expected(card: Scenario) -> frozenset[str]:
    """The diagnoses that are right for the one joint of a card: of the joint, and of how a step ended by it."""
    (joint,) = card.of(ThermalIntermittent)
    if joint.effect == "lost":
        return frozenset({DIAGNOSIS, "device.lost"})
    several = card.silicon.memory.channel_bits < 64  # lanes of a word on one wire, which ECC cannot correct
    dies = joint.effect == "memory" and card.ecc_on and several
    return frozenset({DIAGNOSIS, "memory.ecc_uncorrected"} if dies else {DIAGNOSIS})
