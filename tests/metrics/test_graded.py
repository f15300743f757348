"""Graded metrics against all tie orders, rank-by-rank sums in float64 and numbers by hand."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from dsh_jax import metrics
from dsh_jax.metrics import graded

pytestmark = pytest.mark.optimized

LABELS = 3


def counts_of(levels):
    """Counts of one query from the shared labels of the items of each level."""
    total = np.array([[len(level) for level in levels]])
    at_least = [[[sum(s >= t for s in level) for level in levels]] for t in range(1, LABELS + 1)]
    return total, np.array(at_least)


def tie_orders(levels):
    """The shared labels by rank in every order of the items that leaves the levels sorted."""
    orders = itertools.product(*(itertools.permutations(level) for level in levels))
    return np.array([list(itertools.chain(*order)) for order in orders], float)


def dcg(gain, k):
    return (gain / np.log2(np.arange(2, gain.shape[-1] + 2)))[..., :k].sum(axis=-1)


GAINS = {"exponential": lambda s: 2.0**s - 1, "linear": lambda s: s}

# Up to 7 items, in 3 levels.
levels_of_one_query = (
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, LABELS)), min_size=1, max_size=7)
).map(lambda items: [[s for level, s in items if level == wanted] for wanted in range(3)])


@pytest.mark.parametrize("gain", ["exponential", "linear"])
@settings(deadline=None, max_examples=60)
@given(levels=levels_of_one_query, k=st.sampled_from([1, 2, 4, 10, None]))
def test_ndcg_is_the_mean_over_all_tie_orders(levels, k, gain):
    gains = GAINS[gain](tie_orders(levels))
    best = dcg(-np.sort(-gains[0]), k)
    wanted = dcg(gains, k).mean() / best if best else 0
    found = graded.ndcg_at(*counts_of(levels), k, gain=gain)[0]
    assert found == pytest.approx(wanted, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(levels=levels_of_one_query, k=st.sampled_from([1, 2, 4, 10]))
def test_acg_is_the_mean_over_all_tie_orders(levels, k):
    wanted = tie_orders(levels)[:, :k].sum(axis=1).mean() / k
    assert graded.acg_at(*counts_of(levels), k)[0] == pytest.approx(wanted, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(levels=levels_of_one_query)
def test_weighted_average_precision_is_the_mean_over_all_tie_orders(levels):
    shared = tie_orders(levels)
    acg = shared.cumsum(axis=1) / np.arange(1, shared.shape[1] + 1)
    wanted = (acg * (shared > 0)).sum(axis=1).mean() / max((shared[0] > 0).sum(), 1)
    found = graded.weighted_average_precision(*counts_of(levels))[0]
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_all_by_hand():
    # An item with 2 labels and one without tie; then an item with 1 label.
    total, at_least = counts_of([[2, 0], [], [1]])
    log3 = np.log2(3)
    exponential = (3 / 2 * (1 + 1 / log3) + 1 / 2) / (3 + 1 / log3)
    assert graded.ndcg_at(total, at_least)[0] == pytest.approx(exponential)
    linear = (1 + 1 / log3 + 1 / 2) / (2 + 1 / log3)
    assert graded.ndcg_at(total, at_least, gain="linear")[0] == pytest.approx(linear)
    assert graded.ndcg_at(total, at_least, 1)[0] == pytest.approx(1 / 2)
    assert graded.acg_at(total, at_least, 2)[0] == pytest.approx(1)
    assert graded.acg_at(total, at_least, 6)[0] == pytest.approx(1 / 2)
    # In the order 2, 0, 1: (2/1 + 3/3)/2. In the order 0, 2, 1: (2/2 + 3/3)/2.
    assert graded.weighted_average_precision(total, at_least)[0] == pytest.approx((3 / 2 + 1) / 2)


def test_a_query_without_any_gain():
    total, at_least = counts_of([[0, 0], [0], []])
    assert graded.ndcg_at(total, at_least)[0] == 0
    assert graded.ndcg_at(total, at_least, no_gain="one")[0] == 1
    assert graded.ndcg_at(*counts_of([[0], [1], []]), 1, no_gain="one")[0] == 0
    assert graded.acg_at(total, at_least, 2)[0] == 0
    assert graded.weighted_average_precision(total, at_least)[0] == 0


def random_counts(seed, levels=12, queries=5):
    rng = np.random.default_rng(seed)
    total = rng.integers(1, 9, (queries, levels))
    relevant = rng.binomial(total, 0.6)
    more = rng.binomial(relevant, 0.5)
    return total, np.stack([relevant, more, rng.binomial(more, 0.5)])


def test_ndcg_without_ties_is_sklearns():
    rng = np.random.default_rng(0)
    shared = rng.integers(0, LABELS + 1, (4, 200))
    at_least = np.stack([shared >= t for t in range(1, LABELS + 1)]).astype(int)
    score = np.broadcast_to(-np.arange(200), (4, 200))
    for k in (10, None):
        wanted = [ndcg_score(row[None], score[:1], k=k) for row in shared]
        found = graded.ndcg_at(np.ones_like(shared), at_least, k, gain="linear")
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_with_one_label_they_are_the_binary_metrics():
    total, at_least = random_counts(0)
    found = graded.weighted_average_precision(total, at_least[:1])
    np.testing.assert_allclose(found, metrics.average_precision(total, at_least[0]), rtol=1e-6)
    found = graded.acg_at(total, at_least[:1], 20)
    np.testing.assert_allclose(found, metrics.precision_at(total, at_least[0], 20), rtol=1e-6)
    found = graded.ndcg_at(total, at_least[:1], 20)
    linear = graded.ndcg_at(total, at_least[:1], 20, gain="linear")
    np.testing.assert_array_equal(found, linear)


@pytest.mark.parametrize(
    "metric",
    [
        graded.ndcg_at,
        functools.partial(graded.ndcg_at, k=20),
        functools.partial(graded.acg_at, k=20),
        graded.weighted_average_precision,
    ],
)
def test_empty_levels_and_higher_thresholds_change_nothing(metric):
    total, at_least = random_counts(0)
    level = np.sort(np.random.default_rng(0).choice(60, total.shape[1], replace=False))
    padded_total, padded = np.zeros((5, 60), int), np.zeros((LABELS + 4, 5, 60), int)
    padded_total[:, level], padded[:LABELS, :, level] = total, at_least
    np.testing.assert_allclose(metric(padded_total, padded), metric(total, at_least), rtol=1e-6)


def test_databases_of_different_sizes_go_together():
    total, at_least = random_counts(0)
    together = graded.ndcg_at(total, at_least)
    alone = [graded.ndcg_at(total[q : q + 1], at_least[:, q : q + 1])[0] for q in range(5)]
    assert len(set(total.sum(axis=1))) > 1
    np.testing.assert_allclose(together, alone, rtol=1e-6)


# A million items.


def large_counts(case):
    """Counts of one query over a million items."""
    rng = np.random.default_rng(0)
    if case == "one level":
        total = np.array([1_000_000, 0])
    elif case == "far outliers":
        total = np.array([999_997, 1, 0, 1, 1])
    elif case == "no ties":
        total = np.ones(1_000_000, int)
    else:
        total = rng.multinomial(1_000_000, rng.dirichlet(np.ones(65)))
    share = {"rare": 1e-4, "common": 0.9}.get(case, 0.1) * np.linspace(1, 0.2, len(total))
    if case == "only the last":
        share[:-1] = 0
    relevant = rng.binomial(total, share)
    if case == "far outliers":
        relevant = np.array([0, 1, 0, 0, 1])
    more = rng.binomial(relevant, 0.3)
    return total, np.stack([relevant, more, rng.binomial(more, 0.1)])


def by_rank(total, at_least):
    """Of each rank in float64: its tie's mean gain, both ways, and its expected term of WAP."""
    of_level = np.repeat(np.arange(len(total)), total)
    n, p, shared = total[of_level], at_least[0][of_level], at_least.sum(axis=0)
    before = (shared.cumsum() - shared)[of_level]
    of_tie, rank = shared[of_level], np.arange(1, len(n) + 1)
    earlier = rank - 1 - (total.cumsum() - total)[of_level]
    pairs = earlier * ((p - 1) * of_tie / np.maximum(n * (n - 1.0), 1))
    term = (p / n * before + of_tie / n + pairs) / rank
    exponential = (np.array([1, 2, 4]) @ at_least)[of_level] / n
    return {"exponential": exponential, "linear": of_tie / n}, term


