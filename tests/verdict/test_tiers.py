"""Tiers: gates, never points; what is undecided costs one, and every better tier says why not."""

from collections.abc import Iterator

import pytest
from msgspec import structs

from gpucert.baselines import defaults
from gpucert.baselines.baseline import build, for_model
from gpucert.baselines.limit import Baseline
from gpucert.baselines.reference import Card, Measured, References
from gpucert.catalogue import shelf
from gpucert.outcome import ExitCode, Outcome, VerdictOutcome
from gpucert.record import Record
from gpucert.verdict import policy as policies
from gpucert.verdict.policy import PolicyError
from gpucert.verdict.verdict import Verdict
from tests.verdict.judging import judged, with_value

A100 = "NVIDIA A100-SXM4-80GB"
RATES = {
    "gemm_sustained": ("fp64_per_clock", "fp32_per_clock", "fp16_per_clock", "bf16_per_clock"),
    "memory_bandwidth": ("read_per_clock", "write_per_clock", "copy_per_clock"),
}


def burnin(record: Record, hours: float, best: str) -> Record:
    return structs.replace(record, plan=structs.replace(record.plan, name="burnin", hours=hours, best_tier=best))


def known(n: int, spread: float = 0.001) -> Baseline:
    """The A100's baseline with n reference cards around what the prior expects."""
    prior = for_model(shelf.get(A100))
    measures = {
        limit.measure: Measured(limit.unit, "test", tuple(_cards(limit.centre, n, spread)))
        for limit in prior.limits
        if not limit.measure.startswith("thermal.")
    }
    return build(shelf.get(A100), defaults.shipped(), References(A100, 1, measures))


def _cards(centre: float, n: int, spread: float) -> Iterator[Card]:
    return (Card(f"card {k}", centre * (1 + spread * (k % 3 - 1))) for k in range(n))


def at_share(record: Record, share: float, u: float = 0.1) -> Record:
    """Every rate at this share of the centre."""
    baseline = for_model(shelf.get(A100))
    for probe, names in RATES.items():
        for name in names:
            limit = baseline.find(f"{probe}.{name}")
            assert limit is not None
            record = with_value(record, probe, name, value=limit.centre * share, u=u)
    return record


def unmet(verdict: Verdict, tier: str) -> dict[str, Outcome]:
    return {one.gate: one.outcome for one in verdict.why_not_higher if one.tier == tier}


@pytest.mark.parametrize(("best", "hours", "n", "tier"), [
    ("A", 12.0, 5, "A"), ("A", 12.0, 4, "C"), ("A", 12.0, 0, "C"), ("B", 8.0, 5, "B"), ("C", 4.0, 0, "C"),
])  # fmt: skip
def test_the_tier_is_what_silicon_condition_plan_and_evidence_allow(
    healthy: Record, best: str, hours: float, n: int, tier: str
) -> None:
    verdict = judged(at_share(burnin(healthy, hours, best), 1.0), baseline=known(n))
    assert (verdict.outcome, verdict.tier, verdict.exit_code) == (VerdictOutcome.CERTIFIED, tier, ExitCode.CERTIFIED)
    assert verdict.also_qualifies == tuple(letter for letter in "ABCD" if letter > tier)
    assert {one.tier for one in verdict.why_not_higher} == {letter for letter in "ABCD" if letter < tier}


def test_every_better_tier_says_why_not(healthy: Record) -> None:
    verdict = judged(healthy)
    assert verdict.tier == "D"
    assert {one.tier for one in verdict.why_not_higher} == {"A", "B", "C"}
    assert unmet(verdict, "C") == {"length of the plan": Outcome.SKIPPED}
    for one in verdict.why_not_higher:
        assert one.reason
        assert one.limit


