"""A code drawn as a bar of its bits."""

from __future__ import annotations

import numpy as np

WIDE, HIGH, GAP = 6, 18, 4  # of a bit; and between bytes and rows


def svg(
    bit_K: np.ndarray,
    *,
    used: int | None = None,
    differs_K: np.ndarray | None = None,
    columns: int = 64,
) -> str:
    """Return the bar: ones are filled, zeros empty, with a gap after each byte.

    Args:
      bit_K: 0 or 1, bit 0 first.
      used: bits that count, or None for all; the others are faint.
      differs_K: bool, bits to mark, or None for none.
      columns: bits of a row.

    Returns:
      An SVG element; the classes `one`, `zero`, `unused` and `differs` carry the colours.

    Raises:
      ValueError: for no bits, or other values.
    """
    bit_K = np.asarray(bit_K)
    if bit_K.ndim != 1 or not len(bit_K) or not np.isin(bit_K, (0, 1)).all():
        raise ValueError(f"bits are of shape {bit_K.shape}; pass (K,) values of 0 or 1, K >= 1.")
    used = len(bit_K) if used is None else used
    differs_K = np.zeros(len(bit_K), bool) if differs_K is None else np.asarray(differs_K, bool)
    paths: dict[str, str] = {}
    for k, (bit, differs) in enumerate(zip(bit_K, differs_K, strict=True)):
        kind = "one" if bit else "zero"
        kind += " unused" if k >= used else " differs" if differs else ""
        column, row = k % columns, k // columns
        x, y = column * WIDE + column // 8 * GAP, row * (HIGH + GAP)
        # Half a pixel inwards, so that the outline is within the bit.
        paths[kind] = (
            paths.get(kind, "") + f"M{x + 0.5} {y + 0.5}h{WIDE - 2}v{HIGH - 1}h-{WIDE - 2}z"
        )
    rows, columns = -(-len(bit_K) // columns), min(len(bit_K), columns)
    width = columns * WIDE + (columns - 1) // 8 * GAP
    height = rows * (HIGH + GAP) - GAP
    marked = int(differs_K[:used].sum())
    words = f"{len(bit_K)} bits, {int(bit_K.sum())} of them 1"
    words += f", {used} used" if used < len(bit_K) else ""
    words += f", {marked} differ" if marked else ""
    drawn = "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in paths.items())
    return (
        f'<svg class="bits" role="img" aria-label="{words}" viewBox="0 0 {width} {height}" '
        f'width="{2 * width}">{drawn}</svg>'
    )
