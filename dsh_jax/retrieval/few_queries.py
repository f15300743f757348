"""The k nearest items by numpy on the host, a query at a time: no dispatch and no compilation.

For a few queries, and for many where k is a large part of the items. One pass over the words finds
every distance. The k-th of the least distances of groups, or what a sample says, is a limit that k
items keep; whatever keeps it is sorted.
"""

from __future__ import annotations

import time

import numpy as np

from dsh_jax.progress import log_progress

WORD = np.dtype("<u8")
MOST_PAIRS = 1 << 18  # up to which a query's pass takes less than a dispatch to the devices
LARGE = 128  # from one item in so many on, for any number of queries, k is large
GROUP = 32  # items to a group, which lie R / 32 apart: the least of each is one vector operation
FEW = 256  # from one item in so many on, k is found by a sample instead
SAMPLE = 1024  # items of it


def is_faster(queries: int, items: int, k: int, platform: str, devices: int) -> bool:
    """Return whether a search on the host was faster, where that was measured.

    Args:
      queries: Q.
      items: R.
      k: how many to find.
      platform: "cpu" or another, of the devices.
      devices: that would share the work otherwise.

    Returns:
      False on other platforms, to which the database is brought anyway.
    """
    is_large = LARGE * k >= devices * items
    return platform == "cpu" and queries > 0 and (queries * items <= MOST_PAIRS or is_large)


def arrange(packed_RxW: np.ndarray) -> np.ndarray:
    """Join the bytes of codes into words, one row of them for each place.

    Args:
      packed_RxW: uint8 codes; may be a memory map, which is read in place where W is 8.

    Returns:
      uint64 array, shape (ceil(W/8), R).
    """
    rows, width = packed_RxW.shape
    if width == WORD.itemsize and packed_RxW.flags.c_contiguous:
        return packed_RxW.view(WORD).reshape(1, rows)
    byte_RxP = np.zeros((rows, -(-width // WORD.itemsize) * WORD.itemsize), np.uint8)
    byte_RxP[:, :width] = packed_RxW
    return np.ascontiguousarray(byte_RxP.view(WORD).T)


def nearest(query_QxW: np.ndarray, word_VxR: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest items of each query.

    Args:
      query_QxW: uint8 codes.
      word_VxR: from `arrange`.
      k: how many, 0 to R: a process's part of a database may hold nothing.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first, equal distances by the lower index.
    """
    query_VxQ = arrange(query_QxW)
    distance_Qxk, index_Qxk = np.empty((2, len(query_QxW), k), np.int32)
    started = time.monotonic()
    for q, query_V in enumerate(query_VxQ.T if k else ()):
        distance_R = _distances(query_V, word_VxR)
        near_N = _within_limit(distance_R, k)
        order_k = np.argsort(distance_R[near_N], kind="stable")[:k]
        index_Qxk[q] = near_N[order_k]
        distance_Qxk[q] = distance_R[index_Qxk[q]]
        log_progress("searching", (q + 1) / len(query_QxW), started)
    return distance_Qxk, index_Qxk


def _distances(query_V, word_VxR):
    """The distance of every item."""
    distance_R = np.bitwise_count(word_VxR[0] ^ query_V[0])
    if 64 * len(word_VxR) > 255:
        distance_R = distance_R.astype(np.uint16)
    for query, word_R in zip(query_V[1:], word_VxR[1:], strict=True):
        distance_R += np.bitwise_count(word_R ^ query)
    return distance_R


def _within_limit(distance_R, k):
    """At least k items, increasing: all that are as near as a limit, the k nearest among them."""
    if FEW * k > len(distance_R):
        return _within_guess(distance_R, k)
    groups = len(distance_R) // GROUP
    rest = GROUP * groups
    grouped_IxG = distance_R[:rest].reshape(GROUP, groups)
    least_G = grouped_IxG.min(axis=0)
    limit = np.partition(least_G, k - 1)[k - 1]
    near_N = np.flatnonzero(least_G <= limit)
    if 4 * len(near_N) > groups:  # as codes that repeat have it
        return np.flatnonzero(distance_R <= limit)
    item_M, place_M = (grouped_IxG.take(near_N, axis=1) <= limit).nonzero()
    rest_M = (distance_R[rest:] <= limit).nonzero()[0]
    return np.concatenate([item_M * groups + near_N[place_M], rest_M + rest])


def _within_guess(distance_R, k):
    """The same for a larger k: a sample knows about where the k-th is, counts find its distance."""
    sample_S = np.sort(distance_R[:: -(-len(distance_R) // SAMPLE)], kind="stable")  # by radix
    limit, step = int(sample_S[(k - 1) * len(sample_S) // len(distance_R)]), 1

    def holds_k(limit):
        return np.count_nonzero(distance_R <= limit) >= k

    while not holds_k(limit):
        limit, step = limit + step, 2 * step
    while holds_k(limit - 1):
        limit -= 1
    return np.flatnonzero(distance_R <= limit)
