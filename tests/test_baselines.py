"""Baselines: limits follow the published shrinkage method, carry their provenance, and refuse what is not theirs."""

import math
import random
import re
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gpucert.baselines import defaults as defaults_module
from gpucert.baselines import shrink
from gpucert.baselines.baseline import DTYPES, build, for_model
from gpucert.baselines.defaults import BaselineDataError, shipped
from gpucert.baselines.limit import Baseline, Grade
from gpucert.baselines.reference import Card, Measured, References
from gpucert.baselines.shrink import Prior
from gpucert.catalogue import shelf
from gpucert.units import Unit

A100 = "NVIDIA A100-SXM4-80GB"
READ = "memory_bandwidth.read_per_clock"
DEFAULTS = Path(defaults_module.__file__).parent / "data" / "_defaults.toml"

PER_CLOCK = Prior(s0=0.01, t0=0.02, nu0=6, defective=0.10, reach=0.35)
RAW = Prior(s0=0.02, t0=0.05, nu0=6, defective=0.10, reach=0.35)
THERMAL = Prior(s0=0.08, t0=0.15, nu0=6, defective=0.10, reach=0.35)


# The method


@pytest.mark.parametrize(("prior", "percent"), [(PER_CLOCK, 7.0), (RAW, 16.9), (THERMAL, 53)])
def test_without_cards_the_limit_is_that_of_the_prior(prior: Prior, percent: float):
    found = shrink.fit((), prior)
    assert found.mu == 0
    assert -100 * shrink.limit(found, 0.01, None) == pytest.approx(percent, abs=0.5 if percent > 50 else 0.05)


def test_the_floor_holds_where_the_prior_is_wide():
    assert -100 * shrink.limit(shrink.fit((), RAW), 0.01, 0.12) == pytest.approx(12.8, abs=0.05)
    assert -100 * shrink.limit(shrink.fit((), PER_CLOCK), 0.01, 0.08) == pytest.approx(7.0, abs=0.05)


def reference_cards(draw: random.Random, prior: Prior, n: int) -> list[float]:
    """The world of the published error rates: models scatter by t0, cards by about s0, one card in ten is defective."""
    centre, spread = draw.gauss(0, prior.t0), prior.s0 * math.exp(draw.gauss(0, 0.5))
    loss = [math.log1p(-draw.uniform(0.05, 0.30)) if draw.random() < 0.1 else 0 for _ in range(n)]
    return [centre + draw.gauss(0, spread) + draw.gauss(0, 0.007) + lost for lost in loss]


@pytest.mark.parametrize(
    ("prior", "n", "percent", "within"),
    [
        (PER_CLOCK, 5, 3.5, 0.25),
        (PER_CLOCK, 20, 3.2, 0.25),
        (RAW, 5, 6.5, 0.6),
        (RAW, 20, 5.9, 0.5),
        (THERMAL, 5, 25, 2.0),
        (THERMAL, 20, 22.5, 2.0),
    ],
)
def test_limits_narrow_with_cards_as_published(prior: Prior, n: int, percent: float, within: float):
    draw = random.Random(20)
    fits = [shrink.fit(reference_cards(draw, prior, n), prior) for _ in range(250)]
    below = mean(100 * (found.mu - shrink.limit(found, 0.01, None)) for found in fits)
    assert below == pytest.approx(percent, abs=within)


values = st.lists(st.floats(-0.04, 0.04), min_size=5, max_size=30)


@given(values=st.lists(st.floats(-0.015, 0.015), min_size=10, max_size=30), loss=st.floats(0.12, 0.35))
def test_a_defective_card_among_ten_does_not_move_the_limit(values: list[float], loss: float):
    clean = shrink.fit(values, PER_CLOCK)
    dirty = shrink.fit([*values, -loss], PER_CLOCK)
    assert dirty.mu >= clean.mu - 1e-6
    assert shrink.limit(dirty, 0.01, 0.08) >= shrink.limit(clean, 0.01, 0.08) - 1e-6
    assert all(0 <= weight <= 1 for weight in dirty.weights)


