"""DRSCH's head, whose bits have weights, and codes cut to their strongest bits (Zhang et al. 2015).

Its loss is `triplets.drsch`. Distances of such codes are `retrieval.weighted_hamming` with the
squares of the weights.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


class BitScalableHead(nn.Module):
    """A head in place of `network.BcodingHead`, whose code is ŵ ∘ o, o in (−1, 1).

    Attributes:
      bits: K.
    """

    bits: int

    @nn.compact
    def __call__(
        self, feature_BxF: jax.Array, *, beta: float | jax.Array = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Return the codes of features.

        `r = ŵ ∘ o`, `o = 2 sigmoid(β z) − 1 = tanh(β z / 2)`. ŵ is the parameter `weight`, 1 at
        first; the method lets β grow over the training.

        Args:
          feature_BxF: what the trunk gives.
          beta: β > 0.

        Returns:
          (logit_BxK, weighted_BxK): z and r, float32.
        """
        logit_BxK = nn.Dense(self.bits, name="logit")(feature_BxF.astype(jnp.float32))
        weight_K = self.param("weight", nn.initializers.ones, (self.bits,))
        return logit_BxK, weight_K[None] * jnp.tanh(beta * logit_BxK / 2)


@functools.partial(jax.jit, static_argnames="bits")
def strongest_bits(
    logit_NxK: jax.Array, weight_K: jax.Array, *, bits: int
) -> tuple[jax.Array, jax.Array]:
    """Cut codes to the bits of the greatest weights: one long code serves for every length.

    Rank the cut codes by `Σ_k ŵ_k² [b_k ≠ b'_k]`: pass the squares to
    `retrieval.weighted_hamming`.

    Args:
      logit_NxK: codes of K bits.
      weight_K: ŵ, of either sign.
      bits: how many to keep, up to K.

    Returns:
      (logit_Nxk, square_k): the kept bits, the strongest first, equal ones in their order, and
      their ŵ².

    Raises:
      ValueError: for bits out of range, or weights of other bits.

    Source: Zhang, Lin, Zhang, Zuo and Zhang, IEEE TIP 2015.
    """
    if weight_K.shape != logit_NxK.shape[1:] or not 1 <= bits <= len(weight_K):
        raise ValueError(
            f"codes have shape {logit_NxK.shape}, weights {weight_K.shape}, and bits is {bits}; "
            "pass one weight a bit, and bits from 1 to their number."
        )
    square_k, kept_k = jax.lax.top_k(weight_K**2, bits)
    return logit_NxK[:, kept_k], square_k
