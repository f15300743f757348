"""Codes of any number of image files, in bounded memory, going on where it was stopped."""

from __future__ import annotations

import datetime
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from dsh_jax import image_codes
from dsh_jax.image_codes import ImageCodes
from dsh_jax.image_encoder import BATCH, ImageEncoder
from dsh_jax.image_names import printable
from dsh_jax.run import locked

BATCHES_A_PART = 4  # a kill loses that much work at most


class Outcome(NamedTuple):
    """What `encode_files` did.

    Attributes:
      codes: all that the file now holds.
      done: files that were read by this call, failures included.
      seconds: that it took, compilation included.
    """

    codes: ImageCodes
    done: int
    seconds: float


def encode_files(
    encoder: ImageEncoder,
    root: epath.PathLike,
    names: Sequence[str],
    out: epath.PathLike,
    *,
    batch: int = BATCH,
    strict: bool = False,
) -> Outcome:
    """Encode image files into one file of codes, in the order of their names.

    Every few batches a part is written beside the output, in `<out>.parts`; the parts are joined at
    the end. After any kind of stop, the same call goes on after the last whole part, and ends with
    the codes of an undisturbed one. Images that `out` holds already are not encoded again; those
    that failed are tried again.

    Args:
      encoder: the model.
      root: folder of the names.
      names: paths of the files under it, or absolute ones; each once.
      out: file of the codes, .npz.
      batch: images at a time, over all devices.
      strict: stop at the first file that cannot be read, instead of counting it.

    Returns:
      Outcome.

    Raises:
      ValueError: where there are no names; where `out` or its parts are of another model or folder,
        in use or cannot be written; with `strict`, naming the file that cannot be read.
    """
    if not names:
        raise ValueError("there are no images to encode: pass a folder or a list of some.")
    root = str(epath.Path(root).expanduser().resolve())
    out = epath.Path(out).expanduser().resolve()
    nothing = image_codes.empty(bits=encoder.bits, fingerprint=encoder.fingerprint, root=root)
    if out.is_dir():
        raise ValueError(f"{out} is a folder: name a file, such as {out / 'codes.npz'}.")
    held = _held(nothing, out)
    started = time.monotonic()
    parts = out.parent / f"{out.name}.parts"
    with locked(parts):
        try:
            codes, done = _encode_parts(encoder, names, nothing, held, parts, batch, strict)
            image_codes.save(out, codes)
            shutil.rmtree(parts)
        finally:
            if parts.exists() and not any(parts.glob("*.npz")):
                shutil.rmtree(parts)
    return Outcome(codes, done, time.monotonic() - started)


def _encode_parts(
    encoder: ImageEncoder,
    names: Sequence[str],
    nothing: ImageCodes,
    held: ImageCodes,
    parts: epath.Path,
    batch: int,
    strict: bool,
) -> tuple[ImageCodes, int]:
    """Encode what no file holds yet, part by part; return all codes, and how many were read."""
    found = [_held(nothing, path) for path in sorted(parts.glob("*.npz"))]
    if strict:
        for part in found:
            _refuse_failures(part)
    known = {*held.names, *(name for part in found for name in (*part.names, *part.failures))}
    todo = [name for name in names if name not in known]
    if len(todo) < len(names):
        logging.info("%d of %d images are encoded already", len(names) - len(todo), len(names))
    done, started = 0, time.monotonic()
    for part in _read_and_encode(encoder, nothing.root, todo, batch):
        if strict:
            _refuse_failures(part)
        image_codes.save(parts / f"{len(found):06}.npz", part)
        found.append(part)
        done += len(part.names) + len(part.failures)
        _log_progress(done, len(todo), time.monotonic() - started)
    return image_codes.join(held, _joined(nothing, found, names)), done


def _held(nothing: ImageCodes, path: epath.Path) -> ImageCodes:
    """Return the codes of a file, none where it is not there; another model's or folder's raise."""
    if not path.exists():
        return nothing
    found = image_codes.load(path)
    image_codes.check_same_model(
        found, str(path), bits=nothing.bits, fingerprint=nothing.fingerprint
    )
    if found.root != nothing.root:
        raise ValueError(
            f"{path} holds images under {found.root}, but these are under {nothing.root}: choose "
            "another --out."
        )
    return found


def _read_and_encode(
    encoder: ImageEncoder, root: str, names: Sequence[str], batch: int
) -> Iterator[ImageCodes]:
    """Yield the codes part by part; the next part is read while one is encoded."""

    def read(chunk: Sequence[str]):
        return encoder.read_all([os.path.join(root, name) for name in chunk])

    size = BATCHES_A_PART * batch
    chunks = [names[start : start + size] for start in range(0, len(names), size)]
    pool = ThreadPoolExecutor(1)
    try:
        ahead = [pool.submit(read, chunk) for chunk in chunks[:1]]
        for number, chunk in enumerate(chunks):
            found = ahead.pop().result()
            ahead += [pool.submit(read, chunk) for chunk in chunks[number + 1 : number + 2]]
            yield encoder.codes_of(chunk, found, batch=batch, root=root)
    finally:
        pool.shutdown(cancel_futures=True)


def _joined(nothing: ImageCodes, parts: Sequence[ImageCodes], names: Sequence[str]) -> ImageCodes:
    """Return the parts as one, in the order of the names; what else they hold comes first."""
    place = {name: row for row, name in enumerate(names)}
    held = [name for part in parts for name in part.names]
    order = sorted(range(len(held)), key=lambda row: place.get(held[row], -1))
    return nothing._replace(
        packed_NxW=np.concatenate([nothing.packed_NxW, *(x.packed_NxW for x in parts)])[order],
        names=tuple(held[row] for row in order),
        size_Nx2=np.concatenate([nothing.size_Nx2, *(x.size_Nx2 for x in parts)])[order],
        failures={name: why for part in parts for name, why in part.failures.items()},
    )


def _refuse_failures(part: ImageCodes) -> None:
    """Stop at a file that could not be read."""
    for name, why in part.failures.items():
        full = printable(os.path.join(part.root, name))
        raise ValueError(f"{full}: {why}. Mend or remove it, or leave --strict out to go on.")


def _log_progress(done: int, total: int, elapsed: float) -> None:
    """Log the speed and how long the rest will take."""
    rate = done / elapsed
    left = datetime.timedelta(seconds=round((total - done) / rate))
    logging.log_every_n_seconds(
        logging.INFO, "%d of %d images, %.0f images/s, %s left", 5, done, total, rate, left
    )