@pytest.mark.parametrize(("share", "tier"), [(0.98, "A"), (0.96, "C"), (0.945, "D")])
def test_a_card_that_is_slower_meets_lower_tiers(healthy: Record, share: float, tier: str) -> None:
    assert judged(at_share(burnin(healthy, 12.0, "A"), share), baseline=known(20, 0.05)).tier == tier


def test_a_card_below_the_global_limit_is_not_certified(healthy: Record) -> None:
    verdict = judged(at_share(burnin(healthy, 12.0, "A"), 0.85))
    assert (verdict.outcome, verdict.tier) == (VerdictOutcome.NOT_CERTIFIED, "G")
    assert {"performance.compute", "performance.memory"} == {one.code for one in verdict.diagnoses}


def test_a_marginal_finding_costs_a_tier_and_asks_for_repetition(healthy: Record) -> None:
    baseline = known(20)
    limit = baseline.find("memory_bandwidth.copy_per_clock")
    assert limit is not None
    long = at_share(burnin(healthy, 12.0, "A"), 1.0)
    close = with_value(long, "memory_bandwidth", "copy_per_clock", value=limit.limit * 1.0001, u=limit.limit * 0.01)
    verdict = judged(close, baseline=baseline)
    assert (verdict.outcome, verdict.tier, verdict.exit_code) == (VerdictOutcome.CERTIFIED, "B", ExitCode.RESTRICTED)
    assert unmet(verdict, "A") == {"memory_bandwidth.copy_per_clock": Outcome.MARGINAL}
    assert [close.steps[index].probe for index in verdict.undecided] == ["memory_bandwidth"]


def test_a_marginal_finding_at_the_lowest_tier_certifies_nothing(healthy: Record) -> None:
    limit = for_model(shelf.get(A100)).find("memory_bandwidth.copy_per_clock")
    assert limit is not None
    close = with_value(healthy, "memory_bandwidth", "copy_per_clock", value=limit.limit, u=limit.limit * 0.01)
    verdict = judged(close)
    assert (verdict.outcome, verdict.tier, verdict.exit_code) == (VerdictOutcome.REPORTED, None, ExitCode.RESTRICTED)
    assert verdict.undecided


def test_repeats_are_pooled_and_decide(healthy: Record) -> None:
    limit = for_model(shelf.get(A100)).find("memory_bandwidth.copy_per_clock")
    assert limit is not None
    u = limit.limit * 0.01
    close = with_value(healthy, "memory_bandwidth", "copy_per_clock", value=limit.limit * 1.012, u=u)
    first = next(step for step in close.steps if step.probe == "memory_bandwidth")
    again = tuple(structs.replace(first, index=len(close.steps) + k, repeat_of=first.index) for k in range(3))
    assert judged(close).undecided == (first.index,)
    verdict = judged(structs.replace(close, steps=(*close.steps, *again)))
    assert (verdict.outcome, verdict.tier, verdict.undecided) == (VerdictOutcome.CERTIFIED, "D", ())


def test_a_repeat_cannot_erase_wrong_words(healthy: Record) -> None:
    wrong = with_value(healthy, "gemm_exact", "fp32_wrong", value=1)
    first = next(step for step in wrong.steps if step.probe == "gemm_exact")
    clean = next(step for step in healthy.steps if step.probe == "gemm_exact")
    again = structs.replace(clean, index=len(wrong.steps), repeat_of=first.index)
    verdict = judged(structs.replace(wrong, steps=(*wrong.steps, again)))
    assert verdict.outcome is VerdictOutcome.NOT_CERTIFIED


def with_banks(record: Record, banks: tuple[int, int, int, int, int]) -> Record:
    last = record.steps[-1]
    after = structs.replace(last.after, remap_banks=banks)
    return structs.replace(record, steps=(*record.steps[:-1], structs.replace(last, after=after)))


