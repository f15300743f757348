"""What every image goes through: to [0, 1], and padded to what the network needs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dsh_jax.network import STRIDE


def to_unit(image: jax.Array) -> jax.Array:
    """Return uint8 images as float32 in [0, 1].

    Args:
      image: uint8 of any shape.

    Returns:
      float32 of the same shape.
    """
    return image.astype(jnp.float32) / 255


def pad_small(image_BxHxWxC: jax.Array, side: int = STRIDE) -> jax.Array:
    """Return images with sides below `side` padded to it by zeros, evenly around.

    MNIST's 28×28 become 32×32 with two black pixels on each side. An odd excess puts the extra
    row below and the extra column to the right. Larger sides are untouched.

    Args:
      image_BxHxWxC: images.
      side: the smallest side wanted.

    Returns:
      Images of at least `side` × `side`.
    """
    height, width = image_BxHxWxC.shape[1:3]
    short = [max(0, side - height), max(0, side - width)]
    pads = [(0, 0), *((total // 2, total - total // 2) for total in short), (0, 0)]
    return jnp.pad(image_BxHxWxC, pads)


def network_input(stored: jax.Array) -> jax.Array:
    """Return what a network takes of a data set's rows.

    Args:
      stored: images, uint8 [B, H, W, C], or features, float [B, 1, 1, F].

    Returns:
      Images in [0, 1], padded by `pad_small`; features as they are.
    """
    return pad_small(to_unit(stored)) if stored.dtype == jnp.uint8 else stored
