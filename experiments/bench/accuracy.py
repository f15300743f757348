"""Error of average precision against float64: `python -m experiments.bench accuracy`.

The largest |found − exact| ÷ exact over orders of the relevant items on which a float32 sum goes
astray; exact adds the float64 precision at each rank with `math.fsum`. Rankings without ties are
what `metrics.average_precision` and `ranked.average_precision_ranked` are given, and the counts of
64-bit codes, 65 tie groups, the former alone.
"""

import math

import numpy as np

from dsh_jax import metrics
from dsh_jax.metrics import ranked

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def orders(items: int) -> dict[str, np.ndarray]:
    """Return which ranks are relevant, for each order."""
    rank_R = np.arange(1, items + 1)
    random_R = np.random.default_rng(0).random(items)
    return {
        "fading": random_R < 0.5 * (1 - rank_R / items),
        "rare": random_R < 1e-3,
        "first": rank_R <= items // 10,
        "last": rank_R > items - items // 10,
        "odd ranks": rank_R % 2 == 1,
        "every third": rank_R % 3 == 1,
        "powers of two": (rank_R & (rank_R - 1)) == 0,
    }


def exact(total_D: np.ndarray, relevant_D: np.ndarray) -> float:
    """Return average precision in float64, rank by rank."""
    items_R = np.repeat(np.arange(len(total_D)), total_D)
    place_R = np.arange(len(items_R)) - (np.cumsum(total_D) - total_D)[items_R]
    share_D = relevant_D / np.maximum(total_D, 1)
    others_D = (relevant_D - 1) / np.maximum(total_D - 1, 1)
    hits_R = (np.cumsum(relevant_D) - relevant_D + 1)[items_R] + place_R * others_D[items_R]
    precision_R = share_D[items_R] * hits_R / np.arange(1, len(items_R) + 1)
    return math.fsum(precision_R) / relevant_D.sum()


def bench_accuracy(sizes: tuple[int, ...] = SIZES) -> dict[str, dict[str, float]]:
    """Return the largest relative errors.

    Args:
      sizes: numbers of items.

    Returns:
      Number of items to the error of each metric and kind of ranking.
    """
    table = {}
    for items in sizes:
        found = {"no ties": [], "no ties, ranked": [], "65 distances": []}
        for is_relevant_R in orders(items).values():
            relevant_1xR = is_relevant_R[None].astype(np.int32)
            one_1xR = np.ones_like(relevant_1xR)
            total_D = np.bincount(np.arange(items) * 65 // items, minlength=65)
            start_D = np.cumsum(total_D) - total_D
            relevant_D = np.add.reduceat(relevant_1xR[0], start_D)
            hits_1 = relevant_1xR.sum(axis=1)
            without_ties = exact(one_1xR[0], relevant_1xR[0])
            pairs = {
                "no ties": (metrics.average_precision(one_1xR, relevant_1xR), without_ties),
                "no ties, ranked": (
                    ranked.average_precision_ranked(relevant_1xR, hits_1),
                    without_ties,
                ),
                "65 distances": (
                    metrics.average_precision(total_D[None], relevant_D[None]),
                    exact(total_D, relevant_D),
                ),
            }
            for name, (ours_1, wanted) in pairs.items():
                found[name].append(abs(float(ours_1[0]) - wanted) / wanted)
        table[f"{items:,}"] = {name: float(f"{max(errors):.1e}") for name, errors in found.items()}
    return table
