"""Batches from arrays that lie on the devices: the very batches of `pipeline.train_batches`.

A step's rows follow from its number, on the device itself: nothing is sent there, and no TensorFlow
runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsh_jax.data.images import ArrayImages, FeatureImages
from dsh_jax.data.pipeline import labelled_rows_per_batch, mixed_places, odd_rows
from dsh_jax.data.shuffle import epoch_keys, shuffled
from dsh_jax.data.source import Source

MOST_PLACES = 1 << 32  # of rows that a run reads: their numbers fill a word
SHARE = 0.25  # of a device's memory that the images may take
MOST_HOST = 2 << 30  # bytes, where the device says nothing of its memory


def fits(source: Source, resident: str, memory: int) -> bool:
    """Return whether the images of a source are to lie on the devices.

    Args:
      source: of the images.
      resident: "on", "off", or "auto": where they, or features in their place, are in an array
        that takes a quarter of a device's memory at most.
      memory: of a device, bytes; 0 where it does not say.

    Raises:
      ValueError: for another word, or "on" with images in files.
    """
    if resident not in ("auto", "on", "off"):
        raise ValueError(f"data.resident is {resident!r}; it must be 'auto', 'on' or 'off'.")
    is_array = isinstance(source.images, ArrayImages | FeatureImages)
    if resident == "on" and not is_array:
        raise ValueError(
            f"data.resident is 'on', but the images of {source.name} lie in files: set it to "
            "'auto', or decode them once with data.cache."
        )
    item = 4 if isinstance(source.images, FeatureImages) else 1  # bytes
    size = item * len(source) * int(np.prod(source.images.shape))
    most = SHARE * memory if memory else MOST_HOST
    return resident == "on" or (resident == "auto" and is_array and size <= most)


def rows_of(
    source: Source,
    *,
    seed: int,
    columns: Mapping[str, np.ndarray] | None = None,
    flips: bool = False,
) -> dict[str, Any]:
    """Return what all stages read of a source, to be put on every device.

    Args:
      source: images, in an array, and labels.
      seed, columns, flips: see `pipeline.train_batches`.

    Returns:
      A tree of arrays.
    """
    arrays = {
        "image": source.images.take(np.arange(len(source))),
        "label": source.label_NxC.astype(np.uint8),
        "columns": dict(columns or {}),
    }
    if flips:
        arrays["is_odd"] = odd_rows(seed, len(source))
    return arrays


def pools_of(
    labelled: np.ndarray,
    unlabelled: np.ndarray,
    *,
    batch: int,
    labelled_share: float,
    seed: int,
    stop_step: int,
) -> dict[str, np.ndarray]:
    """Return from which rows the batches of a stage are drawn, and the keys of the epochs.

    Args:
      labelled, unlabelled, batch, labelled_share, seed, stop_step: see `pipeline.train_batches`.

    Returns:
      Arrays by name.

    Raises:
      ValueError: where no row is labelled, or there are more rows to read than a word counts.
    """
    if not len(labelled):
        raise ValueError("no row is labelled: training needs at least one labelled row.")
    if stop_step * batch >= MOST_PLACES:
        raise ValueError(
            f"{stop_step:,} steps of {batch:,} rows are more than {MOST_PLACES:,}: set "
            "data.resident='off'."
        )
    take = labelled_rows_per_batch(batch, labelled_share, has_unlabelled=len(unlabelled) > 0)
    pools = {}
    for number, (rows, count) in enumerate(((labelled, take), (unlabelled, batch - take))):
        if count:
            epochs = stop_step * count // len(rows) + 1
            pools[f"rows_{number}"] = rows.astype(np.int32)
            pools[f"keys_{number}"] = epoch_keys(epochs, seed, number)
    return pools


def batch_at(
    arrays: Mapping[str, Any],
    step: jax.Array,
    device: jax.Array,
    *,
    batch: int,
    labelled_share: float,
    devices: int,
) -> dict[str, jax.Array]:
    """Return a device's part of the batch of a step.

    Args:
      arrays: from `rows_of` and `pools_of`.
      step: int32.
      device: its number among those of all processes.
      batch: rows of the global batch.
      labelled_share: see `pipeline.train_batches`.
      devices: how many there are.

    Returns:
      See `pipeline.train_batches`, without the leading device axis.
    """
    take = labelled_rows_per_batch(batch, labelled_share, has_unlabelled="rows_1" in arrays)
    position, epoch = [], []
    for number, count in enumerate((take, batch - take)):
        if count:
            rows, keys = arrays[f"rows_{number}"], arrays[f"keys_{number}"]
            at = jnp.asarray(step, jnp.uint32) * count + jnp.arange(count, dtype=jnp.uint32)
            of_epoch = at // len(rows)
            place = (at % len(rows)).astype(jnp.int32)
            position.append(rows[shuffled(place, keys[of_epoch], len(rows))])
            epoch.append(of_epoch)
    is_labelled_N, place_N = mixed_places(batch, take)
    size = batch // devices

    def own(every_N):
        return jax.lax.dynamic_slice_in_dim(jnp.asarray(every_N), device * size, size)

    row_B = own(jnp.concatenate(position)[place_N])
    is_labelled_B = own(is_labelled_N)
    found = {
        "image": arrays["image"][row_B],
        "label": arrays["label"][row_B] * is_labelled_B[:, None].astype(jnp.float32),
        "is_labelled": is_labelled_B,
        **{name: column[row_B] for name, column in arrays["columns"].items()},
    }
    if "is_odd" in arrays:
        epoch_B = own(jnp.concatenate(epoch)[place_N])
        found["is_flipped"] = (epoch_B + arrays["is_odd"][row_B]) % 2 == 1
    return found
