"""Copies of images that carry their codes, and the index that they make without any model."""

from __future__ import annotations

import os
import time

import numpy as np
from absl import logging
from etils import epath

from dsh_jax import annotation
from dsh_jax.annotation import Annotation
from dsh_jax.image_codes import ImageCodes
from dsh_jax.pictures import open_picture, upright_size


def annotate_files(found: ImageCodes, out_dir: epath.PathLike) -> dict[str, str]:
    """Write copies of images with their codes in them; pixels and other metadata stay.

    Copies that carry their code already are left alone, so that the same call goes on where it was
    stopped.

    Args:
      found: the codes, and the folder of the images.
      out_dir: folder of the copies, under the same names; not that of the images.

    Returns:
      Name to reason, of the images that cannot carry one or lie outside the folder.

    Raises:
      ValueError: where out_dir is the images' own folder.
      OSError: where a copy cannot be written.
    """
    root, out = epath.Path(found.root), epath.Path(out_dir).expanduser().resolve()
    if out == root:
        raise ValueError(f"{out} holds the images themselves: choose another folder for copies.")
    failures, started = {}, time.monotonic()
    for done, (name, packed_W) in enumerate(zip(found.names, found.packed_NxW, strict=True), 1):
        if os.path.isabs(name):
            failures[name] = "it lies outside of the images' folder"
            continue
        wanted = Annotation(packed_W.tobytes(), found.bits, found.fingerprint)
        target = out / name
        try:
            if not target.exists() or annotation.read(target) != wanted:
                target.parent.mkdir(parents=True, exist_ok=True)
                annotation.annotate(
                    root / name,
                    target,
                    code=wanted.code,
                    bits=wanted.bits,
                    fingerprint=wanted.fingerprint,
                )
        except ValueError as error:
            failures[name] = str(error)
        logging.log_every_n_seconds(
            logging.INFO,
            "%d of %d images annotated, %.0f s left",
            5,
            done,
            len(found.names),
            (time.monotonic() - started) / done * (len(found.names) - done),
        )
    return failures


def index_of(
    folder: epath.PathLike, *, fingerprint: str | None = None
) -> tuple[ImageCodes, tuple[str, ...]]:
    """Return the codes that the images of a folder carry; no model is run.

    Args:
      folder: of the images, and of all folders in it.
      fingerprint: of the model whose codes are wanted; None takes any, but one only.

    Returns:
      The codes, and sentences about files without any.

    Raises:
      ValueError: see `annotation.read_folder`.
    """
    root = epath.Path(folder).expanduser().resolve()
    read = annotation.read_folder(root, fingerprint=fingerprint)
    sizes = []
    for name in read.name_N:
        with open_picture(root / name) as picture:
            sizes.append(upright_size(picture))
    index = ImageCodes(
        packed_NxW=read.packed_NxW,
        names=read.name_N,
        size_Nx2=np.array(sizes, np.int32),
        bits=read.bits,
        fingerprint=read.fingerprint,
        root=str(root),
        failures={},
    )
    return index, read.notes
