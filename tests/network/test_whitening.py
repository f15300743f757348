"""Whitening: patches of its own images come out uncorrelated, with variance 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from dsh_jax.network import DSH
from dsh_jax.network.whitening import Whitening, centred, whitening_kernel

rng = np.random.default_rng(0)
# Colours and neighbours are alike, as in photographs.
IMAGE = np.clip(
    rng.random((40, 4, 4, 1)).repeat(3, 1).repeat(3, 2) + 0.1 * rng.normal(size=(40, 12, 12, 3)),
    0,
    1,
).astype(np.float32)


def whitened(image, side, bias=0.0):
    kernel = jnp.array(whitening_kernel(IMAGE, side))
    variables = {
        "params": {"bias": jnp.full(kernel.shape[-1], bias)},
        "batch_stats": {"kernel": kernel},
    }
    return np.array(Whitening(side).apply(variables, jnp.array(image)))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_patches_become_uncorrelated_with_variance_one(side):
    found = whitened(np.asarray(centred(IMAGE)), side)
    whole = slice((side - 1) // 2, 12 - side // 2)  # patches that lie in the image
    half = found[:, whole, whole, : side**2 * 3].reshape(-1, side**2 * 3)
    # Not exactly 1: EPSILON holds small variances down.
    np.testing.assert_allclose(half.T @ half / len(half), np.eye(half.shape[1]), atol=0.03)


def test_a_filter_and_its_negative_stand_side_by_side():
    kernel = whitening_kernel(IMAGE, 2)
    assert kernel.shape == (2, 2, 3, 24)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_the_bias_is_added():
    image = np.asarray(centred(IMAGE[:1]))
    np.testing.assert_allclose(whitened(image, 2, bias=0.5), whitened(image, 2) + 0.5, rtol=1e-5)


def test_directions_come_from_large_variance_to_small():
    norm_D = np.linalg.norm(whitening_kernel(IMAGE, 2)[..., :12].reshape(12, 12), axis=0)
    assert (np.diff(norm_D) >= 0).all()


def test_the_filters_get_no_gradient_and_are_no_parameter():
    model = DSH(
        bits=4,
        classes=2,
        shape=(32, 32, 3),
        width=1 / 64,
        fc_dim=4,
        encoder_options=FrozenDict(whitening=2),
    )
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert set(variables["params"]["encoder"]["whitening"]) == {"bias"}
    assert variables["batch_stats"]["encoder"]["whitening"]["kernel"].shape == (2, 2, 3, 24)


@pytest.mark.parametrize("side", [0, 13])
def test_a_side_without_patches_is_refused(side):
    with pytest.raises(ValueError, match=f"whitening is {side}; a patch has a side of 1 to 12"):
        whitening_kernel(IMAGE, side)
