"""Distance counts of items of one class each: every item is counted once.

Items are sorted by class and cut into parts of one class. The counts of all parts add up to those
of all items, the counts of the parts of the query's class are the relevant ones: half of the
population counts of `bit_planes`, and no labels to compare.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsh_jax.retrieval.bit_planes import WORD, bit_planes, count_distances, query_labels

# Words of a part: whole vectors, and from 48 on an odd number of them. Planes a power of two apart
# meet in one set of a cache: 256 words take a third longer an item than 240 do.
SIZES = (16, 32, *range(48, 2048, 32))
OVERHEAD = 12  # a part costs as much as so many words more, of adding up lanes
LEAST = 512  # items of a class, on average: with fewer, parts stay half empty

__all__ = ["add_block", "arrange", "part_size", "parts_of", "query_labels"]


def part_size(
    count_C: np.ndarray, sizes: Sequence[int] = SIZES, overhead: int = OVERHEAD
) -> tuple[int, int]:
    """Return the words of a part that cost least, and the cost, in words.

    Args:
      count_C: items of each class.
      sizes: what a part may have.
      overhead: what a part costs beside its words.

    Returns:
      (words, cost): cost is what all parts come to, filled up to equal size.
    """
    cost = {size: int((-(-count_C // (size * WORD))).sum()) * (size + overhead) for size in sizes}
    best = min(cost, key=cost.__getitem__)
    return best, cost[best]


def parts_of(count_C: np.ndarray, size: int) -> int:
    """Return how many parts of so many words there are, rounded up so that data sets share shapes.

    Args:
      count_C: items of each class.
      size: words of a part.

    Returns:
      At most an eighth more than are filled.
    """
    parts = int((-(-count_C // (size * WORD))).sum())
    step = 1 << max(parts.bit_length() - 4, 0)
    return -(-parts // step) * step


def arrange(
    word_NxV: np.ndarray, class_N: np.ndarray, *, classes: int, size: int, parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort items by class into parts.

    Args:
      word_NxV: uint32 words of codes.
      class_N: their classes, 0 … classes; the last is that of items without a label.
      classes: C.
      size: words of a part.
      parts: how many there are to be, at least as many as are filled.

    Returns:
      (word_RxV, real_PxL, class_P): R = 32 P L rows, zeros where there is no item; uint32 planes of
      the places that hold one; and int32 classes, -1 of empty parts and of items without a label.
    """
    rows = size * WORD
    count_C = np.bincount(class_N, minlength=classes + 1)
    parts_C = -(-count_C // rows)
    first_C = (np.cumsum(parts_C) - parts_C) * rows
    order_N = np.argsort(class_N, kind="stable")
    sorted_N = class_N[order_N]
    place_N = np.arange(len(class_N)) - (np.cumsum(count_C) - count_C)[sorted_N] + first_C[sorted_N]
    word_RxV = np.zeros((parts * rows, word_NxV.shape[1]), np.uint32)
    word_RxV[place_N] = word_NxV[order_N]
    is_real_R = np.zeros(parts * rows, bool)
    is_real_R[place_N] = True
    real_PxL = np.packbits(is_real_R, bitorder="little").view("<u4").reshape(parts, size)
    class_P = np.full(parts, -1, np.int32)
    # Of no class for items without one: a query's list of classes is filled up with C.
    class_P[: parts_C[:classes].sum()] = np.repeat(np.arange(classes), parts_C[:classes])
    return word_RxV, real_PxL, class_P


def add_block(
    count_QxDx2: jax.Array,
    query_QxV: jax.Array,
    query_class_QxM: jax.Array,
    queries: jax.Array,
    word_RxV: jax.Array,
    real_PxL: jax.Array,
    class_P: jax.Array,
    *,
    classes: int,
    shared: tuple[int, ...],
) -> jax.Array:
    """Add the counts of one block of the database.

    Args:
      count_QxDx2: int32 counts so far; D = K + 1.
      query_QxV: uint32 words of the queries' codes.
      query_class_QxM: from `bit_planes.query_labels`.
      queries: how many of the Q rows are real.
      word_RxV, real_PxL, class_P: from `arrange`.
      classes: not needed here.
      shared: (1,): no item shares more.

    Returns:
      The new counts: [..., 0] of all items, [..., 1] of those of one of the query's classes.
    """
    del classes
    assert shared == (1,)
    bits = count_QxDx2.shape[1] - 1
    plane_KxPxL = bit_planes(word_RxV, bits).reshape(bits, *real_PxL.shape)

    def add_query(q, count_QxDx2):
        count_DxP = count_distances(query_QxV[q], plane_KxPxL, real_PxL, [])[..., 0]
        is_own_P = (query_class_QxM[q][:, None] == class_P[None]).any(axis=0)
        own_D = jnp.where(is_own_P[None], count_DxP, 0).sum(axis=1)
        return count_QxDx2.at[q].add(jnp.stack([count_DxP.sum(axis=1), own_D], axis=1))

    return lax.fori_loop(0, queries, add_query, count_QxDx2)
