"""Where pixels go: shift, flip, crop, rotation; and the square that is cut out."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp


def shift(
    key: jax.Array,
    image_HxWxC: jax.Array,
    pixels: int,
    border: Literal["zeros", "reflect"] = "zeros",
) -> jax.Array:
    """Return the image moved by up to `pixels` each way: pad it, then crop at random.

    Args:
      key: of the draw.
      image_HxWxC: one image.
      pixels: the largest shift.
      border: what comes in at the edge: `zeros`, or the image itself, mirrored at it, `reflect`.

    Returns:
      An image of the same shape.
    """
    mode = {"zeros": "constant", "reflect": "reflect"}[border]
    padded = jnp.pad(image_HxWxC, ((pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)
    row, column = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
    return jax.lax.dynamic_slice(padded, (row, column, 0), image_HxWxC.shape)


def flip(key: jax.Array, image_HxWxC: jax.Array) -> jax.Array:
    """Return the image, mirrored left to right with probability 1/2.

    Args:
      key: of the draw.
      image_HxWxC: one image.

    Returns:
      An image of the same shape.
    """
    return jnp.where(jax.random.bernoulli(key), image_HxWxC[:, ::-1], image_HxWxC)


def cutout(key: jax.Array, image_HxWxC: jax.Array, size: int) -> jax.Array:
    """Return the image with one square set to mid-grey (DeVries and Taylor 2017).

    The square's centre is uniform over the image, so it may reach over the edge.

    Args:
      key: of the draw.
      image_HxWxC: one image in [0, 1].
      size: side of the square in pixels.

    Returns:
      An image of the same shape.
    """
    height, width = image_HxWxC.shape[:2]
    row_key, column_key = jax.random.split(key)
    top = jax.random.randint(row_key, (), 0, height) - size // 2
    left = jax.random.randint(column_key, (), 0, width) - size // 2
    row, column = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    inside = (row >= top) & (row < top + size) & (column >= left) & (column < left + size)
    return jnp.where(inside, 0.5, image_HxWxC)


def affine(key: jax.Array, image_HxWxC: jax.Array, degrees: float, scale: float) -> jax.Array:
    """Return the image turned, stretched and slanted about its centre, by linear interpolation.

    Angle and slant are uniform in ±degrees, the two sides' factors in 1 ± scale. Outside is 0.

    Args:
      key: of the draws.
      image_HxWxC: one image.
      degrees: the largest angle.
      scale: the largest stretch, below 1.

    Returns:
      An image of the same shape.
    """
    angle, slant, high, wide = jax.random.uniform(key, (4,), minval=-1, maxval=1)
    slant = jnp.tan(jnp.deg2rad(degrees * slant))
    stretch_2x2 = jnp.array([[1 + scale * high, slant], [0.0, 1 + scale * wide]])
    return warp(image_HxWxC, rotation(jnp.deg2rad(degrees * angle)) @ stretch_2x2)


def random_crop(key: jax.Array, image_HxWxC: jax.Array, smallest: float) -> jax.Array:
    """Return a part of the image, enlarged to its size by linear interpolation.

    The part's share of the area is uniform in [smallest, 1]; its aspect ratio over the image's is
    log-uniform where such a part fits within [3/4, 4/3]; its place is uniform (Szegedy et al.
    2015).

    Args:
      key: of the draws.
      image_HxWxC: one image.
      smallest: share of the area, in (0, 1].

    Returns:
      An image of the same shape.
    """
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, minval=smallest, maxval=1)
    # The sides' shares √(area / aspect) and √(area · aspect) fit for aspects from area to 1/area.
    widest = jnp.minimum(jnp.log(4 / 3), -jnp.log(area))
    aspect = jnp.exp(widest * jax.random.uniform(aspect_key, minval=-1, maxval=1))
    share_2 = jnp.sqrt(area * jnp.array([1 / aspect, aspect]))
    shape_2 = jnp.array(image_HxWxC.shape[:2])
    corner_2 = jax.random.uniform(place_key, (2,)) * (1 - share_2) * shape_2
    return jax.image.scale_and_translate(
        image_HxWxC, image_HxWxC.shape, (0, 1), 1 / share_2, -corner_2 / share_2, method="linear"
    )


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
