"""Centres and the losses that pull to them; GreedyHash's bits and penalty."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import assert_slope

from dsh_jax.losses import centres
from dsh_jax.methods import greedyhash

key = jax.random.PRNGKey(0)
rng = np.random.default_rng(0)
CENTRE = jnp.array(rng.choice([-1.0, 1.0], (4, 6)), jnp.float32)
TIE = jnp.array(rng.choice([-1.0, 1.0], 6), jnp.float32)
WEIGHT = jnp.array(rng.normal(size=(6, 4)), jnp.float32)


def greedy(logit, *labels, **options):
    """A fixed classifier of the values, whose gradient finite differences can tell."""
    return greedyhash.greedyhash(logit @ WEIGHT, logit, *labels, **options)


METHODS = {
    "csq": functools.partial(centres.csq, centre_CxK=CENTRE, tie_K=TIE, quantization=0.5),
    "orthohash": functools.partial(centres.orthohash, centre_CxK=CENTRE),
    "dpn": functools.partial(centres.dpn, centre_CxK=CENTRE, tie_K=TIE),
    "greedyhash": greedy,
    "greedyhash multi-label": functools.partial(greedy, multilabel=True),
}
all_methods = pytest.mark.parametrize("method", METHODS)


@functools.partial(jax.jit, static_argnames="method")
def value_terms_slope(method, *rows):
    (total, terms), slope = jax.value_and_grad(METHODS[method], has_aux=True)(*rows)
    return total, terms, slope


def batch_of(seed, rows=8, labelled=0.7):
    """Values far from the kink at 0, multi-hot labels with at least one, the mask."""
    rng = np.random.default_rng(seed)
    logit = rng.choice([-1, 1], (rows, 6)) * rng.uniform(0.2, 0.8, (rows, 6))
    label = np.maximum(rng.random((rows, 4)) < 0.3, np.eye(4)[rng.integers(0, 4, rows)])
    is_labelled = rng.random(rows) < labelled
    return jnp.array(logit, jnp.float32), jnp.array(label, jnp.float32), jnp.array(is_labelled)


# Centres.


@pytest.mark.parametrize(("classes", "bits"), [(10, 64), (8, 4), (1, 1), (2, 1), (21, 16)])
def test_hadamard_centres_are_half_of_the_bits_apart_or_opposite(classes, bits):
    centre = np.asarray(centres.hadamard_centres(classes, bits))
    assert centre.shape == (classes, bits)
    assert set(np.unique(centre)) <= {-1, 1}
    product = centre @ centre.T
    np.testing.assert_array_equal(np.diag(product), bits)
    assert set(product[~np.eye(classes, dtype=bool)]) <= {0, -bits}
    np.testing.assert_array_equal(product[:bits, :bits], bits * np.eye(min(classes, bits)))


@pytest.mark.parametrize(("classes", "bits"), [(10, 12), (10, 4), (10, 0), (0, 8)])
def test_numbers_without_hadamard_centres_are_refused(classes, bits):
    with pytest.raises(ValueError, match=r"no Hadamard centres for .*; take bernoulli_centres"):
        centres.hadamard_centres(classes, bits)


def distances(centre):
    product = np.asarray(centre) @ np.asarray(centre).T
    return ((centre.shape[1] - product) / 2)[~np.eye(len(centre), dtype=bool)]


def test_bernoulli_centres_are_the_best_spread_of_their_draws():
    found = [distances(centres.bernoulli_centres(key, 10, 12, draws=n)).min() for n in (1, 8, 64)]
    assert found == sorted(found)
    assert found[-1] >= 3
    single = centres.bernoulli_centres(key, 100, 64, draws=1)
    assert set(np.unique(single)) == {-1, 1}
    assert abs(float(single.mean())) < 5 / np.sqrt(6400)


def test_bernoulli_centres_follow_from_the_key():
    one, same, other = (centres.bernoulli_centres(jax.random.PRNGKey(n), 10, 12) for n in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_hash_centres_are_hadamard_where_they_can_be():
    np.testing.assert_array_equal(
        centres.hash_centres(key, 10, 16), centres.hadamard_centres(10, 16)
    )
    for classes, bits in ((10, 12), (20, 8)):
        assert centres.hash_centres(key, classes, bits).shape == (classes, bits)


def test_row_centres_are_votes():
    centre = jnp.array([[1.0, 1, 1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    label = jnp.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]])
    target = centres.row_centres(label, centre, jnp.array([-1.0, -1, 1, 1]))
    by_hand = [[1, 1, 1, -1], [1, -1, 1, -1], [1, -1, 1, -1], [-1, -1, 1, 1]]
    np.testing.assert_array_equal(target, by_hand)


# Losses.


def plain_csq(logit, label, known, centre, tie, quantization, pairwise):
    """The official code's loss in numpy, row by row, its pairs all of different rows."""
    rows = [i for i in range(len(logit)) if known[i] and label[i].any()]
    h = np.tanh(np.asarray(logit, np.float64))
    target = np.array([np.sign(label[i] @ centre) for i in rows])
    target = np.where(target == 0, tie, target)
    p, q = 0.5 * (h[rows] + 1), 0.5 * (target + 1)
    entropy = -(q * np.log(p) + (1 - q) * np.log(1 - p)).mean()
    gap = ((np.abs(h[rows]) - 1) ** 2).mean()
    total = []
    for i in rows:
        for j in rows:
            if i != j:
                theta = 10 / logit.shape[1] * h[i] @ h[j]
                total.append(np.log(1 + np.exp(theta)) - float(label[i] @ label[j] > 0) * theta)
    return entropy + quantization * gap + pairwise * np.mean(total), entropy, gap


