"""Joints: solder that cracks after so many heat cycles, and from then on opens hot and closes cold.

Chip, package and board expand differently, so that each cycle bends what joins them, and a crack grows a little. What
is left of the joint touches while it is cold and parts while it is hot. It does not part and touch at one temperature,
because it must be bent back first: between the two it stays what it was.
"""

from msgspec import Struct

from gpucert.device.simulated.faults import ThermalIntermittent
from gpucert.device.simulated.scenario import Scenario

REPLAYS_PER_S = 10
"""Packets that a link with an open joint repeats, an engineering choice: far above what anyone allows (8 a minute)."""


class Joint(Struct, frozen=True):
    """What a joint has been through."""

    hot: bool = False
    """It was as hot as it must be to open, and has not been as cool as it must be to close since."""
    cycles: int = 0


def at_rest(scenario: Scenario) -> list[Joint]:
    """The joints of a card that was never warm."""
    return [Joint() for _ in scenario.of(ThermalIntermittent)]


def warmed(fault: ThermalIntermittent, joint: Joint, core_c: float) -> Joint:
    """The joint now that the die is this warm."""
    if not joint.hot:
        return Joint(core_c >= fault.above_c, joint.cycles)
    return Joint(False, joint.cycles + 1) if core_c <= fault.below_c else joint


def open_effects(scenario: Scenario, joints: list[Joint]) -> set[str]:
    """What is wrong with the card because of its open joints."""
    return {
        fault.effect
        for fault, joint in zip(scenario.of(ThermalIntermittent), joints, strict=True)
        if _open(fault, joint)
    }


def open_lines(scenario: Scenario, joints: list[Joint]) -> tuple[int, ...]:
    """Which joints are open data wires of the memory, by their number among all joints."""
    return tuple(
        number
        for number, (fault, joint) in enumerate(zip(scenario.of(ThermalIntermittent), joints, strict=True))
        if fault.effect == "memory" and _open(fault, joint)
    )


def _open(fault: ThermalIntermittent, joint: Joint) -> bool:
    return joint.hot and joint.cycles >= fault.cycles
