"""Weights of other libraries brought into our modules, by their names."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import flax
import numpy as np
import safetensors.numpy
from etils import epath

from dsh_jax.network.torch_file import read_torch

FORMS = ".safetensors, .npz, .pth or .pt"


def read_weights(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Return the arrays of a file by their names.

    Args:
      path: of a .safetensors or .npz file, or of a state dict of `torch.save` (.pth, .pt).

    Returns:
      Arrays.

    Raises:
      ValueError: for a file that is missing, of another form, or damaged.
    """
    path = epath.Path(path)
    if not path.exists():
        raise ValueError(f"{path} is not there; pass the path of a {FORMS} file.")
    if path.suffix == ".npz":
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no .npz file of plain arrays: {error}") from None
    if path.suffix == ".safetensors":
        try:
            return safetensors.numpy.load(path.read_bytes())
        except Exception as error:  # its own error class, and others for damaged headers
            raise ValueError(f"{path} is no safetensors file, or damaged: {error}") from None
    if path.suffix in (".pth", ".pt", ".bin"):
        return read_torch(path)
    raise ValueError(f"{path} has none of the known forms; pass a {FORMS} file.")


def filled(
    template: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    name_of: Callable[[str, tuple[str, ...]], str],
    *,
    ignored: Callable[[str], bool] = lambda name: False,
    source: str = "the weights",
) -> dict[str, Any]:
    """Return variables of a template's shapes, with PyTorch's arrays in them.

    Kernels are turned: OIHW to HWIO, and [out, in] to [in, out]; 1×1 ones fill dense layers.

    Args:
      template: `params` and `batch_stats` of a module, arrays or their shapes.
      arrays: by their names.
      name_of: `(collection, path) -> name` of the array that belongs there.
      ignored: whether an array that nothing takes is no mistake.
      source: what messages call the arrays.

    Returns:
      Variables, float32.

    Raises:
      ValueError: names every array that is missing, has another shape, or is left over.
    """
    found, missing, wrong, left = {}, [], [], set(arrays)
    flat: dict[tuple[str, ...], Any] = flax.traverse_util.flatten_dict(dict(template))
    for (collection, *path), leaf in flat.items():
        name = name_of(collection, tuple(path))
        if name not in arrays:
            missing.append(name)
            continue
        left.discard(name)
        array = _turned(np.asarray(arrays[name], np.float32), len(leaf.shape))
        if array.shape != tuple(leaf.shape):
            wrong.append(f"{name} is {arrays[name].shape}, not {_in_their_order(leaf.shape)}")
        found[collection, *path] = array
    left = {name for name in left if not ignored(name)}
    said = [
        f"{what}: {', '.join(sorted(names))}"
        for what, names in (("missing", missing), ("of another shape", wrong), ("left over", left))
        if names
    ]
    if said:
        raise ValueError(f"{source} do not fit the network. " + "; ".join(said))
    return flax.traverse_util.unflatten_dict(found)


def _in_their_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that PyTorch's array has for a leaf of a shape."""
    order = {2: (1, 0), 4: (3, 2, 0, 1)}.get(len(shape), range(len(shape)))
    return tuple(shape[axis] for axis in order)


def _turned(array: np.ndarray, ndim: int) -> np.ndarray:
    """Return PyTorch's array in our order of axes, for a leaf of so many."""
    if array.ndim == 4:
        array = array.transpose(2, 3, 1, 0)
        return array[0, 0] if ndim == 2 and array.shape[:2] == (1, 1) else array
    return array.T if array.ndim == 2 else array
