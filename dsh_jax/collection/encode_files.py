"""Codes of any number of image files, in bounded memory, going on where it was stopped."""

from __future__ import annotations

import datetime
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from absl import logging
from etils import epath

from dsh_jax.collection import changed_files, file_state, image_codes
from dsh_jax.collection.changed_files import Review
from dsh_jax.collection.encoder import BATCH, ImageEncoder
from dsh_jax.collection.file_names import printable
from dsh_jax.collection.file_state import FileState
from dsh_jax.collection.image_codes import ImageCodes
from dsh_jax.pictures import CORES, UnreadableError
from dsh_jax.training.lock import locked

BATCHES_A_PART = 4  # a kill loses that much work at most


class Outcome(NamedTuple):
    """What `encode_files` did.

    Attributes:
      codes: all that the file now holds.
      done: files that were read by this call to encode them, failures included.
      seconds: that it took, compilation included.
      review: of the images that had codes before; the changed and the unknown are encoded again.
    """

    codes: ImageCodes
    done: int
    seconds: float
    review: Review


def encode_files(
    encoder: ImageEncoder,
    root: epath.PathLike,
    names: Sequence[str],
    out: epath.PathLike,
    *,
    batch: int = BATCH,
    strict: bool = False,
    verify: bool = False,
    prune: bool = False,
) -> Outcome:
    """Encode image files into one file of codes, in the order of their names.

    Every few batches a part is written beside the output, in `<out>.parts`; the parts are joined at
    the end. After any kind of stop, the same call goes on after the last whole part, and ends with
    the codes of an undisturbed one.

    Images that `out` holds already are encoded again where their files were replaced: another size
    tells, or another time and another hash of the content. Those that failed are tried again. Of
    images that are not among the names, only whether they are still there is looked at.

    Args:
      encoder: the model.
      root: folder of the names.
      names: paths of the files under it, or absolute ones; each once.
      out: file of the codes, .npz.
      batch: images at a time, over all devices.
      strict: stop at the first file that cannot be read, instead of counting it.
      verify: read the files whose size and time are the same, too, and compare their hashes.
      prune: drop the images that have vanished; otherwise their codes are kept.

    Returns:
      Outcome.

    Raises:
      ValueError: where there are no names; where `out` or its parts are of another model or folder,
        in use or cannot be written; with `strict`, naming the file that cannot be read; with
        `prune`, where not one image is left.
    """
    root = str(epath.Path(root).expanduser().resolve())
    out = epath.Path(out).expanduser().resolve()
    nothing = image_codes.empty(bits=encoder.bits, fingerprint=encoder.fingerprint, root=root)
    if out.is_dir():
        raise ValueError(f"{out} is a folder: name a file, such as {out / 'codes.npz'}.")
    held = _held(nothing, out)
    if not names:
        hint = ""
        if held.names:
            hint = (
                f"; {out} has {len(held.names):,} of {root}: mount its disk, or remove {out.name} "
                "where they are gone for good"
            )
        raise ValueError(f"there are no images to encode: pass a folder or a list of some{hint}.")
    started = time.monotonic()
    parts = out.parent / f"{out.name}.parts"
    with locked(parts):
        try:
            found = [_held(nothing, path) for path in sorted(parts.glob("*.npz"))]
            known = image_codes.join(held, *found)
            review = changed_files.review(known, names, verify=verify)
            if prune:
                _check_some_are_left(known, review.vanished, out)
            done = 0
            for part in _encode_rest(encoder, known, names, review, batch):
                if strict:
                    _refuse_failures(part)
                image_codes.save(parts / f"{len(found):06}.npz", part)
                found.append(part)
                done += len(part.names) + len(part.failures)
            codes = image_codes.join(held, _in_order(image_codes.join(nothing, *found), names))
            codes = image_codes.with_states(codes, review.touched) if review.touched else codes
            codes = _without(codes, review.vanished, names) if prune else codes
            image_codes.save(out, codes)
            shutil.rmtree(parts)
        finally:
            if parts.exists() and not any(parts.glob("*.npz")):
                shutil.rmtree(parts)
    return Outcome(codes, done, time.monotonic() - started, review)


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


