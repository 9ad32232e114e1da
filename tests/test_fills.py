"""What stands in the matrices: the same whole numbers in every type, and of every type all that it can hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.stress import fills, freivalds
from gpucert.stress.backend import DType
from gpucert.stress.host import HostMatrices
from tests.fakes import HEALTHY, InProcessCard

EVERY = pytest.mark.parametrize("dtype", list(fills.FORMATS))


@EVERY
def test_every_whole_number_of_an_exact_fill_is_held_exactly(dtype: DType) -> None:
    numbers = np.arange(-fills.LARGEST_INTEGER, fills.LARGEST_INTEGER + 1).astype(np.int8)
    assert np.array_equal(fills.values(dtype, fills.integer_bits(dtype, numbers)), numbers)


@given(k=st.integers(1, (1 << 22) - 1), seed=st.integers(0, 2**64 - 1))
def test_no_sum_of_an_exact_product_leaves_what_its_type_holds(k: int, seed: int) -> None:
    bound = fills.exact_bound(k)
    assert k * bound**2 < 1 << 22
    assert bound <= 64
    numbers = fills.integers(100, seed, bound)
    assert np.abs(numbers.astype(np.int64)).max() <= bound


@EVERY
@given(seed=st.integers(0, 2**64 - 1))
def test_a_full_fill_uses_every_bit_of_its_type_and_no_other(dtype: DType, seed: int) -> None:
    shape = fills.FORMATS[dtype]
    bits = fills.full_bits(dtype, 2000, seed).astype(np.uint64)
    fraction = (shape.fraction or shape.width) + shape.spare
    ever, always = np.bitwise_or.reduce(bits), np.bitwise_and.reduce(bits)
    kept = ((1 << fraction) - 1) >> shape.spare << shape.spare
    assert int(ever) & ((1 << fraction) - 1) == kept
    assert int(always) & ((1 << fraction) - 1) == 0
    numbers = fills.values(dtype, fills.full_bits(dtype, 2000, seed))
    assert np.isfinite(numbers).all()
    assert (numbers < 0).any()
    assert (numbers > 0).any()


@given(seed=st.integers(0, 2**64 - 1))
def test_tf32_is_fp32_that_needs_no_rounding(seed: int) -> None:
    bits = fills.full_bits(DType.TF32, 500, seed)
    assert bits.dtype == np.uint32
    assert not (bits & np.uint32(0x1FFF)).any()
    assert np.abs(fills.values(DType.TF32, bits)).max() < 2


def test_all_types_of_a_virtual_card_come_to_the_same_whole_numbers() -> None:
    card = InProcessCard(HEALTHY)
    backend = card.backend()
    answers = {}
    for dtype in fills.FORMATS:
        matrices = backend.matrices(dtype, 8192, 7, exact=True)
        assert isinstance(matrices, HostMatrices)
        answers[dtype] = matrices.reference.astype(np.float64)
    bound = fills.exact_bound(256)
    left, right = (fills.integers(256 * 256, fills.operand_seed(7, at), bound).reshape(256, 256) for at in (0, 1))
    for dtype, answer in answers.items():
        assert np.array_equal(answer, left.astype(np.int64) @ right.astype(np.int64)), dtype


@given(seed=st.integers(0, 2**32), row=st.integers(0, 31), column=st.integers(0, 31), bit=st.integers(0, 31))
def test_one_flipped_bit_of_an_int32_answer_is_found_in_its_row(seed: int, row: int, column: int, bit: int) -> None:
    left, right = (fills.integers(32 * 32, seed + at, 64).reshape(32, 32) for at in (0, 1))
    answer = left.astype(np.int32) @ right.astype(np.int32)
    assert not freivalds.wrong_rows(left, right, answer, seed).size
    answer.view(np.uint32)[row, column] ^= np.uint32(1 << bit)
    assert freivalds.wrong_rows(left, right, answer, seed).tolist() == [row]
