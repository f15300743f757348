"""MIRFLICKR-25K in its native layout: `mirflickr/im<N>.jpg` and the annotations of 2010 (v080)."""

from __future__ import annotations

import re

import numpy as np
from etils import epath

from dsh_jax.data.files import file_source
from dsh_jax.data.lists import read_lines
from dsh_jax.data.source import Source

IMAGES = "mirflickr"
ANNOTATIONS = "mirflickr25k_annotations_v080"
POTENTIAL = (
    *("animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food", "indoor"),
    *("lake", "male", "night", "people", "plant_life", "portrait", "river", "sea", "sky"),
    *("structures", "sunset", "transport", "tree", "water"),
)
RELEVANT = (
    *("baby_r1", "bird_r1", "car_r1", "clouds_r1", "dog_r1", "female_r1", "flower_r1", "male_r1"),
    *("night_r1", "people_r1", "portrait_r1", "river_r1", "sea_r1", "tree_r1"),
)
CONCEPTS = {24: POTENTIAL, 14: RELEVANT, 38: tuple(sorted(POTENTIAL + RELEVANT))}


def mirflickr(
    data_dir: epath.PathLike,
    *,
    image_size: int,
    concepts: int = 24,
    fit: str = "squash",
    skip: str = "",
) -> Source:
    """Return MIRFLICKR-25K, or what is there of it, in the order of the images' numbers.

    Huiskes and Lew, *The MIR Flickr retrieval evaluation* (2008). It has no official split.

    Args:
      data_dir: folder that holds the folders `mirflickr` and `mirflickr25k_annotations_v080`.
      image_size: side that images are brought to, pixels.
      concepts: 24 `potential` labels, the 14 `relevant` ones (`_r1`), or all 38, alphabetically.
      fit: see `files.file_source`.
      skip: see `files.file_source`.

    Returns:
      Source; its notes count numbers without an image, annotations of images that are not there,
      and images without a label.

    Raises:
      ValueError: for other numbers of concepts, missing folders or concept files, unknown concept
        files, no images, a line that is no number.
    """
    if concepts not in CONCEPTS:
        raise ValueError(f"data.concepts is {concepts}; MIRFLICKR has {sorted(CONCEPTS)}.")
    label_names = CONCEPTS[concepts]
    root = epath.Path(data_dir).expanduser()
    absent = [name for name in (IMAGES, ANNOTATIONS) if not (root / name).is_dir()]
    if absent:
        found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        raise ValueError(
            f"{root} holds {', '.join(found[:10]) or 'nothing'}, but not {' and '.join(absent)}: "
            f"set data.data_dir to the folder that holds {IMAGES}/ and {ANNOTATIONS}/."
        )
    matches = [re.fullmatch(r"im([1-9]\d*)\.jpg", path.name) for path in (root / IMAGES).iterdir()]
    number_N = np.array(sorted(int(match[1]) for match in matches if match), np.int64)
    if not len(number_N):
        raise ValueError(f"{root / IMAGES} holds no im<N>.jpg: unpack the images there.")
    ids_of = _read_concepts(root / ANNOTATIONS, label_names)
    label_CxN = [np.isin(number_N, ids) for ids in ids_of]
    label_NxC = np.stack(label_CxN, axis=1).astype(np.uint8)
    gaps = number_N[-1] - len(number_N)
    absent_ids = len(np.setdiff1d(np.concatenate(ids_of), number_N))
    unlabelled = int((~label_NxC.any(1)).sum())
    counted = (
        (gaps, f"{gaps:,} of the numbers 1 to {number_N[-1]:,} have no image."),
        (absent_ids, f"{absent_ids:,} annotated images are not there."),
        (unlabelled, f"{unlabelled:,} images have none of the {concepts} labels."),
    )
    return file_source(
        "mirflickr",
        root,
        [f"{IMAGES}/im{number}.jpg" for number in number_N],
        label_NxC,
        label_names,
        official={},
        multilabel=True,
        image_size=image_size,
        fit=fit,
        skip=skip,
        notes=[note for count, note in counted if count],
    )


def _read_concepts(folder, label_names):
    """Return the image numbers of each concept, int64 [C][any]."""
    present = {p.stem for p in folder.glob("*.txt") if p.name[0] != "."} - {"README"}
    missing = [name for name in label_names if name not in present]
    unknown = sorted(present - set(CONCEPTS[38]))
    if missing or unknown:
        raise ValueError(
            f"{folder} lacks the concept files {missing} and has the unknown ones {unknown}: "
            f"unpack {ANNOTATIONS}.zip afresh, <concept>.txt and README.txt only."
        )
    return [_read_ids(folder / f"{name}.txt") for name in label_names]


def _read_ids(path):
    lines = read_lines(path)
    for line, text in enumerate(lines, 1):
        if text and not (text.isascii() and text.isdecimal()):
            raise ValueError(
                f"{path} line {line} is {text[:80]!r}; wanted is the number of an image: mend it."
            )
    return np.array([int(text) for text in lines if text], np.int64)
