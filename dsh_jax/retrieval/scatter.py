"""Distance counts by scatter: a bin for each distance and number of shared labels.

The simplest path, for codes of any width on any device.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsh_jax.codes import hamming_distance
from dsh_jax.retrieval.blocks import label_words

GROUP = 16  # queries in work at a time


def query_labels(label_QxC: np.ndarray) -> np.ndarray:
    """Pack labels into words, which is what `add_block` takes for them.

    Args:
      label_QxC: multi-hot.

    Returns:
      uint32 array, shape (Q, ceil(C/32)).
    """
    return label_words(label_QxC)


def add_block(
    count_QxDxT: jax.Array,
    query_QxV: jax.Array,
    query_label_QxU: jax.Array,
    queries: jax.Array,
    code_NxV: jax.Array,
    label_NxU: jax.Array,
    items: jax.Array,
    *,
    classes: int,
    shared: tuple[int, ...],
) -> jax.Array:
    """Add the counts of one block of the database, see `bit_planes.add_block`.

    Args:
      count_QxDxT: int32 counts so far; Q a multiple of GROUP.
      query_QxV: uint32 words of the queries' codes.
      query_label_QxU: from `query_labels`.
      queries: how many of the Q rows are real.
      code_NxV: uint32 words of the block's codes.
      label_NxU: uint32 words of the block's multi-hot labels.
      items: how many of the N rows are real.
      classes: not needed here.
      shared: how many labels an item must share with the query, increasing.

    Returns:
      The new counts.
    """
    del classes
    _, distances, levels = count_QxDxT.shape
    real_N = jnp.arange(len(code_NxV)) < items

    def count_query(code_V, label_V):
        distance_N = hamming_distance(code_V[None], code_NxV)[0]
        common_N = lax.population_count(label_V[None] & label_NxU).astype(jnp.int32).sum(axis=-1)
        level_N = sum((common_N >= number).astype(jnp.int32) for number in shared)
        # Padding goes to a bin past the end, which bincount drops.
        bin_N = jnp.where(real_N, levels * distance_N + level_N, levels * distances)
        exactly_DxT = jnp.bincount(bin_N, length=levels * distances).reshape(distances, levels)
        return lax.cumsum(exactly_DxT, axis=1, reverse=True)

    def add_group(g, count_QxDxT):
        rows = (lax.dynamic_slice_in_dim(x, g * GROUP, GROUP) for x in (query_QxV, query_label_QxU))
        counted = jax.vmap(count_query)(*rows)
        old = lax.dynamic_slice_in_dim(count_QxDxT, g * GROUP, GROUP)
        return lax.dynamic_update_slice_in_dim(count_QxDxT, old + counted, g * GROUP, axis=0)

    return lax.fori_loop(0, (queries + GROUP - 1) // GROUP, add_group, count_QxDxT)
