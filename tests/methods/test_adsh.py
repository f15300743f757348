"""ADSH against plain numpy statements of its paper, and on digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.datasets import load_digits

from dsh_jax import codes, metrics, retrieval
from dsh_jax.data.source import multi_hot
from dsh_jax.methods import adsh, cnnh

ROWS, QUERIES, BITS = 12, 5, 4


def draw(seed, is_balanced):
    """Return labels' sets and S, codes V, and queries with their activations U."""
    rng = np.random.default_rng(seed)
    label = np.eye(4, dtype=int)[rng.integers(0, 4, ROWS)]
    label = np.maximum(label, rng.random((ROWS, 4)) < 0.2)
    label[:2] = [[1, 0, 0, 0], [0, 1, 0, 0]]  # a pair that is not similar, whatever was drawn
    similar = np.where(label @ label.T > 0, 1.0, -1.0)
    sets = cnnh.label_sets(label)
    if is_balanced:
        similar[similar < 0] = -(similar > 0).sum() / (similar < 0).sum()
        sets = adsh.balanced(sets)
    # As many sets as there can be, so that all draws share a compilation.
    extra = ROWS - len(sets.similar_UxU)
    sets = sets._replace(similar_UxU=jnp.pad(sets.similar_UxU, ((0, extra), (0, extra))))
    code = np.sign(rng.standard_normal((ROWS, BITS))).astype(np.float32)
    activation = np.tanh(rng.standard_normal((QUERIES, BITS))).astype(np.float32)
    return sets, similar, code, activation, rng.permutation(ROWS)[:QUERIES]


def loss_of(similar, code, activation, row, gamma):
    """Eq. (3) for each query, with all pairs."""
    pairs = ((activation @ code.T - BITS * similar[row]) ** 2).sum(1)
    return pairs + gamma * ((code[row] - activation) ** 2).sum(1)


def update_by_definition(similar, code, activation, row, gamma):
    """Eqs. (7) to (10), with Q in full."""
    code, at_row = code.astype(np.float64), np.zeros((ROWS, BITS))
    at_row[row] = activation
    q = -2 * BITS * similar[row].T @ activation - 2 * gamma * at_row
    for k in range(BITS):
        others = np.delete(np.arange(BITS), k)
        slope = 2 * code[:, others] @ activation[:, others].T @ activation[:, k] + q[:, k]
        code[:, k] = -np.sign(slope)
    return code


@pytest.mark.parametrize("gamma", [0.0, 7.0])
@pytest.mark.parametrize("is_balanced", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_both_steps_are_those_of_the_definition(seed, is_balanced, gamma):
    sets, similar, code, activation, row = draw(seed, is_balanced)
    found = asymmetric_loss(activation, code, row, sets, gamma)
    wanted = loss_of(similar, code, activation, row, gamma)
    np.testing.assert_allclose(found, wanted / (ROWS * BITS**2), rtol=1e-4, atol=1e-5)
    new = np.asarray(adsh.update_codes(code, activation, row, sets, gamma=gamma))
    np.testing.assert_array_equal(
        new, update_by_definition(similar, code, activation.astype(np.float64), row, gamma)
    )
    assert loss_of(similar, new, activation, row, gamma).sum() <= wanted.sum() * (1 + 1e-6)


def asymmetric_loss(activation, code, row, sets, gamma):
    sums = cnnh.sums_of(sets, jnp.asarray(code))
    own = sets.set_N[row], jnp.asarray(code)[row]
    return adsh.asymmetric_loss(activation, *own, sets, sums, gamma=gamma)


def test_the_gradient_is_that_of_the_paper():
    sets, similar, code, activation, row = draw(0, is_balanced=False)
    logit = np.arctanh(activation)

    def loss(z):
        return asymmetric_loss(jnp.tanh(z), code, row, sets, 7.0).sum()

    # Eq. (5).
    pull = 2 * (activation @ code.T - BITS * similar[row]) @ code + 14 * (activation - code[row])
    wanted = pull * (1 - activation**2) / (ROWS * BITS**2)
    np.testing.assert_allclose(jax.grad(loss)(logit), wanted, rtol=1e-3, atol=1e-5)
    check_grads(loss, (logit,), order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2)


def test_balanced_similarities_add_up_to_nothing():
    label = np.eye(4, dtype=int)[[0, 0, 0, 1, 2, 3, 3]]
    sets = adsh.balanced(cnnh.label_sets(label))
    all_pairs = np.asarray(sets.similar_UxU)[sets.set_N][:, sets.set_N]
    # 9 + 1 + 1 + 4 similar pairs of 49.
    np.testing.assert_allclose(np.unique(all_pairs), [-15 / 34, 1], rtol=1e-6)
    assert abs(all_pairs.sum()) < 1e-5
    one = adsh.balanced(cnnh.label_sets(np.ones((3, 1), int)))
    np.testing.assert_array_equal(one.similar_UxU, [[1]])


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    return bunch.data.astype(np.float32), multi_hot(bunch.target, 10)


OPTIONS = {"rounds": 6, "queries": 500, "hidden": 128}


@pytest.mark.optimized
def test_codes_of_digits_that_were_not_trained_on(digits):
    feature, label = digits
    parameters = adsh.fit(jax.random.PRNGKey(0), feature[:1200], label[:1200], 24, **OPTIONS)
    bit = np.asarray(codes.binarize(adsh.encode(parameters, feature[1200:])))
    packed = codes.pack_bits(bit)
    counts = retrieval.distance_counts(
        packed[:300], label[1200:1500], packed[300:], label[1500:], bits=24
    )
    assert metrics.average_precision(*counts).mean() > 0.8
    assert 0 < bit.mean(0).min() <= bit.mean(0).max() < 1  # no dead bit


def test_it_follows_from_the_key_and_neither_from_the_scale_nor_the_place(digits):
    feature, label = digits[0][:200], digits[1][:200]
    options = {"rounds": 1, "hidden": 16, "epochs": 1}
    key = jax.random.PRNGKey(0)
    first, same, moved = (
        adsh.encode(adsh.fit(key, rows, label, 8, **options), rows)
        for rows in (feature, feature, 4 * feature + 64)
    )
    np.testing.assert_array_equal(first, same)
    np.testing.assert_allclose(first, moved, atol=1e-3)


def test_errors_say_what_to_do(digits):
    feature, label = digits[0][:20], digits[1][:20]
    key = jax.random.PRNGKey(0)
    with pytest.raises(ValueError, match=r"20 rows of labels, but 19 of features"):
        adsh.fit(key, feature[1:], label, 8)
    with pytest.raises(ValueError, match="rounds=0; pass at least 1"):
        adsh.fit(key, feature, label, 8, rounds=0)
    with pytest.raises(ValueError, match="1 rows without any"):
        adsh.fit(key, feature, np.where(np.arange(20)[:, None] == 3, 0, label), 8)
    with pytest.raises(ValueError, match="bits=0"):
        adsh.fit(key, feature, label, 0)
