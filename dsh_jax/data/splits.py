"""Which rows are labelled, unlabelled, validation, query and database: checked, hashed, saved."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json

import numpy as np
from etils import epath

from dsh_jax import whole
from dsh_jax.data.source import Source

PARTS = ("labelled", "unlabelled", "validation", "query", "unseen", "database")


@dataclasses.dataclass(frozen=True)
class Split:
    """Sorted int64 row numbers of a source; only `database` shares rows with other parts.

    Attributes:
      labelled: training rows whose labels are read.
      unlabelled: training rows whose labels are hidden.
      validation: rows for model selection only.
      query: the queries; no other part holds one of them.
      unseen: database rows that neither training nor model selection sees.
      database: what the protocol ranks; it may hold rows of training and validation.
      data: fingerprint of the source, see `Source.fingerprint`.
      notes: what was counted or left out while choosing, a sentence each.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    validation: np.ndarray
    query: np.ndarray
    unseen: np.ndarray
    database: np.ndarray
    data: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        for part in PARTS:
            if len(np.unique(getattr(self, part))) != len(getattr(self, part)):
                raise ValueError(f"the split's part {part!r} holds a row twice.")
        apart = [part for part in PARTS if part != "database"]
        for first, second in (*itertools.combinations(apart, 2), ("query", "database")):
            shared = np.intersect1d(getattr(self, first), getattr(self, second))
            if len(shared):
                raise ValueError(
                    f"{first} and {second} share {len(shared)} rows, e.g. row {shared[0]}: "
                    "the parts of a split must be disjoint."
                )

    @property
    def train(self) -> np.ndarray:
        """All training rows, labelled or not."""
        return np.sort(np.concatenate([self.labelled, self.unlabelled]))

    def databases(self) -> dict[str, np.ndarray]:
        """Return what an evaluation ranks, by name, the protocol's own database first.

        Returns:
          Row numbers. The first is `train` or `unseen` where the database is just that part, else
          `protocol`. Then `train` where the database holds training rows, and `unseen` where there
          are unseen rows, unless they are the first.
        """
        parts = {"train": self.train, "unseen": self.unseen}
        same = [name for name, rows in parts.items() if np.array_equal(rows, self.database)]
        columns = {same[0] if same else "protocol": self.database}
        if len(np.intersect1d(self.train, self.database)):
            columns.setdefault("train", self.train)
        if len(self.unseen):
            columns.setdefault("unseen", self.unseen)
        return columns

    @property
    def hash(self) -> str:
        """Twelve hex digits that name the rows of this split and its data, the same everywhere."""
        digest = hashlib.sha256()
        for part in PARTS:
            digest.update(part.encode())
            digest.update(np.asarray(getattr(self, part), "<i8").tobytes())
        digest.update(self.data.encode())
        return digest.hexdigest()[:12]

    def describe(self) -> str:
        """Return the parts and their sizes in one line."""
        sizes = [f"{part} {len(getattr(self, part)):,}" for part in PARTS]
        return f"{', '.join(sizes)} (hash {self.hash})"


def save(split: Split, path: epath.PathLike) -> None:
    """Write the split as one .npz file, and what a reader wants to know as .json beside it.

    Args:
      split: to write.
      path: of the .npz file.
    """
    path = epath.Path(path)
    parts = {part: getattr(split, part) for part in PARTS}
    with whole.opened(path) as file:
        np.savez_compressed(file, **parts, data=split.data, notes=np.array(split.notes, np.str_))
    summary = {
        "hash": split.hash,
        "data": split.data,
        **{part: len(rows) for part, rows in parts.items()},
        "notes": split.notes,
    }
    whole.write_text(path.with_suffix(".json"), json.dumps(summary, indent=2) + "\n")


def load(path: epath.PathLike) -> Split:
    """Read a split that `save` wrote.

    Args:
      path: of the file.

    Returns:
      Split.

    Raises:
      ValueError: where there is no file, or one without all parts.
    """
    path = epath.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"{path} is not a file; wanted is the split.npz of a run's folder.")
    with path.open("rb") as file, np.load(file) as saved:
        lacking = [part for part in PARTS if part not in saved.files]
        if lacking:
            raise ValueError(
                f"{path} lacks {', '.join(lacking)}: it is no split, or one of an older version; "
                "make it again."
            )
        parts = {part: saved[part] for part in PARTS}
        return Split(**parts, data=str(saved["data"]), notes=tuple(saved["notes"].tolist()))


def load_for(source: Source, path: epath.PathLike) -> Split:
    """Read a split that `save` wrote, and check that its row numbers are those of a source.

    Args:
      source: whose rows the split names.
      path: of the file.

    Returns:
      Split.

    Raises:
      ValueError: where the split was made for other data.
    """
    split = load(path)
    if split.data != source.fingerprint:
        raise ValueError(
            f"{path} is a split of the data {split.data or 'without a fingerprint'}, but "
            f"{source.name} is now {source.fingerprint}: names, labels or the order of its rows "
            "differ, so the split's row numbers mean other images. Restore the data, or make a "
            "new split."
        )
    return split
