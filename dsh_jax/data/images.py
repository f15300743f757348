"""Images by row number: an array, or files that are decoded when they are asked for.

TensorFlow is imported when images are read, and not before.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from dsh_jax.pictures import fast, to_channels

if TYPE_CHECKING:
    import tensorflow as tf


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
        import tensorflow as tf

        shape = (*rows.element_spec.shape, *self.shape)

        # Not tf.gather: it would need a copy of the whole array.
        def gather(row_B):
            image = tf.numpy_function(self.take, [row_B], tf.uint8)
            return tf.ensure_shape(image, shape)

        return rows.map(gather, num_parallel_calls=2, deterministic=True)


@dataclasses.dataclass(frozen=True)
class FeatureImages:
    """Features of images in their place: the network takes these, people see the pictures.

    Attributes:
      load: returns feature_RxF of all rows, perhaps a memory map; called when they are wanted, and
        cheap but for the first time.
      width: F.
      pictures: some of them, of any kind.
      index_N: where each picture's features stand.
    """

    load: Callable[[], np.ndarray]
    width: int
    pictures: ArrayImages | FileImages
    index_N: np.ndarray

    @property
    def name_N(self) -> np.ndarray | None:
        """Names of the images, or None."""
        return self.pictures.name_N

    @property
    def shape(self) -> tuple[int, int, int]:
        """(1, 1, F)."""
        return 1, 1, self.width

    def __len__(self) -> int:
        return len(self.index_N)

    def select(self, rows: np.ndarray) -> FeatureImages:
        """Return the features of some rows."""
        pictures, index_N = self.pictures.select(rows), self.index_N[rows]
        return dataclasses.replace(self, pictures=pictures, index_N=index_N)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the features at row numbers of any shape: float32 [*rows.shape, 1, 1, F]."""
        feature = np.asarray(self.load()[self.index_N[rows]], np.float32)
        return feature[..., None, None, :]

    def read(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches of features, float32 [B, 1, 1, F], for batches of row numbers."""
        import tensorflow as tf

        shape = (*rows.element_spec.shape, *self.shape)

        def gather(row_B):
            feature = tf.numpy_function(self.take, [row_B], tf.float32)
            return tf.ensure_shape(feature, shape)

        return rows.map(gather, num_parallel_calls=2, deterministic=True)


@dataclasses.dataclass(frozen=True)
class FileImages:
    """Image files of any kind, brought to one size as they are read; always RGB, see `pictures`.

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
        return _taken(self, rows)

    def read(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches of images, uint8 [B, H, W, C], for batches of row numbers, int64 [B].

        A file that is missing or cannot be decoded raises tf.errors.OpError when its batch is read.
        """
        (size,) = rows.element_spec.shape
        return self.each(rows.unbatch()).batch(size, drop_remainder=True)

    def each(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Return images, uint8 [H, W, 3], for row numbers, int64 scalars; see `read`."""
        import tensorflow as tf

        name_N = tf.constant(self.name_N.tolist())

        @tf.autograph.experimental.do_not_convert
        def paths(row_G):
            return tf.strings.join([self.root, tf.gather(name_N, row_G)], os.sep)

        groups = rows.batch(fast.GROUP).map(paths)
        return fast.images(groups, self.side, self.side, self.fit)

    def path(self, row: int) -> str:
        """Return the path of a row's file."""
        return os.path.join(self.root, self.name_N[row])


@dataclasses.dataclass(frozen=True)
class FittedImages:
    """Images brought to another size and number of channels as they are read.

    Attributes:
      images: of any size, C = 1 or 3.
      shape: height, width and channels wanted; see `pictures.resize`, and
        `pictures.to_channels` for grey and RGB.
    """

    images: ArrayImages | FileImages
    shape: tuple[int, int, int]

    @property
    def name_N(self) -> np.ndarray | None:
        """Names of the images, or None."""
        return self.images.name_N

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: np.ndarray) -> FittedImages:
        """Return the images of some rows."""
        return dataclasses.replace(self, images=self.images.select(rows))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the images at row numbers of any shape: uint8 [*rows.shape, H, W, C]."""
        return _taken(self, rows)

    def read(self, rows: tf.data.Dataset) -> tf.data.Dataset:
        """Return batches of images, uint8 [B, H, W, C], for batches of row numbers, int64 [B]."""
        import tensorflow as tf

        height, width, channels = self.shape
        (size,) = rows.element_spec.shape

        def recolour(image):
            grey_or_rgb = tf.numpy_function(
                lambda image: to_channels(image, channels), [image], tf.uint8
            )
            return tf.ensure_shape(grey_or_rgb, (size, *self.shape))

        images = self.images.read(rows).unbatch()
        sized = images.map(
            lambda image: fast.resize(image, height, width),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return sized.batch(size, drop_remainder=True).map(recolour)


def _taken(images: FileImages | FittedImages, rows: np.ndarray) -> np.ndarray:
    """Return the images at row numbers of any shape, through tf.data."""
    import tensorflow as tf

    rows = np.asarray(rows)
    if not rows.size:
        return np.zeros((*rows.shape, *images.shape), np.uint8)
    row_1xB = tf.data.Dataset.from_tensors(rows.reshape(-1).astype(np.int64))
    (image,) = images.read(row_1xB).as_numpy_iterator()
    return image.reshape(*rows.shape, *images.shape)
