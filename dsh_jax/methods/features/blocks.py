"""Features of a data set's images, streamed a block after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from dsh_jax import parallel
from dsh_jax.augment import network_input, to_unit
from dsh_jax.data.pipeline import evaluation_batches
from dsh_jax.data.source import Source
from dsh_jax.network import DSH
from dsh_jax.progress import log_progress


@jax.jit
def pixels(image_NxHxWxC: jax.Array) -> jax.Array:
    """Return images as rows of numbers: x = I / 255, row by row, the channels innermost.

    Args:
      image_NxHxWxC: uint8, as they are stored: padding would only add zeros.

    Returns:
      float32 array in [0, 1], shape (N, H·W·C): 784 numbers for MNIST, 3,072 for CIFAR-10.

    Raises:
      ValueError: if the images are not uint8, or not [N, H, W, C].
    """
    if image_NxHxWxC.ndim != 4 or image_NxHxWxC.dtype != np.uint8:
        raise ValueError(
            f"the images are {image_NxHxWxC.dtype} of shape {image_NxHxWxC.shape}; wanted uint8 "
            "of 0 … 255, [N, H, W, C]"
        )
    return to_unit(image_NxHxWxC).reshape(len(image_NxHxWxC), -1)


def feature_blocks(
    function: Callable[[Any, jax.Array], jax.Array],
    variables: Any,
    source: Source,
    rows: np.ndarray,
    *,
    batch: int = 256,
) -> Iterator[np.ndarray]:
    """Yield the features of the given rows, in their order, a block after the other.

    Args:
      function: `(variables, image uint8 [B, H, W, C]) -> feature [B, D]`.
      variables: passed to the function, such as a network's weights; None for none.
      source: images.
      rows: row numbers, at least one.
      batch: images at a time, over all devices of this process.

    Yields:
      float32 arrays of up to `batch` rows, N in all.

    Raises:
      ValueError: where there are no rows, or a file cannot be read.
    """
    if not len(rows):
        raise ValueError("there are no rows to compute features of.")
    mapped = parallel.parallel_apply(function)
    # Moved once here, instead of with every batch.
    variables = parallel.replicate(variables)
    started, done = time.monotonic(), 0
    pending = None
    for item in evaluation_batches(source, rows, batch=batch, devices=parallel.device_count()):
        feature_DxBxF = mapped(variables, item["image"])
        # Read the block before while the devices work on this one.
        if pending is not None:
            yield _real_rows(*pending)
            done += int(pending[1].sum())
            log_progress("features", done / len(rows), started)
        pending = feature_DxBxF, item["mask"]
    yield _real_rows(*pending)


def encoder_features(
    model: DSH, variables: Any, source: Source, rows: np.ndarray, *, batch: int = 256
) -> Iterator[np.ndarray]:
    """Yield FC7 of a run's own encoder, of which its bits are a linear layer's signs.

    Args:
      model: the network, `build.build(config).model`.
      variables: of the network, `evaluation_variables()` of a restored state.
      source: images.
      rows: row numbers, at least one.
      batch: images at a time.

    Yields:
      float32 arrays of up to `batch` rows of fc_dim numbers, 0 or more.

    Raises:
      ValueError: where there are no rows, or a file cannot be read.
    """

    def fc7(variables, image_BxHxWxC):
        image_BxHxWxC = network_input(image_BxHxWxC)
        return model.apply(variables, image_BxHxWxC, decode=False).feature

    return feature_blocks(fc7, variables, source, rows, batch=batch)


def _real_rows(feature_DxBxF, mask_DxB) -> np.ndarray:
    """Return a batch's features on the host, without those of its padding."""
    return np.asarray(feature_DxBxF, np.float32)[mask_DxB]
