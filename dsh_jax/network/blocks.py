"""What encoder and decoder are made of: a layer, normalisation, its activation; and their sizes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax.network import convolution
from dsh_jax.network.products import ROUNDED

FILTERS = (64, 128, 256, 512, 512)  # section 3.2
STRIDE = 2 ** len(FILTERS)  # five 2×2 pools: the smallest image side that leaves one pixel


Nonlinearity = Literal["relu", "gelu"]
NONLINEARITIES: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": nn.relu, "gelu": nn.gelu}


class Block(nn.Module):
    """A convolution or dense layer, batch normalisation if asked for, and a ReLU or GELU.

    Attributes:
      layer: the Linen layer to build.
      batch_norm: whether to normalise; then the layer has no bias.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation; parameters and statistics stay float32.
      nonlinearity: `relu`, or `gelu` by its tanh formula (Hendrycks and Gimpel 2016).
      norm_momentum: share of the running statistics that a step keeps.
      norm_scale: whether each normalised channel has a trained factor.
      pool_before_norm: whether there is a 2×2 max-pool after the layer, which leaves a quarter of
        the work for the rest.
    """

    layer: Callable[..., nn.Module]
    batch_norm: bool
    axis_name: str | None
    dtype: Any = jnp.float32
    nonlinearity: Nonlinearity = "relu"
    norm_momentum: float = 0.9
    norm_scale: bool = True
    pool_before_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.layer(use_bias=not self.batch_norm, dtype=self.dtype)(x)
        if self.pool_before_norm:
            x = convolution.max_pool_2x2(x)
        if self.batch_norm:
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=self.norm_momentum,
                use_scale=self.norm_scale,
                # While parameters are initialised there is no mapped axis to average over.
                axis_name=None if self.is_initializing() else self.axis_name,
                dtype=self.dtype,
            )(x)
        return NONLINEARITIES[self.nonlinearity](x)


def dirac(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Return a kernel whose first filters pass their channel on unchanged; the others are random.

    Args:
      key: of the random filters, He-normal (He et al. 2015).
      shape: (H, W, in, out), H and W odd.
      dtype: of the kernel.

    Returns:
      The kernel.
    """
    height, width, *channels = shape
    kernel = nn.initializers.he_normal()(key, shape, dtype)
    first = jnp.arange(min(channels))
    kernel = kernel.at[:, :, :, first].set(0)
    return kernel.at[height // 2, width // 2, first, first].set(1)


KERNEL_INITS = {"he": nn.initializers.he_normal(), "dirac": dirac}

ConvPrecision = Literal["float32", "bfloat16"]
CONV_PRECISIONS: dict[str, Any] = {"float32": None, "bfloat16": ROUNDED}


def conv3x3(
    features: int,
    kernel_init: Callable[..., jax.Array] = KERNEL_INITS["he"],
    precision: ConvPrecision = "float32",
) -> Callable[..., nn.Module]:
    """Return a builder of 3×3 convolutions with the given number of filters.

    Args:
      features: how many filters.
      kernel_init: of the kernel.
      precision: of the factors that it multiplies; sums are float32.

    Returns:
      What builds the layer, given `use_bias`, `dtype` and `name`.
    """
    return functools.partial(
        nn.Conv,
        features,
        (3, 3),
        kernel_init=kernel_init,
        precision=CONV_PRECISIONS[precision],
        conv_general_dilated=convolution.convolution,
    )


def dense(features: int) -> Callable[..., nn.Module]:
    """Return a builder of dense layers with the given number of units."""
    return functools.partial(nn.Dense, features, kernel_init=nn.initializers.he_normal())


def scaled_filters(width: float, filters: Sequence[int] = FILTERS) -> tuple[int, ...]:
    """Return each group's filters times the width multiplier, at least 1 each."""
    return tuple(max(1, round(width * count)) for count in filters)


def upsample_2x2(x_BxHxWxC: jax.Array) -> jax.Array:
    """Return the map with each pixel repeated in a 2×2 square."""
    batch, height, width, channels = x_BxHxWxC.shape
    x = jnp.broadcast_to(x_BxHxWxC[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
