"""The k nearest items by a selection among the distances to all: for few items, or wide codes."""

import jax
import jax.numpy as jnp
from jax import lax

from dsh_jax.codes import hamming_distance

FAR = 60_000  # beyond every distance; float32 and uint16 hold it


def padded_items(items: int) -> int:
    """Return the rows that a database is filled up to, so that data sets share compilations."""
    return 1 << max(items - 1, 15).bit_length() if items <= 4096 else -(-items // 4096) * 4096


def arrange(word_RxV: jax.Array) -> tuple[jax.Array]:
    """Return the database as it is.

    Args:
      word_RxV: uint32 words of codes.

    Returns:
      (word_RxV,).
    """
    return (word_RxV,)


def nearest(
    query_QxV: jax.Array, word_RxV: jax.Array, items: jax.Array, *, k: int
) -> tuple[jax.Array, jax.Array]:
    """Find the k nearest items of each query.

    Args:
      query_QxV: uint32 words of codes.
      word_RxV: uint32 words of the database.
      items: how many of the R rows are real.
      k: how many to find.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first, equal distances by the lower index. Where
      there are fewer items than k, the distance is FAR.
    """

    def of_query(query_V):
        distance_R = hamming_distance(query_V[None], word_RxV)[0]
        distance_R = jnp.where(jnp.arange(len(distance_R)) < items, distance_R, FAR)
        # top_k of integers sorts everything on a CPU.
        near_k, index_k = lax.top_k(-distance_R.astype(jnp.float32), k)
        return -near_k.astype(jnp.int32), index_k

    return lax.map(of_query, query_QxV, batch_size=16)
