"""What a file is: the one list of endings, and kinds that are told by content, never by name."""

from __future__ import annotations

import collections
import functools
import os
import zlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

from PIL import Image

# EPS would run a program; of the others Pillow reads the header alone.
NOT_TAKEN = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
ORIENTATION = 0x0112  # the tag of Exif and TIFF
MOST_NAMED = 10  # endings in a sentence

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_LAYOUTS = (b"\x08\0\0\0\0", b"\x08\x02\0\0\0")  # 8 bits, grey or RGB, not interlaced
# Chunks that nothing is drawn with, of their lengths, and texts that Pillow takes for nothing else.
PNG_CHUNKS = {b"gAMA": (4,), b"cHRM": (32,), b"sRGB": (1,), b"pHYs": (9,), b"tIME": (7,)}
PNG_CHUNKS |= {b"bKGD": (2, 6), b"sBIT": (1, 3), b"IEND": (0,)}
PNG_TEXTS = (b"Title", b"Author", b"Description", b"Copyright", b"Creation Time", b"Software")
PNG_TEXTS += (b"Disclaimer", b"Warning", b"Source", b"Comment", b"date:create", b"date:modify")


class Plain(NamedTuple):
    """A picture that TensorFlow decodes to the pixels of Pillow, bit for bit.

    Attributes:
      form: `jpeg`, baseline, of 1 or 3 channels; or `png`, grey or RGB of 8 bits, not interlaced.
      height, width: pixels.
    """

    form: Literal["jpeg", "png"]
    height: int
    width: int


@functools.cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are taken."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - set(NOT_TAKEN)))


@functools.cache
def endings() -> frozenset[str]:
    """Return the endings of file names, such as `.jpg`, of the formats that are taken."""
    taken = {*formats(), "MPO"}  # several JPEGs in one file, opened as the first of them
    return frozenset(
        ending for ending, form in Image.registered_extensions().items() if form in taken
    )


def ending(name: str) -> str:
    """Return the ending of a file's name in small letters, such as `.jpg`, or nothing."""
    return os.path.splitext(name)[1].lower()


def is_named_as_picture(name: str) -> bool:
    """Return whether a file's ending is that of a picture."""
    return ending(name) in endings()


def by_ending(names: Iterable[str]) -> str:
    """Return a sentence that counts files without an ending of a picture, or nothing.

    Args:
      names: of files that are no pictures by their endings.

    Returns:
      Text, such as `60 files are no images by their endings: 40 .txt, 20 .psdx.`
    """
    counts = collections.Counter(map(ending, names))
    if not counts:
        return ""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    said = [
        f"{count:,} {ascii(end)[1:-1] if end else 'without any'}"
        for end, count in ordered[:MOST_NAMED]
    ]
    rest = sum(count for _, count in ordered[MOST_NAMED:])
    said += [f"{rest:,} others"] if rest else []
    return f"{counts.total():,} files are no images by their endings: {', '.join(said)}."


def may_be_plain(head: bytes) -> bool:
    """Return whether a file that begins with these 8 bytes is a JPEG or PNG."""
    return head.startswith((JPEG_START, PNG_START))


def plain(data: bytes) -> Plain | None:
    """Return what a file is, where nothing in it needs Pillow, or None.

    Whatever is not surely so is none: an orientation, transparency, CMYK, progressive scans,
    palettes, deep or interlaced pixels, animations, too many pixels, and any irregularity.

    Args:
      data: of the whole file.

    Returns:
      Plain, or None for all that Pillow decides.
    """
    try:
        if data.startswith(JPEG_START) and data.endswith(JPEG_END):
            found = _plain_jpeg(data)
        elif data.startswith(PNG_START):
            found = _plain_png(data)
        else:
            return None
    except Exception:  # torn or malformed: Pillow says what about it
        return None
    if found is None or not 0 < found.height * found.width <= (Image.MAX_IMAGE_PIXELS or 2**31):
        return None
    return found


def _plain_jpeg(data: bytes) -> Plain | None:
    """Walk the segments before the scan; see `plain`."""
    at, frame = 2, None
    while True:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        start, at = at + 4, at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xDA:  # the scan
            return frame
        if marker in (0xC0, 0xC1):
            layers = data[start + 5]
            if frame or data[start] != 8 or layers not in (1, 3) or at - start != 6 + 3 * layers:
                return None
            frame = Plain(
                "jpeg",
                int.from_bytes(data[start + 1 : start + 3]),
                int.from_bytes(data[start + 3 : start + 5]),
            )
        elif 0xE0 <= marker <= 0xEF:
            if not _is_harmless(marker, data[start:at]):
                return None
        elif marker not in (0xC4, 0xDB, 0xDD, 0xFE):  # tables, restarts, comments
            return None


def _is_harmless(marker: int, segment: bytes) -> bool:
    """Return whether an APPn segment of a JPEG neither turns it nor can be refused by Pillow."""
    if marker == 0xE0:
        return not segment.startswith(b"JFIF") or len(segment) >= 14
    if marker == 0xE1 and segment.startswith(b"Exif\0\0"):
        # Few files have the two bytes of the tag, and only those are parsed.
        if b"\x01\x12" not in segment and b"\x12\x01" not in segment:
            return True
        exif = Image.Exif()
        exif.load(segment)
        return exif.get(ORIENTATION, 1) == 1
    if marker == 0xE1:
        return b"Orientation" not in segment  # of XMP, which Pillow reads where Exif has none
    if marker == 0xE2:
        return not segment.startswith(b"ICC_PROFILE\0") or len(segment) >= 14
    if marker == 0xED:
        return not segment.startswith(b"Photoshop 3.0\0")
    return marker != 0xEE or not segment.startswith(b"Adobe") or len(segment) >= 12


def _plain_png(data: bytes) -> Plain | None:
    """Walk the chunks and check their sums; see `plain`."""
    if data[8:16] != b"\0\0\0\x0dIHDR" or data[24:29] not in PNG_LAYOUTS:
        return None
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    view, at, kinds, text = memoryview(data), 8, [], 0
    while kinds[-1:] != [b"IEND"]:
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        start, end = at + 8, at + 12 + length
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return None
        if kind == b"tEXt":
            text += length
            if text > 2**16 or data[start : start + 80].split(b"\0")[0] not in PNG_TEXTS:
                return None
        elif at > 8 and length not in PNG_CHUNKS.get(kind, (length,) if kind == b"IDAT" else ()):
            return None
        kinds += [kind] * ([kind] != kinds[-1:])
        at = end
    # Image data in several places are drawn by none.
    return Plain("png", height, width) if kinds.count(b"IDAT") == 1 else None
