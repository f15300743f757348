"""Batches through tf.data: a function of the step for training, padded and masked for evaluation.

Training keeps no iterator state: the rows of step s follow from (seed, s) alone, so a run resumes
at any step with the batch that it would have seen. TensorFlow is imported by the first batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dsh_jax.data.files import unreadable
from dsh_jax.data.shuffle import ROUNDS, epoch_keys
from dsh_jax.data.source import Source

if TYPE_CHECKING:
    import tensorflow as tf

Batch = dict[str, np.ndarray]


def _rows_at(rows: tf.Tensor, key_Ex3: tf.Tensor, step: tf.Tensor, batch: int) -> tf.Tensor:
    """Return the rows that stand at `step` in an endless sequence of shuffled epochs.

    Each epoch is a permutation under a key of its own; batches run across its end, so no row is
    left out and every batch is full.
    """
    import tensorflow as tf

    count = tf.shape(rows, out_type=tf.int64)[0]
    position = step * batch + tf.range(batch, dtype=tf.int64)
    # The raw operation: tf.random.experimental.index_shuffle cannot take one seed a row, and its
    # four rounds leave the epochs of 50,000 rows alike. What it does is written out in `shuffle`.
    shuffled = tf.raw_ops.RandomIndexShuffle(
        index=position % count,
        seed=tf.gather(key_Ex3, position // count),
        max_index=tf.fill([batch], count - 1),
        rounds=ROUNDS,
    )
    return tf.gather(rows, shuffled)


def _epochs_at(step: int, rows: int, batch: int) -> np.ndarray:
    """Return the epoch of each row of `_rows_at`, counted from 0."""
    return (step * batch + np.arange(batch)) // rows


def labelled_rows_per_batch(batch: int, labelled_share: float, *, has_unlabelled: bool) -> int:
    """Return how many of a batch's rows are labelled, whatever the number of devices.

    Args:
      batch: rows of the global batch.
      labelled_share: wanted share of labelled rows, in (0, 1].
      has_unlabelled: whether there are unlabelled rows; without them every row is labelled.

    Returns:
      The number, at least 1.

    Raises:
      ValueError: for a share outside (0, 1].
    """
    if not 0 < labelled_share <= 1:
        raise ValueError(f"labelled_share is {labelled_share}; it must be in (0, 1].")
    return max(1, round(batch * labelled_share)) if has_unlabelled else batch


def mixed_places(batch: int, labelled: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where labelled rows stand in a batch: evenly among the others.

    Args:
      batch: rows N of the global batch.
      labelled: how many of them are.

    Returns:
      (is_labelled_N, place_N): which rows are, and where each is found among the labelled rows
      followed by the others.
    """
    # The i-th row is labelled where i · labelled / batch passes a whole number.
    passed = np.arange(batch + 1) * labelled // batch
    is_labelled_N = passed[1:] > passed[:-1]
    place_N = np.argsort(np.argsort(~is_labelled_N, kind="stable"), kind="stable")
    return is_labelled_N, place_N


def odd_rows(seed: int, rows: int) -> np.ndarray:
    """Return which rows are flipped in even epochs, about half; the others are in odd ones.

    Args:
      seed: of the shuffling.
      rows: of the source.

    Returns:
      bool [rows].
    """
    return np.random.default_rng((seed, 2)).integers(0, 2, rows).astype(bool)


