"""The k nearest items by the least distances of groups.

Items are grouped by 32 and groups by 32. One pass over the database finds each group's least
distance from each query. The k nearest items lie in the k groups of least (distance, index); so a
selection of groups and one among their items take the place of a selection among all items.

Few are selected by top_k, by way of the groups of groups. Many are selected by counting: bisection
finds the k-th distance, then a bit an item says whether it belongs, and the set bits are listed.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dsh_jax.retrieval.bit_planes import add_each
from dsh_jax.retrieval.bits import list_bits, pack

GROUP = 32  # items to a group, groups to a supergroup
ITEMS = GROUP * GROUP  # to a supergroup
LANES = 128  # supergroups worked on at a time: one group of each, 32 kB of 64-bit codes, stays near
FAR = 255  # beyond every distance: a byte holds it
FEW = 24  # up to here top_k is faster
MOST_ITEMS = 1 << 20  # a sorting key of 31 bits is a distance and an index below this
MOST_BITS = 128


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
        every least distance as it is; R at most MOST_ITEMS.
      arranged: the same from `arrange`.
      items: how many of the R rows are real.
      k: how many to find, at most R.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first, equal distances by the lower index. Where
      there are fewer items than k, the distance is FAR or more.
    """
    word_GxIxV = word_RxV.reshape(-1, GROUP, word_RxV.shape[1])
    least_QxCxIxL = _least(query_QxV, arranged, items)
    if k <= FEW:
        group_Qxk = _few_groups(least_QxCxIxL, k)
        find = functools.partial(_few_items, word_GxIxV=word_GxIxV, items=items, k=k)
        return jax.vmap(find)(query_QxV, group_Qxk)

    def find_many(args):
        query_V, least_CxIxL = args
        group_k = _many_groups(least_CxIxL, k)
        return _many_items(query_V, group_k, word_GxIxV=word_GxIxV, items=items, k=k)

    return lax.map(find_many, (query_QxV, least_QxCxIxL))


