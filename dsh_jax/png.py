"""The XMP packet of a PNG file: an iTXt chunk before the image data, which is never touched."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from dsh_jax import xmp

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"XML:com.adobe.xmp\0"


def packets(data: bytes) -> list[bytes]:
    """Return the XMP packets of a PNG file.

    Args:
      data: the file.

    Returns:
      Packets, none or one in a sound file.

    Raises:
      ValueError: where the file's chunks are not sound, the packet's checksum is wrong, or it is
        larger than `xmp.MOST_BYTES` when decompressed.
    """
    return [
        _text(data[start:end]) for kind, start, end in _chunks(data) if _is_xmp(data, kind, start)
    ]


def with_packet(data: bytes, packet: bytes) -> bytes:
    """Return a PNG file with this XMP packet alone, right before the image data.

    Args:
      data: the file.
      packet: the XMP.

    Returns:
      The new file.

    Raises:
      ValueError: where the file's chunks are not sound.
    """
    # Not compressed, and neither a language nor a translated keyword, as XMP wants it.
    body = b"iTXt" + KEYWORD + b"\0\0\0\0" + packet
    length = (len(body) - 4).to_bytes(4, "big")
    checksum = zlib.crc32(body).to_bytes(4, "big")
    pieces, is_written = [data[: len(SIGNATURE)]], False
    at = len(SIGNATURE)
    for kind, start, end in _chunks(data):
        if kind == b"IDAT" and not is_written:
            pieces += [data[at:start], length, body, checksum]
            at, is_written = start, True
        elif _is_xmp(data, kind, start):
            pieces.append(data[at:start])
            at = end
    if not is_written:
        raise ValueError("this PNG file has no IDAT chunk, so no image: write it again")
    return b"".join([*pieces, data[at:]])


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start, end of each chunk, IEND the last."""
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(kind) < 4 or end > len(data) or (at == len(SIGNATURE) and kind != b"IHDR"):
            raise ValueError(
                f"byte {at:,} of this PNG file starts no whole chunk, or not IHDR as the first; "
                "the file is damaged or cut: write it again"
            )
        yield kind, at, end
        at = end


def _is_xmp(data: bytes, kind: bytes, start: int) -> bool:
    return kind == b"iTXt" and data.startswith(KEYWORD, start + 8)


def _text(chunk: bytes) -> bytes:
    """Return the text of a whole iTXt chunk."""
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise ValueError(
            "the checksum of its XMP packet is wrong, so the packet is damaged; remove it "
            "(exiftool -xmp:all= FILE)"
        )
    rest = chunk[8 + len(KEYWORD) : -4]
    # Compression flag and method, then language, translated keyword and text, parted by zeros.
    parts = rest[2:].split(b"\0", 2)
    if len(parts) < 3 or rest[0] > 1 or (rest[0] == 1 and rest[1] != 0):
        raise ValueError(
            "the iTXt chunk of its XMP packet is malformed; remove it (exiftool -xmp:all= FILE)"
        )
    if rest[0] == 0:
        return parts[2]
    decompress = zlib.decompressobj()
    try:
        text = decompress.decompress(parts[2], xmp.MOST_BYTES)
    except zlib.error as error:
        raise ValueError(
            f"its XMP packet cannot be decompressed ({error}); remove it (exiftool -xmp:all= FILE)"
        ) from error
    if not decompress.eof:
        raise ValueError(
            f"its compressed XMP packet is cut, or larger than {xmp.MOST_BYTES:,} bytes; remove it "
            "(exiftool -xmp:all= FILE)"
        )
    return text
