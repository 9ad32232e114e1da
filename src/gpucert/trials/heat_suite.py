"""The suite of cooling: what the standard plan has to show heat, judged by none, few or many reference cards.

Reference cards are virtual ones of the same lottery, measured by the same step. Each card is judged by its own draw of
so many of them, so that a share in a table is no property of one lucky baseline.
"""

import random
from collections.abc import Iterable, Mapping, Set
from functools import cache, lru_cache

from msgspec import Struct, structs

from gpucert.baselines import baseline as baselines
from gpucert.baselines import defaults
from gpucert.baselines.limit import Baseline
from gpucert.baselines.reference import Card, Measured, References
from gpucert.catalogue import shelf
from gpucert.device.simulated.scenario import Scenario
from gpucert.device.simulated.silicon import silicon
from gpucert.device.simulated.thermal import Network
from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.record import Record
from gpucert.run import plan
from gpucert.run.plan import PlannedRun
from gpucert.trials import heat_faults, in_process, pool
from gpucert.trials.cards import Matcher
from gpucert.trials.suite import Judges, Seen
from gpucert.verdict import air, heat, pads
from gpucert.verdict import policy as policies
from gpucert.verdict.judge import judge
from gpucert.verdict.verdict import Verdict

KINDS = heat_faults.KINDS
PROFILES: tuple[str, ...] = ("0 cards", "5 cards", "20 cards")
"""How many reference cards of the model there are."""
SLOW: tuple[str, ...] = ()
ABLATED: tuple[str, ...] = ()
PEERS: tuple[str, ...] = ()
LOST = ""
FOREIGN = "taken for another"
PROBES = (heat.PROBE, pads.PROBE)
"""The soak, and the load of the memory that shows its pads."""
POOL = 40
"""Reference cards of each model, from which those of a card are drawn."""


def planted(name: str, seed: int) -> str:
    """The scenario of a card with one fault of its cooling."""
    return heat_faults.planted(name, seed)


healthy = heat_faults.healthy


@cache
def planned() -> PlannedRun:
    """The steps of the standard plan that show heat."""
    standard = plan.load("standard")
    steps = tuple(step for step in standard.step if step.probe in PROBES)
    return plan.ready(structs.replace(plan.load("quick"), name="bench-detection-heat", step=steps))


def run(card: Scenario, _profile: str) -> Record:
    """The steps, once for all profiles of a card."""
    return _run(card.text)


@lru_cache(maxsize=1)
def _run(text: str) -> Record:
    return in_process.run(text, "heat", planned())


# References


class _Reference(Struct, frozen=True):
    """One reference card to be measured."""

    model: str
    number: int
    match: Matcher


def judges(profiles: tuple[str, ...], models: Set[str], match: Matcher) -> Judges:
    """The baselines of these models, each card's by a draw of its own."""
    most = max(int(one.split()[0]) for one in profiles)
    count = POOL if most else 0
    asked = [_Reference(model, number, match) for model in sorted(models) for number in range(count)]
    measured: dict[str, list[dict[str, float]]] = {model: [] for model in models}
    for one, values in zip(asked, pool.each(_measured, asked), strict=True) if asked else ():
        measured[one.model].append(values)

    def of(profile: str, card: Scenario) -> Baseline:
        luck = random.Random(f"references/{card.seed}")  # noqa: S311  # no secrets
        return _baseline(card.model, luck.sample(measured[card.model], int(profile.split()[0])))

    return of


def _measured(one: _Reference) -> dict[str, float]:
    """What a reference card measures, as the verdict has it, in the units of its limits."""
    record = _run(heat_faults.reference(one.model, one.number))
    baseline = baselines.for_model(shelf.get(one.model))
    verdict = judge(
        record, record_sha256="", match=one.match(record.card), baseline=baseline, policy=policies.shipped()
    )
    return {
        f"{found.probe}.{found.measure}": float(found.value)
        for found in verdict.findings
        if found.probe == air.PROBE and isinstance(found.value, float)
    }


def _baseline(model: str, cards: Iterable[Mapping[str, float]]) -> Baseline:
    values: dict[str, list[Card]] = {}
    for number, card in enumerate(cards):
        for measure, value in card.items():
            values.setdefault(measure, []).append(Card(f"reference {number}", value))
    shipped = defaults.shipped()
    measures = {
        name: Measured(shipped.measures[name].unit, "virtual cards", tuple(them))
        for name, them in values.items()
        if name in shipped.measures
    }
    return baselines.build(shelf.get(model), shipped, References(model, 1, measures, simulated=True), shipped=False)


# Counting


def phases(_profile: str) -> tuple[str, ...]:
    """A soak has no phase that could be left out."""
    return ()


def seen(card: Scenario, _record: Record, verdict: Verdict) -> Seen:
    """By its diagnoses, those that only advise as well, because with few reference cards nothing else is told."""
    codes, right = {one.code for one in verdict.diagnoses}, heat_faults.expected(card)
    return Seen(
        found=bool(codes & right),
        right=bool(codes) and codes <= right,
        foreign=bool(codes - right),
        failed=_failed(verdict),
    )


def alarmed(card: Scenario, _record: Record, verdict: Verdict) -> Seen:
    """Any diagnosis, or any end but a clean report; and how far what was measured is off its truth."""
    told = bool(verdict.diagnoses)
    return Seen(
        told or verdict.outcome is not VerdictOutcome.REPORTED,
        foreign=told,
        failed=_failed(verdict),
        off=_off(card, verdict),
    )


def _failed(verdict: Verdict) -> tuple[str, ...]:
    failed = (one for one in verdict.findings if one.outcome is Outcome.FAIL and one.probe == air.PROBE)
    return tuple(one.measure for one in failed)


def _off(card: Scenario, verdict: Verdict) -> dict[str, float]:
    network = silicon(card).network
    true = _true(network)
    told = {one.measure: one.value for one in verdict.findings if one.probe == air.PROBE}
    return {name: value / true[name] - 1 for name, value in told.items() if name in true and isinstance(value, float)}


def _true(network: Network) -> dict[str, float]:
    """Of a card with its own fan at the speed that its resistances are stated at."""
    fast, total = network.rise_per_watt(1.0), network.total_c_per_w
    return {"fast": fast, "slow": total - network.rise_per_watt(10.0), "total": total}


def without(_card: Scenario, _profile: str, phase: str) -> Seen:
    """Never asked for: nothing can be left out."""
    raise AssertionError(f"a soak has no phase {phase!r}")


def peer_finds(peer: str, _card: Scenario) -> bool:
    """Never asked for: no other tool tells faults of cooling apart."""
    raise AssertionError(f"there is no {peer!r}")
