"""Codes written into copies of images as XMP, and read from them; pixels are never touched.

JPEG, PNG and WebP files are known by their content, whatever their names end in.
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import uuid

import numpy as np
from etils import epath

from dsh_jax.collection import file_state
from dsh_jax.collection.annotation import jpeg, png, webp, xmp, xmp_packets

VERSION = "1"  # of the meaning of the properties
NAMES = ("code", "bits", "model", "version")
SOURCE = "source"  # which need not be there


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What an image says of its code.

    Attributes:
      code: W = ceil(bits/8) bytes, see `codes.pack_bits`.
      bits: K.
      fingerprint: of the model that made it.
      source: hash of the file that it was made from, see `file_state.digest`; empty if not said.
    """

    code: bytes
    bits: int
    fingerprint: str
    source: bytes = b""


class ChangedError(ValueError):
    """An image is not the one whose code is to be written."""


def annotate(
    source_path: epath.PathLike,
    target_path: epath.PathLike,
    *,
    code: bytes | np.ndarray,
    bits: int,
    fingerprint: str,
    digest: bytes = b"",
) -> int:
    """Write a copy of an image that carries its code; compressed pixels stay byte for byte.

    All other metadata is kept, and an annotation that the image had is replaced. XMP that stands
    where not all readers look is brought to where they do; junk behind its end is left out. The
    target is there in whole or not at all; another file of its name is replaced.

    Args:
      source_path: a JPEG, PNG or WebP file.
      target_path: the copy, in a folder that exists.
      code: W = ceil(bits/8) bytes, one row of `codes.pack_bits`.
      bits: K.
      fingerprint: of the model that made the code: printable text.
      digest: hash of the file that was encoded, see `file_state.digest`; none does not check it.

    Returns:
      Bytes of junk that were left out, mostly 0.

    Raises:
      ChangedError: where the source has another hash.
      ValueError: where the target is the source, the code does not fit the bits, the fingerprint
        is no printable text, the file is of another kind or damaged, or its XMP packet is broken.
    """
    source, target = (epath.Path(path).expanduser() for path in (source_path, target_path))
    if source == target or (os.path.exists(target) and os.path.samefile(source, target)):
        raise ValueError(f"{target} is the source itself; write the copy to another path")
    if not isinstance(code, bytes):
        code_W = np.asarray(code)
        if code_W.dtype != np.uint8 or code_W.ndim != 1:
            raise ValueError(
                f"the code has type {code_W.dtype} and shape {code_W.shape}; pass one row of "
                "codes.pack_bits, uint8 [W]"
            )
        code = code_W.tobytes()
    bits = int(bits)
    _check_code(code, bits)
    if not fingerprint.isprintable() or fingerprint != fingerprint.strip() or not fingerprint:
        raise ValueError(
            f"the fingerprint is {fingerprint!r}; pass printable text without outer spaces"
        )
    values = dict(zip(NAMES, (code.hex(), str(bits), fingerprint, VERSION), strict=True))
    values |= {SOURCE: digest.hex()} if digest else {}
    data = source.read_bytes()
    if digest and file_state.digest(data) != digest:
        raise ChangedError(f"{source}: it has changed since it was encoded")
    try:
        kind = _kind(data)
        packet, junk = _packet(kind, data)
        copy = kind.with_packet(data, xmp.merge(packet, values))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    # Hidden, and a name of its own: no reader of the folder takes it for an image.
    unfinished = target.parent / f".{uuid.uuid4().hex}.unfinished"
    try:
        unfinished.write_bytes(copy)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return len(junk)


def read(path: epath.PathLike) -> Annotation | None:
    """Return the annotation of an image.

    Args:
      path: a JPEG, PNG or WebP file.

    Returns:
      Annotation, or None where the image has none.

    Raises:
      ValueError: for a file of another kind or damaged, several XMP packets or a broken one, a
        code that is no hexadecimal number or does not fit its bits, another version.
    """
    path = epath.Path(path).expanduser()
    try:
        return of_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def of_bytes(data: bytes) -> Annotation | None:
    """Return the annotation in a file's content, see `read`; reasons do not name the file."""
    kind = _kind(data)
    packet, _ = _packet(kind, data)
    found = xmp.properties(packet) if packet is not None else {}
    if not found:
        return None
    missing = [name for name in NAMES if name not in found]
    if missing or found["version"] != VERSION:
        raise ValueError(
            f"its annotation has {_listed(found)}; wanted {', '.join(NAMES)}, the version being "
            f"{VERSION!r}: annotate the image again"
        )
    code, bits, source = found["code"], found["bits"], found.get(SOURCE, "")
    if not re.fullmatch("(?:[0-9a-fA-F]{2})+", code) or not re.fullmatch("[1-9][0-9]{0,6}", bits):
        raise ValueError(
            f"its annotation has the code {code[:40]!r} of {bits[:40]!r} bits; wanted an even "
            "number of hexadecimal digits and a whole number: annotate the image again"
        )
    _check_code(bytes.fromhex(code), int(bits))
    is_hash = re.fullmatch(f"[0-9a-fA-F]{{{2 * file_state.DIGEST_BYTES}}}", source)
    return Annotation(
        bytes.fromhex(code), int(bits), found["model"], bytes.fromhex(source) if is_hash else b""
    )


def is_image(data: bytes) -> bool:
    """Return whether a file that starts so is of a kind that can carry a code."""
    return _kind_or_none(data) is not None


def _kind(data: bytes) -> types.ModuleType:
    """Return the module for a file of this content."""
    kind = _kind_or_none(data)
    if kind is None:
        raise ValueError(
            f"the file starts with {data[:12]!r}, so it is neither JPEG, PNG nor WebP; convert it "
            "to one of them"
        )
    return kind


def _kind_or_none(data: bytes) -> types.ModuleType | None:
    if data.startswith(jpeg.SIGNATURE):
        return jpeg
    if data.startswith(png.SIGNATURE):
        return png
    return webp if (data[:4], data[8:12]) == webp.SIGNATURE else None


def _packet(kind: types.ModuleType, data: bytes) -> tuple[bytes | None, bytes]:
    """Return the one XMP packet of a file, or None, and the junk behind its end."""
    found = [xmp_packets.split(carried) for carried in kind.packets(data)]
    packets = [packet for some, _ in found for packet in some]
    different = {packet.strip(xmp_packets.PADDING): packet for packet in packets}
    if len(different) > 1:
        raise ValueError(
            f"the file has {len(packets)} XMP packets that differ; wanted one, as readers differ "
            f"in which they take; {xmp.KEEP}"
        )
    return next(iter(different.values()), None), b"".join(junk for _, junk in found)


def _listed(found: dict[str, str]) -> str:
    return ", ".join(
        f"{name} {value[:40]!r}" if name == "version" else name for name, value in found.items()
    )


def _check_code(code: bytes, bits: int) -> None:
    """Refuse a code whose bytes or unused bits do not fit the number of bits."""
    if not 1 <= bits <= 9_999_999 or len(code) != -(-bits // 8):
        raise ValueError(
            f"the code has {len(code)} bytes, but bits={bits}; wanted ceil(bits/8) bytes, bits at "
            "least 1: pass the number of bits that the code was packed from"
        )
    if bits % 8 and code[-1] >> bits % 8:
        raise ValueError(
            f"the code's last byte is {code[-1]:#04x}, which has ones beyond its {bits} bits; pack "
            "it with codes.pack_bits"
        )
