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
    """
    path = epath.Path(path)
    unfinished = path.parent / f".{path.name}.unfinished"
    with unfinished.open("wb") as file:
        yield file
    unfinished.replace(path)


def write_text(path: epath.PathLike, text: str) -> None:
    """Write a text file.

    Args:
      path: of the file.
      text: its content.
    """
    with opened(path) as file:
        file.write(text.encode())
