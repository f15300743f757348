"""The arrays of a file that PyTorch has saved, read without PyTorch and without running anything.

Both forms are read: the zip archive of today, and the row of pickles of before 2020. A pickle is a
program; this one may build dictionaries and name arrays, and every other call is refused.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Any

import ml_dtypes
import numpy as np
from etils import epath

MAGIC = 0x1950A86A20F9469CFC6C  # what the older form begins with
DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_torch(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of a saved state dict by their names.

    Args:
      path: of a file of `torch.save`. A dictionary in it that holds the arrays under `state_dict`
        or `model`, as training programs write it, is looked into.

    Returns:
      Arrays of the types in which they were saved.

    Raises:
      ValueError: for a file of another kind, a damaged one, or one that wants something run.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file:
            is_zip = zipfile.is_zipfile(file)
            file.seek(0)
            found = _read_zip(file) if is_zip else _read_pickles(file)
    except _Refused as error:
        raise ValueError(f"{path} is refused: {error}") from None
    except (
        *(pickle.UnpicklingError, EOFError, zipfile.BadZipFile, struct.error, KeyError),
        *(AttributeError, IndexError, TypeError, ValueError, UnicodeDecodeError, OverflowError),
        MemoryError,
    ) as error:
        raise ValueError(
            f"{path} is no file of torch.save, or damaged ({error or type(error).__name__}): "
            "load and save it again, or pass its arrays as .safetensors or .npz"
        ) from None
    arrays = _arrays_in(found)
    if not arrays:
        raise ValueError(
            f"{path} holds no arrays by name: save a model's state_dict(), not the model"
        )
    return arrays


class _Refused(Exception):
    """A file that wants something run."""


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Numbers that stand elsewhere in the file."""

    dtype: np.dtype
    key: str
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """Return it, once the storage's numbers are there."""
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        whole = (self.offset, *self.shape, *self.strides)
        if any(not isinstance(number, int) or number < 0 for number in whole):
            raise ValueError("a tensor has a bad shape")
        if not math.prod(self.shape):
            return np.zeros(self.shape, numbers.dtype)
        # Repeated numbers (strides of 0) could ask for any amount of memory.
        if last >= len(numbers) or math.prod(self.shape) > len(numbers):
            raise ValueError("a tensor reaches beyond its numbers")
        strides = [stride * numbers.itemsize for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides)
        return np.ascontiguousarray(view).reshape(self.shape)


def _rebuild_tensor(storage, offset, shape, strides, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor has no storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor, *_: Any) -> Any:
    return tensor


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


class _Unpickler(pickle._Unpickler):  # ty: ignore[unresolved-attribute]
    """An unpickler that knows the names of `_ALLOWED` and no other.

    It is the standard library's own in Python: the one in C takes gigabytes at a file's word.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for here."""
        if (module, name) not in _ALLOWED:
            raise _Refused(f"it wants {module}.{name}, and weights need no such thing")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Return a storage's place for its description."""
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(count, int):
            raise ValueError("a storage is described in an unknown way")
        return _Storage(dtype, str(key), count)


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        (program,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        folder = program.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            order = archive.read(f"{folder}byteorder")
            if order != b"little":
                raise ValueError(f"its numbers are {order.decode()}-endian")
        found = _Unpickler(io.BytesIO(archive.read(program))).load()

        def numbers_of(storage: _Storage) -> np.ndarray:
            # Never more than is said: a packed file could hold terabytes of zeros.
            wanted = storage.count * storage.dtype.itemsize
            with archive.open(f"{folder}data/{storage.key}") as packed:
                content = packed.read(wanted)
            return np.frombuffer(content, storage.dtype, storage.count)

        return _filled(found, numbers_of)


def _read_pickles(file: IO[bytes]) -> Any:
    magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or protocol != 1001 or not system["little_endian"]:
        raise ValueError("it begins in another way")
    found = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    described = {storage.key: storage for storage in _storages_in(found)}
    numbers = {}
    for key in keys:
        storage = described[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count or count < 0:
            raise ValueError(f"storage {key} has {count} numbers, not {storage.count}")
        content = file.read(count * storage.dtype.itemsize)
        numbers[key] = np.frombuffer(content, storage.dtype, count)
    return _filled(found, lambda storage: numbers[storage.key])


def _storages_in(found: Any) -> list[_Storage]:
    if isinstance(found, _Tensor):
        return [found.storage]
    if isinstance(found, dict):
        return [storage for value in found.values() for storage in _storages_in(value)]
    return []


def _filled(found: Any, numbers_of: Callable[[_Storage], np.ndarray]) -> Any:
    """Return dictionaries with arrays where they had tensors."""
    if isinstance(found, _Tensor):
        return found.array(numbers_of(found.storage))
    if isinstance(found, dict):
        return {key: _filled(value, numbers_of) for key, value in found.items()}
    return found


def _arrays_in(found: Any) -> dict[str, np.ndarray]:
    if not isinstance(found, dict):
        return {}
    for inner in ("state_dict", "model"):
        if isinstance(found.get(inner), dict):
            found = found[inner]
    return {str(name): value for name, value in found.items() if isinstance(value, np.ndarray)}
