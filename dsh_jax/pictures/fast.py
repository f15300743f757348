"""Many files by tf.data: plain ones by TensorFlow, the others by Pillow, to the same pixels.

Files are looked at some at a time, since each call of Python takes as long as a small JPEG, and the
plain ones are handed on as bytes. TensorFlow is imported when it is needed, and not before.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dsh_jax.pictures import kinds, reader
from dsh_jax.pictures.errors import UnreadableError
from dsh_jax.pictures.fit import Fit, ratio

if TYPE_CHECKING:
    import tensorflow as tf

GROUP = 32  # files that are looked at in one call
OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
RATIOS = (1, 2, 4, 8)
PILLOW, PNG, JPEG = 0, 1, 2  # ways to decode; JPEG + i at 1/RATIOS[i]
# Paths of files, damaged a little, that TensorFlow has refused and Pillow reads.
REFUSED: set[bytes] = set()


def images(
    groups: tf.data.Dataset, height: int, width: int, fit: Fit, *, sizes: bool = False
) -> tf.data.Dataset:
    """Return the picture of each path, uint8 [height, width, 3], in their order.

    A file that cannot be read raises tf.errors.OpError when it is its turn, and no other.

    Args:
      groups: of paths, each [about `GROUP`]: they are looked at together.
      height, width, fit: see `fit.box`.
      sizes: return (picture, int32 (width, height) of the file) instead.
    """
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert
    def look(path_G):
        one = functools.partial(_look, height=height, width=width, fit=fit)
        file_G, fact_Gx3 = tf.numpy_function(one, [path_G], [tf.string, tf.int32])
        return tf.ensure_shape(file_G, (None,)), tf.ensure_shape(fact_Gx3, (None, 3))

    @tf.autograph.experimental.do_not_convert
    def decoded(file, fact_3):
        def by_pillow():
            pixels = functools.partial(_pixels, height=height, width=width, fit=fit)
            image, size = tf.numpy_function(pixels, [file], [tf.uint8, tf.int32])
            # An error of Python would be logged with all of its traceback.
            is_read = tf.debugging.Assert(tf.size(image) > 0, ["cannot be read", file])
            with tf.control_dependencies([is_read]):
                image = tf.identity(image)
            return (image, size) if sizes else image

        def by_png():
            image = tf.io.decode_png(file, channels=3)
            return (image, fact_3[1:]) if sizes else image

        def by_jpeg(part):
            image = tf.io.decode_jpeg(file, channels=3, ratio=part, dct_method="INTEGER_ACCURATE")
            return (image, fact_3[1:]) if sizes else image

        # Functions: only the way taken runs.
        ways = [by_pillow, by_png, *(functools.partial(by_jpeg, part) for part in RATIOS)]
        found = tf.switch_case(fact_3[0], ways)
        image, size = found if sizes else (found, None)
        image = fitted(tf.ensure_shape(image, (None, None, 3)), height, width, fit)
        return (image, tf.ensure_shape(size, (2,))) if sizes else image

    looked = groups.map(look, num_parallel_calls=reader.CORES, deterministic=True)
    return looked.unbatch().map(decoded, num_parallel_calls=reader.CORES, deterministic=True)


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
        groups = tf.data.Dataset.from_tensor_slices(path_N).batch(GROUP)
        found = images(groups, height, width, fit, sizes=True)
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


def _look(path_G: np.ndarray, height: int, width: int, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of plain files and the paths of others; the way to decode each, its size."""
    file_G, fact_Gx3 = path_G.copy(), np.zeros((len(path_G), 3), np.int32)
    for row, path in enumerate(path_G):
        data = b"" if path in REFUSED else _bytes(path)
        found = kinds.plain(data)
        if found is not None:
            way = PNG
            if found.form == "jpeg":
                part = ratio(found.height, found.width, height, width, fit)
                way = JPEG + RATIOS.index(part)
            file_G[row], fact_Gx3[row] = data, (way, found.width, found.height)
    return file_G, fact_Gx3


def _bytes(path: bytes) -> bytes:
    """Return the bytes of a file that may be plain, or nothing: then Pillow has the word."""
    try:
        file = os.open(path, OPEN)  # a pipe is not waited for
    except OSError:
        return b""
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not kinds.may_be_plain(os.read(file, 8)):
            return b""
        os.lseek(file, 0, os.SEEK_SET)
        return os.read(file, status.st_size)
    except OSError:
        return b""
    finally:
        os.close(file)


def _pixels(path: bytes, height: int, width: int, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return what `reader.pixels` returns, as arrays; empty where the file cannot be read."""
    try:
        image, size = reader.pixels(path, height, width, fit)
    except UnreadableError:
        image, size = np.zeros((0, 0, 3), np.uint8), (0, 0)
    return image, np.array(size, np.int32)
