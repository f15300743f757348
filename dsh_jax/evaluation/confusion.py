"""Which classes the neighbours of a class's queries have."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax import metrics, retrieval
from dsh_jax.typed import Array, jit


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Hold which classes the neighbours of queries have.

    Attributes:
      share_CxC: see `neighbour_confusion`.
      database_C: share of the database rows that have each class.
      names: of the C classes.
      note: what was counted, a sentence.
    """

    share_CxC: np.ndarray
    database_C: np.ndarray
    names: Sequence[str]
    note: str


def class_shares(
    query_QxW: Array,
    database_RxW: Array,
    database_label_RxC: Array,
    *,
    bits: int,
    k: int,
) -> np.ndarray:
    """Return the share of each class among the k nearest items, expected over all tie orders.

    s[q, c] = (1/k) E[#{r among the first k of q : r has class c}]

    It is the precision at k of a query that asks for the class, see `metrics.precision_at`: codes
    have so many ties that one order of them would show the database's order instead.

    Args:
      query_QxW: packed codes, uint8.
      database_RxW: packed codes, uint8.
      database_label_RxC: multi-hot labels.
      bits: K.
      k: neighbours of each query, 1 to R.

    Returns:
      share_QxC, float32 in [0, 1]; rows sum to 1 where each item has one class.

    Raises:
      ValueError: where k is not in 1 … R, or codes and bits do not fit together.
    """
    if not 1 <= k <= len(database_RxW):
        raise ValueError(f"k is {k}; the database has {len(database_RxW)} rows: pass 1 to as many.")
    index = retrieval.Index(database_RxW, bits, database_label_RxC)
    share_CxQ = []
    for asks_C in np.eye(np.shape(database_label_RxC)[1], dtype=np.uint8):
        asks_QxC = np.broadcast_to(asks_C[None], (len(query_QxW), len(asks_C)))
        total_QxD, (relevant_QxD,) = index.counts(query_QxW, asks_QxC)
        share_CxQ.append(metrics.precision_at(total_QxD, relevant_QxD, k))
    return np.stack(share_CxQ, axis=1)


@jit
def neighbour_confusion(label_QxC: Array, share_QxC: Array) -> jax.Array:
    """Return the classes of the neighbours of each class's queries.

    M[i, j] = Σ_q y[q, i] s[q, j] / Σ_q y[q, i]

    With one label an item, each row sums to 1 and the diagonal is the precision. With several, row
    i is the mean over the queries that have class i, whatever else they have; entry j is the share
    of their neighbours that have class j, and the row sums to their mean number of labels.

    Args:
      label_QxC: multi-hot labels of the queries; above 0 is present.
      share_QxC: share of each class among the neighbours of each query: `class_shares`, or the mean
        of the neighbours' multi-hot labels.

    Returns:
      confusion_CxC, float32; NaN in the row of a class without queries.

    Raises:
      ValueError: where the shapes differ.
    """
    if label_QxC.shape != share_QxC.shape or label_QxC.ndim != 2:
        raise ValueError(
            f"labels have shape {label_QxC.shape} and shares {share_QxC.shape}; pass two (Q, C) "
            "arrays of the same queries and classes"
        )
    has_QxC = label_QxC > 0
    share_QxC = jnp.asarray(share_QxC, jnp.float32)
    total_CxC = jnp.matmul(has_QxC.T.astype(jnp.float32), share_QxC, precision="highest")
    return total_CxC / has_QxC.sum(axis=0)[:, None]


def of_codes(
    query: tuple[Array, Array],
    database: tuple[Array, Array],
    names: Sequence[str],
    *,
    bits: int,
    title: str,
    most: int = 10,
) -> Confusion:
    """Return the confusion of classes between queries and their nearest database items.

    Args:
      query: packed codes [Q, W] and multi-hot labels [Q, C].
      database: packed codes [R, W] and multi-hot labels [R, C].
      names: of the C classes.
      bits: K.
      title: of the database.
      most: neighbours of each query, or R where that is less.

    Returns:
      Confusion.
    """
    (query_QxW, query_QxC), (database_RxW, database_RxC) = query, database
    k = min(most, len(database_RxW))
    share_QxC = class_shares(query_QxW, database_RxW, database_RxC, bits=bits, k=k)
    note = (
        f"The share of each class among the {k} nearest rows of {title}, expected over all orders "
        "of ties, by the class of the query."
    )
    if (query_QxC.sum(axis=1) > 1).any():
        note += " Who has several classes counts for each, so that rows sum to more than 100 %."
    return Confusion(
        share_CxC=np.asarray(neighbour_confusion(query_QxC, share_QxC)),
        database_C=np.asarray(database_RxC.mean(axis=0)),
        names=names,
        note=note,
    )


def most_confused(confusion_CxC: Array, count: int) -> list[tuple[int, int]]:
    """Return the pairs of different classes with the largest shares.

    Args:
      confusion_CxC: from `neighbour_confusion`.
      count: pairs, at most.

    Returns:
      (class of the queries, class of the neighbours), the largest share first, none of share 0;
      equal ones in the order of the classes.
    """
    share_CxC = np.nan_to_num(np.asarray(confusion_CxC))
    np.fill_diagonal(share_CxC, 0)
    best = np.argsort(-share_CxC, axis=None, kind="stable")[:count]
    pairs = zip(*np.unravel_index(best, share_CxC.shape), strict=True)
    return [(int(i), int(j)) for i, j in pairs if share_CxC[i, j] > 0]
