"""From codes to every number of an evaluation, and from a run's folder to its results."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import build, codes, graded, metrics, parallel, radius_metrics, retrieval, statistics
from dsh_jax.checkpoint import Checkpoints
from dsh_jax.data import splits
from dsh_jax.encode import Encoded, encode_rows
from dsh_jax.run import make_writer

PRECISION_AT = (100, 200, 400, 500, 600, 800, 1000)  # the paper's Table 2, and its @500


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
    """

    metrics: dict[str, float]
    precision_D: np.ndarray
    recall_D: np.ndarray
    pooled_precision_D: np.ndarray
    pooled_recall_D: np.ndarray
    ap_Q: np.ndarray


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
    own = parallel.own_part(items)
    arrays = query_QxW, query_label_QxC, database_RxW[own], database_label_RxC[own]
    counted = retrieval.shared_label_counts(*arrays, bits=bits)
    total_QxD, at_least_TxQxD = (parallel.sum_over_processes(count) for count in counted)
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
        "recall_within_radius_2": mean(radius_metrics.recall_within_radius(*counts, radius)),
        "map_within_radius_2": mean(metrics.average_precision_within_radius(*counts, radius)),
    }
    ks = [k for k in precision_at if k <= items]
    for k, value_Q in zip(ks, metrics.precision_at(*counts, ks) if ks else (), strict=True):
        values[f"precision_at_{k}"] = mean(value_Q)
    if len(at_least_TxQxD) > 1:  # some query has several labels
        k = min(1000, items)
        graded_counts = total_QxD, at_least_TxQxD
        values[f"ndcg_at_{k}"] = mean(graded.ndcg_at(*graded_counts, k))
        values[f"acg_at_{k}"] = mean(graded.acg_at(*graded_counts, k))
        values["weighted_map"] = mean(graded.weighted_average_precision(*graded_counts))
    curves = [
        np.asarray(curve_D)
        for average in ("macro", "micro")
        for curve_D in radius_metrics.precision_recall_by_radius(*counts, average=average)
    ]
    return Result(values, *curves, ap_Q)


