"""What codes and labels must be for a count or a search: errors that say how to mend them."""

from __future__ import annotations

import itertools

import numpy as np

from dsh_jax.codes import check_codes


def check_packed(code: np.ndarray, bits: int, name: str) -> None:
    """Refuse codes of another width, or with bits beyond it.

    Args:
      code: packed codes.
      bits: K.
      name: what the message calls them.

    Raises:
      ValueError: says what was found, what is wanted and how to mend it.
    """
    check_codes(code, name, bits=bits)
    check_unused(code, bits, name)


def check_unused(code: np.ndarray, bits: int, name: str) -> None:
    """Refuse codes with bits beyond their width.

    Args:
      code: packed codes of ceil(bits / 8) bytes.
      bits: K.
      name: what the message calls them.

    Raises:
      ValueError: says what was found and how to mend it.
    """
    unused = code[:, -1] >> (bits % 8) if bits % 8 else np.zeros(1, np.uint8)
    if unused.any():
        raise ValueError(
            f"{name} has codes with bits beyond the first {bits} set; pass the number of bits that "
            "they were packed from"
        )


def check_labels(label: np.ndarray, code: np.ndarray, name: str) -> None:
    """Refuse labels that are not one multi-hot row a code.

    Args:
      label: to check.
      code: the codes that they belong to.
      name: what the message calls them.

    Raises:
      ValueError: says what was found, what is wanted and how to mend it.
    """
    if label.ndim != 2 or len(label) != len(code) or label.shape[1] == 0:
        raise ValueError(
            f"{name} labels have shape {label.shape}, its codes {code.shape}; "
            f"wanted ({len(code)}, classes); pass one multi-hot row per code"
        )
    if label.dtype.kind == "f" and np.isnan(label).any():
        raise ValueError(f"{name} labels have a NaN; pass 1 for present and 0 for absent")


def check_search(query_QxW: np.ndarray, database_RxW: np.ndarray, k: int, query_block: int) -> None:
    """Refuse queries that do not fit a database, and a k that it does not have.

    Args:
      query_QxW, database_RxW: codes, of which the database's are checked.
      k: how many items are to be found.
      query_block: queries in work at a time.

    Raises:
      ValueError: says what was found, what is wanted and how to mend it.
    """
    check_codes(query_QxW, "query")
    items, width = database_RxW.shape
    if query_QxW.shape[1] != width:
        raise ValueError(
            f"query has {query_QxW.shape[1]} bytes a row, database {width}; "
            "encode both with the same number of bits"
        )
    if k % 1 or not 1 <= k <= items:
        raise ValueError(f"k={k}, but the database has {items} items; pass k from 1 to {items}")
    if query_block < 1:
        raise ValueError(f"query_block={query_block}; pass at least 1")


def check_counts(shared: tuple[int, ...], query_block: int, database_block: int | None) -> None:
    """Refuse settings of a count that are out of range.

    Args:
      shared: numbers of labels.
      query_block, database_block: rows in work at a time.

    Raises:
      ValueError: says what was found and what is wanted.
    """
    if not shared or min(shared) < 1 or any(b <= a for a, b in itertools.pairwise(shared)):
        raise ValueError(f"shared={shared}; pass increasing numbers of labels, 1 or more")
    if query_block < 1 or (database_block is not None and database_block < 1):
        raise ValueError(
            f"query_block={query_block} and database_block={database_block}; pass at least 1 for "
            "each"
        )
