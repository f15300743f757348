"""Features of images that the shallow methods hash: a row of numbers for each image.

    pixels              the image itself
    gist.gist           512 numbers of texture and layout, without any training
    vggf.fc7            4,096 activations of a network trained on ImageNet; weights are the user's
    encoder_features    FC7 of a run's own encoder
    load_features       the user's own

The first three take arrays of images; `feature_blocks` streams a data set through any of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from dsh_jax import parallel
from dsh_jax.augment import pad_small, to_unit
from dsh_jax.data.pipeline import evaluation_batches
from dsh_jax.data.source import Source
from dsh_jax.models import DSH
from dsh_jax.progress import log_progress

CHECKED = 2**26  # numbers of a file that are looked at together, 256 MB of float32


@jax.jit
def pixels(image_NxHxWxC: jax.Array) -> jax.Array:
    """Return images as rows of numbers: x = I / 255, row by row, the channels innermost.

    Args:
      image_NxHxWxC: uint8, as they are stored: padding would only add zeros.

    Returns:
      float32 array in [0, 1], shape (N, H·W·C): 784 numbers for MNIST, 3,072 for CIFAR-10.

    Raises:
      ValueError: if the images are not uint8, or not [N, H, W, C].
    """
    if image_NxHxWxC.ndim != 4 or image_NxHxWxC.dtype != np.uint8:
        raise ValueError(
            f"the images are {image_NxHxWxC.dtype} of shape {image_NxHxWxC.shape}; wanted uint8 "
            "of 0 … 255, [N, H, W, C]"
        )
    return to_unit(image_NxHxWxC).reshape(len(image_NxHxWxC), -1)


def feature_blocks(
    function: Callable[[Any, jax.Array], jax.Array],
    variables: Any,
    source: Source,
    rows: np.ndarray,
    *,
    batch: int = 256,
) -> Iterator[np.ndarray]:
    """Yield the features of the given rows, in their order, a block after the other.

    Args:
      function: `(variables, image uint8 [B, H, W, C]) -> feature [B, D]`.
      variables: passed to the function, such as a network's weights; None for none.
      source: images.
      rows: row numbers, at least one.
      batch: images at a time, over all devices of this process.

    Yields:
      float32 arrays of up to `batch` rows, N in all.

    Raises:
      ValueError: where there are no rows, or a file cannot be read.
    """
    if not len(rows):
        raise ValueError("there are no rows to compute features of.")
    mapped = parallel.parallel_apply(function)
    # Moved once here, instead of with every batch.
    variables = parallel.replicate(variables)
    started, done = time.monotonic(), 0
    pending = None
    for item in evaluation_batches(source, rows, batch=batch, devices=parallel.device_count()):
        feature_DxBxF = mapped(variables, item["image"])
        # Read the block before while the devices work on this one.
        if pending is not None:
            yield _real_rows(*pending)
            done += int(pending[1].sum())
            log_progress("features", done / len(rows), started)
        pending = feature_DxBxF, item["mask"]
    yield _real_rows(*pending)


def encoder_features(
    model: DSH, variables: Any, source: Source, rows: np.ndarray, *, batch: int = 256
) -> Iterator[np.ndarray]:
    """Yield FC7 of a run's own encoder, of which its bits are a linear layer's signs.

    Args:
      model: the network, `build.build(config).model`.
      variables: of the network, `evaluation_variables()` of a restored state.
      source: images.
      rows: row numbers, at least one.
      batch: images at a time.

    Yields:
      float32 arrays of up to `batch` rows of fc_dim numbers, 0 or more.

    Raises:
      ValueError: where there are no rows, or a file cannot be read.
    """

    def fc7(variables, image_BxHxWxC):
        image_BxHxWxC = pad_small(to_unit(image_BxHxWxC))
        return model.apply(variables, image_BxHxWxC, decode=False).feature

    return feature_blocks(fc7, variables, source, rows, batch=batch)


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


def _real_rows(feature_DxBxF, mask_DxB) -> np.ndarray:
    """Return a batch's features on the host, without those of its padding."""
    return np.asarray(feature_DxBxF, np.float32)[mask_DxB]
