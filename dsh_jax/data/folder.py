"""A folder of images with one class a sub-folder."""

from __future__ import annotations

import os
import pathlib

import numpy as np
from etils import epath

from dsh_jax.data.files import file_source
from dsh_jax.data.source import Source, multi_hot
from dsh_jax.pictures import by_ending, is_named_as_picture

# Validation rows are in no official part: which rows validate is drawn from train.
PART_OF = {
    "train": "train",
    "val": None,
    "test": "query",
    "query": "query",
    "database": "database",
}


def folder(
    data_dir: epath.PathLike, *, image_size: int, fit: str = "squash", skip: str = ""
) -> Source:
    """Return the images under a folder, whose sub-folders are the classes.

    Images may stand deeper in a class's folder. Where all sub-folders have names among train, val,
    test, query and database, they are the official parts and the classes are in each of them.
    Hidden files and folders do not count. Images are told by their endings, as in encoding.

    Args:
      data_dir: the folder.
      image_size: side that images are brought to, pixels.
      fit: see `files.file_source`.
      skip: see `files.file_source`.

    Returns:
      Source, sorted by path, with the classes in alphabetical order; its notes count files that are
      no images, by their endings, and those in no class.

    Raises:
      ValueError: where there is no folder or no class, a class is empty or not in every part, a
        folder cannot be read or links to one that it is in, a name is not UTF-8.
    """
    root = epath.Path(data_dir).expanduser()
    name_N, others = _list_files(root)
    _, tops, _ = next(_walk(root))
    has_parts = bool(tops) and set(tops) <= set(PART_OF)
    depth = 1 if has_parts else 0
    label_names = _classes(root, tops, has_parts)
    # A class's image is at least one folder below its part.
    name_N, loose = (
        [name for name in name_N if name.count("/") > depth],
        [name for name in name_N if name.count("/") <= depth],
    )
    group_N = [name.split("/")[: depth + 1] for name in name_N]
    filled = {"/".join(group) for group in group_N}
    wanted = [f"{top}/{c}" for top in tops for c in label_names] if has_parts else label_names
    empty = [group for group in wanted if group not in filled]
    if empty:
        there = by_ending(name for name in others if name.startswith(tuple(f"{x}/" for x in empty)))
        raise ValueError(
            f"{root} has class folders without an image (.jpg, .png, .webp and what else Pillow "
            f"reads): {', '.join(empty)}: fill or remove them.{there and f' In them, {there}'}"
        )
    number_of = {name: c for c, name in enumerate(label_names)}
    official = {}
    for top in tops if has_parts else ():
        is_in_N = np.array([group[0] == top for group in group_N])
        if PART_OF[top]:
            official[PART_OF[top]] = official.get(PART_OF[top], False) | is_in_N
    counted = (
        (len(others), by_ending(others)),
        (len(loose), f"{len(loose):,} images are in no class, such as {min(loose, default='')}."),
    )
    return file_source(
        "folder",
        root,
        name_N,
        multi_hot(np.array([number_of[group[-1]] for group in group_N]), len(label_names)),
        label_names,
        official=official,
        multilabel=False,
        image_size=image_size,
        fit=fit,
        skip=skip,
        notes=[note for count, note in counted if count],
    )


def _walk(root):
    """Walk like os.walk, sorted, without hidden entries; what cannot be read is an error."""

    def refuse(error):
        raise ValueError(
            f"{error.filename} cannot be read ({error.strerror}): check data.data_dir and the "
            "rights of its folders."
        ) from error

    def parents(path):
        return map(os.path.realpath, pathlib.Path(path).parents)

    for path, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        if os.path.islink(path) and os.path.realpath(path) in parents(path):
            raise ValueError(
                f"{path} links to a folder that it is in, so its images come again and again: "
                "remove the link."
            )
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield path, list(folders), [name for name in files if name[0] != "."]


def _list_files(root):
    """Return the sorted names of the images below the root, and those of the other files."""
    names, others = [], []
    for path, _, files in _walk(root):
        below = os.path.relpath(path, root).replace(os.sep, "/")
        for file in files:
            name = file if below == "." else f"{below}/{file}"
            (names if is_named_as_picture(file) else others).append(name)
    # What Linux calls a file may be any bytes; Python marks those that are no UTF-8.
    wrong = [name for name in names if name.encode(errors="replace").decode() != name]
    if wrong:
        raise ValueError(
            f"{root}: the names of {len(wrong):,} images are not UTF-8, such as {wrong[0]!a}: "
            "rename them."
        )
    return sorted(names), others


def _classes(root, tops, has_parts):
    """Return the sorted names of the class folders, those of each part where there are parts."""
    classes_of = {top: next(_walk(root / top))[1] for top in tops} if has_parts else {".": tops}
    first, *rest = classes_of
    label_names = classes_of[first]
    for part in rest:
        differing = sorted(set(classes_of[part]) ^ set(label_names))
        if differing:
            raise ValueError(
                f"{root}: {first} and {part} do not have the same classes; {', '.join(differing)} "
                "are in one of them only: make them agree."
            )
    if not label_names:
        raise ValueError(
            f"{root / first} has no sub-folders: wanted is one folder of images a class."
        )
    return label_names
