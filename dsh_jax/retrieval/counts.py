"""Distance counts: all that is known of a Hamming ranking, in two small matrices.

For each query, total_QxD counts the database items at each Hamming distance d = 0 ... K, and
relevant_QxD those of them that share a label with the query. A Hamming distance takes only D = K+1
values, so nearly all ranks are ties, and every metric that does not depend on the database's order
is a function of these counts (metrics.py, graded.py).
"""

from __future__ import annotations

import functools
import itertools
import time

import jax
import numpy as np

from dsh_jax import parallel
from dsh_jax.codes import check_codes
from dsh_jax.progress import log_progress
from dsh_jax.retrieval import all_codes, bit_planes, scatter
from dsh_jax.retrieval.blocks import database_blocks, label_words, padded, words
from dsh_jax.typed import Array

METHODS = {"bit_planes": bit_planes, "scatter": scatter}
QUERY_BLOCK = 4096
DATABASE_BLOCK = 65_536


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
    database_block: int = DATABASE_BLOCK,
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
      method: "all_codes" (up to 16 bits), "bit_planes", "scatter", or the fastest by "auto".
      query_block: queries in work at a time.
      database_block: database items in work at a time on each device.

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
    database_block: int = DATABASE_BLOCK,
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
    _check(query_QxW, query_label_QxC, database_RxW, database_label_RxC, bits)
    query_label_QxC = query_label_QxC > 0
    if shared is None:
        shared = tuple(range(1, max(int(query_label_QxC.sum(axis=1).max()), 1) + 1))
    shared = tuple(np.atleast_1d(np.asarray(shared)).tolist())
    if not shared or min(shared) < 1 or any(b <= a for a, b in itertools.pairwise(shared)):
        raise ValueError(f"shared={shared}; pass increasing numbers of labels, 1 or more")
    if query_block < 1 or database_block < 1:
        raise ValueError(
            f"query_block={query_block} and database_block={database_block}; "
            "pass at least 1 for each"
        )
    if mask_R is not None:
        mask_R = np.asarray(mask_R)
        if mask_R.shape != database_RxW.shape[:1] or mask_R.dtype != bool or not mask_R.any():
            raise ValueError(
                f"mask_R has shape {mask_R.shape} and type {mask_R.dtype}; pass a bool for each of "
                f"the {len(database_RxW)} database rows, at least one of them true"
            )
    if method == "auto":
        method = _fastest(query_QxW, query_label_QxC, database_RxW, bits, len(shared))
    arguments = query_QxW, query_label_QxC, database_RxW, database_label_RxC
    self_counts = None
    if self_Q is not None:
        self_counts = _self_counts(*arguments, bits, shared, mask_R, np.asarray(self_Q))
    if mask_R is not None:
        arguments = *arguments[:2], database_RxW[mask_R], database_label_RxC[mask_R]
    if method == "all_codes" and bits <= all_codes.MOST_BITS:
        count_TxQxD = _count_all_codes(*arguments, bits, shared, database_block)
    elif method in METHODS:
        count_TxQxD = _count(*arguments, bits, shared, METHODS[method], query_block, database_block)
    else:
        raise ValueError(
            f'method={method!r} for {bits} bits; pass "auto", "scatter", "bit_planes" or, '
            f'up to {all_codes.MOST_BITS} bits, "all_codes"'
        )
    if self_counts is not None:
        count_TxQxD = count_TxQxD - self_counts
    return count_TxQxD[0], count_TxQxD[1:]


def _count(query, query_label, database, database_label, bits, shared, kernel, query_block, block):
    """Count by a kernel that adds the counts of one block of the database."""
    step = _step(kernel, query_label.shape[1], shared)
    counts, started = [], time.monotonic()
    for start in range(0, len(query), query_block):
        stop = min(start + query_block, len(query))
        rows = _padded_rows(stop - start, 16)
        queries = (
            padded(words(query[start:stop]), rows),
            kernel.query_labels(padded(query_label[start:stop], rows)),
            np.int32(stop - start),
        )
        shape = rows, bits + 1, 1 + len(shared)
        parts = start / len(query), stop / len(query), started
        count_QxDxT = _add_up(step, shape, queries, database, database_label, block, parts)
        counts.append(count_QxDxT[: stop - start])
    return np.concatenate(counts).transpose(2, 0, 1)


