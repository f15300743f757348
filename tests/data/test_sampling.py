"""Random choices of rows: exact numbers, equal shares, every label."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dsh_jax.data import sampling

seeds = st.integers(0, 2**32 - 1)
labels = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 6)), elements=st.integers(0, 1)
)


def generator(seed=0):
    return np.random.default_rng(seed)


def single_label(rows_per_class, seed=0):
    label = np.repeat(np.arange(len(rows_per_class)), rows_per_class)
    return np.eye(len(rows_per_class), dtype=np.uint8)[generator(seed).permutation(label)]


def correlated_labels(rows, classes, seed=0):
    """Labels that occur together, the first in 3 of 10 rows, the last in 1 of 1,000 or so."""
    rng = generator(seed)
    score = rng.normal(size=(rows, 4)) @ rng.normal(size=(4, classes)) / 2
    score += rng.normal(size=score.shape)
    share = np.maximum(0.3 / np.arange(1, classes + 1) ** 1.3, 1e-3)
    threshold = [np.quantile(column, 1 - p) for column, p in zip(score.T, share, strict=True)]
    return (score > threshold).astype(np.uint8)


def check(chosen, rows):
    """Chosen rows are sorted, of `rows`, and none is there twice."""
    assert np.all(np.diff(chosen) > 0)
    assert np.isin(chosen, rows).all()


# So many of each class.


def owned_rows():
    """The rarest of a row's classes owns it: 4 rows each, though 12, 8 and 4 hold the class."""
    label = [[1, 0, 0]] * 4 + [[1, 1, 0]] * 4 + [[1, 0, 1]] * 2 + [[1, 0, 1]] * 2
    return np.array(label, np.uint8)


def test_a_multilabel_row_counts_for_its_rarest_class():
    for count in (1, 4):
        chosen = sampling.take_per_class(np.arange(12), owned_rows(), count, generator())
        owners = np.repeat([0, 1, 2], 4)[chosen]
        np.testing.assert_array_equal(np.bincount(owners), [count] * 3)


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(3)), seed=seeds)
def test_the_owner_of_a_row_does_not_depend_on_the_order_of_the_classes(order, seed):
    # Row 0 has no label, hence no class. Taking all that a class owns leaves nothing to chance.
    label = np.concatenate([np.zeros((1, 3), np.uint8), owned_rows()])
    chosen = sampling.take_per_class(np.arange(13), label[:, order], 4, generator(seed))
    np.testing.assert_array_equal(chosen, np.arange(1, 13))


def test_take_per_class_chooses_among_the_given_rows_at_random():
    label = single_label([100] * 5)
    rows = np.arange(100, 500)
    chosen, others = (sampling.take_per_class(rows, label, 20, generator(s)) for s in (0, 1))
    np.testing.assert_array_equal(label[chosen].sum(0, dtype=int), [20] * 5)
    check(chosen, rows)
    assert 0 < len(np.setdiff1d(chosen, others)) < 100


# At least so many of each class.


@given(labels, st.integers(1, 5), seeds)
def test_covering_has_enough_of_every_class_with_no_more_rows_than_one_a_lack(label, count, seed):
    frequency = label.sum(0, dtype=int)
    rows = np.arange(len(label))
    scarce = (frequency > 0) & (frequency < count)
    if scarce.any():
        c = np.where(frequency > 0, frequency, count).argmin()
        message = f"{count} rows of each class are wanted, but class {c} has only {frequency[c]}: "
        with pytest.raises(ValueError, match=f"{message}ask for at most {frequency[c]}"):
            sampling.take_covering(rows, label, count, generator(seed))
        return
    chosen = sampling.take_covering(rows, label, count, generator(seed))
    check(chosen, rows)
    found = label[chosen].sum(0, dtype=int)
    assert np.all(found[frequency > 0] >= count)
    assert len(chosen) <= count * np.count_nonzero(frequency)


def test_covering_takes_exactly_so_many_of_single_labels():
    label = single_label([9, 50, 23])
    rows = np.arange(5, 82)
    chosen = sampling.take_covering(rows, label, 4, generator())
    check(chosen, rows)
    np.testing.assert_array_equal(label[chosen].sum(0, dtype=int), [4, 4, 4])


