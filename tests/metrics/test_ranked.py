"""Metrics of a ranking against loops, float64 sums and numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import metrics
from dsh_jax.codes import pack_bits
from dsh_jax.metrics import ranked
from dsh_jax.retrieval import distance_counts

pytestmark = pytest.mark.optimized

BITS = 10


def random_rows(rng, rows, classes=3):
    """Codes of few distinct values, so that ties abound, and multi-hot labels, some empty."""
    bit = rng.integers(0, 2, (rows, BITS)) & rng.integers(0, 2, (rows, BITS))
    return np.asarray(pack_bits(bit)), (rng.random((rows, classes)) < 0.3).astype(np.uint8)


def ranking_by_loop(query, query_label, database, database_label):
    relevant = np.zeros((len(query), len(database)), bool)
    for q in range(len(query)):
        distance = [int(np.bitwise_count(query[q] ^ code).sum()) for code in database]
        order = sorted(range(len(database)), key=lambda r: (distance[r], r))
        relevant[q] = [bool((query_label[q] * database_label[r]).any()) for r in order]
    return relevant


# The ranking.


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([1, 7, 19]))
def test_the_stable_ranking_is_sorted_by_distance_then_row(seed, k):
    rng = np.random.default_rng(seed)
    arrays = *random_rows(rng, 5), *random_rows(rng, 19)
    found = ranked.ranked_relevance(*arrays, k)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, ranking_by_loop(*arrays)[:, :k])


@pytest.mark.parametrize("query_block", [1, 2, 5, 64])
def test_the_query_block_changes_nothing(query_block):
    rng = np.random.default_rng(0)
    arrays = *random_rows(rng, 5), *random_rows(rng, 19)
    found = ranked.ranked_relevance(*arrays, 7, query_block=query_block)
    np.testing.assert_array_equal(found, ranking_by_loop(*arrays)[:, :7])


def test_random_ties_are_a_permutation_of_the_database_rows():
    rng = np.random.default_rng(1)
    query, (database, label) = random_rows(rng, 5), random_rows(rng, 19)
    found = ranked.ranked_relevance(*query, database, label, 19, ties="random", seed=3)
    order = np.random.default_rng(3).permutation(19)
    wanted = ranking_by_loop(*query, database[order], label[order])
    np.testing.assert_array_equal(found, wanted)
    assert (found != ranking_by_loop(*query, database, label)).any()


def test_random_ties_average_to_the_tie_aware_numbers_and_stay_within_the_bounds():
    rng = np.random.default_rng(2)
    (query, _), database = random_rows(rng, 4), random_rows(rng, 19)
    arrays = query, np.array([[1, 0, 0]] * 4), *database
    counts = distance_counts(*arrays, bits=BITS)
    relevant = counts[1].sum(axis=1)
    seeds = [ranked.ranked_relevance(*arrays, 19, ties="random", seed=seed) for seed in range(200)]
    ap = np.array([ranked.average_precision_ranked(ranking, relevant) for ranking in seeds])
    error = 4 * ap.std(axis=0) / np.sqrt(len(seeds))
    assert np.all(ap.std(axis=0) > 0)
    assert np.all(abs(ap.mean(axis=0) - metrics.average_precision(*counts)) <= error)
    assert np.all(ap.max(axis=0) <= metrics.average_precision_optimistic(*counts) + 1e-6)
    assert np.all(ap.min(axis=0) >= metrics.average_precision_pessimistic(*counts) - 1e-6)
    precision = np.array([ranked.precision_ranked(ranking, 4) for ranking in seeds])
    error = 4 * precision.std(axis=0) / np.sqrt(len(seeds))
    assert np.all(abs(precision.mean(axis=0) - metrics.precision_at(*counts, 4)) <= error)


def test_only_the_ranked_numbers_depend_on_the_order_of_the_database():
    query = np.zeros((1, 1), np.uint8), np.ones((1, 1))
    database, label = np.zeros((4, 1), np.uint8), np.array([[1], [0], [0], [0]])
    ap = []
    for rows in (slice(None), slice(None, None, -1)):
        arrays = *query, database[rows], label[rows]
        ranking = ranked.ranked_relevance(*arrays, 4)
        aware = metrics.average_precision(*distance_counts(*arrays, bits=8))
        assert aware[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
        ap.append(float(ranked.average_precision_ranked(ranking, np.array([1]))[0]))
    assert ap == [1, 0.25]


# Average precision, precision and recall.

RANKING = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
RELEVANT = np.array([4, 1, 2])


@pytest.mark.parametrize(
    ("k", "denominator", "wanted"),
    [
        (None, "total", [(1 + 2 / 3 + 3 / 5) / 4, 1 / 4, 0]),
        (None, "in_topk", [(1 + 2 / 3 + 3 / 5) / 3, 1 / 4, 0]),
        (None, "min", [(1 + 2 / 3 + 3 / 5) / 4, 1 / 4, 0]),
        (3, "total", [(1 + 2 / 3) / 4, 0, 0]),
        (3, "in_topk", [(1 + 2 / 3) / 2, 0, 0]),
        (3, "min", [(1 + 2 / 3) / 3, 0, 0]),
        (1, "total", [1 / 4, 0, 0]),
        (1, "in_topk", [1, 0, 0]),
    ],
)
def test_average_precision_by_hand(k, denominator, wanted):
    found = ranked.average_precision_ranked(RANKING, RELEVANT, k=k, denominator=denominator)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_relevant_in_topk_needs_no_total():
    found = ranked.average_precision_ranked(RANKING.astype(bool), denominator="in_topk")
    np.testing.assert_allclose(found, [(1 + 2 / 3 + 3 / 5) / 3, 1 / 4, 0], rtol=1e-6)


def test_without_ties_the_whole_ranking_scores_as_the_tie_aware_one():
    rng = np.random.default_rng(0)
    ranking = (rng.random((20, 50)) < 0.2).astype(np.int32)
    found = ranked.average_precision_ranked(ranking, ranking.sum(axis=1))
    wanted = metrics.average_precision(np.ones_like(ranking), ranking)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("share", [1e-4, 0.1, 0.9])
def test_float32_errs_less_than_1e_6_at_100_000_ranks(share):
    rng = np.random.default_rng(0)
    ranking = rng.random((2, 100_000)) < share * np.linspace(2, 0, 100_000)
    precision = ranking.cumsum(axis=1) / np.arange(1.0, 100_001)
    total = ranking.sum(axis=1)
    wanted = (precision * ranking).sum(axis=1) / total
    found = ranked.average_precision_ranked(ranking, total)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_precision_and_recall_by_hand():
    np.testing.assert_allclose(ranked.precision_ranked(RANKING, 4), [0.5, 0.25, 0])
    recall = ranked.recall_ranked(RANKING, np.array([4, 1, 0]), 4)
    np.testing.assert_allclose(recall, [0.5, 1, 0])


# Errors.

codes = np.zeros((2, 1), np.uint8)
label = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ranked.ranked_relevance(codes, label, codes, label[:1], 1),
            r"database labels \(1, 3\); wanted \(2, classes\) and \(2, classes\); pass one",
        ),
        (
            lambda: ranked.ranked_relevance(codes, label, codes, label[:, :2], 1),
            r"query labels have shape \(2, 3\), database labels \(2, 2\); wanted",
        ),
        (lambda: ranked.ranked_relevance(codes, label, codes, label, 3), "k=3, but the database"),
        (
            lambda: ranked.ranked_relevance(codes, label, codes, label, 1, ties="expected"),
            'ties=\'expected\'; pass "stable" or "random"',
        ),
        (
            lambda: ranked.ranked_relevance(codes, label, codes, label, 1, ties="random"),
            'ties="random" and seed=None; pass a seed',
        ),
        (
            lambda: ranked.ranked_relevance(codes, label, codes, label, 1, seed=0),
            'ties="stable" and seed=0; pass a seed with ties="random" only',
        ),
        (
            lambda: ranked.ranked_relevance(codes, label, codes, label, 1, query_block=0),
            "query_block=0; pass at least 1",
        ),
        (
            lambda: ranked.average_precision_ranked(RANKING),
            r"'total' needs the relevant items .* shape \(3,\), found None; sum relevant_QxD",
        ),
        (
            lambda: ranked.average_precision_ranked(RANKING, RELEVANT[:2], denominator="min"),
            r"'min' needs .* found of shape \(2,\)",
        ),
        (
            lambda: ranked.average_precision_ranked(RANKING, RELEVANT, denominator="k"),
            'denominator=\'k\'; pass "total", "in_topk" or "min"',
        ),
        (
            lambda: ranked.average_precision_ranked(RANKING, RELEVANT, k=6),
            "k=6, but the ranking is 5 deep; rank deeper",
        ),
        (lambda: ranked.precision_ranked(RANKING, 0), "k=0, but the ranking is 5 deep"),
        (lambda: ranked.precision_ranked(RANKING[0], 1), r"the ranking has shape \(5,\); pass"),
        (lambda: ranked.recall_ranked(RANKING, None, 1), "recall needs the relevant items"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("ties", "seed"), [("stable", None), ("random", 3)])
@pytest.mark.parametrize("bits", [8, 40, 264])
def test_whole_ranking_ap_is_that_of_the_ranked_relevance(ties, seed, bits):
    rng = np.random.default_rng(0)
    query, database = (
        np.packbits(rng.random((n, bits)) < 0.3, axis=1, bitorder="little") for n in (6, 500)
    )
    query_label, label = (rng.random((n, 40)) < 0.05 for n in (6, 500))
    query_label[0] = False
    arrays = query, query_label, database, label
    relevant = ranked.ranked_relevance(*arrays, 500, ties=ties, seed=seed)
    wanted = ranked.average_precision_ranked(relevant, relevant.sum(axis=1))
    found = ranked.average_precision_stable(*arrays, ties=ties, seed=seed)
    assert found.dtype == np.float32
    assert found[0] == 0
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
