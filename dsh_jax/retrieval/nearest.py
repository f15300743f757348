"""The nearest items of a database that lies arranged on its devices."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from dsh_jax import parallel
from dsh_jax.progress import log_progress
from dsh_jax.retrieval import direct_search, gpu_search, group_search
from dsh_jax.retrieval.blocks import words

METHODS = {"direct": direct_search, "groups": group_search, "gpu": gpu_search}
SHARD = group_search.MOST_ITEMS  # items to a device at a time

Shard = tuple[np.ndarray, Any]


def kernel_of(method: str, items: int, bits: int, platform: str) -> Any:
    """Return the kernel of a name; "auto" is the fastest measured on a CPU, reckoned on a GPU.

    Args:
      method: "groups" (up to 128 bits), "direct", "gpu" or "auto".
      items: of the database.
      bits: of a code.
      platform: "cpu" or another, of the devices.

    Returns:
      One of METHODS.

    Raises:
      ValueError: for another name, or one that does not take so many bits.
    """
    fits = bits <= group_search.MOST_BITS
    if method == "auto":
        of_many = {"cpu": "groups" if fits else "direct", "gpu": "gpu"}.get(platform, "direct")
        method = of_many if items >= 16_384 else "direct"
    if method not in METHODS or (method == "groups" and not fits):
        raise ValueError(
            f'method={method!r} for {bits} bits; pass "auto", "host", "direct", "gpu" or, up to '
            f'{group_search.MOST_BITS} bits, "groups"'
        )
    return METHODS[method]


def shards(packed_RxW: np.ndarray, kernel: Any, devices: tuple[jax.Device, ...]) -> Iterator[Shard]:
    """Yield a database in shards, one on each device, as the kernel takes them.

    Args:
      packed_RxW: uint8 codes; may be a memory map.
      kernel: see `kernel_of`.
      devices: G of them.

    Yields:
      (bound_G+1, block): the rows at which each device's part begins, and the parts.
    """
    items = len(packed_RxW)
    rounds = -(-items // (len(devices) * SHARD))
    cut = np.linspace(0, items, rounds * len(devices) + 1).astype(int)
    for r in range(rounds):
        bounds = cut[r * len(devices) : (r + 1) * len(devices) + 1]
        items_G = np.diff(bounds).astype(np.int32)
        rows = kernel.padded_items(int(items_G.max()))
        parts = []
        for start, stop in itertools.pairwise(bounds):
            word_NxV = words(packed_RxW[start:stop] if stop > start else packed_RxW[:1])
            # A repeated row changes no group's least distance.
            parts.append(np.pad(word_NxV, ((0, rows - len(word_NxV)), (0, 0)), mode="edge"))
        placed = parallel.shard((np.stack(parts), items_G), devices)
        yield bounds, _arrange(kernel, devices)((), (), placed)


def search_shards(
    query_QxW: np.ndarray,
    placed: Iterable[Shard],
    k: int,
    *,
    kernel: Any,
    devices: tuple[jax.Device, ...],
    items: int,
    query_block: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest items of each query in the shards of a database.

    Args:
      query_QxW: uint8 codes.
      placed: from `shards`, of the same kernel and devices.
      k: how many, at most R.
      kernel: see `kernel_of`.
      devices: where the shards are.
      items: R, of all shards.
      query_block: queries in work at a time.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first; equal distances by the lower index.
    """
    queries = len(query_QxW)
    rows = min(query_block, 1 << (queries - 1).bit_length())
    query_QxV = np.pad(words(query_QxW), ((0, -queries % rows), (0, 0)))
    nearest, before, started = None, 0, time.monotonic()
    for bounds, block in placed:
        size = int(np.diff(bounds).max())
        step = _step(kernel, min(k, size), devices)
        found = []
        for start in range(0, queries, rows):
            found.append(step((), query_QxV[start : start + rows], block))
            # One block of queries is in work and one waits.
            jax.block_until_ready(found[-2:-1])
            done = before + (bounds[-1] - before) * min(start + rows, queries) / queries
            log_progress("searching", done / items, started)
        before = bounds[-1]
        distance_GxQxk = np.concatenate([np.asarray(x[0]) for x in found], axis=1)[:, :queries]
        index_GxQxk = np.concatenate([np.asarray(x[1]) for x in found], axis=1)[:, :queries]
        index_GxQxk = index_GxQxk + bounds[:-1, None, None].astype(np.int32)
        nearest = merge(nearest, [*distance_GxQxk], [*index_GxQxk], k)
    nothing = np.zeros((queries, 0), np.int32)
    return nearest or (nothing, nothing)


def merge(
    nearest: tuple[np.ndarray, np.ndarray] | None,
    distances: Sequence[np.ndarray],
    indices: Sequence[np.ndarray],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest of what was found before and in each part of the database.

    Args:
      nearest: (distance_Qxn, index_Qxn) of earlier parts, or None.
      distances, indices: [Q, n] of each part, nearest first; later parts have higher indices.
      k: how many.

    Returns:
      (distance_Qxk, index_Qxk), int32.
    """
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


@functools.lru_cache
def _step(kernel, k, devices):
    return parallel.parallel_blocks(
        lambda _, query, block: kernel.nearest(query, *block, k=k), devices
    )


@functools.lru_cache
def _arrange(kernel, devices):
    return parallel.parallel_blocks(
        lambda _, __, block: (*kernel.arrange(block[0]), block[1]), devices
    )
