"""Rankings by real-valued distances that add up over the bits: weighted Hamming and asymmetric.

  d(q, r) = offset_q + Σ_k weight_qk b_rk,  b_rk the bits, 0 or 1, of the database item r.

Items of equal distance are tied: a ranking is counted by tie groups, nearest first, as a Hamming
ranking is by distances (counts.py), and takes the same metrics. There may be as many groups as
items, so a metric goes over a few queries at a time.

Equal distances must come out equal, but a sum of floats depends on its order. So a query's weights
are rounded to int32 multiples of a power of two, at most 2^-28 of the sum of their sizes. Their
sums are exact in any order, finer than those of float32, and equal weights stay equal.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsh_jax.codes import check_codes, unpack_bits
from dsh_jax.progress import log_progress
from dsh_jax.retrieval.blocks import block_rows, label_words, padded
from dsh_jax.sums import pairwise_sum
from dsh_jax.typed import Array, jit

DATABASE_BLOCK = 65_536


def weighted_hamming(
    query_QxW: Array, weight_K: Array, *, bits: int
) -> tuple[jax.Array, jax.Array]:
    """Weigh the bits in which two codes differ: d(q, r) = Σ_k w_k [q_k ≠ b_rk].

    offset_q = Σ_k w_k q_k,  weight_qk = w_k (1 - 2 q_k)

    Not to be called under jit: it looks at the weights.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      weight_K: real w_k, 0 or more: with a negative one, codes that differ would be nearer. They
        are rounded to 2^-22 of their sum or finer, so that a code is exactly at 0 from itself.
      bits: the code length K.

    Returns:
      (offset_Q, weight_QxK), float32.

    Raises:
      ValueError: if codes, weights and bits do not fit together, or a weight is negative or NaN.

    Source: Zhang, Lin, Zhang, Zuo and Zhang, IEEE TIP 2015 (DRSCH), whose w_k is the square of the
    scale that training gives to bit k.
    """
    check_codes(query_QxW, "query", bits=bits)
    weight_K = np.asarray(weight_K, np.float32)
    if weight_K.shape != (bits,) or not (np.isfinite(weight_K) & (weight_K >= 0)).all():
        raise ValueError(
            f"weight has shape {weight_K.shape} and minimum {weight_K.min(initial=np.inf)}; wanted "
            f"({bits},) finite values, 0 or more; where a scale has a sign, pass its square"
        )
    whole_1xK, unit_1 = _whole(weight_K[None], 23)
    return _weighted_hamming(query_QxW, np.ldexp(whole_1xK, unit_1[:, None]).astype(np.float32))


@jax.jit
def _weighted_hamming(query_QxW, weight_1xK):
    bit_QxK = unpack_bits(query_QxW, weight_1xK.shape[1]).astype(jnp.float32)
    return jnp.sum(weight_1xK * bit_QxK, axis=1), weight_1xK * (1 - 2 * bit_QxK)


@jit
def asymmetric(query_QxK: Array) -> tuple[jax.Array, jax.Array]:
    """Compare real-valued queries with binary items: d(q, r) = -<q, 2 b_r - 1>.

    offset_q = Σ_k q_k,  weight_qk = -2 q_k

    Only the database is rounded to bits; the query keeps how sure it is of each.

    Args:
      query_QxK: real values, above 0 where the bit would be 1: logits, or bcoding - 1/2.

    Returns:
      (offset_Q, weight_QxK), float32. Distances are negative where the signs agree.

    Raises:
      ValueError: if the queries are not a matrix.

    Source: Gordo, Perronnin, Gong and Lazebnik, IEEE TPAMI 2014.
    """
    if query_QxK.ndim != 2:
        raise ValueError(f"query has shape {query_QxK.shape}; pass real values, (queries, bits)")
    query_QxK = query_QxK.astype(jnp.float32)
    return pairwise_sum(query_QxK), jnp.multiply(-2, query_QxK)


def linear_counts(
    offset_Q: Array,
    weight_QxK: Array,
    query_label_QxC: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    *,
    bits: int,
    shared: int | tuple[int, ...] = 1,
    database_block: int = DATABASE_BLOCK,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the database items, and the relevant ones, in each tie group of each query's ranking.

    total[q, g] = #{r : d(q, r) is the g-th smallest},  relevant[q, g] = those that share labels.

    Memory grows with Q × R: for many queries, call `linear_metric`.

    Args:
      offset_Q, weight_QxK: of any sign, from `weighted_hamming`, `asymmetric` or elsewhere. The
        offset moves all items alike, so that it does not matter here.
      query_label_QxC: multi-hot labels of any type; above 0 is present.
      database_RxW: packed codes, uint8.
      database_label_RxC: multi-hot labels.
      bits: the code length K.
      shared: how many labels a relevant item shares with the query, at least; or T increasing such
        numbers, 1 ... T for the metrics of graded.py, at T times the cost.
      database_block: database items in work at a time.

    Returns:
      (total_QxR, relevant_QxR), int32 counts of items, nearest first, the empty groups last; for
      several numbers (total_QxR, at_least_TxQxR).

    Raises:
      ValueError: if the arguments do not fit together, or a weight is not finite.
    """
    arguments = offset_Q, weight_QxK, query_label_QxC, database_RxW, database_label_RxC
    (counts,) = _count_blocks(*arguments, bits, shared, max(len(weight_QxK), 1), database_block)
    total, relevant = counts
    return np.asarray(total), np.asarray(relevant)


