"""Triplets: who is drawn, each loss by hand and by loops, and on four devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import assert_four_devices_as_one, assert_slope

from dsh_jax.losses import triplets
from dsh_jax.losses.pairs import label_pairs

key = jax.random.PRNGKey(0)
seeds = st.integers(0, 2**32 - 1)
METHODS = {
    "ninh": triplets.ninh,
    "dtsh": triplets.dtsh,
    "drsch": functools.partial(triplets.drsch, floor=-0.5, laplacian=0.1),
    "drsch official": functools.partial(triplets.drsch, floor=-0.5, laplacian=0.1, official=True),
}
all_methods = pytest.mark.parametrize("method", METHODS)


@functools.partial(jax.jit, static_argnames="method")
def value_terms_slope(method, *rows):
    """The total, the terms, and the gradient by the codes; compiled once for rows of one shape."""
    function = functools.partial(METHODS[method], key)
    (total, terms), slope = jax.value_and_grad(function, has_aux=True)(*rows)
    return total, terms, slope


sample = jax.jit(triplets.sample, static_argnames="apart")


def batch_of(seed, rows=8, bits=6, classes=4, labelled=0.7):
    """Codes far from the kink at 0, multi-hot labels of which some are empty, the mask."""
    rng = np.random.default_rng(seed)
    code = rng.choice([-1, 1], (rows, bits)) * rng.uniform(0.2, 0.8, (rows, bits))
    label = rng.random((rows, classes)) < 0.3
    return *(jnp.array(a, jnp.float32) for a in (code, label)), jnp.array(
        rng.random(rows) < labelled
    )


# Draws.


@settings(deadline=None, max_examples=30)
@given(seed=seeds, apart=st.booleans())
def test_partners_are_what_they_should_be_and_none_is_missed(seed, apart):
    _, label, is_labelled = batch_of(seed, rows=7)
    pairs = jax.jit(label_pairs)(label, is_labelled)
    drawn = sample(jax.random.PRNGKey(seed), pairs, apart=apart)
    y, known = np.asarray(label) > 0, np.asarray(is_labelled) & (np.asarray(label) > 0).any(1)

    def shares(i, j):
        return bool((y[i] & y[j]).any())

    rows = [i for i in range(7) if known[i]]
    for a, (p, n, counts) in enumerate(zip(*map(np.asarray, drawn), strict=True)):
        valid = {
            (i, j)
            for i in rows
            for j in rows
            if known[a] and i != a and shares(a, i) and not shares(a, j)
            if not (apart and shares(i, j))
        }
        assert counts == bool(valid)
        assert not counts or (p, n) in valid


def test_partners_are_drawn_evenly():
    # Row 0 has the positives 1, 2 and the negatives 3, 4, 5.
    label = jnp.eye(2)[jnp.array([0, 0, 0, 1, 1, 1])]
    pairs = label_pairs(label, jnp.ones(6, bool))
    drawn = jax.vmap(lambda key: sample(key, pairs))(jax.random.split(key, 6000))
    assert drawn.counts_N.all()
    seen = np.zeros((6, 6))
    np.add.at(seen, (np.asarray(drawn.positive_N[:, 0]), np.asarray(drawn.negative_N[:, 0])), 1)
    wanted = np.zeros((6, 6))
    wanted[1:3, 3:] = 1000
    # Five standard deviations.
    np.testing.assert_allclose(seen, wanted, atol=5 * np.sqrt(1000))
    assert (seen[wanted == 0] == 0).all()


def test_other_keys_draw_others():
    pairs = label_pairs(jnp.eye(2)[jnp.arange(40) % 2], jnp.ones(40, bool))
    one, two = (sample(jax.random.PRNGKey(n), pairs) for n in (1, 2))
    assert (one.positive_N != two.positive_N).mean() > 0.5
    assert (one.negative_N != two.negative_N).mean() > 0.5


# Losses: with two rows of one class and one of another, the triplets are forced.

label = jnp.array([[1, 0], [1, 0], [0, 1]])
code = jnp.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.5]])
ones = jnp.ones(3, bool)
# Anchor 0: 1 - 0.25; anchor 1: 1 - 1.25; anchor 2 has no positive.
GAPS = [0.75, -0.25]


def test_ninh_by_hand():
    total, terms = triplets.ninh(key, code, label, ones)
    assert total == pytest.approx(sum(1 + gap for gap in GAPS) / 2)
    assert terms == {"triplets": total}
    assert triplets.ninh(key, code, label, ones, margin=0.1)[0] == pytest.approx(0.85 / 2)


def test_dtsh_by_hand():
    logit = jnp.array([[2.0, 0.0], [1.0, 1.0], [-3.0, 1.0]])
    total, terms = triplets.dtsh(key, logit, label, ones, eta=0.5)
    # Halved inner products: 1 against -3, and 1 against -1; the margin is K / 2 = 1.
    ranking = (np.log1p(np.exp(1 - 4.0)) + np.log1p(np.exp(1 - 2.0))) / 2
    gap = (1 + 1 + 4) / 6
    assert terms["triplets"] == pytest.approx(ranking, rel=1e-6)
    assert terms["quantization"] == pytest.approx(gap)
    assert total == pytest.approx(ranking + gap / 2, rel=1e-6)


def test_drsch_by_hand():
    total, terms = triplets.drsch(key, code, label, ones, floor=-0.125, laplacian=2)
    assert terms["triplets"] == pytest.approx((0.75 - 0.125) / 2)
    # Each pair once: squares 1 (alike), 0.25 and 1.25 (weight 0.001); over two triplets.
    laplacian = (1 + 0.001 * (0.25 + 1.25)) / 2
    assert terms["laplacian"] == pytest.approx(laplacian, rel=1e-5)
    assert total == pytest.approx((0.75 - 0.125) / 2 + 2 * laplacian, rel=1e-5)


def test_drsch_clips_at_minus_half_of_the_bits():
    far = jnp.array([[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    assert triplets.drsch(key, far, label, ones)[1]["triplets"] == -1


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_both_laplacians_are_sums_over_edges(seed):
    rows, y, is_labelled = batch_of(seed)
    known = np.flatnonzero(np.asarray(is_labelled) & np.asarray(y).any(1))
    v, y_int = np.asarray(rows, np.float64), np.asarray(y, int)
    apart = together = 0.0
    for i in known:
        for j in known:
            weight = 1 if y_int[i] @ y_int[j] else 1e-3
            apart += weight * ((v[i] - v[j]) ** 2).sum() / 2
            together -= weight * ((v[i] + v[j]) ** 2).sum() / 2
    counts = sample(key, label_pairs(y, is_labelled)).counts_N
    for method, wanted in (("drsch", apart), ("drsch official", together)):
        terms = value_terms_slope(method, rows, y, is_labelled)[1]
        found = float(terms["laplacian"]) * max(int(counts.sum()), 1)
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)


# Gradients, empty batches, labels that must not be read.


@all_methods
def test_gradients_agree_with_finite_differences(method):
    rows, *labels = batch_of(3)
    _, terms, slope = value_terms_slope(method, rows, *labels)
    assert terms["triplets"] != 0
    assert_slope(lambda c: value_terms_slope(method, c, *labels)[0], [rows], [slope])


@all_methods
@pytest.mark.parametrize(
    ("y", "labelled"),
    [
        (np.eye(4), [0, 1, 2]),  # no positive
        (np.ones((4, 4)), [0, 1, 2, 3]),  # no negative
        (np.ones((4, 4)), [1]),
        (np.ones((4, 4)), []),
        (np.zeros((4, 4)), [0, 1, 2, 3]),
    ],
)
def test_batches_that_lack_something_are_finite(method, y, labelled):
    rows = np.zeros((8, 6), np.float32), np.zeros((8, 4), np.float32), np.zeros(8, bool)
    rows[1][:4] = y
    rows[2][labelled] = True
    value, terms, slope = value_terms_slope(method, *map(jnp.asarray, rows))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    assert terms["triplets"] == 0


@all_methods
def test_rows_without_labels_are_not_read(method):
    rows, y, is_labelled = batch_of(4)
    other = jnp.where(is_labelled[:, None], y, 1 - y)
    value, _, slope = value_terms_slope(method, rows, y, is_labelled)
    same, _, same_slope = value_terms_slope(method, rows, other, is_labelled)
    assert value == same
    np.testing.assert_array_equal(slope, same_slope)
    np.testing.assert_array_equal(slope[~is_labelled], np.zeros_like(slope[~is_labelled]))


# Four devices.


@pytest.mark.parametrize("method", ["dtsh", "drsch"])
@pytest.mark.parametrize("labelled", [0.0, 0.6])
def test_four_devices_give_the_value_and_gradient_of_one(method, labelled):
    rows = batch_of(5, rows=20, labelled=labelled)
    weight = np.random.default_rng(6).normal(size=(6, 5))
    total = assert_four_devices_as_one(functools.partial(METHODS[method], key), rows, weight)
    assert (labelled == 0) == (total == 0)


@all_methods
def test_unequal_rows_are_refused(method):
    with pytest.raises(AssertionError):
        METHODS[method](key, jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(2, bool))
