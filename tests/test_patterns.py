"""Test data: invertible, different in every bit that counts, and adding up as the coverage proof says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucert.stress import patterns
from gpucert.stress.backend import Pattern, PatternKind

WORD = st.integers(0, 2**64 - 1)
INDEX = st.integers(0, 2**38)
KINDS = st.sampled_from(list(PatternKind))


@given(WORD, INDEX, st.booleans())
def test_an_own_address_word_tells_whose_it_is(seed: int, index: int, inverted: bool) -> None:
    pattern = Pattern(PatternKind.OWN, seed, inverted)
    assert patterns.owner(pattern, patterns.word(pattern, index)) == index


@given(WORD, WORD)
def test_every_value_has_exactly_one_owner(seed: int, value: int) -> None:
    pattern = Pattern(PatternKind.OWN, seed)
    owner = patterns.owner(pattern, value)
    assert 0 <= owner < 2**64
    if owner < 2**62:
        assert patterns.word(pattern, owner) == value


@given(KINDS, st.integers(0, 8), INDEX, st.integers(1, 3000))
def test_a_word_and_its_inverse_add_up_whatever_the_data(kind: PatternKind, seed: int, first: int, count: int) -> None:
    plain = patterns.words(Pattern(kind, seed), first, count)
    inverse = patterns.words(Pattern(kind, seed, inverted=True), first, count)
    total = int(plain.sum(dtype=np.uint64)) + int(inverse.sum(dtype=np.uint64))
    assert total % 2**64 == patterns.pair_total(count)
    assert (plain ^ inverse == np.uint64(2**64 - 1)).all()


@given(KINDS, st.integers(0, 8), INDEX, st.integers(0, 500), st.integers(1, 500))
def test_a_pattern_depends_on_the_words_number_alone(
    kind: PatternKind, seed: int, first: int, skip: int, count: int
) -> None:
    pattern = Pattern(kind, seed)
    whole = patterns.words(pattern, first, skip + count)
    assert (whole[skip:] == patterns.words(pattern, first + skip, count)).all()


@pytest.mark.parametrize("number", range(patterns.BACKGROUNDS))
def test_backgrounds_alternate_in_runs_that_double(number: int) -> None:
    words = patterns.words(Pattern(PatternKind.BACKGROUND, number), 0, 16)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    run = (1, 2, 4, 16, 32, 64, 128, 256)[number]
    flips = np.flatnonzero(np.diff(bits)) + 1
    assert (np.diff(flips) == run).all()


@given(st.integers(0, 31), INDEX)
def test_a_walking_bit_is_one_place_further_in_every_half(first: int, index: int) -> None:
    halves = patterns.words(Pattern(PatternKind.WALKING, first), index, 40).astype("<u8").view("<u4")
    places = np.array([int(half).bit_length() - 1 for half in halves])
    assert (halves == 1 << places.astype(np.uint64)).all()
    assert (np.diff(places) % 32 == 1).all()
    assert places[0] == (2 * index + first) % 32


@given(st.sampled_from(list(patterns.MODULI)), st.integers(0, 19), st.integers(0, 2**56 - 1), INDEX)
def test_every_target_differs_from_its_surroundings_in_every_bit(
    kind: PatternKind, offset: int, data: int, first: int
) -> None:
    modulus = patterns.MODULI[kind]
    pattern = patterns.modulo(kind, offset % modulus, data)
    words, targets = patterns.words(pattern, first, 160), patterns.targets(pattern, first, 160)
    plain = words ^ targets
    assert len(set(plain.tolist())) == 1, "without the targets it is one word everywhere"
    bits = np.unpackbits(targets.astype("<u8").view(np.uint8))
    assert bits.mean() == pytest.approx(1 / modulus, abs=0.15 / modulus)


@given(KINDS, st.integers(0, 4), INDEX, st.integers(1, 10_000))
def test_moved_data_is_that_of_the_words_it_came_from(kind: PatternKind, seed: int, first: int, shift: int) -> None:
    moved = patterns.words(Pattern(kind, seed, shift=shift), first + shift, 50)
    assert (moved == patterns.words(Pattern(kind, seed), first, 50)).all()


@given(KINDS, st.integers(0, 19), st.booleans(), INDEX, st.integers(1, 3000))
def test_a_known_total_is_the_sum_of_the_words(
    kind: PatternKind, seed: int, inverted: bool, first: int, count: int
) -> None:
    pattern = Pattern(kind, seed % patterns.MODULI.get(kind, 8), inverted)
    known = patterns.known_total(pattern, first, count)
    assert (known is None) == (kind in {PatternKind.OWN, PatternKind.RANDOM})
    assert known in {None, int(patterns.words(pattern, first, count).sum(dtype=np.uint64))}


def test_solid_zero_is_solid() -> None:
    assert not patterns.words(Pattern(PatternKind.BACKGROUND, patterns.SOLID), 0, 100).any()
