"""The fast convolution and max-pool against XLA's own: values, gradients, fallbacks, transforms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dsh_jax.network import convolution as module
from dsh_jax.network.convolution import convolution, max_pool_2x2

NHWC = ("NHWC", "HWIO", "NHWC")
convolve = partial(convolution, window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC)
reference = partial(
    lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC
)


def operands(*shape, features, dtype="float32", kernel=3):
    generator = np.random.default_rng(0)
    image = generator.normal(size=shape)
    weights = generator.normal(size=(kernel, kernel, shape[-1], features))
    return jnp.asarray(image, dtype), jnp.asarray(weights, dtype)


def assert_close(actual, expected, tolerance):
    """Compare within `tolerance` of the largest value; sums of products cancel."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    actual, expected = np.asarray(actual, np.float32), np.asarray(expected, np.float32)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def value_and_gradients(function, image, weights):
    @jax.jit
    def run(image, weights):
        output, pullback = jax.vjp(function, image, weights)
        return output, *pullback(jnp.cos(output))

    return run(image, weights)


SIZES = [(1, 1), (2, 2), (3, 3), (4, 4), (8, 8), (1, 8), (5, 2)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("channels", "features"), [(1, 3), (3, 16), (16, 3), (8, 24)])
def test_equals_xla(height, width, channels, features):
    image, weights = operands(3, height, width, channels, features=features)
    actual = value_and_gradients(convolve, image, weights)
    for a, e in zip(actual, value_and_gradients(reference, image, weights), strict=True):
        assert_close(a, e, 5e-6)


@pytest.mark.parametrize(("size", "channels"), [(1, 64), (4, 3), (5, 64)])
def test_bfloat16_is_rounded_only_at_the_end(size, channels):
    image, weights = operands(2, size, size, channels, features=16, dtype="bfloat16")
    output, pullback = jax.vjp(jax.jit(convolve), image, weights)
    exact, exact_pullback = jax.vjp(
        jax.jit(reference), image.astype("float32"), weights.astype("float32")
    )
    gradient = jnp.cos(output)
    actual = (output, *pullback(gradient))
    for a, e in zip(actual, (exact, *exact_pullback(gradient.astype("float32"))), strict=True):
        assert_close(a, e.astype("bfloat16"), 2**-8)


def test_error_is_of_the_order_of_float32():
    image, weights = operands(8, 8, 8, 256, features=64)
    with jax.enable_x64(True):
        exact = np.asarray(reference(image.astype("float64"), weights.astype("float64")))
    error = np.abs(np.asarray(convolve(image, weights)) - exact).max() / np.abs(exact).max()
    assert error < 2e-6


def test_is_deterministic():
    image, weights = operands(16, 8, 8, 32, features=32)
    run = jax.jit(partial(value_and_gradients, convolve))
    once, again = (run(image, weights) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_vmap_over_images_and_kernels():
    image, weights = operands(2, 4, 4, 8, features=8)
    images, kernels = jnp.stack([image, 2 * image]), jnp.stack([weights, -weights])
    actual = jax.vmap(partial(value_and_gradients, convolve))(images, kernels)
    expected = jax.vmap(partial(value_and_gradients, reference))(images, kernels)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, 5e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pmap_on_four_devices():
    assert jax.local_device_count() == 4
    image, weights = operands(4, 2, 8, 8, 8, features=8)[0], operands(1, 1, 1, 8, features=8)[1]

    def loss(convolve, pool, weights, image):
        return jnp.sin(pool(convolve(image, weights))).mean()

    def gradient(weights, image):
        return lax.pmean(jax.grad(partial(loss, convolve, max_pool_2x2))(weights, image), "b")

    actual = jax.pmap(gradient, "b", in_axes=(None, 0))(weights, image)
    pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))
    expected = jax.grad(partial(loss, reference, pool))(weights, image.reshape(8, 8, 8, 8))
    for device in range(4):
        assert_close(actual[device], expected, 5e-6)


def test_serves_flax():
    layer, plain = (
        nnx.Conv(8, 16, (3, 3), conv_general_dilated=function, rngs=nnx.Rngs(0))
        for function in (convolution, lax.conv_general_dilated)
    )
    image, _ = operands(2, 6, 6, 8, features=1)
    assert_close(layer(image), plain(image), 5e-6)
    assert "conv_general_dilated" not in str(jax.make_jaxpr(layer)(image))


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        ({"window_strides": (2, 2)}, 3),
        ({"padding": "VALID"}, 3),
        ({"padding": ((2, 0), (1, 1))}, 3),
        ({"lhs_dilation": (2, 2), "padding": ((1, 1), (1, 1))}, 3),
        ({"rhs_dilation": (2, 2)}, 3),
        ({"feature_group_count": 2}, 3),
        ({"preferred_element_type": jnp.float32}, 3),
        ({}, 5),
        ({}, 1),
    ],
)
def test_falls_back(options, kernel):
    groups = options.get("feature_group_count", 1)
    image, _ = operands(2, 6, 6, 8, features=8)
    _, weights = operands(2, 6, 6, 8 // groups, features=8, kernel=kernel)
    actual, expected = (partial(f, **options) for f in (convolve, reference))
    assert str(jax.make_jaxpr(actual)(image, weights)) == str(
        jax.make_jaxpr(expected)(image, weights)
    )
    np.testing.assert_array_equal(actual(image, weights), expected(image, weights))


def test_falls_back_from_channels_first():
    numbers = ("NCHW", "HWIO", "NCHW")
    image, weights = operands(2, 8, 8, 8, features=8)
    actual = convolve(image, weights, dimension_numbers=numbers)
    np.testing.assert_array_equal(actual, reference(image, weights, dimension_numbers=numbers))


@pytest.mark.parametrize("padding", ["SAME", [(1, 1), (1, 1)]])
def test_is_plain_on_other_backends(monkeypatch, padding):
    image, weights = operands(2, 6, 6, 8, features=8)
    fast = jax.make_jaxpr(partial(convolve, padding=padding))(image, weights)
    assert "conv_general_dilated" not in str(fast)
    monkeypatch.setattr(module.jax, "default_backend", lambda: "gpu")
    plain = jax.make_jaxpr(partial(convolve, padding=padding))(image, weights)
    assert "conv_general_dilated" in str(plain)
    assert "reduce_window" in str(jax.make_jaxpr(max_pool_2x2)(image))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 3), (4, 5), (7, 6), (1, 4)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_max_pool_equals_flax_with_ties(height, width, dtype):
    levels = np.random.default_rng(0).integers(0, 3, size=(4, height, width, 5))
    x = jnp.asarray(levels, dtype).at[0].set(-jnp.inf)
    plain = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))

    @partial(jax.jit, static_argnums=0)
    def run(pool, x):
        y, pullback = jax.vjp(pool, x)
        return y, pullback(jnp.arange(1, y.size + 1, dtype=dtype).reshape(y.shape))[0]

    for a, e in zip(run(max_pool_2x2, x), run(plain, x), strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(e, np.float32))
