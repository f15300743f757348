"""Counts and search against plain numpy loops and numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import retrieval
from dsh_jax.codes import pack_bits

BITS = 12
seeds = st.integers(0, 2**32 - 1)
random_test = settings(deadline=None, max_examples=25)


def random_rows(rng, rows, bits=BITS, classes=3):
    """Codes of few distinct values, so that ties abound, and multi-hot labels, some empty."""
    bit = rng.integers(0, 2, (rows, bits)) & rng.integers(0, 2, (rows, bits))
    label = rng.random((rows, classes)) < 0.4
    return np.asarray(pack_bits(bit)), label.astype(np.uint8)


def count_by_loop(query, query_label, database, database_label, bits=BITS):
    total = np.zeros((len(query), bits + 1), int)
    relevant = np.zeros_like(total)
    for q, r in np.ndindex(len(query), len(database)):
        distance = np.bitwise_count(query[q] ^ database[r]).sum()
        total[q, distance] += 1
        relevant[q, distance] += bool((query_label[q] * database_label[r]).any())
    return total, relevant


def count(*arrays, **blocks):
    return retrieval.distance_counts(*arrays, bits=BITS, **blocks)


def assert_same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


# Counts.


@random_test
@given(
    seed=seeds,
    queries=st.integers(1, 9),
    items=st.integers(1, 17),
    query_block=st.sampled_from([1, 3, 4, 256]),
    database_block=st.sampled_from([1, 5, 8, 8192]),
)
def test_counts_match_a_loop_for_any_size_and_blocks(
    seed, queries, items, query_block, database_block
):
    rng = np.random.default_rng(seed)
    arrays = *random_rows(rng, queries), *random_rows(rng, items)
    found = count(*arrays, query_block=query_block, database_block=database_block)
    assert found[0].dtype == found[1].dtype == jnp.int32
    assert_same(found, count_by_loop(*arrays))


@random_test
@given(seed=seeds, cut=st.sampled_from([1, 8, 13, 19]))
def test_counts_of_two_parts_of_the_database_add_up(seed, cut):
    rng = np.random.default_rng(seed)
    query, (database, label) = random_rows(rng, 4), random_rows(rng, 20)
    parts = [count(*query, database[s], label[s]) for s in (slice(cut), slice(cut, None))]
    added = jax.tree.map(jnp.add, *parts)
    assert_same(added, count(*query, database, label))


@random_test
@given(seed=seeds)
def test_counts_ignore_database_order_and_follow_query_order(seed):
    rng = np.random.default_rng(seed)
    query, database = random_rows(rng, 4), random_rows(rng, 20)
    q, r = rng.permutation(4), rng.permutation(20)
    total, relevant = count(*query, *database)
    moved = count(*(x[q] for x in query), *(x[r] for x in database))
    assert_same(moved, (total[q], relevant[q]))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float16, np.float32])
def test_counts_take_labels_of_any_type(dtype):
    rng = np.random.default_rng(0)
    (query, query_label), (database, label) = random_rows(rng, 3), random_rows(rng, 20)
    found = count(query, query_label.astype(dtype), database, label.astype(dtype))
    assert_same(found, count_by_loop(query, query_label, database, label))


@pytest.mark.parametrize(("bits", "classes"), [(1, 1), (32, 33), (129, 100)])
def test_counts_take_any_number_of_bits_and_classes(bits, classes):
    rng = np.random.default_rng(0)
    arrays = *random_rows(rng, 3, bits, classes), *random_rows(rng, 20, bits, classes)
    found = retrieval.distance_counts(*arrays, bits=bits, database_block=8)
    assert found[0].shape == (3, bits + 1)
    assert_same(found, count_by_loop(*arrays, bits=bits))


def test_counts_work_inside_jit():
    rng = np.random.default_rng(0)
    arrays = *random_rows(rng, 3), *random_rows(rng, 20)
    assert_same(jax.jit(count)(*arrays), count(*arrays))


# Search.


@random_test
@given(
    seed=seeds,
    queries=st.sampled_from([1, 2, 5]),
    k=st.sampled_from([1, 7, 30]),
    query_block=st.sampled_from([1, 2, 16]),
)
def test_search_is_a_stable_sort(seed, queries, k, query_block):
    rng = np.random.default_rng(seed)
    query, database = random_rows(rng, queries)[0], random_rows(rng, 30)[0]
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=-1)
    wanted = np.argsort(distance, axis=1, kind="stable")[:, :k]
    found = retrieval.search(query, database, k, query_block=query_block)
    assert found[0].dtype == found[1].dtype == jnp.int32
    assert_same(found, (np.take_along_axis(distance, wanted, axis=1), wanted))


def test_search_breaks_ties_by_the_lower_index_in_a_large_database():
    database = np.zeros((60_000, 6), np.uint8)
    database[50_000] = 1
    distance, index = retrieval.search(np.full((1, 6), 1, np.uint8), database, 1000)
    np.testing.assert_array_equal(index[0], [50_000, *range(999)])
    np.testing.assert_array_equal(distance[0], [0] + [6] * 999)


# Errors.

code = np.zeros((4, 2), np.uint8)
label = np.ones((4, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: count(code[:, :1], label, code, label), "query has 1 bytes a row, but bits=12"),
        (lambda: count(code, label, code[:0], label[:0]), r"database has shape \(0, 2\)"),
        (lambda: count(code * 1.0, label, code, label), "query .* type float64; wanted .* uint8"),
        (lambda: count(code, label, code, label[:3]), r"database labels .*; wanted \(4, classes\)"),
        (lambda: count(code, label[:, 0], code, label), r"query labels have shape \(4,\)"),
        (
            lambda: count(code, label, code, label[:, :2]),
            "query labels have 3 classes, database labels 2; encode both over the same classes",
        ),
        (lambda: count(code, label, code, label, query_block=0), "query_block=0 .* at least 1"),
        (lambda: retrieval.search(code, code, 5), "k=5, but the database has 4 items; pass k from"),
        (lambda: retrieval.search(code, code, 0), "pass k from 1 to 4"),
        (lambda: retrieval.search(code, code[:, :1], 1), "query has 2 bytes a row, database 1;"),
        (lambda: retrieval.search(code > 0, code, 1), "query .* type bool; wanted .* uint8"),
        (lambda: retrieval.search(code, code, 1, query_block=0), "query_block=0; pass at least 1"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
