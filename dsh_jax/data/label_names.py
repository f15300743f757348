"""What names and numbers of classes give away: that they are not what was meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

MOST_LISTED = 5  # names or numbers that a sentence lists
# As `key` has them, what programs write where there is no value.
NO_VALUE = frozenset(
    {"-", "--", "?", "#n/a", "#na", "<na>", "n/a", "n.a.", "na", "nan", "-nan", "nil", "none"}
    | {"null", "nat", "missing", "undefined"}
)


def key(name: str) -> str:
    """Return what names share that differ in case, in the form of letters or in blanks only."""
    # Twice: folding may leave letters that are not composed. Format characters are invisible.
    for _ in range(2):
        name = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(c for c in name if unicodedata.category(c) != "Cf").split())


def name_notes(label_names: Sequence[str], label_NxC: np.ndarray) -> list[str]:
    """Note the names that may mean no label, and those that differ as little as `key` says.

    They stay as they are: classes of their own.

    Args:
      label_names: C names.
      label_NxC: multi-hot labels.

    Returns:
      Sentences, none where there is nothing to say.
    """
    rows_C = label_NxC.sum(0, dtype=np.int64)
    alike: dict[str, list[str]] = {}
    # `Source` refuses another number of names than of labels.
    for name, rows in zip(label_names, rows_C, strict=False):
        alike.setdefault(key(name), []).append(f"{name!r} ({rows:,} rows)")
    empty = [text for one, texts in alike.items() if one in NO_VALUE for text in texts]
    twins = [" and ".join(texts) for texts in alike.values() if len(texts) > 1]
    notes = []
    if empty:
        notes.append(
            f"Labels that may mean that there is none: {_listed(empty)}. Each is taken for a class "
            "of that name; where there is no label, leave its place empty."
        )
    if twins:
        notes.append(
            f"Labels that differ in case or blanks only: {_listed(twins, '; ')}. Each is taken for "
            "a class of its own; where they are one, write them alike."
        )
    return notes


def check_numbers(number_N: np.ndarray, where: str, mend: str) -> None:
    """Refuse class numbers that do not start at 0, or leave some out: a class would have no row.

    Args:
      number_N: integers, 0 or more.
      where: where they stand.
      mend: another way out than to number the classes anew.

    Raises:
      ValueError: with the numbers that are missing.
    """
    found = np.unique(number_N)
    lacking = np.setdiff1d(np.arange(found[-1] + 1), found)
    if not len(lacking):
        return
    only_first = len(lacking) == found[0]
    raise ValueError(
        f"{where} have class numbers from {found[0]} to {found[-1]}, but none of "
        f"{_listed(lacking)}, which would be empty classes; wanted are 0 to {len(found) - 1} for "
        f"these {len(found)}: "
        f"{f'subtract {found[0]} from each' if only_first else 'number the classes anew'}, or "
        f"{mend}."
    )


def _listed(values, separator=", "):
    more = f"{separator}…" if len(values) > MOST_LISTED else ""
    return separator.join(map(str, values[:MOST_LISTED])) + more
