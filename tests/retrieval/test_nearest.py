"""Search by every method against a stable sort."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_codes import random_codes

from dsh_jax import retrieval
from dsh_jax.retrieval import few_queries, group_search, nearest


def assert_is_a_stable_sort(found, query, database, k):
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=-1, dtype=np.int32)
    wanted = np.argsort(distance, axis=1, kind="stable")[:, :k]
    assert found[0].dtype == found[1].dtype == np.int32
    np.testing.assert_array_equal(found[1], wanted)
    np.testing.assert_array_equal(found[0], np.take_along_axis(distance, wanted, axis=1))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.sampled_from([1, 5]),
    k=st.sampled_from([1, 30]),
    query_block=st.sampled_from([2, 64]),
    method=st.sampled_from(["auto", "host", "direct", "groups"]),
)
def test_search_is_a_stable_sort(seed, queries, k, query_block, method):
    rng = np.random.default_rng(seed)
    query, database = random_codes(rng, queries, 2), random_codes(rng, 30, 2)
    found = retrieval.search(query, database, k, query_block=query_block, method=method)
    assert_is_a_stable_sort(found, query, database, k)


@pytest.mark.parametrize(
    ("items", "width", "k"),
    [
        (1, 1, 1),
        (40_000, 1, 300),  # 256 codes: one distance fills the k
        (70_001, 8, 24),
        (70_001, 8, 25),
        (70_001, 16, 2000),
        (5000, 3, 5000),  # more than a device has
    ],
)
@pytest.mark.parametrize("method", ["groups", "host"])
def test_groups_find_the_same(method, items, width, k):
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 3, width), random_codes(rng, items, width)
    found = retrieval.search(query, database, k, method=method)
    assert_is_a_stable_sort(found, query, database, k)


@pytest.mark.parametrize("width", [1, 17, 128])
@pytest.mark.parametrize("queries", [3, 20])  # on the host and on the devices
def test_any_width_takes_the_right_path(queries, width):
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, queries, width), random_codes(rng, 20_000, width)
    assert_is_a_stable_sort(retrieval.search(query, database, 50), query, database, 50)


def test_a_few_queries_find_whatever_ties():
    # One distance for all, on the host: the limit keeps every item, the lowest rows are found.
    query, database = np.zeros((1, 40), np.uint8), np.full((1000, 40), 255, np.uint8)
    distance, index = retrieval.search(query, database, 40)
    np.testing.assert_array_equal(index[0], np.arange(40))
    assert (distance == 320).all()


@pytest.mark.parametrize("k", [40, 3000, 19_999, 20_000])
@pytest.mark.parametrize("kind", ["random", "sorted", "only the sample is near", "two distances"])
def test_a_large_k_is_found_on_the_host(kind, k):
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 20, 6), random_codes(rng, 20_000, 6)
    if kind == "sorted":
        order = np.unpackbits(database ^ query[0], axis=1).sum(axis=1).argsort(kind="stable")
        database = database[order]
    elif kind == "only the sample is near":
        database[:], query[:] = 255, 0
        database[::20] = 0
    elif kind == "two distances":
        database[:] = 0
        database[::3] = 1
    assert few_queries.is_faster(20, 20_000, k, "cpu", 1) == (k >= 20_000 / few_queries.LARGE)
    found = retrieval.search(query, database, k, method="host")
    assert_is_a_stable_sort(found, query, database, k)


def test_a_database_larger_than_the_devices_hold_goes_in_parts(monkeypatch):
    monkeypatch.setattr(nearest, "SHARD", 700)
    rng = np.random.default_rng(0)
    query, database = random_codes(rng, 3, 2), random_codes(rng, 10_000, 2)
    found = retrieval.search(query, database, 900, method="direct")
    assert_is_a_stable_sort(found, query, database, 900)


def test_a_far_item_is_found_behind_its_padding():
    # The last group is filled up: its rows must not come in place of the real ones.
    query, database = (
        np.zeros((1, 8), np.uint8),
        np.full((group_search.ITEMS + 1, 8), 255, np.uint8),
    )
    for method in ("host", "direct", "groups"):
        distance, index = retrieval.search(query, database, len(database), method=method)
        np.testing.assert_array_equal(index[0], np.arange(len(database)))
        assert (distance == 64).all()


def test_ties_go_to_the_lower_index_in_a_large_database():
    database = np.zeros((60_000, 6), np.uint8)
    database[50_000] = 1
    for method in ("direct", "groups"):
        query = np.ones((1, 6), np.uint8)
        found = retrieval.search(query, database, 1000, method=method)
        assert_is_a_stable_sort(found, query, database, 1000)


def test_sizes_in_the_same_blocks_share_a_compilation():
    rng = np.random.default_rng(0)
    for k in (5, 50):
        retrieval.search(random_codes(rng, 33, 4), random_codes(rng, 70_000, 4), k)
        query, database = random_codes(rng, 64, 4), random_codes(rng, 75_000, 4)
        with jax.no_tracing():
            retrieval.search(query, database, k)


def test_a_part_that_holds_nothing_finds_nothing():
    words = few_queries.arrange(np.zeros((0, 3), np.uint8))
    distance, index = few_queries.nearest(np.zeros((2, 3), np.uint8), words, 0)
    assert distance.shape == index.shape == (2, 0)


# Errors.

code = np.zeros((4, 2), np.uint8)
wide = np.zeros((4, 17), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: retrieval.search(code, code, 5), "k=5, but the database has 4 items; pass k from"),
        (lambda: retrieval.search(code, code, 0), "pass k from 1 to 4"),
        (lambda: retrieval.search(code, code, 1.5), "k=1.5, but .* pass k from 1 to 4"),
        (lambda: retrieval.search(code, code[:, :1], 1), "query has 2 bytes a row, database 1;"),
        (lambda: retrieval.search(code > 0, code, 1), "query .* type bool; wanted .* uint8"),
        (lambda: retrieval.search(code, code, 1, query_block=0), "query_block=0; pass at least 1"),
        (lambda: retrieval.search(code, code, 1, method="fast"), "method='fast' for 16 bits"),
        (lambda: retrieval.search(wide, wide, 1, method="groups"), "up to 128 bits, .groups."),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
