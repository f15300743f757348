"""Iterative quantization: rotate the principal components towards the corners of a cube."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dsh_jax.methods.pca import principal_axes
from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks, sum_blocks
from dsh_jax.sums import pairwise_sum


class Parameters(NamedTuple):
    """Principal axes and their rotation.

    Attributes:
      mean_D: subtracted from the features, float32.
      axis_DxK: principal axes, float32.
      rotation_KxK: orthogonal, float32.
    """

    mean_D: jax.Array
    axis_DxK: jax.Array
    rotation_KxK: jax.Array


def fit(
    key: jax.Array,
    feature_NxD: jax.Array,
    bits: int,
    *,
    iterations: int = 50,
    rotation_KxK: jax.Array | None = None,
    block: int = BLOCK,
) -> Parameters:
    """Find a rotation of the principal components that loses little when they become bits.

    min_R,B ‖B - V R‖²,  V = (X - mean) W,  W the top K eigenvectors of the covariance. In turn:
    B = sgn(V R);  R = argmin ‖B - V R‖² = P Q^T with the singular vectors V^T B = P S Q^T.

    Args:
      key: of the rotation to start from.
      feature_NxD: real values.
      bits: the code length K, at most D.
      iterations: of the two steps.
      rotation_KxK: orthogonal; where to start instead of at random.
      block: rows in work at a time.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, bits is below 1 or above D,
        iterations is below 0, or rotation_KxK is not orthogonal.

    Source: Gong and Lazebnik, CVPR 2011.
    """
    feature_NxD = check_fit(feature_NxD, bits)
    columns = feature_NxD.shape[1]
    if bits > columns:
        raise ValueError(
            f"bits={bits}, but the features have {columns} columns, and no more principal axes; "
            f"pass at most {columns} bits, or use lsh or spectral"
        )
    if iterations < 0:
        raise ValueError(f"iterations={iterations}; pass 0 or more")
    if rotation_KxK is None:
        rotation_KxK = jax.random.orthogonal(key, bits)
    _check_rotation(rotation_KxK, bits)
    return _fit(feature_NxD, jnp.asarray(rotation_KxK, jnp.float32), iterations, block=block)


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Rotate the principal components: logit = (x - mean) W R.

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, K); NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    check_features(feature_NxD, len(parameters.mean_D))
    weight_DxK = parameters.axis_DxK @ parameters.rotation_KxK
    return map_blocks(
        lambda row_BxD: (row_BxD - parameters.mean_D[None]) @ weight_DxK, feature_NxD, block
    )


@functools.partial(jax.jit, static_argnames="block")
def quantization_loss(
    parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK
) -> jax.Array:
    """Measure what the bits lose: (1/N) ‖sgn(V R) - V R‖².

    Args:
      parameters: from `fit`.
      feature_NxD: real values.
      block: rows in work at a time.

    Returns:
      float32 scalar, 0 or more.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    logit_NxK = encode(parameters, feature_NxD, block=block)
    loss_NxK = (_signs(logit_NxK) - logit_NxK) ** 2
    return pairwise_sum(loss_NxK.ravel()) / len(logit_NxK)


@functools.partial(jax.jit, static_argnames="block")
def _fit(feature_NxD, rotation_KxK, iterations, *, block):
    mean_D, axis_DxK = principal_axes(feature_NxD, len(rotation_KxK), block)
    component_NxK = map_blocks(
        lambda row_BxD: (row_BxD - mean_D[None]) @ axis_DxK, feature_NxD, block
    )

    def improve(_, rotation_KxK):
        def product(row_BxK):
            return row_BxK.T @ _signs(row_BxK @ rotation_KxK)

        left_KxK, _, right_KxK = jnp.linalg.svd(sum_blocks(product, component_NxK, block))
        return left_KxK @ right_KxK

    return Parameters(mean_D, axis_DxK, lax.fori_loop(0, iterations, improve, rotation_KxK))


def _signs(logit_NxK):
    """B in {-1, 1}, by the rule of `codes.binarize`."""
    return jnp.where(logit_NxK > 0, 1.0, -1.0)


def _check_rotation(rotation_KxK, bits):
    if jnp.shape(rotation_KxK) != (bits, bits):
        raise ValueError(
            f"rotation has shape {jnp.shape(rotation_KxK)}; wanted ({bits}, {bits}), "
            "one row and one column a bit"
        )
    error = jnp.abs(rotation_KxK @ rotation_KxK.T - jnp.eye(bits)).max()
    if not error < 1e-3:
        raise ValueError(
            f"rotation is not orthogonal: R R^T is {error:.2g} off the identity; "
            "make it so with numpy.linalg.qr"
        )
