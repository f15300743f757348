"""The labels of a database, kept small: class numbers where a row has one, words of bits else."""

from __future__ import annotations

import numpy as np

from dsh_jax.retrieval.blocks import label_words
from dsh_jax.typed import Array

BLOCK = 1 << 20  # rows that are looked at at a time


class Labels:
    """Labels of rows.

    Attributes:
      classes: C.
      class_R: int32 [R], C where a row has none; None where some row has several.
      word_RxU: uint32 words of multi-hot labels; None where `class_R` is not.
    """

    def __init__(
        self, classes: int, class_R: np.ndarray | None, word_RxU: np.ndarray | None
    ) -> None:
        """Keep one of the two forms."""
        self.classes, self.class_R, self.word_RxU = classes, class_R, word_RxU

    @property
    def form(self) -> np.ndarray:
        """The array that is kept."""
        form = self.word_RxU if self.class_R is None else self.class_R
        assert form is not None
        return form

    def joined(self, other: Labels) -> Labels:
        """Return these labels followed by others.

        Args:
          other: labels over the same classes.

        Returns:
          Labels.

        Raises:
          ValueError: for another number of classes.
        """
        if other.classes != self.classes:
            raise ValueError(
                f"labels of {other.classes} classes cannot follow labels of {self.classes}; encode "
                "both over the same classes"
            )
        if self.class_R is not None and other.class_R is not None:
            return Labels(self.classes, np.concatenate([self.class_R, other.class_R]), None)
        both = [one.words(slice(None)) for one in (self, other)]
        return Labels(self.classes, None, np.concatenate(both))

    def words(self, rows: slice) -> np.ndarray:
        """Return the words of some rows, whichever form is kept.

        Args:
          rows: which.

        Returns:
          uint32 [rows, ceil(C / 32)].
        """
        if self.class_R is None:
            assert self.word_RxU is not None
            return np.asarray(self.word_RxU[rows])
        class_N = np.asarray(self.class_R[rows])
        word_NxU = np.zeros((len(class_N), -(-self.classes // 32)), np.uint32)
        row = np.flatnonzero(class_N < self.classes)
        number = class_N[row]
        word_NxU[row, number // 32] = np.uint32(1) << (number % 32).astype(np.uint32)
        return word_NxU


def labels_of(label_RxC: Array) -> Labels:
    """Return labels in their smaller form.

    Args:
      label_RxC: multi-hot, of any type; above 0 is present.

    Returns:
      Labels.
    """
    rows, classes = label_RxC.shape
    class_R = np.full(rows, classes, np.int32)
    for start in range(0, rows, BLOCK):
        block = slice(start, start + BLOCK)
        is_present_NxC = np.asarray(label_RxC[block]) > 0
        count_N = is_present_NxC.sum(axis=1)
        if (count_N > 1).any():
            return Labels(classes, None, label_words(np.asarray(label_RxC)))
        class_R[block] = np.where(count_N > 0, is_present_NxC.argmax(axis=1), classes)
    return Labels(classes, class_R, None)
