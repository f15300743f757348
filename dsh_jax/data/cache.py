"""Photographs decoded once and kept, in memory or in a file, instead of in every epoch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Literal

import numpy as np
from absl import logging
from etils import epath

from dsh_jax.data.files import BROKEN, NAMED, broken, decode_all, leave_out, parse_skip, reasons_of
from dsh_jax.data.images import ArrayImages, FileImages
from dsh_jax.data.source import Source
from dsh_jax.pictures import VERSION

MEMORY = 4 * 2**30  # bytes of images that `auto` keeps in memory


def cached(
    source: Source,
    *,
    cache: Literal["auto", "memory", "disk", "none"] = "auto",
    cache_dir: epath.PathLike = "",
    skip: str = "",
) -> Source:
    """Return a source whose files are decoded already, where that is wanted and fits.

    Args:
      source: of files; one of arrays is returned as it is.
      cache: `memory`; `disk`, a file in cache_dir that later runs use again, mapped into memory so
        that it may be larger than that; `none`, decode at each use; `auto`, memory for up to 4 GiB
        of decoded images and none above.
      cache_dir: folder of the files of `disk`.
      skip: see `files.parse_skip`; with `corrupt` every file is tried now, whatever the cache.

    Returns:
      Source, without the corrupt files if those may be skipped.

    Raises:
      ValueError: for corrupt files that may not be skipped, another cache, no cache_dir.
    """
    skipped = parse_skip(skip)
    if cache not in ("auto", "memory", "disk", "none"):
        raise ValueError(f"data.cache is {cache!r}; it must be 'auto', 'memory', 'disk' or 'none'.")
    if not isinstance(source.images, FileImages):
        return source
    size = len(source) * int(np.prod(source.images.shape))
    if cache == "auto":
        cache = "memory" if size <= MEMORY else "none"
    if cache == "none":
        bad = broken(source) if "corrupt" in skipped else np.array([], np.int64)
        reasons = reasons_of(source.images, bad[:NAMED])
        return leave_out(source, bad, "corrupt", BROKEN, skipped, reasons)
    if cache == "memory":
        image_NxHxWxC = np.empty((len(source), *source.images.shape), np.uint8)
        bad = decode_all(source.images, image_NxHxWxC)
    else:
        image_NxHxWxC, bad = _on_disk(source, cache_dir)
    # Every image is in the array, so rows are left out of it as out of the files.
    images = ArrayImages(image_NxHxWxC, source.images.name_N)
    in_array = dataclasses.replace(source, images=images)
    reasons = reasons_of(source.images, bad[:NAMED])
    return leave_out(in_array, bad, "corrupt", BROKEN, skipped, reasons)


def _on_disk(source: Source, cache_dir: epath.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the decoded images as a mapped file, made where it is not there, and the bad rows."""
    if not cache_dir:
        raise ValueError("data.cache is 'disk', but data.cache_dir is empty: name a folder for it.")
    folder = epath.Path(cache_dir).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    images = source.images
    path = folder / f"{source.name}-{images.side}-{_key(images)}.npy"
    bad_path = path.with_suffix(".json")
    if not path.exists():
        # Each process writes a file of its own and then names it: no run reads a half of one.
        unfinished = folder / f".{path.name}.{os.getpid()}.unfinished"
        shape = (len(images), *images.shape)
        logging.info(
            "decoding %d images into %s (%.1f GB)", len(images), path, np.prod(shape) / 1e9
        )
        try:
            array = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
            bad = decode_all(images, array)
            array.flush()
            bad_path.write_text(json.dumps(bad.tolist()))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    bad = np.array(json.loads(bad_path.read_text()), np.int64)
    return np.load(path, mmap_mode="r"), bad


def _key(images: FileImages) -> str:
    """Return twelve hex digits of everything that the decoded pixels follow from."""
    digest = hashlib.sha256(f"{VERSION} {images.side} {images.fit}".encode())
    for name in images.name_N.tolist():
        status = os.stat(os.path.join(images.root, name))
        digest.update(f"\n{name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:12]
