"""ResNet-50 (He et al. 2016), as torchvision has it, for weights that people hold.

A block narrows its input, filters it, widens it again and adds the input:

    relu(x + norm(widen(relu(norm(filter(relu(norm(narrow(x)))))))))

The stride is the filter's, as in torchvision; He et al. have it in the narrowing.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

FEATURES = 2048
BLOCKS = (3, 4, 6, 3)
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, in [0, 1]


class Bottleneck(nn.Module):
    """A block, see above.

    Attributes:
      filters: of the middle; four times as many come out.
      stride: of the filters.
      norm: what builds a normalisation, given its name.
      dtype: of the computation.
    """

    filters: int
    stride: int
    norm: Any
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        dense = functools.partial(nn.Dense, use_bias=False, dtype=self.dtype)
        x = nn.relu(self.norm(name="bn1")(dense(self.filters, name="conv1")(x_BxHxWxC)))
        x = _conv(self.filters, 3, self.stride, self.dtype, "conv2")(x)
        x = nn.relu(self.norm(name="bn2")(x))
        x = self.norm(name="bn3")(dense(4 * self.filters, name="conv3")(x))
        shortcut = x_BxHxWxC
        if shortcut.shape != x.shape:
            shortcut = shortcut[:, :: self.stride, :: self.stride]
            shortcut = dense(4 * self.filters, name="downsample_0")(shortcut)
            shortcut = self.norm(name="downsample_1")(shortcut)
        return nn.relu(x + shortcut)


class ResNet50(nn.Module):
    """ResNet-50 up to its 2,048 features, the mean over places.

    Attributes:
      axis_name: the mapped axis over which batch statistics are shared, or None.
      dtype: of the computation.
    """

    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image_BxHxWx3: jax.Array, *, train: bool = False) -> jax.Array:
        """Return features [B, 2048].

        Args:
          image_BxHxWx3: RGB images in [0, 1], float.
          train: whether batch statistics are computed (and updated) or the running ones used.
        """
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            axis_name=None if self.is_initializing() else self.axis_name,
            dtype=self.dtype,
        )
        centred = image_BxHxWx3 - np.array(MEAN, np.float32)[None, None, None]
        x = (centred / np.array(SPREAD, np.float32)[None, None, None]).astype(self.dtype)
        x = nn.relu(norm(name="bn1")(_conv(64, 7, 2, self.dtype, "conv1")(x)))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage, blocks in enumerate(BLOCKS):
            for i in range(blocks):
                stride = 2 if stage and not i else 1
                name = f"layer{stage + 1}_{i}"
                x = Bottleneck(64 * 2**stage, stride, norm, self.dtype, name=name)(x)
        return x.mean(axis=(1, 2), dtype=jnp.float32)


def _conv(filters: int, side: int, stride: int, dtype: Any, name: str) -> nn.Conv:
    """Return a convolution padded alike on all sides, as PyTorch's are."""
    pad = side // 2
    return nn.Conv(
        filters,
        (side, side),
        strides=stride,
        padding=((pad, pad), (pad, pad)),
        use_bias=False,
        dtype=dtype,
        name=name,
    )


def name_of(collection: str, path: tuple[str, ...]) -> str:
    """Return torchvision's name for a variable.

    Args:
      collection: `params` or `batch_stats`.
      path: of the variable.

    Returns:
      Its name there, such as `layer1.0.downsample.1.running_mean`.
    """
    del collection
    *modules, leaf = path
    leaves = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    return ".".join([*(name.replace("_", ".") for name in modules), leaves.get(leaf, leaf)])
