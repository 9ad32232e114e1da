"""Known answers: every SM asked, the wrong one named with its part, units that a model lacks said to be missing."""

from typing import get_args

import pytest

from gpucert.device.simulated.faults import Part
from gpucert.reading import Absence, Absent
from gpucert.stress.backend import ArithmeticUnit
from tests.fakes import faulty, run_probe

WRONG = {f"{unit.value}_wrong" for unit in ArithmeticUnit}


def test_every_sm_answers_rightly() -> None:
    bench = run_probe("sm_answers")
    assert bench.number("sms_reached") == bench.number("sms_present") == 108
    assert bench.number("sms_wrong") == 0
    assert not bench.unset
    assert not bench.mismatches


@pytest.mark.parametrize("part", [one for group in get_args(Part) for one in get_args(group) or (group,)])
def test_a_wrong_part_is_named_with_its_sm(part: str) -> None:
    bench = run_probe("sm_answers", faulty(f'kind = "sm_arithmetic"\nsm = 17\nunit = "{part}"\nevery = 1000'))
    units = {unit for unit in ArithmeticUnit if unit.part.value == part}
    assert {name for name in WRONG if bench.number(name)} == {f"{unit.value}_wrong" for unit in units}
    assert bench.number("sms_wrong") == 1
    assert {one.reader_sm for one in bench.mismatches} == {17}
    assert {one.phase.partition(",")[0] for one in bench.mismatches} == {unit.value for unit in units}
    assert all(one.kind == "compute" and 0 < one.again <= one.tries == 13 for one in bench.mismatches)
    assert all(one.expected != one.actual for one in bench.mismatches)


@pytest.mark.parametrize("partition", range(4))
def test_a_wrong_sub_partition_is_named(partition: int) -> None:
    bench = run_probe(
        "sm_answers", faulty(f'kind = "sm_arithmetic"\nsm = 3\nunit = "fp32"\npartition = {partition}\nevery = 50')
    )
    assert [one.partitions for one in bench.mismatches] == [(partition,)]
    assert bench.mismatches[0].offset // 32 % 4 == partition


def test_a_part_that_fails_only_while_hot_is_asked_while_hot() -> None:
    hot = 'kind = "sm_arithmetic"\nsm = 3\nunit = "shuffle"\nabove_c = {}'
    cold, warm = (run_probe("sm_answers", faulty(hot.format(above_c))) for above_c in (29, 45))
    assert [one.phase for one in cold.mismatches] == ["shuffle, round 1"]
    assert [one.phase for one in warm.mismatches] == ["shuffle, round 2"]
    assert run_probe("sm_answers", faulty(hot.format(95))).number("sms_wrong") == 0


def test_a_chip_that_is_wrong_everywhere_is_wrong_everywhere() -> None:
    bench = run_probe("sm_answers", faulty('kind = "wrong_every_time"\nunit = "fp32"'))
    assert bench.number("fp32_wrong") == 108


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("Tesla P100-PCIE-16GB", {"tensor", "tensor_bf16", "tensor_tf32", "tensor_int8", "tensor_fp64"}),
        ("Tesla V100-SXM2-32GB", {"tensor_bf16", "tensor_tf32", "tensor_int8", "tensor_fp64"}),
        ("Tesla T4", {"tensor_bf16", "tensor_tf32", "tensor_fp64"}),
        ("NVIDIA H100 80GB HBM3", set()),
    ],
)
def test_what_a_chip_cannot_multiply_is_not_supported(model: str, missing: set[str]) -> None:
    bench = run_probe("sm_answers", f'model = "{model}"\n')
    absent = {name: value for name, value in bench.values.items() if isinstance(value, Absent)}
    assert set(absent) == {f"{unit}_wrong" for unit in missing}
    assert all(value.absent is Absence.NOT_SUPPORTED for value in absent.values())
