"""Metrics against all tie orders, rank-by-rank sums and numbers worked by hand."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from dsh_jax import metrics
from dsh_jax.metrics import ranked

pytestmark = pytest.mark.optimized

# Average precision.


def precision_mean(ranked):
    """Average precision of one order, as the textbook has it."""
    rank = np.flatnonzero(ranked) + 1
    return (np.arange(1, len(rank) + 1) / rank).mean() if len(rank) else 0.0


def tie_orders(total, relevant):
    """All equally likely orders of one query's items, as 0/1 relevance by rank."""
    levels = [
        [[i in hits for i in range(n)] for hits in itertools.combinations(range(n), p)]
        for n, p in zip(total, relevant, strict=True)
    ]
    return [list(itertools.chain(*order)) for order in itertools.product(*levels)]


levels_of_one_query = st.lists(
    st.integers(0, 4).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=4,
    max_size=4,
).filter(lambda levels: sum(n for n, _ in levels) > 0)


def counts_of(levels):
    total, relevant = np.array(levels, np.int32).T[:, None]
    return total, relevant


def test_average_precision_of_one_tie_by_hand():
    # One of two nearest items is relevant, then a relevant one: RNR scores 5/6, NRR 7/12.
    total, relevant = np.array([[2, 1]]), np.array([[1, 1]])
    assert metrics.average_precision(total, relevant)[0] == pytest.approx(17 / 24)
    assert metrics.average_precision_optimistic(total, relevant)[0] == pytest.approx(5 / 6)
    assert metrics.average_precision_pessimistic(total, relevant)[0] == pytest.approx(7 / 12)


@settings(deadline=None, max_examples=100)
@given(levels=levels_of_one_query)
def test_average_precision_is_the_mean_over_all_tie_orders(levels):
    total, relevant = counts_of(levels)
    scores = [precision_mean(order) for order in tie_orders(total[0], relevant[0])]
    expected = metrics.average_precision(total, relevant)[0]
    assert expected == pytest.approx(np.mean(scores), abs=1e-6)
    best = metrics.average_precision_optimistic(total, relevant)[0]
    assert best == pytest.approx(max(scores), abs=1e-6)
    worst = metrics.average_precision_pessimistic(total, relevant)[0]
    assert worst == pytest.approx(min(scores), abs=1e-6)
    assert worst - 1e-6 <= expected <= best + 1e-6


@pytest.mark.parametrize("denominator", ["total", "min"])
@settings(deadline=None, max_examples=60)
@given(levels=levels_of_one_query, k=st.sampled_from([1, 2, 5, 9, 20]))
def test_average_precision_at_is_the_mean_over_all_tie_orders(levels, k, denominator):
    total, relevant = counts_of(levels)
    z = relevant.sum() if denominator == "total" else min(k, relevant.sum())
    sums = [precision_mean(order[:k]) * sum(order[:k]) for order in tie_orders(*total, *relevant)]
    found = metrics.average_precision_at(total, relevant, k, denominator=denominator)[0]
    assert found == pytest.approx(np.mean(sums) / max(z, 1), abs=1e-6)


def test_average_precision_at_by_hand():
    # One of two nearest items is relevant, then a relevant one. First 2 ranks: RN 1, NR 1/2.
    total, relevant = np.array([[2, 1]]), np.array([[1, 1]])
    found = metrics.average_precision_at
    assert found(total, relevant, 1)[0] == pytest.approx(0.5 / 2)
    assert found(total, relevant, 1, denominator="min")[0] == pytest.approx(0.5)
    assert found(total, relevant, 2)[0] == pytest.approx(0.75 / 2)
    assert found(total, relevant, 3)[0] == found(total, relevant, 9)[0] == pytest.approx(17 / 24)


