"""Rates per second: no limit below five reference cards, the same rule with them, and clocks to blame, no unit."""

import pytest
from msgspec import structs

from gpucert.baselines import defaults
from gpucert.baselines.baseline import build, centres
from gpucert.baselines.limit import Baseline
from gpucert.baselines.reference import Card, Measured, References
from gpucert.catalogue import shelf
from gpucert.outcome import Outcome, VerdictOutcome
from gpucert.reading import Absence, Absent
from gpucert.record import Record
from gpucert.verdict.judge import PER_CLOCK
from gpucert.verdict.verdict import Finding, Verdict
from tests.verdict.judging import codes, judged, with_value

MODEL = shelf.get("NVIDIA A100-SXM4-80GB")
DEFAULTS = defaults.shipped()


def known(record: Record, n: int) -> Baseline:
    """The baseline of n cards that measured what this record did, give or take half a percent."""
    measures = {}
    for step in record.steps:
        for one in step.measurements:
            rule = DEFAULTS.measures.get(f"{step.probe}.{one.name}")
            if rule is not None and not isinstance(one.value, Absent):
                cards = tuple(Card(f"card {k}", float(one.value) * (1 + 0.005 * (k % 3 - 1))) for k in range(n))
                measures[f"{step.probe}.{one.name}"] = Measured(rule.unit, "test", cards)
    return build(MODEL, DEFAULTS, References(MODEL.key, 1, measures))


def slower(record: Record, share: float, *probes: str) -> Record:
    """Rates per second at this share, those per clock as they were: the clocks are lower."""
    for name in PER_CLOCK:
        probe, _, measure = name.partition(".")
        if probe in probes:
            value = next(step.number(measure) for step in record.steps if step.probe == probe)
            assert value is not None
            record = with_value(record, probe, measure, value=value * share)
    return record


def raw(verdict: Verdict) -> list[Finding]:
    return [one for one in verdict.findings if f"{one.probe}.{one.measure}" in PER_CLOCK]


def test_every_rate_per_second_has_its_twin_per_clock() -> None:
    of_class = {name for name, rule in DEFAULTS.measures.items() if rule.of == "throughput_raw"}
    assert set(PER_CLOCK) == of_class
    assert {f"{name.partition('.')[0]}.{twin}" for name, twin in PER_CLOCK.items()} <= set(DEFAULTS.measures)
    assert of_class < {one.measure for one in centres(MODEL)}


@pytest.mark.parametrize(("n", "per_clock", "raw"), [(0, 8, 0), (4, 8, 0), (5, 9, 9)])
def test_limits_begin_with_the_fifth_card_and_share_the_budget(
    healthy: Record, n: int, per_clock: int, raw: int
) -> None:
    """INT8 per clock advises before the fifth card."""
    baseline = known(healthy, n)
    costs, limits = [one for one in baseline.limits if not one.advises], per_clock + raw
    assert len(costs) == limits
    assert sum(one.measure in PER_CLOCK for one in costs) == raw
    assert [one.q for one in costs] == [pytest.approx(DEFAULTS.share(limits), rel=1e-5)] * limits
    assert all(0.88 <= one.limit / one.centre < 0.98 for one in costs if one.measure in PER_CLOCK)


def test_without_enough_cards_nothing_is_said_of_them(healthy: Record) -> None:
    verdict = judged(slower(healthy, 0.5, "gemm_sustained", "memory_bandwidth"), baseline=known(healthy, 4))
    assert raw(verdict) == []
    assert (verdict.outcome, verdict.tier) == (VerdictOutcome.CERTIFIED, "D")
    assert not any("rate" in one.what for one in verdict.not_tested)


def test_a_card_like_the_others_passes(healthy: Record) -> None:
    verdict = judged(healthy, baseline=known(healthy, 5))
    assert {one.outcome for one in raw(verdict)} == {Outcome.PASS}
    assert len(raw(verdict)) == 9
    assert verdict.outcome is VerdictOutcome.CERTIFIED


@pytest.mark.parametrize("probe", ["gemm_sustained", "memory_bandwidth"])
def test_low_clocks_fail_the_card_and_are_named(healthy: Record, probe: str) -> None:
    verdict = judged(slower(healthy, 0.8, probe), baseline=known(healthy, 5))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.NOT_CERTIFIED, {"performance.clocks"})
    assert {one.probe for one in raw(verdict) if one.outcome is Outcome.FAIL} == {probe}


def test_a_slow_unit_is_no_matter_of_clocks(healthy: Record) -> None:
    slow = healthy
    for measure in ("fp16_rate", "fp16_per_clock"):
        value = next(step.number(measure) for step in healthy.steps if step.probe == "gemm_sustained")
        slow = with_value(slow, "gemm_sustained", measure, value=0.8 * (value or 0))
    verdict = judged(slow, baseline=known(healthy, 5))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.NOT_CERTIFIED, {"performance.compute"})


def test_without_a_clock_nobody_knows_what_made_it_slow(healthy: Record) -> None:
    dark = slower(healthy, 0.8, "memory_bandwidth")
    for stream in ("read", "write", "copy"):
        dark = with_value(dark, "memory_bandwidth", f"{stream}_per_clock", value=Absent(Absence.NOT_SUPPORTED))
    verdict = judged(dark, baseline=known(healthy, 5))
    assert verdict.outcome is VerdictOutcome.NOT_CERTIFIED
    assert "performance.clocks" not in codes(verdict)


@pytest.mark.parametrize(("change", "code"), [
    ({"settings": {"power_limit_w": 250.0}}, "power.limit"),
    ({"inlet_c": 45.0}, "station.inlet"),
])  # fmt: skip
def test_clocks_that_the_station_lowers_leave_the_run_open(
    healthy: Record, change: dict[str, object], code: str
) -> None:
    held = slower(healthy, 0.8, "gemm_sustained")
    settings = change.get("settings")
    if isinstance(settings, dict):
        held = structs.replace(held, settings=structs.replace(held.settings, **settings))
    else:
        held = structs.replace(held, **change)
    verdict = judged(held, baseline=known(healthy, 5))
    assert (verdict.outcome, codes(verdict)) == (VerdictOutcome.INCOMPLETE, {code})
    assert all(one.subject == "station" for one in raw(verdict) if one.outcome is Outcome.FAIL)
