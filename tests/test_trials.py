"""Error rates of the decision, on made-up cards: within what is promised, and better than what others do."""

import json

import pytest
from click.testing import CliRunner

from gpucert.baselines import defaults
from gpucert.cli import main
from gpucert.trials.decision import Rates, World, run, thermal, throughput
from gpucert.trials.rate import Rate
from gpucert.trials.rules import OTHERS, OURS, Rule
from gpucert.trials.tables import ADVISING, RESISTANCES, THROUGHPUTS
from gpucert.trials.tables import rates as rates_of_a_card

DEFAULTS = defaults.shipped()
PER_CLOCK, PER_SECOND, RESISTANCE = throughput(DEFAULTS), throughput(DEFAULTS, "throughput_raw"), thermal(DEFAULTS)
EVERY = THROUGHPUTS + ADVISING
WHOLE = [*rates_of_a_card(PER_CLOCK, EVERY, PER_SECOND, EVERY), *[RESISTANCE] * RESISTANCES]
SHARED = DEFAULTS.share(len(WHOLE))
BY_NAME = {rule.name: rule for rule in OTHERS}


def world(references: int, defective: float = 0.0, models: int = 100) -> World:
    return World(models=models, cards=40, references=references, defective=defective, seed=7)


def rates(rule: Rule, references: int, defective: float = 0.0, models: int = 100) -> Rates:
    return run(rule, [PER_CLOCK], SHARED, world(references, defective, models))


@pytest.mark.parametrize(("references", "defective"), [(5, 0.0), (20, 0.1), (100, 0.1)])
def test_healthy_cards_pass_and_worn_ones_do_not(references: int, defective: float) -> None:
    """Promised: at most 1.5 % of healthy cards are rejected, at most 1 % of cards that are 12 % down pass."""
    ours = rates(OURS, references, defective)
    assert ours.rejected.share <= 0.015
    assert ours.passed["−12 %"].share <= 0.01


def test_without_reference_cards_a_worn_card_still_does_not_pass() -> None:
    ours = rates(OURS, 0)
    assert ours.rejected.share <= 0.015
    assert ours.passed["−12 %"].share <= 0.03


@pytest.mark.parametrize(("references", "promised"), [(20, DEFAULTS.budget), (5, 2.5 * DEFAULTS.budget)])
def test_the_measures_of_a_card_share_one_budget(references: int, promised: float) -> None:
    """Five cards tell too little of a model whose cards scatter more than others': there the budget is overdrawn."""
    shared = run(OURS, WHOLE, SHARED, world(references))
    greedy = run(OURS, WHOLE, DEFAULTS.budget, world(references))
    assert shared.rejected.bounds()[0] <= promised < greedy.rejected.share
    assert shared.passed["−12 %"].share <= 0.01


def test_a_cooler_that_is_twice_as_bad_does_not_pass() -> None:
    ours = run(OURS, [RESISTANCE], SHARED, world(20, 0.1))
    assert ours.rejected.share <= 0.01
    assert ours.passed["+100 %"].share <= 0.03


def test_defective_references_spoil_the_rules_of_others() -> None:
    ours = rates(OURS, 20, 0.1)
    for name in ("mean − 3 s", "tolerance 95/95", "mean − 5 %", "median − 3.5 MAD", "specification − 10 %"):
        theirs = rates(BY_NAME[name], 20, 0.1)
        assert theirs.passed["−5 %"].share > 1.9 * ours.passed["−5 %"].share, name


def test_the_same_seed_is_the_same_world() -> None:
    assert rates(OURS, 5, models=10) == rates(OURS, 5, models=10)


def test_bounds_are_exact() -> None:
    """Clopper and Pearson: 0 of n ends at 1 − (α/2)^(1/n); 8 of 10 spans 0.444 to 0.975."""
    assert Rate(0, 100).bounds() == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    assert Rate(8, 10).bounds() == (pytest.approx(0.4439, abs=1e-4), pytest.approx(0.9748, abs=1e-4))


def test_the_command_prints_the_rates_of_every_rule() -> None:
    done = CliRunner().invoke(main, ["bench", "decision", "--models", "2", "--cards", "5"])
    assert done.exit_code == 0
    for words in ("no reference cards", "100 reference cards, one in ten defective", "SuperBench", OURS.name, "+50 %"):
        assert words in done.output
    told = json.loads(CliRunner().invoke(main, ["bench", "decision", "--models", "2", "--json"]).output)["tables"]
    single = 2 + 6 * len((OURS, *OTHERS))
    assert [len(table["rates"]) for table in told] == [single, single, 7]
