"""Where images come from: each source gives the same form, a `Source`."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re

import numpy as np
from etils import epath


@dataclasses.dataclass(frozen=True)
class Source:
    """Images with their labels, and the official split where the data set has one.

    Attributes:
      name: of the data set.
      image_NxHxWxC: uint8 images, C = 1 or 3.
      label_NxC: uint8 multi-hot labels; a single-label set has one 1 a row.
      label_names: C names.
      is_official_query_N: bool, True where the data set's own split says test.
      multilabel: whether a row may hold several labels; relevance is then a shared label.
    """

    name: str
    image_NxHxWxC: np.ndarray
    label_NxC: np.ndarray
    label_names: tuple[str, ...]
    is_official_query_N: np.ndarray
    multilabel: bool = False

    def __post_init__(self):
        rows = len(self.image_NxHxWxC)
        if self.image_NxHxWxC.dtype != np.uint8 or self.image_NxHxWxC.ndim != 4:
            raise ValueError(
                f"{self.name}: images are {self.image_NxHxWxC.dtype} of shape "
                f"{self.image_NxHxWxC.shape}; they must be uint8 of shape [N, H, W, C]."
            )
        for what, value in (
            ("labels", self.label_NxC),
            ("official rows", self.is_official_query_N),
        ):
            if len(value) != rows:
                raise ValueError(f"{self.name}: {rows} images but {len(value)} {what}.")
        if self.label_NxC.shape[1] != len(self.label_names):
            raise ValueError(
                f"{self.name}: labels have {self.label_NxC.shape[1]} columns, but there are "
                f"{len(self.label_names)} label names."
            )

    def __len__(self) -> int:
        return len(self.image_NxHxWxC)


def multi_hot(label_N: np.ndarray, classes: int) -> np.ndarray:
    """Return uint8 rows with one 1 at each integer label.

    Args:
      label_N: integers in [0, classes).
      classes: C.

    Returns:
      label_NxC, uint8.

    Raises:
      ValueError: for a label outside [0, classes); some sets mark rows without a label by -1.
    """
    outside = np.flatnonzero((label_N < 0) | (label_N >= classes))
    if len(outside):
        raise ValueError(
            f"row {outside[0]} has the label {label_N[outside[0]]}; it must be in [0, {classes})."
        )
    return np.eye(classes, dtype=np.uint8)[label_N]


def digits() -> Source:
    """Return scikit-learn's 1,797 scanned digits, scaled from 8×8 up to 32×32.

    The set has no official split. Its rows stand in the order of their writers, so the last fifth,
    360 images, are the queries: hands that the training rows do not hold.

    Returns:
      Source with images [1797, 32, 32, 1] and 10 labels.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    bunch = load_digits()
    image_Nx8x8 = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    scaled = [
        np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
        for image in image_Nx8x8
    ]
    return Source(
        name="digits",
        image_NxHxWxC=np.stack(scaled)[..., None],
        label_NxC=multi_hot(bunch.target, 10),
        label_names=tuple(str(name) for name in bunch.target_names),
        is_official_query_N=np.arange(len(scaled)) >= len(scaled) - 360,
    )


def tfds_classification(name: str, data_dir: str = "", image_size: int = 0) -> Source:
    """Return a TensorFlow Datasets image-classification set, all its splits pooled.

    Args:
      name: the TFDS name, e.g. `mnist`, `cifar10`, or `mnist:3.0.1`.
      data_dir: the folder of prepared sets; empty means `TFDS_DATA_DIR` or TFDS's own default.
      image_size: side to which images are resized (with antialiasing); 0 keeps their size.

    Returns:
      Source; the `test` split (`validation` where there is none) is the official query split.

    Raises:
      ValueError: for an unknown set, a folder that does not exist, a set that is neither prepared
        nor can be downloaded, one that does not classify images, or images of varying size without
        an image_size.
    """
    # Imported here: `digits` and the library's maths need no TensorFlow Datasets.
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
        known = sorted({"digits", *tfds.list_builders(with_community_datasets=False)})
        stem = re.split("[:/]", name.lower())[0]
        reason = str(error).strip().partition("\n")[0]
        near = difflib.get_close_matches(stem, known, n=3) or ["digits", "mnist", "cifar10"]
        raise ValueError(
            f"unknown data set {name!r}: data.name must be 'digits' or a TensorFlow Datasets name; "
            f"near ones: {', '.join(near)}. TFDS says: {reason}"
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
    return Source(
        name=name,
        image_NxHxWxC=np.concatenate(image),
        label_NxC=multi_hot(np.concatenate(label), len(names)),
        label_names=tuple(names),
        is_official_query_N=np.concatenate(is_query),
    )


def load(name: str, *, data_dir: str = "", image_size: int = 0) -> Source:
    """Return the named source.

    Args:
      name: `digits`, or any TensorFlow Datasets image-classification set.
      data_dir: see `tfds_classification`.
      image_size: side to which a TFDS set is resized; 0 keeps its size.

    Returns:
      Source.

    Raises:
      ValueError: see `tfds_classification`.
    """
    if name == "digits":
        return digits()
    return tfds_classification(name, data_dir, image_size)
