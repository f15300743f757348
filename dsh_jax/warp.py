"""An image seen through a linear map."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def rotation(angle: jax.Array) -> jax.Array:
    """Return [[cos, −sin], [sin, cos]] of an angle in radians."""
    return jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])


def warp(
    image_HxWxC: jax.Array, matrix_2x2: jax.Array, move_2: jax.Array | None = None
) -> jax.Array:
    """Return the image seen through a linear map about its centre, by linear interpolation.

    The pixel at p, row and column from the centre, takes the value at matrix · p + move. Outside
    is 0.

    Args:
      image_HxWxC: one image.
      matrix_2x2: of rows and columns.
      move_2: pixels down and to the right; None is 0.

    Returns:
      An image of the same shape.
    """
    height, width = image_HxWxC.shape[:2]
    centre_2 = jnp.array([(height - 1) / 2, (width - 1) / 2])
    place_2xHxW = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    offset_2xHxW = place_2xHxW - centre_2[:, None, None]
    middle_2 = centre_2 if move_2 is None else centre_2 + move_2
    source_2xHxW = jnp.einsum("ij,jhw->ihw", matrix_2x2, offset_2xHxW) + middle_2[:, None, None]

    def sample(image_HxW):
        return jax.scipy.ndimage.map_coordinates(image_HxW, list(source_2xHxW), order=1)

    return jax.vmap(sample, in_axes=2, out_axes=2)(image_HxWxC)
