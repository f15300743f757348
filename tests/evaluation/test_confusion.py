"""Classes among neighbours, worked by hand and against every order of the ties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from dsh_jax import codes
from dsh_jax.evaluation import confusion

# Three database codes of two bits, at distance 0, 1 and 1 from 00, and at 2, 1 and 1 from 11.
DATABASE = np.array([[0b00], [0b01], [0b10]], np.uint8)
CLASSES = np.eye(2, dtype=np.uint8)[[0, 0, 1]]
QUERY = np.array([[0b00], [0b11]], np.uint8)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [[1, 0], [0.5, 0.5]]),  # the second query's two nearest are a tie
        (2, [[0.75, 0.25], [0.5, 0.5]]),
        (3, [[2 / 3, 1 / 3], [2 / 3, 1 / 3]]),
    ],
)
def test_shares_worked_by_hand(k, expected):
    share = confusion.class_shares(QUERY, DATABASE, CLASSES, bits=2, k=k)
    np.testing.assert_allclose(share, expected, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_shares_are_the_mean_over_all_orders_of_ties(data):
    bit = data.draw(st.lists(st.integers(0, 3), min_size=5, max_size=5))
    label = data.draw(st.lists(st.integers(0, 7), min_size=5, max_size=5))
    k = data.draw(st.integers(1, 5))
    label_RxC = np.array(label)[:, None] >> np.arange(3) & 1
    database = np.array(bit, np.uint8)[:, None]
    share = confusion.class_shares(QUERY[:1], database, label_RxC, bits=2, k=k)
    distance = [value.bit_count() for value in bit]
    orders = [p for p in itertools.permutations(range(5)) if sorted(p, key=distance.__getitem__)
              == list(p)]  # fmt: skip
    mean = np.mean([label_RxC[list(order[:k])].mean(axis=0) for order in orders], axis=0)
    np.testing.assert_allclose(share[0], mean, rtol=1e-5, atol=1e-6)


def test_order_of_the_database_does_not_matter():
    rng = np.random.default_rng(0)
    query, database = (rng.integers(0, 16, (n, 1), np.uint8) for n in (7, 60))
    label = np.eye(4, dtype=np.uint8)[np.arange(60) // 15]  # sorted by class, as folders are
    order = rng.permutation(60)
    shares = [
        confusion.class_shares(query, database[rows], label[rows], bits=4, k=10)
        for rows in (np.arange(60), order)
    ]
    np.testing.assert_allclose(*shares, rtol=1e-6)


@pytest.mark.parametrize("k", [0, 4])
def test_neighbours_that_are_not_there_are_refused(k):
    with pytest.raises(ValueError, match=f"k is {k}; the database has 3 rows: pass 1 to as many"):
        confusion.class_shares(QUERY, DATABASE, CLASSES, bits=2, k=k)


def test_confusion_worked_by_hand():
    label = np.eye(2)[[0, 0, 1]]
    share = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    matrix = confusion.neighbour_confusion(label, share)
    np.testing.assert_allclose(matrix, [[0.75, 0.25], [0.2, 0.8]], rtol=1e-6)


def test_query_with_several_classes_counts_for_each():
    label = np.array([[1, 1, 0], [1, 0, 0]])
    share = np.array([[1.0, 0.5, 0.5], [0.6, 0.0, 0.2]])
    matrix = np.asarray(confusion.neighbour_confusion(label, share))
    np.testing.assert_allclose(matrix[:2], [[0.8, 0.25, 0.35], [1.0, 0.5, 0.5]], rtol=1e-6)
    assert np.isnan(matrix[2]).all()  # no query has the third class


def test_nearest_neighbour_confusion_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    truth, found = rng.integers(0, 5, (2, 200))
    matrix = confusion.neighbour_confusion(np.eye(5)[truth], np.eye(5)[found])
    np.testing.assert_allclose(
        matrix, confusion_matrix(truth, found, normalize="true"), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"labels have shape \(2, 3\) and shares \(2, 4\)"):
        confusion.neighbour_confusion(np.zeros((2, 3)), np.zeros((2, 4)))


def test_most_confused_pairs_come_first_and_the_diagonal_never():
    matrix = np.array([[0.9, 0.1, 0.0], [0.3, 0.4, 0.3], [np.nan, np.nan, np.nan]])
    assert confusion.most_confused(matrix, 10) == [(1, 0), (1, 2), (0, 1)]
    assert confusion.most_confused(matrix, 1) == [(1, 0)]
    assert matrix[0, 0] == 0.9


def test_confusion_of_codes_says_what_it_counts():
    query = QUERY, np.eye(2, dtype=np.uint8)
    shown = confusion.of_codes(query, (DATABASE, CLASSES), "ab", bits=2, title="database=train")
    np.testing.assert_allclose(shown.share_CxC, [[2 / 3, 1 / 3]] * 2, rtol=1e-6)
    np.testing.assert_allclose(shown.database_C, [2 / 3, 1 / 3])
    assert "the 3 nearest rows of database=train" in shown.note
    assert "several classes" not in shown.note
    several = QUERY, np.ones((2, 2), np.uint8)
    shown = confusion.of_codes(several, (DATABASE, CLASSES), "ab", bits=2, title="it", most=1)
    assert "the 1 nearest rows of it" in shown.note
    assert "several classes" in shown.note


def test_codes_of_ones_class_are_not_confused():
    bit = np.eye(3, 6, dtype=np.uint8)[np.arange(30) % 3]
    packed, label = np.asarray(codes.pack_bits(bit)), np.eye(3, dtype=np.uint8)[np.arange(30) % 3]
    shown = confusion.of_codes((packed, label), (packed, label), "abc", bits=6, title="it")
    np.testing.assert_allclose(shown.share_CxC, np.eye(3), atol=1e-6)
