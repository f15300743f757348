"""Codes written into copies of images as XMP, and read from them; pixels are never touched.

JPEG, PNG and WebP files are known by their content, whatever their names end in.
"""

from __future__ import annotations

import dataclasses
import os
import re
import types
import uuid
from collections.abc import Iterator

import numpy as np
from etils import epath

from dsh_jax import jpeg, png, webp, xmp

VERSION = "1"  # of the meaning of the properties
NAMES = ("code", "bits", "model", "version")
MOST_LISTED = 5  # files that a sentence lists


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What an image says of its code.

    Attributes:
      code: W = ceil(bits/8) bytes, see `codes.pack_bits`.
      bits: K.
      fingerprint: of the model that made it.
    """

    code: bytes
    bits: int
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class FolderCodes:
    """The codes of a folder's images, all of one model.

    Attributes:
      name_N: paths below the folder, with forward slashes, sorted.
      packed_NxW: uint8 codes, see `codes.pack_bits`.
      bits: K.
      fingerprint: of the model.
      without: paths of the files without an annotation, images or not, sorted.
      notes: sentences that count them.
    """

    name_N: tuple[str, ...]
    packed_NxW: np.ndarray
    bits: int
    fingerprint: str
    without: tuple[str, ...]
    notes: tuple[str, ...]


def annotate(
    source_path: epath.PathLike,
    target_path: epath.PathLike,
    *,
    code: bytes | np.ndarray,
    bits: int,
    fingerprint: str,
) -> None:
    """Write a copy of an image that carries its code; compressed pixels stay byte for byte.

    All other metadata is kept, and an annotation that the image had is replaced. The target is
    there in whole or not at all; another file of its name is replaced.

    Args:
      source_path: a JPEG, PNG or WebP file.
      target_path: the copy, in a folder that exists.
      code: W = ceil(bits/8) bytes, one row of `codes.pack_bits`.
      bits: K.
      fingerprint: of the model that made the code: printable text.

    Raises:
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
    data = source.read_bytes()
    try:
        kind = _kind(data)
        copy = kind.with_packet(data, xmp.merge(_packet(kind, data), values))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    # Hidden, and a name of its own: no reader of the folder takes it for an image.
    unfinished = target.parent / f".{uuid.uuid4().hex}.unfinished"
    try:
        unfinished.write_bytes(copy)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


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
    data = path.read_bytes()
    try:
        return _annotation(_kind(data), data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_folder(folder: epath.PathLike, *, fingerprint: str | None = None) -> FolderCodes:
    """Return the codes of all annotated images below a folder.

    Hidden files and folders do not count, and links to folders are not followed.

    Args:
      folder: of images.
      fingerprint: of the model whose codes are wanted; None takes any, but one only.

    Returns:
      FolderCodes.

    Raises:
      ValueError: where no file has a code, codes are of another model or length, or `read` refuses
        an image.
    """
    folder = epath.Path(folder).expanduser()
    found: dict[str, Annotation] = {}
    without = []
    for name in sorted(_names(folder)):
        with (folder / name).open("rb") as file:
            is_image = _kind_or_none(file.read(12)) is not None
        annotation = read(folder / name) if is_image else None
        if annotation is None:
            without.append(name)
            continue
        found[name] = annotation
        first = next(iter(found))
        wanted = found[first].fingerprint if fingerprint is None else fingerprint
        if annotation.fingerprint != wanted:
            origin = f"that of {first}" if fingerprint is None else "the one asked for"
            raise ValueError(
                f"{folder / name} has a code of the model {annotation.fingerprint}, but wanted is "
                f"{wanted}, {origin}; codes of two models cannot be compared: annotate it again, "
                "or keep it in another folder"
            )
        if annotation.bits != found[first].bits:
            raise ValueError(
                f"{folder / name} has {annotation.bits} bits, but {first} has {found[first].bits}, "
                "of the same model; annotate one of them again"
            )
    notes = []
    if without:
        more = ", …" if len(without) > MOST_LISTED else ""
        notes = [f"{len(without):,} files have no code: {', '.join(without[:MOST_LISTED])}{more}."]
    if not found:
        raise ValueError(
            f"{folder} holds no image with a code. {' '.join(notes) or 'It holds no file.'} "
            "Annotate images first."
        )
    rows = [np.frombuffer(annotation.code, np.uint8) for annotation in found.values()]
    first = next(iter(found.values()))
    return FolderCodes(
        tuple(found), np.stack(rows), first.bits, first.fingerprint, tuple(without), tuple(notes)
    )


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


def _packet(kind: types.ModuleType, data: bytes) -> bytes | None:
    """Return the one XMP packet of a file, or None."""
    packets = kind.packets(data)
    if len(packets) > 1:
        raise ValueError(
            f"the file has {len(packets)} XMP packets; wanted one at most, as readers would differ "
            "in which they take: remove them (exiftool -xmp:all= FILE)"
        )
    return packets[0] if packets else None


def _annotation(kind: types.ModuleType, data: bytes) -> Annotation | None:
    packet = _packet(kind, data)
    found = xmp.properties(packet) if packet is not None else {}
    if not found:
        return None
    missing = [name for name in NAMES if name not in found]
    if missing or found["version"] != VERSION:
        raise ValueError(
            f"its annotation has {_listed(found)}; wanted {', '.join(NAMES)}, the version being "
            f"{VERSION!r}: annotate the image again"
        )
    code, bits = found["code"], found["bits"]
    if not re.fullmatch("(?:[0-9a-fA-F]{2})+", code) or not re.fullmatch("[1-9][0-9]{0,6}", bits):
        raise ValueError(
            f"its annotation has the code {code[:40]!r} of {bits[:40]!r} bits; wanted an even "
            "number of hexadecimal digits and a whole number: annotate the image again"
        )
    _check_code(bytes.fromhex(code), int(bits))
    return Annotation(bytes.fromhex(code), int(bits), found["model"])


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


def _names(folder: epath.Path) -> Iterator[str]:
    """Yield the files below a folder by their paths in it."""

    def refuse(error):
        raise ValueError(
            f"{error.filename} cannot be read ({error.strerror}); check the path and its rights"
        ) from error

    for path, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in files:
            if name[0] != "." and os.path.isfile(os.path.join(path, name)):
                yield os.path.relpath(os.path.join(path, name), folder).replace(os.sep, "/")
