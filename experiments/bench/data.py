"""How fast photographs are read, beside TensorFlow alone: `python -m experiments.bench data`.

And what the split of a large set costs: `python -m experiments.bench split`.

All sides read the same files in the same order on the same cores, in turns:

- decode: `tf.data` with tf.io.decode_jpeg, the pixels dropped.
- resize: `tf.data` with tf.io.decode_jpeg and tf.image.resize, antialiased.
- ours: `FileImages.read`, decoded and resized.
- files, memory: whole training batches, decoding each time and from the cache.
- step: a training step on one fixed batch.
"""

import statistics
import time
import tracemalloc

import jax
import numpy as np
import tensorflow as tf
from absl import logging
from ml_collections import ConfigDict

from dsh_jax import parallel
from dsh_jax.data import pipeline, protocols
from dsh_jax.data.images import FileImages
from dsh_jax.data.source import Source
from dsh_jax.pictures import CORES
from dsh_jax.training import build

BATCH = 64  # of the sides without a network


def decode_rate(images: FileImages, *, side: int) -> float:
    """Return the images/s of TensorFlow's decoding, and resizing where `side` is not 0."""

    @tf.autograph.experimental.do_not_convert
    def read(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        if side:
            image = tf.cast(tf.image.resize(image, (side, side), antialias=True) + 0.5, tf.uint8)
        return image

    paths = [f"{images.root}/{name}" for name in images.name_N]
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(read, num_parallel_calls=CORES, deterministic=True)
    return len(paths) / _seconds(dataset.batch(BATCH) if side else dataset)


def our_rate(images: FileImages) -> float:
    """Return the images/s of our decoding and resizing."""
    batch = min(BATCH, len(images))
    whole = len(images) // batch * batch
    rows = tf.data.Dataset.range(whole).batch(batch, drop_remainder=True)
    return whole / _seconds(images.read(rows))


def _seconds(dataset: tf.data.Dataset) -> float:
    """Return how long it takes to read a dataset to its end, without handing it to Python."""
    started = time.perf_counter()
    dataset.reduce(tf.constant(0), lambda count, _: count + 1).numpy()
    return time.perf_counter() - started


def batch_rate(config: ConfigDict, source: Source, rows, *, steps: int) -> float:
    """Return the images/s of training batches."""
    batches = pipeline.train_batches(
        source,
        rows,
        rows[:0],
        batch=config.training.batch_size,
        labelled_share=1.0,
        devices=parallel.device_count(),
        seed=0,
        start_step=0,
        stop_step=steps + 1,
    )
    next(batches)  # what came with it is read ahead: little against the steps
    started = time.perf_counter()
    count = sum(1 for _ in batches)
    return count * config.training.batch_size / (time.perf_counter() - started)


def step_rate(run: build.Run, config: ConfigDict, source: Source, *, steps: int) -> float:
    """Return the images/s of training steps on one batch, the first one apart."""
    item = next(
        pipeline.train_batches(
            source,
            run.split.labelled,
            run.split.labelled[:0],
            batch=config.training.batch_size,
            labelled_share=1.0,
            devices=parallel.device_count(),
            seed=0,
            start_step=0,
            stop_step=1,
        )
    )
    batch, step = next(parallel.prefetch([item])), run.stages[-1].step
    state = parallel.replicate_everywhere(run.initial_state(run.stages[-1].stop))
    state, metrics = step(state, batch)
    jax.block_until_ready(metrics)
    started = time.perf_counter()
    for _ in range(steps):
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
    return steps * config.training.batch_size / (time.perf_counter() - started)


def bench(config: ConfigDict, *, rounds: int, steps: int) -> dict[str, float]:
    """Return the medians of all sides, and the ratios that matter.

    Args:
      config: of a source of files.
      rounds: measurements of each side, taken in turn.
      steps: batches in each measurement of batches and steps.

    Returns:
      Name to images/s, or to a ratio.

    Raises:
      ValueError: where the config's images are no files.
    """
    config.data.cache = "none"
    run = build.build(config)
    files = run.source.images
    if not isinstance(files, FileImages):
        raise ValueError(
            f"{run.source.name} is no set of files: pass --config=configs/mirflickr.py."
        )
    config.data.cache = "memory"
    in_memory = build.load_source(config)
    rows = run.split.labelled
    sides = {
        "decode": lambda: decode_rate(files, side=0),
        "resize": lambda: decode_rate(files, side=files.side),
        "ours": lambda: our_rate(files),
        "files": lambda: batch_rate(config, run.source, rows, steps=steps),
        "memory": lambda: batch_rate(config, in_memory, rows, steps=steps),
        "step": lambda: step_rate(run, config, in_memory, steps=min(steps, 20)),
    }
    rates = {name: [] for name in sides}
    for turn in range(rounds):
        logging.info("round %d of %d", turn + 1, rounds)
        for name, side in sides.items():
            rates[name].append(side())
    median = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        "ours ÷ decode": median["ours"] / median["decode"],
        "ours ÷ resize": median["ours"] / median["resize"],
        "files ÷ step": median["files"] / median["step"],
        "memory ÷ step": median["memory"] / median["step"],
    }
    return {name: round(value) for name, value in median.items()} | {
        name: round(value, 2) for name, value in ratios.items()
    }


def bench_split(*, rows: int = 269_648) -> dict[str, float]:
    """Return what the splits of an index as large as NUS-WIDE's take, its images never touched.

    Args:
      rows: with 81 labels each, of which a row has two on average, and names in no order.

    Returns:
      For nus-81 and for nus-21 on the 21 most frequent labels: seconds, and the peak of traced
      memory in MB, from a second call.
    """
    rng = np.random.default_rng(0)
    share_C = 2 / np.arange(1, 82) / (1 / np.arange(1, 82)).sum()
    label_NxC = (rng.random((rows, 81), np.float32) < share_C).astype(np.uint8)
    names = np.array([f"Flickr/{n % 700:03}/{n}.jpg" for n in rng.permutation(rows)])
    numbers = {}
    for protocol, classes in (("nus-81", 81), ("nus-21", 21)):
        source = Source(
            "index",
            FileImages("", names, side=64),
            np.ascontiguousarray(label_NxC[:, :classes]),
            tuple(f"label {c}" for c in range(classes)),
            multilabel=True,
        )

        def split(source=source, protocol=protocol):
            protocols.make_split(source, protocol=protocol, seed=0, validation=0.05, unseen=0.0)

        started = time.perf_counter()
        split()
        numbers[f"{protocol} s"] = round(time.perf_counter() - started, 2)
        tracemalloc.start()
        split()
        numbers[f"{protocol} MB"] = round(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return numbers
