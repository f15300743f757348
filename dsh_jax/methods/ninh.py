"""NINH's head: divide the features into one group a bit, encode each (Lai et al. 2015).

Its loss is `triplets.ninh`.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

# A kernel of one row a bit: each bit has a group's features as its inputs.
_GROUP_INIT = nn.initializers.lecun_normal(in_axis=1, out_axis=0)


def piecewise_threshold(value_BxK: jax.Array, *, epsilon: float = 0.5) -> jax.Array:
    """Return activations with those far from 1/2 made bits.

    `0 if s < 1/2 − ε; s if |s − 1/2| <= ε; 1 if s > 1/2 + ε`, with no gradient outside.

    Args:
      value_BxK: s in [0, 1].
      epsilon: ε in [0, 1/2]; 1/2 changes nothing (recalled as the paper's), 0 leaves bits only.

    Returns:
      bcoding_BxK in [0, 1], float.

    Raises:
      ValueError: for another epsilon.

    Source: Lai, Pan, Liu and Yan, CVPR 2015.
    """
    if not 0 <= epsilon <= 0.5:
        raise ValueError(f"epsilon is {epsilon}; it must be in [0, 0.5].")
    bit_BxK = (value_BxK > 0.5).astype(value_BxK.dtype)
    return jnp.where(jnp.abs(value_BxK - 0.5) <= epsilon, value_BxK, bit_BxK)


class DivideAndEncode(nn.Module):
    """A head in place of `network.BcodingHead`: each bit sees its own slice of a wide layer.

    Attributes:
      bits: K.
      group: features a bit.
      epsilon: see `piecewise_threshold`.
    """

    bits: int
    group: int = 50
    epsilon: float = 0.5

    @nn.compact
    def __call__(
        self, feature_BxF: jax.Array, *, beta: float | jax.Array = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Return the codes of features.

        `z_k = w_k · f_k + c_k`, f_k the k-th slice of the layer, and `g(sigmoid(β z))`.

        Args:
          feature_BxF: what the trunk gives; a linear layer widens it to K × group, as NINH's last
            1×1 convolution does before the pooling.
          beta: β; 1 is NINH's.

        Returns:
          (logit_BxK, bcoding_BxK), float32.
        """
        feature_BxF = feature_BxF.astype(jnp.float32)
        wide_BxD = nn.Dense(self.bits * self.group, name="divide")(feature_BxF)
        slice_BxKxG = wide_BxD.reshape(-1, self.bits, self.group)
        kernel_KxG = self.param("kernel", _GROUP_INIT, (self.bits, self.group))
        bias_K = self.param("bias", nn.initializers.zeros, (self.bits,))
        logit_BxK = jnp.einsum("bkg,kg->bk", slice_BxKxG, kernel_KxG) + bias_K[None]
        value_BxK = nn.sigmoid(beta * logit_BxK)
        return logit_BxK, piecewise_threshold(value_BxK, epsilon=self.epsilon)
