"""Metrics of one ranking, its ties broken by some order: what most other evaluators compute.

Only these numbers depend on the order of the database. A Hamming distance has few values, so most
ranks are ties, and which of the tied items comes first is decided by how the files happened to be
listed. The numbers of `tie_aware` are expectations over every order of the ties: no reordering of
the database changes them, so they are the headline, and these are for comparison with others.
"""

import concurrent.futures
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsh_jax.codes import check_codes
from dsh_jax.retrieval import Index
from dsh_jax.retrieval.blocks import label_words
from dsh_jax.sums import pairwise_sum
from dsh_jax.typed import Array


def ranked_relevance(
    query_QxW: Array,
    query_label_QxC: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    k: int,
    *,
    ties: str = "stable",
    seed: int | None = None,
    query_block: int = 64,
) -> jax.Array:
    """Rank the database for each query and say which of the first k items are relevant.

    relevant[q, i] = 1 where q and the item at rank i+1 share a label.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      query_label_QxC: multi-hot labels of any type; above 0 is present.
      database_RxW: packed codes, uint8.
      database_label_RxC: multi-hot labels.
      k: depth of the ranking, 1 to R.
      ties: equal distances by the lower row ("stable"), or by the lower row after the rows were
        permuted ("random"); one permutation serves all queries.
      seed: of that permutation; for "random" only.
      query_block: queries in work at a time; memory grows with query_block x R.

    Returns:
      bool array, nearest first, shape (Q, k).

    Raises:
      ValueError: if codes, labels and k do not fit together, or ties and seed do not.
    """
    _check_labels(query_QxW, query_label_QxC, database_RxW, database_label_RxC)
    _check_ties(ties, seed)
    if query_block < 1:
        raise ValueError(f"query_block={query_block}; pass at least 1")
    if ties == "random":
        order_R = np.random.default_rng(seed).permutation(len(database_RxW))
        database_RxW, database_label_RxC = database_RxW[order_R], database_label_RxC[order_R]
    # As bit masks: two rows share a label where the AND of their words is not zero.
    query_label_QxV = jnp.asarray(label_words(np.asarray(query_label_QxC)))
    database_label_RxV = jnp.asarray(label_words(np.asarray(database_label_RxC)))
    index = Index(database_RxW, 8 * database_RxW.shape[1])
    relevant = []
    for start in range(0, len(query_QxW), query_block):
        block = slice(start, start + query_block)
        _, index_Bxk = index.search(query_QxW[block], k)
        label_BxkxV = database_label_RxV[index_Bxk]
        relevant.append(jnp.any(query_label_QxV[block, None] & label_BxkxV, axis=-1))
    return jnp.concatenate(relevant)


def average_precision_stable(
    query_QxW: Array,
    query_label_QxC: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    *,
    ties: str = "stable",
    seed: int | None = None,
) -> np.ndarray:
    """Average precision of the whole ranking of each query, ties in the database's order.

    AP = (1/P) Σ_i rel_i M_i / i,  M_i the relevant items among the first i.

    Runs on the host, a thread for each processor: numpy sorts many times as fast as XLA on a CPU.
    `metrics.average_precision` needs no order and is far faster.

    Args:
      query_QxW, query_label_QxC, database_RxW, database_label_RxC: see `ranked_relevance`.
      ties, seed: see `ranked_relevance`.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if codes and labels do not fit together, or ties and seed do not.
    """
    arrays = query_QxW, query_label_QxC, database_RxW, database_label_RxC
    query_QxW, query_label_QxC, database_RxW, database_label_RxC = map(np.asarray, arrays)
    check_codes(query_QxW, "query", bits=8 * database_RxW.shape[-1])
    check_codes(database_RxW, "database")
    _check_labels(query_QxW, query_label_QxC, database_RxW, database_label_RxC)
    _check_ties(ties, seed)
    if ties == "random":
        order_R = np.random.default_rng(seed).permutation(len(database_RxW))
        database_RxW, database_label_RxC = database_RxW[order_R], database_label_RxC[order_R]
    # Columns of whole words are contiguous, and few.
    query_QxV, database_VxR = _long_words(query_QxW), _long_words(database_RxW).T.copy()
    query_label_QxU = label_words(query_label_QxC)
    database_label_UxR = label_words(database_label_RxC).T.copy()
    # Distance above row above relevance: sorting such keys needs no order and no gather.
    shift = len(database_RxW).bit_length() + 1
    is_narrow = shift + (8 * database_RxW.shape[1]).bit_length() <= 32
    row_R = np.arange(len(database_RxW), dtype=np.uint32 if is_narrow else np.uint64) << 1

    def of_query(query_V, label_U):
        key_R = np.zeros_like(row_R)
        for word_R, word in zip(database_VxR, query_V, strict=True):
            key_R += np.bitwise_count(word_R ^ word)
        key_R <<= shift
        key_R |= row_R
        shares = zip(database_label_UxR, label_U, strict=True)
        key_R |= functools.reduce(np.logical_or, ((a & b) != 0 for a, b in shares))
        key_R.sort()
        rank_P = np.flatnonzero((key_R & 1).astype(bool)) + 1
        return np.sum(np.arange(1, len(rank_P) + 1) / rank_P) / max(len(rank_P), 1)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.fromiter(threads.map(of_query, query_QxV, query_label_QxU), np.float32)


