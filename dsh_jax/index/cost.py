"""What a search costs and what it finds: all codes, hash tables, and FAISS, side by side."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging

from dsh_jax import retrieval
from dsh_jax.index import faiss_index, tables

BUCKET = 16  # codes that share a key of random bits, about
LSH_TABLES = 1, 4, 16, 64
RADII = 0, 1, 2, 3
NPROBES = 1, 4, 16, 64

# Of a query: rows nearest first, and how many codes were compared.
Search = Callable[[np.ndarray], tuple[np.ndarray, int]]


@dataclasses.dataclass(frozen=True)
class Cost:
    """A way to search, measured.

    Attributes:
      method: its name.
      setting: how thoroughly it looks.
      recall: of the k nearest codes, the share that it finds; one as near as the k-th counts.
      precision: share of what it returns, k at most, that shares a label with the query; 0 where it
        returns nothing.
      empty: share of the queries for which it returns nothing.
      compared: share of the database whose distance it computes.
      buckets: of hash tables that it looks into.
      microseconds: a query, asked alone.
    """

    method: str
    setting: str
    recall: float
    precision: float
    empty: float
    compared: float
    buckets: int
    microseconds: float


def costs(
    query_QxW: np.ndarray,
    query_label_QxC: np.ndarray,
    database_RxW: np.ndarray,
    database_label_RxC: np.ndarray,
    *,
    bits: int,
    k: int,
    seed: int = 0,
) -> list[Cost]:
    """Measure every way to search that the codes allow, a query at a time.

    Hash tables are numpy's and FAISS is compiled: compare their times with care, and what they
    compare without.

    Args:
      query_QxW, query_label_QxC, database_RxW, database_label_RxC: codes and multi-hot labels.
      bits: K.
      k: how many are wanted of each query.
      seed: of random keys and of FAISS's k-means.

    Returns:
      A list of Cost; without FAISS where it is not installed.
    """
    items = len(database_RxW)
    distance_Qxk, _ = retrieval.search(query_QxW, database_RxW, k)
    found = []
    for method, setting, search, buckets in _ways(database_RxW, bits, k, seed):
        logging.info("measuring %s %s", method, setting)
        search(query_QxW[0])  # what is compiled or laid out at the first call
        rows, compared, began = [], 0, time.perf_counter()
        for query_W in query_QxW:
            row_M, looked = search(query_W)
            rows.append(row_M)
            compared += looked
        seconds = time.perf_counter() - began
        furthest_Q = distance_Qxk[:, -1]
        near, right = [], []
        for query, row_M in enumerate(rows):
            distance_M = np.bitwise_count(database_RxW[row_M] ^ query_QxW[query][None]).sum(axis=1)
            near.append((distance_M <= furthest_Q[query]).sum() / k)
            shared_MxC = (database_label_RxC[row_M] > 0) & (query_label_QxC[query] > 0)[None]
            right.append(shared_MxC.any(axis=1).mean() if len(row_M) else 0.0)
        queries = len(query_QxW)
        found.append(
            Cost(
                method=method,
                setting=setting,
                recall=float(np.mean(near)),
                precision=float(np.mean(right)),
                empty=sum(not len(row_M) for row_M in rows) / queries,
                compared=compared / queries / items,
                buckets=buckets,
                microseconds=1e6 * seconds / queries,
            )
        )
    return found


def table(costs: Sequence[Cost]) -> str:
    """Return costs as text.

    Args:
      costs: see `costs`.

    Returns:
      Lines, one for each.
    """
    heads = "search", "setting", "recall", "precision", "empty", "compared", "buckets", "µs a query"
    widths = 24, 22, 8, 10, 8, 10, 9, 12
    lines = [heads] + [
        (
            *(one.method, one.setting, f"{one.recall:.3f}", f"{one.precision:.3f}"),
            *(f"{one.empty:.1%}", f"{one.compared:.2%}"),
            *(f"{one.buckets:,}", f"{one.microseconds:,.0f}"),
        )
        for one in costs
    ]
    return "\n".join(
        "".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _ways(
    database_RxW: np.ndarray, bits: int, k: int, seed: int
) -> Iterator[tuple[str, str, Search, int]]:
    """Yield (method, setting, search, buckets)."""
    items = len(database_RxW)
    index = retrieval.Index(database_RxW, bits)
    yield "all codes", "", lambda query_W: (index.search(query_W[None], k)[1][0], items), 0
    size = max(1, min(bits, round(math.log2(items / BUCKET))))
    parts = max(1, round(bits / math.log2(max(items, 2))))  # as many as its authors recommend
    kinds = [
        ("lookup within a radius", "radius {}", tables.whole(bits), RADII),
        (
            "multi-index hashing",
            f"{parts} tables, radius {{}}",
            tables.disjoint(bits, parts),
            RADII,
        ),
        *(
            (
                "locality-sensitive",
                f"{count} tables of {size} bits",
                tables.drawn(bits, count, size, seed=seed),
                (0,),
            )
            for count in LSH_TABLES
        ),
    ]
    for method, setting, keys, radii in kinds:
        if max(map(len, keys)) > tables.MOST_KEY:
            continue
        held = tables.Tables(database_RxW, bits, keys)
        for radius in radii:
            try:
                held.near(database_RxW[0], radius)
            except ValueError:  # too many buckets, and more for each further radius
                break
            # Multi-index hashing is exact up to this distance of whole codes.
            reach = parts * (radius + 1) - 1 if method == "multi-index hashing" else radius

            def search(query_W, held=held, radius=radius):
                _, row_M, compared = held.search(query_W, k, radius)
                return row_M, compared

            yield method, setting.format(reach), search, held.probes(radius)
    yield from _faiss_ways(database_RxW, bits, k, seed)


def _faiss_ways(
    database_RxW: np.ndarray, bits: int, k: int, seed: int
) -> Iterator[tuple[str, str, Search, int]]:
    try:
        faiss = faiss_index.library()
    except ValueError:
        return
    items = len(database_RxW)
    for kind, probes in (("flat", (None,)), ("ivf", NPROBES), ("hash", RADII)):
        index = faiss_index.build(database_RxW, bits=bits, kind=kind, seed=seed)
        most = {"flat": 0, "ivf": getattr(index, "nlist", 0), "hash": getattr(index, "b", 0)}[kind]
        for probe in probes:
            if probe is not None and probe > most:
                continue

            def search(query_W, index=index, kind=kind, probe=probe):
                faiss_index.set_probe(index, probe)
                statistics = _statistics(faiss, kind)
                before = statistics.ndis if statistics else 0
                _, row_1xk = index.search(query_W[None], k)
                compared = statistics.ndis - before if statistics else items
                return row_1xk[0][row_1xk[0] >= 0], compared

            setting = "" if probe is None else f"{faiss_index.PROBES[kind]} {probe}"
            yield f"FAISS {kind}", setting, search, 0


def _statistics(faiss: Any, kind: str) -> Any:
    """Return where FAISS counts the codes that an index compares; None for one that takes all."""
    return {
        "ivf": faiss.cvar.indexIVF_stats,
        "hash": faiss.cvar.indexBinaryHash_stats,
    }.get(kind)
