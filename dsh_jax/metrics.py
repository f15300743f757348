"""Every metric as a pure function of two small count matrices, see `retrieval.distance_counts`.

They take n = total_QxD and p = relevant_QxD. In comments and equations, of one query: n_d, p_d are
the items and relevant items at distance d; N_d, P_d those nearer than d; P all relevant ones.
"""

import functools

import jax
import jax.numpy as jnp


@jax.jit
def average_precision(total_QxD: jax.Array, relevant_QxD: jax.Array) -> jax.Array:
    """Average precision of each query, its exact expectation over all orders of the ties.

    AP = (1/P) Σ_d p_d [ r_d (1 - (N_d+1) h_d) + (P_d+1) h_d ],  r_d = (p_d-1)/(n_d-1),
    where h_d is the mean of 1/rank over the ranks N_d+1 ... N_d+n_d of distance d. This is the
    formula of the source divided through by n_d, so that no term exceeds 1 and float32 suffices.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if the two shapes differ.

    Source: McSherry and Najork, ECIR 2008; He, Cakir, Bargal and Sclaroff, CVPR 2018.
    """
    nearer_QxD, hits_QxD = _before(total_QxD, relevant_QxD)
    h_QxD = _mean_reciprocal(nearer_QxD, total_QxD)
    r_QxD = (relevant_QxD - 1) / jnp.maximum(total_QxD - 1, 1)
    precision_QxD = r_QxD * (1 - (nearer_QxD + 1) * h_QxD) + (hits_QxD + 1) * h_QxD
    return _mean_over_relevant(precision_QxD, relevant_QxD)


@jax.jit
def average_precision_optimistic(total_QxD: jax.Array, relevant_QxD: jax.Array) -> jax.Array:
    """Average precision of each query if the relevant items came first in every tie.

    AP = (1/P) Σ_d Σ_j (P_d+j)/(N_d+j),  j = 1 ... p_d: the highest over all tie orders.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if the two shapes differ.

    Source: the bounds are reported by He, Cakir, Bargal and Sclaroff, CVPR 2018.
    """
    nearer_QxD, hits_QxD = _before(total_QxD, relevant_QxD)
    return _average_precision_of_runs(nearer_QxD, hits_QxD, relevant_QxD)


@jax.jit
def average_precision_pessimistic(total_QxD: jax.Array, relevant_QxD: jax.Array) -> jax.Array:
    """Average precision of each query if the relevant items came last in every tie.

    AP = (1/P) Σ_d Σ_j (P_d+j)/(N_d+n_d-p_d+j),  j = 1 ... p_d: the lowest over all tie orders.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if the two shapes differ.

    Source: the bounds are reported by He, Cakir, Bargal and Sclaroff, CVPR 2018.
    """
    nearer_QxD, hits_QxD = _before(total_QxD, relevant_QxD)
    start_QxD = nearer_QxD + total_QxD - relevant_QxD
    return _average_precision_of_runs(start_QxD, hits_QxD, relevant_QxD)


@jax.jit
def average_precision_printed(relevant_ranked_QxR: jax.Array) -> jax.Array:
    """Average precision as the paper prints it, upside down; for demonstration only.

    AP = (1/P) Σ_k rel_k k/M_k, M_k the relevant items among the first k: the inverse of the
    precision M_k/k. A perfect ranking scores 1 and every other ranking scores more than 1.

    Args:
      relevant_ranked_QxR: 1 where the item at that rank is relevant, nearest first.

    Returns:
      float32 array, 1 or more, shape (Q,); 0 for a query without any relevant item.
    """
    hits_QxR = jnp.cumsum(relevant_ranked_QxR > 0, axis=1)
    rank_1xR = jnp.arange(1, hits_QxR.shape[1] + 1)[None]
    return _mean_over_relevant(rank_1xR / jnp.maximum(hits_QxR, 1), relevant_ranked_QxR > 0)


def _before(total_QxD, relevant_QxD):
    """N_d and P_d: the items, and the relevant items, nearer than each distance."""
    _check_counts(total_QxD, relevant_QxD)
    return (jnp.cumsum(x_QxD, axis=1) - x_QxD for x_QxD in (total_QxD, relevant_QxD))


def _average_precision_of_runs(start_QxD, hits_QxD, relevant_QxD):
    """Average precision where the p_d hits of a distance fill the ranks start+1 ... start+p_d."""
    # The j-th has precision (P+j)/(start+j) = 1 - (start-P)/(start+j).
    reciprocal_QxD = _mean_reciprocal(start_QxD, relevant_QxD)
    return _mean_over_relevant(1 - (start_QxD - hits_QxD) * reciprocal_QxD, relevant_QxD)


def _mean_over_relevant(precision_QxD, relevant_QxD):
    sum_Q = jnp.sum(relevant_QxD * precision_QxD, axis=1)
    return sum_Q / jnp.maximum(relevant_QxD.sum(axis=1), 1)


