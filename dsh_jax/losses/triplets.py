"""Losses over triplets of a batch's rows: an anchor, a row like it, a row unlike it.

Every labelled row is an anchor once. Its two partners are drawn among the rows of all devices, by
a key that all devices share; shapes are fixed, and anchors that lack a partner are masked out.
As in `pairs`, a loss is the same number on all devices, and comes with its unweighted terms.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dsh_jax.losses.masking import masked_mean
from dsh_jax.losses.pairs import Pairs, Terms, bit_gap, gather_pairs, square_distances
from dsh_jax.typed import Array

OTHER_CLASS = 1e-3  # DRSCH's weight of an edge between rows that share no label


class Triplets(NamedTuple):
    """The partners of every row.

    Attributes:
      positive_N: a row that shares a label with row n, int32.
      negative_N: a row that shares none, int32.
      counts_N: whether row n has both, bool; elsewhere the partners mean nothing.
    """

    positive_N: jax.Array
    negative_N: jax.Array
    counts_N: Array


def draw(key: Array, allowed_NxN: Array) -> jax.Array:
    """Draw a column for each row, uniformly among those allowed: argmax of Gumbel noise there.

    Args:
      key: of the noise.
      allowed_NxN: bool.

    Returns:
      column_N, int32; column 0 where none is allowed.
    """
    return jax.random.categorical(key, jnp.where(allowed_NxN, 0.0, -jnp.inf))


def sample(key: Array, pairs: Pairs, *, apart: bool = False) -> Triplets:
    """Draw a positive and a negative for each row that has both.

    Args:
      key: of the draws.
      pairs: of the rows.
      apart: whether the negative must share no label with the positive either, which only
        multi-label rows can tell apart.

    Returns:
      Triplets.
    """
    positive_key, negative_key = jax.random.split(key)
    positive_NxN = pairs.counts_NxN & pairs.similar_NxN
    negative_NxN = pairs.counts_NxN & ~pairs.similar_NxN
    if apart:
        # Only a positive that leaves a negative to choose.
        unlike_NxN = (~pairs.similar_NxN).astype(jnp.float32)
        positive_NxN &= negative_NxN.astype(jnp.float32) @ unlike_NxN > 0
    positive_N = draw(positive_key, positive_NxN)
    if apart:
        negative_NxN &= ~pairs.similar_NxN[positive_N]
    counts_N = jnp.any(positive_NxN, -1) & jnp.any(negative_NxN, -1)
    return Triplets(positive_N, draw(negative_key, negative_NxN), counts_N)


def distance_gap(code_NxK: Array, triplets: Triplets) -> jax.Array:
    """Return how much farther the positive is than the negative: `||a − p||² − ||a − n||²`.

    Args:
      code_NxK: real-valued codes, those of the anchors too.
      triplets: of these rows.

    Returns:
      gap_N, float.
    """
    positive_NxK, negative_NxK = code_NxK[triplets.positive_N], code_NxK[triplets.negative_N]
    return ((code_NxK - positive_NxK) ** 2 - (code_NxK - negative_NxK) ** 2).sum(-1)


def ranking_loss(code_NxK: Array, triplets: Triplets, *, margin: float = 1.0) -> jax.Array:
    """Return the triplet ranking hinge, `mean max(0, m + ||a − p||² − ||a − n||²)`.

    Args:
      code_NxK: real-valued codes.
      triplets: of these rows.
      margin: m.

    Returns:
      A scalar, float; 0 without a triplet.
    """
    hinge_N = jax.nn.relu(margin + distance_gap(code_NxK, triplets))
    return masked_mean(hinge_N, triplets.counts_N)


def ninh(
    key: Array,
    bcoding_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    margin: float = 1.0,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return NINH's loss, see `ranking_loss`.

    Args:
      key: of the triplets, the same on all devices.
      bcoding_BxK: codes in [0, 1], from `ninh.DivideAndEncode`.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      margin: 1; a public implementation has 2 at 12 bits.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the term `triplets`: equal on all devices; 0 without a triplet.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Lai, Pan, Liu and Yan, CVPR 2015.
    """
    code_NxK, pairs = gather_pairs(bcoding_BxK, label_BxC, is_labelled_B, axis_name)
    total = ranking_loss(code_NxK, sample(key, pairs), margin=margin)
    return total, {"triplets": total}