def test_average_precision_within_a_radius_is_that_of_its_items():
    total = np.array([[0, 0, 4], [2, 1, 3], [0, 1, 0]])
    relevant = np.array([[0, 0, 1], [1, 1, 2], [0, 0, 0]])
    within = metrics.average_precision_within_radius
    np.testing.assert_allclose(within(total, relevant, 1), [0, 17 / 24, 0], rtol=1e-6)
    skipped = within(total, relevant, 1, empty_ball="skip")
    np.testing.assert_allclose(skipped, [np.nan, 17 / 24, 0], rtol=1e-6)
    everything = within(total, relevant, 2)
    np.testing.assert_array_equal(everything, metrics.average_precision(total, relevant))


def test_average_precision_without_ties_is_sklearns():
    rng = np.random.default_rng(0)
    relevant = (rng.random((3, 200)) < 0.1).astype(np.int32)
    wanted = [average_precision_score(ranked, -np.arange(200)) for ranked in relevant]
    total = np.ones_like(relevant)
    for average_precision in (
        metrics.average_precision,
        metrics.average_precision_optimistic,
        metrics.average_precision_pessimistic,
    ):
        np.testing.assert_allclose(average_precision(total, relevant), wanted, rtol=1e-6)


def test_average_precision_of_identical_codes_is_near_prevalence():
    total, relevant = np.array([[1000, 0]]), np.array([[100, 0]])
    r = 99 / 999
    exact = r + (1 - r) * (1 / np.arange(1, 1001)).mean()
    assert metrics.average_precision(total, relevant)[0] == pytest.approx(exact, abs=1e-7)
    assert metrics.average_precision(total, relevant)[0] == pytest.approx(0.1, abs=0.01)
    assert metrics.average_precision_optimistic(total, relevant)[0] == 1.0
    assert metrics.average_precision_pessimistic(total, relevant)[0] < 0.06


def test_a_query_without_relevant_items_scores_0():
    total, relevant = np.array([[3, 0, 2]]), np.zeros((1, 3), int)
    assert metrics.average_precision(total, relevant)[0] == 0
    assert metrics.average_precision_optimistic(total, relevant)[0] == 0
    assert metrics.average_precision_pessimistic(total, relevant)[0] == 0


def large_counts(case, items):
    """Counts of one query over many items, with hits rarer at larger distances."""
    rng = np.random.default_rng(0)
    if case == "one level":
        total = np.array([items, 0])
    elif case == "first alone":
        total = np.array([1, items - 1])
    elif case == "far outliers":
        total = np.array([items - 3, 1, 0, 1, 1])
    else:
        total = rng.multinomial(items, rng.dirichlet(np.ones(65)))
    share = {"rare": 1e-4, "common": 0.9}.get(case, 0.1)
    relevant = rng.binomial(total, share * np.linspace(1, 0.2, len(total)))
    return total, relevant


def by_rank(total, relevant, k=None):
    """Expected, best and worst average precision in float64, rank by rank; of the first k."""
    expected, best, worst = [], [], []
    hits, items = 0, 0
    for n, p in zip(total, relevant, strict=True):
        rank = items + np.arange(1, n + 1, dtype=float)
        others_before = np.arange(n) * ((p - 1) / max(n - 1, 1))
        expected.append(p / max(n, 1) * (hits + 1 + others_before) / rank)
        precision = hits + np.arange(1, p + 1)
        best.append(precision / rank[:p])
        worst.append(precision / rank[n - p :])
        hits, items = hits + p, items + n
    if k is not None:
        return np.concatenate(expected)[:k].sum() / hits
    return [np.concatenate(parts).sum() / hits for parts in (expected, best, worst)]


