"""The XMP packet of a WebP file: a RIFF chunk after the image data, which is never touched."""

from __future__ import annotations

from collections.abc import Iterator

SIGNATURE = b"RIFF", b"WEBP"
ALPHA_FLAG, XMP_FLAG = 0x10, 0x04
MOST_BYTES = 2**32 - 10  # that the header can count


def packets(data: bytes) -> list[bytes]:
    """Return the XMP packets of a WebP file.

    Args:
      data: the file.

    Returns:
      Packets, none or one in a sound file.

    Raises:
      ValueError: where the file's chunks are not sound.
    """
    return [data[body:end] for kind, body, end in _chunks(data) if kind == b"XMP "]


def with_packet(data: bytes, packet: bytes) -> bytes:
    """Return a WebP file with this XMP packet alone, as its last chunk.

    A file of the simple kind becomes one of the extended kind, with a VP8X chunk.

    Args:
      data: the file.
      packet: the XMP.

    Returns:
      The new file.

    Raises:
      ValueError: where the file's chunks are not sound, or its first is none that starts an image.
    """
    chunks = list(_chunks(data))
    kind, body, end = chunks[0]
    first = data[body:end]
    if kind == b"VP8X" and len(first) >= 10:
        extended = bytes([first[0] | XMP_FLAG]) + first[1:]
        chunks = chunks[1:]
    else:
        width, height, has_alpha = _simple(kind, first)
        flags = XMP_FLAG | (ALPHA_FLAG if has_alpha else 0)
        extended = b"".join(
            [bytes([flags, 0, 0, 0]), *((x - 1).to_bytes(3, "little") for x in (width, height))]
        )
    kept = [_chunk(kind, data[body:end]) for kind, body, end in chunks if kind != b"XMP "]
    content = b"".join([b"WEBP", _chunk(b"VP8X", extended), *kept, _chunk(b"XMP ", packet)])
    if len(content) > MOST_BYTES:
        raise ValueError(f"this WebP file would be larger than {MOST_BYTES:,} bytes: make it small")
    trailer = data[_riff_end(data) :]
    return b"".join([b"RIFF", len(content).to_bytes(4, "little"), content, trailer])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def _riff_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[4:8], "little")


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start of the body, end of the body of each chunk, at least one."""
    at, last = 12, _riff_end(data)
    while at < last or at == 12:
        body = at + 8
        end = body + int.from_bytes(data[at + 4 : body], "little")
        if not body <= end <= last <= len(data):
            raise ValueError(
                f"the chunk at byte {at:,} of this WebP file ends at byte {end:,}, the last at "
                f"{last:,}, the file at {len(data):,}; the file is damaged or cut: write it again"
            )
        yield data[at : at + 4], body, end
        at = end + end % 2


def _simple(kind: bytes, image: bytes) -> tuple[int, int, bool]:
    """Return width and height in pixels, and whether there is alpha, of a simple file's image."""
    if kind == b"VP8 " and len(image) >= 10 and image[3:6] == b"\x9d\x01\x2a" and not image[0] & 1:
        width, height = (int.from_bytes(image[i : i + 2], "little") & 0x3FFF for i in (6, 8))
        if width and height:
            return width, height, False
    if kind == b"VP8L" and len(image) >= 5 and image[0] == 0x2F:
        fields = int.from_bytes(image[1:5], "little")
        return 1 + (fields & 0x3FFF), 1 + (fields >> 14 & 0x3FFF), bool(fields >> 28 & 1)
    raise ValueError(
        f"the first chunk of this WebP file is {kind!r} and starts no image that we know; wanted "
        "VP8X, VP8 or VP8L: write it again"
    )
