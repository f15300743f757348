"""Metrics of retrieval: functions of the counts by distance, or of rankings.

    tie_aware   expected over every order of the ties: mAP, precision, recall, their bounds
    radius      within a Hamming radius
    ties        what both are made of
    graded      of graded relevance
    ranked      of one order of the ties
    presets     mAP as other evaluators print it
    statistics  intervals and comparisons over queries

The first two are `metrics` itself: `metrics.average_precision`; the others are imported by name:
`from dsh_jax.metrics import graded`.
"""

from dsh_jax.metrics.radius import (
    average_precision_11_point,
    precision_recall_by_radius,
    precision_within_radius,
    recall_within_radius,
)
from dsh_jax.metrics.tie_aware import (
    average_precision,
    average_precision_at,
    average_precision_optimistic,
    average_precision_pessimistic,
    average_precision_printed,
    average_precision_within_radius,
    chance_level,
    mean_over_queries,
    precision_at,
    recall_at,
)

__all__ = [
    "average_precision",
    "average_precision_11_point",
    "average_precision_at",
    "average_precision_optimistic",
    "average_precision_pessimistic",
    "average_precision_printed",
    "average_precision_within_radius",
    "chance_level",
    "mean_over_queries",
    "precision_at",
    "precision_recall_by_radius",
    "precision_within_radius",
    "recall_at",
    "recall_within_radius",
]
