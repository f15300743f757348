"""Average precision and information as losses: exact at bits, with the slope of the value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import assert_four_devices_as_one

from dsh_jax import metrics, retrieval
from dsh_jax.codes import pack_bits
from dsh_jax.losses import ranking

METHODS = {"talr": ranking.talr, "mihash": ranking.mihash}
all_methods = pytest.mark.parametrize("method", METHODS)
COMPILED = {name: jax.jit(method) for name, method in METHODS.items()}


def batch_of(seed, rows=16, bits=6, classes=3):
    rng = np.random.default_rng(seed)
    bit = rng.random((rows, bits)) < 0.5
    label = rng.random((rows, classes)) < 0.4
    return bit, label, rng.random(rows) < 0.8


def counts_of(bit, label, known):
    """The evaluator's counts of each known row against the others."""
    rows, packed = np.flatnonzero(known & label.any(1)), np.asarray(pack_bits(bit))
    own = packed[rows], label[rows]
    return rows, retrieval.distance_counts(
        *own, *own, bits=bit.shape[1], self_Q=np.arange(len(rows))
    )


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_at_bits_the_loss_is_the_evaluators_average_precision(seed):
    bit, label, known = batch_of(seed)
    _rows, counts = counts_of(bit, label, known)
    total, _ = COMPILED["talr"](
        jnp.where(bit, 1.0, -1.0), jnp.asarray(label, jnp.float32), jnp.asarray(known)
    )
    ap_Q = np.asarray(metrics.average_precision(*counts))
    has_any = counts[1].sum(1) > 0
    wanted = 1 - ap_Q[has_any].mean() if has_any.any() else 0
    assert float(total) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("items", "bits"), [(10, 1), (500, 12), (4000, 64), (4000, 2)])
def test_average_precision_of_whole_counts_is_the_evaluators(items, bits):
    rng = np.random.default_rng(0)
    cut = rng.dirichlet(np.full(bits + 1, 0.3), 50)
    total = np.stack([rng.multinomial(items, share) for share in cut])
    relevant = rng.binomial(total, rng.uniform(0, 1, total.shape))
    actual = ranking.average_precision(
        jnp.asarray(total, jnp.float32), jnp.asarray(relevant, jnp.float32)
    )
    np.testing.assert_allclose(actual, metrics.average_precision(total, relevant), atol=1e-6)


@pytest.mark.parametrize("most", [0.1, 1, 3, 30])
def test_average_precision_of_any_counts_is_a_share_and_continuous(most):
    rng = np.random.default_rng(0)
    total = most * rng.random((500, 8)) * (rng.random((500, 8)) < 0.8)
    relevant = total * rng.choice([0, 0.1, 0.9, 1], (500, 8))
    ap = ranking.average_precision(jnp.asarray(total), jnp.asarray(relevant))
    assert ap.min() >= 0
    assert ap.max() <= 1 + 1e-6
    every = ranking.average_precision(jnp.asarray(total), jnp.asarray(total))
    np.testing.assert_allclose(every, total.any(1), atol=1e-6)
    for scale in (1 - 1e-5, 1 + 1e-5):
        near = ranking.average_precision(jnp.asarray(total * scale), jnp.asarray(relevant * scale))
        np.testing.assert_allclose(near, ap, atol=1e-4)


def test_average_precision_by_hand_where_items_are_in_part():
    # Half a relevant item; then its other half among 1.5 items, where r = 0.
    ap = ranking.average_precision(jnp.array([[0.5, 1.5]]), jnp.array([[0.5, 0.5]]))
    ranks = float(jax.scipy.special.digamma(3.0) - jax.scipy.special.digamma(1.5))
    assert float(ap[0]) == pytest.approx(0.5 * 1 + 0.5 * 1.5 * ranks / 1.5, abs=1e-6)