def dtsh(
    key: Array,
    logit_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    margin: float | None = None,
    eta: float = 1.0,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return DTSH's loss: the likelihood that positives rank before negatives, and quantization.

    `mean log(1 + exp(m − θ_ap + θ_an)) + η mean (u − sgn u)²`, `θ_ij = u_i · u_j / 2`.

    Args:
      key: of the triplets, the same on all devices.
      logit_BxK: u, real values.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      margin: m; None for K / 2 (recalled).
      eta: of the quantization, a mean over rows and bits; 1 is a public implementation's.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `triplets` and `quantization`: equal on all devices; 0 without a
      triplet, or labelled rows.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Wang, Shi and Kitani, ACCV 2016.
    """
    code_NxK, pairs = gather_pairs(logit_BxK, label_BxC, is_labelled_B, axis_name)
    triplets = sample(key, pairs)
    margin = code_NxK.shape[-1] / 2 if margin is None else margin
    partner_NxK = code_NxK[triplets.positive_N] - code_NxK[triplets.negative_N]
    value_N = jax.nn.softplus(margin - (code_NxK * partner_NxK).sum(-1) / 2)
    terms = {
        "triplets": masked_mean(value_N, triplets.counts_N),
        "quantization": masked_mean((bit_gap(code_NxK) ** 2).mean(-1), pairs.has_label_N),
    }
    return terms["triplets"] + eta * terms["quantization"], terms


def drsch(
    key: Array,
    weighted_BxK: Array,
    label_BxC: Array,
    is_labelled_B: Array,
    *,
    floor: float | Array | None = None,
    laplacian: float = 1e-3,
    official: bool = False,
    axis_name: str | None = None,
) -> tuple[jax.Array, Terms]:
    """Return DRSCH's loss: clipped triplets of weighted codes, and a Laplacian over the batch.

    `(1/T) [ Σ_t max(||r_a − r_p||² − ||r_a − r_n||², C) + λ tr(V L Vᵀ) ]`, T triplets, V the codes
    as columns, `L = D − W`, `D = diag(Σ_j W_ij)`: `tr(V L Vᵀ) = ½ Σ_ij W_ij ||r_i − r_j||²`. W is 1
    between labelled rows that share a label and 0.001 between the others.

    Args:
      key: of the triplets, the same on all devices.
      weighted_BxK: r = ŵ ∘ o, from `drsch.BitScalableHead`.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      floor: C < 0, below which a triplet has no gradient; None for −K / 2 (recalled). The official
        code has −5 at 64 bits, and 0.1 less after every 10,000 steps.
      laplacian: λ.
      official: whether `L = −(W + D)`, as the official code builds it, and so
        `tr(V L Vᵀ) = −½ Σ_ij W_ij ||r_i + r_j||²`: it aligns rows too, but never stops rewarding
        longer codes.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the terms `triplets` and `laplacian`, both over T (over 1 without a triplet):
      equal on all devices.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Zhang, Lin, Zhang, Zuo and Zhang, IEEE TIP 2015.
    """
    code_NxK, pairs = gather_pairs(weighted_BxK, label_BxC, is_labelled_B, axis_name)
    triplets = sample(key, pairs)
    floor = -code_NxK.shape[-1] / 2 if floor is None else floor
    clipped_N = jnp.maximum(distance_gap(code_NxK, triplets), floor)
    has_edge_NxN = pairs.has_label_N[:, None] & pairs.has_label_N[None]
    edge_NxN = jnp.where(pairs.similar_NxN, 1.0, OTHER_CLASS) * has_edge_NxN
    if official:
        alignment_NxN = -(edge_NxN + jnp.diag(edge_NxN.sum(-1))) * (code_NxK @ code_NxK.T)
    else:  # as a sum of squares: the trace's own terms cancel, and rounding could leave it below 0
        alignment_NxN = edge_NxN * square_distances(code_NxK) / 2
    terms = {
        "triplets": masked_mean(clipped_N, triplets.counts_N),
        "laplacian": alignment_NxN.sum() / jnp.maximum(triplets.counts_N.sum(), 1),
    }
    return terms["triplets"] + laplacian * terms["laplacian"], terms
