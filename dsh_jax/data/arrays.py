"""Images in arrays: an .npz file, the CIFAR-10 folders, the IDX files of MNIST."""

from __future__ import annotations

import codecs
import gzip
import math
import pickle
import zlib
from collections.abc import Callable

import numpy as np
from etils import epath

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.lists import MOST_CLASSES, read_lines
from dsh_jax.data.source import PARTS, Source, multi_hot

CIFAR_TRAIN = tuple(f"data_batch_{n}" for n in range(1, 6))
CIFAR_QUERY = "test_batch"
CIFAR_BYTES = 3 * 32 * 32
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
      ValueError: for a file that cannot be read, missing arrays, wrong shapes, types or values.
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
    )


def _npz_labels(path, label, classes):
    is_number = label.dtype == bool or np.issubdtype(label.dtype, np.integer)
    if is_number and label.ndim == 1 and label.size and label.dtype != bool:
        if label.max() >= MOST_CLASSES:
            raise ValueError(
                f"{path}: `labels` go up to {label.max():,}; wanted are class numbers below "
                f"{MOST_CLASSES:,}."
            )
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


def cifar_python(data_dir: epath.PathLike) -> Source:
    """Return CIFAR-10 of its Python version, `cifar-10-batches-py`.

    Krizhevsky, *Learning multiple layers of features from tiny images* (2009).

    Args:
      data_dir: the folder, or the one that holds it.

    Returns:
      Source, the rows in the order of the files; official are train and query.

    Raises:
      ValueError: for missing or damaged files, or pickles that hold anything but plain data.
    """

    def read(path):
        batch = read_pickle(path)
        data, label = np.asarray(batch.get("data")), np.asarray(batch.get("labels"))
        is_data = data.dtype == np.uint8 and data.shape[1:] == (CIFAR_BYTES,)
        if not is_data or label.dtype != np.int64 or label.shape != data.shape[:1]:
            raise ValueError(
                f"{path} holds `data` {data.dtype} {data.shape} and `labels` {label.dtype} "
                f"{label.shape}; wanted are uint8 [N, 3072] and N integers: unpack it afresh."
            )
        return data, label

    folder = _folder(data_dir, "cifar-10-batches-py", (*CIFAR_TRAIN, CIFAR_QUERY, "batches.meta"))
    meta = read_pickle(folder / "batches.meta")
    if not isinstance(meta.get("label_names"), list):
        raise ValueError(f"{folder / 'batches.meta'} has no list `label_names`: unpack it afresh.")
    names = [name.decode() if isinstance(name, bytes) else name for name in meta["label_names"]]
    return _cifar("cifar-python", folder, "", read, names)


def cifar_bin(data_dir: epath.PathLike) -> Source:
    """Return CIFAR-10 of its binary version, `cifar-10-batches-bin`.

    Args:
      data_dir: the folder, or the one that holds it.

    Returns:
      Source, see `cifar_python`.

    Raises:
      ValueError: for missing or damaged files.
    """

    def read(path):
        byte = np.frombuffer(path.read_bytes(), np.uint8)
        if not len(byte) or len(byte) % (1 + CIFAR_BYTES):
            raise ValueError(
                f"{path} has {len(byte):,} bytes; wanted is a multiple of {1 + CIFAR_BYTES:,}, a "
                "label and an image each: it is damaged, unpack it afresh."
            )
        record = byte.reshape(-1, 1 + CIFAR_BYTES)
        return record[:, 1:], record[:, 0]

    files = [f"{name}.bin" for name in (*CIFAR_TRAIN, CIFAR_QUERY)]
    folder = _folder(data_dir, "cifar-10-batches-bin", (*files, "batches.meta.txt"))
    names = [line for line in read_lines(folder / "batches.meta.txt") if line]
    return _cifar("cifar-bin", folder, ".bin", read, names)


def _cifar(name, folder, ending, read: Callable, label_names):
    """Return the six batches as one Source; each image is stored as its red, green, blue planes."""
    batches = [read(folder / f"{batch}{ending}") for batch in (*CIFAR_TRAIN, CIFAR_QUERY)]
    data, label = (np.concatenate(column) for column in zip(*batches, strict=True))
    is_query_N = np.arange(len(data)) >= len(data) - len(batches[-1][0])
    return Source(
        name=name,
        images=ArrayImages(np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))),
        label_NxC=multi_hot(label, len(label_names)),
        label_names=tuple(label_names),
        official={"train": ~is_query_N, "query": is_query_N},
    )


def _folder(data_dir, name, files):
    """Return the folder of that name, or data_dir itself, with all of the files."""
    folder = epath.Path(data_dir).expanduser()
    folder = folder / name if (folder / name).is_dir() else folder
    absent = [file for file in files if not (folder / file).exists()]
    if absent:
        raise ValueError(
            f"{folder} lacks {', '.join(absent)}: set data.data_dir to {name} or its parent."
        )
    return folder


class PlainUnpickler(pickle.Unpickler):
    """Reads arrays and plain Python data only: any other pickle could run any program."""

    # numpy's own function to rebuild an array, which has moved between its versions.
    ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,  # bytes that Python 3 wrote for Python 2
    }

    def find_class(self, module: str, name: str):
        """Return an allowed function or type."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no plain data")
        return self.ALLOWED[module, name]


def read_pickle(path: epath.Path) -> dict:
    """Return the dict of a pickle of Python 2 or 3, its keys as text.

    Args:
      path: of the file.

    Returns:
      dict; what Python 2 called text is bytes.

    Raises:
      ValueError: for a damaged file, one that holds no dict, or more than plain data.
    """
    try:
        with path.open("rb") as file:
            held = PlainUnpickler(file, encoding="bytes").load()
        return {key.decode() if isinstance(key, bytes) else key: held[key] for key in held}
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"{path} cannot be read ({error}): unpack it afresh.") from error


def idx(data_dir: epath.PathLike) -> Source:
    """Return the images of IDX files as MNIST has them, `train-images-idx3-ubyte[.gz]` and others.

    LeCun, Cortes and Burges, *The MNIST database of handwritten digits* (1998).

    Args:
      data_dir: folder of the files.

    Returns:
      Source, train before query (`t10k`), labels named by their numbers.

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
    label_N = np.concatenate(label)
    classes = int(label_N.max()) + 1
    is_query_N = np.arange(len(label_N)) >= len(label[0])
    return Source(
        name="idx",
        images=ArrayImages(np.concatenate(image)[..., None]),
        label_NxC=multi_hot(label_N, classes),
        label_names=tuple(map(str, range(classes))),
        official={"train": ~is_query_N, "query": is_query_N},
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
