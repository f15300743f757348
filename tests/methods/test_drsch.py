"""DRSCH's head, and codes cut to their strongest bits against weighted distances by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dsh_jax import codes, retrieval
from dsh_jax.methods import drsch

key = jax.random.PRNGKey(0)
rng = np.random.default_rng(0)
feature = jnp.array(rng.normal(size=(5, 7)), jnp.float32)
head = drsch.BitScalableHead(bits=4)


def test_head_weighs_its_relaxed_bits():
    (logit, weighted), variables = head.init_with_output(key, feature, beta=3.0)
    np.testing.assert_array_equal(variables["params"]["weight"], np.ones(4))
    relaxed = 2 / (1 + np.exp(-3 * np.asarray(logit))) - 1
    np.testing.assert_allclose(weighted, relaxed, rtol=1e-5, atol=1e-6)
    weight = jnp.array([1.0, -2.0, 0.0, 0.5])
    params = {"params": {**variables["params"], "weight": weight}}
    np.testing.assert_allclose(
        head.apply(params, feature, beta=3.0)[1], relaxed * np.asarray(weight), rtol=1e-5, atol=1e-6
    )


def test_gradients_agree_with_finite_differences():
    variables = head.init(key, feature)
    check_grads(
        jax.jit(lambda v, x: head.apply(v, x)[1]), (variables, feature),
        order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2,
    )  # fmt: skip


def test_strongest_bits_by_hand():
    logit, weight = jnp.arange(10.0).reshape(2, 5), jnp.array([0.5, -2.0, 1.0, 1.0, 0.0])
    cut, square = drsch.strongest_bits(logit, weight, bits=3)
    np.testing.assert_array_equal(cut, [[1, 2, 3], [6, 7, 8]])
    np.testing.assert_array_equal(square, [4, 1, 1])


def test_shorter_codes_begin_longer_ones():
    logit, weight = (jnp.array(rng.normal(size=size), jnp.float32) for size in ((6, 16), 16))
    long, long_square = drsch.strongest_bits(logit, weight, bits=16)
    short, short_square = drsch.strongest_bits(logit, weight, bits=5)
    np.testing.assert_array_equal(short, long[:, :5])
    np.testing.assert_array_equal(short_square, long_square[:5])
    assert (np.diff(long_square) <= 0).all()


def test_weighted_distances_are_sums_of_squares_of_the_kept_weights():
    logit, weight = rng.normal(size=(9, 12)).astype(np.float32), rng.normal(size=12)
    cut, square = drsch.strongest_bits(jnp.array(logit), jnp.array(weight, jnp.float32), bits=7)
    packed = np.asarray(codes.pack_bits(codes.binarize(cut)))
    offset, signed = retrieval.weighted_hamming(packed[:4], square, bits=7)
    distance, index = retrieval.linear_search(offset, signed, packed[4:], 5, bits=7)
    kept = np.argsort(-np.abs(weight))[:7]
    bit = logit[:, kept] > 0
    wanted = ((bit[:4, None] != bit[None, 4:]) * weight[kept] ** 2).sum(-1)
    np.testing.assert_allclose(distance, np.sort(wanted, axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        np.take_along_axis(wanted, index, axis=1), np.sort(wanted, axis=1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("weights", "bits"), [(4, 0), (4, 5), (3, 2)])
def test_impossible_numbers_are_refused(weights, bits):
    with pytest.raises(ValueError, match=f"bits is {bits}; pass one weight a bit, and bits from 1"):
        drsch.strongest_bits(jnp.ones((2, 4)), jnp.ones(weights), bits=bits)
