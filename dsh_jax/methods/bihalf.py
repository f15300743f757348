"""Bi-half hashing without labels: each bit is 1 for half of a batch, so that it says most."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks, mean_row, sum_blocks

EPSILON = 1e-12  # of squared lengths


class Parameters(NamedTuple):
    """A linear layer.

    Attributes:
      mean_D: subtracted from the features, float32; zeros where they are not centred.
      weight_DxK: float32.
      bias_K: float32.
    """

    mean_D: jax.Array
    weight_DxK: jax.Array
    bias_K: jax.Array


def half_codes(logit_BxK: jax.Array, *, gamma: float) -> jax.Array:
    """Return -1 or 1: each bit is 1 for the half of the batch with the highest logits.

    B_k = argmin ‖B_k - U_k‖² with as many 1 as -1 (one fewer 1 of an odd batch); its slope is taken
    to be dL/dU = dL/dB + gamma (U - B) / (B K).

    Args:
      logit_BxK: U.
      gamma: how strongly logits are drawn to their codes.

    Returns:
      float32 array, shape (B, K).

    Source: Li and van Gemert, AAAI 2021, eqs. (6) and (9); the division by B K is that of the
    official code.
    """

    @jax.custom_vjp
    def half(logit_BxK):
        rank_BxK = jnp.argsort(jnp.argsort(-logit_BxK, axis=0), axis=0)
        return jnp.where(rank_BxK < len(logit_BxK) // 2, 1.0, -1.0)

    def forward(logit_BxK):
        code_BxK = half(logit_BxK)
        return code_BxK, (logit_BxK - code_BxK) / code_BxK.size

    def backward(pull_BxK, slope_BxK):
        return (slope_BxK + gamma * pull_BxK,)

    half.defvjp(forward, backward)
    return half(logit_BxK)


def cosine_loss(feature_BxD: jax.Array, code_BxK: jax.Array) -> jax.Array:
    """Compare the cosines of codes with those of features, over B / 2 pairs.

    L = (2 / B) Σ_i (cos(b_i, b_j) - cos(x_i, x_j))²,  j = i + B / 2

    Args:
      feature_BxD: x, of a shuffled batch.
      code_BxK: b.

    Returns:
      float32 scalar.

    Source: Li and van Gemert, AAAI 2021, eq. (8); over pairs of a batch's halves as in the official
    code.
    """
    half = len(feature_BxD) // 2

    def cosine_H(row_BxN):
        one, other = row_BxN[:half], row_BxN[half : 2 * half]
        length = jnp.sum(one**2, axis=1) * jnp.sum(other**2, axis=1)
        return jnp.sum(one * other, axis=1) * lax.rsqrt(length + EPSILON)

    return jnp.mean((cosine_H(code_BxK) - cosine_H(feature_BxD)) ** 2)


def fit(
    key: jax.Array,
    feature_NxD: jax.Array,
    bits: int,
    *,
    steps: int = 4000,
    batch: int = 64,
    learning_rate: float = 1.0,
    momentum: float = 0.9,
    gamma: float = 6.0,
    center: bool = False,
    block: int = BLOCK,
) -> Parameters:
    """Learn a linear layer whose half codes have the cosines of the features.

    min_W cosine_loss(x, half_codes(x W + c)), by SGD with momentum. The layer sees features scaled
    to a mean square length of 1, so that the rate fits features of any size.

    Args:
      key: of the layer to start from, and of the batches.
      feature_NxD: real values.
      bits: the code length K.
      steps: of SGD.
      batch: rows of a step, drawn with replacement; all N where there are fewer.
      learning_rate, momentum: of SGD; the rate goes to 0 in a straight line.
      gamma: see `half_codes`.
      center: take the mean from the features first, for the layer and for their cosines.
      block: rows in work at a time, for the mean.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, or bits, steps or batch is too
        small.

    Source: Li and van Gemert, AAAI 2021.
    """
    feature_NxD = check_fit(feature_NxD, bits)
    if steps < 1 or batch < 2 or len(feature_NxD) < 2:
        raise ValueError(
            f"steps={steps}, batch={batch} and {len(feature_NxD)} rows; pass at least 1, 2 and 2"
        )
    size = min(batch, len(feature_NxD))
    mean_D = mean_row(feature_NxD, block) if center else jnp.zeros(feature_NxD.shape[1])
    options = learning_rate, momentum, gamma
    return _fit(key, feature_NxD, mean_D, *options, bits=bits, steps=steps, batch=size)


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Apply the layer: logit = (x - mean) W + c.

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, K); NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    mean_D, weight_DxK, bias_K = parameters
    check_features(feature_NxD, len(mean_D))
    return map_blocks(
        lambda row_BxD: (row_BxD - mean_D[None]) @ weight_DxK + bias_K[None], feature_NxD, block
    )


@functools.partial(jax.jit, static_argnames=("bits", "steps", "batch"))
def _fit(key, feature_NxD, mean_D, learning_rate, momentum, gamma, *, bits, steps, batch):
    rows, columns = feature_NxD.shape

    def square(row_BxD):
        return jnp.sum((row_BxD - mean_D[None]) ** 2)

    scale = lax.rsqrt(sum_blocks(square, feature_NxD, BLOCK) / rows + EPSILON)
    start, draws = jax.random.split(key)
    bound = columns**-0.5
    weight_DxK, bias_1xK = (
        jax.random.uniform(one, (size, bits), minval=-bound, maxval=bound)
        for one, size in zip(jax.random.split(start), (columns, 1), strict=True)
    )

    def rate(step):
        return learning_rate * (1 - step / steps)

    sgd = optax.sgd(rate, momentum=momentum)

    def loss(layer, row_BxD):
        weight_DxK, bias_K = layer
        logit_BxK = scale * (row_BxD @ weight_DxK) + bias_K[None]
        return cosine_loss(row_BxD, half_codes(logit_BxK, gamma=gamma))

    def step(i, carry):
        layer, state = carry
        row_B = jax.random.randint(jax.random.fold_in(draws, i), (batch,), 0, rows)
        row_BxD = feature_NxD[row_B].astype(jnp.float32) - mean_D[None]
        slope = jax.grad(loss)(layer, row_BxD)
        change, state = sgd.update(slope, state)
        return optax.apply_updates(layer, change), state

    layer = weight_DxK, bias_1xK[0]
    (weight_DxK, bias_K), _ = lax.fori_loop(0, steps, step, (layer, sgd.init(layer)))
    return Parameters(mean_D, scale * weight_DxK, bias_K)
