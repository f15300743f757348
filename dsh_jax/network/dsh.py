"""The paper's network in Linen: convolutional autoencoder, bcoding head, linear classifier.

    image ── Encoder ── feature (FC7) ── BcodingHead ── bcoding B ── classifier W_C ── score
                            └── Decoder ── decoded image

A bit is 1 where the head's logit is > 0, whatever the activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import flax.core
import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from dsh_jax.network.bcoding import Activation, BcodingHead, bcoding_activation
from dsh_jax.network.blocks import ConvPrecision
from dsh_jax.network.decoder import Decoder
from dsh_jax.network.encoder import Encoder
from dsh_jax.network.pretrained import ENCODERS, FEATURES, PretrainedEncoder


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


class DSH(nn.Module):
    """The whole network.

    Attributes:
      bits: K, the code length.
      classes: C, the number of labels.
      shape: (H, W, channels) of the images.
      activation: of the bcoding layer.
      width, convs_per_group, pool_after, fc_dim, batch_norm, axis_name, dtype, conv_precision: see
        `Encoder`.
      decode_from: `feature` (FC7) or `bcoding` (reconstruct from the code).
      head: class of another method's head, built with `bits` alone, in place of `BcodingHead`.
      classify_from: `code`, or `feature` (FC7) as some methods do.
      encoder_name: `conv`, the paper's; a pretrained one or `features`, see `pretrained.ENCODERS`:
        these have no decoder.
      encoder_options: more of `Encoder`: whitening, nonlinearity, norm_momentum, norm_scale,
        pool_before_norm, kernel_init, pools, global_pool, filters; or of `PretrainedEncoder`.
      class_codes: `(score_BxC, bits) -> logit_BxK`, of a method whose code follows from the scores.
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
    class_codes: Callable[[jax.Array, int], jax.Array] | None = None
    axis_name: str | None = None
    dtype: Any = jnp.float32
    conv_precision: ConvPrecision = "float32"
    encoder_name: str = "conv"
    encoder_options: flax.core.FrozenDict[str, Any] = flax.core.FrozenDict()

    def setup(self):
        if self.decode_from not in ("feature", "bcoding"):
            raise ValueError(
                f"decode_from is {self.decode_from!r}; it must be 'feature' or 'bcoding'."
            )
        if self.encoder_name not in ENCODERS:
            raise ValueError(
                f"encoder_name is {self.encoder_name!r}; it must be one of {', '.join(ENCODERS)}."
            )
        shared: dict[str, Any] = {
            "batch_norm": self.batch_norm,
            "axis_name": self.axis_name,
            "dtype": self.dtype,
        }
        if self.has_decoder:
            shared |= {"width": self.width, "conv_precision": self.conv_precision}
            self.encoder = Encoder(
                convs_per_group=self.convs_per_group,
                pool_after=self.pool_after,
                fc_dim=self.fc_dim,
                **shared,
                **self.encoder_options,
            )
            self.decoder = Decoder(shape=self.shape, **shared)
        else:
            self.encoder = PretrainedEncoder(
                backbone="" if self.encoder_name == FEATURES else self.encoder_name,
                fc_dim=self.fc_dim,
                **shared,
                **self.encoder_options,
            )
        if self.head is None:
            self.bcoding = BcodingHead(bits=self.bits, activation=self.activation)
        else:
            self.bcoding = self.head(bits=self.bits)
        self.classifier = nn.Dense(self.classes, use_bias=False)  # W_C of section 3.4

    @property
    def has_decoder(self) -> bool:
        """Whether images can be rebuilt."""
        return self.encoder_name == "conv"

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
          image_BxHxWxC: images in [0, 1], float, or features [B, 1, 1, F].
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
        if decode and self.has_decoder:
            source = feature_BxF if self.decode_from == "feature" else bcoding_BxK
            decoded = self.decoder(source, train=train)
        score_BxC = self.classifier(feature_BxF if self.classify_from == "feature" else code_BxK)
        if self.class_codes is not None:
            logit_BxK = self.class_codes(score_BxC, self.bits)
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