def test_a_card_far_below_its_siblings_counts_for_nothing():
    found = shrink.fit([0.0, 0.004, -0.006, 0.002, -0.15], PER_CLOCK)
    assert found.weights[-1] < 1e-6
    assert min(found.weights[:-1]) > 0.9


@given(values=values)
def test_the_centre_lies_between_the_prior_and_the_cards(values: list[float]):
    found = shrink.fit(values, PER_CLOCK)
    assert min(0.0, *values) - 1e-12 <= found.mu <= max(0.0, *values) + 1e-12
    assert shrink.limit(found, 0.01, 0.08) >= found.mu + math.log(0.92) - 1e-12
    assert found.k <= PER_CLOCK.k0 + len(values)


def test_the_limit_tightens_with_each_step_of_evidence():
    below = []
    for n in (0, 1, 5, 20, 100):
        found = shrink.fit([0.01 * ((-1) ** i) for i in range(n)], PER_CLOCK)
        below.append(found.mu - shrink.limit(found, 0.01, None))
    assert below == sorted(below, reverse=True)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_reference_value_that_is_no_number_is_refused(odd: float):
    with pytest.raises(ValueError, match="not a finite number"):
        shrink.fit([0.0, odd], PER_CLOCK)


# The baseline of a model


def test_the_a100_has_its_limits_with_provenance():
    baseline = for_model(shelf.get(A100))
    assert {limit.measure for limit in baseline.limits} == {
        *(f"gemm_sustained.{dtype}_per_clock" for dtype in ("fp64", "fp32", "tf32", "fp16", "bf16", "int8")),
        *(f"memory_bandwidth.{stream}_per_clock" for stream in ("read", "write", "copy")),
        "thermal.fast",
        "thermal.slow",
        "thermal.total",
    }
    read = baseline.find(READ)
    assert read is not None
    assert read.unit == Unit.BYTE_PER_CLOCK
    assert read.centre == pytest.approx(1280 * 0.88)
    assert read.limit / read.centre == pytest.approx(0.92, rel=1e-5), "its share of the budget lies below the floor"
    assert (read.n, read.grade, read.advises) == (0, Grade.PRIOR, False)
    assert 1 - (1 - read.q) ** 8 == pytest.approx(shipped().budget), "eight rates share it, the resistances advise"
    int8 = baseline.find("gemm_sustained.int8_per_clock")
    assert int8 is not None
    assert (int8.unit, int8.advises, int8.centre) == (Unit.OP_PER_CLOCK_SM, True, pytest.approx(4096 * 0.75, rel=1e-3))
    assert "1280 B/clk" in read.source
    total = baseline.find("thermal.total")
    assert total is not None
    assert (total.better, total.unit, total.advises) == ("lower", Unit.CELSIUS_PER_WATT, True)
    assert math.log(total.limit / total.centre) == pytest.approx(0.534, abs=0.001)
    assert baseline.find("gemm_sustained.fp8_per_clock") is None


def test_a_centre_that_is_known_less_well_has_a_wider_limit():
    def depth(key: str) -> float:
        limit = for_model(shelf.get(key)).find("gemm_sustained.fp32_per_clock")
        assert limit is not None
        return 1 - limit.limit / limit.centre

    assert depth(A100) < depth("NVIDIA H100 80GB HBM3") < depth("NVIDIA GeForce RTX 3090") < 0.20


@pytest.mark.parametrize("model", shelf.every(), ids=lambda model: shelf.slug(model.key))
def test_every_model_has_a_limit_for_each_of_its_units_and_none_for_others(model):
    baseline = for_model(model)
    for dtype in DTYPES:
        offered = getattr(model.peak, dtype) is not None
        assert (baseline.find(f"gemm_sustained.{dtype}_per_clock") is not None) == offered
    for limit in baseline.limits:
        assert limit.n == 0
        assert limit.source.startswith("prior")
        worse = limit.limit < limit.centre if limit.better == "higher" else limit.limit > limit.centre
        assert worse, limit
        assert 0.5 < limit.limit / limit.centre < 2
        assert limit.centre > 0