def test_counts_by_hand():
    # Distances 0, 1.5 and 4 of four bits.
    query = jnp.array([[1.0, 1, 1, 1]])
    items = jnp.array([[1.0, 1, 1, 1], [1, 1, 0, -1], [-1, -1, -1, -1]])
    counts = ranking.soft_counts(query, items, jnp.array([[1.0, 1, 2]]))
    np.testing.assert_allclose(counts, [[1, 0.5, 0.5, 0, 2]])


def test_information_by_hand():
    ones = jnp.ones(4, bool)
    label = jnp.eye(2)[jnp.array([0, 0, 1, 1])]
    # Distance tells all: 0 to the row's like, 2 to the others.
    apart = jnp.array([[1.0, 1], [1, 1], [-1, -1], [-1, -1]])
    assert ranking.mihash(apart, label, ones)[0] == pytest.approx(0, abs=1e-6)
    # Distance tells nothing.
    assert ranking.mihash(jnp.ones((4, 2)), label, ones)[0] == pytest.approx(1, abs=1e-6)
    # One of two others is at the distance of the like.
    half = jnp.array([[1.0, 1], [1, 1], [1, 1], [-1, -1]])
    known = jnp.array([True, True, True, True])
    entropy = -(1 / 3 * np.log(1 / 3) + 2 / 3 * np.log(2 / 3))
    first = 1 - (entropy - 2 / 3 * np.log(2)) / entropy  # rows 0 and 1
    third = 1 - (entropy - 2 / 3 * 0) / entropy  # row 2: its like is apart
    fourth = 1 - 0.0  # row 3: all are at distance 2
    wanted = (2 * first + third + fourth) / 4
    assert ranking.mihash(half, label, known)[0] == pytest.approx(wanted, abs=1e-5)


@all_methods
def test_slope_is_that_of_the_value(method):
    _, label, known = batch_of(1)
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        logit = jnp.asarray(rng.normal(size=(16, 6)))
        labels = jnp.asarray(label, jnp.float64), jnp.asarray(known)
        value = jax.jit(lambda logit: METHODS[method](jnp.tanh(logit), *labels)[0])
        slope = jax.grad(value)(logit)
        for _ in range(5):
            way = rng.normal(size=logit.shape)
            step = (value(logit + 1e-6 * way) - value(logit - 1e-6 * way)) / 2e-6
            assert float((slope * way).sum()) == pytest.approx(float(step), rel=1e-5, abs=1e-9)


@all_methods
def test_four_devices_give_the_value_and_gradient_of_one(method):
    rng = np.random.default_rng(3)
    label = rng.random((20, 4)) < 0.4
    rows = jnp.asarray(rng.normal(size=(20, 6)), jnp.float32), jnp.asarray(label, jnp.float32)
    known = jnp.asarray(rng.random(20) < 0.8)

    def loss(code, *labels, axis_name):
        return METHODS[method](jnp.tanh(code), *labels, axis_name=axis_name)

    assert assert_four_devices_as_one(loss, (*rows, known), rng.normal(size=(6, 5))) > 0


@all_methods
@pytest.mark.parametrize("labelled", [[], [2], [0, 1, 2]])
def test_batches_without_relevant_rows_have_no_loss(method, labelled):
    known = np.isin(np.arange(4), labelled)
    rows = jnp.zeros((4, 6)), jnp.eye(4), jnp.asarray(known)
    value, slope = jax.value_and_grad(lambda code: METHODS[method](code, *rows[1:])[0])(rows[0])
    assert value == 0
    np.testing.assert_array_equal(slope, np.zeros((4, 6)))


@all_methods
def test_a_few_steps_of_descent_put_the_like_together(method):
    label = jnp.eye(4)[jnp.arange(32) % 4]
    logit = 0.1 * jax.random.normal(jax.random.key(0), (32, 8))
    step = jax.jit(
        jax.value_and_grad(lambda z: METHODS[method](jnp.tanh(z), label, jnp.ones(32, bool))[0])
    )
    first, _ = step(logit)
    for _ in range(200):
        value, slope = step(logit)
        logit = logit - 0.2 * slope / (jnp.abs(slope).max() + 1e-9)
    assert value < first / 4
