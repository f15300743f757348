"""The XMP packet of a JPEG file: a segment before the image data, which is never touched."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dsh_jax.collection.annotation import xmp

SIGNATURE = b"\xff\xd8\xff"
HEADER = b"http://ns.adobe.com/xap/1.0/\0"
OTHER_HEADERS = b"Exif\0", b"http://ns.adobe.com/xmp/extension/\0"  # of what is no main packet
# Headers that some programs write in its place.
ODD_HEADER = re.compile(rb"(?:http|XMP\0)[^<]{0,40}(?=<\?xpacket\s+begin|<\w+:x[am]pmeta\b)")
MOST_BYTES = 65_502  # of a packet in one segment; the rest of a larger one is "extended XMP"
APP0, APP1, APP2, SCAN = 0xE0, 0xE1, 0xE2, 0xDA
WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xDA)}
MARKER = re.compile(rb"\xff++(.)", re.DOTALL)  # any number of fill bytes, then the marker


def packets(data: bytes) -> list[bytes]:
    """Return the main XMP packets of a JPEG file; extended XMP is not looked at.

    One behind another header, which not all readers take, is one too.

    Args:
      data: the file.

    Returns:
      Packets, none or one in a sound file.

    Raises:
      ValueError: where the file is not sound up to its image data.
    """
    return [data[packet:end] for _, packet, end in _carriers(data)]


def with_packet(data: bytes, packet: bytes) -> bytes:
    """Return a JPEG file with this main XMP packet alone, in the place of the first that it had.

    A new one comes after JFIF and Exif, where readers look first.

    Args:
      data: the file.
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
            f"{MOST_BYTES:,}; {xmp.KEEP}"
        )
    carriers = list(_carriers(data))
    at = len(SIGNATURE) - 1
    segments = list(_segments(data))
    for marker, _, body, end in segments:
        if marker != APP0 and not (marker == APP1 and data.startswith(b"Exif\0", body)):
            break
        at = end
    # Offsets of further images count from this segment on: it must move with them.
    last = max((start for start, _, _ in carriers), default=at)
    if any(
        marker == APP2 and data.startswith(b"MPF\0", body) and start < last
        for marker, start, body, _ in segments
    ):
        raise ValueError(
            "its XMP packet comes after the index of its further pictures (MPF), whose offsets "
            "would become wrong; encode a file without them, which keeps the XMP, in its place "
            "(exiftool -mpf:all= -trailer:all= -o NEW FILE)"
        )
    length = (2 + len(HEADER) + len(packet)).to_bytes(2, "big")
    new = b"".join([b"\xff", bytes([APP1]), length, HEADER, packet])
    pieces, done = [], 0
    for start, _, end in carriers or [(at, at, at)]:
        pieces += [data[done:start], b"" if pieces else new]
        done = end
    return b"".join([*pieces, data[done:]])


def has_end(data: bytes) -> bool:
    """Return whether a JPEG file whose segments are sound has the mark of its end."""
    segments = list(_segments(data))
    return b"\xff\xd9" in data[segments[-1][3] if segments else len(SIGNATURE) :]


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


def _carriers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield start of the segment, start of the packet, end of both, of all that carry one."""
    for marker, start, body, end in _segments(data):
        if marker != APP1 or any(data.startswith(header, body) for header in OTHER_HEADERS):
            continue
        if data.startswith(HEADER, body):
            yield start, body + len(HEADER), end
        elif odd := ODD_HEADER.match(data, body, end):
            yield start, odd.end(), end
