"""Images by row number: an array, or files that are decoded when they are asked for."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

import numpy as np
import tensorflow as tf

# The cores that this process may use; the kernel knows better than the count of the machine.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Images in memory, or in a file that is mapped into it.

    Attributes:
      image_NxHxWxC: uint8, C = 1 or 3.
      name_N: names of the images, such as relative paths, or None for images without names.
      index_N: where each image stands in image_NxHxWxC, or None for all in their order: leaving
        some out copies nothing.
    """

    image_NxHxWxC: np.ndarray
    name_N: np.ndarray | None = None
    index_N: np.ndarray | None = None

    def __post_init__(self):
        if self.image_NxHxWxC.dtype != np.uint8 or self.image_NxHxWxC.ndim != 4:
            raise ValueError(
                f"images are {self.image_NxHxWxC.dtype} of shape {self.image_NxHxWxC.shape}; they "
                "must be uint8 of shape [N, H, W, C]."
            )

    def __len__(self) -> int:
        return len(self.image_NxHxWxC if self.index_N is None else self.index_N)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.image_NxHxWxC.shape[1:]

    def select(self, rows: np.ndarray) -> ArrayImages:
        """Return the images of some rows."""
        name_N = None if self.name_N is None else self.name_N[rows]
        index_N = np.arange(len(self))[rows] if self.index_N is None else self.index_N[rows]
        return ArrayImages(self.image_NxHxWxC, name_N, index_N)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at row numbers of any shape: uint8 [*rows.shape, H, W, C]."""
        index = rows if self.index_N is None else self.index_N[rows]
        return np.asarray(self.image_NxHxWxC[index])

    def read(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches of images, uint8 [B, H, W, C], for batches of row numbers, int64 [B]."""
        shape = (*rows.element_spec.shape, *self.shape)

        # Not tf.gather: it would need a copy of the whole array.
        def gather(row_B):
            image = tf.numpy_function(self.take, [row_B], tf.uint8)
            return tf.ensure_shape(image, shape)

        return rows.map(gather, num_parallel_calls=2, deterministic=True)


@dataclasses.dataclass(frozen=True)
class FileImages:
    """JPEG, PNG, GIF or BMP files, brought to one size as they are read; always RGB.

    A file that is turned only by its EXIF entry stays as it is stored.

    Attributes:
      root: folder of the files.
      name_N: their paths under it.
      side: height and width of the images, pixels.
      fit: how other shapes become square: `squash` all of the image, or `crop` its middle.
    """

    root: str
    name_N: np.ndarray
    side: int
    fit: Literal["squash", "crop"] = "squash"

    def __post_init__(self):
        if self.side < 1:
            raise ValueError(
                f"data.image_size is {self.side}, but photographs differ in size: set it to the "
                "side that they are brought to, such as 64, 96, 128 or 224."
            )
        if self.fit not in ("squash", "crop"):
            raise ValueError(f"data.fit is {self.fit!r}; it must be 'squash' or 'crop'.")

    def __len__(self) -> int:
        return len(self.name_N)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.side, self.side, 3

    def select(self, rows: np.ndarray) -> FileImages:
        """Return the files of some rows."""
        return dataclasses.replace(self, name_N=self.name_N[rows])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at row numbers of any shape: uint8 [*rows.shape, H, W, C]."""
        rows = np.asarray(rows)
        if not rows.size:
            return np.zeros((*rows.shape, *self.shape), np.uint8)
        row_1xB = tf.data.Dataset.from_tensors(rows.reshape(-1).astype(np.int64))
        (image,) = self.read(row_1xB).as_numpy_iterator()
        return image.reshape(*rows.shape, *self.shape)

    def read(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches of images, uint8 [B, H, W, C], for batches of row numbers, int64 [B].

        A file that is missing or cannot be decoded raises tf.errors.NotFoundError or
        InvalidArgumentError when its batch is read.
        """
        (size,) = rows.element_spec.shape
        images = rows.unbatch().map(self.decoder(), num_parallel_calls=CORES, deterministic=True)
        return images.batch(size, drop_remainder=True)

    def decoder(self):
        """Return `row -> image`, TensorFlow operations for `tf.data.Dataset.map`."""
        name_N = tf.constant(self.name_N.tolist())

        @tf.autograph.experimental.do_not_convert
        def decode(row):
            path = tf.strings.join([self.root, name_N[row]], os.sep)
            return decode_file(path, side=self.side, fit=self.fit)

        return decode


def decode_file(path: tf.Tensor, *, side: int, fit: str) -> tf.Tensor:
    """Return the image of a file, resized with antialiasing.

    Shrinking averages the area of each pixel, which is 2.5 times as fast as `tf.image.resize` with
    its triangle filter; a JPEG at least four times too large is decoded at 1/2, 1/4 or 1/8 straight
    from its cosine coefficients. Enlarging interpolates linearly.

    Args:
      path: of a JPEG, PNG, GIF (its first frame) or BMP file.
      side: height and width wanted, pixels.
      fit: `squash` or `crop`, see `FileImages`.

    Returns:
      uint8 [side, side, 3].
    """
    data = tf.io.read_file(path)
    # Nested functions: only the branch taken runs.
    image = tf.cond(
        tf.io.is_jpeg(data),
        lambda: _decode_jpeg(data, side),
        lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
    )
    image = tf.ensure_shape(image, (None, None, 3))
    if fit == "crop":
        size = tf.shape(image)[:2]
        short = tf.reduce_min(size)
        top, left = tf.unstack((size - short) // 2)
        image = image[top : top + short, left : left + short]
    return resize(image, side, side)


def resize(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return an image in another size, with antialiasing; see `decode_file`.

    Args:
      image: uint8 [h, w, C].
      height, width: wanted, pixels.

    Returns:
      uint8 [height, width, C].
    """
    size = tf.shape(image)
    resized = tf.cond(
        tf.logical_and(size[0] >= height, size[1] >= width),
        lambda: tf.raw_ops.ResizeArea(images=image[None], size=[height, width])[0],
        lambda: tf.image.resize(image, (height, width), antialias=True),
    )
    return tf.ensure_shape(tf.cast(resized + 0.5, tf.uint8), (height, width, image.shape[-1]))


def _decode_jpeg(data: tf.Tensor, side: int) -> tf.Tensor:
    """Return a JPEG's pixels, at a fraction of its size that is still twice `side` or more."""
    times = tf.reduce_min(tf.io.extract_jpeg_shape(data)[:2]) // side
    halvings = tf.reduce_sum(tf.cast(times >= tf.constant([4, 8, 16]), tf.int32))
    return tf.switch_case(
        halvings,
        [
            lambda ratio=ratio: tf.io.decode_jpeg(
                data, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE"
            )
            for ratio in (1, 2, 4, 8)
        ],
    )
