"""Images in packs: Parquet and Arrow files, as Hugging Face data sets have them; WebDataset's tars.

The images are unpacked once into a folder, under numbers in place of their names, and are then read
as files are. Images that a pack only names are not fetched.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from etils import epath

from dsh_jax.data.files import file_source
from dsh_jax.data.label_names import check_numbers
from dsh_jax.data.lists import CLASS_FILES, MOST_CLASSES, read_lines
from dsh_jax.data.source import PARTS, Source
from dsh_jax.pictures import is_named_as_picture
from dsh_jax.progress import log_progress

CACHE = "~/.cache/dsh_jax/unpacked"
ROWS = "rows.json"  # in the folder of a data set that is unpacked whole
IMAGE_COLUMNS = "image", "img", "jpg", "png"
LABEL_COLUMNS = "label", "labels", "cls", "class", "fine_label"
LABEL_FILES = ".cls", ".json"  # of a sample in a tar
# Validation rows are in no official part: which rows validate is drawn from train.
PART_OF = {
    "train": "train",
    "database": "database",
    "test": "query",
    "query": "query",
    **dict.fromkeys(("validation", "valid", "val", "dev")),
}
PART = re.compile(rf"({'|'.join(PART_OF)})(?![a-z])", re.IGNORECASE)


class Record(NamedTuple):
    """An image of a pack.

    Attributes:
      content: of its file.
      label: a class number or name, a list of them, or None.
      where: in which pack, and where in it.
    """

    content: bytes
    label: Any
    where: str


Reader = Callable[[epath.Path], Iterator[Record]]


def parquet(
    data_dir: epath.PathLike,
    *,
    image_size: int,
    label_column: str = "",
    cache_dir: epath.PathLike = "",
    fit: str = "squash",
    skip: str = "",
) -> Source:
    """Return the images of Parquet files, or of Arrow files as `datasets.save_to_disk` writes them.

    A column holds the images' files, as `bytes` or as the struct of `bytes` and `path` of Hugging
    Face; another their classes: a number, a name, or a list of either. Numbers are named by Hugging
    Face's description, or by `classes.txt` beside the files. A file or its folder that is called
    train, test (query) or database, such as `test-00000-of-00001.parquet`, is that official part.

    Args:
      data_dir: a file, or the folder of any number of them.
      image_size: side that images are brought to, pixels.
      label_column: name of the column of classes; empty for the one there is.
      cache_dir: folder to unpack to; empty for `CACHE`.
      fit, skip: see `files.file_source`.

    Returns:
      Source in the order of the files' names and of their rows.

    Raises:
      ValueError: for a folder without such files, a file that cannot be read, columns that are
        missing or in doubt, an image that is not in the file, labels of mixed kinds, numbers
        without names that start at 1 or leave some out; see also `files.file_source`.
    """
    packs = _packs(data_dir, (".parquet", ".arrow"))
    names: dict[str, Sequence[str]] = {}

    def records(path: epath.Path) -> Iterator[Record]:
        schema, batches = _table(path)
        image, label = _columns(schema, path, label_column)
        names.setdefault("label", _names_of(schema, label))
        row = itertools.count(1)
        for batch in _readable(batches, path):
            columns = (batch.column(batch.schema.get_field_index(x)) for x in (image, label))
            for one, value in zip(*(column.to_pylist() for column in columns), strict=True):
                where = f"{path} row {next(row)}"
                content = one.get("bytes") if isinstance(one, dict) else one
                if not content:
                    raise ValueError(
                        f"{where} names an image but does not hold it: write the data set with "
                        "its images embedded."
                    )
                yield Record(content, value, where)

    options = {"image_size": image_size, "fit": fit, "skip": skip}
    about = label_column, lambda: names.get("label") or ()
    return _source("parquet", packs, records, cache_dir, *about, **options)


def webdataset(
    data_dir: epath.PathLike,
    *,
    image_size: int,
    cache_dir: epath.PathLike = "",
    fit: str = "squash",
    skip: str = "",
) -> Source:
    """Return the images of WebDataset's tars.

    Files that follow each other and share a name up to its first dot are a sample: an image, and
    its class in `.cls` (a number or a name) or under `label`, `labels`, `cls` or `class` of
    `.json`. `classes.txt` beside the tars may name numbers. Parts of the split are as in `parquet`.

    Args:
      data_dir, image_size, cache_dir, fit, skip: see `parquet`.

    Returns:
      Source in the order of the tars' names and of their samples.

    Raises:
      ValueError: for a folder without tars, one that cannot be read, a sample without an image or
        with several; see also `parquet`.
    """
    packs = _packs(data_dir, (".tar", ".tar.gz", ".tgz"))
    options = {"image_size": image_size, "fit": fit, "skip": skip}
    return _source("webdataset", packs, _samples, cache_dir, "", tuple, **options)


def _packs(data_dir: epath.PathLike, endings: tuple[str, ...]) -> dict[epath.Path, str]:
    """Return the packs of a folder, or the one that is named, each with its official part."""
    root = epath.Path(data_dir).expanduser().resolve()
    found = [root]
    if root.is_dir():
        found = [p for depth in ("*", "*/*", "*/*/*") for p in root.glob(depth)]
    hidden = ("cache-", ".")
    packs = sorted(
        p for p in found if p.name.lower().endswith(endings) and not p.name.startswith(hidden)
    )
    if not packs:
        raise ValueError(
            f"{root} holds no {', '.join(endings)}: set data.data_dir to where they are."
        )
    # The folder's own name says nothing of its files.
    return {p: _part(p.name) or (_part(p.parent.name) if p.parent != root else "") for p in packs}


def _source(
    name: str,
    packs: Mapping[epath.Path, str],
    reader: Reader,
    cache_dir: epath.PathLike,
    label_column: str,
    names: Callable[[], Sequence[str]],
    **options: Any,
) -> Source:
    """Return the source of packs, unpacked now where that is not done."""
    state = [(str(p), p.stat().length, p.stat().mtime) for p in packs]
    key = hashlib.sha256(repr((state, label_column)).encode()).hexdigest()[:16]
    folder = epath.Path(cache_dir or CACHE).expanduser().resolve() / f"{name}-{key}"
    if not (folder / ROWS).exists():
        _unpack(packs, reader, folder, names)
    rows = json.loads((folder / ROWS).read_text())
    place = next(iter(packs)).parent
    given = rows["label_names"] or _class_file(place)
    label_NxC, label_names, multilabel = _labels(rows["label"], given, f"{place}: labels")
    part_N = np.array(rows["part"], np.str_)
    return file_source(
        name,
        folder,
        rows["name"],
        label_NxC,
        label_names,
        official={part: part_N == part for part in PARTS if part in part_N},
        multilabel=multilabel,
        **options,
    )


def _unpack(
    packs: Mapping[epath.Path, str],
    reader: Reader,
    folder: epath.Path,
    names: Callable[[], Sequence[str]],
) -> None:
    """Write every image as a file, and last of all what is known of them."""
    rows: dict[str, list] = {"name": [], "part": [], "label": []}
    started = time.monotonic()
    for number, (pack, part) in enumerate(packs.items()):
        (folder / f"{number:05}").mkdir(parents=True, exist_ok=True)
        for place, record in enumerate(reader(pack)):
            ending = ".jpg" if record.content[:2] == b"\xff\xd8" else ".png"
            name = f"{number:05}/{place:08}{ending}"  # for people: it is read by its content
            path = folder / name
            # After a stop those that are there in whole are left.
            if not path.exists() or path.stat().length != len(record.content):
                path.write_bytes(record.content)
            rows["name"].append(name)
            rows["part"].append(part)
            rows["label"].append(_label(record))
        log_progress("unpacking", (number + 1) / len(packs), started)
    if not rows["name"]:
        raise ValueError(f"{', '.join(map(str, packs))}: there is no image in them.")
    # A name of its own: the processes of a run may all come here.
    unfinished = folder / f"{ROWS}.{uuid.uuid4().hex[:8]}.unfinished"
    unfinished.write_text(json.dumps(rows | {"label_names": list(names())}))
    unfinished.replace(folder / ROWS)
    logging.info("unpacked %d images to %s", len(rows["name"]), folder)


def _part(name: str) -> str:
    """Return the official part that a name begins with, or nothing."""
    match = PART.match(name)
    return PART_OF[match[1].lower()] or "" if match else ""


def _label(record: Record) -> list:
    """Return the classes of a row: numbers or names."""
    values = record.label
    if values is None:
        return []
    values = list(values) if isinstance(values, list | tuple) else [values]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(
                f"{record.where} has the label {value!r}; wanted is a class number or name, or a "
                "list of them: set data.label_column to a column of such."
            )
    return values


def _labels(
    rows: list[list], names: Sequence[str], where: str
) -> tuple[np.ndarray, tuple[str, ...], bool]:
    """Return multi-hot labels, their names, and whether a row may have several."""
    every = [value for row in rows for value in row]
    kinds = {type(value) for value in every}
    if len(kinds) != 1:
        found = "none" if not kinds else "numbers and names"
        raise ValueError(f"{where} are {found}; wanted are class numbers, or names, of the rows.")
    if kinds == {str}:
        label_names = tuple(sorted(set(every)))
        column_of = {name: c for c, name in enumerate(label_names)}
        rows = [[column_of[name] for name in row] for row in rows]
    else:
        # Hugging Face has -1 where a row's class is not told.
        rows = [[number for number in row if number != -1] for row in rows]
        number_N = np.array([number for row in rows for number in row], np.int64)
        most = len(names) or MOST_CLASSES
        if not number_N.size or number_N.min() < 0 or number_N.max() >= most:
            raise ValueError(
                f"{where} are numbers outside of 0 to {most - 1}, such as "
                f"{min(every) if min(every) < 0 else max(every)}: name every number in classes.txt."
            )
        if not names:
            check_numbers(number_N, where, "name every number in classes.txt")
        count = len(names) or int(number_N.max()) + 1
        label_names = tuple(names) or tuple(f"class {c}" for c in range(count))
    label_NxC = np.zeros((len(rows), len(label_names)), np.uint8)
    for row, numbers in enumerate(rows):
        label_NxC[row, numbers] = 1
    return label_NxC, label_names, any(len(set(row)) > 1 for row in rows)


def _class_file(folder: epath.Path) -> list[str]:
    """Return the names of a file of classes, or none."""
    for name in CLASS_FILES:
        if (folder / name).exists():
            return read_lines(folder / name)
    return []


def _table(path: epath.Path) -> tuple[Any, Callable[[], Iterator[Any]]]:
    """Return the schema of a Parquet or Arrow file, and what reads its batches."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        if path.name.lower().endswith(".parquet"):
            file = parquet.ParquetFile(str(path))
            return file.schema_arrow, lambda: file.iter_batches(batch_size=256)
        content = pa.memory_map(str(path))
        try:
            stream = pa.ipc.open_stream(content)
        except pa.ArrowInvalid:
            whole = pa.ipc.open_file(content)
            batches = (whole.get_batch(n) for n in range(whole.num_record_batches))
            return whole.schema, lambda: batches
        return stream.schema, lambda: iter(stream)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _readable(batches: Callable[[], Iterator[Any]], path: epath.Path) -> Iterator[Any]:
    """Yield batches; say which file is damaged."""
    import pyarrow as pa

    try:
        yield from batches()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _columns(schema: Any, path: epath.Path, wanted: str) -> tuple[str, str]:
    """Return the names of the columns of images and of classes."""
    import pyarrow as pa

    def is_image(field) -> bool:
        kind = field.type
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    def is_label(field) -> bool:
        kind = field.type
        while pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return pa.types.is_integer(kind) or is_text

    def only(what: str, found: list[str], usual: Sequence[str], mend: str) -> str:
        known = [name for name in usual if name in found]
        if len(found) == 1 or known:
            return (known or found)[0]
        which = f"{', '.join(found)} could be" if found else "none is"
        raise ValueError(
            f"{path} has the columns {', '.join(schema.names)}, of which {which} that of {what}: "
            f"{mend}."
        )

    images = [field.name for field in schema if is_image(field)]
    image = only("images", images, IMAGE_COLUMNS, "name the one of files as bytes `image`")
    if wanted:
        if wanted not in schema.names:
            raise ValueError(
                f"{path} has no column {wanted!r}, but {', '.join(schema.names)}: set "
                "data.label_column to one of them."
            )
        return image, wanted
    labels = [field.name for field in schema if is_label(field) and field.name != image]
    return image, only("classes", labels, LABEL_COLUMNS, "set data.label_column to it")


