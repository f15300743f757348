"""Principal axes of rows of features, their signs fixed."""

import jax
import jax.numpy as jnp

from dsh_jax.methods.rows import mean_row, sum_blocks


def principal_axes(feature_NxD: jax.Array, axes: int, block: int) -> tuple[jax.Array, jax.Array]:
    """Return the mean and the directions of most variance: top eigenvectors of the covariance.

    Each is turned so that its component of largest size is positive: the same axes everywhere.

    Args:
      feature_NxD: real values of any type.
      axes: A, at most D.
      block: rows in work at a time.

    Returns:
      (mean_D, axis_DxA), float32, of falling variance.
    """
    mean_D = mean_row(feature_NxD, block)

    def scatter(row_BxD):
        centred_BxD = row_BxD - mean_D[None]
        return centred_BxD.T @ centred_BxD

    covariance_DxD = sum_blocks(scatter, feature_NxD, block) / len(feature_NxD)
    _, rising_DxD = jnp.linalg.eigh(covariance_DxD)
    axis_DxA = rising_DxD[:, ::-1][:, :axes]
    largest_1xA = jnp.argmax(jnp.abs(axis_DxA), axis=0)[None]
    sign_1xA = jnp.sign(jnp.take_along_axis(axis_DxA, largest_1xA, axis=0))
    return mean_D, axis_DxA * sign_1xA
