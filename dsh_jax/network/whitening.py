"""A first convolution that whitens: its filters are fixed, the principal directions of patches.

Colours of neighbouring pixels are nearly equal, so that a few directions of the input hold nearly
all of its variance, and gradient descent is slow in the others. A patch p of side × side pixels is
rotated to its principal directions e_i and each is brought to variance 1:

    ± e_i · p / √(λ_i + ε),    (λ_i, e_i) the eigenpairs of the mean of p p'

Both signs, for a ReLU or GELU lets one pass. After Coates and Ng (2012); as a frozen first layer of
a fast CIFAR-10 network in Page (2018) and Jordan (2024).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.typed import Array

EPSILON = 5e-4  # of a patch that is centred, with a spread near 1


def centred(image_BxHxWxC: Array) -> Array:
    """Return images of [0, 1] centred, with a spread near 1, for any data set."""
    return (image_BxHxWxC - 0.5) * 4


def whitening_kernel(image_NxHxWxC: np.ndarray, side: int) -> np.ndarray:
    """Return the filters of images.

    Args:
      image_NxHxWxC: in [0, 1], float; some thousands are enough.
      side: of the patches, pixels.

    Returns:
      kernel [side, side, C, 2 side² C], float32: first all directions from the largest variance to
      the smallest, then their negatives.

    Raises:
      ValueError: for a side that no patch has.
    """
    _, height, width, channels = image_NxHxWxC.shape
    if not 1 <= side <= min(height, width):
        raise ValueError(
            f"whitening is {side}; a patch has a side of 1 to {min(height, width)} pixels, e.g. 2."
        )
    x = np.asarray(centred(image_NxHxWxC), np.float32)
    patch = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    patch_PxD = np.moveaxis(patch, 3, -1).reshape(-1, side * side * channels)
    covariance_DxD = (patch_PxD.T @ patch_PxD).astype(np.float64) / len(patch_PxD)
    variance_D, direction_DxD = np.linalg.eigh(covariance_DxD)
    # Of either sign: that whose largest entry is positive, on any machine.
    largest_D = np.abs(direction_DxD).argmax(0)
    direction_DxD *= np.sign(direction_DxD[largest_D, np.arange(len(largest_D))])
    filter_DxD = (direction_DxD / np.sqrt(variance_D + EPSILON))[:, ::-1]
    both = np.concatenate([filter_DxD, -filter_DxD], axis=1)
    return both.reshape(side, side, channels, -1).astype(np.float32)


class Whitening(nn.Module):
    """The fixed filters, held as a statistic of the data, and a bias that is trained.

    Attributes:
      side: of the patches.
      dtype: of the computation.
    """

    side: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        channels = x_BxHxWxC.shape[-1]
        shape = (self.side, self.side, channels, 2 * self.side**2 * channels)
        kernel = self.variable("batch_stats", "kernel", jnp.zeros, shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:])
        _, height, width, _ = x_BxHxWxC.shape
        low = (self.side - 1) // 2
        border = (low, self.side - 1 - low)
        padded = jnp.pad(x_BxHxWxC.astype(self.dtype), ((0, 0), border, border, (0, 0)))
        # As a matrix product, which is faster than XLA's convolution of so few channels.
        shifts = [
            padded[:, i : i + height, j : j + width]
            for i in range(self.side)
            for j in range(self.side)
        ]
        kernel_PxD = jax.lax.stop_gradient(kernel.value).reshape(-1, shape[-1])
        x_BxHxWxD = jnp.concatenate(shifts, axis=-1) @ kernel_PxD.astype(self.dtype)
        return x_BxHxWxD + bias.astype(self.dtype)[None, None, None]
