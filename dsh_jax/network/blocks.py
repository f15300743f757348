"""What encoder and decoder are made of: a layer, normalisation, a ReLU; and their sizes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax.network import convolution

FILTERS = (64, 128, 256, 512, 512)  # section 3.2
STRIDE = 2 ** len(FILTERS)  # five 2×2 pools: the smallest image side that leaves one pixel


class Block(nn.Module):
    """A convolution or dense layer, batch normalisation if asked for, and a ReLU.

    Attributes:
      layer: the Linen layer to build.
      batch_norm: whether to normalise; then the layer has no bias.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation; parameters and statistics stay float32.
    """

    layer: Callable[..., nn.Module]
    batch_norm: bool
    axis_name: str | None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.layer(use_bias=not self.batch_norm, dtype=self.dtype)(x)
        if self.batch_norm:
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                # While parameters are initialised there is no mapped axis to average over.
                axis_name=None if self.is_initializing() else self.axis_name,
                dtype=self.dtype,
            )(x)
        return nn.relu(x)


def conv3x3(features: int) -> Callable[..., nn.Module]:
    """Return a builder of 3×3 convolutions with the given number of filters."""
    return functools.partial(
        nn.Conv,
        features,
        (3, 3),
        kernel_init=nn.initializers.he_normal(),
        conv_general_dilated=convolution.convolution,
    )


def dense(features: int) -> Callable[..., nn.Module]:
    """Return a builder of dense layers with the given number of units."""
    return functools.partial(nn.Dense, features, kernel_init=nn.initializers.he_normal())


def scaled_filters(width: float) -> tuple[int, ...]:
    """Return the five filter counts times the width multiplier, at least 1 each."""
    return tuple(max(1, round(width * filters)) for filters in FILTERS)


def upsample_2x2(x_BxHxWxC: jax.Array) -> jax.Array:
    """Return the map with each pixel repeated in a 2×2 square."""
    batch, height, width, channels = x_BxHxWxC.shape
    x = jnp.broadcast_to(x_BxHxWxC[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)
