"""The k nearest items by their radius, for large k.

Counts by distance give the radius of the k-th nearest item; of the items at exactly that distance
the first ones in the database's order belong to the k. That makes one bit an item, found on bit
planes; the set bits are then turned into indices and sorted.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dsh_jax.retrieval import bit_planes
from dsh_jax.retrieval.bit_planes import WORD, distance_digits, first_items

BLOCK = 65_536  # items to a block of planes, at most
UNIT = 4096  # blocks are multiples of it, so that data sets share compilations
FAR = 2000  # beyond every distance
MOST_ITEMS = 1 << 20  # a sorting key of 31 bits is a distance and an index below this


def padded_items(items: int) -> int:
    """Return the rows that a database is filled up to: equal blocks, each a multiple of UNIT."""
    blocks = -(-items // BLOCK)
    return blocks * -(-items // (blocks * UNIT)) * UNIT


def arrange(word_RxV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turn a database into bit planes, block by block.

    Of 32 neighbouring words of a plane one goes to each of 32 rows. So a running count of set bits
    goes from row to row, and neighbouring lanes work on it side by side.

    Args:
      word_RxV: uint32 words of codes, R from `padded_items`.

    Returns:
      (word_RxV, plane_BxKxL): as it is, and uint32 planes of B blocks, K = 32 V, L = R/(32 B).
    """
    rows, width = word_RxV.shape
    order = word_RxV.reshape(-(-rows // BLOCK), -1, WORD, WORD, width).swapaxes(1, 2)
    word_BxNxV = order.reshape(len(order), -1, width)
    return word_RxV, lax.map(lambda x: bit_planes.bit_planes(x, WORD * width), word_BxNxV)


def nearest(
    query_QxV: jax.Array, word_RxV: jax.Array, plane_BxKxL: jax.Array, items: jax.Array, *, k: int
) -> tuple[jax.Array, jax.Array]:
    """Find the k nearest items of each query.

    Args:
      query_QxV: uint32 words of codes.
      word_RxV: uint32 words of the database, R at most MOST_ITEMS.
      plane_BxKxL: its planes from `arrange`.
      items: how many of the R rows are real.
      k: how many to find.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first, equal distances by the lower index. Where
      there are fewer items than k, the distance is FAR.
    """
    blocks, _, length = plane_BxKxL.shape
    start_B = jnp.arange(blocks) * length * WORD
    word_L = jnp.arange(length).reshape(-1, WORD).T.reshape(-1)
    real_BxL = jax.vmap(lambda start: first_items(items - start, word_L))(start_B)

    def count_block(_, block):
        plane_KxL, real_L = block
        return None, lax.map(
            lambda query_V: bit_planes.count_distances(query_V, plane_KxL, real_L, [])[:, 0],
            query_QxV,
        )

    count_BxQxD = lax.scan(count_block, None, (plane_BxKxL, real_BxL))[1]
    find_cut = functools.partial(
        _find_cut, plane_BxKxL=plane_BxKxL, real_BxL=real_BxL, k=jnp.minimum(k, items)
    )
    radius_Q, last_Q = lax.map(
        lambda args: find_cut(*args), (query_QxV, count_BxQxD.swapaxes(0, 1))
    )

    def mark_block(_, block):
        plane_KxL, real_L, start = block

        def mark(args):
            query_V, radius, last = args
            less_L, equal_L = _compare(query_V, plane_KxL, radius)
            return (less_L | equal_L & first_items(last + 1 - start, word_L)) & real_L

        return None, lax.map(mark, (query_QxV, radius_Q, last_Q))

    mark_BxQxL = lax.scan(mark_block, None, (plane_BxKxL, real_BxL, start_B))[1]
    mark_IxQxS = mark_BxQxL.reshape(blocks, len(query_QxV), WORD, -1).transpose(2, 1, 0, 3)
    mark_IxQxS = mark_IxQxS.reshape(WORD, len(query_QxV), -1)
    # Set bits in a row's words before each word, and in all of them.
    total_QxS, before_IxQxS = lax.scan(
        lambda sum_QxS, mark_QxS: (sum_QxS + _ones(mark_QxS), sum_QxS),
        jnp.zeros(mark_IxQxS.shape[1:], jnp.int32),
        mark_IxQxS,
    )

    def extract(query_V, mark_IxS, before_IxS, total_S):
        start_IxS = before_IxS + (jnp.cumsum(total_S) - total_S)[None]
        index_k = _set_bits(mark_IxS.T.reshape(-1), start_IxS.T.reshape(-1), k)
        distance_k = _ones(word_RxV[index_k] ^ query_V[None]).sum(axis=1)
        # What is left over, where there are fewer items than k, goes to the end.
        key_k = jnp.where(
            jnp.arange(k) < items, distance_k * MOST_ITEMS + index_k, FAR * MOST_ITEMS
        )
        key_k = lax.sort(key_k)
        return key_k // MOST_ITEMS, key_k % MOST_ITEMS

    rows = query_QxV, mark_IxQxS, before_IxQxS, total_QxS
    return jax.vmap(extract, in_axes=(0, 1, 1, 0))(*rows)


def _find_cut(query_V, count_BxD, *, plane_BxKxL, real_BxL, k):
    """The distance of the k-th nearest item, and the index of the last item there that belongs."""
    inside_D = jnp.cumsum(count_BxD.sum(axis=0))
    radius = jnp.sum(inside_D < k)
    at_radius_B = count_BxD[:, radius]
    rank = k - (inside_D[radius] - at_radius_B.sum())  # among the items at the radius, from 1
    upto_B = jnp.cumsum(at_radius_B)
    block = jnp.sum(upto_B < rank)
    _, equal_L = _compare(query_V, plane_BxKxL[block], radius)
    equal_L = (equal_L & real_BxL[block]).reshape(WORD, -1).T.reshape(-1)
    upto_L = jnp.cumsum(_ones(equal_L))
    rank = rank - (upto_B[block] - at_radius_B[block])
    word = jnp.sum(upto_L < rank)
    bit = _select(equal_L[word], rank - 1 - (upto_L[word] - _ones(equal_L[word])))
    return radius, (block * len(equal_L) + word) * WORD + bit


def _compare(query_V, plane_KxL, radius):
    """The items nearer than the radius, and those at it."""
    less_L = jnp.zeros_like(plane_KxL[0])
    equal_L = ~less_L
    for i, digit_L in reversed(list(enumerate(distance_digits(query_V, plane_KxL)))):
        bit = -((radius >> i & 1).astype(jnp.uint32))
        less_L, equal_L = less_L | equal_L & ~digit_L & bit, equal_L & ~(digit_L ^ bit)
    return less_L, equal_L


def _set_bits(mark_W, start_W, k):
    """The places of the k set bits, of which there are start_W before each word."""
    first_W = jnp.where(mark_W == 0, k, start_W)
    word_k = jnp.zeros(k, jnp.int32).at[first_W].set(jnp.arange(len(mark_W)), mode="drop")
    word_k = lax.cummax(word_k)
    return word_k * WORD + _select(mark_W[word_k], jnp.arange(k) - start_W[word_k])


def _select(word, rank):
    """The place of the set bit of this rank in each word, by halves."""
    place = jnp.zeros_like(rank)
    for half in (16, 8, 4, 2, 1):
        low = word & jnp.uint32((1 << half) - 1)
        up = rank >= _ones(low)
        word, rank = jnp.where(up, word >> half, low), jnp.where(up, rank - _ones(low), rank)
        place = place + jnp.where(up, half, 0)
    return place


def _ones(word):
    return lax.population_count(word).astype(jnp.int32)
