"""Counts by every method against plain numpy loops."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import retrieval
from dsh_jax.codes import pack_bits
from dsh_jax.retrieval import counting

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


@pytest.mark.parametrize(
    ("bits", "classes", "method"),
    [
        (1, 1, "all_codes"),
        (1, 1, "bit_planes"),
        (13, 33, "all_codes"),
        (16, 5, "bit_planes"),
        (32, 33, "bit_planes"),
        (65, 7, "bit_planes"),
        (128, 40, "bit_planes"),
        (129, 100, "scatter"),
        (256, 2, "auto"),
        (1024, 3, "auto"),
    ],
)
def test_counts_take_any_number_of_bits_and_classes(bits, classes, method):
    rng = np.random.default_rng(0)
    arrays = *random_rows(rng, 3, bits, classes), *random_rows(rng, 50, bits, classes)
    found = retrieval.distance_counts(*arrays, bits=bits, method=method, database_block=8)
    assert found[0].shape == (3, bits + 1)
    assert_same(found, count_by_loop(*arrays, bits=bits))


@pytest.mark.parametrize(("bits", "classes"), [(12, 6), (40, 2)])
def test_methods_agree_on_many_items(bits, classes):
    rng = np.random.default_rng(0)
    arrays = *random_rows(rng, 40, bits, classes), *random_rows(rng, 9_001, bits, classes)
    wanted = retrieval.shared_label_counts(*arrays, bits=bits, method="scatter")
    assert len(wanted[1]) >= classes - 1  # numbers of shared labels
    for method in ("auto", "bit_planes", *["all_codes"] * (bits <= 16)):
        found = retrieval.shared_label_counts(
            *arrays, bits=bits, method=method, query_block=24, database_block=1000
        )
        assert_same(found, wanted)


def test_a_last_block_of_queries_takes_the_shape_of_the_others(monkeypatch):
    shapes, add_up = [], counting._add_up

    def seen(step, shape, *rest):
        shapes.append(shape)
        return add_up(step, shape, *rest)

    monkeypatch.setattr(counting, "_add_up", seen)
    rng = np.random.default_rng(0)
    arrays = *random_rows(rng, 70), *random_rows(rng, 40)
    assert_same(count(*arrays, method="scatter", query_block=32), count_by_loop(*arrays))
    assert shapes == [(32, BITS + 1, 2)] * 3  # one compilation


@pytest.mark.parametrize("method", ["scatter", "bit_planes", "all_codes"])
def test_shared_labels_are_counted_from_each_number_on(method):
    rng = np.random.default_rng(0)
    (query, query_label), (database, label) = random_rows(rng, 5, classes=6), random_rows(rng, 60)
    label = rng.random((60, 6)) < 0.6
    arrays = query, query_label, database, label
    total, at_least = retrieval.shared_label_counts(
        *arrays, bits=BITS, shared=(1, 3, 4), method=method
    )
    distance = np.bitwise_count(query[:, None] ^ database[None]).sum(axis=-1)
    shared = query_label.astype(int) @ label.T.astype(int)
    for q in range(5):
        np.testing.assert_array_equal(total[q], np.bincount(distance[q], minlength=BITS + 1))
        for t, number in enumerate((1, 3, 4)):
            wanted = np.bincount(distance[q][shared[q] >= number], minlength=BITS + 1)
            np.testing.assert_array_equal(at_least[t, q], wanted)
    relevant = retrieval.distance_counts(*arrays, bits=BITS, shared=3, method=method)[1]
    np.testing.assert_array_equal(relevant, at_least[1])


def test_the_numbers_of_shared_labels_go_up_to_the_most_of_a_query():
    label = np.array([[1, 1, 0, 1], [0, 1, 0, 0]])
    code = np.zeros((2, 2), np.uint8)
    _, at_least = retrieval.shared_label_counts(code, label, code, label, bits=BITS)
    np.testing.assert_array_equal(at_least[:, :, 0], [[2, 2], [1, 0], [1, 0]])


@pytest.mark.parametrize("method", ["scatter", "bit_planes", "all_codes"])
def test_the_query_itself_can_be_left_out(method):
    rng = np.random.default_rng(0)
    database, label = random_rows(rng, 30)
    row = np.array([7, -1, 29, 0])
    arrays = database[row], label[row], database, label
    found = count(*arrays, self_Q=row, method=method)
    for q, r in enumerate(row):
        others = np.arange(30) != r
        one = slice(q, q + 1)
        wanted = count_by_loop(arrays[0][one], arrays[1][one], database[others], label[others])
        assert_same([x[one] for x in found], wanted)


DEVICES_PROGRAM = """
import hashlib
import jax, numpy as np
from dsh_jax import retrieval
rng = np.random.default_rng(0)
code, label = rng.integers(0, 256, (7001, 5), np.uint8), rng.random((7001, 4)) < 0.3
arrays = code[:30], label[:30], code[30:], label[30:]
counts = retrieval.shared_label_counts(*arrays, bits=40, database_block=1500)
found = retrieval.search(code[:30], code[30:], 60, method="direct")
digest = hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in (*counts, *found)))
print(jax.local_device_count(), digest.hexdigest())
"""


def test_any_number_of_devices_gives_the_same():
    digests = set()
    for devices in (1, 2, 4):
        flags = f"--xla_force_host_platform_device_count={devices}"
        done = subprocess.run(
            [sys.executable, "-c", DEVICES_PROGRAM],
            env=os.environ | {"XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            check=True,
        )
        count, digest = done.stdout.split()
        assert int(count) == devices
        digests.add(digest)
    assert len(digests) == 1


def test_a_mask_leaves_database_rows_out():
    rng = np.random.default_rng(0)
    query, (database, label) = random_rows(rng, 4), random_rows(rng, 30)
    mask = rng.random(30) < 0.5
    mask[:2] = True, False
    itself = np.array([0, 1, -1, -1])  # of these, only row 0 counts
    total, relevant = count(*query, database, label, mask_R=mask)
    assert_same((total, relevant), count(*query, database[mask], label[mask]))
    without = count(*query, database, label, mask_R=mask, self_Q=itself)[0]
    np.testing.assert_array_equal((total - without).sum(axis=1), [1, 0, 0, 0])


def test_twenty_million_rows_and_ten_are_exact():
    rng = np.random.default_rng(0)
    query, label = rng.integers(0, 256, (2, 3), np.uint8), np.ones((2, 1), np.uint8)
    for rows in (10, 20_000_003):
        database = rng.integers(0, 256, (rows, 3), np.uint8)
        item_label = (database[:, :1] > 99).astype(np.uint8)
        found = retrieval.distance_counts(query, label, database, item_label, bits=24)
        for q in range(2):
            distance = np.bitwise_count(database ^ query[q]).sum(axis=1, dtype=np.uint8)
            relevant = distance[item_label[:, 0] > 0]
            np.testing.assert_array_equal(found[0][q], np.bincount(distance, minlength=25))
            np.testing.assert_array_equal(found[1][q], np.bincount(relevant, minlength=25))


def test_a_database_may_be_a_memory_map(tmp_path):
    rng = np.random.default_rng(0)
    query, (database, label) = random_rows(rng, 4), random_rows(rng, 3000)
    np.save(tmp_path / "codes.npy", database)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    assert_same(count(*query, mapped, label), count(*query, database, label))


def test_sizes_in_the_same_blocks_share_a_compilation():
    rng = np.random.default_rng(0)
    sizes = [
        (70, 20_100),
        (128, 32_700),
        (90, 24_000),
    ]  # 4 devices: parts of 8192 rows, 128 queries
    count(*random_rows(rng, *sizes[0][:1]), *random_rows(rng, sizes[0][1]), method="bit_planes")
    for queries, items in sizes:
        arrays = *random_rows(rng, queries), *random_rows(rng, items)
        with jax.no_tracing():
            count(*arrays, method="bit_planes")


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
        (lambda: count(code, label * np.nan, code, label), "query labels have a NaN; pass 1 for"),
        (
            lambda: count(code, label, code + 128, label),
            "database has codes with bits beyond",
        ),
        (lambda: count(code, label, code, label, shared=0), "shared=.0,.; pass increasing numbers"),
        (lambda: count(code, label, code, label, mask_R=label > 0), "mask_R has shape .4, 3. and"),
        (lambda: count(code, label, code, label, mask_R=np.zeros(4, bool)), "at least one of them"),
        (lambda: count(code, label, code, label, method="fast"), "method='fast' for 12 bits; pass"),
        (lambda: count(code, label, code, label, self_Q=np.array([0])), "self_Q has shape .1,."),
        (lambda: count(code, label, code, label, self_Q=np.full(4, 4)), "maximum 4; .* below 4"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
