"""Zhang and Peng's objective: graph, pseudo-labels, terms by hand, and on four devices."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import assert_slope

from dsh_jax import losses
from dsh_jax.losses.triplets import Triplets
from dsh_jax.methods import ssdh_zhang

key = jax.random.PRNGKey(0)
seeds = st.integers(0, 2**32 - 1)


def batch_of(seed, rows=16, bits=6, classes=4, labelled=0.5):
    """Codes, features, scores, multi-hot labels of which some are empty, the mask."""
    rng = np.random.default_rng(seed)
    real = rng.random((rows, bits)), rng.normal(size=(rows, 5)), rng.normal(size=(rows, classes))
    label = rng.random((rows, classes)) < 0.3
    return *(jnp.array(a, jnp.float32) for a in (*real, label)), jnp.array(
        rng.random(rows) < labelled
    )


@functools.partial(jax.jit, static_argnames="official")
def value_terms_slope(*rows, official=False):
    """The total, the terms, and the gradients by codes, features and scores."""
    function = functools.partial(ssdh_zhang.ssdh, key, official=official)
    (total, terms), slopes = jax.value_and_grad(function, argnums=(0, 1, 2), has_aux=True)(*rows)
    return total, terms, slopes


# The graph.


def test_graph_partners_have_the_official_ranks():
    feature = jnp.array(np.random.default_rng(1).normal(size=(128, 3)), jnp.float32)
    draw = jax.jit(jax.vmap(ssdh_zhang.graph_triplets, in_axes=(0, None)))
    draws = draw(jax.random.split(key, 60), feature)
    square = ((np.asarray(feature)[:, None] - np.asarray(feature)[None]) ** 2).sum(-1)
    rank = square.argsort(-1).argsort(-1)  # each row's own rank is 0
    near, far = (np.asarray(part) for part in draws[:2])
    anchor = np.arange(128)[None]
    assert set(rank[anchor, near].ravel()) == set(range(1, 9))
    assert set(rank[anchor, far].ravel()) == set(range(114, 124))
    assert draws.counts_N.all()


def test_graph_of_equal_rows_never_joins_a_row_with_itself():
    graph = jax.jit(ssdh_zhang.graph_triplets)(key, jnp.ones((12, 3)))
    assert (graph.positive_N != np.arange(12)).all()
    assert (graph.negative_N != np.arange(12)).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_graph_of_few_rows_has_valid_partners(rows):
    graph = jax.jit(ssdh_zhang.graph_triplets)(key, jnp.arange(float(rows))[:, None])
    graph = jax.tree.map(np.asarray, graph)
    for partner in graph[:2]:
        assert ((partner >= 0) & (partner < rows)).all()
        assert rows == 1 or (partner != np.arange(rows)).all()
    np.testing.assert_array_equal(graph.counts_N, np.full(rows, rows > 1))


# Pseudo-labels.


@settings(deadline=None, max_examples=25)
@given(seed=seeds)
def test_pseudo_partners_are_what_they_should_be_and_none_is_missed(seed):
    _, _, score, label, is_labelled = batch_of(seed, rows=10)
    known = is_labelled & (label > 0).any(-1)
    drawn = jax.jit(ssdh_zhang.pseudo_triplets)(jax.random.PRNGKey(seed), score, label, known)
    s, y, known = np.asarray(score), np.asarray(label) > 0, np.asarray(known)
    for a, (p, n, counts) in enumerate(zip(*map(np.asarray, drawn), strict=True)):
        best, worst = s[a].argmax(), s[a].argmin()
        positive, negative = set(), set()
        for j in set(range(10)) - {a}:
            if known[j]:
                has, lacks = y[j, best], y[j, worst]
            else:
                has, lacks = s[j].argmax() == best, s[j].argmax() == worst
            positive |= {j} if has and not lacks else set()
            negative |= {j} if lacks and not has else set()
        assert counts == bool(not known[a] and positive and negative)
        assert not counts or (p in positive and n in negative)


# Losses.


def test_contrastive_loss_by_hand():
    code = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    partners = Triplets(
        jnp.array([1, 0, 0, 0]), jnp.array([2, 3, 0, 0]), jnp.array([True, True, True, False])
    )
    # 1 + (3 - 2)², 1 + 0 (far enough), 4 + (3 - 2)².
    assert ssdh_zhang.contrastive_loss(code, partners) == pytest.approx((2 + 1 + 5) / 3 / 2)


def test_contrastive_loss_of_equal_codes_has_no_slope():
    partners = Triplets(jnp.array([1, 0]), jnp.array([1, 0]), jnp.ones(2, bool))
    value, slope = jax.value_and_grad(lambda c: ssdh_zhang.contrastive_loss(c, partners))(
        jnp.ones((2, 3))
    )
    assert value == 4.5
    np.testing.assert_array_equal(slope, np.zeros((2, 3)))


def test_terms_by_hand():
    # Rows 0 and 1 of class 0, row 2 of class 1; row 3 is taken for class 0, and not for 1.
    code = jnp.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    score = jnp.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [2, -1, 0]])
    label = jnp.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    is_labelled = jnp.array([True, True, True, False])
    same = jnp.array([[0.0], [0.1], [5.0], [5.1]])
    ssdh = jax.jit(ssdh_zhang.ssdh, static_argnames=("neighbours", "far"))
    total, terms = ssdh(
        key, code, same, score, label, is_labelled, neighbours=1, far=(0.75, 1.0), unlabelled=0.5
    )
    # Anchor 0: 1 + 1 - 1; anchor 1: 1 + 1 - 2.
    assert terms["ranking"] == pytest.approx(((1 + 1 - 1) + (1 + 1 - 2)) / 2 / 2)
    # The nearest are 1, 0, 3, 2, the farthest 3, 3, 0, 0.
    far = [(3 - np.sqrt(2)) ** 2, 2**2, 2**2, (3 - np.sqrt(2)) ** 2]
    assert terms["graph"] == pytest.approx((4 * 1 + sum(far)) / 4 / 2, rel=1e-6)
    # Row 3 with 0 or 1, at squares 2 and 1, and with 2, at 1.
    assert float(terms["pseudo"]) in (pytest.approx((2 + 4) / 2), pytest.approx((1 + 4) / 2))
    assert terms["classification"] == pytest.approx(3 * np.log(2), rel=1e-6)
    wanted = terms["ranking"] + terms["classification"] + (terms["graph"] + terms["pseudo"]) / 2
    assert total == pytest.approx(float(wanted), rel=1e-6)


def test_classification_is_cross_entropy_or_the_official_gradient():
    rows = batch_of(2)
    score, label, is_labelled = rows[2:]
    known = is_labelled & (label > 0).any(-1)
    _, terms, (_, _, slope) = value_terms_slope(*rows)
    value_B = losses.multilabel_cross_entropy(score, label)
    assert terms["classification"] == pytest.approx(float(value_B[known].mean()), rel=1e-5)
    error = (jax.nn.sigmoid(score) - label) * known[:, None] / known.sum()
    np.testing.assert_allclose(slope, error, atol=1e-6)
    # The official gradient passes the error through the sigmoid once more.
    _, _, (_, _, slope) = value_terms_slope(*rows, official=True)
    once_more = jax.nn.sigmoid(score) * jax.nn.sigmoid(-score)
    np.testing.assert_allclose(slope, error * once_more, atol=1e-6)


# Gradients, empty batches, labels that must not be read.


def test_no_gradient_goes_through_the_graph():
    _, _, (_, feature, _) = value_terms_slope(*batch_of(3))
    np.testing.assert_array_equal(feature, np.zeros_like(feature))


def test_scores_of_unlabelled_rows_have_no_gradient():
    rows = batch_of(3)
    _, terms, (_, _, score) = value_terms_slope(*rows)
    assert terms["pseudo"] > 0
    np.testing.assert_array_equal(score[~rows[-1]], np.zeros_like(score[~rows[-1]]))


@pytest.mark.parametrize("official", [False, True])
def test_gradients_agree_with_finite_differences(official):
    code, feature, score, *labels = batch_of(4)
    _, _, slopes = value_terms_slope(code, feature, score, *labels, official=official)
    assert_slope(
        lambda c, s: value_terms_slope(c, feature, s, *labels, official=official)[0],
        [code, score],
        [slopes[0], slopes[2]],
    )


@pytest.mark.parametrize(
    ("label", "labelled", "zero"),
    [
        (np.eye(4), [0, 1, 2, 3], "ranking"),  # no positive
        (np.ones((4, 4)), [0, 1, 2, 3], "ranking"),  # no negative
        (np.ones((4, 4)), [], "classification"),
        (np.zeros((4, 4)), list(range(16)), "classification"),
        (np.ones((16, 4)), list(range(16)), "pseudo"),  # all labelled
    ],
)
def test_batches_that_lack_something_are_finite(label, labelled, zero):
    rows = [np.zeros((16, size), np.float32) for size in (6, 5, 4, 4)] + [np.zeros(16, bool)]
    rows[3][: len(label)] = label
    rows[4][labelled] = True
    value, terms, slopes = value_terms_slope(*rows)
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert terms[zero] == 0


def test_labels_of_unlabelled_rows_are_not_read():
    *rows, label, is_labelled = batch_of(5)
    other = jnp.where(is_labelled[:, None], label, 1 - label)
    chex.assert_trees_all_equal(
        value_terms_slope(*rows, label, is_labelled), value_terms_slope(*rows, other, is_labelled)
    )


def test_weight_zero_leaves_the_supervised_terms():
    rows = batch_of(6)
    total, terms = jax.jit(ssdh_zhang.ssdh)(key, *rows, unlabelled=0.0)
    assert total == pytest.approx(float(terms["ranking"] + terms["classification"]), rel=1e-6)


# Four devices.


@pytest.mark.parametrize("labelled", [0.0, 0.6])
def test_four_devices_give_the_value_and_gradient_of_one(labelled):
    rows = batch_of(7, rows=20, labelled=labelled)
    weight = jnp.array(np.random.default_rng(8).normal(size=(6, 5)), jnp.float32)

    def graded(axis_name):
        def loss(weight, code, *rest):
            return ssdh_zhang.ssdh(key, jax.nn.sigmoid(code @ weight), *rest, axis_name=axis_name)

        def value_terms_slope(*rows):
            (total, terms), slope = jax.value_and_grad(loss, has_aux=True)(*rows)
            return total, terms, slope if axis_name is None else jax.lax.pmean(slope, axis_name)

        return value_terms_slope

    one = jax.jit(graded(None))(weight, *rows)
    spread = jax.tree.map(lambda a: a.reshape(4, 5, *a.shape[1:]), rows)
    four = jax.pmap(graded("batch"), axis_name="batch", in_axes=(None, 0, 0, 0, 0, 0))
    found = four(weight, *spread)
    for device in range(4):
        own = jax.tree.map(lambda a, d=device: a[d], found)
        chex.assert_trees_all_close(own, one, rtol=1e-5, atol=1e-6)


def test_unequal_rows_are_refused():
    two, four = jnp.ones((2, 3)), jnp.ones((4, 3))
    with pytest.raises(AssertionError):
        ssdh_zhang.ssdh(key, two, two, two, four, jnp.ones(2, bool))
    with pytest.raises(AssertionError):
        ssdh_zhang.ssdh(key, two, four, two, two, jnp.ones(2, bool))