@pytest.mark.parametrize(("banks", "tier"), [
    ((640, 0, 0, 0, 0), "A"), ((639, 1, 0, 0, 0), "A"), ((639, 0, 1, 0, 0), "C"), ((639, 0, 0, 1, 0), "D"),
    ((639, 0, 0, 0, 1), "G"),
])  # fmt: skip
def test_spare_rows_decide_the_tier(healthy: Record, banks: tuple[int, int, int, int, int], tier: str) -> None:
    card = with_banks(at_share(burnin(healthy, 12.0, "A"), 1.0), banks)
    assert judged(card, baseline=known(20)).tier == tier


def test_one_nvlink_down_costs_multi_gpu_training_only(healthy: Record) -> None:
    last = healthy.steps[-1]
    steps = (*healthy.steps[:-1], structs.replace(last, after=structs.replace(last.after, nvlinks_up=11)))
    card = at_share(burnin(structs.replace(healthy, steps=steps), 12.0, "A"), 1.0)
    verdict = judged(card, baseline=known(20))
    assert (verdict.outcome, verdict.tier) == (VerdictOutcome.CERTIFIED, "B")
    assert [one.code for one in verdict.diagnoses] == ["link.nvlink_down"]


def test_a_card_that_is_not_what_it_says_is_for_recycling(healthy: Record) -> None:
    card = structs.replace(healthy.card, cuda_cores=4352)
    verdict = judged(structs.replace(healthy, card=card))
    assert (verdict.outcome, verdict.tier) == (VerdictOutcome.NOT_CERTIFIED, "H")
    assert [one.code for one in verdict.diagnoses] == ["identity.mismatch"]
    assert verdict.baseline.name == "none"


# Policies


SHIPPED = """
name = "mine"
version = 3
[global]
coverage_percent = 97.0
ecc_corrected_per_hour = 60.0
inlet_c = 30.0
probes = ["memory_scan"]
[[tier]]
letter = "D"
title = "mine"
within = 0.1
measures = ["memory_bandwidth.read_per_clock"]
"""


def test_a_policy_of_ones_own_is_called_custom() -> None:
    own = policies.parse(SHIPPED, "mine.toml")
    assert own.source.name == "custom mine"
    assert len(own.sha256) == 64


@pytest.mark.parametrize(("old", "new", "told"), [
    ("97.0", "0.0", "coverage_percent"), ("97.0", "101.0", "coverage_percent"), ("0.1", "1.5", "within"),
    ("0.1", "-0.1", "within"), ('["memory_scan"]', "[]", "probes"),
    ('["memory_bandwidth.read_per_clock"]', "[]", "measures"), ('"D"', '"Z"', "tier"), ("inlet_c", "inlet_f", "inlet"),
    ("30.0", "-300.0", "inlet_c"), ("60.0", "-1.0", "ecc_corrected_per_hour"),
    ('["memory_scan"]', '["memory_scam"]', "memory_scam"),
    ("memory_bandwidth.read_per_clock", "zz", "zz"), ("within = 0.1", "within = 0.1\nmemory_gib = -1", "memory_gib"),
    ("within = 0.1", 'within = 0.1\ndtypes = ["fp7"]', "fp7"), ('title = "mine"', 'title = ""', "title"),
    ("version = 3", "version = -5", "version"),
    ('name = "mine"', 'name = "mine"\nunknown = 1', "unknown"), ("[global]", "[global", "mine.toml"),
])  # fmt: skip
def test_a_mistake_in_a_policy_is_named_by_file_and_field(old: str, new: str, told: str) -> None:
    with pytest.raises(PolicyError, match=r"^mine\.toml: ") as caught:
        policies.parse(SHIPPED.replace(old, new, 1), "mine.toml")
    assert told in str(caught.value)


def test_the_hash_of_a_policy_is_that_of_its_content() -> None:
    one, other = policies.parse(SHIPPED, "a"), policies.parse("# a comment\n" + SHIPPED, "b")
    assert one.sha256 == other.sha256
    assert one.sha256 != policies.parse(SHIPPED.replace("97.0", "96.0"), "a").sha256
