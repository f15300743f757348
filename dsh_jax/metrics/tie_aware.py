"""Every metric as a pure function of two small count matrices, see `retrieval.distance_counts`.

They take n = total_QxD and p = relevant_QxD. In comments and equations, of one query: n_d, p_d are
the items and relevant items at distance d; N_d, P_d those nearer than d; P all relevant ones.
The columns may be any tie groups, nearest first, empty ones too: a ranking without ties is D = R.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.metrics.ties import check_ball, check_counts, items_before, tie_means
from dsh_jax.sums import pairwise_nanmean, pairwise_sum
from dsh_jax.typed import Array, jit


@jit
def average_precision(total_QxD: Array, relevant_QxD: Array) -> jax.Array:
    """Average precision of each query, its exact expectation over all orders of the ties.

    AP = (1/P) Σ_d p_d [ r_d (1 - (N_d+1) h_d) + (P_d+1) h_d ],  r_d = (p_d-1)/(n_d-1),
    where h_d is the mean of 1/rank over the ranks N_d+1 ... N_d+n_d of distance d. This is the
    formula of the source divided through by n_d, so that no term exceeds 1 and float32 suffices.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item;
      correct to 1e-6 of its value at 10,000,000 items.

    Raises:
      ValueError: if the two shapes differ.

    Source: McSherry and Najork, ECIR 2008; He, Cakir, Bargal and Sclaroff, CVPR 2018.
    """
    check_counts(total_QxD, relevant_QxD)
    precision_QxD = _expected_precision(total_QxD, relevant_QxD, total_QxD)
    return _mean_over_relevant(precision_QxD, relevant_QxD)


@functools.partial(jax.jit, static_argnames=("k", "denominator"))
def average_precision_at(
    total_QxD: Array, relevant_QxD: Array, k: int, *, denominator: str = "total"
) -> jax.Array:
    """Average precision among the first k ranks, its exact expectation over all orders of the ties.

    AP@k = (1/Z) Σ_d p_d (m_d/n_d) [ r_d (1 - (N_d+1) h_d) + (P_d+1) h_d ],  as `average_precision`,
    but h_d is the mean of 1/rank over the m_d = clip(k - N_d, 0, n_d) ranks that are looked at.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      k: ranks to look at; beyond the database's size it is the average precision of all.
      denominator: Z. "total" takes P, "min" the smaller of k and P.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if the two shapes differ, k is below 1, or denominator is another.

    Source: derived like `average_precision`, from McSherry and Najork, ECIR 2008.
    """
    if denominator == "in_topk":
        raise ValueError(
            'denominator="in_topk" divides by a number that depends on the order of the ties, so '
            "its expectation has no closed form; rank with ranked.ranked_relevance and call "
            "ranked.average_precision_ranked"
        )
    if denominator not in ("total", "min"):
        raise ValueError(f'denominator={denominator!r}; pass "total" or "min"')
    seen_QxD = _seen(total_QxD, relevant_QxD, k)
    precision_QxD = _expected_precision(total_QxD, relevant_QxD, seen_QxD)
    hits_QxD = relevant_QxD * (seen_QxD / jnp.maximum(total_QxD, 1))
    relevant_Q = relevant_QxD.sum(axis=1)
    z_Q = relevant_Q if denominator == "total" else jnp.minimum(k, relevant_Q)
    return pairwise_sum(hits_QxD * precision_QxD) / jnp.maximum(z_Q, 1)


@functools.partial(jax.jit, static_argnames=("radius", "empty_ball"))
def average_precision_within_radius(
    total_QxD: Array, relevant_QxD: Array, radius: int, *, empty_ball: str = "zero"
) -> jax.Array:
    """Average precision among the items within a Hamming radius, expected over all tie orders.

    It is the `average_precision` of a database of the ball's items only: the denominator is the
    relevant items in the ball, so those missed outside cost nothing (see `recall_within_radius`).

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      radius: the largest distance that is inside, in bits, 0 to K.
      empty_ball: a query with nothing inside gets 0 ("zero") or NaN ("skip", for `nanmean`).

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query with only irrelevant items inside.

    Raises:
      ValueError: if the shapes differ, the radius is out of range, or empty_ball is unknown.
    """
    check_ball(total_QxD, relevant_QxD, radius, empty_ball)
    inside_QxD = total_QxD[:, : radius + 1]
    ap_Q = average_precision(inside_QxD, relevant_QxD[:, : radius + 1])
    if_empty = 0.0 if empty_ball == "zero" else jnp.nan
    return jnp.where(inside_QxD.sum(axis=1) > 0, ap_Q, if_empty)


@jit
def average_precision_optimistic(total_QxD: Array, relevant_QxD: Array) -> jax.Array:
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
    check_counts(total_QxD, relevant_QxD)
    return _average_precision_of_runs(items_before(total_QxD), relevant_QxD)


@jit
def average_precision_pessimistic(total_QxD: Array, relevant_QxD: Array) -> jax.Array:
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
    check_counts(total_QxD, relevant_QxD)
    start_QxD = items_before(total_QxD) + total_QxD - relevant_QxD
    return _average_precision_of_runs(start_QxD, relevant_QxD)


@jit
def average_precision_printed(relevant_ranked_QxR: Array) -> jax.Array:
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


def precision_at(total_QxD: Array, relevant_QxD: Array, k: int | Sequence[int]) -> jax.Array:
    """Precision among the first k items of each query, expected over all orders of the ties.

    P@k = (1/k) Σ_d clip(k - N_d, 0, n_d) p_d / n_d

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      k: ranks to look at, or several such numbers; beyond the database's size the missing items
        count as irrelevant.

    Returns:
      float32 array in [0, 1], shape (Q,), or (len(k), Q) for several k.

    Raises:
      ValueError: if the two shapes differ, or a k is below 1.

    Source: McSherry and Najork, ECIR 2008.
    """
    k_K = _check_ranks(k)
    value_KxQ = _hits_at(total_QxD, relevant_QxD, k_K) / k_K[:, None]
    return value_KxQ if np.ndim(k) else value_KxQ[0]


def recall_at(total_QxD: Array, relevant_QxD: Array, k: int | Sequence[int]) -> jax.Array:
    """Recall among the first k items of each query, expected over all orders of the ties.

    R@k = (1/P) Σ_d clip(k - N_d, 0, n_d) p_d / n_d

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.
      k: ranks to look at, or several such numbers; beyond the database's size it is the recall of
        all, 1.

    Returns:
      float32 array in [0, 1], shape (Q,), or (len(k), Q) for several k; 0 for a query without any
      relevant item.

    Raises:
      ValueError: if the two shapes differ, or a k is below 1.

    Source: McSherry and Najork, ECIR 2008.
    """
    hits_KxQ = _hits_at(total_QxD, relevant_QxD, _check_ranks(k))
    value_KxQ = hits_KxQ / jnp.maximum(relevant_QxD.sum(axis=1), 1)[None]
    return value_KxQ if np.ndim(k) else value_KxQ[0]


def _check_ranks(k):
    k_K = np.atleast_1d(np.asarray(k, np.int32))
    if k_K.size == 0 or k_K.min() < 1:
        raise ValueError(f"k={k}; pass at least 1 rank")
    return k_K


@jax.jit
def _hits_at(total_QxD, relevant_QxD, k_K):
    """The relevant items among the first k, expected over all orders of the ties."""
    check_counts(total_QxD, relevant_QxD)
    nearer_QxD = items_before(total_QxD)
    share_QxD = relevant_QxD / jnp.maximum(total_QxD, 1)

    def hits(k):
        return pairwise_sum(jnp.clip(k - nearer_QxD, 0, total_QxD) * share_QxD)

    return jax.vmap(hits)(k_K)


@jit
def chance_level(total_QxD: Array, relevant_QxD: Array) -> jax.Array:
    """Precision of a random ranking: the relevant share of the database, mean over the queries.

    Args:
      total_QxD, relevant_QxD: int counts from `distance_counts`.

    Returns:
      float32 scalar in [0, 1].

    Raises:
      ValueError: if the two shapes differ.
    """
    check_counts(total_QxD, relevant_QxD)
    return pairwise_sum(relevant_QxD.sum(axis=1) / total_QxD.sum(axis=1)) / len(total_QxD)


@functools.partial(jax.jit, static_argnames="no_relevant")
def mean_over_queries(
    value_Q: Array, relevant_QxD: Array, *, no_relevant: str = "zero"
) -> jax.Array:
    """Average a metric over the queries, by either convention for those without relevant items.

    mean = Σ_{q : P_q > 0} value_q / Z,  Z all queries ("zero") or those with P_q > 0 ("skip").

    Args:
      value_Q: a metric's value for each query; NaN (a skipped empty ball) is left out.
      relevant_QxD: int counts from `distance_counts`.
      no_relevant: a query without any relevant item counts as 0 ("zero") or not at all ("skip",
        which gives the higher mean).

    Returns:
      float32 scalar; NaN if no query is left.

    Raises:
      ValueError: if the shapes do not fit together, or no_relevant is unknown.
    """
    if relevant_QxD.ndim != 2 or value_Q.shape != relevant_QxD.shape[:1]:
        raise ValueError(
            f"values have shape {value_Q.shape}, relevant {relevant_QxD.shape}; "
            "pass one value per query and the (queries, distances) counts of the same queries"
        )
    if no_relevant not in ("zero", "skip"):
        raise ValueError(f'no_relevant={no_relevant!r}; pass "zero" or "skip"')
    if_none = 0.0 if no_relevant == "zero" else jnp.nan
    counted_Q = (relevant_QxD.sum(axis=1) > 0) | jnp.isnan(value_Q)
    return pairwise_nanmean(jnp.where(counted_Q, value_Q, if_none))


def _expected_precision(total_QxD, relevant_QxD, seen_QxD):
    """Expected precision at the rank of a relevant item that is among the first seen of its tie."""
    h_QxD, share_QxD = tie_means(items_before(total_QxD), seen_QxD)
    r_QxD = (relevant_QxD - 1) / jnp.maximum(total_QxD - 1, 1)
    return r_QxD * share_QxD + (items_before(relevant_QxD) + 1) * h_QxD


def _seen(total_QxD, relevant_QxD, k):
    """The items of each distance that are among the first k."""
    check_counts(total_QxD, relevant_QxD)
    if k < 1:
        raise ValueError(f"k={k}; pass at least 1 rank")
    return jnp.clip(k - items_before(total_QxD), 0, total_QxD)


def _average_precision_of_runs(start_QxD, relevant_QxD):
    """Average precision where the p_d hits of a distance fill the ranks start+1 ... start+p_d."""
    # The j-th has precision (P+j)/(start+j) = (P+1)/(start+j) + (j-1)/(start+j).
    h_QxD, share_QxD = tie_means(start_QxD, relevant_QxD)
    precision_QxD = (items_before(relevant_QxD) + 1) * h_QxD + share_QxD
    return _mean_over_relevant(precision_QxD, relevant_QxD)


def _mean_over_relevant(precision_QxD, relevant_QxD):
    sum_Q = pairwise_sum(relevant_QxD * precision_QxD)
    return sum_Q / jnp.maximum(relevant_QxD.sum(axis=1), 1)