def test_covering_counts_rows_that_a_rarer_class_brought():
    # All of the rarest class are needed, and bring the two that each other class needs.
    label = np.array([[1, 1, 1]] * 2 + [[0, 1, 0]] * 20 + [[0, 0, 1]] * 30, np.uint8)
    chosen = sampling.take_covering(np.arange(52), label, 2, generator())
    np.testing.assert_array_equal(chosen, [0, 1])


# Each label in its share.


@settings(deadline=None)
@given(labels, st.data(), seeds)
def test_a_stratified_choice_has_the_exact_size_and_loses_no_label_that_fits(label, data, seed):
    rows = np.flatnonzero(data.draw(arrays.arrays(bool, len(label))))
    count = data.draw(st.integers(0, len(rows)))
    chosen = sampling.take_stratified(rows, label, count, generator(seed))
    check(chosen, rows)
    assert len(chosen) == count
    occurs = label[rows].any(0)
    # One row for each label, and one for those without, is always enough.
    if count > np.count_nonzero(occurs):
        np.testing.assert_array_equal(label[chosen].any(0), occurs)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(5, 60), min_size=1, max_size=6), st.floats(0.4, 1), seeds)
def test_a_class_of_single_labels_misses_its_share_by_less_than_one_row(sizes, fraction, seed):
    label = single_label(sizes, seed)
    count = round(fraction * len(label))
    chosen = sampling.take_stratified(np.arange(len(label)), label, count, generator(seed))
    wanted = np.array(sizes) * count / len(label)
    assert np.all(np.abs(label[chosen].sum(0, dtype=int) - wanted) < 1)


@pytest.mark.parametrize("count", [200, 1000, 9500])
def test_labels_that_occur_together_keep_their_shares(count):
    label = correlated_labels(10_000, 40)
    chosen = sampling.take_stratified(np.arange(10_000), label, count, generator())
    total = label.sum(0, dtype=int)
    found = label[chosen].sum(0, dtype=int)
    assert len(chosen) == count
    assert found[total > 0].min() >= 1
    # Plain random rows miss by the standard deviation below: 6 rows for the first label of 200.
    share = total / len(label)
    deviation = np.sqrt(count * share * (1 - share) * (1 - count / len(label)))
    missed = np.abs(found - np.maximum(share * count, 1))
    assert np.sqrt((missed**2).mean()) < 0.5 * np.sqrt((deviation**2).mean())
    assert missed.max() < 5


def test_rows_without_a_label_keep_their_share_too():
    label = np.zeros((100, 2), np.uint8)
    label[:60, 0] = 1
    chosen = sampling.take_stratified(np.arange(100), label, 50, generator())
    np.testing.assert_array_equal(label[chosen].sum(0, dtype=int), [30, 0])


def test_a_class_of_less_than_one_row_gets_one():
    chosen = sampling.take_stratified(np.arange(101), single_label([100, 1]), 10, generator())
    np.testing.assert_array_equal(single_label([100, 1])[chosen].sum(0, dtype=int), [9, 1])


def test_fewer_rows_than_labels_are_still_exact():
    assert len(sampling.take_stratified(np.arange(50), single_label([10] * 5), 3, generator())) == 3


def test_seeds_choose_the_same_rows_again_and_other_seeds_others():
    label = correlated_labels(1000, 10)
    take = sampling.take_stratified
    first, again, other = (take(np.arange(1000), label, 100, generator(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert len(np.setdiff1d(first, other)) > 30


def test_more_rows_than_there_are_are_refused():
    with pytest.raises(ValueError, match="3 rows are wanted of 2: ask for at most 2"):
        sampling.take_stratified(np.arange(2), single_label([1, 1]), 3, generator())


# Memory.


@pytest.mark.parametrize(
    ("choose", "count"),
    [
        (sampling.take_per_class, 1),
        (sampling.take_covering, 20),
        (sampling.take_stratified, 20_000),
    ],
)
def test_large_label_tables_are_not_widened(choose, count):
    label = (generator().random((100_000, 81), np.float32) < 0.024).astype(np.uint8)
    label[np.arange(81), np.arange(81)] = 1
    tracemalloc.start()
    choose(np.arange(len(label)), label, count, generator())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * label.nbytes  # int64 would be 8 times