def linear_metric(
    metric: Callable[[Array, Array], Any],
    offset_Q: Array,
    weight_QxK: Array,
    query_label_QxC: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    *,
    bits: int,
    shared: int | tuple[int, ...] = 1,
    query_block: int = 16,
    database_block: int = DATABASE_BLOCK,
) -> Any:
    """Apply a metric to the tie groups of a few queries at a time, as many as memory holds.

    Args:
      metric: of (total_BxR, relevant_BxR), as `linear_counts` returns them. Its value is an array
        with one entry a query, or a tree of such arrays: one ranking serves many metrics.
      offset_Q, weight_QxK, query_label_QxC, database_RxW, database_label_RxC, bits, shared,
        database_block: see `linear_counts`.
      query_block: B, queries in work at a time; memory grows with B × R.

    Returns:
      What the metric returns, for all queries.

    Raises:
      ValueError: if the arguments do not fit together, a weight is not finite, or the metric
        returns something else than an entry for each query.
    """
    arguments = offset_Q, weight_QxK, query_label_QxC, database_RxW, database_label_RxC
    queries, values, started = len(weight_QxK), [], time.monotonic()
    for counts in _count_blocks(*arguments, bits, shared, query_block, database_block):
        values.append(jax.tree.map(np.asarray, metric(*counts)))
        for value in jax.tree.leaves(values[-1]):
            if value.shape[:1] != counts[0].shape[:1]:
                raise ValueError(
                    f"the metric returned shape {value.shape} for {len(counts[0])} queries; pass "
                    "one that returns an entry for each, and average them afterwards"
                )
        log_progress("ranking", min(len(values) * query_block / queries, 1), started)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:queries], *values)


