"""Average precision as a loss: the evaluator's own formula, on counts that have a slope.

A pair of codes in [−1, 1]^K lies between two whole distances and counts in part at each:

    n_d = Σ_j max(0, 1 − |δ_ij − d|),    δ_ij = (K − h_i · h_j) / 2,    d = 0 … K

Where all codes are bits, these are the counts of `retrieval.distance_counts`. The tie-aware
average precision of counts, see `metrics.average_precision`, has a mean of 1 / rank over the ranks
N_d + 1 … N_d + n_d of a distance; with the digamma function ψ it is defined for any n_d:

    h_d = (ψ(N_d + n_d + 1) − ψ(N_d + 1)) / n_d,    1 / (N_d + 1) where n_d <= 1

So the loss is exact at bits, and smooth between them. (He, Cakir, Bargal and Sclaroff, CVPR 2018,
replace the formula by simpler bounds.)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dsh_jax.losses.masking import masked_mean
from dsh_jax.losses.pairs import Terms, gather_pairs
from dsh_jax.typed import Array


def soft_counts(code_QxK: Array, code_RxK: Array, counts_QxR: Array) -> jax.Array:
    """Count items at each whole Hamming distance, each at the two that it lies between.

    Args:
      code_QxK: in [−1, 1].
      code_RxK: in [−1, 1].
      counts_QxR: how much each item counts for each query, such as 0 or 1.

    Returns:
      count_QxD, float, D = K + 1; rows sum to those of counts_QxR.
    """
    bits = code_QxK.shape[1]
    distance_QxR = (bits - code_QxK @ code_RxK.T) / 2

    def at(distance):
        return (counts_QxR * jax.nn.relu(1 - jnp.abs(distance_QxR - distance))).sum(1)

    return jax.lax.map(at, jnp.arange(bits + 1.0)).T


def average_precision(total_QxD: Array, relevant_QxD: Array) -> jax.Array:
    """Return the tie-aware average precision of counts that need not be whole.

    AP = (1/P) Σ_d p_d a_d, where at most one item is at a distance a_d = (P_d + 1) / (N_d + 1), and

    a_d = r_d + (P_d + 1 − r_d (N_d + 1)) h_d,  r_d = (p_d − min(n_d − 1, 1)) / max(n_d − 1, 1)

    elsewhere. So 0 <= AP <= 1 for any counts.

    Args:
      total_QxD, relevant_QxD: float counts, relevant at most total.

    Returns:
      ap_Q, float; `metrics.average_precision` where the counts are whole; 0 without a relevant
      item.

    Source: McSherry and Najork, ECIR 2008, for whole counts.
    """
    nearer_QxD = jnp.cumsum(total_QxD, axis=1) - total_QxD
    hits_before_QxD = jnp.cumsum(relevant_QxD, axis=1) - relevant_QxD
    is_several_QxD = total_QxD > 1
    n_QxD = jnp.where(is_several_QxD, total_QxD, 2)
    sum_QxD = _inverse_ranks(nearer_QxD, n_QxD)
    r_QxD = (relevant_QxD - jnp.minimum(n_QxD - 1, 1)) / jnp.maximum(n_QxD - 1, 1)
    rest_QxD = hits_before_QxD + 1 - r_QxD * (nearer_QxD + 1)
    precision_QxD = jnp.where(
        is_several_QxD,
        r_QxD + rest_QxD * sum_QxD / n_QxD,
        (hits_before_QxD + 1) / (nearer_QxD + 1),
    )
    relevant_Q = relevant_QxD.sum(1)
    found_Q = (relevant_QxD * precision_QxD).sum(1)
    return found_Q / jnp.where(relevant_Q > 0, relevant_Q, 1)


def _inverse_ranks(nearer: jax.Array, count: jax.Array) -> jax.Array:
    """Return ψ(N + n + 1) − ψ(N + 1), the sum of 1 / rank, as n times what does not cancel."""
    first, after = nearer + 1, nearer + count + 1
    # ψ(x) = ψ(x + 8) − Σ 1 / (x + k), and from 9 on the first terms of Stirling's series are ψ.
    steps = sum(count / ((first + k) * (after + k)) for k in range(8))
    a, b = first + 8, after + 8
    halves = count / (2 * a * b)
    squares = count * (a + b) / (a * b) ** 2 / 12
    fourths = count * (a + b) * (a**2 + b**2) / (a * b) ** 4 / 120
    return steps + jnp.log1p(count / a) + halves + squares - fourths


def talr(
    signed_BxK: Array, label_BxC: Array, is_labelled_B: Array, *, axis_name: str | None = None
) -> tuple[jax.Array, Terms]:
    """Return 1 − the mean average precision of the batch: each row ranks all others.

    Args:
      signed_BxK: h in [−1, 1], `tanh` of the logits.
      label_BxC: multi-hot labels; rows that are not labelled are not read.
      is_labelled_B: which rows have labels, bool.
      axis_name: the mapped axis whose devices share the batch, or None.

    Returns:
      The total, and the term `ranking`: equal on all devices, in [0, 1]; 0 where no row has another
      with its label.

    Raises:
      AssertionError: where the rows differ in number.

    Source: He, Cakir, Bargal and Sclaroff, CVPR 2018 (tie-aware learning to rank).
    """
    signed_NxK, pairs = gather_pairs(signed_BxK, label_BxC, is_labelled_B, axis_name)
    total_NxD = soft_counts(signed_NxK, signed_NxK, pairs.counts_NxN)
    is_relevant_NxN = jnp.asarray(pairs.counts_NxN & pairs.similar_NxN)
    relevant_NxD = soft_counts(signed_NxK, signed_NxK, is_relevant_NxN)
    ap_N = average_precision(total_NxD, relevant_NxD)
    total = masked_mean(1 - ap_N, is_relevant_NxN.any(1))
    return total, {"ranking": total}


def mihash(
    signed_BxK: Array, label_BxC: Array, is_labelled_B: Array, *, axis_name: str | None = None
) -> tuple[jax.Array, Terms]:
    """Return 1 − the mutual information of distance and relevance, over the entropy of relevance.

    `I(d; s) = H(d) − Σ_s P(s) H(d | s)` of each row's distances to all others, d in K + 1 bins as
    `soft_counts` has them. Divided by H(s), 1 is the most there is: distance tells relevance.

    Args:
      signed_BxK, label_BxC, is_labelled_B, axis_name: see `talr`.

    Returns:
      The total, and the term `information`: equal on all devices, in [0, 1]; 0 where every row is
      like all others, or like none.

    Raises:
      AssertionError: where the rows differ in number.

    Source: Cakir, He, Bargal and Sclaroff, ICCV 2017. They do not divide.
    """
    signed_NxK, pairs = gather_pairs(signed_BxK, label_BxC, is_labelled_B, axis_name)
    parts = [
        soft_counts(signed_NxK, signed_NxK, pairs.counts_NxN & kind)
        for kind in (pairs.similar_NxN, ~pairs.similar_NxN)
    ]
    size_2xN = jnp.stack([part.sum(1) for part in parts])
    share_2xN = size_2xN / jnp.maximum(size_2xN.sum(0), 1)[None]
    given_N = sum(share * _entropy(part) for share, part in zip(share_2xN, parts, strict=True))
    known_N = _entropy(parts[0] + parts[1]) - given_N
    possible_N = _entropy(share_2xN.T)
    has_both_N = (size_2xN > 0).all(0)
    value_N = 1 - known_N / jnp.where(has_both_N, possible_N, 1)
    total = masked_mean(value_N, has_both_N)
    return total, {"information": total}


def _entropy(count_NxD: Array) -> jax.Array:
    """Return the entropy of each row's distribution, in nats."""
    share_NxD = count_NxD / jnp.maximum(count_NxD.sum(1, keepdims=True), 1e-12)
    return -(share_NxD * jnp.log(jnp.where(share_NxD > 0, share_NxD, 1))).sum(1)