def test_the_hash_changes_with_the_content_and_only_then():
    model = shelf.get(A100)
    assert for_model(model).sha256 == for_model(model).sha256
    assert re.fullmatch("[0-9a-f]{64}", for_model(model).sha256)
    hashes = {for_model(model).sha256 for model in shelf.every()}
    assert len(hashes) == len(shelf.every())
    assert with_cards([1140.0] * 5).sha256 != for_model(model).sha256


def with_cards(values: list[float], measure: str = READ, unit: Unit = Unit.BYTE_PER_CLOCK) -> Baseline:
    cards = tuple(Card(f"GPU-{i}", value) for i, value in enumerate(values))
    measured = Measured(unit=unit, source="bench of 2026-11", cards=cards)
    references = References(A100, 3, {measure: measured})
    return build(shelf.get(A100), shipped(), references)


def test_reference_cards_move_centre_limit_and_grade():
    limit = with_cards([1150.0, 1155.0, 1160.0, 1148.0, 1157.0]).find(READ)
    assert limit is not None
    assert 1148 < limit.centre < 1156
    assert 0.02 < 1 - limit.limit / limit.centre < 0.05
    assert (limit.n, limit.grade, limit.source) == (5, Grade.DEVELOPING, "bench of 2026-11")


def test_lower_is_better_for_thermal_resistance():
    limit = with_cards([0.10, 0.11, 0.105, 0.1, 0.3], "thermal.total", Unit.CELSIUS_PER_WATT).find("thermal.total")
    assert limit is not None
    assert 0.095 < limit.centre < 0.115
    assert limit.centre < limit.limit < 0.16


@given(measures=st.integers(1, 50), budget=st.floats(0.001, 0.5))
def test_the_shares_of_a_budget_add_up_to_it(measures: int, budget: float):
    q = structs.replace(shipped(), budget=budget).share(measures)
    assert 1 - (1 - q) ** measures == pytest.approx(budget)


def test_five_reference_cards_make_a_thermal_limit_count_and_share_the_budget():
    cards = [0.10, 0.11, 0.105, 0.1, 0.102]
    few, enough = (with_cards(cards[:n], "thermal.total", Unit.CELSIUS_PER_WATT) for n in (4, 5))
    for baseline, graded in ((few, 8), (enough, 9)):
        counting = [limit for limit in baseline.limits if not limit.advises]
        assert len(counting) == graded
        assert [limit.q for limit in counting] == [pytest.approx(shipped().share(graded), rel=1e-5)] * graded
        assert {limit.q for limit in baseline.limits if limit.advises} == {shipped().advice}


# Bad input


def refused(old: str, new: str, said: str) -> None:
    text = DEFAULTS.read_text("utf-8")
    assert old in text
    with pytest.raises(BaselineDataError, match=said) as caught:
        defaults_module.parse(text.replace(old, new, 1), "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("s0 = 0.01", "s0 = -0.01", r"at `\$\.class\[\.\.\.\]\.s0`"),
        ("s0 = 0.01", "s0 = nan", r"s0"),
        ("nu0 = 6", "nu0 = inf", r"nu0"),
        ("budget = 0.02", "budget = 1", r"budget"),
        ("advises_below = 5", "advises_below = -1", r"advises_below"),
        ("floor = 0.08", "flour = 0.08", r"unknown field `flour`"),
        ('unit = "FLOP/clk/SM"', 'unit = "FLOP"', r"Invalid enum value 'FLOP'"),
        ('better = "higher"', 'better = "more"', r"Invalid enum value 'more'"),
        ('{ class = "throughput_per_clock"', '{ class = "speed"', r"'speed', which \[class\] does not define"),
        ("[measure]", "[measures]", r"`measures?`"),
    ],
)
def test_broken_defaults_are_refused_with_file_and_field(old: str, new: str, said: str):
    refused(old, new, said)
