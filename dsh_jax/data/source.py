"""The one form in which every data set comes: images, labels, and the split that it brings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np

from dsh_jax.data.images import ArrayImages, FeatureImages, FileImages

PARTS = ("train", "database", "query")


@dataclasses.dataclass(frozen=True)
class Source:
    """Images with their labels, and the official split where the data set has one.

    Attributes:
      name: of the data set.
      images: N of them; they may have names.
      label_NxC: uint8 multi-hot labels; a single-label set has one 1 a row.
      label_names: C names.
      official: the data set's own split, any of `train`, `database` and `query` to bool [N]; a row
        may be in train and database.
      multilabel: whether a row may hold several labels; relevance is then a shared label.
      notes: what was left out or counted while reading, a sentence each.
      left_out: names of the images left out, by the reason: `missing`, `corrupt` or `duplicate`.
    """

    name: str
    images: ArrayImages | FileImages | FeatureImages
    label_NxC: np.ndarray
    label_names: tuple[str, ...]
    official: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    multilabel: bool = False
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        unknown = set(self.official) - set(PARTS)
        if unknown:
            raise ValueError(f"{self.name}: official parts are {PARTS}, not {sorted(unknown)}.")
        columns = {"labels": self.label_NxC, **self.official, "names": self.images.name_N}
        for what, value in columns.items():
            if value is not None and len(value) != len(self):
                raise ValueError(f"{self.name}: {len(self)} images but {len(value)} {what}.")
        if self.label_NxC.shape[1] != len(self.label_names):
            raise ValueError(
                f"{self.name}: labels have {self.label_NxC.shape[1]} columns, but there are "
                f"{len(self.label_names)} label names."
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pictures(self) -> ArrayImages | FileImages:
        """What people see of the images, whatever the network takes."""
        return self.images.pictures if isinstance(self.images, FeatureImages) else self.images

    def row_name(self, row: int) -> str:
        """Return the name of a row's image, or `row 7` where images have no names."""
        return f"row {row}" if self.images.name_N is None else str(self.images.name_N[row])

    def select(self, rows: np.ndarray, *notes: str) -> Source:
        """Return some of the rows, in the order given, with further notes.

        Args:
          rows: row numbers.
          *notes: sentences that say why the others are left out.

        Returns:
          Source.
        """
        return dataclasses.replace(
            self,
            images=self.images.select(rows),
            label_NxC=self.label_NxC[rows],
            official={part: is_in[rows] for part, is_in in self.official.items()},
            notes=(*self.notes, *notes),
        )

    def canonical_order(self) -> np.ndarray:
        """Return the row numbers in an order that does not depend on how the rows are listed.

        Choices made in this order fall on the same images whatever the order of the files: that of
        their names, or the rows' own where images have no names.
        """
        if self.images.name_N is None:
            return np.arange(len(self))
        return np.argsort(self.images.name_N, kind="stable")

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of the rows' names and labels, the same on every machine."""
        digest = hashlib.sha256()
        digest.update("\n".join(self.label_names).encode())
        if self.images.name_N is not None:
            digest.update("\n".join(self.images.name_N.tolist()).encode())
        digest.update(np.ascontiguousarray(self.label_NxC, np.uint8).tobytes())
        return digest.hexdigest()[:12]


def multi_hot(label_N: np.ndarray, classes: int) -> np.ndarray:
    """Return uint8 rows with one 1 at each integer label.

    Args:
      label_N: integers in [0, classes).
      classes: C.

    Returns:
      label_NxC, uint8.

    Raises:
      ValueError: for a label outside [0, classes); some sets mark rows without a label by -1.
    """
    outside = np.flatnonzero((label_N < 0) | (label_N >= classes))
    if len(outside):
        raise ValueError(
            f"row {outside[0]} has the label {label_N[outside[0]]}; it must be in [0, {classes})."
        )
    return np.eye(classes, dtype=np.uint8)[label_N]
