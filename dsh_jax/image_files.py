"""One image, from any file that Pillow knows to the pixels that a network takes.

JPEG, PNG and GIF (its first frame) are decoded as training decodes them, bit for bit; other formats
by Pillow. As in training, a file that is turned only by its EXIF entry stays as it is stored, and
transparency is dropped.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from dsh_jax.data.images import CORES, decode_file, resize

AS_IN_TRAINING = ("JPEG", "MPO", "PNG", "GIF")
# EPS would run a program; of the others Pillow reads the header alone.
NOT_TAKEN = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
LUMA = (19595, 38470, 7471)  # ITU-R 601-2, of 65536: grey stays exactly what it is


class UnreadableError(ValueError):
    """A file gives no image; the message is the reason, without the file's name."""


@functools.cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are taken."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - set(NOT_TAKEN)))


def endings() -> frozenset[str]:
    """Return the endings of file names, such as `.jpg`, of the formats that are taken."""
    taken = formats()
    return frozenset(
        ending for ending, form in Image.registered_extensions().items() if form in taken
    )


def open_picture(path: str) -> Image.Image:
    """Open an image file; only its header is read.

    Args:
      path: of the file.

    Returns:
      A picture of Pillow, to be closed.

    Raises:
      UnreadableError: where there is no such file, or it is no image, or has more pixels than
        `Image.MAX_IMAGE_PIXELS`: it may be made to fill the memory.
    """
    try:
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableError("it is no regular file")
        picture = Image.open(path, formats=formats())
    except FileNotFoundError:
        raise UnreadableError("there is no such file") from None
    except UnidentifiedImageError:
        why = "it is no image that Pillow knows" if os.path.getsize(path) else "it is empty"
        raise UnreadableError(why) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableError(f"it has too many pixels: {_one_line(error)}") from None
    except UnreadableError:
        raise
    except Exception as error:  # a damaged header may raise anything
        raise UnreadableError(f"it cannot be opened: {_one_line(error)}") from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit and picture.width * picture.height > limit:
        picture.close()
        raise UnreadableError(
            f"it has too many pixels: {picture.width:,}×{picture.height:,}, over Pillow's limit of "
            f"{limit:,}"
        )
    return picture


