"""The encoder of sections 3.1 and 3.2: five groups of convolutions, FC6, FC7."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax.network import convolution
from dsh_jax.network.blocks import (
    CONV_PRECISIONS,
    FILTERS,
    KERNEL_INITS,
    NONLINEARITIES,
    STRIDE,
    Block,
    ConvPrecision,
    Nonlinearity,
    conv3x3,
    dense,
    scaled_filters,
)
from dsh_jax.network.whitening import Whitening, centred


class Encoder(nn.Module):
    """Five groups of convolutions with a 2×2 max-pool each, then FC6 and FC7 (sections 3.1, 3.2).

    That is the paper's; `filters` may name fewer groups. With fewer pools and a global one the late
    groups see more places of an image, not one or four.

    Attributes:
      width: multiplier of the filters.
      convs_per_group: 3×3 convolutions in each group; (1, 1, 1, 1, 1) is printed, (2, 2, 3, 3, 3)
        is VGG-16's (Simonyan and Zisserman 2014).
      pool_after: `group` (as in VGG) or `first` convolution of the group (cheaper).
      fc_dim: units of FC6 and FC7.
      batch_norm: whether each layer is batch-normalised.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation.
      conv_precision: of the factors in 3×3 convolutions, see `blocks.conv3x3`.
      whitening: side of the patches that fixed filters whiten before the first group; 0 is off.
      nonlinearity, norm_momentum, norm_scale: see `Block`.
      pool_before_norm: whether a pool comes before the normalisation of its layer.
      kernel_init: of the convolutions, `he` or `dirac`, see `blocks.dirac`.
      pools: how many groups have their pool, the first ones; 5 is printed.
      global_pool: whether FC6 sees each channel's maximum over all places, not every place.
      filters: of each group's convolutions, one to five; 64, 128, 256, 512, 512 is printed.
    """

    width: float = 1.0
    convs_per_group: Sequence[int] = (1, 1, 1, 1, 1)
    pool_after: Literal["group", "first"] = "group"
    fc_dim: int = 1024
    batch_norm: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv_precision: ConvPrecision = "float32"
    whitening: int = 0
    nonlinearity: Nonlinearity = "relu"
    norm_momentum: float = 0.9
    norm_scale: bool = True
    pool_before_norm: bool = False
    kernel_init: Literal["he", "dirac"] = "he"
    pools: int = len(FILTERS)
    global_pool: bool = False
    filters: Sequence[int] = FILTERS

    @nn.compact
    def __call__(self, image_BxHxWxC: jax.Array, *, train: bool) -> jax.Array:
        height, width = image_BxHxWxC.shape[1:3]
        if min(height, width) < STRIDE:
            raise ValueError(
                f"the image is {height}×{width}; five 2×2 pools need at least {STRIDE}×{STRIDE}: "
                "pad it (data.pad_small=True) or resize it (data.image_size=32)."
            )
        groups = len(self.filters)
        if not 1 <= groups <= len(FILTERS) or min(self.filters) < 1:
            raise ValueError(
                f"filters is {tuple(self.filters)}; it must hold one to five numbers >= 1."
            )
        if len(self.convs_per_group) != groups or min(self.convs_per_group) < 1:
            raise ValueError(
                f"convs_per_group is {tuple(self.convs_per_group)}; it must hold {groups} numbers "
                ">= 1, one for each of filters."
            )
        if not 0 <= self.pools <= groups:
            raise ValueError(
                f"pools is {self.pools}; of the {groups} groups 0 to {groups} can have one."
            )
        if self.pool_after not in ("group", "first"):
            raise ValueError(f"pool_after is {self.pool_after!r}; it must be 'group' or 'first'.")
        for name, value, known in (
            ("nonlinearity", self.nonlinearity, NONLINEARITIES),
            ("kernel_init", self.kernel_init, KERNEL_INITS),
            ("conv_precision", self.conv_precision, CONV_PRECISIONS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}.")
        block = functools.partial(
            Block,
            batch_norm=self.batch_norm,
            axis_name=self.axis_name,
            dtype=self.dtype,
            nonlinearity=self.nonlinearity,
            norm_momentum=self.norm_momentum,
            norm_scale=self.norm_scale,
        )
        kernel_init = KERNEL_INITS[self.kernel_init]
        x = jnp.asarray(centred(image_BxHxWxC), self.dtype)
        if self.whitening:
            x = Whitening(self.whitening, dtype=self.dtype, name="whitening")(x)
            x = NONLINEARITIES[self.nonlinearity](x)
        for group, filters in enumerate(scaled_filters(self.width, self.filters)):
            count = self.convs_per_group[group]
            pool_at = 0 if self.pool_after == "first" else count - 1
            if group >= self.pools:
                pool_at = -1
            for i in range(count):
                x = block(
                    conv3x3(filters, kernel_init, self.conv_precision),
                    pool_before_norm=self.pool_before_norm and i == pool_at,
                    name=f"conv{group + 1}_{i + 1}",
                )(x, train=train)
                if i == pool_at and not self.pool_before_norm:
                    x = convolution.max_pool_2x2(x)
        x = x.max(axis=(1, 2)) if self.global_pool else x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = block(dense(self.fc_dim), name=name)(x, train=train)
        return x
