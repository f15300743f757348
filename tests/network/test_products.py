"""Products of factors rounded to bfloat16 against NumPy's in float64, with matrix units or not."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dsh_jax.network import DSH, products
from dsh_jax.network.convolution import convolution

NHWC = ("NHWC", "HWIO", "NHWC")
reference = partial(
    lax.conv_general_dilated, window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC
)
convolve = partial(convolution, window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC)
rounded = partial(convolve, precision=products.ROUNDED)


@pytest.fixture(params=[True, False], ids=["units", "none"])
def units(request, monkeypatch):
    """A CPU with units for bfloat16 and one without; either gives the right numbers on any."""
    monkeypatch.setattr(products, "has_bfloat16", lambda: request.param)
    return request.param


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def in_bfloat16(x):
    return np.asarray(x).astype(jnp.bfloat16).astype(np.float64)


def assert_close(actual, expected, tolerance):
    """Compare within `tolerance` of the largest value."""
    assert actual.shape == expected.shape
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


CASES = {
    "product": ("bhwc,ck->bhwk", (2, 3, 4, 48), (48, 40)),
    "product_with_transpose": ("bhwk,ck->bhwc", (2, 3, 4, 40), (48, 40)),
    "outer_product": ("bhwc,bhwk->ck", (2, 3, 4, 48), (2, 3, 4, 40)),
}


@pytest.mark.parametrize("name", CASES)
def test_rounds_the_factors_and_nothing_else(name, units):
    subscripts, *shapes = CASES[name]
    x, y = normal(*shapes[0]), normal(*shapes[1], seed=1)
    function = jax.jit(partial(getattr(products, name), precision=products.ROUNDED))
    assert_close(function(x, y), np.einsum(subscripts, in_bfloat16(x), in_bfloat16(y)), 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_rounds_nothing_unless_asked(name):
    subscripts, *shapes = CASES[name]
    x, y = normal(*shapes[0]), normal(*shapes[1], seed=1)
    exact = np.einsum(subscripts, np.asarray(x, np.float64), np.asarray(y, np.float64))
    assert_close(getattr(products, name)(x, y, None), exact, 1e-6)


def value_and_gradients(function, image, kernel):
    @jax.jit
    def run(image, kernel):
        output, pullback = jax.vjp(function, image, kernel)
        return output, *pullback(jnp.cos(reference(image, kernel)))

    return run(image, kernel)


@pytest.mark.parametrize("side", [1, 5])
def test_a_convolution_errs_by_the_rounding_and_no_more(side, units):
    image, kernel = normal(3, side, side, 16), normal(3, 3, 16, 24, seed=1)
    exact = value_and_gradients(reference, image, kernel)
    for actual, expected in zip(value_and_gradients(rounded, image, kernel), exact, strict=True):
        assert_close(actual, np.asarray(expected), 2**-7)
        assert np.abs(actual - expected).max() > 1e-4 * np.abs(expected).max()


def test_matrix_units_or_not_is_one_to_rounding(monkeypatch):
    image, kernel = normal(3, 8, 8, 16), normal(3, 3, 16, 24, seed=1)
    found = []
    for has_units in (True, False):
        monkeypatch.setattr(products, "has_bfloat16", lambda has_units=has_units: has_units)
        found.append(value_and_gradients(rounded, image, kernel))
    for actual, expected in zip(*found, strict=True):
        assert_close(actual, np.asarray(expected), 1e-5)


def test_few_channels_stay_exact():
    image, kernel = normal(3, 8, 8, 3), normal(3, 3, 3, 24, seed=1)
    for function in (rounded, convolve):
        assert_close(function(image, kernel), np.asarray(reference(image, kernel)), 5e-6)


def test_where_nothing_is_fast_the_factors_are_rounded_too():
    image, kernel = normal(3, 8, 8, 16), normal(3, 3, 16, 24, seed=1)
    strided = partial(convolution, window_strides=(2, 2), padding="SAME", dimension_numbers=NHWC)
    actual = strided(image, kernel, precision=products.ROUNDED)
    expected = strided(
        jnp.asarray(in_bfloat16(image), jnp.float32), jnp.asarray(in_bfloat16(kernel), jnp.float32)
    )
    assert_close(actual, np.asarray(expected), 2**-8)


def test_vmap_over_images_and_kernels():
    image, kernel = normal(2, 3, 4, 4, 8), normal(2, 3, 3, 8, 8, seed=1)
    both = jax.vmap(partial(value_and_gradients, rounded))(image, kernel)
    for i in range(2):
        alone = value_and_gradients(rounded, image[i], kernel[i])
        for actual, expected in zip(both, alone, strict=True):
            assert_close(actual[i], np.asarray(expected), 1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pmap_on_four_devices():
    image, kernel = normal(4, 2, 8, 8, 8), normal(3, 3, 8, 8, seed=1)

    def gradient(kernel, image):
        return lax.pmean(jax.grad(lambda k: jnp.sin(rounded(image, k)).mean())(kernel), "b")

    actual = jax.pmap(gradient, "b", in_axes=(None, 0))(kernel, image)
    whole = jax.grad(lambda k: jnp.sin(rounded(image.reshape(8, 8, 8, 8), k)).mean())(kernel)
    for device in range(4):
        assert_close(actual[device], np.asarray(whole), 1e-4)


def outputs(**options):
    plain = DSH(bits=8, classes=3, shape=(32, 32, 3), width=0.125, fc_dim=16)
    image = jax.random.uniform(jax.random.key(0), (4, 32, 32, 3))
    variables = jax.jit(plain.init)(jax.random.key(1), image)
    return jax.jit(plain.clone(**options).apply)(variables, image)


def test_the_network_asks_for_it_in_encoder_and_decoder():
    plain, fast = outputs(), outputs(conv_precision="bfloat16")
    for name in ("feature", "decoded"):
        actual, expected = np.asarray(getattr(fast, name)), np.asarray(getattr(plain, name))
        assert not np.array_equal(actual, expected)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=0.03 * np.abs(expected).max())


def test_another_precision_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="conv_precision is 'int8'; it must be one of float32, bf"):
        outputs(conv_precision="int8")
