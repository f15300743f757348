"""Changes of colour, each a pure function of one image in [0, 1] and the amount of the change.

Grey images are changed as their three equal channels would be.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# Rows are Y, I and Q of red, green and blue (ITU-R BT.601 and NTSC).
YIQ_3x3 = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def grey(image_HxWxC: jax.Array) -> jax.Array:
    """Return the luma 0.299 R + 0.587 G + 0.114 B.

    Args:
      image_HxWxC: one image, C = 1 or 3.

    Returns:
      An image [H, W, 1].
    """
    if image_HxWxC.shape[2] == 1:
        return image_HxWxC
    # On a CPU 30 times as fast as a sum over the channels.
    return sum(float(YIQ_3x3[0, c]) * image_HxWxC[:, :, c : c + 1] for c in range(3))


def blend(plain_HxWxC: jax.Array, image_HxWxC: jax.Array, factor: jax.Array) -> jax.Array:
    """Return plain + factor · (image − plain), cut to [0, 1].

    Args:
      plain_HxWxC: what factor 0 gives; may be a scalar, or have one channel.
      image_HxWxC: what factor 1 gives.
      factor: scalar; above 1 exaggerates.

    Returns:
      An image of the same shape.
    """
    return jnp.clip(plain_HxWxC + factor * (image_HxWxC - plain_HxWxC), 0, 1)


def brightness(image_HxWxC: jax.Array, factor: jax.Array) -> jax.Array:
    """Return the image blended with black; see `blend`."""
    return blend(jnp.zeros(()), image_HxWxC, factor)


def contrast(image_HxWxC: jax.Array, factor: jax.Array) -> jax.Array:
    """Return the image blended with its mean luma; see `blend`."""
    return blend(grey(image_HxWxC).mean(), image_HxWxC, factor)


def saturation(image_HxWxC: jax.Array, factor: jax.Array) -> jax.Array:
    """Return the image blended with its luma; see `blend`. A grey image stays as it is."""
    return blend(grey(image_HxWxC), image_HxWxC, factor)


def sharpness(image_HxWxC: jax.Array, factor: jax.Array) -> jax.Array:
    """Return the image blended with itself smoothed by [1 1 1; 1 5 1; 1 1 1] / 13; see `blend`.

    The outermost pixels, which lack neighbours, stay as they are.
    """
    height, width = image_HxWxC.shape[:2]
    box = sum(
        image_HxWxC[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)
    )
    inner = (box + 4 * image_HxWxC[1:-1, 1:-1]) / 13
    return blend(image_HxWxC.at[1:-1, 1:-1].set(inner), image_HxWxC, factor)


def turn_hue(image_HxWxC: jax.Array, turn: jax.Array) -> jax.Array:
    """Return the image with I and Q of its YIQ colours rotated, cut to [0, 1].

    Args:
      image_HxWxC: one image.
      turn: share of a whole turn of the colour circle.

    Returns:
      An image of the same shape and, but for the cut, luma; a grey image stays as it is.
    """
    if image_HxWxC.shape[2] == 1:
        return image_HxWxC
    cosine, sine = jnp.cos(2 * jnp.pi * turn), jnp.sin(2 * jnp.pi * turn)
    rotate_3x3 = jnp.eye(3).at[1:, 1:].set(jnp.array([[cosine, -sine], [sine, cosine]]))
    matrix_3x3 = np.linalg.inv(YIQ_3x3).astype(np.float32) @ rotate_3x3 @ YIQ_3x3.astype(np.float32)
    return jnp.clip(jnp.einsum("ij,hwj->hwi", matrix_3x3, image_HxWxC), 0, 1)


def levels(image_HxWxC: jax.Array) -> jax.Array:
    """Return the image in integers from 0 to 255."""
    return jnp.rint(image_HxWxC * 255).astype(jnp.int32)


def posterize(image_HxWxC: jax.Array, bits: jax.Array) -> jax.Array:
    """Return the image with only the highest of each value's 8 bits kept.

    Args:
      image_HxWxC: one image.
      bits: how many are kept, an integer from 1 to 8.

    Returns:
      An image of the same shape.
    """
    dropped = 8 - bits
    return ((levels(image_HxWxC) >> dropped) << dropped) / 255


def solarize(image_HxWxC: jax.Array, threshold: jax.Array) -> jax.Array:
    """Return the image with values above a threshold replaced by 1 − value.

    Args:
      image_HxWxC: one image.
      threshold: scalar in [0, 1].

    Returns:
      An image of the same shape.
    """
    return jnp.where(image_HxWxC > threshold, 1 - image_HxWxC, image_HxWxC)


def autocontrast(image_HxWxC: jax.Array) -> jax.Array:
    """Return the image with each channel stretched to reach from 0 to 1.

    A channel of one value stays as it is.
    """
    low = image_HxWxC.min((0, 1), keepdims=True)
    span = image_HxWxC.max((0, 1), keepdims=True) - low
    return jnp.where(span > 0, (image_HxWxC - low) / jnp.where(span > 0, span, 1), image_HxWxC)


def equalize(image_HxWxC: jax.Array) -> jax.Array:
    """Return the image with the values of each channel spread evenly, those of Pillow's `equalize`.

    Level v becomes floor((s/2 + pixels below v) / s), s = floor((pixels − those at the highest
    level present) / 255). A channel with s = 0, nearly constant, stays as it is.
    """

    def one(level_HxW):
        count_V = jnp.bincount(level_HxW.ravel(), length=256)
        below_V = jnp.cumsum(count_V) - count_V
        step = below_V[level_HxW.max()] // 255
        new_V = jnp.minimum((step // 2 + below_V) // jnp.maximum(step, 1), 255)
        return jnp.where(step > 0, new_V, jnp.arange(256))[level_HxW]

    return jax.vmap(one, in_axes=2, out_axes=2)(levels(image_HxWxC)) / 255


def colour(key: jax.Array, image_HxWxC: jax.Array, strength: float, hue: float = 0.0) -> jax.Array:
    """Return the image with its brightness, contrast, saturation and hue changed at random.

    Of a grey image only the brightness and the contrast change.

    Args:
      key: of the draws.
      image_HxWxC: one image in [0, 1].
      strength: the three factors are uniform in 1 ± strength.
      hue: its turn is uniform in ± hue, a share of a whole turn; 0 is off.

    Returns:
      An image of the same shape.
    """
    light, spread, depth, turn = jax.random.uniform(key, (4,), minval=-1, maxval=1)
    image_HxWxC = brightness(image_HxWxC, 1 + strength * light)
    image_HxWxC = contrast(image_HxWxC, 1 + strength * spread)
    image_HxWxC = saturation(image_HxWxC, 1 + strength * depth)
    return turn_hue(image_HxWxC, hue * turn) if hue else image_HxWxC
