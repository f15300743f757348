"""Files to the pixels that a network takes, one or many."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dsh_jax.pictures import decode
from dsh_jax.pictures.errors import UnreadableError
from dsh_jax.pictures.fit import Fit, fitted, ratio, to_channels

# The cores that this process may use; the kernel knows better than the count of the machine.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

FEW = 128  # files that Pillow has read before TensorFlow is imported
VERSION = 2  # of the pixels: a change makes decoded images and codes others

Read = tuple[np.ndarray, tuple[int, int]]


def pixels(path: str | bytes, height: int, width: int, fit: Fit) -> Read:
    """Return a file's picture as it is seen; a large JPEG at a part of its size, see `fit.ratio`.

    Args:
      path: of the file.
      height, width, fit: what it will be brought to, see `fit.box`.

    Returns:
      (uint8 [h, w, 3], (width, height) of the file's picture, upright).

    Raises:
      UnreadableError: with the reason.
    """
    with decode.open_picture(path) as picture:
        if picture.format != "JPEG":
            image = decode.rgb(picture)
            return image, image.shape[1::-1]
        size = w, h = decode.upright_size(picture)
        part = ratio(h, w, height, width, fit)
        picture.draft(None, (picture.width // part, picture.height // part))
        return decode.rgb(picture), size


def read(path: str | bytes, shape: tuple[int, int, int], fit: Fit) -> Read:
    """Return a file's picture as a network takes it.

    Args:
      path: of the file.
      shape: (H, W, C) of the network's images, C = 1 or 3.
      fit: `squash` or `crop`, see `fit.box`.

    Returns:
      (uint8 [H, W, C], (width, height) of the file's picture, upright).

    Raises:
      UnreadableError: with the reason.
    """
    height, width, channels = shape
    image, size = pixels(path, height, width, fit)
    return to_channels(fitted(image, height, width, fit), channels), size


def read_all(
    paths: Sequence[str], shape: tuple[int, int, int], fit: Fit
) -> list[Read | UnreadableError]:
    """Return what `read` returns of each file, or raises, in less time.

    TensorFlow decodes on all cores what it decodes as Pillow does, where it is installed and there
    are files enough to pay for its import.

    Args:
      paths: of the files.
      shape, fit: see `read`.

    Returns:
      A list as long as `paths`.
    """
    height, width, channels = shape
    found = {}
    if ("tensorflow" in sys.modules or len(paths) >= FEW) and _has_tensorflow():
        from dsh_jax.pictures import fast

        place_M, image_MxHxWx3, size_Mx2 = fast.read_all(paths, height, width, fit)
        images, sizes = to_channels(image_MxHxWx3, channels), map(tuple, size_Mx2.tolist())
        found = dict(zip(place_M.tolist(), zip(images, sizes, strict=True), strict=True))

    def one(row: int) -> Read | UnreadableError:
        try:
            return read(paths[row], shape, fit)
        except UnreadableError as error:
            return error

    # What is left out by TensorFlow: for the reason.
    rest = [row for row in range(len(paths)) if row not in found]
    with ThreadPoolExecutor(CORES) as pool:
        found |= zip(rest, pool.map(one, rest), strict=True)
    return [found[row] for row in range(len(paths))]


def _has_tensorflow() -> bool:
    """Return whether TensorFlow can be imported; the first time it is."""
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        return False
    return True
