"""Batches through tf.data: a function of the step for training, padded and masked for evaluation.

Training keeps no iterator state: the rows of step s follow from (seed, s) alone, so a run resumes
at any step with the batch that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from dsh_jax.data.sources import Source

Batch = dict[str, np.ndarray]


def _epoch_keys(epochs: int, seed: int, pool: int) -> np.ndarray:
    """Return one key of three random words for each epoch; the first ones whatever their number.

    Random words matter: under small numbers such as (seed, epoch, 0) the shuffle leaves most of a
    small pool in its order, and gives the epochs of a large one like orders.
    """
    rng = np.random.default_rng((seed, pool))
    return rng.integers(-(2**31), 2**31, (epochs, 3), np.int32)


def _rows_at(rows: tf.Tensor, key_Ex3: tf.Tensor, step: tf.Tensor, batch: int) -> tf.Tensor:
    """Return the rows that stand at `step` in an endless sequence of shuffled epochs.

    Each epoch is a permutation under a key of its own; batches run across its end, so no row is
    left out and every batch is full.
    """
    count = tf.shape(rows, out_type=tf.int64)[0]
    position = step * batch + tf.range(batch, dtype=tf.int64)
    # The raw operation: tf.random.experimental.index_shuffle cannot take one seed a row, and its
    # four rounds leave the epochs of 50,000 rows alike.
    shuffled = tf.raw_ops.RandomIndexShuffle(
        index=position % count,
        seed=tf.gather(key_Ex3, position // count),
        max_index=tf.fill([batch], count - 1),
        rounds=8,
    )
    return tf.gather(rows, shuffled)


def labelled_rows_per_batch(
    batch: int, labelled_share: float, devices: int, *, has_unlabelled: bool
) -> int:
    """Return how many of a batch's rows are labelled: a multiple of the device count.

    Args:
      batch: rows of the global batch.
      labelled_share: wanted share of labelled rows, in (0, 1].
      devices: D; every device gets the same number of labelled rows.
      has_unlabelled: whether there are unlabelled rows; without them every row is labelled.

    Returns:
      The number.

    Raises:
      ValueError: where the batch does not divide by the devices, or the share leaves no room.
    """
    if batch < 1 or batch % devices:
        raise ValueError(
            f"the batch of {batch} does not divide by {devices} devices: choose a multiple of "
            f"{devices}, e.g. {max(devices, batch // devices * devices)}."
        )
    if not 0 < labelled_share <= 1:
        raise ValueError(f"labelled_share is {labelled_share}; it must be in (0, 1].")
    if not has_unlabelled:
        return batch
    return min(batch, max(devices, round(batch * labelled_share / devices) * devices))


def train_batches(
    source: Source,
    labelled: np.ndarray,
    unlabelled: np.ndarray,
    *,
    batch: int,
    labelled_share: float,
    devices: int,
    seed: int,
    start_step: int,
    stop_step: int,
) -> Iterator[Batch]:
    """Yield the batches of steps start_step to stop_step - 1.

    Args:
      source: images and labels.
      labelled: labelled row numbers, at least one.
      unlabelled: unlabelled row numbers, perhaps none.
      batch: rows N of the global batch.
      labelled_share: share of labelled rows in a batch where there are unlabelled ones.
      devices: D.
      seed: of the shuffling.
      start_step: first step.
      stop_step: one past the last step.

    Yields:
      Dicts of `image` uint8 [D, N/D, H, W, C], `label` float32 [D, N/D, classes] (all 0 where the
      row is unlabelled), `is_labelled` bool [D, N/D].

    Raises:
      ValueError: where the batch does not divide by the devices, or no row is labelled.
    """
    if not len(labelled):
        raise ValueError("no row is labelled: training needs at least one labelled row.")
    take = labelled_rows_per_batch(
        batch, labelled_share, devices, has_unlabelled=len(unlabelled) > 0
    )
    image_NxHxWxC = tf.constant(source.image_NxHxWxC)
    label_NxC = tf.constant(source.label_NxC)
    pools = []
    for number, (rows, count) in enumerate(((labelled, take), (unlabelled, batch - take))):
        if count:
            key_Ex3 = _epoch_keys(stop_step * count // len(rows) + 1, seed, number)
            pools.append((tf.constant(rows, tf.int64), tf.constant(key_Ex3), count))

    @tf.autograph.experimental.do_not_convert  # plain operations: nothing to convert
    def make(step: tf.Tensor) -> dict[str, tf.Tensor]:
        parts = [
            tf.reshape(_rows_at(rows, key_Ex3, step, count), [devices, count // devices])
            for rows, key_Ex3, count in pools
        ]
        row_DxB = tf.concat(parts, axis=1)
        is_labelled_DxB = tf.broadcast_to(
            tf.range(batch // devices) < take // devices, [devices, batch // devices]
        )
        label = tf.cast(tf.gather(label_NxC, row_DxB), tf.float32)
        return {
            "image": tf.gather(image_NxHxWxC, row_DxB),
            # The truth about unlabelled rows does not enter the batch, so no loss can read it.
            "label": label * tf.cast(is_labelled_DxB[..., None], tf.float32),
            "is_labelled": is_labelled_DxB,
        }

    dataset = tf.data.Dataset.range(start_step, stop_step).map(
        make, num_parallel_calls=2, deterministic=True
    )
    yield from dataset.prefetch(4).as_numpy_iterator()


def evaluation_batches(
    source: Source, rows: np.ndarray, *, batch: int, devices: int
) -> Iterator[Batch]:
    """Yield the images of `rows` in order, the last batch padded and masked.

    Args:
      source: images.
      rows: row numbers.
      batch: rows of a global batch; made a multiple of the devices.
      devices: D.

    Yields:
      Dicts of `image` uint8 [D, B, H, W, C] and `mask` bool [D, B], True for a real row. Over all
      batches every row is True exactly once.
    """
    per_device = -(-batch // devices)
    size = per_device * devices
    padded = np.zeros(-(-len(rows) // size) * size, np.int64)
    padded[: len(rows)] = rows
    mask = np.arange(len(padded)) < len(rows)
    image_NxHxWxC = tf.constant(source.image_NxHxWxC)
    shape = [devices, per_device]

    @tf.autograph.experimental.do_not_convert
    def make(row: tf.Tensor, is_real: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "image": tf.gather(image_NxHxWxC, tf.reshape(row, shape)),
            "mask": tf.reshape(is_real, shape),
        }

    dataset = tf.data.Dataset.from_tensor_slices((padded, mask)).batch(size).map(make)
    yield from dataset.prefetch(2).as_numpy_iterator()
