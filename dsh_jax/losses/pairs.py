"""Losses over the pairs of a batch's rows, which are alike where they share a label.

The batch is that of all devices: each gathers every row, so a loss is the same number on all of
them, and the mean of their gradients is the gradient of one device that has the whole batch.
A row makes pairs with others only, and a row without a label makes none.

Each method takes this device's rows and returns the total and its unweighted terms, as
`objectives.dsh_objective` does. `logit_BxK` are the bits before any activation.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from dsh_jax.losses.masking import masked_mean
from dsh_jax.parallel import all_rows
from dsh_jax.typed import Array

Terms = dict[str, jax.Array]
NEAR = 1e-6  # keeps logarithms and lengths finite


class Pairs(NamedTuple):
    """What is known of the pairs of N rows.

    Attributes:
      similar_NxN: S, whether the two rows share a label, bool.
      counts_NxN: whether the pair is read: two different rows, both with labels, bool.
      has_label_N: which rows are labelled and have at least one label, bool.
    """

    similar_NxN: Array
    counts_NxN: Array
    has_label_N: Array


def label_pairs(label_NxC: Array, is_labelled_N: Array) -> Pairs:
    """Return which rows share a label, `S_ij = [y_i · y_j > 0]`, and which pairs are read.

    Args:
      label_NxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_N: which rows have labels, bool.

    Returns:
      Pairs.

    Raises:
      AssertionError: where the rows differ in number.
    """
    chex.assert_equal_shape_prefix([label_NxC, is_labelled_N], 1)
    known_NxC = jnp.asarray(is_labelled_N)[:, None] & (jnp.asarray(label_NxC) > 0)
    has_label_N = known_NxC.any(-1)
    shared_NxN = known_NxC.astype(jnp.float32) @ known_NxC.astype(jnp.float32).T
    is_other_NxN = ~jnp.eye(len(label_NxC), dtype=bool)
    counts_NxN = has_label_N[:, None] & has_label_N[None] & is_other_NxN
    return Pairs(shared_NxN > 0, counts_NxN, has_label_N)


def gather_pairs(
    code_BxK: Array, label_BxC: Array, is_labelled_B: Array, axis_name: str | None
) -> tuple[Array, Pairs]:
    """Return the codes of all devices' rows, and their pairs.

    Args:
      code_BxK: this device's, real-valued.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      (code_NxK, Pairs), N = devices × B, the same on each device.

    Raises:
      AssertionError: where the rows differ in number.
    """
    chex.assert_equal_shape_prefix([code_BxK, label_BxC, is_labelled_B], 1)
    code_NxK, label_NxC, is_labelled_N = (
        all_rows(value, axis_name) for value in (code_BxK, label_BxC, is_labelled_B)
    )
    return code_NxK, label_pairs(label_NxC, is_labelled_N)


def square_distances(code_NxK: Array) -> jax.Array:
    """Return `||b_i − b_j||²` of all pairs of rows.

    Args:
      code_NxK: real-valued codes.

    Returns:
      square_NxN, float, at least 0: what rounding leaves below is cut off.
    """
    square_N = (code_NxK**2).sum(-1)
    return jax.nn.relu(square_N[:, None] + square_N[None] - 2 * code_NxK @ code_NxK.T)


def bit_gap(logit_BxK: Array) -> Array:
    """Return how far each value is from the −1 or 1 that its bit stands for: `z − sgn z`.

    Args:
      logit_BxK: a bit is 1 where it is > 0.

    Returns:
      gap_BxK, float.
    """
    return logit_BxK - jnp.where(logit_BxK > 0, 1, -1)


def hashnet(
    signed_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    alpha: float | None = None,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return HashNet's loss: weighted logistic regression of S on inner products of codes.

    `mean_ij w_ij (log(1 + exp θ_ij) − S_ij θ_ij)`, `θ_ij = alpha h_i · h_j`, with w the number of
    all pairs of the batch over that of the similar, or of the dissimilar: each kind weighs 1.

    Args:
      signed_BxK: h in (−1, 1): `tanh(β z)`, that is 2B − 1, with β growing over the training.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      alpha: None for 10 / K.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the term `pairs`: equal on all devices; 0 without a pair.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Cao, Long, Wang and Yu, ICCV 2017. Their further weight for multi-label pairs (shared
    over all labels, recalled) is left out, as in public implementations.
    """
    signed_NxK, pairs = gather_pairs(signed_BxK, label_BxC, is_labelled_B, axis_name)
    alpha = 10 / signed_NxK.shape[-1] if alpha is None else alpha
    value_NxN = _logistic(alpha * signed_NxK @ signed_NxK.T, pairs)
    similar = masked_mean(value_NxN, pairs.counts_NxN & pairs.similar_NxN)
    dissimilar = masked_mean(value_NxN, pairs.counts_NxN & ~pairs.similar_NxN)
    total = similar + dissimilar
    return total, {"pairs": total}


