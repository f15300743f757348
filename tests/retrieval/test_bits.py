"""Lists of set bits against numpy, and the bit planes that counts are made of."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax.retrieval import bit_planes, bits

random_test = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)


def words(mark):
    return np.packbits(mark, bitorder="little").view("<u4")


@pytest.mark.parametrize("axis", [0, 1])
def test_pack_is_little_endian_along_the_axis(axis):
    mark = np.random.default_rng(0).random((5, 32)) < 0.5
    found = bits.pack(jnp.asarray(mark if axis else mark.T), axis)
    np.testing.assert_array_equal(found, words(mark.reshape(-1)))


@random_test
@given(seed=seeds, density=st.sampled_from([0.0, 0.02, 0.5, 1.0]), wanted=st.integers(0, 40))
def test_list_is_all_of_one_mask_and_the_first_of_the_other(seed, density, wanted):
    rng = np.random.default_rng(seed)
    everything = rng.random(320) < 0.05
    everything[np.flatnonzero(everything)[wanted:]] = False
    some = (rng.random(320) < density) & ~everything
    some_places = np.flatnonzero(some)[: wanted - everything.sum()]
    places = np.sort(np.concatenate([np.flatnonzero(everything), some_places]))
    found = bits.list_bits(words(everything), words(some), jnp.int32(len(places)), 40)
    np.testing.assert_array_equal(found[: len(places)], places)


@random_test
@given(seed=seeds)
def test_select_finds_the_bit_of_a_rank(seed):
    word = np.random.default_rng(seed).integers(1, 2**32, 20, np.uint32)
    for rank in range(32):
        found = bits.select(jnp.asarray(word), jnp.full(20, rank))
        for place, w in zip(found, word, strict=True):
            set_places = [i for i in range(32) if w >> i & 1]
            if rank < len(set_places):
                assert place == set_places[rank]


@pytest.mark.parametrize("size", [1, 32, 33, 1000])
def test_running_before_leaves_each_value_out(size):
    value = np.random.default_rng(0).integers(0, 9, size).astype(np.int32)
    before = np.concatenate([[0], value[:-1]])
    total = bits.running_before(jnp.add, jnp.asarray(value))
    np.testing.assert_array_equal(total, np.cumsum(before))
    most = bits.running_before(jnp.maximum, jnp.asarray(value))
    np.testing.assert_array_equal(most, np.maximum.accumulate(before))


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 129])
def test_planes_add_up_to_numbers(length):
    mark = np.random.default_rng(0).random((length, 64)) < 0.5
    digits = bit_planes.count_ones([jnp.asarray(words(row)) for row in mark])
    number = sum(
        np.unpackbits(np.asarray(digit).view(np.uint8), bitorder="little").astype(int) << i
        for i, digit in enumerate(digits)
    )
    np.testing.assert_array_equal(number, mark.sum(axis=0))
    where = jnp.full(2, 0xFFFFFFFF, jnp.uint32)
    for value, plane in enumerate(bit_planes.equal_to(digits, range(length + 1), where)):
        np.testing.assert_array_equal(plane, words(number == value))
    for value in (1, 2, 5, length, length + 1):
        np.testing.assert_array_equal(bit_planes.at_least(digits, value), words(number >= value))


def test_planes_are_the_transposed_codes():
    rng = np.random.default_rng(0)
    word = rng.integers(0, 2**32, (96, 2), np.uint32)
    plane = bit_planes.bit_planes(jnp.asarray(word), 50)
    for k in (0, 31, 32, 49):
        np.testing.assert_array_equal(plane[k], words((word[:, k // 32] >> (k % 32) & 1) > 0))
