"""CIFAR-10 as its authors publish it: a folder of pickles, or of binary files."""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Callable

import numpy as np
from etils import epath

from dsh_jax.data.images import ArrayImages
from dsh_jax.data.lists import read_lines
from dsh_jax.data.source import Source, multi_hot

CIFAR_TRAIN = tuple(f"data_batch_{n}" for n in range(1, 6))
CIFAR_QUERY = "test_batch"
CIFAR_BYTES = 3 * 32 * 32


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
