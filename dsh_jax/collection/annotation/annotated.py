"""Copies of images that carry their codes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from absl import logging
from etils import epath

from dsh_jax.collection import file_state, image_codes
from dsh_jax.collection.annotation import picture
from dsh_jax.collection.annotation.picture import Annotation
from dsh_jax.collection.file_state import Verdict
from dsh_jax.collection.image_codes import ImageCodes

CHANGED = (
    "it has changed since it was encoded: encode it again, with --verify where its size and time "
    "are the same"
)


class Copies(NamedTuple):
    """What `annotate_files` did; each mapping is of names to reasons.

    Attributes:
      whole: copies that carry the codes of their images.
      failures: images that cannot carry a code, or lie outside the folder.
      stale: images without a copy, or with an old one, since their picture is not the one that was
        encoded, or cannot be read, or something else has the copy's name.
      vanished: images that are not there any more; copies that they had stay.
      mended: copies without the junk behind the end of their images' XMP.
    """

    whole: int
    failures: Mapping[str, str]
    stale: Mapping[str, str]
    vanished: Mapping[str, str]
    mended: Mapping[str, str]


def annotate_files(found: ImageCodes, out_dir: epath.PathLike) -> Copies:
    """Write copies of images with their codes in them; pixels and other metadata stay.

    An image is copied only if its content is the one that was encoded. Copies that carry the code
    of their image's content already are left alone, so that the same call goes on where it was
    stopped; others are replaced.

    Args:
      found: the codes, and the folder of the images.
      out_dir: folder of the copies, under the same names; not that of the images.

    Returns:
      Copies.

    Raises:
      ValueError: where out_dir is the images' own folder, or no folder.
      OSError: where no copy can be written.
    """
    root, out = epath.Path(found.root), epath.Path(out_dir).expanduser().resolve()
    if out == root:
        raise ValueError(f"{out} holds the images themselves: choose another folder for copies.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder for copies.")
    failures, stale, vanished, mended = {}, {}, {}, {}
    started, whole = time.monotonic(), 0
    rows = zip(found.names, found.packed_NxW, image_codes.states(found), strict=True)
    for done, (name, packed_W, state) in enumerate(rows, 1):
        if os.path.isabs(name):
            failures[name] = "it lies outside of the images' folder"
            continue
        seen = file_state.compare(str(root / name), state)
        if seen.verdict in (Verdict.SAME, Verdict.TOUCHED):
            wanted = Annotation(packed_W.tobytes(), found.bits, found.fingerprint, state.digest)
            try:
                junk = _copy(root / name, out / name, wanted)
                if junk:
                    mended[name] = f"{junk:,} bytes of junk behind its XMP are left out"
                whole += 1
            except picture.ChangedError:
                stale[name] = CHANGED
            except ValueError as error:
                failures[name] = str(error)
            except OSError as error:
                is_conflict = isinstance(
                    error, FileExistsError | IsADirectoryError | NotADirectoryError
                )
                if error.filename != str(root / name) and not is_conflict:
                    raise
                stale[name] = f"{error.filename}: {error.strerror}"
        elif seen.verdict is Verdict.VANISHED:
            vanished[name] = seen.why
        elif seen.verdict is Verdict.UNKNOWN:
            stale[name] = "no hash of what was encoded was kept: encode it again"
        else:
            stale[name] = seen.why or CHANGED
        logging.log_every_n_seconds(
            logging.INFO,
            "%d of %d images annotated, %.0f s left",
            5,
            done,
            len(found.names),
            (time.monotonic() - started) / done * (len(found.names) - done),
        )
    return Copies(whole, failures, stale, vanished, mended)


def _copy(source: epath.Path, target: epath.Path, wanted: Annotation) -> int:
    """Write a copy unless it is there; return the bytes of junk that were left out."""
    try:
        if target.exists() and picture.read(target) == wanted:
            return 0
    except ValueError:
        pass  # a damaged one is replaced
    target.parent.mkdir(parents=True, exist_ok=True)
    return picture.annotate(
        source,
        target,
        code=wanted.code,
        bits=wanted.bits,
        fingerprint=wanted.fingerprint,
        digest=wanted.source,
    )
