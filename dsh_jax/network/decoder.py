"""The decoder: the encoder's mirror."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax.network.blocks import (
    FILTERS,
    STRIDE,
    Block,
    ConvPrecision,
    conv3x3,
    dense,
    scaled_filters,
    upsample_2x2,
)


class Decoder(nn.Module):
    """The encoder's mirror: a dense layer, then five times upsampling and a 3×3 convolution.

    Filters 512, 512, 256, 128, 64 lead back to the image's channels through a sigmoid. Sides that
    are no multiple of 32 are decoded on the next larger grid and cropped.

    Attributes:
      shape: (H, W, channels) of the image.
      width: multiplier of the filters.
      batch_norm: whether each hidden layer is batch-normalised; without it the decoder diverged
        in our trials.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation.
      conv_precision: of the factors in convolutions, see `blocks.conv3x3`.
    """

    shape: tuple[int, int, int]
    width: float = 1.0
    batch_norm: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv_precision: ConvPrecision = "float32"

    @nn.compact
    def __call__(self, feature_BxF: jax.Array, *, train: bool) -> jax.Array:
        height, width, channels = self.shape
        rows, columns = -(-height // STRIDE), -(-width // STRIDE)
        filters = scaled_filters(self.width)
        block = functools.partial(
            Block, batch_norm=self.batch_norm, axis_name=self.axis_name, dtype=self.dtype
        )
        x = feature_BxF.astype(self.dtype)
        x = block(dense(rows * columns * filters[-1]), name="fc")(x, train=train)
        x = x.reshape(x.shape[0], rows, columns, filters[-1])
        for group in range(len(FILTERS) - 1, 0, -1):
            layer = conv3x3(filters[group - 1], precision=self.conv_precision)
            x = block(layer, name=f"conv{group + 1}")(upsample_2x2(x), train=train)
        layer = conv3x3(channels, precision=self.conv_precision)
        x = layer(dtype=self.dtype, name="conv1")(upsample_2x2(x))
        return nn.sigmoid(x[:, :height, :width].astype(jnp.float32))
