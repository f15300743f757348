"""A database in blocks of few shapes, so that data sets share compilations, over the devices."""

from __future__ import annotations

import numpy as np


def words(byte_NxW: np.ndarray) -> np.ndarray:
    """Join bytes into zero-padded 32-bit words, as `codes.pack_words` does, on the host.

    Args:
      byte_NxW: uint8.

    Returns:
      uint32 array, shape (N, ceil(W/4)).
    """
    rows, width = byte_NxW.shape
    byte_NxP = np.zeros((rows, -(-width // 4) * 4), np.uint8)
    byte_NxP[:, :width] = byte_NxW
    return byte_NxP.view("<u4")


def label_words(label_NxC: np.ndarray) -> np.ndarray:
    """Pack multi-hot labels into words: two rows share a label where the AND is not zero.

    Args:
      label_NxC: of any type; above 0 is present.

    Returns:
      uint32 array, shape (N, ceil(C/32)).
    """
    rows, classes = label_NxC.shape
    # Whole words and one flat array: packbits along short rows takes four times as long.
    bit_NxB = np.zeros((rows, -(-classes // 32) * 32), bool)
    np.greater(label_NxC, 0, out=bit_NxB[:, :classes])
    return (
        np.packbits(bit_NxB.reshape(-1), bitorder="little")
        .view("<u4")
        .reshape(rows, -(-classes // 32))
    )


def block_rows(rows: int) -> int:
    """Round a number of rows up to one of the few that blocks have.

    Args:
      rows: at least 0.

    Returns:
      A power of two from 512 to 4096, or a multiple of 4096.
    """
    if rows > 4096:
        return -(-rows // 4096) * 4096
    return max(512, 1 << (rows - 1).bit_length())


def padded(row_NxV: np.ndarray, rows: int) -> np.ndarray:
    """Fill up with zero rows.

    Args:
      row_NxV: N at most `rows`.
      rows: wanted.

    Returns:
      The same type, shape (rows, V).
    """
    return np.pad(row_NxV, ((0, rows - len(row_NxV)), (0, 0)))
