"""A database of codes, checked and arranged once for any number of searches and counts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from dsh_jax import parallel, whole
from dsh_jax.codes import check_codes
from dsh_jax.retrieval import counting, direct_search, few_queries, nearest
from dsh_jax.retrieval.blocks import label_words
from dsh_jax.retrieval.checks import (
    check_counts,
    check_labels,
    check_packed,
    check_search,
    check_unused,
)
from dsh_jax.retrieval.labels import Labels, labels_of
from dsh_jax.typed import Array

# Rows up to which a database stays on its devices; a larger one is brought there block by block
# at each call, so that memory stays bounded.
MOST_HELD = 1 << 25
MOST_FOUND = 1 << 24  # items that are searched for at a time, of all queries, by `within`
ABOUT = "index.json"


class Index:
    """Codes of a database, and the labels of its rows where they are known.

    What a search or a count needs is arranged at the first call and kept on the devices.

    Attributes:
      packed_RxW: uint8 codes.
      bits: K.
      labels: of the rows (of this process's part, if they are shared), or None.
      devices: of this process, that share the work.
      is_shared: whether the processes of a run share the rows.
    """

    def __init__(
        self,
        packed_RxW: Array,
        bits: int,
        label_RxC: Array | Labels | None = None,
        *,
        devices: Sequence[jax.Device] | None = None,
        is_shared: bool = False,
    ) -> None:
        """Check and keep a database.

        Args:
          packed_RxW: codes, uint8 from `pack_bits`; may be a memory map.
          bits: K; the codes' bits beyond it must be 0, as `pack_bits` leaves them.
          label_RxC: multi-hot labels of any type, above 0 is present; searches need none.
          devices: of this process; None for all of them.
          is_shared: whether each process of a run takes its own part of the rows; all must make
            the same calls then, and all get the answer for all rows.

        Raises:
          ValueError: if codes, labels and bits do not fit together.
        """
        self.packed_RxW, self.bits = np.asarray(packed_RxW), bits
        self.is_shared = is_shared
        part = parallel.own_part(len(self)) if is_shared else slice(0, len(self))
        self._start, self._own_RxW = part.start, self.packed_RxW[part]
        check_codes(self.packed_RxW, "database", bits=bits)
        check_unused(self._own_RxW, bits, "database")
        self.labels = label_RxC if isinstance(label_RxC, Labels | None) else None
        if label_RxC is not None and self.labels is None:
            label_RxC = np.asarray(label_RxC)
            check_labels(label_RxC, self.packed_RxW, "database")
            self.labels = labels_of(label_RxC[part])
        self.devices = tuple(devices or jax.local_devices())
        self._held: dict[Any, list] = {}

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.packed_RxW)

    def search(
        self,
        query_QxW: Array,
        k: int,
        *,
        method: str = "auto",
        query_block: int = 64,
        pad: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the k nearest items of each query, exactly.

        Args:
          query_QxW: packed codes, uint8 from `pack_bits`.
          k: how many items to return, 1 to R.
          method: "host" (numpy, for few queries or a large k), "groups" (up to 128 bits),
            "direct", "gpu", or the fastest by "auto".
          query_block: queries in work at a time, but for "host"; memory grows with it.
          pad: whether k may be above R: then index -1 at distance 2^31 - 1 stands for what is not
            there, as FAISS has it.

        Returns:
          (distance_Qxk, index_Qxk), int32, nearest first; equal distances by the lower index.

        Raises:
          ValueError: if the queries are not bytes of the database's width, or k or a setting is
            out of range.
        """
        query_QxW = np.asarray(query_QxW)
        if pad and k > len(self):
            found = self.search(query_QxW, len(self), method=method, query_block=query_block)
            more = (0, 0), (0, k - len(self))
            filler = np.iinfo(np.int32).max, -1
            distance_Qxk, index_Qxk = (
                np.pad(part, more, constant_values=value)
                for part, value in zip(found, filler, strict=True)
            )
            return distance_Qxk, index_Qxk
        check_search(query_QxW, self.packed_RxW, k, query_block)
        distance_Qxk, index_Qxk = self._search_own(query_QxW, k, method, query_block)
        if not self.is_shared:
            return distance_Qxk, index_Qxk
        more = (0, 0), (0, k - distance_Qxk.shape[1])
        every = np.stack(
            [
                np.pad(distance_Qxk, more, constant_values=direct_search.FAR),
                np.pad(index_Qxk + self._start, more),
            ]
        )
        distance_PxQxk, index_PxQxk = np.moveaxis(parallel.gather(every), 1, 0)
        return nearest.merge(None, [*distance_PxQxk], [*index_PxQxk], k)

    def _search_own(self, query_QxW, k, method, query_block):
        """The k nearest of this process's rows, all of them if they are fewer."""
        items, platform = len(self._own_RxW), self.devices[0].platform
        k = min(k, items)
        work = len(query_QxW), items, k
        if method == "auto" and few_queries.is_faster(*work, platform, len(self.devices)):
            method = "host"
        if method == "host":
            (word_VxR,) = self._hold("words", lambda: [few_queries.arrange(self._own_RxW)])
            return few_queries.nearest(query_QxW, word_VxR, k)
        kernel = nearest.kernel_of(method, len(self), 8 * query_QxW.shape[1], platform)
        placed = self._hold(
            ("shards", kernel), lambda: nearest.shards(self._own_RxW, kernel, self.devices)
        )
        return nearest.search_shards(
            query_QxW,
            placed,
            k,
            kernel=kernel,
            devices=self.devices,
            items=items,
            query_block=query_block,
        )

    def counts(
        self,
        query_QxW: Array,
        query_label_QxC: Array,
        *,
        shared: Sequence[int] | None = (1,),
        method: str = "auto",
        query_block: int = counting.QUERY_BLOCK,
        database_block: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Count the items at each distance that share so many labels with each query.

        Queries of one code and the same labels are counted once.

        Args:
          query_QxW, query_label_QxC, shared, method, query_block, database_block: see
            `shared_label_counts`.

        Returns:
          (total_QxD, at_least_TxQxD), int32 counts of items, T = len(shared).

        Raises:
          ValueError: see `shared_label_counts`, or for an index without labels.
        """
        query_QxW, query_label_QxC = np.asarray(query_QxW), np.asarray(query_label_QxC)
        if shared is None:
            most = int((query_label_QxC > 0).sum(axis=-1).max(initial=1))
            shared = range(1, most + 1)
        shared = tuple(np.atleast_1d(np.asarray(shared)).tolist())
        labels = self._labels_for(query_QxW, query_label_QxC)
        check_counts(shared, query_block, database_block)
        query_label_QxC = query_label_QxC > 0
        first_U, place_Q = _distinct(query_QxW, label_words(query_label_QxC))
        different = query_QxW[first_U], query_label_QxC[first_U]
        count_TxUxD = self._count(
            *different,
            labels,
            shared,
            method=method,
            query_block=query_block,
            database_block=database_block,
        )
        count_TxQxD = count_TxUxD[:, place_Q]
        return count_TxQxD[0], count_TxQxD[1:]

    def within(self, query_QxW: Array, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find all items within a radius of each query, exactly.

        Args:
          query_QxW: packed codes.
          radius: in bits, inclusive.

        Returns:
          (start_Q+1, distance_M, index_M): the items of query q are those from start[q] to
          start[q + 1], nearest first, equal distances by the lower index.

        Raises:
          ValueError: for bad queries, or a radius outside 0 … K.
        """
        query_QxW = np.asarray(query_QxW)
        check_search(query_QxW, self.packed_RxW, 1, 1)
        if not 0 <= radius <= self.bits:
            raise ValueError(f"radius={radius}; pass one from 0 to the {self.bits} bits of a code")
        # How many there are says how many to search for.
        nothing_Qx1 = np.zeros((len(query_QxW), 1), bool)
        no_labels = Labels(1, np.ones(len(self._own_RxW), np.int32), None)
        total_QxD = self._count(query_QxW, nothing_Qx1, no_labels, (1,))[0]
        found_Q = total_QxD[:, : radius + 1].sum(axis=1)
        start_Q = np.concatenate([[0], np.cumsum(found_Q, dtype=np.int64)])
        distance_M, index_M = np.zeros((2, start_Q[-1]), np.int32)
        near_N = found_Q.nonzero()[0]
        # Queries that find about as many together: a search has one k for all.
        bound_N = 1 << np.ceil(np.log2(found_Q[near_N])).astype(int)
        for k in np.unique(bound_N):
            most = max(1, MOST_FOUND // k)
            same_N = near_N[bound_N == k]
            for rows_B in np.split(same_N, range(most, len(same_N), most)):
                distance_Bxk, index_Bxk = self.search(query_QxW[rows_B], min(int(k), len(self)))
                is_near_Bxk = distance_Bxk <= radius
                row_N, rank_N = is_near_Bxk.nonzero()
                place_N = start_Q[rows_B[row_N]] + rank_N
                distance_M[place_N] = distance_Bxk[is_near_Bxk]
                index_M[place_N] = index_Bxk[is_near_Bxk]
        return start_Q, distance_M, index_M

    def add(self, packed_NxW: Array, label_NxC: Array | None = None) -> None:
        """Append rows; everything is arranged anew at the next call.

        Args:
          packed_NxW: codes of the same bits.
          label_NxC: multi-hot labels over the same classes, where the index has labels.

        Raises:
          ValueError: if they do not fit, or labels are missing or too many.
        """
        if self.is_shared:
            raise ValueError(
                "the processes' parts of the rows would move: make an index of all rows instead"
            )
        added = Index(packed_NxW, self.bits, label_NxC, devices=self.devices)
        if (added.labels is None) != (self.labels is None):
            has = "labels" if self.labels is not None else "no labels"
            raise ValueError(f"the index has {has}: pass them for the added rows as well, or not")
        if self.labels is not None and added.labels is not None:
            self.labels = self.labels.joined(added.labels)
        self.packed_RxW = np.concatenate([self.packed_RxW, added.packed_RxW])
        self._own_RxW = self.packed_RxW
        self._held.clear()

    def save(self, folder: epath.PathLike) -> None:
        """Write codes and labels as arrays that `load` maps into memory.

        Args:
          folder: is made; an index in it is replaced, also one that this index was loaded from.
        """
        if self.is_shared and self.labels is not None:
            raise ValueError(
                "each process has the labels of its own rows only: save an index that is not shared"
            )
        folder = epath.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"codes": self.packed_RxW}
        about = {"bits": self.bits, "rows": len(self), "classes": 0}
        if self.labels is not None:
            about["classes"] = self.labels.classes
            arrays["labels"] = self.labels.form
        with contextlib.ExitStack() as files:  # all take their names together
            for name, array in arrays.items():
                np.save(files.enter_context(whole.opened(folder / f"{name}.npy")), array)
        whole.write_text(folder / ABOUT, json.dumps(about))

    @classmethod
    def load(
        cls,
        folder: epath.PathLike,
        *,
        devices: Sequence[jax.Device] | None = None,
        is_shared: bool = False,
    ) -> Index:
        """Return an index that `save` has written; codes and labels are memory maps.

        Args:
          folder: of the index.
          devices, is_shared: see `Index`.

        Returns:
          Index.

        Raises:
          ValueError: for a folder without an index.
        """
        folder = epath.Path(folder)
        if not (folder / ABOUT).exists():
            raise ValueError(f"{folder} holds no index: it has no {ABOUT}; write one with `save`.")
        about = json.loads((folder / ABOUT).read_text())
        labels = None
        if about["classes"]:
            form = np.load(folder / "labels.npy", mmap_mode="r")
            form = form[parallel.own_part(len(form)) if is_shared else slice(None)]
            is_class = form.ndim == 1
            labels = Labels(
                about["classes"], form if is_class else None, None if is_class else form
            )
        packed_RxW = np.load(folder / "codes.npy", mmap_mode="r")
        return cls(packed_RxW, about["bits"], labels, devices=devices, is_shared=is_shared)

    def _count(
        self,
        query_QxW: np.ndarray,
        query_label_QxC: np.ndarray,
        labels: Labels,
        shared: tuple[int, ...],
        *,
        method: str = "auto",
        query_block: int = counting.QUERY_BLOCK,
        database_block: int | None = None,
    ) -> np.ndarray:
        """Count by labels, which for `within` are not the index's own."""
        items = len(self._own_RxW)
        if method == "auto":
            method = counting.fastest(
                query_label_QxC,
                labels,
                bits=self.bits,
                items=items,
                levels=len(shared),
                platform=self.devices[0].platform,
            )
        counting.check_method(method, bits=self.bits, labels=labels)

        def arranged():
            return counting.blocks(
                self._own_RxW, labels, method=method, devices=self.devices, block=database_block
            )

        key = counting.arrangement(method), database_block, labels is self.labels
        count_TxQxD = counting.count(
            query_QxW,
            query_label_QxC,
            lambda: self._hold(key, arranged),
            method=method,
            bits=self.bits,
            shared=shared,
            items=items,
            devices=self.devices,
            query_block=query_block,
        )
        return parallel.sum_over_processes(count_TxQxD) if self.is_shared else count_TxQxD

    def _hold(self, key: Any, make: Callable[[], Iterable]) -> Iterable:
        """What is arranged, kept where the database is not too large for that."""
        if len(self._own_RxW) > MOST_HELD:
            return make()
        if key not in self._held:
            self._held[key] = list(make())
        return self._held[key]

    def _labels_for(self, query_QxW: np.ndarray, query_label_QxC: np.ndarray) -> Labels:
        if self.labels is None:
            raise ValueError("the index has no labels to count by; pass them to Index")
        check_packed(query_QxW, self.bits, "query")
        check_labels(query_label_QxC, query_QxW, "query")
        if query_label_QxC.shape[1] != self.labels.classes:
            raise ValueError(
                f"query labels have {query_label_QxC.shape[1]} classes, database labels "
                f"{self.labels.classes}; encode both over the same classes"
            )
        return self.labels


def search(
    query_QxW: Array,
    database_RxW: Array,
    k: int,
    *,
    method: str = "auto",
    query_block: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k nearest database items of each query, exactly.

    For more than one call, an `Index` arranges the database once.

    Args:
      query_QxW: packed codes, uint8 from `pack_bits`.
      database_RxW: packed codes, uint8, of the same width; may be a memory map.
      k: how many items to return, 1 to R.
      method, query_block: see `Index.search`.

    Returns:
      (distance_Qxk, index_Qxk), int32, nearest first; equal distances by the lower index.

    Raises:
      ValueError: if codes are not bytes of one width, or k or a setting is out of range.
    """
    database_RxW = np.asarray(database_RxW)
    check_codes(database_RxW, "database")
    index = Index(database_RxW, 8 * database_RxW.shape[1])
    return index.search(query_QxW, k, method=method, query_block=query_block)


def _distinct(query_QxW: np.ndarray, word_QxU: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first query of each code and set of labels, and which of these each query is."""
    joined = np.concatenate([query_QxW, word_QxU.view(np.uint8)], axis=1)
    rows = np.ascontiguousarray(joined).view(np.dtype((np.void, joined.shape[1])))[:, 0]
    _, first_U, place_Q = np.unique(rows, return_index=True, return_inverse=True)
    return first_U, place_Q
