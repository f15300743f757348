"""Where images come from: each name of a data set, or of a layout of files, gives a `Source`."""

from __future__ import annotations

import numpy as np
from etils import epath

from dsh_jax.data.arrays import idx, npz
from dsh_jax.data.cifar import cifar_bin, cifar_python
from dsh_jax.data.folder import folder
from dsh_jax.data.images import ArrayImages
from dsh_jax.data.lists import lists
from dsh_jax.data.mirflickr import mirflickr
from dsh_jax.data.nuswide import nuswide
from dsh_jax.data.packs import parquet, webdataset
from dsh_jax.data.source import Source, multi_hot
from dsh_jax.data.table import table
from dsh_jax.data.tfds import tfds_classification


def digits() -> Source:
    """Return scikit-learn's 1,797 scanned digits, scaled from 8×8 up to 32×32.

    The set itself has no split. Its rows stand in the order of their writers, so the last fifth,
    360 images, are officially query here: hands that the training rows do not hold.

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
    is_query_N = np.arange(len(scaled)) >= len(scaled) - 360
    return Source(
        name="digits",
        images=ArrayImages(np.stack(scaled)[..., None]),
        label_NxC=multi_hot(bunch.target, 10),
        label_names=tuple(str(name) for name in bunch.target_names),
        official={"train": ~is_query_N, "query": is_query_N},
    )


def load(
    name: str,
    *,
    data_dir: str = "",
    labels_path: str = "",
    image_size: int = 0,
    fit: str = "squash",
    concepts: int = 0,
    separator: str = "|",
    path_prefix: str = "",
    skip: str = "",
    label_column: str = "",
    cache_dir: str = "",
) -> Source:
    """Return the named source.

    Args:
      name: `digits`; `mirflickr` or `nuswide` in their native layouts; `lists`, `folder`, `csv`,
        `parquet` or `webdataset` of any images; `npz`, `cifar-python`, `cifar-bin` or `idx`; else
        the name of a TensorFlow Datasets set of image classification.
      data_dir: folder of the files, the file itself for `npz`; see each source.
      labels_path: folder of `lists`, file of `csv`.
      image_size: side that images are brought to, pixels; 0 keeps that of arrays and TFDS sets.
      fit: how files become square, see `files.file_source`.
      concepts: which labels of `mirflickr` (0: its 24) or `nuswide` (0: its 21).
      separator: between labels in `csv`.
      path_prefix: what `lists` and `csv` remove from the front of paths.
      skip: which bad files are left out, see `files.file_source`.
      label_column: of `parquet`.
      cache_dir: folder to which `parquet` and `webdataset` are unpacked.

    Returns:
      Source.

    Raises:
      ValueError: for a data_dir that is empty or does not exist, an image_size that arrays do not
        have, and what each source refuses.
    """
    photos = {"image_size": image_size, "fit": fit, "skip": skip}
    paths = {"labels_path": labels_path, "path_prefix": path_prefix}
    packed = {"cache_dir": cache_dir}
    files = {
        "mirflickr": lambda: mirflickr(data_dir, concepts=concepts or 24, **photos),
        "nuswide": lambda: nuswide(data_dir, concepts=concepts or 21, **photos),
        "lists": lambda: lists(data_dir, **paths, **photos),
        "folder": lambda: folder(data_dir, **photos),
        "csv": lambda: table(data_dir, separator=separator, **paths, **photos),
        "parquet": lambda: parquet(data_dir, label_column=label_column, **packed, **photos),
        "webdataset": lambda: webdataset(data_dir, **packed, **photos),
    }
    arrays = {
        "npz": lambda: npz(data_dir),
        "cifar-python": lambda: cifar_python(data_dir),
        "cifar-bin": lambda: cifar_bin(data_dir),
        "idx": lambda: idx(data_dir),
    }
    if name not in {"digits", *files, *arrays}:
        own_names = ("digits", *files, *arrays)
        return tfds_classification(name, data_dir, image_size, own_names=own_names)
    if name != "digits" and not (data_dir and epath.Path(data_dir).expanduser().exists()):
        raise ValueError(
            f"data.data_dir is {data_dir!r}, which does not exist: set it to where the files of "
            f"{name} are."
        )
    if name in files:
        return files[name]()
    source = digits() if name == "digits" else arrays[name]()
    if image_size and source.images.shape[:2] != (image_size, image_size):
        height, width, _ = source.images.shape
        raise ValueError(
            f"data.image_size is {image_size}, but the images of {name} are arrays of "
            f"{height}×{width} pixels: leave it 0, or resize them before."
        )
    return source
