"""Losses over pairs against loops in numpy, by hand, and on four devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import assert_four_devices_as_one, assert_slope

from dsh_jax.losses import pairs

METHODS = {
    "hashnet": lambda code, *rest, **options: pairs.hashnet(jnp.tanh(code), *rest, **options),
    "dpsh": pairs.dpsh,
    "dsh": functools.partial(pairs.dsh, alpha=0.1),
    "dhn": lambda code, *rest, **options: pairs.dhn(jnp.tanh(code), *rest, **options),
    "dch": pairs.dch,
    "idhn": lambda code, *rest, **options: pairs.idhn(jnp.tanh(code), *rest, **options),
}
all_methods = pytest.mark.parametrize("method", METHODS)


@functools.partial(jax.jit, static_argnames="method")
def value_terms_slope(method, *rows):
    """The total, the terms, and the gradient by the codes; compiled once for rows of one shape."""
    (total, terms), slope = jax.value_and_grad(METHODS[method], has_aux=True)(*rows)
    return total, terms, slope


def batch_of(seed, rows=8, bits=6, classes=4, labelled=0.7):
    """Codes far from the kinks at 0 and ±1, multi-hot labels of which some are empty, the mask."""
    rng = np.random.default_rng(seed)
    code = rng.choice([-1, 1], (rows, bits)) * rng.uniform(0.2, 0.8, (rows, bits))
    label = rng.random((rows, classes)) < 0.3
    return *(jnp.array(a, jnp.float32) for a in (code, label)), jnp.array(
        rng.random(rows) < labelled
    )


def loop_pairs(label, is_labelled):
    """(i, j, s) of each ordered pair that counts."""
    label, known = np.asarray(label) > 0, np.asarray(is_labelled) & (np.asarray(label) > 0).any(1)
    rows = range(len(label))
    return [
        (i, j, bool((label[i] & label[j]).any()))
        for i in rows
        for j in rows
        if i != j and known[i] and known[j]
    ]


def mean(values):
    return float(np.mean(values)) if len(values) else 0.0


# Who is paired.


def test_pairs_by_hand():
    label = jnp.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
    similar, counts, has_label = pairs.label_pairs(
        label, jnp.array([True, True, True, False, True])
    )
    np.testing.assert_array_equal(has_label, [True, True, True, False, False])
    np.testing.assert_array_equal(counts[:3, :3], ~np.eye(3, dtype=bool))
    assert not counts[3:].any()
    assert not counts[:, 3:].any()
    np.testing.assert_array_equal(similar[:3, :3], [[1, 1, 0], [1, 1, 1], [0, 1, 1]])


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_pairs_are_those_of_a_loop(seed):
    _, label, is_labelled = batch_of(seed)
    similar, counts, _ = map(np.asarray, jax.jit(pairs.label_pairs)(label, is_labelled))
    found = [(i, j, bool(similar[i, j])) for i, j in np.argwhere(counts)]
    assert found == loop_pairs(label, is_labelled)


def test_square_distances_by_hand():
    square = pairs.square_distances(jnp.array([[0.0, 3.0], [4.0, 0.0]]))
    np.testing.assert_array_equal(square, [[0, 25], [25, 0]])


# Losses.


def test_hashnet_by_hand():
    # Rows 0 and 1 are alike; row 2 is like neither. 10 / K = 5.
    signed = jnp.array([[1.0, 0.5], [0.5, 1.0], [-1.0, 0.0]])
    label = jnp.array([[1, 0], [1, 0], [0, 1]])
    total, terms = pairs.hashnet(signed, label, jnp.ones(3, bool))
    similar = np.log1p(np.exp(-5 * 1.0))
    dissimilar = (np.log1p(np.exp(-5.0)) + np.log1p(np.exp(-2.5))) / 2
    assert total == pytest.approx(similar + dissimilar, rel=1e-5)
    assert terms == {"pairs": total}


def test_dpsh_by_hand():
    logit = jnp.array([[2.0, 0.0], [1.0, 1.0], [-3.0, 1.0]])
    label = jnp.array([[1, 0], [1, 0], [0, 1]])
    total, terms = pairs.dpsh(logit, label, jnp.ones(3, bool), eta=0.5)
    # Halved inner products: 1 (alike), -3 and -1.
    likelihood = (np.log1p(np.exp(-1.0)) + np.log1p(np.exp(-3.0)) + np.log1p(np.exp(-1.0))) / 3
    gap = (1 + 1 + 0 + 0 + 4 + 0) / 6  # a value of 0 stands for bit 0, that is -1
    assert terms["pairs"] == pytest.approx(likelihood, rel=1e-6)
    assert terms["quantization"] == pytest.approx(gap)
    assert total == pytest.approx(likelihood + gap / 2, rel=1e-6)


def test_dsh_by_hand():
    logit = jnp.array([[2.0, 1.0], [1.0, 1.0], [-1.0, 2.0]])
    label = jnp.array([[1, 0], [1, 0], [0, 1]])
    total, terms = pairs.dsh(logit, label, jnp.ones(3, bool), alpha=0.25)
    # Squares: 1 (alike), 10 and 5; the margin is 4.
    assert terms["pairs"] == pytest.approx(1 / 2 / 3)
    assert terms["quantization"] == pytest.approx(2 * (1 + 0 + 1) / 3)
    assert total == pytest.approx(1 / 6 + 1 / 3)
    assert pairs.dsh(logit, label, jnp.ones(3, bool), margin=7)[1]["pairs"] == pytest.approx(0.5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), labelled=st.sampled_from([0.0, 0.3, 1.0]))
def test_losses_are_those_of_loops(seed, labelled):
    code, label, is_labelled = batch_of(seed, labelled=labelled)
    u, counted = np.asarray(code, np.float64), loop_pairs(label, is_labelled)
    bits = u.shape[1]

    def logistic(theta, s):
        return np.log1p(np.exp(theta)) - s * theta

    h = np.tanh(u)
    kinds = [
        [logistic(10 / bits * h[i] @ h[j], s) for i, j, s in counted if s == kind]
        for kind in (True, False)
    ]
    found = value_terms_slope("hashnet", code, label, is_labelled)[0]
    assert found == pytest.approx(sum(mean(kind) for kind in kinds), rel=1e-5)

    found = value_terms_slope("dpsh", code, label, is_labelled)[1]["pairs"]
    wanted = mean([logistic(u[i] @ u[j] / 2, s) for i, j, s in counted])
    assert found == pytest.approx(wanted, rel=1e-5)

    total = value_terms_slope("dsh", code, label, is_labelled)[0]
    values, gap = [], np.abs(np.abs(u) - 1).sum(1)
    for i, j, s in counted:
        square = ((u[i] - u[j]) ** 2).sum()
        values.append(square / 2 if s else max(2 * bits - square, 0) / 2)
    known = np.asarray(is_labelled) & np.asarray(label).any(1)
    assert total == pytest.approx(mean(values) + 0.1 * 2 * mean(gap[known]), rel=1e-4, abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), labelled=st.sampled_from([0.0, 0.3, 1.0]))
def test_later_losses_are_those_of_loops(seed, labelled):
    code, label, is_labelled = batch_of(seed, labelled=labelled)
    u, counted = np.asarray(code, np.float64), loop_pairs(label, is_labelled)
    h, y, bits = np.tanh(u), np.asarray(label, np.float64), u.shape[1]
    known = np.asarray(is_labelled) & y.any(1)

    def logistic(theta, s):
        return np.log1p(np.exp(theta)) - s * theta

    wanted = mean([logistic(h[i] @ h[j] / 2, s) for i, j, s in counted])
    wanted += 0.1 * mean(np.log(np.cosh(np.abs(h[known]) - 1)))
    assert value_terms_slope("dhn", code, label, is_labelled)[0] == pytest.approx(wanted, rel=1e-5)

    def distance(a, b):
        return bits / 2 * (1 - a @ b / np.sqrt((a @ a) * (b @ b)))

    near = [np.log(1 + distance(u[i], u[j]) / 20) for i, j, s in counted if s]
    far = [np.log(1 + 20 / distance(u[i], u[j])) for i, j, s in counted if not s]
    gap = [np.log(1 + distance(np.abs(row), np.ones(bits)) / 20) for row in u[known]]
    wanted = mean(near) + mean(far) + 0.1 * mean(gap)
    assert value_terms_slope("dch", code, label, is_labelled)[0] == pytest.approx(wanted, rel=1e-4)

    values = []
    for i, j, _ in counted:
        measure = y[i] @ y[j] / np.sqrt((y[i] @ y[i]) * (y[j] @ y[j]))
        product = h[i] @ h[j]
        if min(measure, 1 - measure) < 1e-9:
            values.append(logistic(product / 2, round(measure)))
        else:
            values.append(0.1 / bits * ((product + bits) / 2 - measure * bits) ** 2)
    wanted = mean(values) + 0.1 * mean(np.abs(np.abs(h[known]) - 1))
    assert value_terms_slope("idhn", code, label, is_labelled)[0] == pytest.approx(wanted, rel=1e-5)


def test_dch_moves_rows_of_two_classes_that_are_all_but_alike():
    logit, label = jnp.array([[1.0, 1.0], [1.0, 1.001]]), jnp.eye(2)
    slope = jax.grad(lambda u: pairs.dch(u, label, jnp.ones(2, bool))[0])(logit)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 1


def test_idhn_asks_for_as_many_equal_bits_as_labels_are_shared():
    # One of two labels is shared: cosine 1/2, so half of the bits are to be equal.
    label = jnp.array([[1, 1, 0], [0, 1, 1]])
    half = jnp.array([[1.0, 1, 1, 1], [1, 1, -1, -1]])
    assert pairs.idhn(half, label, jnp.ones(2, bool))[1]["pairs"] == pytest.approx(0, abs=1e-6)
    alike = jnp.ones((2, 4))
    assert pairs.idhn(alike, label, jnp.ones(2, bool))[1]["pairs"] == pytest.approx(0.1 / 4 * 4)


def test_hashnet_weighs_both_kinds_alike_however_rare():
    signed = jnp.array([[0.5], [0.5], [0.5], [0.5]])
    two, four = jnp.eye(2)[jnp.array([0, 0, 1, 1])], jnp.eye(2)[jnp.array([0, 0, 0, 1])]
    ones = jnp.ones(4, bool)
    # All inner products are equal, so only the weights could tell the two batches apart.
    found = pairs.hashnet(signed, four, ones)[0]
    assert found == pytest.approx(float(pairs.hashnet(signed, two, ones)[0]))


def test_likelihoods_of_long_codes_do_not_overflow():
    logit, label = jnp.array([[100.0] * 64, [100.0] * 64]), jnp.eye(2)
    value, slope = jax.value_and_grad(lambda u: pairs.dpsh(u, label, jnp.ones(2, bool), eta=0)[0])(
        logit
    )
    assert value == pytest.approx(320_000)
    np.testing.assert_allclose(slope, np.full((2, 64), 50))


# Gradients, empty batches, labels that must not be read.


@all_methods
def test_gradients_agree_with_finite_differences(method):
    code, *labels = batch_of(3)
    _, _, slope = value_terms_slope(method, code, *labels)
    assert_slope(lambda c: value_terms_slope(method, c, *labels)[0], [code], [slope])


@all_methods
@pytest.mark.parametrize(
    ("label", "labelled"),
    [
        (np.eye(4), [0, 1, 2]),  # no similar pair
        (np.ones((4, 4)), [0, 1, 2, 3]),  # no dissimilar pair
        (np.ones((4, 4)), [1]),  # no pair
        (np.ones((4, 4)), []),
        (np.zeros((4, 4)), [0, 1, 2, 3]),
    ],
)
def test_batches_that_lack_something_are_finite(method, label, labelled):
    rows = np.zeros((8, 6), np.float32), np.zeros((8, 4), np.float32), np.zeros(8, bool)
    rows[1][:4] = label
    rows[2][labelled] = True
    value, _, slope = value_terms_slope(method, *map(jnp.asarray, rows))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    if not (labelled and label.any()):
        assert value == 0
        np.testing.assert_array_equal(slope, np.zeros((8, 6)))


@all_methods
def test_rows_without_labels_are_not_read(method):
    code, label, is_labelled = batch_of(4)
    other = jnp.where(is_labelled[:, None], label, 1 - label)
    value, _, slope = value_terms_slope(method, code, label, is_labelled)
    same, _, same_slope = value_terms_slope(method, code, other, is_labelled)
    assert value == same
    np.testing.assert_array_equal(slope, same_slope)
    np.testing.assert_array_equal(slope[~is_labelled], np.zeros_like(slope[~is_labelled]))


# Four devices.


@all_methods
@pytest.mark.parametrize("labelled", [0.0, 0.6])
def test_four_devices_give_the_value_and_gradient_of_one(method, labelled):
    rows = batch_of(5, rows=20, labelled=labelled)
    weight = np.random.default_rng(6).normal(size=(6, 5))
    total = assert_four_devices_as_one(METHODS[method], rows, weight)
    assert (labelled == 0) == (total == 0)


@all_methods
def test_unequal_rows_are_refused(method):
    with pytest.raises(AssertionError):
        METHODS[method](jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(2, bool))
