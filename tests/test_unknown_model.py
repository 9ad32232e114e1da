"""A card whose model nobody knows: every absolute gate holds, nothing is claimed of its speed, no absence is a pass."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from gpucert.baselines import defaults
from gpucert.cli import main
from gpucert.run import plan as plans
from tests import alone
from tests.verdict.judging import judged

UNKNOWN = """
seed = 7
[identity]
name = "NVIDIA Something New"
pci_device = "2fff"
pci_subvendor = "10de"
pci_subdevice = "1234"
"""
A100, RTX_3090, V100 = "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 3090", "Tesla V100-SXM2-32GB"


def verdict_of(model: str, faults: str = "", plan: str = "quick") -> dict[str, Any]:
    """The verdict on a virtual card that is this model and answers as one that the catalogue does not have."""
    record = alone.tested(f'model = "{model}"\n{UNKNOWN}{faults}', "unknown", plans.ready(plans.load(plan)))
    verdict: dict[str, Any] = msgspec.to_builtins(judged(record))
    return verdict


@pytest.mark.parametrize("model", [A100, RTX_3090])
def test_a_healthy_one_is_ungraded_and_has_no_tier(model: str) -> None:
    verdict = verdict_of(model, plan="standard")
    assert (verdict["outcome"], verdict["tier"], verdict["exit_code"]) == ("reported", None, 10)
    assert "UNGRADED, no tier" in verdict["sentence"]
    assert (verdict["model"], verdict["also_qualifies"], verdict["diagnoses"]) == (None, (), ())
    assert verdict["baseline"]["name"] == "none"
    judged = {f"{one['probe']}.{one['measure']}": one for one in verdict["findings"]}
    for measure in defaults.shipped().measures:
        if measure in judged:
            one = judged[measure]
            assert one["outcome"] in ("skipped", "not_offered"), measure
            assert one["limit"] == "", measure
    assert any(measure in judged for measure in defaults.shipped().measures)
    assert "the model is not graded" in judged["memory_bandwidth.read_per_clock"]["reason"]
    assert judged["card.model"]["outcome"] == "skipped"
    assert "UNGRADED: device 2fff" in judged["card.model"]["reason"]
    tiers = {one["tier"] for one in verdict["why_not_higher"]}
    assert tiers == {"A", "B", "C", "D"}, "every tier says why not"


ABSOLUTE = {
    "a stuck bit": (RTX_3090, 'kind = "stuck_bit"\noffset = 40961\nbit = 3\nvalue = 1', "memory.hard"),
    "aliasing": (RTX_3090, 'kind = "alias"\nfrom = 1048576\nto = 5242880\nbytes = 65536', "memory.alias"),
    "half of its memory": (RTX_3090, 'kind = "fake_memory"\nreal_mib = 4', "identity.memory"),
    "wrong integers": (RTX_3090, 'kind = "wrong_every_time"\nunit = "int32"', "compute.repeatable"),
    "a wrong multiprocessor": (A100, 'kind = "sm_arithmetic"\nsm = 17\nunit = "fp32"\nevery = 97', "compute.sm"),
    "an uncorrectable error": (A100, 'kind = "ecc_uncorrected"\nat_s = 5', "memory.ecc_uncorrected"),
    "corrected errors": (A100, 'kind = "stuck_bit"\noffset = 40961\nbit = 3\nvalue = 1', "memory.ecc_corrected"),
    "a remap that failed": (A100, 'kind = "row_remap"\nuncorrectable = 2\nfailure = true', "memory.row_remap"),
    "retired pages": (V100, 'kind = "retired_pages"\ndbe = 40\nsbe = 25', "memory.retired_pages"),
    "a corrupt InfoROM": (A100, 'kind = "inforom"\ncorrupt = true', "identity.inforom"),
    "an Xid": (RTX_3090, 'kind = "xid"\ncode = 62\nat_s = 5', "xid.62"),
}
"""Faults that need no model to be faults: the card's own model, what is planted, and what must be diagnosed."""


@pytest.mark.parametrize("fault", ABSOLUTE)
def test_every_absolute_gate_holds_without_a_model(fault: str) -> None:
    model, planted, code = ABSOLUTE[fault]
    verdict = verdict_of(model, f"\n[[fault]]\n{planted}\n")
    assert code in {one["code"] for one in verdict["diagnoses"]}
    assert (verdict["outcome"], verdict["exit_code"]) == ("not_certified", 20)
    assert verdict["tier"] in ("G", "H")
    assert not any(one["outcome"] == "pass" and one["measure"].endswith("_per_clock") for one in verdict["findings"])


SLOW = """
[[fault]]
kind = "slow_memory"
factor = 0.5
[[fault]]
kind = "slow_compute"
factor = 0.5
"""


def test_what_is_only_slow_beside_a_model_is_neither_passed_nor_failed() -> None:
    verdict = verdict_of(RTX_3090, SLOW, plan="standard")
    assert (verdict["outcome"], verdict["tier"], verdict["exit_code"]) == ("reported", None, 10)
    assert not any(one["outcome"] == "pass" and one["measure"].endswith("_per_clock") for one in verdict["findings"])


def test_an_old_driver_leaves_nvidia_out_of_the_name_and_the_card_is_graded(tmp_path: Path) -> None:
    known = '\n[identity]\nname = "GeForce RTX 3090"\n'
    record = alone.tested(f'model = "{RTX_3090}"\nseed = 7\n{known}', "old", plans.ready(plans.load("quick")))
    verdict = judged(record)
    assert (verdict.model, verdict.outcome, verdict.diagnoses) == (RTX_3090, "reported", ())


def test_a_loss_is_one_without_a_model(tmp_path: Path) -> None:
    """Through the door, because it ends the process that tests the card."""
    scenario = tmp_path / "unknown.toml"
    scenario.write_text(f'model = "{RTX_3090}"\n{UNKNOWN}[[fault]]\nkind = "lost"\nat_s = 8\n', encoding="utf-8")
    arguments = ["certify", "--simulate", str(scenario), "--plan", "quick", "--json", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--store", str(tmp_path / "ledger.sqlite")])
    (card,) = json.loads(done.stdout)["cards"]
    assert (card["outcome"], card["diagnoses"], done.exit_code) == ("not_certified", ["device.lost"], 20)
