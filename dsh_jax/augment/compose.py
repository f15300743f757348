"""All augmentations of a batch, each with draws of its own for each image."""

from __future__ import annotations

from typing import Literal

import jax

from dsh_jax.augment.colours import colour
from dsh_jax.augment.geometry import affine, cutout, flip, random_crop, shift
from dsh_jax.augment.strong import strong


def augment(
    key_B: jax.Array,
    image_BxHxWxC: jax.Array,
    *,
    shift_pixels: int = 0,
    shift_border: Literal["zeros", "reflect"] = "zeros",
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
      shift_pixels, shift_border: see `shift`; 0 pixels is off.
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
    _check("shift_border", shift_border, shift_border in ("zeros", "reflect"), "zeros or reflect")
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
            image = shift(shift_key, image, shift_pixels, shift_border)
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


def _check(name: str, value: float | str, is_good: bool, wanted: str) -> None:
    """Refuse a setting that is not what is wanted."""
    if not is_good:
        raise ValueError(f"{name} is {value}; it must be {wanted}.")
