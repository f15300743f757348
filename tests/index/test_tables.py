"""Hash tables against a search of everything."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import retrieval
from dsh_jax.index import tables


def random_codes(rows, bits, seed=0):
    """Codes with more zeros than ones, so that buckets are shared."""
    rng = np.random.default_rng(seed)
    bit_NxK = rng.integers(0, 2, (2, rows, bits)).prod(axis=0).astype(np.uint8)
    return bit_NxK, np.packbits(bit_NxK, axis=1, bitorder="little")


@settings(deadline=None, max_examples=40)
@given(
    bits=st.sampled_from([3, 8, 13, 24, 64, 70]),
    rows=st.integers(1, 60),
    radius=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_shares_a_bucket_is_what_a_loop_finds(bits, rows, radius, seed):
    bit_NxK, packed = random_codes(rows, bits, seed)
    query_K, query = random_codes(1, bits, seed + 1)
    for parts in (
        tables.drawn(bits, 3, min(bits, 5), seed=seed % 7),
        tables.disjoint(bits, min(3, bits)),
    ):
        found = tables.Tables(packed, bits, parts).near(query[0], radius)
        wanted = [
            row
            for row in range(rows)
            if any((bit_NxK[row, part] != query_K[0, part]).sum() <= radius for part in parts)
        ]
        assert found.tolist() == wanted


@pytest.mark.parametrize(("bits", "parts"), [(16, 1), (24, 2), (64, 4), (100, 7)])
def test_disjoint_parts_find_everything_within_the_radius(bits, parts):
    bit_NxK, packed = random_codes(300, bits)
    held = tables.Tables(packed, bits, tables.disjoint(bits, parts))
    for radius in range(5):
        near = held.near(packed[7], radius // parts)
        distance = (bit_NxK != bit_NxK[7]).sum(axis=1)
        assert set(np.flatnonzero(distance <= radius)) <= set(near)


def test_a_search_is_that_of_everything_where_everything_is_near():
    _, packed = random_codes(200, 12)
    held = tables.Tables(packed, 12, tables.whole(12))
    distance, row, compared = held.search(packed[3], 50, 12)
    wanted = retrieval.search(packed[3:4], packed, 50)
    np.testing.assert_array_equal(distance, wanted[0][0])
    np.testing.assert_array_equal(row, wanted[1][0])
    assert compared == 200
    assert held.probes(12) == 2**12


def test_a_search_says_how_few_it_compared():
    packed = np.array([[0], [1], [3], [255]], np.uint8)
    held = tables.Tables(packed, 8, tables.whole(8))
    distance, row, compared = held.search(packed[0], 5, 1)
    assert (distance.tolist(), row.tolist(), compared) == ([0, 1], [0, 1], 2)
    assert held.probes(1) == 9


def test_masks_by_hand():
    assert tables.masks(3, 2).tolist() == [0, 1, 2, 4, 3, 5, 6]
    every = {sum(1 << p for p in c) for n in range(5) for c in itertools.combinations(range(4), n)}
    assert set(tables.masks(4, 4).tolist()) == every


@pytest.mark.parametrize("part", [[], [0, 8], range(65)])
def test_bad_keys_are_refused(part):
    with pytest.raises(ValueError, match=r"a key has the bits .*; pass 1 to 8 of 0 to 7"):
        tables.Tables(np.zeros((2, 1), np.uint8), 8, [np.array(part, int)])


def test_too_many_buckets_are_refused():
    with pytest.raises(ValueError, match=r"radius=5 of keys of 48 bits are 1,9.* buckets"):
        tables.masks(48, 5)
