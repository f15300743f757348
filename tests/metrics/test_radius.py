"""Metrics of Hamming balls against loops, exact integer sums and numbers worked by hand."""

import fractions

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsh_jax import metrics

pytestmark = pytest.mark.optimized

levels_of_one_query = st.lists(
    st.integers(0, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=5,
    max_size=5,
)


def test_precision_and_recall_by_radius_leave_out_the_undefined():
    total = np.array([[0, 0, 4], [0, 2, 2], [0, 1, 3]])
    relevant = np.array([[0, 0, 1], [0, 2, 2], [0, 0, 0]])
    precision, recall = metrics.precision_recall_by_radius(total, relevant)
    # Radius 0: all balls are empty. Radius 1: the first is. The third query has no relevant item.
    np.testing.assert_allclose(precision, [np.nan, (1 + 0) / 2, (1 / 4 + 1 + 0) / 3])
    np.testing.assert_allclose(recall, [0, (0 + 1 / 2) / 2, 1])
    precision, recall = metrics.precision_recall_by_radius(total, relevant, average="micro")
    np.testing.assert_allclose(precision, [np.nan, 2 / 3, 5 / 12])
    np.testing.assert_allclose(recall, [0, 2 / 5, 1])


def test_pooled_counts_may_exceed_int32():
    rng = np.random.default_rng(0)
    total = rng.integers(0, 2_000_000, (20_000, 4))
    relevant = rng.integers(0, total // 3 + 1)
    assert total.sum() > 2**33
    precision, recall = metrics.precision_recall_by_radius(total, relevant, average="micro")
    inside, hits = total.sum(axis=0).cumsum(), relevant.sum(axis=0).cumsum()
    np.testing.assert_allclose(precision, hits / inside, rtol=1e-6)
    np.testing.assert_allclose(recall, hits / hits[-1], rtol=1e-6)


def test_micro_and_macro_agree_for_one_query():
    total, relevant = np.array([[0, 3, 5, 9]]), np.array([[0, 2, 0, 4]])
    macro = metrics.precision_recall_by_radius(total, relevant)
    micro = metrics.precision_recall_by_radius(total, relevant, average="micro")
    np.testing.assert_allclose(micro, macro, rtol=1e-6)


def test_precision_and_recall_within_radius():
    total, relevant = np.array([[0, 0, 4], [1, 3, 0]]), np.array([[0, 0, 1], [1, 1, 0]])
    within = metrics.precision_within_radius
    np.testing.assert_allclose(within(total, relevant, 1), [0, 0.5])
    np.testing.assert_allclose(within(total, relevant, 1, empty_ball="skip"), [np.nan, 0.5])
    np.testing.assert_allclose(within(total, relevant, 2, empty_ball="skip"), [0.25, 0.5])
    within = metrics.recall_within_radius
    np.testing.assert_allclose(within(total, relevant, 0), [0, 0.5])
    np.testing.assert_allclose(within(total, relevant, 2), [1, 1])
    np.testing.assert_allclose(within(total, 0 * relevant, 2), [0, 0])


def test_11_point_average_precision_by_hand():
    # Balls of 0, 1, 4 and 10 items with 0, 1, 2 and 5 of the 5 relevant ones: precision 1 up to
    # recall 0.2, then 1/2 up to 1.
    total, relevant = np.array([[0, 1, 3, 6]]), np.array([[0, 1, 1, 3]])
    found = metrics.average_precision_11_point(total, relevant)
    np.testing.assert_allclose(found, (3 * 1 + 8 * 1 / 2) / 11, rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(levels=levels_of_one_query)
def test_11_point_average_precision_is_the_loops(levels):
    total, relevant = np.array(levels).T[:, None]
    points, inside, hits = [], 0, 0
    for n, p in levels:
        inside, hits = inside + n, hits + p
        if inside and relevant.sum():
            points.append((fractions.Fraction(hits, int(relevant.sum())), hits / inside))
    best = [
        max((p for recall, p in points if recall >= fractions.Fraction(tenth, 10)), default=0)
        for tenth in range(11)
    ]
    found = metrics.average_precision_11_point(total, relevant)[0]
    assert found == pytest.approx(sum(best) / 11, abs=1e-6)


def test_empty_levels_change_nothing():
    rng = np.random.default_rng(0)
    total = rng.integers(1, 9, (5, 12))
    relevant = rng.binomial(total, 0.4)
    level = np.sort(rng.choice(60, 12, replace=False))
    padded = np.zeros((2, 5, 60), int)
    padded[:, :, level] = total, relevant
    eleven = metrics.average_precision_11_point
    np.testing.assert_allclose(eleven(*padded), eleven(total, relevant), rtol=1e-6)
    for average in ("macro", "micro"):
        by_radius = metrics.precision_recall_by_radius
        found = np.array(by_radius(*padded, average=average))[:, level]
        np.testing.assert_allclose(found, by_radius(total, relevant, average=average), rtol=1e-6)


def test_they_can_be_called_from_metrics_too():
    assert metrics.precision_recall_by_radius is metrics.precision_recall_by_radius
    assert metrics.precision_within_radius is metrics.precision_within_radius


total = np.ones((2, 3), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.precision_recall_by_radius(total, total[:1]),
            r"total has shape \(2, 3\), relevant \(1, 3\); pass the two",
        ),
        (
            lambda: metrics.precision_recall_by_radius(total, total, average="all"),
            'average=\'all\'; pass "macro" or "micro"',
        ),
        (lambda: metrics.precision_within_radius(total, total, 3), "radius=3; pass 0 to 2"),
        (lambda: metrics.recall_within_radius(total, total, -1), "radius=-1; pass 0 to 2"),
        (
            lambda: metrics.precision_within_radius(total, total, 1, empty_ball="one"),
            'empty_ball=\'one\'; pass "zero" or "skip"',
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
