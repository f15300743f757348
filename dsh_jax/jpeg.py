"""The XMP packet of a JPEG file: a segment before the image data, which is never touched."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dsh_jax import xmp

SIGNATURE = b"\xff\xd8\xff"
HEADER = b"http://ns.adobe.com/xap/1.0/\0"
MOST_BYTES = 65_502  # of a packet in one segment; the rest of a larger one is "extended XMP"
APP0, APP1, APP2, SCAN = 0xE0, 0xE1, 0xE2, 0xDA
WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xDA)}
MARKER = re.compile(rb"\xff++(.)", re.DOTALL)  # any number of fill bytes, then the marker


def packets(data: bytes) -> list[bytes]:
    """Return the main XMP packets of a JPEG file; extended XMP is not looked at.

    Args:
      data: the file.

    Returns:
      Packets, none or one in a sound file.

    Raises:
      ValueError: where the file is not sound up to its image data.
    """
    return [
        data[body + len(HEADER) : end]
        for marker, _, body, end in _segments(data)
        if _is_xmp(data, marker, body)
    ]


def with_packet(data: bytes, packet: bytes) -> bytes:
    """Return a JPEG file with this main XMP packet, in the place of the one that it had.

    A new one comes after JFIF and Exif, where readers look first.

    Args:
      data: the file, with at most one packet.
      packet: the XMP.

    Returns:
      The new file.

    Raises:
      ValueError: where the file is not sound up to its image data, the packet is too large for a
        segment, or offsets of a multi-picture file would become wrong.
    """
    if len(packet) > MOST_BYTES:
        packet = xmp.without_padding(packet)
    if len(packet) > MOST_BYTES:
        raise ValueError(
            f"its XMP packet would have {len(packet):,} bytes, but a JPEG segment holds "
            f"{MOST_BYTES:,}; make the packet that it has smaller"
        )
    segments = list(_segments(data))
    span = next(((start, end) for m, start, body, end in segments if _is_xmp(data, m, body)), None)
    if span is None:
        at = len(SIGNATURE) - 1
        for marker, _, body, end in segments:
            if marker != APP0 and not (marker == APP1 and data.startswith(b"Exif\0", body)):
                break
            at = end
        span = at, at
    # Offsets of further images count from this segment on: it must move with them.
    if any(
        marker == APP2 and data.startswith(b"MPF\0", body) and start < span[0]
        for marker, start, body, _ in segments
    ):
        raise ValueError(
            "its XMP packet comes after the index of its further pictures (MPF), whose offsets "
            "would become wrong; write it without them (exiftool -mpf:all= -trailer:all= FILE)"
        )
    length = (2 + len(HEADER) + len(packet)).to_bytes(2, "big")
    return b"".join(
        [data[: span[0]], b"\xff", bytes([APP1]), length, HEADER, packet, data[span[1] :]]
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield marker, start, start of the body, end of each segment before the image data."""
    at = len(SIGNATURE) - 1
    while True:
        match = MARKER.match(data, at)
        if match is None or match[1][0] in WITHOUT_LENGTH:
            raise ValueError(
                f"byte {at:,} of this JPEG file is not the segment that must be there before the "
                "image data; the file is damaged: write it again"
            )
        marker, body = match[1][0], match.end() + 2
        length = int.from_bytes(data[match.end() : body], "big")
        end = match.end() + length
        if length < 2 or end > len(data):
            raise ValueError(
                f"the segment at byte {at:,} of this JPEG file has the length {length:,}; wanted 2 "
                f"to {len(data) - match.end():,}; the file is damaged or cut: write it again"
            )
        if marker == SCAN:
            return
        yield marker, at, body, end
        at = end


def _is_xmp(data: bytes, marker: int, body: int) -> bool:
    return marker == APP1 and data.startswith(HEADER, body)
