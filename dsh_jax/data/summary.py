"""What a split holds, in numbers: rows of each class in each part, labels that go together."""

from __future__ import annotations

import numpy as np

from dsh_jax.data.source import Source
from dsh_jax.data.splits import PARTS, Split

MOST_QUERIES = 2000  # that the chance level is computed on: the rest would not change it


def class_counts(source: Source, split: Split) -> dict[str, np.ndarray]:
    """Return how many rows of each class each part holds.

    Args:
      source: gives the labels.
      split: of its rows.

    Returns:
      Name of the part to int64 [C].
    """
    return {part: source.label_NxC[getattr(split, part)].sum(0, dtype=np.int64) for part in PARTS}


def co_occurrence(label_NxC: np.ndarray) -> np.ndarray:
    """Return the share of one label's rows that hold another label, too.

    `P(j | i) = n_ij / n_i`.

    Args:
      label_NxC: multi-hot.

    Returns:
      float64 [C, C], row i given label i; 1 on the diagonal, 0 in the row of a label without rows.
    """
    # Float32 adds ones exactly up to 2^24 rows, and multiplies matrices much faster than integers.
    label = label_NxC.astype(np.float32)
    both_CxC = (label.T @ label).astype(np.float64)
    return both_CxC / np.maximum(np.diag(both_CxC), 1)[:, None]


def chance(query_label_QxC: np.ndarray, database_label_RxC: np.ndarray) -> float:
    """Return the mAP of a random ranking, about the share of relevant pairs.

    A pair is relevant where it shares a label.

    Args:
      query_label_QxC: multi-hot; of more than 2,000 rows every n-th is taken.
      database_label_RxC: multi-hot.

    Returns:
      A share.
    """
    query = query_label_QxC[:: -(-len(query_label_QxC) // MOST_QUERIES)].astype(np.float32)
    relevant = sum(
        np.count_nonzero(query @ block.astype(np.float32).T)
        for block in np.array_split(database_label_RxC, -(-len(database_label_RxC) // 10_000))
    )
    return relevant / (len(query) * len(database_label_RxC))


def counts_table(source: Source, split: Split) -> str:
    """Return the counts as text: a line for each class, a column for each part.

    Args:
      source: gives the labels.
      split: of its rows.

    Returns:
      Lines, the last with the rows of each part and the labels of a row.
    """
    counts = class_counts(source, split)
    width = max(24, *(len(name) + 2 for name in source.label_names))
    lines = ["class".ljust(width) + "".join(f"{part:>12}" for part in counts)]
    for c, name in enumerate(source.label_names):
        lines.append(name.ljust(width) + "".join(f"{n[c]:>12,}" for n in counts.values()))
    rows = {part: len(getattr(split, part)) for part in counts}
    lines.append("rows".ljust(width) + "".join(f"{n:>12,}" for n in rows.values()))
    means = [f"{n.sum() / max(rows[part], 1):>12.2f}" for part, n in counts.items()]
    lines.append("labels a row".ljust(width) + "".join(means))
    return "\n".join(lines)


def pairs_table(label_NxC: np.ndarray, names: tuple[str, ...], *, count: int = 10) -> str:
    """Return the pairs of labels that most often stand together, as text.

    Args:
      label_NxC: multi-hot.
      names: C of them.
      count: pairs, at most.

    Returns:
      Lines such as `clouds and sky: 3,100 rows, 84 % of clouds, 39 % of sky`.
    """
    label = label_NxC.astype(np.float32)
    both_CxC = np.triu(label.T @ label, k=1)
    rows_C = label_NxC.sum(0, dtype=np.int64)
    lines = []
    for flat in np.argsort(-both_CxC, axis=None, kind="stable")[:count]:
        i, j = np.unravel_index(flat, both_CxC.shape)
        both = int(both_CxC[i, j])
        if both:
            shares = ", ".join(f"{both / rows_C[c]:.0%} of {names[c]}" for c in (i, j))
            lines.append(f"{names[i]} and {names[j]}: {both:,} rows, {shares}")
    return "\n".join(lines)