def _encode_rest(
    encoder: ImageEncoder, known: ImageCodes, names: Sequence[str], review: Review, batch: int
) -> Iterator[ImageCodes]:
    """Yield the codes of those that have none that holds, part by part."""
    hold = set(known.names) - {*review.changed, *review.unknown}
    todo = [name for name in names if name not in hold]
    if len(todo) < len(names):
        logging.info("%d of %d images are encoded already", len(names) - len(todo), len(names))
    done, started = 0, time.monotonic()
    for part in _read_and_encode(encoder, known.root, todo, batch):
        yield part
        done += len(part.names) + len(part.failures)
        _log_progress(done, len(todo), time.monotonic() - started)


def _read_and_encode(
    encoder: ImageEncoder, root: str, names: Sequence[str], batch: int
) -> Iterator[ImageCodes]:
    """Yield the codes part by part; the next part is read while one is encoded."""
    size = BATCHES_A_PART * batch
    chunks = [names[start : start + size] for start in range(0, len(names), size)]
    with ThreadPoolExecutor(CORES) as hashing:
        pool = ThreadPoolExecutor(1)

        def submit(chunks: Sequence[Sequence[str]]) -> list:
            return [pool.submit(_read, encoder, root, chunk, hashing) for chunk in chunks]

        try:
            ahead = submit(chunks[:1])
            for number, chunk in enumerate(chunks):
                found, states = ahead.pop().result()
                ahead += submit(chunks[number + 1 : number + 2])
                part = encoder.codes_of(chunk, found, batch=batch, root=root)
                yield image_codes.with_states(part, states)
        finally:
            pool.shutdown(cancel_futures=True)


def _read(
    encoder: ImageEncoder, root: str, names: Sequence[str], hashing: ThreadPoolExecutor
) -> tuple[list, dict[str, FileState]]:
    """Return what `read_all` returns of files, and the states of what was decoded."""
    paths = [os.path.join(root, name) for name in names]

    def before(start: int) -> list:
        return [_state(path) for path in paths[start::CORES]]

    seen: list = [None] * len(paths)
    for start, some in enumerate(hashing.map(before, range(CORES))):
        seen[start::CORES] = some
    found, states = encoder.read_all(paths), {}
    for row, (path, one) in enumerate(zip(paths, seen, strict=True)):
        if isinstance(found[row], UnreadableError):
            continue
        if one is not None and file_state.is_still(path, *one):
            states[names[row]] = one[0]
        else:
            found[row] = UnreadableError("it changed while it was read: run the same command again")
    return found, states


def _state(path: str) -> tuple[FileState, tuple[int, ...]] | None:
    try:
        return file_state.read(path)
    except OSError:
        return None


def _in_order(found: ImageCodes, names: Sequence[str]) -> ImageCodes:
    """Return codes in the order of the names; what else they hold comes first."""
    place = {name: row for row, name in enumerate(names)}
    rows = range(len(found.names))
    return image_codes.take(found, sorted(rows, key=lambda row: place.get(found.names[row], -1)))


def _without(found: ImageCodes, vanished: Mapping[str, str], names: Sequence[str]) -> ImageCodes:
    """Return codes without what has vanished, nor old failures of what the names lack."""
    rows = [row for row, name in enumerate(found.names) if name not in vanished]
    named = set(names)
    failures = {
        name: why
        for name, why in found.failures.items()
        if name in named or os.path.lexists(os.path.join(found.root, name))
    }
    return image_codes.take(found, rows)._replace(failures=failures)


def _check_some_are_left(known: ImageCodes, vanished: Mapping[str, str], out: epath.Path) -> None:
    """Refuse to drop every image: a disk may not be mounted."""
    if known.names and len(vanished) == len(known.names):
        raise ValueError(
            f"all {len(vanished):,} images of {out} have vanished from {known.root}, so --prune "
            "would drop every one: mount their disk or pass their folder; where they are gone for "
            f"good, remove {out.name} and run the same command again."
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