def _add_up(step, shape, common, database, database_label, block, parts):
    """Add the counts of all blocks of the database, and of all devices.

    Parts are the shares of all work that are done before and after it, and when all work began.
    """
    devices = parallel.device_count()
    before, after, started = parts
    count, done = np.zeros((devices, *shape), np.int32), 0
    for items, arrays in database_blocks(database, database_label, devices=devices, block=block):
        previous, count = count, step(count, common, arrays)
        # One block is in work and one waits; more would only take memory.
        jax.block_until_ready(previous)
        done += items
        share = before + (after - before) * done / len(database)
        log_progress("counting distances", share, started)
    return np.asarray(count).sum(axis=0, dtype=np.int32)


@functools.lru_cache
def _step(kernel, classes, shared):
    """The kernel over the devices; cached, so that it is compiled once."""

    def add_block(count, queries, block):
        return kernel.add_block(count, *queries, *block, classes=classes, shared=shared)

    return parallel.parallel_blocks(add_block)


def _count_all_codes(query, query_label, database, database_label, bits, shared, block):
    """Count for each different set of labels among the queries and for every possible code."""
    set_SxU, set_Q = np.unique(label_words(query_label), axis=0, return_inverse=True)
    sets = np.int32(len(set_SxU)), _padded_rows(len(set_SxU), 1)
    set_SxU = padded(set_SxU, sets[1])
    step, shape = _all_codes_step(shared), (sets[1], 1 + len(shared), 1 << bits)
    parts = 0, 1, time.monotonic()
    common = set_SxU, sets[0]
    table_SxTxM = _add_up(step, shape, common, database, database_label, block, parts)
    rows = _padded_rows(len(query), 16)
    code_Q = padded(words(query), rows)[:, 0].astype(np.int32)
    set_Q = np.pad(set_Q.reshape(-1), (0, rows - len(query))).astype(np.int32)
    # All items count whatever their labels, so that one table serves every query.
    total = all_codes.look_up(table_SxTxM[:1, :1], 0 * set_Q, code_Q, np.int32(1), bits=bits)
    at_least = all_codes.look_up(table_SxTxM[:, 1:], set_Q, code_Q, sets[0], bits=bits)
    count_QxTxD = np.concatenate([total, at_least], axis=1)[: len(query)]
    return count_QxTxD.transpose(1, 0, 2)


@functools.lru_cache
def _all_codes_step(shared):
    def add_block(table, common, block):
        set_SxU, sets = common
        code_NxV, label_NxU, items = block
        code_N = code_NxV[:, 0].astype(np.int32)
        return all_codes.add_block(table, set_SxU, sets, code_N, label_NxU, items, shared=shared)

    return parallel.parallel_blocks(add_block)


def _padded_rows(rows, least):
    """Round up to a power of two, so that data sets share compilations."""
    return max(least, 1 << (rows - 1).bit_length())


def _fastest(query, query_label, database, bits, levels):
    """Choose by what was measured on one core of a CPU; a GPU has not been measured."""
    pairs = len(query) * len(database)
    if bits <= all_codes.MOST_BITS:
        sets = len(np.unique(label_words(query_label), axis=0))
        # Nanoseconds: a scatter an item and set, and the table of every code at every distance.
        tables = sets * (2 * len(database) + 5 * levels * (bits + 1) * 2**bits)
        if tables < 0.006 * (bits + 1) * pairs:
            return "all_codes"
    is_cpu = jax.default_backend() == "cpu"
    return "bit_planes" if is_cpu and bits <= 128 and len(database) >= 2048 else "scatter"


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


def _check(query, query_label, database, database_label, bits):
    check_codes(query, "query", bits=bits)
    check_codes(database, "database", bits=bits)
    _check_unused_bits(query, bits, "query")
    _check_unused_bits(database, bits, "database")
    _check_labels(query_label, query, "query")
    _check_labels(database_label, database, "database")
    if query_label.shape[1] != database_label.shape[1]:
        raise ValueError(
            f"query labels have {query_label.shape[1]} classes, database labels "
            f"{database_label.shape[1]}; encode both over the same classes"
        )


def _check_unused_bits(code, bits, name):
    unused = code[:, -1] >> (bits % 8) if bits % 8 else np.zeros(1, np.uint8)
    if unused.any():
        raise ValueError(
            f"{name} has codes with bits beyond the first {bits} set; pass the number of bits that "
            "they were packed from"
        )


def _check_labels(label, code, name):
    if label.ndim != 2 or len(label) != len(code) or label.shape[1] == 0:
        raise ValueError(
            f"{name} labels have shape {label.shape}, its codes {code.shape}; "
            f"wanted ({len(code)}, classes); pass one multi-hot row per code"
        )
    if label.dtype.kind == "f" and np.isnan(label).any():
        raise ValueError(f"{name} labels have a NaN; pass 1 for present and 0 for absent")
