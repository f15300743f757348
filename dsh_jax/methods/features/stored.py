"""Features that are computed once: a file that grows block by block and is gone on with."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from absl import logging
from etils import epath


def stored(
    path: epath.PathLike,
    rows: int,
    width: int,
    blocks_from: Callable[[int], Iterable[np.ndarray]],
) -> np.ndarray:
    """Return features from their file; compute those that it lacks.

    What was computed stays where the program is stopped, and the next one goes on from there. Two
    programs that want the same file do not work at once: the second waits.

    Args:
      path: of the file, .npy; its name says all that the features follow from.
      rows: N.
      width: F.
      blocks_from: `(row) -> blocks`, the features from a row on, float32 arrays of rows.

    Returns:
      feature_NxF, float32, mapped from the file.
    """
    path = epath.Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_suffix(".lock")):
        if not path.exists():
            _compute(path, rows, width, blocks_from)
    return np.load(path, mmap_mode="r")


def _compute(path: epath.Path, rows: int, width: int, blocks_from) -> None:
    unfinished, counter = path.with_suffix(".unfinished"), path.with_suffix(".rows")
    done = int(counter.read_text()) if counter.exists() and unfinished.exists() else 0
    if done:
        feature_NxF = np.lib.format.open_memmap(unfinished, "r+")
        logging.info("features: %d of %d are in %s", done, rows, unfinished)
    else:
        feature_NxF = np.lib.format.open_memmap(unfinished, "w+", np.float32, (rows, width))
    for block_BxF in blocks_from(done):
        feature_NxF[done : done + len(block_BxF)] = block_BxF
        done += len(block_BxF)
        feature_NxF.flush()
        counter.write_text(str(done))
    del feature_NxF
    unfinished.replace(path)
    counter.unlink()


@contextlib.contextmanager
def _alone(path: epath.Path) -> Iterator[None]:
    """Wait until no other program holds the lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