def _names_of(schema: Any, column: str) -> Sequence[str]:
    """Return the names of a column's classes by Hugging Face's description, or none."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = about.get("info", {}).get("features", {}).get(column, {})
    while feature and not (isinstance(feature, dict) and "names" in feature):
        feature = feature[0] if isinstance(feature, list) else feature.get("feature")
    return feature["names"] if feature else ()


def _samples(path: epath.Path) -> Iterator[Record]:
    """Yield the samples of a tar."""
    try:
        with tarfile.open(str(path), "r:*") as tar:
            files = (member for member in tar if member.isfile())
            for key, members in itertools.groupby(files, key=lambda one: _key(one.name)):
                where, images, label = f"{path} sample {key}", [], None
                for member in members:
                    file = tar.extractfile(member)
                    content = b"" if file is None else file.read()
                    if is_named_as_picture(member.name):
                        images.append(content)
                    elif member.name.lower().endswith(LABEL_FILES):
                        told = _told(member.name, content, where)
                        label = label if told is None else told
                if len(images) != 1:
                    raise ValueError(f"{where} has {len(images)} images; wanted is one.")
                yield Record(images[0], label, where)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: epath.Path, error: Exception) -> ValueError:
    """Return an error of one line."""
    return ValueError(f"{path} cannot be read ({' '.join(str(error).split())}): fetch it again.")


def _key(name: str) -> str:
    """Return what the files of a sample share: the path up to the first dot of its last part."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.split(".")[0]


def _told(name: str, content: bytes, where: str) -> Any:
    """Return what a file of a sample says of its class, or None."""
    try:
        text = content.decode("utf-8").strip()
        if not name.lower().endswith(".json"):
            return int(text) if re.fullmatch(r"-?[0-9]+", text) else text or None
        told = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: {name} cannot be read ({error}): mend it.") from error
    if not isinstance(told, dict):
        return told
    return next((told[key] for key in LABEL_COLUMNS if key in told), None)