def read(path: str, shape: tuple[int, int, int], fit: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a file's image as a network takes it.

    Args:
      path: of the file.
      shape: (H, W, C) of the network's images, C = 1 or 3.
      fit: `squash` or `crop`, see `data.images.FileImages`.

    Returns:
      (uint8 [H, W, C], (width, height) of the file).

    Raises:
      UnreadableError: with the reason.
    """
    height, width, channels = shape
    with open_picture(path) as picture:
        size = picture.size
        try:
            if picture.format in AS_IN_TRAINING and height == width:
                image = _file_decoder(height, fit)(tf.constant(os.fsencode(path))).numpy()
            else:
                image = fit_pixels(rgb(picture), height, width, fit)
        except UnreadableError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise UnreadableError(f"it cannot be decoded: {_one_line(error)}") from error
    return to_channels(image, channels), size


def read_all(
    paths: Sequence[str], shape: tuple[int, int, int], fit: str
) -> list[tuple[np.ndarray, tuple[int, int]] | UnreadableError]:
    """Return what `read` returns of each file, or raises, in a third of the time.

    Headers are read by one thread, whose work threads of Python would only hinder; what training
    decodes too, TensorFlow decodes on all cores.

    Args:
      paths: of the files.
      shape, fit: see `read`.

    Returns:
      A list as long as `paths`.
    """
    height, width, channels = shape
    found, sizes = {}, {}
    for row, path in enumerate(paths):
        try:
            with open_picture(path) as picture:
                if picture.format in AS_IN_TRAINING and height == width:
                    sizes[row] = picture.size
        except UnreadableError as error:
            found[row] = error
    if sizes:
        rows, decode = np.array(list(sizes)), _files_decoder(height, fit)
        with contextlib.suppress(tf.errors.InvalidArgumentError):  # not one could be decoded
            name_N = tf.constant([os.fsencode(paths[row]) for row in rows])
            place_M, image_MxHxWx3 = (x.numpy() for x in decode(name_N))
            images = to_channels(image_MxHxWx3, channels)
            for row, image in zip(rows[place_M].tolist(), images, strict=True):
                found[row] = image, sizes[row]

    def one(row: int):
        try:
            return read(paths[row], shape, fit)
        except UnreadableError as error:
            return error

    # Other formats, and those that TensorFlow left out, for the reason.
    rest = [row for row in range(len(paths)) if row not in found]
    with ThreadPoolExecutor(CORES) as pool:
        found |= zip(rest, pool.map(one, rest), strict=True)
    return [found[row] for row in range(len(paths))]


def rgb(picture: Image.Image) -> np.ndarray:
    """Return a picture of Pillow as uint8 [H, W, 3].

    Args:
      picture: of any mode with a known range; transparency is dropped.

    Raises:
      UnreadableError: for integers of 32 bits or floats.
    """
    if picture.mode in ("I", "F"):
        raise UnreadableError(f"pixels of mode {picture.mode} have no range: save 8 or 16 bits")
    if picture.mode.startswith("I;16"):
        high = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=-1)
    return np.asarray(picture.convert("RGB"))


def fit_pixels(image_hxwx3: np.ndarray, height: int, width: int, fit: str) -> np.ndarray:
    """Return an image brought to a size as training brings it.

    Args:
      image_hxwx3: uint8.
      height, width: wanted.
      fit: `squash` or `crop`, the middle in the wanted proportions.

    Returns:
      uint8 [height, width, 3].
    """
    if fit == "crop":
        h, w = image_hxwx3.shape[:2]
        tall, wide = max(1, min(h, w * height // width)), max(1, min(w, h * width // height))
        top, left = (h - tall) // 2, (w - wide) // 2
        image_hxwx3 = image_hxwx3[top : top + tall, left : left + wide]
    return _resizer(height, width)(tf.constant(image_hxwx3)).numpy()


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Return images of 1 or 3 channels with the number wanted: grey is the luma of ITU-R 601-2.

    Args:
      image: uint8 [..., 1 or 3].
      channels: 1 or 3.

    Returns:
      uint8 [..., channels].
    """
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    luma = image.astype(np.uint32) @ np.array(LUMA, np.uint32)
    return ((luma + 32768) >> 16).astype(np.uint8)[..., None]


@functools.cache
def _file_decoder(side: int, fit: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return `path -> image`, traced once."""
    decode = tf.function(
        functools.partial(decode_file, side=side, fit=fit),
        input_signature=[tf.TensorSpec((), tf.string)],
        autograph=False,
    )
    return decode.get_concrete_function()


@functools.cache
def _files_decoder(side: int, fit: str) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return `paths -> (places, images)` of those that can be decoded, traced once."""

    def decode(path_N):
        files = tf.data.Dataset.from_tensor_slices(path_N).enumerate()
        images = files.map(
            lambda place, path: (place, decode_file(path, side=side, fit=fit)),
            num_parallel_calls=CORES,
            deterministic=True,
        )
        whole = images.ignore_errors().batch(tf.size(path_N, tf.int64))
        return whole.get_single_element()

    signature = [tf.TensorSpec((None,), tf.string)]
    return tf.function(decode, signature, autograph=False).get_concrete_function()


@functools.cache
def _resizer(height: int, width: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return `pixels -> image`, traced once for all sizes."""
    sized = functools.partial(resize, height=height, width=width)
    signature = [tf.TensorSpec((None, None, 3), tf.uint8)]
    return tf.function(sized, signature, autograph=False).get_concrete_function()


def _one_line(error: Exception) -> str:
    """Return an error's first line, without TensorFlow's names of its nodes."""
    text = re.sub(r"{{.*?}}", "", getattr(error, "message", None) or str(error)).strip()
    if text.startswith("Graph execution error"):
        text = text.split("\n\n")[-1]  # after where in the graph it was
    return text.splitlines()[0][:200] if text else type(error).__name__
