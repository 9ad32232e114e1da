"""Why the tier is not higher and what was not tested: equal reasons once, what decides first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpucert.certificate.harmless import harmless
from gpucert.certificate.payload import Payload
from gpucert.certificate.words import SAID_OF, STATION, capitalised, gate_name, tier_title
from gpucert.outcome import LOOKS, Look, Outcome, VerdictOutcome
from gpucert.verdict.verdict import NotTested, Unmet

SHORT = 2
"""Lines of one tier on page one; the rest stands further down. Of a card without a tier, what failed is enough."""

_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.MARGINAL)
_NOT_TESTED = "Not tested: "


@dataclass(frozen=True)
class Line:
    """One reason and everything that it holds for."""

    what: str
    why: str
    look: Look | None = None


@dataclass(frozen=True)
class Tier:
    """What stands against one tier; page one has room for its first `short` lines."""

    title: str
    lines: tuple[Line, ...]
    short: int = SHORT

    @property
    def more(self) -> int:
        """How many lines page one leaves out."""
        return max(0, len(self.lines) - self.short)


def why_not_higher(payload: Payload) -> tuple[Tier, ...]:
    """Every better tier with what stands against it; before them, for a card without a tier, what failed for all."""
    against, rest = _against_all(payload)
    by_tier: dict[str, list[Unmet]] = {}
    for unmet in rest:
        by_tier.setdefault(unmet.tier, []).append(unmet)
    short = 1 if against else SHORT
    tiers = [Tier(f"{letter}: {tier_title(letter)}", _lines(gates), short) for letter, gates in by_tier.items()]
    return (*([Tier("Any tier", _lines(against))] if against else []), *tiers)


def _against_all(payload: Payload) -> tuple[list[Unmet], list[Unmet]]:
    """The verdict lists what every tier asks for under the last tier; what of that went wrong stands against all."""
    gates = payload.why_not_higher
    if payload.verdict not in {VerdictOutcome.NOT_CERTIFIED, VerdictOutcome.INCOMPLETE} or not gates:
        return [], list(gates)
    of_last = [one for one in gates if one.tier == gates[-1].tier]
    against = [one for one in of_last if one.outcome in _FIRST]
    against = against or [one for one in of_last if one.outcome is Outcome.SKIPPED and _of_a_step(one)]
    return against, [one for one in gates if not any(one is other for other in against)]


def _of_a_step(gate: Unmet) -> bool:
    return gate.gate.endswith(".step")


def _lines(gates: Sequence[Unmet]) -> tuple[Line, ...]:
    """Where the silicon is not made for a tier nothing else matters; else each reason once, failures first."""
    silicon = [one for one in gates if one.outcome is Outcome.NOT_OFFERED]
    if silicon:
        return (Line("The silicon is not made for it", _wants(silicon), LOOKS[Outcome.NOT_OFFERED]),)
    ranked = sorted(gates, key=lambda one: _FIRST.index(one.outcome) if one.outcome in _FIRST else len(_FIRST))
    same: dict[tuple[Look, str], list[str]] = {}
    for one in ranked:
        look = STATION if one.subject == "station" and one.outcome in SAID_OF else LOOKS[one.outcome]
        same.setdefault((look, _without_name(one)), []).append(gate_name(one.gate))
    return tuple(Line(_named(names), harmless(why, 400), look) for (look, why), names in same.items())


def _wants(gates: Iterable[Unmet]) -> str:
    return "; ".join(f"{gate_name(one.gate)} {harmless(one.value)}, asked for {harmless(one.limit)}" for one in gates)


def _without_name(gate: Unmet) -> str:
    """The reason less the gate's own name in front, so that equal reasons of several gates are equal."""
    return capitalised(gate.reason.removeprefix(f"{gate.gate} "))


def not_tested(gaps: Iterable[NotTested]) -> tuple[Line, ...]:
    """Everything that nothing is said about, by reason."""
    same: dict[str, list[str]] = {}
    for one in gaps:
        same.setdefault(one.why.removeprefix(_NOT_TESTED), []).append(gate_name(one.what))
    return tuple(Line(_named(names), harmless(why, 400)) for why, names in same.items())


def _named(names: Iterable[str]) -> str:
    return capitalised(", ".join(dict.fromkeys(names)))
