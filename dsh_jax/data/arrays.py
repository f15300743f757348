"""Images in arrays: an .npz file, the IDX files of MNIST."""

from __future__ import annotations

import gzip
import math
import zlib

import numpy as np
from etils import epath

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.label_names import check_numbers, name_notes
from dsh_jax.data.lists import MOST_CLASSES
from dsh_jax.data.source import PARTS, Source, multi_hot

IDX_STEMS = ("train", "t10k")


def npz(path: epath.PathLike) -> Source:
    """Return the images of an .npz file.

    Its arrays: `images` uint8 [N, H, W] or [N, H, W, 1 or 3]; `labels`, integers [N] or multi-hot
    [N, C]; perhaps `label_names` [C] and `split` [N], each train, database, query or empty.

    Args:
      path: of the file.

    Returns:
      Source; multi-label where a multi-hot row has another number of labels than one.

    Raises:
      ValueError: for a file that cannot be read, missing arrays, wrong shapes, types or values,
        integers without `label_names` that start at 1 or leave some out.
    """
    path = epath.Path(path).expanduser()
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            held = dict(arrays.items())
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"{path} cannot be read as .npz file ({error}): set data.data_dir to one that "
            "numpy.savez wrote of plain arrays."
        ) from error
    if not {"images", "labels"} <= set(held):
        raise ValueError(f"{path} holds {sorted(held)}; wanted are `images` and `labels`.")
    image, label = held["images"], held["labels"]
    image = image[..., None] if image.ndim == 3 else image
    if (
        image.dtype != np.uint8
        or image.ndim != 4
        or image.shape[-1] not in (1, 3)
        or not image.size
    ):
        raise ValueError(
            f"{path}: `images` are {image.dtype} of shape {held['images'].shape}; wanted are uint8 "
            "[N, H, W], [N, H, W, 1] or [N, H, W, 3], none of them 0."
        )
    names = tuple(_npz_text(path, held, "label_names").tolist())
    label_NxC = _npz_labels(path, label, len(names))
    split = _npz_text(path, held, "split")
    unknown = sorted(set(split.tolist()) - {*PARTS, ""})
    if unknown:
        raise ValueError(f"{path}: `split` holds {unknown}; wanted are {PARTS}, or empty.")
    return Source(
        name="npz",
        images=ArrayImages(image),
        label_NxC=label_NxC,
        label_names=names or tuple(f"class {c}" for c in range(label_NxC.shape[1])),
        official={part: split == part for part in PARTS if part in split},
        multilabel=label.ndim == 2 and bool((label_NxC.sum(1) != 1).any()),
        notes=tuple(name_notes(names, label_NxC)),
    )


def _npz_labels(path, label, classes):
    is_number = label.dtype == bool or np.issubdtype(label.dtype, np.integer)
    if is_number and label.ndim == 1 and label.size and label.dtype != bool:
        if label.max() >= MOST_CLASSES:
            raise ValueError(
                f"{path}: `labels` go up to {label.max():,}; wanted are class numbers below "
                f"{MOST_CLASSES:,}."
            )
        if label.min() == 1 and label.max() == classes:
            raise ValueError(
                f"{path}: `labels` go from 1 to {classes}; wanted are 0 to {classes - 1}: subtract "
                "1 from each."
            )
        if not classes and label.min() >= 0:
            check_numbers(label, f"{path}: `labels`", "name every number in `label_names`")
        return multi_hot(label, classes or int(label.max()) + 1)
    if is_number and label.ndim == 2 and label.shape[1] > 1 and np.isin(label, (0, 1)).all():
        return label.astype(np.uint8)
    raise ValueError(
        f"{path}: `labels` are {label.dtype} of shape {label.shape}; wanted are integer classes "
        "[N], or 0 and 1 of each label [N, C], C at least 2."
    )


def _npz_text(path, held, name):
    """Return an array of text, empty where there is none of that name."""
    text = held.get(name, np.zeros(0, np.str_))
    if text.ndim != 1:
        raise ValueError(f"{path}: `{name}` are of shape {text.shape}; wanted is one axis of text.")
    return np.char.decode(text, "utf-8", "replace") if text.dtype.kind == "S" else text.astype(str)


def idx(data_dir: epath.PathLike) -> Source:
    """Return the images of IDX files as MNIST has them, `train-images-idx3-ubyte[.gz]` and others.

    LeCun, Cortes and Burges, *The MNIST database of handwritten digits* (1998).

    Args:
      data_dir: folder of the files.

    Returns:
      Source, train before query (`t10k`), labels named by their numbers; one that does not occur is
      no class.

    Raises:
      ValueError: for missing or damaged files.
    """
    folder = epath.Path(data_dir).expanduser()
    image, label = [], []
    for stem in IDX_STEMS:
        image.append(_read_idx(folder, f"{stem}-images", 3))
        label.append(_read_idx(folder, f"{stem}-labels", 1))
        is_like = image[-1].shape[1:] == image[0].shape[1:]
        if not image[-1].size or len(image[-1]) != len(label[-1]) or not is_like:
            raise ValueError(
                f"{folder}: {stem} has images {image[-1].shape} and labels {label[-1].shape}; "
                f"wanted are one or more, as many labels, and images like {image[0].shape[1:]}."
            )
    number_C, class_N = np.unique(np.concatenate(label), return_inverse=True)
    classes, last = len(number_C), number_C[-1]
    note = f"Of the labels from 0 to {last}, {classes} occur: only these are classes."
    is_query_N = np.arange(len(class_N)) >= len(label[0])
    return Source(
        name="idx",
        images=ArrayImages(np.concatenate(image)[..., None]),
        label_NxC=multi_hot(class_N, classes),
        label_names=tuple(map(str, number_C)),
        official={"train": ~is_query_N, "query": is_query_N},
        notes=(note,) if last >= classes else (),
    )


def _read_idx(folder, stem, axes):
    """Return the array of an IDX file: 0 0 8 axes, the lengths as big-endian uint32, the bytes."""
    names = [f"{stem}{mark}idx{axes}-ubyte{gz}" for mark in "-." for gz in ("", ".gz")]
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if not path:
        raise ValueError(
            f"{folder} lacks {names[0]}[.gz]: set data.data_dir to the folder of the IDX files."
        )
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({error}): fetch it again.") from error
    begin = 4 + 4 * axes
    shape = tuple(np.frombuffer(data[4:begin], ">u4").tolist()) if len(data) >= begin else ()
    if data[:4] != bytes((0, 0, 8, axes)) or len(data) - begin != math.prod(shape):
        raise ValueError(
            f"{path} begins with {data[:4].hex(' ')} and has {len(data):,} bytes; wanted is "
            f"00 00 08 0{axes} and then {axes} lengths and as many bytes: it is damaged."
        )
    return np.frombuffer(data, np.uint8, offset=begin).reshape(shape)
