"""Random choices of labelled rows: so many of each class, in equal shares, or covering all labels.

Shapes: N rows of the source, M of them to choose from, C classes.
"""

from __future__ import annotations

import numpy as np


def take_per_class(
    rows: np.ndarray, label_NxC: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `count` random rows of every class, in ascending order.

    A multi-label row counts for its rarest class among the rows; that does not depend on the
    order of the rows' labels. A row without a label counts for none.

    Args:
      rows: row numbers to choose from.
      label_NxC: multi-hot labels of the whole source.
      count: rows per class.
      rng: the generator.

    Returns:
      Sorted row numbers, `count` × C of them.

    Raises:
      ValueError: where a class has fewer rows.
    """
    label_MxC = label_NxC[rows]
    rarest_first_C = np.argsort(label_MxC.sum(0, dtype=np.int64), kind="stable")
    # The first label of a row, rarest first, owns it.
    owner_M = rarest_first_C[label_MxC[:, rarest_first_C].argmax(1)]
    owner_M[~label_MxC.any(1)] = -1
    _check_enough(np.bincount(owner_M[owner_M >= 0], minlength=label_MxC.shape[1]), count)
    chosen = [rng.permutation(rows[owner_M == c])[:count] for c in range(label_MxC.shape[1])]
    return np.sort(np.concatenate(chosen))


def take_covering(
    rows: np.ndarray, label_NxC: np.ndarray, per_class: int, rng: np.random.Generator
) -> np.ndarray:
    """Return few random rows in which every class that occurs has at least `per_class`.

    Classes are filled from the rarest to the most frequent, each only by what the rows taken
    before lack: rows with one label each give exactly `per_class` of every class.

    Args:
      rows: row numbers to choose from.
      label_NxC: multi-hot labels of the whole source.
      per_class: rows of each class, at least.
      rng: the generator.

    Returns:
      Sorted row numbers.

    Raises:
      ValueError: where a class has fewer rows, but some.
    """
    label_MxC = label_NxC[rows]
    rows_C = label_MxC.sum(0, dtype=np.int64)
    _check_enough(np.where(rows_C > 0, rows_C, per_class), per_class)
    none_M = np.zeros(len(rows), bool)
    return np.sort(rows[_covered(label_MxC, none_M, per_class, rng)])


def take_stratified(
    rows: np.ndarray, label_NxC: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `count` random rows that hold each label in its share of `rows`, and every label.

    From the rarest label to the most frequent, rows are added until count/M of the label's rows
    are in, so that none is decided before its rarest label; what is then missing or too much is
    mended at random. With one label a row, a class misses its share by less than one row, unless a
    class of less than one row needs one. Where `count` is too small for all labels, some are lost.
    The order of labels is that of Sechidis, Tsoumakas and Vlahavas (2011).

    Args:
      rows: row numbers to choose from, M of them.
      label_NxC: multi-hot labels of the whole source.
      count: rows wanted, at most M.
      rng: the generator.

    Returns:
      Sorted row numbers, `count` of them.

    Raises:
      ValueError: where there are fewer rows.
    """
    if count > len(rows):
        raise ValueError(f"{count} rows are wanted of {len(rows)}: ask for at most {len(rows)}.")
    if count == len(rows):
        return np.sort(rows)
    label_MxC = label_NxC[rows]
    if not label_MxC.any(1).all():  # rows without a label are a class of their own
        label_MxC = np.column_stack([label_MxC, ~label_MxC.any(1)])
    frequency_C = label_MxC.sum(0, dtype=np.int64)
    is_taken_M = np.zeros(len(rows), bool)
    is_open_M = np.ones(len(rows), bool)
    # In M-ths of a row, hence exact: what rounding leaves goes to the next label.
    left, half = 0, len(rows) // 2
    for c in np.argsort(frequency_C, kind="stable"):
        has_M = label_MxC[:, c] > 0
        taken = np.count_nonzero(has_M & is_taken_M)
        wanted = int(frequency_C[c]) * count - taken * len(rows) + left
        number, remainder = divmod(wanted + half, len(rows))
        left = remainder - half
        candidates = rng.permutation(np.flatnonzero(has_M & is_open_M))
        is_taken_M[candidates[: max(0, number)]] = True
        is_open_M &= ~has_M
    is_taken_M = _covered(label_MxC, is_taken_M, 1, rng)
    surplus = np.count_nonzero(is_taken_M) - count
    if surplus > 0:
        taken = np.flatnonzero(is_taken_M)
        is_needed = _covered(label_MxC[taken], np.zeros(len(taken), bool), 1, rng)
        spare, needed = rng.permutation(taken[~is_needed]), rng.permutation(taken[is_needed])
        is_taken_M[np.concatenate([spare, needed])[:surplus]] = False
    else:
        is_taken_M[rng.permutation(np.flatnonzero(~is_taken_M))[:-surplus]] = True
    return np.sort(rows[is_taken_M])


def _covered(
    label_MxC: np.ndarray, is_taken_M: np.ndarray, per_class: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `is_taken_M` with rows added until each label has `per_class`, or all that it has."""
    is_taken_M = is_taken_M.copy()
    for c in np.argsort(label_MxC.sum(0, dtype=np.int64), kind="stable"):
        has_M = label_MxC[:, c] > 0
        lack = per_class - np.count_nonzero(has_M & is_taken_M)
        if lack > 0:
            is_taken_M[rng.permutation(np.flatnonzero(has_M & ~is_taken_M))[:lack]] = True
    return is_taken_M


def _check_enough(rows_C: np.ndarray, count: int) -> None:
    """Refuse more rows of each class than the rarest has."""
    c = int(rows_C.argmin())
    if rows_C[c] < count:
        raise ValueError(
            f"{count} rows of each class are wanted, but class {c} has only {rows_C[c]}: "
            f"ask for at most {rows_C[c]}."
        )
