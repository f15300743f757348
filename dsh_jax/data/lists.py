"""List files, `train.txt`, `database.txt` and `query.txt`: one image and its labels a line."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from dsh_jax.data.files import file_source
from dsh_jax.data.label_names import check_numbers
from dsh_jax.data.source import PARTS, Source, multi_hot

PART_OF = {
    "train": "train",
    "database": "database",
    "db": "database",
    "query": "query",
    "test": "query",
}
CLASS_FILES = ("classes.txt", "labels.txt")
MOST_CLASSES = 10_000

# The shortest path that leaves nothing but numbers, so a path may hold blanks.
LINE = re.compile(r"(.+?)((?:[ \t]+[0-9]{1,9})+)")
LIST_FILE = re.compile(rf"(?!\.)(?:.*_)?({'|'.join(PART_OF)})\.txt", re.IGNORECASE)


def lists(
    data_dir: epath.PathLike,
    *,
    image_size: int,
    labels_path: epath.PathLike = "",
    path_prefix: str = "",
    fit: str = "squash",
    skip: str = "",
) -> Source:
    """Return the images that list files name, as HashNet and its successors split data sets.

    A line is `<path> <0 or 1 of each label>` or `<path> <class number>`. The files are
    `train.txt`, `database.txt` (`db.txt`) and `query.txt` (`test.txt`) in any case, with or without
    something and `_` before, and not hidden; `classes.txt` or `labels.txt` may name the labels, one
    a line.

    Args:
      data_dir: folder that the paths start from.
      image_size: side that images are brought to, pixels.
      labels_path: folder of the lists; empty for data_dir.
      path_prefix: what is removed from the front of paths that begin with it.
      fit: see `files.file_source`.
      skip: see `files.file_source`; a duplicate stands twice in one list.

    Returns:
      Source, a row for each path in the order of first mention; official are the lists there are.

    Raises:
      ValueError: where there is no list, a line is malformed or of another width, class numbers
        without names start at 1 or leave some out, the labels of a path differ, a query is also in
        train or database; see also `files.file_source`.
    """
    folder = epath.Path(labels_path or data_dir).expanduser()
    path_of = _find(folder)
    name, label, place, part = [], [], [], []
    for number, path in enumerate(path_of.values()):
        for line, text in enumerate(read_lines(path), 1):
            if not text:
                continue
            where = f"{path} line {line}"
            path_text, label_C = _parse(text, where)
            if label and len(label_C) != len(label[0]):
                raise ValueError(
                    f"{where} has {len(label_C)} labels, but {len(label[0])} are wanted, as on "
                    f"{place[0]}: mend the line."
                )
            name.append(clean_path(path_text, path_prefix, where))
            label.append(label_C)
            place.append(where)
            part.append(number)
        if number not in part[-1:]:
            raise ValueError(f"{path} names no image: fill it, or remove it.")
    label_MxC, label_names, is_class = _labels(np.stack(label), place, folder)
    name_M, part_M = np.asarray(name), np.asarray(part)

    # From the M lines to the U paths: each path is one row, whatever the number of lists it is in.
    name_U, first_U, path_M = np.unique(name_M, return_index=True, return_inverse=True)
    differs = np.flatnonzero((label_MxC != label_MxC[first_U[path_M]]).any(1))
    if len(differs):
        one = differs[0]
        raise ValueError(
            f"{len(differs):,} lines give a path other labels than before, such as {place[one]} "
            f"and {place[first_U[path_M[one]]]} for {name[one]}: make them agree."
        )
    is_in_U = {
        part: np.isin(np.arange(len(name_U)), path_M[part_M == number])
        for number, part in enumerate(path_of)
    }
    check_disjoint("lists", is_in_U, name_U)
    # A path that stands twice in one list comes twice: `file_source` refuses it or counts it.
    _, once = np.unique(part_M * len(name_U) + path_M, return_index=True)
    again = np.setdiff1d(np.arange(len(name_M)), once)
    row = np.sort(np.concatenate([first_U, again]))
    return file_source(
        "lists",
        data_dir,
        name_M[row],
        label_MxC[row],
        label_names,
        official={part: is_in[path_M[row]] for part, is_in in is_in_U.items()},
        multilabel=not is_class and bool((label_MxC[row].sum(1) != 1).any()),
        image_size=image_size,
        fit=fit,
        skip=skip,
    )


def write_lists(source: Source, parts: Mapping[str, np.ndarray], folder: epath.PathLike) -> None:
    """Write `<part>.txt` for each part, and `classes.txt`, as `lists` reads them.

    Args:
      source: whose images have names.
      parts: any of `train`, `database` and `query` to row numbers.
      folder: to write to; it is made where it does not exist.

    Raises:
      ValueError: for images without names, unknown or empty parts, a source of one label, names
        that the format cannot hold.
    """
    name_N = source.images.name_N
    if name_N is None:
        raise ValueError(
            f"the images of {source.name} have no names, so lists cannot name them: save the "
            "split's row numbers instead."
        )
    wrong = [part for part in parts if part not in PARTS or not len(parts[part])]
    if wrong:
        raise ValueError(f"parts must be of {PARTS} and hold rows, but {wrong} are not so.")
    if len(source.label_names) < 2:
        raise ValueError("lists need two labels or more: a single 0 or 1 reads as class number.")
    for label_name in source.label_names:
        if not label_name.strip() or label_name.strip() != label_name or "\n" in label_name:
            raise ValueError(f"classes.txt cannot hold the label name {label_name!r}: rename it.")
    lines_of = {}
    for part, rows in parts.items():
        lines_of[part] = []
        for row in rows:
            line = f"{name_N[row]} {' '.join(map(str, source.label_NxC[row]))}"
            # As reading sees it: without the blanks around a line.
            match = LINE.fullmatch(line.strip())
            if not match or "\n" in line or clean_path(match[1], "", part) != name_N[row]:
                raise ValueError(f"a list cannot hold the name {str(name_N[row])!r}: rename it.")
            lines_of[part].append(line)
    lines_of["classes"] = source.label_names
    folder = epath.Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for file, lines in lines_of.items():
        (folder / f"{file}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_lines(path: epath.Path) -> list[str]:
    """Return the lines of a UTF-8 text without the blanks around them, or raise ValueError."""
    try:
        # Not splitlines, which also ends lines at characters that may stand in names.
        lines = path.read_bytes().decode("utf-8-sig").rstrip().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text ({error}): mend it.") from error
    return [line.strip() for line in lines]


def clean_path(path: str, prefix: str, where: str) -> str:
    """Return a path with forward slashes, without the prefix, relative and normal, or raise."""
    path, prefix = path.replace("\\", "/"), prefix.replace("\\", "/")
    if prefix and path.startswith(prefix):
        path = path.removeprefix(prefix).lstrip("/")
    if path.startswith("/") or path[1:3] == ":/":
        raise ValueError(
            f"{where} has the absolute path {path}: set data.path_prefix to what stands before the "
            "part below data.data_dir."
        )
    return posixpath.normpath(path)


def check_disjoint(name: str, official: Mapping[str, np.ndarray], name_N: Sequence[str]) -> None:
    """Refuse queries that are also in train or database.

    Args:
      name: of the data set.
      official: part to bool [N].
      name_N: names of the images.

    Raises:
      ValueError: with their count.
    """
    for part in ("train", "database"):
        if part in official and "query" in official:
            shared = np.flatnonzero(official["query"] & official[part])
            if len(shared):
                raise ValueError(
                    f"{name}: {len(shared):,} queries are also in {part}, such as "
                    f"{name_N[shared[0]]}: a query must not be trained on or ranked; take them "
                    "out of one of the two."
                )


def _find(folder):
    """Return part to path, in the order of PARTS."""
    texts = sorted(path for path in folder.iterdir()) if folder.is_dir() else []
    found = {}
    for path in texts:
        match = LIST_FILE.fullmatch(path.name)
        if match:
            found.setdefault(PART_OF[match[1].lower()], []).append(path)
    twice = [", ".join(path.name for path in paths) for paths in found.values() if len(paths) > 1]
    if twice:
        raise ValueError(
            f"{folder} holds several lists for one part: {'; '.join(twice)}. Keep one of each."
        )
    if not found:
        names = ", ".join(path.name for path in texts[:10]) or "nothing"
        raise ValueError(
            f"{folder} holds {names}; wanted are train.txt, database.txt and query.txt (or "
            "test.txt), one or more of them: set data.labels_path to their folder."
        )
    return {part: found[part][0] for part in PARTS if part in found}


def _parse(line, where):
    """Return the path and the numbers of a line."""
    match = LINE.fullmatch(line)
    if not match:
        raise ValueError(
            f"{where} is {line[:80]!r}; wanted `<path> <0 or 1 of each label>` or "
            "`<path> <class number>`: mend the line."
        )
    return match[1], np.fromstring(match[2], np.int32, sep=" ")


def _class_names(folder):
    """Return the label names that stand in the folder, or None."""
    for file in CLASS_FILES:
        if (folder / file).exists():
            return tuple(line for line in read_lines(folder / file) if line)
    return None


def _labels(number_MxC, place, folder):
    """Return multi-hot labels, their names, and whether they were class numbers."""
    is_class, label_names = number_MxC.shape[1] == 1, _class_names(folder)
    if is_class:
        classes = len(label_names) if label_names else int(number_MxC.max()) + 1
        limit = min(classes, MOST_CLASSES)
        wanted = f"a class number below {limit:,}"
    else:
        classes, limit, wanted = number_MxC.shape[1], 2, "0 or 1 of each label"
    if label_names and len(label_names) != classes:
        raise ValueError(
            f"{place[0]} has {classes} labels, but there are {len(label_names)} label names in "
            f"{' or '.join(CLASS_FILES)}: mend one of them."
        )
    wrong = np.flatnonzero((number_MxC >= limit).any(1))
    if len(wrong):
        found = number_MxC[wrong[0]].max()
        is_from_1 = is_class and number_MxC.min() == 1 and number_MxC.max() == classes
        mend = " The numbers start at 1: subtract 1 from each." if is_from_1 else ""
        raise ValueError(f"{place[wrong[0]]} has the label {found}; wanted {wanted}.{mend}")
    if is_class and not label_names:
        mend = f"name every number from 0, a line each, in {CLASS_FILES[0]}"
        check_numbers(number_MxC, f"the lists in {folder}", mend)
    label_names = label_names or tuple(f"class {c}" for c in range(classes))
    if is_class:
        return multi_hot(number_MxC[:, 0], classes), label_names, True
    return number_MxC.astype(np.uint8), label_names, False
