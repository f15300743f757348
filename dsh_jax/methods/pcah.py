"""PCA hashing: signs of the principal components."""

import functools
from typing import NamedTuple

import jax

from dsh_jax.methods.pca import principal_axes
from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks

_axes = jax.jit(principal_axes, static_argnames=("axes", "block"))


class Parameters(NamedTuple):
    """Principal axes, one a bit.

    Attributes:
      mean_D: subtracted from the features, float32.
      axis_DxK: of falling variance, float32.
    """

    mean_D: jax.Array
    axis_DxK: jax.Array


def fit(
    key: jax.Array | None, feature_NxD: jax.Array, bits: int, *, block: int = BLOCK
) -> Parameters:
    """Take the axes of most variance: what ITQ starts from, without its rotation.

    Args:
      key: not used, the method is not random; here for the form that all methods have.
      feature_NxD: real values.
      bits: the code length K, at most D.
      block: rows in work at a time.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, or bits is below 1 or above D.

    Source: Wang, Kumar and Chang, CVPR 2010, who compare with it by this name.
    """
    del key
    feature_NxD = check_fit(feature_NxD, bits)
    columns = feature_NxD.shape[1]
    if bits > columns:
        raise ValueError(
            f"bits={bits}, but the features have {columns} columns, and so many axes; pass at most "
            f"{columns} bits"
        )
    return Parameters(*_axes(feature_NxD, axes=bits, block=block))


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Project onto the axes: logit_k = w_k^T (x - mean).

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, K); NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    mean_D, axis_DxK = parameters
    check_features(feature_NxD, len(mean_D))
    return map_blocks(lambda row_BxD: (row_BxD - mean_D[None]) @ axis_DxK, feature_NxD, block)
