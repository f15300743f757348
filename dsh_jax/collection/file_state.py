"""Whether a file is still the one that was read: its size, its time, a hash of its content."""

from __future__ import annotations

import enum
import hashlib
import os
import stat
import time
from typing import NamedTuple

DIGEST_BYTES = 16
BLOCK = 1 << 24  # bytes that are read at a time
FRESH = 2 * 10**9  # nanoseconds: the coarsest clock of a file system


class FileState(NamedTuple):
    """What is kept of a file that was read.

    Attributes:
      size: bytes; -1 where nothing was kept.
      mtime: of its last change, nanoseconds since 1970; -1 where it tells nothing, since the file
        was read so soon after that another change might have the same time.
      digest: BLAKE2b of its content, 16 bytes.
    """

    size: int
    mtime: int
    digest: bytes


UNKNOWN = FileState(-1, -1, bytes(DIGEST_BYTES))


class Verdict(enum.Enum):
    """What became of a file."""

    SAME = "same"
    TOUCHED = "touched"  # the same content with another time
    CHANGED = "changed"
    VANISHED = "vanished"
    UNKNOWN = "unknown"  # nothing was kept to compare it with
    UNSURE = "unsure"  # it cannot be looked at


class Finding(NamedTuple):
    """What became of a file, and why.

    Attributes:
      verdict: see `Verdict`.
      why: words, where it has vanished or cannot be looked at.
      state: of the file now, where it is the same by its content.
    """

    verdict: Verdict
    why: str = ""
    state: FileState = UNKNOWN


def digest(data: bytes) -> bytes:
    """Return the hash of a content."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def read(path: str) -> tuple[FileState, tuple[int, ...]]:
    """Return the state of a file, and a mark by which `is_still` knows it.

    Args:
      path: of the file.

    Returns:
      (FileState, mark).

    Raises:
      OSError: where it cannot be read, or is no regular file: a pipe would be waited for.
    """
    state, mark = _before(path)
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(path, "rb", buffering=0) as file:
        while data := file.read(min(state.size + 1, BLOCK)):  # mostly all at once
            found.update(data)
    return FileState(state.size, state.mtime, found.digest()), mark


def read_whole(path: str) -> tuple[FileState, bytes]:
    """Return the state of a file and its content.

    Args:
      path: of the file.

    Raises:
      OSError: see `read`.
    """
    state, _ = _before(path)
    with open(path, "rb") as file:
        data = file.read()
    return state._replace(digest=digest(data)), data


def is_still(path: str, state: FileState, mark: tuple[int, ...]) -> bool:
    """Return whether a file has had one content since `read` began.

    Args:
      path: of the file.
      state, mark: what `read` returned.
    """
    try:
        # A fresh one may have changed within one tick of the clock.
        is_settled = _mark(os.stat(path)) == mark and state.mtime != -1
        return is_settled or read(path)[0].digest == state.digest
    except OSError:
        return False


def compare(path: str, kept: FileState, *, verify: bool = False) -> Finding:
    """Compare a file with what was kept of it; it is read only where size and time do not tell.

    Args:
      path: of the file.
      kept: see `FileState`.
      verify: read it where size and time agree, too.

    Returns:
      Finding.
    """
    found = by_stat(path, kept)
    if found is not None and not (verify and found.verdict is Verdict.SAME):
        return found
    return by_content(path, kept)


def by_stat(path: str, kept: FileState) -> Finding | None:
    """Return what became of a file as far as size and time tell, or None.

    Args:
      path, kept: see `compare`.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(Verdict.VANISHED, "there is no such file")
    except OSError as error:
        return Finding(Verdict.UNSURE, f"it cannot be looked at: {error.strerror}")
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        return Finding(Verdict.VANISHED, f"it is {kind} now")
    if kept.size < 0:
        return Finding(Verdict.UNKNOWN)
    if found.st_size != kept.size:
        return Finding(Verdict.CHANGED)
    return Finding(Verdict.SAME, state=kept) if found.st_mtime_ns == kept.mtime else None


def by_content(path: str, kept: FileState) -> Finding:
    """Return what became of a file that is there, as its content tells.

    Args:
      path, kept: see `compare`.
    """
    try:
        state, _ = read(path)
    except FileNotFoundError:
        return Finding(Verdict.VANISHED, "there is no such file")
    except OSError as error:
        return Finding(Verdict.UNSURE, f"it cannot be read: {error.strerror or error}")
    if state.digest != kept.digest:
        return Finding(Verdict.CHANGED)
    return Finding(Verdict.SAME if state == kept else Verdict.TOUCHED, state=state)


def _before(path: str) -> tuple[FileState, tuple[int, ...]]:
    """Return what a file's entry tells before it is read, so that a later change is seen."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is no regular file")
    is_fresh = abs(time.time_ns() - found.st_mtime_ns) < FRESH
    return FileState(found.st_size, -1 if is_fresh else found.st_mtime_ns, b""), _mark(found)


def _mark(found: os.stat_result) -> tuple[int, ...]:
    """Return all that changes with a file, its time of change in the file system too."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
