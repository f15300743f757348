"""The mAP of the queries of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dsh_jax.metrics import statistics

RESAMPLES = 2000  # of an interval: one for each class


class ClassScore(NamedTuple):
    """One class.

    Attributes:
      name: of it.
      queries: that have it.
      map: mean of their average precisions.
      low, high: of its 95 % interval over queries; NaN for a single one.
    """

    name: str
    queries: int
    map: float
    low: float
    high: float


def by_class(
    ap_Q: np.ndarray, label_QxC: np.ndarray, names: Sequence[str], *, seed: int = 0
) -> list[ClassScore]:
    """Return how well the queries of each class find what is relevant to them.

    A query of several classes counts for each of them.

    Args:
      ap_Q: average precisions.
      label_QxC: multi-hot labels.
      names: of the C classes.
      seed: of the intervals' draws.

    Returns:
      ClassScore of each class that has a query, the lowest mAP first.
    """
    found = []
    for name, has_Q in zip(names, np.asarray(label_QxC).T > 0, strict=True):
        value_N = ap_Q[has_Q]
        if not len(value_N):
            continue
        interval = math.nan, math.nan
        if len(value_N) > 1:
            interval = statistics.bootstrap_interval(value_N, seed=seed, resamples=RESAMPLES)
        found.append(ClassScore(name, len(value_N), float(value_N.mean()), *interval))
    return sorted(found, key=lambda one: one.map)