@pytest.mark.parametrize(
    "case",
    ["one level", "far outliers", "no ties", "spread", "rare", "common", "only the last"],
)
def test_float32_errs_less_than_1e_5_of_the_value_at_a_million_items(case):
    total, at_least = large_counts(case)
    mean, term = by_rank(total, at_least)
    counts = total[None], at_least[:, None]
    exactly = -np.diff(at_least.sum(axis=1), append=0)
    best = np.repeat([3, 2, 1], exactly[::-1])
    for gain, k in itertools.product(GAINS, [5_000, 700_000, None]):
        wanted = dcg(mean[gain], k) / dcg(GAINS[gain](best), k)
        found = graded.ndcg_at(*counts, k, gain=gain)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    found = graded.acg_at(*counts, 700_000)[0]
    np.testing.assert_allclose(found, mean["linear"][:700_000].mean(), rtol=1e-5)
    found = graded.weighted_average_precision(*counts)[0]
    np.testing.assert_allclose(found, term.sum() / at_least[0].sum(), rtol=1e-5)


# Errors.

total, at_least = random_counts(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graded.ndcg_at(total, at_least[0]), r"at_least has shape \(5, 12\); pass \(lev"),
        (lambda: graded.acg_at(total, at_least[:0], 1), r"shape \(0, 5, 12\); pass \(levels"),
        (
            lambda: graded.weighted_average_precision(total[:1], at_least),
            r"total has shape \(1, 12\), relevant \(5, 12\); pass the two",
        ),
        (lambda: graded.ndcg_at(total, at_least, 0), "k=0; pass at least 1 rank"),
        (lambda: graded.acg_at(total, at_least, 0), "k=0; pass at least 1 rank"),
        (lambda: graded.ndcg_at(total, at_least, gain="log"), "gain='log'; pass \"exponential\""),
        (lambda: graded.ndcg_at(total, at_least, no_gain="nan"), "no_gain='nan'; pass \"zero\""),
        (
            lambda: graded.ndcg_at(total, np.repeat(at_least, 34, axis=0)),
            "up to 102 shared labels exceeds float32; pass at most 100",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
