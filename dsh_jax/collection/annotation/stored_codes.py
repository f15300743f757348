"""The index that images with codes in them make, without any model."""

from __future__ import annotations

import collections
import io
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from dsh_jax.collection import file_state, image_codes
from dsh_jax.collection.annotation import jpeg
from dsh_jax.collection.annotation.picture import Annotation, is_image, of_bytes
from dsh_jax.collection.file_state import FileState
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.pictures import upright_size

MOST_LISTED = 5  # files that a sentence lists


class _Read(NamedTuple):
    """An annotated image: what it says, the state of its file, its size as `pictures` has it."""

    annotation: Annotation
    state: FileState
    size: tuple[int, int]


def index_of(
    folder: epath.PathLike, *, fingerprint: str | None = None, strict: bool = False
) -> tuple[ImageCodes, tuple[str, ...]]:
    """Return the codes that the images of a folder carry; no model is run.

    Hidden files and folders do not count, and links to folders are not followed.

    Args:
      folder: of the images, and of all folders in it.
      fingerprint: of the model whose codes are wanted; None takes that of most images.
      strict: stop at the first image that cannot be taken, instead of counting it.

    Returns:
      The codes, with the reasons of images that are damaged or have codes of other models; and
      sentences about files without any code.

    Raises:
      ValueError: where the folder cannot be read, no image has a code that is wanted, or as many
        have codes of one model as of another; with `strict`, naming the image.
    """
    root = epath.Path(folder).expanduser().resolve()
    found: dict[str, _Read] = {}
    failures, without = {}, []
    for name in sorted(_names(root, failures)):
        try:
            read = _read(str(root / name))
        except Exception as error:  # a damaged file may raise anything
            failures[name] = getattr(error, "strerror", None) or str(error)
            if strict:
                _refuse(root, name, failures)
            continue
        if read is None:
            without.append(name)
        else:
            found[name] = read
    more = ", …" if len(without) > MOST_LISTED else ""
    notes = [f"{len(without):,} files have no code: {', '.join(without[:MOST_LISTED])}{more}."]
    notes = notes if without else []
    if not found:
        some = [f"{len(failures):,} cannot be read, such as {x}: {failures[x]}." for x in failures]
        said = " ".join([*notes, *some[:1]]) or "It holds no file."
        raise ValueError(f"{root} holds no image with a code. {said} Annotate images first.")
    wanted, origin = _wanted(root, found, fingerprint)
    for name, read in found.items():
        is_of = read.annotation.fingerprint, read.annotation.bits
        if is_of != wanted:
            failures[name] = (
                f"it has a code of {is_of[1]} bits of the model {is_of[0]}, but wanted are "
                f"{wanted[1]} bits of {wanted[0]}, {origin}; codes of two models cannot be "
                "compared: annotate it again, or keep it in another folder"
            )
    if strict and failures:
        _refuse(root, min(failures), failures)
    names = tuple(name for name in found if name not in failures)
    kept = [found[name] for name in names]
    rows = [np.frombuffer(read.annotation.code, np.uint8) for read in kept]
    index = ImageCodes(
        packed_NxW=np.stack(rows),
        names=names,
        size_Nx2=np.array([read.size for read in kept], np.int32),
        bits=wanted[1],
        fingerprint=wanted[0],
        root=str(root),
        failures={name: failures[name] for name in sorted(failures)},
    )
    states = {name: read.state for name, read in zip(names, kept, strict=True)}
    return image_codes.with_states(index, states), tuple(notes)


def _read(path: str) -> _Read | None:
    """Return what an annotated image says, or None of a file that says nothing."""
    with open(path, "rb") as file:
        if not is_image(file.read(12)):
            return None
    state, data = file_state.read_whole(path)
    said = of_bytes(data)
    if said is None:
        return None
    if len(said.fingerprint) != image_codes.FINGERPRINT:
        raise ValueError(
            f"its code is of the model {said.fingerprint!r}; one of this library is named by "
            f"{image_codes.FINGERPRINT} hexadecimal digits: annotate it again"
        )
    with Image.open(io.BytesIO(data)) as picture:
        if data.startswith(jpeg.SIGNATURE) and not jpeg.has_end(data):
            picture.load()  # it may be cut
        return _Read(said, state, upright_size(picture))


def _wanted(
    root: epath.Path, found: Mapping[str, _Read], fingerprint: str | None
) -> tuple[tuple[str, int], str]:
    """Return fingerprint and bits of the codes that are wanted, and whose they are."""
    models = collections.Counter(
        (read.annotation.fingerprint, read.annotation.bits) for read in found.values()
    )
    most = [
        (model, count) for model, count in models.most_common() if fingerprint in (None, model[0])
    ]
    if not most:
        raise ValueError(
            f"{root} holds no code of the model {fingerprint}, but {len(found):,} of others, such "
            f"as {models.most_common()[0][0][0]}: name one of these, or annotate the images again."
        )
    if len(most) > 1 and most[0][1] == most[1][1]:
        said = " and ".join(f"{bits} bits of the model {name}" for (name, bits), _ in most[:2])
        raise ValueError(
            f"{root} holds {most[0][1]:,} codes each of {said}: codes of two models cannot be "
            "compared; pass the --fingerprint of one, or keep them in two folders."
        )
    return most[0][0], "that of most" if fingerprint is None else "the one asked for"


def _names(root: epath.Path, failures: dict[str, str]) -> Iterator[str]:
    """Yield the files below a folder by their paths in it; folders in it may be unreadable."""

    def refuse(error: OSError) -> None:
        if os.path.realpath(error.filename) == str(root):
            raise ValueError(
                f"{root} cannot be read ({error.strerror}); check the path and its rights"
            ) from error
        failures[os.path.relpath(error.filename, root)] = f"a folder: {error.strerror}"

    for path, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in files:
            if name[0] != "." and os.path.isfile(os.path.join(path, name)):
                yield os.path.relpath(os.path.join(path, name), root).replace(os.sep, "/")


def _refuse(root: epath.Path, name: str, failures: Mapping[str, str]) -> None:
    raise ValueError(f"{root / name}: {failures[name]}. Leave --strict out to go on.")
