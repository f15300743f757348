"""Image-classification sets of TensorFlow Datasets, prepared on disk or downloaded."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence

import numpy as np
from etils import epath

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.source import Source, multi_hot


def tfds_classification(
    name: str, data_dir: str = "", image_size: int = 0, *, own_names: Sequence[str] = ("digits",)
) -> Source:
    """Return a TensorFlow Datasets image-classification set, all its splits pooled.

    Args:
      name: the TFDS name, e.g. `mnist`, `cifar10`, or `mnist:3.0.1`.
      data_dir: the folder of prepared sets; empty means `TFDS_DATA_DIR` or TFDS's own default.
      image_size: side to which images are resized (with antialiasing); 0 keeps their size.
      own_names: other data sets, which the answer to an unknown name also offers.

    Returns:
      Source; the `test` split (`validation` where there is none) is officially query, all else
      train. A set of one split has no official one.

    Raises:
      ValueError: for an unknown set, a folder that does not exist, a set that is neither prepared
        nor can be downloaded, one that does not classify images, or images of varying size without
        an image_size.
    """
    # Imported here: no other source needs TensorFlow Datasets.
    import tensorflow_datasets as tfds

    folder = data_dir or os.environ.get("TFDS_DATA_DIR", "")
    if folder and not epath.Path(folder).expanduser().is_dir():
        origin = "data.data_dir" if data_dir else "TFDS_DATA_DIR"
        raise ValueError(
            f"{origin} is {folder!r}, which is not a folder: create it to download there, or set "
            f"it to the folder that holds {name}/<version>/dataset_info.json."
        )
    try:
        builder = tfds.builder(name, data_dir=folder or None)
    except Exception as error:  # TFDS has a type of its own for each way to misspell
        known = sorted({*own_names, *tfds.list_builders(with_community_datasets=False)})
        stem = re.split("[:/]", name.lower())[0]
        reason = str(error).strip().partition("\n")[0]
        near = difflib.get_close_matches(stem, known, n=3) or ["digits", "mnist", "cifar10"]
        raise ValueError(
            f"unknown data set {name!r}: data.name must be one of {', '.join(own_names)}, or a "
            f"TensorFlow Datasets name; near ones: {', '.join(near)}. TFDS says: {reason}"
        ) from error
    features = builder.info.features
    is_classification = {"image", "label"} <= set(features or ()) and isinstance(
        features["label"], tfds.features.ClassLabel
    )
    if not is_classification:
        raise ValueError(
            f"{name} has the features {sorted(features or ())}; an image-classification set has "
            "'image' and 'label', one class a row."
        )
    try:
        _prepare(builder)
    except Exception as error:  # whatever stopped it, the reader needs the way out
        raise ValueError(
            f"{name} is not prepared under {builder.data_path} and could not be downloaded "
            f"({type(error).__name__}: {error}). Where there is a network, run again; where there "
            f"is none, copy a prepared {name}/<version>/ folder from elsewhere and point "
            "data.data_dir or TFDS_DATA_DIR at its parent."
        ) from error
    return _read(builder, name, image_size)


def _prepare(builder) -> None:
    """Download and prepare the set, unless its folder is there already."""
    from tensorflow_datasets.core.download import downloader

    # TFDS asks ten more times for each file and doubles its wait: without a network the error would
    # come after more than three minutes. Three times take about a second.
    retries, downloader.MAX_RETRIES = downloader.MAX_RETRIES, 3
    try:
        builder.download_and_prepare()
    finally:
        downloader.MAX_RETRIES = retries


def _read(builder, name: str, image_size: int) -> Source:
    """Return the splits of a prepared builder as one Source."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    shape = builder.info.features["image"].shape
    if None in shape and not image_size:
        raise ValueError(
            f"the images of {name} have the shape {shape}, not one size: set data.image_size."
        )

    def resized(example):
        image = tf.cast(example["image"], tf.float32)
        image = tf.image.resize(image, (image_size, image_size), antialias=True)
        return {
            "image": tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8),
            "label": example["label"],
        }

    splits = [split for split in ("train", "validation", "test") if split in builder.info.splits]
    if not splits:
        raise ValueError(f"{name} has the splits {list(builder.info.splits)}, none of them train.")
    query_split = "test" if "test" in splits else "validation"
    image, label, is_query = [], [], []
    for split in splits:
        dataset = builder.as_dataset(split=split, shuffle_files=False)
        dataset = dataset.map(lambda example: {k: example[k] for k in ("image", "label")})
        if image_size:
            dataset = dataset.map(resized, num_parallel_calls=tf.data.AUTOTUNE)
        # One batch of everything: a single copy instead of one small array a row.
        rows = builder.info.splits[split].num_examples
        columns = next(iter(tfds.as_numpy(dataset.batch(rows))))
        image.append(columns["image"])
        label.append(columns["label"])
        is_query.append(np.full(rows, split == query_split))
    names = builder.info.features["label"].names
    is_query_N = np.concatenate(is_query)
    return Source(
        name=name,
        images=ArrayImages(np.concatenate(image)),
        label_NxC=multi_hot(np.concatenate(label), len(names)),
        label_names=tuple(names),
        official={"train": ~is_query_N, "query": is_query_N} if len(splits) > 1 else {},
    )
