"""Image preparation on the device, inside the jitted step; each a pure function of arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dsh_jax.models import STRIDE


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


def shift(key: jax.Array, image_HxWxC: jax.Array, pixels: int) -> jax.Array:
    """Return the image moved by up to `pixels` each way: pad by zeros, then crop at random.

    Args:
      key: of the draw.
      image_HxWxC: one image.
      pixels: the largest shift.

    Returns:
      An image of the same shape.
    """
    padded = jnp.pad(image_HxWxC, ((pixels, pixels), (pixels, pixels), (0, 0)))
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
    angle, slant = jnp.deg2rad(degrees * angle), jnp.tan(jnp.deg2rad(degrees * slant))
    turn = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    matrix = turn @ jnp.array([[1 + scale * high, slant], [0.0, 1 + scale * wide]])
    height, width = image_HxWxC.shape[:2]
    centre_2 = jnp.array([(height - 1) / 2, (width - 1) / 2])
    place_2xHxW = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"))
    offset_2xHxW = place_2xHxW - centre_2[:, None, None]
    source_2xHxW = jnp.einsum("ij,jhw->ihw", matrix, offset_2xHxW) + centre_2[:, None, None]

    def sample(image_HxW):
        return jax.scipy.ndimage.map_coordinates(image_HxW, list(source_2xHxW), order=1)

    return jax.vmap(sample, in_axes=2, out_axes=2)(image_HxWxC)


def augment(
    key_B: jax.Array,
    image_BxHxWxC: jax.Array,
    *,
    shift_pixels: int = 0,
    flips: bool = False,
    cutout_size: int = 0,
    affine_degrees: float = 0.0,
    affine_scale: float = 0.0,
) -> jax.Array:
    """Return randomly turned, moved, mirrored and cut images; each row by its own key.

    Args:
      key_B: one key a row, so that a row's draw does not depend on how rows are spread.
      image_BxHxWxC: images in [0, 1].
      shift_pixels: see `shift`; 0 is off.
      flips: see `flip`.
      cutout_size: see `cutout`; 0 is off.
      affine_degrees, affine_scale: see `affine`; both 0 is off.

    Returns:
      Images of the same shape.
    """

    def one(key, image):
        affine_key, shift_key, flip_key, cutout_key = jax.random.split(key, 4)
        if affine_degrees or affine_scale:
            image = affine(affine_key, image, affine_degrees, affine_scale)
        if shift_pixels:
            image = shift(shift_key, image, shift_pixels)
        if flips:
            image = flip(flip_key, image)
        if cutout_size:
            image = cutout(cutout_key, image, cutout_size)
        return image

    return jax.vmap(one)(key_B, image_BxHxWxC)
