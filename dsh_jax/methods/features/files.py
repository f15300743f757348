"""Files of features: written in whole or not at all, read with every check."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from etils import epath

CHECKED = 2**26  # numbers of a file that are looked at together, 256 MB of float32


def save_features(path: epath.PathLike, blocks: Iterable[np.ndarray], rows: int) -> epath.Path:
    """Write blocks of features into one .npy file, which is there in whole or not at all.

    Args:
      path: of the file, .npy.
      blocks: float32 arrays of rows, all of one width, as `feature_blocks` yields them.
      rows: N, of all blocks.

    Returns:
      The path of the file.

    Raises:
      ValueError: for another ending, or where the blocks hold more or fewer rows.
      OSError: where the file cannot be written.
    """
    path = epath.Path(path).expanduser()
    if path.suffix != ".npy":
        raise ValueError(f"{path} does not end in .npy, the format of the file; call it so")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}.{os.getpid()}.unfinished"
    feature_NxD, done = None, 0
    try:
        for block_BxD in blocks:
            if feature_NxD is None:
                shape = (rows, block_BxD.shape[1])
                feature_NxD = np.lib.format.open_memmap(unfinished, "w+", np.float32, shape)
            start, done = done, done + len(block_BxD)
            if done > rows:
                break
            feature_NxD[start:done] = block_BxD
        if done != rows:
            raise ValueError(
                f"the blocks hold {done} rows{' or more' if done > rows else ''}; wanted {rows}"
            )
        feature_NxD.flush()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def load_features(path: epath.PathLike, rows: int) -> np.ndarray:
    """Read features that someone computed, checked, without taking them into memory.

    Args:
      path: of a .npy file with a row for each image, in the order of the data set's rows.
      rows: N, how many there must be.

    Returns:
      float16, float32 or float64 array, shape (N, D), mapped from the file for reading.

    Raises:
      ValueError: where the file is not there or no .npy, or its array is no matrix of floats, of
        another number of rows, or holds NaN or infinity.
    """
    path = epath.Path(path).expanduser()
    try:
        feature_NxD = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); write it with numpy.save(path, features)"
        ) from error
    if not isinstance(feature_NxD, np.ndarray):  # an .npz holds several
        raise ValueError(
            f"{path} holds {', '.join(feature_NxD.files)}; wanted one array: write it alone, with "
            "numpy.save(path, features)"
        )
    shape, dtype = feature_NxD.shape, feature_NxD.dtype
    if len(shape) != 2 or 0 in shape or not np.issubdtype(dtype, np.floating):
        raise ValueError(
            f"{path} holds {dtype} of shape {shape}; wanted floats of shape (rows, columns): "
            "numpy.save(path, features.reshape(len(features), -1).astype(numpy.float32))"
        )
    if len(feature_NxD) != rows:
        raise ValueError(
            f"{path} holds {len(feature_NxD):,} rows, the data set {rows:,}; write a row for each "
            "image, in the order of the data set"
        )
    step = max(1, CHECKED // shape[1])
    for start in range(0, rows, step):
        is_finite_B = np.isfinite(feature_NxD[start : start + step]).all(axis=1)
        if not is_finite_B.all():
            raise ValueError(
                f"{path} has NaN or infinity in row {start + int(np.argmin(is_finite_B))}; "
                "compute it again, or leave the image out of the data set"
            )
    return feature_NxD
