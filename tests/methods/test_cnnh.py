"""CNNH's first stage against its definition, with L in full, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from dsh_jax.methods import cnnh

key = jax.random.PRNGKey(0)
seeds = st.integers(0, 2**32 - 1)
ROWS, BITS = 24, 5


def random_labels(seed, multilabel):
    rng = np.random.default_rng(seed)
    if not multilabel:
        return np.eye(4, dtype=int)[rng.integers(0, 4, ROWS)]
    return np.maximum(rng.random((ROWS, 4)) < 0.3, np.eye(4)[rng.integers(0, 4, ROWS)]).astype(int)


def similarity(label):
    return np.where(label @ label.T > 0, 1.0, -1.0)


def loss_of(label, code):
    return ((similarity(label) - code @ code.T / code.shape[1]) ** 2).mean()


def descend_by_definition(label, code, orders):
    """The definition: L is kept in full, and each step costs O(N)."""
    code, bits = np.array(code, np.float64), code.shape[1]
    losses = [loss_of(label, code)]
    for order in orders:
        new, full = code.copy(), code @ code.T - bits * similarity(label)
        for i in order:
            for j in range(bits):
                slope = 4 * full[i] @ new[:, j]
                curvature = 4 * (new[:, j] @ new[:, j] + new[i, j] ** 2 + full[i, i])
                step = -slope / curvature if curvature > 4e-6 else -np.sign(slope) * 2
                new[i, j] += np.clip(step, -1 - new[i, j], 1 - new[i, j])
                full = new @ new.T - bits * similarity(label)
        losses.append(min(loss_of(label, new), losses[-1]))
        code = new if losses[-1] < losses[-2] else code
    return code, losses


@settings(deadline=None, max_examples=15)
@given(seed=seeds, multilabel=st.booleans())
def test_sweeps_are_those_of_the_definition(seed, multilabel):
    label = random_labels(seed, multilabel)
    start_key, order_key = jax.random.split(jax.random.PRNGKey(seed))
    start = jax.random.uniform(start_key, (ROWS, BITS), minval=-1.0, maxval=1.0)
    found, found_loss = descend(order_key, cnnh.label_sets(label), start, 1)
    orders = [jax.random.permutation(jax.random.fold_in(order_key, 0), ROWS)]
    wanted, loss = descend_by_definition(label, np.asarray(start), np.asarray(orders))
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-4)


def descend(key, sets, start, sweeps):
    """Descend, with sets added that no row has, so that all calls share one compilation."""
    extra = 16 - len(sets.similar_UxU)
    similar = jnp.pad(sets.similar_UxU, ((0, extra), (0, extra)))
    return cnnh.descend(key, sets._replace(similar_UxU=similar), start, sweeps=sweeps)


@settings(deadline=None, max_examples=15)
@given(seed=seeds, multilabel=st.booleans())
def test_the_loss_never_rises_and_is_that_of_the_codes(seed, multilabel):
    label = random_labels(seed, multilabel)
    start = jax.random.uniform(jax.random.PRNGKey(seed), (ROWS, BITS), minval=-1.0, maxval=1.0)
    code, loss = descend(key, cnnh.label_sets(label), start, 6)
    assert (np.diff(loss) <= 0).all()
    np.testing.assert_allclose(loss[0], loss_of(label, np.asarray(start, np.float64)), rtol=1e-5)
    np.testing.assert_allclose(loss[-1], loss_of(label, np.asarray(code, np.float64)), rtol=1e-4)
    assert np.abs(code).max() <= 1


def test_label_sets_are_the_similarity_of_rows():
    for multilabel in (False, True):
        label = random_labels(1, multilabel)
        set_n, similar = map(np.asarray, cnnh.label_sets(label))
        np.testing.assert_array_equal(similar[set_n][:, set_n], similarity(label))
        assert len(similar) == len(np.unique(label, axis=0))


def test_codes_of_two_classes_are_two_opposite_codes():
    # S = ±1 has rank 1 here, so the loss can reach 0, and does.
    label = np.eye(2, dtype=int)[np.arange(30) % 2]
    code = np.asarray(cnnh.fit_codes(key, label, bits=8))
    np.testing.assert_array_equal(code @ code.T, 8 * similarity(label))


def test_codes_are_one_a_class_and_far_apart():
    # Class after class, as in sorted data sets, which stalls sweeps in the order of the rows.
    label = np.repeat(np.eye(10, dtype=int), 30, axis=0)
    code = np.asarray(cnnh.fit_codes(key, label, bits=24, sweeps=8))
    assert set(np.unique(code)) == {-1, 1}
    within, between = code @ code.T / 24, similarity(label)
    assert within[between > 0].mean() > 0.95
    assert within[between < 0].mean() < -0.05
    assert within[between < 0].max() < 0.7


def test_codes_follow_from_the_key():
    label = random_labels(0, True)
    one, same, other = (
        np.asarray(cnnh.fit_codes(jax.random.PRNGKey(n), label, bits=BITS)) for n in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("label", "bits", "message"),
    [
        (np.array([[1, 0], [0, 0]]), 4, "1 rows without any"),
        (np.array([1, 0]), 4, r"shape \(2,\)"),
        (np.eye(2), 0, "bits is 0"),
    ],
)
def test_errors_say_what_to_do(label, bits, message):
    with pytest.raises(ValueError, match=message):
        cnnh.fit_codes(key, label, bits=bits)


# The second stage.


def test_codes_loss_by_hand():
    loss = cnnh.codes_loss(jnp.array([[0.5, 1.0], [0.0, 0.25]]), jnp.array([[1, 1], [-1, -1]]))
    np.testing.assert_allclose(loss, [0.125, 0.03125])
    with pytest.raises(AssertionError):
        cnnh.codes_loss(jnp.ones((2, 2)), jnp.ones((2, 3)))


def test_codes_loss_gradient_agrees_with_finite_differences():
    bcoding, target = jnp.array([[0.5, 0.9], [0.2, 0.25]]), jnp.array([[1, 1], [-1, -1]])
    check_grads(
        lambda b: cnnh.codes_loss(b, target), (bcoding,), order=1, modes=["rev"],
        atol=1e-2, rtol=1e-2, eps=1e-2,
    )  # fmt: skip
