"""The paper's network in Linen: convolutional autoencoder, bcoding head, linear classifier.

    image ── Encoder ── feature (FC7) ── BcodingHead ── bcoding B ── classifier W_C ── score
                            └── Decoder ── decoded image

A bit is 1 where the head's logit is > 0, whatever the activation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from dsh_jax import convolution
from dsh_jax.baselines import classifier_code
from dsh_jax.bcoding import Activation, BcodingHead, bcoding_activation

FILTERS = (64, 128, 256, 512, 512)  # section 3.2
STRIDE = 2 ** len(FILTERS)  # five 2×2 pools: the smallest image side that leaves one pixel


@flax.struct.dataclass
class Outputs:
    """What the network gives for B images.

    Attributes:
      feature: FC7 activations [B, fc_dim].
      logit: the bcoding layer before its activation [B, K], float32.
      bcoding: its activations B in (0, 1) [B, K], float32.
      score: linear class scores [B, C], float32.
      decoded: the decoder's image in (0, 1) [B, H, W, channels], float32, or None.
      code: what the head gives: bcoding, or the code of another method's head [B, K], float32.
    """

    feature: jax.Array
    logit: jax.Array
    bcoding: jax.Array
    score: jax.Array
    decoded: jax.Array | None
    code: jax.Array | None = None


class Block(nn.Module):
    """A convolution or dense layer, batch normalisation if asked for, and a ReLU.

    Attributes:
      layer: the Linen layer to build.
      batch_norm: whether to normalise; then the layer has no bias.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation; parameters and statistics stay float32.
    """

    layer: Callable[..., nn.Module]
    batch_norm: bool
    axis_name: str | None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.layer(use_bias=not self.batch_norm, dtype=self.dtype)(x)
        if self.batch_norm:
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                # While parameters are initialised there is no mapped axis to average over.
                axis_name=None if self.is_initializing() else self.axis_name,
                dtype=self.dtype,
            )(x)
        return nn.relu(x)


def conv3x3(features: int) -> Callable[..., nn.Module]:
    """Return a builder of 3×3 convolutions with the given number of filters."""
    return functools.partial(
        nn.Conv,
        features,
        (3, 3),
        kernel_init=nn.initializers.he_normal(),
        conv_general_dilated=convolution.convolution,
    )


def dense(features: int) -> Callable[..., nn.Module]:
    """Return a builder of dense layers with the given number of units."""
    return functools.partial(nn.Dense, features, kernel_init=nn.initializers.he_normal())


def scaled_filters(width: float) -> tuple[int, ...]:
    """Return the five filter counts times the width multiplier, at least 1 each."""
    return tuple(max(1, round(width * filters)) for filters in FILTERS)


class Encoder(nn.Module):
    """Five groups of convolutions with a 2×2 max-pool each, then FC6 and FC7 (sections 3.1, 3.2).

    Attributes:
      width: multiplier of 64, 128, 256, 512, 512 filters.
      convs_per_group: 3×3 convolutions in each group; (1, 1, 1, 1, 1) is printed, (2, 2, 3, 3, 3)
        is VGG-16's (Simonyan and Zisserman 2014).
      pool_after: `group` (as in VGG) or `first` convolution of the group (cheaper).
      fc_dim: units of FC6 and FC7.
      batch_norm: whether each layer is batch-normalised.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation.
    """

    width: float = 1.0
    convs_per_group: Sequence[int] = (1, 1, 1, 1, 1)
    pool_after: Literal["group", "first"] = "group"
    fc_dim: int = 1024
    batch_norm: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image_BxHxWxC: jax.Array, *, train: bool) -> jax.Array:
        height, width = image_BxHxWxC.shape[1:3]
        if min(height, width) < STRIDE:
            raise ValueError(
                f"the image is {height}×{width}; five 2×2 pools need at least {STRIDE}×{STRIDE}: "
                "pad it (data.pad_small=True) or resize it (data.image_size=32)."
            )
        if len(self.convs_per_group) != len(FILTERS) or min(self.convs_per_group) < 1:
            raise ValueError(
                f"convs_per_group is {tuple(self.convs_per_group)}; it must hold five numbers >= 1."
            )
        if self.pool_after not in ("group", "first"):
            raise ValueError(f"pool_after is {self.pool_after!r}; it must be 'group' or 'first'.")
        block = functools.partial(
            Block, batch_norm=self.batch_norm, axis_name=self.axis_name, dtype=self.dtype
        )
        # Centred, with a spread near 1, for any data set: no statistics to store or to leak.
        x = ((image_BxHxWxC - 0.5) * 4).astype(self.dtype)
        for group, filters in enumerate(scaled_filters(self.width)):
            count = self.convs_per_group[group]
            pool_at = 0 if self.pool_after == "first" else count - 1
            for i in range(count):
                x = block(conv3x3(filters), name=f"conv{group + 1}_{i + 1}")(x, train=train)
                if i == pool_at:
                    x = convolution.max_pool_2x2(x)
        x = x.reshape(x.shape[0], -1)
        for name in ("fc6", "fc7"):
            x = block(dense(self.fc_dim), name=name)(x, train=train)
        return x


class Decoder(nn.Module):
    """The encoder's mirror: a dense layer, then five times upsampling and a 3×3 convolution.

    Filters 512, 512, 256, 128, 64 lead back to the image's channels through a sigmoid. Sides that
    are no multiple of 32 are decoded on the next larger grid and cropped.

    Attributes:
      shape: (H, W, channels) of the image.
      width: multiplier of the filters.
      batch_norm: whether each hidden layer is batch-normalised; without it the decoder diverged
        in our trials.
      axis_name: the mapped axis over which the statistics are shared, or None.
      dtype: of the computation.
    """

    shape: tuple[int, int, int]
    width: float = 1.0
    batch_norm: bool = True
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, feature_BxF: jax.Array, *, train: bool) -> jax.Array:
        height, width, channels = self.shape
        rows, columns = -(-height // STRIDE), -(-width // STRIDE)
        filters = scaled_filters(self.width)
        block = functools.partial(
            Block, batch_norm=self.batch_norm, axis_name=self.axis_name, dtype=self.dtype
        )
        x = feature_BxF.astype(self.dtype)
        x = block(dense(rows * columns * filters[-1]), name="fc")(x, train=train)
        x = x.reshape(x.shape[0], rows, columns, filters[-1])
        for group in range(len(FILTERS) - 1, 0, -1):
            x = block(conv3x3(filters[group - 1]), name=f"conv{group + 1}")(
                upsample_2x2(x), train=train
            )
        x = conv3x3(channels)(dtype=self.dtype, name="conv1")(upsample_2x2(x))
        return nn.sigmoid(x[:, :height, :width].astype(jnp.float32))


def upsample_2x2(x_BxHxWxC: jax.Array) -> jax.Array:
    """Return the map with each pixel repeated in a 2×2 square."""
    batch, height, width, channels = x_BxHxWxC.shape
    x = jnp.broadcast_to(x_BxHxWxC[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


class DSH(nn.Module):
    """The whole network.

    Attributes:
      bits: K, the code length.
      classes: C, the number of labels.
      shape: (H, W, channels) of the images.
      activation: of the bcoding layer.
      width, convs_per_group, pool_after, fc_dim, batch_norm, axis_name, dtype: see `Encoder`.
      decode_from: `feature` (FC7) or `bcoding` (reconstruct from the code).
      head: class of another method's head, built with `bits` alone, in place of `BcodingHead`.
      classify_from: `code`, or `feature` (FC7) as some methods do.
      class_codes: whether the code is that of the class of the highest score, see
        `baselines.classifier_code`.
    """

    bits: int
    classes: int
    shape: tuple[int, int, int]
    activation: Activation = "intended"
    width: float = 1.0
    convs_per_group: Sequence[int] = (1, 1, 1, 1, 1)
    pool_after: Literal["group", "first"] = "group"
    fc_dim: int = 1024
    batch_norm: bool = True
    decode_from: Literal["feature", "bcoding"] = "feature"
    head: Callable[..., nn.Module] | None = None
    classify_from: Literal["code", "feature"] = "code"
    class_codes: bool = False
    axis_name: str | None = None
    dtype: Any = jnp.float32

    def setup(self):
        if self.decode_from not in ("feature", "bcoding"):
            raise ValueError(
                f"decode_from is {self.decode_from!r}; it must be 'feature' or 'bcoding'."
            )
        shared = {
            "width": self.width,
            "batch_norm": self.batch_norm,
            "axis_name": self.axis_name,
            "dtype": self.dtype,
        }
        self.encoder = Encoder(
            convs_per_group=self.convs_per_group,
            pool_after=self.pool_after,
            fc_dim=self.fc_dim,
            **shared,
        )
        self.decoder = Decoder(shape=self.shape, **shared)
        if self.head is None:
            self.bcoding = BcodingHead(bits=self.bits, activation=self.activation)
        else:
            self.bcoding = self.head(bits=self.bits)
        self.classifier = nn.Dense(self.classes, use_bias=False)  # W_C of section 3.4

    def __call__(
        self,
        image_BxHxWxC: jax.Array,
        *,
        beta: float | jax.Array = 1.0,
        train: bool = False,
        decode: bool = True,
        freeze_encoder: bool = False,
    ) -> Outputs:
        """Return every output for normalised images.

        Args:
          image_BxHxWxC: images in [0, 1], float.
          beta: steepness of the bcoding activation.
          train: whether batch statistics are computed (and updated) or the running ones used.
          decode: whether to run the decoder; skipping it leaves `decoded` None.
          freeze_encoder: whether the encoder uses its running statistics while the rest is trained,
            and gets no gradient.

        Returns:
          Outputs.

        Raises:
          ValueError: for an image smaller than 32×32 or a bad option.
        """
        feature_BxF = self.encoder(image_BxHxWxC, train=train and not freeze_encoder)
        if freeze_encoder:
            feature_BxF = jax.lax.stop_gradient(feature_BxF)
        logit_BxK, code_BxK = self.bcoding(feature_BxF, beta=beta)
        bcoding_BxK = code_BxK
        if self.head is not None:
            bcoding_BxK = bcoding_activation(logit_BxK, activation="intended", beta=beta)
        decoded = None
        if decode:
            source = feature_BxF if self.decode_from == "feature" else bcoding_BxK
            decoded = self.decoder(source, train=train)
        score_BxC = self.classifier(feature_BxF if self.classify_from == "feature" else code_BxK)
        if self.class_codes:
            key = jax.random.PRNGKey(0)  # one code a class in every run
            logit_BxK = classifier_code.encode(score_BxC, self.bits, key=key)
        return Outputs(
            feature=feature_BxF,
            logit=logit_BxK,
            bcoding=bcoding_BxK,
            code=code_BxK,
            score=score_BxC,
            decoded=decoded,
        )

    def classify(self, bcoding_BxK: jax.Array) -> jax.Array:
        """Return the class scores of given activations or bits."""
        return self.classifier(bcoding_BxK)
