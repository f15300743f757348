"""The k nearest items by minima of groups, for small k.

Items are grouped by 32 and groups by 32. For each query the least distance in every group is found
in one pass over the database; the k nearest items lie in the k groups of least (distance, index),
and those in the k groups of groups of least (distance, index). So three selections among few
candidates take the place of one among all.
"""

import jax
import jax.numpy as jnp
from jax import lax

GROUP = 32  # items to a group, groups to a supergroup
ITEMS = GROUP * GROUP  # to a supergroup
FAR = 255  # beyond every distance: a byte holds it
MOST_BITS = 128
LANES = 128  # supergroups worked on at a time: one group of each, 32 kB of 64-bit codes, stays near


def padded_items(items: int) -> int:
    """Return the rows that a database is filled up to: whole supergroups in all lanes."""
    side = _lanes(items)
    return -(-items // (ITEMS * side)) * ITEMS * side


def _lanes(items):
    """How many supergroups are worked on at a time in a database of this size."""
    return min(LANES, max(16, 1 << (-(-items // ITEMS) - 1).bit_length()))


def arrange(word_RxV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lay a database out so that neighbouring lanes hold neighbouring supergroups.

    Args:
      word_RxV: uint32 words of codes, R from `padded_items`.

    Returns:
      (word_RxV, arranged): as it is, and as [supergroups / lanes, GROUP groups, V, GROUP items,
      lanes].
    """
    rows, width = word_RxV.shape
    split = word_RxV.reshape(-1, _lanes(rows), GROUP, GROUP, width)
    return word_RxV, split.transpose(0, 2, 4, 3, 1)


def nearest(
    query_QxV: jax.Array, word_RxV: jax.Array, arranged: jax.Array, items: jax.Array, *, k: int
) -> tuple[jax.Array, jax.Array]:
    """Find the k nearest items of each query.

    Args:
      query_QxV: uint32 words of codes.
      word_RxV: uint32 words of the database, filled up by repeating the last row, which leaves
        every least distance as it is.
      arranged: the same from `arrange`.
      items: how many of the R rows are real.
      k: how many to find.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first, equal distances by the lower index. Where
      there are fewer items than k, the distance is FAR.
    """
    chunks, _, width, _, side = arranged.shape
    supergroup = jnp.arange(chunks * side).reshape(chunks, side)

    def scan_block(_, block):
        block_VxJxL, first_index_L = block

        def least(query_V):
            smallest_L = jnp.full((side,), FAR, jnp.int32)
            for j in range(GROUP):
                distance_L = sum(
                    lax.population_count(block_VxJxL[v, j] ^ query_V[v]).astype(jnp.int32)
                    for v in range(width)
                )
                smallest_L = jnp.minimum(smallest_L, distance_L)
            return jnp.where(first_index_L < items, smallest_L, FAR).astype(jnp.uint8)

        return None, jax.vmap(least)(query_QxV)

    group = jnp.arange(GROUP)
    first_index = (supergroup[:, None] * GROUP + group[None, :, None]) * GROUP
    blocks = arranged.reshape(-1, *arranged.shape[2:]), first_index.reshape(-1, side)
    least = lax.scan(scan_block, None, blocks)[1]
    least = least.reshape(chunks, GROUP, len(query_QxV), side)
    super_QxS = least.min(axis=1).transpose(1, 0, 2).reshape(len(query_QxV), -1)
    least_QxSxG = least.transpose(2, 0, 3, 1).reshape(*super_QxS.shape, GROUP)

    def of_query(query_V, super_S, least_SxG):
        _, s_k = _smallest(super_S, k)
        s_k = lax.sort(s_k)
        _, place_k = _smallest(least_SxG[s_k].reshape(-1), k)
        group_k = lax.sort(s_k[place_k // GROUP] * GROUP + place_k % GROUP)
        index_N = (group_k[:, None] * GROUP + group[None]).reshape(-1)
        word_NxV = word_RxV.reshape(-1, GROUP, width)[group_k].reshape(-1, width)
        distance_N = sum(
            lax.population_count(word_NxV[:, v] ^ query_V[v]).astype(jnp.int32)
            for v in range(width)
        )
        distance_k, place_k = _smallest(jnp.where(index_N < items, distance_N, FAR), k)
        return distance_k, index_N[place_k]

    return jax.vmap(of_query)(query_QxV, super_QxS, least_QxSxG)


def _smallest(value_N, k):
    """The k smallest values, in order, ties by the lower place: all of them if there are fewer."""
    # float32 holds these integers exactly; top_k of integers sorts everything on a CPU.
    value_k, place_k = lax.top_k(-value_N.astype(jnp.float32), min(k, len(value_N)))
    return -value_k.astype(jnp.int32), place_k
