"""The k nearest items on a GPU: counts say the k-th distance, a second pass lists what is within.

Both passes are Pallas kernels over bit planes. What is nearer than the k-th distance is listed by
index, and after it what is at that distance, up to k: so equal distances come by the lower index
once the k are sorted by distance alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from dsh_jax.retrieval.bit_planes import WORD, bit_planes, first_items
from dsh_jax.retrieval.gpu_planes import WIDTH, count_set, distance_digits, gpu_call, part_counts

PART = 8 * WIDTH * WORD  # items of a part


def padded_items(items: int) -> int:
    """Return the rows that a database is filled up to: whole parts."""
    return -(-items // PART) * PART


def arrange(word_RxV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the database as it is and as planes of parts.

    Args:
      word_RxV: uint32 words of codes, R from `padded_items`.

    Returns:
      (word_RxV, plane_KxPxL).
    """
    bits = WORD * word_RxV.shape[1]
    return word_RxV, bit_planes(word_RxV, bits).reshape(bits, -1, PART // WORD)


def nearest(
    query_QxV: jax.Array,
    word_RxV: jax.Array,
    plane_KxPxL: jax.Array,
    items: jax.Array,
    *,
    k: int,
) -> tuple[jax.Array, jax.Array]:
    """Find the k nearest items of each query.

    Args:
      query_QxV: uint32 words of codes.
      word_RxV, plane_KxPxL: from `arrange`.
      items: how many of the R rows are real.
      k: how many to find, at most R.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first, equal distances by the lower index. Where
      there are fewer items than k, the distance is more than the bits of a code.
    """
    bits, parts, length = plane_KxPxL.shape
    word_L = jnp.arange(parts * length).reshape(parts, length)
    real_PxL = first_items(items, word_L)
    count_QxPxD = part_counts(query_QxV, plane_KxPxL, real_PxL)[:, :, 0]
    within_QxPxD = count_QxPxD.cumsum(axis=2)
    within_QxD = within_QxPxD.sum(axis=1)
    radius_Q = (within_QxD < k).sum(axis=1).clip(max=bits)  # the k-th distance
    at_radius = lambda x: jnp.take_along_axis(x, radius_Q[:, None, None], axis=2)[..., 0]  # noqa: E731
    tied_QxP = at_radius(count_QxPxD)
    near_QxP = at_radius(within_QxPxD) - tied_QxP
    # Where the first of each part goes: ties follow everything that is nearer.
    near_first_QxP = near_QxP.cumsum(axis=1) - near_QxP
    tied_first_QxP = near_QxP.sum(axis=1)[:, None] + tied_QxP.cumsum(axis=1) - tied_QxP
    first_QxPx2 = jnp.stack([near_first_QxP, tied_first_QxP], axis=2).astype(jnp.int32)
    index_Qxk = gpu_call(
        _kernel,
        grid=(len(query_QxV), parts),
        in_specs=[
            pl.BlockSpec((1, query_QxV.shape[1]), lambda q, p: (q, 0)),
            pl.BlockSpec((1,), lambda q, p: (q,)),
            pl.BlockSpec((1, 1, 2), lambda q, p: (q, p, 0)),
            pl.BlockSpec((bits, 1, length), lambda q, p: (0, p, 0)),
            pl.BlockSpec((1, length), lambda q, p: (p, 0)),
        ],
        out_specs=pl.BlockSpec((1, k + 1), lambda q, p: (q, 0)),
        out_shape=jax.ShapeDtypeStruct((len(query_QxV), k + 1), jnp.int32),
    )(query_QxV, radius_Q.astype(jnp.int32), first_QxPx2, plane_KxPxL, real_PxL)
    is_found_Qxk = jnp.arange(k)[None] < within_QxD[:, -1:]
    index_Qxk = jnp.where(is_found_Qxk, index_Qxk[:, :k], 0)
    differing_QxkxV = word_RxV[index_Qxk] ^ query_QxV[:, None]
    distance_Qxk = lax.population_count(differing_QxkxV).astype(jnp.int32).sum(axis=2)
    distance_Qxk = jnp.where(is_found_Qxk, distance_Qxk, bits + 1)
    nearest_Qxk, order_Qxk = lax.sort((distance_Qxk, index_Qxk), num_keys=1, is_stable=True)
    return nearest_Qxk, order_Qxk


def _kernel(query_ref, radius_ref, first_ref, plane_ref, real_ref, out_ref, *, interpret):
    bits, _, length = plane_ref.shape
    part, radius, k = pl.program_id(1), radius_ref[0], out_ref.shape[1] - 1
    within_WIDTH = jnp.arange(WIDTH)

    def list_words(i, first):
        at = pl.ds(i * WIDTH, WIDTH)
        near, tied = jnp.zeros(WIDTH, jnp.uint32), real_ref[0, at]
        digits = distance_digits(query_ref, plane_ref, at, bits)
        for j, digit in reversed(list(enumerate(digits))):
            wanted = jnp.uint32(0) - (radius >> j & 1).astype(jnp.uint32)
            near, tied = near | (tied & wanted & ~digit), tied & ~(digit ^ wanted)
        item_WIDTH = ((part * length + i * WIDTH) + within_WIDTH) * WORD

        def listed(plane, first):
            """Write the items of a plane to their places; return the place of the next."""
            count = count_set(plane, interpret=interpret)
            place = first + jnp.cumsum(count) - count

            def write(bit, place):
                is_set = (plane >> bit.astype(jnp.uint32) & 1) == 1
                is_wanted = is_set & (place < k)
                # The last place is nobody's: interpreted, a masked store writes what was there.
                where = out_ref.at[0, jnp.where(is_wanted, place, k)]
                triton.store(where, item_WIDTH + bit, mask=is_wanted)
                return place + is_set.astype(jnp.int32)

            def write_all():
                lax.fori_loop(0, WORD, write, place)

            found = count.sum()
            lax.cond(found > 0, write_all, lambda: None)
            return first + found

        return listed(near, first[0]), listed(tied, first[1])

    lax.fori_loop(0, length // WIDTH, list_words, (first_ref[0, 0, 0], first_ref[0, 0, 1]))
