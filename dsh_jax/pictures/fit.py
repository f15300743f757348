"""Pixels brought to the size and channels of a network, as TensorFlow brings them, in numpy.

`resize` and `fast.resize` are equal bit for bit: the same sums of float32 in the same order.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

LUMA = (19595, 38470, 7471)  # ITU-R 601-2, of 65536: grey stays exactly what it is
CHUNK = 2**22  # floats held at a time while rows are averaged

Fit = Literal["squash", "crop"]


class Box(NamedTuple):
    """The part of an image that is used, pixels."""

    top: int
    left: int
    height: int
    width: int


def box(h: int, w: int, height: int, width: int, fit: Fit) -> Box:
    """Return which part of an image becomes one of another size.

    Args:
      h, w: of the image.
      height, width: wanted.
      fit: `squash`, all of it; or `crop`, its middle in the wanted proportions.

    Returns:
      Box.
    """
    if fit == "squash":
        return Box(0, 0, h, w)
    tall, wide = max(1, min(h, w * height // width)), max(1, min(w, h * width // height))
    return Box((h - tall) // 2, (w - wide) // 2, tall, wide)


def ratio(h: int, w: int, height: int, width: int, fit: Fit) -> int:
    """Return at which part of its size a JPEG is decoded: 1, 2, 4 or 8 stands for 1/1 to 1/8.

    The smallest that is still twice the wanted size or more: straight from the cosine coefficients.

    Args:
      h, w, height, width, fit: see `box`; of the upright image.
    """
    _, _, tall, wide = box(h, w, height, width, fit)
    times = min(tall // height, wide // width)
    return 1 << sum(times >= least for least in (4, 8, 16))


def fitted(image_hxwx3: np.ndarray, height: int, width: int, fit: Fit) -> np.ndarray:
    """Return an image brought to a size.

    Args:
      image_hxwx3: uint8.
      height, width, fit: see `box`.

    Returns:
      uint8 [height, width, 3].
    """
    top, left, tall, wide = box(*image_hxwx3.shape[:2], height, width, fit)
    return resize(image_hxwx3[top : top + tall, left : left + wide], height, width)


def resize(image_hxwxC: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image in another size, with antialiasing.

    Shrinking averages the area of each pixel; enlarging, in one direction or both, interpolates
    linearly, by a triangle as wide as a pixel of the smaller image.

    Args:
      image_hxwxC: uint8.
      height, width: wanted, pixels.

    Returns:
      uint8 [height, width, C].
    """
    h, w, channels = image_hxwxC.shape
    if h >= height and w >= width:
        down, across = _areas(h, height), _areas(w, width)
        step = max(1, CHUNK // (width * channels))
        # Along rows first, a few of them at a time.
        narrow = [
            _weighted(image_hxwxC[top : top + step].swapaxes(0, 1), *across).swapaxes(0, 1)
            for top in range(0, h, step)
        ]
        scale = (np.float32(h) / np.float32(height)) * (np.float32(w) / np.float32(width))
        summed = _weighted(np.concatenate(narrow), *down) * np.float32(1 / np.float64(scale))
    else:
        tall = _weighted(image_hxwxC, *_triangles(h, height))
        summed = _weighted(tall.swapaxes(0, 1), *_triangles(w, width)).swapaxes(0, 1)
    return (summed + np.float32(0.5)).astype(np.uint8)


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


def _weighted(image: np.ndarray, start_N: np.ndarray, weight_KxN: np.ndarray) -> np.ndarray:
    """Return float32 [N, ...], each the weighted sum of K rows from its start on, in order."""
    summed = np.float32(0)
    for k, weight_N in enumerate(weight_KxN):
        row_N = np.minimum(start_N + k, len(image) - 1)
        part = image[row_N] * weight_N.reshape(-1, *[1] * (image.ndim - 1))
        summed = part if k == 0 else summed + part
    return summed


def _areas(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return starts [N] and weights [K, N]: how much of each old pixel a new one covers."""
    scale = np.float32(old) / np.float32(new)
    low_N = np.arange(new, dtype=np.float32) * scale
    high_N = np.arange(1, new + 1, dtype=np.float32) * scale
    start_N, stop_N = np.floor(low_N).astype(int), np.ceil(high_N).astype(int)
    pixel_KxN = start_N + np.arange((stop_N - start_N).max())[:, None]
    edge_KxN = pixel_KxN.astype(np.float32)
    is_last = edge_KxN + 1 > high_N
    begun = np.where(is_last, scale, edge_KxN + 1 - low_N)
    whole = np.where(is_last, high_N - edge_KxN, np.float32(1))
    weight_KxN = np.where(edge_KxN < low_N, begun, whole)
    return start_N, np.where(pixel_KxN < stop_N, weight_KxN, np.float32(0))


def _triangles(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return starts [N] and weights [K, N] of a triangle around the middle of each new pixel."""
    inverse = np.float32(1) / (np.float32(new) / np.float32(old))
    half = np.maximum(inverse, np.float32(1))
    middle_N = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * inverse
    start_N = np.clip(np.ceil(middle_N - half - np.float32(0.5)), 0, old - 1).astype(int)
    stop_N = np.clip(np.floor(middle_N + half - np.float32(0.5)), 0, old - 1).astype(int) + 1
    pixel_KxN = start_N + np.arange((stop_N - start_N).max())[:, None]
    away_KxN = pixel_KxN.astype(np.float32) + np.float32(0.5) - middle_N
    weight_KxN = np.maximum(np.float32(0), 1 - np.abs(away_KxN * (np.float32(1) / half)))
    weight_KxN[pixel_KxN >= stop_N] = 0
    total_N = np.zeros(new, np.float32)
    for weight_N in weight_KxN:
        total_N += weight_N
    return start_N, weight_KxN * (np.float32(1) / total_N)
