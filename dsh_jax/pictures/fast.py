"""Many files by tf.data: plain ones by TensorFlow, the others by Pillow, to the same pixels.

Files are looked at some at a time, since each call of Python takes as long as a small JPEG, and the
plain ones are handed on as bytes. TensorFlow is imported when it is needed, and not before.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dsh_jax.pictures import decode, kinds, reader
from dsh_jax.pictures.errors import UnreadableError
from dsh_jax.pictures.fit import Fit, ratio

if TYPE_CHECKING:
    import tensorflow as tf

GROUP = 8  # files that are looked at in one call
RATIOS = (1, 2, 4, 8)
PILLOW, PNG, JPEG = 0, 1, 2  # ways to decode; JPEG + i at 1/RATIOS[i]
# Paths of files, damaged a little, that TensorFlow has refused and Pillow reads.
REFUSED: set[bytes] = set()


def images(paths: tf.data.Dataset, height: int, width: int, fit: Fit) -> tf.data.Dataset:
    """Return (uint8 [height, width, 3], int32 (width, height) of the file) of each path, in order.

    A file that cannot be read raises tf.errors.OpError when it is its turn, and no other.

    Args:
      paths: scalars.
      height, width, fit: see `fit.box`.
    """
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def look(path_G):
        looked = functools.partial(_look, height=height, width=width, fit=fit)
        data_G, way_G, size_Gx2 = tf.numpy_function(
            looked, [path_G], [tf.string, tf.int32, tf.int32]
        )
        size_Gx2 = tf.ensure_shape(size_Gx2, (None, 2))
        return path_G, tf.ensure_shape(data_G, (None,)), tf.ensure_shape(way_G, (None,)), size_Gx2

    @tf.autograph.experimental.do_not_convert
    def decoded(path, data, way, size):
        def by_pillow():
            pixels = functools.partial(_pixels, height=height, width=width, fit=fit)
            return tuple(tf.numpy_function(pixels, [path], [tf.uint8, tf.int32]))

        def by_png():
            return tf.io.decode_png(data, channels=3), size

        def by_jpeg(part):
            image = tf.io.decode_jpeg(data, channels=3, ratio=part, dct_method="INTEGER_ACCURATE")
            return image, size

        # Functions: only the way taken runs.
        ways = [by_pillow, by_png, *(functools.partial(by_jpeg, part) for part in RATIOS)]
        image, size = tf.switch_case(way, ways)
        image = tf.ensure_shape(image, (None, None, 3))
        return fitted(image, height, width, fit), tf.ensure_shape(size, (2,))

    groups = paths.batch(GROUP).map(look, num_parallel_calls=reader.CORES, deterministic=True)
    return groups.unbatch().map(decoded, num_parallel_calls=reader.CORES, deterministic=True)


def read_all(
    paths: Sequence[str], height: int, width: int, fit: Fit
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pictures of the files that can be read.

    Args:
      paths: N.
      height, width, fit: see `fit.box`.

    Returns:
      (places of the M readable ones among the paths, uint8 [M, height, width, 3],
      (width, height) of the files [M, 2]).
    """
    import tensorflow as tf

    nothing = np.zeros(0, np.int64), np.zeros((0, height, width, 3), np.uint8), np.zeros((0, 2))
    try:
        name_N = tf.constant([os.fsencode(path) for path in paths], tf.string, (len(paths),))
        return tuple(x.numpy() for x in _many(height, width, fit)(name_N))
    except tf.errors.InvalidArgumentError:  # not one of them can be read
        return nothing


@functools.cache
def _many(height: int, width: int, fit: Fit) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """Return `paths -> (places, images, sizes)`, traced once."""
    import tensorflow as tf

    def read(path_N):
        found = images(tf.data.Dataset.from_tensor_slices(path_N), height, width, fit)
        placed = tf.data.Dataset.zip(tf.data.Dataset.range(tf.size(path_N, tf.int64)), found)
        whole = placed.ignore_errors().batch(tf.size(path_N, tf.int64))
        place_M, (image_MxHxWx3, size_Mx2) = whole.get_single_element()
        return place_M, image_MxHxWx3, size_Mx2

    signature = [tf.TensorSpec((None,), tf.string)]
    return tf.function(read, signature, autograph=False).get_concrete_function()


def fitted(image: tf.Tensor, height: int, width: int, fit: Fit) -> tf.Tensor:
    """Return what `fit.fitted` returns, of a tensor [h, w, 3] of any size."""
    import tensorflow as tf

    if fit == "crop":
        h, w = tf.unstack(tf.shape(image)[:2])
        tall = tf.maximum(1, tf.minimum(h, w * height // width))
        wide = tf.maximum(1, tf.minimum(w, h * width // height))
        top, left = (h - tall) // 2, (w - wide) // 2
        image = image[top : top + tall, left : left + wide]
    return resize(image, height, width)


def resize(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return what `fit.resize` returns, of a tensor.

    `tf.image.resize` with its triangle would take 2.5 times as long to shrink.

    Args:
      image: uint8 [h, w, C].
      height, width: wanted, pixels.

    Returns:
      uint8 [height, width, C].
    """
    import tensorflow as tf

    size = tf.shape(image)
    resized = tf.cond(
        tf.logical_and(size[0] >= height, size[1] >= width),
        lambda: tf.raw_ops.ResizeArea(images=image[None], size=[height, width])[0],
        lambda: tf.image.resize(image, (height, width), antialias=True),
    )
    return tf.ensure_shape(tf.cast(resized + 0.5, tf.uint8), (height, width, image.shape[-1]))


def _look(
    path_G: np.ndarray, height: int, width: int, fit: Fit
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bytes of plain files, how each is decoded, and (width, height) of the plain."""
    data_G = np.full(len(path_G), b"", object)
    way_G, size_Gx2 = np.zeros(len(path_G), np.int32), np.zeros((len(path_G), 2), np.int32)
    for row, path in enumerate(path_G):
        data = b"" if path in REFUSED else _bytes(path)
        found = kinds.plain(data)
        if found is None:
            continue
        data_G[row], size_Gx2[row] = data, (found.width, found.height)
        way_G[row] = PNG
        if found.form == "jpeg":
            part = ratio(found.height, found.width, height, width, fit)
            way_G[row] = JPEG + RATIOS.index(part)
    return data_G, way_G, size_Gx2


def _bytes(path: bytes) -> bytes:
    """Return the bytes of a file that may be plain, or nothing."""
    try:
        decode.check_regular(path)
        with open(path, "rb", buffering=0) as file:
            head = file.read(8)
            return head + file.read() if kinds.may_be_plain(head) else b""
    except (OSError, UnreadableError):
        return b""  # Pillow says why


def _pixels(path: bytes, height: int, width: int, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return what `reader.pixels` returns, as arrays."""
    image, size = reader.pixels(path, height, width, fit)
    return image, np.array(size, np.int32)
