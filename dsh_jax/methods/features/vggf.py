"""VGG-F, the network whose fc7 activations the rows called "-VGGF" hash; weights are the user's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

SIDE = 224
SIZE = 4096  # of fc7
# Channels, k, alpha and beta of `local_response_norm`. Caffe divides its alpha by the channels:
# the same network has 5e-4 there.
NORM = (5, 2.0, 1e-4, 0.75)


class VGGF(nn.Module):
    """CNN-F up to fc7: five convolutions and two fully connected layers.

    fc6 and fc7 are convolutions, as in MatConvNet, so that all kernels keep their shapes.
    """

    @nn.compact
    def __call__(self, image_Bx224x224x3: jax.Array) -> jax.Array:
        """Return fc7 after its ReLU.

        Args:
          image_Bx224x224x3: RGB, 0 … 255 less the mean image, float32.

        Returns:
          float32 array, shape (B, 4096).

        Raises:
          ValueError: for images of another shape.
        """
        if image_Bx224x224x3.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(
                f"the images have shape {image_Bx224x224x3.shape}; wanted [B, {SIDE}, {SIDE}, 3]: "
                "prepare them with vggf.prepare"
            )

        def conv(name, features, side, pad, x, stride=1):
            return nn.relu(nn.Conv(features, (side, side), stride, padding=pad, name=name)(x))

        x = conv("conv1", 64, 11, 0, image_Bx224x224x3, stride=4)
        x = max_pool(local_response_norm(x))
        x = conv("conv2", 256, 5, 2, x)
        x = max_pool(local_response_norm(x))
        x = conv("conv3", 256, 3, 1, x)
        x = conv("conv4", 256, 3, 1, x)
        x = max_pool(conv("conv5", 256, 3, 1, x))
        x = conv("fc6", 4096, 6, 0, x)
        x = conv("fc7", SIZE, 1, 0, x)
        return x.reshape(len(x), SIZE)


def local_response_norm(x_BxHxWxC: jax.Array) -> jax.Array:
    """Divide each value by a power of its channel's neighbourhood.

    y_c = x_c / (2 + 1e-4 Σ_i x_i²)^0.75,  i the five channels around c, fewer at the ends.

    Args:
      x_BxHxWxC: maps.

    Returns:
      The same shape.

    Source: Krizhevsky, Sutskever and Hinton, NeurIPS 2012.
    """
    channels, k, alpha, beta = NORM
    pad = channels // 2
    sum_BxHxWxC = lax.reduce_window(
        x_BxHxWxC**2,
        0.0,
        lax.add,
        window_dimensions=(1, 1, 1, channels),
        window_strides=(1, 1, 1, 1),
        padding=((0, 0), (0, 0), (0, 0), (pad, pad)),
    )
    return x_BxHxWxC / (k + alpha * sum_BxHxWxC) ** beta


def max_pool(x_BxHxWxC: jax.Array) -> jax.Array:
    """Take the maximum of every 3×3 window, stride 2; the last window may pass the edge.

    A side H becomes ceil((H - 3) / 2) + 1, as in Caffe: 54 becomes 27, where `nn.max_pool` without
    padding gives 26. What lies beyond the edge is -inf.

    Args:
      x_BxHxWxC: maps.

    Returns:
      Maps of half the side.
    """
    padding = [(0, (side - 3) % 2) for side in x_BxHxWxC.shape[1:3]]
    return nn.max_pool(x_BxHxWxC, (3, 3), (2, 2), padding)


def prepare(image_BxHxWxC: jax.Array, mean_224x224x3: jax.Array) -> jax.Array:
    """Bring images to what the network takes: resized, three channels, less the mean image.

    Args:
      image_BxHxWxC: uint8, of any size; grey ones (C = 1) are repeated three times.
      mean_224x224x3: from `matconvnet.load_vggf`.

    Returns:
      float32 array, shape (B, 224, 224, 3), bilinear, antialiased where it shrinks.

    Raises:
      ValueError: for other than 1 or 3 channels.
    """
    batch, _, _, channels = image_BxHxWxC.shape
    if channels not in (1, 3):
        raise ValueError(f"the images have {channels} channels; wanted 1 (grey) or 3 (RGB)")
    image = image_BxHxWxC.astype(jnp.float32)
    image = jax.image.resize(image, (batch, SIDE, SIDE, channels), "bilinear")
    return jnp.broadcast_to(image, (batch, SIDE, SIDE, 3)) - mean_224x224x3[None]


@jax.jit
def fc7(variables: Any, mean_224x224x3: jax.Array, image_BxHxWxC: jax.Array) -> jax.Array:
    """Return the activations of fc7; of many images, see `features.feature_blocks`.

    Args:
      variables, mean_224x224x3: from `matconvnet.load_vggf`.
      image_BxHxWxC: uint8, of any size, C = 1 or 3.

    Returns:
      float32 array, shape (B, 4096), 0 or more.

    Raises:
      ValueError: for other than 1 or 3 channels.

    Source: Chatfield, Simonyan, Vedaldi and Zisserman, BMVC 2014.
    """
    return VGGF().apply(variables, prepare(image_BxHxWxC, mean_224x224x3))
