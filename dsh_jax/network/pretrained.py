"""Encoders that begin with what another network knows: its features, then FC6 and FC7."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax.network.backbones import BACKBONES
from dsh_jax.network.blocks import Block, Nonlinearity, dense

FEATURES = "features"  # those that people computed elsewhere
ENCODERS = ("conv", *BACKBONES, FEATURES)


class PretrainedEncoder(nn.Module):
    """A pretrained network and FC6, FC7 on its features; given features, these layers alone.

    Attributes:
      backbone: one of `backbones.BACKBONES`, or "" for features only.
      side: to which images are brought before it, pixels; 0 leaves them.
      frozen_norms: whether its batch statistics stay as they came.
      fc_dim: units of FC6 and FC7.
      batch_norm: whether FC6 and FC7 are batch-normalised.
      axis_name: the mapped axis over which statistics are shared, or None.
      dtype: of the computation.
      nonlinearity, norm_momentum, norm_scale: of FC6 and FC7, see `Block`.
    """

    backbone: str = ""
    side: int = 0
    frozen_norms: bool = True
    fc_dim: int = 1024
    batch_norm: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32
    nonlinearity: Nonlinearity = "relu"
    norm_momentum: float = 0.9
    norm_scale: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return FC7.

        Args:
          x: RGB images [B, H, W, 3] in [0, 1], or features [B, 1, 1, F].
          train: whether batch statistics are computed (and updated) or the running ones used.

        Raises:
          ValueError: for images where there is no backbone.
        """
        if x.shape[1:3] == (1, 1):
            x = x[:, 0, 0]
        elif not self.backbone:
            raise ValueError(
                f"the encoder takes features, not images of shape {x.shape[1:]}: compute those of "
                "the images as you did for training, or train with model.encoder=conv or one of "
                f"{', '.join(BACKBONES)}."
            )
        else:
            backbone = BACKBONES[self.backbone].build(
                axis_name=self.axis_name, dtype=self.dtype, name="backbone"
            )
            x = backbone(resized(x, self.side), train=train and not self.frozen_norms)
        block = functools.partial(
            Block,
            batch_norm=self.batch_norm,
            axis_name=self.axis_name,
            dtype=self.dtype,
            nonlinearity=self.nonlinearity,
            norm_momentum=self.norm_momentum,
            norm_scale=self.norm_scale,
        )
        x = x.astype(self.dtype)
        for name in ("fc6", "fc7"):
            x = block(dense(self.fc_dim), name=name)(x, train=train)
        return x


def resized(image_BxHxWxC: jax.Array, side: int) -> jax.Array:
    """Return images at another size, bicubic, as these networks were trained.

    Args:
      image_BxHxWxC: in [0, 1].
      side: height and width wanted; 0 leaves them as they are.

    Returns:
      [B, side, side, C].
    """
    batch, height, width, channels = image_BxHxWxC.shape
    if side in (0, height) and side in (0, width):
        return image_BxHxWxC
    return jax.image.resize(image_BxHxWxC, (batch, side, side, channels), "cubic")
