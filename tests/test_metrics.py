"""Metrics against all tie orders, rank-by-rank sums and numbers worked by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from dsh_jax import metrics

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


def by_rank(total, relevant):
    """Expected, best and worst average precision in float64, rank by rank."""
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


def test_precision_at_more_than_the_database_divides_by_k():
    assert metrics.precision_at(np.array([[2, 2]]), np.array([[1, 2]]), 6)[0] == 0.5


def test_precision_and_recall_by_radius_leave_out_the_undefined():
    total = np.array([[0, 0, 4], [0, 2, 2], [0, 1, 3]])
    relevant = np.array([[0, 0, 1], [0, 2, 2], [0, 0, 0]])
    precision, recall = metrics.precision_recall_by_radius(total, relevant)
    # Radius 0: all balls are empty. Radius 1: the first is. The third query has no relevant item.
    np.testing.assert_allclose(precision, [np.nan, (1 + 0) / 2, (1 / 4 + 1 + 0) / 3])
    np.testing.assert_allclose(recall, [0, (0 + 1 / 2) / 2, 1])


def test_precision_within_radius():
    total, relevant = np.array([[0, 0, 4], [1, 3, 0]]), np.array([[0, 0, 1], [1, 1, 0]])
    within = metrics.precision_within_radius
    np.testing.assert_allclose(within(total, relevant, 1), [0, 0.5])
    np.testing.assert_allclose(within(total, relevant, 1, empty_ball="skip"), [np.nan, 0.5])
    np.testing.assert_allclose(within(total, relevant, 2, empty_ball="skip"), [0.25, 0.5])


def test_chance_level_is_the_mean_relevant_share():
    total, relevant = np.array([[2, 2], [0, 4]]), np.array([[1, 0], [0, 3]])
    assert metrics.chance_level(total, relevant) == 0.5


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
        (lambda: metrics.precision_within_radius(total, total, 3), "radius=3; pass 0 to 2"),
        (
            lambda: metrics.precision_within_radius(total, total, 1, empty_ball="one"),
            'empty_ball=\'one\'; pass "zero" or "skip"',
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
