"""Blocks: where the pool stands, what is trained, how kernels begin; and the encoder's settings."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict
from scipy.special import erf

from dsh_jax.network import DSH, Encoder
from dsh_jax.network.blocks import NONLINEARITIES, Block, dirac
from dsh_jax.network.convolution import convolution

pool = functools.partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))
KEY = jax.random.key(0)
IMAGE = jnp.array(np.random.default_rng(0).normal(size=(3, 8, 8, 2)), jnp.float32)


def applied(train=True, **options):
    """A block of a 1×1 convolution, its output and its updated statistics."""
    block = Block(functools.partial(nn.Conv, 4, (1, 1)), batch_norm=True, axis_name=None, **options)
    variables = block.init(jax.random.key(1), IMAGE, train=train)
    output, updated = block.apply(variables, IMAGE, train=train, mutable=["batch_stats"])
    return output, variables["params"], updated["batch_stats"]["BatchNorm_0"]


def normalised(x):
    x = np.asarray(x, np.float64)
    return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)


def convolved(params):
    return np.einsum("bhwc,ck->bhwk", IMAGE, params["Conv_0"]["kernel"][0, 0])


@pytest.mark.parametrize("pooled", [False, True])
def test_a_pool_comes_before_the_normalisation(pooled):
    output, params, _ = applied(pool_before_norm=pooled)
    x = convolved(params)
    wanted = np.maximum(normalised(pool(x) if pooled else x), 0)
    np.testing.assert_allclose(output, wanted, atol=1e-5)


def intermediates(*, shapes=False, **options):
    """What an encoder of one 32×32 image has, and what each of its layers gives; or shapes only."""
    encoder = Encoder(width=1 / 32, fc_dim=4, **options)
    image = jnp.array(np.random.default_rng(0).random((1, 32, 32, 1)), jnp.float32)

    @jax.jit
    def both(key):
        variables = encoder.init(key, image, train=False)
        _, seen = encoder.apply(
            variables, image, train=False, capture_intermediates=True, mutable=["intermediates"]
        )
        return variables["params"], seen["intermediates"]

    params, found = jax.eval_shape(both, KEY) if shapes else both(KEY)
    found.pop("__call__")
    return params, {name: one["__call__"][0] for name, one in found.items()}


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ({}, [32, 16, 8, 4, 2]),
        ({"pool_before_norm": True}, [16, 8, 4, 2, 1]),
        ({"pools": 3}, [32, 16, 8, 4, 4]),
        ({"pools": 3, "pool_before_norm": True}, [16, 8, 4, 4, 4]),
        ({"pools": 0}, [32] * 5),
    ],
)
def test_the_first_groups_pool_once(options, sides):
    _, found = intermediates(shapes=True, **options)
    assert [found[f"conv{group}_1"].shape[1] for group in range(1, 6)] == sides


def test_the_encoder_has_as_many_groups_as_filters_are_given():
    _, found = intermediates(
        shapes=True, filters=(64, 256, 128), convs_per_group=(1, 2, 1), pools=2
    )
    shapes = {name: value.shape[1:] for name, value in found.items() if name.startswith("conv")}
    assert shapes == {  # at a 32nd of the width
        "conv1_1": (32, 32, 2),
        "conv2_1": (16, 16, 8),
        "conv2_2": (16, 16, 8),
        "conv3_1": (8, 8, 4),
    }


def test_fc6_sees_every_place_or_the_maximum_over_them():
    sizes = {}
    for is_global in (False, True):
        params, found = intermediates(pools=3, global_pool=is_global)
        last = found["conv5_1"]
        seen = last.max(axis=(1, 2)) if is_global else last.reshape(1, -1)
        kernel = params["fc6"]["Dense_0"]["kernel"]
        sizes[is_global] = len(kernel)
        # Untrained statistics: mean 0, variance 1.
        wanted = np.maximum(seen @ kernel / np.sqrt(1 + 1e-5), 0)
        np.testing.assert_allclose(found["fc6"], wanted, rtol=1e-4, atol=1e-6)
    assert sizes == {False: 16 * 16, True: 16}


def test_gelu_is_that_of_its_paper():
    x = np.linspace(-4, 4, 81, dtype=np.float32)
    exact = x * (1 + erf(x / np.sqrt(2))) / 2
    # The tanh formula of its paper differs by less than .0005.
    np.testing.assert_allclose(NONLINEARITIES["gelu"](x), exact, atol=5e-4)
    output, params, _ = applied(nonlinearity="gelu")
    np.testing.assert_allclose(
        output, NONLINEARITIES["gelu"](normalised(convolved(params))), atol=1e-5
    )


def test_the_momentum_is_the_share_that_the_running_statistics_keep():
    _, params, stats = applied(norm_momentum=0.6)
    np.testing.assert_allclose(stats["mean"], 0.4 * convolved(params).mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(
        stats["var"], 0.6 + 0.4 * convolved(params).var((0, 1, 2)), rtol=1e-4
    )


def test_without_scale_only_the_bias_is_trained():
    _, params, _ = applied(norm_scale=False)
    assert set(params["BatchNorm_0"]) == {"bias"}


@pytest.mark.parametrize(("channels", "filters"), [(3, 5), (5, 3), (4, 4)])
def test_dirac_filters_pass_their_channel_on(channels, filters):
    kernel = dirac(jax.random.key(0), (3, 3, channels, filters))
    image = jnp.array(np.random.default_rng(1).normal(size=(2, 4, 4, channels)), jnp.float32)
    found = convolution(image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    same = min(channels, filters)
    np.testing.assert_allclose(found[..., :same], image[..., :same], atol=1e-6)
    assert (np.abs(np.asarray(kernel[..., same:])).sum((0, 1, 2)) > 0).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"nonlinearity": "elu"}, "nonlinearity is 'elu'; it must be one of relu, gelu"),
        ({"pools": 6}, "pools is 6; of the 5 groups 0 to 5 can have one"),
        ({"kernel_init": "zeros"}, "kernel_init is 'zeros'; it must be one of he, dirac"),
    ],
)
def test_unknown_options_are_named(option, message):
    model = DSH(bits=4, classes=2, shape=(32, 32, 1), encoder_options=FrozenDict(option))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
