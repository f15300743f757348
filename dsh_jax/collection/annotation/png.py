"""The XMP packet of a PNG file: an iTXt chunk before the image data, which is never touched.

Programs also put it into other chunks of text, as it is or as a "raw profile", the bytes as
hexadecimal digits; such a chunk is read, and an iTXt chunk written in its place.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from dsh_jax.collection.annotation import jpeg, xmp

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"XML:com.adobe.xmp"
PROFILE = b"Raw profile type xmp"
JPEG_PROFILE = b"Raw profile type APP1"  # a segment of a JPEG file: XMP or Exif
CARRIERS = b"tEXt", b"zTXt", b"iTXt", b"tXMP"  # the last one of a draft of 2001
MOST_KEYWORD = 79  # bytes
MOST_TEXT = 3 * xmp.MOST_BYTES  # digits of a raw profile, and its line breaks
RAW = re.compile(rb"\n[^\n]*\n\s*(\d{1,9})\n([0-9a-fA-F\s]*)\0?")  # name, length, digits


def packets(data: bytes) -> list[bytes]:
    """Return the XMP packets of a PNG file.

    Args:
      data: the file.

    Returns:
      Packets, none or one in a sound file.

    Raises:
      ValueError: where the file's chunks are not sound, a packet's checksum or length is wrong, or
        it is larger than `xmp.MOST_BYTES` when decompressed.
    """
    return [
        _packet(data[start:end])
        for kind, start, end in _chunks(data)
        if kind in CARRIERS and _is_xmp(data[start:end])
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
    body = b"iTXt" + KEYWORD + b"\0\0\0\0\0" + packet
    length = (len(body) - 4).to_bytes(4, "big")
    checksum = zlib.crc32(body).to_bytes(4, "big")
    pieces, is_written = [data[: len(SIGNATURE)]], False
    at = len(SIGNATURE)
    for kind, start, end in _chunks(data):
        if kind == b"IDAT" and not is_written:
            pieces += [data[at:start], length, body, checksum]
            at, is_written = start, True
        elif kind in CARRIERS and _is_xmp(data[start:end]):
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


def _is_xmp(chunk: bytes) -> bool:
    """Return whether a whole chunk of those kinds carries XMP."""
    keyword = _keyword(chunk)
    if chunk[4:8] == b"tXMP" or keyword != JPEG_PROFILE.lower():
        return chunk[4:8] == b"tXMP" or keyword in (KEYWORD.lower(), PROFILE.lower())
    try:
        found = RAW.match(_text(chunk, 1_000, is_whole=False))
    except ValueError:
        return False
    digits = b"".join(found[2].split())[: 2 * len(jpeg.HEADER)] if found else b""
    return digits.lower() == jpeg.HEADER.hex().encode()


def _keyword(chunk: bytes) -> bytes:
    return chunk[8 : 8 + MOST_KEYWORD + 1].split(b"\0", 1)[0].lower()


def _packet(chunk: bytes) -> bytes:
    """Return the packet that a whole chunk carries."""
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        raise ValueError(
            f"the checksum of its XMP packet is wrong, so the packet is damaged; {xmp.KEEP}"
        )
    if chunk[4:8] == b"tXMP":
        return chunk[8:-4]
    if _keyword(chunk) == KEYWORD.lower():
        text = _text(chunk, xmp.MOST_BYTES)
        return text if _is_utf8(text) else text.decode("latin-1").encode()  # as tEXt and zTXt have
    found = RAW.fullmatch(_text(chunk, MOST_TEXT))
    digits = b"".join(found[2].split()) if found else b""
    if not found or len(digits) != 2 * int(found[1]):
        said = "is no hexadecimal number behind its length"
        if found:
            said = f"should have {int(found[1]):,} bytes, but has {len(digits):,} digits"
        raise ValueError(f"the raw profile of its XMP packet {said}; {xmp.KEEP}")
    return bytes.fromhex(digits.decode()).removeprefix(jpeg.HEADER)


def _text(chunk: bytes, most: int, *, is_whole: bool = True) -> bytes:
    """Return the text of a whole tEXt, zTXt or iTXt chunk, or its start of that many bytes."""
    kind, rest = chunk[4:8], chunk[8 + len(_keyword(chunk)) + 1 : -4]
    is_compressed = kind == b"zTXt"
    if is_compressed:
        is_sound, text = rest[:1] == b"\0", rest[1:]
    elif kind == b"iTXt":
        # Compression flag and method, then language, translated keyword and text, parted by zeros.
        parts = rest[2:].split(b"\0", 2)
        is_compressed = rest[:1] == b"\1"
        is_sound = len(parts) == 3 and (rest[:2] == b"\1\0" or rest[:1] == b"\0")
        text = parts[-1]
    else:
        is_sound, text = True, rest
    if not is_sound:
        raise ValueError(f"the {kind.decode()} chunk of its XMP packet is malformed; {xmp.KEEP}")
    if not is_compressed:
        return text if is_whole else text[:most]
    decompress = zlib.decompressobj()
    try:
        text = decompress.decompress(text, most)
    except zlib.error as error:
        raise ValueError(f"its XMP packet cannot be decompressed ({error}); {xmp.KEEP}") from error
    if is_whole and not decompress.eof:
        raise ValueError(
            f"its compressed XMP packet is cut, or larger than {most:,} bytes; {xmp.KEEP}"
        )
    return text


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
