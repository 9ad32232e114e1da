"""Tiers: which gates of which tier a card meets, and why not the better ones."""

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

from gpucert.catalogue.model import Model
from gpucert.outcome import LOOKS, Outcome
from gpucert.reading import Absence, Absent, Reading
from gpucert.units import show
from gpucert.verdict import decision
from gpucert.verdict.case import Case
from gpucert.verdict.policy import TierGates
from gpucert.verdict.steps import pooled
from gpucert.verdict.verdict import TierLetter, Unmet

_WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.SKIPPED, Outcome.MARGINAL, Outcome.PASS)
_BANKS = ("max", "high", "partial", "low", "none")
HALF_RATE = 0.45
"""FP64 over FP32 outside of tensor cores, above which a model counts as one of half rate."""
LAST_OF_PLANS = "ABCD"
_HOURS = {"A": "12", "B": "8", "C": "4"}


class Rank(Struct, frozen=True, kw_only=True):
    """One tier with the gates that are not met; none means that the card qualifies."""

    gates: TierGates
    label: TierLetter
    unmet: tuple[Unmet, ...]
    undecided: tuple[int, ...]
    """Steps whose repetition could still decide it, where nothing else stands against it."""


def rank(case: Case) -> tuple[Rank, ...]:
    """Every tier of the policy, the best first."""
    return tuple(_rank(case, tier) for tier in case.policy.tiers)


def _rank(case: Case, tier: TierGates) -> Rank:
    label: TierLetter = tier.letter if case.official else "custom"
    found = tuple(_gates(case, tier, label))
    unmet = tuple(one for one, _ in found)
    open_steps = tuple(sorted({step for _, steps in found for step in steps}))
    decidable = bool(unmet) and all(one.outcome is Outcome.MARGINAL for one in unmet)
    return Rank(gates=tier, label=label, unmet=unmet, undecided=open_steps if decidable else ())


_Open = tuple[Unmet, tuple[int, ...]]
"""An unmet gate, and the steps whose repetition could decide it."""


def _gates(case: Case, tier: TierGates, label: TierLetter) -> Iterator[_Open]:
    def unmet(gate: str, outcome: Outcome, value: object, limit: str, reason: str, *steps: int) -> _Open:
        shown = "–" if value is None else str(value)
        return Unmet(tier=label, gate=gate, outcome=outcome, value=shown, limit=limit, reason=reason), steps

    for gate, outcome, value, limit, reason in (
        *_plan(case, tier),
        *_probes(case),
        *_silicon(case, tier),
        *_condition(case, tier),
    ):
        yield unmet(gate, outcome, value, limit, reason)
    for measure in tier.measures:
        judged = _performance(case, tier, measure)
        if judged is not None:
            outcome, value, limit, reason, steps = judged
            yield unmet(measure, outcome, value, limit, reason, *steps)


_Gate = tuple[str, Outcome, object, str, str]
"""Name, outcome, value, limit, reason."""


def _plan(case: Case, tier: TierGates) -> Iterator[_Gate]:
    """Whether the plan was long enough."""
    plan = case.record.plan
    best = plan.best_tier if plan.yields == "certificate" else None
    if best is None or LAST_OF_PLANS.index(tier.letter) < LAST_OF_PLANS.index(best):
        needed = f"plan burnin --hours {_HOURS[tier.letter]}" if tier.letter in _HOURS else "plan standard"
        name = plan.name if plan.hours is None else f"{plan.name} of {plan.hours:g} h"
        yield "length of the plan", Outcome.SKIPPED, name, needed, f"The plan {name} is too short; {needed} tests it."


def _probes(case: Case) -> Iterator[_Gate]:
    """Whether the plan has all that every certificate rests on; a step that did not run is a finding of its own."""
    planned = {step.probe for step in case.record.steps}
    for probe in case.policy.gates.probes:
        if probe not in planned:
            yield probe, Outcome.SKIPPED, None, "ran", f"{probe} was not run, and no certificate is given without it."


def _silicon(case: Case, tier: TierGates) -> Iterator[_Gate]:
    """What the model must be capable of."""
    model = case.model
    if model is None:
        yield "model", Outcome.SKIPPED, None, "known", "UNGRADED: what this model is capable of is not known."
        return
    links = model.links.nvlinks > 0 or "SXM" in model.form_factor
    wants: tuple[tuple[bool, bool, str, object, str], ...] = (
        (tier.memory_gib > 0, model.memory.size_gib >= tier.memory_gib, "memory size",
         f"{model.memory.size_gib} GiB", f"≥ {tier.memory_gib} GiB"),
        (tier.hbm, model.memory.type.startswith("HBM"), "memory type", model.memory.type, "HBM"),
        (tier.nvlink, links, "NVLink", f"{model.links.nvlinks} links, {model.form_factor}", "NVLink or SXM"),
        (tier.tensor_cores, model.has_tensor_cores, "tensor cores", "none", "tensor cores"),
        (tier.fp64_half_rate, _half_rate(model), "FP64 rate", "below half of FP32", "half of FP32"),
        *((True, getattr(model.peak, name) is not None, name.upper(), "none", name.upper()) for name in tier.dtypes),
    )  # fmt: skip
    for wanted, has, gate, value, limit in wants:
        if wanted and not has:
            reason = f"The silicon is not made for it: {gate} {value}, asked for is {limit}."
            yield gate, Outcome.NOT_OFFERED, value, limit, reason


