"""EfficientNet-Lite: encoders whose weights know ImageNet (Tan and Le 2019; Google's Lite, 2020).

Blocks widen their input, filter each channel by itself, and narrow it again:

    x + norm(narrow(relu6(norm(depthwise(relu6(norm(widen(x))))))))

x is added where the block keeps side and channels. The Lite networks have neither the
squeeze-and-excite nor the swish of the others, so that they run fast anywhere.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax.network.depthwise import depthwise_convolution

FEATURES = 1280


class Stage(NamedTuple):
    """Blocks of one width; the first has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


class Size(NamedTuple):
    """What sets one of the networks apart."""

    width: float
    depth: float
    side: int  # of the images that it was trained on


Variant = Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
SIZES: dict[Variant, Size] = {
    "efficientnet_lite0": Size(1.0, 1.0, 224),
    "efficientnet_lite1": Size(1.0, 1.1, 240),
    "efficientnet_lite2": Size(1.1, 1.2, 260),
}
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM = 32  # filters before the first stage, of any width

_LAYERS = {
    "stem": "_conv_stem",
    "stem_norm": "_bn0",
    "head": "_conv_head",
    "head_norm": "_bn1",
    "classifier": "_fc",
    "expand": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project": "_project_conv",
    "project_norm": "_bn2",
}
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def scaled_stages(size: Size) -> tuple[Stage, ...]:
    """Return the stages of a size: filters in multiples of 8; the outer stages keep their depth.

    Args:
      size: of the network.

    Returns:
      Stages.
    """
    last = len(STAGES) - 1
    return tuple(
        stage._replace(
            filters=_multiple_of_8(size.width * stage.filters),
            blocks=stage.blocks if i in (0, last) else math.ceil(size.depth * stage.blocks),
        )
        for i, stage in enumerate(STAGES)
    )


def _multiple_of_8(filters: float) -> int:
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters else nearest + 8


class DepthwiseConv(nn.Module):
    """A filter for each channel, without bias.

    Attributes:
      side: of the filters, odd.
      stride: along height and width.
      dtype: of the computation.
    """

    side: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        shape = (self.side, self.side, 1, x_BxHxWxC.shape[-1])
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return depthwise_convolution(
            x_BxHxWxC.astype(self.dtype), kernel.astype(self.dtype), self.stride
        )


class InvertedBottleneck(nn.Module):
    """A block, see above.

    Attributes:
      filters: of the output.
      expansion: how many times as wide the middle is; 1 leaves out the widening.
      kernel: side of the depthwise filters.
      stride: of these.
      norm: what builds a normalisation, given its name.
      dtype: of the computation.
    """

    filters: int
    expansion: int
    kernel: int
    stride: int
    norm: Any
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        channels = x_BxHxWxC.shape[-1]
        # A 1×1 convolution is a dense layer over the channels, and faster as one.
        dense = functools.partial(nn.Dense, use_bias=False, dtype=self.dtype)
        x = x_BxHxWxC
        if self.expansion > 1:
            x = dense(self.expansion * channels, name="expand")(x)
            x = nn.relu6(self.norm(name="expand_norm")(x))
        x = DepthwiseConv(self.kernel, self.stride, self.dtype, name="depthwise")(x)
        x = nn.relu6(self.norm(name="depthwise_norm")(x))
        x = dense(self.filters, name="project")(x)
        x = self.norm(name="project_norm")(x)
        return x + x_BxHxWxC if self.stride == 1 and self.filters == channels else x


class EfficientNetLite(nn.Module):
    """An EfficientNet-Lite up to its features, or its scores of ImageNet's classes.

    Attributes:
      variant: which of SIZES.
      classes: how many scores; 0 gives the features.
      axis_name: the mapped axis over which batch statistics are shared, or None.
      dtype: of the computation.
    """

    variant: Variant = "efficientnet_lite2"
    classes: int = 0
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image_BxHxWxC: jax.Array, *, train: bool = False) -> jax.Array:
        """Return features [B, 1280], or scores [B, classes].

        Args:
          image_BxHxWxC: RGB images in [0, 1], float, of any side from 32 up.
          train: whether batch statistics are computed (and updated) or the running ones used.

        Raises:
          ValueError: for images that are not of three channels, or for an unknown variant.
        """
        if image_BxHxWxC.shape[-1] != 3:
            raise ValueError(
                f"the images have {image_BxHxWxC.shape[-1]} channels; {self.variant} was trained "
                "on RGB: repeat a grey image three times."
            )
        if self.variant not in SIZES:
            raise ValueError(f"variant is {self.variant!r}; it must be one of {', '.join(SIZES)}.")
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.99,
            epsilon=1e-3,
            axis_name=None if self.is_initializing() else self.axis_name,
            dtype=self.dtype,
        )
        x = normalised(image_BxHxWxC).astype(self.dtype)
        x = nn.Conv(
            STEM, (3, 3), strides=2, padding="SAME", use_bias=False, dtype=self.dtype, name="stem"
        )(x)
        x = nn.relu6(norm(name="stem_norm")(x))
        for i, (filters, expansion, kernel, stride) in enumerate(blocks_of(self.variant)):
            block = InvertedBottleneck(
                filters, expansion, kernel, stride, norm, self.dtype, name=f"block{i}"
            )
            x = block(x)
        x = nn.Dense(FEATURES, use_bias=False, dtype=self.dtype, name="head")(x)
        x = nn.relu6(norm(name="head_norm")(x))
        feature_BxF = x.mean(axis=(1, 2), dtype=jnp.float32)
        if not self.classes:
            return feature_BxF
        return nn.Dense(self.classes, name="classifier")(feature_BxF)


def normalised(image_BxHxWxC: jax.Array) -> jax.Array:
    """Return images of [0, 1] as these networks were trained on them: (255 x − 127) / 128."""
    return (255 * image_BxHxWxC - 127) / 128


def blocks_of(variant: Variant) -> Sequence[tuple[int, int, int, int]]:
    """Return (filters, expansion, kernel, stride) of each block.

    Args:
      variant: which of SIZES.

    Returns:
      A sequence.
    """
    return [
        (stage.filters, stage.expansion, stage.kernel, 1 if i else stage.stride)
        for stage in scaled_stages(SIZES[variant])
        for i in range(stage.blocks)
    ]


def name_of(collection: str, path: tuple[str, ...]) -> str:
    """Return the package's name for a variable of `EfficientNetLite`.

    Args:
      collection: `params` or `batch_stats`.
      path: of the variable.

    Returns:
      Its name there.
    """
    del collection
    *modules, leaf = path
    names = [
        f"_blocks.{name.removeprefix('block')}" if name.startswith("block") else _LAYERS[name]
        for name in modules
    ]
    return ".".join([*names, _LEAVES[leaf]])
