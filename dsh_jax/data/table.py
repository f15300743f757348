"""A CSV table of images: their paths, labels and, where it says so, parts of the split."""

from __future__ import annotations

import csv

import numpy as np
from etils import epath

from dsh_jax.data.files import file_source
from dsh_jax.data.lists import check_disjoint, clean_path, read_lines
from dsh_jax.data.source import PARTS, Source


def table(
    data_dir: epath.PathLike,
    *,
    labels_path: epath.PathLike,
    image_size: int,
    separator: str = "|",
    path_prefix: str = "",
    fit: str = "squash",
    skip: str = "",
) -> Source:
    """Return the images of a CSV file with the columns `path`, `labels` and perhaps `split`.

    Args:
      data_dir: folder that the paths start from.
      labels_path: the CSV file; its first line names the columns, others than these do not count.
      image_size: side that images are brought to, pixels.
      separator: what stands between the labels of a row, and between its parts of the split: any
        of train, database and query, empty for none.
      path_prefix: what is removed from the front of paths that begin with it.
      fit: see `files.file_source`.
      skip: see `files.file_source`.

    Returns:
      Source in the order of the file, with the label names in alphabetical order; multi-label where
      a row has another number of labels than one.

    Raises:
      ValueError: for a file that cannot be read, missing columns, rows that do not fit them, an
        unknown part, a query that is in another part; see also `files.file_source`.
    """
    if not str(labels_path) or not separator:
        raise ValueError(
            f"data.labels_path is {str(labels_path)!r} and data.separator {separator!r}: set them "
            "to the CSV file and to what stands between its labels, such as '|'."
        )
    path = epath.Path(labels_path).expanduser()
    rows = _read_rows(path)
    label_names = sorted({name for _, row in rows for name in _split(row["labels"], separator)})
    if not label_names:
        raise ValueError(f"{path} has no row with a label: wanted are names in `labels`.")
    column_of = {name: c for c, name in enumerate(label_names)}
    label_NxC = np.zeros((len(rows), len(label_names)), np.uint8)
    is_in = {part: np.zeros(len(rows), bool) for part in PARTS}
    name_N = []
    for n, (where, row) in enumerate(rows):
        if not row["path"].strip():
            raise ValueError(f"{where} has no path: fill it, or remove the line.")
        name_N.append(clean_path(row["path"].strip(), path_prefix, where))
        label_NxC[n, [column_of[name] for name in _split(row["labels"], separator)]] = 1
        for part in _split(row.get("split", ""), separator):
            if part not in PARTS:
                raise ValueError(
                    f"{where} has the split {part!r}; wanted is one of {', '.join(PARTS)}, or none."
                )
            is_in[part][n] = True
    official = {part: is_in_N for part, is_in_N in is_in.items() if is_in_N.any()}
    check_disjoint("csv", official, name_N)
    return file_source(
        "csv",
        data_dir,
        name_N,
        label_NxC,
        label_names,
        official=official,
        multilabel=bool((label_NxC.sum(1) != 1).any()),
        image_size=image_size,
        fit=fit,
        skip=skip,
    )


def _split(text, separator):
    return [part.strip() for part in text.split(separator) if part.strip()]


def _read_rows(path):
    """Return each row's place in the file and its columns."""
    reader = csv.reader(read_lines(path), strict=True)
    try:
        lines = [(f"{path} line {reader.line_num}", fields) for fields in reader if fields]
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num} is no CSV ({error}): mend it.") from error
    (_, columns), *rows = lines or [("", [])]
    if not rows or columns.count("path") != 1 or columns.count("labels") != 1:
        raise ValueError(
            f"{path} has the columns {columns} and {len(rows)} rows; wanted are `path` and "
            "`labels`, once each, in its first line, and a row for each image below."
        )
    for where, fields in rows:
        if len(fields) != len(columns):
            raise ValueError(
                f"{where} has {len(fields)} fields, but the first line {len(columns)}: mend it."
            )
    return [(where, dict(zip(columns, fields, strict=True))) for where, fields in rows]
