"""NUS-WIDE in its native layout: image lists, and one file of 0 and 1 for each concept."""

from __future__ import annotations

import numpy as np
from etils import epath

from dsh_jax.data.files import file_source
from dsh_jax.data.lists import check_disjoint, read_lines
from dsh_jax.data.source import Source

INDEX = "ImageList/Imagelist.txt"
LABELS = "Groundtruth/AllLabels"
IMAGES = "Flickr"
LISTS = {"train": "ImageList/TrainImagelist.txt", "query": "ImageList/TestImagelist.txt"}
NAME_FILES = ("ConceptsList/Concepts81.txt", "Concepts81.txt")


def nuswide(
    data_dir: epath.PathLike,
    *,
    image_size: int,
    concepts: int = 21,
    fit: str = "squash",
    skip: str = "",
) -> Source:
    """Return NUS-WIDE, 269,648 images, in the order of its image list.

    Chua et al., *NUS-WIDE: a real-world web image database* (2009).

    Args:
      data_dir: folder that holds `ImageList`, `Groundtruth` and the images under `Flickr`.
      image_size: side that images are brought to, pixels.
      concepts: all 81, alphabetically, or the 21 most frequent by the label files, whether or not
        all images are there, the most frequent first (equal ones alphabetically).
      fit: see `files.file_source`.
      skip: see `files.file_source`.

    Returns:
      Source; rows without any of the concepts stay in it, and are counted in a note. Official are
      train and query, where their lists are there.

    Raises:
      ValueError: for other numbers of concepts; where files are missing or only the tags are there;
        for malformed lists and label files; see also `files.file_source`.
    """
    if concepts not in (21, 81):
        raise ValueError(f"data.concepts is {concepts}; NUS-WIDE has 81, or the 21 most frequent.")
    root = epath.Path(data_dir).expanduser()
    _check_layout(root)
    name_N = _read_list(root / INDEX)
    label_names = _concept_names(root)
    label_NxC = np.empty((len(name_N), len(label_names)), np.uint8)
    for c, label_name in enumerate(label_names):
        label_NxC[:, c] = read_column(root / LABELS / f"Labels_{label_name}.txt", len(name_N))
    if concepts < len(label_names):
        frequent = np.argsort(-label_NxC.sum(0, dtype=np.int64), kind="stable")[:concepts]
        label_NxC = label_NxC[:, frequent]
        label_names = [label_names[c] for c in frequent]
    unlabelled = int((~label_NxC.any(1)).sum())
    note = f"{unlabelled:,} of {len(name_N):,} images have none of the {concepts} labels."
    return file_source(
        "nuswide",
        root,
        name_N,
        label_NxC,
        label_names,
        official=_official(root, name_N),
        multilabel=True,
        image_size=image_size,
        fit=fit,
        skip=skip,
        notes=[note] if unlabelled else [],
    )


def read_column(path: epath.Path, rows: int) -> np.ndarray:
    """Return the 0 and 1 of a file that has one of them a line.

    Args:
      path: of the file.
      rows: N, how many lines it must have.

    Returns:
      uint8 [N].

    Raises:
      ValueError: for other characters, more than one in a line, another number of lines.
    """
    # Whole arrays of bytes: a loop over 81 × 269,648 lines would take half a minute.
    data = path.read_bytes().rstrip() + b"\n"
    byte = np.frombuffer(data, np.uint8)
    byte = byte[(byte != ord("\r")) & (byte != ord(" ")) & (byte != ord("\t"))]
    value, end = byte[0::2], byte[1::2]
    if len(byte) % 2 or (end != ord("\n")).any() or ((value | 1) != ord("1")).any():
        texts = (text.strip(b" \t\r") for text in data.split(b"\n"))
        line, text = next((n, text) for n, text in enumerate(texts, 1) if text not in (b"0", b"1"))
        raise ValueError(
            f"{path} line {line} is {text[:80].decode(errors='replace')!r}; wanted is 0 or 1: mend "
            "it."
        )
    if len(value) != rows:
        raise ValueError(
            f"{path} has {len(value):,} lines, but {INDEX} has {rows:,}: both must be of the same "
            "release."
        )
    return value - np.uint8(ord("0"))


def _check_layout(root):
    """Refuse a folder without the index or the labels."""
    if not (root / LABELS).is_dir() and _has_tags(root):
        raise ValueError(
            f"{root} holds the tags of NUS-WIDE (NUS_WID_Tags, *Tags81*), but those are noisy user "
            f"tags, no ground truth. Wanted are {LABELS}/Labels_<concept>.txt, which are in "
            "Groundtruth.zip: unpack it there."
        )
    absent = [name for name in (INDEX, LABELS) if not (root / name).exists()]
    if absent:
        found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        raise ValueError(
            f"{root} holds {', '.join(found[:10]) or 'nothing'}, but not {' and '.join(absent)}: "
            f"set data.data_dir to the folder that holds ImageList/, Groundtruth/ and {IMAGES}/."
        )


def _has_tags(root):
    return (root / "NUS_WID_Tags").exists() or any(root.glob("*Tags81*"))


def _read_list(path):
    """Return names below the root: `C:\\Any\\actor\\0001_21.jpg ` is `Flickr/actor/0001_21.jpg`."""
    names = []
    for line, text in enumerate(read_lines(path), 1):
        parts = text.replace("\\", "/").split("/")[-2:]
        if len(parts) < 2 or not all(parts):
            raise ValueError(
                f"{path} line {line} is {text[:80]!r}; wanted is <folder>\\<image>: mend it."
            )
        names.append(f"{IMAGES}/{parts[0]}/{parts[1]}")
    return names


def _concept_names(root):
    """Return the 81 names in alphabetical order, each with its label file."""
    files = sorted(p.stem.removeprefix("Labels_") for p in (root / LABELS).glob("Labels_*.txt"))
    listed = next((root / file for file in NAME_FILES if (root / file).exists()), None)
    names = sorted(filter(None, read_lines(listed))) if listed else files
    missing = sorted(set(names) - set(files))
    if missing:
        raise ValueError(
            f"{root / LABELS} lacks Labels_<concept>.txt of {', '.join(missing)}, which {listed} "
            "names: unpack Groundtruth.zip afresh."
        )
    if len(set(names)) != 81:
        raise ValueError(
            f"{listed or root / LABELS} has {len(set(names))} concepts; wanted are 81: unpack "
            "Groundtruth.zip afresh."
        )
    return names


def _official(root, name_N):
    """Return train and query as bool [N], as far as their lists are there."""
    known, official = set(name_N), {}
    for part, file in LISTS.items():
        if (root / file).exists():
            listed = _read_list(root / file)
            unknown = [name for name in listed if name not in known]
            if unknown:
                raise ValueError(
                    f"{root / file} names {len(unknown):,} images that {INDEX} does not, such as "
                    f"{unknown[0]}: both must be of the same release."
                )
            members = set(listed)
            official[part] = np.array([name in members for name in name_N])
    check_disjoint("nuswide", official, name_N)
    return official
