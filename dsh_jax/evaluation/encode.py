"""From a network and rows of images to their codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax import codes, parallel
from dsh_jax.augment import network_input
from dsh_jax.data.pipeline import evaluation_batches
from dsh_jax.data.source import Source
from dsh_jax.evaluation.views import outputs_of_views
from dsh_jax.network import DSH

OUTPUTS = "packed", "bcoding", "best", "best_by_bits", "near_zero"  # of the encoder
# How near 0 a logit may change its sign by rounding, as a share of the root mean square of its
# image's logits, by the type of the factors that the network multiplies.
NEAR_ZERO = {"float32": 1e-4, "bfloat16": 0.1}


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Codes of N images and what the network said of them.

    Attributes:
      packed_NxW: uint8 codes, W = ceil(K/8), see `codes.pack_bits`.
      bcoding_NxK: float32 activations in (0, 1), or None where they were not asked for.
      is_right_N: bool, whether the highest class score stands at one of the image's labels.
      is_right_by_bits_N: the same with the bits in place of the activations, where the classifier
        takes them.
      near_zero_N: int32, how many of an image's bits another processor may turn, see `near_zero`.
    """

    packed_NxW: np.ndarray
    bcoding_NxK: np.ndarray | None
    is_right_N: np.ndarray
    is_right_by_bits_N: np.ndarray
    near_zero_N: np.ndarray

    def select(self, rows: np.ndarray) -> Encoded:
        """Return the codes of some of the images."""
        bcoding = self.bcoding_NxK
        return Encoded(
            packed_NxW=self.packed_NxW[rows],
            bcoding_NxK=None if bcoding is None else bcoding[rows],
            is_right_N=self.is_right_N[rows],
            is_right_by_bits_N=self.is_right_by_bits_N[rows],
            near_zero_N=self.near_zero_N[rows],
        )


def near_zero(logit_BxK: jax.Array, share: float) -> jax.Array:
    """Return how many bits of each code would turn if their logits were off by a little.

    `Σ_k [|z_k| < share · sqrt(mean_j z_j²)]`: of a checkpoint, a CPU and a GPU give the same bits
    but for these.

    Args:
      logit_BxK: z.
      share: see `NEAR_ZERO`.

    Returns:
      int32 [B].
    """
    bound_Bx1 = share * jnp.sqrt(jnp.square(logit_BxK).mean(-1, keepdims=True))
    return (jnp.abs(logit_BxK) < bound_Bx1).sum(-1, dtype=jnp.int32)


def make_encoder(
    model: DSH, *, views: int = 1
) -> Callable[[Any, jax.Array], tuple[jax.Array, ...]]:
    """Return the network's evaluation, mapped over devices.

    Args:
      model: the network.
      views: of each image, see `views.views_of`.

    Returns:
      `(variables, image uint8 [D, B, H, W, C]) -> (packed, bcoding, best class, best class by
      bits, bits near 0)`, each with the leading axes [D, B].
    """

    share = max(NEAR_ZERO[jnp.dtype(model.dtype).name], NEAR_ZERO[model.conv_precision])

    def encode(variables, image_BxHxWxC):
        image = network_input(image_BxHxWxC)
        logit_BxK, bcoding_BxK, score_BxC = outputs_of_views(model, variables, image, views)
        bit_BxK = codes.binarize(logit_BxK)
        score_by_bits = score_BxC
        if model.head is None and model.classify_from == "code":
            bit_as_float_BxK = bit_BxK.astype(jnp.float32)
            with jax.default_matmul_precision("highest"):  # as the rest, see `outputs_of_views`
                score = model.apply(variables, bit_as_float_BxK, method=DSH.classify)
            score_by_bits = cast(jax.Array, score)
        packed = codes.pack_bits(bit_BxK)
        near_B = near_zero(logit_BxK, share)
        return packed, bcoding_BxK, score_BxC.argmax(-1), score_by_bits.argmax(-1), near_B

    return parallel.parallel_apply(encode)


def encode_rows(
    encoder: Callable,
    variables: Any,
    source: Source,
    rows: np.ndarray,
    *,
    batch: int,
    activations: bool = False,
) -> Encoded:
    """Return the codes of the given rows, in their order, each exactly once.

    Args:
      encoder: from `make_encoder`.
      variables: of the network.
      source: images and labels.
      rows: row numbers, at least one.
      batch: images at a time, over all devices of all processes.
      activations: whether they are wanted beside the codes, of which they are 32 times the size.

    Returns:
      Encoded.

    Raises:
      ValueError: where there are no rows.
    """
    if not len(rows):
        raise ValueError("there are no rows to encode.")
    # Moved once here, instead of with every batch.
    variables = parallel.replicate(variables)
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in OUTPUTS if activations or name != "bcoding"
    }
    pending = None
    processes = parallel.process_count()
    # Each process encodes its part; of fewer rows than processes, each encodes all.
    is_shared = len(rows) >= processes
    own = rows[parallel.own_part(len(rows))] if is_shared else rows
    batches = evaluation_batches(
        source, own, batch=-(-batch // processes), devices=parallel.device_count()
    )
    for item in batches:
        outputs = dict(zip(OUTPUTS, encoder(variables, item["image"]), strict=True))
        # Read the batch before while the devices work on this one.
        if pending is not None:
            _append(columns, *pending)
        pending = outputs, item["mask"]
    if pending is not None:
        _append(columns, *pending)
    arrays = {name: np.concatenate(column) for name, column in columns.items()}
    if is_shared:
        arrays = {name: parallel.join_parts(one, len(rows)) for name, one in arrays.items()}
    label = source.label_NxC[rows]
    line = np.arange(len(rows))
    return Encoded(
        packed_NxW=arrays["packed"],
        bcoding_NxK=arrays.get("bcoding"),
        is_right_N=label[line, arrays["best"]] > 0,
        is_right_by_bits_N=label[line, arrays["best_by_bits"]] > 0,
        near_zero_N=arrays["near_zero"],
    )


def _append(columns, outputs, mask_DxB) -> None:
    """Add a batch's real rows to the columns."""
    for name, column in columns.items():
        column.append(np.asarray(outputs[name])[mask_DxB])
