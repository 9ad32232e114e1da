"""Error rates of the whole chain: virtual cards, healthy or with a planted fault, measured and judged as any card is.

The shipped probes whose measures have limits run with the steps of the shipped standard plan, in processes of this
bench, without those of a run. Doubt always counts against gpucert: an undecided finding rejects a healthy card, and
does not find a planted fault. Virtual cards lie about the centres of the catalogue, so this shows what measuring and
deciding add to the error, not how well those centres fit real cards.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Literal

from msgspec import Struct, structs

from gpucert.baselines import defaults
from gpucert.baselines.limit import Baseline, Limit
from gpucert.catalogue.matching import Match
from gpucert.device.simulated.scenario import parse
from gpucert.outcome import ExitCode, Outcome
from gpucert.record import Identity
from gpucert.run import plan
from gpucert.run.plan import PlannedRun
from gpucert.trials import in_process, pool
from gpucert.trials.planted import Planted, scenario
from gpucert.trials.rate import Bounded, bounded
from gpucert.verdict import air, heat
from gpucert.verdict import policy as policies
from gpucert.verdict.judge import judge

MODELS = (
    "NVIDIA A100-SXM4-80GB",
    "NVIDIA H100 80GB HBM3",
    "Tesla T4",
    "NVIDIA GeForce RTX 3090",
    "Tesla V100-SXM2-32GB",
)
"""With HBM and GDDR, with their own fan and without, from five architectures."""
MOST_CARDS = 100_000
"""Of one model: the seeds of one bench do not reach those of the next."""
SHOWN = 10
"""Cards that went wrong are named by their seeds, so that they can be run again; no more than these of each group."""

Promise = Literal["kept", "not refuted", "refuted", "none"]
"""What the exact 95 % bounds of a rate say of the promised one: below it, around it, above it; or none is promised."""
Matcher = Callable[[Identity], Match]


class Wanted(Struct, frozen=True, kw_only=True):
    """What to draw: so many cards of each model, healthy, or one such set for each fault."""

    baselines: tuple[Baseline, ...]
    """Of each model, by which its cards are judged."""
    cards: int
    seed: int = 0
    faults: tuple[Planted, ...] = ()


class ByLimit(Struct, frozen=True, kw_only=True):
    """How many cards of a group ended in which way by one limit."""

    measure: str
    share: float
    """The share of healthy cards that it may fail."""
    advises: bool
    """Whether it costs no certificate."""
    passed: int
    undecided: int
    failed: int
    error: int
    not_tested: int


class Group(Struct, frozen=True, kw_only=True):
    """The cards of one model, healthy or with one fault; or those of all models."""

    model: str
    """Empty for all models."""
    fault: str
    """Empty for healthy cards."""
    rejected: Bounded
    """By a limit that costs the certificate."""
    pointed_at: Bounded
    """By a limit that only advises, of the cards that any such limit tested."""
    not_tested: int
    """Cards that were neither rejected nor tested by every limit: nothing is said of them, so they are no trials."""
    promise: Promise
    limits: tuple[ByLimit, ...] = ()
    wrong: tuple[int, ...] = ()
    """Seeds of the first cards that went wrong: healthy and rejected or not tested, faulty and not found."""


class Told(Struct, frozen=True, kw_only=True):
    """What a bench found. `simulated` says what nobody may overlook."""

    simulated: bool
    probes: tuple[str, ...]
    cards: int
    seed: int
    promised: float
    """The share of healthy cards that may fail any limit."""
    groups: tuple[Group, ...]
    exit_code: ExitCode


class _Job(Struct, frozen=True):
    """One card. Everything that a worker needs."""

    seed: int
    text: str
    source: str
    baseline: Baseline
    match: Matcher


class _Judged(Struct, frozen=True):
    """How one card ended by each limit."""

    seed: int
    outcomes: dict[str, Outcome]


def run(wanted: Wanted, match: Matcher, progress: Callable[[int, int], None]) -> Told:
    """Draw, measure, judge and count on all cores. `progress` hears how many of how many cards are done.

    Raises ScenarioError and in_process.NeedsProcessesError for a fault that cannot be planted here.
    """
    groups = [(fault, one) for fault in wanted.faults or (None,) for one in wanted.baselines]
    jobs = [job for fault, baseline in groups for job in _jobs(wanted, fault, baseline, match)]
    done: list[_Judged] = []
    for judged in pool.each(_judged, jobs):
        done.append(judged)
        progress(len(done), len(jobs))
    promised = defaults.shipped().budget
    counted = [
        _group(fault, baseline, done[at * wanted.cards : (at + 1) * wanted.cards], promised)
        for at, (fault, baseline) in enumerate(groups)
    ]
    return _told(wanted, counted, promised)


def _jobs(wanted: Wanted, fault: Planted | None, baseline: Baseline, match: Matcher) -> Iterable[_Job]:
    source = fault.named if fault else baseline.model
    for number in range(wanted.cards):
        seed = wanted.seed * MOST_CARDS + number
        text = scenario(baseline.model, seed, fault)
        if number == 0:
            in_process.refuse(parse(text, source))
        yield _Job(seed, text, source, baseline, match)


@cache
def planned() -> PlannedRun:
    """The steps of the shipped standard plan whose probes' measures have limits."""
    standard = plan.load("standard")
    with_limits = {measure.partition(".")[0] for measure in defaults.shipped().measures}
    if air.PROBE in with_limits:
        with_limits.add(heat.PROBE)  # because the verdict works the resistances out of its telemetry
    steps = tuple(step for step in standard.step if step.probe in with_limits)
    return plan.ready(structs.replace(standard, name="bench-cards", yields="report", best_tier=None, step=steps))