@pytest.mark.parametrize("pairwise", [0.0, 0.2])
def test_csq_is_the_official_loss(pairwise):
    logit, label, known = batch_of(7)
    total, terms = centres.csq(
        logit, label, known, centre_CxK=CENTRE, tie_K=TIE, quantization=0.05, pairwise=pairwise
    )
    expected, entropy, gap = plain_csq(
        *map(np.asarray, (logit, label, known, CENTRE, TIE)), 0.05, pairwise
    )
    assert terms["centre"] == pytest.approx(entropy, rel=1e-5)
    assert terms["quantization"] == pytest.approx(gap, rel=1e-5)
    assert total == pytest.approx(expected, rel=1e-5)


def test_csq_is_0_at_the_centre_also_where_its_bits_are_minus_1():
    """With codes for probabilities the second loss was −100, and its gradient never went away."""
    label, known = jnp.ones((1, 1)), jnp.ones(1, bool)
    for centre in (jnp.ones((1, 6)), -jnp.ones((1, 6))):
        loss = functools.partial(centres.csq, centre_CxK=centre, tie_K=TIE, quantization=1.0)
        (total, _), slope = jax.value_and_grad(loss, has_aux=True)(50 * centre, label, known)
        assert total == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(slope, 0, atol=1e-6)
        assert loss(-50 * centre, label, known)[0] == pytest.approx(100, rel=1e-6)


def test_orthohash_by_hand():
    # Cosines of (3, 4) / 5 with (1, 1) and (1, -1), over sqrt 2.
    cosine = np.array([7, -1]) / 5 / np.sqrt(2)
    total, _ = centres.orthohash(
        jnp.array([[3.0, 4.0]]), jnp.array([[1, 0]]), jnp.ones(1, bool),
        centre_CxK=jnp.array([[1.0, 1], [1, -1]]), scale=2, margin=0.5,
    )  # fmt: skip
    by_hand = np.log1p(np.exp(2 * (cosine[1] - cosine[0] + 0.5)))
    assert total == pytest.approx(by_hand, rel=1e-6)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.25, 8.0]))
def test_orthohash_does_not_see_the_length_of_a_code(seed, scale):
    logit, *labels = batch_of(seed)
    found = value_terms_slope("orthohash", logit, *labels)[0]
    assert value_terms_slope("orthohash", scale * logit, *labels)[0] == pytest.approx(
        float(found), rel=1e-5
    )


def test_orthohash_shares_the_target_between_labels():
    logit, label = jnp.array([[0.3, -0.2]]), jnp.array([[1, 1, 0]])
    centre = jnp.array([[1.0, 1], [1, -1], [-1, -1]])
    options = {"centre_CxK": centre, "margin": 0.0}
    both = centres.orthohash(logit, label, jnp.ones(1, bool), **options)[0]
    each = [
        centres.orthohash(logit, jnp.eye(3)[n : n + 1], jnp.ones(1, bool), **options)[0]
        for n in (0, 1)
    ]
    assert both == pytest.approx(float(sum(each)) / 2, rel=1e-6)