def linear_search(
    offset_Q: Array,
    weight_QxK: Array,
    database_RxW: Array,
    k: int,
    *,
    bits: int,
    query_block: int = 64,
    database_block: int = DATABASE_BLOCK,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest database items of each query.

    Args:
      offset_Q, weight_QxK: of any sign, from `weighted_hamming`, `asymmetric` or elsewhere.
      database_RxW: packed codes, uint8.
      k: how many items to return, 1 to R.
      bits: the code length K.
      query_block: queries in work at a time; memory grows with it.
      database_block: database items in work at a time.

    Returns:
      (distance_Qxk, index_Qxk), float32 and int32, nearest first; equal distances by the lower
      index. Distances that differ by less than float32 shows are still in order.

    Raises:
      ValueError: if the arguments do not fit together, or a weight is not finite.
    """
    _check(offset_Q, weight_QxK, database_RxW, bits, query_block, database_block)
    queries, items = len(weight_QxK), len(database_RxW)
    if not 1 <= k <= items:
        raise ValueError(f"k={k}, but the database has {items} items; pass k from 1 to {items}")
    code_BxNxW = _blocks(np.asarray(database_RxW), database_block)
    whole_QxK, unit_Q = _whole(weight_QxK, 29)
    found = [
        _nearest(whole_BxK, code_BxNxW, items, k=k)
        for whole_BxK in _query_blocks(whole_QxK, query_block)
    ]
    sum_Qxk, index_Qxk = (np.concatenate(part)[:queries] for part in zip(*found, strict=True))
    sum_Qxk = np.ldexp(sum_Qxk.astype(np.float64), unit_Q[:, None])
    return (np.asarray(offset_Q)[:, None] + sum_Qxk).astype(np.float32), index_Qxk


def _whole(weight_QxK, digits):
    """The weights as whole multiples of 2^unit, whose sums need so many binary digits."""
    weight_QxK = np.asarray(weight_QxK, np.float64)
    unit_Q = np.frexp(np.abs(weight_QxK).sum(axis=1))[1] - digits
    return np.rint(np.ldexp(weight_QxK, -unit_Q[:, None])).astype(np.int32), unit_Q


def _sums(whole_QxK, code_NxW):
    """The sums of the weights of each item's bits."""
    return whole_QxK @ unpack_bits(code_NxW, whole_QxK.shape[1]).astype(jnp.int32).T


@jax.jit
def _keys(whole_QxK, label_QxU, code_BxNxW, label_BxNxU, items, shared):
    """Twice each item's sum, and one more where it is relevant; padding is behind all items."""
    index_P = jnp.arange(label_BxNxU.shape[0] * label_BxNxU.shape[1])

    def key(block):
        code_NxW, label_NxU, index_N = block
        common_QxN = lax.population_count(label_QxU[:, None] & label_NxU[None]).sum(axis=-1)
        key_QxN = 2 * _sums(whole_QxK, code_NxW) + (common_QxN >= shared)
        return jnp.where((index_N < items)[None], key_QxN, np.iinfo(np.int32).max)

    key_BxQxN = lax.map(key, (code_BxNxW, label_BxNxU, index_P.reshape(label_BxNxU.shape[:2])))
    return key_BxQxN.swapaxes(0, 1).reshape(len(whole_QxK), -1)


def _groups(key_QxP, items):
    """All items, and the relevant ones, by tie group."""
    if jax.default_backend() == "cpu":  # where numpy sorts in a twentieth of XLA's time
        return _groups_on_cpu(np.sort(key_QxP, axis=1)[:, :items])
    total_QxP, relevant_QxP = _groups_on_accelerators(key_QxP, items)
    return total_QxP[:, :items], relevant_QxP[:, :items]


def _groups_on_cpu(key_QxR):
    """The groups of sorted keys."""
    queries, items = key_QxR.shape
    total_QxR, relevant_QxR = np.zeros((2, queries, items), np.int32)
    for key_R, total_R, relevant_R in zip(key_QxR, total_QxR, relevant_QxR, strict=True):
        # Keys of one sum differ in the lowest bit at most.
        is_last_R = np.append((key_R[1:] ^ key_R[:-1]).view(np.uint32) > 1, True)
        last_G = np.flatnonzero(is_last_R)
        count_R = np.cumsum(key_R & 1, dtype=np.int32)
        total_R[: len(last_G)] = np.diff(last_G, prepend=-1)
        relevant_R[: len(last_G)] = np.diff(count_R[last_G], prepend=0)
    return total_QxR, relevant_QxR


@jax.jit
def _groups_on_accelerators(key_QxP, items):
    # A single integer an item: XLA sorts pairs, and floats, at a quarter of the speed.
    key_QxP = lax.sort(key_QxP, is_stable=False)
    sum_QxP, is_relevant_QxP = key_QxP >> 1, key_QxP & 1
    group_QxP = jnp.cumsum(jnp.diff(sum_QxP, prepend=sum_QxP[:, :1]) != 0, axis=1)
    is_item_QxP = (jnp.arange(key_QxP.shape[1]) < items).astype(jnp.int32)[None]
    is_item_QxP = jnp.broadcast_to(is_item_QxP, key_QxP.shape)
    count = jax.vmap(lambda group_P, mark_P: jnp.zeros_like(group_P).at[group_P].add(mark_P))
    return count(group_QxP, is_item_QxP), count(group_QxP, is_item_QxP * is_relevant_QxP)


@functools.partial(jax.jit, static_argnames="k")
def _nearest(whole_QxK, code_BxNxW, items, *, k):
    """The k smallest sums of each query, and their items."""
    blocks, rows, _ = code_BxNxW.shape
    far = 1 << 30  # beyond every sum

    def add_block(b, nearest):
        near_Qxk, index_Qxk = nearest
        index_N = b * rows + jnp.arange(rows)
        # Positive floats are in the order of their bits, and top_k is fast for floats only.
        near_QxN = lax.bitcast_convert_type(far - _sums(whole_QxK, code_BxNxW[b]), jnp.float32)
        near_QxN = jnp.where((index_N < items)[None], near_QxN, 0)
        index_QxN = jnp.broadcast_to(index_N[None], near_QxN.shape)
        # Of equal ones top_k takes the first; those found before have the lower indices.
        near_Qxk, place_Qxk = lax.top_k(jnp.concatenate([near_Qxk, near_QxN], axis=1), k)
        index_QxM = jnp.concatenate([index_Qxk, index_QxN], axis=1)
        return near_Qxk, jnp.take_along_axis(index_QxM, place_Qxk, axis=1)

    nothing = jnp.zeros((len(whole_QxK), k), jnp.float32)
    near_Qxk, index_Qxk = lax.fori_loop(0, blocks, add_block, (nothing, nothing.astype(jnp.int32)))
    return far - lax.bitcast_convert_type(near_Qxk, jnp.int32), index_Qxk


def _count_blocks(
    offset, weight, query_label, database, database_label, bits, shared, query_block, block
):
    """The tie groups of one block of queries after another, the last one filled up."""
    numbers = shared if isinstance(shared, tuple) else (shared,)
    _check(offset, weight, database, bits, query_block, block)
    _check_labels(query_label, weight, database_label, database, numbers)
    arrays = (
        _blocks(np.asarray(database), block),
        _blocks(label_words(np.asarray(database_label)), block),
        len(database),
    )
    whole_QxK, _ = _whole(weight, 29)
    label_QxU = label_words(np.asarray(query_label))
    for queries in zip(
        _query_blocks(whole_QxK, query_block), _query_blocks(label_QxU, query_block), strict=True
    ):
        counts = [_groups(_keys(*queries, *arrays, number), len(database)) for number in numbers]
        total_BxR = jnp.asarray(counts[0][0])
        at_least_TxBxR = jnp.stack([relevant for _, relevant in counts])
        yield total_BxR, at_least_TxBxR if isinstance(shared, tuple) else at_least_TxBxR[0]


def _blocks(row_RxV, block):
    """The database in equal blocks, the last one filled up."""
    rows = len(row_RxV)
    size = min(block, block_rows(-(-rows // -(-rows // block))))
    blocks = -(-rows // size)
    return jnp.asarray(padded(row_RxV, blocks * size).reshape(blocks, size, -1))


def _query_blocks(row_QxV, block):
    """The queries in blocks, the last one filled up."""
    block = min(block, 1 << (len(row_QxV) - 1).bit_length())
    for start in range(0, len(row_QxV), block):
        yield padded(row_QxV[start : start + block], block)


def _check(offset, weight, database, bits, query_block, database_block):
    check_codes(database, "database", bits=bits)
    if weight.ndim != 2 or len(weight) == 0 or weight.shape[1] != bits:
        raise ValueError(
            f"weight has shape {weight.shape}; wanted (queries, {bits}); pass one weight for each "
            "query and bit, from weighted_hamming or asymmetric"
        )
    if offset.shape != weight.shape[:1]:
        raise ValueError(
            f"offset has shape {offset.shape}, weight {weight.shape}; pass one offset a query"
        )
    if not (np.isfinite(offset).all() and np.isfinite(weight).all()):
        raise ValueError("an offset or weight is NaN or infinite; look for it in the queries")
    if query_block < 1 or database_block < 1:
        raise ValueError(
            f"query_block={query_block} and database_block={database_block}; "
            "pass at least 1 for each"
        )


def _check_labels(query_label, weight, database_label, database, shared):
    wanted = len(weight), len(database)
    if (len(query_label), len(database_label)) != wanted or (
        query_label.ndim != 2 or query_label.shape[1:] != database_label.shape[1:]
    ):
        raise ValueError(
            f"query labels have shape {query_label.shape}, database labels "
            f"{database_label.shape}; wanted ({wanted[0]}, classes) and ({wanted[1]}, classes); "
            "pass one multi-hot row for each query and item, the same classes"
        )
    if not shared or min(shared) < 1 or any(b <= a for a, b in itertools.pairwise(shared)):
        raise ValueError(f"shared={shared}; pass increasing numbers of labels, 1 or more")
