"""Strong augmentation: operations drawn at random from a table."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dsh_jax.augment import colours
from dsh_jax.augment.geometry import rotation, warp

# The strong operations and the range of each (Sohn et al. 2020, appendix D): functions of an image
# and a size in [0, 1], 0 changing nothing, but for those that have no size.
COLOUR_OPS = {
    "identity": lambda image, size: image,
    "autocontrast": lambda image, size: colours.autocontrast(image),
    "equalize": lambda image, size: colours.equalize(image),
    "posterize": lambda image, size: colours.posterize(
        image, 8 - jnp.rint(4 * size).astype(jnp.int32)
    ),
    "solarize": lambda image, size: colours.solarize(image, 1 - size),
    "brightness": lambda image, size: colours.brightness(image, 1 - 0.95 * size),
    "contrast": lambda image, size: colours.contrast(image, 1 - 0.95 * size),
    "saturation": lambda image, size: colours.saturation(image, 1 - 0.95 * size),
    "sharpness": lambda image, size: colours.sharpness(image, 1 - 0.95 * size),
}
# Functions of a size in [-1, 1] to the matrix of `warp` and its move, a share of the sides.
WARP_OPS = {
    "rotate": lambda size: (rotation(jnp.deg2rad(30 * size)), jnp.zeros(2)),
    "shear_x": lambda size: (jnp.eye(2).at[1, 0].set(0.3 * size), jnp.zeros(2)),
    "shear_y": lambda size: (jnp.eye(2).at[0, 1].set(0.3 * size), jnp.zeros(2)),
    "translate_x": lambda size: (jnp.eye(2), jnp.zeros(2).at[1].set(0.3 * size)),
    "translate_y": lambda size: (jnp.eye(2), jnp.zeros(2).at[0].set(0.3 * size)),
}
STRONG_OPS = (*COLOUR_OPS, *WARP_OPS)


def strong_op(image_HxWxC: jax.Array, op: jax.Array, size: jax.Array) -> jax.Array:
    """Return the image changed by one of STRONG_OPS.

    Under `vmap` a switch computes all of its branches. So the matrices are switched, and not the
    images warped by them: one interpolation serves all of WARP_OPS.

    Args:
      image_HxWxC: one image in [0, 1].
      op: index into STRONG_OPS.
      size: in [-1, 1]; COLOUR_OPS take its absolute value.

    Returns:
      An image of the same shape.
    """
    coloured = jax.lax.switch(op, list(COLOUR_OPS.values()), image_HxWxC, jnp.abs(size))
    matrix_2x2, move_2 = jax.lax.switch(op - len(COLOUR_OPS), list(WARP_OPS.values()), size)
    moved = warp(image_HxWxC, matrix_2x2, move_2 * jnp.array(image_HxWxC.shape[:2]))
    return jnp.where(op < len(COLOUR_OPS), coloured, moved)


def strong(key: jax.Array, image_HxWxC: jax.Array, ops: int, magnitude: float = 1.0) -> jax.Array:
    """Return the image changed by operations drawn at random, one after another.

    Each is uniform over STRONG_OPS (RandAugment, Cubuk et al. 2020), its size uniform up to
    `magnitude` of its range, with either sign where it has one. FixMatch (Sohn et al. 2020) has
    two, at magnitude 1, followed by `augment.cutout`.

    Args:
      key: of the draws.
      image_HxWxC: one image in [0, 1].
      ops: how many.
      magnitude: in [0, 1].

    Returns:
      An image of the same shape.
    """

    def change(image, key):
        op_key, size_key = jax.random.split(key)
        op = jax.random.randint(op_key, (), 0, len(STRONG_OPS))
        size = jax.random.uniform(size_key, minval=-magnitude, maxval=magnitude)
        return strong_op(image, op, size), None

    # A scan compiles the operations once, however many are drawn.
    return jax.lax.scan(change, image_HxWxC, jax.random.split(key, ops))[0]
