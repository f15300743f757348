"""Distance counts: all that is known of a Hamming ranking, in two small matrices.

For each query, total_QxD counts the database items at each Hamming distance d = 0 ... K, and
relevant_QxD those of them that share a label with the query. A Hamming distance takes only D = K+1
values, so nearly all ranks are ties, and every metric that does not depend on the database's order
is a function of these counts (metrics.py, graded.py).
"""

from __future__ import annotations

import numpy as np

from dsh_jax.retrieval.checks import check_labels, check_packed
from dsh_jax.retrieval.counting import QUERY_BLOCK
from dsh_jax.retrieval.index import Index
from dsh_jax.typed import Array


def distance_counts(
    query_QxW: Array,
    query_label_QxC: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    *,
    bits: int,
    shared: int = 1,
    mask_R: Array | None = None,
    self_Q: Array | None = None,
    method: str = "auto",
    query_block: int = QUERY_BLOCK,
    database_block: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the database items, and the relevant ones, at each distance from each query.

    total[q, d] = #{r : d(q, r) = d},  relevant[q, d] = #{r : d(q, r) = d, q and r share labels}.
    The counts of the parts of a database add up to the counts of the whole.

    The database is cut into blocks, spread over the local devices; it may be a memory map. Memory
    grows with the blocks, never with Q × R.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      query_label_QxC: multi-hot labels of any type; above 0 is present.
      database_RxW: packed codes, uint8.
      database_label_RxC: multi-hot labels.
      bits: the code length K; the codes' bits beyond it must be 0, as `pack_bits` leaves them.
      shared: how many labels a relevant item shares with the query, at least.
      mask_R: bool, the database rows that count; None for all.
      self_Q: the database row that is the query itself and does not count, or -1; None for none.
      method: "all_codes" (up to 16 bits), "bit_planes", "class_planes" (one label an item),
        "scatter", or the fastest by "auto".
      query_block: queries in work at a time.
      database_block: database items in work at a time on each device; None for the method's own.

    Returns:
      (total_QxD, relevant_QxD), int32 counts of items, D = K + 1.

    Raises:
      ValueError: if codes, labels and bits do not fit together, or a setting is out of range.
    """
    total_QxD, (relevant_QxD,) = shared_label_counts(
        query_QxW,
        query_label_QxC,
        database_RxW,
        database_label_RxC,
        bits=bits,
        shared=(shared,),
        mask_R=mask_R,
        self_Q=self_Q,
        method=method,
        query_block=query_block,
        database_block=database_block,
    )
    return total_QxD, relevant_QxD


def shared_label_counts(
    query_QxW: Array,
    query_label_QxC: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    *,
    bits: int,
    shared: tuple[int, ...] | None = None,
    mask_R: Array | None = None,
    self_Q: Array | None = None,
    method: str = "auto",
    query_block: int = QUERY_BLOCK,
    database_block: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count the items at each distance that share 1, 2, 3, … labels with each query.

    at_least[t, q, d] = #{r : d(q, r) = d, q and r share at least shared[t] labels}

    Args:
      query_QxW, query_label_QxC, database_RxW, database_label_RxC: see `distance_counts`.
      bits: the code length K.
      shared: increasing numbers of labels, 1 or more; None for 1, 2, … up to the most labels that
        a query has, which is what graded relevance needs.
      mask_R, self_Q, method, query_block, database_block: see `distance_counts`.

    Returns:
      (total_QxD, at_least_TxQxD), int32 counts of items, T = len(shared).

    Raises:
      ValueError: if codes, labels and bits do not fit together, or a setting is out of range.
    """
    query_QxW, query_label_QxC = np.asarray(query_QxW), np.asarray(query_label_QxC)
    database_RxW, database_label_RxC = np.asarray(database_RxW), np.asarray(database_label_RxC)
    check_packed(query_QxW, bits, "query")
    check_packed(database_RxW, bits, "database")
    check_labels(database_label_RxC, database_RxW, "database")
    rows = slice(None)
    if mask_R is not None:
        rows = np.asarray(mask_R)
        if rows.shape != database_RxW.shape[:1] or rows.dtype != bool or not rows.any():
            raise ValueError(
                f"mask_R has shape {rows.shape} and type {rows.dtype}; pass a bool for each of "
                f"the {len(database_RxW)} database rows, at least one of them true"
            )
    index = Index(database_RxW[rows], bits, database_label_RxC[rows])
    total_QxD, at_least_TxQxD = index.counts(
        query_QxW,
        query_label_QxC,
        shared=shared,
        method=method,
        query_block=query_block,
        database_block=database_block,
    )
    if self_Q is None:
        return total_QxD, at_least_TxQxD
    numbers = range(1, len(at_least_TxQxD) + 1) if shared is None else shared
    numbers = np.atleast_1d(np.asarray(numbers)).tolist()
    arguments = query_QxW, query_label_QxC > 0, database_RxW, database_label_RxC
    self_TxQxD = _self_counts(*arguments, bits, numbers, mask_R, np.asarray(self_Q))
    return total_QxD - self_TxQxD[0], at_least_TxQxD - self_TxQxD[1:]


def _self_counts(query, query_label, database, database_label, bits, shared, mask_R, self_Q):
    """The counts of the database rows that are the queries themselves."""
    if (
        self_Q.shape != (len(query),)
        or self_Q.dtype.kind not in "iu"
        or (self_Q >= len(database)).any()
    ):
        raise ValueError(
            f"self_Q has shape {self_Q.shape}, type {self_Q.dtype} and maximum "
            f"{self_Q.max(initial=-1)}; pass one database row number below {len(database)} for "
            f"each of the {len(query)} queries, or -1"
        )
    counted_Q = self_Q >= 0 if mask_R is None else (self_Q >= 0) & mask_R[self_Q]
    q_E = np.flatnonzero(counted_Q)
    code, label = database[self_Q[q_E]], database_label[self_Q[q_E]] > 0
    distance_E = np.bitwise_count(query[q_E] ^ code).sum(axis=1)
    common_E = (query_label[q_E] & label).sum(axis=1)
    count_TxQxD = np.zeros((1 + len(shared), len(query), bits + 1), np.int32)
    for t, number in enumerate((0, *shared)):
        count_TxQxD[t, q_E, distance_E] = common_E >= number
    return count_TxQxD