def _few_groups(least_QxCxIxL, k):
    """The groups of each query that may hold its k nearest, increasing, by groups of groups."""
    queries, _, _, side = least_QxCxIxL.shape
    _, super_Qxk = _smallest(least_QxCxIxL.min(axis=2).reshape(queries, -1), k)
    super_Qxkx1 = lax.sort(super_Qxk)[..., None]
    q_Qx1x1 = jnp.arange(queries)[:, None, None]
    group_1x1xI = jnp.arange(GROUP)[None, None]
    least_QxkxI = least_QxCxIxL[q_Qx1x1, super_Qxkx1 // side, group_1x1xI, super_Qxkx1 % side]
    _, place_Qxk = _smallest(least_QxkxI.reshape(queries, -1), k)
    group_QxN = (super_Qxkx1 * GROUP + group_1x1xI).reshape(queries, -1)
    return lax.sort(jnp.take_along_axis(group_QxN, place_Qxk, axis=1))


def _few_items(query_V, group_k, *, word_GxIxV, items, k):
    """The k nearest items of some groups, by top_k."""
    distance_kxI, index_kxI = _distances(query_V, group_k, word_GxIxV, items)
    distance_k, place_k = _smallest(distance_kxI.reshape(-1), k)
    return distance_k, index_kxI.reshape(-1)[place_k]


def _many_groups(least_CxIxL, k):
    """The k groups of least (distance, index), increasing, by counting."""
    if k >= least_CxIxL.size:
        return jnp.arange(least_CxIxL.size)
    threshold = _kth(least_CxIxL.swapaxes(0, 1), k)
    nearer_W, equal_W = (
        jax.vmap(functools.partial(pack, axis=0))(mark).reshape(-1)
        for mark in (least_CxIxL < threshold, least_CxIxL == threshold)
    )
    return list_bits(nearer_W, equal_W, jnp.int32(k), k)


def _many_items(query_V, group_k, *, word_GxIxV, items, k):
    """The k nearest items of some groups, by counting."""
    distance_kxI, _ = _distances(query_V, group_k, word_GxIxV, items)
    real = jnp.minimum(k, items)
    threshold = _kth(distance_kxI.reshape(GROUP, 1, -1), real)
    nearer_W, equal_W = (
        pack(mark, axis=1) for mark in (distance_kxI < threshold, distance_kxI == threshold)
    )
    place_k = list_bits(nearer_W, equal_W, real, k)
    distance_k = distance_kxI.reshape(-1)[place_k].astype(jnp.int32)
    key_k = distance_k * MOST_ITEMS + group_k[place_k // GROUP] * GROUP + place_k % GROUP
    # What is left over, where there are fewer items than k, goes to the end.
    key_k = lax.sort(jnp.where(jnp.arange(k) < real, key_k, FAR * MOST_ITEMS))
    return key_k // MOST_ITEMS, key_k % MOST_ITEMS


def _distances(query_V, group_N, word_GxIxV, items):
    """The distances, bytes, of the items of some groups, FAR for padding, and their indices."""
    word_NxIxV = word_GxIxV if len(group_N) == len(word_GxIxV) else word_GxIxV[group_N]
    distance_NxI = _distance(query_V, jnp.moveaxis(word_NxIxV, -1, 0))
    index_NxI = group_N[:, None] * GROUP + jnp.arange(GROUP)[None]
    return jnp.where(index_NxI < items, distance_NxI, FAR).astype(jnp.uint8), index_NxI


def _least(query_QxV, arranged, items):
    """The least distance in each group, FAR in groups of padding alone."""
    chunks, _, width, _, side = arranged.shape
    supergroup = jnp.arange(chunks * side).reshape(chunks, 1, side)
    first_index = (supergroup * GROUP + jnp.arange(GROUP)[None, :, None]) * GROUP

    def add_block(b, least_QxBxL):
        word_VxJxL, first_index_L = arranged.reshape(-1, width, GROUP, side)[b], first_index[b]

        def least(query_V):
            smallest_L = jnp.full((side,), FAR, jnp.int32)
            for j in range(GROUP):
                smallest_L = jnp.minimum(smallest_L, _distance(query_V, word_VxJxL[:, j]))
            return jnp.where(first_index_L < items, smallest_L, FAR).astype(jnp.uint8)

        return least_QxBxL.at[:, b].set(jax.vmap(least)(query_QxV))

    first_index = first_index.reshape(-1, side)
    least_QxBxL = jnp.zeros((len(query_QxV), *first_index.shape), jnp.uint8)
    least_QxBxL = lax.fori_loop(0, len(first_index), add_block, least_QxBxL)
    return least_QxBxL.reshape(-1, chunks, GROUP, side)


def _distance(query_V, words):
    """Distances from one query to items whose words are given one array a place."""
    return sum(
        lax.population_count(word ^ query_V[v]).astype(jnp.int32) for v, word in enumerate(words)
    )


def _smallest(value_QxN, k):
    """The k smallest values, in order, ties by the lower place: all of them if there are fewer."""
    # float32 holds these integers exactly; top_k of integers sorts everything on a CPU.
    value_Qxk, place_Qxk = lax.top_k(-value_QxN.astype(jnp.float32), min(k, value_QxN.shape[-1]))
    return -value_Qxk.astype(jnp.int32), place_Qxk


def _kth(value_IxCxL, rank):
    """The byte of a rank, counted from 1, by quartering."""
    low = jnp.int32(0)
    for step in (64, 16, 4, 1):
        ends = [low + step * part - 1 for part in (1, 2, 3)]
        # One reduction for all, its terms unrolled: that is what XLA vectorises.
        upto = [sum((value <= end).astype(jnp.int32) for value in value_IxCxL) for end in ends]
        upto = lax.reduce(upto, [jnp.int32(0)] * 3, add_each, (0, 1))
        low = low + step * sum((count < rank).astype(jnp.int32) for count in upto)
    return low.astype(jnp.uint8)
