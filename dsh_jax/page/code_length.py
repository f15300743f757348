"""Codes cut to their first bits, and what the cut does to the neighbours of a query."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dsh_jax import retrieval
from dsh_jax.codes import check_codes


class Cut(NamedTuple):
    """The neighbours of one query by the first n bits.

    Attributes:
      bits: n.
      distance_k: int32, Hamming distances over those bits, nearest first.
      row_k: int32, of the database.
      same: how many of the database have the same n bits.
      kept: how many of the rows are among the k nearest by the whole code.
    """

    bits: int
    distance_k: np.ndarray
    row_k: np.ndarray
    same: int
    kept: int


def first_bits(packed_NxW: np.ndarray, bits: int) -> np.ndarray:
    """Return codes with all but their first n bits zero: these add nothing to a distance.

    Args:
      packed_NxW: uint8, see `codes.pack_bits`.
      bits: n, from 1 to 8 W.

    Returns:
      uint8 [N, W], of the same width, so that a search is compiled once for all n.

    Raises:
      ValueError: for other codes or another n.
    """
    check_codes(packed_NxW, "codes")
    width = packed_NxW.shape[1]
    if not 1 <= bits <= 8 * width:
        raise ValueError(f"bits is {bits}; codes of {width} bytes have 1 to {8 * width} bits.")
    mask_W = np.packbits(np.arange(8 * width) < bits, bitorder="little")
    return packed_NxW & mask_W[None]


class Cuts:
    """A database that is searched by any number of its codes' first bits."""

    def __init__(self, packed_NxW: np.ndarray) -> None:
        """Keep codes.

        Args:
          packed_NxW: uint8, see `codes.pack_bits`.
        """
        self.packed_NxW = packed_NxW
        self._indexes: dict[int, retrieval.Index] = {}

    def index(self, bits: int) -> retrieval.Index:
        """Return the index of the first n bits, arranged when it is first asked for.

        Args:
          bits: n.
        """
        if bits not in self._indexes:
            cut_NxW = first_bits(self.packed_NxW, bits)
            self._indexes[bits] = retrieval.Index(cut_NxW, 8 * cut_NxW.shape[1])
        return self._indexes[bits]


def cut(packed_1xW: np.ndarray, database: Cuts, bits: int, k: int) -> Cut:
    """Find the k nearest by the first n bits, exactly.

    Args:
      packed_1xW: code of the query, uint8.
      database: its codes.
      bits: n.
      k: how many, 1 to N.

    Returns:
      Cut.

    Raises:
      ValueError: see `first_bits` and `retrieval.search`.
    """
    query_1xW, index = first_bits(packed_1xW, bits), database.index(bits)
    distance_1xk, row_1xk = index.search(query_1xW, k)
    _, whole_1xk = database.index(8 * packed_1xW.shape[1]).search(packed_1xW, k)
    return Cut(
        bits=bits,
        distance_k=distance_1xk[0],
        row_k=row_1xk[0],
        same=int((index.packed_RxW == query_1xW).all(axis=1).sum()),
        kept=len(np.intersect1d(row_1xk, whole_1xk)),
    )


def lengths(bits: int) -> tuple[int, ...]:
    """Return an eighth, a quarter, a half, three quarters and the whole of K, at least 1."""
    return tuple(sorted({max(1, bits * part // 8) for part in (1, 2, 4, 6, 8)}))
