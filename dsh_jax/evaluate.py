"""From a network and rows of images to codes, and from codes to every number of an evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax import codes, parallel, retrieval
from dsh_jax.augment import pad_small, to_unit
from dsh_jax.data.pipeline import evaluation_batches
from dsh_jax.data.sources import Source
from dsh_jax.models import DSH

PRECISION_AT = (100, 200, 400, 500, 600, 800, 1000)  # the paper's Table 2, and its @500


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Codes of N images and what the network said of them.

    Attributes:
      packed_NxW: uint8 codes, W = ceil(K/8), see `codes.pack_bits`.
      bcoding_NxK: float32 activations in (0, 1).
      is_right_N: bool, whether the highest class score stands at one of the image's labels.
      is_right_by_bits_N: the same with the bits in place of the activations.
    """

    packed_NxW: np.ndarray
    bcoding_NxK: np.ndarray
    is_right_N: np.ndarray
    is_right_by_bits_N: np.ndarray


def make_encoder(model: DSH) -> Callable[[Any, jax.Array], tuple[jax.Array, ...]]:
    """Return the network's evaluation, mapped over devices.

    Args:
      model: the network.

    Returns:
      `(variables, image uint8 [D, B, H, W, C]) -> (packed, bcoding, best class, best class by
      bits)`, each with the leading axes [D, B].
    """

    def encode(variables, image_BxHxWxC):
        image = pad_small(to_unit(image_BxHxWxC))
        outputs = model.apply(variables, image, decode=False)
        bit_BxK = codes.binarize(outputs.logit)
        score_by_bits = model.apply(variables, bit_BxK.astype(jnp.float32), method=DSH.classify)
        packed = codes.pack_bits(bit_BxK)
        return packed, outputs.bcoding, outputs.score.argmax(-1), score_by_bits.argmax(-1)

    return parallel.parallel_apply(encode)


def encode_rows(
    encoder: Callable, variables: Any, source: Source, rows: np.ndarray, *, batch: int
) -> Encoded:
    """Return the codes of the given rows, in their order, each exactly once.

    Args:
      encoder: from `make_encoder`.
      variables: of the network.
      source: images and labels.
      rows: row numbers, at least one.
      batch: images at a time, over all devices.

    Returns:
      Encoded.

    Raises:
      ValueError: where there are no rows.
    """
    if not len(rows):
        raise ValueError("there are no rows to encode.")
    # Moved once here, instead of with every batch.
    variables = jax.device_put(variables)
    columns: list[list[np.ndarray]] = [[], [], [], []]
    pending = None
    batches = evaluation_batches(source, rows, batch=batch, devices=parallel.device_count())
    for item in batches:
        outputs = encoder(variables, item["image"])
        # Read the batch before while the devices work on this one.
        if pending is not None:
            _append(columns, *pending)
        pending = outputs, item["mask"]
    _append(columns, *pending)
    packed, bcoding, best, best_by_bits = (np.concatenate(column) for column in columns)
    label = source.label_NxC[rows]
    line = np.arange(len(rows))
    return Encoded(
        packed_NxW=packed,
        bcoding_NxK=bcoding,
        is_right_N=label[line, best] > 0,
        is_right_by_bits_N=label[line, best_by_bits] > 0,
    )


def _append(columns, outputs, mask_DxB) -> None:
    """Add a batch's real rows to the columns."""
    for column, value in zip(columns, outputs, strict=True):
        column.append(np.asarray(value)[mask_DxB])


@dataclasses.dataclass(frozen=True)
class Result:
    """One evaluation of queries against a database.

    Attributes:
      metrics: name to value: `map` (tie-aware, whole ranking), `map_optimistic`,
        `map_pessimistic`, `chance`, `precision_at_100` … 1000.
      precision_D, recall_D: of the Hamming ball of radius 0 … K, macro over the queries.
      ap_Q: each query's tie-aware average precision.
    """

    metrics: dict[str, float]
    precision_D: np.ndarray
    recall_D: np.ndarray
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
    total_QxD, relevant_QxD = retrieval.distance_counts(
        query_QxW, query_label_QxC, database_RxW, database_label_RxC, bits=bits
    )
    counts = total_QxD, relevant_QxD
    ap_Q = np.asarray(retrieval.average_precision(*counts))
    metrics = {
        "map": float(ap_Q.mean()),
        "map_optimistic": float(retrieval.average_precision_optimistic(*counts).mean()),
        "map_pessimistic": float(retrieval.average_precision_pessimistic(*counts).mean()),
        "chance": float(retrieval.chance_level(*counts)),
        "precision_within_radius_2": float(
            retrieval.precision_within_radius(*counts, radius=min(2, bits)).mean()
        ),
    }
    for k in precision_at:
        if k <= len(database_RxW):
            value_Q = retrieval.precision_at(*counts, k=k)
            metrics[f"precision_at_{k}"] = float(value_Q.mean())
    precision_D, recall_D = retrieval.precision_recall_by_radius(*counts)
    return Result(metrics, np.asarray(precision_D), np.asarray(recall_D), ap_Q)


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
