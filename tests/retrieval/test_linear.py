"""Rankings by weighted Hamming and asymmetric distances against numpy in float64."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from dsh_jax import metrics, retrieval
from dsh_jax.codes import pack_bits
from dsh_jax.metrics import graded
from dsh_jax.retrieval import (
    asymmetric,
    linear,
    linear_counts,
    linear_metric,
    linear_search,
    weighted_hamming,
)

pytestmark = pytest.mark.optimized

BITS = 12
seeds = st.integers(0, 2**32 - 1)
random_test = settings(deadline=None, max_examples=25)


def random_rows(rng, rows, bits=BITS, classes=3):
    """Bits of few distinct codes, so that ties abound, and multi-hot labels, some empty."""
    bit = rng.integers(0, 2, (rows, bits)) & rng.integers(0, 2, (rows, bits))
    return bit, (rng.random((rows, classes)) < 0.4).astype(np.uint8)


def pack(bit):
    return np.asarray(pack_bits(bit))


def groups_by_sort(distance, query_label, label, shared=1):
    """Counts by exactly equal distance."""
    total = np.zeros(distance.shape, int)
    relevant = np.zeros_like(total)
    is_relevant = query_label.astype(int) @ label.T.astype(int) >= shared
    for q, row in enumerate(distance):
        for g, value in enumerate(np.unique(row)):
            total[q, g] = (row == value).sum()
            relevant[q, g] = is_relevant[q][row == value].sum()
    return total, relevant


def assert_same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


# Distances.


def test_distances_by_hand():
    query, database = np.array([[1, 0, 1]]), pack(np.array([[1, 0, 1], [0, 0, 1], [1, 1, 0]]))
    weighted = weighted_hamming(pack(query), np.array([0.5, 2, 4]), bits=3)
    assert_same(weighted, ([4.5], [[-0.5, 2, -4]]))
    assert_same(linear_search(*weighted, database, 3, bits=3), ([[0, 0.5, 6]], [[0, 1, 2]]))
    product = asymmetric(np.array([[0.5, -2, -1]]))
    assert_same(product, ([-2.5], [[-1, 4, 2]]))
    # -(0.5 + 2 - 1), -(-0.5 + 2 - 1), -(0.5 - 2 + 1)
    assert_same(linear_search(*product, database, 3, bits=3), ([[-1.5, -0.5, 0.5]], [[0, 1, 2]]))


@random_test
@given(seed=seeds)
def test_a_code_is_at_distance_0_from_itself_and_nowhere_below(seed):
    rng = np.random.default_rng(seed)
    bit = rng.integers(0, 2, (20, BITS))
    weight = rng.random(BITS) ** 4
    weighted = weighted_hamming(pack(bit), weight, bits=BITS)
    distance, _ = linear_search(*weighted, pack(bit), 20, bits=BITS)
    assert (distance[:, 0] == 0).all()
    wanted = np.sort((bit[:, None] != bit[None]) @ weight, axis=1)
    np.testing.assert_allclose(distance, wanted, rtol=0, atol=BITS * 2.0**-23 * weight.sum())


# Counts.


@pytest.mark.parametrize("scale", [1, 0.1, 3e-30, 7e30])
@pytest.mark.parametrize("bits", [BITS, 48, 100])
def test_equal_weights_give_the_hamming_counts(bits, scale):
    rng = np.random.default_rng(0)
    (query, query_label), (database, label) = random_rows(rng, 5, bits), random_rows(rng, 700, bits)
    arrays = query_label, pack(database), label
    weighted = weighted_hamming(pack(query), np.full(bits, scale), bits=bits)
    total, relevant = linear_counts(*weighted, *arrays, bits=bits)
    hamming = retrieval.distance_counts(pack(query), *arrays, bits=bits)
    # Only the empty distances are gone.
    order = np.argsort(hamming[0] == 0, axis=1, kind="stable")
    wanted = [np.take_along_axis(x, order, axis=1) for x in hamming]
    assert total.dtype == relevant.dtype == np.int32
    assert total.shape == (5, 700)
    assert_same((total[:, : bits + 1], relevant[:, : bits + 1]), wanted)
    assert total[:, bits + 1 :].sum() == relevant[:, bits + 1 :].sum() == 0
    found = metrics.average_precision(total[:, : bits + 1], relevant[:, : bits + 1])
    np.testing.assert_array_equal(found, metrics.average_precision(*wanted))


def test_an_asymmetric_query_of_signs_ranks_like_its_code():
    rng = np.random.default_rng(0)
    (query, query_label), (database, label) = random_rows(rng, 5), random_rows(rng, 700)
    arrays = query_label, pack(database), label
    found = linear_counts(*asymmetric(0.3 * (2 * query - 1)), *arrays, bits=BITS)
    weighted = weighted_hamming(pack(query), np.ones(BITS), bits=BITS)
    assert_same(found, linear_counts(*weighted, *arrays, bits=BITS))


@random_test
@given(
    seed=seeds,
    queries=st.integers(1, 4),
    items=st.sampled_from([1, 7, 17]),
    database_block=st.sampled_from([1, 5, 17, 8192]),
)
def test_counts_match_float64_where_sums_tie(seed, queries, items, database_block):
    rng = np.random.default_rng(seed)
    (query, query_label), (database, label) = random_rows(rng, queries), random_rows(rng, items)
    # float64 adds these exactly; float32 would not add the real ones.
    a, b = rng.uniform(1, 2, 2).astype(np.float32)
    real = rng.choice([a, b, -a], (queries, BITS))
    weight = rng.integers(0, 5, BITS) / 8
    pairs = (
        (weighted_hamming(pack(query), weight, bits=BITS), (query[:, None] != database) @ weight),
        (asymmetric(real), -real.astype(float) @ (2 * database - 1).T),
    )
    for offset_and_weight, distance in pairs:
        found = linear_counts(
            *offset_and_weight,
            query_label,
            pack(database),
            label,
            bits=BITS,
            database_block=database_block,
        )
        assert_same(found, groups_by_sort(distance, query_label, label))


@random_test
@given(seed=seeds, exponent=st.sampled_from([-90, -3, 1, 50]))
def test_neither_database_order_nor_blocks_nor_a_power_of_two_change_the_counts(seed, exponent):
    rng = np.random.default_rng(seed)
    (_, query_label), (database, label) = random_rows(rng, 4), random_rows(rng, 600)
    offset, weight = asymmetric(rng.normal(size=(4, BITS)))
    wanted = linear_counts(offset, weight, query_label, pack(database), label, bits=BITS)
    r = rng.permutation(600)
    scaled = np.ldexp(offset, exponent), np.ldexp(weight, exponent)
    moved = query_label, pack(database[r]), label[r]
    assert_same(linear_counts(*scaled, *moved, bits=BITS, database_block=64), wanted)


def test_random_weights_tie_equal_codes_only():
    rng = np.random.default_rng(0)
    (_, query_label), (database, label) = random_rows(rng, 1), random_rows(rng, 600)
    linear = asymmetric(rng.normal(size=(1, BITS)))
    total, _ = linear_counts(*linear, query_label, pack(database), label, bits=BITS)
    sizes = np.unique(database, axis=0, return_counts=True)[1]
    np.testing.assert_array_equal(np.sort(total[0])[-len(sizes) :], np.sort(sizes))
    assert total.sum() == 600


def test_average_precision_is_that_of_float64():
    rng = np.random.default_rng(0)
    bits, items = 48, 20_000
    label = rng.integers(0, 2, (items, 1))
    bit = (rng.random((items, bits)) < 0.45 + 0.1 * label).astype(int)
    real = rng.normal(1, 1, (6, bits)).astype(np.float32)
    found = linear_metric(
        metrics.average_precision, *asymmetric(real), label[:6] | 1, pack(bit), label, bits=bits
    )
    score = real.astype(np.float64) @ (2 * bit - 1).T
    wanted = [average_precision_score(label[:, 0], row) for row in score]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    weight = rng.random(bits)
    query = (rng.random((6, bits)) < 0.5).astype(int)
    weighted = weighted_hamming(pack(query), weight, bits=bits)
    found = linear_metric(
        metrics.average_precision, *weighted, label[:6] | 1, pack(bit), label, bits=bits
    )
    score = -(np.abs(query[:, None] - bit[None]) @ weight)
    wanted = [average_precision_score(label[:, 0], row) for row in score]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("most", [1, 50, 2**30])
def test_accelerators_group_sorted_items_as_a_cpu_does(most):
    rng = np.random.default_rng(most)
    key_QxP = rng.integers(-most, most, (5, 700)).astype(np.int32)
    key_QxP[:, 640:] = np.iinfo(np.int32).max  # padding
    wanted = linear._groups_on_cpu(np.sort(key_QxP, axis=1)[:, :640])
    found = linear._groups_on_accelerators(key_QxP, 640)
    assert_same([count[:, :640] for count in found], wanted)


def test_labels_shared_in_several_numbers_serve_the_graded_metrics():
    rng = np.random.default_rng(0)
    query, query_label = random_rows(rng, 5, classes=6)
    database, label = random_rows(rng, 300, classes=6)
    arrays = query_label, pack(database), label
    weighted = weighted_hamming(pack(query), np.ones(BITS), bits=BITS)
    hamming = retrieval.shared_label_counts(pack(query), *arrays, bits=BITS)
    numbers = tuple(range(1, len(hamming[1]) + 1))
    distance = (query[:, None] != database).sum(axis=-1)
    total, at_least = linear_counts(*weighted, *arrays, bits=BITS, shared=numbers)
    for number in numbers:
        wanted = groups_by_sort(distance, query_label, label, number)
        assert_same((total, at_least[number - 1]), wanted)
        found = linear_counts(*weighted, *arrays, bits=BITS, shared=number)
        assert_same(found, wanted)
    for metric in (
        functools.partial(graded.ndcg_at, k=40),
        functools.partial(graded.acg_at, k=40),
        graded.weighted_average_precision,
    ):
        found = linear_metric(metric, *weighted, *arrays, bits=BITS, shared=numbers, query_block=2)
        np.testing.assert_allclose(found, metric(*hamming), rtol=1e-5)


def test_a_metric_goes_over_blocks_of_queries():
    rng = np.random.default_rng(0)
    (_, query_label), (database, label) = random_rows(rng, 7), random_rows(rng, 300)
    arrays = *asymmetric(rng.normal(size=(7, BITS))), query_label, pack(database), label

    def several(total, relevant):
        ball = metrics.precision_within_radius(total, relevant, 2)
        return {"precision": metrics.precision_at(total, relevant, 9), "nearest 3 groups": ball}

    found = linear_metric(several, *arrays, bits=BITS, query_block=3)
    wanted = several(*linear_counts(*arrays, bits=BITS))
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)


# Search.


@random_test
@given(
    seed=seeds,
    k=st.sampled_from([1, 5, 30]),
    query_block=st.sampled_from([2, 64]),
    database_block=st.sampled_from([1, 7, 8192]),
)
def test_search_is_a_stable_sort(seed, k, query_block, database_block):
    rng = np.random.default_rng(seed)
    database, _ = random_rows(rng, 30)
    real = rng.integers(-3, 4, (5, BITS)) / 8
    blocks = {"query_block": query_block, "database_block": database_block}
    found = linear_search(*asymmetric(real), pack(database), k, bits=BITS, **blocks)
    distance = -real @ (2 * database - 1).T
    wanted = np.argsort(distance, axis=1, kind="stable")[:, :k]
    assert (found[0].dtype, found[1].dtype) == (np.float32, np.int32)
    assert_same(found, (np.take_along_axis(distance, wanted, axis=1), wanted))


def test_search_with_real_weights_is_that_of_float64():
    rng = np.random.default_rng(0)
    bit = rng.integers(0, 2, (20_000, 64))
    real = rng.normal(size=(6, 64)).astype(np.float32)
    found = linear_search(*asymmetric(real), pack(bit), 300, bits=64, database_block=3000)
    distance = -real.astype(np.float64) @ (2 * bit - 1).T
    wanted = np.argsort(distance, axis=1, kind="stable")[:, :300]
    np.testing.assert_array_equal(found[1], wanted)
    np.testing.assert_allclose(found[0], np.take_along_axis(distance, wanted, axis=1), rtol=1e-6)


def test_weights_of_one_sign_reach_the_largest_sums():
    bit = np.array([[0] * BITS, [1] * BITS, [1] + [0] * (BITS - 1)])
    # Their sum is just below 16, a power of two.
    size = np.nextafter(np.float32(4 / 3), np.float32(0))
    for sign, wanted in ((1, [0, 2, 1]), (-1, [1, 2, 0])):
        weight = np.full((1, BITS), sign * size)
        distance, index = linear_search(np.zeros(1), weight, pack(bit), 3, bits=BITS)
        np.testing.assert_array_equal(index, [wanted])
        np.testing.assert_allclose(distance, (weight @ bit.T)[:, wanted], rtol=1e-6)
        label = np.ones((3, 1))
        counts = linear_counts(np.zeros(1), weight, label[:1], pack(bit), label, bits=BITS)
        assert_same(counts, ([[1, 1, 1]], [[1, 1, 1]]))


def test_sizes_in_the_same_blocks_share_a_compilation():
    rng = np.random.default_rng(0)
    (small, _), (large, _) = random_rows(rng, 600), random_rows(rng, 1000)
    linear_search(*asymmetric(rng.normal(size=(70, BITS))), pack(small), 9, bits=BITS)
    linear, large = asymmetric(rng.normal(size=(100, BITS))), pack(large)
    with jax.no_tracing():
        linear_search(*linear, large, 9, bits=BITS)


# Errors.

code = np.zeros((4, 2), np.uint8)
label = np.ones((4, 3), np.uint8)
offset, weight = np.zeros(4), np.ones((4, BITS))
ones = np.ones(BITS)


def count(offset=offset, weight=weight, query=label, database=code, label=label, **settings):
    return linear_counts(offset, weight, query, database, label, bits=BITS, **settings)


def mean(total, relevant):
    return metrics.average_precision(total, relevant).mean()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighted_hamming(code[:, :1], ones, bits=BITS), "query has 1 bytes a row, but"),
        (lambda: weighted_hamming(code, ones[:3], bits=BITS), r"weight has shape \(3,\) .*\(12,\)"),
        (lambda: weighted_hamming(code, -ones, bits=BITS), "minimum -1.0; .* pass its square"),
        (lambda: weighted_hamming(code, np.nan * ones, bits=BITS), "minimum nan; wanted .* finite"),
        (lambda: asymmetric(ones), r"query has shape \(12,\); pass real values, \(queries, bits\)"),
        (lambda: count(weight=weight[:, :8]), r"weight has shape \(4, 8\); wanted \(queries, 12\)"),
        (lambda: count(weight=weight[:0]), r"weight has shape \(0, 12\)"),
        (lambda: count(offset[:3]), r"offset has shape \(3,\), weight \(4, 12\); pass one offset"),
        (lambda: count(weight=np.inf * weight), "an offset or weight is NaN or infinite; look"),
        (lambda: count(offset * np.nan), "an offset or weight is NaN or infinite"),
        (lambda: count(database=code[:, :1]), "database has 1 bytes a row, but bits=12"),
        (lambda: count(query=label[:3]), r"query labels .*\(3, 3\).* wanted \(4, classes\)"),
        (lambda: count(label=label[:, :2]), r"database labels \(4, 2\); .* the same classes"),
        (lambda: count(shared=0), r"shared=\(0,\); pass increasing numbers of labels"),
        (lambda: count(shared=(2, 1)), r"shared=\(2, 1\); pass increasing"),
        (lambda: count(database_block=0), "database_block=0; pass at least 1"),
        (
            lambda: linear_metric(mean, offset, weight, label, code, label, bits=BITS),
            r"the metric returned shape \(\) for 4 queries; pass one that returns an entry",
        ),
        (
            lambda: linear_metric(
                mean, offset, weight, label, code, label, bits=BITS, query_block=0
            ),
            "query_block=0 and database_block=65536; pass at least 1",
        ),
        (lambda: linear_search(offset, weight, code, 5, bits=BITS), "k=5, but .* from 1 to 4"),
        (lambda: linear_search(offset, weight, code, 0, bits=BITS), "k=0, but .* from 1 to 4"),
        (
            lambda: linear_search(offset, weight, code, 1, bits=BITS, query_block=0),
            "query_block=0 and database_block=65536; pass at least 1",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