def _half_rate(model: Model) -> bool:
    vector = model.peak.fp64_vector or model.peak.fp64
    return vector is not None and model.peak.fp32 is not None and vector / model.peak.fp32 >= HALF_RATE


def _condition(case: Case, tier: TierGates) -> Iterator[_Gate]:
    """What this card's condition must be, beyond its performance."""
    counters = case.counters
    if tier.ecc_on and case.record.settings.ecc is not True:
        yield _ecc(case.record.settings.ecc)
    if tier.spare_rows:
        yield from _spare_rows(case, tier, counters.remap_banks)
    if tier.every_link_up and case.model is not None and case.model.links.nvlinks:
        up, errors, links = counters.nvlinks_up, counters.nvlink_errors, case.model.links.nvlinks
        if isinstance(up, Absent) or isinstance(errors, Absent):
            yield "every NVLink up", Outcome.SKIPPED, None, f"{links}", f"NVLinks were not read: {up}."
        elif up < links or errors > 0:
            reason = f"{up} of {links} NVLinks are up, with {errors} errors counted."
            yield "every NVLink up", Outcome.FAIL, up, f"{links}, without errors", reason
    if tier.energy and not _has_energy(case):
        yield "work per joule", Outcome.SKIPPED, None, "reported", "Work per joule was not measured."


def _ecc(now: Reading[bool]) -> _Gate:
    if not isinstance(now, Absent):
        return "ECC", Outcome.FAIL, "off", "on", "ECC was off during the test."
    if now.absent is Absence.NOT_SUPPORTED:
        return "ECC", Outcome.NOT_OFFERED, "none", "on", "The silicon is not made for it: it has no ECC."
    return "ECC", Outcome.SKIPPED, now, "on", f"Whether ECC was on could not be read: {now}."


def _spare_rows(case: Case, tier: TierGates, banks: object) -> Iterator[_Gate]:
    remaps = case.model is not None and case.model.memory.row_remapping is True
    if isinstance(banks, tuple):
        counts = dict(zip(_BANKS, banks, strict=True))
        used = {state: counts[state] for state in tier.spare_rows if counts[state]}
        if used:
            words = ", ".join(f"{count} banks {state}" for state, count in used.items())
            yield "spare rows of memory", Outcome.FAIL, words, "none of these", f"Spare rows are short: {words}."
    elif remaps:
        yield "spare rows of memory", Outcome.SKIPPED, None, "read", f"The row remapper was not read: {banks}."


def _has_energy(case: Case) -> bool:
    values = (
        measurement.value
        for step in case.steps_of("gemm_sustained")
        for measurement in step.measurements
        if measurement.name.endswith("_per_joule")
    )
    return any(not isinstance(value, Absent) and math.isfinite(value) for value in values)


_Performance = tuple[Outcome, object, str, str, tuple[int, ...]]


def _performance(case: Case, tier: TierGates, measure: str) -> _Performance | None:
    """The worst of a measure over all its steps, against the tier's share of the centre; None where it is met."""
    limit = case.baseline.find(measure) if case.baseline else None
    if limit is None:
        return Outcome.SKIPPED, None, "a baseline", "No baseline is known for it.", ()
    if limit.n < tier.reference_cards:
        reason = f"The baseline rests on {limit.n} reference cards; {tier.reference_cards} are asked for."
        return Outcome.SKIPPED, f"n = {limit.n}", f"n ≥ {tier.reference_cards}", reason, ()
    probe, _, name = measure.partition(".")
    bound = limit.centre * (1 - tier.within if limit.better == "higher" else 1 + tier.within)
    text = f"{'≥' if limit.better == 'higher' else '≤'} {show(bound, limit.unit)}"
    judged: list[tuple[Outcome, float, int]] = []
    for step in case.steps_of(probe):
        if step.repeat_of is not None:
            continue
        measurement = next((one for one in step.measurements if one.name == name), None)
        if measurement is None or isinstance(measurement.value, Absent) or measurement.unit is not limit.unit:
            return Outcome.SKIPPED, None, text, f"It was not measured in step {step.index + 1}.", ()
        whole = pooled(case, step, measurement)
        if whole.u is None or isinstance(whole.value, Absent):
            return Outcome.ERROR, None, text, "It was measured without an uncertainty.", ()
        judged.append(
            (decision.within(limit, tier.within, float(whole.value), whole.u), float(whole.value), step.index)
        )
    if not judged:
        return Outcome.SKIPPED, None, text, "No step measured it.", ()
    return _worst(judged, text, tier, limit.unit.value)


def _worst(judged: Sequence[tuple[Outcome, float, int]], text: str, tier: TierGates, unit: str) -> _Performance | None:
    outcome, value, _ = min(judged, key=lambda one: _WORST_FIRST.index(one[0]))
    if outcome is Outcome.PASS:
        return None
    shown = f"{value:.4g} {unit}"
    reason = f"{LOOKS[outcome].meaning.capitalize()}: {shown}, at most {tier.within:.0%} from the centre is asked for."
    return outcome, shown, text, reason, tuple(step for one, _, step in judged if one is Outcome.MARGINAL)
