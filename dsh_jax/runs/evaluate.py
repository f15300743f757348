"""From a run's folder to its results."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from dsh_jax import codes, parallel
from dsh_jax.data import splits
from dsh_jax.evaluation import results
from dsh_jax.evaluation.encode import Encoded, encode_rows
from dsh_jax.evaluation.results import Result
from dsh_jax.methods import deep
from dsh_jax.training import build, checkpoint
from dsh_jax.training.writers import make_writer


def code_report(query: Encoded, *, bits: int) -> tuple[dict[str, float], np.ndarray]:
    """Return what the queries' codes look like.

    Args:
      query: of at least one image.
      bits: K.

    Returns:
      `accuracy` of the classifier on activations, `accuracy_by_bits` on bits; `near_zero`, the
      share of bits that another processor may turn (see `encode.near_zero`); and the scalars of
      `codes.code_health`; and bit_mean_K.
    """
    bit_NxK = codes.unpack_bits(query.packed_NxW, bits)
    health = codes.code_health(bit_NxK, query.bcoding_NxK)
    bit_mean_K = np.asarray(health.pop("bit_mean_K"))
    return {
        "accuracy": float(query.is_right_N.mean()),
        "accuracy_by_bits": float(query.is_right_by_bits_N.mean()),
        "near_zero": float(query.near_zero_N.mean()) / bits,
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
      code: accuracy, where a classifier was trained, and code health of the queries, see
        `code_report`; `views` where an image had several.
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
        return results.named(self.results, self.code)


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
    saved = checkpoint.best(folder, described.state_shapes)
    step, state = saved.step, saved.state
    variables = state.evaluation_variables()
    rows = {"query": split.query, **split.databases()}
    # The databases share rows, but none with the queries: each image goes through the network once.
    every = np.unique(np.concatenate(list(split.databases().values())))
    encode = functools.partial(
        encode_rows, described.encoder, variables, source, batch=config.evaluation.batch_size
    )
    started = time.monotonic()
    encoded = {"query": encode(split.query, activations=True)}
    codes_of_all = encode(every)
    images = len(split.query) + len(every)
    rate = images / (time.monotonic() - started)
    logging.info("encoded %d images, %.0f images/s", images, rate)
    for part, part_rows in split.databases().items():
        encoded[part] = codes_of_all.select(np.searchsorted(every, part_rows))
    bits = config.model.bits
    label = {part: source.label_NxC[part_rows] for part, part_rows in rows.items()}
    packed = {part: one.packed_NxW for part, one in encoded.items()}
    ranked = results.rank(packed, label, bits=bits)
    code, bit_mean_K = code_report(encoded["query"], bits=bits)
    if "classifier" not in deep.trained_parts(config.method):
        del code["accuracy"], code["accuracy_by_bits"]  # of a classifier as it started
    if config.evaluation.views > 1:
        code["views"] = float(config.evaluation.views)
    evaluation = Evaluation(step, ranked, encoded, rows, code, bit_mean_K, variables)
    if parallel.process_index() == 0:
        results.save_codes(folder, step, packed, label, rows, bits=bits, split_hash=split.hash)
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
