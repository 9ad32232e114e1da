"""Known answers: every SM asked, the wrong one named, units that a model lacks said to be missing."""

import pytest

from gpucert.reading import Absence, Absent
from tests.fakes import faulty, run_probe


def test_every_sm_answers_rightly() -> None:
    bench = run_probe("sm_answers")
    assert bench.number("sms_reached") == bench.number("sms_present") == 108
    assert bench.number("sms_wrong") == 0
    assert not bench.unset


@pytest.mark.parametrize("unit", ["int32", "fp32", "fp64", "tensor", "sfu"])
def test_a_wrong_unit_is_named_with_its_sm(unit: str) -> None:
    bench = run_probe("sm_answers", faulty(f'kind = "sm_arithmetic"\nsm = 17\nunit = "{unit}"\nevery = 1000'))
    assert bench.number("sms_wrong") == bench.number(f"{unit}_wrong") == 1
    assert bench.where["sms_wrong"] == f"SM 17 ({unit})"


def test_a_chip_that_is_wrong_everywhere_is_wrong_everywhere() -> None:
    bench = run_probe("sm_answers", faulty('kind = "wrong_every_time"\nunit = "fp32"'))
    assert bench.number("fp32_wrong") == 108


def test_a_chip_without_tensor_cores_says_so() -> None:
    bench = run_probe("sm_answers", 'model = "Tesla P100-PCIE-16GB"\n')
    value = bench.values["tensor_wrong"]
    assert isinstance(value, Absent)
    assert value.absent is Absence.NOT_SUPPORTED
