"""Metrics of graded relevance: items that share more labels with the query ought to come first.

They take total_QxD, the items at each distance, and at_least_TxQxD: at_least[t-1] counts those of
them that share at least t labels with the query, t = 1 ... T; none shares more than T, and for one
query all counts together stay below 2^31. All are exact expectations over all orders of the ties,
like `metrics.average_precision`; the columns may be any tie groups, nearest first.

In equations, of one query: s_i are the labels that the item at rank i shares; n_d, S_d the items at
distance d and the sum of their s; N_d, S_<d those nearer than d.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.metrics.ties import check_counts, items_before, tie_means
from dsh_jax.sums import pairwise_sum
from dsh_jax.typed import Array, jit


def ndcg_at(
    total_QxD: Array,
    at_least_TxQxD: Array,
    k: int | None = None,
    *,
    gain: str = "exponential",
    no_gain: str = "zero",
) -> jax.Array:
    """Normalized discounted cumulative gain of the first k ranks, expected over all tie orders.

    DCG@k = Σ_{i ≤ k} g(s_i) / log2(1 + i),  NDCG@k = DCG@k / (DCG@k of the best order), where each
    rank of a tie expects the tie's mean gain.

    Not to be called under jit: its table of discounts is as long as the database.

    Args:
      total_QxD: int counts of the items at each distance.
      at_least_TxQxD: int counts of those that share at least t labels.
      k: ranks to look at; all by default.
      gain: g(s) = 2^s - 1 ("exponential") or s ("linear").
      no_gain: a query that shares no label with any item gets 0 ("zero") or 1 ("one").

    Returns:
      float32 array in [0, 1], shape (Q,); correct to 1e-6 of its value at 10,000,000 items.

    Raises:
      ValueError: if the shapes do not fit together, k is below 1, an argument is unknown, or the
        exponential gain of T labels exceeds float32.

    Source: Järvelin and Kekäläinen, ACM TOIS 20(4), 2002; ties as in He, Cakir, Bargal and
    Sclaroff, CVPR 2018, who take the exponential gain and "one".
    """
    _check_graded(total_QxD, at_least_TxQxD, k)
    levels = len(at_least_TxQxD)
    if gain not in ("exponential", "linear"):
        raise ValueError(f'gain={gain!r}; pass "exponential" or "linear"')
    if no_gain not in ("zero", "one"):
        raise ValueError(f'no_gain={no_gain!r}; pass "zero" or "one"')
    if gain == "exponential" and levels > 100:
        raise ValueError(
            f'gain="exponential" of up to {levels} shared labels exceeds float32; '
            'pass at most 100 levels of at_least, or gain="linear"'
        )
    items = int(jnp.max(total_QxD.sum(axis=1)))
    depth = items if k is None else min(k, items)
    # g(t) - g(t-1), t = 1 ... T.
    step_T = 2.0 ** np.arange(levels) if gain == "exponential" else np.ones(levels)
    if_none = 0.0 if no_gain == "zero" else 1.0
    return _ndcg(total_QxD, at_least_TxQxD, step_T.astype(np.float32), _discounts(depth), if_none)


def _discounts(depth):
    """Sums of the first 0 ... depth discounts, as two float32 numbers: the second is the rest.

    A float32 sum has too few digits left for the difference of two of them.
    """
    sum_I = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, depth + 2)))])
    high_I = sum_I.astype(np.float32)
    return high_I, (sum_I - high_I).astype(np.float32)


@jax.jit
def _ndcg(total_QxD, at_least_TxQxD, step_T, discounts, if_none):
    def discount(start, stop):
        """Sum of the discounts of the ranks start+1 ... stop, as far as the table goes."""
        high_I, low_I = discounts
        start, stop = jnp.minimum(start, len(high_I) - 1), jnp.minimum(stop, len(high_I) - 1)
        return (high_I[stop] - high_I[start]) + (low_I[stop] - low_I[start])

    nearer_QxD = items_before(total_QxD)
    gain_QxD = pairwise_sum(step_T[:, None, None] * at_least_TxQxD, axis=0)
    mean_QxD = gain_QxD / jnp.maximum(total_QxD, 1)
    dcg_Q = pairwise_sum(mean_QxD * discount(nearer_QxD, nearer_QxD + total_QxD))
    # The best order: the first at_least[t-1] ranks all gain the step to t.
    items_TxQ = at_least_TxQxD.sum(axis=2)
    best_TxQ = step_T[:, None] * discount(jnp.zeros_like(items_TxQ), items_TxQ)
    best_Q = pairwise_sum(best_TxQ, axis=0)
    return jnp.where(best_Q > 0, dcg_Q / jnp.where(best_Q > 0, best_Q, 1), if_none)


@functools.partial(jax.jit, static_argnames="k")
def acg_at(total_QxD: Array, at_least_TxQxD: Array, k: int) -> jax.Array:
    """Average cumulative gain: mean number of shared labels of the first k, over all tie orders.

    ACG@k = (1/k) Σ_{i ≤ k} s_i, expected: (1/k) Σ_d clip(k - N_d, 0, n_d) S_d / n_d.

    Args:
      total_QxD: int counts of the items at each distance.
      at_least_TxQxD: int counts of those that share at least t labels.
      k: ranks to look at; beyond the database's size the missing items share none.

    Returns:
      float32 array in [0, T], in labels, shape (Q,).

    Raises:
      ValueError: if the shapes do not fit together, or k is below 1.

    Source: Järvelin and Kekäläinen, SIGIR 2000; ties as in McSherry and Najork, ECIR 2008.
    """
    _check_graded(total_QxD, at_least_TxQxD, k)
    seen_QxD = jnp.clip(k - items_before(total_QxD), 0, total_QxD)
    mean_QxD = at_least_TxQxD.sum(axis=0) / jnp.maximum(total_QxD, 1)
    return pairwise_sum(seen_QxD * mean_QxD) / k


@jit
def weighted_average_precision(total_QxD: Array, at_least_TxQxD: Array) -> jax.Array:
    """Weighted average precision: mean ACG@i of the ranks i of relevant items, over all tie orders.

    WAP = (1/P) Σ_i [s_i > 0] ACG@i, expected:
    (1/P) Σ_d [ h_d (p_d S_<d + S_d) + S_d (p_d-1)/(n_d-1) (1 - (N_d+1) h_d) ],
    where p_d items at distance d share a label, P overall, and h_d is the mean of 1/rank over the
    ranks N_d+1 ... N_d+n_d. With one label, it is `metrics.average_precision`.

    Args:
      total_QxD: int counts of the items at each distance.
      at_least_TxQxD: int counts of those that share at least t labels.

    Returns:
      float32 array in [0, T], in labels, shape (Q,); 0 for a query that shares none with any item;
      correct to 1e-6 of its value at 10,000,000 items.

    Raises:
      ValueError: if the shapes do not fit together.

    Source: Zhao, Huang, Wang and Tan, CVPR 2015, without ties.
    """
    _check_graded(total_QxD, at_least_TxQxD, None)
    # At rank i of a tie, with j = i-N-1 ranks of the tie before it, the expectation of
    # [s_i > 0] (s_1 + ... + s_i) is (p/n) S_< + S/n + j (p-1) S / (n (n-1)).
    relevant_QxD, shared_QxD = at_least_TxQxD[0], at_least_TxQxD.sum(axis=0)
    h_QxD, share_QxD = tie_means(items_before(total_QxD), total_QxD)
    r_QxD = (relevant_QxD - 1) / jnp.maximum(total_QxD - 1, 1)
    sum_Q = pairwise_sum(
        relevant_QxD * (h_QxD * items_before(shared_QxD)) + shared_QxD * (h_QxD + r_QxD * share_QxD)
    )
    return sum_Q / jnp.maximum(relevant_QxD.sum(axis=1), 1)


def _check_graded(total, at_least, k):
    if at_least.ndim != 3 or len(at_least) == 0:
        raise ValueError(
            f"at_least has shape {at_least.shape}; pass (levels, queries, distances) counts, "
            "one level for each number of shared labels from 1"
        )
    check_counts(total, at_least[0])
    if k is not None and k < 1:
        raise ValueError(f"k={k}; pass at least 1 rank")