def test_greedyhash_by_hand():
    score, logit = jnp.log(jnp.array([[3.0, 1.0]])), jnp.array([[2.0, -0.5, 0.0]])
    total, terms = greedyhash.greedyhash(
        score, logit, jnp.array([[1, 0]]), jnp.ones(1, bool), alpha=0.5
    )
    assert terms["classification"] == pytest.approx(np.log(4 / 3), rel=1e-6)
    penalty = (1 + 1 / 8 + 1) / 3
    assert terms["quantization"] == pytest.approx(penalty)
    assert total == pytest.approx(np.log(4 / 3) + penalty / 2, rel=1e-6)


def test_straight_through_sign_is_exact_and_has_the_slope_of_the_identity():
    logit = jnp.array([[1e-30, 0.1, 3e7, 0.0, -0.3, -1e9]])
    np.testing.assert_array_equal(greedyhash.straight_through_sign(logit), [[1, 1, 1, -1, -1, -1]])
    slope = jax.grad(lambda z: (greedyhash.straight_through_sign(z) * jnp.arange(6.0)[None]).sum())
    np.testing.assert_array_equal(slope(logit), [np.arange(6)])


def test_greedy_head_gives_the_bits_of_its_logits():
    head = greedyhash.GreedyHead(bits=5)
    feature = jnp.array(rng.normal(size=(7, 3)), jnp.float32)
    (logit, sign), _ = head.init_with_output(key, feature, beta=2.0)
    assert sign.shape == (7, 5)
    np.testing.assert_array_equal(sign, np.where(logit > 0, 1, -1))


# Gradients, masks, devices.


@all_methods
def test_gradients_agree_with_finite_differences(method):
    logit, *labels = batch_of(3)
    _, _, slope = value_terms_slope(method, logit, *labels)
    assert_slope(lambda z: value_terms_slope(method, z, *labels)[0], [logit], [slope])


@all_methods
def test_only_labelled_rows_count(method):
    logit, label, is_labelled = batch_of(4)
    value, terms, slope = value_terms_slope(method, logit, label, is_labelled)
    other = jnp.where(is_labelled[:, None], label, 1 - label)
    same = value_terms_slope(method, logit, other, is_labelled)
    chex.assert_trees_all_equal((value, terms, slope), same)
    np.testing.assert_array_equal(slope[~is_labelled], np.zeros_like(slope[~is_labelled]))
    chosen = np.flatnonzero(is_labelled)
    alone = METHODS[method](logit[chosen], label[chosen], jnp.ones(len(chosen), bool))[0]
    assert value == pytest.approx(float(alone), rel=1e-5)


@all_methods
@pytest.mark.parametrize("is_labelled", [True, False])
def test_zero_codes_and_no_labels_are_finite(method, is_labelled):
    rows = np.zeros((8, 6), np.float32), np.zeros((8, 4), np.float32), np.full(8, is_labelled)
    rows[1][0, 0] = 1
    value, _, slope = value_terms_slope(method, *rows)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert (value == 0) == (not is_labelled)


@all_methods
def test_the_mean_over_four_devices_is_the_value_of_one(method):
    rows = batch_of(5, rows=8)
    spread = jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), rows)
    four = jax.pmap(functools.partial(METHODS[method], axis_name="batch"), axis_name="batch")
    total, terms, _ = value_terms_slope(method, *rows)
    mean = jax.tree.map(lambda a: a.mean(), four(*spread))
    chex.assert_trees_all_close(mean, (total, terms), rtol=1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: METHODS["csq"](jnp.ones((2, 6)), jnp.ones((2, 5)), jnp.ones(2, bool)),
        lambda: METHODS["orthohash"](jnp.ones((2, 6)), jnp.ones((2, 5)), jnp.ones(2, bool)),
        lambda: centres.row_centres(jnp.ones((2, 4)), CENTRE, TIE[:5]),
    ],
)
def test_unequal_shapes_are_refused(call):
    with pytest.raises(AssertionError):
        call()