@functools.partial(jax.jit, static_argnames=("k", "denominator"))
def average_precision_ranked(
    relevant_QxN: Array,
    relevant_Q: Array | None = None,
    *,
    k: int | None = None,
    denominator: str = "total",
) -> jax.Array:
    """Average precision among the first k ranks of each query.

    AP@k = (1/Z) Σ_{i ≤ k} rel_i M_i / i,  M_i the relevant items among the first i.

    Args:
      relevant_QxN: 1 where the item at that rank is relevant, nearest first.
      relevant_Q: int, relevant items in the whole database; needed for "total" and "min".
      k: ranks to look at, 1 to N; all N by default.
      denominator: Z. "total" takes relevant_Q, "min" the smaller of k and relevant_Q, and "in_topk"
        M_k, so that a single hit at rank 1 scores 1 however many relevant items are missed.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item in the first k.

    Raises:
      ValueError: if a shape, k or denominator is wrong, or relevant_Q is missing.

    Source: the textbook's is "total" with k = N (Manning, Raghavan and Schütze, 2008).
    """
    k = relevant_QxN.shape[-1] if k is None else k
    _check_ranking(relevant_QxN, k)
    if denominator not in ("total", "in_topk", "min"):
        raise ValueError(f'denominator={denominator!r}; pass "total", "in_topk" or "min"')
    if denominator != "in_topk":
        _check_relevant(relevant_Q, relevant_QxN, f"denominator={denominator!r}")
    rank_k = jnp.arange(1, k + 1)

    def sum_and_hits(relevant_k):
        hits_k = jnp.cumsum(relevant_k > 0)
        return pairwise_sum(jnp.where(relevant_k > 0, hits_k / rank_k, 0)), hits_k[-1]

    # A few queries at a time: all at once would take gigabytes for a whole ranking.
    sum_Q, hits_Q = lax.map(sum_and_hits, relevant_QxN[:, :k], batch_size=16)
    if denominator == "in_topk":
        z_Q = hits_Q
    else:
        assert relevant_Q is not None  # checked above
        z_Q = relevant_Q if denominator == "total" else jnp.minimum(k, relevant_Q)
    return sum_Q / jnp.maximum(z_Q, 1)


@functools.partial(jax.jit, static_argnames="k")
def precision_ranked(relevant_QxN: Array, k: int) -> jax.Array:
    """Precision among the first k ranks of each query: P@k = M_k / k.

    Args:
      relevant_QxN: 1 where the item at that rank is relevant, nearest first.
      k: ranks to look at, 1 to N.

    Returns:
      float32 array in [0, 1], shape (Q,).

    Raises:
      ValueError: if the shape or k is wrong.
    """
    _check_ranking(relevant_QxN, k)
    return jnp.sum(relevant_QxN[:, :k] > 0, axis=1) / k


@functools.partial(jax.jit, static_argnames="k")
def recall_ranked(relevant_QxN: Array, relevant_Q: Array, k: int) -> jax.Array:
    """Recall among the first k ranks of each query: R@k = M_k / M.

    Args:
      relevant_QxN: 1 where the item at that rank is relevant, nearest first.
      relevant_Q: M, int, relevant items in the whole database.
      k: ranks to look at, 1 to N.

    Returns:
      float32 array in [0, 1], shape (Q,); 0 for a query without any relevant item.

    Raises:
      ValueError: if a shape or k is wrong.
    """
    _check_ranking(relevant_QxN, k)
    _check_relevant(relevant_Q, relevant_QxN, "recall")
    return jnp.sum(relevant_QxN[:, :k] > 0, axis=1) / jnp.maximum(relevant_Q, 1)


def _check_ranking(relevant_QxN, k):
    if relevant_QxN.ndim != 2:
        raise ValueError(
            f"the ranking has shape {relevant_QxN.shape}; pass (queries, ranks), "
            "from ranked_relevance"
        )
    if not 1 <= k <= relevant_QxN.shape[1]:
        raise ValueError(
            f"k={k}, but the ranking is {relevant_QxN.shape[1]} deep; "
            "rank deeper with ranked_relevance or pass a smaller k"
        )


def _check_relevant(relevant_Q, relevant_QxN, what):
    if relevant_Q is None or relevant_Q.shape != relevant_QxN.shape[:1]:
        found = None if relevant_Q is None else f"of shape {relevant_Q.shape}"
        raise ValueError(
            f"{what} needs the relevant items of the whole database, relevant_Q of shape "
            f"{relevant_QxN.shape[:1]}, found {found}; sum relevant_QxD of distance_counts over D"
        )


def _long_words(byte_NxW):
    """Bytes as zero-padded 64-bit words."""
    return np.pad(byte_NxW, ((0, 0), (0, -byte_NxW.shape[1] % 8))).view("<u8")


def _check_labels(query, query_label, database, database_label):
    if (len(query_label), len(database_label)) != (len(query), len(database)) or (
        query_label.shape[1:] != database_label.shape[1:] or query_label.ndim != 2
    ):
        raise ValueError(
            f"query labels have shape {query_label.shape}, database labels "
            f"{database_label.shape}; wanted ({len(query)}, classes) and "
            f"({len(database)}, classes); pass one multi-hot row per code, the same classes"
        )


def _check_ties(ties, seed):
    if ties not in ("stable", "random"):
        raise ValueError(f'ties={ties!r}; pass "stable" or "random"')
    if (ties == "random") != (seed is not None):
        raise ValueError(f'ties="{ties}" and seed={seed}; pass a seed with ties="random" only')
