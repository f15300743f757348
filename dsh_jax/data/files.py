"""From names of image files with labels to a Source: nothing missing, nothing twice."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from etils import epath

from dsh_jax.data.images import FileImages
from dsh_jax.data.label_names import name_notes
from dsh_jax.data.source import Source
from dsh_jax.pictures import UnreadableError, fast, read
from dsh_jax.progress import log_progress

SKIPPABLE = ("missing", "corrupt", "duplicate")
BROKEN = "cannot be read or decoded"
NAMED = 5  # files in a message


def parse_skip(skip: str) -> frozenset[str]:
    """Return what a comma list such as `missing,corrupt` asks to leave out.

    Args:
      skip: any of `missing`, `corrupt` and `duplicate`; empty for none.

    Returns:
      The set.

    Raises:
      ValueError: for another word.
    """
    wanted = frozenset(word.strip() for word in skip.split(",") if word.strip())
    if wanted - set(SKIPPABLE):
        raise ValueError(
            f"data.skip is {skip!r}; it must be a comma list of {', '.join(SKIPPABLE)}, or empty."
        )
    return wanted


def file_source(
    name: str,
    root: epath.PathLike,
    name_N: Sequence[str],
    label_NxC: np.ndarray,
    label_names: Sequence[str],
    *,
    official: Mapping[str, np.ndarray],
    multilabel: bool,
    image_size: int,
    fit: str = "squash",
    skip: str = "",
    notes: Sequence[str] = (),
) -> Source:
    """Return the Source of image files, each there and each once.

    Args:
      name: of the data set.
      root: folder of the files.
      name_N: their paths under it, with forward slashes.
      label_NxC: multi-hot labels.
      label_names: C names.
      official: see `Source`.
      multilabel: see `Source`.
      image_size: side that images are brought to, pixels.
      fit: `squash` or `crop`, see `FileImages`.
      skip: comma list of what to leave out and count instead of an error: `missing` files,
        `duplicate` names (the first stays).
      notes: sentences of the reader, kept in the Source.

    Returns:
      Source, the rows in the order given.

    Raises:
      ValueError: for missing files or names that stand there twice, where `skip` does not have
        them; where nothing is left; for a root that is no folder.
    """
    root = epath.Path(root).expanduser().resolve()
    skipped = parse_skip(skip)
    if not root.is_dir():
        raise ValueError(
            f"{name}: {root} is not a folder: set data.data_dir to that of the images."
        )
    source = Source(
        name=name,
        images=FileImages(str(root), np.asarray(name_N, np.str_), image_size, fit),
        label_NxC=np.asarray(label_NxC, np.uint8),
        label_names=tuple(label_names),
        official=dict(official),
        multilabel=multilabel,
        notes=(*notes, *name_notes(label_names, np.asarray(label_NxC))),
    )
    _, first = np.unique(source.images.name_N, return_index=True)
    again = np.setdiff1d(np.arange(len(source)), first)
    source = leave_out(source, again, "duplicate", "are named more than once", skipped)
    return leave_out(source, missing(root, source.images.name_N), "missing", "are missing", skipped)


def missing(root: epath.Path, name_N: np.ndarray) -> np.ndarray:
    """Return the rows whose files are not there; each folder is listed once, no file is touched.

    What is no regular file, such as a pipe, that would be waited for, is not there either.

    Args:
      root: folder of the files.
      name_N: their paths under it.

    Returns:
      Row numbers.
    """
    folders: dict[str, set[str]] = {}
    is_missing = np.zeros(len(name_N), bool)
    for row, name in enumerate(name_N.tolist()):
        folder, _, file = name.rpartition("/")
        if folder not in folders:
            try:
                with os.scandir(root / folder) as entries:
                    folders[folder] = {entry.name for entry in entries if entry.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                folders[folder] = set()
        is_missing[row] = file not in folders[folder]
    return np.flatnonzero(is_missing)


def leave_out(
    source: Source,
    rows: np.ndarray,
    kind: str,
    what: str,
    skipped: frozenset[str],
    reasons: Sequence[str] = (),
) -> Source:
    """Return the source without bad rows and with their count among its notes, or raise.

    Args:
      source: with them.
      rows: row numbers of the bad ones, perhaps none.
      kind: `missing`, `corrupt` or `duplicate`.
      what: what they are, such as `are missing`.
      skipped: the kinds to leave out, see `parse_skip`.
      reasons: what is wrong with the first of them, see `reasons_of`.

    Returns:
      Source.

    Raises:
      ValueError: where there are some and they may not be skipped, or none other is left.
    """
    if not len(rows):
        return source
    names = ", ".join(source.row_name(row) for row in rows[:NAMED])
    more = ", …" if len(rows) > NAMED else ""
    found = f"{len(rows):,} of {len(source):,} files {what}: {names}{more}"
    place = f" (under {source.images.root})" if isinstance(source.images, FileImages) else ""
    if kind not in skipped:
        raise ValueError(
            f"{source.name}: {found}{place}. {'; '.join(reasons)}{'. ' if reasons else ''}Mend the "
            f"data, or set data.skip={kind} to go on without them."
        )
    for reason in reasons:
        logging.warning("%s: left out: %s", source.name, reason)
    rest = np.setdiff1d(np.arange(len(source)), rows)
    if not len(rest):
        raise ValueError(f"{source.name}: {found}{place}; nothing is left.")
    names_of_all = tuple(source.row_name(row) for row in rows)
    rest = source.select(rest, f"Left out: {found}.")
    return dataclasses.replace(rest, left_out={**source.left_out, kind: names_of_all})


def broken(source: Source) -> np.ndarray:
    """Return the rows whose files cannot be read or decoded; every file is tried.

    Args:
      source: of files.

    Returns:
      Row numbers, ascending.
    """
    return decode_all(source.images, None)


def decode_all(images: FileImages, out_NxHxWxC: np.ndarray | None) -> np.ndarray:
    """Decode every file into an array.

    Args:
      images: N files.
      out_NxHxWxC: uint8, filled row by row; None only tries the files.

    Returns:
      The rows that could not be decoded, ascending; theirs are left as they were.
    """
    import tensorflow as tf

    count, rows = len(images), tf.data.Dataset.range(len(images))
    dataset = tf.data.Dataset.zip(rows, images.each(rows)).ignore_errors()
    is_read, started = np.zeros(count, bool), time.monotonic()
    for row_B, image_BxHxWxC in dataset.batch(64).prefetch(2).as_numpy_iterator():
        is_read[row_B] = True
        if out_NxHxWxC is not None:
            out_NxHxWxC[row_B] = image_BxHxWxC
        log_progress(f"decoding {count:,} images", (row_B[-1] + 1) / count, started)
    # Pillow has the last word, as in encoding: it may read what TensorFlow refuses.
    for row in np.flatnonzero(~is_read):
        with contextlib.suppress(UnreadableError):
            image_HxWxC, _ = read(images.path(row), images.shape, images.fit)
            fast.REFUSED.add(os.fsencode(images.path(row)))
            is_read[row] = True
            if out_NxHxWxC is not None:
                out_NxHxWxC[row] = image_HxWxC
    return np.flatnonzero(~is_read)


def reasons_of(images: FileImages, rows: np.ndarray) -> list[str]:
    """Return what is wrong with files, each by its name.

    Args:
      images: some of which cannot be read.
      rows: of those.

    Returns:
      Texts such as `a/4.jpg: it is empty`.
    """
    found = []
    for row in rows:
        try:
            read(images.path(row), images.shape, images.fit)
        except UnreadableError as error:
            found.append(f"{images.name_N[row]}: {error}")
    return found


def unreadable(source: Source, error: Exception) -> ValueError | None:
    """Return the error that names every file that cannot be read, after one stopped the reading.

    Args:
      source: whose images were read.
      error: what TensorFlow said.

    Returns:
      ValueError; or None where only TensorFlow refused some, which Pillow decodes from now on.
    """
    if not isinstance(source.images, FileImages):
        return ValueError(f"{source.name}: images cannot be read: {error}")
    logging.warning("%s: a file cannot be read; looking for all of that kind", source.name)
    refused, bad = len(fast.REFUSED), broken(source)
    try:
        reasons = reasons_of(source.images, bad[:NAMED])
        leave_out(source, bad, "corrupt", BROKEN, frozenset(), reasons)
    except ValueError as named:
        return named
    if len(fast.REFUSED) > refused:
        return None
    return ValueError(f"{source.name}: a file could not be read, but now can: {error}")
