"""Indexes of FAISS over codes: built, and searched in the order of `retrieval.search`.

FAISS has the same order of bits in bytes, and unused bits of the last byte are zero: its distances
are ours. Of the kinds, "flat" looks at every code; "ivf" at the cells nearest to the query, of a
k-means; "hash" at the codes whose first bits differ from the query's in few.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dsh_jax.codes import check_codes

KINDS = {"flat": "IndexBinaryFlat", "ivf": "IndexBinaryIVF", "hash": "IndexBinaryHash"}
PROBES = {"ivf": "nprobe", "hash": "nflip"}  # what FAISS calls how much they look at
CELL = 39  # codes that FAISS wants for a cell of the k-means
BUCKET = 16  # codes in a bucket of "hash", about


def build(packed_NxW: np.ndarray, *, bits: int, kind: str = "flat", seed: int = 0) -> Any:
    """Return an index of codes: "ivf" of sqrt(N) cells, "hash" of about 16 codes in a bucket.

    Args:
      packed_NxW: uint8, see `codes.pack_bits`.
      bits: K.
      kind: "flat", exact; "ivf" or "hash", approximate.
      seed: of the k-means.

    Returns:
      IndexBinaryFlat, IndexBinaryIVF or IndexBinaryHash of FAISS.

    Raises:
      ValueError: for codes that are not those of `bits`, or another kind.
    """
    faiss = library()
    packed_NxW = np.ascontiguousarray(packed_NxW)
    check_codes(packed_NxW, "the codes", bits=bits)
    rows, width = packed_NxW.shape
    if kind == "flat":
        index = faiss.IndexBinaryFlat(8 * width)
    elif kind == "ivf":
        cells = max(1, min(round(math.sqrt(rows)), rows // CELL))
        index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(8 * width), 8 * width, cells)
        index.cp.seed = seed
        index.cp.min_points_per_centroid = 1  # it would warn of the one cell of few codes
        index.train(packed_NxW)
    elif kind == "hash":
        named = min(bits, max(1, round(math.log2(rows / BUCKET))))
        index = faiss.IndexBinaryHash(8 * width, named)
    else:
        raise ValueError(f"kind={kind!r} of an index of FAISS; pass one of {', '.join(KINDS)}")
    set_probe(index, None)
    index.add(packed_NxW)
    return index


def kind_of(index: Any) -> str:
    """Return the kind of an index of FAISS, one of KINDS.

    Raises:
      ValueError: for another class.
    """
    found = type(index).__name__
    if found not in KINDS.values():
        raise ValueError(f"the index of FAISS is {found}; pass one of {', '.join(KINDS.values())}")
    return next(kind for kind, name in KINDS.items() if name == found)


def set_probe(index: Any, probe: int | None) -> None:
    """Set how much an approximate index looks at: more finds more of the nearest, more slowly.

    Args:
      index: see `build`; changed in place.
      probe: cells of "ivf", from 1; first bits of "hash" that may differ, from 0; None is an eighth
        of the cells, and 3 bits.

    Raises:
      ValueError: for a number out of range, or one for an exact index.
    """
    kind = kind_of(index)
    if kind == "flat":
        if probe is not None:
            raise ValueError("an index of kind flat looks at every code: set no probe")
        return
    least, most = (1, index.nlist) if kind == "ivf" else (0, index.b)
    if probe is None:
        probe = math.ceil(index.nlist / 8) if kind == "ivf" else min(3, index.b)
    if probe != int(probe) or not least <= probe <= most:
        raise ValueError(
            f"probe={probe} of an index of kind {kind}; pass an integer from {least} to {most}"
        )
    setattr(index, PROBES[kind], int(probe))


def search(index: Any, query_QxW: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest codes of each query among those that the index looks at.

    FAISS returns any codes of those as far as the k-th; they are all asked for, so that the order
    is ours. From an index of kind "flat" the answer is that of `retrieval.search`.

    Args:
      index: see `build`.
      query_QxW: packed codes, uint8.
      k: how many, 1 to the number of codes.

    Returns:
      (distance_Qxk, row_Qxk), int32, nearest first; equal distances by the lower row.

    Raises:
      ValueError: for codes of another width, a bad k, or where the index looks at fewer than k.
    """
    query_QxW = np.ascontiguousarray(query_QxW)
    check_codes(query_QxW, "query", bits=index.d)
    if k != int(k) or not 1 <= k <= index.ntotal:
        raise ValueError(
            f"k={k}, but the index has {index.ntotal} codes; pass k from 1 to {index.ntotal}"
        )
    nearest_Qxk, row_Qxk = index.search(query_QxW, int(k))
    found_Q = (row_Qxk >= 0).sum(axis=1)
    if found_Q.min() < k:
        kind = kind_of(index)
        raise ValueError(
            f"the {kind} index looks at {found_Q.min()} codes near query {found_Q.argmin()}, but "
            f"k={k}; set a greater probe (now {getattr(index, PROBES[kind])}), or use kind flat"
        )
    distance_Qxk, row_Qxk = np.empty((2, len(query_QxW), int(k)), np.int32)
    for query, furthest in enumerate(nearest_Qxk[:, -1].tolist()):
        _, distance_M, row_M = index.range_search(query_QxW[query : query + 1], furthest + 1)
        order_k = np.lexsort((row_M, distance_M))[: int(k)]
        distance_Qxk[query], row_Qxk[query] = distance_M[order_k], row_M[order_k]
    return distance_Qxk, row_Qxk


def library() -> Any:
    """Return FAISS, which nothing else needs.

    Raises:
      ValueError: where it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError(f"FAISS cannot be imported ({error}): pip install -e .[faiss]") from error
    return faiss
