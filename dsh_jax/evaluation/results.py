"""Retrieval results: from packed codes to every number, their names, their table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from dsh_jax import metrics, retrieval, whole
from dsh_jax.metrics import graded, precision_recall_by_radius, recall_within_radius, statistics

PRECISION_AT = (100, 200, 400, 500, 600, 800, 1000)  # the paper's Table 2, and its @500
FIRST = 10  # items that a person looks at


@dataclasses.dataclass(frozen=True)
class Result:
    """One evaluation of queries against a database.

    Attributes:
      metrics: name to value, see docs/metrics.md: `map` (tie-aware, whole ranking), its 95 %
        interval over queries `map_low`, `map_high`, the bounds over tie orders `map_optimistic`,
        `map_pessimistic`, `chance`; `precision_`, `recall_`, `map_within_radius_2`;
        `precision_at_100` … 1000; of multi-label data also `ndcg_at_1000`, `acg_at_1000`,
        `weighted_map`.
      precision_D, recall_D: of the Hamming ball of radius 0 … K, macro over the queries.
      pooled_precision_D, pooled_recall_D: the same of all queries' items together (micro).
      ap_Q: each query's tie-aware average precision.
      without_relevant: how many queries have no relevant item; each counts 0.
      first: how many items a query's first ones are, FIRST or all that there are.
      relevant_first: the relevant ones among them, expected over tie orders, mean over queries.
    """

    metrics: dict[str, float]
    precision_D: np.ndarray
    recall_D: np.ndarray
    pooled_precision_D: np.ndarray
    pooled_recall_D: np.ndarray
    ap_Q: np.ndarray
    without_relevant: int = 0
    first: int = 0
    relevant_first: float = 0.0


def retrieve(
    query_QxW: np.ndarray,
    query_label_QxC: np.ndarray,
    database_RxW: np.ndarray,
    database_label_RxC: np.ndarray,
    *,
    bits: int,
    precision_at: Sequence[int] = PRECISION_AT,
) -> Result:
    """Return the retrieval metrics of packed codes.

    Args:
      query_QxW: uint8 codes.
      query_label_QxC: multi-hot labels.
      database_RxW: uint8 codes.
      database_label_RxC: multi-hot labels.
      bits: K.
      precision_at: the k of each precision at k; those above R are left out.

    Returns:
      Result.
    """
    queries, items = len(query_QxW), len(database_RxW)
    # Each process counts its part of the database.
    index = retrieval.Index(database_RxW, bits, database_label_RxC, is_shared=True)
    total_QxD, at_least_TxQxD = index.counts(query_QxW, query_label_QxC, shared=None)
    # Filled up with queries that have no items, so that data sets share compilations.
    pad = -queries % min(1024, 1 << (queries - 1).bit_length())
    total_QxD = np.pad(total_QxD, ((0, pad), (0, 0)))
    at_least_TxQxD = np.pad(at_least_TxQxD, ((0, 0), (0, pad), (0, 0)))
    counts = total_QxD, at_least_TxQxD[0]

    def mean(value_Q) -> float:
        return float(np.asarray(value_Q)[:queries].mean(dtype=np.float64))

    ap_Q = np.asarray(metrics.average_precision(*counts))[:queries]
    low = high = mean(ap_Q)
    if queries > 1:
        low, high = statistics.bootstrap_interval(ap_Q, seed=0, resamples=1000)
    radius = min(2, bits)
    values = {
        "map": mean(ap_Q),
        "map_low": low,
        "map_high": high,
        "map_optimistic": mean(metrics.average_precision_optimistic(*counts)),
        "map_pessimistic": mean(metrics.average_precision_pessimistic(*counts)),
        "chance": mean(counts[1].sum(axis=1) / items),
        "precision_within_radius_2": mean(metrics.precision_within_radius(*counts, radius)),
        "recall_within_radius_2": mean(recall_within_radius(*counts, radius)),
        "map_within_radius_2": mean(metrics.average_precision_within_radius(*counts, radius)),
    }
    ks = [k for k in precision_at if k <= items]
    first = min(FIRST, items)
    *precisions, precision_first_Q = metrics.precision_at(*counts, [*ks, first])
    for k, value_Q in zip(ks, precisions, strict=True):
        values[f"precision_at_{k}"] = mean(value_Q)
    if len(at_least_TxQxD) > 1:  # some query has several labels
        k = min(1000, items)
        graded_counts = total_QxD, at_least_TxQxD
        values[f"ndcg_at_{k}"] = mean(graded.ndcg_at(*graded_counts, k))
        values[f"acg_at_{k}"] = mean(graded.acg_at(*graded_counts, k))
        values["weighted_map"] = mean(graded.weighted_average_precision(*graded_counts))
    precision_D, recall_D = precision_recall_by_radius(*counts)
    pooled_precision_D, pooled_recall_D = precision_recall_by_radius(*counts, average="micro")
    return Result(
        values,
        precision_D=np.asarray(precision_D),
        recall_D=np.asarray(recall_D),
        pooled_precision_D=np.asarray(pooled_precision_D),
        pooled_recall_D=np.asarray(pooled_recall_D),
        ap_Q=ap_Q,
        without_relevant=int(np.sum(~counts[1][:queries].any(axis=1))),
        first=first,
        relevant_first=first * mean(precision_first_Q),
    )


def named(results: Mapping[str, Result], code: Mapping[str, float]) -> dict[str, float]:
    """Return every number by its name in `metrics.jsonl`.

    Args:
      results: name of the database to Result, the protocol's own first.
      code: accuracy and code health of the queries.

    Returns:
      `eval/…` of the protocol's own database and of the code, `eval_<database>/…` of the others.
    """
    own, *others = results
    flat = {f"eval/{name}": value for name, value in results[own].metrics.items()}
    flat |= {f"eval/{name}": value for name, value in code.items()}
    for database in others:
        metrics = results[database].metrics
        flat |= {f"eval_{database}/{name}": value for name, value in metrics.items()}
    return flat


def rank(
    packed: Mapping[str, np.ndarray], label: Mapping[str, np.ndarray], *, bits: int
) -> dict[str, Result]:
    """Return the results of the queries against each database.

    Args:
      packed: `query`, and the name of each database, to its uint8 codes.
      label: the same to its multi-hot labels.
      bits: K.

    Returns:
      Name of the database to Result, in the order of `packed`.
    """
    return {
        part: retrieve(packed["query"], label["query"], packed[part], label[part], bits=bits)
        for part in packed
        if part != "query"
    }


def save_codes(
    folder: epath.Path,
    step: int,
    packed: Mapping[str, np.ndarray],
    label: Mapping[str, np.ndarray],
    rows: Mapping[str, np.ndarray],
    *,
    bits: int,
    split_hash: str,
) -> None:
    """Write `eval/<step>.npz`: packed codes, multi-hot labels and row numbers of each part.

    Args:
      folder: of the run.
      step: of the checkpoint.
      packed, label, rows: of `query`, and of each database by its name.
      bits: K.
      split_hash: of the split.
    """
    (folder / "eval").mkdir(exist_ok=True)
    arrays: dict[str, Any] = {"bits": bits, "split_hash": split_hash}
    for part in packed:
        arrays |= {
            f"{part}_code": packed[part],
            f"{part}_label": label[part],
            f"{part}_row": rows[part],
        }
    with whole.opened(folder / "eval" / f"{step}.npz") as file:
        np.savez_compressed(file, **arrays)


def table(
    results: Mapping[str, Result], code: Mapping[str, float], rows: Mapping[str, np.ndarray]
) -> str:
    """Return the numbers of an evaluation as text, a column for each database protocol.

    Args:
      results, code: see `named`.
      rows: name of the database to its row numbers.

    Returns:
      Lines, with what the first mAP looks like; where queries have no relevant item, how many.
    """
    columns = {
        f"database={part} ({len(rows[part]):,})": result.metrics for part, result in results.items()
    }
    first = next(iter(columns))
    lines = [metrics_table(columns | {first: columns[first] | dict(code)})]
    seen = next(iter(results.values()))
    lines.append(
        f"\nmAP {seen.metrics['map']:.3f}: of the first {seen.first} images found for a query, "
        f"{seen.relevant_first:.1f} share a label with it."
    )
    for part, result in results.items():
        if result.without_relevant:
            lines.append(
                f"database={part}: {result.without_relevant:,} of {len(result.ap_Q):,} queries "
                "have no relevant item in it; each counts 0."
            )
    return "\n".join(lines)


def metrics_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return metrics as text.

    Args:
      columns: title of a column to its metrics, name to value.

    Returns:
      Lines, one for each name in any column.
    """
    lines = [f"{'':28}" + "".join(f"{title:>26}" for title in columns)]
    for name in dict.fromkeys(name for values in columns.values() for name in values):
        cells = [f"{values[name]:.4f}" if name in values else "" for values in columns.values()]
        lines.append((f"{name:28}" + "".join(f"{cell:>26}" for cell in cells)).rstrip())
    return "\n".join(lines)
