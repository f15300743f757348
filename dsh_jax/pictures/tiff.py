"""Grey TIFFs of 9 to 16 bits that Pillow refuses, or takes for black where they are white.

Pillow decodes their bytes all the same, of a copy whose tags say what it knows. The numbers are
then taken out of the bytes and scaled by the true tags (TIFF 6.0, 1992).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from dsh_jax.pictures import depth

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, COUNTS, PREDICTOR, TILE_WIDTH, TILE_COUNTS = 274, 277, 279, 317, 322, 325
OFFSETS, ROWS = 273, 278
RAW, DEFLATE = 1, (8, 32946)  # of COMPRESSION
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1  # of PHOTOMETRIC
TYPES = {3: "H", 4: "L", 16: "Q"}  # of a tag's value

Tags = TiffImagePlugin.ImageFileDirectory_v2


def deep_grey(file: BinaryIO) -> Image.Image | None:
    """Return a deep grey TIFF that Pillow needs help with, or None for any other file.

    Args:
      file: of any kind, opened.

    Returns:
      An image of mode L, not yet upright: its orientation is in its Exif.

    Raises:
      Exception: of any type, for one that is damaged or has too many pixels.
    """
    tags = _tags(file)
    if tags is None:
        return None
    (bits,), width, height = tags[BITS], tags[WIDTH], tags[HEIGHT]
    Image._decompression_bomb_check((width, height))
    if bits < 16 and tags.get(PREDICTOR, 1) != 1:
        raise ValueError(f"a predictor over numbers of {bits} bits is known to no reader")
    file.seek(0)
    data = file.read()
    changes = {PHOTOMETRIC: BLACK_IS_ZERO, ORIENTATION: 1}
    if bits == 16:
        value_HxW = _decoded(data, tags, changes)
    elif _is_in_words(data, tags, bits):
        value_HxW = _of_words(_decoded(data, tags, changes | _as_bytes(tags, 16)), tags)
    else:
        value_HxW = _of_bits(_decoded(data, tags, changes | _as_bytes(tags, bits)), bits)
    white, black = 2**bits - 1, 0
    most = tags.get(depth.MOST[0], tags.get(depth.MOST[1]))
    if bits == 16:
        white = depth.most_of_16_bits(most)
    if tags.get(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO:
        black, white = white, black
    grey_HxW = depth.to_8_bits(value_HxW[:, :width], black, white)
    picture = Image.fromarray(grey_HxW)
    picture.getexif()[ORIENTATION] = tags.get(ORIENTATION, 1)
    return picture


def _tags(file: BinaryIO) -> Tags | None:
    """Return the tags of a file of this kind."""
    file.seek(0)
    head = file.read(16)
    if not head.startswith(tuple(TiffImagePlugin.PREFIXES)):
        return None
    try:
        tags = Tags(head if head[2] == 43 else head[:8])
        file.seek(tags.next)
        tags.load(file)
        (bits,) = tags[BITS]
        photometric = tags.get(PHOTOMETRIC, WHITE_IS_ZERO)
        (sample_format,) = tags.get(depth.SAMPLE_FORMAT, (depth.UNSIGNED,))
    except Exception:  # Pillow says what about it
        return None
    is_grey = photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) and tags.get(SAMPLES, 1) == 1
    is_deep = 9 <= bits < 16 or (bits == 16 and photometric == WHITE_IS_ZERO)
    return tags if is_grey and is_deep and sample_format == depth.UNSIGNED else None


def _is_in_words(data: bytes, tags: Tags, bits: int) -> bool:
    """Return whether each number has 16 bits of its own, and is not packed behind the last one.

    The standard packs them; not all who write do. What other compressions hold is taken as packed.
    """
    compression, height = tags.get(COMPRESSION, RAW), tags[HEIGHT]
    if compression == RAW:
        there = sum(tags.get(COUNTS, tags.get(TILE_COUNTS, (len(data) - 8,))))
    elif compression in DEFLATE and OFFSETS in tags:
        height = min(height, tags.get(ROWS, height))  # of the first strip
        most = 2 * tags[WIDTH] * height
        there = len(zlib.decompressobj().decompress(data[tags[OFFSETS][0] :], most))
    else:
        return False
    packed = -(-tags[WIDTH] * bits // 8) * height
    return there != packed and there >= 2 * tags[WIDTH] * height


def _as_bytes(tags: Tags, bits: int) -> dict[int, int]:
    """Return tags of an image of 8 bits whose rows are the bytes of those of `bits` a number."""
    changes = {tag: -(-tags[tag] * bits // 8) for tag in (WIDTH, TILE_WIDTH) if tag in tags}
    return changes | {BITS: 8}


def _decoded(data: bytes, tags: Tags, changes: Mapping[int, int]) -> np.ndarray:
    """Return the pixels of a TIFF, some of whose tags are changed."""
    copy, end = bytearray(data), tags._endian
    entry, count, size = ("HHQ", "Q", 20) if tags._bigtiff else ("HHL", "H", 12)
    (entries,) = struct.unpack_from(end + count, copy, tags.offset)
    first = tags.offset + struct.calcsize(count)
    for at in range(first, first + entries * size, size):
        tag, kind, _ = struct.unpack_from(end + entry, copy, at)
        if tag in changes:
            where = at + struct.calcsize("=" + entry)
            struct.pack_into(end + TYPES[kind], copy, where, changes[tag])
    with TiffImagePlugin.TiffImageFile(io.BytesIO(copy)) as picture:
        return np.array(picture)


def _of_words(byte_HxB: np.ndarray, tags: Tags) -> np.ndarray:
    """Return numbers of 16 bits in the order of the file's bytes."""
    return np.ascontiguousarray(byte_HxB).view(f"{tags._endian}u2")


def _of_bits(byte_HxB: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers that stand packed, their highest bits first."""
    bit = np.unpackbits(byte_HxB, axis=1)
    whole = bit.shape[1] // bits * bits
    bit = bit[:, :whole].reshape(len(bit), -1, bits)
    return bit @ (1 << np.arange(bits)[::-1])
