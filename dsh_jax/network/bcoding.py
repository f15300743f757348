"""The bcoding layer: eq. (3), and the head that applies it."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Activation = Literal["printed", "intended", "straight_through"]


def bcoding_activation(
    logit_BxK: jax.Array, *, activation: Activation, beta: float | jax.Array = 1.0
) -> jax.Array:
    """Return the bcoding layer's activations, eq. (3).

    `printed`: `(tanh(sigmoid(z)) + 1) / 2`, in (0.5, 0.881): thresholding it at 1/2 sets every bit,
    so the code is read at `sigmoid(z) > 1/2`, that is `B > sigmoid(1) = 0.731`, that is `z > 0`.
    `intended`: `(tanh(βz) + 1) / 2 = sigmoid(2βz)`, the continuation that eq. (2) describes.
    `straight_through`: the bit itself forwards, the gradient of `intended` backwards (Bengio,
    Léonard and Courville 2013).

    Args:
      logit_BxK: z, float.
      activation: one of the three.
      beta: β > 0, the steepness of the continuation.

    Returns:
      bcoding_BxK, of the logits' dtype.

    Raises:
      ValueError: for another activation.
    """
    if activation == "printed":
        return (jnp.tanh(jax.nn.sigmoid(logit_BxK)) + 1) / 2
    smooth_BxK = (jnp.tanh(beta * logit_BxK) + 1) / 2
    if activation == "intended":
        return smooth_BxK
    if activation == "straight_through":
        bit_BxK = (logit_BxK > 0).astype(logit_BxK.dtype)
        return smooth_BxK + jax.lax.stop_gradient(bit_BxK - smooth_BxK)
    raise ValueError(
        f"activation is {activation!r}; it must be 'printed', 'intended' or 'straight_through'."
    )


class BcodingHead(nn.Module):
    """The hidden layer H of K units after FC7 and its activation, eq. (3).

    Attributes:
      bits: K.
      activation: see `bcoding_activation`.
    """

    bits: int
    activation: Activation = "intended"

    @nn.compact
    def __call__(
        self, feature_BxF: jax.Array, *, beta: float | jax.Array = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        if self.bits < 1:
            raise ValueError(f"bits is {self.bits}; a code needs at least 1 bit.")
        # Float32 here, whatever the network computes in: the sign of the logit is the code.
        logit_BxK = nn.Dense(self.bits, name="logit")(feature_BxF.astype(jnp.float32))
        return logit_BxK, bcoding_activation(logit_BxK, activation=self.activation, beta=beta)
