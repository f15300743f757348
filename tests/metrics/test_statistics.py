"""Statistics over queries against exact enumeration, theory and their coverage in simulation."""

import itertools

import numpy as np
import pytest

from dsh_jax.metrics import statistics

pytestmark = pytest.mark.optimized


def test_the_interval_is_that_of_all_draws():
    # All 4^4 draws of four values, each as likely.
    value = np.array([0.0, 0.1, 0.4, 1.0])
    means = [np.mean(draw) for draw in itertools.product(value, repeat=4)]
    low, high = statistics.bootstrap_interval(value, seed=0, resamples=50_000, level=0.8)
    # Several draws share a mean, so the quantiles are far from any other.
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])), abs=1e-9)


def test_the_interval_of_many_queries_is_the_normal_one():
    value = np.random.default_rng(0).normal(0.5, 0.2, 5_000)
    low, high = statistics.bootstrap_interval(value, seed=0)
    error = value.std() / np.sqrt(len(value))
    assert low == pytest.approx(value.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(value.mean() + 1.96 * error, abs=0.1 * error)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        low, high = statistics.bootstrap_interval(rng.random(50), seed=seed, resamples=500)
        covered += low <= 0.5 <= high
    # 190 expected, with a standard deviation of 3.
    assert 180 <= covered <= 199


def test_the_seed_decides_and_the_float_type_does_not_matter():
    value = np.random.default_rng(0).random(40).astype(np.float32)
    first = statistics.bootstrap_interval(value, seed=1)
    assert first == statistics.bootstrap_interval(value.astype(np.float64), seed=1)
    assert first != statistics.bootstrap_interval(value, seed=2)


def test_equal_values_have_an_interval_of_no_width():
    assert statistics.bootstrap_interval(np.full(9, 0.25), seed=0) == (0.25, 0.25)


@pytest.mark.parametrize("block", [1, 64, 2**22])
@pytest.mark.parametrize("tenth", [[3, 2, -1, 0, 2, 1], [1, 3, -1, 0, 0, 0]])
def test_the_p_value_is_that_of_all_signs(monkeypatch, block, tenth):
    monkeypatch.setattr(statistics, "_BLOCK", block)
    # In whole numbers, where equal sums are equal; in tenths, rounding tells some of them apart.
    sums = np.array(list(itertools.product([-1, 1], repeat=6))) @ tenth
    exact = np.mean(np.abs(sums) >= abs(sum(tenth)))
    difference = np.array(tenth) / 10
    found = statistics.paired_comparison(difference, np.zeros(6), seed=0, resamples=5_000)
    error = np.sqrt(exact * (1 - exact) / 5_000)
    assert found.p_value == pytest.approx(exact, abs=4 * error)


def test_a_comparison_by_hand():
    a, b = np.array([0.5, 0.7, 0.9, 0.2]), np.array([0.5, 0.6, 0.7, 0.3])
    found = statistics.paired_comparison(a, b, seed=0)
    assert found.difference == pytest.approx(0.05)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.interval == statistics.bootstrap_interval(a - b, seed=0)
    swapped = statistics.paired_comparison(b, a, seed=0)
    assert swapped.difference == pytest.approx(-0.05)
    assert (swapped.wins, swapped.losses) == (1, 2)
    assert swapped.p_value == found.p_value


def test_the_p_value_has_its_bounds():
    value = np.random.default_rng(0).random(100)
    same = statistics.paired_comparison(value, value, seed=0, resamples=99)
    assert (same.p_value, same.ties, same.interval) == (1, 100, (0, 0))
    better = statistics.paired_comparison(value + 1, value, seed=0, resamples=99)
    assert (better.p_value, better.wins) == (1 / 100, 100)


def test_without_a_difference_small_p_values_are_as_rare_as_they_say():
    rng = np.random.default_rng(0)
    p_values = [
        statistics.paired_comparison(*rng.random((2, 20)), seed=seed, resamples=199).p_value
        for seed in range(300)
    ]
    # 60 expected, with a standard deviation of 7.
    assert 39 <= np.sum(np.array(p_values) <= 0.2) <= 81


value = np.array([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: statistics.bootstrap_interval(np.array([0.1, np.nan, 0.3]), seed=0),
            "1 of 3 values are NaN, queries that a metric skipped; leave those queries out",
        ),
        (
            lambda: statistics.paired_comparison(value, value * np.nan, seed=0),
            "3 of 3 b are NaN, queries that a metric skipped",
        ),
        (
            lambda: statistics.bootstrap_interval(value[:1], seed=0),
            r"values have shape \(1,\); pass one value per query, 2 or more",
        ),
        (lambda: statistics.bootstrap_interval(value[None], seed=0), r"values have shape \(1, 3\)"),
        (lambda: statistics.bootstrap_interval(value, seed=0, level=95), "level=95; pass a prob"),
        (lambda: statistics.bootstrap_interval(value, seed=0, resamples=0), "resamples=0; pass"),
        (
            lambda: statistics.paired_comparison(value, value[:2], seed=0),
            "a has 3 queries, b 2; pass the values of the same queries",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
