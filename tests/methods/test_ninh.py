"""NINH's head against loops, and its place in the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dsh_jax import losses
from dsh_jax.methods import ninh

key = jax.random.PRNGKey(0)
feature = jnp.array(np.random.default_rng(0).normal(size=(3, 7)), jnp.float32)


@pytest.mark.parametrize(
    ("epsilon", "by_hand"),
    [
        (0.5, [0.0, 0.25, 0.5, 0.625, 1.0]),
        (0.25, [0.0, 0.25, 0.5, 0.625, 1.0]),  # both edges are inside
        (0.125, [0.0, 0.0, 0.5, 0.625, 1.0]),
        (0.0625, [0.0, 0.0, 0.5, 1.0, 1.0]),
        (0.0, [0.0, 0.0, 0.5, 1.0, 1.0]),
    ],
)
def test_threshold_by_hand(epsilon, by_hand):
    value = jnp.array([[0.0, 0.25, 0.5, 0.625, 1.0]])
    found, slope = jax.value_and_grad(
        lambda s: (ninh.piecewise_threshold(s, epsilon=epsilon) * jnp.arange(5.0)[None]).sum()
    )(value)
    np.testing.assert_array_equal(ninh.piecewise_threshold(value, epsilon=epsilon), [by_hand])
    assert found == sum(n * v for n, v in enumerate(by_hand))
    inside = np.abs(value - 0.5) <= epsilon
    np.testing.assert_array_equal(slope, np.where(inside, np.arange(5.0), 0))


@pytest.mark.parametrize("epsilon", [-0.1, 0.6])
def test_threshold_refuses_other_epsilons(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon is {epsilon}; it must be in \[0, 0.5\]"):
        ninh.piecewise_threshold(jnp.ones((1, 1)), epsilon=epsilon)


def test_each_bit_sees_its_own_group():
    head = ninh.DivideAndEncode(bits=4, group=5)
    (logit, bcoding), variables = head.init_with_output(key, feature)
    params = jax.tree.map(np.asarray, variables["params"])
    wide = np.asarray(feature) @ params["divide"]["kernel"] + params["divide"]["bias"]
    for k in range(4):
        own = wide[:, 5 * k : 5 * k + 5] @ params["kernel"][k] + params["bias"][k]
        np.testing.assert_allclose(logit[:, k], own, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bcoding, 1 / (1 + np.exp(-np.asarray(logit))), rtol=1e-5)
    assert params["kernel"].shape == (4, 5)


def test_bits_of_logits_and_activations_agree():
    head = ninh.DivideAndEncode(bits=40, epsilon=0.1)
    (logit, bcoding), _ = head.init_with_output(key, feature, beta=3.0)
    np.testing.assert_array_equal(np.asarray(bcoding) > 0.5, np.asarray(logit) > 0)
    assert np.isin(bcoding, [0, 1]).any()


def test_kernels_start_with_the_spread_of_their_groups():
    variables = ninh.DivideAndEncode(bits=200).init(key, feature)
    kernel = np.asarray(variables["params"]["kernel"])
    assert kernel.shape == (200, 50)
    # Of 50 inputs a bit; 5 standard deviations of the estimate.
    assert kernel.var() == pytest.approx(1 / 50, rel=5 * np.sqrt(2 / 10_000))


def test_weight_decay_finds_both_kernels():
    params = ninh.DivideAndEncode(bits=4, group=5).init(key, feature)["params"]
    by_hand = (params["divide"]["kernel"] ** 2).sum() + (params["kernel"] ** 2).sum()
    assert losses.weight_penalty(params) == pytest.approx(float(by_hand), rel=1e-6)


def test_gradients_agree_with_finite_differences():
    head = ninh.DivideAndEncode(bits=3, group=4)
    variables = head.init(key, feature)
    check_grads(
        jax.jit(lambda v, x: head.apply(v, x)[1]), (variables, feature),
        order=1, modes=["rev"], atol=1e-2, rtol=1e-2, eps=1e-2,
    )  # fmt: skip