def _mean_reciprocal(start_QxD, count_QxD):
    """Mean of 1/k over k = start+1 ... start+count; 0 where count is 0.

    A float32 difference of harmonic numbers loses all its digits at large ranks. So the first 32
    terms are added, and beyond them H(b) - H(a) = log(B/A) + (B^-2 - A^-2)/24, with A = a + 1/2
    and B = b + 1/2, which is correct to 1e-7 of its value (Euler and Maclaurin).
    """
    stop_QxD = start_QxD + count_QxD
    k = jnp.arange(1, 33)[None, None]
    taken = (start_QxD[..., None] < k) & (k <= stop_QxD[..., None])
    first_QxD = jnp.sum(taken / k, axis=-1)
    a_QxD, b_QxD = jnp.maximum(start_QxD, 32), jnp.maximum(stop_QxD, 32)
    log_QxD = jnp.log1p((b_QxD - a_QxD) / (a_QxD + 0.5))
    rest_QxD = log_QxD + ((b_QxD + 0.5) ** -2 - (a_QxD + 0.5) ** -2) / 24
    return (first_QxD + rest_QxD) / jnp.maximum(count_QxD, 1)


@functools.partial(jax.jit, static_argnames="k")
def precision_at(total_QxD: jax.Array, relevant_QxD: jax.Array, k: int) -> jax.Array:
    """Precision among the first k items of each query, expected over all orders of the ties.

    P@k = (1/k) Σ_d clip(k - N_d, 0, n_d) p_d / n_d

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      k: ranks to look at; beyond the database's size the missing items count as irrelevant.

    Returns:
      float32 array in [0, 1], shape (Q,).

    Raises:
      ValueError: if the two shapes differ, or k is below 1.

    Source: McSherry and Najork, ECIR 2008.
    """
    if k < 1:
        raise ValueError(f"k={k}; pass at least 1 rank")
    nearer_QxD, _ = _before(total_QxD, relevant_QxD)
    seen_QxD = jnp.clip(k - nearer_QxD, 0, total_QxD)
    return jnp.sum(seen_QxD * relevant_QxD / jnp.maximum(total_QxD, 1), axis=1) / k


@jax.jit
def precision_recall_by_radius(
    total_QxD: jax.Array, relevant_QxD: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Precision and recall of the Hamming ball of each radius, averaged over the queries.

    At radius d and for one query: precision = P_≤d / N_≤d,  recall = P_≤d / P.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      (precision_D, recall_D), float32 in [0, 1]. A query whose ball is empty is left out of the
      precision there, one without any relevant item out of the recall; NaN if none is left.

    Raises:
      ValueError: if the two shapes differ.
    """
    _check_counts(total_QxD, relevant_QxD)
    inside_QxD = jnp.cumsum(total_QxD, axis=1)
    hits_QxD = jnp.cumsum(relevant_QxD, axis=1)
    # 0/0 marks the queries to leave out.
    precision_D = jnp.nanmean(hits_QxD / inside_QxD, axis=0)
    return precision_D, jnp.nanmean(hits_QxD / hits_QxD[:, -1:], axis=0)


@functools.partial(jax.jit, static_argnames=("radius", "empty_ball"))
def precision_within_radius(
    total_QxD: jax.Array, relevant_QxD: jax.Array, radius: int, *, empty_ball: str = "zero"
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
    _check_counts(total_QxD, relevant_QxD)
    if not 0 <= radius < total_QxD.shape[1]:
        raise ValueError(f"radius={radius}; pass 0 to {total_QxD.shape[1] - 1}, the number of bits")
    if empty_ball not in ("zero", "skip"):
        raise ValueError(f'empty_ball={empty_ball!r}; pass "zero" or "skip"')
    inside_Q = total_QxD[:, : radius + 1].sum(axis=1)
    hits_Q = relevant_QxD[:, : radius + 1].sum(axis=1)
    if_empty = 0.0 if empty_ball == "zero" else jnp.nan
    return jnp.where(inside_Q > 0, hits_Q / jnp.maximum(inside_Q, 1), if_empty)


@jax.jit
def chance_level(total_QxD: jax.Array, relevant_QxD: jax.Array) -> jax.Array:
    """Precision of a random ranking: the relevant share of the database, mean over the queries.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 scalar in [0, 1].

    Raises:
      ValueError: if the two shapes differ.
    """
    _check_counts(total_QxD, relevant_QxD)
    return jnp.mean(relevant_QxD.sum(axis=1) / total_QxD.sum(axis=1))


def _check_counts(total, relevant):
    if total.ndim != 2 or total.shape != relevant.shape:
        raise ValueError(
            f"total has shape {total.shape}, relevant {relevant.shape}; "
            "pass the two (queries, distances) matrices of one distance_counts call"
        )