def code_report(query: Encoded, *, bits: int) -> tuple[dict[str, float], np.ndarray]:
    """Return what the queries' codes look like.

    Args:
      query: of at least one image.
      bits: K.

    Returns:
      `accuracy` of the classifier on activations, `accuracy_by_bits` on bits, and the scalars of
      `codes.code_health`; and bit_mean_K.
    """
    bit_NxK = codes.unpack_bits(query.packed_NxW, bits)
    health = codes.code_health(bit_NxK, query.bcoding_NxK)
    bit_mean_K = np.asarray(health.pop("bit_mean_K"))
    return {
        "accuracy": float(query.is_right_N.mean()),
        "accuracy_by_bits": float(query.is_right_by_bits_N.mean()),
        **health,
    }, bit_mean_K


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run's best checkpoint.

    Attributes:
      step: of the checkpoint.
      results: name of the database to Result, the protocol's own first, see `Split.databases`.
      encoded: `query`, and the name of each database, to its codes.
      rows: the same to its row numbers.
      code: accuracy and code health of the queries, see `code_report`.
      bit_mean_K: each bit's mean over the queries.
      variables: the network's.
    """

    step: int
    results: dict[str, Result]
    encoded: dict[str, Encoded]
    rows: dict[str, np.ndarray]
    code: dict[str, float]
    bit_mean_K: np.ndarray
    variables: Any

    def scalars(self) -> dict[str, float]:
        """Return every number by its name in `metrics.jsonl`.

        `eval/…` ranks the protocol's own database, `eval_train/…` the training rows, and
        `eval_unseen/…` the unseen ones.
        """
        return named(self.results, self.code)


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
    arrays = {"bits": bits, "split_hash": split_hash}
    for part in packed:
        arrays |= {
            f"{part}_code": packed[part],
            f"{part}_label": label[part],
            f"{part}_row": rows[part],
        }
    with (folder / "eval" / f"{step}.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)


def check_split(split: splits.Split, folder: epath.Path) -> None:
    """Check that a split is the one that a run was trained with.

    Args:
      split: that the data give now.
      folder: of the run; holds split.npz.

    Raises:
      ValueError: where it is another.
    """
    trained = splits.load(folder / "split.npz").hash
    if trained != split.hash:
        raise ValueError(
            f"{folder} was trained on the split {trained}, but the data now give {split.hash}: "
            "they changed since; queries could be among the training rows."
        )


def evaluate_run(config: ConfigDict, described: build.Run, workdir: epath.PathLike) -> Evaluation:
    """Evaluate a run's best checkpoint: the queries against each of the split's databases.

    Writes the numbers to `metrics.jsonl` (in place of an earlier evaluation's) and TensorBoard, and
    `eval/<step>.npz`: packed codes, multi-hot labels and row numbers of each part, `bits`, and the
    split's hash.

    Args:
      config: of the run.
      described: what `build.build` made of it.
      workdir: the run's folder.

    Returns:
      Evaluation.

    Raises:
      ValueError: where there is no checkpoint, or one of another architecture, or where the data
        give another split than the run was trained with.
    """
    folder = epath.Path(workdir).expanduser().resolve()
    source, split = described.source, described.split
    if not (folder / "split.npz").exists():
        raise ValueError(f"{folder} holds no split.npz: train there first.")
    check_split(split, folder)
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        saved = checkpoints.restore_best(described.state_shapes)
    if saved is None:
        raise ValueError(f"{folder} holds no checkpoint: train there first.")
    step, state = saved.step, saved.state
    variables = state.evaluation_variables()
    rows = {"query": split.query, **split.databases()}
    # The databases share rows: each image goes through the network once.
    every = np.unique(np.concatenate(list(rows.values())))
    started = time.monotonic()
    codes_of_all = encode_rows(
        described.encoder, variables, source, every, batch=config.evaluation.batch_size
    )
    rate = len(every) / (time.monotonic() - started)
    logging.info("encoded %d images, %.0f images/s", len(every), rate)
    encoded = {
        part: codes_of_all.select(np.searchsorted(every, part_rows))
        for part, part_rows in rows.items()
    }
    bits = config.model.bits
    label = {part: source.label_NxC[part_rows] for part, part_rows in rows.items()}
    packed = {part: one.packed_NxW for part, one in encoded.items()}
    results = rank(packed, label, bits=bits)
    code, bit_mean_K = code_report(encoded["query"], bits=bits)
    evaluation = Evaluation(step, results, encoded, rows, code, bit_mean_K, variables)
    if parallel.process_index() == 0:
        save_codes(folder, step, packed, label, rows, bits=bits, split_hash=split.hash)
        _write(evaluation, folder)
    return evaluation


def _write(evaluation: Evaluation, folder: epath.Path) -> None:
    """Write the numbers of an evaluation."""
    writer = make_writer(folder, keep=lambda record: "eval/map" not in record)
    writer.write_scalars(evaluation.step, evaluation.scalars())
    # How close the activations are to bits: all of them, and each bit's mean.
    activation_NxK = evaluation.encoded["query"].bcoding_NxK
    writer.write_histograms(
        evaluation.step,
        {"eval/bcoding": activation_NxK.ravel(), "eval/bit_mean": evaluation.bit_mean_K},
    )
    writer.close()


def table(
    results: Mapping[str, Result], code: Mapping[str, float], rows: Mapping[str, np.ndarray]
) -> str:
    """Return the numbers of an evaluation as text, a column for each database protocol.

    Args:
      results, code: see `named`.
      rows: name of the database to its row numbers.

    Returns:
      Lines.
    """
    columns = {
        f"database={part} ({len(rows[part]):,})": result.metrics for part, result in results.items()
    }
    first = next(iter(columns))
    return metrics_table(columns | {first: columns[first] | dict(code)})


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
