"""Exact search for the nearest codes."""

from __future__ import annotations

import functools
import itertools
import time
from typing import Any

import jax
import numpy as np

from dsh_jax import parallel
from dsh_jax.codes import check_codes
from dsh_jax.progress import log_progress
from dsh_jax.retrieval import direct_search, group_search
from dsh_jax.retrieval.blocks import words
from dsh_jax.typed import Array

METHODS = {"direct": direct_search, "groups": group_search}
SHARD = group_search.MOST_ITEMS  # items to a device at a time


def search(
    query_QxW: Array,
    database_RxW: Array,
    k: int,
    *,
    method: str = "auto",
    query_block: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest database items of each query, exactly.

    The database is cut into shards, spread over the local devices; their nearest are merged.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      database_RxW: packed codes, uint8, of the same width; may be a memory map.
      k: how many items to return, 1 to R.
      method: "groups" (up to 128 bits), "direct", or the faster by "auto".
      query_block: queries in work at a time; memory grows with it.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first; equal distances by the lower index.

    Raises:
      ValueError: if codes are not bytes of one width, or k or a setting is out of range.
    """
    query_QxW, database_RxW = np.asarray(query_QxW), np.asarray(database_RxW)
    _check(query_QxW, database_RxW, k, query_block)
    queries, items = len(query_QxW), len(database_RxW)
    devices = parallel.device_count()
    rounds = -(-items // (devices * SHARD))
    cut = np.linspace(0, items, rounds * devices + 1).astype(int)
    size = int(np.diff(cut).max())
    kernel = _kernel(method, size, 8 * query_QxW.shape[1])
    step = _step(kernel, min(k, size))
    rows = min(query_block, 1 << (queries - 1).bit_length())
    query_QxV = np.pad(words(query_QxW), ((0, -queries % rows), (0, 0)))
    nearest = None
    started = time.monotonic()
    for r in range(rounds):
        bounds = cut[r * devices : (r + 1) * devices + 1]
        block = _block(database_RxW, bounds, kernel)
        found = []
        for start in range(0, queries, rows):
            found.append(step((), query_QxV[start : start + rows], block))
            # One block of queries is in work and one waits.
            jax.block_until_ready(found[-2:-1])
            done = r + min(start + rows, queries) / queries
            log_progress("searching", done / rounds, started)
        distance_GxQxk = np.concatenate([np.asarray(x[0]) for x in found], axis=1)[:, :queries]
        index_GxQxk = np.concatenate([np.asarray(x[1]) for x in found], axis=1)[:, :queries]
        index_GxQxk = index_GxQxk + bounds[:-1, None, None].astype(np.int32)
        nearest = _merge(nearest, distance_GxQxk, index_GxQxk, k)
    assert nearest is not None  # there is an item at least
    return nearest


def _kernel(method, items, bits) -> Any:
    """The faster, by what was measured on a CPU; a GPU has not been measured."""
    fits = bits <= group_search.MOST_BITS
    if method == "auto":
        is_cpu = jax.default_backend() == "cpu"
        method = "groups" if is_cpu and fits and items >= 16_384 else "direct"
    if method not in METHODS or (method == "groups" and not fits):
        raise ValueError(
            f'method={method!r} for {bits} bits; pass "auto", "direct" or, up to '
            f'{group_search.MOST_BITS} bits, "groups"'
        )
    return METHODS[method]


@functools.lru_cache
def _step(kernel, k):
    return parallel.parallel_blocks(lambda _, query, block: kernel.nearest(query, *block, k=k))


@functools.lru_cache
def _arrange(kernel):
    return parallel.parallel_blocks(lambda _, __, block: (*kernel.arrange(block[0]), block[1]))


def _block(database_RxW, bounds, kernel):
    """The shards between the bounds, one on each device, as the kernel takes them."""
    items_G = np.diff(bounds).astype(np.int32)
    rows = kernel.padded_items(int(items_G.max()))
    shards = []
    for start, stop in itertools.pairwise(bounds):
        word_NxV = words(database_RxW[start:stop] if stop > start else database_RxW[:1])
        # A repeated row changes no group's least distance.
        shards.append(np.pad(word_NxV, ((0, rows - len(word_NxV)), (0, 0)), mode="edge"))
    return _arrange(kernel)((), (), parallel.shard((np.stack(shards), items_G)))


def _merge(nearest, distance_GxQxk, index_GxQxk, k) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of what was found before and on each device, in the database's order."""
    distances, indices = [*distance_GxQxk], [*index_GxQxk]
    if nearest is not None:
        distances, indices = [nearest[0], *distances], [nearest[1], *indices]
    if len(distances) == 1:
        return distances[0], indices[0]
    distance_QxN, index_QxN = np.concatenate(distances, axis=1), np.concatenate(indices, axis=1)
    # Stable: earlier parts hold the lower indices, and each part is in order.
    order_Qxk = np.argsort(distance_QxN.astype(np.uint16), axis=1, kind="stable")[:, :k]
    return (
        np.take_along_axis(distance_QxN, order_Qxk, axis=1),
        np.take_along_axis(index_QxN, order_Qxk, axis=1),
    )


def _check(query, database, k, query_block):
    check_codes(query, "query")
    check_codes(database, "database")
    if query.shape[1] != database.shape[1]:
        raise ValueError(
            f"query has {query.shape[1]} bytes a row, database {database.shape[1]}; "
            "encode both with the same number of bits"
        )
    if k != int(k) or not 1 <= k <= len(database):
        raise ValueError(
            f"k={k}, but the database has {len(database)} items; pass k from 1 to {len(database)}"
        )
    if query_block < 1:
        raise ValueError(f"query_block={query_block}; pass at least 1")
