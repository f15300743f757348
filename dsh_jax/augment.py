"""Image preparation on the device, inside the jitted step; each a pure function of arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dsh_jax.colours import colour
from dsh_jax.models import STRIDE
from dsh_jax.strong import strong
from dsh_jax.warp import rotation, warp


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


def augment(
    key_B: jax.Array,
    image_BxHxWxC: jax.Array,
    *,
    shift_pixels: int = 0,
    flips: bool = False,
    cutout_size: int = 0,
    affine_degrees: float = 0.0,
    affine_scale: float = 0.0,
    crop_area: float = 0.0,
    colour_strength: float = 0.0,
    colour_hue: float = 0.0,
    strong_ops: int = 0,
    strong_magnitude: float = 1.0,
) -> jax.Array:
    """Return images changed at random, each row by its own key, in the order of the code below.

    Args:
      key_B: one key a row, so that a row's draw does not depend on how rows are spread.
      image_BxHxWxC: images in [0, 1].
      shift_pixels: see `shift`; 0 is off.
      flips: see `flip`.
      cutout_size: see `cutout`; 0 is off. FixMatch has up to half of the side beside `strong`.
      affine_degrees, affine_scale: see `affine`; both 0 is off.
      crop_area: the smallest share, see `random_crop`; 0 or 1 is off.
      colour_strength, colour_hue: see `colours.colour`; both 0 is off.
      strong_ops, strong_magnitude: see `strong`; 0 operations is off.

    Returns:
      Images of the same shape.

    Raises:
      ValueError: for a setting out of its range.
    """
    _check("shift_pixels", shift_pixels, shift_pixels >= 0, "at least 0 pixels")
    _check("cutout_size", cutout_size, cutout_size >= 0, "at least 0 pixels")
    _check("affine_degrees", affine_degrees, affine_degrees >= 0, "at least 0 degrees")
    _check("affine_scale", affine_scale, 0 <= affine_scale < 1, "in [0, 1)")
    _check("crop_area", crop_area, 0 <= crop_area <= 1, "a share in [0, 1]; 0 and 1 are off")
    _check("colour_strength", colour_strength, 0 <= colour_strength <= 1, "in [0, 1]")
    _check("colour_hue", colour_hue, 0 <= colour_hue <= 0.5, "a share of a turn in [0, 0.5]")
    whole = strong_ops == int(strong_ops)
    _check("strong_ops", strong_ops, whole and strong_ops >= 0, "a whole number; 0 is off")
    _check("strong_magnitude", strong_magnitude, 0 <= strong_magnitude <= 1, "in [0, 1]")

    def one(key, image):
        affine_key, shift_key, flip_key, cutout_key = jax.random.split(key, 4)
        # From 4 on: the keys that fold_in gives for 0 to 3 are those of the split.
        crop_key, colour_key, strong_key = (jax.random.fold_in(key, n) for n in (4, 5, 6))
        if 0 < crop_area < 1:
            image = random_crop(crop_key, image, crop_area)
        if affine_degrees or affine_scale:
            image = affine(affine_key, image, affine_degrees, affine_scale)
        if shift_pixels:
            image = shift(shift_key, image, shift_pixels)
        if flips:
            image = flip(flip_key, image)
        if colour_strength or colour_hue:
            image = colour(colour_key, image, colour_strength, colour_hue)
        if strong_ops:
            image = strong(strong_key, image, strong_ops, strong_magnitude)
        if cutout_size:
            image = cutout(cutout_key, image, cutout_size)
        return image

    return jax.vmap(one)(key_B, image_BxHxWxC)


def _check(name: str, value: float, is_good: bool, wanted: str) -> None:
    """Refuse a setting that is not what is wanted."""
    if not is_good:
        raise ValueError(f"{name} is {value}; it must be {wanted}.")
