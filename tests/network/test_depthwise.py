"""The depthwise convolution against XLA's own: values, gradients, odd sides, strides."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsh_jax.network.depthwise import depthwise_convolution


def reference(image, kernel, stride):
    return lax.conv_general_dilated(
        image,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=image.shape[-1],
    )


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (1, 3), (2, 2)])
def test_equals_xla(side, stride, height, width):
    generator = np.random.default_rng(0)
    image = jnp.asarray(generator.normal(size=(2, height, width, 6)), jnp.float32)
    kernel = jnp.asarray(generator.normal(size=(side, side, 1, 6)), jnp.float32)
    found = []
    for function in (depthwise_convolution, reference):
        output, pullback = jax.vjp(partial(function, stride=stride), image, kernel)
        found.append((output, *pullback(jnp.cos(output))))
    for actual, expected in zip(*found, strict=True):
        assert actual.dtype == expected.dtype
        largest = np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * largest)


def test_keeps_bfloat16():
    image, kernel = jnp.ones((1, 4, 4, 3), jnp.bfloat16), jnp.ones((3, 3, 1, 3), jnp.bfloat16)
    output = depthwise_convolution(image, kernel, 1)
    assert output.dtype == jnp.bfloat16
    assert output[0, 1, 1, 0] == 9
