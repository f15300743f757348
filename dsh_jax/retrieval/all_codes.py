"""Distance counts of short codes: for every possible code at once.

With K bits there are 2^K codes. A table of how often each occurs becomes, bit by bit, a table of
how many items lie at each distance from each code:

  count_k[j, c] = count_{k-1}[j, c] + count_{k-1}[j - 1, c XOR 2^k].

Queries then only look up their code, so the cost does not grow with queries × database.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

MOST_BITS = 16


def add_block(
    table_SxTxM: jax.Array,
    set_SxU: jax.Array,
    sets: jax.Array,
    code_N: jax.Array,
    label_NxU: jax.Array,
    items: jax.Array,
    *,
    shared: tuple[int, ...],
) -> jax.Array:
    """Add one block of the database to the tables of how often each code occurs.

    Args:
      table_SxTxM: int32 tables so far; T = 1 + len(shared), M = 2^K.
      set_SxU: uint32 words of different sets of labels.
      sets: how many of the S sets are real.
      code_N: int32 codes as numbers.
      label_NxU: uint32 words of the block's multi-hot labels.
      items: how many of the N rows are real.
      shared: how many labels an item must share with the set, increasing.

    Returns:
      The new tables: [:, 0] of all items, [:, t] of those that share shared[t - 1] labels.
    """
    _, levels, size = table_SxTxM.shape
    real_N = jnp.arange(len(code_N)) < items

    def add_set(s, table_SxTxM):
        set_U = set_SxU[s]
        common_N = lax.population_count(set_U[None] & label_NxU).astype(jnp.int32).sum(axis=-1)
        level_N = sum((common_N >= number).astype(jnp.int32) for number in shared)
        # Padding goes to a bin past the end, which bincount drops.
        bin_N = jnp.where(real_N, level_N * size + code_N, levels * size)
        exactly_TxM = jnp.bincount(bin_N, length=levels * size).reshape(levels, size)
        return table_SxTxM.at[s].add(lax.cumsum(exactly_TxM, axis=0, reverse=True))

    return lax.fori_loop(0, sets, add_set, table_SxTxM)


@functools.partial(jax.jit, static_argnames="bits")
def look_up(
    table_SxTxM: jax.Array, set_Q: jax.Array, code_Q: jax.Array, sets: jax.Array, *, bits: int
) -> jax.Array:
    """Count the items at each distance from each query.

    Args:
      table_SxTxM: int32, how often each code occurs, for each set of labels; M = 2^bits.
      set_Q: int32, the set of each query.
      code_Q: int32 codes of the queries as numbers.
      sets: how many of the S sets are real.
      bits: the code length K.

    Returns:
      int32 counts, shape (Q, T, K + 1).
    """
    low = bits // 2
    high = bits - low

    def count(table_M):
        # The axis whose bits are at work comes first, so that the inner loops stay contiguous.
        count_1xHxL = table_M.reshape(1, 1 << high, 1 << low)
        count_DxLxH = _spread(count_1xHxL, high).transpose(0, 2, 1)
        count_DxLxH = _spread(count_DxLxH, low)
        return count_DxLxH[:, code_Q % (1 << low), code_Q >> low].T

    def add_set(s, count_QxTxD):
        counted = jnp.stack([count(table_M) for table_M in table_SxTxM[s]], axis=1)
        return jnp.where((set_Q == s)[:, None, None], counted, count_QxTxD)

    shape = len(code_Q), table_SxTxM.shape[1], bits + 1
    return lax.fori_loop(0, sets, add_set, jnp.zeros(shape, jnp.int32))


def _spread(count_DxAxB, bits):
    """Let each of the bits of the axis A add to the distance or not."""
    for bit in range(bits):
        distances, a, b = count_DxAxB.shape
        split = count_DxAxB.reshape(distances, a >> (bit + 1), 2, b << bit)
        same = jnp.pad(split, ((0, 1), (0, 0), (0, 0), (0, 0)))
        flipped = jnp.pad(split[:, :, ::-1], ((1, 0), (0, 0), (0, 0), (0, 0)))
        count_DxAxB = (same + flipped).reshape(distances + 1, a, b)
    return count_DxAxB
