"""Spectral hashing: signs of the smoothest sine waves along the principal axes."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dsh_jax.methods.pca import principal_axes
from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks


class Parameters(NamedTuple):
    """Principal axes, A = min(K, D) of them, and the wave of each bit.

    Attributes:
      mean_D: subtracted from the features, float32.
      axis_DxA: principal axes, float32.
      axis_K: the axis along which each bit's wave runs, int32.
      start_K: where the data start on that axis, float32.
      frequency_K: of the wave, radians per unit of the features, float32.
    """

    mean_D: jax.Array
    axis_DxA: jax.Array
    axis_K: jax.Array
    start_K: jax.Array
    frequency_K: jax.Array


def fit(
    key: jax.Array | None, feature_NxD: jax.Array, bits: int, *, block: int = BLOCK
) -> Parameters:
    """Choose the K waves of lowest frequency on the box that holds the data.

    ω_im = m π / (max_i - min_i) for the axes i = 1 ... A and the modes m = 1, 2, ...; the K lowest.

    More bits than D are possible: an axis then carries several waves.

    Args:
      key: not used, the method is not random; here for the form that all methods have.
      feature_NxD: real values.
      bits: the code length K.
      block: rows in work at a time.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, all their rows are equal, or
        bits is below 1.

    Source: Weiss, Torralba and Fergus, NeurIPS 2008.
    """
    del key
    feature_NxD = check_fit(feature_NxD, bits)
    parameters = _fit(feature_NxD, bits, block)
    if not jnp.isfinite(parameters.frequency_K).all():
        raise ValueError(
            f"all {len(feature_NxD)} rows of the features are equal; pass rows that differ"
        )
    return parameters


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Evaluate each bit's wave: logit_k = sin(π/2 + ω_k (v_i(k) - min_i(k))), v the projection.

    Beyond the box of the fitted rows the wave goes on: far outliers get any bit.

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array in [-1, 1], shape (N, K); NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    check_features(feature_NxD, len(parameters.mean_D))
    mean_D, axis_DxA, axis_K, start_K, frequency_K = parameters

    def waves(row_BxD):
        projected_BxA = (row_BxD - mean_D[None]) @ axis_DxA
        return jnp.cos(frequency_K[None] * (projected_BxA[:, axis_K] - start_K[None]))

    return map_blocks(waves, feature_NxD, block)


@functools.partial(jax.jit, static_argnames=("bits", "block"))
def _fit(feature_NxD, bits, block):
    mean_D, axis_DxA = principal_axes(feature_NxD, min(bits, feature_NxD.shape[1]), block)
    projected_NxA = map_blocks(
        lambda row_BxD: (row_BxD - mean_D[None]) @ axis_DxA, feature_NxD, block
    )
    start_A = projected_NxA.min(axis=0)
    width_A = projected_NxA.max(axis=0) - start_A
    axis_K, mode_K = lowest_modes(width_A, bits)
    frequency_K = mode_K * jnp.pi / width_A[axis_K]
    return Parameters(mean_D, axis_DxA, axis_K, start_A[axis_K], frequency_K)


@functools.partial(jax.jit, static_argnames="bits")
def lowest_modes(width_A: jax.Array, bits: int) -> tuple[jax.Array, jax.Array]:
    """Return the K waves of lowest frequency that vary along a single axis of a box.

    They are among the modes 1 ... K of each axis, which is all that need to be compared.

    Args:
      width_A: of the box along each axis, 0 or more.
      bits: the code length K.

    Returns:
      (axis_K, mode_K), int32, of rising m / width; of equal ones the first axis is first.
    """
    mode_1xK = jnp.arange(1, bits + 1)[None]
    order_K = jnp.argsort((mode_1xK / width_A[:, None]).ravel(), stable=True)[:bits]
    return order_K // bits, order_K % bits + 1
