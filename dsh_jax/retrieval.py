"""Hamming retrieval: count once, then every metric (metrics.py) is a function of two matrices.

For each query, total_QxD counts the database items at each Hamming distance d = 0 ... K, and
relevant_QxD those of them that share a label with the query. A Hamming distance takes only D = K+1
values, so nearly all ranks are ties; the counts hold exactly what is known of the ranking.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from dsh_jax.codes import check_codes, hamming_distance, pack_bits, pack_words


def distance_counts(
    query_QxW: jax.Array,
    query_label_QxC: jax.Array,
    database_RxW: jax.Array,
    database_label_RxC: jax.Array,
    *,
    bits: int,
    query_block: int = 256,
    database_block: int = 8192,
) -> tuple[jax.Array, jax.Array]:
    """Count the database items, and the relevant ones, at each distance from each query.

    total[q, d] = #{r : d(q, r) = d},  relevant[q, d] = #{r : d(q, r) = d, q and r share a label}.
    The counts of the parts of a database add up to the counts of the whole.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      query_label_QxC: multi-hot labels of any type; above 0 is present.
      database_RxW: packed codes, uint8.
      database_label_RxC: multi-hot labels.
      bits: the code length K; the codes' bits beyond it must be 0, as `pack_bits` leaves them.
      query_block: queries in work at a time.
      database_block: database items in work at a time; memory grows with the blocks' product.

    Returns:
      (total_QxD, relevant_QxD), int32 counts of items, D = K + 1.

    Raises:
      ValueError: if codes, labels and bits do not fit together, or a block is below 1.
    """
    check_codes(query_QxW, "query", bits=bits)
    check_codes(database_RxW, "database", bits=bits)
    _check_labels(query_label_QxC, query_QxW, "query")
    _check_labels(database_label_RxC, database_RxW, "database")
    if query_label_QxC.shape[1] != database_label_RxC.shape[1]:
        raise ValueError(
            f"query labels have {query_label_QxC.shape[1]} classes, database labels "
            f"{database_label_RxC.shape[1]}; encode both over the same classes"
        )
    if query_block < 1 or database_block < 1:
        raise ValueError(
            f"query_block={query_block} and database_block={database_block}; "
            "pass at least 1 for each"
        )
    queries, items = len(query_QxW), len(database_RxW)
    # Rounded up to a power of two, so that small inputs of different sizes share a compilation.
    query_block = min(query_block, 1 << (queries - 1).bit_length())
    database_block = min(database_block, 1 << (items - 1).bit_length())
    count_BxQxDx2 = _count_blocks(
        _blocks(pack_words(query_QxW), query_block),
        _blocks(_label_words(query_label_QxC), query_block),
        _blocks(pack_words(database_RxW), database_block),
        _blocks(_label_words(database_label_RxC), database_block),
        items,
        bits=bits,
    )
    count_QxDx2 = count_BxQxDx2.reshape(-1, bits + 1, 2)[:queries]
    return count_QxDx2.sum(axis=-1), count_QxDx2[..., 1]


@functools.partial(jax.jit, static_argnames="bits")
def _count_blocks(query, query_label, database, database_label, items, *, bits):
    blocks, rows, _ = database.shape
    real = (jnp.arange(blocks * rows) < items).reshape(blocks, rows)

    def count_query(code_V, label_V):
        def add_block(count, block):
            code_RxV, label_RxV, real_R = block
            distance_R = hamming_distance(code_V[None], code_RxV)[0]
            relevant_R = jnp.any(label_V[None] & label_RxV, axis=-1)
            # Padding goes to a bin past the end, which bincount drops.
            bin_R = jnp.where(real_R, 2 * distance_R + relevant_R, 2 * (bits + 1))
            return count + jnp.bincount(bin_R, length=2 * (bits + 1)), None

        count = jnp.zeros(2 * (bits + 1), jnp.int32)
        return lax.scan(add_block, count, (database, database_label, real))[0]

    return lax.map(lambda block: jax.vmap(count_query)(*block), (query, query_label))


def _blocks(row_NxV, size):
    """Cut rows into blocks of one size, the last filled up with zero rows."""
    rows, width = row_NxV.shape
    return jnp.pad(row_NxV, ((0, -rows % size), (0, 0))).reshape(-1, size, width)


def _label_words(label_NxC):
    """Labels as bit masks: two rows share a label where the AND of their words is not zero."""
    return pack_words(pack_bits(label_NxC > 0))


def _check_labels(label, code, name):
    if label.ndim != 2 or len(label) != len(code) or label.shape[1] == 0:
        raise ValueError(
            f"{name} labels have shape {label.shape}, its codes {code.shape}; "
            f"wanted ({len(code)}, classes); pass one multi-hot row per code"
        )


def search(
    query_QxW: jax.Array, database_RxW: jax.Array, k: int, *, query_block: int = 16
) -> tuple[jax.Array, jax.Array]:
    """Find the k nearest database items of each query, exactly.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      database_RxW: packed codes, uint8, of the same width.
      k: how many items to return, 1 to R.
      query_block: queries in work at a time; memory is about 8 x query_block x R bytes.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first; equal distances by the lower index.

    Raises:
      ValueError: if codes are not bytes of one width, or k is out of range.
    """
    check_codes(query_QxW, "query")
    check_codes(database_RxW, "database")
    if query_QxW.shape[1] != database_RxW.shape[1]:
        raise ValueError(
            f"query has {query_QxW.shape[1]} bytes a row, database {database_RxW.shape[1]}; "
            "encode both with the same number of bits"
        )
    if not 1 <= k <= len(database_RxW):
        raise ValueError(
            f"k={k}, but the database has {len(database_RxW)} items; "
            f"pass k from 1 to {len(database_RxW)}"
        )
    if query_block < 1:
        raise ValueError(f"query_block={query_block}; pass at least 1")
    return _search(query_QxW, database_RxW, k=k, query_block=min(query_block, len(query_QxW)))


@functools.partial(jax.jit, static_argnames=("k", "query_block"))
def _search(query_QxW, database_RxW, *, k, query_block):
    database_RxV = pack_words(database_RxW)

    def nearest(query_BxV):
        # float32 holds these integers exactly, and its top_k is 100 times int32's on a CPU.
        key_BxR = -hamming_distance(query_BxV, database_RxV).astype(jnp.float32)
        key_Bxk, index_Bxk = lax.top_k(key_BxR, k)
        return -key_Bxk.astype(jnp.int32), index_Bxk

    found = lax.map(nearest, _blocks(pack_words(query_QxW), query_block))
    distance_Qxk, index_Qxk = (block.reshape(-1, k)[: len(query_QxW)] for block in found)
    return distance_Qxk, index_Qxk
