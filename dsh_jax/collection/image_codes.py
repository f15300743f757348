"""The file that holds codes of images: whose they are, and which model made them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.collection.file_state import DIGEST_BYTES, UNKNOWN, FileState

ARRAYS = ("packed", "sizes", "text", "bits", "fingerprint")
FINGERPRINT = 16  # digits
ROWS = ("packed_NxW", "size_Nx2", "stat_Nx2", "digest_Nx16")


class ImageCodes(NamedTuple):
    """Codes of N images of one model.

    Attributes:
      packed_NxW: uint8 codes, W = ceil(K/8), see `codes.pack_bits`.
      names: of the images, paths under `root` with forward slashes, each once.
      size_Nx2: int32, width and height of the images as they are seen, upright, pixels.
      bits: K.
      fingerprint: of the model, see `fingerprint.fingerprint`.
      root: folder of the files, or empty.
      failures: name of an image without a code to the reason.
      stat_Nx2: int64, size in bytes and time of change in ns of the files that were encoded, see
        `file_state.FileState`; None is -1 everywhere: unknown.
      digest_Nx16: uint8, hashes of their contents; None is 0 everywhere.
    """

    packed_NxW: np.ndarray
    names: tuple[str, ...]
    size_Nx2: np.ndarray
    bits: int
    fingerprint: str
    root: str = ""
    failures: Mapping[str, str] = MappingProxyType({})
    stat_Nx2: np.ndarray | None = None
    digest_Nx16: np.ndarray | None = None


def empty(*, bits: int, fingerprint: str, root: str = "") -> ImageCodes:
    """Return the codes of no images.

    Args:
      bits, fingerprint, root: see `ImageCodes`.

    Returns:
      ImageCodes.
    """
    width = -(-bits // 8)
    nothing = np.zeros((0, width), np.uint8), (), np.zeros((0, 2), np.int32)
    return with_states(ImageCodes(*nothing, bits, fingerprint, root), {})


def states(found: ImageCodes) -> list[FileState]:
    """Return what is known of each file."""
    if found.stat_Nx2 is None:
        return [UNKNOWN] * len(found.names)
    pairs = zip(found.stat_Nx2.tolist(), found.digest_Nx16, strict=True)
    return [FileState(*stat, digest.tobytes()) for stat, digest in pairs]


def with_states(found: ImageCodes, changed: Mapping[str, FileState]) -> ImageCodes:
    """Return codes with what is known of their files now.

    Args:
      found: codes.
      changed: name to state; the other images keep theirs.

    Returns:
      ImageCodes, whose columns of states are arrays.
    """
    pairs = zip(found.names, states(found), strict=True)
    new = [changed.get(name, state) for name, state in pairs]
    digests = np.frombuffer(b"".join(state.digest for state in new), np.uint8)
    return found._replace(
        stat_Nx2=np.array([state[:2] for state in new], np.int64).reshape(-1, 2),
        digest_Nx16=digests.reshape(-1, DIGEST_BYTES),
    )


def take(found: ImageCodes, row_M: Sequence[int]) -> ImageCodes:
    """Return some rows of codes, in that order; failures stay.

    Args:
      found: codes.
      row_M: which.

    Returns:
      ImageCodes.
    """
    found = found if found.stat_Nx2 is not None else with_states(found, {})
    index_M = np.array(row_M, np.int64)
    arrays = {name: getattr(found, name)[index_M] for name in ROWS}
    return found._replace(names=tuple(found.names[row] for row in row_M), **arrays)


def check(found: ImageCodes, what: str = "the codes") -> ImageCodes:
    """Return the codes, or say what is wrong with them.

    Args:
      found: the codes to check.
      what: what the message calls them.

    Returns:
      The same codes.

    Raises:
      ValueError: for another type, shape or length, bits beyond K, or a name that is there twice.
    """
    packed, names, size, bits = found[:4]
    rows = len(names)
    wanted = {"packed_NxW": (packed, (rows, -(-bits // 8)), np.uint8)}
    wanted |= {"size_Nx2": (size, (rows, 2), np.int32)}
    if found.stat_Nx2 is not None or found.digest_Nx16 is not None:
        wanted |= {"stat_Nx2": (np.asarray(found.stat_Nx2), (rows, 2), np.int64)}
        wanted |= {"digest_Nx16": (np.asarray(found.digest_Nx16), (rows, DIGEST_BYTES), np.uint8)}
    for name, (array, shape, dtype) in wanted.items():
        if bits < 1 or array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"{what}: {name} is {array.dtype} of shape {array.shape}; {rows:,} names and "
                f"bits={bits} need {np.dtype(dtype)} of shape {shape}."
            )
    if bits % 8 and (packed[:, -1] >> bits % 8).any():
        raise ValueError(f"{what}: some have bits beyond bits={bits}; those must be zero.")
    every = [*names, *found.failures]
    if len(set(every)) < len(every):
        again = next(name for i, name in enumerate(every) if name in every[:i])
        raise ValueError(
            f"{what}: {again!r} is there twice; each image must have a name of its own."
        )
    if len(found.fingerprint) != FINGERPRINT:
        raise ValueError(
            f"{what}: the fingerprint is {found.fingerprint!r}; it has {FINGERPRINT} hex digits."
        )
    return found


def save(path: epath.PathLike, found: ImageCodes) -> None:
    """Write codes to an .npz, in whole or not at all, whenever the machine stops.

    Args:
      path: of the file.
      found: the codes.

    Raises:
      ValueError: see `check`.
    """
    found = take(check(found), range(len(found.names)))
    path = epath.Path(path)
    # JSON of the names takes their own length; an array of texts as much as its longest for each.
    text = {"names": found.names, "root": found.root, "failures": dict(found.failures)}
    arrays = {
        "packed": found.packed_NxW,
        "sizes": found.size_Nx2,
        "text": np.frombuffer(json.dumps(text).encode(), np.uint8),
        "bits": np.int64(found.bits),
        "fingerprint": np.str_(found.fingerprint),
        "stats": found.stat_Nx2,
        "digests": found.digest_Nx16,
    }
    with whole.opened(path) as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def load(path: epath.PathLike) -> ImageCodes:
    """Read codes of images.

    Args:
      path: of a file that `save` has written.

    Returns:
      ImageCodes.

    Raises:
      ValueError: where it is no such file, is damaged, or `check` refuses what it holds.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file:
            arrays = dict(np.load(file).items())
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"{path} cannot be read as codes of images ({error}); pass an .npz of "
            "experiments.encode."
        ) from error
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(arrays))}; "
            "pass an .npz of experiments.encode."
        )
    try:
        text = json.loads(arrays["text"].tobytes())
        found = ImageCodes(
            packed_NxW=arrays["packed"],
            names=tuple(text["names"]),
            size_Nx2=arrays["sizes"],
            bits=int(arrays["bits"]),
            fingerprint=str(arrays["fingerprint"]),
            root=text["root"],
            failures=text["failures"],
            stat_Nx2=arrays.get("stats"),  # files of before have neither
            digest_Nx16=arrays.get("digests"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); make it again.") from error
    return check(found, str(path))


def check_same_model(found: ImageCodes, what: str, *, bits: int, fingerprint: str) -> None:
    """Refuse codes of another model.

    Args:
      found: the codes.
      what: what the message calls them.
      bits: K of the model.
      fingerprint: of the model.

    Raises:
      ValueError: where they differ.
    """
    if (found.bits, found.fingerprint) != (bits, fingerprint):
        raise ValueError(
            f"{what} holds codes of {found.bits} bits of the model {found.fingerprint}, but this "
            f"model is {fingerprint} with {bits} bits: distances between their codes mean nothing. "
            "Use the model that made them, or encode the images again into another file."
        )


def join(first: ImageCodes, *more: ImageCodes) -> ImageCodes:
    """Return all codes as one; of a name that several have, the last one's word holds.

    A code that is replaced keeps its row; new rows follow in their order. An image that had a code
    and now fails loses its row, and the other way round.

    Args:
      first: codes.
      *more: of the same model and folder.

    Returns:
      ImageCodes.

    Raises:
      ValueError: for another model, or another folder under which the names would mean other files.
    """
    root = first.root
    for one in more:
        check_same_model(one, "the addition", bits=first.bits, fingerprint=first.fingerprint)
        if root and one.root and root != one.root:
            raise ValueError(
                f"the names of the first are under {root}, those of the addition under "
                f"{one.root}: the same name would be two files. Encode into another file."
            )
        root = root or one.root
    row_of, failures, start = {}, {}, 0
    for one in (first, *more):
        for row, name in enumerate(one.names, start):
            row_of[name] = row
            failures.pop(name, None)
        for name, why in one.failures.items():
            failures[name] = why
            row_of.pop(name, None)
        start += len(one.names)
    every = [with_states(one, {}) if one.stat_Nx2 is None else one for one in (first, *more)]
    together = first._replace(
        names=tuple(name for one in every for name in one.names),
        root=root,
        failures=failures,
        **{name: np.concatenate([getattr(one, name) for one in every]) for name in ROWS},
    )
    return take(together, list(row_of.values()))


def append(path: epath.PathLike, more: ImageCodes) -> ImageCodes:
    """Add codes to a file, in whole or not at all; names that it has are replaced, see `join`.

    Args:
      path: of the file, which `save` has written.
      more: codes of the same model.

    Returns:
      What the file now holds.

    Raises:
      ValueError: see `load` and `join`.
    """
    joined = join(load(path), check(more))
    save(path, joined)
    return joined
