"""Metrics of Hamming balls: all items within a radius of the query, whatever their order.

They take the counts of `retrieval.distance_counts`. In equations, of one query: N_≤d and P_≤d are
the items and the relevant items within distance d, P all relevant ones. A radius is a column of
the counts: if their levels are other tie groups than distances, the nearest radius+1 groups.
"""

import functools

import jax
import jax.numpy as jnp

from dsh_jax.metrics.ties import check_ball, check_counts, items_upto
from dsh_jax.sums import pairwise_nanmean, pairwise_sum
from dsh_jax.typed import Array, jit


@functools.partial(jax.jit, static_argnames="average")
def precision_recall_by_radius(
    total_QxD: Array, relevant_QxD: Array, *, average: str = "macro"
) -> tuple[jax.Array, jax.Array]:
    """Precision and recall of the Hamming ball of each radius, averaged over the queries.

    At radius d: precision = P_≤d / N_≤d,  recall = P_≤d / P. "macro" is the mean of each query's
    ratio, "micro" the ratio of the sums over the queries, in which large balls count for more.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      average: "macro" or "micro".

    Returns:
      (precision_D, recall_D), float32 in [0, 1]. A query whose ball is empty is left out of the
      precision there, one without any relevant item out of the recall; NaN if none is left.

    Raises:
      ValueError: if the two shapes differ, or average is unknown.
    """
    check_counts(total_QxD, relevant_QxD)
    if average not in ("macro", "micro"):
        raise ValueError(f'average={average!r}; pass "macro" or "micro"')
    inside_QxD = items_upto(total_QxD)
    hits_QxD = items_upto(relevant_QxD)
    # 0/0 marks what to leave out.
    if average == "micro":
        # In float32, since the sums can exceed int32.
        inside_D, hits_D = (
            pairwise_sum(x.astype(jnp.float32), axis=0) for x in (inside_QxD, hits_QxD)
        )
        return hits_D / inside_D, hits_D / hits_D[-1:]
    precision_D = pairwise_nanmean(hits_QxD / inside_QxD, axis=0)
    return precision_D, pairwise_nanmean(hits_QxD / hits_QxD[:, -1:], axis=0)


@functools.partial(jax.jit, static_argnames=("radius", "empty_ball"))
def precision_within_radius(
    total_QxD: Array, relevant_QxD: Array, radius: int, *, empty_ball: str = "zero"
) -> jax.Array:
    """Precision among the items within a Hamming radius of each query.

    P(radius) = Σ_{d ≤ radius} p_d / Σ_{d ≤ radius} n_d

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      radius: the largest distance that is inside, in bits, 0 to K.
      empty_ball: a query with nothing inside gets 0 ("zero") or NaN ("skip", for `nanmean`).

    Returns:
      float32 array in [0, 1], shape (Q,).

    Raises:
      ValueError: if the shapes differ, the radius is out of range, or empty_ball is unknown.
    """
    check_ball(total_QxD, relevant_QxD, radius, empty_ball)
    inside_Q = total_QxD[:, : radius + 1].sum(axis=1)
    hits_Q = relevant_QxD[:, : radius + 1].sum(axis=1)
    if_empty = 0.0 if empty_ball == "zero" else jnp.nan
    return jnp.where(inside_Q > 0, hits_Q / jnp.maximum(inside_Q, 1), if_empty)


@functools.partial(jax.jit, static_argnames="radius")
def recall_within_radius(total_QxD: Array, relevant_QxD: Array, radius: int) -> jax.Array:
    """Recall of the items within a Hamming radius of each query.

    R(radius) = P_≤radius / P

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      radius: the largest distance that is inside, in bits, 0 to K.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if the shapes differ, or the radius is out of range.
    """
    check_ball(total_QxD, relevant_QxD, radius)
    hits_Q = relevant_QxD[:, : radius + 1].sum(axis=1)
    return hits_Q / jnp.maximum(relevant_QxD.sum(axis=1), 1)


@jit
def average_precision_11_point(total_QxD: Array, relevant_QxD: Array) -> jax.Array:
    """Interpolated average precision of each query at recalls 0, 0.1 ... 1, on its radius curve.

    AP_11 = (1/11) Σ_{j = 0 ... 10} max { P_≤d / N_≤d : N_≤d > 0, P_≤d / P ≥ j/10 }

    The points are those of the balls, not of the ranks: no order of the ties is involved, and a
    ranking by rank could be better or worse within a distance.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if the two shapes differ.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, 8.4.
    """
    check_counts(total_QxD, relevant_QxD)
    hits_QxD = items_upto(relevant_QxD)
    precision_QxD = hits_QxD / jnp.maximum(items_upto(total_QxD), 1)
    # Recalls are compared in whole numbers: a rounded one could miss its own level. The least hits
    # of each level are ⌈tenth P / 10⌉, whose product int32 may not hold.
    tens_Qx1, ones_Qx1 = jnp.divmod(hits_QxD[:, -1:], 10)
    best = [
        jnp.max(
            jnp.where(hits_QxD >= tenth * tens_Qx1 + -(-tenth * ones_Qx1 // 10), precision_QxD, 0),
            axis=1,
        )
        for tenth in range(11)
    ]
    return functools.reduce(jnp.add, best) / 11
