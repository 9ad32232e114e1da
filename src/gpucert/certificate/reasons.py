"""Why the tier is not higher and what was not tested: equal reasons once, what decides first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpucert.certificate.harmless import harmless
from gpucert.certificate.payload import Payload
from gpucert.certificate.words import capitalised, gate_name, tier_title
from gpucert.outcome import LOOKS, Look, Outcome, VerdictOutcome
from gpucert.verdict.verdict import NotTested, Unmet

SHORT = 2
"""Lines of one tier on page one; the rest stands further down."""

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
    """What stands against one tier."""

    title: str
    lines: tuple[Line, ...]

    @property
    def short(self) -> tuple[Line, ...]:
        """As much of it as page one has room for."""
        return self.lines[:SHORT]

    @property
    def more(self) -> int:
        """How many lines page one leaves out."""
        return len(self.lines) - len(self.short)


def why_not_higher(payload: Payload) -> tuple[Tier, ...]:
    """Every better tier with what stands against it; before them, for a card without a tier, what failed for all."""
    against, rest = _against_all(payload)
    by_tier: dict[str, list[Unmet]] = {}
    for unmet in rest:
        by_tier.setdefault(unmet.tier, []).append(unmet)
    tiers = [Tier(f"{letter}: {tier_title(letter)}", _lines(gates)) for letter, gates in by_tier.items()]
    return (*([Tier("Any tier", _lines(against))] if against else []), *tiers)


def _against_all(payload: Payload) -> tuple[list[Unmet], list[Unmet]]:
    """The verdict lists what every tier asks for under the last tier; what of that went wrong stands against all."""
    gates = payload.why_not_higher
    if payload.verdict not in {VerdictOutcome.NOT_CERTIFIED, VerdictOutcome.INCOMPLETE} or not gates:
        return [], list(gates)
    last = gates[-1].tier
    against = [one for one in gates if one.tier == last and one.outcome in _FIRST]
    if not against:
        against = [one for one in gates if one.tier == last and one.outcome is Outcome.SKIPPED and _of_a_step(one)]
    return against, [one for one in gates if not any(one is other for other in against)]


def _of_a_step(gate: Unmet) -> bool:
    return gate.gate.endswith(".step")


def _lines(gates: Sequence[Unmet]) -> tuple[Line, ...]:
    """Where the silicon is not made for a tier nothing else matters; else each reason once, failures first."""
    silicon = [one for one in gates if one.outcome is Outcome.NOT_OFFERED]
    if silicon:
        wants = "; ".join(f"{gate_name(one.gate)} {harmless(one.value)}, asked for {harmless(one.limit)}" for one in silicon)
        return (Line("The silicon is not made for it", wants, LOOKS[Outcome.NOT_OFFERED]),)
    ranked = sorted(gates, key=lambda one: _FIRST.index(one.outcome) if one.outcome in _FIRST else len(_FIRST))
    same: dict[tuple[Outcome, str], list[str]] = {}
    for one in ranked:
        same.setdefault((one.outcome, one.reason), []).append(gate_name(one.gate))
    return tuple(Line(_named(names), harmless(why, 400), LOOKS[outcome]) for (outcome, why), names in same.items())


def not_tested(gaps: Iterable[NotTested]) -> tuple[Line, ...]:
    """Everything that nothing is said about, by reason."""
    same: dict[str, list[str]] = {}
    for one in gaps:
        same.setdefault(one.why.removeprefix(_NOT_TESTED), []).append(gate_name(one.what))
    return tuple(Line(_named(names), harmless(why, 400)) for why, names in same.items())


def _named(names: Iterable[str]) -> str:
    return capitalised(", ".join(dict.fromkeys(names)))