@pytest.mark.parametrize("items", [100_000, 1_000_000])
@pytest.mark.parametrize(
    "case", ["one level", "first alone", "far outliers", "spread", "rare", "common"]
)
def test_float32_errs_less_than_1e_6_at_a_million_items(case, items):
    total, relevant = large_counts(case, items)
    found = [
        average_precision(total[None], relevant[None])[0]
        for average_precision in (
            metrics.average_precision,
            metrics.average_precision_optimistic,
            metrics.average_precision_pessimistic,
        )
    ]
    np.testing.assert_allclose(found, by_rank(total, relevant), rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", [100, 5_000, 500_000])
@pytest.mark.parametrize(
    "case", ["one level", "first alone", "far outliers", "spread", "rare", "common"]
)
def test_float32_errs_less_than_1e_6_at_the_first_k_of_a_million_items(case, k):
    total, relevant = large_counts(case, 1_000_000)
    found = metrics.average_precision_at(total[None], relevant[None], k)[0]
    np.testing.assert_allclose(found, by_rank(total, relevant, k), rtol=0, atol=1e-6)
    found = metrics.average_precision_at(total[None], relevant[None], k, denominator="min")[0]
    wanted = by_rank(total, relevant, k) * (relevant.sum() / min(k, relevant.sum()))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("last", "hits"), [(1_000, 10), (90_000, 900), (200_000, 1_000)])
def test_float32_keeps_its_digits_where_all_relevant_items_come_last(last, hits):
    # Average precision is low here, 5e-5 with 10 of the last 1,000 of a million items.
    total, relevant = np.array([1_000_000 - last, last]), np.array([0, hits])
    wanted = by_rank(total, relevant)[0]
    found = metrics.average_precision(total[None], relevant[None])[0]
    np.testing.assert_allclose(found, wanted, rtol=2e-6)


def test_the_printed_average_precision_exceeds_1_on_every_imperfect_ranking():
    perfect = [1, 1, 0, 0, 0]
    rankings = np.array(sorted(set(itertools.permutations(perfect)), reverse=True))
    printed = metrics.average_precision_printed(rankings)
    assert printed[0] == 1
    assert np.all(printed[1:] > 1)
    assert all(precision_mean(ranked) <= 1 for ranked in rankings)
    # The relevant items at ranks 4 and 5: (4/1 + 5/2) / 2.
    assert printed[-1] == 3.25


# Other metrics.