def check_batch(batch: int, devices: int) -> None:
    """Check that a batch can be shared out.

    Args:
      batch: rows of the global batch.
      devices: of all processes.

    Raises:
      ValueError: where it does not divide by them.
    """
    if batch < 1 or batch % devices:
        raise ValueError(
            f"the batch of {batch} does not divide by {devices} devices: choose a multiple of "
            f"{devices}, e.g. {max(devices, batch // devices * devices)}."
        )


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
    process: int = 0,
    processes: int = 1,
    columns: Mapping[str, np.ndarray] | None = None,
    flips: bool = False,
) -> Iterator[Batch]:
    """Yield this process's part of the batches of steps start_step to stop_step - 1.

    The rows of a global batch and their order follow from `seed` and the step alone: devices and
    processes hold consecutive parts of it. Labelled and unlabelled rows are evenly mixed, so that
    each part has its share of both.

    Args:
      source: images and labels.
      labelled: labelled row numbers, at least one.
      unlabelled: unlabelled row numbers, perhaps none.
      batch: rows N of the global batch.
      labelled_share: share of labelled rows in a batch where there are unlabelled ones.
      devices: D, those of this process.
      seed: of the shuffling.
      start_step: first step.
      stop_step: one past the last step.
      process: number of this process.
      processes: P.
      columns: more arrays [source's rows, …], of which each batch gets its rows' under their names;
        what they say of unlabelled rows must not be their labels.
      flips: whether batches hold `is_flipped`, bool [D, B]: each row in every other epoch, half of
        the rows in the first, so that two epochs show a row and its mirror image (Jordan 2024).

    Yields:
      Dicts of `image` uint8 [D, B, H, W, C] with B = N / (P D), `label` float32 [D, B, classes]
      (all 0 where the row is unlabelled), `is_labelled` bool [D, B].

    Raises:
      ValueError: where the batch does not divide by the devices, no row is labelled, or a file
        cannot be read.
    """
    import tensorflow as tf

    if not len(labelled):
        raise ValueError("no row is labelled: training needs at least one labelled row.")
    check_batch(batch, devices * processes)
    take = labelled_rows_per_batch(batch, labelled_share, has_unlabelled=len(unlabelled) > 0)
    pools = []
    for number, (rows, count) in enumerate(((labelled, take), (unlabelled, batch - take))):
        if count:
            key_Ex3 = epoch_keys(stop_step * count // len(rows) + 1, seed, number)
            pools.append((tf.constant(rows, tf.int64), tf.constant(key_Ex3), count))
    is_labelled_N, place_N = mixed_places(batch, take)
    size = batch // processes
    own = slice(process * size, (process + 1) * size)
    shape = (devices, size // devices)

    @tf.autograph.experimental.do_not_convert  # plain operations: nothing to convert
    def rows_of(step: tf.Tensor) -> tf.Tensor:
        parts = [_rows_at(rows, key_Ex3, step, count) for rows, key_Ex3, count in pools]
        return tf.ensure_shape(tf.gather(tf.concat(parts, axis=0), place_N[own]), (size,))

    rows = tf.data.Dataset.range(start_step, stop_step).map(rows_of)
    # The truth about unlabelled rows does not enter the batch, so no loss can read it.
    label_NxC, is_labelled_DxB = source.label_NxC, is_labelled_N[own].reshape(shape)
    is_odd_R = odd_rows(seed, len(source))
    for step, (row_B, image) in enumerate(_read(source, rows), start=start_step):
        label = label_NxC[row_B].reshape(*shape, -1).astype(np.float32)
        flipped = {}
        if flips:
            epochs = [_epochs_at(step, len(rows), count) for rows, _, count in pools]
            epoch_B = np.concatenate(epochs)[place_N[own]]
            flipped["is_flipped"] = ((epoch_B + is_odd_R[row_B]) % 2 == 1).reshape(shape)
        yield {
            "image": image.reshape(*shape, *source.images.shape),
            "label": label * is_labelled_DxB[..., None],
            "is_labelled": is_labelled_DxB,
            **{
                name: value[row_B].reshape(*shape, *value.shape[1:])
                for name, value in (columns or {}).items()
            },
            **flipped,
        }


def _read(source: Source, rows: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row numbers [B] with their images [B, H, W, C], read some batches ahead."""
    import tensorflow as tf

    is_whole = False
    while not is_whole:
        dataset, done = tf.data.Dataset.zip(rows, source.images.read(rows)), 0
        try:
            for batch in dataset.prefetch(4).as_numpy_iterator():
                done += 1
                yield batch
            is_whole = True
        except tf.errors.OpError as error:
            named = unreadable(source, error)
            if named:
                raise named from error
            rows = rows.skip(done)  # the same once more, of which Pillow now decodes that file


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

    Raises:
      ValueError: where a file cannot be read.
    """
    import tensorflow as tf

    per_device = -(-batch // devices)
    size = per_device * devices
    padded = np.zeros(-(-len(rows) // size) * size, np.int64)
    padded[: len(rows)] = rows
    mask = np.arange(len(padded)) < len(rows)
    shape = (devices, per_device)
    row_batches = tf.data.Dataset.from_tensor_slices(padded.reshape(-1, size))
    for is_real, (_, image) in zip(
        mask.reshape(-1, *shape), _read(source, row_batches), strict=True
    ):
        yield {"image": image.reshape(*shape, *source.images.shape), "mask": is_real}
