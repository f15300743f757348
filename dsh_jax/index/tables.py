"""Hash tables of codes: what a query's own bucket, and those near it, hold.

Three searches of the literature are one structure with other parts of the code as keys:

- lookup within a radius (Salakhutdinov and Hinton 2009): one table of the whole code;
- locality-sensitive hashing (Indyk and Motwani 1998): L tables of b bits drawn at random;
- multi-index hashing (Norouzi, Punjani and Fleet 2012): m tables of disjoint parts. Codes within r
  bits of each other have a part within floor(r / m).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from dsh_jax.codes import check_codes
from dsh_jax.typed import Array

MOST_KEY = 64  # bits of a key
MOST_PROBES = 200_000  # buckets looked into for a query, of a table


class Tables:
    """Codes in hash tables, each keyed by some bits.

    Attributes:
      parts: the bits that are each table's key.
    """

    def __init__(self, packed_NxW: Array, bits: int, parts: Sequence[np.ndarray]) -> None:
        """Sort the codes by each key.

        Args:
          packed_NxW: codes, uint8 from `pack_bits`.
          bits: K.
          parts: for each table the bits of its key, 1 to 64 of 0 ... K - 1.

        Raises:
          ValueError: for codes that are not those of `bits`, or a bad part.
        """
        packed_NxW = np.asarray(packed_NxW)
        check_codes(packed_NxW, "database", bits=bits)
        for part in parts:
            if not 1 <= len(part) <= min(MOST_KEY, bits) or not np.isin(part, range(bits)).all():
                raise ValueError(
                    f"a key has the bits {list(part)}; pass 1 to {min(MOST_KEY, bits)} of 0 to "
                    f"{bits - 1} for each table"
                )
        self.parts = [np.asarray(part) for part in parts]
        self._packed_NxW = packed_NxW
        # Of each table: its keys in order, where each one's rows begin, and the rows.
        self._tables = []
        for part in self.parts:
            key_N = keys(packed_NxW, part)
            row_N = np.argsort(key_N, kind="stable")
            key_B, start_B = np.unique(key_N[row_N], return_index=True)
            self._tables.append((key_B, np.append(start_B, len(key_N)), row_N))

    def near(self, query_W: Array, radius: int) -> np.ndarray:
        """Return the rows that share a bucket with a query, or with a key near its own.

        Args:
          query_W: its code.
          radius: how many bits of a key may differ.

        Returns:
          Row numbers, each once, increasing.

        Raises:
          ValueError: where that is more than MOST_PROBES buckets of a table.
        """
        found = []
        for part, (key_B, start_B, row_N) in zip(self.parts, self._tables, strict=True):
            key = keys(np.asarray(query_W)[None], part)
            probe_P = key ^ masks(len(part), min(radius, len(part)))
            place_P = np.searchsorted(key_B, probe_P)
            place_P = place_P[(place_P < len(key_B)) & (key_B[place_P % len(key_B)] == probe_P)]
            found += [row_N[start_B[place] : start_B[place + 1]] for place in place_P]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def probes(self, radius: int) -> int:
        """Return how many buckets `near` looks into."""
        return sum(
            math.comb(len(part), n)
            for part in self.parts
            for n in range(min(radius, len(part)) + 1)
        )

    def search(self, query_W: Array, k: int, radius: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Find the k nearest of the codes that share a bucket with a query.

        Args:
          query_W: its code.
          k: how many, at most.
          radius: see `near`.

        Returns:
          (distance_k, row_k, compared): int32, nearest first, equal distances by the lower row,
          perhaps fewer than k; and how many codes were compared.
        """
        row_M = self.near(query_W, radius)
        distance_M = np.bitwise_count(self._packed_NxW[row_M] ^ np.asarray(query_W)[None])
        distance_M = distance_M.sum(axis=1, dtype=np.int32)
        order_k = np.argsort(distance_M, kind="stable")[:k]
        return distance_M[order_k], row_M[order_k].astype(np.int32), len(row_M)


def whole(bits: int) -> list[np.ndarray]:
    """Return the key of one table of whole codes, up to 64 bits."""
    return [np.arange(bits)]


def drawn(bits: int, tables: int, size: int, *, seed: int = 0) -> list[np.ndarray]:
    """Return the keys of tables of some bits, drawn at random without repeats in a key."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.permutation(bits)[:size]) for _ in range(tables)]


def disjoint(bits: int, tables: int) -> list[np.ndarray]:
    """Return the keys of tables of disjoint parts, as equal as can be."""
    return np.array_split(np.arange(bits), tables)


def keys(packed_NxW: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return some bits of codes as numbers, the first the lowest.

    Args:
      packed_NxW: uint8 codes.
      part: the bits, at most 64.

    Returns:
      uint64 [N].
    """
    byte_NxP = packed_NxW[:, part // 8] >> (part % 8).astype(np.uint8) & 1
    word_Nx8 = np.packbits(byte_NxP, axis=1, bitorder="little")
    word_Nx8 = np.pad(word_Nx8, ((0, 0), (0, 8 - word_Nx8.shape[1])))
    return np.ascontiguousarray(word_Nx8).view("<u8")[:, 0].astype(np.uint64)


@functools.lru_cache
def masks(bits: int, radius: int) -> np.ndarray:
    """Return the keys that have up to so many bits set, fewest first.

    Args:
      bits: of a key.
      radius: most bits that are set.

    Returns:
      uint64 [P].

    Raises:
      ValueError: where there are more than MOST_PROBES.
    """
    count = sum(math.comb(bits, n) for n in range(radius + 1))
    if count > MOST_PROBES:
        raise ValueError(
            f"radius={radius} of keys of {bits} bits are {count:,} buckets for a query; at most "
            f"{MOST_PROBES:,} are looked into: take a smaller radius, or more tables"
        )
    sets = (itertools.combinations(range(bits), n) for n in range(radius + 1))
    chosen = itertools.chain.from_iterable(sets)
    return np.array([sum(1 << place for place in places) for places in chosen], np.uint64)
