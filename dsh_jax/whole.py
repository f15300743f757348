"""Files that are there in whole or not at all, whenever the program stops."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO

from etils import epath


@contextlib.contextmanager
def opened(path: epath.PathLike) -> Iterator[IO[bytes]]:
    """Open a file that takes its name when all is written; until then the one before it stays.

    Who has mapped the one before into memory keeps it.

    Args:
      path: of the file.

    Yields:
      A file to write bytes to.

    Raises:
      OSError: where it cannot be written; nothing of it is left then.
    """
    path = epath.Path(path)
    unfinished = path.parent / f".{path.name}.unfinished"
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    except BaseException:  # a full disk, Ctrl-C
        unfinished.unlink(missing_ok=True)
        raise


def write_text(path: epath.PathLike, text: str) -> None:
    """Write a text file in UTF-8, see `opened`.

    Args:
      path: of the file.
      text: its content.

    Raises:
      OSError: where it cannot be written.
    """
    with opened(path) as file:
        file.write(text.encode())