def _judged(job: _Job) -> _Judged:
    """Measure one card and judge it by every limit of its baseline; SKIPPED where no finding names the limit."""
    record = in_process.run(job.text, job.source, planned())
    match = job.match(record.card)
    known = job.baseline if match.model is not None and match.model.key == job.baseline.model else None
    verdict = judge(record, record_sha256="", match=match, baseline=known, policy=policies.shipped())
    found = {f"{one.probe}.{one.measure}": one.outcome for one in verdict.findings}
    return _Judged(job.seed, {one.measure: found.get(one.measure, Outcome.SKIPPED) for one in job.baseline.limits})


# Counting

_AGAINST = {
    True: frozenset({Outcome.FAIL, Outcome.MARGINAL, Outcome.ERROR}),
    False: frozenset({Outcome.FAIL}),
}
"""Outcomes that count as a rejection, by whether the card is healthy."""


def _group(fault: Planted | None, baseline: Baseline, cards: Sequence[_Judged], promised: float) -> Group:
    healthy = fault is None
    costs = [limit.measure for limit in baseline.limits if not limit.advises]
    advises = [limit.measure for limit in baseline.limits if limit.advises]
    rejected = _seeds(cards, costs, _AGAINST[healthy])
    pointed_at = _seeds(cards, advises, _AGAINST[healthy])
    not_tested = _seeds(cards, costs, {Outcome.SKIPPED}) - rejected if costs else {card.seed for card in cards}
    everything = {card.seed for card in cards}
    wrong = rejected | not_tested if healthy else everything - rejected - pointed_at
    rate = bounded(len(rejected), len(cards) - (len(not_tested) if healthy else 0))
    return Group(
        model=baseline.model,
        fault=fault.named if fault else "",
        rejected=rate,
        pointed_at=bounded(len(pointed_at), len(_seeds(cards, advises, set(Outcome) - {Outcome.SKIPPED}))),
        not_tested=len(not_tested),
        promise=_promise(rate, promised) if healthy else "none",
        limits=tuple(_by_limit(limit, cards) for limit in baseline.limits),
        wrong=tuple(sorted(wrong))[:SHOWN],
    )


def _seeds(cards: Iterable[_Judged], measures: Collection[str], outcomes: Collection[Outcome]) -> set[int]:
    """The cards that ended so by any of these limits."""
    return {card.seed for card in cards if any(card.outcomes[measure] in outcomes for measure in measures)}


def _by_limit(limit: Limit, cards: Sequence[_Judged]) -> ByLimit:
    ended = Counter(card.outcomes[limit.measure] for card in cards)
    return ByLimit(
        measure=limit.measure,
        share=limit.q,
        advises=limit.advises,
        passed=ended[Outcome.PASS],
        undecided=ended[Outcome.MARGINAL],
        failed=ended[Outcome.FAIL],
        error=ended[Outcome.ERROR],
        not_tested=ended[Outcome.SKIPPED] + ended[Outcome.NOT_OFFERED],
    )


def _promise(rate: Bounded, promised: float) -> Promise:
    if rate.low > promised:
        return "refuted"
    return "kept" if rate.high <= promised else "not refuted"


def _all_models(groups: Sequence[Group], promised: float) -> Group:
    """The same cards as one group."""
    rate, advice = (
        bounded(sum(one.hits for one in rates), sum(one.trials for one in rates))
        for rates in ([one.rejected for one in groups], [one.pointed_at for one in groups])
    )
    fault = groups[0].fault
    return Group(
        model="",
        fault=fault,
        rejected=rate,
        pointed_at=advice,
        not_tested=sum(one.not_tested for one in groups),
        promise="none" if fault else _promise(rate, promised),
    )


def _told(wanted: Wanted, counted: Sequence[Group], promised: float) -> Told:
    groups = list(counted)
    for fault in dict.fromkeys(one.fault for one in counted):
        same = [one for one in counted if one.fault == fault]
        if len(same) > 1:
            groups.append(_all_models(same, promised))
    return Told(
        simulated=True,
        probes=tuple(step.probe for step in planned().steps),
        cards=wanted.cards,
        seed=wanted.seed,
        promised=promised,
        groups=tuple(groups),
        exit_code=_exit_code(groups),
    )


def _exit_code(groups: Sequence[Group]) -> ExitCode:
    """Nothing is promised of faults; a promise about healthy cards that were not tested is not kept."""
    if any(one.promise == "refuted" for one in groups):
        return ExitCode.NOT_CERTIFIED
    untested = any(one.not_tested for one in groups if not one.fault)
    return ExitCode.INCOMPLETE if untested else ExitCode.CERTIFIED