def dpsh(
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    eta: float = 0.1,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return DPSH's loss: logistic regression of S on inner products, and quantization.

    `mean_ij (log(1 + exp θ_ij) − S_ij θ_ij) + η mean (u − sgn u)²`, `θ_ij = u_i · u_j / 2`.

    Args:
      logit_BxK: u, real values.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      eta: η. The paper sums where this takes means over pairs, rows and bits; 0.1 is what a public
        implementation with means has.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `pairs` and `quantization`: equal on all devices; 0 without pairs,
      or labelled rows.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Li, Wang and Kang, IJCAI 2016.
    """
    logit_NxK, pairs = gather_pairs(logit_BxK, label_BxC, is_labelled_B, axis_name)
    value_NxN = _logistic(logit_NxK @ logit_NxK.T / 2, pairs)
    terms = {
        "pairs": masked_mean(value_NxN, pairs.counts_NxN),
        "quantization": masked_mean((bit_gap(logit_NxK) ** 2).mean(-1), pairs.has_label_N),
    }
    return terms["pairs"] + eta * terms["quantization"], terms


def dsh(
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    margin: float | None = None,
    alpha: float = 0.01,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return the contrastive loss of Deep Supervised Hashing (not this library's name's method).

    `mean_ij [ S_ij d_ij / 2 + (1 − S_ij) max(m − d_ij, 0) / 2
    + alpha (|| |b_i| − 1 ||₁ + || |b_j| − 1 ||₁) ]`, `d_ij = ||b_i − b_j||²`.

    Args:
      logit_BxK: b, real values.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      margin: m; None for 2 K.
      alpha: 0.01 is recalled.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `pairs` and `quantization` (of both rows of a pair): equal on all
      devices; 0 without pairs, or labelled rows.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Liu, Wang, Shan and Chen, CVPR 2016.
    """
    logit_NxK, pairs = gather_pairs(logit_BxK, label_BxC, is_labelled_B, axis_name)
    margin = 2 * logit_NxK.shape[-1] if margin is None else margin
    square_NxN = square_distances(logit_NxK)
    value_NxN = jnp.where(pairs.similar_NxN, square_NxN, jax.nn.relu(margin - square_NxN)) / 2
    terms = {
        "pairs": masked_mean(value_NxN, pairs.counts_NxN),
        "quantization": 2 * masked_mean(jnp.abs(bit_gap(logit_NxK)).sum(-1), pairs.has_label_N),
    }
    return terms["pairs"] + alpha * terms["quantization"], terms


def dhn(
    signed_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    weight: float = 0.1,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return DHN's loss: logistic regression of S on inner products, and a smooth quantization.

    `mean_ij (log(1 + exp θ_ij) − S_ij θ_ij) + λ mean log cosh(|h| − 1)`, `θ_ij = h_i · h_j / 2`.

    Args:
      signed_BxK: h in (−1, 1), `tanh z`.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      weight: λ; the paper sums where this takes means.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `pairs` and `quantization`: equal on all devices; 0 without pairs,
      or labelled rows.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Zhu, Long, Wang and Cao, AAAI 2016.
    """
    signed_NxK, pairs = gather_pairs(signed_BxK, label_BxC, is_labelled_B, axis_name)
    value_NxN = _logistic(signed_NxK @ signed_NxK.T / 2, pairs)
    gap_NxK = jnp.log(jnp.cosh(jnp.abs(signed_NxK) - 1))
    terms = {
        "pairs": masked_mean(value_NxN, pairs.counts_NxN),
        "quantization": masked_mean(gap_NxK.mean(-1), pairs.has_label_N),
    }
    return terms["pairs"] + weight * terms["quantization"], terms


def dch(
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    gamma: float = 20.0,
    weight: float = 0.1,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return DCH's loss: pairs by Cauchy's distribution, whose slope stays near the query.

    `mean_ij w_ij (S_ij log(1 + d_ij / g) + (1 − S_ij) log(1 + g / d_ij))
    + λ mean_i log(1 + d(|z_i|, 1) / g)`, `d(a, b) = K (1 − cos(a, b)) / 2`, w as in `hashnet`.

    Args:
      logit_BxK: z, real values.
      label_BxC, is_labelled_B, axis_name: see `dhn`.
      gamma: g, bits; pairs nearer than it are pulled the hardest.
      weight: λ.

    Returns:
      See `dhn`.

    Source: Cao, Long, Liu and Wang, CVPR 2018.
    """
    logit_NxK, pairs = gather_pairs(logit_BxK, label_BxC, is_labelled_B, axis_name)
    bits = logit_NxK.shape[-1]
    # Finite, value and slope, for a row of zeros.
    unit_NxK = logit_NxK / jnp.sqrt((logit_NxK**2).sum(-1, keepdims=True) + NEAR)
    distance_NxN = bits / 2 * jax.nn.relu(1 - unit_NxK @ unit_NxK.T)
    near_NxN = jnp.log1p(distance_NxN / gamma)
    far_NxN = jnp.log1p(gamma / (distance_NxN + NEAR))
    similar = masked_mean(near_NxN, pairs.counts_NxN & pairs.similar_NxN)
    dissimilar = masked_mean(far_NxN, pairs.counts_NxN & ~pairs.similar_NxN)
    gap_N = bits / 2 * (1 - jnp.abs(unit_NxK).sum(-1) / bits**0.5)
    terms = {
        "pairs": similar + dissimilar,
        "quantization": masked_mean(jnp.log1p(gap_N / gamma), pairs.has_label_N),
    }
    return terms["pairs"] + weight * terms["quantization"], terms


def idhn(
    signed_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    soft: float = 0.1,
    weight: float = 0.1,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return IDHN's loss: pairs that share some labels are to be alike in that measure.

    With `s_ij = cos(y_i, y_j)` of the label rows: where s is 0 or 1, `log(1 + exp θ) − s θ`,
    `θ_ij = h_i · h_j / 2`; elsewhere `g / K ((h_i · h_j + K) / 2 − s K)²`. And `α mean ||h| − 1|`.

    Args:
      signed_BxK: h in (−1, 1), `tanh z`.
      label_BxC, is_labelled_B, axis_name: see `dhn`.
      soft: g.
      weight: α.

    Returns:
      See `dhn`.

    Source: Zhang, Zou, Lin, Chen and Wang, IEEE TMM 2020.
    """
    signed_NxK, pairs = gather_pairs(signed_BxK, label_BxC, is_labelled_B, axis_name)
    label_NxC = (all_rows(label_BxC, axis_name) > 0).astype(signed_NxK.dtype)
    length_N = jnp.sqrt(jnp.maximum(label_NxC.sum(-1), 1))
    measure_NxN = label_NxC @ label_NxC.T / (length_N[:, None] * length_N[None])
    bits, product_NxN = signed_NxK.shape[-1], signed_NxK @ signed_NxK.T
    is_whole_NxN = (measure_NxN < 1e-4) | (measure_NxN > 1 - 1e-4)
    square_NxN = ((product_NxN + bits) / 2 - measure_NxN * bits) ** 2
    value_NxN = jnp.where(is_whole_NxN, _logistic(product_NxN / 2, pairs), soft / bits * square_NxN)
    gap_N = jnp.abs(jnp.abs(signed_NxK) - 1).mean(-1)
    terms = {
        "pairs": masked_mean(value_NxN, pairs.counts_NxN),
        "quantization": masked_mean(gap_N, pairs.has_label_N),
    }
    return terms["pairs"] + weight * terms["quantization"], terms


def logistic_pairs(
    code_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    scale: float,
    axis_name: str | None = None,
) -> jax.Array:
    """Return the logistic regression of S on inner products, each pair with the same weight.

    `mean_ij (log(1 + exp θ_ij) − S_ij θ_ij)`, `θ_ij = scale c_i · c_j`.

    Args:
      code_BxK: c, real values.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      scale: of the inner products.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      A scalar of at least 0, equal on all devices; 0 without a pair.

    Raises:
      AssertionError: where the rows differ in number.
    """
    code_NxK, pairs = gather_pairs(code_BxK, label_BxC, is_labelled_B, axis_name)
    return masked_mean(_logistic(scale * code_NxK @ code_NxK.T, pairs), pairs.counts_NxN)


def _logistic(theta_NxN: Array, pairs: Pairs) -> jax.Array:
    """Return `log(1 + exp θ) − S θ`, which never overflows as the softplus of ±θ."""
    return jax.nn.softplus(jnp.where(pairs.similar_NxN, -theta_NxN, theta_NxN))
