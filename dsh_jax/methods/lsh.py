"""Locality-sensitive hashing: signs of random projections."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dsh_jax.methods.rows import BLOCK, check_features, check_fit, map_blocks, mean_row


class Parameters(NamedTuple):
    """Random hyperplanes.

    Attributes:
      mean_D: subtracted from the features, float32; zeros where they are not centred.
      weight_DxK: the normals of the hyperplanes, float32.
    """

    mean_D: jax.Array
    weight_DxK: jax.Array


def fit(
    key: jax.Array,
    feature_NxD: jax.Array,
    bits: int,
    *,
    center: bool = False,
    orthonormalise: bool = False,
    block: int = BLOCK,
) -> Parameters:
    """Draw random hyperplanes: w_k ~ N(0, I).

    Codes of few bits differ much between keys: report the mean over several.

    Args:
      key: of the hyperplanes.
      feature_NxD: real values; without `center`, only D matters.
      bits: the code length K.
      center: let the hyperplanes pass through the mean of the features, not through 0. Features
        that are never negative, as pixels, lie on one side of most planes through 0.
      orthonormalise: draw orthonormal w_k up to D bits, beyond them a weight_DxK of orthonormal
        rows.
      block: rows in work at a time.

    Returns:
      Parameters.

    Raises:
      ValueError: if the features are no finite, non-empty matrix, or bits is below 1.

    Source: Charikar, STOC 2002; orthonormal planes: Ji, Li, Yan, Zhang and Tian, NeurIPS 2012.
    """
    feature_NxD = check_fit(feature_NxD, bits)
    columns = feature_NxD.shape[1]
    mean_D = mean_row(feature_NxD, block) if center else jnp.zeros(columns)
    if orthonormalise:
        return Parameters(mean_D, jax.random.orthogonal(key, columns, m=bits))
    return Parameters(mean_D, jax.random.normal(key, (columns, bits)))


@functools.partial(jax.jit, static_argnames="block")
def encode(parameters: Parameters, feature_NxD: jax.Array, *, block: int = BLOCK) -> jax.Array:
    """Project onto the normals: logit_k = w_k^T (x - mean).

    The method's bit is 1 where logit >= 0. `codes.binarize` has 1 where logit > 0, so a logit of
    exactly 0 is returned as the smallest normal float32, 1.2e-38.

    Args:
      parameters: from `fit`.
      feature_NxD: real values, of any N.
      block: rows in work at a time.

    Returns:
      float32 array, shape (N, K), never 0; NaN in the rows that have NaN.

    Raises:
      ValueError: if the features are no non-empty matrix, or of another D than those fitted.
    """
    check_features(feature_NxD, len(parameters.mean_D))

    def project(row_BxD):
        logit_BxK = (row_BxD - parameters.mean_D[None]) @ parameters.weight_DxK
        return jnp.where(logit_BxK == 0, jnp.finfo(jnp.float32).tiny, logit_BxK)

    return map_blocks(project, feature_NxD, block)
