"""GreedyHash: the classifier sees the bits themselves (Su, Zhang, Han and Tian 2018)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from dsh_jax import losses
from dsh_jax.losses.pairs import Terms, bit_gap


def straight_through_sign(logit_BxK: jax.Array) -> jax.Array:
    """Return the bits as −1 and 1, with the gradient of the identity.

    Args:
      logit_BxK: a bit is 1 where it is > 0.

    Returns:
      sign_BxK in {−1, 1}, float.
    """
    # The second summand is 0, so that the bits are exact.
    return jnp.where(logit_BxK > 0, 1, -1) + (logit_BxK - jax.lax.stop_gradient(logit_BxK))


class GreedyHead(nn.Module):
    """A head in place of `network.BcodingHead`, whose code is the bits as −1 and 1.

    Attributes:
      bits: K.
    """

    bits: int

    @nn.compact
    def __call__(
        self, feature_BxF: jax.Array, *, beta: float | jax.Array = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Return (logit_BxK, sign_BxK); beta is not used."""
        del beta
        logit_BxK = nn.Dense(self.bits, name="logit")(feature_BxF.astype(jnp.float32))
        return logit_BxK, straight_through_sign(logit_BxK)


def greedyhash(
    score_BxC: jax.Array,
    logit_BxK: jax.Array,
    label_BxC: jax.Array,
    is_labelled_B: jax.Array,
    *,
    alpha: float = 0.1,
    multilabel: bool = False,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return GreedyHash's loss: classification of the bits, and a cubic penalty.

    `mean L(y, s) + alpha mean |z − sgn z|³`.

    Args:
      score_BxC: class scores of a linear classifier on `straight_through_sign(logit_BxK)`.
      logit_BxK: z.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      alpha: the official code has 0.1 for CIFAR-10 and 1 for ImageNet (recalled).
      multilabel: whether L is the sum of binary cross-entropies, not softmax cross-entropy.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `classification` and `quantization`, scalars whose mean over the
      devices is the value for the whole batch; 0 without a labelled row.

    Raises:
      AssertionError: where the shapes differ.

    Source: Su, Zhang, Han and Tian, NeurIPS 2018.
    """
    classify = losses.multilabel_cross_entropy if multilabel else losses.softmax_cross_entropy
    gap_B = (jnp.abs(bit_gap(logit_BxK)) ** 3).mean(-1)
    has_label_B = losses.has_label(label_BxC, is_labelled_B)
    terms = {
        "classification": losses.masked_mean(
            classify(score_BxC, label_BxC), has_label_B, axis_name=axis_name
        ),
        "quantization": losses.masked_mean(gap_B, has_label_B, axis_name=axis_name),
    }
    return terms["classification"] + alpha * terms["quantization"], terms
