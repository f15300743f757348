"""Which images are meant: all of a folder, or those of a list."""

from __future__ import annotations

import os
import posixpath

from etils import epath

from dsh_jax.pictures import is_named_as_picture


def of_folder(root: epath.PathLike) -> tuple[list[str], list[str]]:
    """Return the images of a folder and of all folders in it, told by the endings of their names.

    Args:
      root: the folder; links to files are followed, links to folders are not.

    Returns:
      (paths under it in sorted order, paths of the files with other endings).
    """
    taken, others = [], []
    for folder, _, files in os.walk(os.fspath(root), onerror=_raise):
        under = os.path.relpath(folder, root).replace(os.sep, "/")
        for file in files:
            name = file if under == "." else f"{under}/{file}"
            (taken if is_named_as_picture(file) else others).append(name)
    return sorted(taken), sorted(others)


def of_list(path: epath.PathLike, *, allow_outside: bool = False) -> list[str]:
    """Return the paths of a list, one a line, in its order; empty lines are left out.

    Args:
      path: of a text file; its paths are relative to its folder.
      allow_outside: take absolute paths of other folders too.

    Returns:
      Paths under the list's folder with forward slashes, and absolute ones where they are allowed.

    Raises:
      ValueError: naming the line of a path that leads outside or is there twice, or where the file
        is no text.
    """
    path = epath.Path(path)
    root = os.path.abspath(path.parent)
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if b"\0" in line:
            raise ValueError(
                f"{path}, line {number} is no text: pass a list of paths, or a folder."
            )
        name = _under(root, os.fsdecode(line))
        if os.path.isabs(name) and not (allow_outside and os.path.isabs(line)):
            advice = "pass --allow_outside"
            if not os.path.isabs(line):
                advice = "write it in full and pass --allow_outside"
            raise ValueError(
                f"{path}, line {number}: {printable(os.fsdecode(line))} is outside of {root}: "
                f"{advice} to take it, or leave it out."
            )
        if name in numbers:
            raise ValueError(
                f"{path}, line {number}: {printable(name)} is in line {numbers[name]} already: "
                "leave one out."
            )
        numbers[name] = number
    return list(numbers)


def printable(name: str) -> str:
    """Return a name that a terminal and UTF-8 can take: other characters as escapes."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _under(root: str, text: str) -> str:
    """Return a path relative to a folder, or absolute where it leads out of it."""
    full = os.path.normpath(os.path.join(root, text))
    inside = full.startswith(root.rstrip(os.sep) + os.sep)
    name = os.path.relpath(full, root) if inside else full
    return posixpath.join(*name.split(os.sep)) if inside else name


def _raise(error: OSError) -> None:
    """Stop at a folder that cannot be listed, which os.walk would leave out."""
    raise error