@settings(deadline=None, max_examples=60)
@given(levels=levels_of_one_query, k=st.sampled_from([1, 2, 5, 9, 20]))
def test_precision_at_is_the_mean_over_all_tie_orders(levels, k):
    total, relevant = counts_of(levels)
    wanted = np.mean([sum(order[:k]) / k for order in tie_orders(total[0], relevant[0])])
    assert metrics.precision_at(total, relevant, k)[0] == pytest.approx(wanted, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(levels=levels_of_one_query, k=st.sampled_from([1, 2, 5, 9, 20]))
def test_recall_at_is_the_mean_over_all_tie_orders(levels, k):
    total, relevant = counts_of(levels)
    hits = [sum(order[:k]) for order in tie_orders(total[0], relevant[0])]
    wanted = np.mean(hits) / max(relevant.sum(), 1)
    assert metrics.recall_at(total, relevant, k)[0] == pytest.approx(wanted, abs=1e-6)


def test_precision_and_recall_of_a_large_tie_do_not_overflow():
    total, relevant = np.array([[1_000_000]]), np.array([[100_000]])
    assert metrics.precision_at(total, relevant, 500_000)[0] == pytest.approx(0.1)
    assert metrics.recall_at(total, relevant, 500_000)[0] == pytest.approx(0.5)


def test_precision_at_more_than_the_database_divides_by_k():
    assert metrics.precision_at(np.array([[2, 2]]), np.array([[1, 2]]), 6)[0] == 0.5


def test_chance_level_is_the_mean_relevant_share():
    total, relevant = np.array([[2, 2], [0, 4]]), np.array([[1, 0], [0, 3]])
    assert metrics.chance_level(total, relevant) == 0.5


def test_the_mean_over_queries_by_both_conventions():
    relevant = np.array([[1, 0], [0, 0], [0, 2], [0, 0]])
    value = np.array([0.5, 0.0, 1.0, 1.0])
    # The last has no relevant item, but a metric that gives it 1 all the same.
    assert metrics.mean_over_queries(value, relevant) == 1.5 / 4
    assert metrics.mean_over_queries(value, relevant, no_relevant="skip") == 1.5 / 2
    skipped = np.array([0.5, 0.0, np.nan, np.nan])
    assert metrics.mean_over_queries(skipped, relevant) == 0.5 / 2
    assert metrics.mean_over_queries(skipped, relevant, no_relevant="skip") == 0.5
    assert np.isnan(metrics.mean_over_queries(value, 0 * relevant, no_relevant="skip"))


# Tie groups of any kind.


@pytest.mark.parametrize(
    "metric",
    [
        metrics.average_precision,
        metrics.average_precision_optimistic,
        metrics.average_precision_pessimistic,
        functools.partial(metrics.average_precision_at, k=20),
        functools.partial(metrics.average_precision_at, k=20, denominator="min"),
        functools.partial(metrics.precision_at, k=20),
        functools.partial(metrics.recall_at, k=20),
    ],
)
def test_empty_levels_change_nothing(metric):
    rng = np.random.default_rng(0)
    total = rng.integers(1, 9, (5, 12))
    relevant = rng.binomial(total, 0.4)
    padded = np.zeros((2, 5, 60), int)
    padded[:, :, np.sort(rng.choice(60, 12, replace=False))] = total, relevant
    np.testing.assert_allclose(metric(*padded), metric(total, relevant), rtol=1e-6)


def test_a_ranking_without_ties_is_one_level_an_item():
    rng = np.random.default_rng(0)
    items = 300_000
    ranked_relevant = (rng.random((1, items)) < np.linspace(0.5, 0, items)).astype(np.int32)
    total = np.ones_like(ranked_relevant)
    rank = np.flatnonzero(ranked_relevant[0]) + 1
    precision = np.arange(1, len(rank) + 1) / rank
    found = metrics.average_precision(total, ranked_relevant)[0]
    assert found == pytest.approx(precision.mean(), abs=1e-6)
    k = 100_000
    found = metrics.average_precision_at(total, ranked_relevant, k)[0]
    assert found == pytest.approx(precision[rank <= k].sum() / len(rank), abs=1e-6)
    by_rank = ranked.average_precision_ranked(ranked_relevant, ranked_relevant.sum(axis=1), k=k)
    assert found == pytest.approx(float(by_rank[0]), abs=1e-6)


# Errors.

total = np.ones((2, 3), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.average_precision(total, total[:1]),
            r"total has shape \(2, 3\), relevant \(1, 3\); pass the two",
        ),
        (lambda: metrics.precision_at(total, total, 0), "k=0; pass at least 1 rank"),
        (lambda: metrics.recall_at(total, total, 0), "k=0; pass at least 1 rank"),
        (lambda: metrics.average_precision_at(total, total, 0), "k=0; pass at least 1 rank"),
        (
            lambda: metrics.average_precision_at(total, total, 1, denominator="in_topk"),
            r"no closed form; rank .* call ranked\.average_precision_ranked",
        ),
        (
            lambda: metrics.average_precision_at(total, total, 1, denominator="k"),
            'denominator=\'k\'; pass "total" or "min"',
        ),
        (
            lambda: metrics.average_precision_within_radius(total, total, 3),
            "radius=3; pass 0 to 2",
        ),
        (
            lambda: metrics.mean_over_queries(total[:, 0], total[:1]),
            r"values have shape \(2,\), relevant \(1, 3\); pass one value per query",
        ),
        (
            lambda: metrics.mean_over_queries(total[:, 0], total, no_relevant="one"),
            'no_relevant=\'one\'; pass "zero" or "skip"',
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_several_k_give_a_row_each():
    total, relevant = np.array([[2, 3, 4], [1, 0, 8]]), np.array([[1, 2, 1], [0, 0, 3]])
    for metric in (metrics.precision_at, metrics.recall_at):
        found = metric(total, relevant, [1, 4, 20])
        assert found.shape == (3, 2)
        for row, k in zip(found, (1, 4, 20), strict=True):
            np.testing.assert_array_equal(row, metric(total, relevant, k))
