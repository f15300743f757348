"""Distance counts of blocks of a database on a GPU, by the kernel of `gpu_planes`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.retrieval.bit_planes import WORD, bit_planes, first_items, mark_shared, query_labels
from dsh_jax.retrieval.gpu_planes import WIDTH, part_counts

TILE = WIDTH * WORD  # items that a program looks at in one turn
# Words of a part that holds one class, and what a part costs beside them: a program adds up its
# counts once, which takes as long as about three turns.
CLASS_SIZES = tuple(WIDTH << i for i in range(6))
CLASS_OVERHEAD = 3 * WIDTH


def block_rows(rows: int) -> int:
    """Round a number of rows up to whole parts.

    Args:
      rows: at least 1.

    Returns:
      A multiple of TILE, and of 8 or 32 of them where there are many.
    """
    turns = _turns(-(-rows // TILE))
    return -(-rows // (turns * TILE)) * turns * TILE


def query_sets(label_QxC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the different sets of classes among queries, which is what `add_block` takes.

    Args:
      label_QxC: bool, multi-hot.

    Returns:
      (class_UxM, set_Q): the classes of each set as `bit_planes.query_labels` lists them, U a power
      of two so that data sets share compilations; and the set of each query, int32.
    """
    set_UxC, set_Q = np.unique(label_QxC, axis=0, return_inverse=True)
    more = (1 << (len(set_UxC) - 1).bit_length()) - len(set_UxC)
    return query_labels(np.pad(set_UxC, ((0, more), (0, 0)))), set_Q.reshape(-1).astype(np.int32)


def add_block(
    count_QxDxT: jax.Array,
    query_QxV: jax.Array,
    sets: tuple[jax.Array, jax.Array],
    queries: jax.Array,
    code_NxV: jax.Array,
    label_NxU: jax.Array,
    items: jax.Array,
    *,
    classes: int,
    shared: tuple[int, ...],
) -> jax.Array:
    """Add the counts of one block of the database.

    Args:
      count_QxDxT, query_QxV, queries, code_NxV, label_NxU, items, classes, shared: see
        `bit_planes.add_block`; N from `block_rows`.
      sets: from `query_sets`.

    Returns:
      The new counts, see `bit_planes.add_block`.
    """
    del queries  # the others cost a program each, and nobody reads their counts
    bits = count_QxDxT.shape[1] - 1
    shape = -1, _turns(len(code_NxV) // TILE) * WIDTH
    plane_KxL = bit_planes(code_NxV, bits)
    class_CxL = jnp.pad(bit_planes(label_NxU, classes), ((0, 1), (0, 0)))
    real_L = first_items(items, jnp.arange(plane_KxL.shape[1]))
    class_UxM, set_Q = sets

    def marks_of(class_M):
        common = list(class_CxL[class_M])
        return jnp.stack([mark_shared(common, number) & real_L for number in shared])

    mark_UxTxL = jax.vmap(marks_of)(class_UxM)
    count_QxPxTxD = part_counts(
        query_QxV,
        plane_KxL.reshape(bits, *shape),
        real_L.reshape(shape),
        mark_UxTxL.reshape(*mark_UxTxL.shape[:2], *shape),
        set_Q,
    )
    return count_QxDxT + count_QxPxTxD.sum(axis=1).transpose(0, 2, 1)


def add_classes(
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
    """Add the counts of one block of items of one class each: half the work of `add_block`.

    Args:
      count_QxDx2, query_QxV, query_class_QxM, queries, word_RxV, real_PxL, class_P: see
        `class_planes.add_block`; L one of CLASS_SIZES.
      classes, shared: not needed here.

    Returns:
      The new counts, see `class_planes.add_block`.
    """
    del queries, classes
    assert shared == (1,)
    bits = count_QxDx2.shape[1] - 1
    plane_KxPxL = bit_planes(word_RxV, bits).reshape(bits, *real_PxL.shape)
    count_QxPxD = part_counts(query_QxV, plane_KxPxL, real_PxL)[:, :, 0]
    is_own_QxP = (query_class_QxM[:, :, None] == class_P[None, None]).any(axis=1)
    own_QxD = jnp.where(is_own_QxP[..., None], count_QxPxD, 0).sum(axis=1)
    return count_QxDx2 + jnp.stack([count_QxPxD.sum(axis=1), own_QxD], axis=2)


def _turns(tiles):
    """How many tiles a part has: few where there are few, for every core to have work."""
    return 1 if tiles < 64 else 8 if tiles < 4096 else 32
